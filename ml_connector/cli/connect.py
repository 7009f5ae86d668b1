"""`connect qbo` and `connect procore`: credentials of a real company into the vault, once it is shown and confirmed."""

import logging
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from sqlalchemy import Engine

from ml_connector.cli.callback import Callback, Question, listening
from ml_connector.cli.client_keys import client_of
from ml_connector.cli.output import AsJson, counted, log_from, plain, show
from ml_connector.cli.person import system_account
from ml_connector.cli.site import open_site, prepare_keys
from ml_connector.connecting.companies import Client, Company, procore_company, qbo_company
from ml_connector.connecting.consent import LIFE, Consent, Query, query_of
from ml_connector.errors import SetupError
from ml_connector.holds import Reason
from ml_connector.mapping.publishing import procore_projects
from ml_connector.orchestration.clients import vault_of
from ml_connector.settings import Connection, load_connection
from ml_connector.store import grants, windows
from ml_connector.store.vault import System, Vault

app = typer.Typer(
    help="Connect a real company: QuickBooks by consent, Procore by the keys of its service account.",
    no_args_is_help=True,
)
LOOPBACK = ("localhost", "127.0.0.1")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The connection.")]
CredentialsFile = Annotated[
    Path | None,
    typer.Option("--credentials", metavar="FILE", help="JSON with client_id and client_secret, mode 0600."),
]
Ask = Annotated[bool, typer.Option("--ask", help="Ask for client id and secret, though some are stored.")]
Yes = Annotated[bool, typer.Option("--yes", help="Store without asking whether it is the right company.")]
DiscardUnreadable = Annotated[
    bool,
    typer.Option(
        "--discard-unreadable",
        help="Replace stored credentials whose key is lost; they cannot be brought back.",
    ),
]


@app.command()
def qbo(
    name: Name,
    credentials: CredentialsFile = None,
    ask: Ask = False,
    code: Annotated[
        bool,
        typer.Option(
            "--code", help="Paste the address that the browser was sent to, instead of being called back."
        ),
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the address of Intuit in a browser here.")
    ] = True,
    yes: Yes = False,
    discard_unreadable: DiscardUnreadable = False,
    as_json: AsJson = False,
) -> None:
    """Connect or reconnect the QuickBooks company of NAME: a person consents at Intuit.

    Cursor, history and holds stay as they are; what waited goes on by itself.
    """
    console = _progress()
    with open_site() as site:
        prepare_keys(site)
        connection = load_connection(site.home, name)
        with site.engine() as engine:
            vault = vault_of(site.home, engine)
            client = client_of(
                "qbo", file=credentials, stored=_stored(vault, name, "qbo", lost=discard_unreadable), ask=ask
            )
            consent = Consent(connection, client.id)
            console.print(f"Open this address, sign in and choose the company:\n\n  {consent.address}\n")
            with _way_back(connection, consent, paste=code, browser=browser, console=console) as (
                query,
                page,
            ):
                company = qbo_company(connection, client, consent.code(query))
                console.print(f"QuickBooks company: {plain(company.name)} (realm {connection.qbo.realm_id})")
                if page is None or yes:
                    _must_be_right(connection, yes=yes)
                else:
                    _must_be_right_in_browser(connection, company, page, console)
                _store(engine, vault, connection, "qbo", company, discard_unreadable=discard_unreadable)
                if page is not None:
                    page.tell(f"{company.name} is connected to {connection.name}.")
    _tell(connection, "qbo", connection.qbo.realm_id, company, as_json=as_json)


@app.command()
def procore(
    name: Name,
    credentials: CredentialsFile = None,
    ask: Ask = False,
    yes: Yes = False,
    discard_unreadable: DiscardUnreadable = False,
    as_json: AsJson = False,
) -> None:
    """Connect or reconnect the Procore company of NAME: the keys of the app's service account."""
    console = _progress()
    with open_site() as site:
        prepare_keys(site)
        connection = load_connection(site.home, name)
        with site.engine() as engine:
            vault = vault_of(site.home, engine)
            client = client_of(
                "procore",
                file=credentials,
                stored=_stored(vault, name, "procore", lost=discard_unreadable),
                ask=ask,
            )
            company = procore_company(connection, client)
            number = connection.procore.company_id
            console.print(
                f"Procore company: {plain(company.name)} ({number}), {_seen(engine, connection, company)}"
            )
            _must_be_right(connection, yes=yes)
            _store(engine, vault, connection, "procore", company, discard_unreadable=discard_unreadable)
    _tell(connection, "procore", str(number), company, as_json=as_json)


