"""One QuickBooks company (realm): its records, their versions and times, the deleted ones, what changed.

Every write of a record goes through here, so SyncToken, MetaData and the announcements keep one rule.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ml_connector.sandbox.qbo.refusals import not_found
from ml_connector.sandbox.qbo.schema import ENTITIES, PEOPLE, Entity
from ml_connector.sandbox.qbo.times import record_time, recorded_epoch
from ml_connector.sandbox.records import Document, Index, Order, Records

_FIRST_ACCOUNT = 1_150_040_000
_FIRST_CLASS = 5_000_000_000_000_000_001
_MODIFIER = {"value": "9341450000000001"}


@dataclass(frozen=True)
class Change:
    """Something a webhook may tell. `verb` is created, updated, deleted, merged or void."""

    realm: str
    entity: str
    id: str
    verb: str
    at: datetime
    deleted_id: str | None = None


class Company:
    """The books of one realm."""

    def __init__(self, realm: str, records: Records, announce: Callable[[Change], None]) -> None:
        """`announce` is told of every change that a webhook may carry."""
        self.realm = realm
        self._records = records
        self._announce = announce
        self._orders: dict[str, Order] = {}
        self._indexes: dict[str, Index] = {}
        self._tombs: dict[str, Order] = {}

    def kind(self, entity: str) -> str:
        """The kind under which an entity's records are kept."""
        return f"{self.realm}/{entity}"

    def find(self, entity: str, id: str) -> Document | None:
        """The live record, or None."""
        return self._records.get(self.kind(entity), id)

    def get(self, entity: str, id: str) -> Document:
        """The live record. Raises Refusal 610."""
        doc = self.find(entity, id)
        if doc is None:
            raise not_found()
        return doc

    def all(self, entity: str) -> Iterator[Document]:
        """Every live record of an entity."""
        return self._records.all(self.kind(entity))

    def changed(self, entity: str, *, low: float, high: float) -> list[Document]:
        """Live records by LastUpdatedTime (epoch seconds, both ends in), oldest first, then by Id."""
        if entity not in self._orders:
            self._orders[entity] = self._records.order(self.kind(entity), _last_updated, _id_order)
        return self._orders[entity].between(low, high)

    def deleted(self, entity: str, *, since: float) -> list[Document]:
        """Tombstones of an entity by the time of the deletion, oldest first."""
        if entity not in self._tombs:
            self._tombs[entity] = self._records.order(self._grave(entity), _last_updated, _id_order)
        return self._tombs[entity].between(since, float("inf"))

    def named(self, entity: Entity, name: str) -> list[Document]:
        """Records that hold this name in the list where it must be unique, whatever the letters' case."""
        folded = name.casefold()
        if entity.name in PEOPLE:
            return [doc for person in PEOPLE for doc in self._index(person, _display_name).find(folded)]
        return self._index(entity.name, _full_name).find(folded)

    def numbered(self, entity: str, *, vendor: str, number: str) -> list[Document]:
        """Transactions of a vendor with this DocNumber."""
        return self._index(entity, _vendor_and_number).find((vendor, number.casefold()))

    def save(self, entity: str, doc: Document, *, at: datetime, verb: str | None) -> Document:
        """Store a new version: SyncToken one up (0 for a new record), LastUpdatedTime now; announce it."""
        old = self.find(entity, doc["Id"])
        meta = {} if old is None else old.get("MetaData") or {}
        stored = {
            **doc,
            "SyncToken": "0" if old is None else str(int(old.get("SyncToken") or 0) + 1),
            "MetaData": {
                **meta,
                "CreateTime": meta.get("CreateTime") or record_time(at),
                **({"LastModifiedByRef": _MODIFIER} if entity == "Bill" else {}),
                "LastUpdatedTime": record_time(at),
            },
        }
        self._records.put(self.kind(entity), doc["Id"], stored)
        if verb is not None:
            self.announce(entity, doc["Id"], verb, at=at)
        return stored

    def touch(self, entity: str, doc: Document, *, at: datetime) -> None:
        """Store a record whose LastUpdatedTime moves while its SyncToken stays: balances, parents' names."""
        meta = {**(doc.get("MetaData") or {}), "LastUpdatedTime": record_time(at)}
        self._records.put(self.kind(entity), doc["Id"], {**doc, "MetaData": meta})

    def keep(self, entity: str, doc: Document) -> None:
        """Store a record exactly as given."""
        self._records.drop(self._grave(entity), doc["Id"])
        self._records.put(self.kind(entity), doc["Id"], doc)

    def bury(self, entity: str, id: str, *, at: datetime) -> None:
        """Delete a record for good; a tombstone stays for CDC."""
        self._records.drop(self.kind(entity), id)
        tomb = {
            "domain": "QBO",
            "status": "Deleted",
            "Id": id,
            "MetaData": {"LastUpdatedTime": record_time(at)},
        }
        self._records.put(self._grave(entity), id, tomb)
        self.announce(entity, id, "deleted", at=at)

    def announce(
        self, entity: str, id: str, verb: str, *, at: datetime, deleted_id: str | None = None
    ) -> None:
        """Tell of a change without storing anything."""
        self._announce(Change(self.realm, entity, id, verb, at, deleted_id))

    def new_id(self, entity: str) -> str:
        """An Id that no record of the entity has or had."""
        sequence, first = f"{self.realm}/names", 1
        if entity == "Account":
            sequence, first = f"{self.realm}/accounts", _FIRST_ACCOUNT
        elif entity == "Class":
            sequence, first = f"{self.realm}/classes", _FIRST_CLASS
        elif entity == "Address":
            sequence = f"{self.realm}/addresses"
        elif ENTITIES[entity].name_property is None:
            sequence = f"{self.realm}/transactions"
        while True:
            id = str(self._records.next_id(sequence, first))
            taken = self.find(entity, id) or self._records.get(self._grave(entity), id)
            if taken is None:
                return id

    def replay(self, request_id: str) -> Document | None:
        """The answer kept under a requestid, or None."""
        return self._records.get(self.kind("#request"), request_id)

    def remember(self, request_id: str, answer: Document) -> None:
        """Keep an answer for a repeated requestid."""
        self._records.put(self.kind("#request"), request_id, answer)

    def _grave(self, entity: str) -> str:
        return f"{self.realm}/#deleted/{entity}"

    def _index(self, entity: str, key: Callable[[Document], Any]) -> Index:
        if entity not in self._indexes:
            self._indexes[entity] = self._records.index(self.kind(entity), key)
        return self._indexes[entity]


