"""Shares of payments: which part of each payment settles what, in cash and in credits.

The shares of a payment add up to its cash and the credits that it uses, whatever became of them (scenarios 1.3, I1).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from ml_connector.store.sets import one_of
from ml_connector.store.tables import payment_share, record


class ShareKind(StrEnum):
    """What a share of a payment goes to."""

    REQUISITION = "requisition"  # its cash is a contract payment
    DIRECT_COST = "direct_cost"  # settled by a payment date once its bill is paid
    EXCLUDED = "excluded"  # a part of a bill that Procore does not hold, or cash without a bill
    WAITING = "waiting"  # of a bill that is not posted yet


@dataclass(frozen=True)
class Share:
    """A part of a payment; `target_id` is a commitment, a project or the reason of an exclusion."""

    payment_id: str
    bill_id: str
    kind: ShareKind
    target_id: str
    cash: Decimal
    credit: Decimal

    @property
    def settles(self) -> Decimal:
        """What it takes off its bill."""
        return self.cash + self.credit

    @property
    def target(self) -> tuple[str, ShareKind, str]:
        """Which part of which bill it settles."""
        return self.bill_id, self.kind, self.target_id


def replace(db: Connection, connection: str, shares: Mapping[str, Sequence[Share]]) -> None:
    """Store the shares of payments, by payment id, each list replacing what was stored."""
    mine = payment_share.c.connection == connection
    db.execute(delete(payment_share).where(mine, one_of(payment_share.c.payment_id, shares)))
    rows = [
        {
            "connection": connection,
            "payment_id": share.payment_id,
            "bill_id": share.bill_id,
            "kind": str(share.kind),
            "target_id": share.target_id,
            "cash": share.cash,
            "credit": share.credit,
        }
        for some in shares.values()
        for share in some
    ]
    if rows:
        db.execute(insert(payment_share), rows)


def of_payments(db: Connection, connection: str, ids: Iterable[str]) -> list[Share]:
    """The shares of these payments."""
    return _shares(db, connection, one_of(payment_share.c.payment_id, ids))


def of_bills(db: Connection, connection: str, ids: Iterable[str]) -> list[Share]:
    """The shares of all payments of these bills."""
    return _shares(db, connection, one_of(payment_share.c.bill_id, ids))


def _shares(db: Connection, connection: str, which: ColumnElement[bool]) -> list[Share]:
    table = payment_share.c
    rows = db.execute(
        select(payment_share)
        .where(table.connection == connection, which)
        .order_by(table.payment_id, table.bill_id, table.kind, table.target_id)
    )
    return [
        Share(row.payment_id, row.bill_id, ShareKind(row.kind), row.target_id, row.cash, row.credit)
        for row in rows
    ]


def paid_bills(db: Connection, connection: str, entity: str, days: Sequence[date]) -> list[str]:
    """Ids of the bills of `days` that some payment has a share in; `entity` is that of bills."""
    bill_of_share = and_(
        payment_share.c.connection == record.c.connection, payment_share.c.bill_id == record.c.qbo_id
    )
    return list(
        db.scalars(
            select(record.c.qbo_id)
            .distinct()
            .join(payment_share, bill_of_share)
            .where(record.c.connection == connection, record.c.entity == entity, one_of(record.c.day, days))
            .order_by(record.c.qbo_id)
        )
    )


def cash_by_vendor(
    db: Connection, connection: str, entity: str, days: Sequence[date], *, reason: str
) -> dict[str, Decimal]:
    """Cash of the payments of `days` that is excluded for `reason`, by vendor; `entity` is that of payments."""
    payment_of_share = and_(
        payment_share.c.connection == record.c.connection, payment_share.c.payment_id == record.c.qbo_id
    )
    rows = db.execute(
        select(record.c.vendor_name, func.sum(payment_share.c.cash).label("cash"))
        .join(payment_share, payment_of_share)
        .where(
            record.c.connection == connection,
            record.c.entity == entity,
            one_of(record.c.day, days),
            payment_share.c.target_id == reason,
        )
        .group_by(record.c.vendor_name)
        .order_by(record.c.vendor_name)
    )
    return {row.vendor_name: row.cash for row in rows}
