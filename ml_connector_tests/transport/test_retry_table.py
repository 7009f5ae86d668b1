"""The retry table, row by row, and what must hold for every outcome that can occur."""

from datetime import UTC, datetime
from itertools import product

import pytest

from ml_connector.transport.retry import TABLE, Fault, Kind, Verdict, decide, limit_reset, retry_after
from ml_connector.transport.wire import Trouble

READ, WRITE, UPSERT = Kind.READ, Kind.WRITE, Kind.REPEATABLE_WRITE
NOW = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
SERVER = "Wed, 20 May 2026 13:00:00 GMT"  # an hour ahead of our own clock

CASES: list[tuple[str, Kind, int | Trouble, str | None, bool, Verdict]] = [
    ("procore", WRITE, Trouble.NOT_SENT, None, False, Verdict.RETRY),
    ("qbo", READ, Trouble.NO_ANSWER, None, False, Verdict.RETRY),
    ("qbo", READ, Trouble.BROKEN, None, False, Verdict.RETRY),
    ("qbo", READ, Trouble.TOO_LARGE, None, False, Verdict.REFUSED),
    ("procore", WRITE, Trouble.NO_ANSWER, None, False, Verdict.UNKNOWN),
    ("procore", UPSERT, Trouble.BROKEN, None, False, Verdict.UNKNOWN),
    ("procore", WRITE, Trouble.TOO_LARGE, None, False, Verdict.UNKNOWN),
    ("qbo", READ, 403, "3001", False, Verdict.RATE),
    ("qbo", READ, 403, "3100", False, Verdict.RECONNECT),
    ("qbo", READ, 401, "120", False, Verdict.REFUSED),
    ("qbo", READ, 200, "10000", False, Verdict.RETRY),
    ("qbo", READ, 200, "systemfault", False, Verdict.RETRY),
    ("qbo", READ, 200, "service", False, Verdict.RETRY),
    ("qbo", WRITE, 200, "10000", False, Verdict.UNKNOWN),
    ("qbo", WRITE, 200, "systemfault", False, Verdict.UNKNOWN),
    ("qbo", WRITE, 200, "service", False, Verdict.UNKNOWN),
    ("qbo", READ, 200, "4000", False, Verdict.REFUSED),
    ("procore", WRITE, 201, None, False, Verdict.OK),
    ("procore", READ, 401, None, False, Verdict.REAUTH),
    ("procore", WRITE, 429, None, False, Verdict.RATE),
    ("procore", WRITE, 503, None, True, Verdict.RATE),
    ("procore", READ, 408, None, False, Verdict.RETRY),
    ("procore", WRITE, 408, None, False, Verdict.UNKNOWN),
    ("procore", UPSERT, 422, None, False, Verdict.REFUSED),
    ("procore", READ, 502, None, True, Verdict.RATE),
    ("procore", READ, 521, None, False, Verdict.RETRY),
    ("procore", READ, 302, None, False, Verdict.REFUSED),
    ("procore", UPSERT, 302, None, False, Verdict.UNKNOWN),
    # further outcomes that share a row
    ("procore", READ, 404, None, False, Verdict.REFUSED),
    ("procore", WRITE, 409, None, False, Verdict.REFUSED),
    ("procore", UPSERT, 413, None, False, Verdict.REFUSED),
    ("procore", WRITE, 503, None, False, Verdict.UNKNOWN),
    ("procore", WRITE, 500, None, True, Verdict.UNKNOWN),
    ("procore", UPSERT, 504, None, False, Verdict.UNKNOWN),
    ("procore", READ, 429, "3001", False, Verdict.RATE),
    ("procore", READ, 200, "3001", False, Verdict.OK),  # QBO's codes mean nothing in Procore
    ("qbo", READ, 400, "610", False, Verdict.REFUSED),
    ("qbo", READ, 401, "3200", False, Verdict.REAUTH),
    ("qbo", READ, 500, "10000", False, Verdict.RETRY),
]


@pytest.mark.parametrize(("vendor", "kind", "seen", "code", "hinted", "verdict"), CASES)
def test_an_outcome_has_the_verdict_of_the_table(
    vendor: str, kind: Kind, seen: int | Trouble, code: str | None, hinted: bool, verdict: Verdict
) -> None:
    assert decide(vendor, kind, seen, fault=_fault(code), hinted=hinted) is verdict


def test_every_row_of_the_table_decides_at_least_one_case() -> None:
    deciding = [
        next(row for row in TABLE if row.matches(vendor, kind, seen, fault=_fault(code), hinted=hinted))
        for vendor, kind, seen, code, hinted, _ in CASES
    ]
    assert [row for row in TABLE if row not in deciding] == []


@pytest.mark.parametrize("kind", [WRITE, UPSERT])
def test_a_write_is_sent_again_only_when_it_was_provably_not_processed(kind: Kind) -> None:
    again = {
        (seen, hinted)
        for vendor, seen, hinted in product(("qbo", "procore"), (*range(100, 1000), *Trouble), (False, True))
        if decide(vendor, kind, seen, hinted=hinted) in (Verdict.RETRY, Verdict.RATE)
    }
    assert again == {
        (Trouble.NOT_SENT, False),
        (Trouble.NOT_SENT, True),
        (429, False),
        (429, True),
        (503, True),
    }


def test_only_a_status_of_success_is_ok() -> None:
    statuses: tuple[int | Trouble, ...] = (*range(100, 1000), *Trouble)
    fine = {seen for seen, kind in product(statuses, Kind) if decide("procore", kind, seen) is Verdict.OK}
    assert fine == set(range(200, 300))


def test_an_unclear_read_is_never_unknown_and_an_unclear_write_never_just_refused() -> None:
    for seen in (*range(100, 400), *range(500, 1000)):
        assert decide("procore", READ, seen) is not Verdict.UNKNOWN
        if not 200 <= seen < 300:
            assert decide("procore", WRITE, seen) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "86400"}, 86_400.0),
        ({"Retry-After": "Wed, 20 May 2026 13:00:30 GMT", "Date": SERVER}, 30.0),
        ({"Retry-After": "Wed, 20 May 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 20 May 2026 12:00:30 GMT", "Date": SERVER}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({}, None),
    ],
)
def test_F11_retry_after_is_read_as_seconds_or_a_date_against_the_servers_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, now=NOW) == seconds


def test_F11_a_reset_is_measured_on_the_servers_clock() -> None:
    reset = str(int(datetime(2026, 5, 20, 13, 0, 8, tzinfo=UTC).timestamp()))
    assert limit_reset({"X-Rate-Limit-Reset": reset, "Date": SERVER}, now=NOW) == 8.0
    assert limit_reset({"X-Rate-Limit-Reset": "soon"}, now=NOW) is None


def _fault(code: str | None) -> Fault | None:
    if code is None:
        return None
    return Fault("", "", kind=code) if code.isalpha() else Fault(code, "")