def money(value: Any) -> Decimal:
    """A JSON number or text as Decimal; absent is 0."""
    return Decimal(str(value)) if value is not None else Decimal(0)


def short(amount: Decimal) -> Decimal:
    """The amount as the vendor writes it: 205, not 205.00."""
    whole = amount.to_integral_value()
    return whole if whole == amount else amount


def reference(doc: Document, name: str) -> str:
    """The id that a reference property holds, or the empty text."""
    held = doc.get(name)
    return str(held.get("value") or "") if isinstance(held, dict) else ""


def id_order(id: str) -> tuple[int, str]:
    """Sorts ids as numbers although they are texts."""
    return len(id), id


def _id_order(doc: Document) -> tuple[int, str]:
    return id_order(str(doc["Id"]))


def _last_updated(doc: Document) -> float:
    return recorded_epoch(doc.get("MetaData"), "LastUpdatedTime") or 0.0


def _display_name(doc: Document) -> str | None:
    name = doc.get("DisplayName")
    return name.casefold() if isinstance(name, str) else None


def _full_name(doc: Document) -> str | None:
    name = doc.get("FullyQualifiedName") or doc.get("Name")
    return name.casefold() if isinstance(name, str) else None


def _vendor_and_number(doc: Document) -> tuple[str, str] | None:
    number = doc.get("DocNumber")
    return (reference(doc, "VendorRef"), str(number).casefold()) if number else None
