"""dagster.yaml and workspace.yaml, loaded as Dagster loads them, on a real Postgres."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from ml_connector.store.postgres_server import PostgresServer
from ml_connector_tests.conftest import ROOT


@pytest.fixture
def dagster_home(
    tmp_path: Path, postgres: PostgresServer, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A DAGSTER_HOME with a copy of the shipped dagster.yaml and a database of its own."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.setenv("ML_CONNECTOR_DAGSTER_URL", postgres.url("psycopg2", empty_database))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        yield instance


@dg.asset(pool="acme")
def probe() -> None:
    """Something that a run can make."""


def test_runs_and_events_are_kept_in_postgres_and_nothing_in_the_home(
    instance: dg.DagsterInstance, dagster_home: Path
) -> None:
    assert dg.materialize([probe], instance=instance).success
    assert instance.get_runs_count() == 1
    assert instance.get_latest_materialization_event(probe.key) is not None
    assert not list(dagster_home.rglob("*.db"))


def test_one_run_a_connection_whatever_the_door(instance: dg.DagsterInstance) -> None:
    settings = instance.get_concurrency_config()
    assert settings.pool_config.default_pool_limit == 1
    assert settings.pool_config.pool_granularity is not None
    assert settings.pool_config.pool_granularity.value == "run"
    assert settings.run_queue_config is not None
    assert settings.run_queue_config.max_concurrent_runs == 4


def test_crashed_workers_are_seen_and_only_they_are_started_again(instance: dg.DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_poll_interval_seconds == 15
    assert instance.run_monitoring_start_timeout_seconds == 180
    assert instance.run_monitoring_max_runtime_seconds == 3600
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 1
    assert instance.run_retries_retry_on_asset_or_op_failure is False


def test_F43_a_killed_runs_place_is_freed_and_nothing_is_reported_home(dagster_home: Path) -> None:
    settings = yaml.safe_load((dagster_home / "dagster.yaml").read_text())
    assert settings["run_monitoring"]["free_slots_after_run_end_seconds"] == 60
    assert settings["telemetry"] == {"enabled": False}


@pytest.mark.processes
def test_dagsters_own_command_reads_the_instance(dagster_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "dagster", "instance", "info"],
        env={**os.environ, "DAGSTER_HOME": str(dagster_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for storage in ("run_storage", "event_log_storage", "schedule_storage"):
        assert f"{storage}: Postgres" in done.stdout


def test_the_code_location_is_the_one_that_pyproject_names() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    (location,) = workspace["load_from"]
    assert location["python_module"]["module_name"] == "ml_connector.definitions"
    assert 'module_name = "ml_connector.definitions"' in (ROOT / "pyproject.toml").read_text()
