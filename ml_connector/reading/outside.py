"""Job cost that QBO has and the sync does not bring: lines of journal entries, and of purchases that are not posted (S20).

They are read and landed like bills; the proof names them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection as Database

from ml_connector.errors import BadRecord
from ml_connector.money import ZERO
from ml_connector.qbo.models import (
    Account,
    Entity,
    Item,
    Line,
    Raw,
    Ref,
    is_refund,
    parse_account,
    parse_date,
    parse_item,
    parse_lines,
)
from ml_connector.settings import Connection
from ml_connector.store import landing, records

NO_COST = ("Asset", "Liability", "Equity", "Revenue")  # classifications of accounts


@dataclass(frozen=True)
class OutsideCost:
    """What one line adds to a customer's or project's cost in QBO: refunds and credits are below zero."""

    entity: Entity
    qbo_id: str
    document: str
    txn_date: date
    line: int
    customer: Ref
    amount: Decimal


@dataclass(frozen=True)
class Outside:
    """The lines, and names such as `Purchase 12` of records that could not be read: of these nothing is known."""

    costs: tuple[OutsideCost, ...]
    unreadable: tuple[str, ...]


def expenses_followed(db: Database, connection: Connection) -> bool:
    """Whether purchases are posted, or some were taken up before the policy `expenses` was turned off."""
    return connection.policies.expenses != "off" or bool(
        records.ids_of(db, connection.name, Entity.PURCHASE, limit=1)
    )


def outside_the_sync(db: Database, connection: Connection, *, days: Sequence[date] | None = None) -> Outside:
    """Job cost outside the sync, of transactions from the start on; with `days` only of these windows of change.

    A line counts when it has a customer and its account is one of costs, as far as QBO's lists say. Amounts are as on
    the line: net of tax, in the currency of the transaction.
    """
    name, entities = connection.name, [Entity.JOURNAL_ENTRY]
    taken_up: set[str] = set()
    if connection.policies.expenses == "off":
        entities.append(Entity.PURCHASE)
        taken_up = records.ids_of(db, name, Entity.PURCHASE)
    accounts = {
        version.qbo_id: parse_account(version.raw) for version in landing.every(db, name, Entity.ACCOUNT)
    }
    items = {version.qbo_id: parse_item(version.raw) for version in landing.every(db, name, Entity.ITEM)}
    costs: list[OutsideCost] = []
    unreadable: list[str] = []
    for entity in entities:
        for version in landing.every(db, name, entity, days=days):
            if entity is Entity.PURCHASE and version.qbo_id in taken_up:
                continue
            try:
                found = list(_costs(entity, version.qbo_id, version.raw, accounts, items))
            except BadRecord:
                unreadable.append(f"{entity} {version.qbo_id}")
            else:
                costs += [cost for cost in found if cost.txn_date >= connection.start_date]
    return Outside(tuple(costs), tuple(unreadable))


def _costs(
    entity: Entity, qbo_id: str, raw: Raw, accounts: Mapping[str, Account], items: Mapping[str, Item]
) -> Iterator[OutsideCost]:
    day = parse_date(raw.get("TxnDate"), field="TxnDate")
    for line, content in zip(parse_lines(raw), raw.get("Line") or [], strict=True):
        if line.customer is None or not line.amount or not _is_cost(line, accounts, items):
            continue
        amount = -line.amount + ZERO if _is_credit(entity, raw, content) else line.amount
        number = str(raw.get("DocNumber") or "")
        yield OutsideCost(entity, qbo_id, number, day, line.number, line.customer, amount)


def _is_credit(entity: Entity, raw: Raw, line: Raw) -> bool:
    if entity is Entity.PURCHASE:
        return is_refund(entity, raw)
    posting = line.get("JournalEntryLineDetail", {}).get("PostingType")
    if posting not in ("Debit", "Credit"):
        raise BadRecord(f"PostingType is {posting!r:.40}")
    return bool(posting == "Credit")


def _is_cost(line: Line, accounts: Mapping[str, Account], items: Mapping[str, Item]) -> bool:
    item = None if line.item is None else items.get(line.item.id)
    ref = line.account if item is None else item.account
    account = None if ref is None else accounts.get(ref.id)
    return account is None or account.classification not in NO_COST
