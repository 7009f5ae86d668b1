"""A rig for tests of the whole way: both sandbox servers, a home with a connection, a bookkeeper, steps without Dagster.

Everything is real but the vendors: Postgres, HTTP over loopback, the vault. Tests act as people do: the bookkeeper through
QBO's API, project people through Procore's, the operator through files and steps.
"""

import json
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import yaml
from sqlalchemy import Engine, text

from ml_connector.mapping.publishing import publish
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client, qbo_client, vault_of
from ml_connector.orchestration.work import Run
from ml_connector.posting.windows import Posted
from ml_connector.reading.windows import Reading
from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector.sandbox.server import VendorServer
from ml_connector.settings import Connection, Home, load_connection
from ml_connector.store import audit, overview, records, windows
from ml_connector.store.database import open_engine
from ml_connector.store.keys import make_key_ring
from ml_connector.store.overview import HeldRecord
from ml_connector.store.vault import Credentials

REALM = "9341450000000001"
COMPANY = 5001
HARBOR, ELM, DEPOT = "101", "102", "103"  # Procore projects of the fixture firm
CODES = [
    "03-3000.M",
    "03-3000.L",
    "03-3000.S",
    "06-1000.M",
    "06-1000.L",
    "09-2900.M",
    "26-0500.S",
    "01-5000.E",
    "01-7800.O",
]
MAPPING_HEADER = (
    "account,item,class,location,vendor,customer,description,valid_from,valid_to,"
    "route,cost_code,cost_type,project,commitment,share,reason,note"
)
MAPPING = f"""{MAPPING_HEADER}
,Ready-mix,,,,,,,,direct_cost,03-3000,M,,,,,
,Lumber,,,,,,,,direct_cost,06-1000,M,,,,,
5030,,,,,,,,,direct_cost,01-5000,E,,,,,
5090,,,,,,,,,direct_cost,01-7800,O,,,,,
5010,,Labor,,,,,,,direct_cost,03-3000,L,,,,,
5010,,,,,,,,,direct_cost,03-3000,M,,,,,
5020,,,,,,,,,commitment,26-0500,S,,,,,
2150,,,,,,,,,retainage,,,,,,,
6100,,,,,,,,,exclude,,,,,,OVERHEAD,
"""
PROJECTS = f"""customer,project,note
61,{HARBOR},Harbor Clinic
62,{ELM},Elm Street School
63,{DEPOT},Depot Lofts
"""
ACCOUNTS = [
    # id, number, name, AccountType, Classification
    ("1", "5010", "Job Materials", "Cost of Goods Sold", "Expense"),
    ("2", "5020", "Subcontract costs", "Cost of Goods Sold", "Expense"),
    ("3", "5030", "Equipment rental", "Cost of Goods Sold", "Expense"),
    ("4", "5090", "Freight", "Cost of Goods Sold", "Expense"),
    ("5", "6100", "Office", "Expense", "Expense"),
    ("6", "2150", "Retainage payable", "Other Current Liability", "Liability"),
    ("7", "5075", "Small tools", "Cost of Goods Sold", "Expense"),
    ("8", "1500", "Trucks", "Fixed Asset", "Asset"),
    ("9", "1300", "Inventory Asset", "Other Current Asset", "Asset"),
    ("10", "6200", "Rent", "Expense", "Expense"),
    ("33", "2000", "Accounts Payable (A/P)", "Accounts Payable", "Liability"),
    ("35", "1000", "Checking", "Bank", "Asset"),
]
CUSTOMERS = [("60", "Harbor Health", None), ("61", "Harbor Clinic", "60"), ("62", "Elm Street School", None),
             ("63", "Depot Lofts", None), ("64", "Mill Bridge", None)]  # fmt: skip
VENDORS = [
    ("21", "Granite Supply"),
    ("22", "Bright Electric"),
    ("23", "City Rental"),
    ("24", "Nordwall Drywall"),
]


