"""What crosses the wire to and from Procore is what the OpenAPI file says, both ways."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
import requests

from ml_connector.sandbox.assembly import open_server
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector.sandbox.wire import Request, Response, parse_json
from ml_connector_tests.contract.recording import Recording, assert_request_valid
from ml_connector_tests.rig import Control, Rig, line, today
from ml_connector_tests.sandbox.openapi import assert_valid, reference_file
from ml_connector_tests.sandbox.procore_desk import COMPANY, FIXTURE, GRANITE, P101, P102, SC_007, Desk

OF_THE_CONNECTOR = 13
OF_A_PERSON = 100


@pytest.fixture(autouse=True)
def _reference() -> None:
    if reference_file() is None:
        pytest.skip("procore-openapi.json is not here: name its folder in ML_CONNECTOR_REFERENCE")


@pytest.fixture
def recording(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """All that ml-connector asks of Procore, and the answers."""
    recorded = Recording()
    recorded.attach(rig.procore_server, monkeypatch)
    return recorded


class OverHttp:
    """Stands where a desk expects the vendor: the requests go over a socket, and are held against the file."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def handle(self, request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        answer = self.session.request(
            request.method,
            f"{self.url}{request.path}",
            params=list(request.query),
            headers=headers,
            data=request.body,
            timeout=10,
        )
        if answer.ok:  # what is refused may well be malformed
            assert_request_valid(request)
        is_json = answer.headers["Content-Type"].startswith("application/json") if answer.content else False
        body = parse_json(answer.content) if is_json else answer.text or None
        return Response(answer.status_code, body, dict(answer.headers))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A person at Procore, over HTTP, in the firm of the desk's fixture."""
    server = open_server(ProcoreVendor, name="procore", directory=tmp_path)
    server.start()
    Control(server.url).load(**FIXTURE)
    wire = OverHttp(server.url)
    yield Desk(cast(ProcoreVendor, wire)).log_in()
    wire.session.close()
    server.stop()


def test_all_that_the_connector_sends_and_is_answered_is_in_the_reference(
    rig: Rig, recording: Recording
) -> None:
    books = rig.bookkeeper
    split = [line("1250.00", item="101", description="40 bags"), line("99.95", item="102", customer="62")]
    books.bill("4471", split)
    shrinking = books.bill("4472", [line("10.00", item="101"), line("-2.50", item="101")])
    rig.sync()
    books.edit("Bill", shrinking, Line=[line("12.00", item="101")], PrivateNote="one line less")
    rig.sync()
    lost = books.bill("4473", [line("7.00", item="101")])
    _without_answers(rig, "/direct_costs/sync")
    books.delete("Bill", lost)
    rig.sync()
    shrunk = books.bill("4474", [line("7.00", item="101"), line("8.00", item="102")])
    _without_answers(rig, "/line_items/sync")
    books.edit("Bill", shrunk, Line=[line("9.00", item="101")])
    rig.sync()
    assert len(rig.direct_costs()) == 4
    for request, answer in recording.exchanges:
        assert_valid(request, answer)
        assert_request_valid(request)
    ids = [
        answer.headers.get("x-request-id")
        for request, answer in recording.exchanges
        if "/rest/" in request.path
    ]
    assert None not in ids
    assert len(set(ids)) == len(ids)
    assert len(recording.operations()) >= OF_THE_CONNECTOR, sorted(recording.operations())


def _without_answers(rig: Rig, path: str) -> None:
    """One run whose writes below `path` are done and never answered."""
    rig.procore.fault({"route": f"PATCH *{path}", "every": 1, "fault": "accept_then_drop"})
    rig.read()
    rig.post([today()])
    rig.procore.no_faults()


def test_all_that_a_person_is_answered_over_http_is_in_the_reference(desk: Desk) -> None:
    for work in (_directory, _coding, _budget, _direct_costs, _commitments, _invoices, _owner, _hooks):
        work(desk)
    assert len(desk.used) >= OF_A_PERSON, sorted(desk.used)


