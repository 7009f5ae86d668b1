"""ProcoreClient as it is opened in production, against the imitation of Procore."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine

from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.procore.catalog import fetch_catalog
from ml_connector.procore.client import Accepted, Missing, ProcoreClient, Refused, open_procore
from ml_connector.procore.directory import fetch_project_vendor_ids, fetch_vendors
from ml_connector.procore.models import BudgetCode
from ml_connector.sandbox.assembly import open_server
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector.settings import Connection, ProcoreSettings, QboSettings
from ml_connector.store.database import open_engine
from ml_connector.store.keys import make_key_ring
from ml_connector.store.vault import Credentials, Vault
from ml_connector.transport.ports import SYSTEM_CLOCK, Clock
from ml_connector.transport.session import Bounds
from ml_connector.transport.wire import Timeouts

COMPANY = 4_268_001
OPEN, CLOSED = 101, 103
QUICK = Bounds(Timeouts(connect=2.0, read=1.0, total=2.0), patience=8.0, body=4_000_000)
FIRM: dict[str, list[dict[str, Any]]] = {
    "companies": [{"id": COMPANY, "name": "Harbor Builders"}],
    "projects": [
        {"id": OPEN, "company_id": COMPANY, "name": "Clinic", "budget_codes": ["03-3000.M", "06-1000.L"]},
        {
            "id": CLOSED,
            "company_id": COMPANY,
            "name": "Lofts",
            "budget_codes": ["03-3000.M"],
            "active": False,
        },
    ],
    "vendors": [
        {"id": 8, "company_id": COMPANY, "name": "Granite Supply", "project_ids": [OPEN]},
        {"id": 10, "company_id": COMPANY, "name": "Idle Ltd", "is_active": False},
    ],
}
SYNC = "/rest/v1.0/vendors/sync"


@dataclass
class Company:
    """The imitation, and the connection that leads to it."""

    url: str
    connection: Connection
    engine: Engine
    vault: Vault

    def open(self, *, ahead: timedelta = timedelta()) -> ProcoreClient:
        """A client whose clock is `ahead` of ours."""
        clock = Clock(now=lambda: SYSTEM_CLOCK.now() + ahead)
        return open_procore(self.connection, engine=self.engine, vault=self.vault, bounds=QUICK, clock=clock)

    def control(self, path: str, body: Any) -> None:
        answer = requests.post(f"{self.url}/_control/{path}", json=body, timeout=10)
        assert answer.status_code == 200, answer.text

    def journal(self, path: str) -> list[dict[str, Any]]:
        entries = requests.get(f"{self.url}/_control/journal?since=0", timeout=10).json()
        return [entry for entry in entries if entry["path"] == path]

    def vendors(self) -> list[dict[str, Any]]:
        return list(requests.get(f"{self.url}/_control/records/vendors", timeout=10).json())


@pytest.fixture
def company(database_url: str, tmp_path: Path) -> Iterator[Company]:
    server = open_server(ProcoreVendor, name="procore", directory=tmp_path / "procore")
    server.start()
    engine = open_engine(database_url)
    vault = Vault(engine, make_key_ring(tmp_path / "ring.json"), rescue_folder=tmp_path / "rescue")
    vault.put("alpha", "procore", Credentials("sandbox-client", "sandbox-secret"))
    connection = Connection(
        name="alpha",
        qbo=QboSettings(realm_id="1"),
        procore=ProcoreSettings(
            company_id=COMPANY, api_url=server.url, token_url=f"{server.url}/oauth/token"
        ),
        time_zone="America/Denver",
        start_date=date(2026, 1, 1),
    )
    made = Company(server.url, connection, engine, vault)
    made.control("load", FIRM)
    yield made
    engine.dispose()
    server.stop()


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"origin_id": f"qbo:1:vendor:{name}", "name": name} for name in names]


def test_the_catalog_has_open_and_closed_projects_and_the_codes_asked_for(company: Company) -> None:
    client = company.open()
    projects = fetch_catalog(client, COMPANY, [str(OPEN)]).projects
    assert {project.id: (project.name, project.active) for project in projects.values()} == {
        "101": ("Clinic", True),
        "103": ("Lofts", False),
    }
    codes = projects["101"].codes
    assert set(codes) == {("03-3000", "M"), ("06-1000", "L")}
    assert isinstance(codes["03-3000", "M"], BudgetCode)
    assert client.calls.total() == 2
    assert client.token_calls == {"POST /oauth/token": 1}


def test_the_directory_has_active_and_inactive_vendors_and_who_is_on_a_project(company: Company) -> None:
    client = company.open()
    assert {vendor.id: vendor.active for vendor in fetch_vendors(client)} == {8: True, 10: False}
    assert fetch_project_vendor_ids(client, str(OPEN)) == {8}
    accepted = client.sync(SYNC, {"company_id": COMPANY}, rows("new")).settle(rows("new"))["qbo:1:vendor:new"]
    assert isinstance(accepted, Accepted)
    for _ in range(2):
        client.add_project_vendor(str(OPEN), accepted.entity["id"])
    assert fetch_project_vendor_ids(client, str(OPEN)) == {8, accepted.entity["id"]}


def test_pages_bring_every_row_once(company: Company) -> None:
    client = company.open()
    many = rows(*(f"v{number}" for number in range(25)))
    client.sync(SYNC, {"company_id": COMPANY}, many)
    pages = list(client.pages("/rest/v1.0/vendors", {"company_id": COMPANY}, per_page=10))
    assert [len(page) for page in pages] == [10, 10, 6]
    assert len({row["id"] for page in pages for row in page}) == 26


def test_F15_rows_of_one_sync_are_settled_each_on_its_own(company: Company) -> None:
    company.control("switches", {"sync_order": "reversed"})
    faults = [{"index": 1}, {"index": 2, "lost": True}]
    company.control(
        "faults", [{"route": f"PATCH {SYNC}", "fault": "item_fault", "args": faults[0], "nth": 1}]
    )
    company.control(
        "faults", [{"route": f"PATCH {SYNC}", "fault": "item_fault", "args": faults[1], "nth": 2}]
    )
    sent = rows("a", "b", "c", "d")
    client = company.open()
    got = client.sync(SYNC, {"company_id": COMPANY}, sent).settle(sent)
    assert [type(outcome) for outcome in got.values()] == [Accepted, Refused, Accepted, Accepted]
    lost = client.sync(SYNC, {"company_id": COMPANY}, sent).settle(sent)
    assert [type(outcome) for outcome in lost.values()] == [Accepted, Accepted, Missing, Accepted]
    refused = got["qbo:1:vendor:b"]
    assert isinstance(refused, Refused)
    assert refused.text


def test_F04_an_answer_lost_after_the_work_is_unknown_and_sending_again_makes_no_double(
    company: Company,
) -> None:
    company.control("faults", {"route": f"PATCH {SYNC}", "nth": 1, "fault": "accept_then_drop"})
    client = company.open()
    with pytest.raises(OutcomeUnknown):
        client.sync(SYNC, {"company_id": COMPANY}, rows("a"))
    assert len(company.journal(SYNC)) == 1
    client.sync(SYNC, {"company_id": COMPANY}, rows("a"))
    assert sum(vendor["name"] == "a" for vendor in company.vendors()) == 1


UNCLEAR: dict[str, dict[str, Any]] = {
    "F02 no answer": {"fault": "delay", "args": {"seconds": 3, "when": "after"}},
    "F03 drip": {"fault": "drip", "args": {"bytes_per_second": 20}},
    "F07 truncated": {"fault": "truncate", "args": {"bytes": 40}},
    "F07 reset": {"fault": "reset", "args": {"when": "after"}},
    "F08 malformed": {"fault": "body", "args": {"kind": "malformed"}},
    "F08 html": {"fault": "body", "args": {"kind": "html"}},
    "F08 empty": {"fault": "body", "args": {"kind": "empty"}},
    "F08 nan": {"fault": "body", "args": {"kind": "nan"}},
    "F08 doubled keys": {"fault": "body", "args": {"kind": "dupkeys"}},
    "F10 gzip bomb": {"fault": "body", "args": {"kind": "gzipbomb", "megabytes": 20}},
    "F12 500": {"fault": "status", "args": {"status": 500}},
}


@pytest.mark.parametrize("rule", UNCLEAR.values(), ids=UNCLEAR)
def test_a_write_with_an_unclear_answer_is_unknown_and_not_repeated(
    company: Company, rule: dict[str, Any]
) -> None:
    company.control("faults", {"route": f"PATCH {SYNC}", **rule})
    with pytest.raises(OutcomeUnknown):
        company.open().sync(SYNC, {"company_id": COMPANY}, rows("a"))
    assert len(company.journal(SYNC)) == 1


def test_F09_a_redirected_write_is_unknown_and_the_other_host_hears_nothing(company: Company) -> None:
    rule = {"route": f"PATCH {SYNC}", "fault": "redirect", "args": {"url": f"{company.url}/elsewhere"}}
    company.control("faults", rule)
    with pytest.raises(OutcomeUnknown):
        company.open().sync(SYNC, {"company_id": COMPANY}, rows("a"))
    assert company.journal("/elsewhere") == []


def test_a_503_with_retry_after_was_not_processed_and_is_sent_again(company: Company) -> None:
    rule = {"fault": "retry_after", "args": {"retry_after": 1, "status": 503}, "nth": 1}
    company.control("faults", {"route": f"PATCH {SYNC}", **rule})
    client = company.open()
    client.sync(SYNC, {"company_id": COMPANY}, rows("a"))
    assert client.calls == {f"PATCH {SYNC}": 2}


def test_F11_a_used_up_limit_holds_every_client_until_the_servers_reset(company: Company) -> None:
    company.control("switches", {"hourly_limit": 2})
    company.control("clock", {"offset_seconds": -7200})
    client = company.open()
    client.get("/rest/v1.0/me")
    client.get("/rest/v1.0/me")
    with pytest.raises(TransientError) as caught:
        company.open().get("/rest/v1.0/me")
    assert len(company.journal("/rest/v1.0/me")) == 2
    wait = caught.value.not_before
    assert wait is not None
    assert timedelta(minutes=59) < wait - SYSTEM_CLOCK.now() < timedelta(minutes=61)


def test_a_token_is_shared_and_renewed_at_four_fifths_of_its_life(company: Company) -> None:
    company.open().get("/rest/v1.0/me")
    company.open(ahead=timedelta(minutes=71)).get("/rest/v1.0/me")
    assert len(company.journal("/oauth/token")) == 1
    company.open(ahead=timedelta(minutes=73)).get("/rest/v1.0/me")
    assert len(company.journal("/oauth/token")) == 2


def test_wrong_credentials_need_a_person_and_are_not_asked_again(company: Company) -> None:
    company.vault.put("alpha", "procore", Credentials("sandbox-client", "wrong"))
    for _ in range(3):
        with pytest.raises(ReconnectNeeded):
            company.open().get("/rest/v1.0/me")
    assert len(company.journal("/oauth/token")) == 1


def test_F06_a_record_that_is_hidden_or_gone_is_an_error(company: Company) -> None:
    with pytest.raises(PermanentError) as caught:
        company.open().get("/rest/v1.0/vendors/999", {"company_id": COMPANY})
    assert caught.value.status == 404
