"""The ledger: what we want Procore to hold, what was sent, and what Procore confirmed; one row a target record.

An intent is committed before the call and its outcome after. A row in `sending` or `unknown` may or may not exist there.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Update, and_, bindparam, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from ml_connector.holds import Reason
from ml_connector.store.claims import must_have_turn
from ml_connector.store.sets import one_of
from ml_connector.store.tables import ledger, record


class Kind(StrEnum):
    """Kinds of target records."""

    VENDOR = "vendor"
    PROJECT_VENDOR = "project_vendor"  # a vendor's place in a project's directory
    DIRECT_COST = "direct_cost"
    REQUISITION = "requisition"
    CONTRACT_PAYMENT = "contract_payment"
    PAYMENT_DATE = "payment_date"  # of a direct cost, once its bill is paid


# Kinds whose amounts are the job cost of a bill; payments settle it and are no cost of their own.
COSTS = (Kind.DIRECT_COST, Kind.REQUISITION)
_OF_ITS_RECORD = and_(*(record.c[name] == ledger.c[name] for name in ("connection", "entity", "qbo_id")))


class Fate(StrEnum):
    """What is known of a target record."""

    SENDING = "sending"
    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    SILENCED = "silenced"  # taken back to draft because another part of its bill was refused
    REMOVED = "removed"


@dataclass(frozen=True)
class Intent:
    """A target record that is about to be written. `wanted` is the body in words of JSON, money as text."""

    origin_id: str
    kind: Kind
    entity: str
    qbo_id: str
    project_id: str
    landing_number: int
    sync_token: int
    wanted: Mapping[str, Any]
    wanted_hash: bytes
    number: str = ""
    suffix: str = ""
    line_origins: Sequence[str] = ()
    commitment_id: int | None = None  # of requisitions and contract payments


@dataclass(frozen=True)
class Confirmed:
    """What Procore answered of a target record; `amount` is its live total there."""

    origin_id: str
    procore_id: int | None
    confirmed_hash: bytes
    amount: Decimal = Decimal(0)
    line_ids: Mapping[str, int] = field(default_factory=dict)


def intend(db: Connection, connection: str, intents: Sequence[Intent], *, run_id: str) -> None:
    """Commit-to-be: the rows are `sending` from now on, one attempt more. Raises TurnLost."""
    if not intents:
        return
    must_have_turn(db, connection, run_id)
    statement = upsert(ledger).values(sent_at=func.now())
    rows = [
        {
            "connection": connection,
            "origin_id": intent.origin_id,
            "kind": str(intent.kind),
            "entity": intent.entity,
            "qbo_id": intent.qbo_id,
            "project_id": intent.project_id,
            "commitment_id": intent.commitment_id,
            "state": str(Fate.SENDING),
            "landing_number": intent.landing_number,
            "sync_token": intent.sync_token,
            "wanted": dict(intent.wanted),
            "wanted_hash": intent.wanted_hash,
            "number": intent.number,
            "suffix": intent.suffix,
            "line_ids": dict.fromkeys(intent.line_origins),
            "attempts": 1,
            "not_before": None,
            "run_id": run_id,
        }
        for intent in intents
    ]
    changed = (
        "state",
        "landing_number",
        "sync_token",
        "wanted",
        "wanted_hash",
        "number",
        "suffix",
        "sent_at",
        "not_before",
        "run_id",
    )
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["connection", "origin_id"],
            set_={
                **{name: statement.excluded[name] for name in changed},
                "line_ids": statement.excluded.line_ids.op("||")(ledger.c.line_ids),
                "attempts": ledger.c.attempts + 1,
            },
        ),
        rows,
    )


def found(db: Connection, connection: str, procore_ids: Mapping[str, int]) -> None:
    """Note the Procore ids of records whose write goes on, by origin id."""
    if procore_ids:
        db.execute(
            _each(connection).values(procore_id=bindparam("id_there")),
            [{"origin": origin_id, "id_there": there} for origin_id, there in procore_ids.items()],
        )


def lose(db: Connection, connection: str, origin_id: str) -> None:
    """Note that the record in Procore is gone: the next write, of which the intent is committed, makes another one."""
    _set(
        db,
        connection,
        origin_id,
        procore_id=None,
        confirmed_hash=None,
        amount=Decimal(0),
        line_ids={},
        sent_at=func.now(),
    )


def counts(db: Connection, connection: str, origin_id: str, *, procore_id: int, amount: Decimal) -> None:
    """Note what Procore counts of a record whose write is unclear and stays so."""
    _set(db, connection, origin_id, procore_id=procore_id, amount=amount)


def found_lines(db: Connection, connection: str, line_ids: Mapping[str, Mapping[str, int]]) -> None:
    """Note the Procore ids of records' lines, beside those of earlier versions that may still be there."""
    if line_ids:
        merged = ledger.c.line_ids.op("||")(bindparam("ids_there", type_=JSONB))
        db.execute(
            _each(connection).values(line_ids=merged),
            [{"origin": origin_id, "ids_there": dict(ids)} for origin_id, ids in line_ids.items()],
        )


