"""Where the key ring is kept: a 0600 file, a variable of the environment, or a command that prints it.

A ring is read again whenever something is sealed, so that a rotation needs no restart.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ml_connector.errors import SetupError
from ml_connector.settings import (
    KEYS_COMMAND_VARIABLE,
    KEYS_FILE_VARIABLE,
    KEYS_VARIABLE,
    Home,
)
from ml_connector.store.keys import KeyRing, load_key_ring, parse_key_ring, write_key_ring

COMMAND_SECONDS = 30


class KeySource(Protocol):
    """A place that has the ring."""

    def read(self) -> KeyRing:
        """The ring as it is now. Raises SetupError."""


@dataclass(frozen=True)
class GivenKeys:
    """A ring that is in hand."""

    ring: KeyRing

    def read(self) -> KeyRing:
        return self.ring


@dataclass(frozen=True)
class KeyFile:
    """A file that only its owner may read."""

    path: Path

    def read(self) -> KeyRing:
        return load_key_ring(self.path)

    def write(self, ring: KeyRing) -> None:
        """Put `ring` in the place of the file's, whole or not at all, and wait until the disk has it."""
        write_key_ring(self.path, ring)


@dataclass(frozen=True)
class KeyVariable:
    """A variable of the environment."""

    name: str
    environment: Mapping[str, str]

    def read(self) -> KeyRing:
        return parse_key_ring(self.environment[self.name], where=self.name)


@dataclass(frozen=True, repr=False)
class KeyCommand:
    """A command, run without a shell, that prints the ring: what a secret store's own client does."""

    command: str

    def read(self) -> KeyRing:
        try:
            done = subprocess.run(
                shlex.split(self.command), capture_output=True, check=False, timeout=COMMAND_SECONDS
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise SetupError(
                f"the command of {KEYS_COMMAND_VARIABLE} cannot be run ({type(error).__name__})"
            ) from None
        if done.returncode != 0:
            raise SetupError(f"the command of {KEYS_COMMAND_VARIABLE} ended with code {done.returncode}")
        return parse_key_ring(done.stdout, where=f"what {KEYS_COMMAND_VARIABLE} prints")


def key_source(home: Home, environment: Mapping[str, str] = os.environ) -> KeySource:
    """Where this installation keeps its ring; without a setting, the file of the home.

    Raises SetupError when the environment names more than one place.
    """
    given = [
        name for name in (KEYS_VARIABLE, KEYS_FILE_VARIABLE, KEYS_COMMAND_VARIABLE) if environment.get(name)
    ]
    if len(given) > 1:
        raise SetupError(f"{' and '.join(given)} are set: the key ring has one place")
    if given == [KEYS_VARIABLE]:
        return KeyVariable(KEYS_VARIABLE, environment)
    if given == [KEYS_COMMAND_VARIABLE]:
        return KeyCommand(environment[KEYS_COMMAND_VARIABLE])
    path = environment.get(KEYS_FILE_VARIABLE)
    return KeyFile(Path(path).expanduser().absolute() if path else home.keys)
