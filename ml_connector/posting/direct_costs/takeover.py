"""The report of taking over a running project: which bills others had entered in Procore, which are new, what is left over.

Read from our own tables: the ledger, and the copy of others' direct costs that posting keeps while it looks for them.
"""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection as Database

from ml_connector.money import parse_amount
from ml_connector.posting.direct_costs.drift import is_theirs
from ml_connector.posting.direct_costs.typed_costs import OTHERS
from ml_connector.settings import Connection
from ml_connector.store import catalog, ledger
from ml_connector.store.ledger import Kind


@dataclass(frozen=True)
class Entry:
    """One direct cost of the report. `record` is `bill:4471`-like, "" for one that no bill was found for."""

    project_id: str
    procore_id: int
    number: str
    amount: Decimal
    record: str


@dataclass(frozen=True)
class Takeover:
    """Direct costs by what became of them, in the order of projects.

    `matched` were typed by people and are linked to their bills, `new` were posted by us, and of `only_in_procore` no
    bill is known: older than the start, of another connector, or missing in QBO.
    """

    matched: tuple[Entry, ...]
    only_in_procore: tuple[Entry, ...]
    new: tuple[Entry, ...]


def takeover(db: Database, connection: Connection) -> Takeover:
    """The report as it stands after the last run that posted something."""
    ours: dict[bool, list[Entry]] = {True: [], False: []}
    copies = catalog.copy(db, connection.name, OTHERS)
    known = {
        id_
        for project in copies
        for id_ in ledger.procore_ids(db, connection.name, Kind.DIRECT_COST, project)
    }
    for row in ledger.posted_costs(db, connection.name, days=None, projects=None):
        record = f"{row.entity.lower()}:{row.qbo_id}"
        entry = Entry(row.project_id, row.procore_id, row.number, row.amount, record)
        ours[is_theirs(row)].append(entry)
    left = [
        Entry(project, row["id"], row["number"], parse_amount(row["amount"], field="amount"), "")
        for project, rows in sorted(copies.items())
        for row in rows
        if row["id"] not in known
    ]
    return Takeover(tuple(ours[True]), tuple(left), tuple(ours[False]))
