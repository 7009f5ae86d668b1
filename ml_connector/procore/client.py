"""ProcoreClient: Procore's REST API for one company, and the settling of its sync actions row by row.

Bodies go out and come back raw (money as Decimal or as Procore's text); what is written where belongs to
`posting/`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from ml_connector.errors import OutcomeUnknown, PermanentError
from ml_connector.procore.faults import DIALECT, field_errors, sentence
from ml_connector.procore.tokens import REQUEST_ID_HEADER, procore_renewal
from ml_connector.settings import Connection, Limits
from ml_connector.store.breaker import PostgresBreaker
from ml_connector.store.limiter import Limit, PostgresLimiter
from ml_connector.store.tokens import StoredTokens
from ml_connector.store.vault import Vault
from ml_connector.transport import strict_json
from ml_connector.transport.call import Answer, Call
from ml_connector.transport.oauth import TokenEndpoint
from ml_connector.transport.ports import SYSTEM_CLOCK, Clock
from ml_connector.transport.retry import Kind
from ml_connector.transport.session import Bounds, VendorSession

PER_PAGE = 1000  # v1 lists; the guide advises at most 2000 (procore-api 2.2)
MOST_PAGES = 10_000
MOST_UPDATES = 1000  # rows of one sync action (procore-api 2.5)

Raw = Mapping[str, Any]
Params = Mapping[str, str | int | Sequence[str | int]]
_NO_PARAMS: Params = {}


@dataclass(frozen=True)
class Accepted:
    """The row is in Procore; `entity` is the record as Procore answered it."""

    entity: Raw


@dataclass(frozen=True)
class Refused:
    """The row was refused: a sentence, and the messages by field."""

    text: str
    fields: Mapping[str, list[str]]


@dataclass(frozen=True)
class Missing:
    """The answer does not speak of the row, or in two ways: its outcome is unknown."""


Outcome = Accepted | Refused | Missing


@dataclass(frozen=True)
class SyncAnswer:
    """What a sync action answered under HTTP 200: records, and refused rows with their `errors`."""

    entities: Sequence[Raw]
    errors: Sequence[Raw]

    def settle(self, updates: Sequence[Raw], *, key: str = "origin_id") -> dict[str, Outcome]:
        """The outcome of each sent row by its `key` as text.

        A row is found by `key`, else by its id, never by position (procore-api 2.5). Raises ValueError
        when a row has no `key` or two share one: their outcomes could not be told apart.
        """
        sent = {str(row[key]): row for row in updates if row.get(key) not in (None, "")}
        if len(sent) != len(updates):
            raise ValueError(f"every row of a sync needs a {key} of its own")
        entities, errors = _by_name(self.entities, key), _by_name(self.errors, key)
        return {
            name: _outcome(row, key, _about(row, entities, key), _about(row, errors, key))
            for name, row in sent.items()
        }


class ProcoreClient:
    """Calls for one company.

    Every method raises CallRefused (for 403 and 404 too: a 404 is never an empty list), ReconnectNeeded,
    TransientError or VendorAway; those that write also OutcomeUnknown. `calls` and `token_calls` count attempts by route.
    """

    def __init__(
        self, session: VendorSession, company_id: int, *, token_calls: Mapping[str, int] | None = None
    ) -> None:
        self._session = session
        self.company_id = company_id
        self.calls: Counter[str] = session.calls
        self.token_calls: Mapping[str, int] = token_calls if token_calls is not None else Counter()

    def get(self, path: str, params: Params = _NO_PARAMS) -> Any:
        """The body of one record or of anything that does not page."""
        return self._read(path, params).body

    def pages(
        self, path: str, params: Params = _NO_PARAMS, *, per_page: int = PER_PAGE
    ) -> Iterator[list[Raw]]:
        """The rows of a list, page by page, as `Link` leads (procore-api 2.2); `data` of v2 is unwrapped.

        Raises PermanentError for a Link to another host or back to a page that was read, and for a list that
        gives fewer rows than its `Total` and no Link.
        """
        answer = self._read(path, {**params, "per_page": per_page})
        read = {path}
        while True:
            rows = _rows(answer)
            following = answer.next_page
            if following is None and len(read) == 1 and _total(answer) > len(rows):
                raise _broken(answer, f"a list of {_total(answer)} gave {len(rows)} rows and no next page")
            yield rows
            if following is None:
                return
            if following in read or len(read) >= MOST_PAGES:
                raise _broken(answer, "the pages of a list lead in a circle")
            read.add(following)
            answer = self._read(following, _NO_PARAMS)

    def rows(self, path: str, params: Params = _NO_PARAMS, *, per_page: int = PER_PAGE) -> list[Raw]:
        """All rows of a list. Raises like `pages`."""
        return [row for page in self.pages(path, params, per_page=per_page) for row in page]

    def post(self, path: str, body: object, params: Params = _NO_PARAMS) -> Any:
        """The answer to one POST, None when it has no body."""
        return self._write("POST", path, body, params, Kind.WRITE).body

    def post_again(self, path: str, body: object) -> Any:
        """The answer to a POST that does no harm when it is sent again."""
        return self._write("POST", path, body, _NO_PARAMS, Kind.REPEATABLE_WRITE).body

    def patch(self, path: str, body: object, params: Params = _NO_PARAMS) -> Any:
        """The answer to one PATCH, None when it has no body."""
        return self._write("PATCH", path, body, params, Kind.WRITE).body

    def delete(self, path: str, params: Params = _NO_PARAMS) -> Any:
        """The answer to one DELETE, None when it has no body."""
        return self._write("DELETE", path, None, params, Kind.WRITE).body

    def sync(self, path: str, extra: Raw, updates: Sequence[Raw]) -> SyncAnswer:
        """One sync action of at most 1000 rows; `extra` stands beside `updates` in the body.

        After OutcomeUnknown the same rows may be sent again: they are found by their key. Raises
        ValueError for more than 1000 rows, CallRefused with status 413 when Procore wants fewer.
        """
        if len(updates) > MOST_UPDATES:
            raise ValueError(f"a sync takes {MOST_UPDATES} rows, not {len(updates)}")
        body = {**extra, "updates": list(updates)}
        answer = self._write("PATCH", path, body, _NO_PARAMS, Kind.REPEATABLE_WRITE, bodyless=False)
        content = answer.body if isinstance(answer.body, Mapping) else {}
        entities, errors = _objects(content.get("entities")), _objects(content.get("errors"))
        if entities is None or errors is None:
            raise OutcomeUnknown(
                "a sync answered without entities and errors",
                vendor="procore",
                status=answer.status,
                request_id=answer.request_id,
            )
        return SyncAnswer(entities, errors)

    def add_project_vendor(self, project_id: str, vendor_id: int) -> None:
        """Put a vendor of the company on a project; again does no harm (procore-api 14)."""
        path = f"/rest/v1.1/projects/{project_id}/vendors/{vendor_id}/actions/add"
        self._write("POST", path, None, _NO_PARAMS, Kind.REPEATABLE_WRITE)

    @property
    def skew(self) -> timedelta | None:
        """How far Procore's clock was ahead of ours at the newest answer; None before the first, or without a `Date`."""
        return self._session.skew

    def close(self) -> None:
        """Give the sockets back."""
        self._session.close()

    def _read(self, path: str, params: Params) -> Answer:
        return self._session.send(Call("GET", path, Kind.READ, params=_pairs(params)))

    def _write(
        self, method: str, path: str, body: object, params: Params, kind: Kind, *, bodyless: bool = True
    ) -> Answer:
        return self._session.send(
            Call(
                method,
                path,
                kind,
                params=_pairs(params),
                content=b"" if body is None else strict_json.dumps(body),
                content_type="" if body is None else "application/json",
                bodyless=bodyless,
            )
        )


