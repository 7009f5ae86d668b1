"""The first calls with new credentials, before they are stored: whose company is it, and what may we see there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ml_connector.errors import ReconnectNeeded, SetupError
from ml_connector.procore import faults as procore_faults
from ml_connector.procore import tokens as procore_tokens
from ml_connector.procore.catalog import fetch_projects
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.models import CatalogProject
from ml_connector.qbo import faults as qbo_faults
from ml_connector.qbo import tokens as qbo_tokens
from ml_connector.qbo.client import QboClient
from ml_connector.settings import Connection
from ml_connector.store.vault import Credentials, System
from ml_connector.transport.call import CallRefused
from ml_connector.transport.oauth import TokenEndpoint
from ml_connector.transport.ports import SYSTEM_CLOCK, Clock
from ml_connector.transport.session import Bounds, VendorSession

PATIENCE = Bounds(patience=30.0)


@dataclass(frozen=True)
class Client:
    """What the vendor calls client id and client secret. Prints no secret."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Client({self.id!r}, ...)"


@dataclass(frozen=True)
class Company:
    """A company with the credentials that open it, not yet stored. `projects` are those that Procore shows."""

    name: str
    credentials: Credentials
    projects: Mapping[str, CatalogProject]


class _InHand:
    """A token that is not stored: it is not renewed."""

    def __init__(self, token: str, vendor: System) -> None:
        self._token = token
        self._vendor = vendor

    def current(self) -> str:
        return self._token

    def renewed(self, stale: str) -> str:
        raise ReconnectNeeded("a token that was given a moment ago is refused", vendor=self._vendor)

    def lost(self, token: str) -> None:
        return


def qbo_company(connection: Connection, client: Client, code: str, *, clock: Clock = SYSTEM_CLOCK) -> Company:
    """The company that consented, for a code of Intuit's.

    Raises SetupError when Intuit takes neither code nor client, or does not open the company; TransientError when
    nothing can be said.
    """
    settings = connection.qbo
    endpoint = TokenEndpoint(
        "qbo", settings.token_url, request_id_header=qbo_tokens.REQUEST_ID_HEADER, clock=clock
    )
    try:
        credentials = qbo_tokens.exchanged(
            endpoint,
            Credentials(client.id, client.secret, company=settings.realm_id),
            code=code,
            redirect_url=settings.redirect_url,
            now=clock.now,
        )
    except CallRefused as refusal:
        raise SetupError(_why_no_exchange(refusal, settings.redirect_url)) from refusal
    finally:
        endpoint.close()
    session = VendorSession(
        qbo_faults.DIALECT,
        settings.api_url,
        account="",
        tokens=_InHand(credentials.access_token, "qbo"),
        bounds=PATIENCE,
        clock=clock,
    )
    qbo = QboClient(session, settings.realm_id)
    try:
        info = qbo.company_info()
    except (CallRefused, ReconnectNeeded) as refusal:
        raise SetupError(
            f"QuickBooks does not open company {settings.realm_id} with the new consent ({refusal}): "
            "keys of the sandbox and of production are never mixed; see `api_url` in connection.yaml"
        ) from refusal
    finally:
        qbo.close()
    return Company(_text(info, "CompanyName"), credentials, {})


def procore_company(connection: Connection, client: Client, *, clock: Clock = SYSTEM_CLOCK) -> Company:
    """The connection's company as the service account of `client` sees it.

    Raises SetupError when Procore takes no such client or the app is not in the company; TransientError when nothing
    can be said.
    """
    settings = connection.procore
    company_id = str(settings.company_id)
    endpoint = TokenEndpoint(
        "procore", settings.token_url, request_id_header=procore_tokens.REQUEST_ID_HEADER, clock=clock
    )
    try:
        credentials = procore_tokens.fetched(endpoint, Credentials(client.id, client.secret), now=clock.now)
    except (CallRefused, ReconnectNeeded) as refusal:
        raise SetupError(
            f"Procore does not take client id and secret ({refusal}): copy both from the app's page; "
            "the keys of a sandbox do not open production"
        ) from refusal
    finally:
        endpoint.close()
    session = VendorSession(
        procore_faults.DIALECT,
        settings.api_url,
        account="",
        tokens=_InHand(credentials.access_token, "procore"),
        headers={"Procore-Company-Id": company_id},
        bounds=PATIENCE,
        clock=clock,
    )
    procore = ProcoreClient(session, settings.company_id)
    try:
        name = procore_company_name(procore)
        projects = fetch_projects(procore, settings.company_id)
    except (CallRefused, ReconnectNeeded) as refusal:
        raise SetupError(
            f"Procore does not open company {company_id} ({refusal}): a company administrator installs the app "
            "there (App Management), with its permissions and permitted projects"
        ) from refusal
    finally:
        procore.close()
    return Company(name, replace(credentials, company=company_id), projects)


def procore_company_name(client: ProcoreClient) -> str:
    """The name of the client's company. Raises SetupError when it is not among those that the account sees."""
    rows = {str(row.get("id")): row for row in client.rows("/rest/v1.0/companies")}
    found = rows.get(str(client.company_id))
    if found is None:
        raise SetupError(
            f"this service account sees {', '.join(sorted(rows)) or 'no company'}, and not company "
            f"{client.company_id}: install the app there, or correct company_id in connection.yaml"
        )
    return _text(found, "name")


def _text(record: Mapping[str, Any], name: str) -> str:
    return str(record.get(name) or "without a name")


def _why_no_exchange(refusal: CallRefused, redirect_url: str) -> str:
    if refusal.status == 401 or refusal.fault.code == "invalid_client":
        return "Intuit does not take client id and secret: copy both from Keys & credentials, of the same environment"
    return (
        f"Intuit does not take the code ({refusal.fault.code or refusal.status}): it is good once and for some minutes, "
        f"and {redirect_url} must stand letter for letter among the app's redirect URIs; ask again"
    )
