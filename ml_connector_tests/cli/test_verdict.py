"""The demo's verdict must be able to fail: every kind of difference is seen, and decides the exit code."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from ml_connector.cli import demo as command
from ml_connector.cli.demo import Shown
from ml_connector.cli.demo_firm import Sandbox
from ml_connector.cli.demo_verdict import Verdict, judge
from ml_connector.orchestration.clients import procore_client
from ml_connector.sandbox.demo.expectations import (
    ZERO,
    Expected,
    ExpectedInvoice,
    ExpectedPayment,
    ExpectedTarget,
)
from ml_connector.sandbox.demo.firm import DemoFirm
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import COMPANY, HARBOR, MAPPING, PROJECTS, REALM, line, today
from ml_connector_tests.scenarios.test_payments import pay
from ml_connector_tests.scenarios.test_subcontracts import (
    BRIGHT,
    RETAINED,
    SC_007,
    WORK,
    period,
    progress,
    subcontract,
)

BILLED = ("line_item_id", WORK, RETAINED)
AMOUNT = Decimal("1250.00")
TARGET = ExpectedTarget(int(HARBOR), "4471", (("03-3000", "M", AMOUNT),))
STATED = Expected("1", "Bill", "S01", "posted", "", AMOUNT, AMOUNT, ZERO, ZERO, (TARGET,))


def demo_of(*stated: Expected) -> DemoFirm:
    """A demo firm of these records."""
    expectations = {expected.key: expected for expected in stated}
    return DemoFirm(
        *(today(), today(), "UTC", REALM, COMPANY, {}, (), (), ()), expectations, MAPPING, PROJECTS
    )


def stating(**changes: Any) -> DemoFirm:
    """A demo firm whose only record is bill 1, stated as it is but for `changes`."""
    return demo_of(replace(STATED, **changes))


Judge = Callable[[DemoFirm], Verdict]


@pytest.fixture
def judged(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """One posted bill, to be judged against what a demo firm states."""
    firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    firm.rig.sync()
    monkeypatch.setattr("ml_connector.cli.demo_verdict.NAME", firm.rig.name)
    sandbox = Sandbox(firm.rig.qbo.url, firm.rig.procore.url)
    return lambda stated: judge(firm.rig.engine, sandbox, stated)


def test_what_came_out_as_stated_is_good(judged: Judge) -> None:
    verdict = judged(stating())
    assert (verdict.wrong, verdict.good) == ([], True)
    assert verdict.money == {"qbo": AMOUNT, "posted": AMOUNT, "excluded": ZERO, "held": ZERO, "delta": ZERO}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": "held", "reason": "UNMAPPED"}, "posted  instead of held UNMAPPED"),
        ({"posted": Decimal("1250.01")}, "posted, excluded, held are"),
        ({"targets": ()}, "Procore holds"),
        ({"targets": (replace(TARGET, project=102),)}, "Procore holds"),
        ({"targets": (replace(TARGET, number="4472"),)}, "Procore holds"),
        ({"targets": (TARGET, TARGET)}, "Procore holds"),
        ({"invoices": (ExpectedInvoice("SC-007", "4471", (), ZERO, ZERO),)}, "Procore holds"),
        ({"paid_on": today()}, "the payment dates are None"),
        ({"state": "updated"}, "posted  instead of updated"),
        ({"targets": (replace(TARGET, lines=(("03-3000", "L", AMOUNT),)),)}, "Procore holds"),
        ({"targets": (replace(TARGET, lines=(("03-3000", "M", Decimal("1249.99")),)),)}, "Procore holds"),
        ({"key": "C-001"}, "not in the demo data"),
    ],
    ids=[
        *("state", "money", "nothing", "project", "number", "a second one", "a requisition", "payment date"),
        *("never updated", "cost type", "a cent", "key"),
    ],
)
def test_a_tampered_expectation_is_a_difference(changes: dict[str, Any], told: str, judged: Judge) -> None:
    verdict = judged(stating(**changes))
    assert not verdict.good
    assert any(told in fault for fault in verdict.wrong), verdict.wrong


def test_money_that_only_one_side_has_is_a_difference(firm: Firm, judged: Judge) -> None:
    with firm.rig.engine.begin() as db:
        db.execute(text("update ml_connector.record set held = 0.01 where entity = 'Bill'"))
    verdict = judged(stating())
    assert verdict.money["delta"] == Decimal("-0.01")
    assert not verdict.good


@dataclass(frozen=True)
class Paid:
    """A progress bill and a direct cost of its vendor, paid by one check, and what is to be said of the three."""

    firm: Firm
    progress: Expected
    cost: Expected
    check: Expected

    def judge(self, **tampered: Expected) -> Verdict:
        """The verdict when these are stated as they are but for what is `tampered` with."""
        stated = {"progress": self.progress, "cost": self.cost, "check": self.check, **tampered}
        rig = self.firm.rig
        return judge(rig.engine, Sandbox(rig.qbo.url, rig.procore.url), demo_of(*stated.values()))

    def there(self, kind: str) -> dict[str, Any]:
        """The one record of a kind in Procore."""
        (found,) = self.firm.rig.procore.live(kind)
        return found


@pytest.fixture
def paid(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> Paid:
    """One check for both bills, all posted as it should be."""
    rig = firm.rig
    monkeypatch.setattr("ml_connector.cli.demo_verdict.NAME", rig.name)
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007)],
        billing_periods=[period()],
    )
    bill = progress(rig)
    reels = rig.bookkeeper.bill("BE-15", [line("1250.00", item="101")], vendor=BRIGHT)
    pay(rig, [(bill, 9000), (reels, 1250)], PrivateNote="ref P-001")
    rig.sync()
    work, net, total = Decimal("10000.00"), Decimal("9000.00"), Decimal("10250.00")
    invoice = ExpectedInvoice("SC-007", "BE-14", (("26-0500", "S", work),), Decimal("1000.00"), ZERO)
    cash = ExpectedPayment("SC-007", "BE-14", net, "check", "2231", today())
    target = replace(TARGET, number="BE-15")
    return Paid(
        firm,
        Expected(bill["Id"], "Bill", "S33", "posted", "", net, net, ZERO, ZERO, invoices=(invoice,)),
        Expected(
            reels["Id"], "Bill", "S01", "posted", "", AMOUNT, AMOUNT, ZERO, ZERO, (target,), paid_on=today()
        ),
        Expected("P-001", "BillPayment", "S52", "posted", "", total, total, ZERO, ZERO, payments=(cash,)),
    )


def change_requisition(paid: Paid, **fields: Any) -> None:
    """A person changes the requisition in Procore."""
    invoice, rig = paid.there("requisitions"), paid.firm.rig
    body = {"project_id": int(HARBOR), "commitment_id": SC_007, "requisition": fields}
    procore_client(rig.home, rig.connection, rig.engine).patch(
        f"/rest/v1.1/requisitions/{invoice['id']}", body
    )


def test_requisitions_payments_and_their_money_as_stated_are_good(paid: Paid) -> None:
    verdict = paid.judge()
    assert (verdict.wrong, verdict.good) == ([], True)
    assert verdict.money["posted"] == verdict.money["qbo"] == Decimal("10250.00")
    assert verdict.payments == {
        "qbo": Decimal("10250.00"),
        "on_commitments": Decimal("9000.00"),
        "on_direct_costs": AMOUNT,
        "by_credit": ZERO,
        "excluded": ZERO,
        "held": ZERO,
        "delta": ZERO,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"commitment": "SC-009"},
        {"number": "BE-41"},
        {"work": (("26-0500", "S", Decimal("9999.99")),)},
        {"work": (("26-0500", "M", Decimal("10000.00")),)},
        {"held": Decimal("900.00")},
        {"released": Decimal("0.01")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_requisition_that_is_another_one_is_told(changes: dict[str, Any], paid: Paid) -> None:
    invoice = replace(paid.progress.invoices[0], **changes)
    verdict = paid.judge(progress=replace(paid.progress, invoices=(invoice,)))
    assert not verdict.good
    assert [fault.partition(" [")[0] for fault in verdict.wrong] == [
        f"Bill {paid.progress.key} (S33): Procore holds the requisitions"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"commitment": "SC-009"},
        {"invoice": "BE-41"},
        {"amount": Decimal("9000.01")},
        {"check_number": "2232"},
        {"check_number": "", "method": "electronic"},
        {"day": date(2026, 1, 1)},
    ],
    ids=lambda changes: next(reversed(changes)),
)
def test_a_contract_payment_that_is_another_one_is_told(changes: dict[str, Any], paid: Paid) -> None:
    cash = replace(paid.check.payments[0], **changes)
    verdict = paid.judge(check=replace(paid.check, payments=(cash,)))
    assert not verdict.good
    assert [fault.partition(" [")[0] for fault in verdict.wrong] == [
        "BillPayment P-001 (S52): Procore holds the contract payments"
    ]


def test_a_payment_date_that_is_another_one_is_told(paid: Paid) -> None:
    verdict = paid.judge(cost=replace(paid.cost, paid_on=None))
    assert verdict.wrong == [f"Bill {paid.cost.key} (S01): the payment dates are {today()} instead of None"]


def test_a_requisition_that_says_something_else_in_Procore_is_told(paid: Paid) -> None:
    (item,) = paid.there("requisitions")["items"]
    change_requisition(paid, items=[{"id": item["id"], "item_type": item["item_type"], RETAINED: "999.00"}])
    verdict = paid.judge()
    assert len(verdict.wrong) == 2
    assert "Procore comes to 9001.00 instead of 9000.00" in verdict.wrong[1]
    assert verdict.money["delta"] == -1


def test_a_requisition_that_is_a_draft_does_not_count(paid: Paid) -> None:
    change_requisition(paid, status="draft")
    verdict = paid.judge()
    assert "requisitions [] instead of" in verdict.wrong[0]
    assert verdict.money["delta"] == 9000


@pytest.mark.parametrize("ours", [True, False], ids=["of the record", "of nobody"])
@pytest.mark.parametrize("kind", ["direct_costs", "requisitions", "contract_payments"])
def test_a_double_in_Procore_is_told(kind: str, ours: bool, paid: Paid) -> None:
    record = {**paid.there(kind), "id": 990_001}
    if not ours:
        record["origin_id"] = None
    if kind == "direct_costs":
        record["line_items"] = [{**line, "id": 990_002} for line in record["line_items"]]
    if kind == "requisitions":
        record["items"] = [{name: item[name] for name in BILLED} for item in record["items"]]
    paid.firm.rig.procore.load(**{kind: [record]})
    verdict = paid.judge()
    assert not verdict.good
    assert any(("instead of" if ours else "of no record") in fault for fault in verdict.wrong), verdict.wrong
    of_bills = kind != "contract_payments"
    assert (verdict.money["delta"] < 0, verdict.payments["delta"] < 0) == (of_bills, not of_bills)


def test_a_payment_that_is_missing_in_Procore_is_told(paid: Paid) -> None:
    found = paid.there("contract_payments")
    rig = paid.firm.rig
    rig.procore.switch(contract_payment_lock="allow")
    procore_client(rig.home, rig.connection, rig.engine).delete(
        f"/rest/v1.0/contract_payments/{found['id']}", {"project_id": HARBOR, "contract_id": SC_007}
    )
    verdict = paid.judge()
    (fault,) = verdict.wrong
    assert "contract payments [] instead of" in fault
    assert verdict.payments["delta"] == 9000


def test_a_deleted_bill_is_judged_by_what_is_left_of_it(firm: Firm, judged: Judge) -> None:
    gone = replace(STATED, state="reversed", total=ZERO, posted=ZERO, targets=())
    assert "posted  instead of reversed" in judged(demo_of(gone)).wrong[0]
    firm.rig.bookkeeper.bill("4472", [line("1250.00", item="101")])
    firm.rig.bookkeeper.delete("Bill", {"Id": "1"})
    firm.rig.sync()
    (other,) = firm.rig.qbo.live("Bill")
    stays = replace(STATED, key=other["Id"], targets=(replace(TARGET, number="4472"),))
    assert judged(demo_of(gone, stays)).wrong == []
    assert judged(demo_of(STATED, stays)).wrong == ["1: not in QuickBooks"]


def test_too_little_posted_is_not_good_even_as_stated() -> None:
    money = {"qbo": Decimal(100), "posted": Decimal("84.99"), "delta": ZERO}
    verdict = Verdict(money=money, payments={"delta": ZERO})
    assert not verdict.good
    verdict.money["posted"] = Decimal(85)
    assert verdict.good


def test_payments_that_do_not_add_up_are_not_good() -> None:
    money = {"qbo": AMOUNT, "posted": AMOUNT, "delta": ZERO}
    assert not Verdict(money=money, payments={"delta": Decimal("0.01")}).good


@pytest.fixture
def as_a_command() -> Iterator[None]:
    """Logs go elsewhere than to standard output, as in the program; signal handlers are put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with capture_logs():
        yield
    for number, handler in before.items():
        signal.signal(number, handler)


GOOD = Verdict(money={"qbo": AMOUNT, "posted": AMOUNT, "delta": ZERO}, payments={"delta": ZERO})
TAMPERED = Verdict(money=GOOD.money, payments=GOOD.payments, wrong=["Bill 1 (S01): posted instead of held"])
ENDED, FAILED = [{"id": "1", "status": "SUCCESS"}], [{"id": "1", "status": "FAILURE"}]


@pytest.mark.processes
@pytest.mark.usefixtures("as_a_command")
@pytest.mark.parametrize(
    ("verdict", "runs", "code"), [(GOOD, ENDED, 0), (TAMPERED, ENDED, 1), (GOOD, FAILED, 1)]
)
def test_the_exit_code_follows_the_verdict_and_the_runs(
    verdict: Verdict,
    runs: list[dict[str, str]],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = Shown(verdict, {"qbo": 1, "procore": 1}, runs, [], 1.0, "http://127.0.0.1:3000")
    monkeypatch.setattr(command, "_show", lambda *_: shown)
    assert command.run_demo(once=True, as_json=True, home=None, port=0) == code
    assert json.loads(capsys.readouterr().out)["wrong"] == verdict.wrong
