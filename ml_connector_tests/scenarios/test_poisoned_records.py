"""F49: records that no program expects: landed as they came, held with a plain reason, while the others go through."""

from decimal import Decimal
from typing import Any

from ml_connector_tests.reading.desk import live_bills, load_text, raw_bill, text_of, versions
from ml_connector_tests.rig import Rig, line

ODD_AMOUNT = {"Amount": "#", "DetailType": "ItemBasedExpenseLineDetail"}
ROCKET = {"Amount": 100, "DetailType": "RocketLineDetail", "RocketLineDetail": {}}


def lines(*made: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines with ids, as QBO gives them."""
    return [{"Id": str(number), **one} for number, one in enumerate(made, start=1)]


def described(text: str) -> list[dict[str, Any]]:
    """One good line with a description."""
    return lines(line(100, item="101", description=text))


def without(qbo_id: int, field: str) -> dict[str, Any]:
    """A bill without a field."""
    return {name: value for name, value in raw_bill(qbo_id).items() if name != field}


# id: JSON of the bill, words that the sentence must hold, money held
HELD: dict[int, tuple[str, str, int]] = {
    600: (text_of(raw_bill(600), TotalAmt="100.00001"), "two decimals", 0),
    601: (text_of(raw_bill(601), TotalAmt="9" * 400), "digits", 0),
    602: (text_of(raw_bill(602), TotalAmt="1E+400"), "digits", 0),
    603: (text_of(raw_bill(603), TotalAmt="1E+99999999"), "digits", 0),
    604: (text_of(without(604, "TotalAmt")), "TotalAmt", 0),
    605: (text_of(without(605, "VendorRef")), "VendorRef", 100),
    606: (text_of(without(606, "TxnDate")), "TxnDate", 100),
    607: (text_of(raw_bill(607, TxnDate="31/05/2026")), "TxnDate", 100),
    608: (text_of(raw_bill(608, SyncToken="x")), "SyncToken", 100),
    609: (text_of(raw_bill(609, Line={"Amount": 100})), "Line", 100),
    610: (text_of(raw_bill(610, Line=["100"])), "Line", 100),
    611: (text_of(raw_bill(611, Line=[ODD_AMOUNT])).replace('"#"', "99.99999"), "Line 1 Amount", 100),
    612: (text_of(raw_bill(612, Line=lines(ROCKET))), "RocketLineDetail", 100),
    613: (text_of(raw_bill(613, Line=[])), "no line", 100),
    614: (text_of(raw_bill(614, Line=lines(line(99, item="101")))), "99.00", 100),
}


def test_F49_poisoned_bills_are_held_for_plain_reasons_and_the_others_go_through(rig: Rig) -> None:
    rig.sync()
    good = [rig.bookkeeper.bill(f"G{number}", [line(10, item="101")]) for number in range(3)]
    load_text(rig, f"[{','.join(text for text, _, _ in HELD.values())}]")
    rig.sync()
    assert len(rig.direct_costs()) == 3
    assert {rig.record("Bill", bill["Id"]).state for bill in good} == {"posted"}
    for number, (_, words, money) in HELD.items():
        qbo_id = str(number)
        assert len(versions(rig, qbo_id)) == 1, f"bill {qbo_id} is landed as it came"
        sentences = " ".join(hold.sentence for hold in rig.holds(qbo_id))
        assert words in sentences, f"bill {qbo_id}: {sentences}"
        record = rig.record("Bill", qbo_id)
        assert (record.state, record.total, record.held) == ("held", Decimal(money), Decimal(money)), qbo_id
    polled, posted = rig.qbo.mark(), rig.procore.mark()
    rig.sync()
    assert (len(rig.qbo.calls(polled)), rig.procore.calls(posted)) == (1, [])


def test_F49_poisoned_bills_that_are_corrected_are_posted_by_themselves(rig: Rig) -> None:
    rig.sync()
    load_text(rig, f"[{','.join(text for text, _, _ in HELD.values())}]")
    rig.sync()
    assert rig.direct_costs() == []
    rig.qbo.load(Bill=[raw_bill(number, SyncToken="1", PrivateNote="corrected") for number in HELD])
    rig.sync()
    assert {cost["grand_total"] for cost in rig.direct_costs()} == {"100.00"}
    assert len(rig.direct_costs()) == len(HELD)
    assert rig.holds() == []


ODD = [
    raw_bill(701, DocNumber="N\0701", PrivateNote="a\0b", Line=described("x\0y")),
    raw_bill(702, PrivateNote="\ud800", Line=described("x\ud800y")),
    raw_bill(703, PrivateNote="\u202eabc", Line=described("\u05d0\u202ex")),
    raw_bill(704, PrivateNote="\U0001f9f1", Line=described("\U0001f9f1 bricks")),
    raw_bill(705, DocNumber='=cmd|" /C calc"!A1', Line=described("=1+1")),
    raw_bill(706, Line=described("<script>alert(1)</script> [x](javascript:1)")),
    raw_bill(707, PrivateNote="x" * 10_000_000),
    raw_bill(708, Line=described("y" * 60_000)),
    raw_bill(709, DocNumber="8" * 5000),
    raw_bill(710, Line=lines(line(100, item="101"), {**line(0, item="101"), "Amount": -0.0})),
    raw_bill(711, APAccountRef={}, TxnTaxDetail={}, LinkedTxn=[]),
    raw_bill(712, SyncToken="9" * 30),
]


def test_F49_odd_text_around_good_money_stops_nobody(rig: Rig) -> None:
    rig.qbo.load(Bill=ODD)
    good = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.sync()
    assert live_bills(rig) == {good["Id"], *(bill["Id"] for bill in ODD)}
    assert rig.cost_of(good["Id"])["grand_total"] == "10.00"
    for bill in ODD:
        assert rig.record("Bill", bill["Id"]).state == "posted", bill["Id"]
        assert rig.cost_of(bill["Id"])["grand_total"] == "100.00"
    posted = rig.procore.mark()
    rig.sync()
    assert rig.procore.writes(posted) == []


def test_F49_customers_that_are_each_others_parents_stop_nobody(rig: Rig) -> None:
    rig.qbo.load(
        Customer=[
            {"Id": "60", "DisplayName": "Egg", "FullyQualifiedName": "Hen:Egg", "ParentRef": {"value": "61"}},
            {"Id": "61", "DisplayName": "Hen", "FullyQualifiedName": "Egg:Hen", "ParentRef": {"value": "60"}},
            {"Id": "64", "DisplayName": "Self", "FullyQualifiedName": "Self", "ParentRef": {"value": "64"}},
        ]
    )
    bill = rig.bookkeeper.bill("4471", [line(10, item="101", customer="61")])
    lost = rig.bookkeeper.bill("4472", [line(10, item="101", customer="64")])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
    assert [hold.reason for hold in rig.holds(lost["Id"])] == ["PROJECT_NOT_LINKED"]


def test_F49_odd_vendors_stop_only_their_own_bills(rig: Rig) -> None:
    rig.qbo.load(
        Vendor=[
            {"Id": "31", "DisplayName": "", "Active": True},
            {"Id": "32", "DisplayName": "A\0B\ud800 \U0001f9f1", "Active": True, "BillAddr": "street"},
        ],
        Bill=[raw_bill(666, VendorRef={"value": "31"}), raw_bill(667, VendorRef={"value": "32"})],
    )
    good = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.sync()
    assert rig.cost_of(good["Id"])["grand_total"] == "10.00"
    assert rig.record("Vendor", "31").state == "held"
    assert rig.record("Bill", "666").state == "held"
