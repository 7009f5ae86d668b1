"""Group F of the scenario bank after the link: vendors renamed, merged, inactive, or called otherwise in Procore."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ml_connector.holds import Choice
from ml_connector.orchestration import work
from ml_connector.posting.windows import Posted
from ml_connector.qbo.models import Entity
from ml_connector.reading.windows import Mode
from ml_connector.store import audit, records
from ml_connector_tests.reading.desk import raw_bill
from ml_connector_tests.rig import HARBOR, MAPPING, REALM, Rig, call, line, today
from ml_connector_tests.scenarios.calendar_days import days_later
from ml_connector_tests.scenarios.kills import run_that_dies_at
from ml_connector_tests.scenarios.test_decisions import decide
from ml_connector_tests.scenarios.test_subcontracts import SC_007, invoices, period, sub, subcontract
from ml_connector_tests.scenarios.test_vendors import load_vendors, names

SYNC = "PATCH /rest/v1.0/vendors/sync"
GRANITE, BRIGHT, CITY = "21", "22", "23"


def run(rig: Rig) -> Mapping[str, Posted]:
    """Read and post today, once."""
    rig.read()
    return rig.post()


def rename(rig: Rig, vendor: str, name: str, **fields: Any) -> None:
    """Call a vendor otherwise in QBO."""
    rig.bookkeeper.edit("Vendor", {"Id": vendor}, DisplayName=name, **fields)


def merge(rig: Rig, loser: str, winner: str) -> None:
    """Merge two vendors on QBO's screen."""
    call("POST", f"{rig.qbo_server.url}/_control/merge", {"loser": loser, "winner": winner})


def there(rig: Rig, vendor: str) -> dict[str, Any]:
    """The vendor of Procore that carries the origin id of a vendor of QBO."""
    origin = f"qbo:{REALM}:vendor:{vendor}"
    (found,) = [entry for entry in rig.procore.live("vendors") if entry.get("origin_id") == origin]
    return found


def told(rig: Rig, event: str, entity: str, qbo_id: str) -> dict[str, Any]:
    """The detail of the one entry of an event in a record's trail."""
    with rig.engine.connect() as db:
        story = audit.story(db, rig.name, entity, qbo_id)
    (found,) = [entry.detail for entry in story if entry.event == event]
    return dict(found)


def in_procore(rig: Rig, vendor: Mapping[str, Any], **fields: Any) -> None:
    """What a person changes on a vendor in Procore."""
    rig.procore.load(vendors=[{**vendor, **fields}])


def paid_on_screen(rig: Rig, bill: Mapping[str, Any]) -> None:
    """A bill that has no balance any more; QBO's API pays no bill of an inactive vendor, its screen does."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    current = rig.bookkeeper.read("Bill", bill["Id"])
    meta = {**current["MetaData"], "LastUpdatedTime": now}
    rig.qbo.load(
        Bill=[
            json.loads(
                json.dumps({**current, "Balance": 0, "SyncToken": "7", "MetaData": meta}, default=float)
            )
        ]
    )


def look_again(rig: Rig) -> None:
    """What the schedule does for records that wait for Procore's directory."""
    work.recheck_vendors(rig.engine, rig.connection)
    rig.settle()


def ready_rig(rig: Rig) -> None:
    """The subcontract of Bright Electric and an open period."""
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007, retainage_percent=None)],
        billing_periods=[period()],
    )


# -- S83: renamed --------------------------------------------------------------------------------------------------------