def line(
    amount: str | int,
    *,
    account: str | None = None,
    item: str | None = None,
    customer: str | None = "61",
    description: str = "",
    class_name: str | None = None,
    quantity: str | None = None,
    unit_price: str | None = None,
) -> dict[str, Any]:
    """A bill line by item id or account id."""
    kind = "ItemBasedExpenseLineDetail" if item else "AccountBasedExpenseLineDetail"
    detail: dict[str, Any] = {"BillableStatus": "NotBillable", "TaxCodeRef": {"value": "NON"}}
    detail |= {"ItemRef": {"value": item}} if item else {"AccountRef": {"value": account or "1"}}
    if customer:
        detail["CustomerRef"] = {"value": customer}
    if class_name:
        detail["ClassRef"] = {"value": {"Labor": "1001", "Material": "1002"}[class_name], "name": class_name}
    if quantity and unit_price:
        detail |= {"Qty": Decimal(quantity), "UnitPrice": Decimal(unit_price)}
    return {"Amount": Decimal(str(amount)), "DetailType": kind, kind: detail, "Description": description}


def text_line(words: str) -> dict[str, Any]:
    """A line that carries no money."""
    return {"DetailType": "DescriptionOnly", "Description": words}


class Problem(Exception):
    """A vendor answered a person's call with an error."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body[:500]}")
        self.status = status
        self.body = body


def _number(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral() else float(value)
    raise TypeError(type(value).__name__)


def call(method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """One HTTP call with JSON both ways. Raises Problem for an error status."""
    data = None if body is None else json.dumps(body, default=_number).encode()
    request = urllib.request.Request(
        url,
        data,
        {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
    except HTTPError as error:
        raise Problem(error.code, error.read().decode(errors="replace")) from None
    return json.loads(content, parse_float=Decimal) if content else None


@dataclass
class Bookkeeper:
    """A person in QBO, working through its API."""

    url: str
    realm: str = REALM
    _token: str = ""

    def _headers(self) -> dict[str, str]:
        if not self._token:
            # a person's own session: a grant that does not touch the connector's refresh token
            self._token = _qbo_person_token(self.url)
        return {"Authorization": f"Bearer {self._token}"}

    def post(self, path: str, body: object) -> Any:
        """A raw POST below the company."""
        return call("POST", f"{self.url}/v3/company/{self.realm}/{path}", body, self._headers())

    def bill(
        self,
        number: str,
        lines: Sequence[Mapping[str, Any]],
        *,
        vendor: str = "21",
        day: str = "",
        **fields: Any,
    ) -> dict[str, Any]:
        """Enter a bill; returns it as QBO answered."""
        body = {
            "VendorRef": {"value": vendor},
            "TxnDate": day or today().isoformat(),
            "Line": list(lines),
            **fields,
        }
        if number:
            body["DocNumber"] = number
        made: dict[str, Any] = self.post("bill?include=allowduplicatedocnum", body)["Bill"]
        return made

    def edit(self, entity: str, record: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """A sparse update on top of the newest version."""
        current = self.read(entity, record["Id"])
        body = {"Id": current["Id"], "SyncToken": current["SyncToken"], "sparse": True, **changes}
        if entity == "Bill" and "VendorRef" not in body:
            body["VendorRef"] = current["VendorRef"]
        made: dict[str, Any] = self.post(f"{entity.lower()}?include=allowduplicatedocnum", body)[entity]
        return made

    def delete(self, entity: str, record: Mapping[str, Any]) -> None:
        """Delete a transaction."""
        current = self.read(entity, record["Id"])
        self.post(
            f"{entity.lower()}?operation=delete", {"Id": current["Id"], "SyncToken": current["SyncToken"]}
        )

    def read(self, entity: str, record_id: str) -> dict[str, Any]:
        """A record as it is now."""
        url = f"{self.url}/v3/company/{self.realm}/{entity.lower()}/{record_id}"
        found: dict[str, Any] = call("GET", url, None, self._headers())[entity]
        return found

    def pay(self, bill: Mapping[str, Any], amount: str, *, number: str = "2231") -> dict[str, Any]:
        """Pay a bill by check."""
        body = {
            "VendorRef": bill["VendorRef"],
            "PayType": "Check",
            "CheckPayment": {"BankAccountRef": {"value": "35"}},
            "TotalAmt": Decimal(amount),
            "DocNumber": number,
            "TxnDate": today().isoformat(),
            "Line": [{"Amount": Decimal(amount), "LinkedTxn": [{"TxnId": bill["Id"], "TxnType": "Bill"}]}],
        }
        made: dict[str, Any] = self.post("billpayment", body)["BillPayment"]
        return made

    def vendor(self, name: str, **fields: Any) -> dict[str, Any]:
        """Enter a vendor."""
        made: dict[str, Any] = self.post("vendor", {"DisplayName": name, **fields})["Vendor"]
        return made


def _qbo_person_token(url: str) -> str:
    import base64

    basic = base64.b64encode(b"person-client:person-secret").decode()
    request = urllib.request.Request(
        f"{url}/oauth2/v1/tokens/bearer",
        b"grant_type=refresh_token&refresh_token=RT1-person",
        {
            "Authorization": f"Basic {basic}",
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.loads(answer.read())["access_token"])


def today() -> date:
    """Today in the fixture firm's zone, which is UTC."""
    return datetime.now(UTC).date()


