"""F47: schedules when the clocks change, at the year's end and on a leap day: every tick once, every night one proof."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from ml_connector.orchestration.schedules import poll_schedule, proof_schedule
from ml_connector.settings import Connection

NEW_YORK = ZoneInfo("America/New_York")
HOUR = timedelta(hours=1)


def connection(cron: str) -> Connection:
    return Connection.model_validate(
        {
            "name": "acme",
            "qbo": {"realm_id": "1"},
            "procore": {"company_id": 1},
            "start_date": "2026-01-01",
            "time_zone": str(NEW_YORK),
            "poll_cron": cron,
        }
    )


def ticks(schedule: dg.ScheduleDefinition, first: date, days: int) -> list[datetime]:
    """The instants of a schedule from a day's beginning on, in New York."""
    begin = datetime(first.year, first.month, first.day, tzinfo=NEW_YORK)
    end = begin + timedelta(days=days)
    found: list[datetime] = []
    crons = schedule_execution_time_iterator(
        begin.timestamp(), schedule.cron_schedule, schedule.execution_timezone
    )
    for tick in crons:
        if tick.timestamp() >= end.timestamp():
            return found
        found.append(tick.astimezone(NEW_YORK))
    raise AssertionError("a schedule never ends")


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (date(2026, 3, 8), 23),
        (date(2026, 11, 1), 25),
        (date(2026, 12, 31), 24),
        (date(2028, 2, 29), 24),
    ],
    ids=["clocks go forward", "clocks go back", "year end", "leap day"],
)
def test_F47_every_hour_is_polled_once_and_every_night_proved_once_when_the_clocks_change(
    day: date, hours: int
) -> None:
    polls = [tick.astimezone(UTC) for tick in ticks(poll_schedule(connection("30 * * * *")), day, 1)]
    assert len(polls) == hours
    assert {later - earlier for earlier, later in pairwise(polls)} == {HOUR}
    proofs = ticks(proof_schedule(connection("30 * * * *")), day - timedelta(days=1), 3)
    nights = Counter(tick.date() for tick in proofs)
    assert nights == {day + timedelta(days=shift): 1 for shift in (-1, 0, 1)}
