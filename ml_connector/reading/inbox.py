"""The folder of webhook files, seen from the reader: a hint that something changed, never the change itself.

File names are the contract with the receiver: `<connection>__<UTC second>__<16 hex of sha256>.json`.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ml_connector.settings import Home

UNKNOWN = "unknown"  # in the place of the connection: a company that none names
KEPT = timedelta(days=60)  # far beyond the days for which QBO repeats a webhook


def waiting(home: Home, connection: str) -> list[str]:
    """Names of the files that wait for a connection, oldest first; part-written files never show."""
    if not home.inbox.is_dir():
        return []
    names = [entry.name for entry in home.inbox.glob(f"{connection}__*__*.json")]
    # Another connection's name may begin alike and go on with two underscores.
    return sorted(name for name in names if name.rsplit("__", 2)[0] == connection)


def finish(home: Home, names: Iterable[str]) -> None:
    """Move files whose change was read to done/; one that another run moved already is no fault.

    What came more than 60 days ago is removed there: nothing reads it, it only tells repetitions.
    """
    home.done.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            (home.inbox / name).rename(home.done / name)
        except FileNotFoundError:
            continue
    oldest = datetime.now(UTC) - KEPT
    for entry in home.done.glob("*__*__*.json"):
        if entry.name.rsplit("__", 2)[1] < f"{oldest:%Y%m%dT%H%M%SZ}":
            _forget(entry, before=oldest)


def _forget(entry: Path, *, before: datetime) -> None:
    with suppress(FileNotFoundError):  # another run was first
        if entry.stat().st_mtime < before.timestamp():
            entry.unlink()
