"""Puts the Dagster half together: one function makes the Definitions of every connection, and nothing else."""

from collections.abc import Mapping, Sequence

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.alarm_sensor import alarm_sensor
from ml_connector.orchestration.catalog_asset import catalog_asset
from ml_connector.orchestration.map_assets import map_assets
from ml_connector.orchestration.morning_sensor import morning_sensor
from ml_connector.orchestration.old_runs import old_runs_sensor
from ml_connector.orchestration.outages import outage_sensor
from ml_connector.orchestration.partitions import windows_of
from ml_connector.orchestration.post_assets import post_assets
from ml_connector.orchestration.proof_asset import proof_asset
from ml_connector.orchestration.read_assets import read_assets
from ml_connector.orchestration.resources import ProcoreResource, QboResource, StoreResource
from ml_connector.orchestration.schedules import catalog_schedule, poll_schedule, proof_schedule
from ml_connector.orchestration.sensors import dirty_windows_sensor, inbox_sensor
from ml_connector.orchestration.sheet_asset import sheet_asset
from ml_connector.orchestration.sheet_sensor import sheet_sensor
from ml_connector.settings import Connection, Home


def build_definitions(
    home: Home, connections: Sequence[Connection], *, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The Definitions of all `connections`; `resources` replace those that reach the real store and vendors."""
    assets: list[dg.AssetsDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    sync_jobs, post_jobs, catalog_jobs, proof_jobs, sheet_jobs = [], [], [], [], []
    for connection in connections:
        windows = windows_of(connection)
        read, mapped = read_assets(connection, windows), map_assets(connection, windows)
        posted, catalog = post_assets(connection, windows), catalog_asset(connection)
        proof, sheets = proof_asset(connection), sheet_asset(connection)
        assets += [read, mapped, posted, catalog, proof, sheets]
        sync = dg.define_asset_job(
            names.sync_job(connection.name),
            selection=dg.AssetSelection.assets(read, mapped, posted),
            description="Read, map and post the days chosen, by day of change in QuickBooks.",
        )
        post = dg.define_asset_job(
            names.post_job(connection.name),
            selection=dg.AssetSelection.assets(mapped, posted),
            description="Map and post what was read before, by day of change; asks QuickBooks nothing.",
        )
        refresh = dg.define_asset_job(
            names.catalog_job(connection.name),
            selection=dg.AssetSelection.assets(catalog),
            description="Refresh the copy of Procore's projects and budget codes.",
        )
        sync_jobs.append(sync)
        post_jobs.append(post)
        catalog_jobs.append(refresh)
        proving = dg.define_asset_job(
            names.proof_job(connection.name),
            selection=dg.AssetSelection.assets(proof),
            description="Compare QuickBooks with Procore, both read afresh, to the cent.",
        )
        proof_jobs.append(proving)
        taking_in = dg.define_asset_job(
            names.sheets_job(connection.name),
            selection=dg.AssetSelection.assets(sheets),
            description="Publish the sheets and take in the decisions that people saved into the connection's folder.",
        )
        sheet_jobs.append(taking_in)
        schedules += [poll_schedule(connection), catalog_schedule(connection), proof_schedule(connection)]
    sensors = (
        [
            inbox_sensor(connections, home, sync_jobs),
            dirty_windows_sensor(connections, post_jobs),
            sheet_sensor(connections, home, sheet_jobs),
            outage_sensor(connections, home),
            alarm_sensor(connections, home),
            morning_sensor(connections, home),
            old_runs_sensor(connections),
        ]
        if connections
        else []
    )
    return dg.Definitions(
        assets=assets,
        jobs=[*sync_jobs, *post_jobs, *catalog_jobs, *proof_jobs, *sheet_jobs],
        schedules=schedules,
        sensors=sensors,
        resources=resources
        or {
            "store": StoreResource(home=str(home.root)),
            "qbo": QboResource(home=str(home.root)),
            "procore": ProcoreResource(home=str(home.root)),
        },
        executor=dg.in_process_executor,
    )
