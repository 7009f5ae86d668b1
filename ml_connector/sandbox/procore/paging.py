"""Lists: filters, sorting, the lag of a search, pages and their headers.

Sources: pagination and filtering guides.
"""

from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from ml_connector.sandbox.procore.call import Call
from ml_connector.sandbox.procore.errors import invalid
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

V1_MAXIMUM = 2000
V2_DEFAULT = 10
V2_MAXIMUM = 100

Test = Callable[[Document], bool]
Filter = Callable[[list[str], str], Test]
Filters = dict[str, Filter]


def equal(field: str) -> Filter:
    """The whole value is one of those given."""

    def make(values: list[str], _: str) -> Test:
        wanted = set(values)
        return lambda doc: _as_text(doc.get(field)) in wanted

    return make


def containing(*fields: str) -> Filter:
    """Any of the fields has the text, whatever the case."""

    def make(values: list[str], _: str) -> Test:
        wanted = [value.casefold() for value in values]
        return lambda doc: any(
            word in str(doc[field]).casefold() for field in fields if doc.get(field) for word in wanted
        )

    return make


def between(field: str) -> Filter:
    """`start...end`, both ISO 8601 and both included; a date alone is that whole day."""

    def make(values: list[str], name: str) -> Test:
        low, high = _range(values[-1], name)

        def test(doc: Document) -> bool:
            value = doc.get(field)
            return value is not None and low <= _moment(value, name) <= high

        return test

    return make


RECORD_FILTERS: Filters = {
    "id": equal("id"),
    "origin_id": equal("origin_id"),
    "created_at": between("created_at"),
    "updated_at": between("updated_at"),
}


def candidates(call: Call, kind: str, **scope: Hashable) -> list[Document]:
    """The live records of the scope; for one filtered origin_id by a lookup, not by reading all."""
    asked = _asked(call, "origin_id")
    if len(asked) == 1:
        return call.state.live(kind, **scope, origin_id=asked[0])
    return call.state.live(kind, **scope)


def listing(
    call: Call,
    rows: Iterable[Document],
    render: Callable[[Document], Any],
    *,
    filters: Filters | None = None,
    sorts: tuple[str, ...] = (),
    size: int | None = None,
    maximum: int = V1_MAXIMUM,
) -> Response:
    """One page of the rows, rendered; only the page is rendered. Raises Refusal 400."""
    found = _sorted(call, _lagging(call, filtered(call, rows, filters or {})), sorts)
    v2 = "/v2.0/" in call.request.path
    size = size or (V2_DEFAULT if v2 else call.switches["default_page_size"])
    size = min(call.number("per_page") or size, V2_MAXIMUM if v2 else maximum)
    page = call.number("page") or 1
    body: Any = [render(row) for row in found[(page - 1) * size : page * size]]
    headers = _page_headers(call, page, size=size, total=len(found))
    return Response(200, {"data": body} if v2 else body, headers, records=len(body), outcome="ok")


def unpaged(rows: list[Any]) -> Response:
    """A list that does not page and sends no Link."""
    return Response(200, rows, records=len(rows), outcome="ok")


def filtered(call: Call, rows: Iterable[Document], filters: Filters) -> list[Document]:
    """The rows that pass every filter of the query that the endpoint knows; others are ignored."""
    found = list(rows)
    for name, make in filters.items():
        values = _asked(call, name)
        if values:
            test = make(values, f"filters[{name}]")
            found = [row for row in found if test(row)]
    return found


def _asked(call: Call, name: str) -> list[str]:
    return call.request.all(f"filters[{name}]") + call.request.all(f"filters[{name}][]")


def _sorted(call: Call, rows: list[Document], sorts: tuple[str, ...]) -> list[Document]:
    asked = call.request.first("sort") or ""
    field = asked.removeprefix("-")
    if field not in sorts:
        return rows
    return sorted(rows, key=lambda row: str(row.get(field) or "").casefold(), reverse=asked.startswith("-"))


def _lagging(call: Call, rows: list[Document]) -> list[Document]:
    ordered = call.request.instructions.get("search_lag", {})
    lag = int(ordered.get("seconds", call.switches["search_lag_seconds"]))
    if not lag:
        return rows
    edge = call.state.stamp_ago(lag)
    return [row for row in rows if row.get("created_at") is None or row["created_at"] <= edge]


def _page_headers(call: Call, page: int, *, size: int, total: int) -> dict[str, str]:
    last = max(1, -(-total // size))
    pages = {"first": 1, "last": last}
    if page > 1:
        pages["prev"] = min(page - 1, last)
    if page < last:
        pages["next"] = page + 1
    links = ", ".join(f'<{_address(call, number, size)}>; rel="{name}"' for name, number in pages.items())
    return {"Total": str(total), "Per-Page": str(size), "Link": links}


def _address(call: Call, page: int, size: int) -> str:
    kept = [(name, value) for name, value in call.request.query if name not in ("page", "per_page")]
    query = urlencode([*kept, ("page", page), ("per_page", size)])
    host = call.request.headers.get("host")
    return f"{f'http://{host}' if host else ''}{call.request.path}?{query}"


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _range(value: str, name: str) -> tuple[datetime, datetime]:
    start, dots, end = value.strip('"').partition("...")
    return _moment(start, name), _moment(end if dots else start, name, end_of_day=True)


def _moment(value: str, name: str, *, end_of_day: bool = False) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip().replace(" ", "+"))
    except ValueError:
        raise invalid(name, "is not a range of ISO 8601 times") from None
    if len(value.strip()) == 10 and end_of_day:
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
