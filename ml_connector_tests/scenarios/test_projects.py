"""Group G of the scenario bank: projects that are not linked, or closed."""

from ml_connector_tests.rig import DEPOT, PROJECTS, Rig, line
from ml_connector_tests.scenarios.test_codes_and_mapping import refresh


def test_S87_a_bill_for_a_project_that_is_not_linked_is_posted_once_it_is(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("1", [line(10, item="101", customer="64")])
    rig.bookkeeper.bill("2", [line(20, item="101", customer="64")])
    rig.sync()
    assert {hold.reason for hold in rig.holds()} == {"PROJECT_NOT_LINKED"}
    assert {hold.cause for hold in rig.holds()} == {"PROJECT_NOT_LINKED customer 64"}
    assert "Mill Bridge, which is linked to no Procore project" in rig.holds()[0].sentence
    rig.procore.load(
        projects=[
            {
                "id": 104,
                "company_id": 5001,
                "name": "Mill Bridge",
                "active": True,
                "budget_codes": ["03-3000.M"],
            }
        ]
    )
    rig.publish(projects=f"{PROJECTS}64,104,Mill Bridge\n")
    rig.settle()
    refresh(rig)  # the copy of Procore's lists did not know the new project
    rig.settle()
    assert (rig.holds(), rig.cost_of(bill["Id"], "104")["grand_total"]) == ([], "10.00")


def test_S88_a_late_bill_of_a_closed_project_waits_until_it_is_reopened(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("1", [line(10, item="101", customer="63")])
    rig.sync()
    (hold,) = rig.holds()
    assert hold.reason == "PROJECT_CLOSED"
    assert "reopen it, choose another project in QBO, or exclude the line by a rule" in hold.sentence
    project = next(row for row in rig.procore.live("projects") if str(row["id"]) == DEPOT)
    rig.procore.load(projects=[{**project, "active": True}])
    refresh(rig)
    rig.settle()
    assert rig.cost_of(bill["Id"], DEPOT)["grand_total"] == "10.00"
    assert rig.story("Bill", bill["Id"])[2:4] == ["released", "mapped"]


def test_S121_replaying_everything_writes_nothing(rig: Rig) -> None:
    rig.bookkeeper.bill("1", [line(10, item="101"), line(20, item="101", customer="62")])
    gone = rig.bookkeeper.bill("2", [line(20, item="101")])
    edited = rig.bookkeeper.bill("3", [line(30, item="101"), line(1, item="102")])
    rig.bookkeeper.bill("4", [line(30, account="7")])
    rig.bookkeeper.bill("5", [line(30, account="5", customer=None)])
    rig.bookkeeper.bill("6", [line(9, item="101", customer="63")])
    rig.sync()
    rig.bookkeeper.delete("Bill", gone)
    rig.bookkeeper.edit("Bill", edited, Line=[line(30, item="101")])
    rig.sync()
    costs, mark = rig.direct_costs(counting=False), rig.procore.mark()
    for _ in range(2):
        rig.replay_everything()
    assert rig.procore.writes(mark) == []
    assert rig.direct_costs(counting=False) == costs
