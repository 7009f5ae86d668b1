"""Group D of the scenario bank: payments of bills become payments on contracts and payment dates of direct costs."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from ml_connector_tests.rig import HARBOR, MAPPING, REALM, Rig, line, open_rig, today
from ml_connector_tests.scenarios.invariants import invariants
from ml_connector_tests.scenarios.kills import run_that_dies_at
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, period, sub, subcontract

SC_009 = 7009
POST = "POST /rest/v1.0/contract_payments"
LIST = "GET /rest/v1.0/contract_payments"
CHANGE = "PATCH /rest/v1.0/contract_payments/*"
DELETE = "DELETE /rest/v1.0/contract_payments/*"
LOCKS = ["refuse", "ignore", "allow"]
REFERENCES = ["origin_id", "notes"]
LOST = {"fault": "accept_then_drop"}
MONEY = tuple[str, str, str | None]


@pytest.fixture
def rig(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The fixture firm with two subcontracts of Bright Electric on Harbor; all invariants hold at the end."""
    opened = open_rig(tmp_path, database)
    opened.publish(
        mapping=MAPPING.replace(
            "5020,,,,,,,,,commitment,26-0500,S,,,,,",
            "5020,,,,,,second floor,,,commitment,26-0500,S,,SC-009,,,\n5020,,,,,,,,,commitment,26-0500,S,,SC-007,,,",
        )
    )
    contracts = [
        subcontract(number, id_, retainage_percent=None)
        for number, id_ in (("SC-007", SC_007), ("SC-009", SC_009))
    ]
    opened.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}], commitments=contracts, billing_periods=[period()]
    )
    try:
        yield opened
        invariants(opened)
        payments_add_up(opened)
    finally:
        opened.close()


def payments_add_up(rig: Rig) -> None:
    """I1 of payments: the shares of each add up to its cash and credits, and Procore holds the cash of its contracts."""
    with rig.engine.connect() as db:
        rows = db.execute(
            text(
                "select r.qbo_id, r.total, r.state, coalesce(sum(s.cash + s.credit), 0) as shared,"
                " coalesce(sum(s.cash) filter (where s.kind = 'requisition'), 0) as on_contracts"
                " from ml_connector.record r left join ml_connector.payment_share s"
                " on s.connection = r.connection and s.payment_id = r.qbo_id"
                " where r.entity = 'BillPayment' group by 1, 2, 3"
            )
        ).all()
        linked = db.execute(
            text(
                "select procore_id, qbo_id from ml_connector.ledger"
                " where kind = 'contract_payment' and state <> 'removed' and procore_id is not null"
            )
        ).all()
    known = {row.procore_id: row.qbo_id for row in linked}
    there: dict[str, Decimal] = {}
    for payment in rig.procore.live("contract_payments"):
        if payment["id"] in known:
            there[known[payment["id"]]] = there.get(known[payment["id"]], Decimal(0)) + Decimal(
                payment["amount"]
            )
    for row in rows:
        if row.state in ("held", "retrying"):
            continue
        assert row.shared == row.total, f"payment {row.qbo_id} shares {row.shared} of {row.total}"
        assert there.get(row.qbo_id, 0) == row.on_contracts, f"payment {row.qbo_id} in Procore"


def bill(rig: Rig, number: str, amount: str | int, *, floor: str = "", **fields: Any) -> dict[str, Any]:
    """A bill of Bright Electric on SC-007, or with "second floor" on SC-009."""
    return rig.bookkeeper.bill(number, [sub(amount, floor)], vendor=BRIGHT, **fields)


def both(rig: Rig, number: str, first: str | int, second: str | int) -> dict[str, Any]:
    """A bill of which a part is on SC-007 and a part on SC-009."""
    return rig.bookkeeper.bill(number, [sub(first), sub(second, "second floor")], vendor=BRIGHT)


def pay(
    rig: Rig,
    paid: Sequence[tuple[Mapping[str, Any], str | int]],
    *,
    number: str = "2231",
    credits: Sequence[tuple[Mapping[str, Any], str | int]] = (),
    vendor: str = BRIGHT,
    **fields: Any,
) -> dict[str, Any]:
    """Pay bills, using credits; cash is what is left."""
    lines = [applied(record, amount, "Bill") for record, amount in paid]
    lines += [applied(record, amount, "VendorCredit") for record, amount in credits]
    cash = sum(Decimal(str(a)) for _, a in paid) - sum(Decimal(str(a)) for _, a in credits)
    body = {
        "VendorRef": {"value": vendor},
        "PayType": "Check",
        "CheckPayment": {"BankAccountRef": {"value": "35"}},
        "TotalAmt": cash,
        "DocNumber": number,
        "TxnDate": today().isoformat(),
        "Line": lines,
        **fields,
    }
    made: dict[str, Any] = rig.bookkeeper.post("billpayment", body)["BillPayment"]
    return made


