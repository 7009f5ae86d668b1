"""The key ring of the vault: AES-256-GCM keys by id in one 0600 file, outside the database."""

import json
import os
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


def make_key_ring(path: Path) -> KeyRing:
    """A new ring with one key, written to `path` (0600). Raises SetupError when the file is there already."""
    ring = KeyRing("1", {"1": AESGCM.generate_key(bit_length=8 * _KEY_BYTES)})
    keys = {name: b64encode(key).decode("ascii") for name, key in ring.keys.items()}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SetupError(f"{path} exists: a new key ring would lock the stored credentials out") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump({"current": ring.current, "keys": keys}, file)
        file.flush()
        os.fsync(file.fileno())
    return ring


def load_key_ring(path: Path) -> KeyRing:
    """The ring of `path`. Raises SetupError when it is missing, open to others, or not a ring."""
    try:
        if path.stat().st_mode & 0o077:
            raise SetupError(f"{path} is open to others: chmod 600 {path}")
        content = json.loads(path.read_bytes())
        keys = {str(name): b64decode(key, validate=True) for name, key in content["keys"].items()}
        current = str(content["current"])
    except FileNotFoundError:
        raise SetupError(f"the key ring {path} is missing; without it no stored credentials open") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SetupError(f"{path} is not a key ring") from None
    if current not in keys or any(len(key) != _KEY_BYTES for key in keys.values()):
        raise SetupError(f"{path}: every key must have {_KEY_BYTES} bytes, and the current one must be there")
    return KeyRing(current, keys)
