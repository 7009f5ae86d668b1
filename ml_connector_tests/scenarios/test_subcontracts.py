"""Group C of the scenario bank and what belongs to it: bills against subcontracts become invoices in Procore."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ml_connector.orchestration.clients import procore_client
from ml_connector.posting.releasing import look_for_causes
from ml_connector_tests.rig import ELM, HARBOR, MAPPING_HEADER, REALM, Rig, line, open_rig, today
from ml_connector_tests.scenarios.invariants import invariants
from ml_connector_tests.scenarios.kills import run_killed_when, run_that_dies_at

SC_007, SC_009, SC_011 = 7007, 7009, 7011
BRIGHT, NORDWALL = "22", "24"
PERIOD = 3301
RETAINED, RELEASED = (
    "work_completed_retainage_retained_this_period",
    "work_completed_retainage_released_this_period",
)
WORK = "work_completed_this_period"
POST = "POST /rest/v1.1/requisitions"


def subcontract(number: str, id_: int, **fields: Any) -> dict[str, Any]:
    """An approved subcontract of Bright Electric on Harbor Clinic with one line of 100,000.00 and 10 % retainage."""
    return {
        "id": id_,
        "project_id": int(HARBOR),
        "number": number,
        "title": "Electrical",
        "status": "Approved",
        "vendor_id": 900,
        "retainage_percent": Decimal(10),
        "line_items": [
            {
                "id": id_ * 10 + 1,
                "flat_code": "26-0500.S",
                "amount": Decimal(100_000),
                "description": "Rough-in",
            }
        ],
        **fields,
    }


def month(day: date | None = None) -> tuple[date, date]:
    """First and last day of a month."""
    first = (day or today()).replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def period(
    id_: int = PERIOD, *, day: date | None = None, project: str = HARBOR, status: str = "open"
) -> dict[str, Any]:
    """A billing period of a month."""
    first, last = month(day)
    dates = {"start_date": first.isoformat(), "end_date": last.isoformat(), "due_date": last.isoformat()}
    return {"id": id_, "project_id": int(project), "status": status, **dates}


@pytest.fixture
def rig(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The fixture firm with its subcontracts and an open period on both projects; ends with the invariants."""
    opened = open_rig(tmp_path, database)
    opened.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}, {"id": 901, "name": "Nordwall Drywall"}],
        commitments=[
            subcontract("SC-007", SC_007),
            subcontract(
                "SC-011",
                SC_011,
                project_id=int(ELM),
                vendor_id=901,
                status="Draft",
                retainage_percent=None,
                line_items=[{"id": 70111, "flat_code": "26-0500.S", "amount": Decimal(50_000)}],
            ),
        ],
        billing_periods=[period(), period(3302, project=ELM)],
    )
    try:
        yield opened
        invariants(opened)
    finally:
        opened.close()


def sub(amount: str | int, description: str = "", **fields: Any) -> dict[str, Any]:
    """A bill line of subcontract costs."""
    return line(amount, account="2", description=description, **fields)


def retainage(amount: str | int, description: str = "", **fields: Any) -> dict[str, Any]:
    """A bill line of retainage payable."""
    return line(amount, account="6", description=description, **fields)


def progress(rig: Rig, number: str = "BE-14", work: int = 10_000, **fields: Any) -> dict[str, Any]:
    """A bill of Bright Electric with 10 % held back."""
    return rig.bookkeeper.bill(number, [sub(work), retainage(-work // 10)], vendor=BRIGHT, **fields)


def invoices(rig: Rig, commitment: int = SC_007) -> list[dict[str, Any]]:
    """Live requisitions of a commitment."""
    found = [entry for entry in rig.procore.live("requisitions") if entry["commitment_id"] == commitment]
    return sorted(found, key=lambda entry: entry["number"])


def sums(invoice: dict[str, Any]) -> tuple[str, str, str, str]:
    """Work, held, released and net of a requisition."""
    items = invoice["items"]
    work, held, released = (
        sum((Decimal(item[name]) for item in items), Decimal(0)) for name in (WORK, RETAINED, RELEASED)
    )
    return str(work), str(held), str(released), str(invoice["current_payment_due"])


def hold(rig: Rig, bill: dict[str, Any]) -> Any:
    """The one hold of a bill."""
    (found,) = rig.holds(bill["Id"])
    return found


def recheck(rig: Rig) -> None:
    """What the schedule does for what waits on Procore."""
    look_for_causes(rig.engine, rig.connection, procore_client(rig.home, rig.connection, rig.engine))
    rig.settle()


def test_S33_a_progress_bill_with_retainage_becomes_an_invoice_on_the_contract(rig: Rig) -> None:
    bill = progress(rig)
    rig.sync()
    (invoice,) = invoices(rig)
    assert sums(invoice) == ("10000.00", "1000.00", "0.00", "9000.00")
    assert (invoice["invoice_number"], invoice["status"], invoice["period_id"]) == (
        "BE-14",
        "approved",
        PERIOD,
    )
    assert invoice["origin_id"] == f"qbo:{REALM}:bill:{bill['Id']}:{SC_007}"
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.posted, record.held) == ("posted", Decimal(9000), Decimal(0))
    assert rig.direct_costs(counting=False) == []
    assert rig.story("Bill", bill["Id"]) == ["seen", "mapped", "sent", "posted"]
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


def test_S33_a_bill_without_a_line_of_retainage_waits_until_a_way_is_chosen(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000)], vendor=BRIGHT)
    rig.sync()
    assert hold(rig, bill).reason == "RETAINAGE_POLICY"
    assert "SC-007 holds 10.00 % retainage" in hold(rig, bill).sentence
    assert invoices(rig) == []
    rig.configure(policies={"retainage": "separate_line"})
    rig.post(automatic=False)
    assert sums(invoices(rig)[0]) == ("10000.00", "0.00", "0.00", "10000.00")


