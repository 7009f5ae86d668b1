"""The published sheets as an asset: what people saved into the connection's folder is taken in, or refused."""

import json
from collections.abc import Iterator

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.orchestration.described import DESCRIPTIONS, spec
from ml_connector.orchestration.resources import StoreResource
from ml_connector.settings import Connection

GOOD_CHECK = "every_file_can_be_taken_in"


def sheet_asset(connection: Connection) -> dg.AssetsDefinition:
    """The asset `<connection>/sheets/published` with its check."""
    key = dg.AssetKey(names.key(connection.name, "sheets", "published"))

    @dg.multi_asset(
        name=f"{connection.name}__take_in_sheets",
        specs=[spec(connection, "sheets", "published")],
        check_specs=[dg.AssetCheckSpec(GOOD_CHECK, asset=key, description=DESCRIPTIONS[GOOD_CHECK])],
        pool=connection.name,
        description=DESCRIPTIONS["sheets/published"],
    )
    def published(
        context: dg.AssetExecutionContext, store: StoreResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        from ml_connector.errors import MlConnectorError
        from ml_connector.mapping import sheet_files

        current, home, engine = store.connection(connection.name), store.folders(), store.engine()
        tag = context.run.tags.get(names.FILES_TAG)
        asked = list(sheet_files.files_of(home, current.name)) if tag is None else json.loads(tag)
        done: list[str] = []
        refused: list[str] = []
        for name in asked:
            try:
                done.append(sheet_files.take_in(engine, home, current, name))
            except MlConnectorError as error:
                refused.append(str(error))
        faults = list(dict.fromkeys([*refused, *sheet_files.faults_of(home, current.name)]))
        context.log.info("; ".join(done) or "nothing was taken in")
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=GOOD_CHECK,
            passed=not faults,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"faults": dg.MetadataValue.md("\n\n".join(faults) or "none")},
        )
        if refused:
            raise dg.Failure(
                description="\n".join(refused),
                metadata={"problems": dg.MetadataValue.md("\n\n".join(refused))},
                allow_retries=False,
            )
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "taken_in": dg.MetadataValue.md("\n".join(f"- {entry}" for entry in done) or "nothing")
            },
        )

    return published
