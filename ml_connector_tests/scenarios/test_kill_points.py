"""S104 and S105 for every kind of write: a run killed at any point, or an answer lost, ends as if nothing had happened.

A deed is one change in QBO that makes one kind of write. After the accident: one live record, the ledger confirmed, the
record in its final state, and nothing left to write. Creating direct costs, invoices and payments has stories of its own
in `test_posting_failures`, `test_subcontracts` and `test_payments`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from ml_connector_tests.rig import Rig, call, line, open_rig, today
from ml_connector_tests.scenarios.bookkeeping import RULES
from ml_connector_tests.scenarios.invariants import invariants, links_stand, oracle
from ml_connector_tests.scenarios.kills import run_killed_in_flight, run_that_dies_at
from ml_connector_tests.scenarios.test_payments import on, pay, void
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, SC_009, period, sub, subcontract

Record = dict[str, Any]


@dataclass(frozen=True)
class Deed:
    """`prepare` is settled before `act`; `right` holds at the end. `points` and `writes` are those of the run after it."""

    prepare: Callable[[Rig], Record]
    act: Callable[[Rig, Record], object]
    right: Callable[[Rig, Record], object]
    points: str
    writes: str  # method and which one of it
    policies: Mapping[str, Any] = field(default_factory=dict)
    switches: Mapping[str, Any] = field(default_factory=dict)


def firm_with_contracts(folder: Path, database: Engine) -> Rig:
    """The fixture firm with two contracts; its vendors are in Procore already: only the deed passes points."""
    opened = open_rig(folder, database)
    opened.publish(mapping=RULES)
    opened.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[
            subcontract(number, id_, retainage_percent=None)
            for number, id_ in (("SC-007", SC_007), ("SC-009", SC_009))
        ],
        billing_periods=[period()],
    )
    for vendor in ("21", BRIGHT):
        opened.bookkeeper.bill(f"first {vendor}", [line(1, item="101")], vendor=vendor)
    opened.sync()
    return opened


@pytest.fixture
def rig(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The firm, and the check of the invariants after the test."""
    opened = firm_with_contracts(tmp_path, database)
    try:
        yield opened
        invariants(opened)
    finally:
        opened.close()


# -- deeds ------------------------------------------------------------------------------------------------------------


def nothing(rig: Rig) -> Record:
    """No preparation."""
    return {}


def a_cost(rig: Rig) -> Record:
    """A bill on Harbor."""
    return rig.bookkeeper.bill("4471", [line(1200, item="101"), line(50, item="102")])


def an_invoice(rig: Rig) -> Record:
    """A bill on SC-007."""
    return rig.bookkeeper.bill("BE-14", [sub(9000)], vendor=BRIGHT)


def two_invoices(rig: Rig, _: Record) -> None:
    """A bill on both contracts."""
    rig.bookkeeper.bill("BE-15", [sub(1000), sub(2000, "second floor")], vendor=BRIGHT)


def a_payment(rig: Rig) -> Record:
    """A payment of a bill on SC-007."""
    return pay(rig, [(an_invoice(rig), 9000)])


def a_credit(rig: Rig) -> Record:
    """A vendor credit on Harbor."""
    body = {"VendorRef": {"value": "21"}, "DocNumber": "VC-1", "TxnDate": today().isoformat()}
    lines = [line(300, item="101"), line(20, item="102")]
    made: Record = rig.bookkeeper.post("vendorcredit", {**body, "Line": lines})["VendorCredit"]
    return made


def a_stranger(rig: Rig, _: Record) -> None:
    """A bill of a vendor that Procore does not know yet."""
    vendor = rig.bookkeeper.vendor("Summit Rental")
    rig.bookkeeper.bill("SR-1", [line(70, item="101")], vendor=vendor["Id"])


def less(rig: Rig, record: Record) -> None:
    """One line less, and another amount."""
    rig.bookkeeper.edit("Bill", record, Line=[line(1100, item="101")])


def more_work(rig: Rig, record: Record) -> None:
    rig.bookkeeper.edit("Bill", record, Line=[sub(9500)])


def delete_bill(rig: Rig, record: Record) -> None:
    rig.bookkeeper.delete("Bill", record)


def delete_credit(rig: Rig, record: Record) -> None:
    rig.bookkeeper.delete("VendorCredit", record)


def pay_off(rig: Rig, record: Record) -> None:
    rig.bookkeeper.pay(record, "1250")


