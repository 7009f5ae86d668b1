"""K11, K12, F42, F55: commands, runs and files that break off half way: what was before stands, and a second try works."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from ml_connector.orchestration.clients import vault_of
from ml_connector.store.migrate import upgrade
from ml_connector.store.vault import State
from ml_connector_tests.cli.shell import Shell
from ml_connector_tests.rig import MAPPING, Rig, line
from ml_connector_tests.scenarios.kills import run_ended_when

pytestmark = pytest.mark.processes
KILLED = -signal.SIGKILL


@pytest.fixture
def shell(rig: Rig) -> Shell:
    """The operator's shell."""
    return Shell(rig.home.root, rig.database_url)


def dies_at(shell: Shell, point: str, *words: str) -> None:
    """A command that must reach a crash point, and dies there."""
    mode = {"ML_CONNECTOR_TEST_MODE": "1", "ML_CONNECTOR_CRASHPOINT": point}
    done = replace(shell, settings=mode)(*words)
    assert done.code == KILLED, done


def test_K11_a_decision_killed_before_its_commit_leaves_the_hold_and_the_second_one_counts_once(
    rig: Rig, shell: Shell
) -> None:
    bill = rig.bookkeeper.bill("4471", [line("20.10", account="7")])
    rig.sync()
    words = ("decide", "acme", f"bill:{bill['Id']}", "exclude", "--comment", "a slip")
    dies_at(shell, "K11", *words)
    rig.sync()
    assert [hold.qbo_id for hold in rig.holds()] == [bill["Id"]]
    assert shell(*words).code == 0
    rig.settle()
    with rig.engine.connect() as db:
        assert db.scalar(text("select count(*) from ml_connector.decision")) == 1
    assert (rig.holds(), rig.record("Bill", bill["Id"]).state) == ([], "excluded")


def test_K12_a_mapping_killed_half_way_leaves_the_one_before_and_a_rotation_leaves_every_set_readable(
    rig: Rig, shell: Shell
) -> None:
    (rig.home.folder("acme") / "mapping.csv").write_text(MAPPING.replace("01-5000,E", "01-7800,O"))
    dies_at(shell, "K12", "mapping", "publish", "acme")
    bill = rig.bookkeeper.bill("4471", [line(10, account="3")])
    rig.sync()
    codes = {code["id"]: code["flat_code"] for code in rig.procore.live("wbs_codes")}
    (item,) = rig.cost_of(bill["Id"])["line_items"]
    assert codes[item["wbs_code_id"]] == "01-5000.E"
    with rig.engine.connect() as db:
        versions = "select count(*) from ml_connector.sheet_version where sheet = 'mapping'"
        assert db.scalar(text(versions)) == 1
    dies_at(shell, "K12", "keys", "rotate")
    for system in ("qbo", "procore"):
        assert vault_of(rig.home, rig.engine).get("acme", system)[1] is State.CONNECTED
    assert shell("keys", "rotate").code == 0
    rig.bookkeeper.bill("4472", [line(10, account="3")])
    rig.sync()
    assert len(rig.direct_costs()) == 2


def test_F55_a_run_told_to_end_leaves_what_is_unknown_and_the_upgraded_one_finishes_it(rig: Rig) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101"), line(50, item="102")])
    rig.read()
    late = {"fault": "delay", "args": {"seconds": 2, "when": "after"}}
    rig.procore.fault({"route": "PATCH */direct_costs/line_items/sync", "nth": 1, **late})
    mark = rig.procore.mark()

    def writing() -> bool:
        return any(entry["fault"] for entry in rig.procore.journal(mark))

    assert run_ended_when(rig, writing, signal.SIGTERM, function="interrupted") == 1
    with rig.engine.connect() as db:
        fates = set(db.scalars(text("select state from ml_connector.ledger where kind = 'direct_cost'")))
    assert fates <= {"sending", "unknown"}
    assert len(fates) == 1
    upgrade(rig.database_url)
    rig.sync()
    assert rig.record("Bill", bill["Id"]).state == "posted"
    (cost,) = rig.direct_costs(counting=False)
    assert (cost["grand_total"], len(cost["line_items"])) == ("1250.00", 2)


def test_F42_on_a_full_disk_no_command_leaves_a_part_of_a_file_and_a_second_try_works(
    rig: Rig, shell: Shell, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    for number in range(5):
        rig.bookkeeper.bill(f"447{number}", [line("20.10", account="7")])
    rig.sync()
    folder = tmp_path / "sheets"
    folder.mkdir()
    words = {
        "holds.csv": ("holds", "acme", "--sheet", str(folder / "holds.csv")),
        "trail.csv": ("audit", "export", "acme", "--out", str(folder / "trail.csv")),
    }
    for name, command in words.items():
        done = shell.on_a_full_disk(*command)
        assert f"{name} cannot be written: File too large" in done.sentence()
    left = [path.name for path in folder.iterdir()]
    assert left == []
    for name, command in words.items():
        assert shell(*command).code in (0, 1)
        assert "447" in (folder / name).read_text()
    assert sorted(path.name for path in folder.iterdir()) == sorted(words)
    measured(f"F42 disk full: {len(left)} part-files of {len(words)} commands")