@dataclass
class Control:
    """The control interface of one sandbox server."""

    url: str

    def load(self, **kinds: Any) -> None:
        """Records as given."""
        call("POST", f"{self.url}/_control/load", kinds)

    def live(self, kind: str) -> list[dict[str, Any]]:
        """Live records, raw."""
        answer = call("GET", f"{self.url}/_control/records/{quote(kind, safe='')}")
        rows: list[dict[str, Any]] = answer["records"] if isinstance(answer, dict) else answer
        return rows

    def journal(self, since: int = 0) -> list[dict[str, Any]]:
        """Every request after entry `since`."""
        answer = call("GET", f"{self.url}/_control/journal?since={since}")
        rows: list[dict[str, Any]] = answer["entries"] if isinstance(answer, dict) else answer
        return rows

    def mark(self) -> int:
        """The number of the newest journal entry, to count calls from."""
        entries = self.journal()
        return int(entries[-1]["n"]) if entries else 0

    def calls(self, since: int = 0) -> list[str]:
        """ "METHOD path" of every API request after `since`, token and control calls left out."""
        return [
            f"{entry['method']} {entry['path']}"
            for entry in self.journal(since)
            if "/oauth" not in entry["path"] and "/_control" not in entry["path"]
        ]

    def writes(self, since: int = 0) -> list[str]:
        """The calls after `since` that could change a record."""
        return [entry for entry in self.calls(since) if not entry.startswith("GET ")]

    def fault(self, *rules: Mapping[str, Any]) -> None:
        """Install fault rules."""
        call("POST", f"{self.url}/_control/faults", list(rules))

    def no_faults(self) -> None:
        """Remove all fault rules."""
        call("DELETE", f"{self.url}/_control/faults")

    def switch(self, **values: Any) -> None:
        """Set behaviour switches."""
        call("POST", f"{self.url}/_control/switches", values)

    def clock(self, **values: Any) -> None:
        """Move the server's clock."""
        call("POST", f"{self.url}/_control/clock", values)


