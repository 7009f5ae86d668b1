"""What a QBO webhook says, in either of its forms, and the check of its signature. Nothing else of QBO.

A webhook is a hint that a record changed, never the record: reading goes through CDC.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# CloudEvents write entities in lower case; these are the names of QBO's own API and of the legacy form.
_ENTITIES = {
    name.lower(): name
    for name in (
        *(
            "Account",
            "Bill",
            "BillPayment",
            "Budget",
            "ChangeOrder",
            "Class",
            "CompanyCurrency",
            "CreditMemo",
        ),
        *("Currency", "Customer", "Department", "Deposit", "Employee", "Estimate", "Invoice", "Item"),
        *(
            "JournalCode",
            "JournalEntry",
            "Payment",
            "PaymentMethod",
            "Preferences",
            "Purchase",
            "PurchaseOrder",
        ),
        *("RefundReceipt", "SalesReceipt", "TaxAgency", "Term", "TimeActivity", "Transfer", "Vendor"),
        "VendorCredit",
    )
}
_VERBS = {
    **{"create": "created", "update": "updated", "delete": "deleted", "merge": "merged"},
    **{"void": "voided", "emailed": "emailed"},
    **{verb: verb for verb in ("created", "updated", "deleted", "merged", "voided")},
}


class WebhookFormatError(ValueError):
    """The body is in neither form of a QBO webhook; the message names the place, never the content."""


@dataclass(frozen=True)
class Event:
    """One changed record. Unknown entities and verbs are kept as they came.

    `deleted_id` is the loser of a merge, where the form tells it; `at` is in UTC, to the microsecond.
    """

    entity: str
    entity_id: str
    verb: str
    at: datetime | None
    deleted_id: str | None


@dataclass(frozen=True)
class RealmEvents:
    """The events of one company, in the order of the post."""

    realm_id: str
    events: tuple[Event, ...]


def signature_matches(raw: bytes, signature: str, verifier_token: str) -> bool:
    """Whether `signature` is base64(HMAC-SHA256(raw body, verifier token)), compared in constant time.

    Source: Intuit, webhooks page, header `intuit-signature`.
    """
    expected = base64.b64encode(hmac.new(verifier_token.encode(), raw, hashlib.sha256).digest())
    return hmac.compare_digest(expected, signature.encode(errors="replace"))


def parse_notification(raw: bytes) -> list[RealmEvents]:
    """The events of each company in the post, in order of first sight. Raises WebhookFormatError.

    Takes CloudEvents (a JSON array with `intuitaccountid`, the form in force since 2026) and the legacy
    `eventNotifications` object. Source: Intuit, webhooks page.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise WebhookFormatError("the body is not JSON") from error
    by_realm: dict[str, list[Event]] = {}
    if isinstance(body, list):
        for place, item in enumerate(body):
            realm_id, event = _cloud_event(_object(item, f"[{place}]"), f"[{place}]")
            by_realm.setdefault(realm_id, []).append(event)
    else:
        notifications = _list(_object(body, "the body"), "eventNotifications", "the body")
        for place, item in enumerate(notifications):
            where = f"eventNotifications[{place}]"
            notification = _object(item, where)
            realm_id = _text(notification, "realmId", where)
            change = _object(notification.get("dataChangeEvent"), f"{where}.dataChangeEvent")
            events = by_realm.setdefault(realm_id, [])
            for number, entity in enumerate(_list(change, "entities", where)):
                events.append(_legacy_event(_object(entity, where), f"{where}.entities[{number}]"))
    return [RealmEvents(realm_id, tuple(events)) for realm_id, events in by_realm.items()]


def _cloud_event(item: Mapping[str, Any], where: str) -> tuple[str, Event]:
    kind = _text(item, "type", where)  # qbo.<entity>.<verb>.v1
    parts = kind.split(".")
    entity, verb = (parts[1], parts[2]) if len(parts) == 4 and parts[0] == "qbo" else (kind, "")
    event = Event(
        entity=_ENTITIES.get(entity.lower(), entity),
        entity_id=_text(item, "intuitentityid", where),
        verb=_VERBS.get(verb.lower(), verb),
        at=_instant(item.get("time"), where),
        deleted_id=None,
    )
    return _text(item, "intuitaccountid", where), event


def _legacy_event(item: Mapping[str, Any], where: str) -> Event:
    entity, verb = _text(item, "name", where), _text(item, "operation", where)
    return Event(
        entity=_ENTITIES.get(entity.lower(), entity),
        entity_id=_text(item, "id", where),
        verb=_VERBS.get(verb.lower(), verb),
        at=_instant(item.get("lastUpdated"), where),
        deleted_id=_text(item, "deletedId", where) if item.get("deletedId") is not None else None,
    )


def _instant(value: object, where: str) -> datetime | None:
    """A time in any of Intuit's spellings (Z, -0700, -08:00, up to nine digits of a second), in UTC."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        if at is not None and at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WebhookFormatError(f"{where}: the time cannot be read") from error
    raise WebhookFormatError(f"{where}: the time is not an instant with a zone")


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise WebhookFormatError(f"{where} is not an object")
    return value


def _list(holder: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = holder.get(key)
    if not isinstance(value, list):
        raise WebhookFormatError(f"{where}.{key} is not a list")
    return value


def _text(holder: Mapping[str, Any], key: str, where: str) -> str:
    value = holder.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise WebhookFormatError(f"{where}.{key} is not a text")
    return value
