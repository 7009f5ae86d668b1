"""The sandbox's own time: real time that can be shifted or frozen, kept in a file across restarts."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


class Clock:
    """The time one vendor lives in. Without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        """Take up the shift or the frozen instant that the file tells, if it is there."""
        self._path = path
        self._offset = timedelta()
        self._frozen: datetime | None = None
        if path is not None and path.exists():
            self._take(json.loads(path.read_text(encoding="utf-8")))

    def now(self) -> datetime:
        """The sandbox's present, aware, in UTC."""
        return self._frozen if self._frozen is not None else datetime.now(UTC) + self._offset

    def set(self, order: Mapping[str, Any]) -> None:
        """Follow `{"offset_seconds": n}`, `{"at": iso}` (then runs on) or `{"frozen": iso | None}`.

        Raises ValueError for anything else, and for an instant without an offset.
        """
        if len(order) != 1 or not set(order) <= {"offset_seconds", "at", "frozen"}:
            raise ValueError("give one of offset_seconds, at, frozen")
        self._take(order)
        if self._path is not None:
            draft = self._path.with_suffix(".tmp")
            draft.write_text(json.dumps(self.state()), encoding="utf-8")
            draft.replace(self._path)

    def state(self) -> dict[str, Any]:
        """`{"offset_seconds": number, "frozen": iso or None}`, which `Clock` reads back."""
        frozen = None if self._frozen is None else self._frozen.isoformat()
        return {"offset_seconds": self._offset.total_seconds(), "frozen": frozen}

    def _take(self, order: Mapping[str, Any]) -> None:
        if "offset_seconds" in order:
            self._offset, self._frozen = timedelta(seconds=float(order["offset_seconds"])), None
        if "at" in order:
            self._offset, self._frozen = instant(order["at"]) - datetime.now(UTC), None
        if order.get("frozen") is not None:
            self._frozen = instant(order["frozen"])
        elif "frozen" in order:
            self._frozen = None


def instant(text: Any) -> datetime:
    """An ISO instant as UTC. Raises ValueError when it is none or has no offset."""
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    return moment.astimezone(UTC)
