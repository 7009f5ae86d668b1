"""Every shape of bill that ends in direct costs, one generator each, named by its scenario.

A generator says what the bookkeeper types and beside it what the firm expects of it.
The shapes that wait or stay out as a whole are in `odd_shapes`.
"""

from decimal import Decimal

from ml_connector.sandbox.demo.clerk import LUMBER, READY_MIX, Clerk
from ml_connector.sandbox.demo.drafts import Draft
from ml_connector.sandbox.demo.lines import (
    DemoLine,
    StaysOut,
    cost,
    costs,
    note_line,
    on_account,
    on_item,
)
from ml_connector.sandbox.demo.parties import HARBOR, QUARRY, Job, named

Drafts = tuple[Draft, ...]
_LONGEST = 3900
_STORY = (
    "Straße 7, façade “north”: 2 x 3 m panels, 45° mitre, ±2 mm; Größe nach Plan, crème finish 🏗️.\n"
    "Delivered by O'Brien & Söhne, signed for on site; <no> substitutes; 100% of order.\n"
)


def s01_one_line(clerk: Clerk) -> Drafts:
    """One purchase for one job."""
    bought = clerk.purchase()
    vendor = clerk.vendor(bought.trade, name=bought.vendor)
    line = bought.line(
        clerk.job(off=bought.off), clerk.amount(bought.low, bought.high), clerk.text(bought.texts)
    )
    return (Draft("S01", vendor, clerk.number(vendor), (line,), location=bought.location),)


def s02_over_jobs(clerk: Clerk) -> Drafts:
    """Two jobs, the first of them again with another code."""
    vendor = clerk.vendor("concrete")
    first = clerk.job()
    second = clerk.job(off=(first,))
    pump = clerk.amount(300, 1500)
    lines = (
        READY_MIX.line(first, clerk.amount(900, 6000), "Slab pour"),
        READY_MIX.line(second, clerk.amount(600, 4000), "Curb pour"),
        on_account("5010", pump, cost(first, "01-5000", "E", pump), job=first, text="Rental pump, 1 day"),
    )
    return (Draft("S02", vendor, clerk.number(vendor), lines),)


def s04_item_and_account(clerk: Clerk) -> Drafts:
    """One line by item, one by account."""
    vendor, job = clerk.vendor("lumber"), clerk.job()
    hire = clerk.amount(200, 1200)
    lines = (
        LUMBER.line(job, clerk.amount(700, 4800), "Studs and plates"),
        on_account("5030", hire, cost(job, "01-5000", "E", hire), job=job, text="Forklift, 3 days"),
    )
    return (Draft("S04", vendor, clerk.number(vendor), lines),)


def s05_class_decides(clerk: Clerk) -> Drafts:
    """The same account twice; the class tells labor from material."""
    vendor, job = clerk.vendor("carpentry"), clerk.job()
    labor, material = clerk.amount(900, 5600), clerk.amount(500, 3900)
    lines = (
        on_account(
            "5040", labor, cost(job, "06-1000", "L", labor), job=job, text="Framing", class_name="Labor"
        ),
        on_account(
            "5040",
            material,
            cost(job, "06-1000", "M", material),
            job=job,
            text="Blocking",
            class_name="Material",
        ),
    )
    return (Draft("S05", vendor, clerk.number(vendor), lines),)


def s06_overhead_line(clerk: Clerk) -> Drafts:
    """A job bill with one line for the office."""
    vendor, job = clerk.vendor("lumber"), clerk.job()
    office = clerk.amount(20, 90)
    lines = (
        LUMBER.line(job, clerk.amount(500, 2600), "Furring"),
        on_account("6100", office, StaysOut("OVERHEAD"), job=None, text="Shelf for the office"),
    )
    return (Draft("S06", vendor, clerk.number(vendor), lines),)


def s08_text_lines(clerk: Clerk) -> Drafts:
    """One line with money between two of text."""
    vendor, job = clerk.vendor("concrete"), clerk.job()
    money = READY_MIX.line(job, clerk.amount(800, 5200), "Footings")
    ticket = clerk.whole(100, 999)
    lines = (note_line(f"See ticket {ticket}"), money, note_line("Truck 14, second trip"))
    return (Draft("S08", vendor, clerk.number(vendor), lines),)


def s09_freight(clerk: Clerk) -> Drafts:
    """Materials and their freight."""
    vendor, job = clerk.vendor("doors"), clerk.job()
    amount, freight = clerk.amount(1500, 9000), clerk.amount(80, 400)
    lines = (
        on_item(
            "Doors and frames", amount, cost(job, "08-1000", "M", amount), job=job, text="Frames, level 2"
        ),
        on_account("5090", freight, cost(job, "01-7800", "O", freight), job=job, text="Freight"),
    )
    return (Draft("S09", vendor, clerk.number(vendor), lines),)


def s11_negative_line(clerk: Clerk) -> Drafts:
    """A return on the same bill; both lines are cost, with their signs."""
    vendor, job = clerk.vendor("lumber"), clerk.job()
    returned = -clerk.amount(60, 300)
    lines = (
        LUMBER.line(job, clerk.amount(800, 3000), "Studs"),
        on_account("5010", returned, cost(job, "06-1000", "M", returned), job=job, text="Return pallets"),
    )
    return (Draft("S11", vendor, clerk.number(vendor), lines),)


