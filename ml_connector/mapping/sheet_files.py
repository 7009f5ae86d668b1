"""Files that people save into a connection's folder: its sheets and filled-in decisions, noticed and taken in by themselves.

Who did it is the account that owns the file; where the person matters, a file that others may write is not taken.
"""

import hashlib
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from ml_connector.errors import SetupError
from ml_connector.mapping import decision_sheet, publishing
from ml_connector.mapping.table import MOST_BYTES
from ml_connector.settings import Connection, Home
from ml_connector.store import sheets

SHEETS = (sheets.MAPPING, sheets.PROJECTS, sheets.VENDORS)
DECISIONS = "decisions"
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Look:
    """What was seen of a file: its size, when it changed (ns), and the content that was asked to be taken in last, by hash.

    `is_done`: this state of the file was looked into; until then it may still be in the middle of being written.
    """

    size: int
    changed: int
    content: str = ""
    is_done: bool = False


@dataclass(frozen=True)
class Taken:
    """A file as it was read, and whom it speaks for."""

    content: bytes
    owner: str
    by_owner_alone: bool  # nobody else may write it


def account_of(uid: int) -> str:
    """The name of an account of the system, or `uid 1234` where the system has no name for it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def files_of(home: Home, connection: str) -> dict[str, os.stat_result]:
    """The files that are watched, by name: `mapping`, `decisions/june.csv`. Links and files in hiding are none."""
    folder = home.folder(connection)
    named = {sheet: folder / f"{sheet}.csv" for sheet in SHEETS}
    named |= {f"{DECISIONS}/{path.name}": path for path in sorted((folder / DECISIONS).glob("[!.~]*.csv"))}
    found = {}
    for name, path in named.items():
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(facts.st_mode):
            found[name] = facts
    return found


def changed(
    home: Home, connection: str, before: Mapping[str, Look], published: Callable[[str], str | None]
) -> tuple[dict[str, Look], list[str]]:
    """What is seen now, and the names of files to take in.

    A file is looked into when two looks saw it alike; what was asked for once is not asked for again until its content
    changes. `published` gives the hash of the newest version of a sheet, None before the first: a person publishes that.
    """
    seen: dict[str, Look] = {}
    to_take: list[str] = []
    for name, facts in files_of(home, connection).items():
        earlier = before.get(name, Look(-1, -1))
        is_still = (earlier.size, earlier.changed) == (facts.st_size, facts.st_mtime_ns)
        newest = None if "/" in name else published(name)
        if not is_still or earlier.is_done or (newest is None and "/" not in name):
            is_done = is_still and earlier.is_done
            seen[name] = Look(facts.st_size, facts.st_mtime_ns, earlier.content, is_done)
            continue
        content = _hash_of(_path(home, connection, name))
        seen[name] = Look(facts.st_size, facts.st_mtime_ns, content, is_done=True)
        if content != (earlier.content or newest):
            to_take.append(name)
    return seen, to_take


def request_key(name: str, look: Look) -> str:
    """One key for one saving of a file: the same content saved again later is another one."""
    return hashlib.sha256(f"{name} {look.content} {look.changed}".encode()).hexdigest()[:32]


def take_in(engine: Engine, home: Home, connection: Connection, name: str) -> str:
    """Publish a sheet, or store what a sheet of decisions decides; returns what was done in one sentence.

    Raises SetupError with every fault of the file (SheetRefused), or where it does not tell who wrote it.
    """
    if name in SHEETS:
        return _publish(engine, home, connection, name)
    taken = read(_path(home, connection.name, name))
    if not taken.by_owner_alone:
        raise SetupError(_unsure(connection, name, taken, f"decide {connection.name} --sheet FILE"))
    with engine.begin() as db:
        made = decision_sheet.decide_by(db, connection, taken.content, by=taken.owner)
    _put_away(_path(home, connection.name, name))
    return f"{name}: {len(made)} decision{'s'[: len(made) != 1]} by {taken.owner}"


def faults_of(home: Home, connection: str) -> Iterator[str]:
    """What keeps files that lie in the folder from being taken in: nothing is stored."""
    for name in files_of(home, connection):
        if name in SHEETS:
            try:
                publishing.check(name, read(_path(home, connection, name)).content, 0)
            except SetupError as refused:
                yield str(refused)
        else:
            yield f"{name} is not taken: it lies in the folder until it is corrected, or removed"


def read(path: Path) -> Taken:
    """A file and its owner, both of the same moment. Raises SetupError."""
    try:
        with open(path, "rb", opener=_not_through_a_link) as opened:
            facts = os.fstat(opened.fileno())
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise SetupError(f"{path.name} cannot be read: {error.strerror}") from None
    return Taken(content, account_of(facts.st_uid), not facts.st_mode & WRITABLE_BY_OTHERS)


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)  # its owner would be another file's


def _publish(engine: Engine, home: Home, connection: Connection, sheet: str) -> str:
    taken = read(_path(home, connection.name, sheet))
    # Who published the mapping may not approve by it: then it must be sure who that is.
    if sheet == sheets.MAPPING and connection.policies.approval_two_persons and not taken.by_owner_alone:
        raise SetupError(_unsure(connection, f"{sheet}.csv", taken, f"{sheet} publish {connection.name}"))
    done = publishing.publish(engine, connection, sheet, taken.content, by=taken.owner)
    if not done.is_new:
        return f"{sheet}.csv is as published: version {done.version}"
    days = f"{len(done.woken)} day{'s'[: len(done.woken) != 1]}"
    woken = f", held records of {days} are tried again" if done.woken else ""
    return f"{sheet}.csv of {taken.owner} is version {done.version}{woken}"


def _unsure(connection: Connection, name: str, taken: Taken, command: str) -> str:
    return (
        f"{name} is not taken: others than {taken.owner} may write it, so that it does not tell who did. "
        f"Take that right away (chmod go-w), or give the command `ml-connector {command}`"
    )


def _path(home: Home, connection: str, name: str) -> Path:
    return home.folder(connection) / (f"{name}.csv" if name in SHEETS else name)


def _hash_of(path: Path) -> str:
    try:
        return sheets.hash_of(path.read_bytes())
    except OSError as error:
        return f"not readable: {error.strerror}"  # the run that takes it in says so


def _put_away(path: Path) -> None:
    """Move a sheet of decisions that was taken into `decisions/done`, beside those before it."""
    done = path.parent / "done"
    try:
        done.mkdir(exist_ok=True)
        path.rename(done / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z__{path.name}")
    except OSError as error:
        raise SetupError(
            f"the decisions of {path.name} are stored, and the file cannot be moved to {done} ({error.strerror}): remove it"
        ) from None
