"""Kills where nothing is posted: in the receiver, while QuickBooks is read, in a renewal, while rules or keys change."""

import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import requests

from ml_connector.errors import ReconnectNeeded
from ml_connector.reading.inbox import waiting
from ml_connector_tests.reading.desk import live_bills, read_to
from ml_connector_tests.receiver.conftest import prepare, running_receiver
from ml_connector_tests.rig import REALM, Rig, line
from ml_connector_tests.scenarios.kills import reading_that_dies_at, run_ended_when
from ml_connector_tests.scenarios.test_webhooks import body, event

pytestmark = pytest.mark.processes


def test_K1_K2_a_receiver_killed_before_its_answer_acknowledged_nothing_and_the_repetition_is_one_file(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    prepare(rig.home.root)
    (rig.home.receiver / "realms.json").write_text(f'{{"{REALM}": "{rig.name}"}}')
    raw = body(event(bill["Id"]))
    for point, stored in (("K1", 0), ("K2", 1)):
        with monkeypatch.context() as patch:
            patch.setenv("ML_CONNECTOR_TEST_MODE", "1")
            patch.setenv("ML_CONNECTOR_CRASHPOINT", point)
            log = tmp_path / "killed.log"
            with running_receiver(rig.home.root, log) as killed, pytest.raises(requests.ConnectionError):
                killed.post(raw)
        assert len(waiting(rig.home, rig.name)) == stored, point
    with running_receiver(rig.home.root, tmp_path / "receiver.log") as receiver:
        assert receiver.post(raw) == 200
    assert len(waiting(rig.home, rig.name)) == 1
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "1250.00"


@pytest.mark.parametrize("point", ["K3", "K4"])
def test_K3_K4_a_poll_killed_around_its_commit_leaves_the_cursor_and_reads_the_window_again(
    rig: Rig, point: str
) -> None:
    rig.read()
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    before = read_to(rig)
    reading_that_dies_at(rig, point)
    assert (read_to(rig), live_bills(rig), rig.story("Bill", bill["Id"])) == (before, set(), [])
    rig.sync()
    assert live_bills(rig) == {bill["Id"]}
    assert rig.story("Bill", bill["Id"]).count("seen") == 1


@pytest.mark.parametrize("token", ["grace24h", "single_use"])
def test_K9_a_process_killed_in_a_renewal_costs_one_more_call_or_one_new_consent(
    rig: Rig, measured: Callable[[str], None], token: str
) -> None:
    route = "/oauth2/v1/tokens/bearer"
    rig.qbo.switch(token=token)
    rig.qbo.fault(
        {"route": f"POST {route}", "nth": 1, "fault": "delay", "args": {"seconds": 1, "when": "after"}}
    )

    def renewals() -> list[str]:
        return [entry["outcome"] for entry in rig.qbo.journal() if entry["path"] == route]

    code = run_ended_when(rig, lambda: len(renewals()) == 1, signal.SIGKILL, function="read")
    assert code == -signal.SIGKILL
    lives = token == "grace24h"
    for _ in range(3):
        with (
            nullcontext() if lives else pytest.raises(ReconnectNeeded, match=r"connect qbo acme|is not taken")
        ):
            rig.read()
    assert renewals()[0] == "token issued"
    assert len(renewals()) == 2 if lives else len(renewals()) <= 3
    measured(f"K9 killed in a renewal ({token}): {len(renewals())} calls to the token route in 4 runs")


def test_K9_procores_service_account_asks_again_and_nobody_is_needed(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.read()
    rig.procore.fault(
        {"route": "POST /oauth/token", "nth": 1, "fault": "delay", "args": {"seconds": 1, "when": "after"}}
    )

    def renewals() -> int:
        return sum(1 for entry in rig.procore.journal() if entry["path"] == "/oauth/token")

    code = run_ended_when(rig, lambda: renewals() == 1, signal.SIGKILL, function="main")
    assert code == -signal.SIGKILL
    rig.settle()
    assert (renewals(), rig.record("Bill", bill["Id"]).state) == (2, "posted")
