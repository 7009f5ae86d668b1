"""Group E where people work in Procore, and the change-over weeks of group G: drift, deletions, locks, costs of others."""

from collections.abc import Mapping
from typing import Any

import pytest

from ml_connector.holds import Choice
from ml_connector.orchestration.clients import procore_client
from ml_connector.posting.direct_costs.drift import Drift, drift_of_posted
from ml_connector.posting.direct_costs.takeover import takeover
from ml_connector.procore.client import ProcoreClient
from ml_connector_tests.rig import ELM, HARBOR, REALM, Rig, line
from ml_connector_tests.scenarios.kills import run_that_dies_at
from ml_connector_tests.scenarios.test_changes_in_qbo import changes, entries
from ml_connector_tests.scenarios.test_decisions import decide
from ml_connector_tests.scenarios.test_ordinary_bills import amounts

HEADERS = "PATCH */direct_costs/sync"


def person(rig: Rig) -> ProcoreClient:
    """Somebody who works in Procore."""
    return procore_client(rig.home, rig.connection, rig.engine)


def codes_of(rig: Rig, project: str = HARBOR) -> dict[str, int]:
    """Ids of a project's budget codes, by their spelling."""
    return {
        code["flat_code"]: code["id"]
        for code in rig.procore.live("wbs_codes")
        if str(code["project_id"]) == project
    }


def recode(rig: Rig, cost: Mapping[str, Any], code: str = "06-1000.M", *, place: int = 0) -> None:
    """A project manager gives a line of ours another code."""
    mine = cost["line_items"][place]["id"]
    path = f"/rest/v1.0/projects/{cost['project_id']}/direct_costs/{cost['id']}/line_items/{mine}"
    person(rig).patch(path, {"line_item": {"wbs_code_id": codes_of(rig)[code]}})


def change(rig: Rig, cost: Mapping[str, Any], **fields: Any) -> None:
    """Somebody edits the header of a direct cost."""
    path = f"/rest/v1.0/projects/{cost['project_id']}/direct_costs/{cost['id']}"
    person(rig).patch(path, {"item": fields})


def delete(rig: Rig, cost: Mapping[str, Any]) -> None:
    """Somebody deletes a direct cost."""
    person(rig).delete(f"/rest/v1.1/projects/{cost['project_id']}/direct_costs/{cost['id']}")


def vendor_id(rig: Rig, name: str = "Granite Supply") -> int:
    found: int = next(entry["id"] for entry in rig.procore.live("vendors") if entry["name"] == name)
    return found


def typed(rig: Rig, number: str, amount: str, *, project: str = HARBOR, **fields: Any) -> dict[str, Any]:
    """Type a direct cost of Granite Supply in Procore, as people did before there was a connector."""
    path = f"/rest/v1.1/projects/{project}/direct_costs"
    body = {
        "direct_cost_type": "invoice",
        "status": "approved",
        "vendor_id": vendor_id(rig),
        "invoice_number": number,
        "origin_id": None,
        "direct_cost_date": "2026-03-05",
        "line_items": [{"wbs_code_id": codes_of(rig, project)["03-3000.M"], "manual_amount": amount}],
        **fields,
    }
    made: dict[str, Any] = person(rig).post(path, {"direct_cost": body})
    return {**made, "project_id": project}


def know_the_vendor(rig: Rig) -> None:
    """Granite Supply is in the directory and on the projects, as in a firm that has used Procore for years."""
    rig.procore.load(vendors=[{"id": 700, "name": "Granite Supply", "project_ids": [101, 102]}])
    rig.sync()


def posted(rig: Rig, amount: int = 1250) -> dict[str, Any]:
    """Bill 4471, posted on Harbor Clinic."""
    bill = rig.bookkeeper.bill("4471", [line(amount, item="101")])
    rig.sync()
    return bill


def money(rig: Rig, bill: Mapping[str, Any]) -> tuple[str, str, str]:
    """State, posted and held of a bill."""
    record = rig.record("Bill", bill["Id"])
    return record.state, str(record.posted), str(record.held)


