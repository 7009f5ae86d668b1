"""One schedule from its first bill to its verdict.

The faults end, work goes on until nothing is left to do, and then the oracle compares the sandboxes. Nothing may be lost,
doubled or unexpected, no cent may be off, the trail must be whole, and a replay of everything must write nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from sqlalchemy import text

from ml_connector_tests.campaign.crew import Crew
from ml_connector_tests.campaign.operator import document, interrupt
from ml_connector_tests.campaign.schedule import Schedule, Step
from ml_connector_tests.campaign.site import SETTLE, Site, Tally, open_site
from ml_connector_tests.campaign.tricks import ROWS
from ml_connector_tests.campaign.worker import DONE
from ml_connector_tests.evidence import gather
from ml_connector_tests.oracle import Judge, Report, Stated, Statement
from ml_connector_tests.rig import REALM, Problem
from ml_connector_tests.scenarios.bookkeeping import SLIPS, World
from ml_connector_tests.scenarios.invariants import (
    links_stand,
    nothing_secret_is_told,
    oracle,
    states_add_up,
    trail_is_whole,
)
from ml_connector_tests.scenarios.test_random_bookkeeping import Money, saved_and_posted

LEAST_WRITES = 10  # that Procore took; a schedule that did less proves nothing
ROUNDS = 12  # runs after the faults have ended
_HOURS_PASS = (  # nobody waits for them here; the settle time of an unclear write is waited for
    "update ml_connector.breaker set open_until = now() - interval '1 second' where open_until is not null",
    "update ml_connector.dirty_window set not_before = null",
)
_SETTLED = (
    "update ml_connector.ledger set not_before = now() where not_before > now()"  # of a clock that was ahead
)


@dataclass
class Outcome:
    """What a schedule did and what was wrong; `problems` empty: it passed."""

    seed: int
    problems: list[str] = field(default_factory=list)
    report: Report | None = None
    tally: Tally = field(default_factory=Tally)
    records: int = 0
    money: Money = (Decimal(0), Decimal(0))
    seconds: float = 0.0
    to_recover: float = 0.0  # seconds from the end of the faults until nothing was left to do
    calls: int = 0
    repeated: int = 0  # calls that say again what had no answer
    most_in_ten_seconds: int = 0


def play(crew: Crew, schedule: Schedule) -> Outcome:
    """Play a schedule on a firm of its own and judge it. What goes wrong is a problem of the outcome, never raised."""
    outcome, began = Outcome(schedule.seed), time.monotonic()
    with open_site(crew, schedule.seed) as site:
        outcome.tally = site.tally
        try:
            world = World(site.rig, schedule.house)
            for step in schedule.steps:
                _do(site, world, step)
            while world.nights:
                world.night()
            outcome.to_recover = _until_quiet(site)
            _judge(site, world, outcome)
            _replay_twice(site, world, outcome)
        except (AssertionError, Problem, OSError) as error:
            outcome.problems.append(f"{type(error).__name__}: {error}")
        _measure(site, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def _do(site: Site, world: World, step: Step) -> None:
    """One step; what QuickBooks refuses a person did not happen."""
    args = dict(step.args)
    if step.act == "runs":
        _let_hours_pass(site)
        for trick in args["tricks"]:
            interrupt(site, trick["name"])
        site.run(args["tricks"])
        if any(ROWS[trick["name"]] == "F05" for trick in args["tricks"]):
            site.run()  # while the vendor may still work on what we gave up: a look now would find nothing
        with site.rig.engine.connect() as db:
            waiting = db.scalar(text("select count(*) from ml_connector.dirty_window")) or 0
        site.tally.busy_days = max(site.tally.busy_days, waiting)
        return
    try:
        _ACTS[step.act](world, **args)
    except Problem as problem:
        if problem.status != 400:
            raise


def _enters(world: World, *, kind: str, first: str, second: str) -> None:
    little = kind in SLIPS  # a slip is over little money, so that most of it reaches Procore
    world.enter(kind, Decimal(first), Decimal(first if little else second))


def _takes_back(world: World, *, which: int, how: str) -> None:
    if how.isdigit():
        world.repay(which, int(how))
    else:
        world.take_back(which, delete=how == "delete")


_ACTS: Mapping[str, Callable[..., None]] = {
    "enters": _enters,
    "edits": lambda world, *, which, kind, first, second: world.edit(
        which, kind, Decimal(first), Decimal(second)
    ),
    "deletes": lambda world, *, which: world.delete(which),
    "gives credit": lambda world, *, vendor, amount: world.give_credit(vendor, Decimal(amount)),
    "pays": lambda world, *, which, percent, all_bills, with_credits: world.pay(
        which, percent, all_bills=all_bills, with_credits=with_credits
    ),
    "takes back": _takes_back,
    "night": lambda world: world.night(),
}


# -- the end ----------------------------------------------------------------------------------------------------------


def _until_quiet(site: Site) -> float:
    """Run, with pauses for what waits, until no window is dirty; the seconds that it took."""
    began = time.monotonic()
    for _ in range(ROUNDS):
        time.sleep(
            SETTLE + 0.1
        )  # a call that is still under way in a sandbox ends, and unclear writes may be looked up
        _let_hours_pass(site, settled=True)
        code = site.run()
        if code == DONE and not site.rig.dirty():
            return time.monotonic() - began
    raise AssertionError(f"after {ROUNDS} runs without a fault there is work left: {_left(site)}")


def _let_hours_pass(site: Site, *, settled: bool = False) -> None:
    with site.rig.engine.begin() as db:
        for passing in (*_HOURS_PASS, *([_SETTLED] if settled else [])):
            db.execute(text(passing))


def _left(site: Site) -> str:
    with site.rig.engine.connect() as db:
        windows = db.execute(text("select day, reason, attempts from ml_connector.dirty_window")).all()
    return f"{windows}, runs ended {dict(site.tally.ended)}: {site.log.read_text()[-1500:]}"


def _judge(site: Site, world: World, outcome: Outcome) -> None:
    """The oracle's verdict and all that must hold beside it, before and after a replay of everything."""
    rig, problems = site.rig, outcome.problems
    if any("clock" in name for name in site.tally.hits):
        rig.procore.clock(
            offset_seconds=1
        )  # instants of clocks that were off tell no order between us and Procore
    evidence = gather(rig.qbo.url, rig.procore.url, realm=REALM)
    outcome.records = len(evidence.books)
    report = Judge(evidence, _told(site), REALM).judge(at_least=LEAST_WRITES)
    outcome.report = report
    if report.acknowledged < LEAST_WRITES:
        problems.append(f"idle: Procore took {report.acknowledged} writes, less than {LEAST_WRITES}")
    problems += [f"{one.trouble}: {one.record}: {one.text} ({one.amount:+.2f})" for one in report.findings]
    stricter = oracle(rig, evidence=evidence, everything_read=True)
    problems += [
        f"{one.trouble}: {one.record}: {one.text}" for one in stricter.findings if one not in report.findings
    ]
    checks: tuple[Callable[[], None], ...] = (
        partial(states_add_up, rig, rig.connection),
        partial(trail_is_whole, rig, rig.connection, evidence),
        partial(nothing_secret_is_told, rig),
        partial(links_stand, rig),
    )
    for check in checks:
        try:
            check()
        except AssertionError as broken:
            problems.append(str(broken)[:500])
    for hold in rig.holds():
        if hold.reason not in world.allowed(hold.entity, hold.qbo_id):
            problems.append(
                f"held without cause: {hold.entity} {hold.qbo_id}: {hold.reason}: {hold.sentence}"
            )
    outcome.money = saved_and_posted(rig)
    code, said = site.command("audit", "verify", "acme")
    if code:
        problems.append(f"audit verify: {said[:500]}")