def applied(record: Mapping[str, Any], amount: str | int, kind: str) -> dict[str, Any]:
    """A line of a payment."""
    return {"Amount": Decimal(str(amount)), "LinkedTxn": [{"TxnId": record["Id"], "TxnType": kind}]}


def credit(rig: Rig, amount: str | int, *, vendor: str = BRIGHT) -> dict[str, Any]:
    """A vendor credit."""
    body = {
        "VendorRef": {"value": vendor},
        "DocNumber": "VC-88",
        "TxnDate": today().isoformat(),
        "Line": [line(amount, account="1")],
    }
    made: dict[str, Any] = rig.bookkeeper.post("vendorcredit", body)["VendorCredit"]
    return made


def void(rig: Rig, payment: Mapping[str, Any]) -> None:
    """Void a payment: QBO zeroes it and clears its lines."""
    current = rig.bookkeeper.read("BillPayment", payment["Id"])
    body = {"Id": current["Id"], "SyncToken": current["SyncToken"], "sparse": True}
    rig.bookkeeper.post("billpayment?operation=update&include=void", body)


def on(rig: Rig, commitment: int = SC_007) -> list[MONEY]:
    """Amount, date and check number of the live payments of a contract."""
    return sorted(
        (entry["amount"], entry["date"], entry.get("check_number"))
        for entry in rig.procore.live("contract_payments")
        if entry["contract_id"] == commitment
    )


def only(rig: Rig) -> dict[str, Any]:
    """The one payment in Procore."""
    (payment,) = rig.procore.live("contract_payments")
    return payment


