"""The one table that says what an outcome of a call means, and what the vendor's headers say about waiting.

Every retry of the product is decided here; no library below retries on its own. A write is sent again only
when it was provably not processed, because Procore knows no idempotency key (procore-api 12.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from ml_connector.transport.wire import Trouble

_LONGEST_HINT = 366 * 86_400.0  # beyond this a header is nonsense that no clock can hold


class Kind(StrEnum):
    """What a call does at the vendor."""

    READ = "read"
    WRITE = "write"  # sent twice it may count twice
    REPEATABLE_WRITE = "repeatable write"  # an upsert by key: the caller settles and sends again later


class Verdict(StrEnum):
    """What follows from an outcome."""

    OK = "ok"
    RETRY = "retry"  # after a growing random wait
    RATE = "rate"  # when the vendor says so; the whole account pauses
    REAUTH = "reauth"  # one new token, one repeat
    RECONNECT = "reconnect"  # a person must connect the company again
    REFUSED = "refused"  # asking again cannot help
    UNKNOWN = "unknown"  # a write that may have happened


@dataclass(frozen=True)
class Fault:
    """What an error body says: the vendor's code and type ("" when absent), and a sentence for people."""

    code: str
    text: str
    kind: str = ""


@dataclass(frozen=True)
class Row:
    """One row of the table; None matches everything. `code` is a fault's code or type, "*" any fault."""

    vendor: str | None
    kinds: frozenset[Kind]
    seen: range | Trouble
    verdict: Verdict
    code: str | None = None
    hinted: bool = False  # only with a Retry-After

    def matches(
        self, vendor: str, kind: Kind, seen: int | Trouble, *, fault: Fault | None, hinted: bool
    ) -> bool:
        """Whether the row speaks of this outcome."""
        return (
            self.vendor in (None, vendor)
            and kind in self.kinds
            and (seen == self.seen if isinstance(self.seen, Trouble) else seen in self.seen)
            and (not self.hinted or hinted)
            and (self.code is None or (fault is not None and self.code in ("*", fault.code, fault.kind)))
        )


_ALL = frozenset(Kind)
_READS = frozenset({Kind.READ})
_WRITES = _ALL - _READS
_ANY = range(100, 1000)


def _only(status: int) -> range:
    return range(status, status + 1)


TABLE = (
    Row(None, _ALL, Trouble.NOT_SENT, Verdict.RETRY),
    Row(None, _READS, Trouble.NO_ANSWER, Verdict.RETRY),
    Row(None, _READS, Trouble.BROKEN, Verdict.RETRY),
    Row(None, _READS, Trouble.TOO_LARGE, Verdict.REFUSED),
    Row(None, _WRITES, Trouble.NO_ANSWER, Verdict.UNKNOWN),
    Row(None, _WRITES, Trouble.BROKEN, Verdict.UNKNOWN),
    Row(None, _WRITES, Trouble.TOO_LARGE, Verdict.UNKNOWN),
    # QBO: the code first, the status second, for faults come under 200 and 403 too (qbo-api 11, 13).
    Row("qbo", _ALL, _ANY, Verdict.RATE, code="3001"),
    Row("qbo", _ALL, _ANY, Verdict.RECONNECT, code="3100"),
    Row("qbo", _ALL, _ANY, Verdict.REFUSED, code="120"),
    Row("qbo", _READS, _ANY, Verdict.RETRY, code="10000"),
    Row("qbo", _READS, range(200, 300), Verdict.RETRY, code="systemfault"),
    Row("qbo", _READS, range(200, 300), Verdict.RETRY, code="service"),
    Row("qbo", _WRITES, range(200, 300), Verdict.UNKNOWN, code="10000"),
    Row("qbo", _WRITES, range(200, 300), Verdict.UNKNOWN, code="systemfault"),
    Row("qbo", _WRITES, range(200, 300), Verdict.UNKNOWN, code="service"),
    Row("qbo", _ALL, range(200, 300), Verdict.REFUSED, code="*"),
    # Both vendors: by status.
    Row(None, _ALL, range(200, 300), Verdict.OK),
    Row(None, _ALL, _only(401), Verdict.REAUTH),
    Row(None, _ALL, _only(429), Verdict.RATE),
    Row(
        None, _ALL, _only(503), Verdict.RATE, hinted=True
    ),  # load shed before the work, in the vendor's words
    Row(None, _READS, _only(408), Verdict.RETRY),
    Row(None, _WRITES, _only(408), Verdict.UNKNOWN),
    Row(None, _ALL, range(400, 500), Verdict.REFUSED),
    Row(None, _READS, range(500, 600), Verdict.RATE, hinted=True),
    Row(None, _READS, range(500, 600), Verdict.RETRY),
    Row(None, _READS, _ANY, Verdict.REFUSED),  # redirects and odd numbers: never followed, never a success
    Row(None, _WRITES, _ANY, Verdict.UNKNOWN),
)


def decide(
    vendor: str, kind: Kind, seen: int | Trouble, *, fault: Fault | None = None, hinted: bool = False
) -> Verdict:
    """The verdict of the first row that matches. `seen` is an HTTP status or the trouble on the way."""
    return next(row.verdict for row in TABLE if row.matches(vendor, kind, seen, fault=fault, hinted=hinted))


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds that `Retry-After` (seconds or a date) asks for, None without a usable one. At least 0.

    A date is compared with the server's own `Date`, with `now` only where the answer has none.
    """
    value = headers.get("Retry-After", "")
    if _is_number(value):
        return min(float(value), _LONGEST_HINT)
    date = _http_date(value)
    return None if date is None else _seconds_until(date.timestamp(), headers, now)


def limit_reset(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds until `X-Rate-Limit-Reset` (Unix seconds, procore-api 2.1), None without it. At least 0."""
    value = headers.get("X-Rate-Limit-Reset", "")
    return _seconds_until(float(value), headers, now) if _is_number(value) else None


def server_date(headers: Mapping[str, str]) -> datetime | None:
    """The `Date` of an answer in UTC, None when it is missing or no date."""
    return _http_date(headers.get("Date", ""))


def _seconds_until(instant: float, headers: Mapping[str, str], now: datetime) -> float:
    wait = instant - (server_date(headers) or now).timestamp()
    return min(max(wait, 0.0), _LONGEST_HINT)


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 16


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date.astimezone(UTC) if date.tzinfo is not None else date.replace(tzinfo=UTC)
