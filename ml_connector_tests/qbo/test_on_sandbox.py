"""QboClient as it is opened in production, against the imitation of QBO."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine

from ml_connector.errors import PermanentError, ReconnectNeeded, TransientError
from ml_connector.qbo.client import BATCHES_PER_MINUTE, CdcTooOld, QboClient, escape, open_qbo
from ml_connector.qbo.models import Entity
from ml_connector.sandbox.assembly import open_qbo as open_imitation
from ml_connector.settings import Connection, ProcoreSettings, QboSettings
from ml_connector.store.database import open_engine
from ml_connector.store.keys import make_key_ring
from ml_connector.store.vault import Credentials, State, Vault
from ml_connector.transport.call import CallRefused
from ml_connector.transport.ports import SYSTEM_CLOCK, Clock
from ml_connector.transport.session import Bounds
from ml_connector.transport.wire import Timeouts

REALM = "9341450000000001"
QUICK = Bounds(Timeouts(connect=2.0, read=1.0, total=2.0), patience=8.0, body=4_000_000)


@dataclass
class Company:
    """The imitation, the connection that leads to it, and the bookkeeper's hand."""

    url: str
    connection: Connection
    engine: Engine
    vault: Vault

    def open(self, *, ahead: timedelta = timedelta()) -> QboClient:
        """A client whose clock is `ahead` of ours."""
        clock = Clock(now=lambda: SYSTEM_CLOCK.now() + ahead)
        return open_qbo(self.connection, engine=self.engine, vault=self.vault, bounds=QUICK, clock=clock)

    def control(self, path: str, body: Any) -> None:
        answer = requests.post(f"{self.url}/_control/{path}", json=body, timeout=10)
        assert answer.status_code == 200, answer.text

    def journal(self) -> list[dict[str, Any]]:
        return list(requests.get(f"{self.url}/_control/journal?since=0", timeout=10).json())

    def vendor(self, name: str) -> None:
        """A new vendor, made with the token that the client has stored."""
        token = self.vault.get("alpha", "qbo")[0].access_token
        answer = requests.post(
            f"{self.url}/v3/company/{REALM}/vendor",
            json={"DisplayName": name},
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text


@pytest.fixture
def company(database_url: str, tmp_path: Path) -> Iterator[Company]:
    server = open_imitation(directory=tmp_path / "qbo")
    server.start()
    engine = open_engine(database_url)
    vault = Vault(engine, make_key_ring(tmp_path / "ring.json"), rescue_folder=tmp_path / "rescue")
    vault.put("alpha", "qbo", Credentials("sandbox-client", "sandbox-secret", refresh_token="RT1-sandbox"))
    connection = Connection(
        name="alpha",
        qbo=QboSettings(
            realm_id=REALM, api_url=server.url, token_url=f"{server.url}/oauth2/v1/tokens/bearer"
        ),
        procore=ProcoreSettings(company_id=1),
        time_zone="America/Denver",
        start_date=SYSTEM_CLOCK.now().date(),
    )
    yield Company(server.url, connection, engine, vault)
    engine.dispose()
    server.stop()


def test_a_change_comes_by_cdc_and_the_next_cdc_from_its_server_time_brings_only_what_is_newer(
    company: Company,
) -> None:
    client = company.open()
    start = client.cdc([Entity.VENDOR, Entity.BILL], SYSTEM_CLOCK.now() - timedelta(days=1)).server_time
    company.vendor("O'Brien & Sons \\ Ltd")
    answer = client.cdc([Entity.VENDOR, Entity.BILL], start - timedelta(seconds=2))
    assert [row["DisplayName"] for row in answer.blocks[Entity.VENDOR]] == ["O'Brien & Sons \\ Ltd"]
    assert answer.blocks[Entity.BILL] == []
    assert not answer.truncated
    assert client.calls == {"GET /v3/company/{id}/cdc": 2}
    assert client.token_calls == {"POST /oauth2/v1/tokens/bearer": 1}


def test_a_name_with_quotes_and_backslashes_is_found_by_query(company: Company) -> None:
    client = company.open()
    client.preferences()
    for name in ("O'Brien & Sons", "Back\\slash", "Ends in \\"):
        company.vendor(name)
        rows = client.query(f"SELECT * FROM Vendor WHERE DisplayName = '{escape(name)}'").rows
        assert [row["DisplayName"] for row in rows] == [name]


def test_a_long_statement_gets_the_same_answer_as_a_short_one(company: Company) -> None:
    client = company.open()
    client.preferences()
    company.vendor("Elm")
    everything = client.query("SELECT * FROM Vendor ORDERBY Id")
    ids = (
        ",".join(repr(row["Id"]) for row in everything.rows)
        + ","
        + ",".join(f"'9{n:06}'" for n in range(900))
    )
    assert client.query(f"SELECT * FROM Vendor WHERE Id IN ({ids}) ORDERBY Id").rows == everything.rows
    assert client.calls["POST /v3/company/{id}/query"] == 1


def test_a_cdc_beyond_its_reach_is_told_apart(company: Company) -> None:
    with pytest.raises(CdcTooOld):
        company.open().cdc([Entity.BILL], SYSTEM_CLOCK.now() - timedelta(days=31))


def test_S101_a_batch_item_that_fails_once_is_read_again(company: Company) -> None:
    rule = {
        "route": "POST */batch",
        "fault": "batch_item_fault",
        "nth": 1,
        "args": {"index": 12, "code": "10000"},
    }
    company.control("faults", rule)
    client = company.open()
    answers = client.batch(["SELECT COUNT(*) FROM Vendor"] * 30)
    assert len({answer.total_count for answer in answers}) == 1
    assert all(answer.total_count is not None for answer in answers)
    assert client.calls == {"POST /v3/company/{id}/batch": 2}


def test_a_bad_statement_is_refused_with_its_code(company: Company) -> None:
    with pytest.raises(CallRefused) as caught:
        company.open().query("SELECT * FROM Custmoer")
    assert caught.value.fault.code == "4001"
    assert caught.value.request_id


def test_F13_a_token_that_the_vendor_drops_is_renewed_once_in_mid_run(company: Company) -> None:
    client = company.open()
    client.preferences()
    company.control(
        "faults", {"route": "GET */companyinfo/*", "fault": "status", "nth": 1, "args": {"status": 401}}
    )
    assert client.company_info()["CompanyName"]
    assert sum(client.token_calls.values()) == 2


def test_F20_a_single_use_refresh_token_is_carried_on(company: Company) -> None:
    company.control("switches", {"token": "single_use", "access_token_seconds": 1})
    for seconds in (0, 2, 4):
        company.control("clock", {"offset_seconds": seconds})
        company.open(ahead=timedelta(seconds=seconds)).preferences()
    credentials, state = company.vault.get("alpha", "qbo")
    assert state is State.CONNECTED
    assert credentials.previous_refresh_token != credentials.refresh_token != "RT1-sandbox"


def test_F23_a_revoked_grant_needs_a_person_and_is_not_asked_again(company: Company) -> None:
    company.vault.put("alpha", "qbo", Credentials("sandbox-client", "sandbox-secret", refresh_token="stolen"))
    for _ in range(3):
        with pytest.raises(ReconnectNeeded):
            company.open().preferences()
    asked = [entry for entry in company.journal() if entry["path"] == "/oauth2/v1/tokens/bearer"]
    assert len(asked) == 1


READ_FAULTS: dict[str, dict[str, Any]] = {
    "F02 no answer": {"fault": "delay", "args": {"seconds": 3}},
    "F03 drip": {"fault": "drip", "args": {"bytes_per_second": 20}},
    "F07 truncated": {"fault": "truncate", "args": {"bytes": 40}},
    "F07 reset": {"fault": "reset", "args": {"when": "middle"}},
    "F08 malformed": {"fault": "body", "args": {"kind": "malformed"}},
    "F08 html": {"fault": "body", "args": {"kind": "html"}},
    "F08 empty": {"fault": "body", "args": {"kind": "empty"}},
    "F08 nan": {"fault": "body", "args": {"kind": "nan"}},
    "F08 doubled keys": {"fault": "body", "args": {"kind": "dupkeys"}},
    "F12 503": {"fault": "status", "args": {"status": 503}},
}


@pytest.mark.parametrize("rule", READ_FAULTS.values(), ids=READ_FAULTS)
def test_a_read_survives_one_spoiled_answer(company: Company, rule: dict[str, Any]) -> None:
    company.control("faults", {"route": "GET */query", "nth": 1, **rule})
    client = company.open()
    assert client.query("SELECT COUNT(*) FROM Vendor").total_count is not None
    assert client.calls == {"GET /v3/company/{id}/query": 2}


def test_F10_a_gzip_bomb_is_refused_once(company: Company) -> None:
    company.control(
        "faults", {"route": "GET */query", "fault": "body", "args": {"kind": "gzipbomb", "megabytes": 20}}
    )
    client = company.open()
    with pytest.raises(PermanentError, match="too large"):
        client.query("SELECT COUNT(*) FROM Vendor")
    assert client.calls == {"GET /v3/company/{id}/query": 1}


def test_F11_a_throttled_company_is_left_alone_by_every_client(company: Company) -> None:
    company.control(
        "faults",
        {"route": "GET */preferences", "nth": 1, "fault": "retry_after", "args": {"retry_after": "absent"}},
    )
    with pytest.raises(TransientError) as caught:
        company.open().preferences()
    assert caught.value.not_before is not None
    other = company.open()
    with pytest.raises(TransientError):
        other.preferences()
    assert sum(entry["path"].endswith("/preferences") for entry in company.journal()) == 1


def test_batches_stay_within_quickbooks_own_limit_and_hold_up_no_other_call(company: Company) -> None:
    client = open_qbo(
        company.connection, engine=company.engine, vault=company.vault, bounds=replace(QUICK, patience=0.5)
    )
    for _ in range(BATCHES_PER_MINUTE // 2):
        client.batch(["SELECT COUNT(*) FROM Vendor"])
    with pytest.raises(TransientError) as caught:
        client.batch(["SELECT COUNT(*) FROM Vendor"])
    assert caught.value.not_before is not None
    assert client.query("SELECT COUNT(*) FROM Vendor").total_count is not None
    batches = [entry for entry in company.journal() if entry["path"].endswith("/batch")]
    assert len(batches) == BATCHES_PER_MINUTE // 2
