"""What Procore should hold of a bill: direct costs with their lines, as bodies of Procore's sync actions. Pure.

Origin ids are `qbo:<realm>:<type>:<id>:<project>`, always in full; a line's is its ordinal inside the record, since QBO
gives lines new ids when a bill is edited.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ml_connector.mapping.models import Route
from ml_connector.money import to_cents, total
from ml_connector.qbo.models import Bill, Entity
from ml_connector.store import exact_json
from ml_connector.store.records import MappedLine

TEXT_LIMIT = 4000
CUT = " … [cut]"
DIRECT = ("", Route.DIRECT_COST)  # routes of lines that become direct costs


@dataclass(frozen=True)
class DirectCost:
    """A wanted direct cost. `header` and `lines` are rows of the sync actions; amounts are Decimal."""

    origin_id: str
    project_id: str
    qbo_id: str
    header: Mapping[str, Any]
    lines: tuple[Mapping[str, Any], ...]
    amount: Decimal
    suffix: str = ""  # of the invoice number, where it must be unique over projects

    @property
    def body(self) -> dict[str, Any]:
        """The whole as stored in the ledger, money as text."""
        return {"header": dict(self.header), "lines": [_as_text(line) for line in self.lines]}

    @property
    def body_hash(self) -> bytes:
        """SHA-256 of the body."""
        return hashlib.sha256(exact_json.dumps(self.body, sort_keys=True)).digest()

    @property
    def number(self) -> str:
        """The invoice number with its suffix; a purchase may have none."""
        return str(self.header["invoice_number"] or "")

    @property
    def about(self) -> str:
        """A short form of its hash: what a decision on this very content holds for."""
        return self.body_hash.hex()[:16]

    @property
    def line_origins(self) -> list[str]:
        """Origin ids of the lines."""
        return [line["origin_id"] for line in self.lines]

    def suffixed(self, suffix: str) -> "DirectCost":
        """The same direct cost, its invoice number with another suffix."""
        number = self.number.removesuffix(self.suffix) + suffix
        return replace(self, header={**self.header, "invoice_number": number}, suffix=suffix)


def origin_of(realm: str, entity: Entity, qbo_id: str, target: str) -> str:
    """The origin id of a target record (`target`: Procore project or commitment id)."""
    return f"qbo:{realm}:{entity.lower()}:{qbo_id}:{target}"


def payment_date_of(origin: str) -> str:
    """The key of the ledger row of a direct cost's payment date; Procore has no record of its own for it."""
    return f"{origin}:payment_date"


def vendor_origin(realm: str, qbo_id: str) -> str:
    """The origin id of a vendor of Procore's company directory."""
    return f"qbo:{realm}:vendor:{qbo_id}"


def sendable(text: str) -> str:
    """`text` without what no record may hold: NUL goes, half a character becomes a question mark."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def cut(text: str) -> str:
    """`text` with at most 4000 characters, marked where it was cut; line breaks kept."""
    clean = sendable(text)
    return clean if len(clean) <= TEXT_LIMIT else clean[: TEXT_LIMIT - len(CUT)] + CUT


def number_of(bill: Bill) -> str:
    """The invoice number: the vendor's, or one made of the QBO id when the bill has none."""
    return sendable(bill.number).strip() or f"QBO-{bill.id}"


def void_number(number: str, qbo_id: str) -> str:
    """The number of a direct cost whose bill is gone, so that the true number is free for a replacement."""
    return f"{number} (void {qbo_id})".lstrip()


def direct_costs(
    bill: Bill,
    lines: Sequence[MappedLine],
    *,
    realm: str,
    vendor_id: int | None,
    status: str,
    suffixes: Mapping[str, str],
    nets: bool,
    dates_payment: bool,
) -> list[DirectCost]:
    """One direct cost a project for the lines mapped to it, in the order of the bill.

    A purchase is of the type `expense`, which needs neither vendor nor number (procore-api 7), and paid on its date:
    `dates_payment` says whether Procore is told. `nets`: lines below zero are taken off those with their budget code,
    which become one line. `suffixes` of invoice numbers, by origin id, are those that earlier postings came to; they
    are kept for good.
    """
    by_project: dict[str, list[MappedLine]] = {}
    for line in lines:
        if line.outcome == "posted" and line.route in DIRECT:
            by_project.setdefault(line.project_id, []).append(line)
    notes = [bill.memo, *(line.description for line in lines if line.outcome == "text")]
    is_expense = bill.entity is Entity.PURCHASE
    if is_expense and vendor_id is None and bill.vendor.name:
        notes.insert(0, f"Paid to {bill.vendor.name}")
    description = cut("\n".join(note for note in notes if note))
    made = []
    for project_id, lines_there in by_project.items():
        mine = _netted(lines_there) if nets else lines_there
        origin = origin_of(realm, bill.entity, bill.id, project_id)
        header = {
            "origin_id": origin,
            "direct_cost_type": "expense" if is_expense else "invoice",
            "status": status,
            "vendor_id": vendor_id,
            "invoice_number": _number(bill, suffixes.get(origin, "")),
            "direct_cost_date": bill.txn_date.isoformat(),
            "received_date": bill.txn_date.isoformat(),
            "description": description,
        }
        if is_expense and dates_payment:
            header["payment_date"] = bill.txn_date.isoformat()
        rows = tuple(_line(origin, ordinal, line) for ordinal, line in enumerate(mine, start=1))
        amount = total(line.amount for line in mine)
        made.append(
            DirectCost(origin, project_id, bill.id, header, rows, amount, suffix=suffixes.get(origin, ""))
        )
    return made


def _number(bill: Bill, suffix: str) -> str | None:
    number = sendable(bill.number).strip() if bill.entity is Entity.PURCHASE else number_of(bill)
    return number + suffix if number else None


def _netted(lines: Sequence[MappedLine]) -> list[MappedLine]:
    """`lines` with one for every budget code that has some below zero, and others, in the place of its first."""
    by_code: dict[int | None, list[MappedLine]] = {}
    for line in lines:
        by_code.setdefault(line.wbs_code_id, []).append(line)
    netted: list[MappedLine] = []
    for line in lines:
        same = by_code[line.wbs_code_id]
        if len(same) == 1 or all(one.amount >= 0 for one in same):
            netted.append(line)
        elif line is same[0]:
            words = "; ".join(dict.fromkeys(one.description for one in same if one.description))
            amount = total(one.amount for one in same)
            netted.append(replace(line, amount=amount, description=words, quantity=None, unit_price=None))
    return netted


def _line(origin: str, ordinal: int, line: MappedLine) -> dict[str, Any]:
    row: dict[str, Any] = {
        "origin_id": f"{origin}:{ordinal}",
        "wbs_code_id": line.wbs_code_id,
        "description": cut(line.description),
        "amount": line.amount,
        "extended_type": "manual",
    }
    if line.quantity is not None and line.unit_price is not None:
        row["quantity"], row["unit_cost"] = line.quantity, line.unit_price
        # Procore multiplies by itself; where its product would be another amount, the bill's amount is fixed.
        if to_cents(line.quantity * line.unit_price) == line.amount:
            row["extended_type"] = "calculated"
    return row


def _as_text(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Decimal) else value for key, value in line.items()}
