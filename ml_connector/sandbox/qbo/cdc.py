"""Change data capture: what changed since an instant, deletes last, cut at 1000 without a sign."""

from datetime import datetime, timedelta
from typing import Any

from ml_connector.sandbox.qbo.company import Company
from ml_connector.sandbox.qbo.refusals import Refusal, missing
from ml_connector.sandbox.qbo.schema import BY_LOWER, NOT_IN_CDC
from ml_connector.sandbox.qbo.switches import Switches
from ml_connector.sandbox.qbo.times import epoch
from ml_connector.sandbox.records import Document


def changes(
    company: Company, *, entities: str | None, since: str | None, now: datetime, switches: Switches
) -> list[dict[str, Any]]:
    """The blocks of `CDCResponse[0].QueryResponse`, one per asked entity; `{}` where nothing changed.

    Raises Refusal: 2020 for a missing parameter, 500 for an unknown entity or too old a date.
    """
    if not entities:
        raise missing("entities")
    if not since:
        raise missing("changedSince")
    start = _start(since, now, switches)
    room = limit = switches["cdc_limit"]
    blocks: list[dict[str, Any]] = []
    for asked in dict.fromkeys(name.strip().lower() for name in entities.split(",") if name.strip()):
        entity = BY_LOWER.get(asked)
        if entity is None or entity.name in NOT_IN_CDC:
            raise Refusal("500", f"Operation cdc is not supported for {asked}.", None)
        rows = company.changed(entity.name, low=start, high=float("inf"))
        rows = (rows + company.deleted(entity.name, since=start))[:room]
        if switches["cdc_limit_scope"] == "request":
            room -= len(rows)
        else:
            room = limit
        blocks.append(_block(entity.name, rows, first=not blocks, totals=switches["cdc_total_count"]))
    return blocks[::-1] if switches["cdc_block_order"] == "reversed" else blocks


def _start(since: str, now: datetime, switches: Switches) -> float:
    try:
        start = epoch(since)
    except ValueError as error:
        raise Refusal("2030", f"Invalid date-time : {since}", "changedSince") from error
    oldest = (now - timedelta(days=switches["cdc_days"])).timestamp()
    if start >= oldest:
        return start
    if switches["cdc_too_old"] == "fault":
        detail = (
            f"Operation cdc with changedSince date {since} which is older than fixed days is not supported."
        )
        raise Refusal("500", detail, None)
    return oldest


def _block(entity: str, rows: list[Document], *, first: bool, totals: str) -> dict[str, Any]:
    if not rows:
        return {}
    block: dict[str, Any] = {entity: rows, "startPosition": 1, "maxResults": len(rows)}
    if totals == "all" or (totals == "some" and first):
        block["totalCount"] = len(rows)
    return block