def confirm(db: Connection, connection: str, confirmed: Sequence[Confirmed]) -> None:
    """Procore holds exactly what was wanted."""
    if not confirmed:
        return
    db.execute(
        _each(connection).values(
            state=str(Fate.CONFIRMED),
            procore_id=bindparam("id_there"),
            confirmed_hash=bindparam("hash_there"),
            amount=bindparam("amount_there"),
            line_ids=bindparam("ids_there", type_=JSONB),
            refused_hash=None,
            refusal="",
            refusal_reason="",
            not_before=None,
        ),
        [
            {
                "origin": one.origin_id,
                "id_there": one.procore_id,
                "hash_there": one.confirmed_hash,
                "amount_there": one.amount,
                "ids_there": dict(one.line_ids),
            }
            for one in confirmed
        ],
    )


def refuse(
    db: Connection,
    connection: str,
    origin_id: str,
    *,
    refused_hash: bytes,
    refusal: str,
    reason: Reason = Reason.REFUSED,
    still_counts: bool = False,
) -> None:
    """Procore said no to this body. `still_counts`: an earlier body could not be taken back and has its amount there."""
    values: dict[str, Any] = {
        "state": str(Fate.REFUSED),
        "refused_hash": refused_hash,
        "refusal": refusal.replace("\0", ""),
        "refusal_reason": str(reason),
        "not_before": None,
    }
    if not still_counts:
        values |= {"confirmed_hash": None, "amount": Decimal(0)}
    _set(db, connection, origin_id, **values)


def silence(db: Connection, connection: str, origin_id: str) -> None:
    """The record is a draft in Procore, without effect: nothing is wrong with it, but with another part of its bill."""
    _set(
        db,
        connection,
        origin_id,
        state=str(Fate.SILENCED),
        confirmed_hash=None,
        amount=Decimal(0),
        not_before=None,
    )


def doubt(db: Connection, connection: str, origin_ids: Iterable[str], *, not_before: datetime) -> None:
    """The outcome is unknown; leave the records alone until `not_before`."""
    db.execute(
        update(ledger)
        .where(ledger.c.connection == connection, one_of(ledger.c.origin_id, origin_ids))
        .values(state=str(Fate.UNKNOWN), not_before=not_before)
    )


def renew(db: Connection, connection: str, origin_id: str, newer: Mapping[str, Any]) -> None:
    """Note in the stored body for which content of its source record it holds; `newer` replaces single keys."""
    _set(db, connection, origin_id, wanted=ledger.c.wanted.op("||")(cast(dict(newer), JSONB)))


def follow(db: Connection, connection: str, numbers: Mapping[str, int]) -> None:
    """Note up to which version, by origin id, the source of a record was followed without a write."""
    if numbers:
        db.execute(
            _each(connection).values(landing_number=bindparam("up_to")),
            [{"origin": origin_id, "up_to": number} for origin_id, number in numbers.items()],
        )


def take_back(db: Connection, connection: str, origin_ids: Sequence[str], *, run_id: str) -> None:
    """Commit-to-be: the records are about to lose their effect; their bodies stay as they are known. Raises TurnLost."""
    if origin_ids:
        must_have_turn(db, connection, run_id)
        db.execute(
            update(ledger)
            .where(ledger.c.connection == connection, one_of(ledger.c.origin_id, origin_ids))
            .values(
                state=str(Fate.SENDING),
                sent_at=func.now(),
                not_before=None,
                attempts=ledger.c.attempts + 1,
                run_id=run_id,
            )
        )


