"""Procore's client credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import parse_qs

import pytest

from ml_connector.errors import ReconnectNeeded, TransientError
from ml_connector.procore.tokens import REQUEST_ID_HEADER, fetched
from ml_connector.store.vault import Credentials
from ml_connector.transport.oauth import TokenEndpoint
from ml_connector_tests.transport.doubles import START, FakeTime
from ml_connector_tests.transport.loopback import Reply, Server, answer, serving

SET = Credentials("id", "s&cret")


@contextmanager
def endpoint(reply: Reply) -> Iterator[tuple[TokenEndpoint, Server]]:
    with serving(reply) as server:
        url = f"{server.origin}/oauth/token"
        clock = FakeTime().clock
        yield TokenEndpoint("procore", url, request_id_header=REQUEST_ID_HEADER, clock=clock), server


def test_a_token_is_asked_for_with_client_credentials() -> None:
    grant = {"access_token": "access", "token_type": "bearer", "expires_in": 5400, "created_at": 1}
    with endpoint(answer(200, grant)) as (tokens, server):
        got = fetched(tokens, SET, now=lambda: START)
    assert parse_qs(server.requests[0].body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["id"],
        "client_secret": ["s&cret"],
    }
    assert got.access_token == "access"
    assert got.access_expires_at == START + timedelta(seconds=5400)
    assert (got.client_secret, got.refresh_token) == ("s&cret", "")


@pytest.mark.parametrize(
    "reply", [answer(401, {"error": "invalid_client"}), answer(400, {"error": "invalid_grant"}), answer(401)]
)
def test_refused_client_credentials_need_a_person(reply: bytes) -> None:
    with endpoint(reply) as (tokens, server):
        with pytest.raises(ReconnectNeeded):
            fetched(tokens, SET, now=lambda: START)
        assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [answer(500), answer(429), answer(200, {}), b""])
def test_F24_an_unclear_token_answer_is_transient(reply: bytes) -> None:
    with endpoint(reply) as (tokens, _), pytest.raises(TransientError):
        fetched(tokens, SET, now=lambda: START)
