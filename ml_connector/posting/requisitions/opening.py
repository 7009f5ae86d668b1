"""A commitment at the start: the sums of both sides, whether they are alike, and how that is stored."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database

from ml_connector.money import ZERO
from ml_connector.settings import Connection
from ml_connector.store import catalog

OPENINGS = "openings"  # kind of stored list


@dataclass(frozen=True)
class Sums:
    """A commitment up to the start: work billed, retainage held and not released, money paid."""

    billed: Decimal = ZERO
    retained: Decimal = ZERO
    paid: Decimal = ZERO


@dataclass(frozen=True)
class Opening:
    """One commitment at the start. `unplaced` bills of its vendor, over `unplaced_amount`, are on no commitment for sure."""

    commitment_id: int
    project_id: str
    number: str
    vendor_name: str
    start: date
    books: Sums
    procore: Sums
    unplaced: int = 0
    unplaced_amount: Decimal = ZERO
    accepted: str = ""  # by whom and when

    @property
    def is_alike(self) -> bool:
        """Whether both sides say the same."""
        return self.books == self.procore

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits for it."""
        return self.is_alike or bool(self.accepted)

    @property
    def about(self) -> str:
        """What is accepted: these figures, and no others."""
        figures = f"{self.start} {self.books} {self.procore}"
        return f"commitment {self.commitment_id} {hashlib.sha256(figures.encode()).hexdigest()[:12]}"


def openings(db: Database, connection: Connection) -> list[Opening]:
    """Every commitment that was compared, by project and number."""
    stored = catalog.copy(db, connection.name, OPENINGS)
    found = [read_row(row) for rows in stored.values() for row in rows]
    mine = [opening for opening in found if opening.start == connection.start_date]
    return sorted(mine, key=lambda opening: (opening.project_id, opening.number))


def row_of(opening: Opening) -> dict[str, Any]:
    """The opening as it is stored and told; money as text."""
    figures = {
        side: {what: str(amount) for what, amount in asdict(getattr(opening, side)).items()}
        for side in ("books", "procore")
    }
    return {
        **asdict(opening),
        **figures,
        "start": opening.start.isoformat(),
        "unplaced_amount": str(opening.unplaced_amount),
    }


def read_row(row: Mapping[str, Any]) -> Opening:
    """The opening of a stored row."""
    sides = {
        side: Sums(**{what: Decimal(amount) for what, amount in row[side].items()})
        for side in ("books", "procore")
    }
    fields = {name: value for name, value in row.items() if name not in sides}
    return Opening(
        **{
            **fields,
            **sides,
            "start": date.fromisoformat(row["start"]),
            "unplaced_amount": Decimal(row["unplaced_amount"]),
        }
    )
