"""`connect qbo` and `connect procore` over the sandboxes' OAuth, as a person and as a script run them."""

import http.client
import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

import pytest
from sqlalchemy import text

from ml_connector.errors import SetupError
from ml_connector.orchestration.clients import vault_of
from ml_connector.store.vault import Credentials, State
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.cli.shell import PROGRAM, Done, wait_for
from ml_connector_tests.rig import COMPANY, ELM, HARBOR, REALM, line

OTHER = "9341450000000002"
DEAD = Credentials("sandbox-client", "sandbox-secret", refresh_token="RT1-revoked")


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Door:
    """The firm with its consent page configured, and a file of the app's keys."""

    firm: Firm
    keys: Path
    pages: list[str] = field(default_factory=list)  # what the browser was shown

    def stored(self) -> tuple[Credentials, State]:
        return vault_of(self.firm.rig.home, self.firm.rig.engine).get("acme", "qbo")

    def begin(self, *options: str) -> tuple[Callable[[], Done], str]:
        """Start `connect qbo`; how it ended, once it has, and the address that it shows."""
        out, err = self.keys.with_name("out"), self.keys.with_name("err")
        arguments = ("connect", "qbo", "acme", "--credentials", str(self.keys), *options)
        process = self.firm.shell.start(*arguments, out=out, err=err)

        def ended() -> Done:
            code = process.wait(60)
            return Done(code, out.read_text(), err.read_text())

        wait_for(
            lambda: process.poll() is not None or "Waiting for the answer" in err.read_text(),
            seconds=60,
            saying=err.read_text,
        )
        found = re.search(r"^  (http\S+)$", err.read_text(), re.MULTILINE)
        assert found, err.read_text()
        return ended, found[1]

    def consent(self, *options: str) -> Done:
        """Start `connect qbo` and consent as a person with a browser does."""
        ended, address = self.begin(*options)
        with urllib.request.urlopen(address, timeout=30) as shown:
            page = shown.read()
        assert page.startswith(b"Thank you")
        self.pages.append(page.decode())
        return ended()

    def token_calls(self, since: int) -> int:
        return sum("/tokens/bearer" in entry["path"] for entry in self.firm.rig.qbo.journal(since))


@pytest.fixture
def door(firm: Firm, tmp_path: Path) -> Door:
    url = firm.rig.qbo_server.url
    firm.rig.configure(
        qbo={
            "authorize_url": f"{url}/connect/oauth2",
            "redirect_url": f"http://127.0.0.1:{free_port()}/callback",
        }
    )
    keys = tmp_path / "keys.json"
    keys.touch(0o600)
    keys.write_text(json.dumps({"client_id": "sandbox-client", "client_secret": "sandbox-secret"}))
    return Door(firm, keys)


def test_a_company_is_connected_by_consent_and_its_credentials_lie_sealed_in_the_vault(door: Door) -> None:
    before, _ = door.stored()
    told = door.consent("--yes")
    assert told.code == 0, told
    assert f"QuickBooks company: Acme Builders (realm {REALM})" in told.err
    assert "Next: ml-connector ping acme" in told.out
    kept, state = door.stored()
    assert state is State.CONNECTED
    assert (kept.client_id, kept.company) == ("sandbox-client", REALM)
    assert kept.refresh_token not in ("", before.refresh_token)
    assert kept.hard_expires_at is not None
    assert kept.refresh_expires_at is not None
    assert (kept.hard_expires_at - kept.refresh_expires_at).days > 1000
    for secret in ("sandbox-secret", kept.refresh_token, kept.access_token):
        assert secret not in told.out + told.err
    with door.firm.rig.engine.connect() as db:
        trail = "select actor, convert_from(detail, 'utf8') from ml_connector.audit where event = 'connected'"
        assert (
            db.execute(text(f"{trail} order by number desc limit 1")).one()[1] == f'{{"company":"{REALM}"}}'
        )
    door.firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    door.firm.rig.sync()
    assert len(door.firm.rig.direct_costs()) == 1


def test_S111_F25_the_wrong_company_is_refused_with_both_ids_and_nothing_changes(
    door: Door, measured: Callable[[str], None]
) -> None:
    door.firm.rig.qbo.switch(authorize_realm=OTHER)
    before, mark = door.stored(), door.firm.rig.qbo.mark()
    told = door.consent("--yes")
    assert told.code == 2
    last = told.err.splitlines()[-1]
    assert OTHER in last
    assert REALM in last
    assert door.stored() == before
    assert door.token_calls(mark) == 0
    measured(f"F25 another company: refused, {door.token_calls(mark)} codes used, 0 credentials changed")


def test_a_person_who_declines_at_intuit_changes_nothing(door: Door) -> None:
    door.firm.rig.qbo.switch(authorize_error="access_denied")
    before = door.stored()
    told = door.consent("--yes")
    assert (told.code, door.stored()) == (2, before)
    assert "access_denied" in told.err


