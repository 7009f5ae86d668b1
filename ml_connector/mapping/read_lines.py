"""The bill lines that were read from QBO, each with what it offers to rules: what a sheet is held against."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection as Database

from ml_connector.errors import BadRecord
from ml_connector.mapping.matching import Facts, facts_of
from ml_connector.mapping.models import Reference
from ml_connector.qbo.models import JOB_COSTS, Bill, Line, parse_bill
from ml_connector.store import landing


@dataclass(frozen=True)
class ReadLine:
    """One money line of the newest version of a bill."""

    bill: Bill
    line: Line
    facts: Facts


def read_lines(
    db: Database, connection: str, reference: Reference, *, vendors: Collection[str] | None = None
) -> Iterator[ReadLine]:
    """Every line that a rule could be asked for, of all vendors or of some (QBO ids).

    A record that cannot be read is held and says so itself; it has no line here.
    """
    for entity in JOB_COSTS:
        versions = (
            landing.every(db, connection, entity)
            if vendors is None
            else landing.of_vendors(db, connection, entity, vendors)
        )
        for version in versions:
            try:
                bill = parse_bill(version.raw, entity)
            except BadRecord:
                continue
            for line in bill.lines:
                facts = facts_of(line, bill, reference)
                if line.amount is not None and not facts.gap:
                    yield ReadLine(bill, line, facts)