def s12_zero_bill(clerk: Clerk) -> Drafts:
    """Material moved from one job to another: a total of 0.00 and two records."""
    vendor, giver = clerk.vendor("lumber"), clerk.job()
    taker, amount = clerk.job(off=(giver,)), clerk.amount(300, 900)
    lines = (
        LUMBER.line(taker, amount, "Moved from the other site"),
        LUMBER.line(giver, -amount, "Moved to the other site"),
    )
    return (Draft("S12", vendor, clerk.number(vendor), lines),)


def s13_same_number_of_two(clerk: Clerk) -> Drafts:
    """Two vendors happen to use one number."""
    number = f"INV-1{clerk.whole(100, 999)}"
    return tuple(
        Draft(
            "S13",
            clerk.vendor(bought.trade),
            number,
            (bought.line(clerk.job(), clerk.amount(600, 4000), text),),
        )
        for bought, text in ((READY_MIX, "Sidewalk"), (LUMBER, "Stair stringers"))
    )


def s13_no_number(clerk: Clerk) -> Drafts:
    """The vendor gave no number."""
    line = LUMBER.line(clerk.job(), clerk.amount(300, 1900), "Paper slip, no number")
    return (Draft("S13", clerk.vendor("lumber"), "", (line,)),)


def s14_other_letters(clerk: Clerk) -> Drafts:
    """Letters of other languages, an emoji, line breaks, and a text near QuickBooks' limit of 4000."""
    vendor, job = named("O'Brien & Söhne GmbH"), clerk.job()
    text = (_STORY * (_LONGEST // len(_STORY) + 1))[:_LONGEST]
    line = LUMBER.line(job, clerk.amount(900, 4200), text)
    return (Draft("S14", vendor, clerk.number(vendor), (line,), note="Größe geprüft, ok 👍"),)


def s15_odd_cent(clerk: Clerk) -> Drafts:
    """100.00 over three codes by a rule of equal shares; the first takes the odd cent."""
    vendor, job = clerk.vendor("site"), clerk.job()
    outcome = costs(
        job,
        ("01-5000", "L", Decimal("33.34")),
        ("01-5000", "O", Decimal("33.33")),
        ("01-7800", "O", Decimal("33.33")),
    )
    line = on_item("Site services", Decimal("100.00"), outcome, job=job, text="Weekly service")
    return (Draft("S15", vendor, clerk.number(vendor), (line,)),)


def s16_quantities(clerk: Clerk) -> Drafts:
    """12.5 x 48.40 = 605.00; and a price whose product is off by a hundredth of a cent: the amount wins."""
    vendor, job = clerk.vendor("concrete"), clerk.job()
    yards = Decimal(clerk.whole(8, 60)) / 2
    lines = (
        _measured(job, Decimal("12.5"), Decimal("48.40"), Decimal("605.00")),
        _measured(job, Decimal(3), Decimal("33.3333"), Decimal("100.00")),
        _measured(job, yards, Decimal("151.20"), (yards * Decimal("151.20")).quantize(Decimal("0.01"))),
    )
    return (Draft("S16", vendor, clerk.number(vendor), lines),)


def s25_two_rules(clerk: Clerk) -> Drafts:
    """The item rule stands above the one for rental pumps, and takes the line."""
    vendor = clerk.vendor("concrete")
    line = READY_MIX.line(clerk.job(), clerk.amount(700, 4400), "Ready-mix placed with rental pump")
    return (Draft("S25", vendor, clerk.number(vendor), (line,)),)


def s27_before_the_change(clerk: Clerk) -> Drafts:
    """Gypsum board dated before its new code, entered after: the date of the bill decides."""
    return (_board(clerk, "09-2900", dated=28),)


def s27_after_the_change(clerk: Clerk) -> Drafts:
    """Gypsum board dated since it has a code of its own."""
    return (_board(clerk, "09-2910", dated=4),)


def s85_inactive_vendor(clerk: Clerk) -> Drafts:
    """The vendor is inactive in QBO by now; its bill is cost all the same."""
    vendor = named("Old Mill Supply (deleted)")
    line = LUMBER.line(HARBOR, clerk.amount(800, 2400), "Reclaimed beams")
    return (Draft("S85", vendor, clerk.number(vendor), (line,)),)


def s124_retainage_without_commitment(clerk: Clerk) -> Drafts:
    """A supplier keeps back 10 %: the work is cost in full, what is kept back is no cost."""
    vendor, job = clerk.vendor("retainage"), clerk.job()
    work = Decimal(clerk.whole(10, 45)) * 100
    kept = -work / 10
    lines = (
        on_item("Concrete labor", work, cost(job, "03-3000", "L", work), job=job, text="Masonry bed"),
        on_account("2150", kept, StaysOut("RETAINAGE_PAYABLE"), job=None, text="Less retainage 10%"),
    )
    return (Draft("S124", vendor, clerk.number(vendor), lines),)


def _measured(job: Job, quantity: Decimal, price: Decimal, amount: Decimal) -> DemoLine:
    outcome = cost(job, "03-3000", "M", amount)
    return on_item("Ready-mix", amount, outcome, job=job, text="Per ticket", quantity=quantity, price=price)


def _board(clerk: Clerk, code: str, *, dated: int) -> Draft:
    vendor, job = clerk.vendor("board"), clerk.job(off=(QUARRY,))
    amount = clerk.amount(600, 3600)
    line = on_item("Gypsum board", amount, cost(job, code, "M", amount), job=job, text="5/8 type X")
    return Draft("S27", vendor, clerk.number(vendor), (line,), dated=dated)
