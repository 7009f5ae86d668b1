"""Vendor credits, discounts, separate tax, foreign currency, and what QBO shows that is no bill."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ml_connector.holds import Choice
from ml_connector.reading.outside import outside_the_sync
from ml_connector.store import audit, records
from ml_connector_tests.rig import ELM, HARBOR, MAPPING, REALM, Rig, line, open_rig, today
from ml_connector_tests.scenarios.invariants import invariants
from ml_connector_tests.scenarios.test_decisions import decide
from ml_connector_tests.scenarios.test_payments import (
    SC_009,
    on,
    pay,
    payments_add_up,
)
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, period, retainage, sub, subcontract

GRANITE = "21"
GST, PST = "17", "18"  # ids of tax rates: recoverable, and not
TODAY = today().isoformat()
DISCOUNT_RULE = "4900,,,,,,,,,exclude,,,,,,DISCOUNT,\n"


@pytest.fixture
def rig(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The fixture firm with two subcontracts of Bright Electric on Harbor, and an account for discounts."""
    opened = open_rig(tmp_path, database)
    opened.qbo.load(
        realm=REALM,
        Account=[
            {
                "Id": "49",
                "Name": "Purchase discounts",
                "FullyQualifiedName": "Purchase discounts",
                "AcctNum": "4900",
                "AccountType": "Income",
                "Classification": "Revenue",
                "Active": True,
                "MetaData": {"LastUpdatedTime": "2026-01-05T08:00:00-08:00"},
            }
        ],
    )
    opened.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[
            subcontract(number, id_, retainage_percent=None)
            for number, id_ in (("SC-007", SC_007), ("SC-009", SC_009))
        ],
        billing_periods=[period()],
    )
    opened.publish(
        mapping=MAPPING.replace(
            "5020,,,,,,,,,commitment,26-0500,S,,,,,", "5020,,,,,,,,,commitment,26-0500,S,,SC-007,,,"
        )
        + DISCOUNT_RULE
    )
    try:
        yield opened
        invariants(opened)
        payments_add_up(opened)
    finally:
        opened.close()


def credit(
    rig: Rig, number: str, lines: Sequence[Mapping[str, Any]], *, vendor: str = GRANITE, **fields: Any
) -> dict[str, Any]:
    """Enter a vendor credit; amounts are positive, as in QBO."""
    body = {"VendorRef": {"value": vendor}, "TxnDate": TODAY, "Line": list(lines), **fields}
    if number:
        body["DocNumber"] = number
    made: dict[str, Any] = rig.bookkeeper.post("vendorcredit", body)["VendorCredit"]
    return made


def edit_credit(rig: Rig, record: Mapping[str, Any], **changes: Any) -> None:
    rig.bookkeeper.edit("VendorCredit", record, VendorRef=record["VendorRef"], **changes)


def state(rig: Rig, record: Mapping[str, Any], entity: str) -> tuple[str, str, str, str]:
    """State, posted, excluded and held of a record."""
    row = rig.record(entity, record["Id"])
    return row.state, str(row.posted), str(row.excluded), str(row.held)


def paid_on(rig: Rig, record: Mapping[str, Any], project: str = HARBOR) -> str | None:
    """The payment date of a bill's direct cost on a project."""
    found: str | None = rig.cost_of(record["Id"], project).get("payment_date")
    return found


def cost_of(rig: Rig, record: Mapping[str, Any], project: str = HARBOR) -> tuple[str, str, list[str]]:
    """Number, total and line amounts of a credit's direct cost on a project."""
    cost = rig.cost_of(record["Id"], project, entity="vendorcredit")
    return cost["invoice_number"], cost["grand_total"], amounts(rig, cost)


def amounts(rig: Rig, cost: Mapping[str, Any]) -> list[str]:
    """Amounts of the lines of a direct cost."""
    lines = [
        entry for entry in rig.procore.live("direct_cost_lines") if entry["direct_cost_id"] == cost["id"]
    ]
    return [f"{Decimal(entry['amount']):.2f}" for entry in lines]


