"""T6: a marker in every secret and in every field of the books, a whole road, and a search over all that is left behind."""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ml_connector.orchestration.clients import vault_of
from ml_connector.store.grants import PRODUCTS
from ml_connector.store.key_sources import key_source
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.cli.shell import Done
from ml_connector_tests.cli.test_connect import Door
from ml_connector_tests.cli.test_connect import door as door  # noqa: PLC0414 a fixture
from ml_connector_tests.rig import REALM, line

SECRET, PAYLOAD = "kanarienvogel", "zebrafink"


def marked_bill(firm: Firm, number: str, amount: str, **fields: Any) -> dict[str, Any]:
    """A bill whose every text carries the marker."""
    return firm.rig.bookkeeper.bill(
        f"{PAYLOAD}-{number}",
        [line(amount, description=f"{PAYLOAD} concrete", **fields)],
        vendor="91",
        PrivateNote=f"{PAYLOAD} note",
    )


def texts(firm: Firm) -> Iterator[tuple[str, str]]:
    """Every row of every table, ours and Dagster's, as text."""
    ours = "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
    with firm.rig.engine.connect() as db:
        for schema, name in db.execute(text(ours)).all():
            for row in db.scalars(text(f'select t::text from "{schema}"."{name}" t')):
                yield name, row


def files(folder: Path, *, leaving_out: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file() and not any(path.is_relative_to(other) for other in leaving_out):
            yield str(path), path.read_bytes().decode("utf-8", "replace")


def test_T6_no_secret_is_left_anywhere_and_no_payload_in_process_logs(door: Door) -> None:
    firm, rig = door.firm, door.firm.rig
    app = {
        "client_id": "canary",
        "client_secret": f"{SECRET}-qbo",
        "refresh_token": "RT1-x",
        "realms": [REALM],
    }
    rig.qbo.load(realm=REALM, App=[app])
    vendor = {**rig.qbo.live("Vendor")[0], "Id": "91", "DisplayName": f"{PAYLOAD} Supply", "SyncToken": "0"}
    rig.qbo.load(
        realm=REALM, Vendor=[{**vendor, "Notes": PAYLOAD, "TaxIdentifier": PAYLOAD, "AcctNum": PAYLOAD}]
    )
    door.keys.write_text(json.dumps({"client_id": "canary", "client_secret": f"{SECRET}-qbo"}))
    said: list[Done] = [door.consent("--yes")]

    def run(*arguments: str) -> Done:
        said.append(firm.shell(*arguments))
        return said[-1]

    marked_bill(firm, "1", "10.00", item="101")
    marked_bill(firm, "2", "20.00", account="7")
    assert run("sync", "acme").code == 0
    echo = {"status": 422, "body": {"errors": {"base": [f"{PAYLOAD} is locked"]}}}
    rig.procore.fault({"route": "PATCH */direct_costs/sync", "fault": "status", "args": echo})
    refused = marked_bill(firm, "3", "30.00", item="101")
    assert run("sync", "acme").code == 1
    rig.procore.no_faults()
    rig.configure(timing={"patience": 0.5})
    rig.qbo.fault({"route": "GET /v3/*", "fault": "body", "args": {"kind": "html"}})
    assert run("sync", "acme").code == 1
    rig.qbo.no_faults()
    assert run("replay", "acme", "--held").code == 0
    assert run("ping", "acme").code in (0, 1)
    for command in (
        ("holds", "acme"),
        ("find", "acme", PAYLOAD),
        ("audit", "acme", f"bill:{refused['Id']}"),
        ("audit", "export", "acme"),
        ("status",),
    ):
        run(*command)
    exports = rig.home.root.parent / "exports"
    exports.mkdir()
    assert run("holds", "acme", "--sheet", str(exports / "holds.csv")).code == 0
    run("keys", "rotate")
    crashed = firm.shell("sync", "acme", "--from", "2026-99-99")
    assert crashed.code == 2
    assert any(PAYLOAD in told.out for told in said), "the operator is shown the books"

    kept, _ = vault_of(rig.home, rig.engine).get("acme", "qbo")
    ring = key_source(rig.home).read()
    secrets = {SECRET, kept.access_token, kept.refresh_token, kept.previous_refresh_token, "sandbox-secret"}
    secrets |= {key.hex() for key in ring.keys.values()}
    secrets.discard("")
    sandbox = rig.home.root.parent / "sandbox"
    left = [
        *(("the browser", page) for page in door.pages),
        *(("standard output", told.out) for told in said),
        *(("standard error", told.err) for told in said),
        *files(rig.home.root, leaving_out=(rig.home.keys, sandbox)),
        *(exported := list(files(exports, leaving_out=()))),
        *(rows := list(texts(firm))),
    ]
    assert any(PAYLOAD in content for _, content in exported), "the sheet of holds is there to be searched"
    assert {"event_logs", "runs", "run_tags", "vault", "landing"} <= {where for where, _ in rows}
    found = [(where, secret[:20]) for where, content in left for secret in secrets if secret in content]
    assert found == []
    # Processes tell calls and counts; run config, tags and keys of runs tell connection and days.
    quiet = [
        *(("standard error", told.err) for told in said),
        *files(rig.home.root, leaving_out=(rig.home.connections, rig.home.inbox, rig.home.done)),
    ]
    quiet += [
        (where, row) for where, row in rows if where in ("runs", "run_tags", "job_ticks", "instigators")
    ]
    assert len(quiet) > 20
    assert [where for where, content in quiet if PAYLOAD in content] == []


def test_the_log_of_a_command_is_quiet_about_calls_that_went_well(firm: Firm) -> None:
    firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    told = firm.shell("sync", "acme")
    assert told.code == 0
    assert "vendor call" not in told.out + told.err


CRASHING = """
import sys
from ml_connector.cli.main import main
from ml_connector.transport.wire import Wire

def crash(self, method, url, *, headers, params=(), content=None):
    said = {"url": url, **headers, "content": content}
    raise RuntimeError(f"crashed in the middle of a call with {len(said)} parts")

Wire.exchange = crash
sys.argv = ["ml-connector", *sys.argv[1:]]
main()
"""


@pytest.mark.processes
def test_T6_a_crash_in_the_middle_of_a_call_shows_no_secret_in_its_traceback(firm: Firm) -> None:
    vault = vault_of(firm.rig.home, firm.rig.engine)
    secrets = set()
    for system in PRODUCTS:
        kept, _ = vault.get("acme", system)
        marked = replace(
            kept, client_secret=f"{SECRET}-{system}", refresh_token=f"{SECRET}-refresh", access_token=""
        )
        vault.put("acme", system, marked)
        pair = f"{kept.client_id}:{marked.client_secret}".encode()
        secrets |= {SECRET, b64encode(pair).decode()}
    environment = {
        "ML_CONNECTOR_HOME": str(firm.shell.home),
        "ML_CONNECTOR_DATABASE_URL": firm.rig.database_url,
        "PATH": "/usr/bin:/bin",
    }
    left = []
    for command in (["ping", "acme", "--json"], ["sync", "acme", "--json"]):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CRASHING, *command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        left += [(" ".join(command), done.stdout), (" ".join(command), done.stderr)]
    rows = list(texts(firm))
    assert "crashed in the middle of a call" in left[1][1]
    assert any("crashed in the middle of a call" in row for where, row in rows if where == "event_logs")
    left += [*rows, *files(firm.rig.home.root, leaving_out=(firm.rig.home.keys,))]
    assert [(where, text[:200]) for where, text in left if any(secret in text for secret in secrets)] == []
