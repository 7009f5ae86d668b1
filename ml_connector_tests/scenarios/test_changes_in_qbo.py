"""Group E where QBO changes: edits, moves, voids, deletions; and what QBO changes by itself, or shows late."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ml_connector.orchestration.clients import qbo_client
from ml_connector.qbo.client import CdcAnswer, QboClient
from ml_connector.qbo.models import Entity
from ml_connector.store import audit, landing
from ml_connector_tests.reading.desk import live_bills, poll_at, raw_bill, reader
from ml_connector_tests.rig import ELM, HARBOR, Rig, line, text_line, today
from ml_connector_tests.scenarios.kills import run_that_dies_at
from ml_connector_tests.scenarios.test_ordinary_bills import amounts
from ml_connector_tests.scenarios.test_payments import void
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, period, sub, subcontract


def entries(rig: Rig, event: str, qbo_id: str, entity: str = "Bill") -> list[Mapping[str, Any]]:
    """Details of the entries of one event in a record's trail."""
    with rig.engine.connect() as db:
        return [entry.detail for entry in audit.story(db, rig.name, entity, qbo_id) if entry.event == event]


def changes(detail: Mapping[str, Any]) -> set[tuple[str, str, str, str]]:
    """The difference that an entry tells: where, what, from, to."""
    return {(one["where"], one["what"], one["from"], one["to"]) for one in detail["changes"]}


def test_S68_of_three_edits_in_a_minute_the_last_is_sent_and_the_others_are_superseded(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1000, item="101")])
    rig.read()
    for amount in (1100, 1250):
        rig.bookkeeper.edit("Bill", bill, Line=[line(amount, item="101")])
        rig.read()
    rig.settle()
    cost = rig.cost_of(bill["Id"])
    assert (cost["grand_total"], cost["writes"]) == ("1250.00", 3)
    assert len(entries(rig, "superseded", bill["Id"])) == 2
    assert [entry["amount"] for entry in entries(rig, "posted", bill["Id"])] == ["1250.00"]


def test_S69_an_edit_changes_adds_and_removes_lines_and_the_trail_has_the_difference(rig: Rig) -> None:
    first = [line(1000, item="101"), line(200, item="102"), line(50, account="4")]
    bill = rig.bookkeeper.bill("4471", first)
    rig.sync()
    before = rig.cost_of(bill["Id"])
    rig.bookkeeper.edit("Bill", bill, Line=[line(1000, item="101"), line(310, item="102")])
    rig.sync()
    after = rig.cost_of(bill["Id"])
    assert (after["id"], amounts(after), after["grand_total"]) == (
        before["id"],
        ["1000.00", "310.00"],
        "1310.00",
    )
    assert changes(entries(rig, "posted", bill["Id"])[-1]) == {
        ("line 2", "amount", "200.00", "310.00"),
        ("line 3", "line", "50.00", ""),
    }
    assert rig.record("Bill", bill["Id"]).state == "updated"
    moved = [line(1000, item="101"), line(310, account="5030"), line(9, item="101", description="extra")]
    moved[1] = line(310, account="3")
    rig.bookkeeper.edit("Bill", bill, Line=moved)
    rig.sync()
    assert changes(entries(rig, "posted", bill["Id"])[-1]) == {
        ("line 2", "budget code", "06-1000.M", "01-5000.E"),
        ("line 3", "line", "", "9.00"),
    }
    assert len(rig.direct_costs(counting=False)) == 1


def test_S70_a_change_of_nothing_that_is_sent_writes_nothing_and_is_told(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    mark = rig.procore.mark()
    billed = line(1250, item="101")
    billed["ItemBasedExpenseLineDetail"]["BillableStatus"] = "HasBeenBilled"
    rig.bookkeeper.edit("Bill", bill, Line=[billed], DueDate="2026-12-31")
    rig.sync()
    assert rig.procore.calls(mark) == []
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.posted) == ("no-op", Decimal(1250))
    (told,) = entries(rig, "no-op", bill["Id"])
    assert {"DueDate", "Line 1 ItemBasedExpenseLineDetail BillableStatus"} <= set(told["changed"])