def counted(rig: Rig) -> str:
    """What direct costs add to job cost."""
    return f"{sum(Decimal(cost['grand_total']) for cost in rig.direct_costs()):.2f}"


# -- S54: credits -----------------------------------------------------------------------------------------------------


def test_S54_a_vendor_credit_is_a_direct_cost_below_zero_with_its_own_number(rig: Rig) -> None:
    back = credit(rig, "VC-88", [line(300, item="101", quantity="10", unit_price="30")])
    rig.sync()
    assert cost_of(rig, back) == ("VC-88", "-300.00", ["-300.00"])
    (there,) = rig.procore.live("direct_cost_lines")
    assert (Decimal(there["quantity"]), Decimal(there["unit_cost"])) == (Decimal(-10), Decimal(30))
    assert state(rig, back, "VendorCredit") == ("posted", "-300.00", "0.00", "0.00")
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


def test_S54_a_credit_over_two_projects_with_a_negative_line_and_overhead(rig: Rig) -> None:
    back = credit(
        rig,
        "VC-89",
        [
            line(300, item="101"),
            line(-20, item="102", description="restocking"),
            line(100, item="101", customer="62"),
            line(7, account="5", customer=None),
        ],
    )
    rig.sync()
    assert cost_of(rig, back) == ("VC-89", "-280.00", ["-300.00", "20.00"])
    assert cost_of(rig, back, ELM)[1] == "-100.00"
    assert state(rig, back, "VendorCredit") == ("posted", "-380.00", "-7.00", "0.00")


def test_S54_a_credit_with_a_line_that_waits_waits_as_a_whole_and_follows(rig: Rig) -> None:
    back = credit(rig, "VC-90", [line(300, item="101"), line(50, item="101", customer="64")])
    rig.sync()
    (hold,) = rig.holds(back["Id"])
    assert (hold.reason, hold.amount, hold.total) == (
        "PROJECT_NOT_LINKED",
        Decimal("-50.00"),
        Decimal("-350.00"),
    )
    assert hold.sentence.startswith("Line 2 of vendor credit VC-90 (Granite Supply, 50.00) is for")
    assert rig.direct_costs() == []
    edit_credit(rig, back, Line=[line(300, item="101"), line(50, item="101")])
    rig.sync()
    assert cost_of(rig, back) == ("VC-90", "-350.00", ["-300.00", "-50.00"])


def test_S54_a_credit_that_is_edited_moved_and_deleted_follows_like_a_bill(rig: Rig) -> None:
    back = credit(rig, "VC-91", [line(300, item="101")])
    rig.sync()
    edit_credit(rig, back, Line=[line(250, item="101")])
    rig.sync()
    assert (cost_of(rig, back)[1], counted(rig)) == ("-250.00", "-250.00")
    edit_credit(rig, back, Line=[line(250, item="101", customer="62")])
    rig.sync()
    assert (cost_of(rig, back, ELM)[1], counted(rig)) == ("-250.00", "-250.00")
    rig.bookkeeper.delete("VendorCredit", back)
    rig.sync()
    assert (counted(rig), state(rig, back, "VendorCredit")) == ("0.00", ("reversed", "0.00", "0.00", "0.00"))


def test_S54_a_credit_set_to_nothing_loses_its_effect(rig: Rig) -> None:
    back = credit(rig, "VC-92", [line(300, item="101")])
    rig.sync()
    edit_credit(rig, back, Line=[line(0, item="101")], PrivateNote="Voided")
    rig.sync()
    assert (counted(rig), rig.record("VendorCredit", back["Id"]).state) == ("0.00", "reversed")


def test_S54_a_credit_with_the_number_of_a_bill_of_its_vendor_is_no_duplicate_of_it(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(100, item="101")])
    back = credit(rig, "4471", [line(30, item="101")])
    rig.sync()
    assert rig.holds() == []
    assert {cost["invoice_number"] for cost in rig.direct_costs()} == {"4471", f"4471-{back['Id']}"}
    assert state(rig, bill, "Bill") == ("posted", "100.00", "0.00", "0.00")
    assert state(rig, back, "VendorCredit") == ("posted", "-30.00", "0.00", "0.00")
    assert counted(rig) == "70.00"
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []


def test_S54_two_credits_with_one_number_are_told_apart_from_a_bill_with_it(rig: Rig) -> None:
    first = credit(rig, "VC-93", [line(10, item="101")])
    twin = credit(rig, "", [line(20, item="101")])
    rig.qbo.load(realm=REALM, VendorCredit=[{**twin, "DocNumber": "VC-93", "SyncToken": "1"}])
    rig.sync()
    assert counted(rig) == "-10.00"
    (hold,) = rig.holds(twin["Id"])
    assert hold.reason == "POSSIBLE_DUPLICATE"
    assert (
        f"has another credit with this number, dated {TODAY} over 10.00 (QBO id {first['Id']})"
        in hold.sentence
    )


def test_S54_a_credit_that_procore_refuses_is_held_with_both_ways_out(rig: Rig) -> None:
    rig.procore.switch(negative_lines="refuse")
    back = credit(rig, "VC-94", [line(300, item="101")])
    rig.sync()
    (hold,) = rig.holds(back["Id"])
    assert (hold.reason, hold.amount) == ("REFUSED", Decimal("-300.00"))
    assert "let Procore take amounts below zero and replay; or exclude it here" in hold.sentence
    assert counted(rig) == "0.00"
    mark = rig.procore.mark()
    rig.post()
    assert rig.procore.writes(mark) == []
    rig.procore.switch(negative_lines="accept")
    rig.post(automatic=False)
    assert cost_of(rig, back)[1] == "-300.00"


# -- S55, S56: credits in payments --------------------------------------------------------------------------------------


def test_S55_a_credit_that_a_payment_uses_is_counted_once(rig: Rig) -> None:
    owed = rig.bookkeeper.bill("GS-1", [line(1000, item="101")])
    back = credit(rig, "VC-88", [line(300, item="101")])
    rig.sync()
    assert counted(rig) == "700.00"
    mark = rig.procore.mark()
    paid = pay(rig, [(owed, 1000)], credits=[(back, 300)], vendor=GRANITE)
    rig.sync()
    assert (counted(rig), paid_on(rig, owed)) == ("700.00", TODAY)
    assert len(rig.procore.writes(mark)) == 1  # the payment date: the credit itself has not changed
    assert state(rig, paid, "BillPayment") == ("posted", "1000.00", "0.00", "0.00")
    assert state(rig, back, "VendorCredit") == ("no-op", "-300.00", "0.00", "0.00")
    rig.bookkeeper.delete("BillPayment", paid)
    rig.sync()
    assert (counted(rig), paid_on(rig, owed)) == ("700.00", None)


def test_S55_a_credit_goes_first_to_the_bill_of_its_project(rig: Rig) -> None:
    work = rig.bookkeeper.bill("BE-1", [sub(600)], vendor=BRIGHT)
    elsewhere = rig.bookkeeper.bill("BE-2", [line(400, item="101", customer="62")], vendor=BRIGHT)
    back = credit(rig, "VC-88", [line(300, item="101", customer="62")], vendor=BRIGHT)
    rig.sync()
    pay(rig, [(work, 600), (elsewhere, 400)], credits=[(back, 300)])
    rig.sync()
    assert on(rig) == [("600.00", TODAY, "2231")]
    assert paid_on(rig, elsewhere, ELM) == TODAY


def test_S56_a_payment_of_zero_settles_a_direct_cost(rig: Rig) -> None:
    owed = rig.bookkeeper.bill("GS-1", [line(300, item="101")])
    back = credit(rig, "VC-88", [line(300, item="101")])
    rig.sync()
    paid = pay(rig, [(owed, 300)], credits=[(back, 300)], vendor=GRANITE, number="")
    rig.sync()
    assert (paid["TotalAmt"], counted(rig), paid_on(rig, owed)) == (0, "0.00", TODAY)
    assert state(rig, paid, "BillPayment") == ("posted", "300.00", "0.00", "0.00")