def test_S83_a_vendor_that_we_made_follows_its_name_in_one_call_and_stays_one(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    made = there(rig, GRANITE)
    rename(rig, GRANITE, "Granite Holdings")
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.calls(mark) == [SYNC]
    assert (there(rig, GRANITE)["id"], there(rig, GRANITE)["name"]) == (made["id"], "Granite Holdings")
    assert "Granite Supply" not in names(rig)
    assert rig.record("Vendor", GRANITE).state == "updated"
    fact = told(rig, "renamed in QBO", "Vendor", GRANITE)
    assert (fact["from"], fact["to"]) == ("Granite Supply", "Granite Holdings")
    mark = rig.procore.mark()
    again = rig.bookkeeper.edit("Bill", bill, Line=[line(15, item="101")])
    rig.sync()
    assert rig.cost_of(again["Id"])["vendor_id"] == made["id"]
    assert SYNC not in rig.procore.calls(mark)


def test_S83_a_vendor_of_people_keeps_their_spelling_and_follows_another_name(rig: Rig) -> None:
    load_vendors(rig, "GRANITE SUPPLY INC", notes="kept by people")
    rig.sync()
    adopted = there(rig, GRANITE)
    rename(rig, GRANITE, "Granite Supply, Inc.")
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.calls(mark) == []
    assert rig.record("Vendor", GRANITE).state == "no-op"
    assert "spelling" in told(rig, "renamed in QBO", "Vendor", GRANITE)["name_in_procore"]
    rename(rig, GRANITE, "Bright Power LLC")
    rig.sync()
    now = there(rig, GRANITE)
    assert (now["id"], now["name"], now["notes"]) == (adopted["id"], "Bright Power LLC", "kept by people")


def test_S83_a_name_that_Procore_refuses_is_proposed_and_the_link_stays(rig: Rig) -> None:
    rig.sync()
    refusal = {"status": 422, "body": {"errors": {"name": ["is kept by people"]}}}
    rig.procore.fault(
        {"route": "PATCH */vendors/sync", "fault": "status", "args": refusal, "contains": "Holdings"}
    )
    rename(rig, GRANITE, "Granite Holdings")
    rename(rig, CITY, "City Rentals")
    done = run(rig)
    assert rig.record("Vendor", GRANITE).state == "no-op"
    assert rig.record("Vendor", CITY).state == "updated"
    (warning,) = done["vendors"].warnings
    assert "Granite Holdings was renamed from Granite Supply in QBO" in warning
    assert "is kept by people" in warning
    assert told(rig, "warned", "Vendor", GRANITE)["sentence"] == warning
    assert there(rig, GRANITE)["name"] == "Granite Supply"
    mark = rig.procore.mark()
    rig.bookkeeper.edit("Vendor", {"Id": GRANITE}, PrimaryPhone={"FreeFormNumber": "555-0100"})
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    assert SYNC not in rig.procore.calls(mark)
    assert rig.cost_of(bill["Id"])["vendor_id"] == there(rig, GRANITE)["id"]
    assert rig.holds() == []


def test_S83_a_directory_closed_to_us_leaves_the_name_with_a_warning(rig: Rig) -> None:
    rig.sync()
    rig.procore.fault({"route": "PATCH */vendors/sync", "fault": "status", "args": {"status": 403}})
    rename(rig, GRANITE, "Granite Holdings")
    done = run(rig)
    assert [warning for warning in done["vendors"].warnings if "Granite Holdings" in warning]
    assert rig.holds() == []
    rig.procore.no_faults()
    rig.bookkeeper.edit("Vendor", {"Id": GRANITE}, PrimaryPhone={"FreeFormNumber": "555-0100"})
    rig.sync()
    assert there(rig, GRANITE)["name"] == "Granite Holdings"


def test_S83_other_facts_of_a_vendor_cost_no_call(rig: Rig) -> None:
    rig.sync()
    mark = rig.procore.mark()
    rig.bookkeeper.edit(
        "Vendor",
        {"Id": GRANITE},
        PrimaryPhone={"FreeFormNumber": "555-0100"},
        BillAddr={"Line1": "1 Quarry Road", "City": "Elko"},
    )
    rig.sync()
    assert rig.procore.calls(mark) == []
    assert rig.record("Vendor", GRANITE).state == "no-op"


def test_S104_a_rename_whose_answer_is_lost_is_sent_again_and_bills_do_not_wait_for_it(rig: Rig) -> None:
    rig.sync()
    rig.procore.fault({"route": "PATCH */vendors/sync", "fault": "accept_then_drop", "nth": 1})
    rename(rig, GRANITE, "Granite Holdings")
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    assert there(rig, GRANITE)["name"] == "Granite Holdings"
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
    assert rig.record("Vendor", GRANITE).state == "updated"
    assert rig.dirty() == []


@pytest.mark.parametrize("point", ["K5", "K14"])
def test_S105_a_run_killed_around_a_rename_leaves_one_vendor_with_the_new_name(rig: Rig, point: str) -> None:
    rig.sync()
    before = there(rig, GRANITE)["id"]
    rename(rig, GRANITE, "Granite Holdings")
    run_that_dies_at(rig, point)
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    assert (there(rig, GRANITE)["id"], there(rig, GRANITE)["name"]) == (before, "Granite Holdings")
    assert rig.cost_of(bill["Id"])["vendor_id"] == before
    assert rig.record("Vendor", GRANITE).state == "updated"


# -- S84: merged ---------------------------------------------------------------------------------------------------------


def two_of_one(rig: Rig) -> tuple[str, list[dict[str, Any]]]:
    """A vendor of the subcontract, entered twice in QBO: the second one, and its bills, all posted, one of them paid."""
    ready_rig(rig)
    twin = rig.bookkeeper.vendor("Bright Elec")["Id"]
    rig.publish(vendors="vendor,procore_vendor,note\n")
    mine = [
        rig.bookkeeper.bill("BE-1", [line(10, item="101")], vendor=twin),
        rig.bookkeeper.bill("BE-2", [line(20, item="101"), line(5, item="102", customer="62")], vendor=twin),
    ]
    return twin, mine


def test_S84_a_merge_re_posts_nothing_and_new_bills_go_to_the_winner(rig: Rig) -> None:
    twin, mine = two_of_one(rig)
    other = rig.bookkeeper.bill("BE-9", [line(90, item="101")], vendor=BRIGHT)
    rig.sync()
    winner, loser = there(rig, BRIGHT)["id"], there(rig, twin)["id"]
    assert winner != loser
    merge(rig, twin, BRIGHT)
    assert rig.bookkeeper.read("Bill", mine[0]["Id"])["VendorRef"]["value"] == BRIGHT
    mark = rig.procore.mark()
    done = run(rig)
    rig.settle()
    assert rig.procore.calls(mark) == []
    assert [rig.record("Bill", bill["Id"]).state for bill in mine] == ["no-op", "no-op"]
    assert {cost["vendor_id"] for cost in rig.direct_costs()} == {winner, loser}
    assert rig.cost_of(mine[0]["Id"])["vendor_id"] == loser
    assert rig.cost_of(other["Id"])["vendor_id"] == winner
    (warning,) = done["vendors"].warnings
    assert "QBO merged vendor Bright Elec into Bright Electric" in warning
    assert f"(id {loser})" in warning
    assert f"new bills go to Bright Electric (id {winner})" in warning
    assert told(rig, "warned", "Vendor", twin)["sentence"] == warning
    for qbo_id in (twin, BRIGHT):
        fact = told(rig, "merged in QBO", "Vendor", qbo_id)
        assert (fact["loser"], fact["loser_name"], fact["winner"]) == (twin, "Bright Elec", BRIGHT)
        assert fact["records"] == 2
    later = rig.bookkeeper.bill("BE-10", [line(30, item="101")], vendor=BRIGHT)
    rig.sync()
    assert rig.cost_of(later["Id"])["vendor_id"] == winner
    assert rig.holds() == []


def test_S84_a_bill_edited_after_the_merge_keeps_its_vendor_time_and_again(rig: Rig) -> None:
    twin, mine = two_of_one(rig)
    rig.sync()
    loser = there(rig, twin)["id"]
    merge(rig, twin, BRIGHT)
    rig.sync()
    for amount in ("11.00", "12.00"):
        rig.bookkeeper.edit("Bill", mine[0], Line=[line(amount, item="101")])
        rig.sync()
        cost = rig.cost_of(mine[0]["Id"])
        assert (cost["grand_total"], cost["vendor_id"]) == (amount, loser)


def test_S84_an_edit_in_the_same_poll_as_the_merge_is_followed(rig: Rig) -> None:
    twin, mine = two_of_one(rig)
    rig.sync()
    loser = there(rig, twin)["id"]
    merge(rig, twin, BRIGHT)
    rig.bookkeeper.edit("Bill", mine[0], Line=[line(11, item="101")])
    rig.sync()
    cost = rig.cost_of(mine[0]["Id"])
    assert (cost["grand_total"], cost["vendor_id"]) == ("11.00", loser)


def test_S84_once_people_put_the_loser_away_in_Procore_a_row_gives_its_bills_to_the_winner(rig: Rig) -> None:
    twin, mine = two_of_one(rig)
    rig.sync()
    winner, loser = there(rig, BRIGHT)["id"], there(rig, twin)
    merge(rig, twin, BRIGHT)
    rig.sync()
    in_procore(rig, loser, is_active=False)
    rig.bookkeeper.edit("Bill", mine[0], Line=[line(11, item="101")])
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["VENDOR_INACTIVE"]
    rig.publish(vendors=f"vendor,procore_vendor,note\n{twin},{winner},merged\n")
    rig.settle()
    assert rig.holds() == []
    cost = rig.cost_of(mine[0]["Id"])
    assert (cost["grand_total"], cost["vendor_id"]) == ("11.00", winner)


def test_S84_invoices_and_payments_on_a_contract_of_the_loser_stay_and_later_bills_go_onto_it(
    rig: Rig,
) -> None:
    ready_rig(rig)
    group = rig.bookkeeper.vendor("Volt Group")["Id"]
    bill = rig.bookkeeper.bill("BE-1", [sub(1000)], vendor=BRIGHT)
    rig.sync()
    rig.bookkeeper.pay(bill, "400.00")
    rig.sync()
    (paid,) = rig.procore.live("contract_payments")
    merge(rig, BRIGHT, group)
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.calls(mark) == []
    assert rig.procore.live("contract_payments") == [paid]
    assert rig.record("Bill", bill["Id"]).state == "no-op"
    later = rig.bookkeeper.bill("BE-2", [sub(500)], vendor=group)
    rig.sync()
    assert rig.holds() == []
    assert [entry["invoice_number"] for entry in invoices(rig)] == ["BE-1", "BE-2"]
    rig.bookkeeper.pay(later, "500.00", number="2232")
    rig.sync()
    assert sorted(entry["amount"] for entry in rig.procore.live("contract_payments")) == ["400.00", "500.00"]


def test_S84_a_bill_that_waited_for_the_contract_of_the_loser_goes_after_the_merge(rig: Rig) -> None:
    ready_rig(rig)
    holding = rig.bookkeeper.vendor("Bright Electric Holdings")["Id"]
    known = rig.bookkeeper.bill("BE-1", [sub(1000)], vendor=BRIGHT)
    waiting = rig.bookkeeper.bill("BH-1", [sub(500)], vendor=holding)
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["VENDOR_MISMATCH"]
    merge(rig, BRIGHT, holding)
    rig.sync()
    assert rig.holds() == []
    assert rig.record("Bill", known["Id"]).state == "no-op"
    assert rig.record("Bill", waiting["Id"]).state == "posted"


def test_S97_a_merge_that_cuts_the_answer_loses_no_bill_and_re_posts_none(rig: Rig) -> None:
    ready_rig(rig)
    twin = rig.bookkeeper.vendor("Bright Elec")["Id"]
    rig.qbo.load(
        Bill=[raw_bill(number, VendorRef={"value": twin, "name": "Bright Elec"}) for number in range(1, 1401)]
    )
    rig.sync()
    assert len(rig.direct_costs()) == 1400
    merge(rig, twin, BRIGHT)
    mark = rig.procore.mark()
    reading = rig.read()
    assert (reading.mode, reading.new[Entity.BILL]) == (Mode.WALK, 1400)
    rig.settle()
    assert rig.procore.calls(mark) == []
    with rig.engine.connect() as db:
        found = records.known(db, rig.name, "Bill", [str(number) for number in range(1, 1401)])
    assert {(row.state, row.vendor_name, row.posted) for row in found.values()} == {
        ("no-op", "Bright Elec", Decimal(100))
    }


def test_S84_mergers_of_mergers_are_followed(rig: Rig) -> None:
    twin, mine = two_of_one(rig)
    rig.sync()
    loser = there(rig, twin)["id"]
    merge(rig, twin, BRIGHT)
    rig.sync()
    merge(rig, BRIGHT, CITY)
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.writes(mark) == []
    assert rig.cost_of(mine[1]["Id"])["vendor_id"] == loser


def test_S84_a_vendor_never_linked_leaves_no_trace_when_it_is_merged(rig: Rig) -> None:
    twin = rig.bookkeeper.vendor("Bright Elec")["Id"]
    merge(rig, twin, BRIGHT)
    rig.sync()
    assert rig.record("Vendor", twin).state == "excluded"
    assert "Bright Elec" not in names(rig)


def test_S84_a_rule_by_vendor_holds_for_what_was_posted_and_not_for_new_bills(rig: Rig) -> None:
    rules = (
        "5075,,,,Bright Elec,,,,,direct_cost,01-7800,O,,,,,\n"
        "5075,,,,Bright Electric,,,,,direct_cost,06-1000,M,,,,,\n"
    )
    rig.publish(mapping=MAPPING + rules)
    twin = rig.bookkeeper.vendor("Bright Elec")["Id"]
    bill = rig.bookkeeper.bill("1", [line(10, account="7")], vendor=twin)
    rig.sync()
    merge(rig, twin, BRIGHT)
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.writes(mark) == []
    assert rig.record("Bill", bill["Id"]).state == "no-op"
    later = rig.bookkeeper.bill("2", [line(20, account="7")], vendor=BRIGHT)
    rig.sync()
    with rig.engine.connect() as db:
        lines = records.lines_of(db, rig.name, "Bill", [bill["Id"], later["Id"]])
    codes = [one.cost_code for entry in (bill, later) for one in lines[entry["Id"]]]
    assert codes == ["01-7800", "06-1000"]


def test_S84_what_people_decided_before_the_merge_stands(rig: Rig) -> None:
    rig.configure(policies={"approval": "all"})
    twin = rig.bookkeeper.vendor("Bright Elec")["Id"]
    kept = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=twin)
    left_out = rig.bookkeeper.bill("2", [line(20, item="101")], vendor=twin)
    rig.sync()
    decide(rig, kept, Choice.APPROVE)
    decide(rig, left_out, Choice.EXCLUDE, comment="entered twice")
    rig.settle()
    merge(rig, twin, BRIGHT)
    rig.sync()
    assert rig.holds() == []
    assert rig.record("Bill", kept["Id"]).state == "no-op"
    assert rig.record("Bill", left_out["Id"]).state == "excluded"


