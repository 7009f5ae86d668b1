"""`init`, `up`, `status`, `sandbox`: an installation and its connections."""

import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console

from ml_connector.cli.output import AsJson, counted, show, table
from ml_connector.cli.site import Site, new_site, open_site, prepare, undisturbed
from ml_connector.errors import SetupError
from ml_connector.reading import inbox
from ml_connector.settings import Connection, home_from, load_connection, load_connections
from ml_connector.store import breaker, cursor, loads, overview, windows
from ml_connector.store.alarms import all_of
from ml_connector.store.grants import standings
from ml_connector.watching.causes import causes

MAPPING_HEADER = (
    "account,item,class,location,vendor,customer,description,valid_from,valid_to,"
    "route,cost_code,cost_type,project,commitment,share,reason,note\n"
)
PROJECTS_HEADER = "customer,project,note\n"
VENDORS_HEADER = "vendor,procore_vendor,note\n"
RUN = "run:"  # causes that only the sensor sees, in Dagster
TOLD_ALREADY = ("reconnect:", "consent:", "away:")  # grants and outages are told for themselves
HOW_TO_WRITE = {
    "name": "the name takes small letters, digits and single underscores, begins with a letter "
    "and is not `unknown`",
    "qbo": "the QuickBooks company id (realm) has digits only",
    "procore": "the Procore company id is a whole number above 0",
    "time_zone": "the time zone is written like America/Denver",
}