# -- S57: credits on commitments ----------------------------------------------------------------------------------------


def test_S57_a_credit_on_a_commitment_waits_with_both_ways_and_sends_nothing(rig: Rig) -> None:
    back = credit(rig, "VC-95", [sub(500)], vendor=BRIGHT)
    rig.sync()
    (hold,) = rig.holds(back["Id"])
    assert (hold.reason, hold.amount) == ("CREDIT_ON_COMMITMENT", Decimal("-500.00"))
    assert hold.sentence == (
        "Vendor credit VC-95 (Bright Electric, -500.00): 500.00 of it is for commitment SC-007, and an invoice below "
        "zero is never sent: bill the next requisition less 500.00 and exclude this credit, or give its line a rule "
        "with the route direct_cost."
    )
    assert (rig.procore.live("requisitions"), rig.direct_costs(counting=False)) == ([], [])
    header, rest = MAPPING.split("\n", 1)
    edit_credit(rig, back, Line=[sub(500, "credit for SC-007")])
    rig.publish(mapping=f"{header}\n5020,,,,,,credit*,,,direct_cost,26-0500,S,,,,,\n{rest}")
    rig.sync()
    assert cost_of(rig, back)[1] == "-500.00"


def test_S57_a_credit_that_went_into_the_next_requisition_is_excluded_by_a_person(rig: Rig) -> None:
    back = credit(rig, "VC-99", [sub(500)], vendor=BRIGHT)
    rig.sync()
    decide(rig, back, Choice.EXCLUDE, entity="VendorCredit", comment="taken off BE-31")
    rig.sync()
    assert state(rig, back, "VendorCredit") == ("excluded", "0.00", "-500.00", "0.00")
    assert (rig.procore.live("requisitions"), rig.direct_costs(counting=False)) == ([], [])


def test_S57_a_credit_with_one_line_on_a_commitment_or_of_retainage_waits_as_a_whole(rig: Rig) -> None:
    mixed = credit(rig, "VC-96", [line(40, item="101"), sub(500, "SC-009")], vendor=BRIGHT)
    released = credit(rig, "VC-97", [retainage(60, "SC-009")], vendor=BRIGHT)
    rig.sync()
    for record, words in ((mixed, "500.00 of it is for commitment SC-009"), (released, "60.00 of it is for")):
        (hold,) = rig.holds(record["Id"])
        assert hold.reason == "CREDIT_ON_COMMITMENT"
        assert words in hold.sentence
    assert (rig.procore.live("requisitions"), rig.direct_costs(counting=False)) == ([], [])


def test_S57_a_credit_whose_commitment_is_not_sure_is_still_one_on_a_commitment(rig: Rig) -> None:
    rig.publish(mapping=MAPPING)
    back = credit(rig, "VC-98", [sub(500)], vendor=BRIGHT)
    rig.sync()
    (hold,) = rig.holds(back["Id"])
    assert "500.00 of it is for a commitment of Bright Electric, and an invoice below" in hold.sentence


# -- S58: discounts -----------------------------------------------------------------------------------------------------


def test_S58_a_discount_is_excluded_by_its_rule_and_the_payment_is_the_cash(rig: Rig) -> None:
    owed = rig.bookkeeper.bill("BE-14", [sub(5000)], vendor=BRIGHT)
    discount = credit(rig, "DISC-1", [line(100, account="49", customer=None)], vendor=BRIGHT)
    rig.sync()
    paid = pay(rig, [(owed, 5000)], credits=[(discount, 100)])
    rig.sync()
    assert on(rig) == [("4900.00", TODAY, "2231")]
    assert state(rig, paid, "BillPayment") == ("posted", "5000.00", "0.00", "0.00")
    assert state(rig, discount, "VendorCredit") == ("excluded", "0.00", "-100.00", "0.00")
    assert reasons(rig, discount) == ["DISCOUNT"]
    assert rig.direct_costs(counting=False) == []


