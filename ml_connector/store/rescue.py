"""Renewed credentials that the database did not take: sealed files (0600) until it is back.

Each file names the row that it replaces, so that an old one never overwrites a newer row.
"""

import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from ml_connector.errors import SetupError
from ml_connector.store.keys import Sealed


@dataclass(frozen=True)
class Rescued:
    """A sealed set, and the sha256 of the sealed text that it replaces."""

    sealed: Sealed
    found_digest: bytes


def write_rescued(folder: Path, connection: str, system: str, rescued: Rescued) -> None:
    """Write one file, whole or not at all, and wait until the disk has it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{_prefix(connection, system)}{rescued.found_digest.hex()[:16]}.json"
    content = {
        "key_id": rescued.sealed.key_id,
        "sealed": b64encode(rescued.sealed.text).decode("ascii"),
        "found": rescued.found_digest.hex(),
    }
    part = path.with_suffix(f".{os.getpid()}.part")
    with os.fdopen(
        os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii"
    ) as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_rescued(folder: Path, connection: str, system: str) -> list[tuple[Path, Rescued]]:
    """The files of one credential set. Raises SetupError for one that is damaged."""
    found = []
    for path in sorted(folder.glob(f"{_prefix(connection, system)}*.json")):
        try:
            content = json.loads(path.read_bytes())
            sealed = Sealed(str(content["key_id"]), b64decode(content["sealed"], validate=True))
            found.append((path, Rescued(sealed, bytes.fromhex(content["found"]))))
        except FileNotFoundError:  # another process has just adopted it
            continue
        except (ValueError, KeyError, TypeError):
            raise SetupError(
                f"{path} is damaged: move it away and connect {system} again if calls fail"
            ) from None
    return found


def rescued_keys(folder: Path) -> set[str]:
    """The ids of the keys that sealed the files of a folder."""
    found = set()
    for path in folder.glob("*.*.json"):
        try:
            found.add(str(json.loads(path.read_bytes())["key_id"]))
        except FileNotFoundError:  # adopted meanwhile
            continue
        except (ValueError, KeyError, TypeError):
            raise SetupError(f"{path} is damaged: move it away and try again") from None
    return found


def _prefix(connection: str, system: str) -> str:
    return f"{connection}.{system}."
