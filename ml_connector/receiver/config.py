"""The two files that the receiver reads: its verifier token and which company belongs to which connection.

Both are read again when they change, so that a token is rotated and a company connected without a stop.
"""

import json
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import structlog

Value = TypeVar("Value")
_log = structlog.get_logger(__name__)

_CONNECTION = re.compile(r"[a-z][a-z0-9_]{0,30}")


class ReceiverConfigError(Exception):
    """A file of the receiver cannot be used; the message says what to do."""


class WatchedFile(Generic[Value]):
    """A parsed file that follows its changes; a broken new version is reported, the last good one stays."""

    def __init__(self, path: Path, read: Callable[[Path], Value]) -> None:
        self._path = path
        self._read = read
        self._seen = self._state()
        self._value = read(path)

    def value(self) -> Value:
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._value = self._read(self._path)
            except ReceiverConfigError as error:
                _log.error("file_refused_last_good_one_stays", file=self._path.name, reason=str(error))
            else:
                _log.info("file_read_again", file=self._path.name)
        return self._value

    def _state(self) -> tuple[int, int, int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def read_verifier_token(path: Path) -> str:
    """The token of Intuit's webhook page. Raises ReceiverConfigError unless its mode is 0600."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode != 0o600:
            raise ReceiverConfigError(f"{path} has mode {mode:04o}: make it 0600 (chmod 600).")
        token = path.read_text().strip()
    except FileNotFoundError as error:
        raise ReceiverConfigError(
            f"{path} is missing: write the verifier token of Intuit's webhook page into it, mode 0600."
        ) from error
    if not token:
        raise ReceiverConfigError(
            f"{path} is empty: write the verifier token of Intuit's webhook page into it."
        )
    return token


def read_realms(path: Path) -> Mapping[str, str]:
    """Realm id -> connection name; empty while no company is connected. Raises ReceiverConfigError."""
    try:
        realms = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ReceiverConfigError(f"{path} is not JSON.") from error
    if not isinstance(realms, dict):
        raise ReceiverConfigError(f"{path} must be an object of realm id -> connection name.")
    for realm, name in realms.items():
        if not isinstance(name, str) or not _CONNECTION.fullmatch(name) or "__" in name or name == "unknown":
            raise ReceiverConfigError(f"{path}: {name!r} (realm {realm}) cannot be a connection's name.")
    return realms
