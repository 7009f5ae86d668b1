"""Policies budget_code_missing and budget_line_missing: codes that a project lacks, and codes without a budget line."""

from typing import Any

from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client
from ml_connector.store import audit
from ml_connector_tests.rig import CODES, HARBOR, MAPPING, Rig, line

DRYWALL_S = MAPPING.replace("5030,,,,,,,,,direct_cost,01-5000,E", "5030,,,,,,,,,direct_cost,09-2900,S")
TILES = MAPPING.replace("5030,,,,,,,,,direct_cost,01-5000,E", "5030,,,,,,,,,direct_cost,09-3000,S")
WBS = f"POST /rest/v1.0/projects/{HARBOR}/work_breakdown_structure/wbs_codes"


def refresh(rig: Rig) -> None:
    """The schedule that looks at Procore's lists for what waits for them."""
    work.refresh_lists(rig.engine, rig.connection, procore_client(rig.home, rig.connection, rig.engine))


def code_of(rig: Rig, flat: str) -> dict[str, Any]:
    """A budget code of Harbor Clinic."""
    (found,) = [
        code
        for code in rig.procore.live("wbs_codes")
        if (code["flat_code"], str(code["project_id"])) == (flat, HARBOR)
    ]
    return found


def budget(rig: Rig, *flat_codes: str) -> None:
    """Project people put lines into Harbor Clinic's budget."""
    rig.procore.load(
        budget_line_items=[
            {
                "project_id": int(HARBOR),
                "wbs_code_id": code["id"],
                "cost_code_id": code["cost_code_id"],
                "line_item_type_id": code["line_item_type_id"],
                "original_budget_amount": "30000.00",
            }
            for code in (code_of(rig, flat) for flat in flat_codes)
        ]
    )


def warnings(rig: Rig, qbo_id: str) -> list[str]:
    """The warnings of a bill's audit trail."""
    with rig.engine.connect() as db:
        story = audit.story(db, rig.name, "Bill", qbo_id)
    return [str(entry.detail["sentence"]) for entry in story if entry.event == "warned"]


def test_S22_by_policy_a_missing_budget_code_is_made_once_and_all_its_bills_are_posted(rig: Rig) -> None:
    rig.publish(mapping=DRYWALL_S)
    bills = [rig.bookkeeper.bill(f"55{number}", [line(10, account="3")]) for number in range(3)]
    rig.sync()
    assert {hold.reason for hold in rig.holds()} == {"CODE_MISSING"}
    rig.configure(policies={"budget_code_missing": "create"})
    mark = rig.procore.mark()
    rig.post(automatic=False)
    assert (rig.holds(), len(rig.direct_costs())) == ([], 3)
    assert [call for call in rig.procore.writes(mark) if "wbs_codes" in call] == [WBS]
    made = code_of(rig, "09-2900.S")
    (sent,) = [row for row in rig.procore.live("direct_cost_lines") if row["wbs_code_id"] == made["id"]][:1]
    assert sent["total_amount"] == "10.00"
    assert rig.story("Bill", bills[0]["Id"]).count("budget code made") == 1
    later = rig.bookkeeper.bill("560", [line(20, account="3")])
    mark = rig.procore.mark()
    rig.sync()
    assert (rig.cost_of(later["Id"])["grand_total"], rig.holds()) == ("20.00", [])
    assert [call for call in rig.procore.calls(mark) if "work_breakdown_structure" in call] == []
    refresh(rig)
    assert rig.dirty() == [], "the copy knew of the code"


def test_S22_a_cost_code_that_is_not_there_is_never_made_and_frees_its_bill_once_it_is(rig: Rig) -> None:
    rig.configure(policies={"budget_code_missing": "create"})
    rig.publish(mapping=TILES)
    bill = rig.bookkeeper.bill("5501", [line(10, account="3")])
    rig.sync()
    (hold,) = rig.holds()
    assert hold.reason == "CODE_MISSING"
    assert "it could not be made (the project has no cost code 09-3000)" in hold.sentence
    assert WBS not in rig.procore.writes()
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.calls(mark) == [], "nothing changed, nothing is asked"
    parent = next(code for code in rig.procore.live("cost_codes") if str(code["project_id"]) == HARBOR)
    rig.procore.load(cost_codes=[{**_without_id(parent), "code": "09-3000", "name": "Tiles"}])
    refresh(rig)
    rig.settle()
    assert (rig.holds(), rig.cost_of(bill["Id"])["grand_total"]) == ([], "10.00")


def _without_id(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("id", "origin_id")}