def test_S33_a_net_bill_is_grossed_up_to_the_cent(rig: Rig) -> None:
    rig.configure(policies={"retainage": "net_bill"})
    rig.bookkeeper.bill("BE-14", [sub("1000.01")], vendor=BRIGHT)
    rig.sync()
    assert sums(invoices(rig)[0]) == ("1111.12", "111.11", "0.00", "1000.01")


def test_S34_retainage_released_alone_is_no_new_cost(rig: Rig) -> None:
    progress(rig)
    rig.sync()
    release = rig.bookkeeper.bill("BE-15", [retainage(1000)], vendor=BRIGHT)
    rig.sync()
    assert [Decimal(figure) for figure in sums(invoices(rig)[1])] == [0, 0, 1000, 1000]
    assert rig.record("Bill", release["Id"]).posted == 1000


def test_S35_a_release_larger_than_what_is_held_waits(rig: Rig) -> None:
    progress(rig)
    rig.sync()
    release = rig.bookkeeper.bill("BE-15", [retainage(1200)], vendor=BRIGHT)
    rig.sync()
    assert hold(rig, release).reason == "UNBALANCED"
    assert "releases 1200.00" in hold(rig, release).sentence
    assert "holds 1000.00" in hold(rig, release).sentence
    assert len(invoices(rig)) == 1


def test_S35_a_release_that_came_before_its_progress_bill_goes_by_itself_once_that_is_posted(
    rig: Rig,
) -> None:
    release = rig.bookkeeper.bill("BE-15", [retainage(1000)], vendor=BRIGHT)
    rig.sync()
    assert hold(rig, release).reason == "UNBALANCED"
    progress(rig)
    rig.sync()
    rig.settle()
    assert rig.holds() == []
    assert [Decimal(sums(entry)[3]) for entry in invoices(rig)] == [9000, 1000]


def test_S36_work_and_release_in_one_bill_and_the_rate_is_told_beside_the_contracts(rig: Rig) -> None:
    progress(rig, "BE-14", 30_000)
    rig.sync()
    bill = rig.bookkeeper.bill("BE-15", [sub(5000), retainage(-250), retainage(3000)], vendor=BRIGHT)
    rig.sync()
    assert sums(invoices(rig)[1]) == ("5000.00", "250.00", "3000.00", "7750.00")
    from ml_connector.store import audit

    with rig.engine.connect() as db:
        (sent,) = [entry for entry in audit.story(db, rig.name, "Bill", bill["Id"]) if entry.event == "sent"]
    assert "'bill': " in str(sent.detail) and "5" in str(sent.detail)


def order(rig: Rig, number: str) -> str:
    """A purchase order in QBO."""
    body = {
        "VendorRef": {"value": BRIGHT},
        "APAccountRef": {"value": "33"},
        "DocNumber": number,
        "TxnDate": today().isoformat(),
        "Line": [sub(10_000)],
    }
    return str(rig.bookkeeper.post("purchaseorder", body)["PurchaseOrder"]["Id"])


def two_contracts(rig: Rig) -> None:
    """Bright Electric has a second subcontract on Harbor Clinic."""
    rig.procore.load(commitments=[subcontract("SC-009", SC_009, title="Fire alarm")])


def test_S37_a_bill_made_from_a_purchase_order_is_billed_on_its_contract(rig: Rig) -> None:
    two_contracts(rig)
    linked = {"LinkedTxn": [{"TxnId": order(rig, "SC-009"), "TxnType": "PurchaseOrder", "TxnLineId": "1"}]}
    rig.bookkeeper.bill("BE-14", [{**sub(10_000), **linked}, retainage(-1000)], vendor=BRIGHT)
    rig.sync()
    assert invoices(rig) == []
    assert sums(invoices(rig, SC_009)[0]) == ("10000.00", "1000.00", "0.00", "9000.00")


def test_S38_with_two_contracts_and_no_word_nothing_is_guessed(rig: Rig) -> None:
    two_contracts(rig)
    bill = progress(rig)
    rig.sync()
    assert hold(rig, bill).reason == "COMMITMENT_AMBIGUOUS"
    assert (
        "SC-007 (Electrical), 100000.00 open; SC-009 (Fire alarm), 100000.00 open" in hold(rig, bill).sentence
    )
    rig.bookkeeper.edit("Bill", bill, PrivateNote="for SC-009, July")
    rig.sync()
    assert (len(invoices(rig)), len(invoices(rig, SC_009)), rig.holds()) == (0, 1, [])