def test_S72_a_bill_of_a_merged_vendor_that_is_corrected_later_follows(rig: Rig) -> None:
    twin, mine = two_of_one(rig)
    rig.sync()
    merge(rig, twin, BRIGHT)
    rig.sync()
    rig.bookkeeper.edit("Bill", mine[0], VendorRef={"value": CITY})
    rig.sync()
    assert rig.cost_of(mine[0]["Id"])["vendor_id"] == there(rig, CITY)["id"]


def test_S72_a_corrected_vendor_is_no_merge(rig: Rig) -> None:
    twin, mine = two_of_one(rig)
    rig.sync()
    winner = there(rig, BRIGHT)["id"]
    rig.bookkeeper.edit("Bill", mine[0], VendorRef={"value": BRIGHT})
    rig.sync()
    assert rig.cost_of(mine[0]["Id"])["vendor_id"] == winner
    assert rig.record("Bill", mine[0]["Id"]).state == "updated"
    assert "merged in QBO" not in rig.story("Vendor", twin)


def test_S72_a_vendor_that_was_corrected_and_made_inactive_while_it_has_bills_is_no_merge(rig: Rig) -> None:
    twin, mine = two_of_one(rig)
    rig.sync()
    winner, loser = there(rig, BRIGHT)["id"], there(rig, twin)["id"]
    rig.bookkeeper.edit("Bill", mine[0], VendorRef={"value": BRIGHT})
    rig.bookkeeper.edit("Vendor", {"Id": twin}, Active=False)
    rig.sync()
    assert rig.cost_of(mine[0]["Id"])["vendor_id"] == winner
    assert rig.cost_of(mine[1]["Id"])["vendor_id"] == loser
    assert "merged in QBO" not in rig.story("Vendor", twin)


