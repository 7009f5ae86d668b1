"""Schedules: what a firm's people, its runs and bad luck do, drawn from a seed, or read from a file that one failed with.

A step is a word and its figures, so that a schedule outlives changes of how schedules are drawn.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from ml_connector_tests.campaign.tricks import HOST, LIKELY, OPERATOR, ROWS, RULES, TOXICS
from ml_connector_tests.scenarios.bookkeeping import GRANITE, KINDS, SLIPS, House
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT

RUNS = 10
FIRST_BILLS = ("progress", "two contracts", "mixed", "direct", "two projects", "office", "no rule")
DUTIES = sorted(ROWS)  # each schedule has its share of these for certain, the rest by chance
SHARE = 5
_WEIGHTS = {
    "enters": 2,
    "slips": 1,
    "edits": 5,
    "deletes": 2,
    "gives credit": 2,
    "pays": 1,
    "takes back": 3,
    "night": 1,
}


@dataclass(frozen=True)
class Step:
    """One act, with what it needs to be done again."""

    act: str
    args: Mapping[str, Any]


@dataclass(frozen=True)
class Schedule:
    """A firm's house rules and everything that happens, in order."""

    seed: int
    house: House
    steps: Sequence[Step]

    def written(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)


def read_schedule(path: Path) -> Schedule:
    """A schedule that was `written`. Raises KeyError or ValueError for anything else."""
    content = json.loads(path.read_text(encoding="utf-8"))
    steps = [Step(step["act"], step["args"]) for step in content["steps"]]
    return Schedule(content["seed"], House(**content["house"]), steps)


def draw(seed: int) -> Schedule:
    """The schedule of a seed: the same for ever, as long as this module and the tricks stay as they are."""
    dice = Random(seed)
    house = House(
        direct_costs=dice.choice(["never", "except_origin"]),
        requisitions=dice.choice(["never", "except_origin"]),
        payments=dice.choice(["refuse", "ignore", "allow"]),
        reference=dice.choice(["origin_id", "notes"]),
        gone=dice.choice(["draft", "delete"]),
    )
    start = seed * SHARE % len(DUTIES)
    duties = [DUTIES[(start + place) % len(DUTIES)] for place in range(SHARE)]
    tricks = [[_trick(dice, duty, sure=True)] for duty in duties]
    for _ in range(RUNS - SHARE):
        names = [dice.choice(dice.choice([DUTIES, LIKELY])) for _ in range(dice.choice([1, 1, 2, 3]))]
        tricks.append([_trick(dice, name) for name in dict.fromkeys(names)])
    dice.shuffle(tricks)
    steps = [_enters(dice, kind) for kind in FIRST_BILLS]
    for met in tricks:  # each run has something to read, and most have something to write
        steps.append(_enters(dice, dice.choice(KINDS)))
        steps += [_pays(dice), *(_act(dice) for _ in range(dice.choice([0, 1, 2])))]
        steps.append(Step("runs", {"tricks": met}))
    return Schedule(seed, house, steps)


def _act(dice: Random) -> Step:
    which = dice.randrange(12)
    match dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]:
        case "enters":
            return _enters(dice, dice.choice(KINDS))
        case "slips":
            return _enters(dice, dice.choice(sorted(SLIPS)))
        case "edits":
            kind = dice.choice(KINDS)
            return Step(
                "edits", {"which": which, "kind": kind, "first": _money(dice), "second": _money(dice)}
            )
        case "deletes":
            return Step("deletes", {"which": which})
        case "gives credit":
            amount = f"{dice.randrange(100, 20_000) / 100:.2f}"
            return Step("gives credit", {"vendor": dice.choice([GRANITE, BRIGHT]), "amount": amount})
        case "pays":
            return _pays(dice)
        case "takes back":
            return Step("takes back", {"which": which, "how": dice.choice(["void", "delete", "50", "99"])})
        case _:
            return Step("night", {})


def _pays(dice: Random) -> Step:
    how = {"percent": dice.choice([100, 100, 33, 50, 70]), "all_bills": dice.random() < 0.3}
    return Step("pays", {"which": dice.randrange(12), **how, "with_credits": dice.random() < 0.4})


def _enters(dice: Random, kind: str) -> Step:
    return Step("enters", {"kind": kind, "first": _money(dice), "second": _money(dice)})


def _money(dice: Random) -> str:
    cents = dice.randrange(100_000, 1_000_000)
    return f"{cents // 100}.{cents % 100:02}"


def _trick(dice: Random, name: str, *, sure: bool = False) -> dict[str, Any]:
    """A trick's name with the figures that it needs; a `sure` one meets the first call, or pass, that there is."""
    nth = 1 if sure else dice.choice([1, 1, 1, 2, 3, 4])
    if name in RULES:
        routes = RULES[name].routes
        return {"name": name, "route": dice.choice(routes[:2] if sure else routes), "nth": nth}
    if name in TOXICS:
        return {"name": name}
    if name not in HOST and name not in OPERATOR:
        raise KeyError(name)
    seconds = round(dice.uniform(0.05, 0.9), 2)
    return {
        "name": name,
        "nth": nth,
        "seconds": seconds,
        "jump": dice.randrange(60, 400) * dice.choice([1, -1]),
    }
