"""Lines of bills as the bookkeeper types them, each with what the firm expects of it."""

from dataclasses import dataclass
from decimal import Decimal

from ml_connector.sandbox.demo.chart import ACCOUNT_BY_NUMBER, CLASSES, ITEM_BY_NAME
from ml_connector.sandbox.demo.expectations import ZERO, CodedLine
from ml_connector.sandbox.demo.parties import Job
from ml_connector.sandbox.qbo.company import short
from ml_connector.sandbox.records import Document


@dataclass(frozen=True)
class Costs:
    """The line is job cost; one part a direct cost line."""

    project: int
    parts: tuple[CodedLine, ...]


@dataclass(frozen=True)
class Bills:
    """The line is work on a subcontract, on the line of its schedule with this budget code."""

    commitment: str
    part: CodedLine


@dataclass(frozen=True)
class Retains:
    """The line is retainage of a subcontract: held when it is below zero, else released."""

    commitment: str
    amount: Decimal


@dataclass(frozen=True)
class StaysOut:
    """The line is by rule or policy never sent."""

    reason: str


@dataclass(frozen=True)
class Waits:
    """The line holds its bill."""

    reason: str


Outcome = Costs | Bills | Retains | StaysOut | Waits


@dataclass(frozen=True)
class DemoLine:
    """A line in the form of a create request; `outcome` is None for text without money."""

    body: Document
    amount: Decimal
    outcome: Outcome | None


def cost(job: Job, code: str, cost_type: str, amount: Decimal) -> Costs:
    """One direct cost line on the job's Procore project. Raises ValueError for a job that has none."""
    return costs(job, (code, cost_type, amount))


def costs(job: Job, *parts: CodedLine) -> Costs:
    """Direct cost lines that share one line of the bill. Raises ValueError for a job without a project."""
    if job.project is None:
        raise ValueError(f"{job.name} has no Procore project")
    return Costs(job.project, parts)


def on_item(
    item: str,
    amount: Decimal,
    outcome: Outcome,
    *,
    job: Job | None,
    text: str = "",
    quantity: Decimal | None = None,
    price: Decimal | None = None,
) -> DemoLine:
    """A line that buys an item."""
    detail: Document = {"ItemRef": {"value": ITEM_BY_NAME[item].id, "name": item}}
    if quantity is not None and price is not None:
        detail |= {"UnitPrice": short(price), "Qty": short(quantity)}
    return _line("ItemBasedExpenseLineDetail", detail, amount, outcome, job=job, text=text)


def on_account(
    number: str,
    amount: Decimal,
    outcome: Outcome,
    *,
    job: Job | None,
    text: str = "",
    class_name: str = "",
) -> DemoLine:
    """A line booked to an account, named by its number."""
    account = ACCOUNT_BY_NUMBER[number]
    detail: Document = {"AccountRef": {"value": account.id, "name": account.full_name}}
    if class_name:
        detail["ClassRef"] = {"value": CLASSES[class_name], "name": class_name}
    return _line("AccountBasedExpenseLineDetail", detail, amount, outcome, job=job, text=text)


def note_line(text: str) -> DemoLine:
    """Text without account and amount."""
    return DemoLine({"DetailType": "DescriptionOnly", "Description": text}, ZERO, None)


def _line(
    kind: str,
    detail: Document,
    amount: Decimal,
    outcome: Outcome,
    *,
    job: Job | None,
    text: str,
) -> DemoLine:
    if job is not None:
        detail = {"CustomerRef": {"value": job.id, "name": f"{job.customer}:{job.name}"}, **detail}
    body: Document = {"Amount": short(amount), "DetailType": kind, kind: detail}
    if text:
        body["Description"] = text
    return DemoLine(body, amount, outcome)
