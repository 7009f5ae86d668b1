"""S20 with the policy `expenses: direct_cost`: what was paid by card, check or cash goes the way of bills, paid at once."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ml_connector.cli.record_names import find
from ml_connector.holds import Choice
from ml_connector.reading.outside import outside_the_sync
from ml_connector_tests.rig import ELM, HARBOR, MAPPING, REALM, Rig, line, today
from ml_connector_tests.scenarios.kills import run_that_dies_at
from ml_connector_tests.scenarios.test_changes_in_procore import change
from ml_connector_tests.scenarios.test_decisions import TOOLS_RULE, UNMAPPED_ACCOUNT, decide
from ml_connector_tests.scenarios.test_proof import CONCRETE, proof_of
from ml_connector_tests.scenarios.test_vendor_changes import merge

GRANITE = {"value": "21", "type": "Vendor"}
EMILY = {"value": "71", "type": "Employee"}
TODAY = today().isoformat()
ON, OFF = {"expenses": "direct_cost"}, {"expenses": "off"}


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """The fixture firm with the policy on, and an employee."""
    rig.configure(policies=ON)
    rig.qbo.load(realm=REALM, Employee=[{"Id": "71", "DisplayName": "Emily Platt", "Active": True}])
    return rig


def buy(
    rig: Rig,
    lines: Sequence[dict[str, Any]],
    *,
    payee: dict[str, str] | None = None,
    number: str = "",
    **fields: Any,
) -> dict[str, Any]:
    """A purchase by card; Credit=True gives it back."""
    body = {
        "PaymentType": "CreditCard",
        "AccountRef": {"value": "35"},
        "TxnDate": TODAY,
        "Line": lines,
        **fields,
    }
    body |= {"EntityRef": payee} if payee else {}
    body |= {"DocNumber": number} if number else {}
    made: dict[str, Any] = rig.bookkeeper.post("purchase", body)["Purchase"]
    return made


def cost_of(rig: Rig, purchase: dict[str, Any], project: str = HARBOR) -> dict[str, Any]:
    return rig.cost_of(purchase["Id"], project, entity="purchase")


def state_of(rig: Rig, purchase: dict[str, Any]) -> tuple[str, str]:
    row = rig.record("Purchase", purchase["Id"])
    return row.state, str(row.posted)


def outside(rig: Rig) -> list[str]:
    """Ids of what the proof names as job cost outside the sync."""
    with rig.engine.connect() as db:
        return sorted(cost.qbo_id for cost in outside_the_sync(db, rig.connection).costs)


def test_S20_expenses_are_posted_with_and_without_a_vendor_and_the_proof_balances(rig: Rig) -> None:
    rig.read()
    mark = rig.qbo.mark()
    office = [line(8, account="5", customer=None), line(40, account="33", customer=None)]
    bought = buy(rig, [line(90, item="101", description="Ready-mix"), *office], payee=GRANITE, number="1025")
    lunch = buy(rig, [line(12, item="101", customer="62")], payee=EMILY, PrivateNote="site lunch")
    cash = buy(rig, [line(7, item="101")], PaymentType="Cash")
    refund = buy(rig, [line(15, item="101")], payee=GRANITE, number="1025", Credit=True)
    rig.sync()
    assert len([entry for entry in rig.qbo.calls(mark) if entry.startswith("GET")]) == 1
    told = ("direct_cost_type", "status", "invoice_number", "grand_total", "payment_date", "description")
    assert [
        [cost[name] for name in told] for cost in (cost_of(rig, one) for one in (bought, cash, refund))
    ] == [
        ["expense", "approved", "1025", "90.00", TODAY, ""],
        ["expense", "approved", None, "7.00", TODAY, ""],
        ["expense", "approved", f"1025-{refund['Id']}", "-15.00", TODAY, ""],
    ]
    elm = cost_of(rig, lunch, ELM)
    assert (elm["vendor_id"], elm["description"]) == (None, "Paid to Emily Platt\nsite lunch")
    assert state_of(rig, refund) == ("posted", "-15.00")
    assert rig.record("Purchase", bought["Id"]).excluded == Decimal(48)
    assert (rig.holds(), outside(rig)) == ([], [])
    proof = proof_of(rig)
    assert (proof.balanced, proof.outside, proof.calls.qbo) == (True, (), 2)
    whole = proof.costs.total
    assert (whole.qbo, whole.procore, whole.excluded) == (Decimal(142), Decimal(94), Decimal(48))
    with rig.engine.connect() as db:
        assert [one.name for one in find(db, rig.name, "expense emily")] == [f"purchase:{lunch['Id']}"]
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


def test_S20_an_expense_follows_its_edit_move_void_and_deletion(rig: Rig) -> None:
    moved = buy(rig, [line(90, item="101")], payee=GRANITE, number="88")
    voided, deleted = buy(rig, [line(30, item="101")], number="V-1"), buy(rig, [line(20, item="101")])
    rig.sync()
    rig.qbo.switch(bill_void="allowed")
    earlier = (today() - timedelta(days=1)).isoformat()
    lines = [line(95, item="101", customer="62")]
    rig.bookkeeper.edit("Purchase", moved, Line=lines, TxnDate=earlier, DocNumber="")
    voiding = {"Id": voided["Id"], "SyncToken": voided["SyncToken"], "sparse": True}
    rig.bookkeeper.post("purchase?include=void", voiding)
    rig.bookkeeper.delete("Purchase", deleted)
    rig.sync()
    there = cost_of(rig, moved, ELM)
    assert (there["grand_total"], there["payment_date"], there["invoice_number"]) == ("95.00", earlier, None)
    assert [cost["id"] for cost in rig.direct_costs()] == [there["id"]]
    gone = [cost_of(rig, one) for one in (moved, voided, deleted)]
    assert [(cost["status"], cost["payment_date"], cost["invoice_number"]) for cost in gone] == [
        ("draft", None, f"88 (void {moved['Id']})"),
        ("draft", None, f"V-1 (void {voided['Id']})"),
        ("draft", None, f"(void {deleted['Id']})"),
    ]
    assert [state_of(rig, one)[0] for one in (moved, voided, deleted)] == ["updated", "reversed", "reversed"]
    assert rig.story("Purchase", deleted["Id"])[-1] == "reversed"
    assert proof_of(rig).balanced


def test_S20_an_expense_waits_for_a_rule_for_approval_and_never_draws_on_a_commitment(rig: Rig) -> None:
    tools = buy(rig, [line(60, account=UNMAPPED_ACCOUNT)], payee=GRANITE)
    sub = buy(rig, [line(500, account="2"), line(-50, account="6")], payee={"value": "22", "type": "Vendor"})
    rig.sync()
    (hold,) = rig.holds(tools["Id"])
    assert (hold.reason, hold.amount) == ("UNMAPPED", Decimal(60))
    assert f"Line 1 of expense without number (QBO id {tools['Id']}) (Granite Supply, 60.00)" in hold.sentence
    assert [(hold.reason, hold.amount) for hold in rig.holds(sub["Id"])] == [
        ("EXPENSE_ON_COMMITMENT", Decimal(500)),
        ("EXPENSE_ON_COMMITMENT", Decimal(-50)),
    ]
    assert "an expense cannot draw on one: enter it as a bill in QBO" in rig.holds(sub["Id"])[0].sentence
    proof = proof_of(rig)
    assert (proof.balanced, proof.costs.total.held) == (True, Decimal(510))
    rig.configure(policies={"approval": "all"})
    rig.publish(mapping=TOOLS_RULE)
    decide(rig, sub, Choice.EXCLUDE, entity="Purchase", comment="billed later")
    rig.settle()
    assert [hold.reason for hold in rig.holds()] == ["NEEDS_APPROVAL"]
    decide(rig, tools, Choice.APPROVE, entity="Purchase")
    rig.settle()
    assert (state_of(rig, tools), state_of(rig, sub)[0]) == (("posted", "60.00"), "excluded")
    assert (cost_of(rig, tools)["grand_total"], rig.holds()) == ("60.00", [])


def test_S20_where_procore_wants_a_vendor_on_an_expense_its_word_holds_it_until_it_names_one(
    rig: Rig,
) -> None:
    rig.procore.switch(expense_needs_vendor=True)
    bought = buy(rig, [line(90, item="101")])
    rig.sync()
    (hold,) = rig.holds()
    assert (hold.reason, rig.direct_costs()) == ("REFUSED", [])
    assert "(no payee, 90.00): Procore refused it" in hold.sentence
    assert hold.sentence.endswith("Choose a vendor as its payee in QBO, where it names none.")
    rig.bookkeeper.edit("Purchase", bought, EntityRef=GRANITE)
    rig.sync()
    assert (rig.holds(), cost_of(rig, bought)["grand_total"]) == ([], "90.00")


def test_S20_an_expense_shares_its_number_with_a_bill_and_is_a_duplicate_only_of_equal_money(
    rig: Rig,
) -> None:
    rig.bookkeeper.bill("77", [line(50, item="101")])
    several = [buy(rig, [line(amount, item="101")], payee=GRANITE, number="77") for amount in (10, 20, 20)]
    rig.sync()
    (hold,) = rig.holds()
    assert (hold.reason, hold.qbo_id) == ("POSSIBLE_DUPLICATE", several[2]["Id"])
    assert "the same vendor has another expense with this number" in hold.sentence
    decide(rig, several[2], Choice.POST_ANYWAY, entity="Purchase")
    rig.settle()
    numbers = {cost["invoice_number"]: cost["grand_total"] for cost in rig.direct_costs()}
    ids = [one["Id"] for one in several]
    assert numbers == {
        "77": "50.00", f"77-{ids[0]}": "10.00", f"77-{ids[1]}": "20.00", f"77-{ids[2]}": "20.00"
    }  # fmt: skip


def test_S20_the_policy_turned_on_takes_up_what_was_read_and_turned_off_deletes_nothing(rig: Rig) -> None:
    rig.configure(policies=OFF)
    kept, held = buy(rig, [line(90, item="101")]), buy(rig, [line(60, account=UNMAPPED_ACCOUNT)])
    rig.sync()
    assert (rig.direct_costs(counting=False), len(outside(rig))) == ([], 2)
    rig.configure(policies=ON)
    differences = proof_of(rig).costs.differences
    assert [one.direction for one in differences] == ["only in QBO"] * 2
    assert "`ml-connector sync --bill-dates` takes it up" in differences[0].sentence
    rig.post([today()], automatic=False)  # as `sync NAME --bill-dates` does
    assert (state_of(rig, kept), state_of(rig, held)[0]) == (("posted", "90.00"), "held")
    assert (outside(rig), proof_of(rig).balanced) == ([], True)
    rig.configure(policies=OFF)
    new = buy(rig, [line(5, item="101")])
    rig.bookkeeper.edit("Purchase", kept, Line=[line(80, item="101")])
    rig.sync()
    assert [cost["grand_total"] for cost in rig.direct_costs()] == ["80.00"]
    assert (state_of(rig, kept)[0], state_of(rig, held)[0], rig.holds()) == ("updated", "excluded", [])
    proof = proof_of(rig)
    assert (outside(rig), proof.balanced) == ([new["Id"]], True)
    assert (proof.costs.rows[CONCRETE, TODAY[:7]].procore, proof.costs.total.excluded) == (
        Decimal(80),
        Decimal(60),
    )
    rig.configure(policies=ON)
    rig.publish(mapping=MAPPING + "5075,,,,,,,,,direct_cost,03-3000,M,,,,,\n")
    rig.post([today()], automatic=False)
    totals = sorted(cost["grand_total"] for cost in rig.direct_costs())
    assert (totals, outside(rig)) == (["5.00", "60.00", "80.00"], [])


def test_S20_S84_an_expense_keeps_its_vendor_when_qbo_merges_it_and_drift_waits_for_a_word(rig: Rig) -> None:
    twin = rig.bookkeeper.vendor("Granite Supplies")
    bought = buy(rig, [line(90, item="101")], payee={"value": twin["Id"], "type": "Vendor"}, number="5")
    rig.sync()
    before, mark = cost_of(rig, bought), rig.procore.mark()
    merge(rig, twin["Id"], "21")
    rig.sync()
    assert (rig.procore.writes(mark), rig.record("Purchase", bought["Id"]).state) == ([], "no-op")
    change(rig, before, status="draft")
    rig.bookkeeper.edit("Purchase", bought, Line=[line(91, item="101")])
    rig.sync()
    assert [(hold.reason, hold.choices) for hold in rig.holds()] == [
        ("DRIFT", (Choice.KEEP_THEIRS, Choice.RESTORE_OURS))
    ]
    decide(rig, bought, Choice.RESTORE_OURS, entity="Purchase")
    rig.settle()
    after = cost_of(rig, bought)
    assert (after["vendor_id"], after["status"], after["grand_total"]) == (
        before["vendor_id"],
        "approved",
        "91.00",
    )


@pytest.mark.processes
def test_S20_K7_an_expense_whose_run_dies_after_the_call_is_there_once(rig: Rig) -> None:
    bought = buy(rig, [line(90, item="101")], payee=GRANITE)
    run_that_dies_at(rig, "K7")
    rig.sync()
    assert (cost_of(rig, bought)["grand_total"], len(rig.direct_costs(counting=False))) == ("90.00", 1)
    assert state_of(rig, bought)[0] == "posted"
