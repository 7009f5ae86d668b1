"""RECORD as people write it: `bill:4471` (QBO id), a pasted QuickBooks link, or words such as `bill 4471 granite`."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import typer
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy import Connection as Database

from ml_connector.errors import SetupError
from ml_connector.qbo.models import Entity
from ml_connector.store.tables import record

KINDS = {
    "bill": Entity.BILL,
    "credit": Entity.VENDOR_CREDIT,
    "vendorcredit": Entity.VENDOR_CREDIT,
    "purchase": Entity.PURCHASE,
    "expense": Entity.PURCHASE,
    "creditcardcredit": Entity.PURCHASE,
    "payment": Entity.BILL_PAYMENT,
    "billpayment": Entity.BILL_PAYMENT,
    "vendor": Entity.VENDOR,
    "vendordetail": Entity.VENDOR,
}
SEVERAL = 20
RECORD_HELP = "bill:4471 (its id in QuickBooks), a pasted QuickBooks link, or words: bill 4471 granite"
RecordName = Annotated[list[str], typer.Argument(metavar="RECORD...", help=RECORD_HELP)]


@dataclass(frozen=True)
class Named:
    """A record that may be meant."""

    entity: Entity
    qbo_id: str
    document: str
    vendor: str
    txn_date: date | None
    total: Decimal
    state: str

    @property
    def name(self) -> str:
        """Its exact name, such as `bill:4471`."""
        return f"{self.entity.lower()}:{self.qbo_id}"

    def __str__(self) -> str:
        if self.entity is Entity.VENDOR:
            return f"{self.name}  {self.vendor}"
        number = f"number {self.document}" if self.document else "without number"
        return f"{self.name}  {number}  {self.vendor}  {self.txn_date or 'no date'}  {self.total:,}  {self.state}"


def find(db: Database, connection: str, words: str, *, limit: int = SEVERAL) -> list[Named]:
    """The records that `words` may mean, newest first, at most `limit`: the person chooses among several.

    Every word must fit: a kind, a part of number or vendor name, or the QBO id. Raises SetupError for a bad link.
    """
    exact = _exact(words.strip())
    statement = select(record).where(record.c.connection == connection)
    if exact is not None:
        entity, qbo_id = exact
        statement = statement.where(record.c.entity == entity, record.c.qbo_id == qbo_id)
    else:
        statement = statement.where(*(_fits(word) for word in words.split()))
    newest_first = (record.c.txn_date.desc().nulls_last(), record.c.entity, record.c.qbo_id)
    rows = db.execute(statement.order_by(*newest_first).limit(limit))
    return [
        Named(
            Entity(row.entity),
            row.qbo_id,
            row.document,
            row.vendor_name,
            row.txn_date,
            row.total,
            row.state,
        )
        for row in rows
    ]


def one(db: Database, connection: str, words: str) -> Named:
    """The one record that `words` mean. Raises SetupError for none, and for several with them listed."""
    found = find(db, connection, words, limit=SEVERAL + 1)
    if not found:
        raise SetupError(
            f"no record of {connection} fits {words!r}: give bill:<id in QuickBooks>, a QuickBooks link, "
            "or a part of the number or the vendor's name"
        )
    if len(found) > 1:
        count = f"more than {SEVERAL}" if len(found) > SEVERAL else len(found)
        listed = "\n".join(f"  {entry}" for entry in found[:SEVERAL])
        raise SetupError(f"{count} records of {connection} fit {words!r}; name one of them:\n{listed}")
    return found[0]


def _fits(word: str) -> ColumnElement[bool]:
    kind = KINDS.get(word.lower())
    if kind is not None:
        return record.c.entity == kind
    part = word.lstrip("#") or word
    return or_(
        record.c.document.icontains(part, autoescape=True),
        record.c.vendor_name.icontains(part, autoescape=True),
        record.c.qbo_id == part,
    )


def _exact(words: str) -> tuple[Entity, str] | None:
    if words.startswith(("http://", "https://")):
        link = urlsplit(words)
        asked = parse_qs(link.query)
        kind = KINDS.get(link.path.rstrip("/").rpartition("/")[2].lower())
        ids = asked.get("txnId") or asked.get("nameId")
        if kind is None or not ids:
            raise SetupError("the link does not lead to a bill, credit, payment or vendor of QuickBooks")
        return kind, ids[0]
    match = re.fullmatch(r"([a-zA-Z]+):(\S+)", words)
    if match is None:
        return None
    kind = KINDS.get(match[1].lower())
    if kind is None:
        raise SetupError(f"{match[1]!r} is no kind of record; there are {', '.join(sorted(KINDS))}")
    return kind, match[2]
