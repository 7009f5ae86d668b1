"""The assets of what QBO holds: one step and one CDC call for all entity types of a connection.

Days that the cursor passes are marked too: no run of their own follows, and what an outage left red turns green.
"""

from collections.abc import Iterator

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.described import DESCRIPTIONS, spec
from ml_connector.orchestration.outages import told_in_one_sentence
from ml_connector.orchestration.resources import QboResource, StoreResource
from ml_connector.orchestration.runs import materialized, run_of
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
        from ml_connector.store import landing

        run = run_of(context)
        current = store.connection(connection.name)
        engine = store.engine()
        client = qbo.client(current, engine)
        before = work.read_to(engine, current)
        with told_in_one_sentence(engine, current):
            reading = work.read(engine, store.folders(), current, client, run)
        closed = work.closed_by(reading, current, run, before=before)
        context.log.info(reports.read_sentence(reading))
        with engine.connect() as db:
            stored = landing.counts_of_days(db, current.name, closed)
            for name in names.QBO_ASSETS:
                key = dg.AssetKey(names.key(connection.name, "qbo", name))
                for day in closed:
                    context.log_event(
                        dg.AssetMaterialization(
                            key,
                            partition=day.isoformat(),
                            metadata=reports.of_closed_day(stored, day, name, reading),
                        )
                    )
                of_days = reports.of_reading(db, current, run.days, name, reading, client)
                yield materialized(context, key, of_days)

    return read
