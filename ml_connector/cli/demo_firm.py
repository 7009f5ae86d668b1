"""The demo's installation: sandbox with the demo firm, one connection to it, sheets, credentials, receiver."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ml_connector.cli import loopback
from ml_connector.cli.services import write_realms
from ml_connector.cli.site import Site
from ml_connector.mapping.publishing import publish
from ml_connector.orchestration.clients import vault_of
from ml_connector.sandbox.demo.firm import DemoFirm
from ml_connector.settings import Connection, load_connection
from ml_connector.store import sheets
from ml_connector.store.vault import Credentials

NAME = "demo"
CONNECTOR = ("sandbox-client", "sandbox-secret", "RT1-sandbox")
BOOKKEEPER = ("bookkeeper-client", "bookkeeper-secret", "RT1-bookkeeper")


@dataclass(frozen=True)
class Sandbox:
    """Where the two imitations listen."""

    qbo: str
    procore: str

    def control(self, vendor: str, method: str, route: str, body: object = None) -> Any:
        """One call of a control interface."""
        base = self.qbo if vendor == "qbo" else self.procore
        return loopback.call(method, f"{base}/_control/{route}", body)

    def live(self, vendor: str, kind: str) -> list[dict[str, Any]]:
        """Live records of a kind, raw."""
        answer = self.control(vendor, "GET", f"records/{kind}")
        rows: list[dict[str, Any]] = answer["records"] if isinstance(answer, Mapping) else answer
        return rows

    def api_calls(self, vendor: str) -> int:
        """API calls of the connector so far, token calls left out."""
        answer = self.control(vendor, "GET", "calls")
        return int(answer["total"])


def load_firm(sandbox: Sandbox, firm: DemoFirm) -> None:
    """The apps that may log in, and the firm's bills of the past."""
    apps = [
        {"client_id": client, "client_secret": secret, "refresh_token": token, "realms": [firm.realm]}
        for client, secret, token in (CONNECTOR, BOOKKEEPER)
    ]
    sandbox.control("qbo", "POST", "load", {"realm": firm.realm, "App": apps})
    sandbox.control("qbo", "POST", "load", firm.history)


def bookkeeper_token(sandbox: Sandbox) -> str:
    """The Authorization header of the bookkeeper's own session."""
    client, secret, token = BOOKKEEPER
    basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
    answer = loopback.post_form(
        f"{sandbox.qbo}/oauth2/v1/tokens/bearer",
        f"grant_type=refresh_token&refresh_token={token}",
        {"Authorization": f"Basic {basic}"},
    )
    return f"Bearer {answer['access_token']}"


def make_connection(site: Site, sandbox: Sandbox, firm: DemoFirm) -> Connection:
    """The connection's folder, sheets and credentials, published and stored."""
    folder = site.home.folder(NAME)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "qbo": {
            "realm_id": firm.realm,
            "api_url": sandbox.qbo,
            "token_url": f"{sandbox.qbo}/oauth2/v1/tokens/bearer",
        },
        "procore": {
            "company_id": firm.company,
            "api_url": sandbox.procore,
            "token_url": f"{sandbox.procore}/oauth/token",
        },
        "time_zone": firm.time_zone,
        "start_date": firm.start_date.isoformat(),
        "poll_cron": "* * * * *",
        "policies": {"retainage": "separate_line"},
        "limits": {"procore_per_ten_seconds": 1000},  # the imitation has no spike limit to keep to
        "timing": {"settle": 5, "overlap": 300, "catalog_age": 900},
    }
    (folder / "connection.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (folder / "mapping.csv").write_text(firm.mapping_csv, encoding="utf-8")
    (folder / "projects.csv").write_text(firm.projects_csv, encoding="utf-8")
    connection = load_connection(site.home, NAME)
    with site.engine() as engine:
        publish(engine, connection, sheets.PROJECTS, firm.projects_csv.encode(), by="demo")
        publish(engine, connection, sheets.MAPPING, firm.mapping_csv.encode(), by="demo")
        vault = vault_of(site.home, engine)
        client, secret, token = CONNECTOR
        vault.put(NAME, "qbo", Credentials(client, secret, refresh_token=token))
        vault.put(NAME, "procore", Credentials(client, secret))
    return connection


def open_webhooks(site: Site, connection: Connection) -> str:
    """The files that the receiver reads; returns the verifier token."""
    token = secrets.token_urlsafe(32)
    path = site.home.receiver / "verifier_token"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(token, encoding="ascii")
    write_realms(site.home, [connection])
    return token