def test_S72_bills_corrected_long_before_the_vendor_is_made_inactive_are_no_merge(rig: Rig) -> None:
    rig.sync()
    twin, mine = two_of_one(rig)
    rig.sync()
    winner = there(rig, BRIGHT)["id"]
    for bill in mine:
        rig.bookkeeper.edit("Bill", bill, VendorRef={"value": BRIGHT})
    day = days_later(rig, 1)
    rig.bookkeeper.edit("Vendor", {"Id": twin}, Active=False)
    rig.read([day])
    rig.settle()
    assert {cost["vendor_id"] for cost in rig.direct_costs()} == {winner}
    assert "merged in QBO" not in rig.story("Vendor", twin)


# -- S85: inactive in QBO ------------------------------------------------------------------------------------------------


def test_S85_an_open_bill_of_a_vendor_already_inactive_is_posted_under_its_plain_name(rig: Rig) -> None:
    vendor = rig.bookkeeper.vendor("Helm Roofing")
    bill = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=vendor["Id"])
    rig.bookkeeper.edit("Vendor", vendor, Active=False)
    assert rig.bookkeeper.read("Vendor", vendor["Id"])["DisplayName"] == "Helm Roofing (deleted)"
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
    assert there(rig, vendor["Id"])["name"] == "Helm Roofing"
    assert rig.record("Bill", bill["Id"]).vendor_name == "Helm Roofing"