def _directory(desk: Desk) -> None:
    company, query = f"/rest/v1.0/companies/{COMPANY}", {"company_id": COMPANY}
    desk.ok("GET", "/rest/v1.0/me")
    desk.ok("GET", "/oauth/token/info")
    desk.ok("GET", "/rest/v1.0/companies")
    desk.ok("GET", "/rest/v1.0/projects", **query)
    desk.ok("GET", f"/rest/v1.0/projects/{P101}", **query)
    assert len(desk.ok("GET", "/rest/v1.1/projects", **query)) == 3
    updates = [{"id": P102, "origin_id": "qbo:1:customer:62"}]
    desk.ok("PATCH", "/rest/v1.0/projects/sync", {**query, "updates": updates})
    made = desk.ok("POST", "/rest/v1.0/vendors", {**query, "vendor": {"name": "New & Co"}})
    one = f"/rest/v1.0/vendors/{made['id']}"
    desk.ok("PATCH", one, {**query, "vendor": {"name": "New & Sons", "is_active": False}})
    assert desk.ok("GET", one, **query)["is_active"] is False
    assert made["id"] in [row["id"] for row in desk.ok("GET", f"{company}/vendors/inactive")]
    desk.ok("PATCH", f"{company}/vendors/inactive/{made['id']}")
    synced = desk.ok(
        "PATCH", "/rest/v1.0/vendors/sync", {**query, "updates": [{"origin_id": "o:1", "name": "Third"}]}
    )
    assert [row["name"] for row in synced["entities"]] == ["Third"]
    assert len(desk.ok("GET", "/rest/v1.0/vendors", **query)) >= 3
    on_project = f"/rest/v1.1/projects/{P102}/vendors"
    desk.ok("POST", f"{on_project}/{made['id']}/actions/add")
    desk.ok("GET", f"{on_project}/{made['id']}")
    assert len(desk.ok("GET", on_project)) == 2
    desk.ok("DELETE", f"{on_project}/{made['id']}/actions/remove")
    assert desk.refused("GET", f"{on_project}/{made['id']}")[0] == 404


def _coding(desk: Desk) -> None:
    codes, here = "/rest/v1.0/cost_codes", {"project_id": P102}
    made = desk.ok("POST", codes, {**here, "cost_code": {"code": "32", "name": "Paving"}})
    desk.ok("PATCH", f"{codes}/{made['id']}", {**here, "cost_code": {"code": "32", "name": "Asphalt"}})
    assert desk.ok("GET", f"{codes}/{made['id']}", **here)["name"] == "Asphalt"
    assert desk.ok("GET", codes, **here)
    desk.ok("PATCH", f"{codes}/sync", {"updates": [{"id": made["id"], "origin_id": "cc:1"}]}, **here)
    assert desk.ok("GET", "/rest/v1.0/line_item_types", **here)
    for path in ("standard_cost_code_lists", "tax_codes"):
        desk.ok("GET", f"/rest/v1.0/{path}", company_id=COMPANY)
    desk.ok("GET", "/rest/v1.0/sub_jobs", **here)
    desk.ok("GET", f"/rest/v1.0/companies/{COMPANY}/uoms")
    wbs = f"/rest/v1.0/projects/{P102}/work_breakdown_structure"
    desk.ok("GET", f"{wbs}/patterns")
    items = []
    for segment in desk.ok("GET", f"{wbs}/segments"):
        first = desk.ok("GET", f"{wbs}/segments/{segment['id']}/segment_items")[0]
        items.append({"segment_id": segment["id"], "segment_item_id": first["id"]})
    code = desk.ok("POST", f"{wbs}/wbs_codes", {"segment_items": items})
    desk.ok("PATCH", f"{wbs}/wbs_codes/{code['id']}", {"description": "the first of each"})
    desk.ok("PATCH", f"{wbs}/wbs_codes/bulk_create", {"bulk": [{"segment_items": items}]})
    assert desk.ok("GET", f"/rest/v2.0/companies/{COMPANY}/projects/{P102}/wbs/codes")["data"]


def _budget(desk: Desk) -> None:
    here = {"project_id": P101}
    assert desk.ok("GET", f"/rest/v1.0/projects/{P101}/budget")["locked"] is True
    view = f"/rest/v1.0/budget_views/{desk.ok('GET', '/rest/v1.0/budget_views', **here)[0]['id']}"
    assert desk.ok("GET", f"{view}/detail_rows", **here, budget_row_type="all")
    assert desk.ok("GET", f"{view}/summary_rows", **here, group_by="cost_code")
    assert desk.ok("GET", f"{view}/budget_detail_columns", **here)
    desk.ok("POST", f"{view}/budget_details", {}, **here)
    assert desk.ok("GET", "/rest/v1.0/budget_line_items/51", **here)["original_budget_amount"] == 30000
    item = {"wbs_code_id": desk.codes(P102)["06-1000.M"], "original_budget_amount": 500}
    body = {"project_id": P102, "budget_line_item": item}
    made = desk.ok("POST", "/rest/v1.1/budget_line_items", body)
    desk.ok("GET", f"/rest/v1.1/budget_line_items/{made['id']}", project_id=P102)


