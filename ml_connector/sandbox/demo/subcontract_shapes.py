"""The shapes of bill that belong to subcontracts, and those that are corrected or deleted later; one generator each."""

from decimal import Decimal

from ml_connector.sandbox.demo.clerk import LUMBER, Clerk
from ml_connector.sandbox.demo.contracts import (
    BRIGHT,
    SC_007,
    SC_009,
    SC_011,
    SC_012,
    SC_014,
    SC_016,
    SC_020,
    SC_023,
    SUBCONTRACT_COSTS,
    Contract,
)
from ml_connector.sandbox.demo.drafts import Draft
from ml_connector.sandbox.demo.lines import DemoLine, Waits, cost, on_account, on_item
from ml_connector.sandbox.demo.parties import FIREHOUSE, HARBOR, Job, named
from ml_connector.sandbox.demo.shapes import Drafts

_PROGRESSING = (SC_007, SC_012, SC_014, SC_016)


def s33_progress_bill(clerk: Clerk) -> Drafts:
    """A subcontractor's progress bill less the contract's retainage: one requisition."""
    contract, work = _PROGRESSING[clerk.whole(0, 3)], _hundreds(clerk, 20, 60)
    lines = (contract.work(work, "Progress to date"), contract.retain(work))
    return (Draft("S33", contract.vendor, clerk.number(contract.vendor), lines),)


def s33_two_schedule_lines(clerk: Clerk) -> Drafts:
    """Work on two lines of the schedule of values, one line of retainage for both."""
    work, power = _hundreds(clerk, 25, 50), _hundreds(clerk, 4, 9)
    lines = (
        SC_007.work(work, "Branch wiring, level 2"),
        SC_007.work(power, "Temporary power, one month", place=1),
        SC_007.retain(work + power),
    )
    return (Draft("S33", BRIGHT, clerk.number(BRIGHT), lines),)


def s34_held_and_released(clerk: Clerk) -> Drafts:
    """A progress bill of last month, and a part of what it held back released alone: no new cost."""
    held, released = clerk.number(SC_016.vendor), clerk.number(SC_016.vendor)
    work = Decimal("6000.00")
    return (
        Draft(
            "S33",
            SC_016.vendor,
            held,
            (SC_016.work(work, "Tear-off, section A"), SC_016.retain(work)),
            dated=45,
        ),
        Draft("S34", SC_016.vendor, released, (SC_016.release(Decimal("200.00")),), dated=4),
    )


def s39_two_contracts(clerk: Clerk) -> Drafts:
    """One bill over two subcontracts of one job: the text of each line names its own."""
    wiring, alarm = _hundreds(clerk, 30, 50), _hundreds(clerk, 20, 40)
    lines = (
        SC_007.work(wiring, "SC-007 wiring"),
        SC_009.work(alarm, "SC-009 alarm devices"),
        SC_007.retain(wiring, "Retainage SC-007"),
        SC_009.retain(alarm, "Retainage SC-009"),
    )
    return (Draft("S39", BRIGHT, clerk.number(BRIGHT), lines),)


def s40_draft_contract(clerk: Clerk) -> Drafts:
    """The subcontract is a draft in Procore still."""
    return _waiting_work(clerk, "S40", SC_011, _hundreds(clerk, 15, 30), reason="COMMITMENT_NOT_APPROVED")


def s41_over_billed(clerk: Clerk) -> Drafts:
    """More work than the subcontract has left."""
    return _waiting_work(clerk, "S41", SC_023, Decimal("4200.00"), reason="OVERBILLED")


def s52_material(clerk: Clerk) -> Drafts:
    """A subcontractor sells material beside its contract: cost of the job like any other."""
    amount = clerk.amount(700, 2400)
    line = on_item(
        "Wire and conduit",
        amount,
        cost(HARBOR, "26-0500", "M", amount),
        job=HARBOR,
        text="Owner's spare reels",
    )
    return (Draft("S01", BRIGHT, clerk.number(BRIGHT), (line,)),)


def s56_small_hire(clerk: Clerk) -> Drafts:
    """A bill as large as the vendor's credit, which settles it without cash."""
    vendor, amount = named("City Rental"), Decimal("88.00")
    line = on_account(
        "5030", amount, cost(FIREHOUSE, "01-5000", "E", amount), job=FIREHOUSE, text="Fuel surcharge"
    )
    return (Draft("S56", vendor, clerk.number(vendor), (line,)),)


def s69_corrected_bill(clerk: Clerk) -> Drafts:
    """Corrected after it was posted: an amount changed, a line added."""
    vendor, job, amount = clerk.vendor("lumber"), clerk.job(), clerk.amount(900, 2200)
    lines = (_lumber(job, amount), _lumber(job, Decimal("212.50")))
    added = Decimal("75.00")
    freight = on_account("5090", added, cost(job, "01-7800", "O", added), job=job, text="Freight, left out")
    then = (_lumber(job, amount + 60), lines[1], freight)
    return (Draft("S69", vendor, clerk.number(vendor), lines, then=then),)


def s69_corrected_progress_bill(clerk: Clerk) -> Drafts:
    """A progress bill that is corrected after it became the newest invoice of its subcontract."""
    first, then = Decimal("9000.00"), Decimal("9500.00")
    lines, corrected = (
        (SC_020.work(work, "Underslab rough-in"), SC_020.retain(work)) for work in (first, then)
    )
    return (Draft("S69", SC_020.vendor, clerk.number(SC_020.vendor), lines, then=corrected),)


def s73_deleted_bill(clerk: Clerk) -> Drafts:
    """Posted, and deleted in QuickBooks later on."""
    vendor, job = clerk.vendor("lumber"), clerk.job()
    line = LUMBER.line(job, clerk.amount(700, 1900), "Delivered to the wrong yard")
    return (Draft("S73", vendor, clerk.number(vendor), (line,), deleted=True),)


def s125_no_contract(clerk: Clerk) -> Drafts:
    """Subcontract costs of a vendor that has no subcontract yet."""
    vendor, work = named("Cottonwood Landscaping"), _hundreds(clerk, 8, 16)
    line = on_account(
        SUBCONTRACT_COSTS, work, Waits("COMMITMENT_MISSING"), job=FIREHOUSE, text="Rough grading"
    )
    return (Draft("S125", vendor, clerk.number(vendor), (line,)),)


def _hundreds(clerk: Clerk, low: int, high: int) -> Decimal:
    return Decimal(clerk.whole(low, high) * 100).quantize(Decimal("0.01"))


def _waiting_work(clerk: Clerk, scenario: str, contract: Contract, work: Decimal, *, reason: str) -> Drafts:
    lines = (contract.work(work, "Progress to date"),)
    return (Draft(scenario, contract.vendor, clerk.number(contract.vendor), lines, hold=reason),)


def _lumber(job: Job, amount: Decimal) -> DemoLine:
    return LUMBER.line(job, amount, "Joists, level 2")
