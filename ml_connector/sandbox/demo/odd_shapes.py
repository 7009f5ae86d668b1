"""The shapes of bill that wait for somebody, or that are no job cost at all, one generator each."""

from decimal import Decimal

from ml_connector.sandbox.demo.clerk import LUMBER, READY_MIX, Clerk
from ml_connector.sandbox.demo.drafts import Draft
from ml_connector.sandbox.demo.lines import DemoLine, StaysOut, Waits, cost, on_account, on_item
from ml_connector.sandbox.demo.parties import DEPOT, HARBOR, LIBRARY, MILL_BRIDGE, QUARRY, Job, named
from ml_connector.sandbox.demo.shapes import Drafts

_RATE = Decimal("0.7312")


def s03_closed_job(clerk: Clerk) -> Drafts:
    """A bill over two jobs, one of them closed in Procore: all of it waits."""
    vendor = clerk.vendor("concrete")
    lines = (
        READY_MIX.line(HARBOR, clerk.amount(300, 900), "Stairs"),
        on_item("Ready-mix", Decimal("800.00"), Waits("PROJECT_CLOSED"), job=DEPOT, text="Patching"),
    )
    return (Draft("S03", vendor, clerk.number(vendor), lines),)


def s07_no_job(clerk: Clerk) -> Drafts:
    """A job-cost account and no job."""
    vendor, amount = clerk.vendor("rental"), clerk.amount(150, 600)
    line = on_account("5030", amount, Waits("NO_PROJECT"), job=None, text="Lift, 2 days")
    return (Draft("S07", vendor, clerk.number(vendor), (line,)),)


def s10_tax(clerk: Clerk) -> Drafts:
    """Tax beside the lines, and no policy for it yet."""
    vendor, job, net = clerk.vendor("taxed"), clerk.job(), clerk.amount(400, 1100)
    line = on_account("5010", net, cost(job, "06-1000", "M", net), job=job, text="Coping stones")
    tax = (net * Decimal("0.07")).quantize(Decimal("0.01"))
    return (Draft("S10", vendor, clerk.number(vendor), (line,), hold="TAX_POLICY", tax=tax),)


def s13_twice(clerk: Clerk) -> Drafts:
    """One vendor's number a second time, over another amount."""
    return _twice(clerk, later=False)


def s13_twice_later(clerk: Clerk) -> Drafts:
    """The same, the second one entered while the demo runs."""
    return _twice(clerk, later=True)


def s17_foreign(clerk: Clerk) -> Drafts:
    """Canadian dollars in a company of US dollars."""
    vendor, job, amount = clerk.vendor("foreign"), clerk.job(), clerk.amount(500, 1300)
    line = on_item("Doors and frames", amount, cost(job, "08-1000", "M", amount), job=job, text="Maple doors")
    return (Draft("S17", vendor, clerk.number(vendor), (line,), hold="CURRENCY", rate=_RATE),)


def s22_code_missing(clerk: Clerk) -> Drafts:
    """The job has no drywall code at all."""
    return _waiting_item(clerk, "S22", "drywall", item="Drywall labor", job=QUARRY, reason="CODE_MISSING")


def s23_type_missing(clerk: Clerk) -> Drafts:
    """The job has the electrical code, but only as subcontract."""
    return _waiting_item(
        clerk, "S23", "electrical", item="Wire and conduit", job=LIBRARY, reason="CODE_MISSING"
    )


def s24_unmapped(clerk: Clerk) -> Drafts:
    """An account without a rule."""
    vendor, amount = clerk.vendor("tools"), clerk.amount(60, 700)
    line = on_account("5075", amount, Waits("UNMAPPED"), job=clerk.job(), text="Drill bits, blades")
    return (Draft("S24", vendor, clerk.number(vendor), (line,)),)


def s82_two_of_a_name(clerk: Clerk) -> Drafts:
    """Procore knows two vendors of this name."""
    vendor = named("ABC Concrete")
    line = READY_MIX.line(clerk.job(), clerk.amount(400, 1500), "Pad")
    return (Draft("S82", vendor, clerk.number(vendor), (line,), hold="VENDOR_AMBIGUOUS"),)


