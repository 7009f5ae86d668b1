"""`python -m ml_connector_tests.campaign`: schedules of people, runs and faults, judged by the oracle; prints the page.

Exit code 0: nothing lost, doubled or unexpected, no cent off, and at least the stated work done.
"""

import argparse
import logging
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import structlog
from sqlalchemy import text

from ml_connector.store.database import open_engine
from ml_connector_tests.campaign.crew import Crew
from ml_connector_tests.campaign.page import page, shortfall
from ml_connector_tests.campaign.play import Outcome, play
from ml_connector_tests.campaign.schedule import Schedule, draw, read_schedule

FIXED = Path(__file__).with_name("fixed")  # schedules that failed once: every campaign plays them first


class Campaign:
    """What all lanes share: the schedules that are left, the time that is left, the outcomes."""

    def __init__(self, schedules: Iterator[Schedule], *, budget: float, failures: Path) -> None:
        self._schedules = schedules
        self._ends = time.monotonic() + budget
        self._failures = failures
        self._lock = threading.Lock()
        self.outcomes: list[Outcome] = []

    def lane(self, crew: Crew) -> None:
        """Play schedules, one after the other, until there is none or no time for another."""
        while (schedule := self._next()) is not None:
            outcome = play(crew, schedule)
            with self._lock:
                self.outcomes.append(outcome)
                self._tell(schedule, outcome)

    def _next(self) -> Schedule | None:
        with self._lock:
            usual = max((outcome.seconds for outcome in self.outcomes), default=0.0)
            return None if time.monotonic() + usual > self._ends else next(self._schedules, None)

    def _tell(self, schedule: Schedule, outcome: Outcome) -> None:
        state = "FAILED" if outcome.problems else "passed"
        met = ", ".join(sorted(name for name, times in outcome.tally.hits.items() if times))
        _say(f"{schedule.seed}: {state} in {outcome.seconds:.1f} s, {outcome.records} records; {met}")
        if outcome.problems:
            self._failures.mkdir(parents=True, exist_ok=True)
            written = self._failures / f"seed-{schedule.seed}.json"
            written.write_text(schedule.written(), encoding="utf-8")
            for problem in outcome.problems:
                _say(f"  {problem}")
            _say(f'  again: make chaos ARGS="--seed {schedule.seed} --schedules 1", or --file {written}')


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the campaign passed."""
    given = _parser().parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    began = time.monotonic()
    campaign = Campaign(_schedules(given), budget=given.budget, failures=given.failures)
    many = (
        f"{len(given.file)} written schedules"
        if given.file
        else f"{given.schedules} schedules from seed {given.seed}"
    )
    _say(f"{many}, within {given.budget:.0f} s, {given.lanes} at a time")
    with ExitStack() as stack:
        crews = [stack.enter_context(closing(Crew())) for _ in range(given.lanes)]
        postgres = _version(crews[0])
        with ThreadPoolExecutor(given.lanes) as pool:
            for lane in [pool.submit(campaign.lane, crew) for crew in crews]:
                lane.result()
    seconds = time.monotonic() - began
    _say(page(campaign.outcomes, seconds=seconds, postgres=postgres, least=given.least))
    failed = any(outcome.problems for outcome in campaign.outcomes)
    return 1 if failed or shortfall(campaign.outcomes, least=given.least) else 0


def _schedules(given: argparse.Namespace) -> Iterator[Schedule]:
    if given.file:
        yield from (read_schedule(path) for path in given.file)
        return
    if given.schedules > 1:
        yield from (read_schedule(path) for path in sorted(FIXED.glob("*.json")))
    yield from (draw(seed) for seed in range(given.seed, given.seed + given.schedules))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="campaign", description="Random schedules of work and faults, judged."
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=secrets.randbelow(1_000_000),
        help="of the first schedule; the next ones count up (default: one by chance, which is printed)",
    )
    parser.add_argument("--schedules", type=int, default=1, help="how many to play")
    parser.add_argument(
        "--file", type=Path, action="append", help="play this written schedule; may be repeated"
    )
    parser.add_argument(
        "--budget", type=float, default=86_400, help="seconds; no schedule is begun that would end later"
    )
    parser.add_argument("--least", type=int, default=1, help="fail when fewer schedules were played")
    parser.add_argument("--lanes", type=int, default=2, help="schedules at a time")
    parser.add_argument(
        "--failures",
        type=Path,
        default=Path(tempfile.gettempdir()) / "ml-connector-campaign",
        help="folder for schedules that fail",
    )
    return parser


def _version(crew: Crew) -> str:
    engine = open_engine(crew.postgres.url("postgres"))
    try:
        with engine.connect() as db:
            return str(db.scalar(text("show server_version"))).split()[0]
    finally:
        engine.dispose()


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
