"""What loading the code location gives Dagster, and what it must not cost: heavy libraries, vendor calls."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from ml_connector.orchestration import ticks
from ml_connector.orchestration.build import build_definitions
from ml_connector.settings import DATABASE_VARIABLE, HOME_VARIABLE, Home, load_connections
from ml_connector.store import windows
from ml_connector_tests.orchestration.stage import Stage, day
from ml_connector_tests.rig import open_rig

ZONES = {"denver": "America/Denver", "sydney": "Australia/Sydney"}
POLLS = {"denver": "*/15 * * * *", "sydney": "*/5 6-20 * * 1-5"}
STARTS = {"denver": "2026-01-01", "sydney": "2025-07-01"}
HEAVY = {"pandas", "requests", "sqlalchemy"}
LOADING = """
import json, sys
import {module}
print(json.dumps(sorted(sys.modules)))
"""

# Asset -> what it is made from, both below the name of their connection.
LINEAGE = {
    "qbo/vendors": set(),
    "qbo/bills": set(),
    "qbo/bill_payments": set(),
    "qbo/vendor_credits": set(),
    "qbo/other_costs": set(),
    "qbo/reference": set(),
    "mapped/vendors": {"qbo/vendors"},
    "mapped/bill_lines": {"qbo/bills", "qbo/vendor_credits", "qbo/other_costs", "qbo/reference"},
    "mapped/payments": {"qbo/bill_payments"},
    "procore/vendors": {"mapped/vendors"},
    "procore/direct_costs": {"mapped/bill_lines", "procore/vendors"},
    "procore/requisitions": {"mapped/bill_lines", "procore/vendors"},
    "procore/contract_payments": {"mapped/payments", "procore/direct_costs", "procore/requisitions"},
    "procore/catalog": set(),
    "proof/reconciliation": {
        "procore/vendors", "procore/direct_costs", "procore/requisitions", "procore/contract_payments"
    },
    "sheets/published": set(),
}  # fmt: skip
CATALOG = {"procore/catalog"}
PROOF = {"proof/reconciliation"}
SHEETS = {"sheets/published"}
WITHOUT_DAYS = CATALOG | PROOF | SHEETS
READ = {name for name in LINEAGE if name.startswith("qbo/")}
CHECKS = {
    "mapped/bill_lines": "nothing_waits_for_people",
    "procore/vendors": "procore_took_everything",
    "procore/direct_costs": "procore_took_everything",
    "procore/requisitions": "procore_took_everything",
    "procore/contract_payments": "procore_took_everything",
    "proof/reconciliation": "both_sides_balance",
    "sheets/published": "every_file_can_be_taken_in",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two connections in different time zones, and nothing else: no database, no keys."""
    for number, name in enumerate(ZONES, start=1):
        folder = tmp_path / "connections" / name
        folder.mkdir(parents=True)
        content = {
            "qbo": {"realm_id": str(number)},
            "procore": {"company_id": number},
            "time_zone": ZONES[name],
            "start_date": STARTS[name],
            "poll_cron": POLLS[name],
        }
        (folder / "connection.yaml").write_text(yaml.safe_dump(content))
    return Home(tmp_path)


@pytest.fixture
def definitions(home: Home) -> dg.Definitions:
    """The Definitions of both connections."""
    return build_definitions(home, load_connections(home))


