"""Walking QBO's query endpoint by key: every record whose last change lies in a span, however many there are.

Position is used only inside one second of LastUpdatedTime: a row that is edited while pages are read leaves
its place and would make the next page skip another one (qbo-api 4).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from ml_connector.errors import BadRecord, PermanentError
from ml_connector.qbo.client import QboClient, QueryAnswer, escape
from ml_connector.qbo.models import SOFT_DELETED, TRANSACTIONS, Entity, Raw, parse_date, updated_at

PAGE = 1000
# Rows of one second that may be edited while that second is paged, without another row being skipped.
SAME_SECOND_OVERLAP = 100
BATCH_ITEMS = 30
IDS_A_STATEMENT = 400


@dataclass(frozen=True)
class Page:
    """Rows of one entity from one answer; `server_time` is when QBO began it."""

    entity: Entity
    rows: Sequence[Raw]
    server_time: datetime


@dataclass(frozen=True)
class _Place:
    entity: Entity
    since: datetime
    position: int = 1


@dataclass(frozen=True)
class _DatedPlace:
    entity: Entity
    since: date
    position: int = 1


def server_time(client: QboClient) -> datetime:
    """What QBO's own clock says, from a small answer."""
    return client.query(_count_of(Entity.BILL)).server_time


def walk(
    client: QboClient,
    entities: Sequence[Entity],
    *,
    since: datetime,
    until: datetime | None = None,
    dated_from: date | None = None,
) -> Iterator[Page]:
    """Pages of every record of `entities` last changed from `since` on (and before `until`).

    All entities are asked side by side in batch calls. Rows may come twice; landing does not mind. With
    `dated_from` only transactions of that date or later are asked for. Raises the client's errors; a fault is
    never an empty page.
    """
    places = [_Place(entity, since) for entity in entities]
    while places:
        asked, places = places[:BATCH_ITEMS], places[BATCH_ITEMS:]
        answers = _ask(client, [_statement(place, until, dated_from) for place in asked])
        for place, answer in zip(asked, answers, strict=True):
            yield Page(place.entity, answer.rows, answer.server_time)
            following = _next(place, answer.rows)
            if following is not None:
                places.append(following)


def walk_dated(client: QboClient, entities: Sequence[Entity], *, dated_from: date) -> Iterator[Page]:
    """Pages of every transaction of `entities` dated `dated_from` or later, whatever its last change says.

    Asked like `walk`, by date instead of time of change: what the one hides the other shows. Rows may come twice.
    """
    places = [_DatedPlace(entity, dated_from) for entity in entities]
    while places:
        asked, places = places[:BATCH_ITEMS], places[BATCH_ITEMS:]
        answers = _ask(client, [_dated_statement(place) for place in asked])
        for place, answer in zip(asked, answers, strict=True):
            yield Page(place.entity, answer.rows, answer.server_time)
            following = _next_dated(place, answer.rows)
            if following is not None:
                places.append(following)


def before(
    client: QboClient, entities: Sequence[Entity], *, vendors: Sequence[str], dated_before: date
) -> dict[Entity, list[Raw]]:
    """The transactions of some vendors (QBO ids) dated before a day, by entity; one call where they are few.

    Each record comes once, whatever is entered or deleted while pages are read. Raises the client's errors.
    """
    found: dict[Entity, dict[str, Raw]] = {entity: {} for entity in entities}
    places = [(entity, vendor, 1) for entity in entities for vendor in vendors]
    while places:
        asked, places = places[:BATCH_ITEMS], places[BATCH_ITEMS:]
        answers = _ask(client, [_statement_of_vendor(*place, dated_before) for place in asked])
        for (entity, vendor, position), answer in zip(asked, answers, strict=True):
            found[entity] |= {str(row.get("Id")): row for row in answer.rows}
            if len(answer.rows) == PAGE:
                places.append((entity, vendor, position + PAGE - SAME_SECOND_OVERLAP))
    return {entity: list(rows.values()) for entity, rows in found.items()}


def _statement_of_vendor(entity: Entity, vendor: str, position: int, dated_before: date) -> str:
    conditions = [f"VendorRef = '{escape(vendor)}'", f"TxnDate < '{dated_before.isoformat()}'"]
    return _select(entity, conditions, f"ORDERBY TxnDate ASC STARTPOSITION {position}")


