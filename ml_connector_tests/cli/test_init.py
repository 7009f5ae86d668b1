"""`init`: a new connection, whole or not at all."""

import stat
from pathlib import Path

import pytest
import yaml

from ml_connector.settings import Home, load_connection
from ml_connector_tests.cli.shell import Shell

GIVEN = {
    "--realm": "9341450000000001",
    "--company": "5001",
    "--time-zone": "America/Denver",
    "--start-date": "2026-07-01",
}


def arguments(name: str = "acme", **changes: str) -> list[str]:
    given = GIVEN | {f"--{key.replace('_', '-')}": value for key, value in changes.items()}
    return ["init", name, *(word for pair in given.items() for word in pair)]


def test_it_makes_the_folder_the_files_and_the_installation(empty_shell: Shell) -> None:
    assert empty_shell.home is not None
    home = Home(empty_shell.home)
    document = empty_shell(*arguments(), "--json").document()
    folder = home.folder("acme")
    assert document["connection"] == "acme"
    assert document["folder"] == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "connection.yaml",
        "mapping.csv",
        "projects.csv",
        "vendors.csv",
    ]
    made = load_connection(home, "acme")
    assert (made.qbo.realm_id, made.procore.company_id) == ("9341450000000001", 5001)
    assert (made.time_zone, str(made.start_date)) == ("America/Denver", "2026-07-01")
    assert stat.S_IMODE(home.keys.stat().st_mode) == 0o600
    status = empty_shell("status", "--json").document()
    grants = status[0].pop("grants")
    assert [(grant["system"], grant["state"]) for grant in grants] == [
        ("qbo", "not_connected"),
        ("procore", "not_connected"),
    ]
    assert status == [
        {
            "connection": "acme",
            "outages": [],
            "webhooks": {"waiting": 0, "of_unknown_companies": 0},
            "alarms": [],
            "read_to": None,
            "first_load": None,
            "holds": 0,
            "days_to_do": [],
            "records": [],
        }
    ]


def test_what_is_not_given_is_asked_and_the_next_steps_are_told(empty_shell: Shell) -> None:
    done = empty_shell("init", "acme", answers="9341450000000001\n5001\nAmerica/Denver\n2026-07-01\n")
    assert done.code == 0, done.err
    assert "QuickBooks company id" in done.out
    assert "ml-connector mapping check acme" in done.out
    assert "ml-connector projects publish acme" in done.out


def test_a_second_time_is_refused_and_changes_nothing(empty_shell: Shell) -> None:
    assert empty_shell.home is not None
    assert empty_shell(*arguments()).code == 0
    settings = empty_shell.home / "connections" / "acme" / "connection.yaml"
    before = settings.read_text()
    sentence = empty_shell(*arguments(start_date="2020-01-01")).sentence()
    assert str(settings) in sentence
    assert "is there already" in sentence
    assert settings.read_text() == before


def test_sheets_that_lie_there_already_are_kept(empty_shell: Shell) -> None:
    assert empty_shell.home is not None
    sheet = empty_shell.home / "connections" / "acme" / "mapping.csv"
    sheet.parent.mkdir(parents=True)
    sheet.write_text("account,route\n5010,exclude\n")
    assert empty_shell(*arguments()).code == 0
    assert sheet.read_text() == "account,route\n5010,exclude\n"
    assert yaml.safe_load(sheet.with_name("connection.yaml").read_text())["time_zone"] == "America/Denver"


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("Acme!", {}, "small letters"),
        ("../outside", {}, "small letters"),
        ("a__b", {}, "single underscores"),
        ("unknown", {}, "unknown"),
        ("acme", {"time_zone": "Mars/Base"}, "America/Denver"),
        ("acme", {"realm": "93-41"}, "digits only"),
        ("acme", {"company": "0"}, "above 0"),
        ("Acme", {"time_zone": "Mars/Base"}, "small letters"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_left_behind(
    name: str, changes: dict[str, str], told: str, tmp_path: Path
) -> None:
    shell = Shell(tmp_path / "home", "postgresql://nobody@127.0.0.1:1/none")
    assert told in shell(*arguments(name, **changes)).sentence()
    assert list(tmp_path.iterdir()) == []


def test_every_wrong_answer_is_told_at_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home", "postgresql://nobody@127.0.0.1:1/none")
    sentence = shell(*arguments("Acme", time_zone="Mars/Base", realm="x")).sentence()
    assert all(words in sentence for words in ("small letters", "America/Denver", "digits only"))


def test_without_a_database_nothing_is_made(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home", "postgresql://ann:hunter2@127.0.0.1:1/books")
    sentence = shell(*arguments()).sentence()
    assert "127.0.0.1:1/books" in sentence
    assert "hunter2" not in sentence
    assert list(tmp_path.iterdir()) == []
