"""The proof: QBO = Procore + held + excluded + drift, and every difference that is provoked is found and named."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ml_connector.errors import TransientError, VendorAway
from ml_connector.holds import Choice
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.proving.books import Retention
from ml_connector.proving.figures import RETAINAGE, Place
from ml_connector.proving.job_costs import Retained
from ml_connector.proving.proof import Proof, prove
from ml_connector.proving.retainage import Payable
from ml_connector_tests.reading.desk import Interrupted, raw_bill
from ml_connector_tests.rig import HARBOR, REALM, Rig, line, open_rig, today
from ml_connector_tests.scenarios.test_call_budgets import (
    CUSTOMERS,
    PROJECTS,
    five_projects,
    three_lines,
)
from ml_connector_tests.scenarios.test_changes_in_procore import (
    change,
    delete,
    know_the_vendor,
    person,
    recode,
    typed,
)
from ml_connector_tests.scenarios.test_decisions import decide
from ml_connector_tests.scenarios.test_subcontracts import (
    BRIGHT,
    RETAINED,
    SC_007,
    period,
    retainage,
    sub,
    subcontract,
)

CONCRETE = Place(HARBOR, "03-3000", "M")
LUMBER = Place(HARBOR, "06-1000", "M")
MONTH = f"{today():%Y-%m}"
FIGURES = ("qbo", "procore", "held", "excluded", "timing", "drift")


@pytest.fixture
def meddled(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The fixture firm, in which money is made to be wrong behind our back: the invariants would say so, too."""
    opened = open_rig(tmp_path, database)
    yield opened
    opened.close()


def proof_of(rig: Rig) -> Proof:
    """The proof as of now; it writes nothing anywhere, and every row adds up."""
    mark, connection = rig.procore.mark(), rig.connection
    qbo = qbo_client(rig.home, connection, rig.engine)
    proof = prove(rig.engine, connection, qbo, procore_client(rig.home, connection, rig.engine))
    assert rig.procore.writes(mark) == []
    for row in (*proof.costs.rows.values(), *proof.payments.rows.values()):
        assert row.qbo == row.procore + row.held + row.excluded + row.timing + row.drift
    return proof


def named(proof: Proof) -> list[tuple[str, str, str, str]]:
    """Direction, record, and the figures of QBO and Procore of every difference."""
    both = (*proof.costs.differences, *proof.payments.differences)
    return [(str(one.direction), one.record, str(one.qbo), str(one.procore)) for one in both]


def totals(proof: Proof) -> tuple[str, ...]:
    """qbo, procore, held, excluded, timing and drift of all rows."""
    return tuple(str(getattr(proof.costs.total, name)) for name in FIGURES)


def with_subcontract(rig: Rig) -> None:
    """Bright Electric has an approved subcontract with 10 % retainage on Harbor Clinic, and a period is open."""
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007)],
        billing_periods=[period()],
    )


# -- a firm that is in order --------------------------------------------------------------------------------------------


def test_S113_a_clean_firm_balances_to_the_cent_with_what_is_held_and_excluded(rig: Rig) -> None:
    office = line(80, account="5", customer=None)
    rig.bookkeeper.bill("4471", [line(1250, item="101"), line("59.99", account="3"), office])
    rig.bookkeeper.bill("4472", [line(700, item="101", customer="62")])
    rig.bookkeeper.bill("4473", [line(33, account="7")])  # no rule takes it
    rig.sync()
    proof = proof_of(rig)
    assert (proof.balanced, named(proof), proof.problems()) == (True, [], [])
    assert totals(proof) == ("2122.99", "2009.99", "33.00", "80.00", "0.00", "0.00")
    row = proof.costs.rows[CONCRETE, MONTH]
    assert (str(row.qbo), str(row.procore)) == ("1250.00", "1250.00")
    assert str(proof.costs.rows[Place(HARBOR), MONTH].held) == "33.00"


def test_S113_a_month_of_bills_adds_up_with_held_excluded_and_one_drift(meddled: Rig) -> None:
    rig = meddled
    for number in range(20):
        lines = [line(100 + number, item="101"), line("0.01", item="102")]
        rig.bookkeeper.bill(f"B-{number}", lines)
    for number in range(3):
        rig.bookkeeper.bill(f"H-{number}", [line(10, account="7")])
        rig.bookkeeper.bill(f"X-{number}", [line(20, account="5", customer=None)])
    rig.sync()
    drifted = rig.direct_costs()[0]
    delete(rig, {**drifted, "project_id": HARBOR})
    proof = proof_of(rig)
    qbo, procore, held, excluded, timing, drift = totals(proof)
    assert Decimal(qbo) == sum(100 + number for number in range(20)) + Decimal("0.20") + 90
    assert (held, excluded, timing, drift) == ("30.00", "60.00", "0.00", drifted["grand_total"])
    assert Decimal(procore) == Decimal(qbo) - 90 - Decimal(drift)
    assert len(named(proof)) == 1


