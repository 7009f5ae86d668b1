"""S120: a tenth of the benchmark `month_end`, on Procore's smallest documented limits; the clock jumps over waits."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from benchmarks import firm, month_end
from ml_connector.cli.demo_firm import Sandbox
from ml_connector_tests.rig import REALM, Rig, open_rig
from ml_connector_tests.scenarios.invariants import invariants, oracle

BILLS, PAYMENTS, COMMITMENTS = 300, 90, 10
HOURLY, SPIKE = 600, 25


@pytest.fixture
def rig(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The firm of the benchmarks behind both vendors' limits."""
    limits = {"qbo_per_minute": 450, "procore_per_hour": HOURLY, "procore_per_ten_seconds": SPIKE}
    opened = open_rig(tmp_path, database, fixture=False, limits=limits, policies=month_end.RETAINAGE)
    opened.qbo.load(**firm.qbo_lists())
    opened.procore.load(**firm.procore_lists())
    opened.procore.load(**firm.contracts(COMMITMENTS))
    opened.publish(mapping=firm.mapping_csv(), projects=firm.projects_csv())
    opened.qbo.switch(**month_end.VENDORS_LIMITS["qbo"])
    opened.procore.switch(hourly_limit=HOURLY, spike_limit=SPIKE)
    try:
        yield opened
        invariants(opened)
    finally:
        opened.close()


def test_S120_F11_a_month_end_within_both_vendors_limits_wastes_no_call_and_doubles_nothing(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    played = month_end.play(
        Sandbox(rig.qbo.url, rig.procore.url),
        rig.home,
        rig.connection,
        rig.engine,
        realm=REALM,
        bills=BILLS,
        payments=PAYMENTS,
        commitments=COMMITMENTS,
        poll=1800,
    )
    assert (played.records, played.not_posted) == (BILLS + PAYMENTS, 0)
    assert (played.refused, played.repeated) == ({"qbo": 0, "procore": 0}, 0)
    assert played.busiest_ten_seconds <= SPIKE
    assert played.waited > 0, "the limits were met"
    report = oracle(rig, everything_read=True, at_least=BILLS // 3)
    assert not report.findings, str(report)
    measured(
        f"S120/F11 {BILLS} bills and {PAYMENTS} payments in an hour: {played.calls['procore']} calls of {HOURLY} an hour, "
        f"at most {played.busiest_ten_seconds} of {SPIKE} in 10 s, 0 wasted; waited {played.waited:.0f} s, "
        f"drained {played.drain:.0f} s after the hour"
    )
