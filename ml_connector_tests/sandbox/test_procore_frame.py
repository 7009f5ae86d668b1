"""Tokens, the company header, walls, limits, lists and paths of the imitated Procore."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from ml_connector.sandbox.procore.switches import SWITCHES
from ml_connector.sandbox.procore.vendor import ROUTES
from ml_connector.sandbox.wire import Request, Response
from ml_connector_tests.sandbox.openapi import assert_valid, operations
from ml_connector_tests.sandbox.procore_desk import (
    COMPANY,
    ELSEWHERE,
    GRANITE,
    OTHER_COMPANY,
    P101,
    P102,
    Desk,
    open_desk,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


def _plain(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_every_operation_of_the_reference_is_answered_and_no_other(desk: Desk) -> None:
    imitated = {(method, _plain(path)) for method, path, _ in ROUTES}
    documented = {(method, _plain(path)) for method, path in operations() if not path.startswith("/oauth")}
    assert imitated == documented


def test_a_token_lasts_ninety_minutes_and_a_revoked_one_is_dead(desk: Desk) -> None:
    info = desk.ok("GET", "/oauth/token/info")
    assert info["expires_in_seconds"] == 5400
    assert info["application"] == {"uid": "sandbox-client"}
    token = desk.headers["authorization"].removeprefix("Bearer ")
    given = {"token": token, "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    assert desk.call("POST", "/oauth/revoke", given).status == 200
    assert desk.refused("GET", "/rest/v1.0/me") == (401, {"errors": "Unauthorized"})


def test_a_token_dies_by_the_sandbox_clock(desk: Desk) -> None:
    desk.vendor.switch("access_token_seconds", 60)
    desk.log_in()
    assert desk.call("GET", "/rest/v1.0/me").status == 200
    desk.vendor._state.clock.set({"frozen": "2026-02-10T12:01:00+00:00"})
    assert desk.call("GET", "/rest/v1.0/me").status == 401


@pytest.mark.parametrize(
    ("given", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        (
            {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "x"},
            401,
            "invalid_client",
        ),
        ({"grant_type": "client_credentials", "client_id": "nobody"}, 401, "invalid_client"),
    ],
)
def test_a_bad_token_request_is_refused(desk: Desk, given: dict[str, str], status: int, error: str) -> None:
    answer = desk.call("POST", "/oauth/token", given)
    assert (answer.status, answer.body["error"]) == (status, error)


def test_a_token_is_given_for_form_data_too(desk: Desk) -> None:
    body = b"grant_type=client_credentials&client_id=sandbox-client&client_secret=sandbox-secret"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = desk.vendor.handle(Request("POST", "/oauth/token", (), headers, body))
    assert (answer.status, answer.body["token_type"], answer.body["expires_in"]) == (200, "bearer", 5400)


def test_a_call_without_the_company_header_is_told_so(desk: Desk) -> None:
    header = desk.headers.pop("procore-company-id")
    message = {"errors": "Missing Procore-Company-Id header!"}
    assert desk.refused("GET", "/rest/v1.0/companies") == (400, message)
    desk.vendor.switch("missing_company_header_status", 403)
    assert desk.refused("GET", "/rest/v1.0/companies") == (403, message)
    desk.headers["procore-company-id"] = header
    assert [row["id"] for row in desk.ok("GET", "/rest/v1.0/companies")] == [COMPANY, OTHER_COMPANY]


def test_companies_are_walled_off_from_each_other(desk: Desk) -> None:
    cost = desk.bill(origin_id="qbo:1:bill:1")
    other = Desk(desk.vendor, company=OTHER_COMPANY).log_in()
    assert other.refused("GET", f"/rest/v1.1/projects/{P101}/direct_costs")[0] == 404
    assert other.refused("GET", f"/rest/v1.1/projects/{ELSEWHERE}/direct_costs/{cost['id']}")[0] == 404
    assert other.refused("GET", "/rest/v1.0/vendors", company_id=COMPANY)[0] == 403
    assert other.ok("GET", "/rest/v1.0/vendors", company_id=OTHER_COMPANY) == []
    same_key = {"name": "Same key", "origin_id": "qbo:1:vendor:9"}
    other.ok("POST", "/rest/v1.0/vendors", {"company_id": OTHER_COMPANY, "vendor": same_key})


def test_an_app_enters_only_the_companies_that_installed_it(desk: Desk) -> None:
    desk.vendor.load({"App": [{"client_id": "one", "client_secret": "s", "companies": [COMPANY]}]})
    desk = Desk(desk.vendor, company=OTHER_COMPANY).log_in("one", "s")
    assert desk.refused("GET", "/rest/v1.0/companies")[0] == 403
    desk.headers["procore-company-id"] = "5"
    assert desk.refused("GET", "/rest/v1.0/companies")[0] == 404
    desk.headers["procore-company-id"] = str(COMPANY)
    assert [row["id"] for row in desk.ok("GET", "/rest/v1.0/companies")] == [COMPANY]


def test_a_project_off_the_permitted_list_is_refused_and_not_listed(desk: Desk) -> None:
    desk.vendor.load({"permitted_projects": [{"project_ids": [P101]}]})
    assert desk.refused("GET", f"/rest/v1.1/projects/{P102}/direct_costs")[0] == 403
    desk.vendor.switch("unpermitted_project_status", 404)
    assert desk.refused("GET", f"/rest/v1.1/projects/{P102}/direct_costs")[0] == 404
    assert [row["id"] for row in desk.ok("GET", "/rest/v1.1/projects", company_id=COMPANY)] == [P101]


def test_a_tool_that_is_off_in_a_project_answers_403(desk: Desk) -> None:
    desk.vendor.load(
        {"projects": [{"id": 777, "company_id": COMPANY, "name": "T", "disabled_tools": ["direct_costs"]}]}
    )
    assert desk.refused("GET", "/rest/v1.1/projects/777/direct_costs")[0] == 403


def test_v1_paths_without_project_id_answer_404(desk: Desk) -> None:
    for path in ("cost_codes", "commitments", "work_order_contracts", "contract_payments"):
        assert desk.refused("GET", f"/rest/v1.0/{path}")[0] == 404


def test_a_body_that_is_not_json_answers_400(desk: Desk) -> None:
    request = Request("PATCH", "/rest/v1.0/vendors/sync", (), desk.headers, b"{")
    assert desk.vendor.handle(request).status == 400


def test_F11_the_nearer_limit_is_told_and_a_call_above_it_is_429(desk: Desk) -> None:
    desk.vendor.switch("spike_limit", 3)
    reset = str(int(datetime(2026, 2, 10, 12, 0, 10, tzinfo=UTC).timestamp()))
    told = [desk.call("GET", "/rest/v1.0/me").headers["X-Rate-Limit-Remaining"] for _ in range(3)]
    assert told == ["2", "1", "0"]
    answer = desk.call("GET", "/rest/v1.0/me")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
    assert (answer.headers["X-Rate-Limit-Limit"], answer.headers["X-Rate-Limit-Reset"]) == ("3", reset)
    assert isinstance(answer.body, str)
    desk.vendor.switch("retry_after", False)
    assert "Retry-After" not in desk.call("GET", "/rest/v1.0/me").headers
    desk.vendor._state.clock.set({"frozen": "2026-02-10T12:00:10+00:00"})
    assert desk.call("GET", "/rest/v1.0/me").status == 200


def test_the_hourly_limit_counts_over_spike_windows_and_refused_calls_carry_the_headers(desk: Desk) -> None:
    desk.vendor.switch("hourly_limit", 2)
    answer = desk.call("GET", f"/rest/v1.1/projects/{P101}/direct_costs/1")
    assert (answer.status, answer.headers["X-Rate-Limit-Remaining"]) == (404, "1")
    desk.vendor._state.clock.set({"frozen": "2026-02-10T12:30:00+00:00"})
    assert desk.call("GET", "/rest/v1.0/me").status == 200
    assert desk.call("GET", "/rest/v1.0/me").headers["Retry-After"] == "1800"


def test_pages_are_walked_by_link_and_no_next_is_on_the_last(desk: Desk) -> None:
    rows = [{"id": 1000 + n, "company_id": COMPANY, "name": f"V{n}"} for n in range(7)]
    desk.vendor.load({"vendors": rows})
    query = {"company_id": str(COMPANY), "per_page": "4", "filters[search]": "v"}
    seen, pages = [], 0
    while True:
        answer = desk.call("GET", "/rest/v1.0/vendors", **query)
        pages += 1
        seen += [row["id"] for row in answer.body]
        links = dict(re.findall(r'<([^>]*)>; rel="next"()', answer.headers["Link"]))
        if not links:
            break
        query = dict(parse_qsl(urlsplit(next(iter(links))).query))
    assert pages == 2
    assert seen == [1000 + n for n in range(7)]
    assert (answer.headers["Total"], answer.headers["Per-Page"]) == ("7", "4")
    assert 'rel="prev"' in answer.headers["Link"]


def test_page_sizes_are_those_of_the_endpoint(desk: Desk) -> None:
    def size(path: str, **query: object) -> str:
        return desk.call("GET", path, **query).headers["Per-Page"]

    assert size("/rest/v1.0/vendors", company_id=COMPANY) == "100"
    assert size("/rest/v1.0/vendors", company_id=COMPANY, per_page=9999) == "2000"
    assert size("/rest/v1.1/projects", company_id=COMPANY, per_page=9999) == "300"
    assert size("/rest/v1.1/requisitions", project_id=P101) == "30"
    assert size("/rest/v1.0/tax_codes", company_id=COMPANY, per_page=500) == "100"
    contracts = f"/rest/v2.0/companies/{COMPANY}/projects/{P101}/commitment_contracts"
    assert (size(contracts), size(contracts, per_page=500)) == ("10", "100")
    segments = f"/rest/v1.0/projects/{P101}/work_breakdown_structure/segments"
    assert "Link" not in desk.call("GET", segments).headers


def test_F06_a_lagging_search_hides_what_is_new_but_a_read_by_id_shows_it(desk: Desk) -> None:
    cost = desk.bill(origin_id="qbo:1:bill:1")
    path = f"/rest/v1.1/projects/{P101}/direct_costs"
    found = {"filters[origin_id]": "qbo:1:bill:1"}
    lag = {"search_lag": {"seconds": 300}}
    assert desk.call("GET", path, instructions=lag, **found).body == []
    desk.vendor.switch("search_lag_seconds", 300)
    assert desk.ok("GET", path, **found) == []
    assert desk.ok("GET", f"{path}/{cost['id']}")["id"] == cost["id"]
    desk.vendor._state.clock.set({"frozen": "2026-02-10T12:05:00+00:00"})
    assert [row["id"] for row in desk.ok("GET", path, **found)] == [cost["id"]]


def test_switches_refuse_what_they_do_not_know(desk: Desk) -> None:
    assert desk.vendor.switches() == {name: switch.default for name, switch in SWITCHES.items()}
    for name, value in (("no_such", 1), ("overbilling", "perhaps"), ("hourly_limit", -1), ("retry_after", 1)):
        with pytest.raises(ValueError, match="switch"):
            desk.vendor.switch(name, value)


def test_loading_refuses_unknown_kinds_and_orphans(desk: Desk) -> None:
    with pytest.raises(ValueError, match="no kind"):
        desk.vendor.load({"bills": [{}]})
    with pytest.raises(ValueError, match="project_id"):
        desk.vendor.load({"direct_costs": [{"project_id": 5}]})


def test_a_reset_forgets_records_tokens_and_switches(desk: Desk) -> None:
    desk.vendor.switch("overbilling", "refuse")
    desk.vendor.reset("empty")
    assert desk.vendor.live("projects") == []
    assert desk.vendor.switches()["overbilling"] == "accept"
    assert desk.call("GET", "/rest/v1.0/me").status == 401


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422, 429, 503])
def test_fault_rules_get_bodies_in_the_vendors_form(desk: Desk, status: int) -> None:
    answer = desk.vendor.refusal(status)
    assert answer.status == status
    assert isinstance(answer.body, str) == (status in (429, 503))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body | {"made_up": 1},
        lambda body: body | {"id": "8"},
        lambda body: body | {"created_at": "yesterday"},
        lambda body: [body],
        lambda body: None,
    ],
    ids=["unknown field", "wrong type", "wrong format", "wrong shape", "no body"],
)
def test_the_check_against_the_reference_notices_a_wrong_answer(
    desk: Desk, spoil: Callable[[Any], Any]
) -> None:
    path = f"/rest/v1.0/vendors/{GRANITE}"
    request = Request("GET", path, (("company_id", str(COMPANY)),), desk.headers)
    answer = desk.vendor.handle(request)
    assert_valid(request, answer)
    with pytest.raises(AssertionError):
        assert_valid(request, Response(answer.status, spoil(answer.body)))