def test_S38_the_choice_can_be_kept_as_a_rule(rig: Rig) -> None:
    two_contracts(rig)
    bill = progress(rig)
    rig.sync()
    assert hold(rig, bill).reason == "COMMITMENT_AMBIGUOUS"
    rig.publish(
        mapping=f"{MAPPING_HEADER}\n5020,,,,,,,,,commitment,26-0500,S,,SC-009,,,\n2150,,,,,,,,,retainage,,,,,,,\n"
    )
    rig.settle()
    assert (len(invoices(rig)), len(invoices(rig, SC_009)), rig.holds()) == (0, 1, [])


def test_S39_one_bill_over_two_contracts_makes_two_invoices(rig: Rig) -> None:
    two_contracts(rig)
    lines = [
        sub(4000, "SC-007 rough-in"),
        sub(6000, "SC-009 alarm"),
        retainage(-400, "SC-007"),
        retainage(-600, "SC-009"),
    ]
    bill = rig.bookkeeper.bill("BE-14", lines, vendor=BRIGHT)
    rig.sync()
    assert sums(invoices(rig)[0]) == ("4000.00", "400.00", "0.00", "3600.00")
    assert sums(invoices(rig, SC_009)[0]) == ("6000.00", "600.00", "0.00", "5400.00")
    assert {entry["invoice_number"] for entry in rig.procore.live("requisitions")} == {"BE-14"}
    assert rig.record("Bill", bill["Id"]).posted == 9000


def test_S39_a_refusal_of_one_takes_the_other_and_the_direct_cost_back(rig: Rig) -> None:
    two_contracts(rig)
    lines = [sub(4000, "SC-007"), sub(6000, "SC-009"), retainage(-400, "SC-007"), retainage(-600, "SC-009")]
    bill = rig.bookkeeper.bill("BE-14", [*lines, line(50, item="101")], vendor=BRIGHT)
    refusal = {"status": 422, "body": {"errors": {"base": ["Workflow is locked"]}}}
    rig.procore.fault({"route": POST, "fault": "status", "args": refusal, "contains": f":{SC_009}"})
    rig.sync()
    assert hold(rig, bill).reason == "REFUSED"
    assert rig.record("Bill", bill["Id"]).posted == 0
    assert [entry["status"] for entry in rig.procore.live("requisitions")] == ["draft"]
    assert rig.direct_costs() == []
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.calls(mark) == []
    rig.procore.no_faults()
    rig.post(automatic=False)
    assert [entry["status"] for entry in rig.procore.live("requisitions")] == ["approved", "approved"]
    assert (rig.record("Bill", bill["Id"]).posted, rig.holds()) == (Decimal(9050), [])


def test_S40_a_bill_waits_for_its_contract_and_goes_by_itself(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("N-1", [sub(2500, customer="62")], vendor=NORDWALL)
    rig.sync()
    assert hold(rig, bill).reason == "COMMITMENT_NOT_APPROVED"
    assert "SC-011 is Draft" in hold(rig, bill).sentence
    (draft,) = [entry for entry in rig.procore.live("commitments") if entry["id"] == SC_011]
    rig.procore.load(commitments=[{**draft, "status": "Approved"}])
    recheck(rig)
    assert sums(invoices(rig, SC_011)[0])[3] == "2500.00"
    assert "released" in rig.story("Bill", bill["Id"])


def test_S41_work_above_what_the_contract_has_left_waits_with_both_figures(rig: Rig) -> None:
    progress(rig, "BE-1", 97_000)
    rig.sync()
    bill = progress(rig, "BE-2", 4000)
    rig.sync()
    assert hold(rig, bill).reason == "OVERBILLED"
    assert "3000.00 left" in hold(rig, bill).sentence
    assert "1000.00 too much" in hold(rig, bill).sentence
    rig.configure(policies={"overbilling": "send"})
    rig.post(automatic=False)
    assert len(invoices(rig)) == 2


def two_lines(rig: Rig) -> None:
    """SC-007 with two lines of the same code."""
    lines = [
        {"id": 1, "flat_code": "26-0500.S", "amount": Decimal(6000), "description": "Ground floor"},
        {"id": 2, "flat_code": "26-0500.S", "amount": Decimal(9000), "description": "Upper floor"},
    ]
    rig.procore.load(commitments=[subcontract("SC-009", SC_009, line_items=lines)])


def test_S42_several_schedule_lines_of_one_code_wait_or_are_filled_in_order(rig: Rig) -> None:
    two_lines(rig)
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000, "SC-009"), retainage(-1000)], vendor=BRIGHT)
    rig.sync()
    assert hold(rig, bill).reason == "SOV_AMBIGUOUS"
    assert "'Ground floor', 6000.00 left" in hold(rig, bill).sentence
    rig.configure(policies={"schedule_lines": "in_order"})
    rig.post(automatic=False)
    (invoice,) = invoices(rig, SC_009)
    assert [(item[WORK], item[RETAINED]) for item in invoice["items"]] == [
        ("6000.00", "600.00"),
        ("4000.00", "400.00"),
    ]


