"""The assets of what QBO holds: one step and one CDC call for all entity types of a connection."""

from collections.abc import Iterator

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.described import DESCRIPTIONS, spec
from ml_connector.orchestration.resources import QboResource, StoreResource
from ml_connector.orchestration.runs import run_of
from ml_connector.settings import Connection


def read_assets(connection: Connection, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The multi-asset `<connection>/qbo/*`."""

    @dg.multi_asset(
        name=f"{connection.name}__read_changes",
        specs=[spec(connection, "qbo", name) for name in names.QBO_ASSETS],
        partitions_def=partitions,
        pool=connection.name,
        backfill_policy=dg.BackfillPolicy.multi_run(7),
        description=DESCRIPTIONS["read"],
    )
    def read(
        context: dg.AssetExecutionContext, store: StoreResource, qbo: QboResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        from ml_connector.orchestration import reports, work

        run = run_of(context)
        current = store.connection(connection.name)
        engine = store.engine()
        client = qbo.client(current, engine)
        reading = work.read(engine, store.folders(), current, client, run)
        context.log.info(reports.read_sentence(reading))
        with engine.connect() as db:
            for name in names.QBO_ASSETS:
                yield dg.MaterializeResult(
                    asset_key=names.key(connection.name, "qbo", name),
                    metadata=reports.of_reading(db, current, run.days, name, reading, client),
                )

    return read
