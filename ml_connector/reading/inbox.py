"""The folder of webhook files, seen from the reader: a file is a hint that something changed, never the change itself.

File names are the contract with the receiver: `<connection>__<UTC second>__<16 hex of sha256>.json`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from ml_connector.settings import Home

UNKNOWN = "unknown"  # realms that no connection claims
SECOND = "%Y%m%dT%H%M%SZ"


def waiting(home: Home, connection: str) -> list[str]:
    """Names of the files that wait for a connection, oldest first; part-written files never show."""
    if not home.inbox.is_dir():
        return []
    return sorted(entry.name for entry in home.inbox.glob(f"{connection}__*.json"))


def received_at(name: str) -> datetime:
    """When the receiver stored the file, by its name, in UTC. Raises ValueError for a foreign name."""
    parts = name.split("__")
    if len(parts) != 3:
        raise ValueError(f"{name} is not <connection>__<second>__<hash>.json")
    return datetime.strptime(parts[1], SECOND).replace(tzinfo=UTC)


def finish(home: Home, names: Iterable[str]) -> None:
    """Move files whose change was read to done/; one that another run moved already is no fault."""
    home.done.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            (home.inbox / name).rename(home.done / name)
        except FileNotFoundError:
            continue
