"""A code location with one empty asset and a sensor over a folder: what Dagster itself needs from a file to a run's end."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from ml_connector.orchestration.sensors import EVERY_SECONDS

FOLDER_VARIABLE = "ML_CONNECTOR_BENCH_FOLDER"
JOB = "empty_job"


@dg.asset
def empty() -> None:
    """Nothing."""


_job = dg.define_asset_job(JOB, selection=[empty])


@dg.sensor(job=_job, minimum_interval_seconds=EVERY_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def files(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Asks for a run for every file; the run key keeps it from asking twice."""
    names = sorted(entry.name for entry in Path(os.environ[FOLDER_VARIABLE]).iterdir())
    if not names:
        yield dg.SkipReason("no file")
    for name in names:
        yield dg.RunRequest(run_key=name)


defs = dg.Definitions(assets=[empty], jobs=[_job], sensors=[files], executor=dg.in_process_executor)
