"""The page that a campaign prints: what was done, what met it, what was found, and whether it was enough."""

import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from statistics import median

from ml_connector_tests.campaign.play import Outcome
from ml_connector_tests.campaign.site import KILLED, TENS
from ml_connector_tests.campaign.tricks import ROWS
from ml_connector_tests.campaign.worker import DATABASE, DISK, DONE, GAVE_WAY, VENDOR
from ml_connector_tests.oracle import Report, Trouble
from ml_connector_tests.scenarios.test_random_bookkeeping import LEAST_POSTED

POINTS = ("K3", "K4", "K5", "K6", "K7", "K8", "K9", "K10", "K11", "K12", "K14", "any")
ENDS = {
    DONE: "done",
    VENDOR: "stopped by a vendor",
    DATABASE: "by Postgres",
    DISK: "by the disk",
    GAVE_WAY: "by another run",
    KILLED: "killed",
}
# Owned by the suite, which asserts more of each than a campaign could. A test looks for every name.
ELSEWHERE = {
    "K1, K2": "scenarios/test_kills_around_reading.py::test_K1_K2_",
    "K5, K7, K8, K14 for each kind of record": "scenarios/test_kill_points.py::test_S105_K5_K7_K8_K14_",
    "K6 for each kind": "scenarios/test_kill_points.py::test_S105_K6_",
    "K13": "store/test_migrate.py::test_K13_",
    "F16, F17, drain after 72 h": "scenarios/test_long_outages.py::test_F17_",
    "F20 to F25": "scenarios/test_grants.py::test_F2",
    "F30 to F37": "receiver/test_receiver.py::test_F37_",
    "F38, p99 of the acknowledgement": "receiver/test_hostile_senders.py::test_F38_",
}


def page(outcomes: Sequence[Outcome], *, seconds: float, postgres: str, least: int) -> str:
    """The page, plain text."""
    lines = [
        _head(postgres),
        *_work(outcomes, seconds, least),
        *_faults(outcomes),
        *_verdict([outcome.report for outcome in outcomes if outcome.report is not None]),
        *_figures(outcomes),
        f"in the suite instead, with figures of its own: {'; '.join(ELSEWHERE)}",
    ]
    failed = [outcome for outcome in outcomes if outcome.problems]
    lines.append(f"failing seeds: {', '.join(str(outcome.seed) for outcome in failed) or 'none'}")
    missing = shortfall(outcomes, least=least)
    lines += [f"TOO LITTLE WAS DONE: {one}" for one in missing]
    lines.append("FAILED" if failed or missing else "PASSED")
    return "\n".join(lines)


def shortfall(outcomes: Sequence[Outcome], *, least: int) -> list[str]:
    """What was not done of the least: schedules, money, and in a long campaign each kill point and row of faults once."""
    missing = []
    if len(outcomes) < least:
        missing.append(f"{len(outcomes)} schedules, and {least} were to be played")
    saved, posted = (sum((one.money[place] for one in outcomes), Decimal(0)) for place in range(2))
    if posted < LEAST_POSTED * saved:
        missing.append(f"{posted:.2f} of {saved:.2f} is posted, less than {LEAST_POSTED:.0%}")
    if len(outcomes) >= LONG:
        kills, rows = _kills(outcomes), _rows(outcomes)
        missing += [f"no kill at {point}" for point in POINTS if not kills[point]]
        missing += [f"no fault of {row}" for row in sorted(set(ROWS.values())) if not rows[row]]
    return missing


ALL_WITHIN = 16  # schedules that plan every trick once
LONG = 4 * ALL_WITHIN  # a trick that is planned four times and never meets anything is broken


def _head(postgres: str) -> str:
    versions = {
        "ml-connector": version("ml-connector"),
        "Python": platform.python_version(),
        "Dagster": version("dagster"),
        "PostgreSQL": postgres,
    }
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"campaign of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {told}, {os.cpu_count()} cores"


def _work(outcomes: Sequence[Outcome], seconds: float, least: int) -> Iterable[str]:
    ended: Counter[int] = _sum(outcome.tally.ended for outcome in outcomes)
    how = ", ".join(f"{ended[code]} {words}" for code, words in ENDS.items())
    seeds = sorted(outcome.seed for outcome in outcomes)
    between = f", seeds {seeds[0]} to {seeds[-1]}" if seeds else ""
    yield f"schedules {len(outcomes)} (at least {least}){between}, in {seconds:.0f} s"
    yield f"runs {ended.total()}: {how}"


def _faults(outcomes: Sequence[Outcome]) -> Iterable[str]:
    kills, rows = _kills(outcomes), _rows(outcomes)
    yield f"kills {kills.total()}: " + ", ".join(f"{point} {kills[point]}" for point in POINTS)
    yield f"faults that took effect {rows.total()}: " + ", ".join(
        f"{row} {rows[row]}" for row in sorted(set(ROWS.values()))
    )


def _verdict(reports: Sequence[Report]) -> Iterable[str]:
    counts = {
        "attempted": sum(report.attempted for report in reports),
        "acknowledged": sum(report.acknowledged for report in reports),
        **{
            str(trouble): sum(len(report.of(trouble)) for report in reports)
            for trouble in Trouble
            if trouble is not Trouble.DELTA
        },
        "recovered": sum(report.recovered for report in reports),
    }
    delta = sum((report.delta for report in reports), Decimal(0))
    yield (
        "writes "
        + ", ".join(f"{name} {count}" for name, count in counts.items())
        + f", money delta {delta:.2f}"
    )
    sums = {
        name: sum((getattr(one, name) for one in reports), Decimal(0)) for name in ("saved", "posted", "held")
    }
    yield "money of bills and credits: " + ", ".join(f"{name} {amount:,.2f}" for name, amount in sums.items())


def _figures(outcomes: Sequence[Outcome]) -> Iterable[str]:
    calls = sum(outcome.calls for outcome in outcomes)
    repeated = sum(outcome.repeated for outcome in outcomes)
    most = max((outcome.most_in_ten_seconds for outcome in outcomes), default=0)
    yield (
        f"calls {calls}, {repeated / max(calls, 1):.1%} of them again after no answer; "
        f"most to Procore in ten seconds {most}, limit {TENS}"
    )
    recovering = [outcome.to_recover for outcome in outcomes if outcome.to_recover]
    if recovering:
        yield (
            f"seconds from the last fault until nothing was left to do: "
            f"p50 {median(recovering):.1f}, most {max(recovering):.1f}; "
            f"most windows waiting {max(outcome.tally.busy_days for outcome in outcomes)}; "
            f"peak memory of a run {max(outcome.tally.peak_kilobytes for outcome in outcomes) // 1024} MB"
        )


def _kills(outcomes: Sequence[Outcome]) -> Counter[str]:
    return _sum(outcome.tally.kills for outcome in outcomes)


def _rows(outcomes: Sequence[Outcome]) -> Counter[str]:
    rows: Counter[str] = Counter()
    for outcome in outcomes:
        for name, count in outcome.tally.hits.items():
            rows[ROWS[name]] += count
    return rows


def _sum(counts: Iterable[Counter]) -> Counter:  # type: ignore[type-arg]
    total: Counter = Counter()  # type: ignore[type-arg]
    for count in counts:
        total.update(count)
    return total
