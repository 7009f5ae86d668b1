"""The oracle finds every kind of wrong state: Procore's records are loaded as a bad product would leave them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector_tests.oracle import Report, Stated, Statement, Trouble, judge
from ml_connector_tests.rig import REALM, Bookkeeper, Control, call, firm, line

SC_007 = 7007
MONEY = dict[str, Stated]


@dataclass
class Desk:
    """Both sandboxes with a bill of 1,000.00 on direct cost and one of 9,000.00 on SC-007, and no product at all."""

    qbo: Control
    procore: Control
    bookkeeper: Bookkeeper
    direct: dict[str, Any]
    progress: dict[str, Any]

    def cost(self, amount: str = "1000", **fields: Any) -> None:
        """The direct cost of the first bill."""
        origin = f"qbo:{REALM}:bill:{self.direct['Id']}:101"
        items = [{"flat_code": "03-3000.M", "amount": Decimal(amount), "description": ""}]
        scope = {"project_id": 101, "invoice_number": "4471", "origin_id": origin, "line_items": items}
        self.procore.load(direct_costs=[{**scope, **fields}])

    def invoice(self, work: str = "9000", **fields: Any) -> None:
        """The requisition of the second bill."""
        origin = f"qbo:{REALM}:bill:{self.progress['Id']}:{SC_007}"
        items = [{"line_item_id": 70071, "work_completed_this_period": Decimal(work)}]
        scope = {"id": 55, "number": 1, "commitment_id": SC_007, "invoice_number": "BE-14", "items": items}
        self.procore.load(requisitions=[{**scope, "origin_id": origin, **fields}])

    def payment(self, paid: dict[str, Any], amount: str, **fields: Any) -> None:
        """A contract payment of the second bill."""
        origin = f"qbo:{REALM}:billpayment:{paid['Id']}:{self.progress['Id']}:{SC_007}"
        scope = {"contract_id": SC_007, "requisition_id": 55, "date": paid["TxnDate"], "origin_id": origin}
        self.procore.load(contract_payments=[{**scope, "amount": Decimal(amount), **fields}])

    def right(self) -> None:
        """As it should be."""
        self.cost()
        self.invoice()

    def report(self, stated: MONEY | None = None, **more: Any) -> Report:
        """What the oracle says."""
        return judge(self.qbo.url, self.procore.url, Statement(stated or {}, **more), realm=REALM)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """The fixture firm, its two bills, and nothing of them in Procore."""
    servers = [open_qbo(directory=tmp_path), open_server(ProcoreVendor, name="procore", directory=tmp_path)]
    for server in servers:
        server.start()
    qbo, procore = (Control(server.url) for server in servers)
    firm(qbo, procore)
    items = [{"id": 70071, "flat_code": "26-0500.S", "amount": Decimal(100_000)}]
    scope = {"id": SC_007, "project_id": 101, "number": "SC-007", "status": "Approved", "vendor_id": 900}
    procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}], commitments=[{**scope, "line_items": items}]
    )
    bookkeeper = Bookkeeper(qbo.url)
    direct = bookkeeper.bill("4471", [line(1000, item="101")])
    progress = bookkeeper.bill("BE-14", [line(9000, account="2")], vendor="22")
    yield Desk(qbo, procore, bookkeeper, direct, progress)
    for server in servers:
        server.stop()


def told(report: Report) -> list[tuple[str, str, Decimal]]:
    """Kind, record and money of the findings."""
    return [(str(found.trouble), found.record, found.amount) for found in report.findings]


def test_the_right_state_has_no_finding(desk: Desk) -> None:
    desk.right()
    paid = desk.bookkeeper.pay(desk.progress, "4000")
    desk.payment(paid, "4000")
    report = desk.report()
    assert (told(report), report.saved, report.posted) == ([], Decimal(10_000), Decimal(10_000))
    rest = desk.bookkeeper.pay(desk.progress, "5000", number="2232")
    desk.payment(rest, "5000")
    assert told(desk.report()) == []


def test_money_that_is_nowhere_is_lost(desk: Desk) -> None:
    desk.cost()
    assert told(desk.report()) == [("lost", "bill:2", Decimal(9000))]
    desk.invoice(status="draft")
    assert told(desk.report()) == [("lost", "bill:2", Decimal(9000))]


def test_a_purchase_is_money_like_a_bill_where_expenses_are_posted(desk: Desk) -> None:
    desk.right()
    spent = {"PaymentType": "Cash", "AccountRef": {"value": "35"}, "Line": [line(15, item="101")]}
    refund = desk.bookkeeper.post("purchase", {**spent, "Credit": True})["Purchase"]
    assert told(desk.report()) == []
    assert told(desk.report(expenses=True)) == [("lost", f"purchase:{refund['Id']}", Decimal(-15))]
    desk.cost("-15", invoice_number="", origin_id=f"qbo:{REALM}:purchase:{refund['Id']}:101")
    report = desk.report(expenses=True)
    assert (told(report), report.saved, report.posted) == ([], Decimal(9985), Decimal(9985))


def test_what_is_held_or_left_out_is_believed_as_far_as_the_sums_go(desk: Desk) -> None:
    desk.cost("600")
    nine = {"bill:2": Stated(held=Decimal(9000))}
    assert told(desk.report({**nine, "bill:1": Stated(Decimal(100), Decimal(300))})) == []
    assert told(desk.report({**nine, "bill:1": Stated(Decimal(100), Decimal(200))})) == [
        ("delta", "bill:1", Decimal(100))
    ]
    waits = {"bill:1": Stated(held=None), "bill:2": Stated(held=None)}
    assert told(desk.report(waits)) == []
    assert told(desk.report({"bill:1": Stated(held=None)}, excluded={"bill": Decimal(9000)})) == []
    assert told(desk.report({"bill:1": Stated(held=None)}, excluded={"bill": Decimal(8999)})) == [
        ("lost", "bill:2", Decimal(9000))
    ]


def test_a_bill_that_is_held_and_counts_all_the_same_is_a_delta(desk: Desk) -> None:
    desk.right()
    assert told(desk.report({"bill:1": Stated(held=Decimal(1000))})) == [("delta", "bill:1", Decimal(-1000))]
    desk.cost("1100", id=77, origin_id=f"qbo:{REALM}:bill:{desk.direct['Id']}:102", project_id=102)
    assert told(desk.report({"bill:1": Stated(held=None)})) == [("delta", "bill:1", Decimal(-1100))]


def test_two_direct_costs_of_one_bill_on_one_project_are_doubled(desk: Desk) -> None:
    desk.right()
    desk.cost()
    report = desk.report()
    assert ("duplicated", "bill:1", Decimal(1000)) in told(report)
    assert ("delta", "bill:1", Decimal(-1000)) in told(report)
    assert len(report.findings) == 2


def test_a_draft_that_is_there_twice_is_doubled_although_it_counts_nothing(desk: Desk) -> None:
    desk.right()
    desk.cost(status="draft")
    assert told(desk.report()) == [("duplicated", "bill:1", Decimal(0))]


def test_two_vendors_with_one_link_are_doubled(desk: Desk) -> None:
    desk.right()
    origin = f"qbo:{REALM}:vendor:21"
    desk.procore.load(vendors=[{"id": n, "name": "Granite Supply", "origin_id": origin} for n in (1, 2)])
    assert told(desk.report()) == [("duplicated", "vendor:21", Decimal(0))]


def test_a_requisition_of_another_net_is_a_delta(desk: Desk) -> None:
    desk.cost()
    desk.invoice("9000.01")
    assert told(desk.report()) == [("delta", "bill:2", Decimal("-0.01"))]


def test_an_older_version_is_a_delta_and_shows_by_its_number(desk: Desk) -> None:
    desk.right()
    desk.bookkeeper.edit("Bill", desk.direct, Line=[line(1200, item="101")])
    assert told(desk.report()) == [("delta", "bill:1", Decimal(200))]
    desk.bookkeeper.edit("Bill", desk.direct, Line=[line(1000, item="101")], DocNumber="4472")
    (found,) = desk.report().findings
    assert (found.trouble, "an older version" in found.text) == (Trouble.UNEXPECTED, True)


def test_what_is_left_of_a_deleted_bill_is_a_delta(desk: Desk) -> None:
    desk.right()
    desk.bookkeeper.delete("Bill", desk.direct)
    assert told(desk.report()) == [("delta", "bill:1", Decimal(-1000))]
    assert told(desk.report({"bill:1": Stated(held=Decimal(-1000))})) == []


def test_records_that_nothing_in_QBO_explains_are_unexpected(desk: Desk) -> None:
    desk.right()
    desk.cost("5", origin_id=f"qbo:{REALM}:bill:999:101", invoice_number="x")
    assert ("unexpected", "bill:999", Decimal(5)) in told(desk.report())


def test_a_record_on_another_project_than_its_link_says_is_unexpected(desk: Desk) -> None:
    desk.invoice()
    desk.cost(project_id=102)
    assert told(desk.report()) == [("unexpected", "bill:1", Decimal(1000))]


def test_what_a_person_typed_in_procore_is_nobodys_business(desk: Desk) -> None:
    desk.right()
    desk.cost("77", origin_id=None, invoice_number="by hand")
    desk.procore.load(contract_payments=[{"contract_id": SC_007, "amount": Decimal(5), "date": "2026-07-01"}])
    assert told(desk.report()) == []


def test_what_was_linked_without_a_mark_counts_for_its_bill(desk: Desk) -> None:
    desk.cost()
    desk.invoice(origin_id=None)
    assert told(desk.report()) == [("lost", "bill:2", Decimal(9000))]
    link = f"qbo:{REALM}:bill:{desk.progress['Id']}:{SC_007}"
    assert told(desk.report(links={"requisition:55": link})) == []


def test_a_record_without_a_mark_that_repeats_a_linked_one_is_doubled(desk: Desk) -> None:
    desk.invoice()
    for cost in (81, 82):
        desk.cost(id=cost, origin_id=None, writes=1)
    name = f"bill:{desk.direct['Id']}"
    report = desk.report(links={"direct_cost:81": f"qbo:{REALM}:{name}:101"})
    assert told(report) == [("duplicated", name, Decimal(1000))]


def test_a_payment_that_is_lost_short_doubled_or_for_another_contract_is_found(desk: Desk) -> None:
    desk.right()
    paid = desk.bookkeeper.pay(desk.progress, "4000")
    name = f"billpayment:{paid['Id']}"
    assert told(desk.report()) == [("lost", name, Decimal(-4000))]
    assert told(desk.report({name: Stated(held=Decimal(4000))})) == []
    desk.payment(paid, "3999.99", id=1)
    assert told(desk.report()) == [("delta", name, Decimal("-0.01"))]
    desk.payment(paid, "4000", id=1)
    assert told(desk.report()) == []
    desk.payment(paid, "4000", id=2)
    assert told(desk.report()) == [("duplicated", name, Decimal(4000)), ("delta", name, Decimal(4000))]


def test_a_payment_without_a_link_that_repeats_ours_is_doubled(desk: Desk) -> None:
    desk.right()
    paid = desk.bookkeeper.pay(desk.progress, "4000")
    desk.payment(paid, "4000")
    desk.payment(paid, "4000", origin_id=None, writes=1)
    assert told(desk.report()) == [("duplicated", f"billpayment:{paid['Id']}", Decimal(4000))]


def test_a_payment_that_is_void_or_deleted_and_still_there_is_a_delta(desk: Desk) -> None:
    desk.right()
    paid = desk.bookkeeper.pay(desk.progress, "4000")
    desk.payment(paid, "4000")
    current = desk.bookkeeper.read("BillPayment", paid["Id"])
    body = {"Id": current["Id"], "SyncToken": current["SyncToken"], "sparse": True}
    desk.bookkeeper.post("billpayment?operation=update&include=void", body)
    name = f"billpayment:{paid['Id']}"
    assert told(desk.report()) == [("delta", name, Decimal(4000))]
    assert told(desk.report({name: Stated(held=Decimal(-4000))})) == []


def test_a_credit_in_a_payment_is_no_cash_and_must_be_posted_itself(desk: Desk) -> None:
    desk.right()
    credit = desk.bookkeeper.post(
        "vendorcredit", {"VendorRef": {"value": "22"}, "DocNumber": "VC", "Line": [line(300, account="1")]}
    )["VendorCredit"]
    lines = [
        {"Amount": amount, "LinkedTxn": [{"TxnId": record["Id"], "TxnType": kind}]}
        for record, kind, amount in ((desk.progress, "Bill", 9000), (credit, "VendorCredit", 300))
    ]
    bank = {"PayType": "Check", "CheckPayment": {"BankAccountRef": {"value": "35"}}, "TotalAmt": 8700}
    paid = desk.bookkeeper.post("billpayment", {"VendorRef": {"value": "22"}, **bank, "Line": lines})
    desk.payment(paid["BillPayment"], "8700", id=1)
    credited = f"vendorcredit:{credit['Id']}"
    assert told(desk.report()) == [("lost", credited, Decimal(-300))]
    origin = f"qbo:{REALM}:{credited}:101"
    desk.cost("-300", id=88, origin_id=origin, invoice_number="VC")
    assert told(desk.report()) == []
    desk.payment(paid["BillPayment"], "9000", id=1)
    assert [kind for kind, _, _ in told(desk.report())] == ["delta"]


def test_a_bill_half_on_a_contract_takes_its_half_of_a_payment(desk: Desk) -> None:
    both = [line(6000, account="2"), line(3000, item="101")]
    desk.bookkeeper.edit("Bill", desk.progress, Line=both)
    mixed = desk.bookkeeper.bill("BE-15", both, vendor="22")
    origin = f"qbo:{REALM}:bill:{mixed['Id']}"
    desk.cost()
    desk.cost("3000", id=91, origin_id=f"{origin}:101", invoice_number="BE-15")
    desk.invoice("6000", origin_id=f"{origin}:{SC_007}", invoice_number="BE-15")
    paid = desk.bookkeeper.pay(mixed, "4500")
    scope = {"id": 3, "contract_id": SC_007, "requisition_id": 55, "date": "2026-07-01"}
    scope["origin_id"] = f"qbo:{REALM}:billpayment:{paid['Id']}:{mixed['Id']}:{SC_007}"
    held = {"bill:2": Stated(held=Decimal(9000))}
    for amount, troubles in (("3000", []), ("3500", ["delta"]), ("2500", ["delta"])):
        desk.procore.load(contract_payments=[{**scope, "amount": Decimal(amount)}])
        assert [kind for kind, _, _ in told(desk.report(held))] == troubles
    rest = desk.bookkeeper.pay(mixed, "4500", number="2232")
    desk.procore.load(contract_payments=[{**scope, "amount": Decimal("3000.01")}])
    scope |= {"id": 4, "origin_id": f"qbo:{REALM}:billpayment:{rest['Id']}:{mixed['Id']}:{SC_007}"}
    desk.procore.load(contract_payments=[{**scope, "amount": Decimal(3000)}])
    assert told(desk.report(held)) == [("delta", f"bill:{mixed['Id']}", Decimal("0.01"))]


def test_versions_that_were_not_read_yet_are_named_and_not_judged(desk: Desk) -> None:
    desk.invoice()
    report = desk.report({"bill:2": Stated(version="0")}, complete=True)
    assert (told(report), report.unread) == ([], ("bill:1",))
    desk.bookkeeper.edit("Bill", desk.progress, Line=[line(1, account="2")])
    assert desk.report({"bill:2": Stated(version="0")}, complete=True).unread == ("bill:1", "bill:2")


def test_writes_of_an_idle_or_of_a_restless_product_are_found(desk: Desk) -> None:
    desk.right()
    report = judge(desk.qbo.url, desk.procore.url, at_least=1)
    assert told(report) == [("unexpected", "the run", Decimal(0))]
    with pytest.raises(Exception, match="HTTP 401"):
        call("POST", f"{desk.procore.url}/rest/v1.0/contract_payments", {"contract_payment": {}})
    report = judge(desk.qbo.url, desk.procore.url, unchanged_since=0, at_least=1)
    assert (report.attempted, report.refused) == (1, 1)
    assert told(report) == [("unexpected", "POST /rest/v1.0/contract_payments", Decimal(0))]
    assert told(judge(desk.qbo.url, desk.procore.url, unchanged_since=desk.procore.mark())) == []


def test_from_outside_it_takes_what_the_commands_print_and_fails_on_a_finding(
    desk: Desk, tmp_path: Path
) -> None:
    desk.cost()
    holds = tmp_path / "holds.json"
    holds.write_text(json.dumps([{"holds": [{"record": "bill:2", "total": "9000.00", "amount": "9000.00"}]}]))
    command = [sys.executable, "-m", "ml_connector_tests.oracle", "--qbo", desk.qbo.url]
    command += ["--procore", desk.procore.url, "--json"]
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (bad.returncode, json.loads(bad.stdout)["lost"]) == (1, 1)
    good = subprocess.run([*command, "--holds", str(holds)], capture_output=True, text=True, check=False)
    assert (good.returncode, json.loads(good.stdout)["money_posted"]) == (0, "1000.00")
    status = tmp_path / "status.json"
    status.write_text(json.dumps([{"records": [{"kind": "Bill", "excluded": "9000.00"}]}]))
    left_out = subprocess.run(
        [*command, "--status", str(status)], capture_output=True, text=True, check=False
    )
    assert left_out.returncode == 0, left_out.stdout
    command[4] = "http://127.0.0.1:1"
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
