"""Client id and client secret of a vendor's app: from a file, the environment, the vault or a prompt, never an argument."""

import json
import os
import sys
from pathlib import Path

import typer

from ml_connector.connecting.companies import Client
from ml_connector.errors import SetupError
from ml_connector.store.grants import PRODUCTS
from ml_connector.store.vault import System


def client_of(system: System, *, file: Path | None, stored: Client | None, ask: bool) -> Client:
    """The client of `system`. `stored` is used again unless `ask`. Raises SetupError when there is none."""
    if file is not None:
        return _from_file(file)
    names = [f"ML_CONNECTOR_{system.upper()}_CLIENT_{part}" for part in ("ID", "SECRET")]
    client_id, secret = (os.environ.get(name, "").strip() for name in names)
    if bool(client_id) != bool(secret):
        raise SetupError(f"{' and '.join(names)} belong together: one of them is missing")
    if client_id:
        return Client(client_id, secret)
    if stored is not None and not ask:
        return stored
    return _asked(system, names)


def _from_file(path: Path) -> Client:
    try:
        if path.stat().st_mode & 0o077:
            raise SetupError(f"{path} is open to others: chmod 600 {path}")
        content = json.loads(path.read_bytes())
        client = Client(content["client_id"].strip(), content["client_secret"].strip())
    except FileNotFoundError:
        raise SetupError(f"{path} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SetupError(f'{path} must be JSON: {{"client_id": "...", "client_secret": "..."}}') from None
    if not client.id or not client.secret:
        raise SetupError(f"{path}: client_id or client_secret is empty")
    return client


def _asked(system: System, names: list[str]) -> Client:
    client_id = _line(f"{PRODUCTS[system]} client id", hidden=False)
    secret = _line(f"{PRODUCTS[system]} client secret", hidden=True)
    if not client_id or not secret:
        raise SetupError(
            f"client id and client secret are needed: at the prompt, by --credentials FILE, or in {' and '.join(names)}"
        )
    return Client(client_id, secret)


def _line(question: str, *, hidden: bool) -> str:
    """One line of standard input; what is typed at a terminal for a secret is not shown."""
    if sys.stdin.isatty():
        return str(
            typer.prompt(question, default="", hide_input=hidden, show_default=False, err=True)
        ).strip()
    return sys.stdin.readline().strip()