def test_S22_what_Procore_refuses_to_make_is_held_in_its_words_and_not_sent_again(rig: Rig) -> None:
    rig.configure(policies={"budget_code_missing": "create"})
    rig.publish(mapping=DRYWALL_S)
    words = {"errors": {"base": ["Budget codes are locked on this project"]}}
    rig.procore.fault({"route": WBS, "fault": "status", "args": {"status": 422, "body": words}})
    bill = rig.bookkeeper.bill("5501", [line(10, account="3")])
    rig.sync()
    (hold,) = rig.holds()
    assert (hold.reason, "Budget codes are locked on this project" in hold.sentence) == ("CODE_MISSING", True)
    rig.procore.no_faults()
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.writes(mark) == [], "an automatic run does not send it again"
    rig.post(automatic=False)
    assert (rig.holds(), rig.cost_of(bill["Id"])["grand_total"]) == ([], "10.00")


def test_S22_a_code_whose_answer_is_lost_is_adopted(rig: Rig) -> None:
    rig.configure(policies={"budget_code_missing": "create"})
    rig.publish(mapping=DRYWALL_S)
    rig.procore.fault({"route": WBS, "nth": 1, "fault": "accept_then_drop"})
    bill = rig.bookkeeper.bill("5501", [line(10, account="3")])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
    assert code_of(rig, "09-2900.S")["status"] == "active"


def test_S23_a_code_without_a_budget_line_is_posted_with_a_warning(rig: Rig) -> None:
    budget(rig, "03-3000.M")
    budgeted = rig.bookkeeper.bill("1", [line(10, item="101")])
    unbudgeted = rig.bookkeeper.bill("2", [line(10, item="101"), line(20, item="102"), line(5, item="102")])
    elsewhere = rig.bookkeeper.bill("3", [line(10, item="101", customer="62")])
    rig.read()
    done = rig.post()
    assert rig.cost_of(unbudgeted["Id"])["grand_total"] == "35.00"
    (sentence,) = warnings(rig, unbudgeted["Id"])
    assert "Bill 2 (Granite Supply, 35.00): the budget of project Harbor Clinic (101) has no line" in sentence
    assert "06-1000 / M" in sentence
    assert done["direct_costs"].warnings == [sentence]
    assert (warnings(rig, budgeted["Id"]), warnings(rig, elsewhere["Id"])) == ([], [])
    mark = rig.procore.mark()
    rig.bookkeeper.bill("4", [line(10, item="102")])
    rig.sync()
    assert [call for call in rig.procore.calls(mark) if "budget_views" in call] == [], "it was read lately"


def test_S23_a_budget_that_Procore_hides_is_told_and_holds_nothing(rig: Rig) -> None:
    rig.procore.fault({"route": "GET */budget_views", "fault": "status", "args": {"status": 403}})
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
    (sentence,) = warnings(rig, bill["Id"])
    assert "does not show the budget of project Harbor Clinic (101)" in sentence


def test_S23_by_policy_a_code_without_a_budget_line_waits_for_one(rig: Rig) -> None:
    rig.configure(policies={"budget_line_missing": "hold"})
    budget(rig, "03-3000.M")
    good = rig.bookkeeper.bill("1", [line(10, item="101")])
    bad = rig.bookkeeper.bill("2", [line(10, item="101"), line(20, item="102")])
    rig.sync()
    assert rig.cost_of(good["Id"])["grand_total"] == "10.00"
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, str(hold.amount)) == (bad["Id"], "NO_BUDGET_LINE", "20.00")
    assert (
        "goes to 06-1000 / M, which the budget of project Harbor Clinic (101) has no line for"
        in hold.sentence
    )
    refresh(rig)
    assert rig.dirty() == [], "nothing changed"
    budget(rig, "06-1000.M")
    refresh(rig)
    rig.settle()
    assert (rig.holds(), rig.cost_of(bad["Id"])["grand_total"]) == ([], "30.00")


def test_S22_a_code_that_was_made_waits_for_its_budget_line_where_lines_are_asked_for(rig: Rig) -> None:
    rig.configure(policies={"budget_code_missing": "create", "budget_line_missing": "hold"})
    rig.publish(mapping=DRYWALL_S)
    bill = rig.bookkeeper.bill("1", [line(10, account="3")])
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["NO_BUDGET_LINE"]
    assert "09-2900.S" not in CODES
    budget(rig, "09-2900.S")
    refresh(rig)
    rig.settle()
    assert (rig.holds(), rig.cost_of(bill["Id"])["grand_total"]) == ([], "10.00")
