"""The assets of what Procore holds. A day with a refused or a waiting record turns FAILED, the others green.

This is the last step of a run, so a range run can mark each clean day by itself and fail only the bad ones.
"""

from collections.abc import Iterator

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.described import DESCRIPTIONS, spec
from ml_connector.orchestration.outages import told_in_one_sentence
from ml_connector.orchestration.resources import ProcoreResource, QboResource, StoreResource
from ml_connector.orchestration.runs import materialized, run_of
from ml_connector.settings import Connection

REFUSED_CHECK = "procore_took_everything"
OF_BILLS = [("mapped", "bill_lines"), ("procore", "vendors")]
OF_PAYMENTS = [("mapped", "payments"), ("procore", "direct_costs"), ("procore", "requisitions")]


def post_assets(connection: Connection, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The multi-asset `<connection>/procore/{vendors,direct_costs,requisitions,contract_payments}`."""

    @dg.multi_asset(
        name=f"{connection.name}__post_differences",
        specs=[
            spec(connection, "procore", "vendors", deps=[("mapped", "vendors")]),
            spec(connection, "procore", "direct_costs", deps=OF_BILLS),
            spec(connection, "procore", "requisitions", deps=OF_BILLS),
            spec(connection, "procore", "contract_payments", deps=OF_PAYMENTS),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                REFUSED_CHECK,
                asset=dg.AssetKey(names.key(connection.name, "procore", name)),
                description=DESCRIPTIONS[REFUSED_CHECK],
            )
            for name in names.PROCORE_ASSETS
        ],
        partitions_def=partitions,
        pool=connection.name,
        backfill_policy=dg.BackfillPolicy.multi_run(7),
        can_subset=True,
        description=DESCRIPTIONS["post"],
    )
    def post(
        context: dg.AssetExecutionContext, store: StoreResource, procore: ProcoreResource, qbo: QboResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        from ml_connector.orchestration import reports, work
        from ml_connector.store import loads

        run = run_of(context)
        current = store.connection(connection.name)
        engine = store.engine()
        client = procore.client(current, engine)
        wanted = [
            name
            for name in names.PROCORE_ASSETS
            if dg.AssetKey(names.key(connection.name, "procore", name)) in context.selected_asset_keys
        ]
        with told_in_one_sentence(engine, current):
            done = work.post(engine, current, run, client, wanted, lambda: qbo.client(current, engine))
        head = work.note_audit_head(engine, store.folders(), current, run)
        context.log.info("The audit trail ends with %s", head)
        with engine.connect() as db:
            load = loads.load_of(db, current)
        if load is not None and not load.is_over:
            context.log.info(loads.words_of(load))
        troubles: list[str] = []
        with engine.connect() as db:
            for name, posted in done.items():
                key = dg.AssetKey(names.key(connection.name, "procore", name))
                bad = reports.bad_days(db, current, run.days, name, posted)
                if dg.AssetCheckKey(key, REFUSED_CHECK) in context.selected_asset_check_keys:
                    yield dg.AssetCheckResult(
                        asset_key=key,
                        check_name=REFUSED_CHECK,
                        passed=not bad,
                        severity=dg.AssetCheckSeverity.ERROR,
                        metadata=reports.of_bad_days(run.days, bad),
                    )
                of_days = reports.of_posting(db, current, run.days, name, posted, client)
                if not bad:
                    yield materialized(context, key, of_days)
                    continue
                for day in run.days:
                    if day not in bad:
                        context.log_event(
                            dg.AssetMaterialization(key, partition=day.isoformat(), metadata=of_days[day])
                        )
                troubles += [f"{day}: {sentence}" for day, sentences in bad.items() for sentence in sentences]
        troubles = list(dict.fromkeys(troubles))  # a bill may stand behind two assets
        if troubles:
            raise dg.Failure(
                description=reports.failure_sentence(troubles),
                metadata={
                    "problems": dg.MetadataValue.md("\n".join(f"- {trouble}" for trouble in troubles[:20]))
                },
                allow_retries=False,
            )

    return post
