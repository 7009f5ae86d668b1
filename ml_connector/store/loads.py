"""How far the first load of a connection is: bills done, money, calls, the time that is left; at its end a sum a project.

It is told in the audit trail after each run that got further, and where it stands is counted afresh, so that a kill
costs nothing. Once it is over nothing is counted any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import and_, case, func, select

from ml_connector.settings import Connection
from ml_connector.store import audit, cursor, windows
from ml_connector.store.ledger import COSTS, Fate
from ml_connector.store.records import State
from ml_connector.store.tables import landing, ledger, record

EVENT = "first load"
ABOUT = "connection"  # the entity of the audit entries
BILLS = ("Bill", "VendorCredit")
OPEN = (State.PLANNED, State.RETRYING)


@dataclass(frozen=True)
class Load:
    """A first load. Money is that of bills less credits; held and excluded ones are done, too: nothing is left to do.

    `is_read` says whether all of QBO's side is here; `procore_calls` are those of posting so far.
    """

    bills: int
    amount: Decimal
    bills_done: int
    amount_done: Decimal
    days_left: int
    procore_calls: int
    seconds_left: int | None
    is_read: bool
    projects: Mapping[str, Decimal]

    @property
    def is_over(self) -> bool:
        """Whether every bill that it brought has come to its state."""
        return self.is_read and self.bills == self.bills_done

    def document(self) -> dict[str, Any]:
        """Everything, for scripts and the audit trail."""
        return {**vars(self), "projects": dict(self.projects), "over": self.is_over}


def note(db: Database, connection: Connection, *, run_id: str, calls: int) -> None:
    """Tell the trail how far the first load is after a run with so many calls to Procore, if it got any further."""
    told = _told(db, connection.name)
    if (told or {}).get("over"):
        return
    now = _count(db, connection, calls + int((told or {}).get("procore_calls", 0)))
    if now.is_read and (told is None or now.is_over or now.bills_done != told["bills_done"]):
        entry = audit.Entry(EVENT, ABOUT, "", now.document())
        audit.append(db, connection.name, [entry], run_id=run_id, actor="ml-connector")


def load_of(db: Database, connection: Connection) -> Load | None:
    """Where the first load stands, or how it ended; None before anything was read."""
    told = _told(db, connection.name)
    if told is not None and told["over"]:
        fields = {name: value for name, value in told.items() if name != "over"}
        money = {name: Decimal(fields[name]) for name in ("amount", "amount_done")}
        projects = {project: Decimal(amount) for project, amount in fields["projects"].items()}
        return Load(**{**fields, **money, "projects": projects})
    now = _count(db, connection, int((told or {}).get("procore_calls", 0)))
    return now if now.is_read or now.bills else None


def words_of(load: Load | None) -> str:
    """One sentence, and at the end of a load one with the sum of every project."""
    if load is None:
        return "Nothing was read yet."
    if not load.is_read:
        return f"First load: QuickBooks is being read, {load.bills:,} bills and credits so far."
    done = f"{load.bills_done:,} of {load.bills:,} bills and credits, {load.amount_done:,} of {load.amount:,}"
    if not load.is_over:
        left = "" if load.seconds_left is None else f"; about {_time(load.seconds_left)} left"
        return (
            f"First load: {done}, {load.days_left} days to do, {load.procore_calls:,} calls to Procore{left}."
        )
    sums = ", ".join(f"{project}: {amount:,}" for project, amount in sorted(load.projects.items()))
    by_project = f" Posted by project: {sums}." if sums else ""
    return f"First load done: {done}, {load.procore_calls:,} calls to Procore.{by_project}"


def _told(db: Database, connection: str) -> Mapping[str, Any] | None:
    entry = audit.newest(db, connection, entity=ABOUT, event=EVENT)
    return None if entry is None else entry.detail


def _count(db: Database, connection: Connection, calls: int) -> Load:
    name = connection.name
    is_done = (
        select(record.c.state)
        .where(
            *(record.c[column] == landing.c[column] for column in ("connection", "entity", "qbo_id")),
            record.c.landing_number == landing.c.number,
            record.c.state.not_in([str(state) for state in OPEN]),
        )
        .correlate(landing)
        .exists()
    )
    # As in QBO a credit's total is positive.
    amount = case((landing.c.entity == "VendorCredit", -landing.c.total), else_=landing.c.total)
    row = db.execute(
        select(
            func.count().label("bills"),
            func.coalesce(func.sum(amount), 0).label("amount"),
            func.count().filter(is_done).label("bills_done"),
            func.coalesce(func.sum(amount).filter(is_done), 0).label("amount_done"),
        ).where(
            and_(landing.c.connection == name, landing.c.is_current, ~landing.c.tombstone),
            landing.c.entity.in_(BILLS),
        )
    ).one()
    is_read = cursor.read_to(db, name) is not None
    is_over = is_read and row.bills == row.bills_done
    days = len(windows.dirty(db, name))
    return Load(
        bills=row.bills,
        amount=Decimal(row.amount),
        bills_done=row.bills_done,
        amount_done=Decimal(row.amount_done),
        days_left=days,
        procore_calls=calls,
        seconds_left=0 if is_over else _seconds_left(connection, row.bills, row.bills_done, calls, days),
        is_read=is_read,
        projects=_by_project(db, name) if is_over else {},
    )


def _seconds_left(connection: Connection, bills: int, done: int, calls: int, days: int) -> int | None:
    """From the calls that a bill took so far and both quotas; None before any bill is done."""
    if not done:
        return None
    limits = connection.limits
    by_procore = Decimal(calls) * (bills - done) / done * 3600 / limits.procore_per_hour
    by_qbo = Decimal(days) * 60 / limits.qbo_per_minute  # a run looks for what changed with one call
    return int(max(by_procore, by_qbo)) + 1


def _by_project(db: Database, connection: str) -> dict[str, Decimal]:
    rows = db.execute(
        select(ledger.c.project_id, func.sum(ledger.c.amount))
        .where(
            ledger.c.connection == connection,
            ledger.c.kind.in_([str(kind) for kind in COSTS]),
            ledger.c.state != str(Fate.REMOVED),
        )
        .group_by(ledger.c.project_id)
    )
    return {project: Decimal(amount) for project, amount in rows if amount}


def _time(seconds: int) -> str:
    hours, minutes = seconds // 3600, -(-(seconds % 3600) // 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
