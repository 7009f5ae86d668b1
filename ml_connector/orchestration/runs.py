"""What a step must know of its run, and how it tells Dagster what is true of each of its days."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml_connector.orchestration import names

if TYPE_CHECKING:
    from ml_connector.orchestration.work import Run


def run_of(context: dg.AssetExecutionContext) -> "Run":
    """The run that a step belongs to."""
    from ml_connector.orchestration.work import Run

    days = tuple(date.fromisoformat(day) for day in context.partition_keys)
    tags = context.run.tags
    only = names.records_of(tags[names.RECORDS_TAG]) if names.RECORDS_TAG in tags else None
    return Run(context.run.run_id, days, automatic=tags.get(names.AUTOMATIC_TAG) == "true", only=only)


def materialized(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    by_day: Mapping[date, Mapping[str, dg.MetadataValue[Any]]],
) -> dg.MaterializeResult[None]:
    """All days of the run as done, each with what is true of it alone."""
    for day, metadata in by_day.items():
        context.add_asset_metadata(metadata, asset_key=key, partition_key=day.isoformat())
    return dg.MaterializeResult(asset_key=key)
