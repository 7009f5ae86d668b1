"""Parsing of webhook bodies: both forms, and everything that is in neither."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.qbo.webhooks import Event, RealmEvents, WebhookFormatError, parse_notification


def legacy(**entity: object) -> bytes:
    change = {"entities": [{"name": "Vendor", "id": "46", "operation": "Merge", **entity}]}
    return json.dumps({"eventNotifications": [{"realmId": "1", "dataChangeEvent": change}]}).encode()


def cloud(**fields: object) -> bytes:
    event = {"type": "qbo.bill.updated.v1", "intuitentityid": "310", "intuitaccountid": "1"}
    return json.dumps([event | fields]).encode()


def test_S95_a_legacy_merge_names_the_loser() -> None:
    at = datetime(2026, 2, 3, 17, 20, 5, tzinfo=UTC)
    merge = Event("Vendor", "46", "merged", at, "58")
    assert parse_notification(legacy(lastUpdated="2026-02-03T17:20:05.000Z", deletedId="58")) == [
        RealmEvents("1", (merge,))
    ]


@pytest.mark.parametrize(
    "spelling", ["2015-10-05T21:42:19Z", "2015-10-05T14:42:19-0700", "2015-10-05T14:42:19-07:00"]
)
def test_S95_every_spelling_of_an_instant_is_the_same_instant(spelling: str) -> None:
    for raw in (legacy(lastUpdated=spelling), cloud(time=spelling)):
        assert parse_notification(raw)[0].events[0].at == datetime(2015, 10, 5, 21, 42, 19, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "entity", "verb"),
    [
        ("qbo.billpayment.void.v1", "BillPayment", "voided"),
        ("qbo.billpayment.voided.v1", "BillPayment", "voided"),
        ("qbo.vendorcredit.deleted.v1", "VendorCredit", "deleted"),
        ("qbo.spaceship.launched.v2", "spaceship", "launched"),
        ("com.example.odd", "com.example.odd", ""),
    ],
)
def test_S95_types_are_named_as_in_the_api_and_unknown_ones_are_kept(
    kind: str, entity: str, verb: str
) -> None:
    event = parse_notification(cloud(type=kind))[0].events[0]
    assert (event.entity, event.verb, event.at) == (entity, verb, None)


def test_events_are_grouped_by_company_in_the_order_of_first_sight() -> None:
    order = [("2", "a"), ("1", "b"), ("2", "c")]
    events = [json.loads(cloud(intuitaccountid=realm, intuitentityid=bill))[0] for realm, bill in order]
    parts = parse_notification(json.dumps(events).encode())
    found = [(part.realm_id, [event.entity_id for event in part.events]) for part in parts]
    assert found == [("2", ["a", "c"]), ("1", ["b"])]


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\xff", b"null", b"1", b"{}", b"[1]", b"[{}]", b'{"eventNotifications": {}}', b"[" * 100_000),
        *(cloud(time=bad) for bad in ("yesterday", "2026-05-19T23:40:02", 5, "0001-01-01T00:00:00+14:00")),
        *(cloud(intuitaccountid=None), cloud(intuitentityid=""), legacy(name=None), legacy(deletedId=[])),
    ],
    ids=lambda raw: raw[:60].decode(errors="replace"),
)
def test_what_is_in_neither_form_is_refused_without_its_content(raw: bytes) -> None:
    with pytest.raises(WebhookFormatError) as refused:
        parse_notification(raw)
    assert "yesterday" not in str(refused.value)


LEGACY = ["eventNotifications", "realmId", "dataChangeEvent", "entities", "name", "id", "operation"]
CLOUD = ["type", "intuitentityid", "intuitaccountid", "time"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(LEGACY + CLOUD), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_any_bytes_are_either_parsed_or_refused(raw: bytes) -> None:
    try:
        parts = parse_notification(raw)
    except WebhookFormatError:
        return
    assert all(part.realm_id for part in parts)
    assert len({part.realm_id for part in parts}) == len(parts)