@dataclass
class Browser:
    """What a browser does, without its looks: it keeps cookies, follows redirects and sends forms."""

    opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    )

    def open(self, address: str, form: dict[str, str] | None = None) -> str:
        body = None if form is None else urlencode(form).encode()
        with self.opener.open(address, body, timeout=60) as shown:
            return str(shown.read().decode())


def token_of(page: str) -> str:
    found = re.search(r'name="token" value="([\w-]{43})"', page)
    assert found, page
    return found[1]


def test_T11_the_browser_that_consented_is_shown_the_company_and_asked(door: Door) -> None:
    before, _ = door.stored()
    ended, address = door.begin()
    callback, person, stranger = door.firm.rig.connection.qbo.redirect_url, Browser(), Browser()
    page = person.open(address)
    assert "<strong>Acme Builders</strong>" in page
    assert f"<dd>{REALM}</dd>" in page
    assert door.stored()[0] == before, "nothing is stored before it is confirmed"
    # Whoever else finds the page is shown nothing and can confirm nothing, even with the token of the form.
    assert "Acme" not in stranger.open(f"{callback}/done")
    for browser, form in (
        (stranger, {"token": token_of(page), "answer": "yes"}),
        (person, {"token": "x" * 43, "answer": "yes"}),
        (person, {"answer": "yes"}),
    ):
        with pytest.raises(HTTPError, match="400") as refused:
            browser.open(f"{callback}/confirm", form)
        refused.value.close()
    assert door.stored()[0] == before
    last = person.open(f"{callback}/confirm", {"token": token_of(page), "answer": "yes"})
    assert "Acme Builders is connected to acme." in last
    assert ended().code == 0
    assert door.stored()[0].refresh_token != before.refresh_token


def test_a_company_that_is_not_confirmed_is_not_stored(door: Door) -> None:
    before = door.stored()
    ended, address = door.begin()
    person = Browser()
    page = person.open(address)
    callback = door.firm.rig.connection.qbo.redirect_url
    last = person.open(f"{callback}/confirm", {"token": token_of(page), "answer": "no"})
    assert "Not connected: not confirmed: nothing was stored" in last
    told = ended()
    assert (told.code, door.stored()) == (2, before)
    assert "not confirmed" in told.err


def test_S111_the_browser_too_is_told_of_the_wrong_company(door: Door) -> None:
    door.firm.rig.qbo.switch(authorize_realm=OTHER)
    ended, address = door.begin()
    page = Browser().open(address)
    assert f"the company that was chosen is {OTHER}" in page
    assert "<form" not in page
    assert ended().code == 2


def test_an_exchange_that_intuit_refuses_is_one_sentence_and_leaves_the_old_grant(door: Door) -> None:
    before = door.stored()
    door.keys.write_text(json.dumps({"client_id": "sandbox-client", "client_secret": "wrong"}))
    told = door.consent("--yes")
    assert (told.code, door.stored()) == (2, before)
    assert "does not take client id and secret" in told.err
    assert "Traceback" not in told.err


def test_T11_an_answer_with_another_state_is_refused_and_the_true_one_still_taken(door: Door) -> None:
    ended, address = door.begin("--yes")
    callback = door.firm.rig.connection.qbo.redirect_url
    with pytest.raises(HTTPError, match="400") as refused:
        urllib.request.urlopen(f"{callback}?code=AB1&state=stolen&realmId={REALM}", timeout=10)
    refused.value.close()
    with urllib.request.urlopen(address, timeout=30) as shown:
        assert shown.status == 200
    assert ended().code == 0


def test_on_a_server_without_a_browser_the_redirected_address_is_pasted(door: Door) -> None:
    door.firm.rig.configure(qbo={"redirect_url": "https://books.acme.example/qbo"})
    before = door.stored()
    pasted = f"https://books.acme.example/qbo?code=AB1&state=guessed&realmId={REALM}\n"
    told = door.firm.shell(
        "connect", "qbo", "acme", "--credentials", str(door.keys), "--code", "--yes", answers=pasted
    )
    assert (told.code, door.stored()) == (2, before)
    assert "not the answer to this request" in told.err


