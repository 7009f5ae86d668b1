"""What the proof asks of our own books: what became of every record, what is linked in Procore, how payments are shared."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, select

from ml_connector.store import payments
from ml_connector.store.ledger import Fate, Kind
from ml_connector.store.payments import Share
from ml_connector.store.tables import hold, landing, ledger, mapped_line, payment_share, record


@dataclass(frozen=True)
class Standing:
    """A record as our books have it: state, money, the versions it was mapped by, the reasons of its holds.

    `content_hash` is that of the version that the state speaks of. `left_out` are the numbers of lines of retainage
    that posting left out; `placed` says of each posted line where: project, cost code, cost type, amount.
    """

    entity: str
    qbo_id: str
    state: str
    settled: bool
    document: str
    vendor: str
    txn_date: date | None
    held: Decimal
    mapping_version: int | None
    projects_version: int | None
    content_hash: bytes
    reasons: tuple[str, ...]
    excluded_for: str
    left_out: frozenset[int]
    placed: tuple[tuple[int, str, str, str, Decimal], ...]


@dataclass(frozen=True)
class Link:
    """A target record of ours: what it is in Procore, and of which source record."""

    kind: Kind
    procore_id: int
    entity: str
    qbo_id: str
    project_id: str
    commitment_id: int | None


def standings(db: Connection, connection: str, entities: Collection[str]) -> dict[tuple[str, str], Standing]:
    """Every record of `entities` that our books have, by entity and id."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entity, qbo_id, reason in db.execute(
        select(hold.c.entity, hold.c.qbo_id, hold.c.reason)
        .where(hold.c.connection == connection, hold.c.entity.in_(entities))
        .order_by(hold.c.entity, hold.c.qbo_id, hold.c.ordinal)
    ):
        reasons.setdefault((entity, qbo_id), []).append(reason)
    lines: dict[tuple[str, str], list[Any]] = {}
    for line in db.execute(
        select(
            mapped_line.c.entity,
            mapped_line.c.qbo_id,
            mapped_line.c.line,
            mapped_line.c.outcome,
            mapped_line.c.route,
            mapped_line.c.amount,
            mapped_line.c.project_id,
            mapped_line.c.cost_code,
            mapped_line.c.cost_type,
            mapped_line.c.reason,
        )
        .where(mapped_line.c.connection == connection, mapped_line.c.entity.in_(entities))
        .order_by(mapped_line.c.entity, mapped_line.c.qbo_id, mapped_line.c.ordinal)
    ):
        lines.setdefault((line.entity, line.qbo_id), []).append(line)
    rows = db.execute(
        select(record, landing.c.content_hash)
        .join(landing, landing.c.number == record.c.landing_number)
        .where(record.c.connection == connection, record.c.entity.in_(entities))
    )
    return {
        (row.entity, row.qbo_id): _standing(
            row, tuple(reasons.get((row.entity, row.qbo_id), ())), lines.get((row.entity, row.qbo_id), [])
        )
        for row in rows
    }


def _standing(row: Row[Any], reasons: tuple[str, ...], lines: list[Any]) -> Standing:
    # A line 0 alone that is excluded stands for the whole record: a decision, or a rule about all of it.
    whole = [line.reason for line in lines if line.line == 0 and line.outcome == "excluded"]
    others = [line for line in lines if line.line != 0 and line.outcome != "text"]
    return Standing(
        entity=row.entity,
        qbo_id=row.qbo_id,
        state=row.state,
        settled=row.settled,
        document=row.document,
        vendor=row.vendor_name,
        txn_date=row.txn_date,
        held=row.held,
        mapping_version=row.mapping_version,
        projects_version=row.projects_version,
        content_hash=bytes(row.content_hash),
        reasons=reasons,
        excluded_for=whole[0] if whole and not others else "",
        left_out=frozenset(line.line for line in lines if line.outcome == "excluded" and line.route),
        placed=tuple(
            (line.line, line.project_id, line.cost_code, line.cost_type, line.amount)
            for line in lines
            if line.outcome == "posted"
        ),
    )


def links(db: Connection, connection: str) -> list[Link]:
    """Every bill's and payment's record that is or may be in Procore."""
    rows = db.execute(
        select(ledger)
        .where(
            ledger.c.connection == connection,
            ledger.c.kind.in_(
                [str(kind) for kind in (Kind.DIRECT_COST, Kind.REQUISITION, Kind.CONTRACT_PAYMENT)]
            ),
            ledger.c.state != str(Fate.REMOVED),
            ledger.c.procore_id.is_not(None),
        )
        .order_by(ledger.c.origin_id)
    )
    return [
        Link(Kind(row.kind), row.procore_id, row.entity, row.qbo_id, row.project_id, row.commitment_id)
        for row in rows
    ]


def shares(db: Connection, connection: str) -> dict[str, list[Share]]:
    """All shares of payments, by payment."""
    ids = set(db.scalars(select(payment_share.c.payment_id).where(payment_share.c.connection == connection)))
    found: dict[str, list[Share]] = {}
    for share in payments.of_payments(db, connection, ids):
        found.setdefault(share.payment_id, []).append(share)
    return found


def project_ids(db: Connection, connection: str) -> set[str]:
    """The Procore projects on which something of ours was ever posted."""
    found = db.scalars(
        select(ledger.c.project_id)
        .distinct()
        .where(ledger.c.connection == connection, ledger.c.kind != str(Kind.VENDOR))
    )
    return {project for project in found if project}