def state(rig: Rig, payment: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """State, posted, excluded and held of a payment."""
    row = rig.record("BillPayment", payment["Id"])
    return row.state, str(row.posted), str(row.excluded), str(row.held)


def paid_on(rig: Rig, record: Mapping[str, Any]) -> str | None:
    """The payment date of a bill's direct cost."""
    found: str | None = rig.cost_of(record["Id"]).get("payment_date")
    return found


TODAY = today().isoformat()


def test_S50_a_check_in_full_is_one_payment_on_the_contract(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 9000)
    rig.sync()
    paid = pay(rig, [(owed, 9000)])
    rig.sync()
    there = only(rig)
    assert (there["amount"], there["date"], there["check_number"]) == ("9000.00", TODAY, "2231")
    assert (there["payment_method"], there["invoice_number"], there["contract_id"]) == (
        "check",
        "BE-14",
        SC_007,
    )
    assert there["origin_id"] == f"qbo:{REALM}:billpayment:{paid['Id']}:{owed['Id']}:{SC_007}"
    (invoice,) = rig.procore.live("requisitions")
    assert (there["requisition_id"], invoice["payment_status"]) == (invoice["id"], "paid")
    assert state(rig, paid) == ("posted", "9000.00", "0.00", "0.00")
    assert rig.story("BillPayment", paid["Id"]) == ["seen", "mapped", "planned", "sent", "posted"]


def test_S50_a_bill_and_its_payment_read_at_once_are_posted_at_once(rig: Rig) -> None:
    paid = pay(rig, [(bill(rig, "BE-14", 9000), 9000)])
    rig.sync()
    assert on(rig) == [("9000.00", TODAY, "2231")]
    mark = rig.procore.mark()
    rig.replay_everything()
    assert [call for call in rig.procore.calls(mark) if "contract_payments" in call] == []
    assert state(rig, paid)[0] in ("posted", "no-op")


def test_S51_F52_partial_payments_are_two_and_settle_the_invoice(rig: Rig) -> None:
    owed = both(rig, "BE-14", 6000, 3000)
    rig.sync()
    pay(rig, [(owed, 4000)])
    rig.sync()
    assert (on(rig), on(rig, SC_009)) == ([("2666.67", TODAY, "2231")], [("1333.33", TODAY, "2231")])
    pay(rig, [(owed, 5000)], number="2232")
    rig.sync()
    assert on(rig) == [("2666.67", TODAY, "2231"), ("3333.33", TODAY, "2232")]
    assert on(rig, SC_009) == [("1333.33", TODAY, "2231"), ("1666.67", TODAY, "2232")]
    assert {entry["payment_status"] for entry in rig.procore.live("requisitions")} == {"paid"}


def test_S51_F14b_two_equal_part_payments_on_one_day_stay_two(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 9000)
    rig.sync()
    pay(rig, [(owed, 4500)], number="")
    pay(rig, [(owed, 4500)], number="")
    rig.sync()
    assert on(rig) == [("4500.00", TODAY, None)] * 2
    assert rig.holds() == []


def test_S52_F52_one_check_pays_six_bills(rig: Rig) -> None:
    three = [bill(rig, f"BE-{n}", amount) for n, amount in enumerate((9000, 4000, 3500))]
    nine = bill(rig, "BE-9", 2000, floor="second floor")
    direct = rig.bookkeeper.bill("BE-D", [line(1800, item="101")], vendor=BRIGHT)
    office = rig.bookkeeper.bill("BE-O", [line(1200, account="5", customer=None)], vendor=BRIGHT)
    rig.sync()
    amounts = (9000, 4000, 3500, 2000, 1800, 1200)
    mark = rig.procore.mark()
    paid = pay(rig, list(zip([*three, nine, direct, office], amounts, strict=True)), number="2240")
    rig.sync()
    assert on(rig) == [(a, TODAY, "2240") for a in ("3500.00", "4000.00", "9000.00")]
    assert on(rig, SC_009) == [("2000.00", TODAY, "2240")]
    assert paid_on(rig, direct) == TODAY
    assert state(rig, paid) == ("posted", "20300.00", "1200.00", "0.00")
    calls = [
        call for call in rig.procore.calls(mark) if "contract_payments" in call or call.startswith("PATCH")
    ]
    assert len(calls) == 7  # two lists, four payments, one call for all payment dates of the project


@pytest.mark.parametrize(
    ("fields", "method", "number", "notes"),
    [
        ({"DocNumber": ""}, "electronic", None, "Paid to Bright Electric"),
        ({"DocNumber": "ACH"}, "electronic", None, "Reference ACH"),
        (
            {
                "PayType": "CreditCard",
                "CheckPayment": None,
                "CreditCardPayment": {"CCAccountRef": {"value": "35"}},
                "DocNumber": "1",
            },
            "credit_card",
            None,
            "Reference 1",
        ),
        ({"DocNumber": "BILLPAY-000123456789"}, "electronic", None, "Reference BILLPAY-[number left out]"),
        (
            {
                "DocNumber": "",
                "PrivateNote": "To account 4471 of 2026-07-01, iban DE89 3704 0044 0532 0130 00",
            },
            "electronic",
            None,
            "account [number left out] of 2026-07-01",
        ),
        (
            {
                "DocNumber": "",
                "CheckPayment": {"BankAccountRef": {"value": "35"}, "PrintStatus": "NeedToPrint"},
            },
            "check",
            None,
            "Paid to",
        ),
    ],
    ids=["no number", "ACH", "card", "service", "account in the memo", "to be printed"],
)
def test_S53_method_and_reference_as_seen_and_no_account_number(
    rig: Rig, fields: dict[str, Any], method: str, number: str | None, notes: str
) -> None:
    owed = bill(rig, "BE-14", 100)
    given = {name: value for name, value in fields.items() if value is not None and name != "DocNumber"}
    pay(rig, [(owed, 100)], number=fields["DocNumber"], **given)
    rig.sync()
    there = only(rig)
    assert (there["payment_method"], there.get("check_number")) == (method, number)
    assert notes in there["notes"]
    assert not any(digits in there["notes"] for digits in ("000123456789", "4471", "3704", "0532"))


def test_S55_a_credit_in_a_payment_is_no_cash(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 1000)
    used = credit(rig, 300)
    rig.sync()
    paid = pay(rig, [(owed, 1000)], credits=[(used, 300)])
    rig.sync()
    assert on(rig) == [("700.00", TODAY, "2231")]
    assert state(rig, paid) == ("posted", "1000.00", "0.00", "0.00")
    assert rig.record("BillPayment", paid["Id"]).total == 1000


def test_S55_F52_a_credit_is_divided_over_the_bills_in_proportion(rig: Rig) -> None:
    first, second = bill(rig, "BE-1", 600), bill(rig, "BE-2", 300, floor="second floor")
    used = credit(rig, 90)
    rig.sync()
    pay(rig, [(first, 600), (second, 300)], credits=[(used, 90)])
    rig.sync()
    assert (on(rig), on(rig, SC_009)) == ([("540.00", TODAY, "2231")], [("270.00", TODAY, "2231")])


def test_S56_a_payment_of_zero_settles_by_credit_alone(rig: Rig) -> None:
    owed, direct = bill(rig, "BE-14", 300), rig.bookkeeper.bill("BE-D", [line(50, item="101")], vendor=BRIGHT)
    used = credit(rig, 350)
    rig.sync()
    paid = pay(rig, [(owed, 300), (direct, 50)], credits=[(used, 350)], number="")
    rig.sync()
    assert (paid["TotalAmt"], rig.procore.live("contract_payments"), paid_on(rig, direct)) == (0, [], TODAY)
    assert state(rig, paid) == ("posted", "350.00", "0.00", "0.00")


def test_S58_an_early_payment_discount_is_a_credit_and_no_cash(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 5000)
    discount = credit(rig, 100)
    rig.sync()
    pay(rig, [(owed, 5000)], credits=[(discount, 100)])
    rig.sync()
    assert on(rig) == [("4900.00", TODAY, "2231")]


def test_S59_a_payment_waits_for_its_bill_and_is_released_by_itself(rig: Rig) -> None:
    held = rig.bookkeeper.bill("BE-14", [sub(9000, customer="64")], vendor=BRIGHT)
    good = bill(rig, "BE-15", 1000)
    paid = pay(rig, [(held, 9000), (good, 1000)])
    rig.sync()
    assert on(rig) == [("1000.00", TODAY, "2231")]
    (waiting,) = rig.holds(paid["Id"])
    assert (waiting.reason, waiting.amount) == ("WAITING_FOR_BILL", Decimal(9000))
    assert "bill BE-14" in waiting.sentence
    assert state(rig, paid) == ("held", "1000.00", "0.00", "9000.00")
    rig.publish(projects=f"customer,project,note\n61,{HARBOR},\n64,{HARBOR},\n")
    rig.sync()
    assert on(rig) == [("1000.00", TODAY, "2231"), ("9000.00", TODAY, "2231")]
    assert state(rig, paid) == ("updated", "10000.00", "0.00", "0.00")
    assert "released" in rig.story("BillPayment", paid["Id"])


def test_S60_a_bill_from_before_the_start_leaves_its_part_excluded(rig: Rig) -> None:
    rig.configure(policies={"opening_difference": "post"})  # MAY is in the books alone
    old = bill(rig, "MAY", 500, day="2025-12-20")
    new = bill(rig, "BE-15", 1000)
    paid = pay(rig, [(old, 500), (new, 1000)])
    rig.sync()
    assert state(rig, paid) == ("posted", "1000.00", "500.00", "0.00")
    assert on(rig) == [("1000.00", TODAY, "2231")]


def test_S60_bills_that_were_never_read_are_older_than_the_start(rig: Rig) -> None:
    stranger = {
        "Id": "77",
        "SyncToken": "0",
        "VendorRef": {"value": BRIGHT},
        "PayType": "Check",
        "TotalAmt": 20,
        "TxnDate": TODAY,
        "Line": [applied({"Id": "12345"}, 20, "Bill")],
        "MetaData": {"CreateTime": f"{TODAY}T00:00:01+00:00", "LastUpdatedTime": f"{TODAY}T00:00:01+00:00"},
    }
    rig.qbo.load(realm=REALM, BillPayment=[stranger])
    rig.sync()
    assert state(rig, stranger) == ("excluded", "0.00", "20.00", "0.00")


def test_S61_a_deposit_waits_in_the_books_and_is_a_payment_once_it_is_applied(rig: Rig) -> None:
    earlier = (today() - timedelta(days=20)).isoformat()
    deposit = pay(rig, [], TotalAmt=2000, TxnDate=earlier)
    rig.sync()
    assert state(rig, deposit) == ("excluded", "0.00", "2000.00", "0.00")
    owed = bill(rig, "BE-14", 9000)
    rig.bookkeeper.edit(
        "BillPayment", deposit, Line=[applied(owed, 2000, "Bill")], VendorRef={"value": BRIGHT}
    )
    rig.sync()
    assert on(rig) == [("2000.00", earlier, "2231")]
    assert state(rig, deposit) == ("posted", "2000.00", "0.00", "0.00")


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("way", ["void", "delete"])
def test_S62_S63_a_payment_taken_back_in_QBO_is_gone_in_Procore(
    rig: Rig, lock: str, reference: str, way: str
) -> None:
    rig.configure(policies={"payment_reference": reference})
    rig.procore.switch(contract_payment_lock=lock)
    owed, direct = (
        both(rig, "BE-14", 6000, 3000),
        rig.bookkeeper.bill("D", [line(50, item="101")], vendor=BRIGHT),
    )
    paid = pay(rig, [(owed, 9000), (direct, 50)])
    rig.sync()
    assert (len(on(rig)), len(on(rig, SC_009)), paid_on(rig, direct)) == (1, 1, TODAY)
    assert {bool(entry.get("origin_id")) for entry in rig.procore.live("contract_payments")} == {
        reference == "origin_id"
    }
    if way == "void":
        void(rig, paid)
    else:
        rig.bookkeeper.delete("BillPayment", paid)
    rig.sync()
    assert rig.procore.live("contract_payments") == []
    assert (paid_on(rig, direct), len(rig.procore.live("requisitions"))) == (None, 2)
    assert state(rig, paid) == ("reversed", "0.00", "0.00", "0.00")
    assert rig.story("BillPayment", paid["Id"]).count("reversed") == 2


def test_S62_a_payment_that_Procore_never_lets_go_is_held_with_a_proposal(rig: Rig) -> None:
    rig.procore.switch(contract_payment_lock="always")
    owed = bill(rig, "BE-14", 9000)
    paid = pay(rig, [(owed, 9000)])
    rig.sync()
    void(rig, paid)
    again = pay(rig, [(owed, 9000)], number="2255")
    rig.sync()
    (locked,) = rig.holds(paid["Id"])
    assert locked.reason == "LOCKED_IN_PROCORE"
    assert "enter a reversing payment of -9000.00" in locked.sentence
    (blocked,) = rig.holds(again["Id"])
    assert (blocked.reason, on(rig)) == ("UNBALANCED", [("9000.00", TODAY, "2231")])
    assert state(rig, paid) == ("held", "9000.00", "0.00", "-9000.00")
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.writes(mark) == []
    rig.procore.switch(contract_payment_lock="refuse")
    rig.post(automatic=False)
    assert on(rig) == [("9000.00", TODAY, "2255")]
    assert rig.holds() == []


def test_S62_a_payment_date_that_Procore_will_not_clear_is_held_with_that_sentence(rig: Rig) -> None:
    direct = rig.bookkeeper.bill("D", [line(50, item="101")], vendor=BRIGHT)
    paid = pay(rig, [(direct, 50)])
    rig.sync()
    body = {"status": 422, "body": {"errors": {"payment_date": ["can't be blank"]}}}
    rig.procore.fault(
        {"route": "PATCH */direct_costs/sync", "fault": "status", "args": body, "contains": "payment_date"}
    )
    void(rig, paid)
    rig.sync()
    (hold,) = rig.holds(paid["Id"])
    assert "Procore does not change the payment date of the direct cost of bill D" in hold.sentence
    assert "Clear it there by hand" in hold.sentence
    rig.procore.no_faults()
    rig.post(automatic=False)
    assert (paid_on(rig, direct), rig.holds()) == (None, [])


def test_S62_the_date_of_a_direct_cost_goes_when_its_bill_is_open_again(rig: Rig) -> None:
    direct = rig.bookkeeper.bill("D", [line(50, item="101")], vendor=BRIGHT)
    pay(rig, [(direct, 50)])
    rig.sync()
    assert paid_on(rig, direct) == TODAY
    rig.bookkeeper.edit("Bill", direct, Line=[line(80, item="101")])
    rig.sync()
    assert (paid_on(rig, direct), rig.cost_of(direct["Id"])["grand_total"]) == (None, "80.00")
    pay(rig, [(direct, 30)], number="2232")
    rig.sync()
    assert paid_on(rig, direct) == TODAY


def test_the_policy_never_leaves_payment_dates_alone(rig: Rig) -> None:
    rig.configure(policies={"direct_cost_payment_date": "never"})
    direct = rig.bookkeeper.bill("D", [line(50, item="101")], vendor=BRIGHT)
    paid = pay(rig, [(direct, 50)])
    rig.sync()
    assert (paid_on(rig, direct), state(rig, paid)[0]) == (None, "posted")


def test_S64_voided_and_reissued_leaves_one_live_payment(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 9000)
    paid = pay(rig, [(owed, 9000)])
    rig.sync()
    void(rig, paid)
    again = pay(rig, [(owed, 9000)], number="2255")
    mark = rig.procore.mark()
    rig.sync()
    assert on(rig) == [("9000.00", TODAY, "2255")]
    writes = [call.split()[0] for call in rig.procore.writes(mark) if "contract_payments" in call]
    assert writes == ["DELETE", "PATCH", "DELETE", "POST"], "18,000.00 must never show"
    assert state(rig, again) == ("posted", "9000.00", "0.00", "0.00")
    with rig.engine.connect() as db:
        from ml_connector.store import audit

        (posted,) = [
            entry
            for entry in audit.story(db, rig.name, "BillPayment", again["Id"])
            if entry.event == "posted"
        ]
    assert posted.detail["replaces"] == [f"payment:{paid['Id']}"]


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("lock", LOCKS)
def test_S65_a_share_moved_between_contracts_is_never_on_both(rig: Rig, lock: str, reference: str) -> None:
    rig.configure(policies={"payment_reference": reference})
    rig.procore.switch(contract_payment_lock=lock)
    seven, nine = bill(rig, "BE-7", 9000), bill(rig, "BE-9", 9000, floor="second floor")
    paid = pay(rig, [(seven, 5000), (nine, 2000)], number="2240")
    rig.sync()
    ours = {entry["contract_id"]: entry["id"] for entry in rig.procore.live("contract_payments")}
    mark = rig.procore.mark()
    rig.bookkeeper.edit("BillPayment", paid, Line=[applied(seven, 7000, "Bill")])
    rig.sync()
    assert (on(rig), on(rig, SC_009)) == ([("7000.00", TODAY, "2240")], [])
    assert only(rig)["id"] == ours[SC_007]
    assert bool(only(rig).get("origin_id")) == (reference == "origin_id")
    writes = [call for call in rig.procore.writes(mark) if "contract_payments" in call]
    moved = [str(ours[SC_009]) in call for call in writes]
    assert moved == sorted(moved, reverse=True), "what goes goes first"


def test_S65_what_cannot_leave_one_contract_does_not_come_to_the_other(rig: Rig) -> None:
    rig.procore.switch(contract_payment_lock="always")
    seven, nine = bill(rig, "BE-7", 9000), bill(rig, "BE-9", 9000, floor="second floor")
    paid = pay(rig, [(nine, 2000)], number="2240")
    rig.sync()
    rig.bookkeeper.edit("BillPayment", paid, Line=[applied(seven, 2000, "Bill")])
    rig.sync()
    assert (on(rig), on(rig, SC_009)) == ([], [("2000.00", TODAY, "2240")])
    assert [hold.reason for hold in rig.holds(paid["Id"])] == ["LOCKED_IN_PROCORE"]


def test_S66_the_same_check_number_twice_is_two_payments(rig: Rig) -> None:
    first, second = bill(rig, "BE-1", 100), bill(rig, "BE-2", 100)
    one = pay(rig, [(first, 100)], number="2240", APAccountRef={"value": "33"})
    two = pay(rig, [(second, 100)], number="2240")
    rig.sync()
    assert on(rig) == [("100.00", TODAY, "2240")] * 2
    origins = {entry["origin_id"].split(":")[3] for entry in rig.procore.live("contract_payments")}
    assert origins == {one["Id"], two["Id"]}


def test_S67_a_joint_check_names_its_payee_in_the_notes(rig: Rig) -> None:
    rig.bookkeeper.edit("Vendor", {"Id": BRIGHT}, DisplayName="Bright Electric and Volt Supply")
    owed = bill(rig, "BE-14", 100)
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric", "origin_id": f"qbo:{REALM}:vendor:{BRIGHT}"}]
    )
    pay(rig, [(owed, 100)])
    rig.sync()
    assert only(rig)["notes"] == "Paid to Bright Electric and Volt Supply"


