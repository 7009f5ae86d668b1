"""S91: years of books, a start date, a first load that is cut and goes on."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest

from ml_connector.qbo.models import Entity
from ml_connector.reading.windows import Mode
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
    rig.settle()
    assert _posted(rig) == {project: Decimal(amount) for project, amount in money.items()}
    assert len(rig.direct_costs(counting=False)) == IN_SCOPE
    assert (rig.holds(), rig.dirty()) == ([], [])
