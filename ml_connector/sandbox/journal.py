"""The record of every request that reached a server: JSON lines on disk, one file per vendor.

It is the ground an independent check stands on, so an entry is on its way to disk before the answer leaves.
"""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ml_connector.sandbox.wire import BadBody, Request, Response

_ID_SEGMENT = re.compile(r"(?<=/)[0-9]+(?=/|$)")
_TOKEN_PATHS = ("/oauth2/v1/tokens/bearer", "/oauth/token")

Entry = dict[str, Any]


class Journal:
    """One vendor's journal; entry numbers go on after a restart. Safe for threads."""

    def __init__(self, path: Path, *, vendor: str) -> None:
        """Open or create the file; a last line that a kill cut off is removed."""
        self._vendor = vendor
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        whole = 0
        if path.exists():
            raw = path.read_bytes()
            whole = raw.rfind(b"\n") + 1
            self._entries = [json.loads(line) for line in raw[:whole].splitlines()]
        self._file = path.open("ab")
        self._file.truncate(whole)

    def add(
        self, request: Request, response: Response, *, at: str, processed: bool, fault: str | None
    ) -> None:
        """Note a request. A response with status 0 never left; its status is journalled as null."""
        with self._lock:
            entry = {
                "n": len(self._entries) + 1,
                "at": at,
                "vendor": self._vendor,
                "method": request.method,
                "path": request.path,
                "query": urlencode(request.query),
                "status": response.status or None,
                "records": response.records,
                "body_sha256": hashlib.sha256(request.body).hexdigest(),
                "origin_ids": _origin_ids(request),
                "outcome": response.outcome,
                "processed": processed,
                "fault": fault,
            }
            self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
            self._entries.append(entry)

    def since(self, number: int) -> list[Entry]:
        """The entries after this number, oldest first."""
        return self._entries[max(number, 0) :]

    def calls(self, number: int) -> dict[str, Any]:
        """`{"by_route": {"GET /path/{id}": n}, "total": n, "token": n}` after this number.

        `total` leaves out the calls of the token endpoint.
        """
        routes = Counter(
            f"{entry['method']} {_ID_SEGMENT.sub('{id}', entry['path'])}" for entry in self.since(number)
        )
        token = sum(count for route, count in routes.items() if route.endswith(_TOKEN_PATHS))
        return {"by_route": dict(sorted(routes.items())), "total": routes.total() - token, "token": token}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _origin_ids(request: Request) -> list[str]:
    if b"origin_id" not in request.body:
        return []
    try:
        return list(_strings_at("origin_id", request.json()))
    except BadBody:
        return []


def _strings_at(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            yield value[key]
        for held in value.values():
            yield from _strings_at(key, held)
    elif isinstance(value, list):
        for held in value:
            yield from _strings_at(key, held)
