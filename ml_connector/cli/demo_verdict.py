"""Whether the demo did what the demo data say: the state of every record, what Procore holds of it, the money of both sides.

What QuickBooks and Procore hold is asked of the sandbox, not of our own tables.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row, select

from ml_connector.cli.demo_books import Holdings, ProcoreBooks
from ml_connector.cli.demo_firm import NAME, Sandbox
from ml_connector.sandbox.demo.expectations import ZERO, Expected, key_of
from ml_connector.sandbox.demo.firm import DemoFirm
from ml_connector.store import payments
from ml_connector.store.payments import ShareKind
from ml_connector.store.tables import audit, hold, record

ENOUGH_POSTED = Decimal("0.85")
BILLS, PAYMENT = {"Bill": 1, "VendorCredit": -1}, "BillPayment"
AS_POSTED = ("posted", "updated")  # a record that came in two steps is as good as one that came at once
Records = Mapping[tuple[str, str], Row[Any]]


@dataclass
class Verdict:
    """What the demo shows: counts, money as on both sides, and everything that is not as the demo data state it.

    `money` is that of bills and vendor credits, `payments` that of bill payments: their cash and the credits they use.
    """

    records: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    held_by_reason: Counter[str] = field(default_factory=Counter)
    money: dict[str, Decimal] = field(default_factory=dict)
    payments: dict[str, Decimal] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all is as stated, the money agrees and enough of it is posted."""
        enough = self.money["posted"] >= ENOUGH_POSTED * self.money["qbo"]
        agrees = self.money["delta"] == ZERO == self.payments["delta"]
        return not self.wrong and agrees and enough


def shown_state(row: Any) -> str:
    """The state for people: a record whose newest version changed nothing is still posted."""
    return "posted" if row.state == "no-op" and row.posted else str(row.state)


def judge(engine: Engine, sandbox: Sandbox, firm: DemoFirm) -> Verdict:
    """Compare what came of every demo record with what the data state."""
    verdict = Verdict()
    with engine.connect() as db:
        rows, reasons = _records(db), _reasons(db)
        _count(verdict, rows, reasons)
        sources = {
            (entity, str(source["Id"])): source
            for entity in (*BILLS, PAYMENT)
            for source in sandbox.live("qbo", entity)
        }
        books = ProcoreBooks(sandbox)
        _money(verdict, sources, books, rows)
        _payments(verdict, sources, books, rows, db)
    keys = {place: key_of(source) for place, source in sources.items()}
    for key in sorted(firm.expectations.keys() - set(keys.values())):
        expected = firm.expectations[key]
        if expected.state == "reversed":
            keys[expected.entity, key] = key  # deleted: only our own record of it is left
        else:
            verdict.wrong.append(f"{key}: not in QuickBooks")
    for (entity, qbo_id), key in keys.items():
        stated, row = firm.expectations.get(key), rows.get((entity, qbo_id))
        if stated is None or row is None:
            what = "not in the demo data" if stated is None else "never seen"
            verdict.wrong.append(f"{entity} {key}: {what}")
            continue
        there = books.of.pop((entity.lower(), qbo_id), Holdings())
        faults = _faults(stated, row, reasons.get((entity, qbo_id), ""), there)
        verdict.wrong += [f"{entity} {key} ({stated.scenario}): {fault}" for fault in faults]
    verdict.wrong += [f"Procore holds {there} of no record" for there in books.of.values()]
    return verdict


def _faults(expected: Expected, row: Any, reason: str, there: Holdings) -> Iterator[str]:
    """What is not as stated of one record."""
    state = shown_state(row)
    if state != expected.state and not (expected.state == "posted" and state in AS_POSTED):
        yield f"{state} {reason} instead of {expected.state} {expected.reason}"
        return
    if expected.state == "held" and reason != expected.reason:
        yield f"held for {reason} instead of {expected.reason}"
    ours = (row.posted, row.excluded, row.held)
    stated = (expected.posted, expected.excluded, expected.held)
    if ours != stated:
        yield f"posted, excluded, held are {ours} instead of {stated}"
    costs = [
        replace(target, number=target.number or f"QBO-{row.qbo_id}", lines=tuple(sorted(target.lines)))
        for target in expected.targets
    ]
    yield from _differ(
        "direct costs",
        [replace(cost, lines=tuple(sorted(cost.lines))) for cost in there.costs],
        costs,
    )
    yield from _differ(
        "requisitions",
        [replace(invoice, work=tuple(sorted(invoice.work))) for invoice in there.invoices],
        [replace(invoice, work=tuple(sorted(invoice.work))) for invoice in expected.invoices],
    )
    yield from _differ("contract payments", there.payments, expected.payments)
    if expected.entity in BILLS and there.posted != expected.posted:
        yield f"Procore comes to {there.posted} instead of {expected.posted}"
    if there.costs and there.paid_on != {expected.paid_on}:
        days = ", ".join(sorted(str(day) for day in there.paid_on))
        yield f"the payment dates are {days} instead of {expected.paid_on}"


