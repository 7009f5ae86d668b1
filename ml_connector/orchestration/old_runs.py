"""Runs that changed nothing are removed after two weeks: Dagster itself keeps every run, and polls make a hundred a day.

Ledger and audit trail stand without runs; the links of the trail lead only to runs that did something, and those stay.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.settings import Connection

KEPT = timedelta(days=14)
EVERY_SECONDS = 900
AT_ONCE = 100


def old_runs_sensor(connections: Sequence[Connection]) -> dg.SensorDefinition:
    """Removes runs, and their logs, that a schedule or sensor asked for, that succeeded and told the audit trail nothing."""

    @dg.sensor(
        name="old_runs",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Deletes runs that changed nothing once they are 14 days old. The newest of each day stays: its colour "
        "hangs on it. Runs that failed, changed something or were started by a person stay.",
    )
    def old_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from ml_connector.orchestration.ticks import runs_in_the_trail

        since = datetime.fromisoformat(context.cursor) if context.cursor else None
        old = dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.SUCCESS],
            tags={names.AUTOMATIC_TAG: "true"},
            created_after=since,
            created_before=datetime.now(UTC) - KEPT,
        )
        records = context.instance.get_run_records(old, limit=AT_ONCE, ascending=True)
        if not records:
            return dg.SkipReason("no run is old enough")
        ours = {connection.name for connection in connections}
        runs = [r.dagster_run for r in records if r.dagster_run.tags.get(names.CONNECTION_TAG) in ours]
        told = runs_in_the_trail([run.run_id for run in runs])
        gone = [run for run in runs if run.run_id not in told and _is_followed(context.instance, run)]
        for run in gone:
            # First: without the run nothing would lead to the files of what its steps printed any more.
            context.instance.compute_log_manager.delete_logs(prefix=[run.run_id])
            context.instance.delete_run(run.run_id)
        context.update_cursor(records[-1].create_timestamp.replace(tzinfo=UTC).isoformat())
        return dg.SkipReason(f"{len(gone)} of {len(records)} old runs changed nothing and were deleted")

    return old_runs


def _is_followed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a newer run made the same assets of the same days, so that no colour hangs on this one."""
    days = run.tags.get(names.DAYS_TAG)
    same = dg.RunsFilter(
        job_name=run.job_name,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        tags={names.DAYS_TAG: days} if days else {},
    )
    for newer in instance.get_runs(same, limit=AT_ONCE):
        if newer.run_id == run.run_id:
            return False
        if newer.asset_selection in (None, run.asset_selection):
            return True
    return True
