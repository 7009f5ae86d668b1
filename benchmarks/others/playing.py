"""The scenarios: a fault is switched on in the sandbox, a tool runs as it is meant to, and what came of it is judged."""

import threading
from collections.abc import Callable
from typing import Any

from benchmarks.others.ground import REFUSED_VENDOR, Cell, bills, hits, new_bills, wait_for
from benchmarks.others.judge import Judged, Rows, Told, Verdict, judge_read, judge_written
from benchmarks.others.tools import POSTS, SYNCS, Session, Tool

WRITTEN, READ, PAGED = 100, 100, 1_200
MORE = 20  # bills that are entered after the accident of S109
RUNS = 3  # as often as a tool is run again before its last word counts
CUT = [1, *range(11, 400, 10)]  # the first write and every tenth after it
TOKENS = "POST */tokens/bearer"
HELD_UP = 3  # seconds that a call is held up for a kill or an edit to fall into it


# -- writing ----------------------------------------------------------------------------------------------------------


def write(tool: Tool, scenario: str) -> Verdict:
    """Play one of the scenarios of writing."""
    with tool.open(bills(WRITTEN)) as session:
        mark = session.cell.procore.mark()
        told, runs, mark = _WRITING[scenario](tool, session, mark)
        cell = session.cell
        there = [live for live in cell.evidence().live if live.kind == "direct_cost"]
        judged = judge_written(cell.wanted, there, told, headers_only=tool.headers_only)
        words = told.words if judged.said or judged.misreported else ""
        return _verdict(tool, scenario, judged, cell.procore.calls(mark), len(cell.bills), runs, words)


def _until_done(session: Session, *, most: int = RUNS) -> tuple[Told, int]:
    """Run until it ends well, or often enough."""
    for number in range(1, most + 1):
        told = session.run()
        if told.well:
            return told, number
    return told, most


def _clean(_: Tool, session: Session, mark: int) -> tuple[Told, int, int]:
    told, runs = _until_done(session)
    return told, runs, mark


def _refused(_: Tool, session: Session, mark: int) -> tuple[Told, int, int]:
    vendor = 70_000 + int(REFUSED_VENDOR)
    says = "is not allowed to be billed"
    alone = {"status": 422, "body": {"errors": {"vendor": [says]}}}
    row = {"field": "vendor_id", "value": vendor, "says": says}
    session.cell.procore.fault(
        {"route": POSTS, "contains": str(vendor), "fault": "status", "args": alone},
        {"route": "PATCH */direct_costs/sync", "fault": "item_fault", "args": row},
    )
    told, runs = _until_done(session)
    return told, runs, mark


def _answers_lost(_: Tool, session: Session, mark: int) -> tuple[Told, int, int]:
    cut = {"nth": CUT, "fault": "accept_then_drop"}
    session.cell.procore.fault({"route": POSTS, **cut}, {"route": SYNCS, **cut})
    told, runs = session.run(), 0
    session.cell.procore.no_faults()
    if not told.well:
        told, runs = _until_done(session, most=RUNS - 1)
    return told, runs + 1, mark


def _killed(tool: Tool, session: Session, mark: int) -> tuple[Told, int, int]:
    procore = session.cell.procore
    first, second = tool.kills
    wait = {"route": tool.writes, "fault": "delay"}
    procore.fault({**wait, "nth": first, "args": {"seconds": HELD_UP, "when": "after"}})
    _run_killed(session)
    procore.fault(
        {**wait, "nth": second, "args": {"seconds": HELD_UP}},
        {"route": tool.writes, "nth": second, "fault": "drop"},
    )
    _run_killed(session)
    told, runs = _until_done(session)
    return told, runs + 2, mark


def _run_killed(session: Session) -> None:
    """A run that is killed as soon as the newest fault strikes. Raises RuntimeError where it never does."""
    procore = session.cell.procore
    session.run(kill_when=lambda: hits(procore) > 0)
    if not hits(procore):
        raise RuntimeError("the run ended before the call in which it was to be killed")
    procore.no_faults()


def _again(_: Tool, session: Session, __: int) -> tuple[Told, int, int]:
    _until_done(session)
    mark = session.cell.procore.mark()
    return session.replay(), 1, mark


_WRITING: dict[str, Callable[[Tool, Any, int], tuple[Told, int, int]]] = {
    "no fault": _clean,
    "S103": _refused,
    "S104": _answers_lost,
    "S105": _killed,
    "S121": _again,
}
WRITING = tuple(_WRITING)


# -- reading ----------------------------------------------------------------------------------------------------------


def read(tool: Tool, scenario: str) -> Verdict | None:
    """Play one of the scenarios of reading; None where the tool cannot meet the fault."""
    if scenario == "S101" and tool.batch_item is None:
        return None
    count = PAGED if scenario in ("S98", "S101") else READ
    # A token that is still good would keep a tool from refreshing at all.
    opened = (tool.fresh or tool.open) if scenario.startswith("S109") else tool.open
    with opened(bills(count)) as session:
        mark = session.cell.qbo.mark()
        rows = Rows()
        told, misreported, runs, mark = _READING[scenario](tool, session, rows, mark)
        cell = session.cell
        judged = judge_read(cell.saved, rows, told)
        judged = Judged(judged.lost, judged.doubled, max(misreported, judged.misreported), judged.said)
        calls = cell.qbo.calls(mark)
        words = "" if told.well else told.words
        if scenario.startswith("S109"):
            refused = sum(entry["outcome"] == "invalid_grant" for entry in cell.qbo.journal(mark))
            words = f"{refused} refreshes refused as invalid_grant. {words}"
        return _verdict(tool, scenario, judged, calls, len(cell.bills), runs, words)


