"""QboClient: the reading half of QBO's Accounting API, answers raw and complete or an exception.

It writes nothing to QBO. What the rows mean belongs to `models.py`; which windows are read, to `reading/`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine

from ml_connector.errors import BadRecord, PermanentError
from ml_connector.qbo.faults import DIALECT, fault_in, is_cdc_too_old
from ml_connector.qbo.models import Entity, Raw, parse_instant
from ml_connector.qbo.tokens import REQUEST_ID_HEADER, qbo_renewal
from ml_connector.settings import Connection
from ml_connector.store.breaker import PostgresBreaker
from ml_connector.store.limiter import Limit, PostgresLimiter
from ml_connector.store.tokens import StoredTokens
from ml_connector.store.vault import Vault
from ml_connector.transport import strict_json
from ml_connector.transport.call import Again, Answer, Call, CallRefused
from ml_connector.transport.oauth import TokenEndpoint
from ml_connector.transport.ports import SYSTEM_CLOCK, Clock
from ml_connector.transport.retry import Kind, Verdict, decide
from ml_connector.transport.session import Bounds, VendorSession

MINOR_VERSION = "75"
CDC_CAP = 1000  # rows of one answer; more are cut without a sign (qbo-api 5)
BATCH_SIZE = 30
LONGEST_URL_STATEMENT = 6_000  # encoded; longer statements travel as a body
CALLS_PER_SECOND = 10  # QBO's own limits for a realm and app (qbo-api 11)
BATCHES_PER_MINUTE = 40


class CdcTooOld(PermanentError):
    """`changedSince` lies further back than CDC reaches: only a walk by query can tell what changed."""


@dataclass(frozen=True)
class CdcAnswer:
    """What changed since a moment. `server_time` is the start of the vendor's work, in UTC.

    `blocks` has every entity that was asked for. `truncated`: rows may be missing, so the cursor must not
    move.
    """

    server_time: datetime
    blocks: Mapping[Entity, list[Raw]]
    truncated: bool


@dataclass(frozen=True)
class QueryAnswer:
    """Rows of one query; `total_count` is None where QBO leaves it out (it comes with COUNT(*))."""

    server_time: datetime
    rows: list[Raw]
    total_count: int | None


class QboClient:
    """Reads one company. Every method raises CallRefused, ReconnectNeeded, TransientError or VendorAway.

    `calls` and `token_calls` count attempts by route, as QBO meters reads.
    """

    def __init__(
        self, session: VendorSession, realm_id: str, *, token_calls: Mapping[str, int] | None = None
    ) -> None:
        self._session = session
        self._realm = realm_id
        self.calls: Counter[str] = session.calls
        self.token_calls: Mapping[str, int] = token_calls if token_calls is not None else Counter()

    def cdc(self, entities: Sequence[Entity], since: datetime) -> CdcAnswer:
        """Everything of `entities` that changed since, deleted records as tombstones; one call (qbo-api 5).

        Raises CdcTooOld when `since` lies further back than CDC reaches, ValueError when it has no zone.
        """
        if since.tzinfo is None:
            raise ValueError("changedSince needs a zone")
        params = (("entities", ",".join(entities)), ("changedSince", since.isoformat(timespec="seconds")))
        try:
            answer = self._get("cdc", params)
        except CallRefused as refusal:
            if is_cdc_too_old(refusal):
                raise CdcTooOld(
                    "changedSince is too old for CDC",
                    vendor="qbo",
                    status=refusal.status,
                    request_id=refusal.request_id,
                    body=refusal.body,
                ) from refusal
            raise
        blocks: dict[Entity, list[Raw]] = {entity: [] for entity in entities}
        for block in _cdc_blocks(answer):
            for entity in entities:
                blocks[entity].extend(_rows(answer, block.get(entity, [])))
        sizes = [len(rows) for rows in blocks.values()]
        return CdcAnswer(_server_time(answer), blocks, truncated=sum(sizes) >= CDC_CAP)

    def query(self, statement: str) -> QueryAnswer:
        """The answer to one statement of QBO's query language (qbo-api 4)."""
        if len(quote(statement)) <= LONGEST_URL_STATEMENT:
            answer = self._get("query", (("query", statement),))
        else:
            content = statement.encode()
            answer = self._send("POST", "query", (), content=content, content_type="application/text")
        return _query_answer(answer, answer.body)

    def batch(self, statements: Sequence[str]) -> list[QueryAnswer]:
        """The answers to several statements, in their order, 30 of them a call.

        An item that was throttled or failed inside QBO is asked again, the others are not (qbo-api 6, 13).
        """
        answers: dict[int, QueryAnswer] = {}

        def step() -> None:
            missing = [number for number in range(len(statements)) if number not in answers]
            again: Again | None = None
            for start in range(0, len(missing), BATCH_SIZE):
                again = self._batch_call(statements, missing[start : start + BATCH_SIZE], answers) or again
            if again is not None:
                raise again

        self._session.patiently(step)
        return [answers[number] for number in range(len(statements))]

    def read(self, entity: Entity, record_id: str) -> Raw:
        """One record. A deleted one is CallRefused with code 610 (qbo-api 1)."""
        return self._single(f"{entity.lower()}/{quote(record_id, safe='')}", entity)

    def company_info(self) -> Raw:
        """CompanyInfo of the company that the token belongs to."""
        return self._single(f"companyinfo/{self._realm}", "CompanyInfo")

    def preferences(self) -> Raw:
        """The company's Preferences."""
        return self._single("preferences", "Preferences")

    @property
    def skew(self) -> timedelta | None:
        """How far QBO's clock was ahead of ours at the newest answer; None before the first, or without a `Date`."""
        return self._session.skew

    def close(self) -> None:
        """Give the sockets back."""
        self._session.close()

    def _batch_call(
        self, statements: Sequence[str], numbers: Sequence[int], answers: dict[int, QueryAnswer]
    ) -> Again | None:
        """One call; fills `answers`, and returns why some must be asked again."""
        items = [{"bId": str(number), "Query": statements[number]} for number in numbers]
        answer = self._send(
            "POST",
            "batch",
            (),
            content=strict_json.dumps({"BatchItemRequest": items}),
            content_type="application/json",
        )
        got = {str(item.get("bId")): item for item in _rows(answer, _part(answer, "BatchItemResponse"))}
        again: Again | None = None
        for number in numbers:
            item = got.get(str(number))
            fault = fault_in(item)
            if item is None:
                again = again or Again("a batch item got no answer")
            elif fault is None:
                answers[number] = _query_answer(answer, item)
            else:
                what = f"a batch item failed, code {fault.code}"
                match decide("qbo", Kind.READ, 200, fault=fault):
                    case Verdict.RATE:
                        again = Again(what, wait=DIALECT.throttle_pause)
                    case Verdict.RETRY:
                        again = again or Again(what)
                    case _:
                        raise CallRefused(
                            what,
                            vendor="qbo",
                            fault=fault,
                            status=answer.status,
                            request_id=answer.request_id,
                            body="",
                        )
        return again

    def _single(self, path: str, name: str) -> Raw:
        answer = self._get(path, ())
        record = _part(answer, name)
        if not isinstance(record, Mapping):
            raise _broken(answer, f"{name} is not an object")
        return record

    def _get(self, path: str, params: tuple[tuple[str, str], ...]) -> Answer:
        return self._send("GET", path, params)

    def _send(
        self,
        method: str,
        path: str,
        params: tuple[tuple[str, str], ...],
        *,
        content: bytes = b"",
        content_type: str = "",
    ) -> Answer:
        return self._session.send(
            Call(
                method,
                f"/v3/company/{self._realm}/{path}",
                Kind.READ,
                params=(*params, ("minorversion", MINOR_VERSION)),
                content=content,
                content_type=content_type,
            )
        )


