"""The catalog and the directory: how many calls, which codes, and what a closed door looks like."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ml_connector.errors import PermanentError, TransientError
from ml_connector.procore.catalog import fetch_catalog, parse_code
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.directory import DirectoryVendor, fetch_project_vendor_ids, fetch_vendors
from ml_connector.procore.faults import DIALECT
from ml_connector.procore.models import BudgetCode, CatalogProject
from ml_connector_tests.transport.doubles import FakeTime, session
from ml_connector_tests.transport.loopback import Reply, Server, answer, serving


@contextmanager
def company(*replies: Reply) -> Iterator[tuple[ProcoreClient, Server]]:
    with serving(*replies) as server:
        yield ProcoreClient(session(server.origin, FakeTime(), dialect=DIALECT), 9), server


def segment(kind: str, code: str, path: str | None = None) -> dict[str, Any]:
    return {"code": code, "path_code": path, "segment": {"type": kind}}


def wbs(id: int, *items: dict[str, Any], status: str | None = "active", flat: str = "") -> dict[str, Any]:
    return {"id": id, "flat_code": flat, "status": status, "segment_items": list(items)}


CONCRETE = wbs(71, segment("cost_code", "300", "03-300"), segment("line_item_type", "M"), flat="03-300.M")
PROJECTS = answer(
    200, [{"id": 66005, "name": "Hill", "active": True}, {"id": 66006, "name": "Dale", "active": False}]
)


def test_a_catalog_costs_one_call_for_the_projects_and_one_for_each_project_asked_for() -> None:
    with company(PROJECTS, answer(200, [CONCRETE])) as (client, server):
        catalog = fetch_catalog(client, 9, {"66005", "12345"})
    assert catalog.projects == {
        "66005": CatalogProject(
            "66005", "Hill", True, {("03-300", "M"): BudgetCode(71, "03-300", "M", True)}
        ),
        "66006": CatalogProject("66006", "Dale", False, {}),
    }
    targets = [request.target for request in server.requests]
    assert targets == [
        "/rest/v1.1/projects?company_id=9&filters%5Bby_status%5D=All&per_page=300",
        "/rest/v1.0/projects/66005/work_breakdown_structure/wbs_codes?per_page=1000",
    ]


@pytest.mark.parametrize("status", [403, 404])
def test_S110_a_project_that_is_closed_to_us_says_so_and_the_others_go_on(status: int) -> None:
    with company(PROJECTS, answer(status, {"errors": "Forbidden"}), answer(200, [CONCRETE])) as (client, _):
        catalog = fetch_catalog(client, 9, {"66005", "66006"})
    assert catalog.projects["66005"].unreadable == "Forbidden"
    assert catalog.projects["66006"].codes
    assert catalog.projects["66006"].unreadable == ""


def test_an_outage_is_no_empty_catalog() -> None:
    with company(PROJECTS, answer(500)) as (client, _), pytest.raises(TransientError):
        fetch_catalog(client, 9, {"66005"})


def test_codes_are_found_whatever_their_case_and_an_active_one_wins() -> None:
    lower = wbs(1, segment("cost_code", "a-1"), segment("line_item_type", "m"), status="inactive")
    upper = wbs(2, segment("cost_code", "A-1"), segment("line_item_type", "M"))
    with company(PROJECTS, answer(200, [lower, upper, lower])) as (client, _):
        codes = fetch_catalog(client, 9, {"66005"}).projects["66005"].codes
    assert codes == {("A-1", "M"): BudgetCode(2, "A-1", "M", True)}


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        (CONCRETE, ("03-300", "M")),
        (wbs(1, segment("line_item_type", "L"), segment("cost_code", "01")), ("01", "L")),
        (wbs(1, segment("cost_code", "01"), segment("line_item_type", "L"), segment("sub_job", "A")), None),
        (wbs(1, segment("cost_code", "01")), None),
        (wbs(1, segment("cost_code", "01"), segment("line_item_type", "")), None),
        ({"id": 1, "flat_code": "03-300.M"}, ("03-300", "M")),
        ({"id": 1, "flat_code": "03.300.M"}, ("03.300", "M")),
        ({"id": 1, "flat_code": "03-300"}, None),
        ({"id": 1, "flat_code": None}, None),
    ],
)
def test_a_code_is_a_cost_code_with_a_cost_type_and_nothing_else(
    row: dict[str, Any], pair: tuple[str, str] | None
) -> None:
    code = parse_code(row)
    assert (None if code is None else (code.cost_code, code.cost_type)) == pair


def test_a_code_without_a_status_is_active_and_an_inactive_one_is_not() -> None:
    for status, active in ((None, True), ("active", True), ("inactive", False)):
        code = parse_code({"id": 1, "flat_code": "1.M", "status": status})
        assert code is not None
        assert code.active is active


def test_the_directory_is_the_active_list_and_the_inactive_list() -> None:
    active = answer(200, [{"id": 1, "name": "Elm", "origin_id": None, "city": "Reno", "is_active": True}])
    inactive = answer(200, [{"id": 2, "name": "Oak", "origin_id": "qbo:1:vendor:3"}])
    with company(active, inactive) as (client, server):
        assert fetch_vendors(client) == [
            DirectoryVendor(1, "Elm", "", True, "Reno"),
            DirectoryVendor(2, "Oak", "qbo:1:vendor:3", False, ""),
        ]
    assert [request.target for request in server.requests] == [
        "/rest/v1.0/vendors?company_id=9&per_page=1000",
        "/rest/v1.0/companies/9/vendors/inactive?per_page=1000",
    ]


@pytest.mark.parametrize("rows", [[8, 9], [{"id": 8}, {"id": 9}], ["8", "9"]])
def test_vendors_of_a_project_are_ids_in_either_form(rows: list[Any]) -> None:
    with company(answer(200, rows)) as (client, server):
        assert fetch_project_vendor_ids(client, "66005") == {8, 9}
    assert server.requests[0].target == "/rest/v1.1/projects/66005/vendors?view=ids_only&per_page=1000"


def test_a_vendor_without_an_id_is_an_error() -> None:
    with company(answer(200, [{"name": "Elm"}])) as (client, _), pytest.raises(PermanentError):
        fetch_vendors(client)
