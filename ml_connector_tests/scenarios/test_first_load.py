"""S91: years of books, a start date, a first load that is cut and goes on."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest

from ml_connector.qbo.models import Entity
from ml_connector.reading.windows import Mode
from ml_connector.store import audit
from ml_connector.store.loads import EVENT, Load, load_of, words_of
from ml_connector_tests.reading.desk import Interrupted, live_bills, raw_bill, read_to, reader
from ml_connector_tests.rig import ELM, HARBOR, Rig, line, today
from ml_connector_tests.scenarios.kills import run_killed_when

BILLS = 1_825  # five years, one a day
IN_SCOPE = 120


class _Cut(Exception):
    pass


def _cut() -> None:
    raise _Cut


def _of_five_years(rig: Rig) -> Counter[str]:
    """Books of five years, a bill a day, the last `IN_SCOPE` of them from the start date on; their money by project."""
    money: Counter[str] = Counter()
    start = today() - timedelta(days=IN_SCOPE - 1)
    bills = []
    for number in range(1, BILLS + 1):
        day = today() - timedelta(days=BILLS - number)
        customer, project = ("61", HARBOR) if number % 3 else ("62", ELM)
        lines = [{"Id": "1", **line(100 + number % 7, item="101", customer=customer)}]
        bills.append(
            raw_bill(
                number,
                at=f"{day.isoformat()}T12:00:00-00:00",
                total=str(100 + number % 7),
                TxnDate=day.isoformat(),
                Line=lines,
            )
        )
        if day >= start:
            money[project] += 100 + number % 7
    rig.qbo.load(Bill=bills)
    rig.configure(start_date=start.isoformat())
    return money


def load(rig: Rig) -> Load:
    """Where the first load stands."""
    with rig.engine.connect() as db:
        found = load_of(db, rig.connection)
    assert found is not None
    return found


def _posted(rig: Rig) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for cost in rig.direct_costs():
        project = str(cost["project_id"])
        found[project] = found.get(project, Decimal(0)) + Decimal(cost["grand_total"])
    return found


@pytest.mark.processes
def test_S91_a_first_load_of_five_years_posts_what_is_in_scope_once_although_it_is_cut_twice(
    rig: Rig,
) -> None:
    money = _of_five_years(rig)
    client = reader(rig).client
    with pytest.raises(_Cut):
        reader(rig, client=Interrupted(client, {2: _cut})).read([today()])
    assert read_to(rig) is None, "a cut load moves no cursor"
    reading = rig.read()
    assert (reading.mode, reading.new[Entity.BILL]) == (Mode.FIRST_LOAD, IN_SCOPE)
    assert len(live_bills(rig)) == IN_SCOPE, "older books stay where they are"
    assert min(rig.dirty()) == today() - timedelta(days=IN_SCOPE - 1)
    second = {"route": "PATCH /rest/*direct_costs/sync*", "nth": 2}  # it does not get there before the kill
    rig.procore.fault({**second, "fault": "delay", "args": {"seconds": 5}})
    run_killed_when(rig, lambda: len(rig.procore.live("direct_costs")) >= IN_SCOPE // 3)
    rig.procore.no_faults()
    before = len(rig.direct_costs(counting=False))
    assert before < IN_SCOPE
    under_way = load(rig)
    assert (under_way.is_read, under_way.is_over, under_way.bills) == (True, False, IN_SCOPE)
    days = rig.dirty()
    rig.post(days[: len(days) // 2])
    half = load(rig)
    assert under_way.bills_done < half.bills_done < IN_SCOPE
    calls = Decimal(half.procore_calls) * (IN_SCOPE - half.bills_done) / half.bills_done
    assert half.seconds_left == int(max(calls * 3600 / 1_000_000, Decimal(half.days_left * 60) / 100_000)) + 1
    words = words_of(half)
    assert f"First load: {half.bills_done} of {IN_SCOPE} bills" in words and "min left" in words
    rig.settle()
    assert _posted(rig) == {project: Decimal(amount) for project, amount in money.items()}
    assert len(rig.direct_costs(counting=False)) == IN_SCOPE
    assert (rig.holds(), rig.dirty()) == ([], [])
    with rig.engine.connect() as db:
        told = [entry.detail for entry in audit.story(db, rig.name, "connection", "") if entry.event == EVENT]
    assert [entry["over"] for entry in told][-2:] == [False, True]
    assert told[-1]["projects"] == {project: f"{amount}.00" for project, amount in money.items()}
    assert told[-1]["procore_calls"] > half.procore_calls
    assert load(rig).projects == {project: Decimal(amount) for project, amount in money.items()}
