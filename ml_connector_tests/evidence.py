"""What the two sandboxes hold and saw, read over their control interface alone: QBO's books, Procore's records and calls.

The ground that `oracle` judges on. Nothing of the product is imported, and nothing of its tables is read.
"""

import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

ZERO, CENT = Decimal(0), Decimal("0.01")
DIGITS = 15  # before the point; more is no money
REFERENCE = re.compile(r"qbo:\d+:[a-z]+:[^\]\s]+")
_IN_NOTES = re.compile(r"\[(qbo:\d+:billpayment:[^\]\s]+)\]")
_KINDS = {
    "Bill": "bill",
    "VendorCredit": "vendorcredit",
    "Purchase": "purchase",
    "BillPayment": "billpayment",
}
_WRITES = ("POST", "PATCH", "PUT", "DELETE")


@dataclass(frozen=True)
class Saved:
    """A bill, credit, purchase or payment as QBO has it now. `total` is None when no amount can be read from it.

    The total of a credit or refund is below zero. A payment's total is its cash and the credits that it uses.
    """

    name: str  # "bill:4471"
    version: str  # SyncToken
    number: str
    day: str
    total: Decimal | None
    home_total: Decimal | None  # in home currency, where the record has a rate
    balance: Decimal | None
    paid: tuple[tuple[str, Decimal], ...] = ()  # bill id, amount
    credits: Decimal = ZERO  # vendor credits that a payment uses

    @property
    def kind(self) -> str:
        """bill, vendorcredit, purchase or billpayment."""
        return self.name.partition(":")[0]


@dataclass(frozen=True)
class Live:
    """A live record in Procore; `reference` is the link to QBO that it carries, "" without one."""

    kind: str  # direct_cost, requisition, contract_payment
    id: int
    reference: str
    amount: Decimal
    counts: bool
    parent: str  # project of a direct cost, commitment of the others
    project: str
    company: int
    number: str
    day: str
    requisition: int | None
    payment_date: str | None
    by_api: bool  # written through the API at least once

    @property
    def name(self) -> str:
        """For sentences and for links."""
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True)
class Write:
    """A call that could change a record in Procore."""

    n: int
    at: str  # the sandbox's own clock
    words: str  # "PATCH /rest/v1.0/…"
    status: int | None  # None: no answer left the server
    processed: bool
    references: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """Both sides at one moment."""

    books: Mapping[str, Saved]
    deleted: frozenset[str]  # names of what the bookkeeper deleted through QBO's API
    edited: frozenset[str]  # names of what was updated after it was entered
    live: tuple[Live, ...]
    vendors: tuple[Mapping[str, Any], ...]
    writes: tuple[Write, ...]


def gather(qbo: str, procore: str, *, realm: str = "") -> Evidence:
    """Read both control interfaces. Raises OSError when one does not answer."""
    prefix = f"{realm}/" if realm else ""
    books = {
        saved.name: saved
        for entity in _KINDS
        for saved in (_saved(entity, raw) for raw in _records(qbo, prefix + entity))
    }
    said = [_deed(entry) for entry in _get(qbo, "journal") if f"/{realm}/" in entry["path"] or not realm]
    return Evidence(
        books=books,
        deleted=frozenset(name for verb, name in said if verb == "deleted"),
        edited=frozenset(name for verb, name in said if verb in ("updated", "voided")),
        live=tuple(_live(procore)),
        vendors=tuple(_records(procore, "vendors")),
        writes=tuple(_write(entry) for entry in _get(procore, "journal") if _is_write(entry)),
    )


def money(value: object) -> Decimal | None:
    """An amount in whole cents as JSON or text has it; None when it is none."""
    amount = _number(value)
    return amount if amount is not None and amount == amount.quantize(CENT) else None


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount.adjusted() < DIGITS else None


def _get(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}/_control/{path}", timeout=60) as answer:
        return json.loads(answer.read(), parse_float=Decimal)


def _records(url: str, kind: str) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = _get(url, f"records/{quote(kind, safe='')}")
    return answer


def _saved(entity: str, raw: Mapping[str, Any]) -> Saved:
    kind = _KINDS[entity]
    total = money(raw.get("TotalAmt"))
    applied = list(_applied(raw)) if kind == "billpayment" else []
    credits = sum((amount for to, _, amount in applied if to != "Bill"), ZERO)
    if total is not None:
        is_credit = kind == "vendorcredit" or (kind == "purchase" and raw.get("Credit") is True)
        total = -total if is_credit else total + credits
    rate = _number(raw.get("ExchangeRate"))
    return Saved(
        name=f"{kind}:{raw.get('Id')}",
        version=str(raw.get("SyncToken")),
        number=str(raw.get("DocNumber") or ""),
        day=str(raw.get("TxnDate") or ""),
        total=total,
        home_total=None if total is None or rate is None else (total * rate).quantize(CENT),
        balance=money(raw.get("Balance")),
        paid=tuple((id_, amount) for to, id_, amount in applied if to == "Bill"),
        credits=credits,
    )


def _applied(raw: Mapping[str, Any]) -> Iterator[tuple[str, str, Decimal]]:
    for line in raw.get("Line") or []:
        amount = money(line.get("Amount"))
        for link in line.get("LinkedTxn") or []:
            if link.get("TxnType") in ("Bill", "VendorCredit") and amount is not None:
                yield str(link["TxnType"]), str(link.get("TxnId")), amount


def _deed(entry: Mapping[str, Any]) -> tuple[str, str]:
    """("updated", "bill:7") out of the journal's words; ("", "") for anything else."""
    verb, _, what = str(entry.get("outcome") or "").partition(" ")
    entity, _, id_ = what.partition(" ")
    return (verb, f"{_KINDS[entity]}:{id_}") if entity in _KINDS else ("", "")


def _live(procore: str) -> Iterator[Live]:
    for raw in _records(procore, "direct_costs"):
        yield _record("direct_cost", raw, parent="project_id", amount="grand_total", number="invoice_number")
    for raw in _records(procore, "requisitions"):
        amount = "current_payment_due"
        yield _record("requisition", raw, parent="commitment_id", amount=amount, number="invoice_number")
    for raw in _records(procore, "contract_payments"):
        yield _record("contract_payment", raw, parent="contract_id", amount="amount", number="check_number")


def _record(kind: str, raw: Mapping[str, Any], *, parent: str, amount: str, number: str) -> Live:
    noted = _IN_NOTES.findall(str(raw.get("notes") or ""))
    reference = str(raw.get("origin_id") or "") or (noted[-1] if noted else "")
    return Live(
        kind=kind,
        id=int(raw["id"]),
        reference=reference if REFERENCE.fullmatch(reference) else "",
        amount=money(raw.get(amount)) or ZERO,
        counts=raw.get("status") != "draft",
        parent=str(raw[parent]),
        project=str(raw["project_id"]),
        company=int(raw["company_id"]),
        number=str(raw.get(number) or ""),
        day=str(raw.get("date") or raw.get("direct_cost_date") or ""),
        requisition=raw.get("requisition_id"),
        payment_date=raw.get("payment_date"),
        by_api=bool(raw.get("writes")),
    )


def _is_write(entry: Mapping[str, Any]) -> bool:
    return entry["method"] in _WRITES and not entry["path"].startswith(("/oauth", "/_control"))


def _write(entry: Mapping[str, Any]) -> Write:
    return Write(
        n=entry["n"],
        at=entry["at"],
        words=f"{entry['method']} {entry['path']}",
        status=entry["status"],
        processed=bool(entry["processed"]),
        references=tuple(entry.get("origin_ids") or ()),
    )