def test_the_pasted_address_of_the_true_consent_connects(door: Door) -> None:
    door.firm.rig.configure(qbo={"redirect_url": "https://books.acme.example/qbo"})  # nobody listens there
    before, _ = door.stored()
    arguments = ("connect", "qbo", "acme", "--credentials", str(door.keys), "--yes")
    process = subprocess.Popen(
        [str(PROGRAM), *arguments],
        env=door.firm.shell.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        address = next(row.strip() for row in process.stderr if row.startswith("  http"))
        place = urlsplit(address)
        with closing(http.client.HTTPConnection(place.netloc, timeout=30)) as browser:
            browser.request("GET", f"{place.path}?{place.query}")
            redirected = browser.getresponse().headers["Location"]
        out, err = process.communicate(f"{redirected}\n", timeout=60)
    assert process.returncode == 0, err
    assert "Next: ml-connector ping acme" in out
    assert door.stored()[0].refresh_token != before.refresh_token


def test_S110_F23_a_dead_grant_lets_work_wait_and_a_new_consent_lets_it_go_on_by_itself(door: Door) -> None:
    firm, rig = door.firm, door.firm.rig
    rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    rig.sync()
    vault_of(rig.home, rig.engine).put("acme", "qbo", DEAD)
    rig.bookkeeper.bill("4472", [line("300.00", item="101")])
    first = firm.shell("sync", "acme")
    assert first.code == 1
    mark = rig.qbo.mark()
    second = firm.shell("sync", "acme")
    sentence = "QuickBooks must be connected again: run `ml-connector connect qbo acme`"
    assert sentence in second.out
    assert rig.qbo.journal(mark) == []  # no call at all
    (standing,) = firm.shell("status", "--json").document()
    assert {grant["system"]: grant["state"] for grant in standing["grants"]} == {
        "qbo": "reconnect_needed",
        "procore": "connected",
    }
    assert f"acme: {sentence}" in firm.shell("status").out
    cursor = standing["read_to"]

    assert door.consent("--yes").code == 0
    (standing,) = firm.shell("status", "--json").document()
    assert standing["grants"][0]["to_do"] == ""
    assert standing["read_to"] == cursor  # nothing is read twice and nothing is left out
    rig.sync()
    assert sorted(cost["grand_total"] for cost in rig.direct_costs()) == ["1250.00", "300.00"]


def test_procore_is_connected_by_the_keys_of_its_service_account(door: Door) -> None:
    told = door.firm.shell("connect", "procore", "acme", "--credentials", str(door.keys), "--yes", "--json")
    assert told.code == 0, told
    assert (told.document()["company"], told.document()["name"]) == (str(COMPANY), "Acme Builders")
    assert "3 projects can be seen" in told.err
    kept, state = vault_of(door.firm.rig.home, door.firm.rig.engine).get("acme", "procore")
    assert (kept.company, state, kept.access_token != "") == (str(COMPANY), State.CONNECTED, True)
    assert "sandbox-secret" not in told.out + told.err


def test_linked_projects_that_procore_does_not_permit_are_named(door: Door) -> None:
    door.firm.rig.procore.load(permitted_projects=[{"project_ids": [int(HARBOR)]}])
    told = door.firm.shell("connect", "procore", "acme", "--credentials", str(door.keys), "--yes")
    assert told.code == 0
    assert "1 project can be seen; linked and not permitted: 102, 103." in told.err
    assert ELM == "102"


@pytest.mark.parametrize(
    ("keys", "company", "sentence"),
    [
        ({"client_secret": "wrong"}, COMPANY, "does not take client id and secret"),
        ({}, 7777, "7777"),
    ],
    ids=["wrong secret", "app not installed there"],
)
def test_procore_refusals_are_one_sentence_and_store_nothing(
    keys: dict[str, str], company: int, sentence: str, door: Door
) -> None:
    vault = vault_of(door.firm.rig.home, door.firm.rig.engine)
    before = vault.get("acme", "procore")
    content = {"client_id": "sandbox-client", "client_secret": "sandbox-secret", **keys}
    door.keys.write_text(json.dumps(content))
    door.firm.rig.configure(procore={"company_id": company})
    told = door.firm.shell("connect", "procore", "acme", "--credentials", str(door.keys), "--yes")
    assert sentence in told.sentence()
    assert vault.get("acme", "procore") == before


def test_keys_come_from_a_file_the_environment_or_standard_input_and_never_from_an_argument(
    door: Door,
) -> None:
    shell = door.firm.shell
    with door.firm.rig.engine.begin() as db:
        db.execute(text("delete from ml_connector.vault where system = 'procore'"))
    asked = shell("connect", "procore", "acme", "--yes", answers="sandbox-client\nsandbox-secret\n")
    assert asked.code == 0, asked
    again = shell("connect", "procore", "acme", "--yes")  # the stored keys
    assert again.code == 0, again
    none = shell("connect", "procore", "acme", "--yes", "--ask")
    assert "client id and client secret are needed" in none.sentence()
    shell.settings = {
        "ML_CONNECTOR_PROCORE_CLIENT_ID": "sandbox-client",
        "ML_CONNECTOR_PROCORE_CLIENT_SECRET": "wrong",
    }
    assert "does not take client id" in shell("connect", "procore", "acme", "--yes").sentence()
    door.keys.chmod(0o644)
    refused = shell("connect", "procore", "acme", "--yes", "--credentials", str(door.keys))
    assert "is open to others" in refused.sentence()


def test_T9_a_connection_whose_file_now_names_another_company_does_not_use_the_stored_grant(
    door: Door,
) -> None:
    rig = door.firm.rig
    assert door.consent("--yes").code == 0
    rig.configure(qbo={"realm_id": OTHER})
    mark = rig.qbo.mark()
    with pytest.raises(SetupError, match=f"those of company {REALM}, and the connection is for {OTHER}"):
        rig.read()
    assert rig.qbo.journal(mark) == []
    rig.configure(qbo={"realm_id": REALM})
