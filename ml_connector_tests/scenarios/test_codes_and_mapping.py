"""Group B of the scenario bank: codes, rules and what waits for them; and what is no cost at all."""

from datetime import timedelta
from decimal import Decimal

from sqlalchemy import text

from ml_connector.procore.stored_catalog import load_catalog
from ml_connector.store import windows
from ml_connector_tests.rig import CODES, HARBOR, MAPPING, MAPPING_HEADER, Rig, line, today
from ml_connector_tests.scenarios.calendar_days import days_later

DRYWALL_S = MAPPING.replace("5030,,,,,,,,,direct_cost,01-5000,E", "5030,,,,,,,,,direct_cost,09-2900,S")


def add_codes(rig: Rig, *codes: str) -> None:
    """Project people add budget codes to Harbor Clinic."""
    project = next(row for row in rig.procore.live("projects") if str(row["id"]) == HARBOR)
    rig.procore.load(projects=[{**project, "budget_codes": [*CODES, *codes]}])


def refresh(rig: Rig) -> None:
    """The schedule that looks at Procore's lists for what waits for them."""
    from ml_connector.orchestration import work
    from ml_connector.orchestration.clients import procore_client

    work.refresh_lists(rig.engine, rig.connection, procore_client(rig.home, rig.connection, rig.engine))


def test_S22_bills_that_lack_one_code_are_one_problem_and_one_fix_frees_all(rig: Rig) -> None:
    rig.publish(mapping=DRYWALL_S)
    for number in range(14):
        rig.bookkeeper.bill(f"55{number:02}", [line(10, account="3")])
    rig.sync()
    holds = rig.holds()
    assert {hold.cause for hold in holds} == {f"CODE_MISSING project {HARBOR} 09-2900 / S"}
    assert len(holds) == 14
    assert "needs budget code 09-2900 / S, which project Harbor Clinic (101) lacks" in holds[0].sentence
    assert rig.direct_costs(counting=False) == []
    add_codes(rig, "09-2900.S")
    refresh(rig)
    rig.settle()
    assert (rig.holds(), len(rig.direct_costs())) == ([], 14)


def test_S23_a_code_without_the_type_is_held_and_the_pairs_it_has_are_offered(rig: Rig) -> None:
    rig.publish(mapping=f"{MAPPING_HEADER}\n5030,,,,,,,,,direct_cost,26-0500,M,,,,,\n")
    rig.bookkeeper.bill("4520", [line(10, account="3")])
    rig.sync()
    (hold,) = rig.holds()
    assert hold.reason == "CODE_MISSING"
    assert "nearest: 26-0500 / S" in hold.sentence


def test_S24_bills_on_an_unmapped_account_are_posted_once_a_rule_is_published(rig: Rig) -> None:
    bills = [rig.bookkeeper.bill(f"60{number}", [line(10, account="7")]) for number in range(8)]
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["UNMAPPED"] * 8
    assert len({hold.cause for hold in rig.holds()}) == 1
    rig.publish(mapping=f"{MAPPING}5075,,,,,,,,,direct_cost,03-3000,M,,,,,\n")
    rig.settle()
    assert len(rig.direct_costs()) == 8
    assert rig.story("Bill", bills[0]["Id"]) == ["seen", "mapped", "released", "mapped", "sent", "posted"]


def test_S25_the_first_rule_that_matches_decides(rig: Rig) -> None:
    pump = f"{MAPPING},,,,,,rental pump,,,direct_cost,01-5000,E,,,,,\n"
    rig.publish(mapping=pump)
    bill = rig.bookkeeper.bill("4521", [line(10, item="101", description="rental pump")])
    rig.sync()
    with rig.engine.connect() as db:
        rule = db.scalar(
            text("select rule from ml_connector.mapped_line where qbo_id = :id"), {"id": bill["Id"]}
        )
    assert rule == "2.2"
    assert rig.record("Bill", bill["Id"]).posted == 10


