"""The inbox: one file for each company's part of a webhook, written whole or not at all.

The name is the contract with the sensor, which reads names only:
`<connection>__<UTC second of arrival, YYYYMMDDTHHMMSSZ>__<first 16 of sha256 of the part>.json`.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ml_connector.qbo.webhooks import RealmEvents

UNKNOWN = "unknown"
_TICK_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Part:
    """What one file holds. `content` is the same for every delivery of the same events."""

    connection: str
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()[:16]


def part_of(connection: str, realm: RealmEvents) -> Part:
    """The part of one company as canonical JSON, whatever the form and the order of its delivery."""
    events = [
        {
            "entity": event.entity,
            "id": event.entity_id,
            "verb": event.verb,
            "at": event.at.astimezone(UTC).isoformat() if event.at else None,
            "deleted_id": event.deleted_id,
        }
        for event in realm.events
    ]
    events.sort(key=_canonical)
    return Part(connection, _canonical({"realm_id": realm.realm_id, "events": events}))


def unreadable_part(raw: bytes, reason: str) -> Part:
    """A genuine post in no known form: kept for a person, so that a new form is not lost silently."""
    body = raw.decode("utf-8", errors="backslashreplace")
    return Part(UNKNOWN, _canonical({"unreadable": reason, "body": body}))


class Inbox:
    """`<home>/inbox`, with `<home>/done` beside it, where runs move what they have taken."""

    def __init__(self, home: Path) -> None:
        self._inbox = home / "inbox"
        self._done = home / "done"
        self._prepared: list[tuple[int, int] | None] = []
        self._done_known: frozenset[str] = frozenset()
        self._done_changed: int | None = None  # nanoseconds; None: list again

    def prepare(self) -> None:
        """Makes the folders and removes drafts of a killed receiver. Raises OSError."""
        for folder in (self._inbox, self._done):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            for draft in self._inbox.glob(".*.draft"):
                draft.unlink()
        self._prepared = self._identities()

    def is_in_place(self) -> bool:
        """Whether the folders are still the ones that were prepared: a confined process cannot use others."""
        return self._identities() == self._prepared

    def is_writable(self) -> bool:
        return self._inbox.is_dir() and os.access(self._inbox, os.W_OK | os.X_OK)

    def add(self, part: Part, *, at: datetime) -> bool:
        """Writes the part durably; False if the same one is there or was done already.

        Raises OSError when the disk refuses: then nothing is visible, and the sender must ask again.
        """
        name = f"{part.connection}__{at.astimezone(UTC):%Y%m%dT%H%M%SZ}__{part.digest}.json"
        with self._locked() as folder:
            if self._is_known(part):
                return False
            draft = self._inbox / f".{name}.draft"
            try:
                with draft.open("xb") as file:
                    file.write(part.content)
                    file.flush()
                    os.fsync(file.fileno())
                draft.rename(self._inbox / name)
                os.fsync(folder)
            except OSError:
                draft.unlink(missing_ok=True)
                (self._inbox / name).unlink(missing_ok=True)
                raise
        return True

    def _identities(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = []
        for folder in (self._inbox, self._done):
            try:
                state = folder.stat()
            except FileNotFoundError:
                found.append(None)
            else:
                found.append((state.st_dev, state.st_ino))
        return found

    def _is_known(self, part: Part) -> bool:
        # Runs move files from inbox to done: in this order none is missed.
        wanted = _mark(f"{part.connection}____{part.digest}.json")
        waiting = map(_mark, os.listdir(self._inbox))  # noqa: PTH208 thousands of files need no Path objects
        return wanted in waiting or wanted in self._done_marks()

    def _done_marks(self) -> frozenset[str]:
        """What is done, listed again when the folder has changed: a year of files takes too long for every post."""
        try:
            changed = self._done.stat().st_mtime_ns
        except FileNotFoundError:
            return frozenset()
        if changed != self._done_changed:
            self._done_known = frozenset(map(_mark, os.listdir(self._done)))  # noqa: PTH208 as above
            # A change in the same tick of the file system's clock as the listing would show in no time stamp.
            settled = time.time_ns() - changed > _TICK_NANOSECONDS
            self._done_changed = changed if settled else None
        return self._done_known

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The folder's descriptor, locked: looking and writing are one step for every thread and process."""
        folder = os.open(self._inbox, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(folder)


def _mark(name: str) -> str:
    """A file's name without its second: the same for every delivery of a part."""
    connection, _, rest = name.partition("__")
    return f"{connection}__{rest.partition('__')[2]}"


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