# -- S122: typed in Procore before us ------------------------------------------------------------------------------------


def typed(rig: Rig, amount: str, *, days: int = 0, number: str = "") -> None:
    """A person's payment on SC-007, without our link."""
    day = (today() - timedelta(days=days)).isoformat()
    rig.procore.load(
        contract_payments=[
            {"contract_id": SC_007, "amount": Decimal(amount), "date": day, "check_number": number}
        ]
    )


@pytest.mark.parametrize("reference", REFERENCES)
def test_S122_the_same_check_typed_by_a_person_is_linked_and_not_posted_again(
    rig: Rig, reference: str
) -> None:
    rig.configure(policies={"payment_reference": reference})
    owed = bill(rig, "BE-14", 9000)
    rig.sync()
    typed(rig, "9000", days=40, number="2231")
    paid = pay(rig, [(owed, 9000)])
    mark = rig.procore.mark()
    rig.sync()
    assert [call for call in rig.procore.writes(mark) if "contract_payments" in call] == []
    assert (len(on(rig)), only(rig).get("origin_id")) == (1, None)
    assert state(rig, paid) == ("posted", "9000.00", "0.00", "0.00")
    assert "linked" in rig.story("BillPayment", paid["Id"])


@pytest.mark.parametrize(
    ("amount", "days", "number"), [("9000", 5, ""), ("9000", 3, "77"), ("8999", 30, "2231")]
)
def test_S122_what_may_be_the_same_payment_is_held_with_both(
    rig: Rig, amount: str, days: int, number: str
) -> None:
    owed = bill(rig, "BE-14", 9000)
    rig.sync()
    typed(rig, amount, days=days, number=number)
    paid = pay(rig, [(owed, 9000)])
    rig.sync()
    (hold,) = rig.holds(paid["Id"])
    assert (hold.reason, len(on(rig))) == ("POSSIBLE_DUPLICATE", 1)
    assert f"{amount}.00 on " in hold.sentence
    rig.procore.load(
        contract_payments=[{**only(rig), "date": "2026-01-02", "check_number": "77", "amount": Decimal(1)}]
    )
    rig.post(automatic=False)
    assert (len(on(rig)), rig.holds()) == (2, [])


