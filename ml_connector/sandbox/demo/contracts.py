"""The firm's commitments in Procore, with their schedules of values, and the billing periods of its jobs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from ml_connector.sandbox.demo.lines import Bills, DemoLine, Retains, on_account
from ml_connector.sandbox.demo.parties import (
    ACTIVE_JOBS,
    ELM,
    FIREHOUSE,
    HARBOR,
    LIBRARY,
    QUARRY,
    Job,
    Vendor,
    named,
    procore_vendor,
)

SUBCONTRACT_COSTS, RETAINAGE_PAYABLE = "5020", "2150"
_FIRST_PERIOD = 66100
_BEFORE = timedelta(days=1)


@dataclass(frozen=True)
class Contract:
    """A subcontract; `schedule` is budget code, description and amount of each line, `retainage` in percent."""

    id: int
    number: str
    title: str
    vendor: Vendor
    job: Job
    schedule: tuple[tuple[str, str, int], ...]
    retainage: int | None = 10
    status: str = "Approved"

    def work(self, amount: Decimal, text: str, *, place: int = 0) -> DemoLine:
        """A line of a bill for work on line `place` of the schedule."""
        code, _, kind = self.schedule[place][0].rpartition(".")
        outcome = Bills(self.number, (code, kind, amount))
        return on_account(SUBCONTRACT_COSTS, amount, outcome, job=self.job, text=text)

    def retain(self, work: Decimal, text: str = "") -> DemoLine:
        """The line of a bill that holds back the contract's percentage of `work`."""
        held = -(work * (self.retainage or 0) / 100).quantize(Decimal("0.01"))
        words = text or f"Less retainage {self.retainage}%"
        return on_account(RETAINAGE_PAYABLE, held, Retains(self.number, held), job=self.job, text=words)

    def release(self, amount: Decimal) -> DemoLine:
        """The line of a bill that asks for retainage held before."""
        outcome = Retains(self.number, amount)
        return on_account(RETAINAGE_PAYABLE, amount, outcome, job=self.job, text="Retainage released")


BRIGHT, NORDWALL, HELM = (named(name) for name in ("Bright Electric", "Nordwall Drywall", "Helm Roofing"))
ZEPHYR = named("Zephyr Mechanical")

SC_007 = Contract(
    *(701001, "SC-007", "Electrical rough-in and trim", BRIGHT, HARBOR),
    schedule=(
        ("26-0500.S", "Rough-in and trim", 92_000),
        ("01-5000.O", "Temporary power", 8_000),
    ),
)
SC_009 = Contract(
    *(701005, "SC-009", "Fire alarm", BRIGHT, HARBOR), schedule=(("26-0500.S", "Fire alarm", 45_000),)
)
SC_011 = Contract(
    *(701002, "SC-011", "Drywall, levels 1 and 2", NORDWALL, ELM),
    schedule=(("09-2900.S", "Drywall, levels 1 and 2", 60_000),),
    status="Draft",
)
SC_012 = Contract(
    *(701006, "SC-012", "Drywall", NORDWALL, HARBOR),
    schedule=(("09-2900.S", "Hang, tape and finish", 68_000),),
    retainage=5,
)
SC_014 = Contract(
    *(701003, "SC-014", "Membrane roof", HELM, QUARRY), schedule=(("07-5000.S", "Membrane roof", 74_000),)
)
SC_016 = Contract(
    *(701007, "SC-016", "Reroofing, west wing", HELM, LIBRARY),
    schedule=(("07-5000.S", "Tear-off and membrane", 71_000),),
    retainage=5,
)
SC_020 = Contract(
    *(701008, "SC-020", "Plumbing and apparatus bay drains", ZEPHYR, FIREHOUSE),
    schedule=(("22-0500.S", "Rough-in and drains", 84_000),),
)
SC_023 = Contract(
    *(701009, "SC-023", "Drywall patching", NORDWALL, FIREHOUSE),
    schedule=(("09-2900.S", "Patching", 3_500),),
    retainage=None,
)
CONTRACTS = (SC_007, SC_009, SC_011, SC_012, SC_014, SC_016, SC_020, SC_023)


def subcontracts() -> Iterator[dict[str, Any]]:
    """The subcontracts as Procore's `load` takes them."""
    for contract in CONTRACTS:
        yield {
            "id": contract.id,
            "project_id": contract.job.project,
            "number": contract.number,
            "title": contract.title,
            "vendor_id": procore_vendor(contract.vendor.name),
            "status": contract.status,
            "executed": contract.status == "Approved",
            "retainage_percent": contract.retainage,
            "line_items": [
                {"flat_code": code, "description": text, "amount": Decimal(amount)}
                for code, text, amount in contract.schedule
            ],
        }


def purchase_order() -> dict[str, Any]:
    """The one purchase order."""
    line = {"flat_code": "08-1000.M", "description": "Casework, bays 1 to 4", "amount": Decimal(38_500)}
    return {
        "id": 701004,
        "project_id": FIREHOUSE.project,
        "number": "PO-021",
        "title": "Casework",
        "vendor_id": procore_vendor("Blue Spruce Millwork"),
        "status": "Approved",
        "line_items": [line],
    }


def billing_periods(today: date) -> Iterator[dict[str, Any]]:
    """Of every active job: the month of `today`, open, and the one before it, closed."""
    first = today.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    before = (first - _BEFORE).replace(day=1)
    for place, job in enumerate(ACTIVE_JOBS):
        months = ((before, first, "closed"), (first, following, "open"))
        for position, (start, end, status) in enumerate(months, start=1):
            last = (end - _BEFORE).isoformat()
            yield {
                "id": _FIRST_PERIOD + 10 * place + position,
                "project_id": job.project,
                "start_date": start.isoformat(),
                "end_date": last,
                "due_date": last,
                "status": status,
                "position": position,
            }