def test_S85_inactive_and_active_again_changes_nothing_in_Procore_and_is_in_the_trail(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    before = there(rig, GRANITE)
    mark = rig.procore.mark()
    rig.bookkeeper.edit("Vendor", {"Id": GRANITE}, Active=False)
    rig.sync()
    assert rig.procore.calls(mark) == []
    assert told(rig, "inactive in QBO", "Vendor", GRANITE)["name"] == "Granite Supply"
    rig.bookkeeper.edit("Bill", bill, Line=[line(15, item="101")])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "15.00"
    rig.bookkeeper.edit("Vendor", {"Id": GRANITE}, Active=True)
    rig.sync()
    assert there(rig, GRANITE) == before
    assert rig.story("Vendor", GRANITE)[-1] == "active again in QBO"
    assert rig.record("Vendor", GRANITE).state == "no-op"
    assert not [event for event in rig.story("Vendor", GRANITE) if event == "renamed in QBO"]


def test_S85_a_suffix_that_QBO_left_on_an_active_vendor_does_not_reach_Procore(rig: Rig) -> None:
    rig.qbo.switch(inactive_suffix=False)
    vendor = rig.bookkeeper.vendor("Helm Roofing (Deleted)")
    rig.sync()
    assert there(rig, vendor["Id"])["name"] == "Helm Roofing"


def test_S85_by_policy_a_vendor_is_inactive_in_Procore_once_its_last_bill_is_paid(rig: Rig) -> None:
    rig.configure(policies={"vendor_inactive": "follow"})
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Vendor", {"Id": GRANITE}, Active=False)
    rig.sync()
    assert there(rig, GRANITE)["is_active"] is True
    paid_on_screen(rig, bill)
    rig.sync()
    assert there(rig, GRANITE)["is_active"] is False
    assert there(rig, GRANITE)["name"] == "Granite Supply"
    rig.bookkeeper.edit("Bill", bill, Line=[line(15, item="101")])
    rig.sync()
    assert rig.holds() == []
    assert rig.cost_of(bill["Id"])["grand_total"] == "15.00"
    assert there(rig, GRANITE)["is_active"] is True
    rig.bookkeeper.edit("Vendor", {"Id": CITY}, Active=False)
    rig.sync()
    assert there(rig, CITY)["is_active"] is False
    assert rig.record("Vendor", CITY).state == "updated"
    rig.bookkeeper.edit("Vendor", {"Id": CITY}, Active=True)
    mark = rig.procore.mark()
    rig.sync()
    assert (there(rig, CITY)["is_active"], rig.procore.calls(mark)) == (True, [SYNC])


# -- S86: inactive in Procore --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("linked", [False, True], ids=["new", "linked"])
def test_S86_a_bill_waits_while_its_vendor_is_inactive_in_Procore(rig: Rig, linked: bool) -> None:
    load_vendors(rig, "Granite Supply")
    if linked:
        rig.sync()
    vendor = next(entry for entry in rig.procore.live("vendors") if entry["name"] == "Granite Supply")
    in_procore(rig, vendor, is_active=False)
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    (hold,) = rig.holds(bill["Id"])
    assert (hold.reason, hold.amount) == ("VENDOR_INACTIVE", Decimal(10))
    assert "Granite Supply is inactive in Procore" in hold.sentence
    assert rig.direct_costs(counting=False) == []
    vendor = next(entry for entry in rig.procore.live("vendors") if entry["name"] == "Granite Supply")
    in_procore(rig, vendor, is_active=True)
    look_again(rig)
    assert rig.holds() == []
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
    assert "released" in rig.story("Bill", bill["Id"])


def test_S86_an_invoice_on_a_contract_waits_alike(rig: Rig) -> None:
    ready_rig(rig)
    rig.sync()
    in_procore(rig, there(rig, BRIGHT), is_active=False)
    bill = rig.bookkeeper.bill("BE-1", [sub(1000)], vendor=BRIGHT)
    rig.sync()
    assert [hold.reason for hold in rig.holds(bill["Id"])] == ["VENDOR_INACTIVE"]
    assert invoices(rig) == []
    in_procore(rig, there(rig, BRIGHT), is_active=True)
    look_again(rig)
    assert len(invoices(rig)) == 1


def test_S86_where_the_list_of_inactive_vendors_is_closed_to_us_bills_go_and_it_is_told(rig: Rig) -> None:
    rig.sync()
    rig.procore.fault({"route": "GET */vendors/inactive", "fault": "status", "args": {"status": 403}})
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    done = run(rig)
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
    assert "does not show its inactive vendors" in done["direct_costs"].warnings[0]


# -- vendors.csv: S47, S67, S82 ------------------------------------------------------------------------------------------


def test_S82_the_right_one_of_several_is_named_in_vendors_csv(rig: Rig) -> None:
    load_vendors(rig, "ABC Concrete", city="Reno")
    load_vendors(rig, "ABC Concrete LLC", city="Sparks")
    right = next(entry for entry in rig.procore.live("vendors") if entry["name"] == "ABC Concrete LLC")
    vendor = rig.bookkeeper.vendor("ABC Concrete")["Id"]
    bill = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=vendor)
    rig.sync()
    assert "vendors.csv" in rig.holds(bill["Id"])[0].sentence
    rig.publish(vendors=f"vendor,procore_vendor,note\nABC Concrete,{right['id']},the one in Sparks\n")
    mark = rig.procore.mark()
    rig.settle()
    assert rig.holds() == []
    assert rig.cost_of(bill["Id"])["vendor_id"] == right["id"]
    assert SYNC not in rig.procore.calls(mark)
    fact = told(rig, "linked", "Vendor", vendor)
    assert (fact["why"], fact["name_in_procore"]) == ("vendors.csv version 1, row 2", "ABC Concrete LLC")
    assert told(rig, "vendor linked", "Bill", bill["Id"]) == {"why": "vendors.csv version 1, row 2"}
    rename(rig, vendor, "ABC Concrete of Sparks")
    later = rig.bookkeeper.bill("2", [line(20, item="101")], vendor=vendor)
    rig.sync()
    assert rig.cost_of(later["Id"])["vendor_id"] == right["id"]
    assert "ABC Concrete of Sparks" not in names(rig)