def pay_all(rig: Rig, record: Record) -> None:
    pay(rig, [(record, 9000)])


def half(rig: Rig, record: Record) -> None:
    """Half of the payment, on the same bill."""
    current = rig.bookkeeper.read("BillPayment", record["Id"])
    lines = [{**current["Line"][0], "Amount": 4500}]
    rig.bookkeeper.edit("BillPayment", record, TotalAmt=4500, Line=lines)


def a_paid_cost(rig: Rig) -> Record:
    """A payment of a bill on Harbor."""
    return rig.bookkeeper.pay(a_cost(rig), "1250")


def costs(*amounts: str, dated: bool | None = None) -> Callable[[Rig, Record], None]:
    """The direct costs that count, beside the first two."""

    def check(rig: Rig, _: Record) -> None:
        found = [cost for cost in rig.direct_costs() if not cost["invoice_number"].startswith("first")]
        assert sorted(cost["grand_total"] for cost in found) == sorted(amounts)
        assert dated is None or [bool(cost.get("payment_date")) for cost in found] == [dated] * len(found)

    return check


def invoices(*due: str) -> Callable[[Rig, Record], None]:
    """What the invoices that count are worth."""

    def check(rig: Rig, _: Record) -> None:
        found = [entry for entry in rig.procore.live("requisitions") if entry["status"] != "draft"]
        assert [entry["current_payment_due"] for entry in found] == list(due)

    return check


def our_invoices(*due: str) -> Callable[[Rig, Record], None]:
    """The invoices that count, each known as ours and none taken for a person's."""

    def check(rig: Rig, record: Record) -> None:
        invoices(*due)(rig, record)
        with rig.engine.connect() as db:
            kept = "select wanted ->> 'linked' from ml_connector.ledger where kind = 'requisition'"
            assert set(db.scalars(text(kept))) == {"false"}

    return check


def payments(*amounts: str) -> Callable[[Rig, Record], None]:
    """The payments on SC-007."""

    def check(rig: Rig, _: Record) -> None:
        assert [amount for amount, _, _ in on(rig)] == list(amounts)

    return check


def stranger_is_known(rig: Rig, _: Record) -> None:
    """The vendor is in Procore once, and so is its bill."""
    assert [vendor["name"] for vendor in rig.procore.live("vendors")].count("Summit Rental") == 1
    costs("70.00")(rig, {})


def longer(rig: Rig, record: Record) -> None:
    """A line more, and another amount."""
    lines = [line(1100, item="101"), line(50, item="102"), line(25, item="101")]
    rig.bookkeeper.edit("Bill", record, Line=lines)