def test_S58_a_discount_that_belongs_to_the_job_is_posted(rig: Rig) -> None:
    discount = credit(rig, "DISC-2", [line(100, account="1")])
    rig.sync()
    assert cost_of(rig, discount)[1] == "-100.00"


def reasons(rig: Rig, record: Mapping[str, Any], entity: str = "VendorCredit") -> list[str]:
    """Why lines of a record are excluded."""
    return [entry.reason for entry in mapped(rig, record, entity) if entry.outcome == "excluded"]


def mapped(rig: Rig, record: Mapping[str, Any], entity: str) -> list[Any]:
    """The lines of a record as they were decided."""
    with rig.engine.connect() as db:
        return list(records.lines_of(db, rig.name, entity, [record["Id"]])[record["Id"]])


# -- S10: separate tax --------------------------------------------------------------------------------------------------


def tax(*parts: tuple[str, str]) -> dict[str, Any]:
    """The tax detail of a Canadian bill, by rate."""
    lines = [
        {
            "Amount": Decimal(amount),
            "DetailType": "TaxLineDetail",
            "TaxLineDetail": {"TaxRateRef": {"value": rate}, "PercentBased": True},
        }
        for rate, amount in parts
    ]
    total = sum((Decimal(amount) for _, amount in parts), Decimal(0))
    return {"GlobalTaxCalculation": "TaxExcluded", "TxnTaxDetail": {"TotalTax": total, "TaxLine": lines}}


def taxed_bill(rig: Rig, number: str = "CA-1") -> dict[str, Any]:
    """Net 1,000.00 on two projects, 50.00 of tax recoverable and 70.00 not."""
    lines = [line(700, item="101"), line(300, item="102", customer="62")]
    return rig.bookkeeper.bill(number, lines, **tax((GST, "50"), (PST, "70")))


def test_S10_separate_tax_waits_for_a_policy_and_then_goes_with_the_lines(rig: Rig) -> None:
    owed = taxed_bill(rig)
    rig.sync()
    (hold,) = {entry.sentence: entry for entry in rig.holds(owed["Id"])}.values()
    assert hold.reason == "TAX_POLICY"
    assert (
        "has tax of 120.00 (rate 17: 50.00, rate 18: 70.00), and nobody has chosen where tax goes"
        in hold.sentence
    )
    assert (counted(rig), state(rig, owed, "Bill")) == ("0.00", ("held", "0.00", "0.00", "1120.00"))
    rig.configure(policies={"tax": "spread", "recoverable_tax": [17]})
    rig.post(automatic=False)
    assert (rig.cost_of(owed["Id"])["grand_total"], rig.cost_of(owed["Id"], ELM)["grand_total"]) == (
        "749.00",
        "321.00",
    )
    assert state(rig, owed, "Bill") == ("posted", "1070.00", "50.00", "0.00")
    assert reasons(rig, owed, "Bill") == ["RECOVERABLE_TAX"]
    assert detail(rig, owed)["tax"]["rates"] == {GST: "50.00", PST: "70.00"}


def test_S10_a_taxed_bill_is_paid_with_its_tax_and_its_tax_follows_an_edit(rig: Rig) -> None:
    rig.configure(policies={"tax": "spread", "recoverable_tax": [GST]})
    owed = taxed_bill(rig)
    rig.sync()
    paid = pay(rig, [(owed, 1120)], vendor=GRANITE)
    rig.sync()
    assert state(rig, paid, "BillPayment") == ("posted", "1070.00", "50.00", "0.00")
    assert (paid_on(rig, owed), paid_on(rig, owed, ELM)) == (TODAY, TODAY)
    rig.bookkeeper.delete("BillPayment", paid)
    rig.bookkeeper.edit("Bill", owed, **tax((GST, "50"), (PST, "80")))
    rig.sync()
    assert counted(rig) == "1080.00"


