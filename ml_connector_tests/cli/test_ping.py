"""`ping`: what is fine, what is to fix and how; nothing is written anywhere."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from ml_connector.cli.main import app
from ml_connector.orchestration.clients import vault_of
from ml_connector.store.vault import Credentials
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.cli.shell import wait_for
from ml_connector_tests.cli.test_connect import free_port
from ml_connector_tests.rig import ELM, HARBOR, REALM, Rig, line

Checks = dict[tuple[str, str], dict[str, Any]]


def ping(firm: Firm, *options: str) -> tuple[int, Checks]:
    """Exit code with --json, and the checks by what they are of; of several the worst."""
    shell = firm.shell
    told = CliRunner().invoke(
        app,
        ["ping", "acme", "--json", *options],
        env={"ML_CONNECTOR_HOME": str(shell.home), "ML_CONNECTOR_DATABASE_URL": shell.database_url},
    )
    assert isinstance(told.exception, SystemExit | None), told.output
    document = json.loads(told.stdout)
    assert document["ok"] == (told.exit_code == 0), told
    worst = ["failed", "warning", "ok"]
    rows = sorted(document["checks"], key=lambda row: worst.index(row["result"]), reverse=True)
    assert all((row["fix"] == "") == (row["result"] == "ok") for row in rows)
    return told.exit_code, {(row["of"], row["what"]): row for row in rows}


@pytest.fixture
def ready(firm: Firm) -> Firm:
    """The firm with its links on open projects alone, and open billing periods there."""
    firm.rig.publish(projects=f"customer,project,note\n61,{HARBOR},\n62,{ELM},\n")
    month = {"start_date": "2026-11-01", "end_date": "2026-11-30", "due_date": "2026-11-30"}
    for number, project in enumerate((HARBOR, ELM), start=1):
        firm.rig.procore.load(
            billing_periods=[
                {"id": 7000 + number, "project_id": int(project), "status": "open", "month": 11, **month}
            ]
        )
    return firm


def test_a_connection_that_can_work_says_so_and_nothing_is_written(ready: Firm) -> None:
    rig = ready.rig
    told = ready.shell("ping", "acme", "--receiver-port", str(free_port()))
    assert told.code == 0, told
    lines = told.out.splitlines()
    assert f"ok    QuickBooks, company: Acme Builders ({REALM})" in lines
    assert "ok    QuickBooks, currency: USD" in lines
    assert "ok    QuickBooks, accounts: 12 accounts" in lines
    assert "ok    Procore, company: Acme Builders (5001), taken in the header Procore-Company-Id" in lines
    assert any(
        row.startswith("ok    Procore, project: Harbor Clinic (101): 9 budget codes; readable: ")
        for row in lines
    )
    assert "Direct Costs, Commitments, Subcontractor Invoices, Directory" in told.out
    assert any(
        row.startswith(
            "ok    Procore, rights: reading is checked; writing shows with the first posted record"
        )
        for row in lines
    )
    assert lines[-1] == "acme can work; 1 to look at."
    assert told.err == ""
    assert rig.procore.writes() == []
    assert [call for call in rig.qbo.writes() if "/tokens/" not in call] == []
    with rig.engine.connect() as db:
        assert db.scalar(text("select count(*) from ml_connector.landing")) == 0
    calls = len(rig.procore.calls())
    print(f"ping of two projects: {calls} calls to Procore, {len(rig.qbo.calls())} to QuickBooks")  # noqa: T201
    assert calls <= 4 + 6 * 2


def not_connected(rig: Rig) -> None:
    with rig.engine.begin() as db:
        db.execute(text("delete from ml_connector.vault where system = 'qbo'"))


def dead_grant(rig: Rig) -> None:
    dead = Credentials("sandbox-client", "sandbox-secret", refresh_token="RT1-revoked")
    vault_of(rig.home, rig.engine).put("acme", "qbo", dead)


def wrong_keys(rig: Rig) -> None:
    vault_of(rig.home, rig.engine).put("acme", "procore", Credentials("sandbox-client", "wrong"))


def soon_over(rig: Rig) -> None:
    rig.qbo.switch(hard_expiry_seconds=5 * 86_400)


def other_currency(rig: Rig) -> None:
    rig.configure(qbo={"home_currency": "CAD"})


def wrong_clock(rig: Rig) -> None:
    rig.procore.clock(offset_seconds=-300)


def no_cdc(rig: Rig) -> None:
    rig.qbo.fault({"route": "GET /v3/company/*/cdc", "fault": "status", "args": {"status": 400}})


def no_payables(rig: Rig) -> None:
    rig.qbo.load(
        realm=REALM, Account=[{"Id": "33", "Name": "x", "FullyQualifiedName": "x", "AccountType": "Bank"}]
    )


def closed_project(rig: Rig) -> None:
    rig.publish(projects="customer,project,note\n61,101,\n63,103,\n")


def hidden_project(rig: Rig) -> None:
    rig.procore.load(permitted_projects=[{"project_ids": [int(HARBOR)]}])


def tool_off(rig: Rig) -> None:
    rig.procore.fault(
        {
            "route": "GET /rest/v1.0/commitments",
            "fault": "status",
            "args": {"status": 403, "body": {"errors": "Tool not enabled"}},
        }
    )


def no_period(rig: Rig) -> None:
    rig.procore.fault(
        {
            "route": "GET /rest/v1.0/projects/*/billing_periods",
            "fault": "status",
            "args": {"status": 200, "body": []},
        }
    )


def nothing_linked(rig: Rig) -> None:
    rig.publish(projects="customer,project,note\n")


def foreign_vendor(rig: Rig) -> None:
    rig.procore.load(vendors=[{"id": 900, "name": "Granite", "company_id": 5001, "origin_id": "sage-300-77"}])


def foreign_cost(rig: Rig) -> None:
    rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    rig.sync()
    (cost,) = rig.direct_costs()
    rig.procore.load(
        direct_costs=[{**cost, "id": 9_900, "origin_id": f"qbo:{REALM[::-1]}:bill:1:101", "line_items": []}]
    )


@pytest.mark.parametrize(
    ("spoil", "check", "result", "found", "fix"),
    [
        (not_connected, ("QuickBooks", "token"), "failed", "not connected", "ml-connector connect qbo acme"),
        (dead_grant, ("QuickBooks", "token"), "failed", "not taken", "connect again"),
        (wrong_keys, ("Procore", "token"), "failed", "not taken", "connect again"),
        (soon_over, ("QuickBooks", "token"), "warning", "ends in 5 days", "ml-connector connect qbo acme"),
        (other_currency, ("QuickBooks", "currency"), "failed", "kept in USD", "qbo.home_currency: USD"),
        (wrong_clock, ("Procore", "clock"), "failed", "ahead of Procore", "NTP"),
        (no_cdc, ("QuickBooks", "changes"), "failed", "HTTP 400", "company administrator"),
        (
            closed_project,
            ("Procore", "project"),
            "warning",
            "Depot Lofts (103) is not active",
            "projects.csv",
        ),
        (hidden_project, ("Procore", "project"), "failed", "project 102", "permitted projects"),
        (tool_off, ("Procore", "Commitments"), "failed", "HTTP 403: Tool not enabled", "switch the tool"),
        (no_period, ("Procore", "billing periods"), "warning", "no open one", "open one in Procore"),
        (nothing_linked, ("Procore", "projects"), "warning", "none is linked", "projects publish acme"),
        (
            foreign_vendor,
            ("Procore", "origin ids"),
            "failed",
            "sage-300-77",
            "switch the other ERP connector off",
        ),
        (
            foreign_cost,
            ("Procore", "origin ids"),
            "failed",
            REALM[::-1],
            "switch the other ERP connector off",
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_wrong_is_named_with_what_to_do(
    spoil: Callable[[Rig], None], check: tuple[str, str], result: str, found: str, fix: str, ready: Firm
) -> None:
    spoil(ready.rig)
    code, checks = ping(ready, "--receiver-port", str(free_port()))
    row = checks[check]
    assert row["result"] == result, checks
    assert found in row["found"]
    assert fix in row["fix"]
    assert code == (1 if result == "failed" else 0)
    # One thing that is wrong is one: the other system is checked all the same.
    assert ("Webhooks", "verifier token") in checks
    assert ("Procore", "token") in checks


@contextmanager
def receiver(rig: Rig, *, realms: str) -> Iterator[int]:
    """A receiver of the home, on a port of its own."""
    port = free_port()
    rig.home.receiver.mkdir(parents=True, exist_ok=True)
    token = rig.home.receiver / "verifier_token"
    token.touch(0o600)
    token.write_text("verifier")
    (rig.home.receiver / "realms.json").write_text(realms)
    command = [
        sys.executable,
        "-m",
        "ml_connector.receiver.main",
        "--home",
        str(rig.home.root),
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _accepts(port), seconds=60)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _accepts(port: int) -> bool:
    import socket

    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.processes
def test_the_receiver_is_asked_for_its_health_and_must_know_the_company(ready: Firm) -> None:
    with receiver(ready.rig, realms=f'{{"{REALM}": "acme"}}') as port:
        _, checks = ping(ready, "--receiver-port", str(port))
        assert checks["Webhooks", "receiver"]["found"] == f"answers on port {port}, and knows the company"
        (ready.rig.home.receiver / "realms.json").write_text("{}")
        _, checks = ping(ready, "--receiver-port", str(port))
        assert checks["Webhooks", "receiver"]["result"] == "warning"
        (ready.rig.home.receiver / "verifier_token").chmod(0o644)
        _, checks = ping(ready, "--receiver-port", str(port))
        assert "has mode 0644" in checks["Webhooks", "verifier token"]["found"]


@pytest.mark.processes
def test_the_public_address_of_the_webhooks_is_tried_without_a_signature(ready: Firm) -> None:
    with receiver(ready.rig, realms=json.dumps({REALM: "acme"})) as port:
        here = f"http://127.0.0.1:{port}"
        for url, result, found in (
            (f"{here}/webhooks/qbo", "ok", "reaches the receiver"),
            (f"{here}/webhooks", "failed", "answers HTTP 404"),
            (f"http://127.0.0.1:{free_port()}/webhooks/qbo", "failed", "webhooks: "),
            ("http://books.example.com/webhooks/qbo", "failed", "https://"),
        ):
            code, checks = ping(ready, "--receiver-port", str(port), "--webhook-url", url)
            row = checks["Webhooks", "public address"]
            assert row["result"] == result, row
            assert found in row["found"]
            assert code == (0 if result == "ok" else 1)
    assert list(ready.rig.home.inbox.iterdir()) == []
