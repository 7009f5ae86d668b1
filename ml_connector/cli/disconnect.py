"""`disconnect`: end a grant at the vendor and forget it here. Books, cursor, history and holds stay."""

import logging
import sys
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console

from ml_connector.cli.output import AsJson, log_from, show
from ml_connector.cli.person import system_account
from ml_connector.cli.site import open_site
from ml_connector.errors import SetupError, VendorError
from ml_connector.orchestration.clients import vault_of
from ml_connector.procore import tokens as procore_tokens
from ml_connector.qbo import tokens as qbo_tokens
from ml_connector.settings import Connection, load_connection
from ml_connector.store.grants import PRODUCTS, not_connected
from ml_connector.store.vault import Credentials, System, Vault
from ml_connector.transport.oauth import TokenEndpoint


def disconnect(
    system: Annotated[System, typer.Argument(metavar="qbo|procore", help="Which of the two.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The connection.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    without_revoking: Annotated[
        bool,
        typer.Option("--without-revoking", help="Only forget the credentials here; the vendor is not told."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """End the grant of a company at the vendor and forget its credentials; work waits until it is connected again.

    What was read and posted stays, here and in Procore.
    """
    log_from(logging.ERROR)
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine:
            vault = vault_of(site.home, engine)
            if not vault.has(name, system):
                raise SetupError(not_connected(name, system))
            _must_be_meant(connection, system, yes=yes)
            if without_revoking:
                vault.forget(name, system, by=system_account())
                found = "was not told: its own list of connected apps still has ml-connector"
            else:
                found = _end(vault, connection, system)
    document = {"connection": name, "system": system, "vendor": found}

    def human(console: Console) -> None:
        console.print(f"{PRODUCTS[system]} {found}.")
        console.print(
            f"The credentials are forgotten here; `ml-connector connect {system} {name}` goes on from there."
        )

    show(document, as_json=as_json, human=human)


def _end(vault: Vault, connection: Connection, system: System) -> str:
    """End the grant under its lock, so that no worker renews it meanwhile; what the vendor made of it."""
    with vault.locked(connection.name, system) as held:
        try:
            found = _revoked(connection, system, held.credentials)
        except VendorError as error:
            raise SetupError(
                f"{PRODUCTS[system]} did not end the grant ({error}): nothing was changed; try again, or forget the "
                "credentials here alone with --without-revoking"
            ) from error
        held.forget(by=system_account())
    return found


def _revoked(connection: Connection, system: System, credentials: Credentials) -> str:
    if system == "qbo":
        header = qbo_tokens.REQUEST_ID_HEADER
        with closing(TokenEndpoint("qbo", connection.qbo.revoke_url, request_id_header=header)) as endpoint:
            ended = qbo_tokens.revoked(endpoint, credentials)
        return "ended the consent" if ended else "knew the consent no more"
    header = procore_tokens.REQUEST_ID_HEADER
    with closing(
        TokenEndpoint("procore", connection.procore.revoke_url, request_id_header=header)
    ) as endpoint:
        procore_tokens.revoked(endpoint, credentials)
    return (
        "ended the token; a company administrator removes the app in App Management, where its keys end too"
    )


def _must_be_meant(connection: Connection, system: System, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        given = sys.stdin.readline().strip().lower()
    else:
        question = f"End the connection of {connection.name} to {PRODUCTS[system]}? [y/N]"
        given = typer.prompt(question, default="n", show_default=False, err=True)
    if given not in ("y", "yes"):
        raise SetupError("not confirmed: nothing was changed (--yes confirms without asking)")
