"""Runs whose worker is gone are failed at start, and their days are worked on again."""

import os
import socket
from datetime import date

import dagster as dg
import pytest
from sqlalchemy import insert, select

from ml_connector.orchestration.janitor import sweep
from ml_connector.orchestration.work import started_at
from ml_connector.store.tables import worker
from ml_connector_tests.orchestration.stage import TODAY, Stage, day

NEVER_A_PID = 4_194_305  # one above the highest that Linux gives (proc(5), pid_max)


def begun(stage: Stage, status: dg.DagsterRunStatus) -> str:
    """A run that has got so far."""
    job = stage.definitions.resolve_job_def("acme__sync")
    return stage.instance.create_run_for_job(job, status=status).run_id


def works(stage: Stage, run_id: str, *days: date, pid: int, started: str, host: str | None = None) -> None:
    with stage.rig.engine.begin() as db:
        db.execute(
            insert(worker).values(
                run_id=run_id,
                pid=pid,
                started=started,
                host=host or socket.gethostname(),
                connection="acme",
                days={entry.isoformat(): None for entry in days},
            )
        )


def status(stage: Stage, run_id: str) -> dg.DagsterRunStatus:
    run = stage.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_F43_a_run_whose_process_is_gone_is_failed_and_its_days_are_dirty_again(stage: Stage) -> None:
    dead = begun(stage, dg.DagsterRunStatus.STARTED)
    works(stage, dead, day(1), TODAY, pid=NEVER_A_PID, started="77")
    assert sweep(stage.instance, stage.rig.engine) == [dead]
    assert status(stage, dead) is dg.DagsterRunStatus.FAILURE
    assert stage.rig.dirty() == [day(1), TODAY]
    assert sweep(stage.instance, stage.rig.engine) == []


def test_a_process_that_got_the_number_of_a_dead_worker_is_no_worker(stage: Stage) -> None:
    dead = begun(stage, dg.DagsterRunStatus.STARTED)
    works(stage, dead, TODAY, pid=os.getpid(), started="1")
    assert sweep(stage.instance, stage.rig.engine) == [dead]


def test_a_living_worker_is_left_alone(stage: Stage) -> None:
    alive = begun(stage, dg.DagsterRunStatus.STARTED)
    works(stage, alive, TODAY, pid=os.getpid(), started=started_at(os.getpid()))
    assert sweep(stage.instance, stage.rig.engine) == []
    assert status(stage, alive) is dg.DagsterRunStatus.STARTED


def test_a_worker_of_another_host_is_left_to_that_host(stage: Stage) -> None:
    elsewhere = begun(stage, dg.DagsterRunStatus.STARTED)
    works(stage, elsewhere, TODAY, pid=NEVER_A_PID, started="77", host="another-host")
    assert sweep(stage.instance, stage.rig.engine) == []


@pytest.mark.parametrize("reached", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_a_begun_run_that_no_worker_signed_for_is_failed(stage: Stage, reached: str) -> None:
    run = begun(stage, dg.DagsterRunStatus(reached))
    assert sweep(stage.instance, stage.rig.engine) == [run]


def test_what_ended_runs_signed_is_forgotten(stage: Stage) -> None:
    assert stage.run().success
    sweep(stage.instance, stage.rig.engine)
    with stage.rig.engine.connect() as db:
        assert db.scalars(select(worker.c.run_id)).all() == []
