"""Holds that end by themselves: the schedule asks Procore only for what open holds wait for, and runs just their days."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, update

from ml_connector.holds import WAITS_FOR_COMMITMENT, WAITS_FOR_DIRECTORY, WAITS_FOR_LISTS, Reason
from ml_connector.orchestration.clients import procore_client
from ml_connector.posting.releasing import Looked, look_for_causes
from ml_connector.store.awaited import parts_of
from ml_connector.store.tables import catalog
from ml_connector_tests.rig import COMPANY, DEPOT, ELM, REALM, Rig, line, today
from ml_connector_tests.scenarios.test_codes_and_mapping import DRYWALL_S, add_codes
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, invoices, period, sub, subcontract
from ml_connector_tests.scenarios.test_vendor_changes import in_procore, there

SECOND_OLD = today() - timedelta(days=1)
OLD = today() - timedelta(days=2)


def look(rig: Rig) -> Looked:
    """What the schedule's run does."""
    return look_for_causes(rig.engine, rig.connection, procore_client(rig.home, rig.connection, rig.engine))


def calls(rig: Rig) -> list[str]:
    """What the next look asks of Procore, when nothing changes there."""
    mark = rig.procore.mark()
    assert (look(rig).changed, rig.dirty()) == ((), [])
    return [call.partition("?")[0] for call in rig.procore.calls(mark)]


def backdate(rig: Rig, bill: dict[str, Any], day: Any) -> None:
    stamp = f"{day}T12:00:00+00:00"
    rig.qbo.load(
        realm=REALM,
        Bill=[{**bill, "MetaData": {**bill["MetaData"], "LastUpdatedTime": stamp, "CreateTime": stamp}}],
    )


def held(rig: Rig) -> set[str]:
    return {hold.reason for hold in rig.holds()}


def test_S22_S40_S44_S88_a_look_asks_only_for_what_is_awaited_and_wakes_only_the_days_concerned(
    rig: Rig,
) -> None:
    rig.publish(mapping=DRYWALL_S)
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007, status="Draft", retainage_percent=None)],
        billing_periods=[period(status="closed")],
    )
    rig.bookkeeper.bill("1", [line(10, item="101")])
    coded = rig.bookkeeper.bill("2", [line(20, account="3")])
    closed = rig.bookkeeper.bill("3", [line(30, item="101", customer="63")])
    backdate(rig, closed, SECOND_OLD)
    billed = rig.bookkeeper.bill("4", [sub(40)], vendor=BRIGHT)
    backdate(rig, billed, OLD)
    rig.bookkeeper.bill("5", [line(50, account="7")])
    rig.sync()
    assert held(rig) == {"CODE_MISSING", "PROJECT_CLOSED", "COMMITMENT_NOT_APPROVED", "UNMAPPED"}
    assert look(rig).woken == (OLD,), (
        "the lists are as mapping knew them; the commitments are seen for the first time"
    )
    rig.settle()
    assert sorted(calls(rig)) == [
        "GET /rest/v1.0/commitments/7007",
        "GET /rest/v1.0/projects/101/work_breakdown_structure/wbs_codes",
        "GET /rest/v1.1/projects",
    ]
    add_codes(rig, "09-2900.S")
    found = look(rig)
    assert (found.changed, found.woken, rig.dirty()) == (
        ("budget codes of project 101",),
        (today(),),
        [today()],
    )
    rig.settle()
    assert rig.record("Bill", coded["Id"]).state == "posted"
    project = next(row for row in rig.procore.live("projects") if str(row["id"]) == DEPOT)
    rig.procore.load(projects=[{**project, "active": True}])
    assert look(rig).woken == (SECOND_OLD,)
    rig.settle()
    assert rig.record("Bill", closed["Id"]).state == "posted"
    rig.procore.load(commitments=[subcontract("SC-007", SC_007, retainage_percent=None)])
    assert look(rig).woken == (OLD,)
    rig.settle()
    assert held(rig) == {"NO_OPEN_PERIOD", "UNMAPPED"}
    assert look(rig).woken == (OLD,), "the periods are seen for the first time"
    rig.settle()
    assert calls(rig) == ["GET /rest/v1.0/projects/101/billing_periods"]
    rig.procore.load(billing_periods=[period()])
    look(rig)
    rig.settle()
    assert (held(rig), len(invoices(rig))) == ({"UNMAPPED"}, 1)
    assert calls(rig) == [], "no open hold waits for Procore"


