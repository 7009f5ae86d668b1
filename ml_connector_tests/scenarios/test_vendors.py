"""Group F of the scenario bank: vendors are found, linked or made, once."""

from decimal import Decimal

from ml_connector.holds import Choice
from ml_connector.orchestration import work
from ml_connector.store import decisions
from ml_connector_tests.rig import COMPANY, Rig, line
from ml_connector_tests.scenarios.calendar_days import days_later


def load_vendors(rig: Rig, *names: str, **fields: object) -> None:
    """Vendors that people keep in Procore's directory."""
    rig.procore.load(
        vendors=[{"company_id": COMPANY, "name": name, "is_active": True, **fields} for name in names]
    )


def names(rig: Rig) -> list[str]:
    """Procore's directory."""
    return sorted(vendor["name"] for vendor in rig.procore.live("vendors"))


def test_S80_a_new_vendor_is_made_once_and_put_on_the_project_before_its_bill(rig: Rig) -> None:
    vendor = rig.bookkeeper.vendor("Helm Roofing")
    first = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=vendor["Id"])
    second = rig.bookkeeper.bill("2", [line(20, item="101")], vendor=vendor["Id"])
    rig.sync()
    assert names(rig).count("Helm Roofing") == 1
    assert rig.cost_of(first["Id"])["vendor_id"] == rig.cost_of(second["Id"])["vendor_id"]
    adds = [call for call in rig.procore.writes() if call.endswith("/actions/add")]
    assert len(adds) == 1
    assert rig.story("Vendor", vendor["Id"]) == ["seen", "mapped", "sent", "created", "sent", "on project"]


def test_S80_by_policy_people_add_new_vendors_and_their_bills_wait_until_then(rig: Rig) -> None:
    rig.configure(policies={"new_vendors": "hold"})
    vendor = rig.bookkeeper.vendor("Helm Roofing")
    bill = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=vendor["Id"])
    rig.sync()
    (hold,) = [entry for entry in rig.holds() if entry.entity == "Bill"]
    assert hold.reason == "VENDOR_AMBIGUOUS"
    assert "add it in Procore, or say in vendors.csv whom it stands for" in hold.sentence
    assert "Helm Roofing" not in names(rig)
    load_vendors(rig, "Helm Roofing Inc.")
    work.recheck_vendors(rig.engine, rig.connection)
    rig.settle()
    assert {entry.entity for entry in rig.holds()} == {"Vendor"}, "the firm's other vendors still wait"
    assert rig.record("Bill", bill["Id"]).state == "posted"
    assert [name for name in names(rig) if name.startswith("Helm")] == ["Helm Roofing Inc."]


def test_S81_another_spelling_is_linked_and_not_made_again(rig: Rig) -> None:
    load_vendors(rig, "GRANITE SUPPLY INC")
    bill = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    (vendor,) = [v for v in rig.procore.live("vendors") if v["name"].casefold().startswith("granite")]
    assert (vendor["name"], vendor["origin_id"].split(":")[2:]) == ("GRANITE SUPPLY INC", ["vendor", "21"])
    assert rig.cost_of(bill["Id"])["vendor_id"] == vendor["id"]
    assert "linked" in rig.story("Vendor", "21")


def test_S82_two_vendors_of_nearly_one_name_hold_the_bill_until_one_is_left(rig: Rig) -> None:
    load_vendors(rig, "ABC Concrete", city="Reno")
    load_vendors(rig, "ABC Concrete LLC", city="Sparks")
    vendor = rig.bookkeeper.vendor("ABC Concrete")
    bill = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=vendor["Id"])
    other = rig.bookkeeper.bill("2", [line(20, item="101")])
    rig.sync()
    (hold,) = [hold for hold in rig.holds(bill["Id"]) if hold.entity == "Bill"]
    assert (hold.reason, hold.amount) == ("VENDOR_AMBIGUOUS", Decimal(10))
    assert "ABC Concrete (Reno" in hold.sentence
    assert "ABC Concrete LLC (Sparks" in hold.sentence
    assert rig.cost_of(other["Id"])["grand_total"] == "20.00"
    assert "held" in rig.story("Bill", bill["Id"])
    twin = next(v for v in rig.procore.live("vendors") if v["name"] == "ABC Concrete LLC")
    rig.procore.load(vendors=[{**twin, "name": "ABC Concrete of Sparks"}])
    _look_again(rig)
    assert rig.holds() == []
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"
    assert rig.story("Bill", bill["Id"])[-1] == "released"


def test_S82_the_sentence_says_whose_address_is_that_of_qbo(rig: Rig) -> None:
    load_vendors(rig, "ABC Concrete", city="Reno", address="12 Mill Street", zip="89501")
    load_vendors(rig, "ABC Concrete LLC", city="Sparks", address="7 Quarry Road", zip="89431")
    load_vendors(rig, "ABC Concrete Inc.", city="Elko")
    address = {"Line1": "7 QUARRY ROAD", "City": "Sparks", "PostalCode": "89431"}
    vendor = rig.bookkeeper.vendor("ABC Concrete", BillAddr=address)
    bill = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=vendor["Id"])
    rig.sync()
    (hold,) = [hold for hold in rig.holds(bill["Id"]) if hold.entity == "Bill"]
    assert hold.reason == "VENDOR_AMBIGUOUS"
    assert "ABC Concrete (Reno, another address, Procore id" in hold.sentence
    assert "ABC Concrete LLC (Sparks, the address matches, Procore id" in hold.sentence
    assert "ABC Concrete Inc. (Elko, Procore id" in hold.sentence
    assert rig.direct_costs() == []


