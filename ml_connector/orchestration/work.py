"""The steps of a run without Dagster: read, map, post for some days of one connection. Imported only when a step runs."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, delete, insert, select, update

from ml_connector.errors import PermanentError, TransientError, VendorAway
from ml_connector.holds import WAITS_FOR_COMMITMENT, WAITS_FOR_DIRECTORY
from ml_connector.mapping.publishing import procore_projects
from ml_connector.mapping.windows import Mapped, Mapper, to_map
from ml_connector.posting.budget_codes import BudgetCodeDesk
from ml_connector.posting.payments.windows import PaymentPoster
from ml_connector.posting.windows import Posted, Poster
from ml_connector.procore.budget_codes import recheck_absent
from ml_connector.procore.budgets import refresh_budget, waiting_for_budget
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.stored_catalog import Refreshed, load_catalog, refresh_catalog
from ml_connector.proving.trail import note_head
from ml_connector.qbo.client import QboClient
from ml_connector.qbo.models import JOB_COSTS
from ml_connector.reading.windows import Reader, Reading
from ml_connector.settings import Connection, Home
from ml_connector.store import audit, breaker, catalog, cursor, loads, windows
from ml_connector.store.claims import claim_posting
from ml_connector.store.records import Only
from ml_connector.store.tables import worker

BILLS = ("direct_costs", "requisitions")  # two assets, one pass: a bill is posted as a whole
KINDS = ("vendors", *BILLS, "contract_payments")


@dataclass(frozen=True)
class Run:
    """Which run works on which days; `automatic` when a sensor or schedule asked for it."""

    run_id: str
    days: tuple[date, ...]
    automatic: bool
    only: Only = None  # (entity, id) of the records that a replay is limited to


def sign_in(engine: Engine, connection: Connection, run: Run) -> None:
    """Note which process works on the run, so that a start after a power cut can tell dead runs from living ones."""
    with engine.begin() as db:
        db.execute(delete(worker).where(worker.c.run_id == run.run_id))
        db.execute(
            insert(worker).values(
                run_id=run.run_id,
                pid=os.getpid(),
                started=started_at(os.getpid()),
                host=socket.gethostname(),
                connection=connection.name,
                days={day.isoformat(): None for day in run.days},
            )
        )


def started_at(pid: int) -> str:
    """When a process started, in ticks since boot; "" when there is none (proc(5), field 22). A pid alone can come again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]


def read(engine: Engine, home: Home, connection: Connection, client: QboClient, run: Run) -> Reading:
    """Bring the changes of the run's days into landing."""
    sign_in(engine, connection, run)
    return Reader(connection, home, engine, client, run.run_id).read(run.days)


def read_to(engine: Engine, connection: Connection) -> datetime | None:
    """Up to which server time everything was read; None before the first load."""
    with engine.connect() as db:
        return cursor.read_to(db, connection.name)


def closed_by(reading: Reading, connection: Connection, run: Run, *, before: datetime | None) -> list[date]:
    """Days besides the run's own that `reading` read to their end; the cursor stood at `before`."""
    if reading.read_to is None:
        return []
    start = connection.start_date
    first = start if before is None else max(before.astimezone(connection.zone).date(), start)
    end = reading.read_to.astimezone(connection.zone).date()
    closed = (first + timedelta(days=offset) for offset in range((end - first).days))
    return [day for day in closed if day not in run.days]


def map_days(
    engine: Engine, connection: Connection, run: Run, procore: Callable[[], ProcoreClient]
) -> Mapped:
    """Decide every record of the run's days; Procore's lists are refreshed first when the copy is too old to plan by."""
    with claim_posting(engine, connection.name, run.run_id):
        sign_in(engine, connection, run)
        with engine.begin() as db:
            seen = windows.seen_marks(db, connection.name, run.days)
            marks = {day.isoformat(): seen.get(day) for day in run.days}
            db.execute(update(worker).where(worker.c.run_id == run.run_id).values(days=marks))
        if _needs_catalog(engine, connection, run.days):
            with _kept_dirty(engine, connection, run):
                refresh_lists(engine, connection, procore())
        mapper = Mapper(
            connection, engine, lambda db: load_catalog(db, connection.name), run.run_id, run.only
        )
        _prepare_codes(engine, connection, run, mapper, procore)
        return mapper.map_days(run.days)


def _prepare_codes(
    engine: Engine, connection: Connection, run: Run, mapper: Mapper, procore: Callable[[], ProcoreClient]
) -> None:
    """Make the budget codes that the bills lack, and look at budgets, where the policies ask for it."""
    desk = BudgetCodeDesk(connection, engine, procore, run.run_id, again=not run.automatic)
    if not desk.is_needed:
        return
    with _kept_dirty(engine, connection, run):
        until = desk.prepare(mapper.decisions(run.days))
    if until is not None:
        with engine.begin() as db:
            for day in run.days:
                windows.postpone(
                    db, connection.name, day, not_before=until, reason="an answer of Procore is awaited"
                )


