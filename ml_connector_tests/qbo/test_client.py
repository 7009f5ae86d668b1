"""QboClient: what is asked, what comes back, and that nothing half is taken for whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ml_connector.errors import PermanentError, ReconnectNeeded, TransientError
from ml_connector.qbo.client import CdcTooOld, QboClient, escape
from ml_connector.qbo.faults import DIALECT, fault_in, read_fault
from ml_connector.qbo.models import Entity
from ml_connector.transport.call import CallRefused
from ml_connector.transport.retry import Fault
from ml_connector_tests.transport.doubles import FakeTime, session
from ml_connector_tests.transport.loopback import Reply, Server, answer, serving

TIME = "2026-05-20T07:12:00.5-07:00"
AT = datetime(2026, 5, 20, 14, 12, 0, 500_000, tzinfo=UTC)
THROTTLE: dict[str, Any] = {
    "Fault": {
        "Error": [
            {"Message": "message=ThrottleExceeded; errorCode=003001; statusCode=429", "code": "003001"}
        ],
        "type": "SERVICE",
    },
    "time": TIME,
}
GATEWAY_403: dict[str, Any] = {
    "warnings": None,
    "fault": {
        "error": [{"message": "message=ApplicationAuthorizationFailed", "detail": "", "code": "3100"}],
        "type": "AUTHORIZATION",
    },
    "cdcresponse": [],
    "time": 1601391072830,
}


def fault(code: str, *, kind: str = "ValidationFault", detail: str = "") -> dict[str, Any]:
    return {
        "Fault": {"Error": [{"Message": "words", "Detail": detail, "code": code}], "type": kind},
        "time": TIME,
    }


def query_answer(**content: Any) -> bytes:
    return answer(200, {"QueryResponse": content, "time": TIME})


def cdc_answer(*blocks: Mapping[str, Any]) -> bytes:
    return answer(200, {"CDCResponse": [{"QueryResponse": list(blocks)}], "time": TIME})


@contextmanager
def company(*replies: Reply, time: FakeTime | None = None) -> Iterator[tuple[QboClient, Server]]:
    with serving(*replies) as server:
        yield QboClient(session(server.origin, time or FakeTime(), dialect=DIALECT), "4620"), server


def asked(server: Server, number: int = 0) -> tuple[str, dict[str, list[str]]]:
    parts = urlsplit(server.requests[number].target)
    return parts.path, parse_qs(parts.query)


def test_cdc_asks_for_all_entities_in_one_call_with_a_zone_and_goes_by_key() -> None:
    bill = {"Id": "1", "domain": "QBO"}
    with company(cdc_answer({"Bill": [bill], "totalCount": 9}, {}, {"Vendor": []})) as (client, server):
        got = client.cdc([Entity.VENDOR, Entity.BILL_PAYMENT, Entity.BILL], datetime(2026, 5, 1, tzinfo=UTC))
    path, params = asked(server)
    assert path == "/v3/company/4620/cdc"
    assert params["entities"] == ["Vendor,BillPayment,Bill"]
    assert params["changedSince"] == ["2026-05-01T00:00:00+00:00"]
    assert got.blocks == {Entity.VENDOR: [], Entity.BILL_PAYMENT: [], Entity.BILL: [bill]}
    assert (got.server_time, got.truncated) == (AT, False)
    assert client.calls == {"GET /v3/company/{id}/cdc": 1}


def test_the_moment_of_cdc_is_never_rounded_up_and_needs_a_zone() -> None:
    since = datetime(2026, 5, 1, 0, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=-7)))
    with company(cdc_answer({})) as (client, server):
        client.cdc([Entity.BILL], since)
        with pytest.raises(ValueError, match="zone"):
            client.cdc([Entity.BILL], datetime(2026, 5, 1))  # noqa: DTZ001 that is the point
    assert asked(server)[1]["changedSince"] == ["2026-05-01T00:00:00-07:00"]


@pytest.mark.parametrize(
    ("bills", "vendors", "truncated"), [(999, 0, False), (1000, 0, True), (500, 499, False), (500, 500, True)]
)
def test_F48_cdc_is_truncated_at_a_thousand_rows_in_a_block_or_in_sum(
    bills: int, vendors: int, truncated: bool
) -> None:
    blocks = ({"Bill": [{"Id": "1"}] * bills}, {"Vendor": [{"Id": "2"}] * vendors})
    with company(cdc_answer(*blocks)) as (client, _):
        assert client.cdc([Entity.BILL, Entity.VENDOR], AT).truncated is truncated


def test_a_cdc_that_reaches_too_far_back_is_told_apart() -> None:
    detail = (
        "Operation cdc with changedSince date 2024-07-01 which is older than fixed days is not supported."
    )
    with company(answer(400, fault("500", detail=detail))) as (client, _), pytest.raises(CdcTooOld):
        client.cdc([Entity.BILL], AT)
    with company(answer(200, fault("500", detail=detail))) as (client, _), pytest.raises(CdcTooOld):
        client.cdc([Entity.BILL], AT)
    with company(answer(400, fault("500", detail="Unsupported"))) as (client, _):
        with pytest.raises(CallRefused) as caught:
            client.cdc([Entity.BILL], AT)
        assert caught.value.fault.code == "500"


@pytest.mark.parametrize(
    "body",
    [
        fault("10000", kind="SystemFault"),
        {"CDCResponse": [fault("10000")], "time": TIME},
        {"CDCResponse": [{"QueryResponse": [{}, fault("10000")]}], "time": TIME},
        {"cdcresponse": [{"queryresponse": [{"fault": {"error": [{"code": "010000"}]}}]}], "time": TIME},
    ],
)
def test_a_fault_inside_a_200_is_never_an_empty_answer(body: object) -> None:
    with company(answer(200, body), cdc_answer({"Bill": [{"Id": "1"}]})) as (client, server):
        assert client.cdc([Entity.BILL], AT).blocks == {Entity.BILL: [{"Id": "1"}]}
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"time": TIME},
        {"CDCResponse": [{"QueryResponse": [{}]}]},
        {"CDCResponse": {}, "time": TIME},
        {"CDCResponse": [{"QueryResponse": [{"Bill": {"Id": "1"}}]}], "time": TIME},
        {"CDCResponse": [{"QueryResponse": [{"Bill": ["1"]}]}], "time": TIME},
        {"CDCResponse": [{"QueryResponse": [{}]}], "time": "noon"},
        {"code": "AuthenticationFailed", "type": "INPUT", "message": None},
    ],
)
def test_an_answer_of_another_shape_is_an_error_and_not_no_change(body: object) -> None:
    with company(answer(200, body)) as (client, _), pytest.raises(PermanentError):
        client.cdc([Entity.BILL], AT)


def test_a_query_gives_rows_server_time_and_count() -> None:
    with company(query_answer(Bill=[{"Id": "1"}], startPosition=1, maxResults=1, totalCount=15)) as (
        client,
        server,
    ):
        got = client.query("SELECT * FROM Bill")
    assert asked(server) == (
        "/v3/company/4620/query",
        {"query": ["SELECT * FROM Bill"], "minorversion": ["75"]},
    )
    assert (got.rows, got.server_time, got.total_count) == ([{"Id": "1"}], AT, 15)


def test_an_empty_query_and_a_count_have_no_rows() -> None:
    with company(query_answer(), query_answer(totalCount=3)) as (client, _):
        assert client.query("SELECT * FROM Bill").rows == []
        counted = client.query("SELECT COUNT(*) FROM Bill")
    assert (counted.rows, counted.total_count) == ([], 3)


def test_a_long_statement_travels_as_a_body() -> None:
    statement = f"SELECT * FROM Bill WHERE Id IN ({','.join(repr(str(number)) for number in range(2000))})"
    with company(query_answer()) as (client, server):
        client.query(statement)
    request = server.requests[0]
    assert (request.method, request.body.decode()) == ("POST", statement)
    assert request.headers["content-type"] == "application/text"


def test_quotes_and_backslashes_of_a_name_cannot_end_the_text_of_a_query() -> None:
    assert escape("O'Brien & Sons") == "O\\'Brien & Sons"
    assert escape("back\\'") == "back\\\\\\'"


def items(server: Server, number: int) -> list[str]:
    return [item["Query"] for item in server.requests[number].json["BatchItemRequest"]]


def batch_answer(*entries: Mapping[str, Any]) -> bytes:
    return answer(200, {"BatchItemResponse": list(entries), "time": TIME})


def rows_of(number: int) -> dict[str, Any]:
    return {"bId": str(number), "QueryResponse": {"Bill": [{"Id": str(number)}]}}


def test_a_batch_carries_thirty_statements_a_call_and_keeps_their_order() -> None:
    first = batch_answer(*(rows_of(number) for number in reversed(range(30))))
    with company(first, batch_answer(rows_of(30))) as (client, server):
        got = client.batch([f"SELECT {number}" for number in range(31)])
    assert [len(items(server, 0)), len(items(server, 1))] == [30, 1]
    assert [one.rows[0]["Id"] for one in got] == [str(number) for number in range(31)]
    assert client.calls.total() == 2


@pytest.mark.parametrize(
    ("failure", "waits"),
    [
        (THROTTLE, 60.0),
        (fault("10000"), 0.0),
        (fault("77", kind="SystemFault"), 0.0),
        (None, 0.0),
    ],
    ids=["throttled", "system failure", "system fault of another code", "missing"],
)
def test_S101_an_item_of_a_batch_that_failed_for_a_moment_is_read_again_alone(
    failure: dict[str, Any] | None, waits: float
) -> None:
    time = FakeTime()
    good: list[dict[str, Any]] = [rows_of(number) for number in range(30) if number != 12]
    bad = [] if failure is None else [{"bId": "12", **failure}]
    with company(batch_answer(*good, *bad), batch_answer(rows_of(12)), time=time) as (client, server):
        got = client.batch([f"SELECT {number}" for number in range(30)])
    assert items(server, 1) == ["SELECT 12"]
    assert [one.rows[0]["Id"] for one in got] == [str(number) for number in range(30)]
    assert time.passed >= waits


def test_S101_an_item_that_stays_throttled_is_an_error_and_never_an_empty_answer() -> None:
    entries: Sequence[dict[str, Any]] = [rows_of(0), {"bId": "1", **THROTTLE}]
    with company(batch_answer(*entries)) as (client, _), pytest.raises(TransientError):
        client.batch(["SELECT 0", "SELECT 1"])


def test_an_item_of_a_batch_with_a_permanent_fault_raises() -> None:
    with company(batch_answer(rows_of(0), {"bId": "1", **fault("4001")})) as (client, server):
        with pytest.raises(CallRefused) as caught:
            client.batch(["SELECT 0", "SELECT 1"])
        assert len(server.requests) == 1
    assert caught.value.fault.code == "4001"


def test_no_statements_cost_no_call() -> None:
    with company(query_answer()) as (client, server):
        assert client.batch([]) == []
        assert server.requests == []


def test_a_record_is_read_by_id_and_a_deleted_one_is_refused_with_610() -> None:
    deleted = answer(400, fault("610", detail="Object Not Found"))
    with company(answer(200, {"Bill": {"Id": "9"}, "time": TIME}), deleted) as (client, server):
        assert client.read(Entity.BILL, "9") == {"Id": "9"}
        with pytest.raises(CallRefused) as caught:
            client.read(Entity.BILL, "10")
    assert asked(server)[0] == "/v3/company/4620/bill/9"
    assert caught.value.fault == Fault("610", "Object Not Found", "validationfault")


def test_company_info_and_preferences_come_without_their_envelope() -> None:
    replies = (answer(200, {"CompanyInfo": {"Id": "1"}}), answer(200, {"Preferences": {"Id": "2"}}))
    with company(*replies) as (client, server):
        assert (client.company_info(), client.preferences()) == ({"Id": "1"}, {"Id": "2"})
        assert asked(server, 0)[0] == "/v3/company/4620/companyinfo/4620"
        assert asked(server, 1)[0] == "/v3/company/4620/preferences"


@pytest.mark.parametrize(
    "throttled",
    [
        answer(429, THROTTLE),
        answer(403, THROTTLE),
        answer(200, THROTTLE),
        answer(429, b"<IntuitResponse><Fault/></IntuitResponse>"),
        answer(403, b'<Fault><Error code="3001"><Message>errorCode=003001; x</Message></Error></Fault>'),
    ],
    ids=["429", "403 of old", "inside a 200", "429 in XML", "403 in XML"],
)
def test_S100_a_throttled_company_waits_a_minute_whatever_the_answer_looks_like(throttled: bytes) -> None:
    time = FakeTime()
    with company(throttled, query_answer(), time=time) as (client, _):
        client.query("SELECT * FROM Bill")
    assert 60.0 <= time.passed <= 61.0


def test_S110_an_app_that_was_disconnected_needs_a_person() -> None:
    with company(answer(403, GATEWAY_403)) as (client, server):
        with pytest.raises(ReconnectNeeded):
            client.query("SELECT * FROM Bill")
        assert len(server.requests) == 1


def test_fault_keys_are_read_in_either_case_and_codes_without_leading_zeros() -> None:
    assert read_fault(403, GATEWAY_403) == Fault(
        "3100", "message=ApplicationAuthorizationFailed", "authorization"
    )
    assert read_fault(429, THROTTLE) == Fault("3001", THROTTLE["Fault"]["Error"][0]["Message"], "service")
    assert read_fault(200, {"QueryResponse": {}}) is None
    assert read_fault(502, "<html>Bad gateway</html>") is None
    assert fault_in({"Fault": {"Error": []}}) == Fault("", "")
    assert fault_in({"Bill": {}}) is None
