"""Judging one tool under one fault: what it said against what the sandboxes hold. Nothing here calls anything.

A bill is `right` when Procore holds it exactly once and to the cent, or when the reader's rows hold its newest version.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ml_connector_tests.evidence import Live


@dataclass(frozen=True)
class Told:
    """The last word of a run: whether it ended well, and the bills (by number) that it said did not get through.

    `silent`: it was killed and said nothing. `rows`: what a reader gave out, newest last: (QBO id, SyncToken).
    """

    well: bool
    failed: frozenset[str] = frozenset()
    silent: bool = False
    rows: tuple[tuple[str, str], ...] = ()
    words: str = ""


@dataclass(frozen=True)
class Verdict:
    """One line of the table. `lost`: neither there nor said to be missing. `misreported`: bills of which a run's word
    was wrong, either way. `said`: rightly told as not got through."""

    tool: str
    scenario: str
    lost: int
    doubled: int
    misreported: int
    said: int
    calls: int
    per_thousand: int
    runs: int
    note: str = ""

    @property
    def counts(self) -> str:
        """For the line that says how far it is."""
        return (
            f"lost {self.lost}, doubled {self.doubled}, misreported {self.misreported}, said so {self.said}"
        )


@dataclass(frozen=True)
class Judged:
    """The counts of a verdict."""

    lost: int
    doubled: int
    misreported: int
    said: int


@dataclass
class Rows:
    """What a loader that keeps the newest row of each key holds after some runs."""

    held: dict[str, str] = field(default_factory=dict)

    def load(self, rows: Iterable[tuple[str, str]]) -> None:
        """Take a run's rows."""
        self.held.update(rows)


def judge_written(
    wanted: Mapping[str, Decimal], there: Sequence[Live], told: Told, *, headers_only: bool = False
) -> Judged:
    """`wanted`: amount by number. With `headers_only` a tool that writes no lines is judged on the records alone."""
    found = Counter(live.number for live in there if live.counts)
    amounts = {live.number: live.amount for live in there if live.counts}
    right = {
        number for number in wanted if found[number] and (headers_only or amounts[number] == wanted[number])
    }
    wrong = set(wanted) - right
    silent = wrong if told.silent else wrong - told.failed
    return Judged(
        lost=len(silent),
        doubled=sum(found[number] - 1 for number in wanted if found[number] > 1),
        misreported=0 if told.silent else len(silent | (told.failed & right)),
        said=len(wrong & told.failed),
    )


def judge_read(saved: Mapping[str, str], rows: Rows, told: Told) -> Judged:
    """`saved`: SyncToken by id as QBO has them now; an older version is a bill that is missing.

    A reader that ended badly has said that something is missing: nothing is lost then, and nothing misreported.
    """
    missing = sum(rows.held.get(id_) != version for id_, version in saved.items())
    return Judged(
        lost=missing if told.well else 0,
        doubled=0,
        misreported=missing if told.well else 0,
        said=0 if told.well else missing,
    )
