"""What a session tells its breaker, and what it does when that says that nobody answers."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from ml_connector.errors import OutcomeUnknown, PermanentError, TransientError, VendorAway
from ml_connector.transport.call import Call
from ml_connector.transport.retry import Kind
from ml_connector.transport.session import Bounds, VendorSession
from ml_connector_tests.transport.doubles import PLAIN, SHORT, START, FakeTime
from ml_connector_tests.transport.loopback import answer, closed_port, serving

READ = Call("GET", "/rest/v1.0/vendors", Kind.READ)
WRITE = Call("POST", "/rest/v1.0/vendors", Kind.WRITE, content=b"{}", content_type="application/json")
ONE_TRY = Bounds(SHORT, patience=0.0)


@dataclass
class NotedBreaker:
    """A breaker that is open for `left` seconds, and notes what it is told."""

    left: float = 0.0
    told: list[str] = field(default_factory=list)

    def wait(self) -> float:
        return self.left

    def answered(self) -> None:
        self.told.append("answered")

    def silent(self, reason: str, *, first: bool) -> bool:
        self.told.append(f"{'first' if first else 'again'}: {reason}")
        return False


def session(origin: str, breaker: NotedBreaker, bounds: Bounds = ONE_TRY) -> VendorSession:
    return VendorSession(
        PLAIN, origin, account="procore:1", breaker=breaker, bounds=bounds, clock=FakeTime().clock
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_a_refusal_of_one_record_is_an_answer(status: int) -> None:
    breaker = NotedBreaker()
    with serving(answer(status, {})) as server, pytest.raises((PermanentError, TransientError)):
        session(server.origin, breaker).send(READ)
    assert set(breaker.told) == {"answered"}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_F12_a_5xx_and_silence_are_outages(status: int) -> None:
    breaker = NotedBreaker()
    with serving(answer(status, b"<html>")) as server, pytest.raises(OutcomeUnknown):
        session(server.origin, breaker).send(WRITE)
    with pytest.raises(TransientError):
        session(closed_port(), breaker).send(WRITE)
    assert breaker.told == [f"first: HTTP {status}", "first: not sent (ConnectionError)"]


def test_the_attempts_of_one_call_are_told_apart_from_further_calls() -> None:
    breaker = NotedBreaker()
    with serving(answer(503), answer(503), answer(200, [])) as server:
        session(server.origin, breaker, Bounds(SHORT, patience=600.0)).send(READ)
    assert breaker.told == ["first: HTTP 503", "again: HTTP 503", "answered"]


@pytest.mark.parametrize("call", [READ, WRITE])
def test_F12_while_nobody_answers_nothing_is_sent_and_it_is_said_until_when(call: Call) -> None:
    with serving(answer(200, [])) as server:
        with pytest.raises(VendorAway) as caught:
            session(server.origin, NotedBreaker(left=42.0), Bounds(SHORT, patience=600.0)).send(call)
        assert server.requests == []
    assert caught.value.not_before == START + timedelta(seconds=42)


def test_a_person_who_asks_is_not_stopped() -> None:
    breaker = NotedBreaker(left=42.0)
    with serving(answer(200, [])) as server:
        session(server.origin, breaker, Bounds(SHORT, patience=0.0, insist=True)).send(READ)
    assert breaker.told == ["answered"]
