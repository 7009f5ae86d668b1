"""The heads of the audit trail as Dagster's event log has them: each run that posts left one on its assets."""

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.proving.trail import Noted, head_from

NEWEST = 250  # of each asset: older entries are beneath the newer heads
LABEL = "audit_head"


def heads_in_dagster(instance: dg.DagsterInstance, connection: str) -> list[Noted]:
    """The newest heads noted on the connection's Procore assets, each once.

    Raises SetupError for one that is no head, and what Dagster raises where its storage does not answer.
    """
    found: dict[str, Noted] = {}
    for name in names.PROCORE_ASSETS:
        key = dg.AssetKey(names.key(connection, "procore", name))
        for record in instance.fetch_materializations(key, limit=NEWEST).records:
            shown = record.asset_materialization
            said = None if shown is None else shown.metadata.get(LABEL)
            if said is not None:
                head = str(said.value)
                where = f"noted in Dagster by run {record.run_id}"
                found.setdefault(head, head_from(head, where=where))
    return [head for head in found.values() if head.number]
