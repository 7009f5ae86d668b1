"""Every reason to wait and every choice: held by the quickest honest way, decided in one sheet, and at an end."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

from ml_connector.holds import EXCLUDABLE, REASONS, Choice, Reason
from ml_connector_tests.reading.desk import load_text, raw_bill, text_of
from ml_connector_tests.rig import COMPANY, MAPPING, MAPPING_HEADER, Rig, line, today
from ml_connector_tests.scenarios.test_budget_codes import budget
from ml_connector_tests.scenarios.test_changes_in_procore import recode
from ml_connector_tests.scenarios.test_credits_tax_and_currency import GST, PST, credit, foreign, tax
from ml_connector_tests.scenarios.test_decision_sheets import sheet, take
from ml_connector_tests.scenarios.test_decisions import (
    HEADERS,
    UNMAPPED_ACCOUNT,
    go_live,
    refuse,
    writes_nothing,
)
from ml_connector_tests.scenarios.test_expenses import buy
from ml_connector_tests.scenarios.test_subcontracts import (
    BRIGHT,
    NORDWALL,
    SC_007,
    WORK,
    entered,
    period,
    retainage,
    sub,
    subcontract,
)

RULES = MAPPING.replace(
    f"{MAPPING_HEADER}\n",
    f"{MAPPING_HEADER}\n,,,,,,no such code,,,direct_cost,09-2900,S,,,,,\n"
    ",,,,,,beside the contract,,,direct_cost,26-0500,S,,,,,\n",
)
CLOSED = "2026-05-31"
Made = dict[str, Any]
EXCLUDED = [reason for reason, facts in REASONS.items() if Choice.EXCLUDE in facts.choices]


def contracts() -> list[Made]:
    """Contracts of Bright Electric, each in the way of one bill."""

    def one(number: str, id_: int, **fields: Any) -> Made:
        return subcontract(number, id_, **{"retainage_percent": None, **fields})

    part = {"flat_code": "26-0500.S", "amount": Decimal(500)}
    return [
        subcontract("SC-007", SC_007),
        one("SC-T1", 7101, line_items=[{"id": 1, **part}, {"id": 2, **part}]),
        one("SC-T2", 7102, line_items=[{"id": 3, **part}]),
        one("SC-T3", 7103, status="Draft"),
        one("SC-T4", 7104, line_items=[{"id": 4, **part}]),
        one("SC-T5", 7105, line_items=[{"id": 5, **part}]),
    ]


def older(**fields: Any) -> Made:
    """An invoice that people entered on SC-T5 before the start, of which the books know nothing."""
    items = [{"line_item_id": 5, WORK: "100.00"}]
    given = {"id": 56, "status": "approved", "billing_date": "2025-11-30", "items": items}
    return {"commitment_id": 7105, "invoice_number": "OLD", **given, **fields}


def bills(rig: Rig) -> dict[Reason, Made]:
    """One record of each reason that a person may leave out."""
    desk = rig.bookkeeper
    idle, twin, new = (desk.vendor(name)["Id"] for name in ("Idle Quarry", "ABC Concrete", "Newcomer"))
    for number, name in enumerate(("ABC Concrete", "ABC Concrete LLC"), start=910):
        there = {"company_id": COMPANY, "id": number, "name": name, "city": f"Town {number}"}
        rig.procore.load(vendors=[{**there, "is_active": True}])
    rig.procore.load(vendors=[{"company_id": COMPANY, "id": 920, "name": "Idle Quarry", "is_active": False}])
    concrete, electric = line(10, item="101"), "22"

    def bill(number: str, *lines: Made, **fields: Any) -> Made:
        return desk.bill(number, list(lines), **fields)

    made: dict[Reason, Made] = {
        Reason.NO_PROJECT: bill("1", line(10, item="101", customer=None)),
        Reason.PROJECT_NOT_LINKED: bill("2", line(10, item="101", customer="64")),
        Reason.PROJECT_CLOSED: bill("3", line(10, item="101", customer="63")),
        Reason.UNMAPPED: bill("4", line(10, account=UNMAPPED_ACCOUNT)),
        Reason.CODE_MISSING: bill("5", line(10, item="101", description="no such code")),
        Reason.NO_BUDGET_LINE: bill("6", line(10, item="102")),
        Reason.VENDOR_AMBIGUOUS: bill("7", concrete, vendor=twin),
        Reason.VENDOR_PROPOSED: bill("8", concrete, vendor=new),
        Reason.VENDOR_INACTIVE: bill("9", concrete, vendor=idle),
        Reason.CURRENCY: foreign(rig, [concrete]),
        Reason.TAX_POLICY: bill("10", line(1000, item="101"), **tax((GST, "50"), (PST, "70"))),
        Reason.POSSIBLE_DUPLICATE: bill("TWICE", line(12, item="101")),
        Reason.NOT_A_COST: bill("11", line(10, account="8")),
        Reason.ENTERED_AFTER_START: bill("12", concrete, day="2025-12-30"),
        Reason.COMMITMENT_MISSING: bill("13", sub(10), vendor="23"),
        Reason.COMMITMENT_AMBIGUOUS: bill("14", sub(10), vendor=electric),
        Reason.COMMITMENT_NOT_APPROVED: bill("15", sub(10, "SC-T3"), vendor=electric),
        Reason.COMMITMENT_EXPECTED: bill("16", line(10, account="2", description="beside the contract"), vendor=BRIGHT),
        Reason.VENDOR_MISMATCH: bill("17", sub(10, "SC-T2"), vendor=NORDWALL),
        Reason.SOV_AMBIGUOUS: bill("18", sub(600, "SC-T1"), vendor=electric),
        Reason.OVERBILLED: bill("19", sub(600, "SC-T2"), vendor=electric),
        Reason.NO_OPEN_PERIOD: bill("20", sub(10, "SC-T4"), vendor=electric, day=str(today() + timedelta(days=62))),
        Reason.NOT_YET_APPROVED_IN_PROCORE: bill(
            "BE-14", sub(9000, "SC-007"), retainage(-900, "SC-007"), vendor=electric
        ),
        Reason.OPENING_DIFFERENCE: bill("28", sub(10, "SC-T5"), vendor=electric),
        Reason.CREDIT_ON_COMMITMENT: credit(rig, "21", [sub(10)], vendor=electric),
        Reason.EXPENSE_ON_COMMITMENT: buy(rig, [line(10, account="2")], payee={"value": BRIGHT, "type": "Vendor"}),
        Reason.RETAINAGE_POLICY: bill("22", sub(10, "SC-007"), vendor=electric),
        Reason.PERMISSION: bill("23", concrete),
        Reason.PERIOD_CLOSED: bill("24", concrete, day=CLOSED),
        Reason.NEEDS_APPROVAL: bill("26", line(12_000, item="101")),
    }  # fmt: skip
    odd: dict[Reason, Made] = {
        Reason.UNBALANCED: {"TotalAmt": 101},
        Reason.UNREADABLE: {"Line": {"Amount": 100}},
    }
    for qbo_id, (reason, fields) in enumerate(odd.items(), start=640):
        made[reason] = {**json.loads(text_of(raw_bill(qbo_id, **fields))), "entity": "Bill"}
        load_text(rig, f"[{text_of(raw_bill(qbo_id, **fields))}]")
    return made


def test_whatever_a_record_waits_for_a_person_can_leave_it_out(rig: Rig) -> None:
    rig.publish(mapping=RULES)
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}, {"id": 901, "name": "Nordwall Drywall"}],
        commitments=contracts(),
        billing_periods=[period()],
    )
    under_review = entered("BE-14", "9000.00", "900.00", status="under_review", id=55)
    rig.procore.load(requisitions=[under_review, older()])
    go_live(rig)
    budget(rig, "03-3000.M", "26-0500.S")
    rig.configure(
        policies={
            "approval": "above",
            "approval_above": "10000.00",
            "new_vendors": "propose",
            "budget_line_missing": "hold",
            "commitment_expected": "hold",
            "expenses": "direct_cost",
            "books_closed_to": CLOSED,
        }
    )
    made = {Reason.REFUSED: rig.bookkeeper.bill("27", [line(10, item="101")])}
    rig.bookkeeper.bill("TWICE", [line(10, item="101")])
    refuse(rig, made[Reason.REFUSED]["Id"])
    rig.sync()
    made |= bills(rig)
    assert set(made) == set(EXCLUDED), "a new reason needs a record here"
    rig.procore.fault({"route": HEADERS, "fault": "status", "args": {"status": 403}})
    rig.sync()
    waits = {(hold.entity, hold.qbo_id): hold.reason for hold in rig.holds() if hold.entity in EXCLUDABLE}
    entities = {Reason.CREDIT_ON_COMMITMENT: "VendorCredit", Reason.EXPENSE_ON_COMMITMENT: "Purchase"}
    places = {reason: (entities.get(reason, "Bill"), record["Id"]) for reason, record in made.items()}
    assert {reason: waits.get(place) for reason, place in places.items()} == {
        reason: str(reason) for reason in made
    }
    rows = sheet(rig)
    for row in rows:
        if row["reason"] in EXCLUDED and "exclude" in row["choices"]:
            row |= {"decision": "exclude", "comment": "not ours"}
    take(rig, rows)
    rig.settle()
    states = {reason: rig.record(*place) for reason, place in places.items()}
    assert {reason: (row.state, row.posted, row.held) for reason, row in states.items()} == {
        reason: ("excluded", Decimal(0), Decimal(0)) for reason in made
    }
    writes_nothing(rig)


def other_choices() -> set[tuple[Reason, Choice]]:
    return {
        (reason, choice)
        for reason, facts in REASONS.items()
        for choice in facts.choices
        if choice is not Choice.EXCLUDE
    }


def test_every_other_choice_comes_to_its_end_and_writes_nothing_twice(rig: Rig) -> None:
    rig.configure(policies={"foreign_currency": "home_amount"})
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[contract for contract in contracts() if contract["number"] == "SC-T5"],
        billing_periods=[period()],
        requisitions=[older()],
    )
    go_live(rig)
    desk = rig.bookkeeper

    def bill(number: str, amount: int, **fields: Any) -> Made:
        return desk.bill(number, [line(amount, item="101")], **fields)

    kept, restored, locked = (bill(f"P-{number}", 10) for number in range(3))
    bill("TWICE", 10)
    rated = foreign(rig, [line(1000, item="101")])
    rig.sync()
    early = bill("1", 10, day="2025-12-30")
    rig.procore.switch(direct_cost_lock="always")
    desk.edit("Bill", locked, Line=[line(13, item="101")])
    rig.sync()
    rig.procore.switch(direct_cost_lock="never")
    rig.configure(
        policies={
            "approval": "above",
            "approval_above": "10000.00",
            "new_vendors": "propose",
            "books_closed_to": CLOSED,
        }
    )
    for one in (kept, restored):
        recode(rig, rig.cost_of(one["Id"]))
        desk.edit("Bill", one, Line=[line(13, item="101")])
    desk.edit("Bill", rated, ExchangeRate=Decimal("0.74"))
    opened = desk.bill("BE-28", [sub(10)], vendor=BRIGHT)
    wanted, unwanted = desk.vendor("Wanted"), desk.vendor("Unwanted")
    ends: dict[tuple[Reason, Choice], tuple[str, str, str]] = {
        (Reason.NEEDS_APPROVAL, Choice.APPROVE): ("Bill", bill("2", 12_000)["Id"], "posted"),
        (Reason.NEEDS_APPROVAL, Choice.REJECT): ("Bill", bill("3", 12_000)["Id"], "held"),
        (Reason.POSSIBLE_DUPLICATE, Choice.POST_ANYWAY): ("Bill", bill("TWICE", 12)["Id"], "posted"),
        (Reason.PERIOD_CLOSED, Choice.POST_ANYWAY): ("Bill", bill("4", 10, day=CLOSED)["Id"], "posted"),
        (Reason.PERIOD_CLOSED, Choice.NEXT_OPEN_DAY): ("Bill", bill("5", 10, day=CLOSED)["Id"], "posted"),
        (Reason.OPENING_DIFFERENCE, Choice.ACCEPT): ("Bill", opened["Id"], "posted"),
        (Reason.ENTERED_AFTER_START, Choice.BRING_IN): ("Bill", early["Id"], "posted"),
        (Reason.CURRENCY, Choice.POST_ANYWAY): ("Bill", rated["Id"], "updated"),
        (Reason.DRIFT, Choice.KEEP_THEIRS): ("Bill", kept["Id"], "no-op"),
        (Reason.DRIFT, Choice.RESTORE_OURS): ("Bill", restored["Id"], "updated"),
        (Reason.LOCKED_IN_PROCORE, Choice.KEEP_THEIRS): ("Bill", locked["Id"], "no-op"),
        (Reason.VENDOR_PROPOSED, Choice.APPROVE): ("Vendor", wanted["Id"], "posted"),
        (Reason.VENDOR_PROPOSED, Choice.REJECT): ("Vendor", unwanted["Id"], "held"),
    }
    assert set(ends) == other_choices(), "a new choice needs a record here"
    rig.sync()
    waits = {(hold.entity, hold.qbo_id): hold.reason for hold in rig.holds()}
    assert {pair: waits.get((entity, qbo_id)) for pair, (entity, qbo_id, _) in ends.items()} == {
        pair: str(pair[0]) for pair in ends
    }
    rows = sheet(rig)
    for (reason, choice), (entity, qbo_id, _) in ends.items():
        for row in rows:
            if (row["record"], row["reason"]) == (f"{entity.lower()}:{qbo_id}", reason):
                row |= {"decision": choice, "comment": "agreed"}
    assert len(take(rig, rows)) == len(ends)
    rig.settle()
    found = {pair: rig.record(entity, qbo_id).state for pair, (entity, qbo_id, _) in ends.items()}
    assert found == {pair: state for pair, (_, _, state) in ends.items()}
    writes_nothing(rig)
