"""Sensors over what lies in Postgres and the inbox; no tick makes a vendor call."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.schedules import open_day, run_waits, sync_request
from ml_connector.settings import Connection, Home

Jobs = Sequence[Any]  # Dagster does not export the type of what define_asset_job returns

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
EVERY_SECONDS = 5


def inbox_sensor(connections: Sequence[Connection], home: Home, jobs: Jobs) -> dg.SensorDefinition:
    """Webhook files: each is a hint that the open window changed. At most one run a connection waits to start."""

    @dg.sensor(
        name="webhook_inbox",
        jobs=jobs,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for the open window of every connection that has webhook files in the inbox.",
    )
    def webhook_inbox(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from ml_connector.orchestration.ticks import out_of_reach
        from ml_connector.reading.inbox import waiting

        asked = False
        reasons: list[str] = []
        for connection in connections:
            files = waiting(home, connection.name)
            day = open_day(connection, datetime.now(UTC))
            if files and not run_waits(context.instance, connection.name, day):
                content = hashlib.sha256("\n".join(files).encode()).hexdigest()[:32]
                key = f"inbox {connection.name} {day} {content}"
                request = sync_request(connection, day, run_key=key, lost=out_of_reach(connection))
                if isinstance(request, dg.RunRequest):
                    asked = True
                    yield request
                else:
                    reasons.append(f"{connection.name}: {request.skip_message}")
        if not asked:
            yield dg.SkipReason("; ".join(reasons) or "no new webhook files")

    return webhook_inbox


def dirty_windows_sensor(connections: Sequence[Connection], jobs: Jobs) -> dg.SensorDefinition:
    """Every window with work left gets a run, open or closed, with nobody acting."""

    @dg.sensor(
        name="dirty_windows",
        jobs=jobs,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for every day whose newest versions are not posted yet, or whose wait is over.",
    )
    def dirty_windows(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from ml_connector.orchestration.ticks import busy_days, out_of_reach, take_ready

        asked = False
        reasons: list[str] = []
        runs = context.instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT))
        for connection in connections:
            lost = out_of_reach(connection)
            if "procore" in lost:
                reasons.append(f"{connection.name}: {lost['procore']}")
                continue
            in_flight = {
                run.run_id: run.tags.get(names.DAYS_TAG, "")
                for run in runs
                if run.tags.get(names.CONNECTION_TAG, connection.name) == connection.name
            }
            busy = busy_days(connection.name, in_flight)
            today = datetime.now(connection.zone).date()
            for first, last in take_ready(connection.name, busy=busy, today=today):
                asked = True
                yield post_request(connection, first.isoformat(), last.isoformat())
        if not asked:
            yield dg.SkipReason(
                "; ".join(reasons) or "every window is clean, waits for its time, or is worked on"
            )

    return dirty_windows


def post_request(connection: Connection, first: str, last: str) -> dg.RunRequest:
    """Ask for days that were read before: map and post, no call to QuickBooks."""
    tags = {
        names.AUTOMATIC_TAG: "true",
        names.CONNECTION_TAG: connection.name,
        names.DAYS_TAG: first if first == last else f"{first}...{last}",
        names.PRIORITY_TAG: names.CATCH_UP_PRIORITY,
    }
    job = names.post_job(connection.name)
    if first == last:
        return dg.RunRequest(job_name=job, partition_key=first, tags=tags)
    return dg.RunRequest(job_name=job, tags={**tags, names.RANGE_START_TAG: first, names.RANGE_END_TAG: last})
