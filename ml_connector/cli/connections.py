"""`init`, `up`, `status`, `sandbox`: an installation and its connections."""

import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from ml_connector.cli.output import AsJson, show, table
from ml_connector.cli.services import Services, free_port, only_one, start_dagster, start_receiver
from ml_connector.cli.site import Site, open_site, prepare
from ml_connector.errors import SetupError
from ml_connector.settings import Connection, load_connection, load_connections
from ml_connector.store import cursor, records, windows

MAPPING_HEADER = (
    "account,item,class,location,vendor,customer,description,valid_from,valid_to,"
    "route,cost_code,cost_type,project,commitment,share,reason,note\n"
)
PROJECTS_HEADER = "customer,project,note\n"


def init(
    name: Annotated[str, typer.Argument(help="Name of the connection: small letters, digits, underscores.")],
    realm: Annotated[str, typer.Option(prompt="QuickBooks company id (realm)", help="QBO realm id.")],
    company: Annotated[int, typer.Option(prompt="Procore company id", help="Procore company id.")],
    time_zone: Annotated[str, typer.Option(prompt="Time zone of the books, such as America/Denver")],
    start_date: Annotated[
        datetime, typer.Option(prompt="Take bills dated from (YYYY-MM-DD)", formats=["%Y-%m-%d"])
    ],
    as_json: AsJson = False,
) -> None:
    """Make the folder of a new connection, and everything that this installation needs."""
    with open_site() as site:
        prepare(site)
        folder = site.home.folder(name)
        if (folder / "connection.yaml").exists():
            raise SetupError(f"{folder} is there already: edit connection.yaml, or choose another name")
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "qbo": {"realm_id": realm},
            "procore": {"company_id": company},
            "time_zone": time_zone,
            "start_date": start_date.date(),
        }
        (folder / "connection.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        try:
            load_connection(site.home, name)
        except SetupError:
            (folder / "connection.yaml").unlink()
            raise
        (folder / "mapping.csv").write_text(MAPPING_HEADER, encoding="utf-8")
        (folder / "projects.csv").write_text(PROJECTS_HEADER, encoding="utf-8")
    following = [
        "fill mapping.csv and projects.csv",
        f"ml-connector mapping publish {name}",
        "ml-connector up",
    ]
    show(
        {"connection": name, "folder": str(folder), "next": following},
        as_json=as_json,
        human=lambda console: console.print(f"Made {folder}. Next: {'; then '.join(following)}."),
    )


def up(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI on this machine.")] = 3000,
    receiver_port: Annotated[int, typer.Option(help="Port of the webhook receiver on this machine.")] = 8765,
) -> None:
    """Run the services of this installation until Ctrl-C: webhook receiver, Dagster webserver and daemon."""
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_site() as site, only_one(site):
        prepare(site)
        connections = load_connections(site.home)
        if not connections:
            raise SetupError(
                f"no connection in {site.home.connections}: `ml-connector init NAME` makes the first"
            )
        services = Services(site)
        try:
            if (site.home.receiver / "verifier_token").exists():
                console.print(f"webhooks: {start_receiver(services, free_port(receiver_port))}")
            else:
                console.print(
                    "no webhook receiver: write QuickBooks' verifier token into receiver/verifier_token (0600)"
                )
            console.print(f"Dagster UI: {start_dagster(services, free_port(port))}. Ctrl-C stops everything.")
            if site.embedded:
                console.print(
                    "The database is the embedded one: good for trials; use a Postgres with backups for real books."
                )
            while not services.dead():
                time.sleep(1.0)
            dead = services.dead()[0]
            raise SetupError(f"{dead.name} ended by itself:\n{dead.tail()}")
        except KeyboardInterrupt:
            console.print("stopping …")
        finally:
            services.stop()


def status(
    name: Annotated[str | None, typer.Argument(help="One connection; all without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Where every connection stands: read up to when, records by state, money, days with work left."""
    with open_site() as site:
        prepare(site)
        connections = [load_connection(site.home, name)] if name else load_connections(site.home)
        found = [_standing(site, connection) for connection in connections]

    def human(console: Console) -> None:
        if not found:
            console.print("No connection yet: `ml-connector init NAME` makes the first.")
        for entry in found:
            console.print(
                f"[bold]{entry['connection']}[/bold]  read to {entry['read_to'] or 'never'}, "
                f"{len(entry['days_to_do'])} days to do, {entry['holds']} holds"
            )
            rows = [list(row.values()) for row in entry["records"]]
            columns = ["kind", "state", "records", "total", "posted", "excluded", "held"]
            console.print(table("", columns, rows, money=columns[2:]))

    show(found, as_json=as_json, human=human)


def _standing(site: Site, connection: Connection) -> dict[str, Any]:
    engine = site.engine()
    try:
        with engine.connect() as db:
            read_to = cursor.read_to(db, connection.name)
            tallies = records.tally(db, connection.name)
            dirty = windows.dirty(db, connection.name)
            holds = len(records.holds_of(db, connection.name))
    finally:
        engine.dispose()
    return {
        "connection": connection.name,
        "read_to": None if read_to is None else read_to.astimezone(UTC).isoformat(),
        "holds": holds,
        "days_to_do": [str(window.day) for window in dirty],
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


def sandbox(
    journal: Annotated[Path, typer.Option(help="Folder for journals and state.")],
    qbo_port: Annotated[int, typer.Option(help="0 chooses one.")] = 0,
    procore_port: Annotated[int, typer.Option(help="0 chooses one.")] = 0,
    seed: Annotated[str, typer.Option(help="demo or empty.")] = "empty",
) -> None:
    """Run imitations of QuickBooks and Procore on loopback; prints their addresses as one JSON line."""
    from ml_connector.sandbox.main import serve

    if seed not in ("demo", "empty"):
        raise SetupError(f"there is no seed {seed!r}: demo or empty")
    serve(qbo_port=qbo_port, procore_port=procore_port, journal=journal, seed=seed)
