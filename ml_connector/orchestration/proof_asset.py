"""The proof as an asset: both sides read afresh every night, a table of the money, and a check that goes red."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.described import DESCRIPTIONS, spec
from ml_connector.orchestration.outages import told_in_one_sentence
from ml_connector.orchestration.resources import ProcoreResource, QboResource, StoreResource
from ml_connector.settings import Connection

if TYPE_CHECKING:
    from ml_connector.proving.proof import Proof

BALANCED_CHECK = "both_sides_balance"
FIRST = 20
MADE_FROM = [("procore", name) for name in names.PROCORE_ASSETS]


def proof_asset(connection: Connection) -> dg.AssetsDefinition:
    """The asset `<connection>/proof/reconciliation` with its check."""
    key = dg.AssetKey(names.key(connection.name, "proof", "reconciliation"))

    @dg.multi_asset(
        name=f"{connection.name}__prove",
        specs=[spec(connection, "proof", "reconciliation", deps=MADE_FROM)],
        check_specs=[dg.AssetCheckSpec(BALANCED_CHECK, asset=key, description=DESCRIPTIONS[BALANCED_CHECK])],
        pool=connection.name,
        description=DESCRIPTIONS["proof/reconciliation"],
    )
    def reconciliation(
        context: dg.AssetExecutionContext,
        store: StoreResource,
        qbo: QboResource,
        procore: ProcoreResource,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        from ml_connector.proving.noted import note
        from ml_connector.proving.proof import prove
        from ml_connector.proving.told import markdown_of_problems, verdict

        current = store.connection(connection.name)
        engine = store.engine()
        with told_in_one_sentence(engine, current):
            proof = prove(engine, current, qbo.client(current, engine), procore.client(current, engine))
        with engine.begin() as db:
            note(db, proof, run_id=context.run.run_id, actor="")
        context.log.info(verdict(proof))
        yield dg.MaterializeResult(asset_key=key, metadata=_metadata(proof))
        problems = proof.problems()
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=BALANCED_CHECK,
            passed=proof.balanced,
            severity=dg.AssetCheckSeverity.ERROR,
            description=verdict(proof),
            metadata={
                "differences": dg.MetadataValue.int(len(problems)),
                "first_differences": dg.MetadataValue.md(markdown_of_problems(problems, first=FIRST)),
            },
        )

    return reconciliation


def _metadata(proof: "Proof") -> dict[str, dg.MetadataValue[Any]]:
    from ml_connector.proving.told import COLUMNS, markdown_of, markdown_of_problems, money_of, verdict

    money = dict(zip(COLUMNS, money_of(proof.costs.total), strict=True))
    report = proof.vendors
    return {
        "verdict": dg.MetadataValue.text(verdict(proof)),
        "by_project": dg.MetadataValue.md(markdown_of(proof)),
        "first_differences": dg.MetadataValue.md(markdown_of_problems(proof.problems(), first=FIRST)),
        **{name: dg.MetadataValue.text(f"{amount:.2f}") for name, amount in money.items()},
        # Numbers, so that Dagster plots them over the nights; the exact money is the text beside them.
        "differences": dg.MetadataValue.int(len(proof.problems())),
        "drift_cents": dg.MetadataValue.int(int(money["drift"] * 100)),
        **{
            f"{name}_rounded": dg.MetadataValue.int(round(money[name])) for name in ("qbo", "procore", "held")
        },
        "vendors": dg.MetadataValue.text(
            f"{report.linked} linked, {len(report.only_in_qbo)} only in QuickBooks, {len(report.only_in_procore)} only in "
            f"Procore, {len(report.name_differs)} under another name"
        ),
        "job_cost_outside_the_sync": dg.MetadataValue.text(
            f"{len(proof.outside)} lines, {proof.outside_total:.2f}"
        ),
        "qbo_calls": dg.MetadataValue.int(proof.calls.qbo),
        "procore_calls": dg.MetadataValue.int(proof.calls.procore),
    }