def _direct_costs(desk: Desk) -> None:
    new, old = (f"/rest/v1.{version}/projects/{P101}/direct_costs" for version in (1, 0))
    cost = desk.bill("4471", origin_id="qbo:1:bill:1")
    assert desk.refused("POST", new, {"direct_cost": {"direct_cost_type": "invoice"}})[0] == 400
    assert Decimal(desk.ok("GET", f"{new}/{cost['id']}")["grand_total"]) == 1250
    desk.ok("PATCH", f"{new}/{cost['id']}", {"direct_cost": {"description": "40 bags"}})
    desk.ok("PATCH", f"{old}/{cost['id']}", {"item": {"invoice_number": "4471-A"}})
    updates = [{"origin_id": "qbo:1:bill:1", "payment_date": "2026-02-20"}]
    desk.ok("PATCH", f"{old}/sync", {"updates": updates})
    code = desk.codes()["06-1000.M"]
    lines = f"{old}/{cost['id']}/line_items"
    row = {"direct_cost_id": cost["id"], "wbs_code_id": code, "amount": 7.5, "extended_type": "manual"}
    desk.ok("PATCH", f"{old}/line_items/sync", {"updates": [{**row, "origin_id": "l:2"}]})
    third = desk.ok(
        "POST", lines, {"line_item": {"wbs_code_id": code, "amount": 2, "extended_type": "manual"}}
    )
    desk.ok("PATCH", f"{lines}/{third['id']}", {"line_item": {"description": "nails"}})
    desk.ok("GET", f"{lines}/{third['id']}")
    assert len(desk.ok("GET", lines)) == len(desk.ok("GET", f"{old}/line_items")) == 3
    desk.ok("DELETE", f"{lines}/{third['id']}")
    assert len(desk.ok("GET", new)) == len(desk.ok("GET", old)) == 1
    desk.ok("DELETE", f"{new}/{cost['id']}")
    assert desk.refused("GET", f"{new}/{cost['id']}")[0] == 404


def _commitments(desk: Desk) -> None:
    here, work_orders = {"project_id": P101}, "/rest/v1.0/work_order_contracts"
    contract = {"number": "SC-9", "title": "Roof", "status": "Draft", "vendor_id": GRANITE}
    made = desk.ok("POST", work_orders, {**here, "work_order_contract": contract})
    one, code = f"{work_orders}/{made['id']}", desk.codes()["06-1000.M"]
    desk.ok("POST", f"{one}/line_items", {**here, "line_item": {"wbs_code_id": code, "amount": "900.00"}})
    assert len(desk.ok("GET", f"{one}/line_items", **here)) == 1
    desk.ok("PATCH", one, {**here, "work_order_contract": {"title": "Roof and gutters"}})
    desk.ok("GET", one, **here)
    desk.ok("DELETE", one, **here)
    assert desk.ok("GET", work_orders, **here)
    orders = "/rest/v1.0/purchase_order_contracts"
    order = {"number": "PO-1", "title": "Doors", "status": "Draft", "vendor_id": GRANITE}
    bought = desk.ok("POST", orders, {**here, "purchase_order_contract": order})
    desk.ok("GET", f"{orders}/{bought['id']}", **here)
    assert desk.ok("GET", orders, **here)
    assert len(desk.ok("GET", "/rest/v1.0/commitments", **here)) == 2
    desk.ok("GET", f"/rest/v1.0/commitments/{SC_007}", **here)
    newer = f"/rest/v2.0/companies/{COMPANY}/projects/{P101}/commitment_contracts"
    assert desk.ok("GET", newer)["data"]
    for path in ("", "/line_items", "/summary"):
        desk.ok("GET", f"{newer}/{SC_007}{path}")


