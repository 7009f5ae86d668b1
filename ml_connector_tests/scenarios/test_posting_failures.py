"""Group H of the scenario bank where Procore is written to: refusals, lost answers, kills, two workers. Once, and right."""

import threading
from decimal import Decimal
from typing import Any

import pytest

from ml_connector_tests.rig import ELM, Rig, line
from ml_connector_tests.scenarios.kills import run_that_dies_at
from ml_connector_tests.scenarios.test_ordinary_bills import amounts

HEADERS = "PATCH */direct_costs/sync"
LINES = "PATCH */direct_costs/line_items/sync"


# The crash points in the order of their passes: vendor, its place on the project, header, lines, final header.
KILLS = ["K5:1", "K5:2", "K5:3", "K7:1", "K7:2", "K14:1", "K14:2", "K14:3", "K8:1", "K8:2", "K8:3"]


@pytest.mark.processes
@pytest.mark.parametrize("point", KILLS)
def test_S105_K5_K7_K8_K14_a_run_killed_anywhere_leaves_one_record_and_the_right_total(
    rig: Rig, point: str
) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101"), line(50, item="102")])
    run_that_dies_at(rig, point)
    rig.sync()
    (cost,) = rig.direct_costs(counting=False)
    assert (cost["origin_id"].split(":")[3], cost["grand_total"], cost["status"]) == (
        bill["Id"],
        "1250.00",
        "approved",
    )
    assert [v["name"] for v in rig.procore.live("vendors")].count("Granite Supply") == 1
    assert rig.holds() == []


@pytest.mark.processes
@pytest.mark.parametrize("point", ["K5:3", "K7:2", "K14:2", "K14:3"])
def test_S105_a_bill_that_lost_a_line_after_the_kill_has_no_line_too_many(rig: Rig, point: str) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101"), line(50, item="102"), line(7, account="4")])
    run_that_dies_at(rig, point)
    rig.bookkeeper.edit("Bill", bill, Line=[line(1100, item="101")])
    rig.sync()
    (cost,) = rig.direct_costs(counting=False)
    assert (amounts(cost), cost["grand_total"], rig.holds()) == (["1100.00"], "1100.00", [])


@pytest.mark.processes
@pytest.mark.parametrize("point", KILLS[2:])
def test_S105_a_bill_deleted_after_the_kill_counts_nothing(rig: Rig, point: str) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101"), line(50, item="101", customer="62")])
    run_that_dies_at(rig, point)
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert rig.direct_costs() == []
    assert {cost["invoice_number"] for cost in rig.direct_costs(counting=False)} <= {
        f"4471 (void {bill['Id']})"
    }


@pytest.mark.processes
@pytest.mark.parametrize("point", ["K5:1", "K14:1", "K14:2", "K8:1"])
def test_S105_an_edit_killed_anywhere_ends_with_the_edit(rig: Rig, point: str) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101"), line(50, item="102")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(1300, item="101")])
    run_that_dies_at(rig, point)
    rig.sync()
    (cost,) = rig.direct_costs(counting=False)
    assert (amounts(cost), cost["grand_total"]) == (["1300.00"], "1300.00")


FAULTS: dict[str, dict[str, Any]] = {
    "accepted, then the connection is cut": {"fault": "accept_then_drop"},
    "accepted, and the answer cut short": {"fault": "truncate", "args": {"bytes": 40}},
    "accepted, and the answer is HTML": {"fault": "body", "args": {"kind": "html"}},
    "accepted, and the answer is empty": {"fault": "body", "args": {"kind": "empty"}},
    "cut before it was taken": {"fault": "drop"},
    "503 without a word": {"fault": "status", "args": {"status": 503}},
    "500 although it was done": {"fault": "status", "args": {"status": 500, "processed": True}},
    "a row in neither list": {"fault": "item_fault", "args": {"index": 0, "lost": True}},
}
PLACES = {"draft": (HEADERS, 1), "lines": (LINES, 1), "final": (HEADERS, 2)}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_S104_F04_F07_F08_F12_an_answer_that_is_lost_makes_one_record(
    rig: Rig, fault: str, place: str
) -> None:
    route, nth = PLACES[place]
    rig.procore.fault({"route": route, "nth": nth, **FAULTS[fault]})
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101"), line(50, item="102")])
    rig.read()
    rig.post(rig.dirty())
    assert rig.record("Bill", bill["Id"]).state == "retrying"
    assert "unknown" in rig.story("Bill", bill["Id"])
    rig.settle()
    (cost,) = rig.direct_costs(counting=False)
    assert (amounts(cost), cost["grand_total"], cost["status"]) == (
        ["1200.00", "50.00"],
        "1250.00",
        "approved",
    )
    assert rig.record("Bill", bill["Id"]).state == "posted"


