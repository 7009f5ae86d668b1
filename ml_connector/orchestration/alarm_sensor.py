"""The alarms: what stands in Postgres and which runs failed, told to people once. A tick makes no vendor call."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.settings import UI_VARIABLE, Connection, Home

if TYPE_CHECKING:
    from ml_connector.watching.causes import Cause

EVERY_SECONDS = 60
LASTING = timedelta(minutes=20)  # longer than from one poll to the next
LOOKED_AT = 20  # newest runs of a job
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
JOBS = {
    "sync": names.sync_job,
    "post": names.post_job,
    "catalog": names.catalog_job,
    "proof": names.proof_job,
}


def alarm_sensor(connections: Sequence[Connection], home: Home) -> dg.SensorDefinition:
    """Looks once a minute whether a person is needed."""

    @dg.sensor(
        name="alarms",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people, once for each trouble, by e-mail or web hook; `alarms` in connection.yaml says whom.",
    )
    def alarms(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from ml_connector.errors import NoticeNotSent
        from ml_connector.orchestration.ticks import engine, outages
        from ml_connector.settings import load_connection
        from ml_connector.watching.alarms import tell
        from ml_connector.watching.causes import causes

        now = datetime.now(UTC)
        standing: list[str] = []
        failures: list[str] = []
        for loaded in connections:
            connection = load_connection(home, loaded.name)  # addresses may have changed since
            with engine().connect() as db:
                found = causes(db, connection, now=now)
            known = [cause.key for cause in found]
            known += [f"away:{outage.system}" for outage in outages(connection)]
            found += _failed_runs(context.instance, connection, known, now=now)
            try:
                told = tell(engine(), connection, found, now=now)
            except NoticeNotSent as error:
                failures.append(f"{connection.name}: {error}")
                continue
            standing += [f"{connection.name}: {one.sentence}" for one in told]
        if failures:
            raise NoticeNotSent("; ".join(failures))
        return dg.SkipReason(" | ".join(standing) or "nothing that a person must know of")

    return alarms


def _failed_runs(
    instance: dg.DagsterInstance, connection: Connection, known: Sequence[str], *, now: datetime
) -> Iterator["Cause"]:
    """Jobs that have only failed for a while, where no known trouble explains it. What the next run mends is no news."""
    from ml_connector.watching.causes import Cause, explains_failed_run

    for job, name_of in JOBS.items():
        if any(explains_failed_run(key, job) for key in known):
            continue
        ended = dg.RunsFilter(job_name=name_of(connection.name), statuses=ENDED)
        newest = instance.get_run_records(ended, limit=LOOKED_AT)
        failed = list(takewhile(lambda run: run.dagster_run.status is dg.DagsterRunStatus.FAILURE, newest))
        if failed and now.timestamp() - (failed[-1].end_time or 0) >= LASTING.total_seconds():
            run = failed[0].dagster_run
            where = f"{os.environ.get(UI_VARIABLE, '')}/runs/{run.run_id}"
            yield Cause(f"run:{job}", f"The newest run of {run.job_name} failed; {where} says why.")
