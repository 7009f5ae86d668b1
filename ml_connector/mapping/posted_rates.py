"""Rates of foreign bills that are posted: a rate that changes on a bill whose money does not moves no cost by itself."""

from dataclasses import replace
from decimal import Decimal

from sqlalchemy import Connection as Database

from ml_connector.errors import BadRecord
from ml_connector.qbo.models import Bill, parse_bill
from ml_connector.store import landing, ledger
from ml_connector.store.ledger import Kind

RATED = (Kind.DIRECT_COST, Kind.REQUISITION)


def posted_bill(db: Database, connection: str, bill: Bill) -> Bill | None:
    """The version of `bill` that Procore holds; None when it holds none, or one that cannot be read any more."""
    rows = [
        row
        for kind in RATED
        for row in ledger.targets_of(db, connection, bill.entity, [bill.id], kind=kind)[bill.id]
        if row.confirmed_hash is not None
    ]
    if not rows:
        return None
    newest = max(row.landing_number for row in rows)
    version = landing.by_number(db, connection, [newest]).get(newest)
    try:
        return None if version is None or version.tombstone else parse_bill(version.raw, bill.entity)
    except BadRecord:
        return None


def differ_in_rate_alone(one: Bill, other: Bill) -> bool:
    """Whether two versions of a bill have the same money in their own currency, at different rates."""
    return _money(one) == _money(other) and _rate(one) != _rate(other)


def _money(bill: Bill) -> tuple[object, ...]:
    amounts = [(line.kind, line.amount) for line in bill.lines]
    return bill.currency, bill.total, bill.tax, amounts


def _rate(bill: Bill) -> tuple[Decimal | None, Decimal | None]:
    return bill.exchange_rate, bill.home_total


def at_rate_of(posted: Bill, bill: Bill) -> Bill:
    """`bill` with the rate that it was posted at."""
    return replace(bill, exchange_rate=posted.exchange_rate, home_total=posted.home_total)
