"""S89: a running project is taken over: what was on a commitment before the start is compared, once, on both sides."""

from typing import Any

import pytest
from sqlalchemy import text

from ml_connector.holds import Choice
from ml_connector.posting.requisitions.opening import Opening, openings
from ml_connector_tests.rig import Rig, line
from ml_connector_tests.scenarios.test_decisions import decide, go_live
from ml_connector_tests.scenarios.test_subcontracts import (
    SC_007,
    entered,
    hold,
    invoices,
    period,
    progress,
    recheck,
    subcontract,
    sums,
)

BEFORE = "2025-11-15"  # the fixture's start is 2026-01-01


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """The fixture firm with a subcontract of Bright Electric."""
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007)],
        billing_periods=[period()],
    )
    return rig


def paid(rig: Rig, bill: dict[str, Any], amount: str, *, day: str = "2025-12-05") -> None:
    """A bill paid in QBO on a day."""
    made = rig.bookkeeper.pay(bill, amount)
    rig.bookkeeper.edit("BillPayment", made, TxnDate=day, VendorRef=made["VendorRef"])


def in_procore(rig: Rig, work: str = "10000.00", held: str = "1000.00", payment: str = "9000.00") -> None:
    """What people entered in Procore before the start."""
    rig.procore.load(
        requisitions=[
            entered("BE-1", work, held, id=55, status="approved", billing_date="2025-11-30", period_id=None)
        ],
        contract_payments=[
            {"id": 66, "contract_id": SC_007, "project_id": 101, "date": "2025-12-05", "amount": payment,
             "requisition_id": 55}
        ],
    )  # fmt: skip


def compared(rig: Rig) -> list[Opening]:
    with rig.engine.connect() as db:
        return openings(db, rig.connection)


def asked_by_posting(rig: Rig) -> list[str]:
    """What posting asks of QBO once everything is read."""
    rig.read()
    mark = rig.qbo.mark()
    rig.settle()
    return rig.qbo.calls(mark)


def test_S89_a_commitment_that_is_alike_on_both_sides_goes_on_and_is_asked_for_once(rig: Rig) -> None:
    before = progress(rig, "BE-1", day=BEFORE)
    paid(rig, before, "9000.00")
    in_procore(rig)
    progress(rig, "BE-2", 5000)
    of_procore = rig.procore.mark()
    assert len(asked_by_posting(rig)) == 1
    assert rig.holds() == []
    assert [sums(entry)[3] for entry in invoices(rig)] == ["9000.00", "4500.00"]
    (opening,) = compared(rig)
    assert opening.is_alike
    assert [str(amount) for amount in vars(opening.books).values()] == ["10000.00", "1000.00", "9000.00"]
    payments = [entry for entry in rig.procore.calls(of_procore) if "contract_payments" in entry]
    assert len(payments) == 1
    progress(rig, "BE-3", 5000)
    assert asked_by_posting(rig) == []
    assert len(invoices(rig)) == 3


def test_S89_a_project_that_starts_fresh_costs_one_question_and_holds_nothing(rig: Rig) -> None:
    progress(rig, "BE-1")
    mark = rig.procore.mark()
    rig.sync()
    assert (rig.holds(), len(invoices(rig))) == ([], 1)
    assert [entry for entry in rig.procore.calls(mark) if "contract_payments" in entry] == []
    assert compared(rig)[0].is_alike


def test_S89_bills_of_a_commitment_that_differs_wait_until_a_person_accepts_it(rig: Rig) -> None:
    before = progress(rig, "BE-1", day=BEFORE)
    paid(rig, before, "4000.00")
    paid(rig, before, "5000.00", day="2026-01-02")  # after the start
    in_procore(rig, "9500.00", "950.00", "4000.00")
    first, second = progress(rig, "BE-2", 5000), progress(rig, "BE-3", 7000)
    rig.sync()
    for bill in (first, second):
        assert (hold(rig, bill).reason, hold(rig, bill).choices) == (
            "OPENING_DIFFERENCE",
            (Choice.ACCEPT, Choice.EXCLUDE),
        )
        assert (
            "commitment SC-007 is not the same on both sides before the start 2026-01-01: billed 10000.00 in QBO and "
            "9500.00 in Procore; retained 1000.00 in QBO and 950.00 in Procore; paid 4000.00 in QBO and 4000.00 in Procore"
        ) in hold(rig, bill).sentence
    assert len(invoices(rig)) == 1
    decide(rig, first, Choice.ACCEPT, by="berta", comment="retainage agreed with the owner")
    rig.settle()
    assert rig.holds() == []
    assert [entry["invoice_number"] for entry in invoices(rig)] == ["BE-1", "BE-2", "BE-3"]
    (opening,) = compared(rig)
    assert opening.accepted.startswith("accept, by berta at ")
    with rig.engine.connect() as db:
        told = db.execute(
            text(
                "select actor, detail from ml_connector.audit "
                "where event in ('decided', 'compared at the start') order by number"
            )
        ).all()
    assert [row.actor for row in told] == ["ml-connector", "berta", "ml-connector"]
    assert "retainage agreed with the owner" in str(bytes(told[2].detail))
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


def test_S89_a_difference_that_is_corrected_in_Procore_ends_by_itself(rig: Rig) -> None:
    progress(rig, "BE-1", day=BEFORE)
    bill = progress(rig, "BE-2", 5000)
    rig.sync()
    assert "billed 10000.00 in QBO and 0.00 in Procore" in hold(rig, bill).sentence
    recheck(rig)
    assert "0.00 in Procore" in hold(rig, bill).sentence
    rig.procore.load(requisitions=[
        entered("BE-1", id=55, status="approved", billing_date="2025-11-30", period_id=None)
    ])  # fmt: skip
    recheck(rig)
    assert rig.holds() == []
    assert [sums(entry)[3] for entry in invoices(rig)] == ["9000.00", "4500.00"]


def test_S89_an_old_bill_that_a_person_brings_in_is_no_difference(rig: Rig) -> None:
    go_live(rig)
    bill = progress(rig, "BE-1", day=BEFORE)
    rig.sync()
    decide(rig, bill, Choice.BRING_IN)
    rig.settle()
    assert (rig.holds(), [sums(entry)[3] for entry in invoices(rig)]) == ([], ["9000.00"])


def test_S89_by_policy_what_was_before_the_start_is_not_looked_at(rig: Rig) -> None:
    rig.configure(policies={"opening_difference": "post"})
    progress(rig, "BE-1", day=BEFORE)
    progress(rig, "BE-2", 5000)
    assert asked_by_posting(rig) == []
    assert (rig.holds(), len(invoices(rig))) == ([], 1)


def test_S89_while_the_books_cannot_be_asked_its_bills_wait_and_others_are_posted(rig: Rig) -> None:
    bill = progress(rig, "BE-2", 5000)
    other = rig.bookkeeper.bill("R-1", [line(10, item="101")])
    rig.read()
    rig.qbo.fault({"route": "POST */batch*", "fault": "status", "args": {"status": 400}})
    rig.post()
    assert rig.record("Bill", bill["Id"]).state == "retrying"
    assert rig.record("Bill", other["Id"]).state == "posted"
    rig.qbo.no_faults()
    rig.post(automatic=False)
    assert rig.record("Bill", bill["Id"]).state == "posted"
