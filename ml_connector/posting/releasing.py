"""Looking whether Procore has what open holds wait for: only these parts are asked for; what changed wakes its days."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from ml_connector.errors import PermanentError, ReconnectNeeded
from ml_connector.procore.budget_codes import recheck_absent
from ml_connector.procore.budgets import BUDGETS, budget_of, refresh_budget
from ml_connector.procore.client import Params, ProcoreClient
from ml_connector.procore.commitments import REQUISITIONS
from ml_connector.procore.directory import fetch_project_vendor_ids, fetch_vendors
from ml_connector.procore.stored_catalog import refresh_parts
from ml_connector.settings import Connection
from ml_connector.store import catalog, windows
from ml_connector.store.awaited import Awaited, Part, awaited

AWAITED = "awaited"  # kind of the stored copies: digests of what was seen last
IN_THE_COPY = (
    Part.PROJECTS,
    Part.CODES,
    Part.BUDGET,
)  # mapping decides by the stored lists: these are compared with them
TRIED_AGAIN = timedelta(hours=6)  # a right to write: only a write tells whether it is back
WATCHED = timedelta(hours=2)  # after a longer break it is not known what came and went


@dataclass(frozen=True)
class Looked:
    """What was asked of Procore, which of it had changed, and the days that were marked to be run again."""

    asked: tuple[str, ...]
    changed: tuple[str, ...]
    woken: tuple[date, ...]


def look_for_causes(engine: Engine, connection: Connection, client: ProcoreClient) -> Looked:
    """Ask Procore for the parts that open holds wait for, no call when there are none, and mark the days concerned.

    Raises the client's errors but refusals: these are what is seen, and their end is a change.
    """
    with engine.connect() as db:
        waiting = awaited(db, connection.name)
    if not waiting:
        return Looked((), (), ())
    changed = _changed_lists(engine, connection, client, waiting)
    now = datetime.now(UTC)
    for part in waiting:
        if part.part in IN_THE_COPY:
            continue
        if part.part is Part.RIGHT:
            changed += [part] if _is_due(engine, connection, part, now) else []
            continue
        digest = _digest(client, part)
        with engine.begin() as db:
            before = catalog.stored(db, connection.name, AWAITED, str(part))
            catalog.keep(db, connection.name, AWAITED, str(part), [{"digest": digest}], at=now)
        if before is None or before[0] != [{"digest": digest}] or before[1] < now - WATCHED:
            changed.append(part)
    days = {day for part in changed for day in waiting[part]}
    with engine.begin() as db:
        windows.mark(db, connection.name, days, reason="Procore may have what its records wait for")
    return Looked(tuple(map(str, waiting)), tuple(map(str, changed)), tuple(sorted(days)))


def _changed_lists(
    engine: Engine, connection: Connection, client: ProcoreClient, waiting: Collection[Awaited]
) -> list[Awaited]:
    """Which of the stored lists differ from what Procore says now; the copy is brought up to date."""
    found = [
        part
        for part in waiting
        if part.part is Part.BUDGET and _is_other_budget(engine, connection, client, part.project)
    ]
    codes = {part.project for part in waiting if part.part is Part.CODES}
    projects = Awaited(Part.PROJECTS) in waiting
    if not codes and not projects:
        return found
    if codes:
        recheck_absent(engine, connection, client)
    done = refresh_parts(engine, connection, client, projects=projects, codes_of=codes)
    found += [Awaited(Part.CODES, project) for project in sorted(codes & done.codes)]
    return [*found, Awaited(Part.PROJECTS)] if projects and done.projects else found


def _is_other_budget(engine: Engine, connection: Connection, client: ProcoreClient, project: str) -> bool:
    with engine.connect() as db:
        before = catalog.stored(db, connection.name, BUDGETS, project)
    now = refresh_budget(engine, connection, client, project)
    return before is None or budget_of(before[0]) != now


def _is_due(engine: Engine, connection: Connection, part: Awaited, now: datetime) -> bool:
    """Whether writing is to be tried again to see if it is allowed by now."""
    with engine.begin() as db:
        before = catalog.stored(db, connection.name, AWAITED, str(part))
        is_due = before is None or before[1] < now - TRIED_AGAIN
        if is_due:
            catalog.keep(db, connection.name, AWAITED, str(part), [], at=now)
    return is_due


def _digest(client: ProcoreClient, part: Awaited) -> str:
    try:
        seen = _read(client, part)
    except ReconnectNeeded:
        raise
    except PermanentError as refused:
        seen = f"refused: {refused.status}"
    return hashlib.sha256(json.dumps(seen, sort_keys=True, default=str).encode()).hexdigest()


def _read(client: ProcoreClient, part: Awaited) -> Any:
    of_project: Params = {"project_id": part.project}
    if part.part is Part.DIRECTORY:
        return [asdict(vendor) for vendor in sorted(fetch_vendors(client), key=lambda vendor: vendor.id)]
    if part.part is Part.PROJECT_DIRECTORY:
        return sorted(fetch_project_vendor_ids(client, part.project))
    if part.part is Part.COMMITMENT:
        return client.get(f"/rest/v1.0/commitments/{part.commitment}", of_project)
    if part.part is Part.COMMITMENTS:
        return client.rows("/rest/v1.0/commitments", of_project)
    if part.part is Part.INVOICES:
        return client.rows(REQUISITIONS, of_project)
    return client.rows(f"/rest/v1.0/projects/{part.project}/billing_periods")