def test_S10_tax_on_a_code_of_its_own_is_a_line_of_each_project(rig: Rig) -> None:
    rig.configure(
        policies={
            "tax": "own_code",
            "recoverable_tax": [GST],
            "tax_cost_code": "01-7800",
            "tax_cost_type": "O",
        }
    )
    owed = taxed_bill(rig)
    rig.sync()
    assert amounts(rig, rig.cost_of(owed["Id"])) == ["700.00", "49.00"]
    assert amounts(rig, rig.cost_of(owed["Id"], ELM)) == ["300.00", "21.00"]


def test_S10_tax_of_work_on_a_commitment_is_billed_with_it(rig: Rig) -> None:
    rig.configure(policies={"tax": "spread"})
    owed = rig.bookkeeper.bill("BE-20", [sub(1000)], vendor=BRIGHT, **tax((PST, "70")))
    rig.sync()
    (invoice,) = rig.procore.live("requisitions")
    assert (invoice["current_payment_due"], state(rig, owed, "Bill")[1]) == ("1070.00", "1070.00")


def test_S10_all_tax_is_excluded_under_the_policy_exclude_also_on_a_credit(rig: Rig) -> None:
    rig.configure(policies={"tax": "exclude"})
    owed = taxed_bill(rig)
    back = credit(rig, "VC-1", [line(100, item="101")], **tax((GST, "5")))
    rig.sync()
    assert state(rig, owed, "Bill") == ("posted", "1000.00", "120.00", "0.00")
    assert state(rig, back, "VendorCredit") == ("posted", "-100.00", "-5.00", "0.00")


def detail(
    rig: Rig, record: Mapping[str, Any], entity: str = "Bill", event: str = "mapped"
) -> dict[str, Any]:
    """The last entry of the trail that tells how a record was mapped."""
    with rig.engine.connect() as db:
        entries = [one for one in audit.story(db, rig.name, entity, record["Id"]) if one.event == event]
    return dict(entries[-1].detail)


# -- S17: foreign currency ----------------------------------------------------------------------------------------------


def foreign(
    rig: Rig, lines: Sequence[Mapping[str, Any]], rate: str = "0.7312", **fields: Any
) -> dict[str, Any]:
    """A bill in Canadian dollars."""
    money: dict[str, Any] = {"CurrencyRef": {"value": "CAD"}, "ExchangeRate": Decimal(rate)}
    return rig.bookkeeper.bill("CA-118", lines, **money, **fields)


def test_S17_a_foreign_bill_waits_and_goes_at_its_own_rate_by_policy(rig: Rig) -> None:
    owed = foreign(rig, [line(1000, item="101")])
    rig.sync()
    (hold,) = rig.holds(owed["Id"])
    assert hold.reason == "CURRENCY"
    assert counted(rig) == "0.00"
    rig.configure(policies={"foreign_currency": "home_amount"})
    rig.post(automatic=False)
    assert (counted(rig), state(rig, owed, "Bill")) == (
        "731.20",
        ("posted", "731.20", "0.00", "0.00"),
    )
    told = detail(rig, owed)["converted"]
    assert (told["amount"], told["rate"], told["home amount"]) == ("1000.00", "0.7312", "731.20")


def test_S17_the_lines_of_a_foreign_bill_add_up_over_projects(rig: Rig) -> None:
    rig.configure(policies={"foreign_currency": "home_amount"})
    owed = foreign(
        rig, [line("33.33", item="101"), line("33.33", item="102"), line("33.33", item="101", customer="62")]
    )
    rig.sync()
    assert amounts(rig, rig.cost_of(owed["Id"])) + amounts(rig, rig.cost_of(owed["Id"], ELM)) == ["24.37"] * 3
    assert counted(rig) == "73.11"