def _differ(what: str, found: Iterable[object], stated: Iterable[object]) -> Iterator[str]:
    there, wanted = sorted(found, key=repr), sorted(stated, key=repr)
    if there != wanted:
        yield f"Procore holds the {what} {there} instead of {wanted}"


def _records(db: Database) -> Records:
    rows = db.execute(select(record).where(record.c.connection == NAME))
    return {(row.entity, row.qbo_id): row for row in rows}


def _reasons(db: Database) -> dict[tuple[str, str], str]:
    """The first reason of every record that is held."""
    reasons: dict[tuple[str, str], str] = {}
    for row in db.execute(select(hold).where(hold.c.connection == NAME).order_by(hold.c.ordinal)):
        reasons.setdefault((row.entity, row.qbo_id), row.reason)
    return reasons


def _count(verdict: Verdict, rows: Records, reasons: Mapping[tuple[str, str], str]) -> None:
    for (entity, qbo_id), row in rows.items():
        verdict.records[entity][shown_state(row)] += 1
        if (entity, qbo_id) in reasons and row.state == "held":
            verdict.held_by_reason[reasons[entity, qbo_id]] += 1


Sources = Mapping[tuple[str, str], Mapping[str, Any]]


def _money(verdict: Verdict, sources: Sources, books: ProcoreBooks, rows: Records) -> None:
    qbo = _sum(
        BILLS[entity] * Decimal(source["TotalAmt"])
        for (entity, _), source in sources.items()
        if entity in BILLS
    )
    ours = [row for (entity, _), row in rows.items() if entity in BILLS]
    excluded, held = _sum(row.excluded for row in ours), _sum(row.held for row in ours)
    posted = books.posted
    verdict.money = {
        "qbo": qbo,
        "posted": posted,
        "excluded": excluded,
        "held": held,
        "delta": qbo - posted - excluded - held,
    }


def _payments(verdict: Verdict, sources: Sources, books: ProcoreBooks, rows: Records, db: Database) -> None:
    """Cash on commitments is Procore's; what a payment settles of direct costs leaves no money there, only a date."""
    mine = [source for (entity, _), source in sources.items() if entity == PAYMENT]
    used = [
        Decimal(line["Amount"])
        for source in mine
        for line in source.get("Line") or []
        for link in line.get("LinkedTxn") or []
        if link["TxnType"] == "VendorCredit"
    ]
    ours = [row for (entity, _), row in rows.items() if entity == PAYMENT]
    shares = payments.of_payments(db, NAME, [row.qbo_id for row in ours])
    verdict.payments = {
        "qbo": _sum(Decimal(source["TotalAmt"]) for source in mine) + _sum(used),
        "on_commitments": books.cash,
        "on_direct_costs": _sum(share.settles for share in shares if share.kind is ShareKind.DIRECT_COST),
        "by_credit": _sum(share.credit for share in shares if share.kind is ShareKind.REQUISITION),
        "excluded": _sum(row.excluded for row in ours),
        "held": _sum(row.held for row in ours),
    }
    qbo, *parts = verdict.payments.values()
    verdict.payments["delta"] = qbo - _sum(parts)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)


def posted_at(engine: Engine) -> dict[str, datetime]:
    """When each bill was first posted, by QBO id."""
    with engine.connect() as db:
        found: dict[str, datetime] = {}
        statement = (
            select(audit.c.qbo_id, audit.c.at)
            .where(audit.c.connection == NAME, audit.c.event == "posted", audit.c.entity == "Bill")
            .order_by(audit.c.number)
        )
        for row in db.execute(statement):
            found.setdefault(row.qbo_id, row.at)
        return found
