"""The vocabulary of the proof: where money stands, what QBO and Procore say of a record, rows and differences. Pure data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from enum import StrEnum

from ml_connector.money import ZERO, total

RETAINAGE = "retainage"  # stands for a cost code: what is held back of a commitment has none
CHANGE_ORDER = "change order"  # likewise: what Procore bills on one has none there


@dataclass(frozen=True, order=True)
class Place:
    """Where money stands: Procore project, cost code, cost type; "" for what has none."""

    project: str = ""
    cost_code: str = ""
    cost_type: str = ""

    @property
    def code(self) -> str:
        """`03-3000.M`."""
        return f"{self.cost_code}.{self.cost_type}" if self.cost_type else self.cost_code or "no code"


Amounts = Mapping[Place, Decimal]


class Direction(StrEnum):
    """What kind of difference it is."""

    ONLY_IN_QBO = "only in QBO"
    ONLY_IN_PROCORE = "only in Procore"
    DIFFERS = "differs"
    KEPT = "kept as in Procore"  # a person decided so: named, and no loss of balance
    TIMING = "TIMING"  # the same money in another month: named, and no loss of balance


@dataclass(frozen=True)
class Booked:
    """A record as QBO has it now. `wanted` belongs in Procore, `excluded` does not.

    `held` is what our books say waits of it, `is_held` that it waits as a whole; `waits`: all that is not there is on its
    way. `drifted`: it is held because Procore was changed; `kept`: a person decided to leave Procore as it is. `note` is
    what a person should know of it.
    """

    entity: str
    qbo_id: str
    document: str
    vendor: str
    day: date
    wanted: Amounts
    excluded: Amounts
    held: Decimal = ZERO
    is_held: bool = False
    waits: bool = False
    drifted: bool = False
    kept: bool = False
    note: str = ""

    @property
    def name(self) -> tuple[str, str]:
        """Entity and id."""
        return self.entity, self.qbo_id


@dataclass(frozen=True)
class There:
    """A record as Procore has it now; `net` are its parts with retainage taken off the codes. `source` is None where
    nothing of ours is linked to it.
    """

    kind: str
    procore_id: int
    number: str
    day: date
    source: tuple[str, str] | None
    parts: Amounts
    net: Amounts
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """One record in which both sides differ, with both figures. `record` is `bill:4471`, or of Procore `direct cost:77`."""

    direction: Direction
    record: str
    number: str
    vendor: str
    project: str
    month: str
    qbo: Decimal
    procore: Decimal
    sentence: str
    projects: tuple[str, ...] = ()
    months: tuple[str, ...] = ()

    @property
    def is_problem(self) -> bool:
        """Whether it keeps the two sides from balancing."""
        return self.direction not in (Direction.TIMING, Direction.KEPT)


@dataclass
class Figures:
    """Money of a row: qbo = procore + held + excluded + timing + drift, always."""

    qbo: Decimal = ZERO
    procore: Decimal = ZERO
    held: Decimal = ZERO
    excluded: Decimal = ZERO
    timing: Decimal = ZERO
    drift: Decimal = ZERO

    def add(self, other: "Figures") -> None:
        """Add the money of another row."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


RowKey = tuple[Place, str]  # place and month (YYYY-MM)


@dataclass(frozen=True)
class Compared:
    """Rows by place and month, and every difference."""

    rows: Mapping[RowKey, Figures]
    differences: Sequence[Difference] = field(default_factory=list)

    @property
    def total(self) -> Figures:
        """The sum of all rows."""
        whole = Figures()
        for row in self.rows.values():
            whole.add(row)
        return whole

    @property
    def balanced(self) -> bool:
        """Whether nothing is left but what waits, is left out, was decided, or stands in another month."""
        return not any(one.is_problem for one in self.differences)


def month_of(day: date) -> str:
    """`2026-03`."""
    return f"{day:%Y-%m}"


def sum_of(amounts: Amounts) -> Decimal:
    """The money of all places."""
    return total(amounts.values())


def added(some: Sequence[Amounts]) -> dict[Place, Decimal]:
    """Amounts of several, place by place."""
    whole: dict[Place, Decimal] = {}
    for amounts in some:
        for place, amount in amounts.items():
            whole[place] = whole.get(place, ZERO) + amount
    return whole
