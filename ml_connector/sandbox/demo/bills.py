"""The firm's 400 bills: how many of each shape, on which days, whether they are history or entered live."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from ml_connector.sandbox.demo import odd_shapes as odd
from ml_connector.sandbox.demo import shapes
from ml_connector.sandbox.demo import subcontract_shapes as sub
from ml_connector.sandbox.demo.clerk import Clerk
from ml_connector.sandbox.demo.drafts import BILL, Draft, bill_of, expected_of, request_of
from ml_connector.sandbox.demo.expectations import Expected, marked
from ml_connector.sandbox.qbo.times import record_time
from ml_connector.sandbox.records import Document

DAYS = 60
"""The span of all dates, today included."""
TIME_ZONE = "America/Denver"
_ZONE = ZoneInfo(TIME_ZONE)
_OPENS, _OPEN_SECONDS = time(8), 9 * 3600
_EDITED_EVERY = 17
_LATE = timedelta(days=5)


class Shape(Protocol):
    """A generator of one scene, which is one bill or several."""

    def __call__(self, clerk: Clerk) -> tuple[Draft, ...]: ...


SCENES: tuple[tuple[Shape, int, int], ...] = (
    (shapes.s01_one_line, 75, 9),
    (shapes.s02_over_jobs, 32, 7),
    (shapes.s04_item_and_account, 28, 5),
    (shapes.s05_class_decides, 20, 4),
    (shapes.s06_overhead_line, 12, 3),
    (shapes.s08_text_lines, 12, 3),
    (shapes.s09_freight, 22, 5),
    (shapes.s11_negative_line, 8, 2),
    (shapes.s12_zero_bill, 2, 1),
    (shapes.s13_same_number_of_two, 2, 0),
    (shapes.s13_no_number, 4, 1),
    (shapes.s14_other_letters, 4, 1),
    (shapes.s15_odd_cent, 4, 1),
    (shapes.s16_quantities, 12, 2),
    (shapes.s25_two_rules, 4, 1),
    (shapes.s27_before_the_change, 2, 1),
    (shapes.s27_after_the_change, 2, 0),
    (shapes.s85_inactive_vendor, 1, 0),
    (shapes.s124_retainage_without_commitment, 4, 1),
    (odd.s03_closed_job, 3, 1),
    (odd.s06_office_bill, 5, 1),
    (odd.s07_no_job, 3, 1),
    (odd.s10_tax, 2, 0),
    (odd.s13_twice, 2, 0),
    (odd.s13_twice_later, 1, 0),
    (odd.s17_foreign, 2, 1),
    (odd.s22_code_missing, 5, 1),
    (odd.s23_type_missing, 2, 1),
    (odd.s24_unmapped, 6, 2),
    (sub.s33_progress_bill, 11, 3),
    (sub.s33_two_schedule_lines, 3, 0),
    (sub.s34_held_and_released, 1, 0),
    (sub.s39_two_contracts, 1, 1),
    (sub.s40_draft_contract, 2, 1),
    (sub.s41_over_billed, 1, 0),
    (sub.s52_material, 4, 0),
    (sub.s56_small_hire, 1, 0),
    (sub.s69_corrected_bill, 0, 1),
    (sub.s69_corrected_progress_bill, 0, 1),
    (sub.s73_deleted_bill, 1, 0),
    (sub.s125_no_contract, 1, 1),
    (odd.s82_two_of_a_name, 2, 1),
    (odd.s87_job_not_linked, 3, 1),
    (odd.s88_late_bill, 2, 0),
    (odd.s124_release, 1, 0),
    (odd.s127_asset_on_job, 2, 1),
    (odd.s127_overhead, 6, 2),
    (odd.s127_balance_sheet, 2, 1),
)
"""Shape, scenes in the history, scenes entered live."""


@dataclass(frozen=True)
class Entry:
    """A record that the bookkeeper enters while the demo runs: the body of its create request, without an Id.

    Its PrivateNote ends in `ref <key>`. `expected` is what becomes of it as it is entered.
    """

    key: str
    entity: str
    body: Document
    draft: Draft
    expected: Expected


@dataclass(frozen=True)
class PastBill:
    """A bill of the history as QuickBooks shows it; its key is its Id."""

    key: str
    bill: Document
    draft: Draft
    expected: Expected


@dataclass(frozen=True)
class _Placed:
    draft: Draft
    place: float  # when it is entered, 0 the first working day, 1 the end of the last
    lag: int  # working days between the date of the bill and its entry


def history(today: date) -> list[PastBill]:
    """The bills entered before today, in the order of entry, with Ids from 1 in that order."""
    days = _working_days(today - timedelta(days=DAYS - 1), today - timedelta(days=1))
    dated = sorted((_dated(placed, days, today) for placed in _drawn()[0]), key=lambda row: row[0])
    return [
        _past(str(number), entered, on, draft, days)
        for number, (entered, on, draft) in enumerate(dated, start=1)
    ]


def live(today: date) -> list[Entry]:
    """The bills entered while the demo runs, in the order of entry."""
    entries = []
    for number, placed in enumerate(sorted(_drawn()[1], key=lambda placed: placed.place), start=1):
        draft, key = placed.draft, f"D-{number + 300:03}"
        on = today - timedelta(days=placed.lag if draft.dated is None else draft.dated)
        body = request_of(draft, on=on, note=marked(key, draft.note))
        entries.append(Entry(key, BILL, body, draft, expected_of(draft, key)))
    return entries


@lru_cache(maxsize=1)
def _drawn() -> tuple[list[_Placed], list[_Placed]]:
    """History and live bills; what is drawn does not depend on the day."""
    clerk = Clerk()
    past: list[_Placed] = []
    present: list[_Placed] = []
    for shape, in_history, entered_live in SCENES:
        for _ in range(in_history):
            for placed in _placed(shape(clerk), clerk, longest=2):
                (present if placed.draft.later else past).append(placed)
        for _ in range(entered_live):
            present += _placed(shape(clerk), clerk, longest=6)
    return past, present


def _placed(drafts: Sequence[Draft], clerk: Clerk, *, longest: int) -> Iterator[_Placed]:
    """The drafts of a scene, entered in their order."""
    places = sorted(clerk.place() for _ in drafts)
    for draft, place in zip(drafts, places, strict=True):
        yield _Placed(draft, place, clerk.whole(0, longest))


def _working_days(first: date, last: date) -> list[date]:
    span = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [day for day in span if day.weekday() < 5]


def _dated(placed: _Placed, days: Sequence[date], today: date) -> tuple[datetime, date, Draft]:
    """When the bill is entered, what date it bears, and the bill."""
    draft = placed.draft
    number, within = divmod(placed.place * len(days), 1)
    if draft.dated is None:
        return _moment(days[int(number)], within), days[max(int(number) - placed.lag, 0)], draft
    on = today - timedelta(days=draft.dated)
    earliest = min(on + _LATE, days[-1])
    return _moment(next(day for day in days if day >= earliest), within), on, draft


def _moment(day: date, within: float) -> datetime:
    """An instant of the day's office hours, whole seconds."""
    return datetime.combine(day, _OPENS, _ZONE) + timedelta(seconds=int(within * _OPEN_SECONDS))


def _past(id: str, entered: datetime, on: date, draft: Draft, days: Sequence[date]) -> PastBill:
    changed = entered
    following = next((day for day in days if day > entered.date()), None)
    if following is not None and int(id) % _EDITED_EVERY == 0:
        changed = _moment(following, 0.97)
    bill = bill_of(draft, id, on=on, created=record_time(entered), updated=record_time(changed))
    return PastBill(id, bill, draft, expected_of(draft, id))