def _told(site: Site) -> Statement:
    """What the product says, as the operator reads it: `holds` and `status`."""
    held: dict[str, Decimal] = {}
    for group in document(site, "holds", "acme"):
        for hold in group["holds"]:
            held[hold["record"]] = held.get(hold["record"], Decimal(0)) + Decimal(hold["amount"])
    excluded: dict[str, Decimal] = {}
    for row in (row for connection in document(site, "status", "acme") for row in connection["records"]):
        kind = str(row["kind"]).lower()
        excluded[kind] = excluded.get(kind, Decimal(0)) + Decimal(row["excluded"])
    return Statement(records={name: Stated(held=amount) for name, amount in held.items()}, excluded=excluded)


def _replay_twice(site: Site, world: World, outcome: Outcome) -> None:
    """I12: everything once more, as a person asks for it, writes nothing.

    What Procore refused is sent again by a person's replay, and may be taken now: then the next replay writes nothing.
    """
    waits = site.rig.holds()
    written = _writes_of_a_replay(site)
    if written and waits and not outcome.problems:
        _until_quiet(site)
        written = _writes_of_a_replay(site)
        _judge(site, world, outcome)
    outcome.problems += [f"a replay of everything writes: {words}" for words in written]


def _writes_of_a_replay(site: Site) -> list[str]:
    mark = site.rig.procore.mark()
    code = site.run(replay=site.days())
    assert code == DONE, f"a replay ended with {code}: {site.log.read_text()[-1500:]}"
    writes = gather(site.rig.qbo.url, site.rig.procore.url).writes
    return [
        write.words for write in writes if write.n > mark and (write.status is None or write.status < 400)
    ]


def _measure(site: Site, outcome: Outcome) -> None:
    """Figures about calls, from the journals."""
    recent: deque[datetime] = deque()
    open_ends: set[tuple[str, ...]] = set()
    for control in (site.rig.qbo, site.rig.procore):
        for entry in control.journal():
            if (
                entry["vendor"] == "qbo"
                and "/v3/" in entry["path"]
                and not entry["path"].endswith(("cdc", "query"))
            ):
                continue  # the bookkeeper's own
            outcome.calls += 1
            call = tuple(str(entry[part]) for part in ("method", "path", "query", "body_sha256"))
            outcome.repeated += call in open_ends
            failed = entry["status"] is None or entry["status"] >= 500 or entry["status"] in (401, 429)
            (open_ends.add if failed else open_ends.discard)(call)
            if entry["vendor"] == "procore":
                at = datetime.fromisoformat(entry["at"]).astimezone(UTC)
                recent.append(at)
                while (at - recent[0]).total_seconds() > 10:
                    recent.popleft()
                outcome.most_in_ten_seconds = max(outcome.most_in_ten_seconds, len(recent))