LEDGER_ONLY = {"links": "ledger_only"}
LOCKED_COST = {"direct_cost_lock": "except_origin"}
LOCKED_INVOICE = {"requisition_lock": "except_origin"}
DEEDS = {
    "vendor": Deed(
        nothing,
        a_stranger,
        stranger_is_known,
        "K5:1 K14:1 K8:1 K5:2 K7:1 K8:2 K5:3 K7:2 K14:2 K14:3 K8:3",
        "PATCH:1 POST:1",
    ),
    "direct cost changed": Deed(
        a_cost, less, costs("1100.00"), "K5:1 K14:1 K14:2 K8:1", "PATCH:1 DELETE:1 PATCH:2"
    ),
    "direct cost taken back": Deed(a_cost, delete_bill, costs(), "K5:1 K7:1 K8:1", "PATCH:1"),
    "locked direct cost changed": Deed(
        a_cost,
        less,
        costs("1100.00"),
        "K5:1 K14:1 K14:2 K14:3 K8:1",
        "PATCH:1 PATCH:2 PATCH:3 DELETE:1 PATCH:4",
        switches=LOCKED_COST,
    ),
    "locked direct cost taken back": Deed(
        a_cost, delete_bill, costs(), "K5:1 K14:1 K7:1 K8:1", "PATCH:1 PATCH:2 PATCH:3", switches=LOCKED_COST
    ),
    "two invoices of a bill": Deed(
        nothing,
        two_invoices,
        invoices("1000.00", "2000.00"),
        "K5:1 K7:1 K8:1 K5:2 K7:2 K8:2",
        "POST:1 POST:2",
    ),
    "invoice changed": Deed(an_invoice, more_work, invoices("9500.00"), "K5:1 K7:1 K8:1", "PATCH:1"),
    "locked invoice changed": Deed(
        an_invoice,
        more_work,
        invoices("9500.00"),
        "K5:1 K14:1 K7:1 K8:1",
        "PATCH:1 PATCH:2 PATCH:3",
        switches=LOCKED_INVOICE,
    ),
    "invoice taken back": Deed(
        an_invoice,
        delete_bill,
        invoices(),
        "K5:1 K7:1 K8:1",
        "PATCH:1",
        policies={"gone_requisition": "draft"},
    ),
    "locked invoice taken back": Deed(
        an_invoice,
        delete_bill,
        invoices(),
        "K5:1 K14:1 K7:1 K8:1",
        "PATCH:1 PATCH:2 PATCH:3",
        policies={"gone_requisition": "draft"},
        switches=LOCKED_INVOICE,
    ),
    "invoice deleted": Deed(
        an_invoice,
        delete_bill,
        invoices(),
        "K5:1 K14:1 K7:1 K8:1",
        "DELETE:1 PATCH:1 DELETE:2",
        policies={"gone_requisition": "delete"},
    ),
    "payment date set": Deed(a_cost, pay_off, costs("1250.00", dated=True), "K5:1 K7:1 K8:1", "PATCH:1"),
    "locked payment date set": Deed(
        a_cost,
        pay_off,
        costs("1250.00", dated=True),
        "K5:1 K14:1 K7:1 K8:1",
        "PATCH:1 PATCH:2 PATCH:3",
        switches=LOCKED_COST,
    ),
    "payment date cleared": Deed(
        a_paid_cost, void, costs("1250.00", dated=False), "K5:1 K7:1 K8:1", "PATCH:1"
    ),
    "credit": Deed(
        nothing,
        lambda rig, _: a_credit(rig),
        costs("-320.00"),
        "K5:1 K7:1 K14:1 K14:2 K8:1",
        "PATCH:1 PATCH:2 PATCH:3",
    ),
    "credit taken back": Deed(a_credit, delete_credit, costs(), "K5:1 K7:1 K8:1", "PATCH:1"),
    "direct cost without a link": Deed(
        nothing,
        lambda rig, _: a_cost(rig),
        costs("1250.00"),
        "K5:1 K7:1 K8:1",
        "POST:1",
        policies=LEDGER_ONLY,
    ),
    "direct cost without a link changed": Deed(
        a_cost, longer, costs("1175.00"), "K14:2", "POST:1", policies=LEDGER_ONLY
    ),
    "bill on a commitment without a link": Deed(
        nothing,
        lambda rig, _: an_invoice(rig),
        our_invoices("9000.00"),
        "K5:1 K7:1 K8:1",
        "",
        policies=LEDGER_ONLY,
    ),
    "payment without a link": Deed(
        an_invoice, pay_all, payments("9000.00"), "K5:1 K7:1 K8:1", "", policies=LEDGER_ONLY
    ),
}
# Payments have kill points and lost answers in `test_payments`; a kill while the call is under way is shown here.
NAKED = {
    "invoice": Deed(nothing, lambda rig, _: an_invoice(rig), invoices("9000.00"), "", "POST:1"),
    **{name: deed for name, deed in DEEDS.items() if "invoice" in name},
    "payment": Deed(an_invoice, pay_all, payments("9000.00"), "", "POST:1"),
    "payment changed": Deed(a_payment, half, payments("4500.00"), "", "PATCH:1 PATCH:2 PATCH:3"),
    "payment void": Deed(a_payment, void, payments(), "", "DELETE:1 PATCH:1 DELETE:2"),
}


def begin(rig: Rig, deed: Deed) -> Record:
    """Do the deed; the run after it is still to come."""
    if deed.policies:
        rig.configure(policies=dict(deed.policies))
    record = deed.prepare(rig)
    rig.sync()
    rig.procore.switch(**deed.switches)
    deed.act(rig, record)
    return record


def ends_right(rig: Rig, deed: Deed, record: Record) -> None:
    """Once, to the cent, the ledger confirmed, nothing held, and nothing left to write."""
    rig.sync()
    deed.right(rig, record)
    assert rig.holds() == []
    report = oracle(rig, everything_read=True, at_least=3)
    assert not report.findings, str(report)
    links_stand(rig)
    with rig.engine.connect() as db:
        fates = set(db.scalars(text("select state from ml_connector.ledger")))
        states = set(db.scalars(text("select state from ml_connector.record")))
    assert fates <= {"confirmed", "removed"}
    assert states <= {"posted", "updated", "no-op", "reversed"}
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


