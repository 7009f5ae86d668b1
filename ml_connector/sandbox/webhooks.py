"""QuickBooks' webhooks: signed posts about changes, with loss, disorder, delay and forgery on demand.

Events wait in memory and are lost when the sandbox is killed, as the vendor gives no promise either; the
settings survive. Targets are loopback addresses only.
"""

import base64
import hashlib
import hmac
import json
import random
import secrets
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from ml_connector.sandbox.qbo.company import Change

_DEFAULTS: dict[str, Any] = {
    "target": "",
    "verifier_token": "sandbox-verifier-token",
    "form": "cloudevents",
    "void_verb": "void",
    "duplicates": 0,
    "shuffle": False,
    "seed": 1,
    "lose_every": 0,
    "delay_seconds": 0.0,
    "batch_seconds": 0.0,
    "retry_seconds": [0.2, 1.0, 3.0],
    "forge": "none",
    "paused": False,
    "size": 0,
    "extra_realms": [],
}
_CHOICES = {
    "form": ("cloudevents", "legacy"),
    "void_verb": ("void", "voided"),
    "forge": ("none", "bad_signature", "altered_body", "no_signature"),
}
_LEGACY_OPERATIONS = {
    "created": "Create",
    "updated": "Update",
    "deleted": "Delete",
    "merged": "Merge",
    "void": "Void",
}
_ANSWER_SECONDS = 10.0
_FLUSH_SECONDS = 60.0
_ENOUGH_EVENTS = 1000


def signature(body: bytes, verifier_token: str) -> str:
    """`intuit-signature`: base64 of HMAC-SHA256 over the raw body."""
    return base64.b64encode(hmac.new(verifier_token.encode(), body, hashlib.sha256).digest()).decode()


@dataclass
class _Waiting:
    change: Change
    ready: float
    due: float


@dataclass
class _Counters:
    announced: int = 0
    lost: int = 0
    posts: int = 0
    sent: int = 0
    failed: int = 0
    statuses: dict[str, int] = field(default_factory=dict)


class Webhooks:
    """Takes changes from the vendor and posts them from a thread of its own."""

    def __init__(self, path: Path | None = None) -> None:
        """Take up the settings that the file tells, if it is there."""
        self._path = path
        self._settings = dict(_DEFAULTS)
        self._counters = _Counters()
        self._queue: list[_Waiting] = []
        self._busy = False
        self._hurry = False
        self._stopped = False
        self._wake = threading.Condition()
        self._dice = random.Random(self._settings["seed"])
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy from the environment would leave loopback
        if path is not None and path.exists():
            self.set(json.loads(path.read_text(encoding="utf-8")))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to post."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the post in hand."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(_ANSWER_SECONDS)
        self._session.close()

    def announce(self, change: Change) -> None:
        """Queue a change, if there is a target."""
        with self._wake:
            if not self._settings["target"]:
                return
            self._counters.announced += 1
            every = self._settings["lose_every"]
            if every and self._counters.announced % every == 0:
                self._counters.lost += 1
                return
            ready = time.monotonic() + self._settings["delay_seconds"]
            for _ in range(1 + self._settings["duplicates"]):
                self._queue.append(_Waiting(change, ready, ready + self._settings["batch_seconds"]))
            self._wake.notify_all()

    def set(self, order: Any) -> dict[str, Any]:
        """Change settings, the rest stay. Raises ValueError for unknown names and a target off loopback."""
        if not isinstance(order, Mapping) or set(order) - set(_DEFAULTS):
            raise ValueError(f"settings are {sorted(_DEFAULTS)}")
        checked = {name: _checked(name, value) for name, value in order.items()}
        with self._wake:
            self._settings.update(checked)
            self._dice = random.Random(self._settings["seed"])
            if self._path is not None:
                draft = self._path.with_suffix(".tmp")
                draft.write_text(json.dumps(self._settings), encoding="utf-8")
                draft.replace(self._path)
            self._wake.notify_all()
        return self.state()

    def state(self) -> dict[str, Any]:
        """The settings, and `counters`: events announced, lost, sent, failed, pending; posts by status."""
        with self._wake:
            pending = len(self._queue) + self._busy
            return {**self._settings, "counters": {**vars(self._counters), "pending": pending}}

    def flush(self) -> dict[str, Any]:
        """Post what waits without its delay and return once it is sent or given up."""
        with self._wake:
            self._hurry = True
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._idle() or self._settings["paused"], _FLUSH_SECONDS)
            self._hurry = False
        return self.state()

    def forget(self) -> None:
        """Drop what waits and go back to the default settings."""
        with self._wake:
            self._queue.clear()
            self._counters = _Counters()
        self.set(_DEFAULTS)

    def _idle(self) -> bool:
        return not self._queue and not self._busy

    def _run(self) -> None:
        while True:
            with self._wake:
                batch = self._next_batch()
                if batch is None:
                    return
                settings = {**self._settings}
                self._busy = True
            delivered = self._deliver([waiting.change for waiting in batch], settings)
            with self._wake:
                self._busy = False
                if delivered:
                    self._counters.sent += len(batch)
                else:
                    self._counters.failed += len(batch)
                self._wake.notify_all()

    def _next_batch(self) -> list[_Waiting] | None:
        """Wait for events that are due; None when it is time to end."""
        while not self._stopped:
            now = time.monotonic()
            due = min((waiting.due for waiting in self._queue), default=None)
            if due is None or self._settings["paused"]:
                self._wake.wait()
            elif self._hurry or due <= now:
                batch = [waiting for waiting in self._queue if self._hurry or waiting.ready <= now]
                batch = batch[:_ENOUGH_EVENTS]
                taken = {id(waiting) for waiting in batch}
                self._queue = [waiting for waiting in self._queue if id(waiting) not in taken]
                if self._settings["shuffle"]:
                    self._dice.shuffle(batch)
                return batch
            else:
                self._wake.wait(due - now)
        return None

    def _deliver(self, changes: list[Change], settings: Mapping[str, Any]) -> bool:
        body = _body(changes, settings)
        for pause in (*settings["retry_seconds"], None):
            if self._post(body, settings, at=changes[0].at):
                return True
            if pause is None:
                return False
            with self._wake:
                if self._wake.wait_for(lambda: self._stopped, pause):
                    return False
        return False

    def _post(self, body: bytes, settings: Mapping[str, Any], *, at: datetime) -> bool:
        token, forge = settings["verifier_token"], settings["forge"]
        headers = {
            "content-type": "application/json; charset=utf-8",
            "accept": "application/json",
            "user-agent": "intuit_notification_server/1.0",
            "intuit-created-time": f"{_utc(at):%Y-%m-%dT%H:%M:%S}+0000",
            "intuit-t-id": str(uuid.uuid4()),
            "intuit-notification-schema-version": "0.1",
        }
        if forge != "no_signature":
            wrong = secrets.token_hex(16) if forge == "bad_signature" else ""
            headers["intuit-signature"] = signature(body, wrong or token)
        if forge == "altered_body":
            body += b" "
        try:
            answer = self._session.post(
                settings["target"],
                data=body,
                headers=headers,
                timeout=_ANSWER_SECONDS,
                allow_redirects=False,
            )
            status = str(answer.status_code)
        except requests.RequestException as error:
            status = type(error).__name__
        with self._wake:
            self._counters.posts += 1
            self._counters.statuses[status] = self._counters.statuses.get(status, 0) + 1
        return status.startswith("2")


