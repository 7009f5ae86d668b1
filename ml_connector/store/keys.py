"""The key ring of the vault: AES-256-GCM keys by id, outside the database, in one 0600 file for instance.

Which place an installation keeps it in is said by `key_sources.py`.
"""

import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ml_connector.errors import SetupError

_NONCE_BYTES = 12
_KEY_BYTES = 32


@dataclass(frozen=True)
class Sealed:
    """A sealed text (nonce, then ciphertext with its tag) and the id of the key that opens it."""

    key_id: str
    text: bytes


@dataclass(frozen=True, repr=False)
class KeyRing:
    """Keys by id; `current` seals, all open."""

    current: str
    keys: Mapping[str, bytes]

    def seal(self, plain: bytes, *, bound_to: bytes) -> Sealed:
        """`plain` under the current key; it opens only with the same `bound_to`."""
        nonce = os.urandom(_NONCE_BYTES)
        cipher = AESGCM(self.keys[self.current])
        return Sealed(self.current, nonce + cipher.encrypt(nonce, plain, bound_to))

    def unseal(self, sealed: Sealed, *, bound_to: bytes) -> bytes:
        """The text. Raises SetupError when the ring is not the one that sealed it, or `bound_to` differs."""
        key = self.keys.get(sealed.key_id)
        if key is None:
            raise SetupError(
                f"the key ring has no key {sealed.key_id!r}, which sealed the stored credentials"
            )
        nonce, ciphertext = sealed.text[:_NONCE_BYTES], sealed.text[_NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, ciphertext, bound_to)
        except (InvalidTag, ValueError):
            raise SetupError(
                f"stored credentials do not open with key {sealed.key_id!r}: the key ring is another one, "
                "or the stored text was altered or moved"
            ) from None

    def with_new_key(self) -> "KeyRing":
        """The ring with one key more, which is the current one."""
        name = f"k{secrets.token_hex(4)}"
        return KeyRing(name, {**self.keys, name: _new_key()})

    def with_only(self, names: set[str]) -> "KeyRing":
        """The ring with its current key and those of `names`."""
        kept = {name: key for name, key in self.keys.items() if name == self.current or name in names}
        return KeyRing(self.current, kept)

    def written(self) -> str:
        """The ring as text, keys included: for the place where it is kept, and for nothing else."""
        keys = {name: b64encode(key).decode("ascii") for name, key in self.keys.items()}
        return json.dumps({"current": self.current, "keys": keys})


def new_key_ring() -> KeyRing:
    """A ring with one new key."""
    return KeyRing("1", {"1": _new_key()})


def parse_key_ring(content: str | bytes, *, where: str) -> KeyRing:
    """The ring of `content`. Raises SetupError naming `where` when it is none."""
    try:
        given = json.loads(content)
        keys = {str(name): b64decode(key, validate=True) for name, key in given["keys"].items()}
        current = str(given["current"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SetupError(f"{where} is not a key ring") from None
    if current not in keys or any(len(key) != _KEY_BYTES for key in keys.values()):
        raise SetupError(
            f"{where}: every key must have {_KEY_BYTES} bytes, and the current one must be there"
        )
    return KeyRing(current, keys)


def make_key_ring(path: Path) -> KeyRing:
    """A new ring with one key, written to `path` (0600). Raises SetupError when the file is there already."""
    ring = new_key_ring()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _write(path, ring, os.O_EXCL)
    except FileExistsError:
        raise SetupError(f"{path} exists: a new key ring would lock the stored credentials out") from None
    return ring


def write_key_ring(path: Path, ring: KeyRing) -> None:
    """Put `ring` into a file (0600), in place of any that is there, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _write(part, ring, os.O_TRUNC)
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_key_ring(path: Path) -> KeyRing:
    """The ring of `path`. Raises SetupError when it is missing, open to others, or not a ring."""
    try:
        if path.stat().st_mode & 0o077:
            raise SetupError(f"{path} is open to others: chmod 600 {path}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise SetupError(f"the key ring {path} is missing; without it no stored credentials open") from None
    return parse_key_ring(content, where=str(path))


def _write(path: Path, ring: KeyRing, how: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600), "w", encoding="ascii") as file:
        file.write(ring.written())
        file.flush()
        os.fsync(file.fileno())


def _new_key() -> bytes:
    return AESGCM.generate_key(bit_length=8 * _KEY_BYTES)