def pairs(deeds: Mapping[str, Deed], what: Callable[[Deed], str]) -> list[tuple[str, str]]:
    """Every deed with each of its points, or writes."""
    return [(name, one) for name, deed in deeds.items() for one in what(deed).split()]


@pytest.mark.processes
@pytest.mark.parametrize(("name", "point"), pairs(DEEDS, lambda deed: deed.points))
def test_S105_K5_K7_K8_K14_a_run_killed_at_any_point_ends_as_if_nothing_had_happened(
    rig: Rig, name: str, point: str
) -> None:
    record = begin(rig, DEEDS[name])
    run_that_dies_at(rig, point)
    ends_right(rig, DEEDS[name], record)


@pytest.mark.processes
@pytest.mark.parametrize(("name", "write"), pairs(NAKED, lambda deed: deed.writes))
def test_S105_K6_a_run_killed_while_a_write_is_under_way_ends_as_if_nothing_had_happened(
    rig: Rig, name: str, write: str
) -> None:
    record = begin(rig, NAKED[name])
    method, _, nth = write.partition(":")
    assert run_killed_in_flight(rig, int(nth), methods=[method])
    ends_right(rig, NAKED[name], record)


@pytest.mark.parametrize(("name", "write"), pairs(DEEDS, lambda deed: deed.writes))
def test_S104_F04_an_answer_that_is_lost_after_any_write_ends_as_if_nothing_had_happened(
    rig: Rig, name: str, write: str
) -> None:
    record = begin(rig, DEEDS[name])
    method, _, nth = write.partition(":")
    rig.procore.fault({"route": f"{method} /rest/*", "nth": int(nth), "fault": "accept_then_drop"})
    ends_right(rig, DEEDS[name], record)
    (rule,) = call("GET", f"{rig.procore.url}/_control/faults")
    assert rule["hits"] == 1


@pytest.mark.processes
@pytest.mark.parametrize(
    ("enter", "point", "again", "policies"),
    [
        (a_cost, "K14:2", [line(1200, item="101"), line(50, item="102")], {}),
        (an_invoice, "K7:1", [sub(9000)], {}),
        (an_invoice, "K7:1", [sub(9000)], LEDGER_ONLY),
    ],
    ids=["direct cost", "invoice", "invoice without a link"],
)
def test_S105_a_bill_that_waits_after_the_kill_says_what_counts_all_the_same(
    rig: Rig,
    enter: Callable[[Rig], Record],
    point: str,
    again: list[Record],
    policies: Mapping[str, str],
) -> None:
    rig.configure(policies=dict(policies))
    bill = enter(rig)
    run_that_dies_at(rig, point)
    rig.bookkeeper.edit("Bill", bill, Line=[line(7, account="7")])
    rig.sync()
    record = rig.record("Bill", bill["Id"])
    assert [hold.reason for hold in rig.holds()] == ["UNMAPPED"]
    assert (record.posted, record.held) == (bill["TotalAmt"], 7 - bill["TotalAmt"])
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []
    rig.bookkeeper.edit("Bill", bill, Line=again)
    rig.sync()
    record = rig.record("Bill", bill["Id"])
    assert (record.posted, record.held, rig.holds()) == (bill["TotalAmt"], 0, [])


@pytest.mark.processes
@pytest.mark.parametrize(("point", "there"), [("K5:1", 0), ("K7:1", 9000)])
def test_S105_a_payment_whose_bill_waits_after_the_kill_says_what_counts_all_the_same(
    rig: Rig, point: str, there: int
) -> None:
    bill = an_invoice(rig)
    rig.sync()
    payment = pay(rig, [(bill, 9000)])
    run_that_dies_at(rig, point)
    rig.bookkeeper.edit("Bill", bill, Line=[sub(9000), line(7, account="7")])
    rig.sync()
    record = rig.record("BillPayment", payment["Id"])
    assert {hold.reason for hold in rig.holds()} == {"UNMAPPED", "WAITING_FOR_BILL"}
    assert (record.state, record.posted, record.held) == ("held", there, 9000 - there)
    rig.bookkeeper.edit("Bill", bill, Line=[sub(9000)])
    rig.sync()
    record = rig.record("BillPayment", payment["Id"])
    assert (record.posted, record.held, rig.holds()) == (9000, 0, [])
    assert [one["amount"] for one in rig.procore.live("contract_payments")] == ["9000.00"]