def test_S43_work_under_a_change_order_goes_to_its_line(rig: Rig) -> None:
    orders = [{"id": 5, "title": "CO-2", "status": "approved", "amount": Decimal(8000)}]
    rig.procore.load(commitments=[subcontract("SC-007", SC_007, change_orders=orders)])
    progress(rig, "BE-1")
    rig.sync()
    rig.bookkeeper.bill("BE-2", [sub(3000, "CO-2 extra panel"), retainage(-300)], vendor=BRIGHT)
    rig.sync()
    billed = {item["item_type"]: item[WORK] for item in invoices(rig)[1]["items"]}
    assert billed == {"contract_item": "0.00", "change_order_item": "3000.00"}


def test_S43_a_change_order_that_is_not_there_waits(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("BE-2", [sub(3000, "CO-4"), retainage(-300)], vendor=BRIGHT)
    rig.sync()
    assert hold(rig, bill).reason == "SOV_AMBIGUOUS"
    assert "names CO-4" in hold(rig, bill).sentence


def test_S44_without_an_open_period_a_bill_waits_until_one_opens(rig: Rig) -> None:
    rig.procore.load(billing_periods=[period(status="closed")])
    bill = progress(rig)
    rig.sync()
    assert hold(rig, bill).reason == "NO_OPEN_PERIOD"
    rig.procore.load(billing_periods=[period()])
    recheck(rig)
    assert len(invoices(rig)) == 1


def test_S44_an_older_bill_goes_into_the_open_period(rig: Rig) -> None:
    first, _ = month()
    progress(rig, day=(first - timedelta(days=3)).isoformat())
    rig.sync()
    (invoice,) = invoices(rig)
    assert (invoice["period_id"], invoice["billing_date"]) == (PERIOD, first.isoformat())


def test_S45_an_earlier_bill_is_not_changed_under_a_later_one(rig: Rig) -> None:
    first = progress(rig, "BE-1")
    rig.sync()
    progress(rig, "BE-2", 5000)
    rig.sync()
    rig.bookkeeper.edit("Bill", first, Line=[sub(9500), retainage(-1000)])
    rig.sync()
    assert hold(rig, first).reason == "LATER_INVOICE_EXISTS"
    assert "bill -500.00 on the next requisition" in hold(rig, first).sentence
    assert sums(invoices(rig)[0])[3] == "9000.00"
    record = rig.record("Bill", first["Id"])
    assert (record.posted, record.held) == (Decimal(9000), Decimal(-500))


def test_S45_the_newest_invoice_follows_its_bill(rig: Rig) -> None:
    bill = progress(rig)
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[sub(9500), retainage(-950)])
    rig.sync()
    (invoice,) = invoices(rig)
    assert sums(invoice) == ("9500.00", "950.00", "0.00", "8550.00")
    assert rig.record("Bill", bill["Id"]).state == "updated"


def entered(
    number: str = "BE-14", work: str = "10000.00", held: str = "1000.00", **fields: Any
) -> dict[str, Any]:
    """The subcontractor's own invoice in Procore."""
    items = [{"line_item_id": SC_007 * 10 + 1, WORK: work, RETAINED: held}]
    return {"commitment_id": SC_007, "invoice_number": number, "period_id": PERIOD, "items": items, **fields}


def test_S46_the_subs_own_invoice_is_linked_and_left_alone(rig: Rig) -> None:
    rig.procore.load(requisitions=[entered()])
    bill = progress(rig)
    rig.sync()
    (invoice,) = invoices(rig)
    assert (invoice.get("origin_id"), sums(invoice)[3]) == (None, "9000.00")
    assert rig.record("Bill", bill["Id"]).posted == 9000
    assert "linked" in rig.story("Bill", bill["Id"])
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


@pytest.mark.parametrize(
    ("number", "work", "held"),
    [
        ("Pay App 5", "10000.00", "1000.00"),
        ("BE-14", "9000.00", "900.00"),
        ("Pay App 5", "10000.00", "500.00"),
    ],
)
def test_S46_a_near_match_waits_with_both_figures(rig: Rig, number: str, work: str, held: str) -> None:
    rig.procore.load(requisitions=[entered(number, work, held)])
    bill = progress(rig)
    rig.sync()
    assert hold(rig, bill).reason == "POSSIBLE_DUPLICATE"
    assert number in hold(rig, bill).sentence
    assert "9000.00" in hold(rig, bill).sentence
    assert len(invoices(rig)) == 1


def test_S46_an_invoice_under_review_waits_for_its_approval(rig: Rig) -> None:
    rig.procore.load(requisitions=[entered(status="under_review", id=55)])
    bill = progress(rig)
    rig.sync()
    assert hold(rig, bill).reason == "NOT_YET_APPROVED_IN_PROCORE"
    (theirs,) = invoices(rig)
    rig.procore.load(requisitions=[])
    approve(rig, theirs)
    recheck(rig)
    assert (rig.record("Bill", bill["Id"]).posted, len(invoices(rig))) == (Decimal(9000), 1)


