"""The OAuth server: rotation by each rule, expiry, codes, revocation."""

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from ml_connector_tests.sandbox.conftest import Books, Samples
from ml_connector_tests.sandbox.test_qbo_shapes import differences

BACK = "http://127.0.0.1:1/callback?next=1"


def value(answer: requests.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["refresh_token"])


def later(books: Books, hours: float) -> None:
    books.control("POST", "clock", {"offset_seconds": hours * 3600})


def test_a_token_answer_has_the_recorded_form(books: Books, samples: Samples) -> None:
    assert differences(samples["token-exchange-response"], books.refresh().json()) == []
    hard = books.refresh(**{"x-include-refresh-token-hard-expires-in": "true"}).json()
    assert differences(samples["token-refresh-response-hard-expiry"], hard) == []


def test_the_value_changes_after_a_day_and_the_previous_one_works_a_day_more(books: Books) -> None:
    first = value(books.refresh())
    later(books, 23)
    assert value(books.refresh(first)) == first
    later(books, 24.5)
    second = value(books.refresh(first))
    assert second != first
    later(books, 30)
    assert value(books.refresh(first)) == second
    later(books, 49)
    assert books.refresh(first).json()["error"] == "invalid_grant"
    assert books.refresh(second).status_code == 200


def test_single_use_kills_the_old_value_at_once(books: Books, samples: Samples) -> None:
    books.control("POST", "faults", {"fault": "token", "args": {"mode": "single_use"}})
    first = value(books.refresh())
    assert first != "RT1-sandbox"
    dead = books.refresh("RT1-sandbox")
    assert (dead.status_code, dead.json()) == (400, samples["token-error-invalid-grant-described"])
    assert value(books.refresh(first)) != first


def test_a_used_token_that_comes_again_can_end_the_whole_chain(books: Books) -> None:
    books.control("POST", "switches", {"token": "single_use", "reuse_revokes": True})
    first = value(books.refresh())
    assert books.refresh("RT1-sandbox").status_code == 400
    assert books.refresh(first).status_code == 400


def test_grace_gives_a_new_value_each_time_and_a_day_for_the_old_one(books: Books) -> None:
    books.control("POST", "switches", {"token": "grace24h"})
    first = value(books.refresh())
    second = value(books.refresh("RT1-sandbox"))
    assert len({"RT1-sandbox", first, second}) == 3
    later(books, 25)
    assert books.refresh("RT1-sandbox").status_code == 400


def test_same_never_changes_the_value(books: Books) -> None:
    books.control("POST", "switches", {"token": "same"})
    later(books, 24 * 90)
    assert value(books.refresh()) == "RT1-sandbox"


def test_a_refresh_token_dies_unused_after_101_days_and_in_any_case_after_5_years(books: Books) -> None:
    assert books.refresh().status_code == 200
    later(books, 24 * 101.5)
    assert books.refresh().json()["error"] == "invalid_grant"
    later(books, 0)
    books.control("POST", "switches", {"hard_expiry_seconds": 60})
    later(books, 1)
    assert books.refresh().json()["error"] == "invalid_grant"


def test_an_access_token_expires(books: Books) -> None:
    books.control("POST", "switches", {"access_token_seconds": 60})
    assert books.call("GET", "preferences").status_code == 200
    later(books, 0.1)
    assert books.call("GET", "preferences").status_code == 401


@pytest.mark.parametrize("auth", [("sandbox-client", "wrong"), ("stranger", "sandbox-secret"), None])
def test_a_wrong_client_is_refused(books: Books, samples: Samples, auth: tuple[str, str] | None) -> None:
    answer = requests.post(
        f"{books.url}/oauth2/v1/tokens/bearer", auth=auth, data={"grant_type": "refresh_token"}, timeout=10
    )
    assert (answer.status_code, answer.json()) == (401, samples["token-error-invalid-client"])