def escape(text: str) -> str:
    """`text` as it stands between the quotes of a query: backslash and quote are escaped (qbo-api 4)."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def open_qbo(
    connection: Connection,
    *,
    engine: Engine,
    vault: Vault,
    bounds: Bounds = Bounds(),  # noqa: B008 frozen
    clock: Clock = SYSTEM_CLOCK,
) -> QboClient:
    """A client for the connection's QBO company: stored tokens, limits shared over processes."""
    account = f"qbo:{connection.qbo.realm_id}"
    endpoint = TokenEndpoint(
        "qbo", connection.qbo.token_url, request_id_header=REQUEST_ID_HEADER, clock=clock
    )
    session = VendorSession(
        DIALECT,
        connection.qbo.api_url,
        account=account,
        limiter=PostgresLimiter(engine, {account: qbo_limits(connection.limits.qbo_per_minute)}),
        breaker=PostgresBreaker(engine, connection.name, "qbo"),
        tokens=StoredTokens(
            vault,
            connection.name,
            "qbo",
            qbo_renewal(endpoint, now=clock.now),
            company=connection.qbo.realm_id,
            now=clock.now,
            pause=clock.sleep,
        ),
        bounds=bounds,
        clock=clock,
    )
    return QboClient(session, connection.qbo.realm_id, token_calls=endpoint.calls)


def qbo_limits(per_minute: int) -> tuple[Limit, ...]:
    """The limits of one company: those that the operator set for a minute, QBO's own for a second and for batches."""
    return (
        Limit("batches", BATCHES_PER_MINUTE, 60.0, burst=BATCHES_PER_MINUTE // 2, route="/batch"),
        Limit("minute", per_minute, 60.0, burst=max(1, per_minute // 2)),
        Limit("second", CALLS_PER_SECOND, 1.0, burst=CALLS_PER_SECOND // 3),
    )


def _cdc_blocks(answer: Answer) -> Iterator[Raw]:
    for part in _rows(answer, _part(answer, "CDCResponse")):
        yield from _rows(answer, part.get("QueryResponse", []))


def _query_answer(answer: Answer, body: Any) -> QueryAnswer:
    content = body.get("QueryResponse") if isinstance(body, Mapping) else None
    if not isinstance(content, Mapping):
        raise _broken(answer, "there is no QueryResponse")
    lists = [value for value in content.values() if isinstance(value, list)]
    if len(lists) > 1:
        raise _broken(answer, "a QueryResponse has several lists")
    count = content.get("totalCount")
    return QueryAnswer(
        _server_time(answer),
        _rows(answer, lists[0] if lists else []),
        count if isinstance(count, int) else None,
    )


def _server_time(answer: Answer) -> datetime:
    try:
        return parse_instant(_part(answer, "time"), field="time")
    except BadRecord as error:
        raise _broken(answer, str(error)) from None


def _part(answer: Answer, name: str) -> Any:
    if not isinstance(answer.body, Mapping) or name not in answer.body:
        raise _broken(answer, f"there is no {name}")
    return answer.body[name]


def _rows(answer: Answer, value: Any) -> list[Raw]:
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        raise _broken(answer, "a list of records is something else")
    return value


def _broken(answer: Answer, what: str) -> PermanentError:
    return PermanentError(
        f"an answer breaks the protocol: {what}",
        vendor="qbo",
        status=answer.status,
        request_id=answer.request_id,
    )