def test_S113_subcontracts_retainage_and_payments_balance(rig: Rig) -> None:
    with_subcontract(rig)
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000), retainage(-1000)], vendor=BRIGHT)
    other = rig.bookkeeper.bill("4471", [line(500, item="101")])
    rig.sync()
    rig.bookkeeper.pay(bill, "4000.00")
    rig.bookkeeper.pay(other, "500.00", number="2232")
    rig.sync()
    assert rig.holds() == []
    proof = proof_of(rig)
    assert (proof.balanced, named(proof), proof.problems()) == (True, [], [])
    rows = proof.costs.rows
    assert str(rows[Place(HARBOR, "26-0500", "S"), MONTH].procore) == "10000.00"
    assert str(rows[Place(HARBOR, RETAINAGE), MONTH].procore) == "-1000.00"
    paid = proof.payments.total
    assert (str(paid.qbo), str(paid.procore), str(paid.excluded)) == ("4500.00", "4000.00", "500.00")
    (held_back,) = [row for row in proof.retainage if row.commitment_id]
    assert (held_back.commitment_id, str(held_back.books), str(held_back.procore)) == (
        SC_007,
        "1000.00",
        "1000.00",
    )


def test_S113_a_bill_under_another_month_in_Procore_is_TIMING_and_balances(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    change(rig, {**rig.cost_of(bill["Id"]), "project_id": HARBOR}, direct_cost_date="2026-02-10")
    proof = proof_of(rig)
    assert proof.balanced
    assert named(proof) == [("TIMING", f"bill:{bill['Id']}", "1250.00", "1250.00")]
    assert str(proof.costs.rows[CONCRETE, MONTH].timing) == "1250.00"
    assert str(proof.costs.rows[CONCRETE, "2026-02"].timing) == "-1250.00"


def test_S43_S49_change_orders_and_stored_materials_balance_on_their_codes(rig: Rig) -> None:
    with_subcontract(rig)
    orders = [{"id": 5, "title": "CO-2", "status": "approved", "amount": Decimal(8000)}]
    rig.procore.load(commitments=[subcontract("SC-007", SC_007, change_orders=orders)])
    rig.configure(policies={"stored_materials": "stored"})
    for number, words in enumerate(["switchgear stored on site", "rough-in", "CO-2 extra panel"]):
        rig.bookkeeper.bill(f"BE-{number}", [sub(3000, words), retainage(-300)], vendor=BRIGHT)
        rig.sync()
    assert rig.holds() == []
    proof = proof_of(rig)
    assert (proof.balanced, proof.problems()) == (True, [])
    row = proof.costs.rows[Place(HARBOR, "26-0500", "S"), MONTH]
    assert (str(row.qbo), str(row.procore)) == ("9000.00", "9000.00")


def test_S28_a_bill_that_waits_between_two_codes_is_held_on_both(rig: Rig) -> None:
    with_subcontract(rig)
    bill = rig.bookkeeper.bill("4471", [line(100, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(100, account="7")])  # no rule takes it any more
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["UNMAPPED"]
    proof = proof_of(rig)
    assert (proof.balanced, proof.problems()) == (True, [])
    held = [str(proof.costs.rows[place, MONTH].held) for place in (Place(HARBOR), CONCRETE)]
    assert held == ["100.00", "-100.00"]


# -- what people change in Procore --------------------------------------------------------------------------------------


def test_S77_a_changed_code_is_found_on_both_codes(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    recode(rig, rig.cost_of(bill["Id"]))
    proof = proof_of(rig)
    assert not proof.balanced
    assert named(proof) == [("differs", f"bill:{bill['Id']}", "1250.00", "1250.00")]
    assert "03-3000.M 1,250.00 against 0.00" in proof.costs.differences[0].sentence
    drifts = [str(proof.costs.rows[place, MONTH].drift) for place in (CONCRETE, LUMBER)]
    assert drifts == ["1250.00", "-1250.00"]


@pytest.mark.parametrize("choice", [Choice.KEEP_THEIRS, Choice.RESTORE_OURS], ids=str)
def test_S78_a_deleted_record_is_only_in_QBO_until_it_is_restored(rig: Rig, choice: Choice) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1310, item="101")])
    rig.sync()
    delete(rig, rig.cost_of(bill["Id"]))
    found = [("only in QBO", f"bill:{bill['Id']}", "1310.00", "0.00")]
    assert named(proof_of(rig)) == found
    rig.bookkeeper.edit("Bill", bill, PrivateNote="looked at")
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["DRIFT"]
    waiting = proof_of(rig)
    assert named(waiting) == found
    assert "keep_theirs or restore_ours" in waiting.problems()[0]
    decide(rig, bill, choice)
    rig.settle()
    after = proof_of(rig)
    kept = [("kept as in Procore", *found[0][1:])]
    assert (after.balanced, named(after)) == (True, [] if choice is Choice.RESTORE_OURS else kept)