@pytest.mark.parametrize(("amount", "days", "number"), [("9000", 6, ""), ("8999", 0, "77")])
def test_S122_a_payment_of_another_day_or_amount_is_another_one(
    rig: Rig, amount: str, days: int, number: str
) -> None:
    owed = bill(rig, "BE-14", 9000)
    rig.sync()
    typed(rig, amount, days=days, number=number)
    pay(rig, [(owed, 9000)])
    rig.sync()
    assert (len(on(rig)), rig.holds()) == (2, [])


# -- sums that do not fit --------------------------------------------------------------------------------------------------


def raw_payment(
    rig: Rig, qbo_id: str, amount: str | int, lines: Sequence[dict[str, Any]], **fields: Any
) -> dict[str, Any]:
    """A payment that QBO's own rules would not have let pass."""
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    made = {
        "Id": qbo_id,
        "SyncToken": "0",
        "VendorRef": {"value": BRIGHT, "name": "Bright Electric"},
        "PayType": "Check",
        "DocNumber": "9",
        "TotalAmt": Decimal(str(amount)),
        "TxnDate": TODAY,
        "Line": list(lines),
        "MetaData": {"CreateTime": stamp, "LastUpdatedTime": stamp},
        **fields,
    }
    rig.qbo.load(realm=REALM, BillPayment=[made])
    return made


