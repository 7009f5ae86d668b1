"""Runs that changed nothing are removed after two weeks, and nothing that people see hangs on them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from ml_connector.orchestration import names, ticks
from ml_connector_tests.orchestration.stage import MATERIALIZED, TODAY, Stage


def poll(stage: Stage) -> str:
    """A run as the poll schedule asks for it; its id."""
    job = stage.definitions.resolve_job_def(f"{stage.rig.name}__sync")
    tags = {
        names.AUTOMATIC_TAG: "true",
        names.CONNECTION_TAG: stage.rig.name,
        names.DAYS_TAG: TODAY.isoformat(),
    }
    ended = job.execute_in_process(
        instance=stage.instance, partition_key=TODAY.isoformat(), tags=tags, raise_on_error=False
    )
    return ended.run_id


def tick(stage: Stage, cursor: str | None = None) -> Any:
    """One tick of the sensor."""
    context = dg.build_sensor_context(
        instance=stage.instance, definitions=stage.definitions, sensor_name="old_runs", cursor=cursor
    )
    return stage.definitions.resolve_sensor_def("old_runs").evaluate_tick(context)


def test_polls_that_found_nothing_go_after_two_weeks_and_the_colours_of_days_stay(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.run(TODAY)
    stage.bill("4471", "1250.00")
    worked, idle, newest = poll(stage), poll(stage), poll(stage)
    by_a_person = stage.run(TODAY).run_id
    assert tick(stage).skip_message == "no run is old enough"
    printed = tmp_path / "printed"
    for run_id in (worked, idle):
        (printed / run_id / "compute_logs").mkdir(parents=True)
    monkeypatch.setattr(stage.instance, "_compute_log_manager", LocalComputeLogManager(str(printed)))
    with time_machine.travel(datetime.now(UTC) + timedelta(days=15), tick=True):
        first = tick(stage)
        assert first.skip_message == "1 of 3 old runs changed nothing and were deleted"
        left = {run.run_id for run in stage.instance.get_runs()}
        assert idle not in left
        assert [folder.name for folder in printed.iterdir()] == [worked]
        assert {worked, newest, by_a_person} <= left
        assert tick(stage, first.cursor).skip_message == "no run is old enough", "each is looked at once"
    assert stage.colour("qbo/bills") == stage.colour("procore/direct_costs") == MATERIALIZED
    ticks.engine().dispose()
