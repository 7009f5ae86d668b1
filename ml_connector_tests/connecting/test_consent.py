"""The consent and its callback page: T11, a code that is stolen, replayed or meant for somebody else."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from ml_connector.cli.callback import Callback, listening
from ml_connector.connecting.consent import LIFE, SCOPE, Consent, query_of
from ml_connector.errors import SetupError
from ml_connector.settings import Connection

REALM = "9341450000000001"


@dataclass
class Time:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def connection(**qbo: object) -> Connection:
    return Connection.model_validate(
        {
            "name": "acme",
            "qbo": {"realm_id": REALM, **qbo},
            "procore": {"company_id": 5001},
            "time_zone": "UTC",
            "start_date": "2026-01-01",
        }
    )


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def consent(time: Time) -> Consent:
    return Consent(connection(), "client-1", monotonic=time)


def state_of(consent: Consent) -> str:
    return parse_qs(urlsplit(consent.address).query)["state"][0]


def answer(consent: Consent, **changes: str) -> dict[str, list[str]]:
    given = {"code": "AB1", "state": state_of(consent), "realmId": REALM, **changes}
    return {name: [value] for name, value in given.items()}


def test_the_address_asks_for_the_books_alone_and_its_state_cannot_be_guessed(consent: Consent) -> None:
    asked = parse_qs(urlsplit(consent.address).query)
    assert consent.address.startswith("https://appcenter.intuit.com/connect/oauth2?")
    assert asked["scope"] == [SCOPE]
    assert (asked["client_id"], asked["response_type"]) == (["client-1"], ["code"])
    assert asked["redirect_uri"] == ["http://localhost:8766/callback"]
    assert len(asked["state"][0]) >= 43
    assert state_of(Consent(connection(), "client-1")) != asked["state"][0]


def test_T11_a_state_is_good_once(consent: Consent) -> None:
    assert consent.take(answer(consent))
    assert not consent.take(answer(consent))


def test_T11_a_foreign_missing_or_doubled_state_is_no_answer_and_spends_nothing(consent: Consent) -> None:
    for wrong in (
        answer(consent, state=state_of(Consent(connection(), "client-1"))),
        answer(consent, state=""),
        answer(consent, state="\u00e9"),
        {"code": ["AB1"], "realmId": [REALM]},
        {**answer(consent), "state": [state_of(consent)] * 2},
    ):
        assert not consent.take(wrong)
    assert consent.take(answer(consent))


def test_T11_a_state_is_good_for_ten_minutes(consent: Consent, time: Time) -> None:
    time.now += LIFE
    assert not consent.take(answer(consent))
    time.now -= 1
    assert consent.take(answer(consent))


def test_S111_F25_the_wrong_company_is_refused_with_both_ids_before_its_code_is_used(
    consent: Consent,
) -> None:
    with pytest.raises(SetupError, match=rf"chosen is 77.*acme is for {REALM}: nothing was stored"):
        consent.code(answer(consent, realmId="77"))


def test_a_refusal_of_the_person_is_told_in_intuits_word(consent: Consent) -> None:
    with pytest.raises(SetupError, match="access_denied"):
        consent.code({"error": ["access_denied"], "state": [state_of(consent)]})
    for lacking in ("code", "realmId"):
        given = answer(consent)
        del given[lacking]
        with pytest.raises(SetupError, match="no code or no company"):
            consent.code(given)


def test_T11_addresses_that_are_not_safe_are_not_asked_with() -> None:
    for wrong in ({"redirect_url": "http://example.com/cb"}, {"authorize_url": "http://example.com/"}):
        with pytest.raises(SetupError, match="https://"):
            Consent(connection(**wrong), "client-1")


def test_what_is_pasted_may_be_anything(consent: Consent) -> None:
    assert query_of(" https://x.example/cb?code=1&state=a+b \n") == {"code": ["1"], "state": ["a b"]}
    assert query_of("http://[bad") == query_of("") == {}


@pytest.fixture
def page(consent: Consent) -> Iterator[tuple[Callback, int]]:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    with listening(port, "/callback", consent.take) as callback:
        yield callback, port
        callback.thanked()  # no test waits for a browser


def ask(port: int, target: str, method: str = "GET") -> tuple[int, str, http.client.HTTPMessage]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, target)
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), reply.headers


def target(consent: Consent, **changes: str) -> str:
    return "/callback?" + urlencode({name: value[0] for name, value in answer(consent, **changes).items()})


def test_T11_the_page_takes_one_answer_and_keeps_its_code_out_of_the_browsers_history(
    page: tuple[Callback, int], consent: Consent
) -> None:
    callback, port = page
    status, body, headers = ask(port, target(consent))
    assert (status, body, headers["Location"]) == (302, "", "/callback/done")
    assert headers["Cache-Control"] == "no-cache, no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert callback.wait(5)["code"] == ["AB1"]
    status, body, _ = ask(port, "/callback/done")
    assert (status, body.split(":")[0]) == (200, "Thank you")
    assert ask(port, target(consent))[0] == 400


def test_T11_anything_else_is_refused_with_a_page_that_repeats_nothing_and_the_wait_goes_on(
    page: tuple[Callback, int], consent: Consent
) -> None:
    callback, port = page
    for wrong, method, status in (
        (target(consent, state="stolen<script>"), "GET", 400),
        ("/callback", "GET", 400),
        ("/", "GET", 404),
        (f"/callback?state={'x' * 9000}", "GET", 414),
        (target(consent), "POST", 405),
        (target(consent), "HEAD", 405),
        (target(consent), "TRACE", 405),
    ):
        got, body, headers = ask(port, wrong, method)
        assert (got, headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
        assert "script" not in body
        assert "Python" not in headers["Server"]
    with pytest.raises(SetupError, match="in time"):
        callback.wait(0.01)
    assert ask(port, target(consent))[0] == 302
    callback.wait(5)


def test_a_port_that_is_taken_is_one_sentence(page: tuple[Callback, int], consent: Consent) -> None:
    with pytest.raises(SetupError, match="is taken"), listening(page[1], "/callback", consent.take):
        pass


def test_the_callback_page_answers_on_the_loopback_interface_alone(page: tuple[Callback, int]) -> None:
    port = f"{page[1]:04X}"
    listeners = [row.split()[1:4] for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [place for place, _, state in listeners if place.endswith(f":{port}") and state == "0A"] == [
        f"0100007F:{port}"
    ]