def test_F52_a_payment_larger_than_its_bill_is_held_with_both_figures(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 100)
    paid = raw_payment(rig, "900", 120, [applied(owed, 120, "Bill")])
    rig.sync()
    (hold,) = rig.holds(paid["Id"])
    assert (hold.reason, on(rig)) == ("UNBALANCED", [])
    assert "it pays 120.00 of bill BE-14" in hold.sentence
    assert "only 100.00 is unpaid" in hold.sentence
    rig.bookkeeper.edit("Bill", owed, Line=[sub(150)])
    rig.sync()
    assert (rig.holds(), on(rig)) == ([], [("120.00", TODAY, "9")])


def test_a_payment_that_applies_more_than_it_pays_is_held(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 100)
    paid = raw_payment(rig, "900", 60, [applied(owed, 100, "Bill")])
    rig.sync()
    (hold,) = rig.holds(paid["Id"])
    assert hold.reason == "UNBALANCED"
    assert "applies 100.00 to bills, out of 60.00 paid" in hold.sentence


def test_F52_a_payment_in_another_currency_is_held(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 100)
    paid = raw_payment(rig, "900", 100, [applied(owed, 100, "Bill")], CurrencyRef={"value": "CAD"})
    rig.sync()
    assert [(hold.reason, hold.amount) for hold in rig.holds(paid["Id"])] == [("CURRENCY", Decimal(100))]
    assert on(rig) == []


