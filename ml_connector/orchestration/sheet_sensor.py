"""The sensor over the sheets and decisions that people save: a change is noticed and taken in by a run."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import Any

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.settings import Connection, Home

EVERY_SECONDS = 15


def sheet_sensor(connections: Sequence[Connection], home: Home, jobs: Sequence[Any]) -> dg.SensorDefinition:
    """One run for what was saved since the last tick; a file that still changes waits for the next one."""

    @dg.sensor(
        name="sheet_files",
        jobs=jobs,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for the sheets and decisions that people saved into the folders of the connections.",
    )
    def sheet_files(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from ml_connector.mapping.sheet_files import Look, changed, request_key
        from ml_connector.orchestration.ticks import published_hash

        before = json.loads(context.cursor or "{}")
        after: dict[str, dict[str, tuple[Any, ...]]] = {}
        requests = []
        for connection in connections:
            looks = {name: Look(*look) for name, look in before.get(connection.name, {}).items()}
            seen, to_take = changed(home, connection.name, looks, published_hash(connection.name))
            after[connection.name] = {name: astuple(look) for name, look in seen.items()}
            if to_take:
                keys = " ".join(request_key(name, seen[name]) for name in to_take)
                requests.append(_request(connection, to_take, keys))
        context.update_cursor(json.dumps(after))
        yield from requests
        if not requests:
            yield dg.SkipReason("no sheet was changed")

    return sheet_files


def _request(connection: Connection, to_take: Sequence[str], keys: str) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"sheets {connection.name} {keys}",
        job_name=names.sheets_job(connection.name),
        tags={
            names.AUTOMATIC_TAG: "true",
            names.CONNECTION_TAG: connection.name,
            names.FILES_TAG: json.dumps(to_take),
            names.PRIORITY_TAG: names.LIVE_PRIORITY,
        },
    )