def test_S17_a_rate_that_changes_afterwards_moves_no_posted_cost_by_itself(rig: Rig) -> None:
    rig.configure(policies={"foreign_currency": "home_amount"})
    owed = foreign(rig, [line(1000, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", owed, ExchangeRate=Decimal("0.74"))
    mark = rig.procore.mark()
    rig.sync()
    (hold,) = rig.holds(owed["Id"])
    assert (hold.reason, rig.procore.writes(mark)) == ("CURRENCY", [])
    assert (
        "its rate was changed from 0.7312 to 0.74, which would move the posted cost from 731.20 to 740.00"
        in hold.sentence
    )
    assert state(rig, owed, "Bill") == ("held", "731.20", "0.00", "8.80")
    rig.bookkeeper.edit("Bill", owed, ExchangeRate=Decimal("0.7312"))
    rig.sync()
    assert state(rig, owed, "Bill") == ("no-op", "731.20", "0.00", "0.00")
    assert (counted(rig), rig.procore.writes(mark)) == ("731.20", [])


def test_S17_a_person_may_take_the_new_rate(rig: Rig) -> None:
    rig.configure(policies={"foreign_currency": "home_amount"})
    owed = foreign(rig, [line(1000, item="101")], rate="7.312")
    rig.sync()
    rig.bookkeeper.edit("Bill", owed, ExchangeRate=Decimal("0.7312"))
    rig.sync()
    assert counted(rig) == "7312.00"
    decide(rig, owed, Choice.POST_ANYWAY)
    rig.sync()
    assert (counted(rig), state(rig, owed, "Bill")) == ("731.20", ("updated", "731.20", "0.00", "0.00"))
    pay(rig, [(owed, 1000)], vendor=GRANITE, CurrencyRef={"value": "CAD"}, ExchangeRate=Decimal("0.75"))
    rig.sync()
    assert (counted(rig), rig.holds(owed["Id"])) == ("731.20", [])


def test_S17_an_edit_of_the_money_follows_at_the_rate_of_that_version(rig: Rig) -> None:
    rig.configure(policies={"foreign_currency": "home_amount"})
    owed = foreign(rig, [line(1000, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", owed, Line=[line(1100, item="101")], ExchangeRate=Decimal("0.74"))
    rig.sync()
    assert (counted(rig), rig.holds(owed["Id"])) == ("814.00", [])


def test_S17_a_foreign_credit_falls_at_its_rate_and_a_foreign_payment_waits(rig: Rig) -> None:
    rig.configure(policies={"foreign_currency": "home_amount"})
    money: dict[str, Any] = {"CurrencyRef": {"value": "CAD"}, "ExchangeRate": Decimal("0.7312")}
    owed = foreign(rig, [line(1000, item="101")])
    credit(rig, "VC-2", [line(100, item="101")], **money)
    rig.sync()
    assert counted(rig) == "658.08"
    paid = pay(
        rig, [(owed, 1000)], vendor=GRANITE, CurrencyRef={"value": "CAD"}, ExchangeRate=Decimal("0.75")
    )
    rig.sync()
    (hold,) = rig.holds(paid["Id"])
    assert (hold.reason, "it has a rate of its own, which is not that of its bills" in hold.sentence) == (
        "CURRENCY",
        True,
    )
    assert (counted(rig), paid_on(rig, owed)) == ("658.08", None)


# -- S20, S21: what is no bill ------------------------------------------------------------------------------------------


def journal(amount: str, posting: str, *, account: str, customer: str | None) -> dict[str, Any]:
    """A line of a journal entry."""
    entry: dict[str, Any] = {"PostingType": posting, "AccountRef": {"value": account}}
    if customer is not None:
        entry["Entity"] = {"Type": "Customer", "EntityRef": {"value": customer}}
    return {
        "Amount": Decimal(amount),
        "DetailType": "JournalEntryLineDetail",
        "JournalEntryLineDetail": entry,
    }


def test_S20_card_purchases_and_journals_are_read_never_posted_and_named(rig: Rig) -> None:
    rig.sync()
    mark = rig.qbo.mark()
    card = {"PaymentType": "CreditCard", "AccountRef": {"value": "35"}, "TxnDate": TODAY}
    bought = [line(90, account="1"), line(8, account="5", customer=None), line(5, account="9")]
    rig.bookkeeper.post("purchase", {**card, "Line": bought})
    rig.bookkeeper.post("purchase", {**card, "Credit": True, "Line": [line(15, account="1")]})
    moved = [
        journal("500", "Debit", account="1", customer="61"),
        journal("500", "Credit", account="1", customer="62"),
        journal("70", "Debit", account="35", customer="61"),
        journal("70", "Credit", account="5", customer=None),
    ]
    rig.bookkeeper.post("journalentry", {"TxnDate": TODAY, "Line": moved})
    rig.sync()
    reads = [entry for entry in rig.qbo.calls(mark) if entry.startswith("GET")]
    assert len(reads) == 1 and reads[0].endswith("/cdc")
    assert rig.direct_costs(counting=False) == []
    with rig.engine.connect() as db:
        found = outside_the_sync(db, rig.connection)
        later = outside_the_sync(db, rig.connection, days=[])
    assert sorted((str(cost.entity), cost.customer.id, str(cost.amount)) for cost in found.costs) == [
        ("JournalEntry", "61", "500.00"),
        ("JournalEntry", "62", "-500.00"),
        ("Purchase", "61", "-15.00"),
        ("Purchase", "61", "90.00"),
    ]
    assert (found.unreadable, later.costs) == ((), ())


def test_S20_a_purchase_that_cannot_be_read_is_named(rig: Rig) -> None:
    odd = {"Id": "77", "SyncToken": "0", "TxnDate": TODAY, "TotalAmt": 1, "Line": [{"Amount": "many"}]}
    meta = {"CreateTime": f"{TODAY}T00:00:00Z", "LastUpdatedTime": f"{TODAY}T00:00:00Z"}
    rig.qbo.load(realm=REALM, Purchase=[{**odd, "MetaData": meta}])
    rig.sync()
    with rig.engine.connect() as db:
        assert outside_the_sync(db, rig.connection).unreadable == ("Purchase 77",)


def test_S21_a_bill_in_approval_or_a_template_is_no_bill_until_it_is_one(rig: Rig) -> None:
    waiting = rig.bookkeeper.bill(
        "AP-1", [line(100, item="101")], TxnApprovalInfo={"ApprovalStatus": "PENDING_APPROVAL"}
    )
    template = rig.bookkeeper.bill("RT-1", [line(40, item="101")])
    rig.qbo.load(realm=REALM, Bill=[{**template, "RecurringInfo": {"RecurType": "Automated"}}])
    rig.sync()
    assert (counted(rig), rig.holds()) == ("0.00", [])
    assert state(rig, waiting, "Bill") == ("excluded", "0.00", "100.00", "0.00")
    assert (reasons(rig, waiting, "Bill"), reasons(rig, template, "Bill")) == (
        ["IN_APPROVAL"],
        ["RECURRING_TEMPLATE"],
    )
    rig.bookkeeper.edit("Bill", waiting, TxnApprovalInfo={"ApprovalStatus": "APPROVED"})
    rig.sync()
    assert (counted(rig), state(rig, waiting, "Bill")) == ("100.00", ("posted", "100.00", "0.00", "0.00"))


def test_S21_a_posted_bill_that_goes_into_approval_again_keeps_its_cost(rig: Rig) -> None:
    owed = rig.bookkeeper.bill("AP-2", [line(100, item="101")])
    rig.sync()
    rig.bookkeeper.edit(
        "Bill", owed, Line=[line(130, item="101")], TxnApprovalInfo={"ApprovalStatus": "PENDING_APPROVAL"}
    )
    rig.sync()
    (hold,) = rig.holds(owed["Id"])
    assert hold.reason == "NEEDS_APPROVAL"
    assert "it waits for approval in QBO, and Procore keeps 100.00 of it until then" in hold.sentence
    assert state(rig, owed, "Bill") == ("held", "100.00", "0.00", "30.00")
    rig.bookkeeper.edit("Bill", owed, TxnApprovalInfo={"ApprovalStatus": "APPROVED"})
    rig.sync()
    assert (counted(rig), rig.holds()) == ("130.00", [])
