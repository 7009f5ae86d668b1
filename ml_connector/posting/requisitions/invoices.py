"""A wanted subcontractor invoice ("requisition"): its origin id, its header and its items as Procore takes them. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from ml_connector.mapping.models import Route
from ml_connector.money import ZERO, total
from ml_connector.posting.requisitions.commitments import Share
from ml_connector.posting.requisitions.schedule import CHANGE_ORDER, STORED, Billed
from ml_connector.procore.commitments import Contract, ItemKey, Requisition
from ml_connector.qbo.models import Bill
from ml_connector.settings import Policies
from ml_connector.store import exact_json
from ml_connector.store.records import MappedLine

APPROVED, DRAFT = "approved", "draft"
NOTHING = (ZERO, ZERO, ZERO)
RELEASE = ":release"  # end of the origin id of the invoice that releases what a gross bill held


@dataclass(frozen=True)
class Invoice:
    """What Procore should hold of a bill on one commitment; `amount` is its net.

    `share_hash` tells whether the bill's part is another one, `source` whether anything of the bill that matters is.
    `there` is the requisition that is in Procore already; with `is_linked` it is a person's and only linked here.
    """

    origin_id: str
    contract: Contract
    number: str
    txn_date: date
    header: Mapping[str, Any]
    billed: tuple[Billed, ...]
    amount: Decimal
    share_hash: bytes
    source: str
    there: Requisition | None = None
    is_linked: bool = False
    is_settled: bool = False  # Procore holds it as it is wanted
    rates: Mapping[str, Decimal | None] = field(default_factory=dict)  # of retainage: bill's and contract's
    status: str = APPROVED
    is_unlinked: bool = False  # its link is in our ledger alone: an origin id would lock it for people
    beside: tuple[str, ...] = ()  # origin ids of all invoices of the bill, this one's too

    @property
    def wanted(self) -> dict[str, Any]:
        """What the ledger keeps of it, money as text."""
        return {
            "source": self.source,
            "beside": list(self.beside),
            "linked": self.is_linked,
            "txn_date": self.txn_date.isoformat(),
            "header": dict(self.header),
            "items": [_kept(entry) for entry in self.billed],
            **({"unlinked": True} if self.is_unlinked else {}),
        }

    @property
    def is_there(self) -> bool:
        """Whether Procore bills, line by line, what is wanted: a sum that agrees may stand on other codes."""
        mine = {entry.key: entry for entry in self.billed}
        there = () if self.there is None else self.there.items
        return mine.keys() <= {item.key for item in there} and all(
            (item.work, item.retained, item.released) == (entry.work, entry.held, entry.released)
            and entry.presently_stored in (ZERO, item.stored)
            for item in there
            for entry in [mine.get(item.key, Billed(item.key))]
        )

    def body(self) -> dict[str, Any]:
        """The body of a POST, or of a PATCH of what is there: then lines that are billed no more go to zero."""
        if self.there is None:
            items = [
                {"line_item_id": entry.key[1], "item_type": entry.key[0], **amounts_of(entry)}
                for entry in self.billed
            ]
            header = {
                **self.header,
                "invoice_number": self.number,
                "status": self.status,
            }
        else:
            mine = {entry.key: entry for entry in self.billed}
            items = [
                {
                    "id": item.id,
                    "item_type": item.key[0],
                    **amounts_of(mine.get(item.key, Billed(item.key)), was_stored=bool(item.stored)),
                }
                for item in self.there.items
                if item.key in mine or any((item.work, item.retained, item.released, item.stored))
            ]
            header = {"invoice_number": self.number}
            if self.there.status == DRAFT:  # else it keeps what a person has made of it
                header["status"] = self.status
        if not self.is_unlinked:
            header["origin_id"] = self.origin_id
        return self._around({**header, "items": items})

    def change(self, **fields: Any) -> dict[str, Any]:
        """The body of a PATCH of single header fields."""
        return self._around(fields)

    def _around(self, requisition: Mapping[str, Any]) -> dict[str, Any]:
        return around(self.contract.project_id, self.contract.id, requisition)

    def figures(self) -> dict[str, Decimal]:
        """Gross, held, released and net, for the audit trail."""
        return {
            "gross": total(entry.work + entry.stored for entry in self.billed),
            "held": total(entry.held for entry in self.billed),
            "released": total(entry.released for entry in self.billed),
            "net": self.amount,
        }


def around(project_id: str, commitment_id: int, requisition: Mapping[str, Any]) -> dict[str, Any]:
    """A body as the requisition calls want it (procore-api 9.2)."""
    return {
        "project_id": int(project_id),
        "commitment_id": commitment_id,
        "requisition": dict(requisition),
    }


def amounts_of(entry: Billed, *, was_stored: bool = False) -> dict[str, str]:
    """The money of one item. Both retainage fields are always sent: Procore would fill in its own percentage."""
    work = (
        {"work_completed_this_period": _text(entry.work)}
        if entry.quantity is None
        else {"work_completed_this_period_quantity": str(entry.quantity)}
    )
    stored = {
        "materials_presently_stored": _text(entry.presently_stored),
        "materials_stored_retainage_currently_retained": _text(entry.stored_held),
    }
    return {
        **work,
        "work_completed_retainage_retained_this_period": _text(entry.held),
        "work_completed_retainage_released_this_period": _text(entry.released),
        **(stored if entry.presently_stored or was_stored else {}),
    }


def release_of(invoice: Invoice, held: Mapping[ItemKey, Decimal]) -> Invoice:
    """The invoice that releases what `invoice` held back, once its bill is paid off."""
    billed = tuple(Billed(key, released=amount) for key, amount in held.items() if amount)
    amount = total(held.values())
    return replace(
        invoice,
        origin_id=invoice.origin_id + RELEASE,
        number=f"{invoice.number}-R",
        billed=billed,
        amount=amount,
        share_hash=hashlib.sha256(invoice.share_hash + RELEASE.encode()).digest(),
        there=None,
        is_linked=False,
        is_settled=False,
        rates={},
    )


def kept_items(wanted: Mapping[str, Any]) -> tuple[Billed, ...]:
    """The items of an invoice as the ledger kept them."""
    return tuple(
        Billed(
            (entry["type"], entry["line"]),
            work=Decimal(entry["work"]),
            held=Decimal(entry["held"]),
            released=Decimal(entry["released"]),
            stored=Decimal(entry["stored"]),
        )
        for entry in wanted["items"]
    )


def is_as_sent(row: Row[Any], there: Requisition) -> bool:
    """Whether an invoice without a link has the number and, line by line, the money that the ledger's `row` sent.

    Another one with that number was not there then: the bill would have been held for it, or linked to it.
    """
    sent = {entry.key: (entry.work, entry.held, entry.released) for entry in kept_items(row.wanted)}
    found = {item.key: (item.work, item.retained, item.released) for item in there.items}
    is_same = all(sent.get(key, NOTHING) == found.get(key, NOTHING) for key in sent.keys() | found.keys())
    return is_same and not there.origin_id and there.invoice_number.split() == row.number.split()


def share_hash(number: str, share: Share, policies: Policies) -> bytes:
    """Equal for parts of bills that are billed alike."""
    lines = [
        [
            _text(line.amount),
            line.wbs_code_id,
            str(line.quantity),
            named[1] if (named := CHANGE_ORDER.search(line.description)) else "",
            bool(STORED.search(line.description)),
        ]
        for line in share.work
    ]
    retained = [_text(share.held), _text(share.released), share.has_retainage, policies.retainage]
    return _hash([number, share.contract.id, lines, retained])


def source_of(bill: Bill, lines: Sequence[MappedLine], vendor_id: int, *, is_paid_off: bool) -> str:
    """Equal for versions of a bill that come to the same invoices, as far as the bill says."""
    orders = [bill.purchase_orders, *(line.purchase_orders for line in bill.lines)]
    content = [
        [
            *(line.line, line.project_id, line.wbs_code_id, line.route, line.commitment),
            *(_text(line.amount), line.description, str(line.quantity)),
        ]
        for line in lines
        if line.route in (Route.COMMITMENT, Route.RETAINAGE)
    ]
    return _hash([bill.number, bill.memo, vendor_id, orders, content, is_paid_off]).hex()


def _kept(entry: Billed) -> dict[str, Any]:
    return {
        "type": entry.key[0],
        "line": entry.key[1],
        "work": _text(entry.work),
        "held": _text(entry.held),
        "released": _text(entry.released),
        "stored": _text(entry.stored),
        "quantity": None if entry.quantity is None else str(entry.quantity),
    }


def _text(amount: Decimal) -> str:
    return f"{amount + ZERO:.2f}"


def _hash(content: Any) -> bytes:
    return hashlib.sha256(exact_json.dumps(content, sort_keys=True)).digest()