@pytest.mark.parametrize(("secret", "status"), [("sandbox-secret", 200), ("wrong", 401)])
def test_a_client_may_tell_itself_in_the_form_as_discovery_says(
    books: Books, secret: str, status: int
) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "RT1-sandbox", "client_id": "sandbox-client"}
    url = f"{books.url}/oauth2/v1/tokens/bearer"
    assert requests.post(url, data={**form, "client_secret": secret}, timeout=10).status_code == status


def consent(books: Books) -> dict[str, list[str]]:
    params = {
        "client_id": "sandbox-client",
        "response_type": "code",
        "scope": "com.intuit.quickbooks.accounting",
        "redirect_uri": BACK,
        "state": "s1",
    }
    answer = books.session.get(
        f"{books.url}/connect/oauth2", params=params, allow_redirects=False, timeout=10
    )
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(BACK + "&")
    return parse_qs(urlsplit(answer.headers["Location"]).query)


def exchange(books: Books, code: str, back: str = BACK) -> requests.Response:
    return books.session.post(
        f"{books.url}/oauth2/v1/tokens/bearer",
        auth=("sandbox-client", "sandbox-secret"),
        data={"grant_type": "authorization_code", "code": code, "redirect_uri": back},
        timeout=10,
    )


def test_a_code_is_exchanged_once_and_only_with_its_redirect(books: Books) -> None:
    books.control("POST", "switches", {"authorize_realm": "777"})
    back = consent(books)
    assert (back["state"], back["realmId"]) == (["s1"], ["777"])
    code = back["code"][0]
    assert exchange(books, code, "http://127.0.0.1:1/other").json()["error"] == "invalid_grant"
    answer = exchange(books, code)
    assert answer.status_code == 200
    assert exchange(books, code).json()["error"] == "invalid_grant"
    books.token = answer.json()
    assert books.call("GET", "preferences", realm="777").status_code == 200
    assert books.call("GET", "preferences").status_code == 403


def test_a_code_is_good_for_five_minutes_and_consent_can_be_denied(books: Books) -> None:
    code = consent(books)["code"][0]
    later(books, 0.1)
    assert exchange(books, code).json()["error"] == "invalid_grant"
    books.control("POST", "switches", {"authorize_error": "access_denied"})
    assert consent(books)["error"] == ["access_denied"]


def test_a_person_chooses_the_company_on_the_consent_page_or_none(books: Books) -> None:
    books.control("POST", "switches", {"consent_page": True})
    asked = {
        "client_id": "sandbox-client",
        "response_type": "code",
        "redirect_uri": BACK,
        "state": '"><script>',
    }
    page = books.session.get(f"{books.url}/connect/oauth2", params=asked, timeout=10)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html;charset=utf-8")
    assert "<script>" not in page.text
    for choice, brings in (("77", {"realmId": ["77"]}), ("", {"error": ["access_denied"]})):
        answer = books.session.get(
            f"{books.url}/connect/oauth2",
            params={**asked, "consent": choice},
            timeout=10,
            allow_redirects=False,
        )
        assert parse_qs(urlsplit(answer.headers["Location"]).query).items() >= brings.items()


def test_an_app_is_sent_back_to_its_listed_addresses_alone(books: Books) -> None:
    app = {"client_id": "a", "client_secret": "b", "redirect_uris": ["https://firm.example/qbo"]}
    books.control("POST", "load", {"App": [app]})
    for back, status in (("https://firm.example/qbo", 302), ("https://firm.example/qbo/", 400)):
        asked = {"client_id": "a", "response_type": "code", "redirect_uri": back}
        answer = books.session.get(
            f"{books.url}/connect/oauth2", params=asked, timeout=10, allow_redirects=False
        )
        assert answer.status_code == status


def test_a_revoked_chain_is_over(books: Books) -> None:
    books.ask("GET", "preferences")
    answer = books.session.post(
        f"{books.url}/v2/oauth2/tokens/revoke",
        auth=("sandbox-client", "sandbox-secret"),
        json={"token": books.token["refresh_token"]},
        timeout=10,
    )
    assert answer.status_code == 200
    assert books.call("GET", "preferences").status_code == 401
    assert books.refresh().json()["error"] == "invalid_grant"
