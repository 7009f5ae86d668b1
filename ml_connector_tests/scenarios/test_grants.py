"""F20 to F24 over the sandbox's OAuth: renewals that race, get lost, are killed, end, or are told to wait."""

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from ml_connector.errors import ReconnectNeeded, TransientError
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client, qbo_client, vault_of
from ml_connector.settings import Home, load_connection
from ml_connector.store.database import open_engine
from ml_connector.store.grants import standings
from ml_connector.store.vault import Credentials, State
from ml_connector.transport.call import CallRefused
from ml_connector.transport.session import Bounds
from ml_connector_tests.rig import ELM, HARBOR, Rig, line

ROOT = Path(__file__).resolve().parents[2]
TOKEN_ROUTE = "/oauth2/v1/tokens/bearer"
HASTY = Bounds(patience=0.0)
PROCESSES, CALLS = 8, 5


def token_calls(rig: Rig, since: int = 0) -> list[dict[str, Any]]:
    return [entry for entry in rig.qbo.journal(since) if entry["path"] == TOKEN_ROUTE]


def stored(rig: Rig) -> tuple[Credentials, State]:
    return vault_of(rig.home, rig.engine).get(rig.name, "qbo")


def sentence(rig: Rig, at: datetime | None = None) -> str:
    with rig.engine.connect() as db:
        return standings(db, rig.name)[0].sentence(at or datetime.now(UTC))


@contextmanager
def log_lines() -> Iterator[list[Any]]:
    """Alarm lines: what is logged as a warning or worse, calls of vendors left out."""
    with structlog.testing.capture_logs() as every:
        alarms: list[Any] = []
        yield alarms
        alarms.extend(
            entry for entry in every if entry["log_level"] != "debug" and entry["event"] != "vendor call"
        )


def read_bounded(rig: Rig) -> None:
    """One call to QBO."""
    qbo_client(rig.home, rig.connection, rig.engine, bounds=HASTY).company_info()