def approve(rig: Rig, invoice: dict[str, Any], status: str = "approved") -> None:
    """A person changes an invoice in Procore."""
    from ml_connector.orchestration.clients import procore_client

    client = procore_client(rig.home, rig.connection, rig.engine)
    body = {
        "project_id": invoice["project_id"],
        "commitment_id": invoice["commitment_id"],
        "requisition": {"status": status},
    }
    client.patch(f"/rest/v1.1/requisitions/{invoice['id']}", body)


def test_S47_a_bill_of_another_vendor_waits(rig: Rig) -> None:
    holding = rig.bookkeeper.vendor("Bright Electric Holdings")
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000), retainage(-1000)], vendor=holding["Id"])
    rig.sync()
    assert hold(rig, bill).reason == "VENDOR_MISMATCH"
    assert (
        "from Bright Electric Holdings, and commitment SC-007 is with Bright Electric"
        in hold(rig, bill).sentence
    )


def test_S48_a_back_charge_waits_and_its_rule_makes_it_a_direct_cost(rig: Rig) -> None:
    bill = rig.bookkeeper.bill(
        "BE-14", [sub(10_000), sub(-600, "clean-up back-charge"), retainage(-1000)], vendor=BRIGHT
    )
    rig.sync()
    assert hold(rig, bill).reason == "CREDIT_ON_COMMITMENT"
    rules = (
        "5020,,,,,,back-charge,,,direct_cost,26-0500,S,,,,,\n5020,,,,,,,,,commitment,26-0500,S,,,,,\n"
        "2150,,,,,,,,,retainage,,,,,,,\n"
    )
    rig.publish(mapping=f"{MAPPING_HEADER}\n{rules}")
    rig.settle()
    assert sums(invoices(rig)[0])[3] == "9000.00"
    assert rig.cost_of(bill["Id"])["grand_total"] == "-600.00"
    assert rig.record("Bill", bill["Id"]).posted == 8400


def test_S48_a_back_charge_can_be_netted(rig: Rig) -> None:
    rig.configure(policies={"back_charge": "net"})
    rig.bookkeeper.bill("BE-14", [sub(10_000), sub(-600, "back-charge"), retainage(-940)], vendor=BRIGHT)
    rig.sync()
    assert sums(invoices(rig)[0]) == ("9400.00", "940.00", "0.00", "8460.00")


def test_S49_stored_materials_go_to_their_column_and_stay_stored(rig: Rig) -> None:
    rig.configure(policies={"stored_materials": "stored"})
    rig.bookkeeper.bill("BE-1", [sub(4000, "switchgear stored on site"), retainage(-400)], vendor=BRIGHT)
    rig.sync()
    (item,) = invoices(rig)[0]["items"]
    assert (item[WORK], item["materials_presently_stored"]) == ("0.00", "4000.00")
    assert invoices(rig)[0]["current_payment_due"] == "3600.00"
    progress(rig, "BE-2", 5000)
    rig.sync()
    assert invoices(rig)[1]["current_payment_due"] == "4500.00"
    assert rig.holds() == []


def test_a_commitment_billed_by_units_takes_quantities(rig: Rig) -> None:
    lines = [
        {
            "id": 1,
            "flat_code": "26-0500.S",
            "amount": Decimal(1000),
            "quantity": Decimal(100),
            "unit_cost": Decimal(10),
        }
    ]
    unit = subcontract("SC-009", SC_009, accounting_method="unit", retainage_percent=None, line_items=lines)
    rig.procore.load(commitments=[unit])
    meta = {"CreateTime": "2026-01-05T08:00:00-08:00", "LastUpdatedTime": "2026-01-05T08:00:00-08:00"}
    fixture = {
        "Id": "105",
        "Name": "Fixture",
        "FullyQualifiedName": "Fixture",
        "Type": "NonInventory",
        "MetaData": meta,
    }
    rig.qbo.load(Item=[{**fixture, "ExpenseAccountRef": {"value": "2"}, "Active": True}])
    without = rig.bookkeeper.bill("BE-1", [sub(120, "SC-009")], vendor=BRIGHT)
    rig.bookkeeper.bill("BE-2", [sub_units()], vendor=BRIGHT)
    rig.sync()
    assert "line 1 has no quantity" in hold(rig, without).sentence
    (invoice,) = invoices(rig, SC_009)
    assert (invoice["items"][0]["work_completed_this_period_quantity"], sums(invoice)[3]) == ("12", "120.00")


def sub_units() -> dict[str, Any]:
    """Twelve units of subcontract costs, bought as an item."""
    return line(120, item="105", description="SC-009", quantity="12", unit_price="10")


def test_S123_retainage_by_paying_short_is_released_when_the_bill_is_paid_off(rig: Rig) -> None:
    rig.configure(policies={"retainage": "paid_short"})
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000)], vendor=BRIGHT)
    rig.sync()
    assert [sums(entry)[3] for entry in invoices(rig)] == ["9000.00"]
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.posted, record.held) == ("posted", Decimal(9000), Decimal(1000))
    rig.bookkeeper.pay(bill, "9000")
    rig.sync()
    assert len(invoices(rig)) == 1
    rig.bookkeeper.pay(bill, "1000", number="2232")
    rig.sync()
    assert [sums(entry)[1:] for entry in invoices(rig)] == [
        ("1000.00", "0.00", "9000.00"),
        ("0.00", "1000.00", "1000.00"),
    ]
    record = rig.record("Bill", bill["Id"])
    assert (record.posted, record.held) == (Decimal(10_000), Decimal(0))


