"""VendorSession against a real loopback server: verdicts become exceptions, waits and counts."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from ml_connector.errors import OutcomeUnknown, PermanentError, SetupError, TransientError
from ml_connector.transport.call import Call, CallRefused
from ml_connector.transport.retry import Kind
from ml_connector.transport.session import Bounds
from ml_connector_tests.transport.doubles import SHORT, START, FakeTime, NotedLimiter, Tokens, session
from ml_connector_tests.transport.loopback import answer, closed_port, serving

READ = Call("GET", "/rest/v1.0/projects/66005/vendors", Kind.READ)
WRITE = Call("POST", "/rest/v1.0/vendors", Kind.WRITE, content=b"{}", content_type="application/json")
UPSERT = Call("PATCH", "/rest/v1.0/vendors/sync", Kind.REPEATABLE_WRITE, content=b"{}")
SERVER_DATE = "Wed, 20 May 2026 15:00:00 GMT"


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def test_a_read_is_repeated_until_it_succeeds_and_every_attempt_is_counted(time: FakeTime) -> None:
    with serving(answer(500), answer(502, b"<html>"), answer(200, [{"id": 1}])) as server:
        vendor = session(server.origin, time)
        assert vendor.send(READ).body == [{"id": 1}]
    assert vendor.calls == {"GET /rest/v1.0/projects/{id}/vendors": 3}
    assert len(time.slept) == 2
    assert time.slept[0] <= 1.0
    assert time.slept[1] <= 2.0


def test_an_outage_ends_in_a_transient_error_within_patience(time: FakeTime) -> None:
    with serving(answer(500)) as server, pytest.raises(TransientError) as caught:
        session(server.origin, time, bounds=Bounds(SHORT, patience=30.0)).send(READ)
    assert time.passed <= 30.0
    assert caught.value.status == 500
    assert caught.value.not_before is not None
    assert caught.value.not_before >= time.now() + timedelta(seconds=60)


@pytest.mark.parametrize("call", [WRITE, UPSERT])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 302])
def test_F04_a_write_with_an_unclear_answer_is_never_sent_again(
    time: FakeTime, call: Call, status: int
) -> None:
    with serving(answer(status)) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            session(server.origin, time).send(call)
        assert len(server.requests) == 1
    assert caught.value.status == status
    assert time.slept == []


def test_a_throttled_write_is_sent_again_once_it_may_be(time: FakeTime) -> None:
    limiter = NotedLimiter()
    with serving(answer(429, headers={"Retry-After": "20"}), answer(201, {"id": 7})) as server:
        assert session(server.origin, time, limiter=limiter).send(WRITE).body == {"id": 7}
    assert limiter.pauses == [20.0]
    assert 20.0 <= time.passed <= 21.0


def test_F11_without_retry_after_the_wait_lasts_until_the_reset_on_the_servers_clock(time: FakeTime) -> None:
    reset = int(
        (START + timedelta(hours=3, seconds=9)).timestamp()
    )  # the server's clock is three hours ahead
    throttled = answer(429, b"slow down", {"X-Rate-Limit-Reset": str(reset), "Date": SERVER_DATE})
    with serving(throttled, answer(200, {})) as server:
        session(server.origin, time).send(READ)
    assert 9.0 <= time.passed <= 10.0


def test_F11_a_long_retry_after_is_never_cut_short(time: FakeTime) -> None:
    limiter = NotedLimiter()
    with serving(answer(429, headers={"Retry-After": "86400"})) as server:
        with pytest.raises(TransientError) as caught:
            session(server.origin, time, limiter=limiter).send(READ)
        assert len(server.requests) == 1
    assert time.passed == 0.0
    assert limiter.pauses == [86_400.0]
    assert caught.value.not_before == START + timedelta(days=1)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"Retry-After": "soon"}])
def test_F11_a_429_that_does_not_say_when_waits_the_vendors_own_pause(
    time: FakeTime, headers: dict[str, str]
) -> None:
    with serving(answer(429, headers=headers), answer(200, {})) as server:
        session(server.origin, time).send(READ)
    assert 10.0 <= time.passed <= 11.0


def test_a_used_up_limit_pauses_the_account_before_the_vendor_has_to_refuse(time: FakeTime) -> None:
    limiter = NotedLimiter()
    reset = int((START + timedelta(hours=3, seconds=6)).timestamp())
    headers = {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str(reset), "Date": SERVER_DATE}
    with serving(answer(200, {}, headers)) as server:
        session(server.origin, time, limiter=limiter).send(READ)
    assert limiter.pauses == [6.0]


def test_the_limiter_is_asked_before_every_attempt_and_its_waits_are_kept(time: FakeTime) -> None:
    limiter = NotedLimiter(waits=[3.0, 2.0])
    with serving(answer(200, {})) as server:
        session(server.origin, time, limiter=limiter).send(READ)
    assert time.slept == [3.0, 2.0]
    assert limiter.asked == 3


def test_a_limit_beyond_patience_is_a_transient_error_without_a_call(time: FakeTime) -> None:
    with serving(answer(200, {})) as server:
        with pytest.raises(TransientError) as caught:
            session(server.origin, time, limiter=NotedLimiter(waits=[3000.0])).send(READ)
        assert server.requests == []
    assert caught.value.not_before == START + timedelta(seconds=3000)


def test_F13_a_401_renews_the_token_once_and_repeats_once(time: FakeTime) -> None:
    tokens = Tokens()
    with serving(answer(401), answer(201, {"id": 1})) as server:
        session(server.origin, time, tokens=tokens).send(WRITE)
        sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer token-0", "Bearer token-1"]


def test_F13_a_second_401_is_final(time: FakeTime) -> None:
    tokens = Tokens()
    with serving(answer(401, {"errors": "Unauthorized"})) as server:
        with pytest.raises(CallRefused) as caught:
            session(server.origin, time, tokens=tokens).send(READ)
        assert len(server.requests) == 2
    assert (caught.value.status, tokens.renewals) == (401, 1)


def test_F13_the_token_is_renewed_once_for_a_call_even_if_other_trouble_lies_between(time: FakeTime) -> None:
    tokens = Tokens()
    with serving(answer(401), answer(500), answer(401)) as server, pytest.raises(CallRefused):
        session(server.origin, time, tokens=tokens).send(READ)
    assert tokens.renewals == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422])
def test_a_refusal_carries_status_body_and_request_id(time: FakeTime, status: int) -> None:
    refusal = answer(status, {"errors": "secret words"}, {"X-Request-Id": "req-9"})
    with serving(refusal) as server:
        with pytest.raises(PermanentError) as caught:
            session(server.origin, time).send(READ)
        assert len(server.requests) == 1
    error = caught.value
    assert (error.status, error.request_id, error.body) == (status, "req-9", '{"errors": "secret words"}')
    assert "secret words" not in str(error)
    assert "req-9" in str(error)


def test_F01_a_refused_connection_counts_as_not_sent_and_even_a_write_is_tried_again(
    time: FakeTime, measured: Callable[[str], None]
) -> None:
    vendor = session(closed_port(), time, bounds=Bounds(SHORT, patience=20.0))
    with pytest.raises(TransientError) as caught:
        vendor.send(WRITE)
    assert "not sent" in str(caught.value)
    assert vendor.calls.total() > 1
    assert time.passed <= 20.0
    measured(f"F01 refused for 20 s: {vendor.calls.total()} attempts, {time.passed:.1f} s waited")


def test_F01_a_name_that_does_not_resolve_counts_as_not_sent(time: FakeTime) -> None:
    with pytest.raises(TransientError, match="not sent"):
        session("https://no-such-host.invalid", time, bounds=Bounds(SHORT, patience=0.0)).send(WRITE)


def test_an_empty_success_is_an_answer_only_where_one_is_expected(time: FakeTime) -> None:
    removal = Call("DELETE", "/rest/v1.1/projects/1/vendors/2/actions/remove", Kind.WRITE, bodyless=True)
    with serving(answer(204)) as server:
        assert session(server.origin, time).send(removal).body is None
    with serving(answer(200)) as server, pytest.raises(OutcomeUnknown):
        session(server.origin, time).send(WRITE)
    with serving(answer(204), answer(200), answer(200, [])) as server:
        assert session(server.origin, time).send(READ).body == []


def test_an_origin_must_end_with_its_host() -> None:
    with pytest.raises(SetupError):
        session("https://api.procore.com/rest", FakeTime())