def saw(db: Connection, connection: str, amounts: Mapping[str, Decimal]) -> None:
    """Note what Procore counts of records that people changed there, by origin id; what we left stays known."""
    if amounts:
        db.execute(
            _each(connection).values(amount=bindparam("amount_there")),
            [{"origin": origin_id, "amount_there": amount} for origin_id, amount in amounts.items()],
        )


def remove(db: Connection, connection: str, origin_id: str) -> None:
    """The record has no effect in Procore any more."""
    _set(
        db,
        connection,
        origin_id,
        state=str(Fate.REMOVED),
        amount=Decimal(0),
        confirmed_hash=None,
        not_before=None,
    )


def _each(connection: str) -> Update:
    """An update of one row for every set of parameters, by `origin`."""
    return update(ledger).where(ledger.c.connection == connection, ledger.c.origin_id == bindparam("origin"))


def _set(db: Connection, connection: str, origin_id: str, **values: Any) -> None:
    db.execute(
        update(ledger)
        .where(ledger.c.connection == connection, ledger.c.origin_id == origin_id)
        .values(**values)
    )


def rows(db: Connection, connection: str, origin_ids: Iterable[str]) -> dict[str, Row[Any]]:
    """Ledger rows by origin id."""
    found_rows = db.execute(
        select(ledger).where(ledger.c.connection == connection, one_of(ledger.c.origin_id, origin_ids))
    )
    return {row.origin_id: row for row in found_rows}


def targets_of(
    db: Connection, connection: str, entity: str, ids: Sequence[str], *, kind: Kind
) -> dict[str, list[Row[Any]]]:
    """Ledger rows of one kind by source record."""
    found_rows: dict[str, list[Row[Any]]] = {qbo_id: [] for qbo_id in ids}
    for row in db.execute(
        select(ledger)
        .where(
            ledger.c.connection == connection,
            ledger.c.entity == entity,
            ledger.c.kind == str(kind),
            one_of(ledger.c.qbo_id, ids),
        )
        .order_by(ledger.c.origin_id)
    ):
        found_rows[row.qbo_id].append(row)
    return found_rows


def linked(db: Connection, connection: str, kind: Kind, commitment_id: int) -> set[int]:
    """Procore ids of the records of one kind on a commitment that some source record is linked to."""
    found_ids = db.scalars(
        select(ledger.c.procore_id).where(
            ledger.c.connection == connection,
            ledger.c.kind == str(kind),
            ledger.c.commitment_id == commitment_id,
            ledger.c.state != str(Fate.REMOVED),
            ledger.c.procore_id.is_not(None),
        )
    )
    return set(found_ids)


def live_amounts(
    db: Connection, connection: str, entity: str, ids: Collection[str], *, kinds: Sequence[Kind] = COSTS
) -> dict[str, Decimal]:
    """What Procore counts of each source record by our last knowledge.

    Records are absent of which nothing is or may be in Procore; 0.00 is there for drafts and for costs that cancel out.
    """
    found_rows = db.execute(
        select(ledger.c.qbo_id, func.sum(ledger.c.amount).label("amount"))
        .where(
            ledger.c.connection == connection,
            ledger.c.entity == entity,
            ledger.c.kind.in_([str(kind) for kind in kinds]),
            ledger.c.state != str(Fate.REMOVED),
            one_of(ledger.c.qbo_id, ids),
        )
        .group_by(ledger.c.qbo_id)
    )
    return {row.qbo_id: row.amount for row in found_rows}


def unclear_of_held(db: Connection, connection: str, entity: str, days: Collection[date]) -> list[Row[Any]]:
    """Costs of unclear outcome of records that mapping holds: no plan takes them up. With the record's day and money."""
    return list(
        db.execute(
            select(ledger, record.c.day, record.c.total, record.c.excluded)
            .join(record, _OF_ITS_RECORD)
            .where(
                ledger.c.connection == connection,
                ledger.c.entity == entity,
                ledger.c.kind.in_([str(kind) for kind in COSTS]),
                ledger.c.state.in_([str(Fate.SENDING), str(Fate.UNKNOWN)]),
                record.c.state == "held",
                record.c.settled,
                one_of(record.c.day, days),
            )
            .order_by(ledger.c.origin_id)
        )
    )


