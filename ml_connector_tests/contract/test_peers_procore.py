"""Procore as ProPyCore sees it: a client that was written against the real one."""

import re
from typing import Any

import pytest

from ml_connector_tests.contract.conftest import Firm, Peer
from ml_connector_tests.rig import COMPANY, HARBOR
from ml_connector_tests.sandbox.openapi import operations, reference_file

pytestmark = pytest.mark.peers

Told = dict[str, Any]

NO_HEADER = 'ProcoreException {"errors":"Missing Procore-Company-Id header!"}'
NOT_JSON = 'ProcoreException {"errors":"The request body is not valid JSON"}'
NOT_FOUND = 'NotFoundClientError {"errors":"Not found"}'
BUDGET_VIEW = "/rest/v1.0/budget_views/{}"

REFUSED = [
    ("POST /oauth/token", 401, "client id and secret are form fields by the reference, not Basic credentials"),
    ("GET /rest/v1.0/companies", 400, "a service account needs the company header on every call"),
    ("GET /rest/v1.1/projects", 400, "as above"),
    ("GET /rest/v1.0/cost_codes", 400, "as above; the library sends the id as a header named company_id"),
    ("POST /rest/v1.0/cost_codes", 400, "the code is taken"),
    ("GET /rest/v1.0/cost_codes/{}", 404, "nobody's id"),
    ("POST /rest/v1.0/vendors", 422, "the origin id is taken"),
    ("GET /rest/v1.0/vendors", 404, "a company that is not there"),
    ("POST /rest/v1.1/projects/{}/direct_costs", 400, "lines and header are JSON by the reference, not form data"),
    ("PATCH /rest/v1.1/projects/{}/direct_costs/{}", 400, "as above"),
    ("POST /rest/v1.1/projects/{}/direct_costs", 422, "the vendor's invoice number is taken"),
    ("GET /rest/v1.1/projects/{}/direct_costs/{}", 404, "deleted"),
]  # fmt: skip
NOT_IMITATED = [
    "GET /rest/v1.0/companies/{}/projects",
    "GET /rest/v1.0/companies/{}/people",
    "GET /rest/v1.0/projects/{}/rfis",
]
ANSWERED = {
    "POST /oauth/token",
    "GET /rest/v1.0/companies",
    "GET /rest/v1.1/projects",
    "GET /rest/v1.0/cost_codes",
    "POST /rest/v1.0/cost_codes",
    "GET /rest/v1.0/cost_codes/{}",
    "GET /rest/v1.0/vendors",
    "POST /rest/v1.0/vendors",
    "PATCH /rest/v1.0/vendors/{}",
    "GET /rest/v1.1/projects/{}/vendors",
    "POST /rest/v1.1/projects/{}/vendors/{}/actions/add",
    "GET /rest/v1.0/projects/{}/work_breakdown_structure/wbs_codes",
    "GET /rest/v1.1/projects/{}/direct_costs",
    "POST /rest/v1.1/projects/{}/direct_costs",
    "GET /rest/v1.1/projects/{}/direct_costs/{}",
    "PATCH /rest/v1.1/projects/{}/direct_costs/{}",
    "DELETE /rest/v1.1/projects/{}/direct_costs/{}",
    "GET /rest/v1.0/budget_views",
    f"GET {BUDGET_VIEW}/detail_rows",
    f"GET {BUDGET_VIEW}/budget_detail_columns",
    f"POST {BUDGET_VIEW}/budget_details",
}


@pytest.fixture(scope="module")
def told(acme: Firm, peer: Peer) -> Told:
    """What one walk of the library through the fixture firm found, by step."""
    place = (str(COMPANY), HARBOR)
    found: Told = peer("propycore_walk.py", acme.procore.url, *place, "sandbox-client", "sandbox-secret")
    return found


def test_calls_without_the_company_header_are_told_so_and_a_basic_token_request_is_refused(
    told: Told,
) -> None:
    assert told["basic token"] is False
    assert told["without_header"] == {"companies": NO_HEADER, "projects": NO_HEADER, "cost codes": NO_HEADER}


def test_companies_and_projects_are_listed_by_page_and_found(told: Told) -> None:
    assert told["companies_and_projects"] == {
        "company": COMPANY,
        "projects": ["Harbor Clinic", "Elm Street School", "Depot Lofts"],
        "active": ["Harbor Clinic", "Elm Street School"],
        "found": int(HARBOR),
        "found by id": "Harbor Clinic",
        "nobody's": "NotFoundItemError",
    }


def test_cost_codes_are_listed_by_page_found_and_created_once(told: Told) -> None:
    assert told["cost_codes"] == {
        "listed": ["03-3000", "06-1000", "09-2900", "26-0500", "01-5000", "01-7800"],
        "shown": "03-3000",
        "found": "06-1000",
        "created": ["31-0000", "Earthwork"],
        "again": 'ProcoreException {"errors":{"code":["has already been taken"]}}',
        "nobody's": "NotFoundItemError",
    }


def test_a_vendor_is_created_put_on_the_project_and_renamed(told: Told) -> None:
    assert told["vendors"] == {
        "created": ["Granite Supply", "peer:1"],
        "changed": "Granite Supply Inc",
        "found": True,
        "on project": [0, ["Granite Supply Inc"]],
        "taken origin id": ('UnprocessableContentError {"errors":{"origin_id":["has already been taken"]}}'),
        "of a foreign company": NOT_FOUND,
    }


def test_a_direct_cost_is_created_found_changed_seen_in_the_budget_and_deleted(told: Told) -> None:
    assert told["direct_costs"] == {
        "created by form": NOT_JSON,
        "created": ["1250.5", 1],
        "listed": ["4471"],
        "changed": ["late", "1259.75", 2],
        "changed by form": NOT_JSON,
        "taken number": (
            'UnprocessableContentError {"errors":{"invoice_number":["has already been taken"]}}'
        ),
        "budget": {
            "column": "Direct Costs",
            "row": ["03-3000.M", False, "1259.75"],
            "details": ["4471", "4471"],
            "nobody's view": "NotFoundItemError",
        },
        "deleted": 200,
        "shown after": NOT_FOUND,
    }


def test_each_refusal_is_one_that_the_reference_explains(told: Told, acme: Firm) -> None:
    assert set(told["off_the_imitation"].values()) == {NOT_FOUND}
    refused = [
        (_route(row), row["status"]) for row in acme.procore.journal() if (row["status"] or 500) >= 400
    ]
    explained = [(route, status) for route, status, _ in REFUSED]
    assert sorted(refused) == sorted(explained + [(route, 404) for route in NOT_IMITATED])


def test_every_operation_that_the_library_shares_with_the_reference_was_answered(
    told: Told, acme: Firm
) -> None:
    assert told["companies_and_projects"]
    answered = {_route(row) for row in acme.procore.journal() if row["status"] in (200, 201, 204)}
    assert answered == ANSWERED


def test_what_is_not_imitated_is_not_in_the_reference() -> None:
    if reference_file() is None:
        pytest.skip("procore-openapi.json is not here: name its folder in ML_CONNECTOR_REFERENCE")
    documented = {f"{method} {re.sub(r'{[^}]*}', '{}', path)}" for method, path in operations()}
    assert documented >= ANSWERED
    assert documented.isdisjoint(NOT_IMITATED)


def _route(entry: dict[str, Any]) -> str:
    return f"{entry['method']} {re.sub(r'(?<=/)[0-9]+(?=/|$)', '{}', entry['path'])}"