def _one(session: Session, rows: Rows) -> tuple[Told, int]:
    """One run: its word, and how many bills are missing although it ended well."""
    told = session.run()
    rows.load(told.rows)
    return told, judge_read(session.cell.saved, rows, told).misreported


def _plain(_: Tool, session: Session, rows: Rows, mark: int) -> tuple[Told, int, int, int]:
    told, wrong = _one(session, rows)
    return told, wrong, 1, mark


def _edited(tool: Tool, session: Session, rows: Rows, mark: int) -> tuple[Told, int, int, int]:
    cell = session.cell
    held_up = {"nth": 1, "fault": "delay", "args": {"seconds": HELD_UP}}
    cell.qbo.fault({**tool.second_page, **held_up})
    edit = threading.Thread(target=_edit_an_early_bill, args=(cell,))
    edit.start()
    told = session.run()
    edit.join()
    rows.load(told.rows)
    edited = cell.bills[6]["Id"]
    saved = {id_: version for id_, version in cell.saved.items() if id_ != edited}  # it was edited under way
    wrong = judge_read(saved, rows, told).misreported
    again, still = _one(session, rows)
    return again, max(wrong, still), 2, mark


def _edit_an_early_bill(cell: Cell) -> None:
    if wait_for(lambda: hits(cell.qbo) > 0, patience=60):
        cell.bookkeeper.edit(
            "Bill", {"Id": cell.bills[6]["Id"]}, PrivateNote="corrected while page 2 was read"
        )


def _item_fails(tool: Tool, session: Session, rows: Rows, mark: int) -> tuple[Told, int, int, int]:
    session.cell.qbo.fault({**(tool.batch_item or {}), "fault": "batch_item_fault"})
    _, wrong = _one(session, rows)
    again, still = _one(session, rows)
    return again, max(wrong, still), 2, mark


def _two_refresh(_: Tool, session: Session, rows: Rows, mark: int) -> tuple[Told, int, int, int]:
    qbo = session.cell.qbo
    qbo.switch(token="single_use")  # noqa: S106 a behaviour, no secret
    # The first request waits before it is worked on, so that both carry the same refresh token.
    qbo.fault({"route": TOKENS, "nth": [1, 2], "fault": "delay", "args": {"seconds": HELD_UP}})
    rows.load(session.two_at_once())
    return _after_the_accident(session, rows, mark, runs=2)


def _answer_of_refresh_lost(_: Tool, session: Session, rows: Rows, mark: int) -> tuple[Told, int, int, int]:
    qbo = session.cell.qbo
    qbo.switch(token="single_use")  # noqa: S106 a behaviour, no secret
    qbo.fault({"route": TOKENS, "nth": 1, "fault": "accept_then_drop"})
    told, wrong = _one(session, rows)
    told, still, runs, mark = _after_the_accident(session, rows, mark, runs=1)
    return told, max(wrong, still), runs, mark


def _after_the_accident(session: Session, rows: Rows, mark: int, *, runs: int) -> tuple[Told, int, int, int]:
    session.cell.qbo.no_faults()
    session.cell = session.cell.enter(new_bills(MORE))
    told, wrong = _one(session, rows)
    return told, wrong, runs + 1, mark


def _nothing_new(_: Tool, session: Session, rows: Rows, __: int) -> tuple[Told, int, int, int]:
    _one(session, rows)
    mark = session.cell.qbo.mark()
    told = session.replay()
    rows.load(told.rows)
    return told, 0, 1, mark


_READING: dict[str, Callable[[Tool, Any, Rows, int], tuple[Told, int, int, int]]] = {
    "no fault": _plain,
    "S98": _edited,
    "S101": _item_fails,
    "S109 two at once": _two_refresh,
    "S109 answer lost": _answer_of_refresh_lost,
    "S121": _nothing_new,
}
READING = tuple(_READING)


def _verdict(
    tool: Tool, scenario: str, judged: Judged, calls: list[str], count: int, runs: int, words: str
) -> Verdict:
    data = [entry for entry in calls if "/v3/" in entry or "/rest/" in entry]
    return Verdict(
        tool=tool.name,
        scenario=scenario,
        lost=judged.lost,
        doubled=judged.doubled,
        misreported=judged.misreported,
        said=judged.said,
        calls=len(data),
        per_thousand=round(len(data) * 1000 / count),
        runs=runs,
        note=_short(words),
    )


def _short(words: str) -> str:
    """One line of it: the beginning and the end."""
    line = " ".join(words.split())
    return line if len(line) <= 220 else f"{line[:70]} [...] {line[-140:]}"
