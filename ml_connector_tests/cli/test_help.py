"""Every command says what it does and what each of its options means."""

from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from ml_connector.cli.main import app

NAMES = {
    "init", "up", "status", "sync", "holds", "decide", "replay", "find", "prove", "demo", "sandbox", "metrics",
    "connect qbo", "connect procore", "draft", "rehearse", "takeover", "disconnect", "ping", "keys rotate", "keys make",
    "mapping check", "mapping preview", "mapping publish", "mapping apply", "mapping explain", "mapping suggest",
    "audit show", "audit verify", "audit export",
    "projects check", "projects publish", "vendors check", "vendors publish",
}  # fmt: skip


def commands() -> Iterator[tuple[str, typer.core.TyperCommand]]:
    top = typer.main.get_command(app)
    assert isinstance(top, typer.core.TyperGroup)
    for name, command in top.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            for below, inner in command.commands.items():
                assert isinstance(inner, typer.core.TyperCommand)
                yield f"{name} {below}", inner
        else:
            assert isinstance(command, typer.core.TyperCommand)
            yield name, command


def test_the_commands_are_these() -> None:
    assert {name for name, _ in commands()} == NAMES


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=str)
def test_the_help_of_every_command_explains_its_options(name: str, command: typer.core.TyperCommand) -> None:
    told = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "400", "TERM": "dumb"})
    assert told.exit_code == 0
    words = " ".join(told.stdout.split())
    assert (command.help or "").split(".")[0].replace("\n", " ") in words
    for parameter in command.params:
        shown = getattr(parameter, "help", None)
        assert shown, f"{parameter.name} is not explained"
        assert shown in words
        if parameter.param_type_name == "option":
            assert all(option in words for option in parameter.opts)


@pytest.mark.parametrize("name", sorted(NAMES - {"up", "sandbox", "metrics"}))
def test_every_command_that_ends_speaks_json(name: str) -> None:
    told = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"})
    assert "--json" in told.stdout


def test_no_command_at_all_shows_the_help() -> None:
    told = CliRunner().invoke(app, [], env={"COLUMNS": "200"})
    assert all(name.split()[0] in told.output for name in NAMES)