@dataclass
class Rig:
    """Everything a test of the whole way needs."""

    home: Home
    engine: Engine
    qbo_server: VendorServer
    procore_server: VendorServer
    owns_engine: bool = True
    name: str = "acme"
    runs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.qbo = Control(self.qbo_server.url)
        self.procore = Control(self.procore_server.url)
        self.bookkeeper = Bookkeeper(self.qbo_server.url)

    @property
    def database_url(self) -> str:
        """The SQLAlchemy address of the rig's database."""
        return self.engine.url.render_as_string(hide_password=False)

    @property
    def connection(self) -> Connection:
        """The connection's settings as the file says now."""
        return load_connection(self.home, self.name)

    def configure(self, **changes: Any) -> None:
        """Change connection.yaml; values that are mappings are merged."""
        path = self.home.folder(self.name) / "connection.yaml"
        content = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(content))

    def publish(
        self, *, mapping: str | None = None, projects: str | None = None, vendors: str | None = None
    ) -> None:
        """Publish sheets, as the operator does."""
        for sheet, content in (("mapping", mapping), ("projects", projects), ("vendors", vendors)):
            if content is not None:
                publish(self.engine, self.connection, sheet, content.encode(), by="tester")

    # -- steps ------------------------------------------------------------------------------------------------------

    def run(self, days: Sequence[date] | None = None, *, automatic: bool = True) -> Run:
        """A run id with its days (default: today)."""
        run = Run(uuid.uuid4().hex, tuple(days or [today()]), automatic=automatic)
        self.runs.append(run.run_id)
        return run

    def read(self, days: Sequence[date] | None = None) -> Reading:
        """Read from QBO."""
        client = qbo_client(self.home, self.connection, self.engine)
        return work.read(self.engine, self.home, self.connection, client, self.run(days))

    def post(self, days: Sequence[date] | None = None, *, automatic: bool = True) -> Mapping[str, Posted]:
        """Map and post days that were read."""
        run = self.run(days, automatic=automatic)
        client = procore_client(self.home, self.connection, self.engine)
        work.map_days(self.engine, self.connection, run, lambda: client)
        qbo = partial(qbo_client, self.home, self.connection, self.engine)
        return work.post(self.engine, self.connection, run, client, work.KINDS, qbo)

    def sync(self, *, automatic: bool = True) -> None:
        """Read, then work off every dirty window, as the schedule and the sensor do until nothing is left to do."""
        self.read()
        self.settle(automatic=automatic)

    def settle(self, *, automatic: bool = True) -> None:
        """Work off the dirty windows that are not held back."""
        for _ in range(10):
            ready = self.dirty()
            if not ready:
                return
            self.post(ready, automatic=automatic)
        raise AssertionError(f"windows stay dirty: {self.dirty()}")

    def replay_everything(self) -> None:
        """Re-materialise every window, as a person would."""
        with self.engine.connect() as db:
            days = list(db.scalars(text("select distinct day from ml_connector.record order by day")))
        self.read()
        for day in days:
            self.post([day], automatic=False)

    def dirty(self) -> list[date]:
        """Days with work that may be done now."""
        now = datetime.now(UTC)
        with self.engine.connect() as db:
            found = windows.dirty(db, self.name)
        return [window.day for window in found if window.not_before is None or window.not_before <= now]

    # -- what people see --------------------------------------------------------------------------------------------

    def record(self, entity: str, qbo_id: str) -> Any:
        """The row of one record."""
        with self.engine.connect() as db:
            return records.known(db, self.name, entity, [qbo_id])[qbo_id]

    def holds(self, qbo_id: str | None = None) -> list[HeldRecord]:
        """Open holds, of one record or of all."""
        with self.engine.connect() as db:
            found = overview.holds_of(db, self.name)
        return [hold for hold in found if qbo_id in (None, hold.qbo_id)]

    def story(self, entity: str, qbo_id: str) -> list[str]:
        """Events of a record's audit trail."""
        with self.engine.connect() as db:
            return [entry.event for entry in audit.story(db, self.name, entity, qbo_id)]

    def direct_costs(self, *, counting: bool = True) -> list[dict[str, Any]]:
        """Live direct costs in Procore; those that count in job cost unless told otherwise."""
        return [
            cost for cost in self.procore.live("direct_costs") if not counting or cost["status"] != "draft"
        ]

    def cost_of(self, qbo_id: str, project: str = HARBOR, *, entity: str = "bill") -> dict[str, Any]:
        """The one direct cost of a bill on a project."""
        origin = f"qbo:{REALM}:{entity}:{qbo_id}:{project}"
        found = [cost for cost in self.direct_costs(counting=False) if cost["origin_id"] == origin]
        assert len(found) == 1, f"{len(found)} direct costs with origin id {origin}"
        return found[0]

    def close(self) -> None:
        """Stop the servers."""
        if self.owns_engine:
            self.engine.dispose()
        for server in (self.qbo_server, self.procore_server):
            server.stop()


def _entered(qbo_id: str, **fields: Any) -> dict[str, Any]:
    """A record that was entered months ago."""
    then = "2026-01-05T08:00:00-08:00"
    return {"Id": qbo_id, "Active": True, "MetaData": {"CreateTime": then, "LastUpdatedTime": then}, **fields}


def _listed(qbo_id: str, name: str, **fields: Any) -> dict[str, Any]:
    """A record of QBO's lists of accounts, items or classes."""
    return _entered(qbo_id, Name=name, FullyQualifiedName=name, **fields)


def _app(name: str) -> dict[str, Any]:
    return {
        "client_id": f"{name}-client",
        "client_secret": f"{name}-secret",
        "refresh_token": f"RT1-{name}",
        "realms": [REALM],
    }


def _customer(qbo_id: str, name: str, parent: str | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"DisplayName": name, "FullyQualifiedName": name, "Job": parent is not None}
    if parent is not None:
        fields |= {"ParentRef": {"value": parent}, "FullyQualifiedName": f"Harbor Health:{name}"}
    return _entered(qbo_id, **fields)