# -- missing in either direction ----------------------------------------------------------------------------------------


def test_S114_a_record_removed_behind_our_back_and_a_bill_hidden_from_the_reader_are_both_named(
    meddled: Rig,
) -> None:
    rig = meddled
    removed = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.bookkeeper.bill("4472", [line(40, item="101")])
    rig.sync()
    delete(rig, rig.cost_of(removed["Id"]))
    hidden = raw_bill(
        9001, total="77.50", Line=[{"Id": "1", **line("77.50", item="101")}], TxnDate=today().isoformat()
    )
    long_ago = "1999-01-01T00:00:00-00:00"  # before any time that a reader asks for
    hidden["MetaData"] = {"CreateTime": long_ago, "LastUpdatedTime": long_ago}
    rig.qbo.load(realm=REALM, Bill=[hidden])
    rig.sync()
    proof = proof_of(rig)
    assert not proof.balanced
    assert sorted(named(proof)) == sorted(
        [
            ("only in QBO", f"bill:{removed['Id']}", "1250.00", "0.00"),
            ("only in QBO", "bill:9001", "77.50", "0.00"),
        ]
    )
    assert "never read" in proof.problems()[1]
    assert str(proof.costs.total.drift) == "1327.50"
    assert str(proof.costs.rows[CONCRETE, MONTH].drift) == "1327.50"


def test_S114_what_QBO_counts_and_does_not_show_keeps_the_proof_from_balancing(rig: Rig) -> None:
    bills = [rig.bookkeeper.bill(str(number), [line(10, item="101")]) for number in range(3)]
    rig.sync()
    client = qbo_client(rig.home, rig.connection, rig.engine)
    late = Interrupted(client, {1: lambda: rig.bookkeeper.delete("Bill", bills[0])})
    proof = prove(rig.engine, rig.connection, late, person(rig))
    assert not proof.balanced
    assert any("QBO counts 3 of Bill and showed 2" in problem for problem in proof.problems())
    rig.sync()


def test_S113_a_side_that_does_not_answer_proves_nothing(rig: Rig) -> None:
    rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.sync()
    rig.configure(timing={"patience": 0.5})
    rig.procore.fault({"route": "GET /rest/v1.1/requisitions", "fault": "status", "args": {"status": 503}})
    with pytest.raises((TransientError, VendorAway)):
        proof_of(rig)
    rig.procore.no_faults()


def test_S114_a_deletion_in_QBO_that_was_never_read_is_only_in_Procore(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    rig.bookkeeper.delete("Bill", bill)
    proof = proof_of(rig)
    assert not proof.balanced
    assert named(proof) == [("only in Procore", f"bill:{bill['Id']}", "0.00", "1250.00")]
    assert "QBO no longer has" in proof.problems()[0]
    rig.sync()
    assert proof_of(rig).balanced


def test_S114_an_edit_that_was_not_read_yet_says_so_with_both_figures(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(1300, item="101")])
    proof = proof_of(rig)
    assert named(proof) == [("differs", f"bill:{bill['Id']}", "1300.00", "1250.00")]
    assert "QBO has a newer version" in proof.problems()[0]


def test_S90_a_cost_of_another_integration_is_only_in_Procore_beside_the_held_bill(rig: Rig) -> None:
    know_the_vendor(rig)
    cost = typed(rig, "4471", "1200.00", direct_cost_date=today().isoformat())
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    assert [hold.reason for hold in rig.holds(bill["Id"])] == ["POSSIBLE_DUPLICATE"]
    proof = proof_of(rig)
    assert not proof.balanced
    assert named(proof) == [("only in Procore", f"direct cost:{cost['id']}", "0.00", "1200.00")]
    assert totals(proof) == ("1250.00", "1200.00", "1250.00", "0.00", "0.00", "-1200.00")


def test_S114_a_missing_contract_payment_is_named(meddled: Rig) -> None:
    rig = meddled
    with_subcontract(rig)
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000), retainage(-1000)], vendor=BRIGHT)
    rig.sync()
    payment = rig.bookkeeper.pay(bill, "4000.00")
    rig.sync()
    (made,) = rig.procore.live("contract_payments")
    rig.procore.load(contract_payments=[{**made, "amount": "3000.00"}])
    proof = proof_of(rig)
    assert not proof.balanced
    assert named(proof) == [("differs", f"billpayment:{payment['Id']}", "4000.00", "3000.00")]


