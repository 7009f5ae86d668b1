"""The policy `links: ledger_only`: what we post carries no origin id, people go on editing it, and we still know it."""

from typing import Any

import pytest

from ml_connector.holds import Choice
from ml_connector.posting.direct_costs.takeover import takeover
from ml_connector_tests.rig import ELM, HARBOR, Rig, line
from ml_connector_tests.scenarios.test_changes_in_procore import (
    change,
    codes_of,
    delete,
    hold,
    know_the_vendor,
    money,
    posted,
    recode,
    replay,
    typed,
)
from ml_connector_tests.scenarios.test_decisions import decide
from ml_connector_tests.scenarios.test_expenses import ON, buy
from ml_connector_tests.scenarios.test_payments import void
from ml_connector_tests.scenarios.test_proof import named, proof_of

CREATE = "POST */direct_costs"


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """The fixture firm with the policy, in a Procore that locks whatever carries an origin id."""
    rig.configure(policies={"links": "ledger_only"})
    rig.procore.switch(direct_cost_lock="always", requisition_lock="always")
    return rig


def cost_there(rig: Rig) -> dict[str, Any]:
    """The one direct cost of Harbor that counts."""
    (found,) = (cost for cost in rig.direct_costs() if str(cost["project_id"]) == HARBOR)
    return found


def of_lines(cost: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["description"], entry["amount"]) for entry in cost["line_items"]]


def lose_the_answer(rig: Rig, fault: str = "accept_then_drop") -> None:
    """The next direct cost is made, or not, and nobody hears of it."""
    rig.procore.fault({"route": CREATE, "nth": 1, "fault": fault})


def read_and_post(rig: Rig) -> None:
    """One run, and no second look."""
    rig.read()
    rig.post(rig.dirty())


def test_a_bill_is_posted_followed_paid_and_taken_back_without_any_origin_id(rig: Rig) -> None:
    know_the_vendor(rig)
    rig.procore.switch(invoice_number_scope="company")
    mark = rig.procore.mark()
    lines = [line(1200, item="101"), line(50, item="102"), line(30, item="101", customer="62")]
    bill = rig.bookkeeper.bill("4471", lines)
    rig.sync()
    assert [(cost["grand_total"], cost["status"]) for cost in rig.direct_costs()] == [
        ("1250.00", "approved"),
        ("30.00", "approved"),
    ]
    assert rig.procore.writes(mark).count(f"POST /rest/v1.1/projects/{HARBOR}/direct_costs") == 1
    lines = [line(1100, item="101"), line(70, item="102"), line(25, item="101"), lines[2]]
    rig.bookkeeper.edit("Bill", bill, Line=lines, DocNumber="4471-A")
    rig.sync()
    cost = cost_there(rig)
    assert (cost["invoice_number"], cost["grand_total"]) == ("4471-A", "1195.00")
    assert [amount for _, amount in of_lines(cost)] == ["1100.00", "70.00", "25.00"]
    rig.bookkeeper.edit("Bill", bill, Line=[lines[0], lines[3]])
    rig.sync()
    assert [amount for _, amount in of_lines(cost_there(rig))] == ["1100.00"]
    payment = rig.bookkeeper.pay(bill, "1130")
    rig.sync()
    assert [bool(cost["payment_date"]) for cost in rig.direct_costs()] == [True, True]
    void(rig, payment)
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert (rig.direct_costs(), rig.holds(), money(rig, bill)) == ([], [], ("reversed", "0.00", "0.00"))
    assert [cost["invoice_number"] for cost in rig.direct_costs(counting=False)] == [
        f"4471-A (void {bill['Id']})",
        f"4471-A-2 (void {bill['Id']})",
    ]
    sent = [entry for entry in rig.procore.journal(mark) if "direct_costs" in entry["path"]]
    assert not any(entry["origin_ids"] for entry in sent)
    assert {cost.get("origin_id") for cost in rig.direct_costs(counting=False)} == {None}
    with rig.engine.connect() as db:
        assert takeover(db, rig.connection).only_in_procore == ()
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


@pytest.mark.parametrize("choice", [Choice.KEEP_THEIRS, Choice.RESTORE_OURS])
def test_S77_what_people_edit_in_Procore_waits_for_a_word_and_is_kept_or_written_over(
    rig: Rig, choice: Choice
) -> None:
    bill = posted(rig)
    proof = proof_of(rig)
    assert (proof.balanced, named(proof), proof.problems()) == (True, [], [])
    cost = cost_there(rig)
    recode(rig, cost)
    change(rig, cost, description="Poured in two parts")
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.writes(mark) == []
    held = hold(rig, bill)
    assert held.reason == "DRIFT"
    assert "the budget code of line 1 is 06-1000.M there, we left 03-3000.M" in held.sentence
    decide(rig, bill, choice)
    replay(rig)
    kept = choice is Choice.KEEP_THEIRS
    cost = cost_there(rig)
    assert (cost["grand_total"], cost["description"]) == (
        ("1250.00", "Poured in two parts") if kept else ("1310.00", "")
    )
    code = codes_of(rig)["06-1000.M" if kept else "03-3000.M"]
    assert [entry["wbs_code_id"] for entry in cost["line_items"]] == [code]
    assert rig.holds() == []


