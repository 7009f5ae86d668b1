"""Cost codes, cost types, budget codes and the budget of the imitated Procore."""

from decimal import Decimal
from pathlib import Path

import pytest

from ml_connector_tests.sandbox.procore_desk import COMPANY, P101, P102, Desk, open_desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


WBS = f"/rest/v1.0/projects/{P102}/work_breakdown_structure"
BUDGET_LINES = "/rest/v1.0/budget_line_items"


def _segments(desk: Desk) -> dict[str, tuple[int, dict[str, int]]]:
    """type -> (segment id, path code -> segment item id)."""
    return {
        segment["type"]: (
            segment["id"],
            {
                item["path_code"]: item["id"]
                for item in desk.ok("GET", f"{WBS}/segments/{segment['id']}/segment_items")
            },
        )
        for segment in desk.ok("GET", f"{WBS}/segments")
    }


def test_a_budget_code_is_made_of_segment_items_and_repeating_changes_the_same_one(desk: Desk) -> None:
    segments = _segments(desk)
    assert set(segments) == {"cost_code", "line_item_type"}
    (code_segment, codes), (type_segment, types) = segments["cost_code"], segments["line_item_type"]
    items = [
        {"segment_id": code_segment, "segment_item_id": codes["26-0500"]},
        {"segment_id": type_segment, "segment_item_id": types["L"]},
    ]
    made = desk.ok("POST", f"{WBS}/wbs_codes", {"segment_items": items, "description": "first"})
    assert made["flat_code"] == "26-0500.L"
    again = desk.ok("POST", f"{WBS}/wbs_codes", {"segment_items": items, "description": "second"})
    assert (again["id"], again["description"]) == (made["id"], "second")
    assert desk.refused("POST", f"{WBS}/wbs_codes", {"segment_items": items[:1]})[0] == 400
    bulk = desk.ok("PATCH", f"{WBS}/wbs_codes/bulk_create", {"bulk": [{"segment_items": items}, {}]})
    assert ([row["id"] for row in bulk["entities"]], len(bulk["errors"])) == ([made["id"]], 1)
    assert desk.ok("GET", f"{WBS}/patterns")["segments"][0]["type"] == "cost_code"


def test_a_new_cost_code_can_be_made_as_a_segment_item(desk: Desk) -> None:
    segment, _ = _segments(desk)["cost_code"]
    path = f"{WBS}/segments/{segment}/segment_items"
    assert desk.ok("POST", path, {"code": "32-1000", "name": "Paving"})["path_code"] == "32-1000"
    assert desk.refused("POST", path, {"code": "32-1000", "name": "Paving"})[0] == 422
    assert desk.refused("POST", path, {"name": "Paving"})[0] == 400


def test_budget_codes_are_listed_filtered_and_switched_off(desk: Desk) -> None:
    codes = desk.codes(P102)
    path = f"{WBS}/wbs_codes"
    assert desk.ok("PATCH", f"{path}/{codes['06-1000.M']}", {"status": "inactive"})["status"] == "inactive"
    assert desk.refused("PATCH", f"{path}/{codes['06-1000.M']}", {"status": "gone"})[0] == 422
    active = [row["flat_code"] for row in desk.ok("GET", path, **{"filters[status][]": "active"})]
    assert "06-1000.M" not in active
    assert [row["flat_code"] for row in desk.ok("GET", path, query="03-3000.m")] == ["03-3000.M"]
    v2 = desk.ok("GET", f"/rest/v2.0/companies/{COMPANY}/projects/{P102}/wbs/codes", per_page=1)
    assert v2["data"][0]["id"] == str(codes["03-3000.M"])