def test_S124_retainage_without_a_commitment_is_no_cost_and_neither_is_its_release(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("G-1", [line(2000, item="101"), retainage(-200)])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "2000.00"
    assert rig.record("Bill", bill["Id"]).excluded == -200
    release = rig.bookkeeper.bill("G-2", [retainage(200)])
    rig.sync()
    record = rig.record("Bill", release["Id"])
    assert (record.state, record.excluded, rig.holds()) == ("excluded", Decimal(200), [])
    assert rig.procore.live("requisitions") == []


def test_S125_a_vendor_without_a_commitment_waits_until_one_is_approved(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("C-1", [sub(700)], vendor="23")
    rig.sync()
    assert hold(rig, bill).reason == "COMMITMENT_MISSING"
    vendor = next(entry["id"] for entry in rig.procore.live("vendors") if entry["name"] == "City Rental")
    rig.procore.load(commitments=[subcontract("SC-020", 7020, vendor_id=vendor, retainage_percent=None)])
    recheck(rig)
    assert (sums(invoices(rig, 7020)[0])[3], rig.holds()) == ("700.00", [])


def test_S125_by_policy_it_becomes_a_direct_cost(rig: Rig) -> None:
    rig.configure(policies={"commitment_missing": "direct_cost"})
    bill = rig.bookkeeper.bill("C-1", [sub(700)], vendor="23")
    rig.sync()
    assert (rig.cost_of(bill["Id"])["grand_total"], rig.holds()) == ("700.00", [])
    assert rig.record("Bill", bill["Id"]).state == "posted"


EXPECTED = f"{MAPPING_HEADER}\n5020,,,,,,,,,direct_cost,26-0500,S,,,,,\n"


def test_S126_a_direct_cost_beside_an_open_subcontract_is_posted_with_a_warning(rig: Rig) -> None:
    rig.publish(mapping=EXPECTED)
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000)], vendor=BRIGHT)
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "10000.00"
    from ml_connector.store import audit

    with rig.engine.connect() as db:
        (warned,) = [
            entry for entry in audit.story(db, rig.name, "Bill", bill["Id"]) if entry.event == "warned"
        ]
    assert "COMMITMENT_EXPECTED" in str(warned.detail)
    assert "SC-007 with 100000.00 not billed" in str(warned.detail)


def test_S126_by_policy_it_waits(rig: Rig) -> None:
    rig.configure(policies={"commitment_expected": "hold"})
    rig.publish(mapping=EXPECTED)
    bill = rig.bookkeeper.bill("BE-14", [sub(10_000)], vendor=BRIGHT)
    rig.sync()
    assert hold(rig, bill).reason == "COMMITMENT_EXPECTED"
    assert rig.direct_costs(counting=False) == []


# -- failures -----------------------------------------------------------------------------------------------------------

KILLS = ["K5", "K7", "K8"]


@pytest.mark.processes
@pytest.mark.parametrize("point", KILLS)
def test_S105_a_run_killed_around_the_call_leaves_one_invoice(rig: Rig, point: str) -> None:
    rig.bookkeeper.bill("first", [line(1, item="101")], vendor=BRIGHT)
    rig.sync()  # so that the kill points are passed by the invoice alone
    bill = progress(rig)
    run_that_dies_at(rig, point)
    rig.sync()
    (invoice,) = invoices(rig)
    assert (sums(invoice)[3], rig.holds()) == ("9000.00", [])
    assert rig.record("Bill", bill["Id"]).posted == 9000


@pytest.mark.processes
def test_S105_a_run_killed_while_the_call_is_under_way_leaves_one_invoice(rig: Rig) -> None:
    bill = progress(rig)
    rig.procore.fault({"route": POST, "nth": 1, "fault": "delay", "args": {"seconds": 2, "when": "after"}})
    run_killed_when(rig, lambda: bool(rig.procore.live("requisitions")))
    rig.sync()
    assert len(invoices(rig)) == 1
    assert rig.record("Bill", bill["Id"]).posted == 9000


@pytest.mark.processes
@pytest.mark.parametrize("point", KILLS)
def test_S105_a_bill_deleted_after_the_kill_counts_nothing_by_policy(rig: Rig, point: str) -> None:
    rig.configure(policies={"gone_requisition": "draft"})
    rig.bookkeeper.bill("first", [line(1, item="101")], vendor=BRIGHT)
    rig.sync()
    bill = progress(rig)
    run_that_dies_at(rig, point)
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert {entry["status"] for entry in invoices(rig)} <= {"draft"}
    assert rig.holds() == []