def test_S47_S67_a_kept_link_bills_a_joint_payee_on_the_contract_and_pays_it_by_its_name(rig: Rig) -> None:
    ready_rig(rig)
    joint = rig.bookkeeper.vendor("Bright Electric and Volt Supply")["Id"]
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000)], vendor=joint)
    rig.sync()
    (hold,) = rig.holds(bill["Id"])
    assert hold.reason == "VENDOR_MISMATCH"
    assert "vendors.csv" in hold.sentence
    rig.publish(vendors=f"vendor,procore_vendor,note\n{joint},Bright Electric,joint check\n")
    rig.settle()
    assert rig.holds() == []
    assert "released" in rig.story("Bill", bill["Id"])
    assert [entry["invoice_number"] for entry in invoices(rig)] == ["BE-14"]
    rig.bookkeeper.pay(bill, "10000.00")
    rig.sync()
    (paid,) = rig.procore.live("contract_payments")
    assert (paid["amount"], paid["notes"]) == ("10000.00", "Paid to Bright Electric and Volt Supply")
    with rig.engine.connect() as db:
        story = audit.story(db, rig.name, "Vendor", joint)
    (kept,) = [entry.detail for entry in story if entry.event == "linked"]
    assert (kept["procore_id"], kept["why"]) == (900, "vendors.csv version 1, row 2")
    assert kept["instead_of"] != 900
    assert told(rig, "vendor linked", "Bill", bill["Id"])["why"] == "vendors.csv version 1, row 2"


