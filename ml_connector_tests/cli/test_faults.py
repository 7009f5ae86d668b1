"""Whatever is wrong with the installation is told in one sentence; only defects of ours show a traceback."""

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from ml_connector.cli import main
from ml_connector_tests.cli.shell import Shell

NOWHERE = "postgresql://ann:hunter2@127.0.0.1:1/books?password=hunter3"
ON_A_CONNECTION = [
    ["status", "nix"],
    ["sync", "nix"],
    ["holds", "nix"],
    ["find", "nix", "4471"],
    ["audit", "nix", "bill:1"],
    ["mapping", "check", "nix"],
    ["mapping", "publish", "nix"],
    ["mapping", "explain", "nix", "bill:1"],
    ["projects", "check", "nix"],
    ["projects", "publish", "nix"],
]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A home with an empty folder of connections, and a database that is not there."""
    (tmp_path / "home" / "connections").mkdir(parents=True)
    return Shell(tmp_path / "home", NOWHERE)


@pytest.mark.parametrize("command", ON_A_CONNECTION, ids=" ".join)
def test_an_unknown_connection_is_one_sentence_that_says_what_to_do(command: list[str], shell: Shell) -> None:
    sentence = shell(*command).sentence()
    assert "there is no connection 'nix'" in sentence
    assert "ml-connector init nix" in sentence


@pytest.mark.parametrize("command", [["status"], ["up"], ["init", "acme", "--realm", "1", "--company", "1",
                                      "--time-zone", "UTC", "--start-date", "2026-01-01"],
                                     ["mapping", "check", "acme"]], ids=lambda command: command[0])  # fmt: skip
def test_without_a_home_the_variable_is_named(command: list[str]) -> None:
    assert "ML_CONNECTOR_HOME is not set" in Shell(None, NOWHERE)(*command).sentence()


@pytest.mark.parametrize("command", [["status"], ["up"], ["holds", "acme"]], ids=" ".join)
def test_a_home_without_connections_is_no_installation_and_stays_untouched(
    command: list[str], tmp_path: Path
) -> None:
    sentence = Shell(tmp_path / "home", NOWHERE)(*command).sentence()
    assert "ml-connector init NAME" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["status"], ["holds", "acme"], ["sync", "acme"]], ids=" ".join)
def test_a_database_that_does_not_answer_is_named_without_its_password(
    command: list[str], shell: Shell
) -> None:
    assert shell.home is not None
    folder = shell.home / "connections" / "acme"
    folder.mkdir()
    (folder / "connection.yaml").write_text(
        "qbo: {realm_id: '1'}\nprocore: {company_id: 1}\ntime_zone: UTC\nstart_date: 2026-01-01\n"
    )
    sentence = shell(*command).sentence()
    assert sentence.startswith("the database 127.0.0.1:1/books cannot be used: ")
    assert "hunter" not in sentence


@pytest.mark.parametrize("address", ["hunter2 at home", "mysql://ann:hunter2@127.0.0.1/books"])
def test_an_address_that_is_none_of_postgres_is_told_without_showing_it(address: str, shell: Shell) -> None:
    shell.database_url = address
    sentence = shell("status", "--json").sentence()
    assert "ML_CONNECTOR_DATABASE_URL" in sentence
    assert "hunter2" not in sentence


def test_a_defect_shows_its_traceback_on_standard_error_and_ends_with_1(shell: Shell) -> None:
    assert shell.home is not None
    (shell.home / "connections" / "acme" / "connection.yaml").mkdir(parents=True)
    done = shell("mapping", "check", "acme", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Traceback")
    assert "IsADirectoryError" in done.err


def test_text_out_of_the_books_steers_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise OperationalError("select 1", {}, RuntimeError("no \x1b[2J[/red] way\nsecond line"))

    monkeypatch.setattr(main, "app", refused)
    monkeypatch.delenv("ML_CONNECTOR_DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told == "error: the database of the home cannot be used: no \ufffd[2J[/red] way\n"