def test_S73_an_invoice_whose_bill_was_deleted_is_deleted_by_policy_when_it_is_the_newest(rig: Rig) -> None:
    rig.configure(policies={"gone_requisition": "delete"})
    first, second = progress(rig), progress(rig, "BE-15", 4000)
    rig.sync()
    rig.bookkeeper.delete("Bill", first)
    rig.sync()
    assert [entry["invoice_number"] for entry in invoices(rig)] == ["BE-14", "BE-15"]
    (kept,) = rig.holds(first["Id"])
    assert kept.reason == "LOCKED_IN_PROCORE"
    assert "Only the most recent invoice of a commitment can be deleted" in kept.sentence
    rig.bookkeeper.delete("Bill", second)
    rig.sync()
    assert [entry["invoice_number"] for entry in invoices(rig)] == ["BE-14"]
    rig.post(automatic=False)
    assert (invoices(rig), rig.holds()) == ([], [])
    assert {rig.record("Bill", bill["Id"]).state for bill in (first, second)} == {"reversed"}


@pytest.mark.parametrize("policies", [{"requisition_status": "under_review"}, {"links": "ledger_only"}])
def test_invoices_that_people_may_edit_carry_no_link_and_follow_their_bills(
    rig: Rig, policies: dict[str, str]
) -> None:
    rig.configure(policies=policies)
    rig.procore.switch(requisition_lock="always")
    bill = progress(rig)
    mark = rig.procore.mark()
    rig.sync()
    (invoice,) = invoices(rig)
    status = policies.get("requisition_status", "approved")
    assert (invoice["status"], invoice.get("origin_id") or "") == (status, "")
    made = [entry for entry in rig.procore.journal(mark) if entry["path"].endswith("/requisitions")]
    assert not any(entry["origin_ids"] for entry in made)
    assert (rig.record("Bill", bill["Id"]).state, rig.record("Bill", bill["Id"]).posted) == ("posted", 9000)
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []
    rig.bookkeeper.edit("Bill", bill, Line=[sub(9500), retainage(-950)])
    rig.sync()
    (invoice,) = invoices(rig)
    assert (invoice["status"], sums(invoice)[3], rig.holds()) == (status, "8550.00", [])


@pytest.mark.processes
def test_S104_an_invoice_for_review_is_one_after_a_kill(rig: Rig) -> None:
    rig.configure(policies={"requisition_status": "under_review"})
    rig.bookkeeper.bill("first", [line(1, item="101")], vendor=BRIGHT)
    rig.sync()
    bill = progress(rig)
    run_that_dies_at(rig, "K7")
    rig.settle()
    (invoice,) = invoices(rig)
    assert (invoice["status"], invoice.get("origin_id") or "", sums(invoice)[3]) == (
        "under_review",
        "",
        "9000.00",
    )
    assert rig.record("Bill", bill["Id"]).posted == 9000


def test_S104_a_list_without_the_invoices_that_are_there_is_no_sign_that_one_without_a_link_is_not(
    rig: Rig,
) -> None:
    rig.configure(policies={"links": "ledger_only"})
    progress(rig)
    rig.sync()
    second = progress(rig, "BE-15", 2_000)
    rig.procore.fault({"route": POST, "nth": 1, "fault": "accept_then_drop"})
    rig.read()
    rig.post(rig.dirty())
    nothing = {"fault": "status", "args": {"status": 200, "body": []}}
    rig.procore.fault({"route": "GET /rest/v1.1/requisitions", **nothing})
    mark = rig.procore.mark()
    rig.post(rig.dirty())
    assert rig.procore.writes(mark) == []
    assert rig.record("Bill", second["Id"]).state == "retrying"
    rig.procore.no_faults()
    rig.settle()
    assert [sums(entry)[3] for entry in invoices(rig)] == ["9000.00", "1800.00"]