def refresh_lists(engine: Engine, connection: Connection, client: ProcoreClient) -> Refreshed:
    """Refresh the copy of Procore's lists for the projects that the published sheets name."""
    with engine.connect() as db:
        projects = procore_projects(db, connection.name)
        budgets = waiting_for_budget(db, connection.name)
    refreshed = refresh_catalog(engine, connection, client, projects)
    for project in budgets:
        refresh_budget(engine, connection, client, project)
    if connection.policies.budget_code_missing == "create":
        recheck_absent(engine, connection, client)
    return refreshed


def recheck_vendors(engine: Engine, connection: Connection) -> list[date]:
    """Mark the days of records that wait for a vendor: Procore's directory is looked at again when they run."""
    with engine.begin() as db:
        return windows.wake(
            db, connection.name, WAITS_FOR_DIRECTORY, why="Procore's directory is looked at again"
        )


def recheck_commitments(engine: Engine, connection: Connection) -> list[date]:
    """Mark the days of records that wait for something on a commitment: Procore is looked at when they run."""
    with engine.begin() as db:
        return windows.wake(
            db, connection.name, WAITS_FOR_COMMITMENT, why="Procore's commitments are looked at again"
        )


def _needs_catalog(engine: Engine, connection: Connection, days: Sequence[date]) -> bool:
    with engine.connect() as db:
        fetched = catalog.oldest(db, connection.name, "projects")
        if fetched is not None and datetime.now(UTC) - fetched < timedelta(
            seconds=connection.timing.catalog_age
        ):
            return False
        return any(
            to_map(db, connection, entity, days, again_held=False, limit=1, after=0) for entity in JOB_COSTS
        )


def post(
    engine: Engine,
    connection: Connection,
    run: Run,
    client: ProcoreClient,
    kinds: Sequence[str],
    qbo: Callable[[], QboClient] | None = None,
) -> Mapping[str, Posted]:
    """Post the given kinds of the run's days, and clear the days that are done with all kinds.

    A day that waits for Procore stays dirty until its time. `qbo` is asked, where a commitment is billed for the first
    time, what was billed on it before the start; None: the books from before the start are not looked at.
    """
    done: dict[str, Posted] = {}
    with claim_posting(engine, connection.name, run.run_id), _kept_dirty(engine, connection, run):
        _must_answer(engine, connection, run, client)
        person = not run.automatic
        poster = Poster(connection, engine, client, run.run_id, resend=person, only=run.only, qbo=qbo)
        if "vendors" in kinds:
            done["vendors"] = poster.post_vendors(run.days)
        if any(kind in kinds for kind in BILLS):
            bills = poster.post_bills(run.days)
            of_kind = {"direct_costs": bills.direct_costs, "requisitions": bills.requisitions}
            done |= {kind: of_kind[kind] for kind in BILLS if kind in kinds}
        if "contract_payments" in kinds:
            paying = PaymentPoster(connection, engine, client, run.run_id, resend=person, only=run.only)
            done["contract_payments"] = paying.post(run.days)
        with engine.begin() as db:
            if len(done) == len(KINDS) and run.only is None:
                windows.clear(db, connection.name, _marks_of(db, run))
            for posted in done.values():
                for day, until in posted.waiting_days.items():
                    windows.postpone(
                        db, connection.name, day, not_before=until, reason="an answer of Procore is awaited"
                    )
            loads.note(db, connection, run_id=run.run_id, calls=client.calls.total())
    return done


def note_audit_head(engine: Engine, home: Home, connection: Connection, run: Run) -> audit.Head:
    """Note the end of the connection's audit trail outside the database, so that a cut one shows."""
    with engine.connect() as db:
        head = audit.head(db, connection.name)
    note_head(head, home.audit_heads(connection.name), run_id=run.run_id)
    return head


def _must_answer(engine: Engine, connection: Connection, run: Run, client: ProcoreClient) -> None:
    """Ask Procore for next to nothing after an outage, before the intents of a thousand records are written down.

    Raises VendorAway while it lasts. Days without work are left in peace: nothing of them is sent.
    """
    with engine.connect() as db:
        away = any(outage.system == "procore" for outage in breaker.outages(db, connection.name))
        work = windows.seen_marks(db, connection.name, run.days)
    if away and (work or not run.automatic):
        with suppress(PermanentError):  # whatever it says, it answers
            client.get("/rest/v1.0/me")


def _marks_of(db: Database, run: Run) -> dict[date, int]:
    days = db.scalar(select(worker.c.days).where(worker.c.run_id == run.run_id)) or {}
    return {date.fromisoformat(day): mark for day, mark in days.items() if mark is not None}


@contextmanager
def _kept_dirty(engine: Engine, connection: Connection, run: Run) -> Iterator[None]:
    """An outage that ends the run here leaves its days to be run again when the vendor may be back."""
    try:
        yield
    except (TransientError, VendorAway) as error:
        until = error.not_before or datetime.now(UTC) + timedelta(seconds=connection.timing.settle)
        with engine.begin() as db:
            for day in run.days:
                windows.postpone(
                    db, connection.name, day, not_before=until, reason=f"{error.vendor} did not answer"
                )
        raise