def firm(qbo: Control, procore: Control) -> None:
    """The fixture firm of the scenario bank."""
    stock, expense = {"AssetAccountRef": {"value": "9"}}, {"ExpenseAccountRef": {"value": "1"}}
    qbo.load(
        realm=REALM,
        CompanyInfo=[_entered("1", CompanyName="Acme Builders", Country="US")],
        Account=[
            _listed(qbo_id, name, AcctNum=number, AccountType=kind, Classification=classification)
            for qbo_id, number, name, kind, classification in ACCOUNTS
        ],
        Item=[
            _listed("101", "Ready-mix", Type="NonInventory", **expense),
            _listed("102", "Lumber", Type="NonInventory", **expense),
            _listed("103", "Anchor bolts", Type="Inventory", **stock, **expense),
            _listed("104", "Odd service", Type="Service"),
        ],
        Class=[_listed("1001", "Labor"), _listed("1002", "Material")],
        Customer=[_customer(qbo_id, name, parent) for qbo_id, name, parent in CUSTOMERS],
        Vendor=[_entered(qbo_id, DisplayName=name, SyncToken="0") for qbo_id, name in VENDORS],
        App=[_app("sandbox"), _app("person")],
    )
    projects = (
        (HARBOR, "Harbor Clinic", True),
        (ELM, "Elm Street School", True),
        (DEPOT, "Depot Lofts", False),
    )
    procore.load(
        companies=[{"id": COMPANY, "name": "Acme Builders", "is_active": True}],
        projects=[
            {"id": int(number), "company_id": COMPANY, "name": name, "active": active, "budget_codes": CODES}
            for number, name, active in projects
        ],
    )


def open_rig(folder: Path, database: str | Engine, *, fixture: bool = True, **connection: Any) -> Rig:
    """A rig with the fixture firm loaded and its sheets published; `connection` overrides connection.yaml.

    The rig ends an engine that it opened from an address; one that it was given stays.
    """
    qbo_server = open_qbo(directory=folder / "sandbox")
    procore_server = open_server(ProcoreVendor, name="procore", directory=folder / "sandbox")
    for server in (qbo_server, procore_server):
        server.start()
    home = Home(folder / "home")
    engine = open_engine(database) if isinstance(database, str) else database
    rig = Rig(home, engine, qbo_server, procore_server, owns_engine=isinstance(database, str))
    add_connection(rig, "acme", REALM, COMPANY, **connection)
    if fixture:
        firm(rig.qbo, rig.procore)
        rig.publish(mapping=MAPPING, projects=PROJECTS)
    return rig


def add_connection(rig: Rig, name: str, realm: str, company: int, **changes: Any) -> None:
    """A connection's folder, keys and credentials."""
    folder = rig.home.folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    qbo_url, procore_url = rig.qbo_server.url, rig.procore_server.url
    content: dict[str, Any] = {
        "qbo": {"realm_id": realm, "api_url": qbo_url, "token_url": f"{qbo_url}/oauth2/v1/tokens/bearer",
                "revoke_url": f"{qbo_url}/v2/oauth2/tokens/revoke"},
        "procore": {"company_id": company, "api_url": procore_url, "token_url": f"{procore_url}/oauth/token",
                    "revoke_url": f"{procore_url}/oauth/revoke"},
        "time_zone": "UTC",
        "start_date": "2026-01-01",
        "timing": {"settle": 0, "overlap": 60, "catalog_age": 900},
        "limits": {"qbo_per_minute": 100_000, "procore_per_hour": 1_000_000, "procore_per_ten_seconds": 100_000},
    }  # fmt: skip
    content.update(changes)
    (folder / "connection.yaml").write_text(yaml.safe_dump(content))
    if not rig.home.keys.exists():
        rig.home.keys.parent.mkdir(parents=True, exist_ok=True)
        make_key_ring(rig.home.keys)
    rig.home.inbox.mkdir(parents=True, exist_ok=True)
    vault = vault_of(rig.home, rig.engine)
    vault.put(name, "qbo", Credentials("sandbox-client", "sandbox-secret", refresh_token="RT1-sandbox"))
    vault.put(name, "procore", Credentials("sandbox-client", "sandbox-secret"))
