"""A desk at the imitated Procore: requests straight to the vendor, every answer checked against OpenAPI."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector.sandbox.records import Records
from ml_connector.sandbox.wire import Request, Response, write_json
from ml_connector_tests.sandbox.openapi import assert_valid, operation_of, reference_file

COMPANY, OTHER_COMPANY = 4_268_001, 4_268_002
P101, P102, P103, ELSEWHERE = 101, 102, 103, 901
GRANITE, BRIGHT, IDLE, ABSENT = 8, 9, 10, 11
SC_007 = 701_973
CODES = ["03-3000.M", "03-3000.L", "06-1000.M", "26-0500.S", "01-5000.E"]

FIXTURE: dict[str, list[dict[str, Any]]] = {
    "companies": [
        {"id": COMPANY, "name": "Harbor Builders"},
        {"id": OTHER_COMPANY, "name": "Another Firm"},
    ],
    "projects": [
        {
            "id": P101,
            "company_id": COMPANY,
            "name": "Harbor Clinic",
            "budget_codes": CODES,
            "budget_locked": True,
        },
        {"id": P102, "company_id": COMPANY, "name": "Elm Street School", "budget_codes": CODES},
        {"id": P103, "company_id": COMPANY, "name": "Depot Lofts", "budget_codes": CODES, "active": False},
        {"id": ELSEWHERE, "company_id": OTHER_COMPANY, "name": "Far Away", "budget_codes": CODES},
    ],
    "vendors": [
        {"id": GRANITE, "company_id": COMPANY, "name": "Granite Supply", "project_ids": [P101, P102, P103]},
        {"id": BRIGHT, "company_id": COMPANY, "name": "Bright Electric", "origin_id": "qbo:1:vendor:9"},
        {"id": IDLE, "company_id": COMPANY, "name": "Idle Ltd", "is_active": False, "project_ids": [P101]},
        {"id": ABSENT, "company_id": COMPANY, "name": "Absent & Co", "is_active": True},
    ],
    "work_order_contracts": [
        {
            "id": SC_007,
            "project_id": P101,
            "number": "SC-007",
            "title": "Electrical",
            "status": "Approved",
            "vendor_id": BRIGHT,
            "retainage_percent": "10",
            "origin_id": "po:7",
            "line_items": [
                {"id": 1, "flat_code": "26-0500.S", "amount": Decimal("60000.00"), "description": "Rough-in"},
                {"id": 2, "flat_code": "26-0500.S", "amount": Decimal("40000.00"), "description": "Fixtures"},
            ],
        }
    ],
    "billing_periods": [
        {
            "id": 3301,
            "project_id": P101,
            "start_date": "2026-02-01",
            "end_date": "2026-02-28",
            "due_date": "2026-03-10",
            "status": "open",
        }
    ],
    "budget_line_items": [
        {
            "id": 51,
            "project_id": P101,
            "flat_code": "03-3000.M",
            "original_budget_amount": Decimal("30000.00"),
        }
    ],
}


class Desk:
    """One client at one company."""

    def __init__(self, vendor: ProcoreVendor, *, company: int = COMPANY) -> None:
        self.vendor = vendor
        self.headers = {"procore-company-id": str(company), "host": "127.0.0.1:9"}
        self.used: set[tuple[str, str]] = set()

    def log_in(self, client_id: str = "sandbox-client", secret: str = "sandbox-secret") -> "Desk":
        given = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        answer = self.call("POST", "/oauth/token", given)
        assert answer.status == 200, answer.body
        self.headers["authorization"] = f"Bearer {answer.body['access_token']}"
        return self

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        instructions: Any = None,
        **query: Any,
    ) -> Response:
        """One request; `query` names may be written with the brackets in a dict passed as `**{...}`."""
        pairs = tuple(
            (name, str(one))
            for name, value in query.items()
            for one in (value if isinstance(value, list) else [value])
        )
        headers = self.headers if body is None else {**self.headers, "content-type": "application/json"}
        raw = b"" if body is None else write_json(body).encode()
        request = Request(method, path, pairs, headers, raw, instructions or {})
        answer = self.vendor.handle(request)
        assert_valid(request, answer)
        self.used.add(operation_of(method, path))
        return answer

    def ok(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The body of a call that must succeed, as a client reads it."""
        answer = self.call(method, path, body, **query)
        assert answer.status < 300, (answer.status, answer.body)
        return None if answer.body is None else json.loads(write_json(answer.body), parse_float=Decimal)

    def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        answer = self.call(method, path, body, **query)
        assert answer.status >= 400, answer.body
        return answer.status, answer.body

    def codes(self, project: int = P101) -> dict[str, int]:
        """flat_code -> id of the budget code."""
        path = f"/rest/v1.0/projects/{project}/work_breakdown_structure/wbs_codes"
        return {row["flat_code"]: row["id"] for row in self.ok("GET", path)}

    def bill(self, number: str = "4471", *, project: int = P101, amount: str = "1250.00", **more: Any) -> Any:
        """Post an approved direct cost of one line."""
        cost = {
            "direct_cost_type": "invoice",
            "status": "approved",
            "vendor_id": GRANITE,
            "invoice_number": number,
            "direct_cost_date": "2026-02-08",
            "line_items": [
                {"wbs_code_id": self.codes(project)["03-3000.M"], "manual_amount": Decimal(amount)}
            ],
            **more,
        }
        return self.ok("POST", f"/rest/v1.1/projects/{project}/direct_costs", {"direct_cost": cost})


def make_vendor(directory: Path) -> ProcoreVendor:
    """A Procore with the fixture and a clock that stands still."""
    clock = Clock()
    clock.set({"frozen": "2026-02-10T12:00:00+00:00"})
    vendor = ProcoreVendor(Records(directory / "procore.sqlite"), clock)
    vendor.load(FIXTURE)
    return vendor


def open_desk(directory: Path) -> Desk:
    """A client with a token at a fresh Procore. Skips the test when the OpenAPI file is missing."""
    if reference_file() is None:
        pytest.skip("procore-openapi.json is not here: name its folder in ML_CONNECTOR_REFERENCE")
    return Desk(make_vendor(directory)).log_in()