def test_S78_what_people_deleted_in_Procore_is_made_again_without_a_link_when_a_person_says_so(
    rig: Rig,
) -> None:
    bill = posted(rig)
    delete(rig, cost_there(rig))
    rig.bookkeeper.edit("Bill", bill, PrivateNote="again")
    rig.sync()
    assert hold(rig, bill).reason == "DRIFT"
    decide(rig, bill, Choice.RESTORE_OURS)
    lose_the_answer(rig)
    read_and_post(rig)
    rig.settle()
    cost = cost_there(rig)
    assert (cost["grand_total"], cost.get("origin_id"), rig.holds()) == ("1250.00", None, [])


def test_S104_several_records_that_may_be_the_lost_one_are_named_and_wait_for_a_person(rig: Rig) -> None:
    rig.configure(policies=ON)
    lose_the_answer(rig)
    fuel = buy(rig, [line(48, item="101")])
    read_and_post(rig)
    (lost,) = rig.direct_costs(counting=False)
    twin = typed(
        rig,
        "",
        "48",
        direct_cost_type="expense",
        vendor_id=None,
        direct_cost_date=lost["direct_cost_date"],
    )
    rig.settle()
    held = rig.holds(fuel["Id"])[0]
    assert (held.reason, str(rig.record("Purchase", fuel["Id"]).held)) == ("POSSIBLE_DUPLICATE", "48.00")
    assert (
        f"2 direct costs over 48.00 that may be it (Procore ids {lost['id']}, {twin['id']})" in held.sentence
    )
    delete(rig, twin)
    replay(rig)
    assert [(cost["id"], cost["status"]) for cost in rig.direct_costs()] == [(lost["id"], "approved")]
    assert (rig.record("Purchase", fuel["Id"]).state, rig.holds()) == ("posted", [])


def test_S104_a_list_that_leaves_out_what_is_there_is_no_sign_that_a_record_is_not(rig: Rig) -> None:
    posted(rig)
    second = rig.bookkeeper.bill("4472", [line(70, item="101")])
    lose_the_answer(rig)
    read_and_post(rig)
    listing = f"GET /rest/v1.1/projects/{HARBOR}/direct_costs"
    rig.procore.fault({"route": listing, "fault": "status", "args": {"status": 200, "body": []}})
    mark = rig.procore.mark()
    rig.post(rig.dirty())
    assert rig.procore.writes(mark) == []
    assert money(rig, second) == ("retrying", "0.00", "70.00")
    rig.procore.no_faults()
    rig.settle()
    assert [cost["grand_total"] for cost in rig.direct_costs()] == ["1250.00", "70.00"]


def test_S105_a_bill_that_waits_after_its_answer_was_lost_is_one_record_in_the_end(rig: Rig) -> None:
    lose_the_answer(rig)
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    read_and_post(rig)
    rig.bookkeeper.edit("Bill", bill, Line=[line(7, account="7")])
    rig.sync()
    assert ([held.reason for held in rig.holds()], money(rig, bill)) == (
        ["UNMAPPED"],
        ("held", "0.00", "7.00"),
    )
    rig.bookkeeper.edit("Bill", bill, Line=[line(1300, item="101")], DocNumber="4471-A")
    rig.sync()
    (cost,) = rig.direct_costs(counting=False)
    assert (cost["invoice_number"], cost["grand_total"], len(cost["line_items"])) == ("4471-A", "1300.00", 1)


def test_what_was_posted_stays_linked_as_it_was_made_when_the_policy_changes(rig: Rig) -> None:
    rig.procore.switch(direct_cost_lock="never")
    bare = posted(rig)
    rig.configure(policies={"links": "origin_id"})
    linked = rig.bookkeeper.bill("4472", [line(70, item="101", customer="62")])
    rig.bookkeeper.edit("Bill", bare, Line=[line(1200, item="101"), line(20, item="102")])
    rig.sync()
    rig.configure(policies={"links": "ledger_only"})
    rig.bookkeeper.edit("Bill", linked, Line=[line(75, item="101", customer="62")])
    rig.sync()
    found = {cost["grand_total"]: cost for cost in rig.direct_costs()}
    assert found.keys() == {"1220.00", "75.00"}
    assert (found["1220.00"].get("origin_id"), len(found["1220.00"]["line_items"])) == (None, 2)
    assert found["75.00"]["origin_id"].endswith(f":{linked['Id']}:{ELM}")
    assert len(found["75.00"]["line_items"]) == 1


def test_S48_a_typed_record_is_linked_and_never_made_again(rig: Rig) -> None:
    know_the_vendor(rig)
    there = typed(rig, "4471", "1250")
    bill = posted(rig)
    assert [cost["id"] for cost in rig.direct_costs()] == [there["id"]]
    assert money(rig, bill) == ("posted", "1250.00", "0.00")


def test_a_bill_of_more_lines_than_one_call_takes_is_whole_and_refused_whole(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1, item="101") for _ in range(102)])
    rig.procore.fault({"route": "POST */line_items", "nth": 2, "fault": "status", "args": {"status": 422}})
    rig.sync()
    assert (hold(rig, bill).reason, rig.direct_costs()) == ("REFUSED", [])
    rig.procore.no_faults()
    replay(rig)
    cost = cost_there(rig)
    assert (cost["grand_total"], len(cost["line_items"])) == ("102.00", 102)