@pytest.mark.processes
def test_S109_F20_eight_processes_share_a_single_use_token_and_none_meets_invalid_grant(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    rig.qbo.switch(token="single_use", access_token_seconds=1, reuse_revokes=True)
    mark = rig.qbo.mark()
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        work = [pool.submit(_call_some_times, str(rig.home.root), rig.database_url) for _ in range(PROCESSES)]
        calls = [future.result() for future in work]
    answers = [entry["outcome"] for entry in token_calls(rig, mark)]
    assert set(answers) == {"token issued"}
    assert len(answers) >= 3  # five calls of a process take two seconds and more, a token is good for one
    assert sum(calls) >= PROCESSES * CALLS
    refused = answers.count("invalid_grant")
    measured(
        f"F20 {sum(calls)} calls of {PROCESSES} processes: {len(answers)} refreshes, {refused} invalid_grant"
    )
    assert stored(rig)[1] is State.CONNECTED
    rig.qbo.switch(access_token_seconds=3600)


def _call_some_times(home: str, url: str) -> int:
    """How often it asked until QBO had answered so many calls."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    engine, folder = open_engine(url), Home(Path(home))
    client = qbo_client(folder, load_connection(folder, "acme"), engine)
    answered = attempts = 0
    while answered < CALLS:
        attempts += 1
        try:
            client.company_info()
            answered += 1
        except CallRefused as refusal:
            assert refusal.status == 401  # a token of one second that ended on its way, and so did the next
        time.sleep(0.5)
    client.close()
    engine.dispose()
    return attempts


def test_F21_a_refresh_whose_answer_is_lost_goes_on_with_the_value_before(rig: Rig) -> None:
    rig.qbo.switch(token="grace24h")
    rig.qbo.fault({"route": f"POST {TOKEN_ROUTE}", "nth": 1, "fault": "accept_then_drop"})
    with pytest.raises(TransientError):
        read_bounded(rig)
    assert stored(rig)[1] is State.CONNECTED
    read_bounded(rig)
    assert [entry["outcome"] for entry in token_calls(rig)] == ["token issued"] * 2


def test_S109_F21_a_single_use_token_whose_answer_is_lost_ends_in_one_alarm_and_no_loop(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    rig.qbo.switch(token="single_use")
    rig.qbo.fault({"route": f"POST {TOKEN_ROUTE}", "nth": 1, "fault": "accept_then_drop"})
    with log_lines() as alarms:
        with pytest.raises(TransientError):
            read_bounded(rig)
        for _ in range(4):
            with pytest.raises(ReconnectNeeded, match=r"connect qbo acme|the stored grant is not taken"):
                read_bounded(rig)
    assert len(token_calls(rig)) <= 3
    measured(
        f"F21 answer of a refresh lost: {len(token_calls(rig))} calls to the token route, {len(alarms)} alarm"
    )
    assert [entry["event"] for entry in alarms] == ["reconnect needed"]
    assert sentence(rig).startswith("QuickBooks must be connected again")


@pytest.mark.parametrize(
    "spoiled", [{"fault": "truncate", "args": {"bytes": 40}}, {"fault": "body", "args": {"kind": "empty"}}]
)
def test_F21_an_answer_without_a_token_is_no_token(spoiled: dict[str, Any], rig: Rig) -> None:
    rig.qbo.fault({"route": f"POST {TOKEN_ROUTE}", "nth": 1, **spoiled})
    with pytest.raises(TransientError):
        read_bounded(rig)
    assert stored(rig) == (
        Credentials("sandbox-client", "sandbox-secret", refresh_token="RT1-sandbox"),
        State.CONNECTED,
    )
    read_bounded(rig)


@pytest.mark.processes
def test_F22_K10_a_process_killed_between_the_new_token_and_its_commit_leaves_a_grant_that_works(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    rig.qbo.switch(token="grace24h")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from ml_connector.orchestration.clients import qbo_client\n"
        "from ml_connector.settings import Home, load_connection\n"
        "from ml_connector.store.database import open_engine\n"
        "home = Home(Path(sys.argv[1]))\n"
        "qbo_client(home, load_connection(home, 'acme'), open_engine(sys.argv[2])).company_info()\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(rig.home.root), rig.database_url],
        cwd=ROOT,
        env={"ML_CONNECTOR_CRASHPOINT": "K10", "ML_CONNECTOR_TEST_MODE": "1", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert stored(rig)[0].refresh_token == "RT1-sandbox"  # the new one died with the process
    read_bounded(rig)
    issued = [entry["outcome"] for entry in token_calls(rig)]
    assert issued == ["token issued"] * 2
    assert stored(rig)[1] is State.CONNECTED
    measured(f"F22 killed before the commit of a token: {len(issued)} refreshes, 0 tokens lost")


def test_F23_a_revoked_grant_is_asked_for_twice_at_most_and_posting_goes_on_meanwhile(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    rig.read()
    _revoke(rig)
    mark = rig.qbo.mark()
    with log_lines() as alarms:
        for _ in range(3):
            with pytest.raises(ReconnectNeeded):
                rig.read()
    refused = [entry for entry in token_calls(rig, mark) if entry["outcome"] == "invalid_grant"]
    assert 1 <= len(refused) <= 2
    measured(f"F23 revoked, 3 runs: {len(refused)} calls met invalid_grant, {len(alarms)} alarm")
    assert [entry["event"] for entry in alarms] == ["reconnect needed"]
    rig.settle()
    assert len(rig.direct_costs()) == 1  # what was read before is posted: Procore's grant lives


def _revoke(rig: Rig) -> None:
    """The bookkeeper disconnects the app inside QuickBooks."""
    import base64
    import urllib.request

    basic = base64.b64encode(b"sandbox-client:sandbox-secret").decode()
    body = json.dumps({"token": stored(rig)[0].refresh_token}).encode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{rig.qbo.url}/v2/oauth2/tokens/revoke", body, headers)
    urllib.request.urlopen(request, timeout=30).close()


def test_S110_F13_a_company_that_quickbooks_refuses_is_asked_once_and_then_left_alone(rig: Rig) -> None:
    read_bounded(rig)
    refusal = {"Fault": {"Error": [{"Message": "x", "code": "3100"}], "type": "AUTHORIZATION"}}
    rig.qbo.fault({"route": "GET /v3/*", "fault": "status", "args": {"status": 403, "body": refusal}})
    mark = rig.qbo.mark()
    with log_lines() as alarms:
        for _ in range(3):
            with pytest.raises(ReconnectNeeded):
                read_bounded(rig)
    assert len(rig.qbo.journal(mark)) == 1
    assert [entry["event"] for entry in alarms] == ["reconnect needed"]
    assert stored(rig)[1] is State.RECONNECT_NEEDED


def test_F23_the_end_of_the_consent_is_told_14_7_and_1_days_before_once_each(rig: Rig) -> None:
    five_years = 5 * 365 * 86_400
    rig.qbo.switch(
        hard_expiry_seconds=five_years, refresh_token_seconds=2 * five_years, access_token_seconds=1
    )
    read_bounded(rig)
    end = stored(rig)[0].hard_expires_at
    assert end is not None
    assert sentence(rig) == ""
    told: list[tuple[float, list[str]]] = []
    for days in (15, 13.5, 13, 6.9, 6, 0.9, 0.5):
        rig.qbo.switch(hard_expiry_seconds=int(days * 86_400))
        with log_lines() as alarms:
            for _ in range(2):
                time.sleep(1.05)
                read_bounded(rig)
        told.append((days, [entry["sentence"] for entry in alarms]))
    assert [(days, len(lines)) for days, lines in told] == [
        (15, 0),
        (13.5, 1),
        (13, 0),
        (6.9, 1),
        (6, 0),
        (0.9, 1),
        (0.5, 0),
    ]
    assert "ends in 14 days" in told[1][1][0]
    assert "ends in 7 days" in told[3][1][0]
    assert "ends in 1 day," in told[5][1][0]
    assert "run `ml-connector connect qbo acme` before that" in sentence(rig)
    assert "ended on" in sentence(rig, datetime.now(UTC) + timedelta(days=2))
    rig.qbo.switch(access_token_seconds=3600, hard_expiry_seconds=five_years)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_F24_an_hour_of_trouble_at_the_token_endpoint_is_no_lost_grant(
    status: int, rig: Rig, measured: Callable[[str], None]
) -> None:
    rig.qbo.fault({"route": f"POST {TOKEN_ROUTE}", "fault": "status", "args": {"status": status}})
    for _ in range(3):
        with pytest.raises(TransientError) as caught:
            read_bounded(rig)
        assert caught.value.not_before is not None
    assert stored(rig)[1] is State.CONNECTED
    assert sentence(rig) == ""
    measured(f"F24 token endpoint answers {status}: {len(token_calls(rig))} calls in 3 runs, still connected")
    rig.qbo.no_faults()
    read_bounded(rig)


def test_S110_a_project_that_is_no_longer_permitted_waits_alone_and_goes_on_when_it_is(rig: Rig) -> None:
    rig.bookkeeper.bill("4470", [line("10.00", item="101", customer="61")])
    rig.sync()
    rig.procore.load(permitted_projects=[{"project_ids": [int(ELM)]}])
    kept_out = rig.bookkeeper.bill("4471", [line("1250.00", item="101", customer="61")])
    let_in = rig.bookkeeper.bill("4472", [line("300.00", item="101", customer="62")])
    rig.sync()
    (hold,) = rig.holds(kept_out["Id"])
    assert (hold.reason, hold.fixer) == ("PERMISSION", "administrator")
    assert rig.cost_of(let_in["Id"], ELM)["grand_total"] == "300.00"
    rig.procore.load(permitted_projects=[{"project_ids": [int(HARBOR), int(ELM)]}])
    work.refresh_lists(rig.engine, rig.connection, procore_client(rig.home, rig.connection, rig.engine))
    rig.settle()
    assert rig.cost_of(kept_out["Id"])["grand_total"] == "1250.00"


def test_S110_a_project_that_is_gone_from_a_fresh_list_says_that_it_is_not_permitted(rig: Rig) -> None:
    rig.procore.load(permitted_projects=[{"project_ids": [int(ELM)]}])
    kept_out = rig.bookkeeper.bill("4471", [line("1250.00", item="101", customer="61")])
    let_in = rig.bookkeeper.bill("4472", [line("300.00", item="101", customer="62")])
    rig.sync()
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, hold.fixer) == (kept_out["Id"], "PERMISSION", "administrator")
    assert (
        "Give the service account that project, or correct its id in row 2 of projects.csv" in hold.sentence
    )
    assert rig.cost_of(let_in["Id"], ELM)["grand_total"] == "300.00"
    rig.procore.load(permitted_projects=[{"project_ids": [int(HARBOR), int(ELM)]}])
    work.refresh_lists(rig.engine, rig.connection, procore_client(rig.home, rig.connection, rig.engine))
    rig.settle()
    assert rig.cost_of(kept_out["Id"])["grand_total"] == "1250.00"


def test_F23_the_end_of_a_consent_can_be_seen_without_opening_the_credentials(rig: Rig) -> None:
    read_bounded(rig)
    kept, _ = stored(rig)
    with rig.engine.connect() as db:
        qbo, procore = standings(db, rig.name)
    assert (qbo.state, qbo.ends_at) == (State.CONNECTED, kept.ends_at)
    assert (procore.state, procore.ends_at) == (State.CONNECTED, None)
