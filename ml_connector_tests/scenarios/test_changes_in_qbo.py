"""What QBO changes by itself, or shows late: payments on bills, inactive lists, old dates, the hour before midnight."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ml_connector.qbo.models import Entity
from ml_connector_tests.reading.desk import live_bills, poll_at, raw_bill
from ml_connector_tests.rig import ELM, HARBOR, Rig, line, text_line


def test_S70_a_payment_changes_its_bill_and_writes_nothing(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    mark = rig.procore.mark()
    rig.bookkeeper.pay(bill, "1250")
    reading = rig.read()
    assert reading.new == {Entity.BILL: 1, Entity.BILL_PAYMENT: 1} | dict.fromkeys(
        set(Entity) - {Entity.BILL, Entity.BILL_PAYMENT}, 0
    )
    rig.settle()
    assert rig.procore.writes(mark) == []
    assert rig.record("Bill", bill["Id"]).state == "no-op"
    assert rig.record("Bill", bill["Id"]).posted == Decimal("1250.00")


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
