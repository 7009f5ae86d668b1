"""The first thing at start, before the daemon: runs whose worker is gone are failed and their windows marked again.

After kill -9 of everything Dagster leaves such runs STARTED, and their pool taken, for an hour.
"""

import socket
from collections.abc import Sequence
from datetime import date

import dagster as dg
from sqlalchemy import Engine, delete, select

from ml_connector.orchestration.sensors import IN_FLIGHT
from ml_connector.orchestration.work import started_at
from ml_connector.store import windows
from ml_connector.store.tables import worker

BEGUN = [status for status in IN_FLIGHT if status is not dg.DagsterRunStatus.QUEUED] + [
    dg.DagsterRunStatus.CANCELING
]


def sweep(instance: dg.DagsterInstance, engine: Engine) -> list[str]:
    """Fail every begun run whose worker process is gone, mark its windows, and return the run ids.

    A worker on this host is looked up by process id and start time; runs of other hosts are left to their own start.
    A begun run without a worker row had not reached its first step. What ended runs of this host signed is forgotten.
    """
    dead: list[str] = []
    begun = instance.get_run_records(dg.RunsFilter(statuses=BEGUN))
    for record in begun:
        run = record.dagster_run
        with engine.begin() as db:
            row = db.execute(select(worker).where(worker.c.run_id == run.run_id)).one_or_none()
            if row is not None and (row.host != socket.gethostname() or started_at(row.pid) == row.started):
                continue
            instance.report_run_failed(
                run, "Its worker process is gone: the machine or everything on it was stopped."
            )
            dead.append(run.run_id)
            if row is not None:
                days: Sequence[date] = [date.fromisoformat(day) for day in row.days]
                windows.mark(db, row.connection, days, reason="the run that worked on it was killed")
    living = {record.dagster_run.run_id for record in begun} - set(dead)
    with engine.begin() as db:
        ended = worker.c.run_id.not_in(living) & (worker.c.host == socket.gethostname())
        db.execute(delete(worker).where(ended))
    return dead
