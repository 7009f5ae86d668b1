"""The inbox: one file for each company's part of a webhook, written whole or not at all.

The name is the contract with the sensor, which reads names only:
`<connection>__<UTC second of arrival, YYYYMMDDTHHMMSSZ>__<first 16 of sha256 of the part>.json`.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ml_connector.qbo.webhooks import RealmEvents

UNKNOWN = "unknown"


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

    def prepare(self) -> None:
        """Makes the folder and removes drafts of a killed receiver. Raises OSError."""
        self._inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            for draft in self._inbox.glob(".*.draft"):
                draft.unlink()

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
            except OSError:
                draft.unlink(missing_ok=True)
                raise
            os.fsync(folder)
        return True

    def _is_known(self, part: Part) -> bool:
        start, end = f"{part.connection}__", f"__{part.digest}.json"
        folders = [folder for folder in (self._inbox, self._done) if folder.exists()]
        return any(
            name.startswith(start) and name.endswith(end)
            for folder in folders
            for name in os.listdir(folder)  # noqa: PTH208 a million done files need no Path objects
        )

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The folder's descriptor, locked: looking and writing are one step for every thread and process."""
        folder = os.open(self._inbox, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(folder)


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