def test_a_payment_of_a_bill_that_is_deleted_is_held(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 100)
    rig.sync()
    rig.bookkeeper.delete("Bill", owed)
    paid = raw_payment(rig, "900", 100, [applied(owed, 100, "Bill")])
    rig.sync()
    (hold,) = rig.holds(paid["Id"])
    assert "which is deleted in QBO" in hold.sentence


def test_a_contract_that_takes_no_payments_holds_them_and_a_replay_sends_them(rig: Rig) -> None:
    rig.procore.load(
        commitments=[subcontract("SC-007", SC_007, retainage_percent=None, allow_payments=False)]
    )
    owed = bill(rig, "BE-14", 100)
    paid = pay(rig, [(owed, 100)])
    rig.sync()
    (hold,) = rig.holds(paid["Id"])
    assert (hold.reason, "Payments are not enabled on this contract" in hold.sentence) == ("REFUSED", True)
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.writes(mark) == []
    rig.procore.load(commitments=[subcontract("SC-007", SC_007, retainage_percent=None)])
    rig.post(automatic=False)
    assert (len(on(rig)), rig.holds()) == (1, [])


def test_a_project_taken_from_us_holds_its_payments(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 100)
    rig.sync()
    rig.procore.fault({"route": LIST, "fault": "status", "args": {"status": 403}})
    paid = pay(rig, [(owed, 100)])
    rig.sync()
    assert [hold.reason for hold in rig.holds(paid["Id"])] == ["PERMISSION"]
    rig.procore.no_faults()
    rig.post(automatic=False)
    assert (len(on(rig)), rig.holds()) == (1, [])


def test_many_payments_of_a_contract_cost_one_list_and_a_call_each(rig: Rig) -> None:
    bills = [bill(rig, f"BE-{n}", 100) for n in range(10)]
    rig.sync()
    mark = rig.procore.mark()
    for number, owed in enumerate(bills):
        pay(rig, [(owed, 100)], number=str(3000 + number))
    rig.sync()
    calls = [call for call in rig.procore.calls(mark) if "contract_payments" in call]
    assert len(calls) == 11


# -- the naked case: answers that are lost, kills ----------------------------------------------------------------------