def counts(client: QboClient, entities: Sequence[Entity], *, dated_from: date) -> dict[Entity, int]:
    """How many transactions of each entity dated `dated_from` or later QBO holds."""
    answers = client.batch([_count_of(entity, dated_from) for entity in entities])
    counted: dict[Entity, int] = {}
    for entity, answer in zip(entities, answers, strict=True):
        if answer.total_count is None:
            raise PermanentError(f"COUNT(*) of {entity} gave no count", vendor="qbo")
        counted[entity] = answer.total_count
    return counted


def existing(client: QboClient, ids: Mapping[Entity, Collection[str]]) -> Iterator[Page]:
    """Pages of the records among `ids` that QBO still holds; no call without ids."""
    chunks = [
        (entity, wanted[first : first + IDS_A_STATEMENT])
        for entity, wanted in ((entity, sorted(some)) for entity, some in ids.items())
        for first in range(0, len(wanted), IDS_A_STATEMENT)
    ]
    for first in range(0, len(chunks), BATCH_ITEMS):
        asked = chunks[first : first + BATCH_ITEMS]
        answers = _ask(client, [_statement_of_ids(entity, wanted) for entity, wanted in asked])
        for (entity, _), answer in zip(asked, answers, strict=True):
            yield Page(entity, answer.rows, answer.server_time)


def stamp(instant: datetime) -> str:
    """An instant as QBO's query language takes it, in whole seconds and with its offset."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ask(client: QboClient, statements: Sequence[str]) -> list[QueryAnswer]:
    # QBO allows far fewer batch calls than queries (qbo-api 11): one statement goes alone.
    return [client.query(statements[0])] if len(statements) == 1 else client.batch(statements)


def _statement(place: _Place, until: datetime | None, dated_from: date | None) -> str:
    conditions = [f"MetaData.LastUpdatedTime >= '{stamp(place.since)}'"]
    if until is not None:
        conditions.append(f"MetaData.LastUpdatedTime < '{stamp(until)}'")
    if dated_from is not None and place.entity in TRANSACTIONS:
        conditions.append(f"TxnDate >= '{dated_from.isoformat()}'")
    order = f"ORDERBY MetaData.LastUpdatedTime ASC STARTPOSITION {place.position}"
    return _select(place.entity, conditions, order)


def _statement_of_ids(entity: Entity, ids: Sequence[str]) -> str:
    quoted = ", ".join(f"'{escape(qbo_id)}'" for qbo_id in ids)
    return _select(entity, [f"Id IN ({quoted})"], "ORDERBY Id ASC")


def _select(entity: Entity, conditions: Sequence[str], order: str) -> str:
    inactive_too = ["Active IN (true, false)"] if entity in SOFT_DELETED else []
    where = " AND ".join([*conditions, *inactive_too])
    return f"SELECT * FROM {entity} WHERE {where} {order} MAXRESULTS {PAGE}"  # noqa: S608 QBO's language


def _count_of(entity: Entity, dated_from: date | None = None) -> str:
    where = "" if dated_from is None else f" WHERE TxnDate >= '{dated_from.isoformat()}'"
    return f"SELECT COUNT(*) FROM {entity}{where}"  # noqa: S608 QBO's language


def _next(place: _Place, rows: Sequence[Raw]) -> _Place | None:
    if len(rows) < PAGE:
        return None
    last = _changed(rows[-1])
    if last is None or last <= place.since:
        return replace(place, position=place.position + PAGE - SAME_SECOND_OVERLAP)
    seen = sum(1 for row in rows if _changed(row) == last)
    return _Place(place.entity, last, max(1, seen + 1 - SAME_SECOND_OVERLAP))


def _dated_statement(place: _DatedPlace) -> str:
    order = f"ORDERBY TxnDate ASC STARTPOSITION {place.position}"
    return _select(place.entity, [f"TxnDate >= '{place.since.isoformat()}'"], order)


def _next_dated(place: _DatedPlace, rows: Sequence[Raw]) -> _DatedPlace | None:
    if len(rows) < PAGE:
        return None
    last = _dated(rows[-1])
    if last is None or last <= place.since:
        return replace(place, position=place.position + PAGE - SAME_SECOND_OVERLAP)
    seen = sum(1 for row in rows if _dated(row) == last)
    return _DatedPlace(place.entity, last, max(1, seen + 1 - SAME_SECOND_OVERLAP))


def _dated(row: Raw) -> date | None:
    try:
        return parse_date(row.get("TxnDate"), field="TxnDate")
    except BadRecord:  # as below
        return None


def _changed(row: Raw) -> datetime | None:
    try:
        return updated_at(row)
    except BadRecord:  # an odd record; the walk goes on by position
        return None
