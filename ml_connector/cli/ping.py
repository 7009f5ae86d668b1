"""`ping`: step by step, whether a connection can work, and what to do where it cannot. It writes to nobody."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import Engine

from ml_connector.cli.loopback import LOOPBACK, answers
from ml_connector.cli.output import AsJson, log_from, people, plain, show
from ml_connector.cli.site import Site, open_site
from ml_connector.connecting.checks import Check, Result, failed, ok, warning
from ml_connector.connecting.procore_checks import check_procore
from ml_connector.connecting.qbo_checks import check_qbo
from ml_connector.connecting.webhook_checks import check_public_address
from ml_connector.errors import SetupError
from ml_connector.mapping.publishing import procore_projects
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.receiver.config import ReceiverConfigError, read_realms, read_verifier_token
from ml_connector.settings import Connection, load_connection, load_connections
from ml_connector.store.grants import PRODUCTS, Standing, standings
from ml_connector.store.vault import System
from ml_connector.transport.session import Bounds

PATIENCE = Bounds(patience=30.0, insist=True)
MARKS = {Result.OK: "ok  ", Result.WARNING: "look", Result.FAILED: "FIX "}


def ping(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The connection.")],
    receiver_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the webhook receiver on this machine.")
    ] = 8765,
    webhook_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where Intuit sends webhooks, such as https://host/webhooks/qbo: is it reached?",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check a connection step by step: tokens, companies, projects, tools, webhooks. Exit code 1: something is to fix."""
    log_from(logging.ERROR)
    found: list[Check] = []
    console = people()
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine:
            for check in _checks(site, engine, connection, receiver_port, webhook_url):
                found.append(check)
                if not as_json:
                    _print(console, check)
    broken = [check for check in found if check.result is Result.FAILED]
    show(
        _document(connection, found), as_json=as_json, human=lambda people: _sum_up(people, connection, found)
    )
    raise typer.Exit(1 if broken else 0)


def _checks(
    site: Site, engine: Engine, connection: Connection, receiver_port: int, webhook_url: str
) -> Iterator[Check]:
    with engine.connect() as db:
        linked = procore_projects(db, connection.name)
    yield from _qbo(site, engine, connection)
    yield from _procore(site, engine, connection, linked)
    yield from _webhooks(site, connection, receiver_port)
    if webhook_url:
        yield check_public_address(webhook_url)


def _qbo(site: Site, engine: Engine, connection: Connection) -> Iterator[Check]:
    def standing() -> Standing:
        return _standing(engine, connection, "qbo")

    if standing().state is None:
        yield _unconnected(connection, "qbo")
        return
    try:
        opened = qbo_client(site.home, connection, engine, bounds=PATIENCE)
    except SetupError as error:
        yield failed(PRODUCTS["qbo"], "token", str(error), fix="see the sentence")
        return
    with closing(opened) as client:
        yield from check_qbo(connection, client, standing)


def _procore(site: Site, engine: Engine, connection: Connection, linked: set[str]) -> Iterator[Check]:
    if _standing(engine, connection, "procore").state is None:
        yield _unconnected(connection, "procore")
        return
    try:
        opened = procore_client(site.home, connection, engine, bounds=PATIENCE)
    except SetupError as error:
        yield failed(PRODUCTS["procore"], "token", str(error), fix="see the sentence")
        return
    realms = [other.qbo.realm_id for other in load_connections(site.home)]
    with closing(opened) as client:
        yield from check_procore(connection, client, linked=linked, realms=realms)


def _standing(engine: Engine, connection: Connection, system: System) -> Standing:
    with engine.connect() as db:
        return next(found for found in standings(db, connection.name) if found.system == system)


def _unconnected(connection: Connection, system: System) -> Check:
    fix = f"run `ml-connector connect {system} {connection.name}`"
    return failed(PRODUCTS[system], "token", "not connected", fix=fix)


def _webhooks(site: Site, connection: Connection, port: int) -> Iterator[Check]:
    of, polled = "Webhooks", "without webhooks QuickBooks is polled alone"
    try:
        read_verifier_token(site.home.receiver / "verifier_token")
        realms = read_realms(site.home.receiver / "realms.json")
    except ReceiverConfigError as error:
        yield warning(of, "verifier token", str(error), fix=f"as it says; {polled}")
        return
    yield ok(of, "verifier token", "is there, and only its owner can read it")
    if not answers(f"{LOOPBACK}{port}/health"):
        fix = f"`ml-connector up` starts it, --receiver-port names another port; {polled}"
        yield warning(of, "receiver", f"no receiver answers on port {port} of this machine", fix=fix)
        return
    if realms.get(connection.qbo.realm_id) != connection.name:
        fix = "start `ml-connector up` again: it tells the receiver of new connections"
        yield warning(of, "receiver", "it runs, and does not know this company yet", fix=fix)
        return
    yield ok(of, "receiver", f"answers on port {port}, and knows the company")


def _document(connection: Connection, found: Sequence[Check]) -> dict[str, Any]:
    return {
        "connection": connection.name,
        "ok": all(check.result is not Result.FAILED for check in found),
        "checks": [
            {
                "of": check.of,
                "what": check.what,
                "result": str(check.result),
                "found": check.found,
                "fix": check.fix,
            }
            for check in found
        ],
    }


def _print(console: Console, check: Check) -> None:
    console.print(f"{MARKS[check.result]}  {check.of}, {check.what}: {plain(check.found)}", soft_wrap=True)
    if check.fix:
        console.print(f"      -> {plain(check.fix)}", soft_wrap=True)


def _sum_up(console: Console, connection: Connection, found: Sequence[Check]) -> None:
    broken = sum(check.result is Result.FAILED for check in found)
    noted = sum(check.result is Result.WARNING for check in found)
    if broken:
        console.print(f"{connection.name} cannot work yet: {broken} to fix, {noted} to look at.")
    else:
        console.print(f"{connection.name} can work{f'; {noted} to look at' if noted else ''}.")
