"""The demo's verdict must be able to fail: every kind of difference is seen, and decides the exit code."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from ml_connector.cli import demo as command
from ml_connector.cli.demo import Shown
from ml_connector.cli.demo_firm import Sandbox
from ml_connector.cli.demo_verdict import Verdict, judge
from ml_connector.sandbox.demo.expectations import ZERO, Expected, ExpectedTarget
from ml_connector.sandbox.demo.firm import DemoFirm
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import COMPANY, HARBOR, MAPPING, PROJECTS, REALM, line, today

AMOUNT = Decimal("1250.00")
TARGET = ExpectedTarget(int(HARBOR), "4471", (("03-3000", "M", AMOUNT),))
STATED = Expected("1", "Bill", "S01", "posted", "", AMOUNT, AMOUNT, ZERO, ZERO, (TARGET,))


def stating(**changes: Any) -> DemoFirm:
    """A demo firm whose only record is bill 1, stated as it is but for `changes`."""
    expected = replace(STATED, **changes)
    return DemoFirm(
        today(), today(), "UTC", REALM, COMPANY, {}, (), (), {expected.key: expected}, MAPPING, PROJECTS
    )


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
        ({"targets": (replace(TARGET, lines=(("03-3000", "L", AMOUNT),)),)}, "Procore holds"),
        ({"targets": (replace(TARGET, lines=(("03-3000", "M", Decimal("1249.99")),)),)}, "Procore holds"),
        ({"key": "C-001"}, "not in the demo data"),
    ],
    ids=["state", "money", "nothing", "project", "cost type", "a cent", "key"],
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


def test_too_little_posted_is_not_good_even_as_stated() -> None:
    verdict = Verdict(money={"qbo": Decimal(100), "posted": Decimal("84.99"), "delta": ZERO})
    assert not verdict.good
    verdict.money["posted"] = Decimal(85)
    assert verdict.good


@pytest.fixture
def as_a_command() -> Iterator[None]:
    """Logs go elsewhere than to standard output, as in the program; signal handlers are put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with capture_logs():
        yield
    for number, handler in before.items():
        signal.signal(number, handler)


GOOD = Verdict(money={"qbo": AMOUNT, "posted": AMOUNT, "delta": ZERO})
TAMPERED = Verdict(money=GOOD.money, wrong=["Bill 1 (S01): posted instead of held"])
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