def test_S67_a_row_that_was_there_first_makes_no_vendor_for_the_payee(rig: Rig) -> None:
    ready_rig(rig)
    rig.publish(vendors="vendor,procore_vendor,note\nCapital Factoring,900,factor of Bright\n")
    factor = rig.bookkeeper.vendor("Capital Factoring")["Id"]
    one = rig.bookkeeper.bill("BE-1", [sub(100)], vendor=BRIGHT)
    two = rig.bookkeeper.bill("BE-2", [sub(200)], vendor=factor)
    rig.sync()
    assert rig.holds() == []
    assert [rig.record("Bill", bill["Id"]).state for bill in (one, two)] == ["posted", "posted"]
    assert "Capital Factoring" not in names(rig)
    assert rig.record("Vendor", factor).state == "posted"
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.calls(mark) == []


def test_a_row_that_names_nobody_or_an_inactive_vendor_holds_with_its_row(rig: Rig) -> None:
    load_vendors(rig, "Old Quarry")
    quarry = next(entry for entry in rig.procore.live("vendors") if entry["name"] == "Old Quarry")
    in_procore(rig, quarry, is_active=False)
    rig.publish(vendors="vendor,procore_vendor,note\nGranite Supply,777,\nCity Rental,Old Quarry,\n")
    bills = [rig.bookkeeper.bill("1", [line(10, item="101")], vendor=vendor) for vendor in (GRANITE, CITY)]
    rig.sync()
    held = {hold.qbo_id: hold for hold in rig.holds() if hold.entity == "Bill"}
    assert [held[bill["Id"]].reason for bill in bills] == ["VENDOR_AMBIGUOUS", "VENDOR_INACTIVE"]
    assert "vendors.csv version 1, row 2" in held[bills[0]["Id"]].sentence
    rig.publish(vendors="vendor,procore_vendor,note\n")
    rig.settle()
    assert rig.holds() == []
    assert {cost["project_id"] for cost in rig.direct_costs()} == {int(HARBOR)}


def test_a_row_taken_out_again_gives_a_vendor_back_its_own_link(rig: Rig) -> None:
    ready_rig(rig)
    rig.sync()
    own = there(rig, CITY)["id"]
    rig.publish(vendors="vendor,procore_vendor,note\nCity Rental,Bright Electric,\n")
    one = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=CITY)
    rig.sync()
    assert rig.cost_of(one["Id"])["vendor_id"] == 900
    rig.publish(vendors="vendor,procore_vendor,note\n")
    two = rig.bookkeeper.bill("2", [line(20, item="101")], vendor=CITY)
    rig.sync()
    assert rig.cost_of(two["Id"])["vendor_id"] == own
    assert rig.cost_of(one["Id"])["vendor_id"] == 900
    assert str(today()) == rig.cost_of(two["Id"])["direct_cost_date"]
