"""The clock's part: poll the open window, refresh Procore's lists for what waits for them, prove every night."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.settings import Connection

if TYPE_CHECKING:
    from ml_connector.store.vault import System

WAITING_TO_START = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]


def open_day(connection: Connection, now: datetime) -> str:
    """The partition key of the window that is open at `now`."""
    return now.astimezone(connection.zone).date().isoformat()


def run_waits(instance: dg.DagsterInstance, connection: str, days: str) -> bool:
    """Whether a run that reads these days is asked for already and has not begun: another one would find nothing."""
    asked = dg.RunsFilter(
        job_name=names.sync_job(connection), tags={names.DAYS_TAG: days}, statuses=WAITING_TO_START
    )
    return bool(instance.get_run_records(asked, limit=1))


def sync_request(
    connection: Connection, day: str, *, run_key: str | None, lost: Mapping["System", str]
) -> dg.RunRequest | dg.SkipReason:
    """Ask for the open window: read, map, post.

    `lost` are the systems that cannot be called, and why: without Procore it is read alone, without QuickBooks nothing.
    """
    if "qbo" in lost:
        return dg.SkipReason(lost["qbo"])
    alone = [dg.AssetKey(names.key(connection.name, "qbo", name)) for name in names.QBO_ASSETS]
    return dg.RunRequest(
        run_key=run_key,
        job_name=names.sync_job(connection.name),
        partition_key=day,
        asset_selection=alone if "procore" in lost else None,
        tags={
            names.AUTOMATIC_TAG: "true",
            names.CONNECTION_TAG: connection.name,
            names.DAYS_TAG: day,
            names.PRIORITY_TAG: names.LIVE_PRIORITY,
        },
    )


def poll_schedule(connection: Connection) -> dg.ScheduleDefinition:
    """Polls QuickBooks: one CDC call finds whatever changed, so that a lost webhook loses nothing."""

    @dg.schedule(
        name=f"{connection.name}__poll",
        job_name=names.sync_job(connection.name),
        cron_schedule=connection.poll_cron,
        execution_timezone=connection.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks QuickBooks what changed, for the window that is open now.",
    )
    def poll(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from ml_connector.orchestration.ticks import out_of_reach

        tick = context.scheduled_execution_time
        day = open_day(connection, tick)
        if run_waits(context.instance, connection.name, day):
            return dg.SkipReason(f"a run for {day} waits to start and will see the same changes")
        lost = out_of_reach(connection)
        return sync_request(connection, day, run_key=f"poll {tick.isoformat()}", lost=lost)

    return poll


def catalog_schedule(connection: Connection) -> dg.ScheduleDefinition:
    """Looks whether Procore has by now what held records wait for."""

    @dg.schedule(
        name=f"{connection.name}__catalog_refresh",
        job_name=names.catalog_job(connection.name),
        cron_schedule="7,37 * * * *",
        execution_timezone=connection.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks Procore for what open holds wait for, and for nothing else; what changed runs its days again.",
    )
    def refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from ml_connector.orchestration.ticks import out_of_reach, waits_for_procore

        lost = out_of_reach(connection)
        if "procore" in lost:
            return dg.SkipReason(lost["procore"])
        if not waits_for_procore(connection.name):
            return dg.SkipReason("no held record waits for Procore's lists")
        return dg.RunRequest(
            run_key=f"catalog {context.scheduled_execution_time.isoformat()}",
            tags={names.AUTOMATIC_TAG: "true", names.CONNECTION_TAG: connection.name},
        )

    return refresh


def proof_schedule(connection: Connection) -> dg.ScheduleDefinition:
    """Compares both sides every night, when the day's bills are posted and nobody works."""

    @dg.schedule(
        name=f"{connection.name}__nightly_proof",
        job_name=names.proof_job(connection.name),
        cron_schedule="23 2 * * *",
        execution_timezone=connection.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Reads QuickBooks and Procore afresh and compares them to the cent.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from ml_connector.orchestration.ticks import out_of_reach

        lost = out_of_reach(connection)
        if lost:
            return dg.SkipReason(next(iter(lost.values())))
        return dg.RunRequest(
            run_key=f"proof {context.scheduled_execution_time.isoformat()}",
            tags={names.AUTOMATIC_TAG: "true", names.CONNECTION_TAG: connection.name},
        )

    return nightly
