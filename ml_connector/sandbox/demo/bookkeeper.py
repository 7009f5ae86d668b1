"""The bookkeeper at work: what the demo firm enters live goes through QuickBooks' own HTTP API, in bursts."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection  # noqa: TID251 - the bookkeeper stands beside the product
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlencode, urlsplit

from ml_connector.sandbox.demo.bills import Entry
from ml_connector.sandbox.demo.changes import Change
from ml_connector.sandbox.demo.firm import DemoFirm
from ml_connector.sandbox.demo.payments import PAYMENT
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import parse_json, write_json

_BURSTS = (1, 6, 2, 9, 4, 1, 7)
_HANDS = 4
_SECONDS = 30.0
CALLS_A_CHANGE = 2
_OPERATIONS = {
    "void": {"operation": "update", "include": "void"},
    "edit": {"operation": "update"},
    "delete": {"operation": "delete"},
}


class EntryRefused(RuntimeError):
    """QuickBooks did not take a record; the message has key, status and answer."""


@dataclass(frozen=True)
class Entered:
    """A record that stands in QBO. `at` is the answer's `time`: QuickBooks' own clock, UTC, milliseconds."""

    key: str
    entity: str
    id: str
    at: datetime


@dataclass(frozen=True)
class _Post:
    key: str
    entity: str
    body: Document
    twice: bool = False


def enter(
    base_url: str,
    *,
    authorization: Callable[[], str],
    demo: DemoFirm,
    progress: Callable[[Entered], None] = lambda entered: None,
    pace: float = 1.0,
) -> dict[str, Entered]:
    """Enter the live bills and credits, then the payments; returns what was entered, by key.

    `base_url` is `http://host:port` of the sandbox's accounting API, `authorization` gives the value of that
    header anew for each call, `pace` is the pause in seconds between bursts. `progress` is told of each
    record in the order of the demo, from the calling thread. Repeating on the same day enters nothing twice.
    Raises EntryRefused, OSError and http.client.HTTPException.
    """
    desk = _Desk(base_url, demo, authorization)
    records = desk.work(map(_of_entry, demo.entries), pace=pace, progress=progress)
    ids = _ids(demo, records)
    paying = (_Post(payment.key, PAYMENT, payment.request(ids)) for payment in demo.payments)
    return records | desk.work(paying, pace=pace, progress=progress)


def correct(
    base_url: str, *, authorization: Callable[[], str], demo: DemoFirm, entered: Mapping[str, Entered]
) -> int:
    """Void, edit and delete what the demo says, once all is `entered`; returns the number of calls.

    Raises EntryRefused, OSError and http.client.HTTPException.
    """
    desk, ids = _Desk(base_url, demo, authorization), _ids(demo, entered)
    for change in demo.changes:
        desk.change(change, ids[change.key])
    return CALLS_A_CHANGE * len(demo.changes)


def _ids(demo: DemoFirm, entered: Mapping[str, Entered]) -> dict[str, str]:
    """QBO Ids by key; the history goes by its Ids."""
    history = {key: key for key in demo.expectations if key.isdigit()}
    return history | {key: record.id for key, record in entered.items()}


def bursts(items: Iterable[_Post]) -> Iterable[Sequence[_Post]]:
    """The items in groups of uneven size, as a busy morning brings them."""
    rest = iter(items)
    for size in cycle(_BURSTS):
        burst = list(islice(rest, size))
        if not burst:
            return
        yield burst


def _of_entry(entry: Entry) -> _Post:
    return _Post(entry.key, entry.entity, entry.body, entry.draft.twice)


class _Desk:
    def __init__(self, base_url: str, demo: DemoFirm, authorization: Callable[[], str]) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port
        self._demo = demo
        self._authorization = authorization

    def work(
        self, posts: Iterable[_Post], *, pace: float, progress: Callable[[Entered], None]
    ) -> dict[str, Entered]:
        done = {}
        with ThreadPoolExecutor(_HANDS) as hands:
            for number, burst in enumerate(bursts(posts)):
                if number:
                    time.sleep(pace)
                for entered in hands.map(self._enter, burst):
                    done[entered.key] = entered
                    progress(entered)
        return done

    def change(self, change: Change, id: str) -> None:
        """Read a record and change the version that was read."""
        path = f"/v3/company/{self._demo.realm}/{change.entity.lower()}"
        what = f"{change.key} {change.entity}"
        current = self._call(what, "GET", f"{path}/{id}?minorversion=75")[change.entity]
        kept = {name: current[name] for name in ("Id", "SyncToken", "VendorRef")}
        query = urlencode({"minorversion": "75", **_OPERATIONS[change.act]})
        self._call(what, "POST", f"{path}?{query}", {**kept, "sparse": True, **change.body})

    def _enter(self, post: _Post) -> Entered:
        query = {"minorversion": "75", "requestid": f"{self._demo.today.isoformat()}-{post.key}"}
        if post.twice:
            query["include"] = "allowduplicatedocnum"
        path = f"/v3/company/{self._demo.realm}/{post.entity.lower()}?{urlencode(query)}"
        answer = self._call(f"{post.key} {post.entity}", "POST", path, post.body)
        at = datetime.fromisoformat(answer["time"]).astimezone(UTC)
        return Entered(post.key, post.entity, str(answer[post.entity]["Id"]), at)

    def _call(self, what: str, method: str, path: str, body: Document | None = None) -> Any:
        connection = HTTPConnection(self._host, self._port, timeout=_SECONDS)
        headers = {
            "Authorization": self._authorization(),
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        try:
            connection.request(method, path, None if body is None else write_json(body).encode(), headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        if response.status != 200:
            said = raw.decode("utf-8", "replace")[:500]
            raise EntryRefused(f"{what}: {response.status} {said}")
        return parse_json(raw)