def init(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of the connection: small letters, digits, underscores."),
    ],
    realm: Annotated[
        str,
        typer.Option(
            prompt="QuickBooks company id (realm)", help="The QuickBooks company id (realm), digits only."
        ),
    ],
    company: Annotated[int, typer.Option(prompt="Procore company id", help="The Procore company id.")],
    time_zone: Annotated[
        str,
        typer.Option(
            prompt="Time zone of the books, such as America/Denver",
            help="Time zone of the books, such as America/Denver. It stays: the days of change hang on it.",
        ),
    ],
    start_date: Annotated[
        datetime,
        typer.Option(
            prompt="Take bills dated from (YYYY-MM-DD)",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Bills dated before this day are not taken.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Make the folder of a new connection, and everything that this installation needs."""
    content = {
        "qbo": {"realm_id": realm},
        "procore": {"company_id": company},
        "time_zone": time_zone,
        "start_date": start_date.date(),
    }
    _check(name, content)
    home = home_from()
    folder = home.folder(name)
    settings = folder / "connection.yaml"
    if settings.exists():
        raise SetupError(f"{settings} is there already: edit it, or choose another name")
    with new_site(home) as site:
        prepare(site)
    folder.mkdir(parents=True, exist_ok=True)
    headers = {"mapping": MAPPING_HEADER, "projects": PROJECTS_HEADER, "vendors": VENDORS_HEADER}
    for sheet, header in headers.items():
        if not (folder / f"{sheet}.csv").exists():
            (folder / f"{sheet}.csv").write_text(header, encoding="utf-8")
    settings.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    following = [
        f"ml-connector connect qbo {name}",
        f"ml-connector connect procore {name}",
        f"ml-connector ping {name}",
        f"ml-connector draft {name}, which drafts mapping.csv and projects.csv in {folder}; fill in what is open",
        f"ml-connector rehearse {name}, until enough of last quarter would be posted",
        f"ml-connector mapping check {name}",
        f"ml-connector mapping publish {name}",
        f"ml-connector projects publish {name}",
        "ml-connector up",
    ]

    def human(console: Console) -> None:
        console.print(f"Made {folder}. Next:")
        for number, step in enumerate(following, start=1):
            console.print(f"  {number}. {step}")

    show({"connection": name, "folder": str(folder), "next": following}, as_json=as_json, human=human)


def _check(name: str, content: Mapping[str, Any]) -> None:
    try:
        Connection.model_validate({**content, "name": name})
    except ValidationError as error:
        wrong = {str(fault["loc"][0]) for fault in error.errors()}
        raise SetupError("; ".join(HOW_TO_WRITE[field] for field in HOW_TO_WRITE if field in wrong)) from None


def up(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the Dagster UI on this machine.")
    ] = 3000,
    receiver_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the webhook receiver on this machine.")
    ] = 8765,
    receiver: Annotated[
        bool,
        typer.Option(
            "--receiver/--no-receiver", help="The webhook receiver too, or is it a service of its own?"
        ),
    ] = True,
    viewer_port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port of a second Dagster UI that changes nothing; 0: none."),
    ] = 0,
) -> None:
    """Run this installation until Ctrl-C: webhook receiver, Dagster webserver and daemon."""
    from ml_connector.cli.services import (
        Services,
        must_be_free,
        only_one,
        start_dagster,
        start_receiver,
        start_viewer,
        write_realms,
    )

    console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with open_site() as site, only_one(site):
        connections = load_connections(site.home)
        must_be_free(port, "--port")
        if receiver:
            must_be_free(receiver_port, "--receiver-port")
        if viewer_port:
            must_be_free(viewer_port, "--viewer-port")
        prepare(site)
        write_realms(site.home, connections)
        services = Services(site)
        try:
            if not receiver:
                console.print("The webhook receiver is left to a service of its own.")
            elif (site.home.receiver / "verifier_token").exists():
                console.print(f"Webhooks: {start_receiver(services, receiver_port)}")
            else:
                console.print(
                    "No webhook receiver: QuickBooks is polled alone. For webhooks write QuickBooks' verifier token "
                    f"into {site.home.receiver / 'verifier_token'} (mode 0600) and start again."
                )
            console.print(f"Dagster UI: {start_dagster(services, port)}")
            if viewer_port:
                console.print(f"Dagster UI that changes nothing: {start_viewer(services, viewer_port)}")
            if site.embedded:
                console.print(
                    "The database is the embedded one: good for trials; real books want a Postgres with backups."
                )
            console.print(f"{counted(len(connections), 'connection')} running. Ctrl-C stops everything.")
            while not services.dead():
                time.sleep(1.0)
            dead = services.dead()[0]
            raise SetupError(f"{dead.name} ended by itself; the end of {dead.log}:\n{dead.tail()}")
        except KeyboardInterrupt:
            console.print("stopping …")
        finally:
            with undisturbed():
                services.stop()


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One connection (default: all of them).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Where every connection stands: consents, read up to when, records by state, money, days with work left."""
    with open_site() as site:
        connections = [load_connection(site.home, name)] if name else load_connections(site.home)
        found = [_standing(site, connection) for connection in connections]

    def human(console: Console) -> None:
        for connection, entry in zip(connections, found, strict=True):
            _print_standing(console, connection, entry)
        strangers = len(inbox.waiting(site.home, inbox.UNKNOWN))
        if strangers:
            console.print(
                f"{counted(strangers, 'webhook')} of QuickBooks companies that no connection names, kept in "
                f"{site.home.inbox} as {inbox.UNKNOWN}__*.json: the realm id stands inside. Connect the company, or take "
                "it out of the app's webhooks at Intuit; then remove the files."
            )

    show(found, as_json=as_json, human=human)


def _standing(site: Site, connection: Connection) -> dict[str, Any]:
    now = datetime.now(UTC)
    with site.engine() as engine, engine.connect() as db:
        read_to = cursor.read_to(db, connection.name)
        tallies = overview.tally(db, connection.name)
        dirty = windows.dirty(db, connection.name)
        holds = len(overview.holds_of(db, connection.name))
        grants = standings(db, connection.name)
        outages = breaker.outages(db, connection.name)
        load = loads.load_of(db, connection)
        alarms = {cause.key: cause.sentence for cause in causes(db, connection, now=now)}
        # Only the sensor sees Dagster's runs.
        alarms |= {
            one.cause: one.sentence for one in all_of(db, connection.name) if one.cause.startswith(RUN)
        }
    return {
        "connection": connection.name,
        "grants": [
            {
                "system": grant.system,
                "state": grant.state or "not_connected",
                "ends_at": grant.ends_at,
                "to_do": grant.sentence(now),
            }
            for grant in grants
        ],
        "outages": [
            {
                "system": outage.system,
                "since": outage.since,
                "asked_again_at": outage.asked_again_at,
                "reason": outage.reason,
                "sentence": outage.sentence(connection.zone),
            }
            for outage in outages
        ],
        "webhooks": {
            "waiting": len(inbox.waiting(site.home, connection.name)),
            "of_unknown_companies": len(inbox.waiting(site.home, inbox.UNKNOWN)),
        },
        "alarms": [{"cause": cause, "sentence": sentence} for cause, sentence in alarms.items()],
        "read_to": read_to,
        "first_load": None if load is None else {**load.document(), "sentence": loads.words_of(load)},
        "holds": holds,
        "days_to_do": [window.day for window in dirty],
        "records": [
            {
                "kind": entity,
                "state": state,
                "records": tally.count,
                "total": tally.total,
                "posted": tally.posted,
                "excluded": tally.excluded,
                "held": tally.held,
            }
            for (entity, state), tally in tallies.items()
        ],
    }


def _print_standing(console: Console, connection: Connection, standing: Mapping[str, Any]) -> None:
    name, days = connection.name, standing["days_to_do"]
    for grant in standing["grants"]:
        if grant["to_do"]:
            console.print(f"{name}: {grant['to_do']}")
    for outage in standing["outages"]:
        console.print(f"{name}: {outage['sentence']}.")
    for alarm in standing["alarms"]:
        if not alarm["cause"].startswith(TOLD_ALREADY):
            console.print(f"{name}: {alarm['sentence']}")
    load = standing["first_load"]
    if load is not None and not load["over"]:
        console.print(f"{name}: {load['sentence']}")
    if standing["read_to"] is None:
        console.print(
            f"{name}: nothing read yet. `ml-connector sync {name}` reads now, `ml-connector up` always."
        )
        return
    read_to = f"{_clock(connection, standing['read_to'])} ({connection.time_zone})"
    left = f"{counted(len(days), 'day')} to do, the oldest {days[0]}" if days else "no day to do"
    console.print(f"{name}: read to {read_to}; {left}; {counted(standing['holds'], 'hold')}")
    if standing["records"]:
        columns = list(standing["records"][0])
        rows = [list(row.values()) for row in standing["records"]]
        console.print(table("", columns, rows, numbers=columns[2:]))


def _clock(connection: Connection, instant: datetime) -> str:
    return f"{instant.astimezone(connection.zone):%Y-%m-%d %H:%M:%S}"


def sandbox(
    journal: Annotated[Path, typer.Option(help="Folder for journals and state; made when missing.")],
    qbo_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of QuickBooks; 0 takes a free one.")
    ] = 0,
    procore_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of Procore; 0 takes a free one.")
    ] = 0,
    seed: Annotated[
        Literal["demo", "empty"], typer.Option(help="What the companies hold at the start.")
    ] = "empty",
) -> None:
    """Run imitations of QuickBooks and Procore on this machine; prints their addresses as one JSON line."""
    from ml_connector.cli.services import must_be_free
    from ml_connector.sandbox.main import serve

    for port, option in ((qbo_port, "--qbo-port"), (procore_port, "--procore-port")):
        if port:
            must_be_free(port, option)
    serve(qbo_port=qbo_port, procore_port=procore_port, journal=journal, seed=seed)