def _body(changes: list[Change], settings: Mapping[str, Any]) -> bytes:
    strangers = [
        Change(str(realm), "Bill", str(number), "updated", changes[0].at)
        for number, realm in enumerate(settings["extra_realms"], start=1)
    ]
    form = _cloud_events if settings["form"] == "cloudevents" else _legacy
    body = json.dumps(form(changes + strangers, settings), separators=(",", ":"))
    # Blanks are JSON all the same: the body gets its size without a change of meaning.
    return body.ljust(settings["size"]).encode()


def _cloud_events(changes: list[Change], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    events = []
    for change in changes:
        verb = settings["void_verb"] if change.verb == "void" else change.verb
        events.append(
            {
                "specversion": "1.0",
                "id": _event_id(change),
                "source": "intuit.dsnBgbseACLLRZNxo2dfc4evmEJdxde58xeeYcZliOU=",
                "type": f"qbo.{change.entity.lower()}.{verb}.v1",
                "datacontenttype": "application/json",
                "time": f"{_utc(change.at):%Y-%m-%dT%H:%M:%S.%f}517Z",
                "intuitentityid": change.id,
                "intuitaccountid": change.realm,
                "data": {},
            }
        )
    return events


def _legacy(changes: list[Change], settings: Mapping[str, Any]) -> dict[str, Any]:
    realms: dict[str, list[dict[str, Any]]] = {}
    for change in changes:
        entity = {
            "name": change.entity,
            "id": change.id,
            "operation": _LEGACY_OPERATIONS[change.verb],
            "lastUpdated": f"{_utc(change.at):%Y-%m-%dT%H:%M:%S}.000Z",
        }
        if change.deleted_id is not None:
            entity["deletedId"] = change.deleted_id
        realms.setdefault(change.realm, []).append(entity)
    notifications = [
        {"realmId": realm, "dataChangeEvent": {"entities": entities}} for realm, entities in realms.items()
    ]
    return {"eventNotifications": notifications}


def _event_id(change: Change) -> str:
    """The same change has the same id, however often it is posted."""
    told = f"{change.realm}/{change.entity}/{change.id}/{change.verb}/{change.at.isoformat()}"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, told))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _checked(name: str, value: Any) -> Any:
    """The value in the type of its default; JSON numbers come as Decimal. Raises ValueError."""
    default = _DEFAULTS[name]
    try:
        if isinstance(default, list):
            made: Any = [float(item) if name == "retry_seconds" else str(item) for item in value]
        else:
            made = type(default)(value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{name} is like {default!r}") from error
    if name in _CHOICES and made not in _CHOICES[name]:
        raise ValueError(f"{name} is one of {_CHOICES[name]}")
    if name == "target" and made:
        _check_loopback(made)
    return made


def _check_loopback(target: str) -> None:
    parts = urlsplit(target)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https"):
        raise ValueError("the target is an http address")
    if host == "localhost":
        return
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"{host!r} is not a loopback address; webhooks go nowhere else")
