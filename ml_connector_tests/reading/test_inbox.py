"""The inbox seen from the reader: names only, oldest first, none of another connection."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ml_connector.reading.inbox import finish, waiting
from ml_connector.receiver.inbox import Inbox, Part
from ml_connector.settings import Home

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    Inbox(tmp_path).prepare()
    return Home(tmp_path)


def test_the_files_of_a_connection_wait_oldest_first(home: Home) -> None:
    inbox = Inbox(home.root)
    for number, seconds in enumerate([30, 10, 20]):
        inbox.add(Part("acme", b"%d" % number), at=AT + timedelta(seconds=seconds))
    assert [name.split("__")[1] for name in waiting(home, "acme")] == [
        "20261122T080010Z",
        "20261122T080020Z",
        "20261122T080030Z",
    ]


@pytest.mark.parametrize("other", ["acme2", "acme__east", "unknown", "ac"])
def test_S117_no_file_of_another_connection_is_taken(home: Home, other: str) -> None:
    Inbox(home.root).add(Part(other, b"1"), at=AT)
    assert waiting(home, "acme") == []
    assert len(waiting(home, other)) == 1


def test_a_name_with_two_underscores_finds_its_own_files(home: Home) -> None:
    for connection in ("acme", "acme__east"):
        Inbox(home.root).add(Part(connection, b"1"), at=AT)
    assert [name.partition("__2026")[0] for name in waiting(home, "acme__east")] == ["acme__east"]
    assert [name.partition("__2026")[0] for name in waiting(home, "acme")] == ["acme"]


def test_part_written_and_foreign_files_are_no_hints(home: Home) -> None:
    for name in (
        ".acme__20261122T080000Z__0123456789abcdef.json.draft",
        "acme.json",
        "acme__x.json",
        "notes.txt",
    ):
        (home.inbox / name).write_text("{}")
    assert waiting(home, "acme") == []


def test_a_home_without_an_inbox_has_no_hints(tmp_path: Path) -> None:
    assert waiting(Home(tmp_path / "new"), "acme") == []


def test_finished_files_move_to_done_and_a_second_run_finds_them_gone(home: Home) -> None:
    Inbox(home.root).add(Part("acme", b"1"), at=AT)
    names = waiting(home, "acme")
    finish(home, names)
    finish(home, names)
    assert waiting(home, "acme") == []
    assert [entry.name for entry in home.done.iterdir()] == names


def test_what_was_done_sixty_days_ago_is_forgotten_and_nothing_else(home: Home) -> None:
    inbox = Inbox(home.root)
    for number, days in enumerate([61, 59]):
        at = datetime.now(UTC) - timedelta(days=days)
        inbox.add(Part("acme", b"%d" % number), at=at)
        newest = waiting(home, "acme")[-1]
        os.utime(home.inbox / newest, (at.timestamp(), at.timestamp()))
    old, young = waiting(home, "acme")
    finish(home, [old])
    assert list(home.done.iterdir()) == []
    finish(home, [young])
    assert [entry.name for entry in home.done.iterdir()] == [young]


def test_what_another_process_finished_a_moment_ago_is_known_to_be_done(home: Home) -> None:
    inbox = Inbox(home.root)
    for number in range(50):
        part = Part("acme", b"%d" % number)
        assert inbox.add(part, at=AT)
        assert not inbox.add(part, at=AT), "it waits"
        finish(home, waiting(home, "acme"))
        assert not inbox.add(part, at=AT), "it is done"


def test_of_two_connections_each_has_its_own_part_of_the_same_content(home: Home) -> None:
    inbox = Inbox(home.root)
    assert inbox.add(Part("acme", b"1"), at=AT)
    finish(home, waiting(home, "acme"))
    assert inbox.add(Part("borealis", b"1"), at=AT)
    assert not inbox.add(Part("acme", b"1"), at=AT)
