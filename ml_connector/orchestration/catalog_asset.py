"""The stored copy of Procore's lists as an asset, apart from the day's job: an unchanged window costs Procore nothing."""

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.described import spec
from ml_connector.orchestration.resources import ProcoreResource, StoreResource
from ml_connector.settings import Connection


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
        from ml_connector.orchestration import work

        current = store.connection(connection.name)
        engine = store.engine()
        client = procore.client(current, engine)
        refreshed = work.refresh_lists(engine, current, client)
        woken = {
            *refreshed.woken,
            *work.recheck_vendors(engine, current),
            *work.recheck_commitments(engine, current),
        }
        context.log.info("Procore's lists %s", "changed" if refreshed.changed else "are as they were")
        return dg.MaterializeResult(
            asset_key=names.key(connection.name, "procore", "catalog"),
            metadata={
                "projects": dg.MetadataValue.int(refreshed.projects),
                "budget_codes": dg.MetadataValue.int(refreshed.budget_codes),
                "changed": dg.MetadataValue.bool(refreshed.changed),
                "days_released": dg.MetadataValue.int(len(woken)),
                "procore_calls": dg.MetadataValue.int(client.calls.total()),
            },
        )

    return catalog