def open_procore(
    connection: Connection,
    *,
    engine: Engine,
    vault: Vault,
    bounds: Bounds = Bounds(),  # noqa: B008 frozen
    clock: Clock = SYSTEM_CLOCK,
) -> ProcoreClient:
    """A client for the connection's Procore company: one token and the limits shared over processes."""
    company = connection.procore.company_id
    account = f"procore:{company}"
    endpoint = TokenEndpoint(
        "procore", connection.procore.token_url, request_id_header=REQUEST_ID_HEADER, clock=clock
    )
    session = VendorSession(
        DIALECT,
        connection.procore.api_url,
        account=account,
        limiter=PostgresLimiter(engine, {account: procore_limits(connection.limits)}),
        breaker=PostgresBreaker(engine, connection.name, "procore"),
        tokens=StoredTokens(
            vault,
            connection.name,
            "procore",
            procore_renewal(endpoint, now=clock.now),
            company=str(company),
            now=clock.now,
            pause=clock.sleep,
        ),
        headers={"Procore-Company-Id": str(company)},
        bounds=bounds,
        clock=clock,
    )
    return ProcoreClient(session, company, token_calls=endpoint.calls)


def procore_limits(limits: Limits) -> tuple[Limit, ...]:
    """The hourly and the spike limit. A small burst by the hour leaves most of it to the steady rate."""
    hourly, spike = limits.procore_per_hour, limits.procore_per_ten_seconds
    return (
        Limit("hour", hourly, 3600.0, burst=max(1, hourly // 5)),
        Limit("ten_seconds", spike, 10.0, burst=max(1, spike // 2)),
    )


_ByName = dict[tuple[str, str], list[Raw]]


def _outcome(row: Raw, key: str, entities: Sequence[Raw], errors: Sequence[Raw]) -> Outcome:
    if len(entities) == 1 and not errors and str(entities[0].get(key, row[key])) == str(row[key]):
        return Accepted(entities[0])
    if len(errors) == 1 and not entities:
        said = errors[0].get("errors")
        return Refused(sentence({"errors": said}) or "refused without a reason", field_errors(said))
    return Missing()


def _by_name(rows: Sequence[Raw], key: str) -> _ByName:
    found: _ByName = {}
    for row in rows:
        for name in _names(row, key):
            found.setdefault(name, []).append(row)
    return found


def _about(row: Raw, rows: _ByName, key: str) -> Sequence[Raw]:
    return next((rows[name] for name in _names(row, key) if name in rows), ())


def _names(row: Raw, key: str) -> list[tuple[str, str]]:
    """What a row can be found by. Ids come as numbers or text (procore-api 1.2): compared as text."""
    return [
        (field, str(row[field])) for field in dict.fromkeys((key, "id")) if row.get(field) not in (None, "")
    ]


def _pairs(params: Params) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        several = [value] if isinstance(value, str | int) else value
        pairs.extend((name, str(entry)) for entry in several)
    return tuple(pairs)


def _rows(answer: Answer) -> list[Raw]:
    content = answer.body
    rows = content.get("data") if isinstance(content, Mapping) else content
    if not isinstance(rows, list):
        raise _broken(answer, "a list is something else")
    return rows


def _total(answer: Answer) -> int:
    total = answer.headers.get("Total", "")
    return int(total) if total.isascii() and total.isdigit() else 0


def _objects(value: Any) -> list[Raw] | None:
    is_list = isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value)
    return value if is_list else None


def _broken(answer: Answer, what: str) -> PermanentError:
    return PermanentError(
        f"an answer breaks the protocol: {what}",
        vendor="procore",
        status=answer.status,
        request_id=answer.request_id,
    )