def test_S82_a_vendor_renamed_in_qbo_frees_its_bill_without_anybody(rig: Rig) -> None:
    load_vendors(rig, "ABC Concrete", "ABC Concrete LLC")
    vendor = rig.bookkeeper.vendor("ABC Concrete")
    rig.sync()
    day = days_later(rig, 1)
    bill = rig.bookkeeper.bill("1", [line(10, item="101")], vendor=vendor["Id"])
    rig.read([day])
    rig.settle()
    assert rig.holds(bill["Id"])
    later = days_later(rig, 2)  # neither the vendor's days nor today are the bill's
    rig.read([later])
    rig.settle()  # the day of the held bill is complete and clean
    rig.bookkeeper.edit("Vendor", vendor, DisplayName="ABC Concrete of Elko")
    rig.read([later])
    rig.settle()
    assert rig.holds() == []
    assert rig.cost_of(bill["Id"])["grand_total"] == "10.00"


def test_S128_vendors_without_a_bill_come_into_the_directory_in_one_call(rig: Rig) -> None:
    for number in range(20):
        rig.bookkeeper.vendor(f"Newcomer {number}")
    rig.sync()
    assert len([name for name in names(rig) if name.startswith("Newcomer")]) == 20
    assert rig.procore.writes() == ["PATCH /rest/v1.0/vendors/sync"]


def test_a_closed_directory_holds_the_bills_that_need_it_and_stops_nothing_else(rig: Rig) -> None:
    known = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    rig.procore.fault({"route": "GET */vendors", "fault": "status", "args": {"status": 403}})
    vendor = rig.bookkeeper.vendor("Helm Roofing")
    new = rig.bookkeeper.bill("2", [line(20, item="101")], vendor=vendor["Id"])
    rig.bookkeeper.edit("Bill", known, Line=[line(15, item="101")])
    rig.sync()
    assert [hold.reason for hold in rig.holds(new["Id"])] == ["PERMISSION"]
    assert "company directory" in rig.holds(new["Id"])[0].sentence
    assert rig.cost_of(known["Id"])["grand_total"] == "15.00"
    rig.procore.no_faults()
    rig.replay_everything()
    assert rig.cost_of(new["Id"])["grand_total"] == "20.00"


def test_one_refused_vendor_does_not_stop_the_others(rig: Rig) -> None:
    bad = {"status": 422, "body": {"errors": {"name": ["is not allowed"]}}}
    rig.procore.fault(
        {"route": "PATCH */vendors/sync", "fault": "status", "args": bad, "contains": "Granite"}
    )
    held = rig.bookkeeper.bill("1", [line(10, item="101")])
    good = rig.bookkeeper.bill("2", [line(20, item="101")], vendor="23")
    rig.sync()
    assert "Procore refused vendor Granite Supply: name is not allowed" in rig.holds(held["Id"])[0].sentence
    assert rig.cost_of(good["Id"])["grand_total"] == "20.00"
    assert "Granite Supply" not in names(rig)


def _look_again(rig: Rig) -> None:
    from ml_connector.orchestration import work

    work.recheck_vendors(rig.engine, rig.connection)
    rig.settle()


def test_S80_S81_by_policy_every_new_link_of_a_vendor_is_proposed_and_made_once_a_person_approves(
    rig: Rig,
) -> None:
    load_vendors(rig, "GRANITE SUPPLY INC")
    rig.configure(policies={"new_vendors": "propose"})
    helm = rig.bookkeeper.vendor("Helm Roofing")["Id"]
    sure = rig.bookkeeper.bill("1", [line(10, item="101")])
    new = rig.bookkeeper.bill("2", [line(20, item="101")], vendor=helm)
    rented = rig.bookkeeper.bill("3", [line(30, item="101")], vendor="23")
    rig.sync()
    assert (rig.direct_costs(counting=False), names(rig)) == ([], ["GRANITE SUPPLY INC"])
    held = {(hold.entity, hold.qbo_id): hold for hold in rig.holds()}
    assert {hold.reason for hold in held.values()} == {"VENDOR_PROPOSED"}
    there = rig.procore.live("vendors")[0]["id"]
    assert f"link it to GRANITE SUPPLY INC (Procore id {there})" in held["Vendor", "21"].sentence
    assert "create it in Procore, which has none of that name" in held["Bill", new["Id"]].sentence
    assert list(held["Vendor", helm].choices) == ["approve", "reject"]
    assert list(held["Bill", new["Id"]].choices) == ["exclude"], "the vendor is what is decided"

    decide(rig, "21", Choice.APPROVE)
    decide(rig, helm, Choice.APPROVE)
    decide(rig, "23", Choice.REJECT, comment="they are Metro Rental")
    rig.settle()
    assert rig.cost_of(sure["Id"])["vendor_id"] == there
    assert rig.cost_of(new["Id"])["grand_total"] == "20.00"
    assert names(rig) == ["GRANITE SUPPLY INC", "Helm Roofing"]
    (hold,) = rig.holds(rented["Id"])
    assert "anna rejected to create it in Procore" in hold.sentence
    assert "they are Metro Rental" in hold.sentence

    load_vendors(rig, "Metro Rental")
    rig.publish(vendors="vendor,procore_vendor,note\n23,Metro Rental,\n")
    rig.settle()
    assert rig.cost_of(rented["Id"])["grand_total"] == "30.00"
    mark = rig.procore.mark()
    rig.bookkeeper.bill("4", [line(10, item="101")])
    rig.sync()
    assert [call for call in rig.procore.writes(mark) if "/vendors" in call] == [], (
        "what is linked is not asked"
    )


def decide(rig: Rig, vendor: str, choice: Choice, *, comment: str = "") -> None:
    """A person decides about a vendor."""
    with rig.engine.begin() as db:
        decisions.decide(db, rig.name, "Vendor", vendor, choice, comment=comment, by="anna", two_persons=True)
