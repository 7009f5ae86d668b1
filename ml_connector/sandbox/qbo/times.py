"""How QuickBooks writes and reads time: whole seconds, with the Pacific offset of the day for everybody."""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

_PACIFIC = ZoneInfo("America/Los_Angeles")
_LOST_PLUS = re.compile(r" \d\d:\d\d$")


def record_time(moment: datetime) -> str:
    """`2026-05-05T03:19:47-07:00`, the form of MetaData; fractions are cut."""
    return moment.astimezone(_PACIFIC).isoformat(timespec="seconds")


def answer_time(moment: datetime) -> str:
    """`2026-05-05T03:19:47.456-07:00`, the form of an answer's `time`."""
    return moment.astimezone(_PACIFIC).isoformat(timespec="milliseconds")


def today(moment: datetime) -> date:
    """The calendar day in Pacific time."""
    return moment.astimezone(_PACIFIC).date()


def recorded_epoch(meta: object, name: str) -> float | None:
    """Seconds since 1970 of a time in MetaData; None where an odd record has none that can be read."""
    text = meta.get(name) or meta.get("CreateTime") if isinstance(meta, dict) else None
    try:
        return epoch(text) if isinstance(text, str) else None
    except ValueError:
        return None


@lru_cache(maxsize=200_000)
def epoch(text: str) -> float:
    """Seconds since 1970 of a date or date-time; without an offset it is Pacific. Raises ValueError.

    An offset whose `+` became a space on the way is lost, as the vendor loses it.
    """
    moment = datetime.fromisoformat(_LOST_PLUS.sub("", text))
    return (moment if moment.tzinfo else moment.replace(tzinfo=_PACIFIC)).astimezone(UTC).timestamp()