def count_unclear(db: Connection, connection: str) -> int:
    """How many writes may or may not have happened."""
    unclear = [str(Fate.SENDING), str(Fate.UNKNOWN)]
    found = select(func.count()).where(ledger.c.connection == connection, ledger.c.state.in_(unclear))
    return int(db.scalar(found) or 0)


@dataclass(frozen=True)
class Written:
    """A record of ours in Procore as it was last written: money confirmed there."""

    kind: Kind
    number: str
    vendor: str
    amount: Decimal


def written_since(db: Connection, connection: str, project: str, *, since: datetime) -> list[Written]:
    """What was written to a project and confirmed since then, by kind and number; what counts nothing is left out."""
    rows = db.execute(
        select(ledger.c.kind, record.c.document, record.c.vendor_name, ledger.c.amount)
        .join(record, _OF_ITS_RECORD)
        .where(
            ledger.c.connection == connection,
            ledger.c.project_id == project,
            ledger.c.sent_at >= since,
            ledger.c.confirmed_hash.is_not(None),
            ledger.c.amount != 0,
        )
        .order_by(ledger.c.kind, record.c.document, ledger.c.origin_id)
    )
    return [Written(Kind(row.kind), row.document, row.vendor_name, row.amount) for row in rows]


def of_commitment(db: Connection, connection: str, commitment_id: int, *, kind: Kind) -> list[Row[Any]]:
    """Ledger rows of one kind on a commitment, those that were removed included."""
    return list(
        db.execute(
            select(ledger)
            .where(
                ledger.c.connection == connection,
                ledger.c.kind == str(kind),
                ledger.c.commitment_id == commitment_id,
            )
            .order_by(ledger.c.origin_id)
        )
    )


def posted_costs(
    db: Connection,
    connection: str,
    *,
    days: Collection[date] | None,
    projects: Collection[str] | None,
    kind: Kind = Kind.DIRECT_COST,
) -> list[Row[Any]]:
    """What Procore confirmed, direct costs or another `kind`, of records of `days` and on `projects`; None asks for all."""
    found_rows = select(ledger).where(
        ledger.c.connection == connection,
        ledger.c.kind == str(kind),
        ledger.c.confirmed_hash.is_not(None),
    )
    if projects is not None:
        found_rows = found_rows.where(one_of(ledger.c.project_id, projects))
    if days is not None:
        found_rows = found_rows.join(record, _OF_ITS_RECORD).where(one_of(record.c.day, days))
    return list(db.execute(found_rows.order_by(ledger.c.project_id, ledger.c.origin_id)))


def procore_ids(db: Connection, connection: str, kind: Kind, project_id: str) -> set[int]:
    """Procore ids of the records of one kind on a project that the ledger knows, those that were removed included."""
    found_ids = db.scalars(
        select(ledger.c.procore_id).where(
            ledger.c.connection == connection,
            ledger.c.kind == str(kind),
            ledger.c.project_id == project_id,
            ledger.c.procore_id.is_not(None),
        )
    )
    return set(found_ids)


def taken_back(db: Connection, connection: str, project_id: str, numbers: Collection[str]) -> list[Row[Any]]:
    """Direct costs of a project that lost their effect and had one of `numbers`, newest first."""
    return list(
        db.execute(
            select(ledger)
            .where(
                ledger.c.connection == connection,
                ledger.c.kind == str(Kind.DIRECT_COST),
                ledger.c.project_id == project_id,
                ledger.c.state == str(Fate.REMOVED),
                one_of(ledger.c.number, numbers),
            )
            .order_by(ledger.c.landing_number.desc())
        )
    )


def source_of(db: Connection, connection: str, kind: Kind, procore_id: int) -> str | None:
    """The QBO id of the record behind a record in Procore; None when it is not one of ours."""
    found_id: str | None = db.scalar(
        select(ledger.c.qbo_id)
        .where(
            ledger.c.connection == connection,
            ledger.c.kind == str(kind),
            ledger.c.procore_id == procore_id,
        )
        .limit(1)
    )
    return found_id