@pytest.mark.parametrize("place", PLACES)
def test_S104_a_bill_deleted_while_its_outcome_is_unknown_counts_nothing(rig: Rig, place: str) -> None:
    route, nth = PLACES[place]
    rig.procore.fault({"route": route, "nth": nth, "fault": "accept_then_drop"})
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101")])
    rig.read()
    rig.post(rig.dirty())
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert rig.direct_costs() == []
    (cost,) = rig.direct_costs(counting=False)
    assert cost["invoice_number"] == f"4471 (void {bill['Id']})"
    again = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.sync()
    assert rig.cost_of(again["Id"])["grand_total"] == "10.00"


def test_S104_an_unclear_write_is_left_alone_until_it_has_settled(rig: Rig) -> None:
    rig.configure(timing={"settle": 3600})
    rig.procore.fault({"route": HEADERS, "nth": 2, "fault": "accept_then_drop"})
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101")])
    rig.sync()
    mark = rig.procore.mark()
    rig.post()
    assert (rig.dirty(), rig.procore.calls(mark)) == ([], [])
    assert rig.record("Bill", bill["Id"]).state == "retrying"
    rig.configure(timing={"settle": 0})
    _let_pass(rig)
    rig.post()
    assert rig.record("Bill", bill["Id"]).posted == 1200


def _let_pass(rig: Rig) -> None:
    from sqlalchemy import text

    with rig.engine.begin() as db:
        db.execute(text("update ml_connector.ledger set not_before = now()"))


def test_S103_F15_rows_refused_under_200_are_held_each_with_its_own_words(rig: Rig) -> None:
    good = [rig.bookkeeper.bill(f"7{number:03}", [line(10, item="101")]) for number in range(97)]
    rig.bookkeeper.bill("8000", [line(1, item="101")])
    rig.sync()
    vendor = rig.direct_costs()[0]["vendor_id"]
    by_hand = {"direct_cost_type": "invoice", "status": "approved", "vendor_id": vendor, "origin_id": ""}
    taken = [
        {**by_hand, "project_id": 101, "company_id": 5001, "invoice_number": f"90{n}", "line_items": []}
        for n in range(3)
    ]
    rig.procore.load(direct_costs=taken)
    bad = [rig.bookkeeper.bill(f"90{number}", [line(10, item="101")]) for number in range(3)]
    rest = rig.bookkeeper.bill("9100", [line(10, item="101")])
    rig.sync()
    assert {hold.qbo_id for hold in rig.holds()} == {bill["Id"] for bill in bad}
    assert all("invoice_number has already been taken" in hold.sentence for hold in rig.holds())
    assert {rig.cost_of(bill["Id"])["status"] for bill in [*good, rest]} == {"approved"}


def test_S103_lines_refused_after_their_header_hold_their_bills_whole(rig: Rig) -> None:
    rig.procore.switch(negative_lines="refuse")
    good = [
        rig.bookkeeper.bill(f"70{number:02}", [line(10, item="101"), line(5, item="102")])
        for number in range(38)
    ]
    one = rig.bookkeeper.bill("7100", [line(10, item="101"), line(-1, item="101"), line(-2, item="102")])
    two = rig.bookkeeper.bill("7101", [line(10, item="101"), line(-3, item="101", customer="62")])
    rig.sync()
    assert len(rig.direct_costs()) == 38
    assert {cost["origin_id"].split(":")[3] for cost in rig.direct_costs()} == {bill["Id"] for bill in good}
    holds = {hold.qbo_id: hold for hold in rig.holds()}
    assert set(holds) == {one["Id"], two["Id"]}
    assert "the line over -1.00: amount must be" in holds[one["Id"]].sentence
    assert "the line over -3.00" in holds[two["Id"]].sentence
    assert {cost["status"] for cost in rig.direct_costs(counting=False)} == {"approved", "draft"}


def test_S103_a_posted_bill_whose_edit_is_refused_counts_no_part_any_more(rig: Rig) -> None:
    rig.procore.switch(negative_lines="refuse")
    bill = rig.bookkeeper.bill("7100", [line(10, item="101"), line(20, item="101", customer="62")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(10, item="101"), line(-2, item="101", customer="62")])
    rig.sync()
    assert rig.direct_costs() == []
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.posted, record.held) == ("held", Decimal(0), Decimal(8))
    rig.bookkeeper.edit("Bill", bill, Line=[line(10, item="101"), line(25, item="101", customer="62")])
    rig.sync()
    assert [rig.cost_of(bill["Id"])["grand_total"], rig.cost_of(bill["Id"], ELM)["grand_total"]] == [
        "10.00",
        "25.00",
    ]
    assert rig.holds() == []


