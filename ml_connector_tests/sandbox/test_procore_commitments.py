"""Commitments, billing periods, subcontractor invoices and contract payments of the imitated Procore."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ml_connector_tests.sandbox.procore_desk import (
    BRIGHT,
    COMPANY,
    GRANITE,
    P101,
    P102,
    SC_007,
    Desk,
    open_desk,
)

REQUISITIONS = "/rest/v1.1/requisitions"
PAYMENTS = "/rest/v1.0/contract_payments"
WORK_ORDERS = "/rest/v1.0/work_order_contracts"
PURCHASE_ORDERS = "/rest/v1.0/purchase_order_contracts"
PERIODS = f"/rest/v1.0/projects/{P101}/billing_periods"
ITEMS = {"view": "items"}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


def _item(line: int, work: str = "0.00", **more: str) -> dict[str, Any]:
    return {"line_item_id": line, "item_type": "contract_item", "work_completed_this_period": work, **more}


def _held(amount: str) -> dict[str, str]:
    return {"work_completed_retainage_retained_this_period": amount}


def _released(amount: str) -> dict[str, str]:
    return {"work_completed_retainage_released_this_period": amount}


def _body(*items: dict[str, Any], **header: Any) -> dict[str, Any]:
    requisition = {"status": "approved", "period_id": 3301, "items": list(items), **header}
    return {"project_id": P101, "commitment_id": SC_007, "requisition": requisition}


def _invoice(desk: Desk, *items: dict[str, Any], **header: Any) -> Any:
    return desk.ok("POST", REQUISITIONS, _body(*items, **header), **ITEMS)


def _pay(desk: Desk, amount: str, **more: Any) -> Any:
    payment = {"date": "2026-03-01", "amount": amount, "payment_method": "check", **more}
    return desk.ok("POST", PAYMENTS, {"project_id": P101, "contract_id": SC_007, "contract_payment": payment})


def _contract(desk: Desk) -> Any:
    return desk.ok("GET", f"/rest/v1.0/commitments/{SC_007}", project_id=P101)


def _due(requisition: Any) -> str:
    due: str = requisition["summary"]["current_payment_due"]
    return due


def test_S33_a_progress_bill_holds_retainage_and_the_net_is_due(desk: Desk) -> None:
    made = _invoice(desk, _item(1, "10000.00", **_held("1000.00")), invoice_number="BE-14", origin_id="b:1")
    first, second = made["items"]
    assert (_due(made), made["number"], made["invoice_type"]) == ("9000.00", 1, "progress")
    assert first["work_completed_retainage_percent_this_period"] == "10.00"
    assert (first["gross_amount"], first["net_amount"]) == ("10000.00", "9000.00")
    assert second["work_completed_this_period"] == "0.00"
    assert (made["percent_complete"], made["vendor_name"], made["deletable"]) == (
        "10.00",
        "Bright Electric",
        True,
    )
    found = desk.ok("GET", REQUISITIONS, project_id=P101, **{"filters[origin_id]": "b:1"})
    assert [row["id"] for row in found] == [made["id"]]
    assert "items" not in found[0]
    live = desk.vendor.live("requisitions")[0]
    assert (live["current_payment_due"], live["payment_status"]) == ("9000.00", "unpaid")


def test_S34_S36_retainage_is_released_alone_or_with_work_and_never_more_than_is_held(desk: Desk) -> None:
    _invoice(desk, _item(1, "10000.00", **_held("1000.00")))
    too_much = _body(_item(1, **_released("1200.00")))
    status, body = desk.refused("POST", REQUISITIONS, too_much)
    assert (status, list(body["errors"])) == (422, ["work_completed_retainage_released_this_period"])
    assert len(desk.vendor.live("requisitions")) == 1
    both = _invoice(desk, _item(1, "5000.00", **_held("250.00"), **_released("300.00")))
    assert (_due(both), both["invoice_type"]) == ("5050.00", "progress_and_retainage_release")
    assert both["items"][0]["work_completed_from_previous_application"] == "10000.00"
    assert both["items"][0]["work_completed_retainage_from_previous_application"] == "1000.00"
    alone = _invoice(desk, _item(1, **_released("950.00")))
    assert (_due(alone), alone["invoice_type"]) == ("950.00", "retainage_release")
    assert alone["summary"]["total_retainage"] == "0.00"
    assert alone["previous_requisition_id"] == both["id"]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, ("1000.00", "10")),
        (_held("0.00"), ("0.00", "0.00")),
        (_held("0.00") | {"work_completed_retainage_percent_this_period": "5"}, ("500.00", "5.00")),
        (_held("700") | {"work_completed_retainage_percent_this_period": "5"}, ("700.00", "7.00")),
    ],
    ids=["nothing sent: the contract's rate", "zero amount", "zero amount with a rate", "amount wins"],
)
def test_retainage_amount_and_percentage_exclude_one_another(
    desk: Desk, fields: dict[str, str], kept: tuple[str, str]
) -> None:
    item = _invoice(desk, _item(1, "10000.00", **fields))["items"][0]
    assert item["work_completed_retainage_retained_this_period"] == kept[0]
    assert Decimal(item["work_completed_retainage_percent_this_period"]) == Decimal(kept[1])


def test_retainage_without_work_is_not_kept(desk: Desk) -> None:
    assert _due(_invoice(desk, _item(1, "0.00", **_held("500.00")))) == "0.00"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": "Draft"}, "commitment_id"),
        ({"allow_payment_applications": False}, "commitment_id"),
        ({"vendor_id": None}, "commitment_id"),
    ],
    ids=["not approved", "invoices off", "no vendor"],
)
def test_S40_the_conditions_of_an_invoice_are_enforced_unless_switched_off(
    desk: Desk, change: dict[str, Any], field: str
) -> None:
    contract = {"id": 77, "project_id": P101, "status": "Approved", "vendor_id": BRIGHT, **change}
    desk.vendor.load({"commitments": [contract]})
    body = {"project_id": P101, "commitment_id": 77, "requisition": {"period_id": 3301}}
    status, answer = desk.refused("POST", REQUISITIONS, body)
    assert (status, list(answer["errors"])) == (422, [field])
    desk.vendor.switch("requisition_conditions", "accept")
    assert desk.ok("POST", REQUISITIONS, body)["number"] == 1


def test_S44_a_closed_or_missing_period_is_refused_and_the_open_one_is_filled_in(desk: Desk) -> None:
    assert _invoice(desk, period_id=None)["period_id"] == 3301
    path = f"{PERIODS}/3301"
    closed = {
        "start_date": "2026-02-01",
        "end_date": "2026-02-28",
        "due_date": "2026-03-10",
        "status": "closed",
    }
    assert desk.ok("PATCH", path, {"billing_period": closed})["status"] == "closed"
    assert list(desk.refused("POST", REQUISITIONS, _body())[1]["errors"]) == ["period_id"]
    assert desk.refused("POST", REQUISITIONS, _body(period_id=None))[0] == 422
    assert desk.refused("POST", REQUISITIONS, _body(period_id=5))[0] == 422


def test_one_billing_period_is_open_at_a_time(desk: Desk) -> None:
    march = {"start_date": "2026-03-01", "end_date": "2026-03-31", "due_date": "2026-04-10", "status": "open"}
    assert desk.refused("POST", PERIODS, {"billing_period": march})[0] == 422
    made = desk.ok("POST", PERIODS, {"billing_period": march | {"status": "closed"}})
    assert desk.refused("POST", PERIODS, {"billing_period": {"start_date": "2026-03-01"}})[0] == 400
    assert desk.refused("POST", PERIODS, {"billing_period": march | {"end_date": "2026-01-01"}})[0] == 422
    assert [row["id"] for row in desk.ok("GET", PERIODS, **{"filters[status]": "open"})] == [3301]
    assert desk.ok("GET", f"{PERIODS}/{made['id']}")["position"] == 2
    _invoice(desk)
    assert desk.refused("DELETE", f"{PERIODS}/3301")[0] == 422
    assert desk.call("DELETE", f"{PERIODS}/{made['id']}").status == 200


def test_S41_S57_overbilling_and_negative_work_are_refused_only_by_switch(desk: Desk) -> None:
    _invoice(desk, _item(1, "59000.00"))
    assert _due(_invoice(desk, _item(1, "2000.00", **_held("0")))) == "2000.00"
    assert _due(_invoice(desk, _item(1, "-2000.00", **_held("0")))) == "-2000.00"
    desk.vendor.switch("overbilling", "refuse")
    assert desk.refused("POST", REQUISITIONS, _body(_item(1, "1000.01")))[0] == 422
    desk.vendor.switch("negative_requisitions", "refuse")
    assert desk.refused("POST", REQUISITIONS, _body(_item(1, "-0.01")))[0] == 422
    assert len(desk.vendor.live("requisitions")) == 3


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([_item(99, "1")], 422),
        ([_item(1, "1"), _item(1, "1")], 422),
        ([{"line_item_id": 1}], 400),
        ([_item(1, "much")], 400),
    ],
    ids=["foreign line", "twice", "no type", "no number"],
)
def test_a_bad_line_refuses_the_whole_invoice(desk: Desk, rows: list[dict[str, Any]], status: int) -> None:
    assert desk.refused("POST", REQUISITIONS, _body(*rows))[0] == status
    assert desk.vendor.live("requisitions") == []
    assert _invoice(desk)["number"] == 1


def test_an_invoice_is_changed_line_by_line_and_later_ones_follow(desk: Desk) -> None:
    first = _invoice(desk, _item(1, "10000.00", **_held("1000.00")))
    second = _invoice(desk, _item(1, "500.00", **_held("0")))
    item = {
        "id": first["items"][0]["id"],
        "item_type": "contract_item",
        "work_completed_this_period": "9500.00",
    }
    body = {"project_id": P101, "commitment_id": SC_007, "requisition": {"items": [item]}}
    path = f"{REQUISITIONS}/{first['id']}"
    assert _due(desk.ok("PATCH", path, body)) == "8500.00"
    later = desk.ok("GET", f"{REQUISITIONS}/{second['id']}", project_id=P101)
    assert (_due(later), later["summary"]["total_completed_and_stored_to_date"]) == ("500.00", "10000.00")
    body["requisition"] = {"items": [{"item_type": "contract_item"}]}
    assert desk.refused("PATCH", path, body)[0] == 400
    assert desk.refused("PATCH", path, {"project_id": P101, "requisition": {}})[0] == 400
    rows = desk.ok("GET", f"/rest/v1.0/requisitions/{first['id']}/change_histories", project_id=P101)
    assert [(row["column"], row["old_value"], row["new_value"]) for row in rows] == [
        ("work_completed_this_period", "10000.00", "9500.00"),
        ("work_completed_retainage_percent_this_period", "10.00", "10.53"),
    ]
    desk.vendor.switch("commitments_admin", False)
    assert desk.refused("PATCH", path, body)[0] == 422


def test_v10_makes_the_header_and_fills_the_items_in_bulk(desk: Desk) -> None:
    body = {"project_id": P101, "commitment_id": SC_007, "requisition": {"period_id": 3301, "comment": "hi"}}
    made = desk.ok("POST", "/rest/v1.0/requisitions", body)
    path = f"/rest/v1.0/requisitions/{made['id']}"
    assert desk.refused("GET", f"{path}/contract_items")[0] == 404
    items = desk.ok("GET", f"{path}/contract_items", project_id=P101)
    assert [row["scheduled_value"] for row in items] == ["60000.00", "40000.00"]
    assert desk.ok("GET", f"{path}/contract_detail_items", project_id=P101) == []
    rows = [{"id": items[1]["id"], "item_type": "contract_item", "work_completed_this_period": "400.00"}]
    answer = desk.call("PATCH", f"{path}/bulk_item_update", {"requisition_items": rows}, project_id=P101)
    assert (answer.status, answer.body) == (200, None)
    shown = desk.ok("GET", path, project_id=P101)
    assert (shown["g702"]["current_payment_due"], shown["comment"]) == ("360.00", "hi")
    approved = {"project_id": P101, "commitment_id": SC_007, "requisition": {"status": "approved"}}
    assert desk.ok("PATCH", path, approved)["status"] == "approved"
    assert [row["id"] for row in desk.ok("GET", "/rest/v1.0/requisitions", project_id=P101)] == [made["id"]]
    due = f"/rest/v2.0/companies/{COMPANY}/projects/{P101}/requisitions/{made['id']}/payment_details"
    assert desk.ok("PATCH", due, {"due_date": "2026-04-01"}) == {"data": {"due_date": "2026-04-01"}}


def test_only_the_newest_unlinked_unpaid_invoice_can_be_deleted(desk: Desk) -> None:
    first, second = _invoice(desk), _invoice(desk, _item(1, "10.00"), origin_id="b:2")
    last = desk.ok("GET", REQUISITIONS, project_id=P101, **{"filters[is_last]": "true"})
    assert [row["id"] for row in last] == [second["id"]]
    assert desk.refused("DELETE", f"{REQUISITIONS}/{first['id']}", project_id=P101)[0] == 422
    path = f"{REQUISITIONS}/{second['id']}"
    assert "synced with ERP" in desk.refused("DELETE", path, project_id=P101)[1]["errors"]
    unlink = {"project_id": P101, "commitment_id": SC_007, "requisition": {"origin_id": None}}
    desk.ok("PATCH", path, unlink)
    payment = _pay(desk, "9.00", requisition_id=second["id"])
    assert desk.refused("DELETE", path, project_id=P101)[0] == 422
    desk.call("DELETE", f"{PAYMENTS}/{payment['id']}", project_id=P101, contract_id=SC_007)
    assert desk.call("DELETE", path, project_id=P101).status == 200
    assert _invoice(desk)["number"] == 2


@pytest.mark.parametrize("lock", ["except_origin", "always"])
def test_an_origin_id_may_lock_an_invoice(desk: Desk, lock: str) -> None:
    made = _invoice(desk, _item(1, "10.00"), origin_id="b:1")
    desk.vendor.switch("requisition_lock", lock)
    path = f"{REQUISITIONS}/{made['id']}"

    def patch(**fields: Any) -> int:
        return desk.call(
            "PATCH", path, {"project_id": P101, "commitment_id": SC_007, "requisition": fields}
        ).status

    rows = [{"id": made["items"][0]["id"], "item_type": "contract_item", "work_completed_this_period": "1"}]
    assert (patch(status="draft"), patch(status="approved"), patch(items=rows)) == (422, 200, 422)
    assert patch(origin_id=None) == (200 if lock == "except_origin" else 422)
    assert patch(status="draft") == (200 if lock == "except_origin" else 422)


def test_duplicate_origins_of_invoices_are_refused(desk: Desk) -> None:
    _invoice(desk, origin_id="b:1")
    assert desk.refused("POST", REQUISITIONS, _body(origin_id="b:1"))[0] == 422
    desk.vendor.switch("requisitions_per_period", "one")
    assert desk.refused("POST", REQUISITIONS, _body())[0] == 422
    desk.vendor.switch("requisitions_per_period", "many")
    desk.vendor.switch("billing_date_outside_period", "refuse")
    assert desk.refused("POST", REQUISITIONS, _body(billing_date="2026-03-01"))[0] == 422


def test_S43_an_approved_change_order_is_a_line_of_the_invoice(desk: Desk) -> None:
    contract = {
        "id": 78,
        "project_id": P101,
        "status": "Approved",
        "vendor_id": BRIGHT,
        "line_items": [{"id": 9, "flat_code": "26-0500.S", "amount": Decimal("100.00")}],
        "change_orders": [{"id": 5, "title": "CO-2", "status": "approved", "amount": Decimal("8000.00")}],
    }
    desk.vendor.load({"commitments": [contract]})
    item = {"line_item_id": 5, "item_type": "change_order_item", "work_completed_this_period": "800.00"}
    body = {"project_id": P101, "commitment_id": 78, "requisition": {"period_id": 3301, "items": [item]}}
    made = desk.ok("POST", REQUISITIONS, body, **ITEMS)
    assert [(row["item_type"], row["work_completed_this_period"]) for row in made["items"]] == [
        ("contract_item", "0.00"),
        ("change_order_item", "800.00"),
    ]
    assert made["summary"]["contract_sum_to_date"] == "8100.00"


def test_S50_S51_payments_move_the_totals_of_contract_and_invoice(desk: Desk) -> None:
    invoice = _invoice(desk, _item(1, "10000.00", **_held("1000.00")))
    first = _pay(desk, "4000.00", requisition_id=invoice["id"], origin_id="p:1", check_number="2231")
    assert (first["amount"], first["status"], first["payment_number"]) == ("4000.0", "paid", 1)
    assert desk.vendor.live("requisitions")[0]["payment_status"] == "partially_paid"
    _pay(desk, "5000.00", requisition_id=invoice["id"], origin_id="p:2")
    assert desk.vendor.live("requisitions")[0]["payment_status"] == "paid"
    contract = _contract(desk)
    assert (contract["total_payments"], contract["percentage_paid"]) == ("9000.0", "9")
    assert contract["remaining_balance_outstanding"] == "91000.0"
    assert contract["total_requisitions_amount"] == "9000.0"
    assert [row["origin_id"] for row in contract["payments_issued"]] == ["p:1", "p:2"]
    v2 = f"/rest/v2.0/companies/{COMPANY}/projects/{P101}/commitment_contracts/{SC_007}/summary"
    assert desk.ok("GET", v2)["data"]["total_payments_amount"] == "9000.0"


def test_F14b_payments_are_listed_by_contract_alone_and_a_filter_is_ignored(desk: Desk) -> None:
    _pay(desk, "1.00", origin_id="p:1")
    _pay(desk, "1.00", origin_id="p:2")
    query = {"project_id": P101, "contract_id": SC_007}
    assert len(desk.ok("GET", PAYMENTS, **query, **{"filters[origin_id]": "p:1"})) == 2
    assert desk.refused("GET", PAYMENTS, project_id=P101)[0] == 404
    assert desk.refused("GET", PAYMENTS, contract_id=SC_007)[0] == 404


@pytest.mark.parametrize(
    ("lock", "change", "unlink", "delete"),
    [
        ("refuse", 422, 200, 422),
        ("always", 422, 422, 422),
        ("ignore", 200, 200, 422),
        ("allow", 200, 200, 200),
    ],
)
def test_S62_a_linked_payment_is_locked(desk: Desk, lock: str, change: int, unlink: int, delete: int) -> None:
    desk.vendor.switch("contract_payment_lock", lock)
    payment = _pay(desk, "5.00", origin_id="p:1")
    path, query = f"{PAYMENTS}/{payment['id']}", {"project_id": P101, "contract_id": SC_007}

    def patch(**fields: Any) -> int:
        return desk.call("PATCH", path, {**query, "contract_payment": fields}).status

    assert patch(amount="6.00") == change
    assert desk.ok("GET", path, **query)["amount"] == ("6.0" if lock == "allow" else "5.0")
    answer = desk.call("DELETE", path, **query)
    assert answer.status == delete
    if delete == 422:
        assert "cannot be edited or deleted because it is synced with an ERP system" in answer.body["errors"]
        assert patch(origin_id=None) == unlink
        assert patch(amount="7.00") == (200 if unlink == 200 else 422)
        assert desk.call("DELETE", path, **query).status == (200 if unlink == 200 else 422)


@pytest.mark.parametrize(
    ("payment", "status"),
    [
        ({"amount": "1.00"}, 400),
        ({"date": "2026-03-01"}, 400),
        ({"date": "2026-03-01", "amount": "x"}, 400),
        ({"date": "2026-03-01", "amount": "1", "payment_method": "cash"}, 400),
        ({"date": "2026-03-01", "amount": "1", "requisition_id": 4}, 422),
        ({"date": "2026-03-01", "amount": "1", "origin_id": "p:1"}, 422),
    ],
)
def test_a_bad_payment_is_refused(desk: Desk, payment: dict[str, Any], status: int) -> None:
    _pay(desk, "1.00", origin_id="p:1")
    body = {"project_id": P101, "contract_id": SC_007, "contract_payment": payment}
    assert desk.refused("POST", PAYMENTS, body)[0] == status
    assert len(desk.vendor.live("contract_payments")) == 1


def test_payments_may_be_off_on_a_contract_and_a_reversal_is_negative(desk: Desk) -> None:
    desk.vendor.load({"commitments": [{"id": 79, "project_id": P101, "allow_payments": False}]})
    payment = {"date": "2026-03-01", "amount": "1.00"}
    body = {"project_id": P101, "contract_id": 79, "contract_payment": payment}
    assert desk.refused("POST", PAYMENTS, body)[0] == 422
    desk.vendor.switch("payments_off_status", 403)
    assert desk.refused("POST", PAYMENTS, body)[0] == 403
    desk.vendor.switch("payment_status", None)
    assert _pay(desk, "-5.00")["status"] is None
    assert _contract(desk)["total_payments"] == "-5.0"


def test_contracts_are_made_with_lines_approved_and_then_locked(desk: Desk) -> None:
    given = {"title": "Drywall", "vendor_id": GRANITE, "origin_id": "po:9", "retainage_percent": "5"}
    made = desk.ok("POST", WORK_ORDERS, {"project_id": P101, "work_order_contract": given})
    path = f"{WORK_ORDERS}/{made['id']}"
    line = {"wbs_code_id": desk.codes()["06-1000.M"], "amount": "250.00", "origin_id": "po:9:1"}
    desk.ok("POST", f"{path}/line_items", {"project_id": P101, "line_item": line})
    unit = {"wbs_code_id": line["wbs_code_id"], "quantity": "2", "unit_cost": "0.125", "origin_id": "po:9:2"}
    rows = [{"origin_id": "po:9:1", "amount": "300.00"}, unit, {"origin_id": "po:9:3"}]
    synced = desk.ok("PATCH", f"{path}/line_items/sync", {"updates": rows}, project_id=P101)
    assert [row["amount"] for row in synced["entities"]] == ["300.0", "0.25"]
    assert [list(row["errors"]) for row in synced["errors"]] == [["wbs_code_id"]]
    approve = {"project_id": P101, "work_order_contract": {"status": "Approved"}}
    assert desk.ok("PATCH", path, approve)["grand_total"] == "300.25"
    assert desk.refused("POST", f"{path}/line_items", {"project_id": P101, "line_item": line})[0] == 422
    moved = {"project_id": P101, "work_order_contract": {"vendor_id": BRIGHT}}
    assert desk.refused("PATCH", path, moved)[0] == 422
    assert desk.refused("DELETE", path, project_id=P101)[0] == 422
    assert [row["origin_id"] for row in desk.ok("GET", f"{path}/line_items", project_id=P101)] == [
        "po:9:1",
        "po:9:2",
    ]
    desk.vendor.switch("lock_approved_commitments", False)
    assert desk.call("DELETE", path, project_id=P101).status == 200
    assert desk.refused("GET", path, project_id=P101)[0] == 404
    gone = desk.ok("GET", WORK_ORDERS, project_id=P101, **{"filters[include_deleted]": "only"})
    assert [row["id"] for row in gone] == [made["id"]]


def test_contracts_of_both_kinds_are_listed_synced_and_found(desk: Desk) -> None:
    order = {"title": "Pipes", "vendor_id": GRANITE, "status": "Partially Received", "origin_id": "po:1"}
    made = desk.ok("POST", PURCHASE_ORDERS, {"project_id": P101, "purchase_order_contract": order})
    rows = [{"origin_id": "po:1", "number": "PO-1"}, {"id": SC_007, "title": "no"}]
    synced = desk.ok("PATCH", f"{PURCHASE_ORDERS}/sync", {"project_id": P101, "updates": rows})
    assert [row["number"] for row in synced["entities"]] == ["PO-1"]
    assert synced["errors"][0]["errors"] == {"id": ["Entity with this ID not found"]}
    both = desk.ok("GET", "/rest/v1.0/commitments", project_id=P101)
    assert [row["status"] for row in both] == ["Approved", "Partially Received"]
    assert [
        row["id"] for row in desk.ok("GET", WORK_ORDERS, project_id=P101, **{"filters[origin_id]": "po:7"})
    ] == [SC_007]
    assert desk.ok("GET", WORK_ORDERS, project_id=P101, **{"filters[status]": "Draft"}) == []
    assert desk.ok("GET", f"{PURCHASE_ORDERS}/{made['id']}", project_id=P101)["line_items"] == []
    assert desk.refused("GET", f"{WORK_ORDERS}/{made['id']}", project_id=P101)[0] == 404
    assert desk.refused("GET", f"{WORK_ORDERS}/{SC_007}", project_id=P102)[0] == 404
    wrong = {"project_id": P101, "purchase_order_contract": {"status": "Complete"}}
    assert desk.refused("PATCH", f"{PURCHASE_ORDERS}/{made['id']}", wrong)[0] == 400
    v2 = f"/rest/v2.0/companies/{COMPANY}/projects/{P101}/commitment_contracts"
    found = desk.ok("GET", v2, **{"filters[vendor_id]": BRIGHT})["data"]
    assert [(row["id"], row["vendor_id"]) for row in found] == [(str(SC_007), str(BRIGHT))]
    lines = desk.ok("GET", f"{v2}/{SC_007}/line_items")["data"]
    assert [(row["id"], row["amount"]) for row in lines] == [("1", "60000.0"), ("2", "40000.0")]
    assert desk.ok("GET", f"{v2}/{SC_007}")["data"]["type"] == "WorkOrderContract"
    status, body = desk.refused("GET", f"{v2}/5")
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")


def test_stored_materials_are_a_balance_and_carry_their_own_retainage(desk: Desk) -> None:
    stored = {
        "materials_presently_stored": "4000.00",
        "materials_stored_retainage_currently_retained": "400.00",
    }
    assert _due(_invoice(desk, _item(1, "0.00", **stored))) == "3600.00"
    used = _item(1, "4000.00", **_held("400.00"), materials_presently_stored="0.00")
    assert _due(_invoice(desk, used)) == "0.00"


def test_approved_invoices_count_as_job_to_date_costs_and_others_do_not(desk: Desk) -> None:
    _invoice(desk, _item(1, "10000.00"))
    _invoice(desk, _item(2, "500.00"), status="approved_as_noted")
    rows = desk.ok(
        "GET", "/rest/v1.0/budget_views/1/detail_rows", project_id=P101, budget_row_type="unbudgeted"
    )
    shown = {row["wbs_code"]["flat_code"]: (row["Committed Costs"], row["Job to Date Costs"]) for row in rows}
    assert shown == {"26-0500.S": ("100000.00", "10000.00")}


def test_owner_payment_applications_stand_apart_from_commitments(desk: Desk) -> None:
    line = {"id": 6, "project_id": P101, "contract_id": 40, "scheduled_value": "10.00"}
    desk.vendor.load(
        {
            "prime_contracts": [{"id": 40, "project_id": P101, "title": "Prime"}],
            "payment_application_lines": [line],
        }
    )
    assert [row["title"] for row in desk.ok("GET", "/rest/v1.0/prime_contracts", project_id=P101)] == [
        "Prime"
    ]
    path = "/rest/v1.0/prime_contracts/40/payment_applications"
    given = {"project_id": P101, "payment_application": {"invoice_number": "1"}}
    made = desk.ok("POST", path, given)
    assert desk.ok("PATCH", f"{path}/{made['id']}", given)["number"] == 1
    assert len(desk.ok("GET", path, project_id=P101)) == 1
    one = f"/rest/v1.0/payment_applications/{made['id']}"
    assert desk.ok("GET", one, project_id=P101)["status"] == "draft"
    assert len(desk.ok("GET", "/rest/v1.0/payment_applications", project_id=P101)) == 1
    change = {"project_id": P101, "payment_application_line_item": {"work_completed_this_period": "4"}}
    changed = desk.ok("PATCH", "/rest/v1.0/prime_contracts/40/payment_application_line_items/6", change)
    assert changed["work_completed_this_period"] == "4.00"
    assert desk.call("DELETE", one, project_id=P101).status == 200
    received = {
        "project_id": P101,
        "contract_id": 40,
        "contract_payment": {"date": "2026-03-01", "amount": "3"},
    }
    assert desk.ok("POST", PAYMENTS, received)["contract_id"] == 40
    assert _contract(desk)["total_payments"] == "0.0"


def test_webhook_subscriptions_are_kept(desk: Desk) -> None:
    hooks = f"/rest/v2.0/companies/{COMPANY}/webhooks/hooks"
    given = {
        "payload_version": "v4.0",
        "namespace": "ml-connector",
        "destination_url": "https://example.test/",
    }
    made = desk.ok("POST", hooks, given)["data"]
    trigger = {"resource_name": "Direct Costs", "event_type": "update"}
    assert desk.ok("POST", f"{hooks}/{made['id']}/triggers", trigger)["data"]["webhook_hook_id"] == made["id"]
    assert desk.ok("GET", hooks)["data"][0]["trigger_count"] == 1
    assert desk.ok("GET", f"{hooks}/{made['id']}/deliveries") == {"data": []}
    resources = f"/rest/v2.0/companies/{COMPANY}/webhooks/resources"
    assert desk.ok("GET", resources, payload_version="v4.0")["data"]
    assert desk.refused("POST", hooks, given | {"namespace": "Bad Name"})[0] == 400
    assert desk.call("DELETE", f"{hooks}/{made['id']}").status == 204
    assert desk.ok("GET", hooks) == {"data": []}


def test_the_twins_of_the_other_kind_and_version_answer_alike(desk: Desk) -> None:
    made = desk.ok(
        "POST", PURCHASE_ORDERS, {"project_id": P101, "purchase_order_contract": {"title": "Pipes"}}
    )
    path = f"{PURCHASE_ORDERS}/{made['id']}"
    code = desk.codes()["03-3000.M"]
    line = {"wbs_code_id": code, "amount": "1.00"}
    desk.ok("POST", f"{path}/line_items", {"project_id": P101, "line_item": line})
    desk.ok("PATCH", f"{path}/line_items/sync", {"updates": [line | {"amount": "2.00"}]}, project_id=P101)
    amounts = [row["amount"] for row in desk.ok("GET", f"{path}/line_items", project_id=P101)]
    assert amounts == ["1.0", "2.0"]
    changed = {"project_id": P101, "purchase_order_contract": {"title": "Valves"}}
    assert desk.ok("PATCH", path, changed)["grand_total"] == "3.0"
    assert [row["title"] for row in desk.ok("GET", PURCHASE_ORDERS, project_id=P101)] == ["Valves"]
    assert desk.call("DELETE", path, project_id=P101).status == 200
    assert desk.ok("GET", PURCHASE_ORDERS, project_id=P101) == []
    renamed = {"project_id": P101, "updates": [{"origin_id": "po:7", "title": "Power"}]}
    assert desk.ok("PATCH", f"{WORK_ORDERS}/sync", renamed)["entities"][0]["id"] == SC_007
    assert len(desk.ok("GET", f"{WORK_ORDERS}/{SC_007}", project_id=P101)["line_items"]) == 2
    invoice = _invoice(desk)
    assert desk.call("DELETE", f"/rest/v1.0/requisitions/{invoice['id']}", project_id=P101).status == 200
    cost = desk.bill()
    old = f"/rest/v1.0/projects/{P101}/direct_costs/{cost['id']}"
    assert desk.ok("DELETE", old) == {"id": cost["id"]}
    budget = {"project_id": P101, "budget_line_item": {"uom": "m3"}}
    assert desk.ok("PATCH", "/rest/v1.0/budget_line_items/51", budget)["uom"] == "m3"
