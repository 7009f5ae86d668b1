"""Whatever people, runs, kills and lost answers do in whatever order: nothing is lost, nothing is doubled, no cent is off.

Every seed is one sequence. `ML_CONNECTOR_TEST_SEQUENCES=200` plays that many; a seed that failed once joins `FAILED_ONCE`.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import text

from ml_connector_tests.evidence import gather
from ml_connector_tests.rig import Rig, open_rig
from ml_connector_tests.scenarios.bookkeeping import Act, House, World, acts_of, house_of, play
from ml_connector_tests.scenarios.invariants import invariants, links_stand, oracle

FAILED_ONCE: tuple[int, ...] = ()
SEEDS = [*FAILED_ONCE, *range(int(os.environ.get("ML_CONNECTOR_TEST_SEQUENCES", "20")))]
LEAST_POSTED = Decimal("0.6")
SHORTENING = 90  # seconds that are spent to tell a failure in fewer acts
Databases = Callable[[], AbstractContextManager[str]]


@pytest.mark.processes
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_S104_S105_random_bookkeeping_loses_and_doubles_nothing(
    tmp_path: Path, databases: Databases, seed: int
) -> None:
    dice = Random(seed)
    house, acts = house_of(dice), acts_of(dice)
    stage = Stage(tmp_path, databases, house)
    failure = stage.failure(acts, all_of_it=True)
    if failure is not None:
        raise stage.shortest(acts, failure)


class Stage:
    """Plays sequences, each in a world of its own."""

    def __init__(self, folder: Path, databases: Databases, house: House) -> None:
        self._folder = folder
        self._databases = databases
        self._house = house
        self._played = 0

    def failure(self, acts: Sequence[Act], *, all_of_it: bool = False) -> Exception | None:
        """What goes wrong with a sequence, its story attached; `all_of_it`: enough money must be posted, too."""
        self._played += 1
        with self._databases() as database_url:
            rig = open_rig(self._folder / str(self._played), database_url)
            world = World(rig, self._house)
            try:
                _play(world, acts)
                assert not all_of_it or posted_share(rig) >= LEAST_POSTED, (
                    f"only {posted_share(rig):.0%} is posted"
                )
            except Exception as error:  # noqa: BLE001 handed to the test after it was told in fewer acts
                error.add_note("\n".join([f"The story, in {self._house}:", *world.story]))
                return error
            finally:
                rig.close()
        return None

    def shortest(self, acts: Sequence[Act], failure: Exception) -> Exception:
        """The failure of the shortest part of the sequence that still fails in the same way, as far as time allows."""
        until, size = time.monotonic() + SHORTENING, len(acts) // 2
        while size and time.monotonic() < until:
            for start in range(0, len(acts), size):
                fewer = [*acts[:start], *acts[start + size :]]
                found = self.failure(fewer) if time.monotonic() < until else None
                if found is not None and type(found) is type(failure):
                    acts, failure = fewer, found
                    break
            else:
                size //= 2
        return failure


def _play(world: World, acts: Sequence[Act]) -> None:
    """Play a sequence, let everything settle, and look at the end."""
    rig = world.rig
    for act in acts:
        play(world, act)
    world.tell("the faults end, and everything settles")
    rig.procore.no_faults()
    while world.nights:
        world.nights -= 1
        world.turn_clock()
    rig.sync()
    right_at_the_end(world)
    mark = rig.procore.mark()
    rig.replay_everything()
    rig.settle()
    # A person's replay tries again what Procore refused; nothing else is sent.
    statuses = [write.status for write in gather(rig.qbo.url, rig.procore.url).writes if write.n > mark]
    assert not [status for status in statuses if status is None or status < 400], (
        "a replay of everything writes"
    )
    right_at_the_end(world)


def right_at_the_end(world: World) -> None:
    """Lost 0, doubled 0, delta 0.00; all that waits waits for a reason that the generator put in."""
    report = oracle(world.rig, everything_read=True, at_least=1)
    assert not report.findings, str(report)
    invariants(world.rig)
    links_stand(world.rig)
    for hold in world.rig.holds():
        may = world.allowed(hold.entity, hold.qbo_id)
        assert hold.reason in may, f"{hold.entity} {hold.qbo_id} is held: {hold.reason}: {hold.sentence}"
    assert world.rig.dirty() == []


def posted_share(rig: Rig) -> Decimal:
    """How much of the money of bills, credits and payments is in Procore."""
    with rig.engine.connect() as db:
        saved, posted = db.execute(
            text(
                "select sum(abs(total)), sum(least(abs(posted), abs(total))) from ml_connector.record"
                " where entity <> 'Vendor'"
            )
        ).one()
    return Decimal(posted / saved) if saved else Decimal(1)