def test_S70_a_payment_changes_its_bill_and_writes_nothing(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    mark = rig.procore.mark()
    rig.bookkeeper.pay(bill, "500")  # paid off, its direct cost would get a payment date
    reading = rig.read()
    assert reading.new == {Entity.BILL: 1, Entity.BILL_PAYMENT: 1} | dict.fromkeys(
        set(Entity) - {Entity.BILL, Entity.BILL_PAYMENT}, 0
    )
    rig.settle()
    assert rig.procore.writes(mark) == []
    assert rig.record("Bill", bill["Id"]).state == "no-op"
    assert rig.record("Bill", bill["Id"]).posted == Decimal("1250.00")
    assert "Balance" in entries(rig, "no-op", bill["Id"])[0]["changed"]


def test_S71_a_line_moved_to_another_project_leaves_the_one_before_the_other_has_it(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(1250, item="101", customer="62")])
    rig.sync()
    assert [(cost["project_id"], cost["grand_total"]) for cost in rig.direct_costs()] == [(102, "1250.00")]
    gone = rig.cost_of(bill["Id"], HARBOR)
    assert (gone["status"], gone["invoice_number"]) == ("draft", f"4471 (void {bill['Id']})")
    assert "moved away from this project" in gone["description"]
    version = rig.record("Bill", bill["Id"]).landing_number
    sent = [entry for entry in entries(rig, "sent", bill["Id"]) if entry["version"] == version]
    assert [("takes_back" in entry, entry["origin_id"].rpartition(":")[2]) for entry in sent] == [
        (False, ELM),
        (True, HARBOR),
    ]
    assert [entry["amount"] for entry in entries(rig, "reversed", bill["Id"])] == ["1250.00"]


# The passes of a move between projects that know its vendor: intent, draft of the old record, header and lines of the new.
MOVES = ["K5:1", "K7:1", "K7:2", "K14:1", "K14:2", "K8:1"]


@pytest.mark.processes
@pytest.mark.parametrize("point", MOVES)
def test_S71_a_move_that_is_killed_never_counts_twice_and_is_completed_by_the_next_run(
    rig: Rig, point: str
) -> None:
    rig.bookkeeper.bill("1", [line(1, item="101", customer="62")])
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(1250, item="101", customer="62")])
    run_that_dies_at(rig, point)
    assert sum(cost["grand_total"] == "1250.00" for cost in rig.direct_costs()) <= 1
    rig.sync()
    assert sorted((cost["project_id"], cost["grand_total"]) for cost in rig.direct_costs()) == [
        (102, "1.00"),
        (102, "1250.00"),
    ]
    assert (rig.record("Bill", bill["Id"]).posted, rig.holds()) == (Decimal(1250), [])


def test_S72_another_vendor_comes_onto_the_project_and_onto_the_direct_cost(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    before = rig.cost_of(bill["Id"])
    rig.bookkeeper.edit("Bill", bill, VendorRef={"value": "23"})
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    vendor = next(entry for entry in rig.procore.live("vendors") if entry["name"] == "City Rental")
    assert (cost["id"], cost["vendor_id"], cost["writes"]) == (
        before["id"],
        vendor["id"],
        before["writes"] + 2,
    )
    assert ("header", "vendor", "Granite Supply", "City Rental") in changes(
        entries(rig, "posted", bill["Id"])[-1]
    )


def test_S72_another_vendor_on_a_bill_of_a_commitment_waits_since_contract_and_vendor_differ(
    rig: Rig,
) -> None:
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", 7007, retainage_percent=None)],
        billing_periods=[period()],
    )
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000)], vendor=BRIGHT)
    rig.sync()
    mark = rig.procore.mark()
    rig.bookkeeper.edit("Bill", bill, VendorRef={"value": "23"})
    rig.sync()
    writes = [
        entry for entry in rig.procore.writes(mark) if "requisitions" in entry or "direct_costs" in entry
    ]
    assert writes == []
    (hold,) = rig.holds(bill["Id"])
    assert hold.reason == "VENDOR_MISMATCH"
    assert "billed on commitment SC-007 of Bright Electric, invoice BE-14 over 10000.00" in hold.sentence
    assert "is from City Rental now: put the vendor back in QBO" in hold.sentence
    assert rig.record("Bill", bill["Id"]).posted == 10_000
    rig.bookkeeper.edit("Bill", bill, VendorRef={"value": BRIGHT})
    rig.sync()
    assert (rig.holds(), len(rig.procore.live("requisitions"))) == ([], 1)


