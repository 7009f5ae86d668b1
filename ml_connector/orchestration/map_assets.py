"""The assets of what mapping decided; what waits for people shows as a failing check of severity WARN.

One step maps all kinds, whichever are selected. It can be subset for Dagster's sake: 1.13 refuses a backfill of the whole
chain from the UI when assets of a step that cannot be subset have different numbers of roots.
"""

from collections.abc import Iterator

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.described import DESCRIPTIONS, spec
from ml_connector.orchestration.outages import told_in_one_sentence
from ml_connector.orchestration.resources import ProcoreResource, StoreResource
from ml_connector.orchestration.runs import materialized, run_of
from ml_connector.settings import Connection

HOLDS_CHECK = "nothing_waits_for_people"


def map_assets(connection: Connection, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The multi-asset `<connection>/mapped/*`."""
    lines = dg.AssetKey(names.key(connection.name, "mapped", "bill_lines"))

    @dg.multi_asset(
        name=f"{connection.name}__map_lines",
        specs=[
            spec(connection, "mapped", "vendors", deps=[("qbo", "vendors")]),
            spec(
                connection,
                "mapped",
                "bill_lines",
                deps=[("qbo", name) for name in ("bills", "vendor_credits", "other_costs", "reference")],
            ),
            spec(connection, "mapped", "payments", deps=[("qbo", "bill_payments")]),
        ],
        check_specs=[
            dg.AssetCheckSpec(HOLDS_CHECK, asset=lines, description=DESCRIPTIONS[HOLDS_CHECK]),
        ],
        partitions_def=partitions,
        pool=connection.name,
        backfill_policy=dg.BackfillPolicy.multi_run(7),
        can_subset=True,
        description=DESCRIPTIONS["map"],
    )
    def map_lines(
        context: dg.AssetExecutionContext, store: StoreResource, procore: ProcoreResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        from ml_connector.orchestration import reports, work

        run = run_of(context)
        current = store.connection(connection.name)
        engine = store.engine()
        with told_in_one_sentence(engine, current):
            mapped = work.map_days(engine, current, run, lambda: procore.client(current, engine))
        context.log.info(reports.map_sentence(mapped))
        with engine.connect() as db:
            for name in names.MAPPED_ASSETS:
                key = dg.AssetKey(names.key(connection.name, "mapped", name))
                if key in context.selected_asset_keys:
                    yield materialized(context, key, reports.of_mapping(db, current, run.days, name))
            if dg.AssetCheckKey(lines, HOLDS_CHECK) in context.selected_asset_check_keys:
                passed, sentence, metadata = reports.waiting_for_people(db, current, run.days)
                yield dg.AssetCheckResult(
                    asset_key=lines,
                    check_name=HOLDS_CHECK,
                    passed=passed,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=sentence,
                    metadata=metadata,
                )

    return map_lines
