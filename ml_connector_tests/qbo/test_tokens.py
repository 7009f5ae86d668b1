"""QBO's rotating refresh: what is sent, what is kept, and when the grant counts as dead."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from ml_connector.errors import PermanentError, ReconnectNeeded, TransientError
from ml_connector.qbo.tokens import REQUEST_ID_HEADER, refreshed
from ml_connector.store.vault import Credentials
from ml_connector.transport.oauth import TokenEndpoint
from ml_connector_tests.transport.doubles import START, FakeTime
from ml_connector_tests.transport.loopback import Reply, Server, answer, serving

SET = Credentials("id", "s:ecret", refresh_token="now", previous_refresh_token="before")
GRANT: dict[str, Any] = {
    "token_type": "bearer",
    "expires_in": 3600,
    "access_token": "access",
    "refresh_token": "next",
    "x_refresh_token_expires_in": 8640000,
    "x_refresh_token_hard_expires_in": 157680000,
}
INVALID_GRANT = answer(400, {"error": "invalid_grant"})


@contextmanager
def endpoint(*replies: Reply) -> Iterator[tuple[TokenEndpoint, Server]]:
    with serving(*replies) as server:
        yield (
            TokenEndpoint(
                "qbo",
                f"{server.origin}/oauth2/v1/tokens/bearer",
                request_id_header=REQUEST_ID_HEADER,
                clock=FakeTime().clock,
            ),
            server,
        )


def used(server: Server) -> list[str]:
    return [parse_qs(request.body.decode())["refresh_token"][0] for request in server.requests]


def test_a_refresh_rotates_the_token_and_keeps_the_one_before() -> None:
    with endpoint(answer(200, GRANT)) as (tokens, server):
        got = refreshed(tokens, SET, now=lambda: START)
        request = server.requests[0]
    assert got == Credentials(
        "id",
        "s:ecret",
        refresh_token="next",
        previous_refresh_token="now",
        access_token="access",
        access_issued_at=START,
        access_expires_at=START + timedelta(hours=1),
        refresh_issued_at=START,
        refresh_expires_at=START + timedelta(days=100),
        hard_expires_at=START + timedelta(seconds=157680000),
    )
    assert (request.method, request.target) == ("POST", "/oauth2/v1/tokens/bearer")
    assert parse_qs(request.body.decode()) == {"grant_type": ["refresh_token"], "refresh_token": ["now"]}
    assert request.headers["authorization"] == f"Basic {b64encode(b'id:s:ecret').decode()}"
    assert request.headers["x-include-refresh-token-hard-expires-in"] == "true"
    assert tokens.calls.total() == 1


def test_the_same_value_given_back_keeps_the_previous_one_and_the_hard_end() -> None:
    known = replace(SET, hard_expires_at=START)
    same = {"expires_in": 3600, "access_token": "access", "refresh_token": "now"}
    with endpoint(answer(200, same)) as (tokens, _):
        got = refreshed(tokens, known, now=lambda: START)
    assert (got.refresh_token, got.previous_refresh_token, got.hard_expires_at) == ("now", "before", START)


def test_F21_a_refused_token_is_followed_by_one_try_with_the_previous_one() -> None:
    with endpoint(INVALID_GRANT, answer(200, GRANT)) as (tokens, server):
        got = refreshed(tokens, SET, now=lambda: START)
    assert used(server) == ["now", "before"]
    assert (got.refresh_token, got.previous_refresh_token) == ("next", "before")


def test_F23_two_refusals_end_the_grant_and_nothing_loops() -> None:
    with endpoint(INVALID_GRANT) as (tokens, server), pytest.raises(ReconnectNeeded, match="invalid_grant"):
        refreshed(tokens, SET, now=lambda: START)
    assert used(server) == ["now", "before"]


def test_a_refusal_without_a_previous_token_ends_the_grant_at_once() -> None:
    with endpoint(INVALID_GRANT) as (tokens, server), pytest.raises(ReconnectNeeded):
        refreshed(tokens, replace(SET, previous_refresh_token=""), now=lambda: START)
    assert used(server) == ["now"]


def test_a_set_without_a_refresh_token_costs_no_call() -> None:
    with endpoint(INVALID_GRANT) as (tokens, server), pytest.raises(ReconnectNeeded):
        refreshed(tokens, Credentials("id", "secret"), now=lambda: START)
    assert server.requests == []


def test_a_refused_client_ends_the_grant_without_trying_other_tokens() -> None:
    with endpoint(answer(401, {"error": "invalid_client"})) as (tokens, server):
        with pytest.raises(ReconnectNeeded, match="invalid_client"):
            refreshed(tokens, SET, now=lambda: START)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        answer(500),
        answer(503, b"<html>"),
        answer(429),
        answer(429, headers={"Retry-After": "5"}),
        answer(200, {"token_type": "bearer"}),
        answer(200, {"access_token": "", "expires_in": 3600}),
        answer(200, {"access_token": "a", "expires_in": 0}),
        answer(200, b"<html>"),
        answer(200, []),
        answer(200, GRANT, length=10_000),
        b"",
    ],
)
def test_F21_F24_an_unclear_token_answer_is_transient_and_asked_once(reply: bytes) -> None:
    with endpoint(reply) as (tokens, server), pytest.raises(TransientError):
        refreshed(tokens, SET, now=lambda: START)
    assert used(server) == ["now"]


def test_a_malformed_request_is_our_fault_and_no_dead_grant() -> None:
    malformed = answer(400, {"error": "invalid_request"})
    with endpoint(malformed) as (tokens, _), pytest.raises(PermanentError) as caught:
        refreshed(tokens, SET, now=lambda: START)
    assert not isinstance(caught.value, ReconnectNeeded)


def test_T6_no_error_of_a_refresh_names_a_secret() -> None:
    with endpoint(INVALID_GRANT) as (tokens, _), pytest.raises(ReconnectNeeded) as caught:
        refreshed(tokens, SET, now=lambda: START)
    text = repr([caught.value, caught.value.__cause__, vars(caught.value)])
    assert not [secret for secret in ("s:ecret", "'now'", "before") if secret in text]
