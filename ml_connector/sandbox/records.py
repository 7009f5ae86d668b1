"""The records of one imitated vendor: in memory, written through to one SQLite file that survives kill -9.

Documents are plain dicts with Decimals. Lookups and orders over them are kept up to date by `put` and `drop`.
"""

import sqlite3
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ml_connector.sandbox.wire import parse_json, write_json

Document = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (
    position INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id)
);
CREATE TABLE IF NOT EXISTS sequence (name TEXT PRIMARY KEY, next INTEGER NOT NULL);
"""
_SAVE = """
INSERT INTO document (kind, id, body) VALUES (?, ?, ?)
ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body
"""


class Index:
    """A lookup by a key of the document; documents whose key is None are not in it."""

    def __init__(self, key: Callable[[Document], Hashable | None]) -> None:
        self._key = key
        self._key_of: dict[str, Hashable] = {}
        self._found: dict[Hashable, dict[str, Document]] = {}

    def find(self, value: Hashable) -> list[Document]:
        """The live documents with this key, oldest entry first."""
        return list(self._found.get(value, {}).values())

    def put(self, id: str, doc: Document) -> None:
        key = self._key(doc)
        if id in self._key_of and self._key_of[id] != key:
            self.drop(id)
        if key is not None:
            self._key_of[id] = key
            self._found.setdefault(key, {})[id] = doc

    def drop(self, id: str) -> None:
        if id in self._key_of:
            key = self._key_of.pop(id)
            del self._found[key][id]
            if not self._found[key]:
                del self._found[key]

    def clear(self) -> None:
        self._key_of.clear()
        self._found.clear()


class Order:
    """Documents sorted by a number (an instant, for instance); equal numbers in the order of `tie`."""

    def __init__(self, key: Callable[[Document], float], tie: Callable[[Document], Any]) -> None:
        self._key = key
        self._tie = tie
        self._place_of: dict[str, tuple[float, Any, str]] = {}
        self._places: list[tuple[float, Any, str]] = []
        self._documents: dict[str, Document] = {}

    def between(self, low: float, high: float) -> list[Document]:
        """Documents with low <= key <= high, ascending."""
        start = bisect_left(self._places, low, key=lambda place: place[0])
        stop = bisect_right(self._places, high, key=lambda place: place[0])
        return [self._documents[id] for _, _, id in self._places[start:stop]]

    def put(self, id: str, doc: Document) -> None:
        place = (self._key(doc), self._tie(doc), id)
        if self._place_of.get(id) != place:
            self.drop(id)
            self._place_of[id] = place
            insort(self._places, place)
        self._documents[id] = doc

    def drop(self, id: str) -> None:
        if id in self._place_of:
            place = self._place_of.pop(id)
            del self._places[bisect_left(self._places, place)]
            del self._documents[id]

    def clear(self) -> None:
        self._place_of.clear()
        self._places.clear()
        self._documents.clear()


View = TypeVar("View", Index, Order)


class Records:
    """kind -> id -> document. Not safe for threads by itself: the frame holds the vendor's lock around it.

    Nothing is on disk before `commit`. A document from `get`, `all` or `find` is the stored one: build a
    changed copy and `put` it, never change it in place.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises sqlite3.Error when it cannot be read or written."""
        self._kinds: dict[str, dict[str, Document]] = {}
        self._views: dict[str, list[Index | Order]] = {}
        self._sequences: dict[str, int] = {}
        self._touched: dict[tuple[str, str], None] = {}
        self._touched_sequences: set[str] = set()
        self._cleared = False
        self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.executescript(_SCHEMA)
        self._read()

    def get(self, kind: str, id: str) -> Document | None:
        """The document, or None."""
        return self._kinds.get(kind, {}).get(id)

    def put(self, kind: str, id: str, doc: Document) -> None:
        """Store a document; one that replaces another keeps its place in `all`."""
        self._kinds.setdefault(kind, {})[id] = doc
        for view in self._views.get(kind, ()):
            view.put(id, doc)
        self._touched[kind, id] = None

    def drop(self, kind: str, id: str) -> None:
        """Remove a document; one that is not there is no error."""
        if self._kinds.get(kind, {}).pop(id, None) is not None:
            for view in self._views.get(kind, ()):
                view.drop(id)
            self._touched[kind, id] = None

    def all(self, kind: str) -> Iterator[Document]:
        """The documents of a kind in the order they first came; safe while documents are put or dropped."""
        return iter(list(self._kinds.get(kind, {}).values()))

    def count(self, kind: str) -> int:
        """How many documents the kind has."""
        return len(self._kinds.get(kind, {}))

    def kinds(self) -> list[str]:
        """The kinds that have documents."""
        return [kind for kind, documents in self._kinds.items() if documents]

    def next_id(self, sequence: str, start: int = 1) -> int:
        """The next number of a sequence, `start` at first; never given twice, restarts included."""
        number = max(self._sequences.get(sequence, start), start)
        self._sequences[sequence] = number + 1
        self._touched_sequences.add(sequence)
        return number

    def index(self, kind: str, key: Callable[[Document], Hashable | None]) -> Index:
        """A lookup over a kind that follows every change. Make it once and keep it."""
        return self._follow(kind, Index(key))

    def order(
        self, kind: str, key: Callable[[Document], float], tie: Callable[[Document], Any] = lambda doc: 0
    ) -> Order:
        """A sorted view over a kind that follows every change. Make it once and keep it."""
        return self._follow(kind, Order(key, tie))

    def clear(self) -> None:
        """Forget every document and sequence; indexes and orders stay in use."""
        self._kinds.clear()
        self._sequences.clear()
        self._touched.clear()
        self._touched_sequences.clear()
        self._cleared = True
        for views in self._views.values():
            for view in views:
                view.clear()

    def commit(self) -> None:
        """Write what changed since the last commit in one transaction."""
        if not (self._cleared or self._touched or self._touched_sequences):
            return
        self._file.execute("BEGIN IMMEDIATE")
        try:
            self._write()
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")
        self._touched.clear()
        self._touched_sequences.clear()
        self._cleared = False

    def close(self) -> None:
        """Close the file; what is not committed is lost."""
        self._file.close()

    def _follow(self, kind: str, view: View) -> View:
        for id, doc in self._kinds.get(kind, {}).items():
            view.put(id, doc)
        self._views.setdefault(kind, []).append(view)
        return view

    def _write(self) -> None:
        if self._cleared:
            self._file.execute("DELETE FROM document")
            self._file.execute("DELETE FROM sequence")
        for kind, id in self._touched:
            doc = self.get(kind, id)
            if doc is None:
                self._file.execute("DELETE FROM document WHERE kind = ? AND id = ?", (kind, id))
            else:
                self._file.execute(_SAVE, (kind, id, write_json(doc)))
        self._file.executemany(
            "INSERT OR REPLACE INTO sequence (name, next) VALUES (?, ?)",
            [(name, self._sequences[name]) for name in self._touched_sequences],
        )

    def _read(self) -> None:
        rows = self._file.execute("SELECT kind, id, body FROM document ORDER BY position").fetchall()
        # One parse for all rows: it is quicker, and equal keys share their memory.
        documents = parse_json("[" + ",".join(body for _, _, body in rows) + "]")
        for (kind, id, _), doc in zip(rows, documents, strict=True):
            self._kinds.setdefault(kind, {})[id] = doc
        self._sequences = dict(self._file.execute("SELECT name, next FROM sequence").fetchall())