def _invoices(desk: Desk) -> None:
    here, periods = {"project_id": P101}, f"/rest/v1.0/projects/{P101}/billing_periods"
    march = {
        "start_date": "2026-03-01",
        "end_date": "2026-03-31",
        "due_date": "2026-04-10",
        "status": "closed",
    }
    made = desk.ok("POST", periods, {"billing_period": march})
    desk.ok("PATCH", f"{periods}/{made['id']}", {"billing_period": {**march, "due_date": "2026-04-11"}})
    desk.ok("GET", f"{periods}/{made['id']}")
    assert len(desk.ok("GET", periods)) == 2
    desk.ok("DELETE", f"{periods}/{made['id']}")
    item = {"line_item_id": 1, "item_type": "contract_item", "work_completed_this_period": "10000.00"}
    requisition = {"status": "approved", "period_id": 3301, "invoice_number": "BE-14", "items": [item]}
    body = {**here, "commitment_id": SC_007, "requisition": requisition}
    invoice = desk.ok("POST", "/rest/v1.1/requisitions", body)
    one = f"/rest/v1.1/requisitions/{invoice['id']}"
    assert desk.ok("GET", one, **here)["summary"]["current_payment_due"] == "9000.00"
    desk.ok("PATCH", one, {**here, "commitment_id": SC_007, "requisition": {"payment_date": "2026-03-09"}})
    assert desk.ok("GET", "/rest/v1.1/requisitions", **here)
    for path in ("contract_items", "change_histories"):
        desk.ok("GET", f"/rest/v1.0/requisitions/{invoice['id']}/{path}", **here)
    payments, of_contract = "/rest/v1.0/contract_payments", {**here, "contract_id": SC_007}
    payment = {"date": "2026-03-09", "amount": "9000.00", "payment_method": "check"}
    payment |= {"requisition_id": invoice["id"], "check_number": "2231"}
    paid = desk.ok("POST", payments, {**of_contract, "contract_payment": payment})
    desk.ok("PATCH", f"{payments}/{paid['id']}", {**of_contract, "contract_payment": {"notes": "by post"}})
    desk.ok("GET", f"{payments}/{paid['id']}", **of_contract)
    assert [Decimal(row["amount"]) for row in desk.ok("GET", payments, **of_contract)] == [9000]
    desk.ok("DELETE", f"{payments}/{paid['id']}", **of_contract)
    desk.ok("DELETE", one, **here)


def _owner(desk: Desk) -> None:
    desk.ok("GET", "/rest/v1.0/prime_contracts", project_id=P101)
    desk.ok("GET", "/rest/v1.0/payment_applications", project_id=P101)


def _hooks(desk: Desk) -> None:
    company = f"/rest/v2.0/companies/{COMPANY}/webhooks"
    hook = {
        "payload_version": "v4.0",
        "namespace": "ml-connector",
        "destination_url": "https://hooks.example/",
    }
    made = desk.ok("POST", f"{company}/hooks", hook)["data"]
    trigger = {"resource_name": "Direct Costs", "event_type": "update"}
    desk.ok("POST", f"{company}/hooks/{made['id']}/triggers", trigger)
    desk.ok("GET", f"{company}/hooks/{made['id']}/deliveries")
    desk.ok("GET", f"{company}/resources", payload_version="v4.0")
    desk.ok("DELETE", f"{company}/hooks/{made['id']}")
    assert desk.ok("GET", f"{company}/hooks") == {"data": []}


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "told"),
    [
        ("GET", "/rest/v1.1/projects", (), b"", "needs the query company_id"),
        ("GET", "/rest/v1.1/projects", (("company_id", "1"), ("by", "x")), b"", r"no parameters \['by'\]"),
        ("GET", "/rest/v1.0/me", (), b"{}", "takes no body"),
        ("PATCH", "/rest/v1.0/vendors/sync", (), b'{"company_id":1,"updates":[{"nmae":"x"}]}', "nmae"),
        ("PATCH", "/rest/v1.0/vendors/sync", (), b'{"company_id":1,"updates":{}}', "not of type 'array'"),
        ("PATCH", "/rest/v1.0/vendors/sync", (), b'{"updates":[]}', "company_id"),
        ("PATCH", "/rest/v1.0/projects/5/direct_costs/sync", (), b'{"updates":[{"vendor_id":"8"}]}', "vendor_id"),
    ],
)  # fmt: skip
def test_the_check_notices_a_request_that_is_not_in_the_reference(
    method: str, path: str, query: tuple[tuple[str, str], ...], body: bytes, told: str
) -> None:
    headers = {"procore-company-id": "1", "content-type": "application/json"}
    with pytest.raises(AssertionError, match=told):
        assert_request_valid(Request(method, path, query, headers, body))


def test_the_check_notices_a_missing_company_header() -> None:
    with pytest.raises(AssertionError, match="needs the header Procore-Company-Id"):
        assert_request_valid(Request("GET", "/rest/v1.0/vendors", (("company_id", "1"),)))