def test_S113_retainage_that_Procore_holds_otherwise_is_a_difference_of_its_commitment(meddled: Rig) -> None:
    rig = meddled
    with_subcontract(rig)
    rig.bookkeeper.bill("BE-14", [sub(10_000), retainage(-1000)], vendor=BRIGHT)
    rig.sync()
    (invoice,) = rig.procore.live("requisitions")
    rig.procore.switch(requisition_lock="never")
    items = [
        {"id": item["id"], "item_type": item["item_type"], RETAINED: "900.00"} for item in invoice["items"]
    ]
    body = {"project_id": HARBOR, "commitment_id": SC_007, "requisition": {"items": items}}
    person(rig).patch(f"/rest/v1.1/requisitions/{invoice['id']}", body)
    proof = proof_of(rig)
    assert not proof.balanced
    (row,) = [row for row in proof.retainage if row.commitment_id == SC_007]
    assert (str(row.books), str(row.procore), str(row.difference)) == ("1000.00", "900.00", "100.00")
    assert any("Retainage of commitment 7007" in problem for problem in proof.problems())
    this_month = proof.narrowed(project=None, month=MONTH)
    assert [str(row.difference) for row in this_month.retainage if row.commitment_id == SC_007] == ["100.00"]
    assert not this_month.balanced
    before = proof.narrowed(project=None, month="2000-01")
    assert ([row.difference for row in before.retainage if row.difference], before.balanced) == ([], True)


def test_S113_retainage_at_the_end_of_a_month_counts_an_invoice_in_the_month_of_its_bill() -> None:
    def bill(qbo_id: str, month: str, amount: int) -> Retention:
        return Retention("Bill", qbo_id, month, HARBOR, Decimal(amount), Decimal(0), Decimal(0))

    def invoice(qbo_id: str | None, month: str, amount: int) -> Retained:
        source = None if qbo_id is None else ("Bill", qbo_id)
        return Retained(SC_007, HARBOR, month, source, Decimal(amount))

    payable = Payable(
        [bill("1", "2026-01", 100), bill("2", "2026-02", -40)],
        [invoice("1", "2026-02", 100), invoice("2", "2026-02", -40), invoice(None, "2026-03", 7)],
        {("Bill", "1"): [(SC_007, HARBOR)], ("Bill", "2"): [(SC_007, HARBOR)]},
        "lines",
    )

    def at_end_of(month: str | None) -> list[tuple[str, str, str]]:
        rows = [row for row in payable.rows(until=month) if row.commitment_id]
        return [(str(row.books), str(row.procore), str(row.difference)) for row in rows]

    assert at_end_of("2025-12") == []
    assert at_end_of("2026-01") == [("100.00", "100.00", "0.00")]
    assert at_end_of("2026-02") == [("60.00", "60.00", "0.00")]
    assert at_end_of("2026-03") == at_end_of(None) == [("60.00", "67.00", "-7.00")]


# -- vendors, and what it costs -----------------------------------------------------------------------------------------


def test_S128_the_vendor_report_says_who_is_on_one_side_alone_and_whose_name_differs(rig: Rig) -> None:
    rig.configure(policies={"new_vendors": "hold"})
    know_the_vendor(rig)
    rig.procore.load(vendors=[{"id": 801, "name": "Somebody Else"}])
    granite = next(vendor for vendor in rig.procore.live("vendors") if vendor["id"] == 700)
    rig.procore.load(vendors=[{**granite, "name": "Quarry of Granite"}])
    report = proof_of(rig).vendors
    assert [pair.qbo_name for pair in report.only_in_qbo] == [
        "Bright Electric",
        "City Rental",
        "Nordwall Drywall",
    ]
    assert [pair.procore_name for pair in report.only_in_procore] == ["Somebody Else"]
    assert report.linked == 1
    assert [(pair.qbo_name, pair.procore_name) for pair in report.name_differs] == [
        ("Granite Supply", "Quarry of Granite")
    ]


def test_S113_the_proof_of_five_projects_costs_two_calls_to_QBO_and_three_a_project(rig: Rig) -> None:
    five_projects(rig)
    for customer in CUSTOMERS:
        rig.bookkeeper.bill(f"first on {customer}", [line(1, item="101", customer=customer)])
    rig.sync()
    bills = [raw_bill(10_000 + number, total="60.00", Line=three_lines(number)) for number in range(200)]
    rig.qbo.load(Bill=bills)
    rig.sync()
    assert rig.holds() == []
    qbo, procore = rig.qbo.mark(), rig.procore.mark()
    proof = proof_of(rig)
    reads, lists = rig.qbo.calls(qbo), rig.procore.calls(procore)
    assert proof.balanced
    assert str(proof.costs.total.procore) == "12005.00"
    assert (len(reads), len(lists)) == (proof.calls.qbo, proof.calls.procore)
    assert len(reads) == 2, reads
    assert len(lists) == 3 * len(PROJECTS) + 2, lists  # and the directory
