"""The ground of a measurement: a throw-away home with its Postgres, the sandbox as a process of its own, one connection."""

import itertools
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks import firm
from ml_connector.cli.demo_firm import Sandbox
from ml_connector.cli.services import Services, free_port
from ml_connector.cli.site import Site, embedded_site, prepare
from ml_connector.mapping.publishing import publish
from ml_connector.orchestration.clients import vault_of
from ml_connector.settings import Home, load_connection
from ml_connector.store import sheets
from ml_connector.store.database import open_engine
from ml_connector.store.vault import Credentials

CHUNK = 500  # records a load call
VERIFIER_TOKEN = "bench-verifier-token"  # noqa: S105 invented


@dataclass(frozen=True)
class Ground:
    """What a subject measures on; `services` are stopped and everything is removed at the end."""

    site: Site
    services: Services
    sandbox: Sandbox

    def load_bills(self, bills: Iterable[Mapping[str, Any]]) -> int:
        """Put bills into QBO as they are; returns how many."""
        return self.load("Bill", bills)

    def load(self, entity: str, records: Iterable[Mapping[str, Any]]) -> int:
        """Put records of a kind into QBO as they are; returns how many."""
        count = 0
        rows = iter(records)
        while chunk := list(itertools.islice(rows, CHUNK)):
            self.sandbox.control("qbo", "POST", "load", {"realm": firm.REALM, entity: chunk})
            count += len(chunk)
        return count

    def calls(self, vendor: str, *, since: int = 0) -> dict[str, int]:
        """Calls by route after journal entry `since`, token calls left out."""
        routes: dict[str, int] = self.sandbox.control(vendor, "GET", f"calls?since={since}")["by_route"]
        return {route: count for route, count in routes.items() if "/oauth" not in route}

    def entries(self, vendor: str) -> int:
        """How many entries the journal has, to count from."""
        answer = self.sandbox.control(vendor, "GET", "calls")
        return int(answer["total"]) + int(answer["token"])


@contextmanager
def open_ground(**connection: object) -> Iterator[Ground]:
    """A ground with the firm loaded, its sheets published and nothing read; `connection` overrides connection.yaml."""
    with (
        tempfile.TemporaryDirectory(prefix="ml-connector-bench-", ignore_cleanup_errors=True) as folder,
        embedded_site(Home(Path(folder)), throw_away=True) as site,
    ):
        services = Services(site)
        try:
            prepare(site)
            sandbox = _start_sandbox(services)
            sandbox.control("qbo", "POST", "load", firm.qbo_lists())
            sandbox.control("procore", "POST", "load", firm.procore_lists())
            sandbox.control("qbo", "POST", "load", {"realm": firm.REALM, "Bill": firm.first_bills()})
            _connect(site, sandbox, connection)
            yield Ground(site, services, sandbox)
        finally:
            services.stop()


def _start_sandbox(services: Services) -> Sandbox:
    ports = {vendor: free_port() for vendor in ("qbo", "procore")}
    log = services.logs / "sandbox.log"
    services.start(
        "sandbox",
        [
            sys.executable, "-m", "ml_connector.sandbox.main",
            "--qbo-port", str(ports["qbo"]), "--procore-port", str(ports["procore"]),
            "--journal", str(services.site.home.root / "sandbox"),
        ],
        ready=lambda: '"procore"' in log.read_text(encoding="utf-8"),
    )  # fmt: skip
    return Sandbox(f"http://127.0.0.1:{ports['qbo']}", f"http://127.0.0.1:{ports['procore']}")


def _connect(site: Site, sandbox: Sandbox, changes: Mapping[str, object]) -> None:
    content: dict[str, object] = {
        "qbo": {
            "realm_id": firm.REALM,
            "api_url": sandbox.qbo,
            "token_url": f"{sandbox.qbo}/oauth2/v1/tokens/bearer",
        },
        "procore": {
            "company_id": firm.COMPANY,
            "api_url": sandbox.procore,
            "token_url": f"{sandbox.procore}/oauth/token",
        },
        "time_zone": "UTC",
        "start_date": firm.START,
        "timing": {"settle": 0, "overlap": 900, "catalog_age": 900},
        # Speed is measured, not the waiting for a vendor's limits.
        "limits": {
            "qbo_per_minute": 100_000,
            "procore_per_hour": 1_000_000,
            "procore_per_ten_seconds": 100_000,
        },
        **changes,
    }
    folder = site.home.folder(firm.NAME)
    folder.mkdir(parents=True)
    (folder / "connection.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    connection = load_connection(site.home, firm.NAME)
    engine = open_engine(site.database_url)
    publish(engine, connection, sheets.PROJECTS, firm.projects_csv().encode(), by="bench")
    publish(engine, connection, sheets.MAPPING, firm.mapping_csv().encode(), by="bench")
    client, secret, token = firm.CONNECTOR
    vault = vault_of(site.home, engine)
    vault.put(firm.NAME, "qbo", Credentials(client, secret, refresh_token=token))
    vault.put(firm.NAME, "procore", Credentials(client, secret))
    engine.dispose()
    verifier = site.home.receiver / "verifier_token"
    verifier.touch(mode=0o600)
    verifier.write_text(VERIFIER_TOKEN, encoding="ascii")
    (site.home.receiver / "realms.json").write_text(json.dumps({firm.REALM: firm.NAME}), encoding="utf-8")
