"""Two contents of a direct cost side by side: an earlier body and the new one, or ours and what Procore has. Pure.

What Procore stores is compared as it can be compared: blanks and line breaks of texts do not count, money does to the cent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ml_connector.money import to_cents
from ml_connector.procore.direct_costs import CostThere

WORDS = {
    "vendor_id": "vendor",
    "invoice_number": "number",
    "direct_cost_date": "date",
    "received_date": "date received",
    "description": "description",
    "status": "status",
    "wbs_code_id": "budget code",
    "amount": "amount",
    "quantity": "quantity",
    "unit_cost": "unit cost",
}
HEADER = ("vendor_id", "invoice_number", "direct_cost_date", "received_date", "description", "status")
LINE = ("wbs_code_id", "amount", "description", "quantity", "unit_cost")
DRAFT = "draft"

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Content:
    """A direct cost as it is compared: fields as text, lines by origin id, or by Procore's id where they have none."""

    header: Fields
    lines: Mapping[str, Fields]


@dataclass(frozen=True)
class Difference:
    """One field, or a line that came or went. `line` is its key, "" for the header; "" stands for what is not there."""

    line: str
    field: str
    before: str
    after: str

    @property
    def place(self) -> str:
        """`header`, `line 2`, `another line`: lines of ours are counted inside their record."""
        if not self.line:
            return "header"
        ordinal = self.line.rpartition(":")[2]
        return f"line {ordinal}" if ":" in self.line and ordinal.isdigit() else "another line"

    @property
    def detail(self) -> dict[str, str]:
        """For the audit trail."""
        return {
            "where": self.place,
            "what": WORDS.get(self.field, self.field),
            "from": self.before,
            "to": self.after,
        }


def content_of(body: Mapping[str, Any]) -> Content:
    """The content of a body as the ledger keeps it."""
    lines = {line["origin_id"]: _fields(line, LINE) for line in body["lines"]}
    return Content(_fields(body["header"], HEADER), lines)


def content_there(cost: CostThere, keys: Mapping[int, str]) -> Content:
    """The content of a direct cost in Procore; fields that its answer leaves out are left out.

    `keys` names lines that carry no origin id, by id.
    """
    lines = {
        line.origin_id or keys.get(line.id) or str(line.id): _fields(
            {"wbs_code_id": line.wbs_code_id, "amount": line.amount, "description": line.description}, LINE
        )
        for line in cost.lines
    }
    return Content(_fields(cost.fields, HEADER), lines)


def edited(before: Content, after: Content) -> list[Difference]:
    """What an edit in QBO changes."""
    return [*_between("", before.header, after.header), *_lines(before, after)]


def drifted(ours: Content, there: Content) -> list[Difference]:
    """What somebody changed in Procore. That a pending cost was approved there is how it should go."""
    changes = [change for change in _between("", ours.header, there.header) if not _is_workflow(change)]
    return [*changes, *_lines(ours, there)]


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Paths of the fields in which two versions of a QBO record differ: `Balance`, `Line 1 Description`."""
    skipped = ("MetaData", "SyncToken", "sparse", "domain")
    kept = [{key: value for key, value in raw.items() if key not in skipped} for raw in (before, after)]
    return sorted(set(_paths(kept[0], kept[1], "")))


def _paths(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, list) and isinstance(after, list):
        before, after = (
            {str(number): entry for number, entry in enumerate(rows, start=1)} for rows in (before, after)
        )
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        if before != after:
            yield path
        return
    for key in before.keys() | after.keys():
        yield from _paths(before.get(key), after.get(key), f"{path} {key}".strip())


def _is_workflow(change: Difference) -> bool:
    return change.field == "status" and change.before == "pending" and change.after != DRAFT


def _lines(before: Content, after: Content) -> Iterator[Difference]:
    for key, fields in before.lines.items():
        if key in after.lines:
            yield from _between(key, fields, after.lines[key])
        else:
            yield Difference(key, "line", fields.get("amount", ""), "")
    for key, fields in after.lines.items():
        if key not in before.lines:
            yield Difference(key, "line", "", fields.get("amount", ""))


def _between(line: str, before: Fields, after: Fields) -> Iterator[Difference]:
    for field, value in before.items():
        if field in after and after[field] != value:
            yield Difference(line, field, value, after[field])


def _fields(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    return {name: _text(name, row[name]) for name in names if name in row}


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "amount":
        return str(to_cents(Decimal(value)))
    return " ".join(str(value).split())
