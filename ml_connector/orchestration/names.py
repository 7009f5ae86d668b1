"""Names and tags of the Dagster half: asset keys, jobs, tags. They are stable, since history hangs on them."""

from collections.abc import Sequence

AUTOMATIC_TAG = (
    "ml_connector/automatic"  # runs asked for by a sensor or schedule; any other run is a replay by a person
)
CONNECTION_TAG = "ml_connector/connection"
DAYS_TAG = "ml_connector/days"  # "2026-03-01" or "2026-03-01...2026-03-31"
FILES_TAG = "ml_connector/files"  # JSON list of the files that a run takes in
RECORDS_TAG = "ml_connector/records"  # "Bill:4471,Bill:4472": the run is limited to them
PRIORITY_TAG = "dagster/priority"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
LIVE_PRIORITY = "10"
CATCH_UP_PRIORITY = "5"

QBO_ASSETS = ("vendors", "bills", "bill_payments", "vendor_credits", "other_costs", "reference")
MAPPED_ASSETS = ("vendors", "bill_lines", "payments")
PROCORE_ASSETS = ("vendors", "direct_costs", "requisitions", "contract_payments")


def key(connection: str, group: str, name: str) -> Sequence[str]:
    """The asset key `<connection>/<group>/<name>`."""
    return [connection, group, name]


def sync_job(connection: str) -> str:
    """The job that reads, maps and posts a window."""
    return f"{connection}__sync"


def post_job(connection: str) -> str:
    """The job that maps and posts what was read before."""
    return f"{connection}__post"


def catalog_job(connection: str) -> str:
    """The job that refreshes the copy of Procore's lists."""
    return f"{connection}__catalog"


def proof_job(connection: str) -> str:
    """The job that compares both sides."""
    return f"{connection}__proof"


def sheets_job(connection: str) -> str:
    """The job that takes in what people saved into the connection's folder."""
    return f"{connection}__sheets"


def days_tag(days: Sequence[str]) -> str:
    """How a run tells its days."""
    return days[0] if len(days) == 1 else f"{days[0]}...{days[-1]}"


def records_tag(records: Sequence[tuple[str, str]]) -> str:
    """How a run tells the records (entity, id) that it is limited to."""
    return ",".join(f"{entity}:{qbo_id}" for entity, qbo_id in records)


def records_of(tag: str) -> frozenset[tuple[str, str]]:
    """The records of a tag."""
    pairs = (name.partition(":") for name in tag.split(","))
    return frozenset((entity, qbo_id) for entity, _, qbo_id in pairs)
