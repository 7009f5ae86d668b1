"""Direct costs of the imitated Procore: both versions, sync, lines, totals, numbers, locks."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ml_connector_tests.sandbox.procore_desk import (
    ABSENT,
    BRIGHT,
    GRANITE,
    IDLE,
    P101,
    P102,
    P103,
    Desk,
    open_desk,
)

V10 = f"/rest/v1.0/projects/{P101}/direct_costs"
V11 = f"/rest/v1.1/projects/{P101}/direct_costs"
TAKEN = ["has already been taken"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


def _header(number: str = "77", **more: Any) -> dict[str, Any]:
    return {"direct_cost_type": "invoice", "vendor_id": GRANITE, "invoice_number": number, **more}


def _sync(desk: Desk, path: str, *updates: Any) -> tuple[list[Any], list[Any]]:
    body = desk.ok("PATCH", f"{path}/sync", {"updates": list(updates)})
    return body["entities"], body["errors"]


def _total(desk: Desk, cost: Any) -> str:
    total: str = desk.ok("GET", f"{V11}/{cost['id']}")["grand_total"]
    return total


def test_S01_one_line_is_posted_and_read_back_in_every_form(desk: Desk) -> None:
    line = {"wbs_code_id": desk.codes()["03-3000.M"], "manual_amount": 1250, "ref": "1", "origin_id": "b:1:1"}
    made = desk.bill(origin_id="b:1", line_items=[line])
    assert (made["grand_total"], made["vendor"]["name"]) == ("1250.0", "Granite Supply")
    assert (made["line_items"][0]["ref"], made["line_items"][0]["amount"]) == ("1", "1250.0")
    assert made["line_items"][0]["wbs_code"]["flat_code"] == "03-3000.M"
    assert "ref" not in desk.ok("GET", f"{V11}/{made['id']}")["line_items"][0]
    assert "line_items" not in desk.ok("GET", f"{V10}/{made['id']}")
    listed = desk.ok("GET", V11, **{"filters[origin_id]": "b:1"})
    assert [(row["vendor"], row["amount"]) for row in listed] == [("Granite Supply", "1250.0")]
    live = desk.vendor.live("direct_costs")
    assert [(cost["writes"], len(cost["line_items"]), cost["project_id"]) for cost in live] == [(1, 1, P101)]


def test_the_two_versions_want_their_own_body_key_and_v10_takes_no_lines(desk: Desk) -> None:
    assert desk.refused("POST", V11, {"item": _header()})[0] == 400
    assert desk.refused("POST", V10, {"direct_cost": _header()})[0] == 400
    made = desk.ok("POST", V10, {"item": _header(line_items=[{"manual_amount": 5}])})
    assert (made["status"], made["grand_total"], made["line_items_count"]) == ("draft", "0.0", 0)


def test_v11_lines_know_no_amount_and_v10_lines_no_manual_amount(desk: Desk) -> None:
    code = desk.codes()["03-3000.M"]
    assert desk.bill("1", line_items=[{"wbs_code_id": code, "amount": 9}])["grand_total"] == "0.0"
    cost = desk.bill("2", line_items=[])
    line = desk.ok(
        "POST", f"{V10}/{cost['id']}/line_items", {"line_item": {"wbs_code_id": code, "manual_amount": 9}}
    )
    assert line["amount"] == "0.0"


def test_a_calculated_amount_is_rounded_half_up_and_a_manual_amount_wins(desk: Desk) -> None:
    code = desk.codes()["03-3000.M"]
    pair = {"wbs_code_id": code, "quantity": Decimal("0.5"), "unit_cost": Decimal("0.25")}
    cost = desk.bill(line_items=[pair, {**pair, "manual_amount": Decimal("7.10")}])
    kinds = [(line["extended_type"], line["amount"]) for line in cost["line_items"]]
    assert kinds == [("calculated", "0.13"), ("manual", "7.1")]
    assert cost["grand_total"] == "7.23"
    path = f"{V10}/{cost['id']}/line_items/{cost['line_items'][1]['id']}"
    changed = {"extended_type": "calculated", "amount": 99, "quantity": 3, "unit_cost": Decimal("33.335")}
    assert desk.ok("PATCH", path, {"line_item": changed})["amount"] == "100.01"
    assert _total(desk, cost) == "100.14"


def test_tax_is_on_top_of_the_line_and_in_the_total(desk: Desk) -> None:
    desk.vendor.load(
        {"tax_codes": [{"id": 6, "company_id": 4_268_001, "code": "T", "rate1": Decimal("8.1")}]}
    )
    line = {"wbs_code_id": desk.codes()["03-3000.M"], "manual_amount": 100, "tax_code_id": 6}
    cost = desk.bill(line_items=[line])
    assert cost["tax_breakdown"] == {
        "subtotal": "100.0",
        "tax_total": "8.1",
        "grand_total": "108.1",
        "tax_details": [],
    }
    assert (
        desk.refused("POST", V11, {"direct_cost": _header(line_items=[{**line, "tax_code_id": 7}])})[0] == 400
    )


@pytest.mark.parametrize(
    ("given", "status", "field"),
    [
        ({"direct_cost_type": "subcontractor_invoice"}, 400, "direct_cost_type"),
        ({"direct_cost_type": None}, 400, "direct_cost_type"),
        ({"status": "Approved"}, 400, "status"),
        ({"vendor_id": None}, 400, "vendor_id"),
        ({"invoice_number": ""}, 400, "invoice_number"),
        ({"vendor_id": 5}, 422, "vendor_id"),
        ({"vendor_id": ABSENT}, 422, "vendor_id"),
        ({"vendor_id": IDLE}, 422, "vendor_id"),
        ({"line_items": [{}] * 101}, 400, "line_items"),
        ({"line_items": [{"manual_amount": 1}]}, 400, "wbs_code_id"),
        ({"line_items": [{"manual_amount": "much", "wbs_code_id": 1}]}, 400, "manual_amount"),
        ({"line_items": [{"manual_amount": 1, "wbs_code_id": 1}]}, 422, "wbs_code_id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_direct_cost_is_refused_whole(
    desk: Desk, given: dict[str, Any], status: int, field: str
) -> None:
    answer = desk.refused("POST", V11, {"direct_cost": _header() | given})
    assert (answer[0], list(answer[1]["errors"])) == (status, [field])
    assert desk.ok("GET", V11) == []
    assert desk.vendor.live("direct_cost_lines") == []


def test_the_rules_about_vendors_can_be_switched_off(desk: Desk) -> None:
    desk.vendor.switch("vendor_must_be_on_project", False)
    desk.vendor.switch("inactive_vendor", "accept")
    assert desk.bill("1", vendor_id=ABSENT)["vendor_id"] == ABSENT
    assert desk.bill("2", vendor_id=IDLE)["vendor_id"] == IDLE


def test_S88_an_inactive_project_refuses_writes_and_can_be_read(desk: Desk) -> None:
    path = f"/rest/v1.1/projects/{P103}/direct_costs"
    assert desk.refused("POST", path, {"direct_cost": _header()})[0] == 403
    assert desk.ok("GET", path) == []
    desk.vendor.switch("inactive_project", "accept")
    assert desk.ok("POST", path, {"direct_cost": _header()})["status"] == "draft"


def test_a_badly_formed_date_becomes_null_without_a_word(desk: Desk) -> None:
    cost = desk.bill("1", direct_cost_date="02/08/2026", received_date="2026-02-09")
    assert (cost["direct_cost_date"], cost["received_date"]) == (None, "2026-02-09")
    desk.vendor.switch("bad_dates", "refuse")
    assert desk.refused("POST", V11, {"direct_cost": _header(direct_cost_date="soon")})[0] == 400


def test_S13_a_vendors_number_is_unique_within_a_project(desk: Desk) -> None:
    desk.bill("INV-1001")
    assert desk.refused("POST", V11, {"direct_cost": _header("INV-1001")}) == (
        422,
        {"errors": {"invoice_number": TAKEN}},
    )
    assert desk.bill("INV-1001", project=P102)["invoice_number"] == "INV-1001"
    desk.vendor.switch("duplicate_invoice_status", 409)
    assert desk.refused("POST", V11, {"direct_cost": _header("INV-1001")})[0] == 409
    desk.vendor.switch("invoice_number_scope", "company")
    desk.bill("INV-1002")
    path = f"/rest/v1.1/projects/{P102}/direct_costs"
    assert desk.refused("POST", path, {"direct_cost": _header("INV-1002")})[0] == 409
    desk.vendor.switch("invoice_number_scope", "off")
    assert desk.bill("INV-1001")["invoice_number"] == "INV-1001"


def test_S73_a_deleted_cost_leaves_lists_and_frees_number_and_origin(desk: Desk) -> None:
    cost = desk.bill("9", origin_id="b:9")
    assert desk.ok("DELETE", f"{V11}/{cost['id']}") == {"id": cost["id"]}
    assert desk.ok("GET", V11) == []
    assert desk.ok("GET", f"{V10}/line_items") == []
    assert desk.refused("DELETE", f"{V11}/{cost['id']}")[0] == 404
    assert desk.refused("GET", f"{V11}/{cost['id']}")[0] == 404
    desk.vendor.switch("deleted_direct_cost_status", 200)
    assert desk.ok("GET", f"{V11}/{cost['id']}")["deleted_at"] is not None
    assert desk.vendor.live("direct_costs") == []
    assert desk.bill("9", origin_id="b:9")["id"] != cost["id"]


def test_F14_a_taken_origin_id_is_refused_on_create_for_header_and_line(desk: Desk) -> None:
    code = desk.codes()["03-3000.M"]
    desk.bill(
        "1", origin_id="b:1", line_items=[{"wbs_code_id": code, "manual_amount": 1, "origin_id": "b:1:1"}]
    )
    status, body = desk.refused("POST", V11, {"direct_cost": _header("2", origin_id="b:1")})
    assert (status, body) == (422, {"errors": {"origin_id": TAKEN}})
    line = {"wbs_code_id": code, "manual_amount": 1, "origin_id": "b:1:1"}
    assert desk.refused("POST", V11, {"direct_cost": _header("2", line_items=[line])})[0] == 422
    line["origin_id"] = "b:2:1"
    assert desk.refused("POST", V11, {"direct_cost": _header("2", line_items=[line, line])})[0] == 422


def test_a_cost_of_the_type_expense_needs_a_vendor_only_by_switch(desk: Desk) -> None:
    expense = {"direct_cost_type": "expense", "direct_cost_date": "2026-02-08"}
    assert desk.ok("POST", V11, {"direct_cost": expense})["vendor_id"] is None
    desk.vendor.switch("expense_needs_vendor", True)
    status, body = desk.refused("POST", V11, {"direct_cost": expense})
    assert (status, body) == (400, {"errors": {"vendor_id": ["can't be blank"]}})


def test_S69_a_v11_patch_changes_adds_and_keeps_lines(desk: Desk) -> None:
    codes = desk.codes()
    cost = desk.bill(line_items=[{"wbs_code_id": codes["03-3000.M"], "manual_amount": n} for n in (10, 20)])
    first, second = (line["id"] for line in cost["line_items"])
    change = {
        "invoice_number": "ignored",
        "direct_cost_type": "expense",
        "line_items": [
            {"id": first, "manual_amount": 11},
            {"wbs_code_id": codes["06-1000.M"], "manual_amount": 5},
        ],
    }
    changed = desk.ok("PATCH", f"{V11}/{cost['id']}", {"direct_cost": change})
    assert [line["amount"] for line in changed["line_items"]] == ["11.0", "20.0", "5.0"]
    assert (changed["grand_total"], changed["invoice_number"]) == ("36.0", "4471")
    assert changed["direct_cost_type"] == "invoice"
    assert (
        desk.refused("PATCH", f"{V11}/{cost['id']}", {"direct_cost": {"line_items": [{"id": 4}]}})[0] == 400
    )
    renumbered = desk.ok("PATCH", f"{V10}/{cost['id']}", {"item": {"invoice_number": "9"}})
    assert renumbered["invoice_number"] == "9"
    desk.vendor.switch("patch_left_out_lines", "delete")
    kept = desk.ok("PATCH", f"{V11}/{cost['id']}", {"direct_cost": {"line_items": [{"id": second}]}})
    assert [line["id"] for line in kept["line_items"]] == [second]
    assert kept["grand_total"] == "20.0"


def test_lines_are_made_read_changed_and_deleted_one_by_one(desk: Desk) -> None:
    cost = desk.bill(line_items=[])
    path = f"{V10}/{cost['id']}/line_items"
    kind = {row["code"]: row["id"] for row in desk.ok("GET", "/rest/v1.0/line_item_types", project_id=P101)}
    code = desk.ok("GET", "/rest/v1.0/cost_codes", project_id=P101)[1]["id"]
    pair = {"cost_code_id": code, "line_item_type_id": kind["S"], "amount": Decimal("3.335")}
    made = desk.ok("POST", path, {"line_item": pair})
    assert (made["wbs_code"]["flat_code"], made["amount"]) == ("06-1000.S", "3.34")
    assert desk.ok("GET", f"{path}/{made['id']}")["holder"]["id"] == cost["id"]
    assert [line["id"] for line in desk.ok("GET", path)] == [made["id"]]
    assert desk.ok("PATCH", f"{path}/{made['id']}", {"line_item": {"description": "x"}})["amount"] == "3.34"
    assert _total(desk, cost) == "3.34"
    assert desk.call("DELETE", f"{path}/{made['id']}").status == 200
    assert _total(desk, cost) == "0.0"
    assert [record["writes"] for record in desk.vendor.live("direct_costs")] == [4]


def test_S103_header_sync_upserts_by_origin_id_and_settles_each_row(desk: Desk) -> None:
    rows = [_header(str(n), origin_id=f"b:{n}", status="approved") for n in range(3)]
    entities, errors = _sync(desk, V10, *rows, {**rows[0], "origin_id": "b:9"}, {**rows[0], "vendor_id": 5})
    assert [row["origin_id"] for row in entities] == ["b:0", "b:1", "b:2"]
    assert errors[0]["errors"] == {"invoice_number": TAKEN}
    assert errors[1]["errors"] == {"vendor_id": ["is not a vendor of the company"]}
    again, _ = _sync(desk, V10, {"origin_id": "b:1", "invoice_number": "1b", "payment_date": "2026-03-01"})
    assert (again[0]["id"], again[0]["invoice_number"]) == (entities[1]["id"], "1b")
    _, errors = _sync(desk, f"/rest/v1.0/projects/{P102}/direct_costs", _header("5", origin_id="b:1"))
    assert errors[0]["errors"] == {"origin_id": TAKEN}
    assert desk.refused("PATCH", f"{V10}/sync", {"updates": [{}] * 1001})[0] == 413
    assert desk.refused("PATCH", f"{V10}/sync", {"rows": []})[0] == 400


def test_S103_line_sync_refuses_single_lines_and_the_total_follows_the_rest(desk: Desk) -> None:
    codes, foreign = desk.codes(), desk.codes(P102)["03-3000.M"]
    costs = [desk.bill(str(n), line_items=[]) for n in range(2)]
    wbs = f"/rest/v1.0/projects/{P101}/work_breakdown_structure/wbs_codes/{codes['01-5000.E']}"
    desk.ok("PATCH", wbs, {"status": "inactive"})

    def line(cost: Any, ordinal: int, **more: Any) -> dict[str, Any]:
        start = {"direct_cost_id": cost["id"], "origin_id": f"{cost['id']}:{ordinal}", "amount": 10}
        return {**start, "wbs_code_id": codes["03-3000.M"], **more}

    rows = [
        line(costs[0], 1),
        line(costs[0], 2, wbs_code_id=foreign),
        line(costs[1], 1, amount=Decimal("-2.50")),
        line(costs[1], 2, wbs_code_id=codes["01-5000.E"]),
        line({"id": 4}, 1),
        line(costs[1], 3, amount="x"),
    ]
    entities, errors = _sync(desk, f"{V10}/line_items", *rows)
    assert [row["origin_id"] for row in entities] == [rows[0]["origin_id"], rows[2]["origin_id"]]
    assert [list(row["errors"]) for row in errors] == [
        ["wbs_code_id"],
        ["wbs_code_id"],
        ["direct_cost_id"],
        ["amount"],
    ]
    assert (_total(desk, costs[0]), _total(desk, costs[1])) == ("10.0", "-2.5")
    moved = {"origin_id": rows[0]["origin_id"], "direct_cost_id": costs[1]["id"], "amount": 1}
    assert _sync(desk, f"{V10}/line_items", moved)[1][0]["errors"] == {"origin_id": TAKEN}
    _sync(desk, f"{V10}/line_items", {"origin_id": rows[0]["origin_id"], "amount": 12})
    assert _total(desk, costs[0]) == "12.0"
    found = desk.ok("GET", f"{V10}/line_items", **{"filters[direct_cost_id]": costs[1]["id"]})
    assert [row["amount"] for row in found] == ["-2.5"]


def test_S11_negative_lines_can_be_refused(desk: Desk) -> None:
    assert desk.bill("1", amount="-120.00")["grand_total"] == "-120.0"
    desk.vendor.switch("negative_lines", "refuse")
    line = {"wbs_code_id": desk.codes()["03-3000.M"], "manual_amount": -1}
    assert desk.refused("POST", V11, {"direct_cost": _header(line_items=[line])})[0] == 422


@pytest.mark.parametrize(("lock", "unlocks"), [("never", True), ("except_origin", True), ("always", False)])
def test_S79_an_origin_id_may_lock_the_whole_direct_cost(desk: Desk, lock: str, unlocks: bool) -> None:
    cost = desk.bill(origin_id="b:1")
    desk.vendor.switch("direct_cost_lock", lock)
    path, line = f"{V11}/{cost['id']}", {"line_item": {"amount": 5}}
    change = {"direct_cost": {"description": "new"}}
    if lock == "never":
        assert desk.ok("PATCH", path, change)["description"] == "new"
        return
    notice = {"errors": "This record is not editable because it has been synced with ERP"}
    assert desk.refused("PATCH", path, change) == (422, notice)
    assert (
        desk.refused("PATCH", f"{V10}/{cost['id']}/line_items/{cost['line_items'][0]['id']}", line)[0] == 422
    )
    assert desk.refused("DELETE", path)[0] == 422
    assert _sync(desk, V10, {"origin_id": "b:1", "terms": "Net 30"})[1][0]["errors"] == {
        "base": [notice["errors"]]
    }
    assert _sync(desk, V10, {"origin_id": "b:1", "invoice_number": "4471"})[1] == []
    desk.vendor.switch("lock_applies_to_sync", False)
    assert _sync(desk, V10, {"origin_id": "b:1", "terms": "Net 30"})[1] == []
    answer = desk.call("PATCH", path, {"direct_cost": {"origin_id": None}})
    assert (answer.status == 200) == unlocks
    assert (desk.call("PATCH", path, change).status == 200) == unlocks


def test_two_writes_close_together_can_collide(desk: Desk) -> None:
    desk.vendor.switch("direct_cost_busy_seconds", 2)
    cost = desk.bill(origin_id="b:1")
    row = {"direct_cost_id": cost["id"], "wbs_code_id": desk.codes()["03-3000.M"], "amount": 1}
    assert desk.refused("PATCH", f"{V11}/{cost['id']}", {"direct_cost": {"terms": "x"}})[0] == 409
    assert desk.refused("PATCH", f"{V10}/sync", {"updates": [{"origin_id": "b:1", "terms": "x"}]})[0] == 409
    assert desk.refused("PATCH", f"{V10}/line_items/sync", {"updates": [row]})[0] == 409
    desk.vendor._state.clock.set({"frozen": "2026-02-10T12:00:02+00:00"})
    assert desk.ok("PATCH", f"{V11}/{cost['id']}", {"direct_cost": {"terms": "x"}})["terms"] == "x"


def test_lists_are_filtered_by_number_and_dates(desk: Desk) -> None:
    first, second = desk.bill("1", payment_date="2026-02-03"), desk.bill("2", received_date="2026-03-04")

    def found(**query: object) -> list[int]:
        return [row["id"] for row in desk.ok("GET", V10, **query)]

    assert found(**{"filters[invoice_number]": "2"}) == [second["id"]]
    assert found(**{"filters[payment_date]": "2026-02-01...2026-02-28"}) == [first["id"]]
    assert found(**{"filters[received_date]": "2026-03-04"}) == [second["id"]]
    assert found(**{"filters[id]": first["id"]}) == [first["id"]]
    assert found(**{"filters[created_at]": "2026-02-10...2026-02-10"}) == [first["id"], second["id"]]


def test_loaded_costs_are_taken_as_given_and_totalled(desk: Desk) -> None:
    line = {"flat_code": "03-3000.L", "amount": Decimal("12.34"), "origin_id": "x"}
    odd = {"id": 31, "project_id": P101, "vendor_id": BRIGHT, "invoice_number": "hand", "line_items": [line]}
    desk.vendor.load({"direct_costs": [odd, {**odd, "id": 32, "line_items": []}]})
    assert [row["grand_total"] for row in desk.ok("GET", V11)] == ["12.34", "0.0"]


def test_records_survive_a_restart(desk: Desk, tmp_path: Path) -> None:
    from ml_connector.sandbox.clock import Clock
    from ml_connector.sandbox.procore.vendor import ProcoreVendor
    from ml_connector.sandbox.records import Records

    cost = desk.bill(origin_id="b:1")
    desk.vendor._state.records.commit()
    clock = Clock()
    clock.set({"frozen": "2026-02-10T12:00:01+00:00"})
    again = Desk(ProcoreVendor(Records(tmp_path / "procore.sqlite"), clock))
    again.headers = desk.headers
    assert again.ok("GET", f"{V11}/{cost['id']}") == desk.ok("GET", f"{V11}/{cost['id']}")