def s87_job_not_linked(clerk: Clerk) -> Drafts:
    """Mill Bridge is in accounting first."""
    return _waiting_item(
        clerk, "S87", "earthwork", item="Excavation", job=MILL_BRIDGE, reason="PROJECT_NOT_LINKED"
    )


def s88_late_bill(clerk: Clerk) -> Drafts:
    """A late bill for a job that is closed in Procore."""
    return _waiting_item(clerk, "S88", "roofing", item="Roof membrane", job=DEPOT, reason="PROJECT_CLOSED")


def s124_release(clerk: Clerk) -> Drafts:
    """What was kept back from a supplier is paid out: no cost either."""
    vendor = clerk.vendor("retainage")
    line = on_account(
        "2150", Decimal("200.00"), StaysOut("RETAINAGE_PAYABLE"), job=clerk.job(), text="Retainage released"
    )
    return (Draft("S124", vendor, clerk.number(vendor), (line,)),)


def s127_asset_on_job(clerk: Clerk) -> Drafts:
    """Stock, or a machine, booked with a job: no cost unless a rule says so."""
    if clerk.whole(0, 1):
        vendor, amount = clerk.vendor("inventory"), clerk.amount(100, 500)
        line = on_item("Anchor bolts", amount, Waits("NOT_A_COST"), job=clerk.job(), text="For the store")
    else:
        vendor, amount = clerk.vendor("machinery"), clerk.amount(700, 1900)
        line = on_account("1500", amount, Waits("NOT_A_COST"), job=clerk.job(), text="Plate compactor")
    return (Draft("S127", vendor, clerk.number(vendor), (line,)),)


def s127_overhead(clerk: Clerk) -> Drafts:
    """Rent and light have no job and no rule, and are totalled by account."""
    trade, account, low, high = (("rent", "6200", 1100, 1900), ("utilities", "6300", 60, 420))[
        clerk.whole(0, 1)
    ]
    return _stays_out(clerk, "S127", trade, account=account, reason="OVERHEAD", between=(low, high))


def s127_balance_sheet(clerk: Clerk) -> Drafts:
    """Prepaid insurance and the loan: no job, no cost."""
    trade, account = (("insurance", "1400"), ("loan", "2700"))[clerk.whole(0, 1)]
    return _stays_out(clerk, "S127", trade, account=account, reason="NOT_A_COST", between=(300, 900))


def s06_office_bill(clerk: Clerk) -> Drafts:
    """All of it for the office, by the rule of the sheet."""
    return _stays_out(clerk, "S06", "office", account="6100", reason="OVERHEAD", between=(30, 260))


def _twice(clerk: Clerk, *, later: bool) -> Drafts:
    vendor, job = clerk.vendor("lumber"), clerk.job()
    number = f"INV-5{clerk.whole(100, 999)}"

    def line(low: int, high: int) -> tuple[DemoLine]:
        return (LUMBER.line(job, clerk.amount(low, high), "Deck boards"),)

    return (
        Draft("S13", vendor, number, line(900, 2400)),
        Draft("S13", vendor, number, line(300, 800), hold="POSSIBLE_DUPLICATE", twice=True, later=later),
    )


def _waiting_item(clerk: Clerk, scenario: str, trade: str, *, item: str, job: Job, reason: str) -> Drafts:
    vendor, amount = clerk.vendor(trade), clerk.amount(400, 1900)
    return (Draft(scenario, vendor, clerk.number(vendor), (on_item(item, amount, Waits(reason), job=job),)),)


def _stays_out(
    clerk: Clerk, scenario: str, trade: str, *, account: str, reason: str, between: tuple[int, int]
) -> Drafts:
    vendor, amount = clerk.vendor(trade), clerk.amount(*between)
    return (
        Draft(
            scenario, vendor, clerk.number(vendor), (on_account(account, amount, StaysOut(reason), job=None),)
        ),
    )
