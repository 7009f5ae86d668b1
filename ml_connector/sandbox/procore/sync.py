"""The sync actions: 200 with entities and errors, every row on its own. Source: sync actions guide."""

from collections.abc import Callable, Mapping
from typing import Any

from ml_connector.sandbox.procore.call import Call
from ml_connector.sandbox.procore.errors import ENTITY_NOT_FOUND, Refusal, invalid
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

MOST_ROWS = 1000

Row = dict[str, Any]


def sync(
    call: Call,
    *,
    by_id: Callable[[int], Document | None],
    by_origin: Callable[[str], Document | None],
    write: Callable[[Row, Document | None], Document],
    render: Callable[[Document], Any],
) -> Response:
    """Update by id, else by origin_id, else create. `write` raises Refusal for a row that is not done.

    The fault `item_fault` {index, lost} refuses one row (from 0), or does it and leaves it out of both lists;
    {field, value, says} refuses the rows whose field has that value, in these words.
    Raises Refusal 400 without `updates`, 413 above 1000 rows.
    """
    rows = sent_rows(call, "updates")
    written: list[Document] = []
    errors: list[Row] = []
    fault = call.request.instructions.get("item_fault")
    for place, row in enumerate(rows):
        hit = fault is not None and _is_meant(fault, place, row)
        try:
            if fault is not None and hit and not fault.get("lost"):
                raise Refusal(422, fault.get("says", "is refused by order of the test"))
            doc = write(row, _existing(row, by_id, by_origin))
        except Refusal as refusal:
            errors.append(_error_row(row, refusal))
        else:
            if not hit:
                written.append(doc)
    entities = [render(doc) for doc in written]
    if call.switches["sync_order"] == "reversed":
        entities.reverse()
    outcome = f"{len(errors)} of {len(rows)} refused" if errors else "ok"
    return Response(200, {"entities": entities, "errors": errors}, records=len(entities), outcome=outcome)


def _is_meant(fault: Mapping[str, Any], place: int, row: Row) -> bool:
    if "field" in fault:
        return bool(row.get(fault["field"]) == fault["value"])
    return bool(place == fault.get("index", 0))


def sent_rows(call: Call, key: str) -> list[Row]:
    """The rows under the body's key. Raises Refusal 400 or 413."""
    rows = call.body.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refusal(400, f"param is missing or the value is empty: {key}")
    if len(rows) > MOST_ROWS:
        raise Refusal(413, f"At most {MOST_ROWS} rows in one call")
    return rows


def _existing(
    row: Row, by_id: Callable[[int], Document | None], by_origin: Callable[[str], Document | None]
) -> Document | None:
    if row.get("id") is not None:
        doc = by_id(int(row["id"])) if str(row["id"]).isdecimal() else None
        if doc is None:
            raise invalid("id", ENTITY_NOT_FOUND)
        return doc
    return by_origin(str(row["origin_id"])) if row.get("origin_id") else None


def _error_row(row: Row, refusal: Refusal) -> Row:
    return {**row, "errors": refusal.by_field()}