def test_cost_codes_carry_their_full_code_and_sync_by_origin(desk: Desk) -> None:
    path = "/rest/v1.0/cost_codes"
    division = desk.ok("POST", path, {"project_id": P102, "cost_code": {"code": "32", "name": "Exterior"}})
    child = {"code": "1000", "name": "Paving", "parent_id": division["id"], "origin_id": "cc:1"}
    made = desk.ok("POST", path, {"project_id": P102, "cost_code": child})
    assert (made["code"], made["full_code"]) == ("1000", "32-1000")
    assert desk.refused("POST", path, {"project_id": P102, "cost_code": {"code": "9"}})[0] == 400
    renamed = {"code": "1000", "name": "Asphalt"}
    assert (
        desk.ok("PATCH", f"{path}/{made['id']}", {"project_id": P102, "cost_code": renamed})["name"]
        == "Asphalt"
    )
    synced = desk.ok(
        "PATCH", f"{path}/sync", {"updates": [{"origin_id": "cc:1", "name": "P"}]}, project_id=P102
    )
    assert synced["entities"][0]["id"] == made["id"]
    found = desk.ok("GET", path, project_id=P102, **{"filters[origin_id]": "cc:1"})
    assert [row["name"] for row in found] == ["P"]
    assert desk.ok("GET", f"{path}/{made['id']}", project_id=P102)["parent"] == {"id": division["id"]}


def test_company_lists_can_be_loaded_and_read(desk: Desk) -> None:
    desk.vendor.load(
        {
            "uoms": [{"company_id": COMPANY, "name": "hours"}],
            "tax_codes": [{"company_id": COMPANY, "code": "VAT", "rate1": Decimal("8.1")}],
            "sub_jobs": [{"project_id": P102, "code": "SJ1", "name": "East wing"}],
            "standard_cost_code_lists": [{"id": 5, "company_id": COMPANY, "name": "CSI"}],
            "standard_cost_codes": [
                {"company_id": COMPANY, "standard_cost_code_list_id": 5, "code": "03", "name": "Concrete"}
            ],
        }
    )
    assert [row["name"] for row in desk.ok("GET", f"/rest/v1.0/companies/{COMPANY}/uoms")] == ["hours"]
    assert desk.ok("GET", "/rest/v1.0/tax_codes", company_id=COMPANY)[0]["rate1"] == Decimal("8.1")
    assert desk.ok("GET", "/rest/v1.0/sub_jobs", project_id=P102)[0]["code"] == "SJ1"
    assert desk.ok("GET", "/rest/v1.0/standard_cost_code_lists", company_id=COMPANY)[0]["name"] == "CSI"
    query = {"company_id": COMPANY, "standard_cost_code_list_id": 5}
    assert set(desk.ok("GET", "/rest/v1.0/standard_cost_codes", **query)[0]) == {"id"}
    assert desk.ok("GET", "/rest/v1.0/standard_cost_codes", **query, view="extended")[0]["code"] == "03"
    types = {
        row["code"]: row["base_type"] for row in desk.ok("GET", "/rest/v1.0/line_item_types", project_id=P102)
    }
    assert types == {"M": "materials", "L": "labor", "S": "commitment", "E": "equipment"}


def test_budget_rows_count_direct_costs_but_drafts_and_show_unbudgeted_codes(desk: Desk) -> None:
    codes = desk.codes()
    desk.bill("1", amount="1000.00")
    desk.bill("2", amount="500.00", status="draft")
    desk.bill("3", amount="70.00", line_items=[{"wbs_code_id": codes["06-1000.M"], "manual_amount": 70}])
    view = desk.ok("GET", "/rest/v1.0/budget_views", project_id=P101)[0]["id"]
    path = f"/rest/v1.0/budget_views/{view}"

    def rows(kind: str, **query: object) -> dict[str, tuple[object, object]]:
        found = desk.ok("GET", f"{path}/detail_rows", project_id=P101, budget_row_type=kind, **query)
        return {row["wbs_code"]["flat_code"]: (row["id"], row["Direct Costs"]) for row in found}

    assert rows("budgeted") == {"03-3000.M": (51, "1000.00")}
    assert rows("unbudgeted") == {"06-1000.M": (None, "70.00"), "26-0500.S": (None, "0.00")}
    assert set(rows("all")) == {"03-3000.M", "06-1000.M", "26-0500.S"}
    carpentry = desk.ok("GET", "/rest/v1.0/cost_codes", project_id=P101)[1]["id"]
    assert set(rows("all", **{"cost_code_id[]": carpentry})) == {"06-1000.M"}
    sums = desk.ok("GET", f"{path}/summary_rows", project_id=P101, group_by="category", budget_row_type="all")
    assert [(row["name"], row["Direct Costs"]) for row in sums] == [
        ("Materials", "1070.00"),
        ("Subcontract", "0.00"),
    ]
    columns = desk.ok("GET", f"{path}/budget_detail_columns", project_id=P101)
    assert "Projected over Under" in [column["name"] for column in columns]
    assert len(desk.ok("POST", f"{path}/budget_details", {}, project_id=P101)) == 2