FAULTS: dict[str, dict[str, Any]] = {
    "accepted, then cut": LOST,
    "accepted, cut short": {"fault": "truncate", "args": {"bytes": 40}},
    "accepted, answered with HTML": {"fault": "body", "args": {"kind": "html"}},
    "cut before it was taken": {"fault": "drop"},
    "503 without a word": {"fault": "status", "args": {"status": 503}},
    "500 although it was done": {"fault": "status", "args": {"status": 500, "processed": True}},
}


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("fault", FAULTS)
def test_S104_F14b_an_answer_that_is_lost_makes_one_payment(rig: Rig, fault: str, reference: str) -> None:
    rig.configure(policies={"payment_reference": reference})
    owed = bill(rig, "BE-14", 9000)
    rig.sync()
    rig.procore.fault({"route": POST, "nth": 1, **FAULTS[fault]})
    paid = pay(rig, [(owed, 4500)])
    twin = pay(rig, [(owed, 4500)])
    rig.read()
    rig.post(rig.dirty())
    assert rig.record("BillPayment", paid["Id"]).state == "retrying"
    assert "unknown" in rig.story("BillPayment", paid["Id"])
    rig.settle()
    assert on(rig) == [("4500.00", TODAY, "2231")] * 2
    assert (state(rig, paid)[0], state(rig, twin)[0]) == ("posted", "posted")
    assert rig.holds() == []


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("route", [CHANGE, DELETE])
def test_S104_a_lost_answer_while_a_payment_is_changed_or_taken_back_leaves_the_end_right(
    rig: Rig, route: str, place: int, lock: str, reference: str
) -> None:
    rig.configure(policies={"payment_reference": reference})
    rig.procore.switch(contract_payment_lock=lock)
    owed = bill(rig, "BE-14", 9000)
    paid = pay(rig, [(owed, 9000)])
    rig.sync()
    rig.procore.fault({"route": route, "nth": place, **LOST})
    if route == CHANGE:
        rig.bookkeeper.edit("BillPayment", paid, TotalAmt=4000, Line=[applied(owed, 4000, "Bill")])
        rig.sync()
        assert on(rig) == [("4000.00", TODAY, "2231")]
        assert bool(only(rig).get("origin_id")) == (reference == "origin_id")
    else:
        void(rig, paid)
        rig.sync()
        assert on(rig) == []
    assert rig.holds() == []


def test_S104_a_void_while_the_outcome_is_unknown_leaves_nothing(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 9000)
    rig.sync()
    rig.procore.fault({"route": POST, "nth": 1, **LOST})
    paid = pay(rig, [(owed, 9000)])
    rig.read()
    rig.post(rig.dirty())
    void(rig, paid)
    rig.sync()
    assert (on(rig), rig.holds()) == ([], [])


def test_S104_an_unclear_payment_is_left_alone_until_it_has_settled(rig: Rig) -> None:
    owed = bill(rig, "BE-14", 9000)
    rig.sync()
    rig.configure(timing={"settle": 3600})
    rig.procore.fault({"route": POST, "nth": 1, **LOST})
    paid = pay(rig, [(owed, 9000)])
    rig.sync()
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.calls(mark) == []
    assert state(rig, paid) == ("retrying", "0.00", "0.00", "9000.00")
    rig.configure(timing={"settle": 0})
    with rig.engine.begin() as db:
        db.execute(text("update ml_connector.ledger set not_before = now()"))
    rig.post()
    assert (len(on(rig)), state(rig, paid)[0]) == (1, "posted")


@pytest.mark.processes
@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("point", ["K5:1", "K7:1", "K8:1", "K5:2", "K7:2"])
def test_S105_F14b_K5_K7_K8_a_run_killed_while_it_pays_leaves_each_payment_once(
    rig: Rig, point: str, reference: str
) -> None:
    rig.configure(policies={"payment_reference": reference})
    owed = both(rig, "BE-14", 6000, 3000)
    rig.sync()
    pay(rig, [(owed, 9000)])
    run_that_dies_at(rig, point)
    rig.sync()
    assert (on(rig), on(rig, SC_009)) == ([("6000.00", TODAY, "2231")], [("3000.00", TODAY, "2231")])
    assert rig.holds() == []


@pytest.mark.processes
@pytest.mark.parametrize("lock", ["refuse", "ignore"])
@pytest.mark.parametrize("point", ["K5:1", "K14:1", "K7:1", "K8:1"])
@pytest.mark.parametrize("way", ["void", "change"])
def test_S105_a_run_killed_between_unlocking_and_linking_again_leaves_the_record_ours(
    rig: Rig, way: str, point: str, lock: str
) -> None:
    rig.procore.switch(contract_payment_lock=lock)
    owed = bill(rig, "BE-14", 9000)
    paid = pay(rig, [(owed, 9000)])
    rig.sync()
    ours = only(rig)["id"]
    if way == "void":
        void(rig, paid)
    else:
        rig.bookkeeper.edit("BillPayment", paid, TotalAmt=4000, Line=[applied(owed, 4000, "Bill")])
    run_that_dies_at(rig, point)
    rig.sync()
    if way == "void":
        assert on(rig) == []
    else:
        assert on(rig) == [("4000.00", TODAY, "2231")]
        assert (only(rig)["id"], only(rig)["origin_id"].split(":")[3]) == (ours, paid["Id"])
    assert rig.holds() == []


def test_S106_F14b_two_posts_at_once_pay_once(rig: Rig) -> None:
    bills = [bill(rig, f"BE-{n}", 100) for n in range(6)]
    rig.sync()
    for number, owed in enumerate(bills):
        pay(rig, [(owed, 100)], number=str(3000 + number))
    reading = rig.read()
    failures: list[BaseException] = []

    def post() -> None:
        try:
            rig.post(sorted(reading.days))
        except BaseException as error:  # noqa: BLE001 handed to the test's own thread
            failures.append(error)

    workers = [threading.Thread(target=post) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (failures, len(on(rig))) == ([], 6)
    rig.settle()
