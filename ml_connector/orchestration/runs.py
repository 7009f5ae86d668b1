"""What a step must know of its run: days, who asked for it."""

from datetime import date
from typing import TYPE_CHECKING

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
