"""What an answer of QBO shows of a record, in landing's terms: content hash, window, facts to search by."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ml_connector.errors import BadRecord
from ml_connector.money import parse_amount
from ml_connector.qbo.models import (
    Entity,
    Raw,
    document_key,
    is_deleted,
    parse_date,
    record_id,
    sync_token,
    updated_at,
    vendor_id_of,
)
from ml_connector.store import exact_json
from ml_connector.store.landing import Sighting

Fact = TypeVar("Fact")

LARGEST_TOKEN = 2**63 - 1
LONGEST_KEY = 200  # numbers of documents have 21 characters in QBO; an index takes no novel
_EVERY_DIGIT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)

# QBO moves these with every save or posting although nothing that we use was edited (qbo-api 1, 8).
UNIMPORTANT = {"MetaData", "SyncToken", "sparse", "domain", "V4IDPseudonym"}
UNIMPORTANT_OF = {
    Entity.VENDOR: {"Balance", "BillRate", "CostRate"},
    Entity.ACCOUNT: {"CurrentBalance", "CurrentBalanceWithSubAccounts"},
    Entity.CUSTOMER: {"Balance", "BalanceWithJobs"},
    Entity.ITEM: {"QtyOnHand"},
}


def content_hash(entity: Entity, raw: Raw) -> bytes:
    """SHA-256 of the content that matters, whatever the order of keys and the way numbers are written."""
    skip = UNIMPORTANT | UNIMPORTANT_OF.get(entity, set())
    kept = {key: _same_numbers(value) for key, value in raw.items() if key not in skip}
    return hashlib.sha256(exact_json.dumps(kept, sort_keys=True)).digest()


def _same_numbers(value: Any) -> Any:
    # 900, 900.0 and 9E2 are one number; QBO writes all of them.
    if isinstance(value, Mapping):
        return {key: _same_numbers(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_same_numbers(entry) for entry in value]
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        number = Decimal(value)
        return number.normalize(_EVERY_DIGIT) if number else Decimal(0)
    return value


def sighting(entity: Entity, raw: Raw, *, zone: ZoneInfo, start: date, server_time: datetime) -> Sighting:
    """The sighting of one row of an answer that the server began at `server_time`.

    Its day is the one of LastUpdatedTime in the company's zone, not before `start` and not after the answer.
    A field that cannot be read leaves its fact empty: the record is landed as it is, and held when it is
    mapped. Raises BadRecord only without an Id.
    """
    seen = server_time.astimezone(zone).date()
    changed = _or_none(lambda: updated_at(raw))
    day = seen if changed is None else min(changed.astimezone(zone).date(), seen)
    return Sighting(
        qbo_id=record_id(raw),
        sync_token=_version(raw),
        tombstone=is_deleted(raw),
        content_hash=content_hash(entity, raw),
        day=max(day, start),
        txn_date=_or_none(lambda: parse_date(raw.get("TxnDate"), field="TxnDate")),
        vendor_id=_storable(vendor_id_of(entity, raw)),
        document=_storable(raw.get("DocNumber")),
        total=_or_none(lambda: parse_amount(raw.get("TotalAmt"), field="TotalAmt")),
        raw=raw,
    )


def _or_none(read: Callable[[], Fact]) -> Fact | None:
    try:
        return read()
    except BadRecord:
        return None


def _version(raw: Raw) -> int:
    token = _or_none(lambda: sync_token(raw)) or 0
    return token if abs(token) <= LARGEST_TOKEN else 0


def _storable(value: object) -> str | None:
    # Postgres text takes neither NUL nor lone surrogates; the body keeps the true characters.
    key = "" if value is None else document_key(str(value))
    return key if 0 < len(key) <= LONGEST_KEY else None