def hold(rig: Rig, bill: Mapping[str, Any]) -> Any:
    """The one open hold of a bill."""
    (found,) = rig.holds(bill["Id"])
    return found


def replay(rig: Rig) -> None:
    """A person asks for what is held to be tried again."""
    rig.post(automatic=False)


# -- S77: somebody edits our record -------------------------------------------------------------------------------------


def test_S77_a_code_changed_in_Procore_is_left_alone_and_held_with_both_figures(rig: Rig) -> None:
    bill = posted(rig)
    recode(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.writes(mark) == []
    held = hold(rig, bill)
    assert held.reason == "DRIFT"
    assert held.sentence == (
        "Bill 4471 (Granite Supply, 1310.00): its direct cost on project Harbor Clinic (101) was changed in Procore since "
        "it was posted: the budget code of line 1 is 06-1000.M there, we left 03-3000.M. It counts 1250.00 there, the bill "
        "has 1310.00. Nothing was written: decide keep_theirs to leave Procore as it is, or restore_ours to write it as "
        "the bill has it; or put it right in Procore and replay."
    )
    assert money(rig, bill) == ("held", "1250.00", "60.00")
    assert rig.story("Bill", bill["Id"]).count("held") == 1
    rig.post()
    assert rig.story("Bill", bill["Id"]).count("held") == 1, "the same hold is told once"


@pytest.mark.parametrize("choice", [Choice.KEEP_THEIRS, Choice.RESTORE_OURS])
def test_S77_a_person_keeps_theirs_or_restores_ours(rig: Rig, choice: Choice) -> None:
    bill = posted(rig)
    recode(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    decide(rig, bill, choice)
    mark = rig.procore.mark()
    rig.settle()
    cost, codes = rig.cost_of(bill["Id"]), codes_of(rig)
    (there,) = cost["line_items"]
    assert rig.holds() == []
    if choice is Choice.KEEP_THEIRS:
        assert rig.procore.writes(mark) == []
        assert (there["wbs_code_id"], cost["grand_total"]) == (codes["06-1000.M"], "1250.00")
        assert money(rig, bill) == ("no-op", "1250.00", "0.00")
        assert rig.record("Bill", bill["Id"]).excluded == 60
    else:
        assert (there["wbs_code_id"], cost["grand_total"]) == (codes["03-3000.M"], "1310.00")
        assert money(rig, bill) == ("updated", "1310.00", "0.00")
    event = "kept" if choice is Choice.KEEP_THEIRS else "restored"
    (told,) = entries(rig, event, bill["Id"])
    assert told["decided"].startswith(f"{choice}, by berta")
    assert told["direct_costs"][0]["differences"] == [
        {"where": "line 1", "what": "budget code", "from": "03-3000.M", "to": "06-1000.M"}
    ]
    assert drift(rig) == [] or choice is Choice.RESTORE_OURS
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


def test_S77_after_keeping_theirs_the_next_edit_asks_again(rig: Rig) -> None:
    bill = posted(rig)
    recode(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    decide(rig, bill, Choice.KEEP_THEIRS)
    rig.settle()
    rig.bookkeeper.edit("Bill", bill, Line=[line(1400, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    assert (hold(rig, bill).reason, rig.procore.writes(mark)) == ("DRIFT", [])


def test_S77_a_decision_lapses_when_Procore_is_changed_once_more(rig: Rig) -> None:
    bill = posted(rig)
    recode(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    decide(rig, bill, Choice.RESTORE_OURS)
    change(rig, rig.cost_of(bill["Id"]), description="PM: paid by owner")
    mark = rig.procore.mark()
    rig.settle()
    assert rig.procore.writes(mark) == []
    assert "the description is PM: paid by owner there, we left empty" in hold(rig, bill).sentence


def test_S77_a_change_put_right_in_Procore_lets_the_bill_go_on_after_a_replay(rig: Rig) -> None:
    bill = posted(rig)
    recode(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    recode(rig, rig.cost_of(bill["Id"]), "03-3000.M")
    replay(rig)
    assert (rig.cost_of(bill["Id"])["grand_total"], rig.holds()) == ("1310.00", [])


def test_S77_an_amount_changed_there_is_what_counts_until_a_person_decides(rig: Rig) -> None:
    bill = posted(rig)
    cost = rig.cost_of(bill["Id"])
    path = f"/rest/v1.0/projects/101/direct_costs/{cost['id']}/line_items"
    client = person(rig)
    client.patch(f"{path}/{cost['line_items'][0]['id']}", {"line_item": {"amount": 1200}})
    client.post(
        path, {"line_item": {"wbs_code_id": codes_of(rig)["01-7800.O"], "amount": 3, "description": "fee"}}
    )
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    sentence = hold(rig, bill).sentence
    assert (
        "the amount of line 1 is 1200.00 there, we left 1250.00; another line over 3.00 was added" in sentence
    )
    assert "It counts 1203.00 there, the bill has 0.00" in sentence
    assert money(rig, bill) == ("held", "1203.00", "-1203.00")
    decide(rig, bill, Choice.RESTORE_OURS)
    rig.settle()
    assert (rig.direct_costs(), money(rig, bill)) == ([], ("reversed", "0.00", "0.00"))


def test_S77_restoring_takes_away_lines_that_a_person_added(rig: Rig) -> None:
    bill = posted(rig)
    cost = rig.cost_of(bill["Id"])
    path = f"/rest/v1.0/projects/101/direct_costs/{cost['id']}/line_items"
    person(rig).post(path, {"line_item": {"wbs_code_id": codes_of(rig)["01-7800.O"], "amount": 3}})
    rig.bookkeeper.edit("Bill", bill, Line=[line(1250, item="101"), line(60, item="102")])
    rig.sync()
    decide(rig, bill, Choice.RESTORE_OURS)
    rig.settle()
    cost = rig.cost_of(bill["Id"])
    assert (amounts(cost), cost["status"]) == (["1250.00", "60.00"], "approved")


def test_S77_a_line_that_goes_nowhere_near_the_drift_waits_with_its_bill(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101"), line(90, item="101", customer="62")])
    rig.sync()
    recode(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.edit("Bill", bill, Line=[line(1250, item="101", customer="62")])
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.writes(mark) == [], "a move is one change: neither project is touched"
    assert hold(rig, bill).reason == "DRIFT"


def test_S77_what_is_no_drift(rig: Rig) -> None:
    """An approval of a pending cost, a payment date, blanks of texts, and an edit in QBO of a part nobody touched."""
    rig.configure(policies={"direct_cost_status": "pending"})
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101", description="20 m3  ready-mix ")])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    change(rig, cost, status="approved", payment_date="2026-11-01", terms="Net 30")
    path = f"/rest/v1.0/projects/101/direct_costs/{cost['id']}/line_items/{cost['line_items'][0]['id']}"
    person(rig).patch(path, {"line_item": {"description": "20 m3 ready-mix"}})
    assert drift(rig) == []
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101", description="20 m3 ready-mix")])
    rig.sync()
    assert (rig.cost_of(bill["Id"])["grand_total"], rig.holds()) == ("1310.00", [])


@pytest.mark.processes
@pytest.mark.parametrize("point", ["K5:1", "K14:1", "K14:2", "K8:1"])
def test_S77_our_own_half_written_edit_is_no_drift(rig: Rig, point: str) -> None:
    bill = posted(rig)
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="102")])
    run_that_dies_at(rig, point)
    rig.bookkeeper.edit("Bill", bill, Line=[line(1400, item="101")])
    rig.sync()
    assert (rig.cost_of(bill["Id"])["grand_total"], rig.holds()) == ("1400.00", [])


@pytest.mark.processes
@pytest.mark.parametrize("point", ["K5:1", "K7:1"])
def test_S77_our_own_half_done_reversal_is_no_drift(rig: Rig, point: str) -> None:
    bill = posted(rig)
    rig.bookkeeper.delete("Bill", bill)
    run_that_dies_at(rig, point)
    rig.sync()
    assert (rig.direct_costs(), rig.holds(), money(rig, bill)) == ([], [], ("reversed", "0.00", "0.00"))


def test_S77_a_look_at_many_records_costs_two_calls_a_project(rig: Rig) -> None:
    bills = [rig.bookkeeper.bill(f"B-{number}", [line(10, item="101")]) for number in range(30)]
    rig.sync()
    for bill in bills:
        rig.bookkeeper.edit("Bill", bill, Line=[line(11, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    reads = [
        entry for entry in rig.procore.calls(mark) if entry.startswith("GET") and "direct_costs" in entry
    ]
    assert len(reads) == 2, reads
    assert len([cost for cost in rig.direct_costs() if cost["grand_total"] == "11.00"]) == 30


def test_S77_an_outage_of_the_look_makes_the_bill_wait_and_not_drift(rig: Rig) -> None:
    bill = posted(rig)
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.read()
    look = {"route": "GET */direct_costs", "fault": "status", "args": {"status": 503}}
    rig.procore.fault(look)
    rig.configure(timing={"patience": 0.5})
    rig.post(rig.dirty())
    assert (rig.record("Bill", bill["Id"]).state, rig.holds()) == ("retrying", [])
    rig.procore.no_faults()
    rig.post()
    assert rig.cost_of(bill["Id"])["grand_total"] == "1310.00"


# -- S78: somebody deletes our record -----------------------------------------------------------------------------------


def test_S78_a_record_deleted_there_is_not_made_again_by_itself(rig: Rig) -> None:
    bill = posted(rig)
    delete(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    assert (rig.procore.writes(mark), rig.direct_costs(counting=False)) == ([], [])
    held = hold(rig, bill)
    assert held.reason == "DRIFT"
    assert "deleted in Procore, still 1310.00 in QBO" in held.sentence
    assert money(rig, bill) == ("held", "0.00", "1310.00")
    replay(rig)
    assert rig.direct_costs(counting=False) == [], "a replay does not make it again either"


@pytest.mark.parametrize("choice", [Choice.KEEP_THEIRS, Choice.RESTORE_OURS])
def test_S78_a_person_leaves_it_deleted_or_has_it_made_again(rig: Rig, choice: Choice) -> None:
    bill = posted(rig)
    delete(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    decide(rig, bill, choice)
    rig.settle()
    assert rig.holds() == []
    if choice is Choice.KEEP_THEIRS:
        assert (rig.direct_costs(counting=False), money(rig, bill)) == ([], ("no-op", "0.00", "0.00"))
        assert rig.record("Bill", bill["Id"]).excluded == 1310
        rig.bookkeeper.pay(bill, "10")
        rig.sync()
        assert rig.holds() == [], "a payment changes nothing of what was decided"
    else:
        cost = rig.cost_of(bill["Id"])
        assert (cost["grand_total"], cost["status"], amounts(cost)) == ("1310.00", "approved", ["1310.00"])
        assert money(rig, bill) == ("updated", "1310.00", "0.00")


def test_S78_a_bill_deleted_on_both_sides_is_reversed_without_anybody(rig: Rig) -> None:
    bill = posted(rig)
    delete(rig, rig.cost_of(bill["Id"]))
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert (rig.holds(), money(rig, bill)) == ([], ("reversed", "0.00", "0.00"))


# -- the policy `gone_direct_cost: hold`: what QBO has no more waits for people, in Procore or here ------------------------


@pytest.mark.parametrize("end", ["restore_ours", "keep_theirs", "deleted there"])
def test_S73_a_cost_whose_bill_was_deleted_waits_for_a_person_by_policy(rig: Rig, end: str) -> None:
    rig.configure(policies={"gone_direct_cost": "hold"})
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    rig.bookkeeper.delete("Bill", bill)
    mark = rig.procore.mark()
    rig.sync()
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason) == (bill["Id"], "DRIFT")
    assert "its direct cost 4471 on " in hold.sentence
    assert "counts 1250.00 in Procore, and the bill has none there any more" in hold.sentence
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.posted, record.held) == ("held", 1250, -1250)
    rig.replay_everything()
    assert rig.procore.writes(mark) == []
    if end == "deleted there":
        (cost,) = rig.direct_costs()
        delete(rig, cost)
    else:
        decide(rig, bill, Choice(end))
    rig.post(automatic=False)
    assert rig.holds() == []
    counting = [cost["grand_total"] for cost in rig.direct_costs()]
    assert counting == (["1250.00"] if end == "keep_theirs" else [])
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.posted) == (("no-op", 1250) if end == "keep_theirs" else ("reversed", 0))


def test_S71_a_line_that_moved_leaves_both_projects_as_they_are_until_a_person_decides(rig: Rig) -> None:
    rig.configure(policies={"gone_direct_cost": "hold"})
    bill = rig.bookkeeper.bill("4471", [line(800, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(800, item="101", customer="62")])
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["DRIFT"]
    assert [(cost["grand_total"], cost["project_id"]) for cost in rig.direct_costs()] == [
        ("800.00", int(HARBOR))
    ]
    decide(rig, bill, Choice.RESTORE_OURS)
    rig.settle()
    assert [(cost["grand_total"], cost["project_id"]) for cost in rig.direct_costs()] == [
        ("800.00", int(ELM))
    ]
    assert rig.holds() == []


# -- the nightly look ---------------------------------------------------------------------------------------------------


def drift(rig: Rig, **scope: Any) -> list[Drift]:
    """What the nightly proof asks."""
    return drift_of_posted(rig.engine, rig.connection, person(rig), **scope)


def test_S77_S78_the_nightly_look_names_every_change_and_writes_nothing(rig: Rig) -> None:
    bills = [
        rig.bookkeeper.bill(
            f"B-{number}", [line(10 + number, item="101"), line(5, item="101", customer="62")]
        )
        for number in range(5)
    ]
    rig.sync()
    assert drift(rig) == []
    recode(rig, rig.cost_of(bills[0]["Id"]))
    delete(rig, rig.cost_of(bills[1]["Id"], ELM))
    change(rig, rig.cost_of(bills[2]["Id"]), status="draft")
    mark = rig.procore.mark()
    found = {(one.qbo_id, one.project_id): one for one in drift(rig)}
    assert set(found) == {(bills[0]["Id"], HARBOR), (bills[1]["Id"], ELM), (bills[2]["Id"], HARBOR)}
    assert str(found[bills[1]["Id"], ELM].ours) == "5.00"
    assert found[bills[1]["Id"], ELM].there is None
    assert str(found[bills[2]["Id"], HARBOR].counts) == "0.00"
    calls = rig.procore.calls(mark)
    assert [entry for entry in calls if not entry.startswith("GET")] == []
    assert len(calls) <= 5, "two lists a project, and one look at what is not in a list"
    assert {one.project_id for one in drift(rig, projects=[ELM])} == {ELM}
    assert drift(rig, days=[]) == []
    for bill in bills[:3]:
        rig.bookkeeper.edit("Bill", bill, PrivateNote="see ticket 881")
    rig.sync()
    assert {held.reason for held in rig.holds()} == {"DRIFT"}
    assert {held.qbo_id for held in rig.holds()} == {bill["Id"] for bill in bills[:3]}


# -- S79: locked --------------------------------------------------------------------------------------------------------


def test_S79_a_record_that_its_link_locks_is_unlocked_changed_and_linked_again(rig: Rig) -> None:
    bill = posted(rig)
    rig.procore.switch(direct_cost_lock="except_origin")
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    cost = rig.cost_of(bill["Id"])  # found by its origin id
    assert (cost["grand_total"], cost["status"], rig.holds()) == ("1310.00", "approved", [])
    assert rig.story("Bill", bill["Id"]).count("unlocked") == 1
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert (rig.direct_costs(), rig.cost_of(bill["Id"])["status"]) == ([], "draft")


def test_S79_where_links_lock_from_the_start_bills_are_posted_all_the_same(rig: Rig) -> None:
    rig.procore.switch(direct_cost_lock="except_origin")
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101"), line(10, item="102")])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert (amounts(cost), cost["status"], rig.holds()) == (["1250.00", "10.00"], "approved", [])
    rig.bookkeeper.edit("Bill", bill, Line=[line(1250, item="101")])
    rig.sync()
    assert (amounts(rig.cost_of(bill["Id"])), rig.holds()) == (["1250.00"], [])


@pytest.mark.processes
@pytest.mark.parametrize("point", ["K14:1", "K14:2", "K14:3"])
def test_S79_a_run_killed_between_unlock_and_change_leaves_one_record(rig: Rig, point: str) -> None:
    bill = posted(rig)
    rig.procore.switch(direct_cost_lock="except_origin")
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    run_that_dies_at(rig, point)
    rig.sync()
    (cost,) = rig.direct_costs(counting=False)
    assert (cost["origin_id"], cost["grand_total"]) == (f"qbo:{REALM}:bill:{bill['Id']}:101", "1310.00")
    assert rig.holds() == []


def test_S79_a_lock_becomes_a_task_with_an_adjusting_cost_and_no_loop(rig: Rig) -> None:
    bill = posted(rig)
    rig.procore.switch(direct_cost_lock="always")
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    held = hold(rig, bill)
    assert held.reason == "LOCKED_IN_PROCORE"
    assert "is locked in Procore (This record is not editable" in held.sentence
    assert "It counts 1250.00, and the bill has 1310.00 there now." in held.sentence
    assert "enter an adjusting direct cost of +60.00 there as 4471-ADJ" in held.sentence
    assert money(rig, bill) == ("held", "1250.00", "60.00")
    cost = rig.cost_of(bill["Id"])
    assert (cost["grand_total"], cost["status"]) == ("1250.00", "approved")
    for _ in range(2):
        mark = rig.procore.mark()
        rig.post()
        assert (rig.procore.writes(mark), hold(rig, bill).reason) == ([], "LOCKED_IN_PROCORE")
    assert rig.story("Bill", bill["Id"]).count("held") == 1
    rig.procore.switch(direct_cost_lock="never")
    replay(rig)
    assert (rig.cost_of(bill["Id"])["grand_total"], rig.holds()) == ("1310.00", [])


def test_S79_a_lock_that_stays_is_settled_by_an_adjusting_cost_and_a_word(rig: Rig) -> None:
    bill = posted(rig)
    rig.procore.switch(direct_cost_lock="always")
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    typed(rig, "4471-ADJ", "60.00")
    decide(rig, bill, Choice.KEEP_THEIRS)
    mark = rig.procore.mark()
    rig.settle()
    assert (rig.procore.writes(mark), rig.holds()) == ([], [])
    assert money(rig, bill) == ("no-op", "1250.00", "0.00")
    assert "kept" in rig.story("Bill", bill["Id"])


def test_S79_a_locked_record_of_a_deleted_bill_still_counts_and_says_so(rig: Rig) -> None:
    bill = posted(rig)
    rig.procore.switch(direct_cost_lock="always")
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    held = hold(rig, bill)
    assert held.reason == "LOCKED_IN_PROCORE"
    assert "enter an adjusting direct cost of -1250.00 there as 4471-ADJ" in held.sentence
    assert money(rig, bill) == ("held", "1250.00", "-1250.00")
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.writes(mark) == []
    rig.procore.switch(direct_cost_lock="never")
    replay(rig)
    assert (rig.direct_costs(), money(rig, bill)) == ([], ("reversed", "0.00", "0.00"))


def test_S79_a_move_away_from_a_locked_record_does_not_count_twice(rig: Rig) -> None:
    bill = posted(rig)
    rig.procore.switch(direct_cost_lock="always")
    rig.bookkeeper.edit("Bill", bill, Line=[line(1250, item="101", customer="62")])
    rig.sync()
    assert [(cost["project_id"], cost["grand_total"]) for cost in rig.direct_costs()] == [(101, "1250.00")]
    assert hold(rig, bill).reason == "LOCKED_IN_PROCORE"


# -- S89, S90: what others entered --------------------------------------------------------------------------------------


def test_S89_a_cost_typed_before_us_is_linked_and_left_as_it_is(rig: Rig) -> None:
    know_the_vendor(rig)
    theirs = typed(rig, " inv-0077", "1250.00")
    bill = rig.bookkeeper.bill("INV-77", [line(1250, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    assert [entry for entry in rig.procore.writes(mark) if "direct_costs" in entry] == []
    (cost,) = rig.direct_costs(counting=False)
    assert (cost["id"], cost["origin_id"], cost["writes"]) == (theirs["id"], None, 1)
    assert money(rig, bill) == ("posted", "1250.00", "0.00")
    (told,) = entries(rig, "linked", bill["Id"])
    assert (told["procore_id"], told["amount"]) == (theirs["id"], "1250.00")
    assert drift(rig) == []


def test_S89_a_linked_cost_that_its_bill_leaves_behind_is_held_with_both_figures(rig: Rig) -> None:
    know_the_vendor(rig)
    theirs = typed(rig, "INV-77", "1250.00")
    bill = rig.bookkeeper.bill("INV-77", [line(1250, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    held = hold(rig, bill)
    assert held.reason == "DRIFT"
    assert (
        "typed in Procore by a person and is left alone: it counts 1250.00 there, the bill has 1310.00"
        in held.sentence
    )
    path = f"/rest/v1.0/projects/101/direct_costs/{theirs['id']}/line_items/{theirs['line_items'][0]['id']}"
    person(rig).patch(path, {"line_item": {"amount": 1310}})
    replay(rig)
    assert (rig.holds(), money(rig, bill)[1:]) == ([], ("1310.00", "0.00"))
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert hold(rig, bill).reason == "DRIFT"
    delete(rig, theirs)
    replay(rig)
    assert (rig.holds(), money(rig, bill)) == ([], ("reversed", "0.00", "0.00"))


def test_S89_a_person_hands_a_typed_cost_over_to_us(rig: Rig) -> None:
    know_the_vendor(rig)
    theirs = typed(rig, "INV-77", "1250.00")
    bill = rig.bookkeeper.bill("INV-77", [line(1250, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(1300, item="101"), line(10, item="102")])
    rig.sync()
    decide(rig, bill, Choice.RESTORE_OURS)
    rig.settle()
    cost = rig.cost_of(bill["Id"])
    assert (cost["id"], amounts(cost), cost["status"]) == (theirs["id"], ["1300.00", "10.00"], "approved")
    assert (rig.holds(), money(rig, bill)[1:]) == ([], ("1310.00", "0.00"))


def test_S89_a_part_that_is_refused_leaves_the_typed_part_alone(rig: Rig) -> None:
    know_the_vendor(rig)
    typed(rig, "INV-77", "1250.00")
    rig.procore.fault({"route": "PATCH */projects/102/direct_costs/sync", "nth": 1, "fault": "item_fault"})
    bill = rig.bookkeeper.bill("INV-77", [line(1250, item="101"), line(10, item="101", customer="62")])
    rig.sync()
    assert hold(rig, bill).reason == "REFUSED"
    assert [(cost["grand_total"], cost["status"]) for cost in rig.direct_costs()] == [("1250.00", "approved")]
    assert money(rig, bill) == ("held", "1250.00", "10.00")
    replay(rig)
    assert (rig.holds(), money(rig, bill)[1:]) == ([], ("1260.00", "0.00"))


def test_S89_the_take_over_is_reported_to_sign(rig: Rig) -> None:
    know_the_vendor(rig)
    for number in range(6):
        typed(rig, f"B-{number}", "10.00")
    for number in range(4):  # entered in both
        rig.bookkeeper.bill(f"B-{number}", [line(10, item="101")])
    for number in range(3):
        rig.bookkeeper.bill(f"N-{number}", [line(20, item="101")])
    rig.sync()
    with rig.engine.connect() as db:
        report = takeover(db, rig.connection)
    assert (len(report.matched), len(report.only_in_procore), len(report.new)) == (4, 2, 3)
    assert {(one.number, str(one.amount)) for one in report.only_in_procore} == {
        ("B-4", "10.00"),
        ("B-5", "10.00"),
    }
    assert sum(one.amount for one in report.matched) == 40
    assert len(rig.direct_costs()) == 9, "nothing is doubled"


OTHERS = {
    "another connector": (
        {"origin_id": "agave-77"},
        "another integration made as agave-77 over 1250.00 (Procore id ",
    ),
    "another amount": ({"amount": "1200.00"}, "was typed there over 1200.00 (Procore id "),
    "a draft": ({"status": "draft"}, "was typed there, still a draft, over 1250.00 (Procore id "),
}


@pytest.mark.parametrize("case", OTHERS)
def test_S90_what_may_be_the_same_bill_is_held_with_the_others_id(rig: Rig, case: str) -> None:
    know_the_vendor(rig)
    given, words = OTHERS[case]
    fields = {name: value for name, value in given.items() if name != "amount"}
    theirs = typed(rig, "INV-77", given.get("amount", "1250.00"), **fields)
    bill = rig.bookkeeper.bill("INV-77", [line(1250, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    assert [entry for entry in rig.procore.writes(mark) if "direct_costs" in entry] == []
    held = hold(rig, bill)
    assert held.reason == "POSSIBLE_DUPLICATE"
    assert f"{words}{theirs['id']}) with this vendor and number" in held.sentence
    assert money(rig, bill) == ("held", "0.00", "1250.00")
    delete(rig, theirs)
    replay(rig)
    assert (rig.cost_of(bill["Id"])["grand_total"], rig.holds()) == ("1250.00", [])


def test_S90_a_person_says_that_it_is_no_duplicate(rig: Rig) -> None:
    know_the_vendor(rig)
    typed(rig, "INV-77", "1200.00")
    bill = rig.bookkeeper.bill("INV-77", [line(1250, item="101")])
    rig.sync()
    decide(rig, bill, Choice.POST_ANYWAY)
    rig.settle()
    assert rig.holds() == []
    assert (rig.cost_of(bill["Id"])["grand_total"], len(rig.direct_costs())) == ("1250.00", 2)


def test_S90_one_list_a_project_and_then_only_what_changed(rig: Rig) -> None:
    know_the_vendor(rig)
    rig.bookkeeper.bill("1", [line(10, item="101"), line(10, item="101", customer="62")])
    mark = rig.procore.mark()
    rig.sync()
    lists = [
        entry for entry in rig.procore.calls(mark) if entry.startswith("GET") and "direct_costs" in entry
    ]
    assert len(lists) == 2
    theirs = typed(rig, "2", "20.00")
    bill = rig.bookkeeper.bill("2", [line(20, item="101")])
    mark = rig.procore.mark()
    rig.sync(automatic=False)  # a person's run asks again, however short ago the last list was
    asked = [
        entry for entry in rig.procore.journal(mark) if entry["path"].endswith("/projects/101/direct_costs")
    ]
    assert "updated_at" in str(asked[0]["query"])
    assert entries(rig, "linked", bill["Id"])[0]["procore_id"] == theirs["id"]


def test_changes_of_an_edit_are_told_after_a_lock_too(rig: Rig) -> None:
    bill = posted(rig)
    rig.procore.switch(direct_cost_lock="except_origin")
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    rig.sync()
    assert changes(entries(rig, "posted", bill["Id"])[-1]) == {("line 1", "amount", "1250.00", "1310.00")}