def test_committed_and_invoiced_costs_are_in_the_fixed_figures(desk: Desk) -> None:
    code = desk.codes()["26-0500.S"]
    made = desk.ok("POST", "/rest/v1.0/budget_line_items/sync", {"project_id": P102, "budget_line_items": []})
    assert made == []
    desk.vendor.load({"budget_line_items": [{"id": 52, "project_id": P101, "wbs_code_id": code}]})
    line = desk.ok("GET", f"{BUDGET_LINES}/52", project_id=P101)
    assert line["committed_costs"] == 100_000
    assert line["projected_over_under"] == -100_000
    assert line["cost_code"]["full_code"] == "26-0500"


def test_a_locked_budget_keeps_its_amounts_and_takes_costs(desk: Desk) -> None:
    assert desk.ok("GET", f"/rest/v1.0/projects/{P101}/budget") == {"locked": True}
    change = {"project_id": P101, "budget_line_item": {"original_budget_amount": 1}}
    assert desk.refused("PATCH", f"{BUDGET_LINES}/51", change)[0] == 422
    assert desk.bill()["status"] == "approved"


def test_budget_lines_are_made_changed_and_synced(desk: Desk) -> None:
    codes = desk.codes(P102)
    item = {"wbs_code_id": codes["03-3000.M"], "original_budget_amount": Decimal("1500.50")}
    made = desk.ok("POST", "/rest/v1.1/budget_line_items", {"project_id": P102, "budget_line_item": item})
    assert made["original_budget_amount"] == Decimal("1500.50")
    assert (
        desk.refused("POST", "/rest/v1.1/budget_line_items", {"project_id": P102, "budget_line_item": {}})[0]
        == 400
    )
    assert (
        desk.refused("POST", "/rest/v1.1/budget_line_items", {"project_id": P102, "budget_line_item": item})[
            0
        ]
        == 422
    )
    path = f"/rest/v1.1/budget_line_items/{made['id']}"
    automatic = {"quantity": 3, "unit_cost": Decimal("0.335"), "calculation_strategy": "automatic"}
    changed = desk.ok("PATCH", path, {"project_id": P102, "budget_line_item": automatic})
    assert changed["original_budget_amount"] == Decimal("1.01")
    assert desk.ok("GET", path, project_id=P102)["wbs_code"]["flat_code"] == "03-3000.M"
    rows = [
        {"wbs_code_id": codes["03-3000.M"], "calculation_strategy": "manual", "original_budget_amount": 7}
    ]
    synced = desk.ok("POST", f"{BUDGET_LINES}/sync", {"project_id": P102, "budget_line_items": rows})
    assert [(row["id"], row["original_budget_amount"]) for row in synced] == [(made["id"], 7)]
    pair = desk.ok("GET", "/rest/v1.0/cost_codes", project_id=P102)[1]["id"]
    kind = desk.ok("GET", "/rest/v1.0/line_item_types", company_id=COMPANY)[0]["id"]
    old = {"cost_code_id": pair, "line_item_type_id": kind, "original_budget_amount": 9}
    assert desk.ok("POST", BUDGET_LINES, {"project_id": P102, "budget_line_item": old})["revised_budget"] == 9


@pytest.mark.parametrize("id", [999, 51])
def test_a_budget_line_of_another_project_is_not_found(desk: Desk, id: int) -> None:
    assert desk.refused("GET", f"{BUDGET_LINES}/{id}", project_id=P102)[0] == 404
