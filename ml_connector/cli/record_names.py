"""RECORD as people write it: `bill:4471` (QBO id), a pasted QuickBooks link, or words such as `bill 4471 granite`."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Connection as Database
from sqlalchemy import or_, select

from ml_connector.errors import SetupError
from ml_connector.qbo.models import Entity
from ml_connector.store.tables import record

KINDS = {
    "bill": Entity.BILL,
    "credit": Entity.VENDOR_CREDIT,
    "vendorcredit": Entity.VENDOR_CREDIT,
    "payment": Entity.BILL_PAYMENT,
    "billpayment": Entity.BILL_PAYMENT,
    "vendor": Entity.VENDOR,
    "vendordetail": Entity.VENDOR,
}
SEVERAL = 20


@dataclass(frozen=True)
class Named:
    """A record that was meant."""

    entity: Entity
    qbo_id: str
    document: str
    vendor: str

    def __str__(self) -> str:
        return f"{self.entity.lower()}:{self.qbo_id}  {self.document or 'without number'}  {self.vendor}"


def find(db: Database, connection: str, words: str) -> list[Named]:
    """The records that `words` may mean, at most 20; several are for the person to choose from."""
    exact = _exact(words.strip())
    statement = select(record).where(record.c.connection == connection)
    if exact is not None:
        entity, qbo_id = exact
        statement = statement.where(record.c.entity == entity, record.c.qbo_id == qbo_id)
    else:
        for word in words.split():
            kind = KINDS.get(word.lower())
            like = f"%{word.replace('%', '')}%"
            statement = statement.where(
                record.c.entity == kind
                if kind is not None
                else or_(
                    record.c.document.ilike(like), record.c.vendor_name.ilike(like), record.c.qbo_id == word
                )
            )
    rows = db.execute(statement.order_by(record.c.txn_date.desc(), record.c.qbo_id).limit(SEVERAL))
    return [Named(Entity(row.entity), row.qbo_id, row.document, row.vendor_name) for row in rows]


def one(db: Database, connection: str, words: str) -> Named:
    """The one record that `words` mean. Raises SetupError for none, and for several with all of them listed."""
    found = find(db, connection, words)
    if not found:
        raise SetupError(
            f"no record of {connection} fits {words!r}; give bill:<QBO id>, a QuickBooks link, or other words"
        )
    if len(found) > 1:
        listed = "\n".join(f"  {entry}" for entry in found)
        raise SetupError(f"{len(found)} records fit {words!r}; name one of them:\n{listed}")
    return found[0]


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
