"""Whatever people, runs, kills and lost answers do in whatever order: nothing is lost, nothing is doubled, no cent is off.

Always the same dozen sequences; `ML_CONNECTOR_TEST_SEQUENCES=200` plays as many new ones, and tells a failure in few steps.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import text

from ml_connector_tests.evidence import gather
from ml_connector_tests.rig import Problem, Rig, open_rig, today
from ml_connector_tests.scenarios.bookkeeping import (
    FAULTS,
    GRANITE,
    KINDS,
    ROUTES,
    SLIPS,
    House,
    World,
)
from ml_connector_tests.scenarios.invariants import invariants, links_stand, oracle
from ml_connector_tests.scenarios.kills import run_in_a_process, run_killed_in_flight
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT

Databases = Callable[[], AbstractContextManager[str]]
Money = tuple[Decimal, Decimal]  # saved, posted
WANTED = os.environ.get("ML_CONNECTOR_TEST_SEQUENCES", "")
SEQUENCES = int(WANTED or "12")
# An example costs seconds: a failure is told in fewer steps only where somebody is out to find one.
SETTINGS = settings(
    max_examples=SEQUENCES,
    stateful_step_count=25,
    derandomize=not WANTED,
    print_blob=bool(WANTED),
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, *([Phase.shrink] if WANTED else [])],
    suppress_health_check=[HealthCheck.too_slow],
)
LEAST_POSTED = Decimal("0.6")
LOCKS = st.sampled_from(["never", "except_origin"])
HOUSES = st.builds(
    House,
    direct_costs=LOCKS,
    requisitions=LOCKS,
    payments=st.sampled_from(["refuse", "ignore", "allow"]),
    reference=st.sampled_from(["origin_id", "notes"]),
    gone=st.sampled_from(["draft", "delete"]),
)
AMOUNTS = st.decimals(1000, 9999, places=2)
WHICH = st.integers(0, 8)  # of those that there are


@pytest.mark.processes
@pytest.mark.timeout(300 + 30 * SEQUENCES)
def test_S104_S105_random_bookkeeping_loses_and_doubles_nothing(tmp_path: Path, databases: Databases) -> None:
    done: list[Money] = []
    run_state_machine_as_test(lambda: Bookkeeping(tmp_path, databases, done), settings=SETTINGS)  # type: ignore[arg-type]
    saved, posted = (sum((each[place] for each in done), Decimal(0)) for place in range(2))
    # Of all firms together: one may be made of slips alone.
    assert posted >= LEAST_POSTED * saved, f"only {posted:.2f} of {saved:.2f} is posted"


class Bookkeeping(RuleBasedStateMachine):
    """Rules are what people, runs and bad luck do; each example is a firm of its own, and is judged at its end."""

    world: World

    def __init__(self, folder: Path, databases: Databases, done: list[Money]) -> None:
        super().__init__()
        self._done = done
        self._open = ExitStack()
        database_url = self._open.enter_context(databases())
        self._rig = open_rig(Path(mkdtemp(dir=folder)), database_url)
        self._open.callback(self._rig.close)
        self._broken = True

    @contextmanager
    def _act(self) -> Iterator[World]:
        """What QBO refuses did not happen; after anything else that is raised, the end is not looked at."""
        self._broken = True
        try:
            yield self.world
        except Problem as problem:
            if problem.status != 400:
                raise
        self._broken = False

    @initialize(house=HOUSES, kind=st.sampled_from(KINDS), amounts=st.lists(AMOUNTS, min_size=8, max_size=8))
    def firm_of_four_bills(self, house: House, kind: str, amounts: list[Decimal]) -> None:
        self.world = World(self._rig, house)
        with self._act() as world:
            for each in ("progress", "two contracts", "mixed", kind):
                world.enter(each, amounts.pop(), amounts.pop())

    # -- the bookkeeper ---------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(KINDS), first=AMOUNTS, second=AMOUNTS)
    def enters(self, kind: str, first: Decimal, second: Decimal) -> None:
        with self._act() as world:
            world.enter(kind, first, second)

    @rule(kind=st.sampled_from([*sorted(SLIPS), "the same number"]), first=AMOUNTS, which=WHICH)
    def slips(self, kind: str, first: Decimal, which: int) -> None:
        with self._act() as world:
            if kind in SLIPS:
                world.enter(kind, first, first)
            else:
                world.enter_twice(which)

    @rule(which=WHICH, kind=st.sampled_from([*KINDS, *sorted(SLIPS)]), first=AMOUNTS, second=AMOUNTS)
    def edits(self, which: int, kind: str, first: Decimal, second: Decimal) -> None:
        with self._act() as world:
            world.edit(which, kind, first, second)

    @rule(which=WHICH)
    def deletes(self, which: int) -> None:
        with self._act() as world:
            world.delete(which)

    @rule(vendor=st.sampled_from([GRANITE, BRIGHT]), amount=st.decimals(1, 200, places=2))
    def gives_credit(self, vendor: str, amount: Decimal) -> None:
        with self._act() as world:
            world.give_credit(vendor, amount)

    @rule(
        which=WHICH,
        percent=st.sampled_from([100, 33, 50, 70]),
        all_bills=st.booleans(),
        with_credits=st.booleans(),
    )
    def pays(self, which: int, percent: int, all_bills: bool, with_credits: bool) -> None:
        with self._act() as world:
            world.pay(which, percent, all_bills=all_bills, with_credits=with_credits)

    @rule(which=WHICH, how=st.sampled_from(["void", "delete", "99", "50", "10"]))
    def takes_back_a_payment_or_a_part_of_it(self, which: int, how: str) -> None:
        with self._act() as world:
            if how.isdigit():
                world.repay(which, int(how))
            else:
                world.take_back(which, delete=how == "delete")

    @rule()
    def sleeps(self) -> None:
        with self._act() as world:
            world.night()

    # -- runs, and what befalls them --------------------------------------------------------------------------------

    @rule(how=st.sampled_from(["sync", "read", "post"]))
    def runs(self, how: str) -> None:
        with self._act() as world:
            rig = world.rig
            if how == "sync":
                rig.sync()
            elif how == "read":
                rig.read()
            else:
                rig.post(rig.dirty() or None)

    @rule(days_ago=st.integers(0, 2))
    def replays(self, days_ago: int) -> None:
        with self._act() as world:
            world.rig.post([today() - timedelta(days=days_ago)], automatic=False)

    @rule(point=st.sampled_from(["K5", "K6", "K7", "K8", "K14"]), nth=st.integers(1, 6))
    def is_killed(self, point: str, nth: int) -> None:
        with self._act() as world:
            if point == "K6":
                run_killed_in_flight(world.rig, nth)
            else:
                run_in_a_process(world.rig, f"{point}:{nth}")

    @rule(
        routes=st.sets(st.sampled_from(ROUTES), min_size=1, max_size=6), fault=st.sampled_from(sorted(FAULTS))
    )
    def loses_answers(self, routes: set[str], fault: str) -> None:
        with self._act() as world:
            for route in sorted(routes):
                world.rig.procore.fault({"route": route, "nth": 1, **FAULTS[fault]})

    # -- the end ----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """The faults end and everything settles; then a replay of everything writes nothing."""
        with self._open:
            if self._broken:
                return
            world, rig = self.world, self._rig
            rig.procore.no_faults()
            while world.nights:
                world.night()
            rig.sync()
            right_at_the_end(world)
            self._done.append(saved_and_posted(rig))
            mark = rig.procore.mark()
            rig.replay_everything()
            rig.settle()
            # A person's replay tries again what Procore refused; nothing else is sent.
            statuses = [
                write.status for write in gather(rig.qbo.url, rig.procore.url).writes if write.n > mark
            ]
            taken = [status for status in statuses if status is None or status < 400]
            assert not taken, "a replay of everything writes"
            right_at_the_end(world)


def right_at_the_end(world: World) -> None:
    """Lost 0, doubled 0, delta 0.00; all that waits waits for a reason that an act gave."""
    report = oracle(world.rig, everything_read=True, at_least=1)
    assert not report.findings, str(report)
    invariants(world.rig)
    links_stand(world.rig)
    for hold in world.rig.holds():
        may = world.allowed(hold.entity, hold.qbo_id)
        assert hold.reason in may, f"{hold.entity} {hold.qbo_id} is held: {hold.reason}: {hold.sentence}"
    assert world.rig.dirty() == []


def saved_and_posted(rig: Rig) -> Money:
    """The money of the bills, credits and payments that there are, and how much of it is in Procore."""
    with rig.engine.connect() as db:
        saved, posted = db.execute(
            text(
                "select sum(abs(total)), sum(least(abs(posted), abs(total))) from ml_connector.record"
                " where entity <> 'Vendor' and state <> 'reversed'"
            )
        ).one()
    return Decimal(saved or 0), Decimal(posted or 0)