def test_S86_S110_a_vendor_active_again_and_a_project_shown_again_free_their_bills(rig: Rig) -> None:
    rig.sync()
    granite = there(rig, "21")
    in_procore(rig, granite, is_active=False)
    idle = rig.bookkeeper.bill("1", [line(10, item="101")])
    hidden = {"route": "GET */projects/102/work_breakdown_structure/wbs_codes", "fault": "status"}
    rig.procore.fault({**hidden, "args": {"status": 403, "body": {"errors": "You are not permitted"}}})
    unseen = rig.bookkeeper.bill("2", [line(20, item="101", customer="62")], vendor="23")
    with rig.engine.begin() as db:
        db.execute(delete(catalog))
    rig.sync()
    assert held(rig) == {"VENDOR_INACTIVE", "PERMISSION"}
    look(rig)
    rig.settle()
    assert sorted(calls(rig)) == [
        f"GET /rest/v1.0/companies/{COMPANY}/vendors/inactive",
        f"GET /rest/v1.0/projects/{ELM}/work_breakdown_structure/wbs_codes",
        "GET /rest/v1.0/vendors",
        "GET /rest/v1.1/projects",
        f"GET /rest/v1.1/projects/{ELM}/vendors",
    ]
    rig.procore.no_faults()
    in_procore(rig, granite, is_active=True)
    assert set(look(rig).changed) == {"projects", f"budget codes of project {ELM}", "directory"}
    rig.settle()
    assert held(rig) == set()
    assert [rig.record("Bill", bill["Id"]).state for bill in (idle, unseen)] == ["posted", "posted"]


CAUSES = {
    Reason.CODE_MISSING: ("project 101 03-3000 / M", ["budget codes of project 101"]),
    Reason.NO_BUDGET_LINE: ("project 101 03-3000 / M", ["budget of project 101"]),
    Reason.PROJECT_CLOSED: ("project 103", ["projects"]),
    Reason.PERMISSION: ("directory", ["directory"]),
    Reason.VENDOR_AMBIGUOUS: ("vendor 21", ["directory"]),
    Reason.VENDOR_PROPOSED: ("vendor 21", ["directory"]),
    Reason.VENDOR_INACTIVE: ("vendor 21", ["directory"]),
    Reason.COMMITMENT_MISSING: ("vendor 900 project 101", ["commitments of project 101"]),
    Reason.COMMITMENT_AMBIGUOUS: ("Bill 9", ["commitments of project 101", "commitments of project 102"]),
    Reason.COMMITMENT_NOT_APPROVED: (
        "commitment 7007",
        ["commitment 7007 of project 101", "commitment 7007 of project 102"],
    ),
    Reason.VENDOR_MISMATCH: ("commitment 7007", ["commitments of project 101", "commitments of project 102"]),
    Reason.SOV_AMBIGUOUS: (
        "commitment 7007",
        ["commitment 7007 of project 101", "commitment 7007 of project 102"],
    ),
    Reason.OVERBILLED: (
        "commitment 7007",
        ["commitment 7007 of project 101", "commitment 7007 of project 102"],
    ),
    Reason.OPENING_DIFFERENCE: (
        "commitment 7007",
        ["commitment 7007 of project 101", "commitment 7007 of project 102"],
    ),
    Reason.NO_OPEN_PERIOD: ("project 101", ["billing periods of project 101"]),
    Reason.NOT_YET_APPROVED_IN_PROCORE: (
        "requisition 12",
        ["invoices of project 101", "invoices of project 102"],
    ),
}


def test_every_hold_that_a_change_in_procore_ends_waits_for_a_part_that_is_asked_for() -> None:
    assert set(CAUSES) == {*WAITS_FOR_LISTS, *WAITS_FOR_DIRECTORY, *WAITS_FOR_COMMITMENT}
    asked = {
        reason: [str(part) for part in parts_of(reason, f"{reason} {cause}", ["101", "102"])]
        for reason, (cause, _) in CAUSES.items()
    }
    assert asked == {reason: parts for reason, (_, parts) in CAUSES.items()}


def test_S110_a_right_to_write_is_tried_again_now_and_then_since_no_call_tells_it(rig: Rig) -> None:
    forbidden = {"status": 403, "body": {"errors": "You are not permitted"}}
    rig.procore.fault({"route": "PATCH */direct_costs/sync", "fault": "status", "args": forbidden})
    rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    assert held(rig) == {"PERMISSION"}
    assert look(rig).woken == (today(),)
    rig.settle()
    assert calls(rig) == [], "it was tried a moment ago"
    rig.procore.no_faults()
    with rig.engine.begin() as db:
        db.execute(update(catalog).values(fetched_at=datetime.now(UTC) - timedelta(hours=7)))
    assert look(rig).changed == ("right to write",)
    rig.settle()
    assert held(rig) == set()
    assert calls(rig) == []
