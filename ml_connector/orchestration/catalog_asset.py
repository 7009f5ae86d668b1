"""The stored copy of Procore's lists as an asset, apart from the day's job: an unchanged window costs Procore nothing."""

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.described import spec
from ml_connector.orchestration.outages import told_in_one_sentence
from ml_connector.orchestration.resources import ProcoreResource, StoreResource
from ml_connector.settings import Connection

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ml_connector.posting.releasing import Looked
    from ml_connector.procore.client import ProcoreClient

Metadata = dict[str, dg.MetadataValue[Any]]


def catalog_asset(connection: Connection) -> dg.AssetsDefinition:
    """The asset `<connection>/procore/catalog`."""

    @dg.multi_asset(
        name=f"{connection.name}__refresh_catalog",
        specs=[spec(connection, "procore", "catalog")],
        pool=connection.name,
    )
    def catalog(
        context: dg.AssetExecutionContext, store: StoreResource, procore: ProcoreResource
    ) -> dg.MaterializeResult[None]:
        from ml_connector.posting.releasing import look_for_causes

        current = store.connection(connection.name)
        engine = store.engine()
        client = procore.client(current, engine)
        with told_in_one_sentence(engine, current):
            if context.run.tags.get(names.AUTOMATIC_TAG) == "true":
                metadata, woken = _of_look(look_for_causes(engine, current, client))
            else:
                metadata, woken = _of_all(engine, current, client)
        context.log.info("%d days may be released", len(woken))
        return dg.MaterializeResult(
            asset_key=names.key(connection.name, "procore", "catalog"),
            metadata={
                **metadata,
                "days_released": dg.MetadataValue.int(len(woken)),
                "procore_calls": dg.MetadataValue.int(client.calls.total()),
            },
        )

    return catalog


def _of_look(looked: "Looked") -> tuple[Metadata, Collection[date]]:
    """By the schedule: only what open holds wait for."""
    changed = [f"- {part}{': changed' if part in looked.changed else ''}" for part in looked.asked]
    return {
        "asked_for": dg.MetadataValue.md("\n".join(changed) or "nothing: no hold waits for Procore"),
        "changed": dg.MetadataValue.bool(bool(looked.changed)),
    }, looked.woken


def _of_all(
    engine: "Engine", connection: Connection, client: "ProcoreClient"
) -> tuple[Metadata, Collection[date]]:
    """By a person: every list, and every record that may wait for Procore is tried again."""
    from ml_connector.orchestration import work

    refreshed = work.refresh_lists(engine, connection, client)
    woken = {
        *refreshed.woken,
        *work.recheck_vendors(engine, connection),
        *work.recheck_commitments(engine, connection),
    }
    return {
        "projects": dg.MetadataValue.int(refreshed.projects),
        "budget_codes": dg.MetadataValue.int(refreshed.budget_codes),
        "changed": dg.MetadataValue.bool(refreshed.changed),
    }, woken
