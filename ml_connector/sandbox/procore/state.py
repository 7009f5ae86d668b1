"""What the imitation knows: records by kind, quick lookups over them, time and switches. No HTTP here."""

from collections.abc import Callable, Hashable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.procore.errors import TAKEN, invalid
from ml_connector.sandbox.procore.switches import Switches
from ml_connector.sandbox.records import Document, Index, Records

# Companies in newer zones have ids above 32 bits: a client that cuts them must fail here too.
_FIRST_ID = {
    "companies": 4_268_001,
    "projects": 66_001,
    "vendors": 562_949_953_421_313,
    "wbs_codes": 562_949_953_521_313,
    "direct_costs": 562_949_954_421_313,
    "direct_cost_lines": 562_949_957_421_313,
    "commitments": 701_973,
    "commitment_lines": 882_101,
    "requisitions": 340_101,
    "contract_payments": 915_001,
}


class State:
    """Records of every company side by side; each record carries its company's id."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self.records = records
        self.clock = clock
        self.switches = Switches()
        self._indexes: dict[tuple[str, tuple[str, ...]], Index] = {}

    def get(self, kind: str, id: int) -> Document | None:
        return self.records.get(kind, str(id))

    def put(self, kind: str, doc: Document) -> Document:
        self.records.put(kind, str(doc["id"]), doc)
        return doc

    def drop(self, kind: str, id: int) -> None:
        self.records.drop(kind, str(id))

    def all(self, kind: str) -> Iterator[Document]:
        return self.records.all(kind)

    def find(self, kind: str, **keys: Hashable) -> list[Document]:
        """Records that have all these values, by an index made at the first such question."""
        names = tuple(sorted(keys))
        index = self._indexes.get((kind, names))
        if index is None:
            index = self._indexes[kind, names] = self.records.index(kind, _values_of(names))
        return index.find(tuple(keys[name] for name in names))

    def live(self, kind: str, **keys: Hashable) -> list[Document]:
        """As `find`, without the softly deleted."""
        return [doc for doc in self.find(kind, **keys) if doc.get("deleted_at") is None]

    def new_id(self, kind: str) -> int:
        id = self.records.next_id(kind, _FIRST_ID.get(kind, 100_001))
        while self.get(kind, id) is not None:
            id = self.records.next_id(kind)
        return id

    def now(self) -> datetime:
        return self.clock.now()

    def stamp(self) -> str:
        return instant_text(self.now())

    def stamp_ago(self, seconds: int) -> str:
        return instant_text(self.now() - timedelta(seconds=seconds))

    def refuse_taken_origin(self, kind: str, doc: Document, **scope: Hashable) -> None:
        """An origin_id is unique per kind of object in the company. Raises Refusal."""
        if not doc.get("origin_id"):
            return
        keys = {"company_id": doc["company_id"], "origin_id": doc["origin_id"], **scope}
        if any(other["id"] != doc["id"] for other in self.live(kind, **keys)):
            raise invalid("origin_id", TAKEN, status=self.switches["duplicate_origin_id_status"])

    def created(self, kind: str, fields: Document) -> Document:
        """A new document with id, time stamps and write counter; not yet stored."""
        stamp = self.stamp()
        return {"id": self.new_id(kind), **fields, "created_at": stamp, "updated_at": stamp, "writes": 1}

    def changed(self, doc: Document, fields: Document) -> Document:
        """The document with these fields; `updated_at` moves only when one of them is new."""
        same = all(doc.get(name) == value for name, value in fields.items())
        return {
            **doc,
            **fields,
            "updated_at": doc.get("updated_at") if same else self.stamp(),
            "writes": doc.get("writes", 0) + 1,
        }


def instant_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _values_of(names: tuple[str, ...]) -> Callable[[dict[str, Any]], Hashable | None]:
    def key(doc: dict[str, Any]) -> Hashable | None:
        values = tuple(doc.get(name) for name in names)
        return None if None in values else values

    return key
