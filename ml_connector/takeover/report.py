"""The report of a takeover, to be signed: from our own tables alone, as the last run left them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Row

from ml_connector.money import total
from ml_connector.posting.direct_costs.drift import is_theirs
from ml_connector.posting.direct_costs.takeover import Entry, Takeover
from ml_connector.posting.direct_costs.takeover import takeover as direct_costs
from ml_connector.posting.requisitions.opening import Opening, openings
from ml_connector.settings import Connection
from ml_connector.store import ledger
from ml_connector.store.ledger import Kind
from ml_connector.store.loads import Load, load_of, words_of


@dataclass(frozen=True)
class Count:
    """Direct costs and their money."""

    bills: int
    amount: Decimal


@dataclass(frozen=True)
class Report:
    """Direct costs and invoices by what became of them, commitments at the start, and how far the first load is."""

    takeover: Takeover
    invoices_matched: Sequence[Entry]
    invoices_new: Sequence[Entry]
    openings: Sequence[Opening]
    load: Load | None

    def sums(self) -> Mapping[str, Count]:
        """Counts and money, in the order of the report."""
        return {
            "direct costs matched: in Procore before, linked": _count(self.takeover.matched),
            "direct costs without match: only in Procore": _count(self.takeover.only_in_procore),
            "direct costs new: posted by us": _count(self.takeover.new),
            "invoices matched: in Procore before, linked": _count(self.invoices_matched),
            "invoices new: posted by us": _count(self.invoices_new),
        }

    def load_words(self) -> str:
        """How far the first load is."""
        return words_of(self.load)

    def document(self) -> dict[str, Any]:
        """Everything, for scripts."""
        groups = {
            "matched": self.takeover.matched,
            "only_in_procore": self.takeover.only_in_procore,
            "new": self.takeover.new,
        }
        invoices = {"matched": self.invoices_matched, "new": self.invoices_new}
        return {
            "direct_costs": {name: _told(entries) for name, entries in groups.items()},
            "invoices": {name: _told(entries) for name, entries in invoices.items()},
            "commitments": [
                {
                    "commitment": one.commitment_id,
                    "number": one.number,
                    "project": one.project_id,
                    "vendor": one.vendor_name,
                    "start": one.start,
                    "books": vars(one.books),
                    "procore": vars(one.procore),
                    "unplaced": {"bills": one.unplaced, "amount": one.unplaced_amount},
                    "alike": one.is_alike,
                    "accepted": one.accepted,
                }
                for one in self.openings
            ],
            "first_load": None if self.load is None else self.load.document(),
        }


def report(db: Database, connection: Connection) -> Report:
    """The report as it stands after the last run."""
    rows = ledger.posted_costs(db, connection.name, days=None, projects=None, kind=Kind.REQUISITION)
    invoices = [(is_theirs(row), _entry(row)) for row in rows]
    return Report(
        takeover=direct_costs(db, connection),
        invoices_matched=[entry for is_matched, entry in invoices if is_matched],
        invoices_new=[entry for is_matched, entry in invoices if not is_matched],
        openings=openings(db, connection),
        load=load_of(db, connection),
    )


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.project_id, row.procore_id, row.number, row.amount, f"{row.entity.lower()}:{row.qbo_id}")


def _told(entries: Sequence[Entry]) -> dict[str, Any]:
    return {**vars(_count(entries)), "records": [vars(entry) for entry in entries]}


def _count(entries: Sequence[Entry]) -> Count:
    return Count(len(entries), total(entry.amount for entry in entries))