FAULTS: dict[str, dict[str, Any]] = {
    "accepted, then the connection is cut": {"fault": "accept_then_drop"},
    "accepted, and the answer cut short": {"fault": "truncate", "args": {"bytes": 40}},
    "accepted, and the answer is HTML": {"fault": "body", "args": {"kind": "html"}},
    "accepted, and the answer is empty": {"fault": "body", "args": {"kind": "empty"}},
    "cut before it was taken": {"fault": "drop"},
    "503 without a word": {"fault": "status", "args": {"status": 503}},
    "500 although it was done": {"fault": "status", "args": {"status": 500, "processed": True}},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_S104_an_answer_that_is_lost_makes_one_invoice(rig: Rig, fault: str) -> None:
    rig.procore.fault({"route": POST, "nth": 1, **FAULTS[fault]})
    bill = progress(rig)
    rig.read()
    rig.post(rig.dirty())
    rig.settle()
    (invoice,) = invoices(rig)
    assert (sums(invoice)[3], invoice["status"]) == ("9000.00", "approved")
    assert rig.record("Bill", bill["Id"]).posted == 9000
    assert (
        sum(
            entry["method"] == "POST" and entry["path"].endswith("/requisitions")
            for entry in rig.procore.journal()
        )
        <= 3
    )


def test_S104_an_edit_while_the_outcome_is_unknown_ends_with_the_edit(rig: Rig) -> None:
    rig.procore.fault({"route": POST, "nth": 1, "fault": "accept_then_drop"})
    bill = progress(rig)
    rig.read()
    rig.post(rig.dirty())
    rig.bookkeeper.edit("Bill", bill, Line=[sub(8000), retainage(-800)])
    rig.sync()
    (invoice,) = invoices(rig)
    assert sums(invoice) == ("8000.00", "800.00", "0.00", "7200.00")


def test_S103_a_refused_invoice_holds_its_bill_and_is_not_sent_again_by_itself(rig: Rig) -> None:
    refusal = {"status": 422, "body": {"errors": {"base": ["Workflow is locked"]}}}
    rig.procore.fault({"route": POST, "fault": "status", "args": refusal})
    bill = progress(rig)
    rig.sync()
    assert hold(rig, bill).reason == "REFUSED"
    assert "Procore refused it: Workflow is locked" in hold(rig, bill).sentence
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.calls(mark) == []
    rig.procore.no_faults()
    rig.post(automatic=False)
    assert (len(invoices(rig)), rig.holds()) == (1, [])


def test_S110_without_the_commitments_tool_the_bill_waits_for_the_permission(rig: Rig) -> None:
    rig.procore.fault({"route": "GET /rest/v1.0/commitments", "fault": "status", "args": {"status": 403}})
    bill = progress(rig)
    rig.sync()
    assert hold(rig, bill).reason == "PERMISSION"
    assert "its Commitments tool" in hold(rig, bill).sentence


@pytest.mark.parametrize("lock", ["except_origin", "always"])
def test_S79_a_locked_invoice_is_unlocked_changed_and_locked_again_or_handed_to_a_person(
    rig: Rig, lock: str
) -> None:
    rig.procore.switch(requisition_lock=lock)
    bill = progress(rig)
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[sub(9500), retainage(-950)])
    rig.sync()
    (invoice,) = invoices(rig)
    if lock == "except_origin":
        assert (sums(invoice)[3], rig.holds()) == ("8550.00", [])
        assert invoice["origin_id"] == f"qbo:{REALM}:bill:{bill['Id']}:{SC_007}"
    else:
        assert hold(rig, bill).reason == "LOCKED_IN_PROCORE"
        assert "bill -450.00 on the next requisition" in hold(rig, bill).sentence
        assert sums(invoice)[3] == "9000.00"


def test_S73_a_deleted_bill_leaves_its_invoice_to_a_person(rig: Rig) -> None:
    bill = progress(rig)
    rig.sync()
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert hold(rig, bill).reason == "DRIFT"
    assert rig.record("Bill", bill["Id"]).posted == 9000
    approve(rig, invoices(rig)[0], "draft")
    rig.post(automatic=False)
    assert (rig.record("Bill", bill["Id"]).state, rig.holds()) == ("reversed", [])


def test_S78_an_invoice_deleted_in_Procore_is_not_made_again_by_itself(rig: Rig) -> None:
    bill = progress(rig)
    rig.sync()
    rig.procore.switch(linked_requisition_deletion="accept")
    from ml_connector.orchestration.clients import procore_client

    client = procore_client(rig.home, rig.connection, rig.engine)
    client.delete(f"/rest/v1.1/requisitions/{invoices(rig)[0]['id']}", {"project_id": HARBOR})
    rig.bookkeeper.edit("Bill", bill, Line=[sub(9500), retainage(-950)])
    rig.sync()
    assert hold(rig, bill).reason == "DRIFT"
    assert "deleted in Procore" in hold(rig, bill).sentence
    assert invoices(rig) == []
    back = entered(number="BE-14", origin_id=f"qbo:{REALM}:bill:{bill['Id']}:{SC_007}")
    rig.procore.load(requisitions=[back])


def test_a_day_of_bills_on_a_contract_costs_a_call_each_and_a_few_lists(rig: Rig) -> None:
    rig.bookkeeper.bill("first", [line(1, item="101")], vendor=BRIGHT)
    rig.sync()
    for number in range(30):
        progress(rig, f"BE-{number}", 1000)
    mark = rig.procore.mark()
    rig.sync()
    calls = rig.procore.calls(mark)
    assert len(invoices(rig)) == 30
    assert len(calls) <= 30 * Decimal("1.3"), calls


def test_S71_a_bill_whose_invoice_cannot_go_is_not_added_as_a_direct_cost(rig: Rig) -> None:
    rig.configure(policies={"gone_requisition": "draft"})
    bill = progress(rig)
    rig.sync()
    rig.procore.switch(requisition_lock="always")
    rig.bookkeeper.edit("Bill", bill, Line=[line(9000, item="101")])
    rig.sync()
    assert hold(rig, bill).reason == "LOCKED_IN_PROCORE"
    assert rig.direct_costs() == []
    assert sums(invoices(rig)[0])[3] == "9000.00"
    rig.procore.switch(requisition_lock="except_origin")
    rig.post(automatic=False)
    assert [cost["grand_total"] for cost in rig.direct_costs()] == ["9000.00"]
    assert ({invoice["status"] for invoice in invoices(rig)}, rig.holds()) == ({"draft"}, [])