def test_S103_a_final_status_that_is_refused_leaves_no_part_counting(rig: Rig) -> None:
    rig.procore.fault({"route": "PATCH */projects/102/direct_costs/sync", "nth": 2, "fault": "item_fault"})
    bill = rig.bookkeeper.bill("7100", [line(10, item="101"), line(20, item="101", customer="62")])
    rig.sync()
    assert rig.direct_costs() == []
    assert [hold.reason for hold in rig.holds(bill["Id"])] == ["REFUSED"]
    rig.post(automatic=False)
    assert len(rig.direct_costs()) == 2


def test_S103_a_foreign_line_on_our_record_is_found_by_the_total(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("7100", [line(10, item="101")])
    rig.procore.fault({"route": HEADERS, "nth": 2, "fault": "drop"})
    rig.read()
    rig.post(rig.dirty())
    cost = rig.cost_of(bill["Id"])
    ours = cost["line_items"][0]
    foreign = {**ours, "id": 77, "origin_id": "", "amount": "3.00", "total_amount": "3.00", "position": 2}
    rig.procore.load(direct_costs=[{**cost, "line_items": [ours, foreign]}])
    rig.settle()
    assert "it counts 13.00 where the bill has 10.00" in rig.holds(bill["Id"])[0].sentence
    assert rig.direct_costs() == []


def test_S106_F44_two_posts_at_once_make_one_record_each(rig: Rig) -> None:
    for number in range(20):
        rig.bookkeeper.bill(f"7{number:03}", [line(10, item="101")], vendor="23" if number % 2 else "21")
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
    assert not failures, failures
    assert len(rig.direct_costs(counting=False)) == 20
    assert {cost["writes"] for cost in rig.direct_costs()} == {3}
    rig.settle()


def test_S108_one_bill_that_is_always_refused_does_not_block_the_others(rig: Rig) -> None:
    bills = [rig.bookkeeper.bill(f"7{number:03}", [line(10, item="101")]) for number in range(16)]
    poison = f":bill:{bills[5]['Id']}:101"
    refusal = {"status": 422, "body": {"errors": {"base": ["Workflow is locked"]}}}
    rig.procore.fault({"route": HEADERS, "fault": "status", "args": refusal, "contains": f'{poison}"'})
    rig.sync()
    assert len(rig.direct_costs()) == 15
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, hold.amount) == (bills[5]["Id"], "REFUSED", Decimal(10))
    assert "Procore refused it: Workflow is locked" in hold.sentence
    alone = [
        entry
        for entry in rig.procore.journal()
        if entry["path"].endswith("/direct_costs/sync") and entry["status"] == 422
    ]
    assert len(alone) == 5  # the sixteen, then halves of them: 8, 4, 2, 1


def test_S110_F13_a_project_taken_from_us_holds_its_bills_and_the_others_go_on(rig: Rig) -> None:
    held = rig.bookkeeper.bill("1", [line(10, item="101", customer="62"), line(5, item="101")])
    good = rig.bookkeeper.bill("2", [line(20, item="101")])
    rig.procore.fault(
        {"route": "PATCH */projects/102/direct_costs/*", "fault": "status", "args": {"status": 403}}
    )
    rig.sync()
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, hold.fixer) == (held["Id"], "PERMISSION", "administrator")
    assert "Give the service account the project and its Direct Costs tool" in hold.sentence
    assert [cost["grand_total"] for cost in rig.direct_costs()] == [rig.cost_of(good["Id"])["grand_total"]]
    rig.procore.no_faults()
    rig.post(automatic=False)
    assert rig.holds() == []
    assert rig.record("Bill", held["Id"]).posted == 15


def test_an_outage_of_procore_loses_nothing_and_heals_by_itself(rig: Rig) -> None:
    bills = [rig.bookkeeper.bill(f"7{number:03}", [line(10, item="101")]) for number in range(5)]
    rig.procore.fault({"route": "PATCH *", "probability": 0.4, "seed": 3, "fault": "accept_then_drop"})
    rig.procore.fault(
        {"route": "PATCH *", "probability": 0.3, "seed": 4, "fault": "status", "args": {"status": 503}}
    )
    rig.read()
    for _ in range(4):
        rig.post(rig.dirty() or None)
    rig.procore.no_faults()
    rig.settle()
    assert [rig.cost_of(bill["Id"])["grand_total"] for bill in bills] == ["10.00"] * 5