def _progress() -> Console:
    log_from(logging.ERROR)
    return Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _stored(vault: Vault, name: str, system: System, *, lost: bool) -> Client | None:
    """The client of an earlier time; with `lost`, the sets that no key opens count as not there."""
    if lost or not vault.has(name, system):
        return None
    kept, _ = vault.get(name, system)
    return Client(kept.client_id, kept.client_secret)


@contextmanager
def _way_back(
    connection: Connection, consent: Consent, *, paste: bool, browser: bool, console: Console
) -> Iterator[tuple[Query, Callback | None]]:
    """The answer of the consent, and the page that it came to; None where it was pasted."""
    settings = connection.qbo
    redirect = urlsplit(settings.redirect_url)
    own = (redirect.port or 80) if redirect.scheme == "http" and redirect.hostname in LOOPBACK else None
    port = settings.callback_port or own
    if paste or port is None:
        yield _pasted(consent, console), None
        return
    with listening(port, redirect.path, consent.take) as callback:
        if browser and sys.stdout.isatty():
            webbrowser.open(consent.address)
        console.print(f"Waiting for the answer at {settings.redirect_url}, ten minutes at most …")
        yield callback.wait(LIFE), callback


def _pasted(consent: Consent, console: Console) -> Query:
    console.print("Paste the whole address that the browser shows after the consent, code and state in it:")
    query = query_of(sys.stdin.readline())
    if not consent.take(query):
        raise SetupError(
            "the address is not the answer to this request: it needs the `state` that was asked with, once and within ten "
            "minutes; nothing was changed"
        )
    return query


def _seen(engine: Engine, connection: Connection, company: Company) -> str:
    with engine.connect() as db:
        linked = procore_projects(db, connection.name)
    hidden = sorted(linked - set(company.projects))
    words = f"{counted(len(company.projects), 'project')} can be seen"
    if hidden:
        words += (
            f"; linked and not permitted: {', '.join(hidden[:10])}{' …' if len(hidden) > 10 else ''}. "
            "A company administrator adds them to the permitted projects of the app; their bills wait meanwhile"
        )
    return words


def _must_be_right_in_browser(
    connection: Connection, company: Company, page: Callback, console: Console
) -> None:
    console.print(f"Is this the company of {connection.name}? The page in the browser asks.")
    if not page.confirmed(Question(connection.name, company.name, connection.qbo.realm_id)):
        raise SetupError("not confirmed: nothing was stored (--yes confirms without asking)")


def _must_be_right(connection: Connection, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        given = sys.stdin.readline().strip().lower()
    else:
        given = typer.prompt(
            f"Is this the company of {connection.name}? [y/N]", default="n", show_default=False, err=True
        )
    if given not in ("y", "yes"):
        raise SetupError("not confirmed: nothing was stored (--yes confirms without asking)")


def _store(
    engine: Engine,
    vault: Vault,
    connection: Connection,
    system: System,
    company: Company,
    *,
    discard_unreadable: bool,
) -> None:
    vault.put(
        connection.name,
        system,
        company.credentials,
        by=system_account(),
        discard_unreadable=discard_unreadable,
    )
    with engine.begin() as db:
        windows.hurry(db, connection.name)
        if system == "procore":
            windows.wake(db, connection.name, [Reason.PERMISSION], why="Procore was connected again")


def _tell(connection: Connection, system: System, number: str, company: Company, *, as_json: bool) -> None:
    document = {
        "connection": connection.name,
        "system": system,
        "company": number,
        "name": company.name,
        "consent_ends": company.credentials.ends_at,
        "next": f"ml-connector ping {connection.name}",
    }

    def human(console: Console) -> None:
        ends = company.credentials.ends_at
        until = "" if ends is None else f" Unused, the consent ends on {ends:%Y-%m-%d}."
        console.print(f"{grants.PRODUCTS[system]} is connected; work that waited goes on by itself.{until}")
        console.print(f"Next: {document['next']}")

    show(document, as_json=as_json, human=human)