def test_S26_what_was_posted_stays_as_the_rules_of_its_time_said(rig: Rig) -> None:
    old = rig.bookkeeper.bill("4522", [line(10, item="101")])
    rig.sync()
    rig.publish(mapping=MAPPING.replace("direct_cost,03-3000,M", "direct_cost,03-3000,S"))
    new = rig.bookkeeper.bill("4523", [line(20, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    rig.replay_everything()
    assert rig.record("Bill", old["Id"]).mapping_version == 1
    assert rig.record("Bill", new["Id"]).mapping_version == 2
    assert len(rig.procore.writes(mark)) == 3  # of the new bill: draft, lines, status
    assert rig.cost_of(old["Id"])["writes"] == 3


def test_S127_what_is_no_cost_is_held_with_a_project_and_else_excluded_by_account(rig: Rig) -> None:
    job = rig.bookkeeper.bill("4530", [line(30, item="103")])
    asset = rig.bookkeeper.bill("4531", [line(40000, account="8", customer=None)])
    rent = rig.bookkeeper.bill("4532", [line(900, account="10", customer=None)])
    truck = rig.bookkeeper.bill("4533", [line(500, account="8")])
    rig.sync()
    assert rig.direct_costs(counting=False) == []
    assert {hold.qbo_id: hold.reason for hold in rig.holds()} == {
        job["Id"]: "NOT_A_COST",
        truck["Id"]: "NOT_A_COST",
    }
    assert rig.record("Bill", asset["Id"]).excluded == 40000
    assert rig.record("Bill", rent["Id"]).excluded == 900
    with rig.engine.connect() as db:
        excluded = db.execute(
            text(
                "select account, reason, sum(amount) from ml_connector.mapped_line where outcome = 'excluded' group by 1, 2"
            )
        ).all()
    assert {tuple(row) for row in excluded} == {
        ("Trucks", "NOT_A_COST", Decimal(40000)),
        ("Rent", "OVERHEAD", Decimal(900)),
    }


def test_a_poll_with_open_holds_writes_nothing(rig: Rig) -> None:
    rig.bookkeeper.bill("4540", [line(10, account="7")])
    rig.bookkeeper.bill("4541", [line(10, item="101"), line(5, account="3", customer="63")])
    rig.procore.load(vendors=[{"company_id": 5001, "name": "City Rental", "is_active": True}] * 2)
    rig.bookkeeper.bill("4542", [line(10, item="101")], vendor="23")
    rig.procore.fault(
        {"route": "PATCH */direct_costs/line_items/sync", "fault": "item_fault", "args": {"index": 0}}
    )
    rig.bookkeeper.bill("4543", [line(10, item="101")])
    rig.sync()
    assert sorted({hold.reason for hold in rig.holds()}) == [
        "PROJECT_CLOSED",
        "REFUSED",
        "UNMAPPED",
        "VENDOR_AMBIGUOUS",
    ]
    before, mark = _state(rig), rig.procore.mark()
    rig.read()
    rig.post()
    assert (_state(rig), rig.procore.calls(mark)) == (before, [])
    with rig.engine.begin() as db:  # something marks the day: what waits is looked at, and nothing is new
        windows.mark(db, rig.name, [today()], reason="test")
    rig.settle()
    assert (_state(rig), rig.procore.writes(mark)) == (before, [])


def _state(rig: Rig) -> list[object]:
    with rig.engine.connect() as db:
        tables = ("record", "hold", "mapped_line", "ledger", "audit")
        return [
            db.execute(text(f"select * from ml_connector.{table} order by 1, 2, 3, 4")).all()
            for table in tables
        ]


def test_a_project_that_procore_hides_is_held_and_released_when_it_is_shown(rig: Rig) -> None:
    hidden = {"route": "GET */projects/101/work_breakdown_structure/wbs_codes", "fault": "status"}
    rig.procore.fault({**hidden, "args": {"status": 403, "body": {"errors": "You are not permitted"}}})
    bill = rig.bookkeeper.bill("4544", [line(10, item="101")])
    other = rig.bookkeeper.bill("4545", [line(20, item="101", customer="62")])
    rig.sync()
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, hold.fixer) == (bill["Id"], "PERMISSION", "administrator")
    assert "Harbor Clinic (101), whose budget codes Procore does not show to ml-connector" in hold.sentence
    with rig.engine.connect() as db:
        assert load_catalog(db, rig.name).projects[HARBOR].unreadable == "You are not permitted"
    assert rig.cost_of(other["Id"], "102")["grand_total"] == "20.00"
    rig.procore.no_faults()
    refresh(rig)
    rig.settle()
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"


def test_S129_a_refused_bill_that_is_corrected_two_days_later_clears_its_old_day(rig: Rig) -> None:
    rig.procore.switch(negative_lines="refuse")
    bill = rig.bookkeeper.bill("4550", [line(-10, item="101"), line(40, item="101", customer="62")])
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["REFUSED"]
    first, day = today(), today() + timedelta(days=2)
    days_later(rig, 2)
    rig.bookkeeper.edit("Bill", bill, Line=[line(10, item="101"), line(40, item="101", customer="62")])
    rig.read()
    worked: list[list[object]] = []
    while ready := rig.dirty():
        worked.append([*ready[:1]])
        rig.post(ready[:1])  # one day a run, the oldest first
    assert worked[-1] == [first]
    assert (first in [days[0] for days in worked], worked.count([day])) == (True, 1)
    with rig.engine.connect() as db:
        left = db.execute(
            text("select day, state from ml_connector.record where qbo_id = :id and entity = 'Bill'"),
            {"id": bill["Id"]},
        )
        assert [tuple(row) for row in left] == [(day, "posted")]
    assert (rig.holds(), rig.cost_of(bill["Id"])["grand_total"]) == ([], "10.00")
    assert sum(Decimal(cost["grand_total"]) for cost in rig.direct_costs()) == 50


def test_S129_a_refused_body_is_not_sent_again_until_a_person_replays_it(rig: Rig) -> None:
    rig.procore.switch(negative_lines="refuse")
    bill = rig.bookkeeper.bill("4551", [line(-10, item="101"), line(30, item="102")])
    rig.sync()
    mark, told = rig.procore.mark(), rig.story("Bill", bill["Id"])
    for _ in range(2):
        with rig.engine.begin() as db:
            windows.mark(db, rig.name, [today()], reason="test")
        rig.sync()
    assert (rig.procore.writes(mark), rig.story("Bill", bill["Id"])) == ([], told)
    rig.procore.switch(negative_lines="accept")
    rig.post(automatic=False)
    assert rig.cost_of(bill["Id"])["grand_total"] == "20.00"
    assert rig.story("Bill", bill["Id"])[-1] == "released"