@pytest.mark.parametrize("policy", ["draft", "delete"])
def test_S73_F51_a_deleted_bill_is_reversed_and_its_last_version_is_kept(rig: Rig, policy: str) -> None:
    rig.configure(policies={"gone_direct_cost": policy})
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101", description="20 m3")])
    rig.sync()
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    left = [(cost["status"], cost["invoice_number"]) for cost in rig.direct_costs(counting=False)]
    assert left == ([("draft", f"4471 (void {bill['Id']})")] if policy == "draft" else [])
    assert entries(rig, "reversed", bill["Id"])[0]["amount"] == "1250.00"
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.document, record.vendor_name) == ("reversed", "4471", "Granite Supply")
    with rig.engine.connect() as db:
        kept = landing.last_alive(db, rig.name, "Bill", bill["Id"])
    assert kept is not None
    assert kept.raw["Line"][0]["Description"] == "20 m3"


def test_S73_a_number_that_cannot_be_marked_is_freed_by_deleting_the_record(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    refusal = {"status": 422, "body": {"errors": {"invoice_number": ["is too long"]}}}
    rig.procore.fault(
        {"route": "PATCH */direct_costs/sync", "fault": "status", "args": refusal, "contains": "(void"}
    )
    rig.bookkeeper.delete("Bill", bill)
    again = rig.bookkeeper.bill("4471", [line(1310, item="101")])
    rig.sync()
    assert [cost["grand_total"] for cost in rig.direct_costs(counting=False)] == ["1310.00"]
    assert (rig.record("Bill", bill["Id"]).state, rig.record("Bill", again["Id"]).state) == (
        "reversed",
        "posted",
    )


def void_bill(rig: Rig, bill: Mapping[str, Any]) -> None:
    """The bill as its void shows it, whatever QBO tells of its payment by then: every amount is zero."""
    current = rig.bookkeeper.read("Bill", bill["Id"])
    lines = [{**one, "Amount": 0} for one in current["Line"]]
    times = {**current["MetaData"], "LastUpdatedTime": datetime.now(UTC).isoformat()}
    token = str(int(current["SyncToken"]) + 1)
    rig.qbo.load(
        Bill=[{**current, "Line": lines, "TotalAmt": 0, "Balance": 0, "SyncToken": token, "MetaData": times}]
    )


@pytest.mark.parametrize("first", ["payment", "bill"])
def test_S74_a_bill_and_its_payment_are_voided_in_either_order(rig: Rig, first: str) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    paid = rig.bookkeeper.pay(bill, "1250")
    rig.sync()
    assert rig.cost_of(bill["Id"])["payment_date"] is not None
    acts = {"payment": lambda: void(rig, paid), "bill": lambda: void_bill(rig, bill)}
    for act in (first, *(acts.keys() - {first})):
        acts[act]()
        rig.sync()
    assert rig.direct_costs() == []
    assert rig.holds() == []
    record, payment = rig.record("Bill", bill["Id"]), rig.record("BillPayment", paid["Id"])
    assert (record.posted, payment.posted, payment.held) == (0, 0, 0)
    (gone,) = rig.direct_costs(counting=False)
    assert (gone["status"], gone["payment_date"]) == ("draft", None)
    assert rig.story("Bill", bill["Id"]).count("reversed") == 1
    told = entries(rig, "planned", paid["Id"], "BillPayment")[-1]["shares"]
    assert {(share["bill"], share["cash"]) for share in told} == {(bill["Id"], "0.00")}, "tied to its bill"


@pytest.mark.parametrize("order", ["deleted first", "both at once", "new first"])
def test_S75_deleted_and_entered_again_with_its_number_replaces_the_old_one(rig: Rig, order: str) -> None:
    old = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    if order != "new first":
        rig.bookkeeper.delete("Bill", old)
    if order == "deleted first":
        rig.sync()
    new = rig.bookkeeper.bill("4471", [line(1310, item="101")])
    rig.sync()
    if order == "new first":
        (hold,) = rig.holds(new["Id"])
        assert hold.reason == "POSSIBLE_DUPLICATE"
        assert rig.cost_of(old["Id"])["grand_total"] == "1250.00"
        rig.bookkeeper.delete("Bill", old)
        rig.sync()
    assert [(cost["invoice_number"], cost["grand_total"]) for cost in rig.direct_costs()] == [
        ("4471", "1310.00")
    ]
    assert (rig.record("Bill", old["Id"]).state, rig.holds()) == ("reversed", [])
    assert entries(rig, "posted", new["Id"])[0]["replaces"] == f"bill:{old['Id']}"


def test_S76_a_bill_reported_as_deleted_that_is_still_there_keeps_its_cost(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    mark = rig.procore.mark()
    lie = {"Id": bill["Id"], "status": "Deleted", "MetaData": {}}

    class Lying(QboClient):
        def cdc(self, entities: Any, since: datetime) -> CdcAnswer:
            answer = super().cdc(entities, since)
            return replace(answer, blocks={**answer.blocks, Entity.BILL: [*answer.blocks[Entity.BILL], lie]})

    inner = qbo_client(rig.home, rig.connection, rig.engine)
    assert reader(rig, client=Lying(inner._session, inner._realm)).read([today()]).deleted.total() == 0
    rig.settle()
    assert rig.procore.calls(mark) == []
    assert rig.cost_of(bill["Id"])["grand_total"] == "1250.00"
    (told,) = entries(rig, "reported deleted, still there", bill["Id"])
    assert set(told) == {"report", "check", "decision"}
    assert told["decision"] == "nothing is taken back"


def test_S85_the_open_bill_of_an_inactive_vendor_still_posts(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    inactive = {"Id": "21", "DisplayName": "Granite Supply (deleted)", "Active": False, "SyncToken": "1"}
    rig.qbo.load(Vendor=[inactive])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "1250.00"
    names = {vendor["name"] for vendor in rig.procore.live("vendors")}
    assert "Granite Supply" in names
    assert not [name for name in names if "(deleted)" in name]


def test_S85_lines_on_an_inactive_account_item_and_customer_are_coded_like_before(rig: Rig) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(10, account="3"), line(20, item="101", customer="62")])
    rig.qbo.load(
        Account=[
            {
                "Id": "3",
                "Name": "Equipment rental (deleted)",
                "FullyQualifiedName": "Equipment rental (deleted)",
                "AcctNum": "5030",
                "AccountType": "Cost of Goods Sold",
                "Classification": "Expense",
                "Active": False,
                "SyncToken": "1",
            }
        ],
        Item=[
            {
                "Id": "101",
                "Name": "Ready-mix (deleted)",
                "FullyQualifiedName": "Ready-mix (deleted)",
                "Type": "NonInventory",
                "ExpenseAccountRef": {"value": "1"},
                "Active": False,
                "SyncToken": "1",
            }
        ],
        Customer=[
            {
                "Id": "62",
                "DisplayName": "Elm Street School (deleted)",
                "FullyQualifiedName": "Elm Street School (deleted)",
                "Active": False,
                "SyncToken": "1",
            }
        ],
    )
    rig.sync()
    assert rig.cost_of(bill["Id"], HARBOR)["grand_total"] == "10.00"
    assert rig.cost_of(bill["Id"], ELM)["grand_total"] == "20.00"


def test_a_bill_dated_before_the_start_is_excluded_and_one_entered_after_go_live_is_held(rig: Rig) -> None:
    rig.qbo.load(Bill=[raw_bill(1, TxnDate="2025-12-31")])
    rig.sync()
    assert live_bills(rig) == set(), "the first load asks from the start on"
    old = {"CreateTime": "2025-12-31T10:00:00-08:00", "LastUpdatedTime": datetime.now(UTC).isoformat()}
    rig.qbo.load(Bill=[raw_bill(1, TxnDate="2025-12-31", SyncToken="1", PrivateNote="paid", MetaData=old)])
    rig.qbo.clock(offset_seconds=5)  # QBO's times are whole seconds
    late = rig.bookkeeper.bill("4471", [line(1250, item="101")], day="2025-12-30")
    rig.sync()
    before = rig.record("Bill", "1")
    assert (before.state, before.excluded) == ("excluded", Decimal("100.00"))
    (hold,) = rig.holds(late["Id"])
    assert (hold.reason, hold.amount) == ("ENTERED_AFTER_START", Decimal("1250.00"))
    assert rig.direct_costs() == []


def test_a_bill_saved_just_before_midnight_is_posted_by_the_run_of_its_own_day(rig: Rig) -> None:
    rig.configure(time_zone="America/New_York")
    midnight = datetime.now(rig.connection.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = midnight.date() - timedelta(days=1)
    poll_at(rig, (midnight - timedelta(minutes=10)).isoformat())
    rig.settle()
    rig.qbo.clock(frozen=(midnight - timedelta(minutes=5)).isoformat())
    rig.qbo.load(Bill=[raw_bill(1)])
    poll_at(rig, midnight.isoformat())
    assert rig.dirty() == [yesterday]
    rig.post([midnight.date()])
    assert rig.direct_costs() == []
    rig.settle()
    assert len(rig.direct_costs()) == 1


def test_text_only_lines_and_a_blank_number_do_no_harm(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("", [text_line("Delivery on Tuesday"), line(10, item="101")])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
