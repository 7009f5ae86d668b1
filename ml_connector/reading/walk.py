"""Walking QBO's query endpoint by key: every record whose last change lies in a span, however many there are.

Position is used only inside one second of LastUpdatedTime: a row that is edited while pages are read leaves its place and
would make the next page skip another one (qbo-api 4).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from ml_connector.errors import PermanentError
from ml_connector.qbo.client import QboClient
from ml_connector.qbo.models import SOFT_DELETED, TRANSACTIONS, Entity, Raw, updated_at

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


def stamp(instant: datetime) -> str:
    """An instant as QBO's query language takes it, in whole seconds and with its offset."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _statement(place: _Place, until: datetime | None, dated_from: date | None) -> str:
    conditions = [f"MetaData.LastUpdatedTime >= '{stamp(place.since)}'"]
    if until is not None:
        conditions.append(f"MetaData.LastUpdatedTime < '{stamp(until)}'")
    if dated_from is not None and place.entity in TRANSACTIONS:
        conditions.append(f"TxnDate >= '{dated_from.isoformat()}'")
    if place.entity in SOFT_DELETED:
        conditions.append("Active IN (true, false)")
    return (
        f"SELECT * FROM {place.entity} WHERE {' AND '.join(conditions)} "
        f"ORDERBY MetaData.LastUpdatedTime ASC STARTPOSITION {place.position} MAXRESULTS {PAGE}"
    )


def walk(
    client: QboClient,
    entities: Sequence[Entity],
    *,
    since: datetime,
    until: datetime | None = None,
    dated_from: date | None = None,
) -> Iterator[Page]:
    """Pages of every record of `entities` last changed from `since` on (and before `until`).

    All entities are asked side by side in batch calls. Rows may come twice; landing does not mind. With `dated_from`
    only transactions of that date or later are asked for. Raises the client's errors; a fault is never an empty page.
    """
    places = [_Place(entity, since) for entity in entities]
    while places:
        asked, places = places[:BATCH_ITEMS], places[BATCH_ITEMS:]
        answers = client.batch([_statement(place, until, dated_from) for place in asked])
        for place, answer in zip(asked, answers, strict=True):
            yield Page(place.entity, answer.rows, answer.server_time)
            following = _next(place, answer.rows)
            if following is not None:
                places.append(following)


def _next(place: _Place, rows: Sequence[Raw]) -> _Place | None:
    if len(rows) < PAGE:
        return None
    last = updated_at(rows[-1])
    if last is None or last <= place.since:
        return replace(place, position=place.position + PAGE - SAME_SECOND_OVERLAP)
    return _Place(place.entity, last)


def counts(client: QboClient, entities: Sequence[Entity], *, dated_from: date) -> dict[Entity, int]:
    """How many transactions of each entity dated `dated_from` or later QBO holds."""
    answers = client.batch(
        [f"SELECT COUNT(*) FROM {entity} WHERE TxnDate >= '{dated_from.isoformat()}'" for entity in entities]
    )
    counted: dict[Entity, int] = {}
    for entity, answer in zip(entities, answers, strict=True):
        if answer.total_count is None:
            raise PermanentError(f"COUNT(*) of {entity} gave no count", vendor="qbo")
        counted[entity] = answer.total_count
    return counted


def existing(client: QboClient, entity: Entity, ids: Sequence[str]) -> tuple[set[str], datetime]:
    """Which of `ids` QBO still holds, and the server time of the first answer."""
    chunks = [ids[first : first + IDS_A_STATEMENT] for first in range(0, len(ids), IDS_A_STATEMENT)]
    statements = [
        f"SELECT * FROM {entity} WHERE Id IN ({', '.join(repr(qbo_id) for qbo_id in chunk)}) MAXRESULTS {PAGE}"
        for chunk in chunks
    ]
    found: set[str] = set()
    asked_at: datetime | None = None
    for first in range(0, len(statements), BATCH_ITEMS):
        for answer in client.batch(statements[first : first + BATCH_ITEMS]):
            found.update(str(row.get("Id")) for row in answer.rows)
            asked_at = asked_at or answer.server_time
    if asked_at is None:
        raise ValueError("no ids to ask for")
    return found, asked_at