@pytest.fixture
def idle(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The fixture firm, read and posted, beside a Dagster instance with a folder, as schedules need it."""
    monkeypatch.setenv(DATABASE_VARIABLE, database_url)
    rig = open_rig(tmp_path, database_url, start_date=day(2).isoformat())
    rig.sync()
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Stage(rig, instance)
    ticks.engine().dispose()
    rig.close()


def modules_after(module: str, home: Home) -> set[str]:
    """Names of all modules of a fresh process that imported `module`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ML_CONNECTOR_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADING.format(module=module)],
        env={**environment, HOME_VARIABLE: str(home.root), "DAGSTER_HOME": str(home.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def below(connection: str, names: set[str]) -> set[dg.AssetKey]:
    return {dg.AssetKey([connection, *name.split("/")]) for name in names}


# -- cost ---------------------------------------------------------------------------------------------------------


def test_loading_imports_neither_pandas_nor_sqlalchemy_nor_requests(home: Home) -> None:
    modules = modules_after("ml_connector.definitions", home)
    assert "ml_connector.orchestration.build" in modules
    assert not HEAVY & modules


def test_a_step_imports_what_loading_leaves_out(home: Home) -> None:
    # The control of the test above: its probe does see these libraries.
    assert {"requests", "sqlalchemy"} <= modules_after("ml_connector.orchestration.work", home)


def test_no_tick_of_sensor_or_schedule_makes_a_vendor_call_while_every_vendor_answers(idle: Stage) -> None:
    rig, found = idle.rig, idle.definitions
    with rig.engine.begin() as db:
        windows.mark(db, rig.name, [day(1)], reason="a bill changed")
    (rig.home.inbox / f"{rig.name}__20260302T120700Z__0123456789abcdef.json").write_text("{}")
    marks = [(vendor, vendor.mark()) for vendor in (rig.qbo, rig.procore)]
    asked = {}
    for sensor in ("webhook_inbox", "dirty_windows", "sheet_files"):
        looking = dg.build_sensor_context(instance=idle.instance, definitions=found, sensor_name=sensor)
        tick = found.resolve_sensor_def(sensor).evaluate_tick(looking)
        asked[sensor] = len(tick.run_requests or [])
    for schedule in ("acme__poll", "acme__catalog_refresh", "acme__nightly_proof"):
        due = dg.build_schedule_context(
            instance=idle.instance,
            scheduled_execution_time=datetime.now(UTC),
            repository_def=found.get_repository_def(),
        )
        asked[schedule] = len(found.resolve_schedule_def(schedule).evaluate_tick(due).run_requests or [])
    assert asked == {
        "webhook_inbox": 1,
        "dirty_windows": 1,
        "sheet_files": 0,
        "acme__poll": 1,
        "acme__catalog_refresh": 0,
        "acme__nightly_proof": 1,
    }
    for vendor, mark in marks:
        assert [entry for entry in vendor.journal(mark) if "/_control" not in entry["path"]] == []


# -- what is there ------------------------------------------------------------------------------------------------


def test_definitions_validate_with_connections_and_without(home: Home, definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)
    dg.Definitions.validate_loadable(build_definitions(home, []))


def test_every_connection_has_the_same_lineage_under_its_own_name(definitions: dg.Definitions) -> None:
    expected = {
        dg.AssetKey([connection, *name.split("/")]): below(connection, sources)
        for connection in ZONES
        for name, sources in LINEAGE.items()
    }
    graph = definitions.resolve_asset_graph()
    assert {key: set(graph.get(key).parent_keys) for key in graph.get_all_asset_keys()} == expected


def test_checks_stand_on_what_people_look_at(definitions: dg.Definitions) -> None:
    expected = {
        dg.AssetCheckKey(dg.AssetKey([connection, *name.split("/")]), check)
        for connection in ZONES
        for name, check in CHECKS.items()
    }
    assert set(definitions.resolve_asset_graph().asset_check_keys) == expected


def test_windows_are_days_of_the_connections_zone_and_only_catalog_and_proof_have_none(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()
    for connection, zone in ZONES.items():
        for name in LINEAGE:
            found = graph.get(dg.AssetKey([connection, *name.split("/")])).partitions_def
            if name in WITHOUT_DAYS:
                assert found is None
                continue
            assert isinstance(found, dg.DailyPartitionsDefinition)
            assert found.timezone == zone
            assert found.start.date() == date.fromisoformat(STARTS[connection])
            assert found.end_offset == 1


def test_one_pool_a_connection_lets_one_run_of_it_work(definitions: dg.Definitions) -> None:
    pools: dict[str, set[str]] = {}
    for asset in definitions.assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        assert asset.op.pool is not None
        pools.setdefault(asset.op.pool, set()).update("/".join(key.path[1:]) for key in asset.keys)
    assert pools == {connection: set(LINEAGE) for connection in ZONES}


def test_jobs_select_the_steps_that_they_name(definitions: dg.Definitions) -> None:
    expected: dict[str, set[dg.AssetKey]] = {}
    for connection in ZONES:
        expected |= {
            f"{connection}__sync": below(connection, set(LINEAGE) - WITHOUT_DAYS),
            f"{connection}__post": below(connection, set(LINEAGE) - WITHOUT_DAYS - READ),
            f"{connection}__catalog": below(connection, CATALOG),
            f"{connection}__proof": below(connection, PROOF),
            f"{connection}__sheets": below(connection, SHEETS),
        }
    jobs = [
        job
        for job in definitions.get_repository_def().get_all_jobs()
        if not job.name.startswith("__ASSET_JOB")
    ]
    assert {job.name: set(job.asset_layer.selected_asset_keys) for job in jobs} == expected


def test_schedules_tick_in_the_zone_of_their_connection(definitions: dg.Definitions) -> None:
    expected: dict[str, tuple[str, str, str]] = {}
    for connection, zone in ZONES.items():
        expected |= {
            f"{connection}__poll": (f"{connection}__sync", POLLS[connection], zone),
            f"{connection}__catalog_refresh": (f"{connection}__catalog", "7,37 * * * *", zone),
            f"{connection}__nightly_proof": (f"{connection}__proof", "23 2 * * *", zone),
        }
    schedules = definitions.get_repository_def().schedule_defs
    found = {
        entry.name: (entry.job_name, entry.cron_schedule, entry.execution_timezone) for entry in schedules
    }
    assert found == expected
    assert {entry.default_status for entry in schedules} == {dg.DefaultScheduleStatus.RUNNING}


def test_a_sensor_serves_all_connections(definitions: dg.Definitions) -> None:
    sensors = definitions.get_repository_def().sensor_defs
    targets = {sensor.name: {target.job_name for target in sensor.targets} for sensor in sensors}
    assert targets == {
        "webhook_inbox": {"denver__sync", "sydney__sync"},
        "dirty_windows": {"denver__post", "sydney__post"},
        "sheet_files": {"denver__sheets", "sydney__sheets"},
        "outages": set(),
        "alarms": set(),
        "morning_notes": set(),
        "old_runs": set(),
    }
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.RUNNING}
    assert {sensor.name: sensor.minimum_interval_seconds for sensor in sensors} == {
        "webhook_inbox": 5,
        "dirty_windows": 5,
        "sheet_files": 15,
        "outages": 30,
        "alarms": 60,
        "morning_notes": 600,
        "old_runs": 900,
    }
