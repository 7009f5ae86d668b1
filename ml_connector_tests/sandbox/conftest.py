"""A QuickBooks sandbox in this process, a caller for it, and the samples its shapes are held against."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from ml_connector.sandbox.assembly import open_qbo
from ml_connector.sandbox.wire import parse_json, write_json

REALM = "9341450000000001"
_ROOT = Path(__file__).resolve().parents[2]


class Books:
    """What a bookkeeper and an application do, over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.token: dict[str, Any] = {}

    def refresh(self, token: str = "RT1-sandbox", **headers: str) -> requests.Response:
        return self.session.post(
            f"{self.url}/oauth2/v1/tokens/bearer",
            auth=("sandbox-client", "sandbox-secret"),
            data={"grant_type": "refresh_token", "refresh_token": token},
            headers=headers,
            timeout=10,
        )

    def call(self, method: str, path: str, *, realm: str = REALM, **options: Any) -> requests.Response:
        """One API call as it is; `json` may hold Decimals."""
        if not self.token:
            self.token = self.refresh().json()
        bearer = {"Authorization": f"Bearer {self.token['access_token']}", "Accept": "application/json"}
        headers = {**bearer, **options.pop("headers", {})}
        if "json" in options:
            options["data"] = write_json(options.pop("json"))
        url = f"{self.url}/v3/company/{realm}/{path}"
        return self.session.request(
            method, url, headers=headers, timeout=options.pop("timeout", 10), **options
        )

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The body of an answer that must be 200."""
        answer = self.call(method, path, **options)
        assert answer.status_code == 200, answer.text
        return parse_json(answer.content)

    def refused(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """HTTP status and first code of an answer that must be a fault."""
        answer = self.call(method, path, **options)
        fault = parse_json(answer.content)["Fault"]
        return answer.status_code, fault["Error"][0]["code"]

    def query(self, statement: str) -> Any:
        return self.ask("GET", "query", params={"query": statement})["QueryResponse"]

    def ids(self, statement: str) -> list[str]:
        found = self.query(statement)
        return [doc["Id"] for doc in next((rows for rows in found.values() if isinstance(rows, list)), [])]

    def cdc(self, entities: str, since: str) -> list[Any]:
        params = {"entities": entities, "changedSince": since}
        return list(self.ask("GET", "cdc", params=params)["CDCResponse"][0]["QueryResponse"])

    def read(self, entity: str, id: str) -> Any:
        return self.ask("GET", f"{entity.lower()}/{id}")[entity]

    def save(self, entity: str, body: dict[str, Any], **params: str) -> Any:
        return self.ask("POST", entity.lower(), json=body, params=params)[entity]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else write_json(body)
        answer = self.session.request(method, f"{self.url}/_control/{path}", data=data, timeout=70)
        assert answer.status_code == 200, answer.text
        return parse_json(answer.content)

    def fault(self, route: str, fault: str, **rule: Any) -> None:
        self.control("POST", "faults", [{"route": route, "fault": fault, **rule}])

    def journal(self) -> list[dict[str, Any]]:
        return list(self.control("GET", "journal?since=0"))

    def bill(self, amount: str = "150", *, vendor: str = "56", **more: Any) -> Any:
        """A new bill with one account line."""
        return self.save("Bill", {"VendorRef": {"value": vendor}, "Line": [account_line(amount)], **more})

    def pay(self, total: str, *applied: tuple[str, str, str], vendor: str = "56", **more: Any) -> Any:
        """A new payment by check; `applied` are (type, id, amount)."""
        lines = [
            {"Amount": Decimal(amount), "LinkedTxn": [{"TxnId": id, "TxnType": kind}]}
            for kind, id, amount in applied
        ]
        body = {
            "VendorRef": {"value": vendor},
            "PayType": "Check",
            "CheckPayment": {"BankAccountRef": {"value": "35"}},
            "TotalAmt": Decimal(total),
            "Line": lines,
        }
        return self.save("BillPayment", {**body, **more})


def account_line(amount: str, account: str = "69") -> dict[str, Any]:
    return {
        "DetailType": "AccountBasedExpenseLineDetail",
        "Amount": Decimal(amount),
        "AccountBasedExpenseLineDetail": {"AccountRef": {"value": account}},
    }


@dataclass
class Samples:
    folder: Path

    def __getitem__(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"), parse_float=Decimal)


@pytest.fixture(scope="session")
def samples() -> Samples:
    given = os.environ.get("ML_CONNECTOR_REFERENCE")
    folder = (Path(given) if given else _ROOT.parent / "shared" / "reference") / "qbo-samples"
    if not folder.is_dir():
        pytest.skip(
            "the recorded QuickBooks samples are not here: set ML_CONNECTOR_REFERENCE to their folder"
        )
    return Samples(folder)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A sandbox with two vendors, some accounts, an item, a customer, a class and a department."""
    server = open_qbo(directory=tmp_path / "journal")
    server.start()
    caller = Books(server.url)
    caller.control("POST", "load", STARTING_BOOKS)
    yield caller
    caller.session.close()
    server.stop()


_LONG_AGO = {"CreateTime": "2026-01-02T08:00:00-08:00", "LastUpdatedTime": "2026-01-02T08:00:00-08:00"}


def _account(id: str, name: str, kind: str) -> dict[str, Any]:
    return {
        "Id": id,
        "Name": name.rpartition(":")[2],
        "FullyQualifiedName": name,
        "AccountType": kind,
        "Active": True,
        "CurrentBalance": 0,
        "MetaData": _LONG_AGO,
    }


STARTING_BOOKS: dict[str, Any] = {
    "realm": REALM,
    "Account": [
        _account("33", "Accounts Payable (A/P)", "Accounts Payable"),
        _account("35", "Checking", "Bank"),
        _account("69", "Legal & Professional Fees:Accounting", "Expense"),
        _account("64", "Job Expenses:Job Materials", "Cost of Goods Sold"),
    ],
    "Vendor": [
        {
            "Id": "56",
            "DisplayName": "Bob's Burger Joint",
            "Active": True,
            "Balance": 0,
            "MetaData": _LONG_AGO,
        },
        {"Id": "46", "DisplayName": "Norton Lumber", "Active": True, "Balance": 0, "MetaData": _LONG_AGO},
    ],
    "Item": [{"Id": "3", "Name": "Concrete", "ExpenseAccountRef": {"value": "64"}, "MetaData": _LONG_AGO}],
    "Customer": [{"Id": "61", "DisplayName": "Riverside Clinic", "Active": True, "MetaData": _LONG_AGO}],
    "Class": [{"Id": "5000000000000007195", "Name": "Concrete", "Active": True, "MetaData": _LONG_AGO}],
    "Department": [{"Id": "2", "Name": "North Yard", "Active": True, "MetaData": _LONG_AGO}],
}
