"""The answers of a whole working day in QuickBooks have the keys and types of recorded answers.

The sandbox's own tests hold single answers against single samples. Here all that the bookkeeper and ml-connector
are answered is held against all samples of an entity at once: no key that none has, every key that all have.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest

from ml_connector_tests.contract.recording import Recording
from ml_connector_tests.rig import Bookkeeper, Problem, Rig, call, line
from ml_connector_tests.sandbox.conftest import Samples
from ml_connector_tests.sandbox.test_qbo_shapes import differences

WRITTEN = ("Bill", "BillPayment", "Vendor")
DELETED = {"domain": "QBO", "status": "Deleted", "Id": "1"}
DELETED_IN_CDC = {**DELETED, "MetaData": {"LastUpdatedTime": "2026-05-01T00:00:00-07:00"}}
Shape = Any


def records_of(body: Any, entity: str) -> Iterator[dict[str, Any]]:
    """The whole records of an entity anywhere in a body, each once for every line it has."""
    if isinstance(body, list):
        for held in body:
            yield from records_of(held, entity)
    elif isinstance(body, dict):
        for name, held in body.items():
            rows = held if isinstance(held, list) else [held]
            if name != entity or not all(isinstance(row, dict) for row in rows):
                yield from records_of(held, entity)
                continue
            for row in rows:
                if "SyncToken" in row:
                    yield from ({**row, "Line": [one]} for one in row["Line"]) if row.get("Line") else [row]


def either(one: Shape, other: Shape) -> Shape:
    """A shape with the keys of both."""
    if isinstance(one, dict) and isinstance(other, dict):
        shared = {name: either(one[name], other[name]) for name in one.keys() & other.keys()}
        return {**one, **other, **shared}
    if isinstance(one, list) and isinstance(other, list):
        return [reduce(either, one + other)] if one + other else []
    return one


def both(one: Shape, other: Shape) -> Shape:
    """A shape with the keys that stand in both, on the first level."""
    return {name: one[name] for name in one.keys() & other.keys()}


def troubles(known: list[dict[str, Any]], got: dict[str, Any]) -> list[str]:
    """What a record has that no sample has, or lacks that every sample has."""
    widest, least = reduce(either, known), reduce(both, known)
    strange = [word for word in differences(widest, got) if not word.endswith(" is missing")]
    return strange + [f"{name} is missing" for name in sorted(least.keys() - got.keys())]


@pytest.fixture
def known(samples: Samples) -> dict[str, list[dict[str, Any]]]:
    """Every record of the samples, by entity."""
    bodies = [samples[path.stem] for path in sorted(samples.folder.glob("*.json"))]
    answers = [body for body in bodies if isinstance(body, dict) and "BatchItemRequest" not in body]
    return {entity: list(records_of(answers, entity)) for entity in WRITTEN}


@pytest.fixture
def day(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, Any]]:
    """(path and query, status, body) of all answers of one day in the books, ml-connector's reading included."""
    recorded = Recording()
    recorded.attach(rig.qbo_server, monkeypatch)
    _work(rig.bookkeeper)
    rig.sync()
    _ask(rig.bookkeeper)
    return [
        (f"{request.path}?{dict(request.query)}", answer.status, answer.body)
        for request, answer in recorded.exchanges
        if "/v3/" in request.path
    ]


def _work(books: Bookkeeper) -> None:
    books.vendor("Señor Concreto", CompanyName="Concreto", PrimaryPhone={"FreeFormNumber": "555"})
    lines = [line("1250.00", item="101", quantity="10", unit_price="125"), line("99.95", class_name="Labor")]
    bill = books.bill("4471", lines, PrivateNote="two loads")
    part = books.pay(bill, "49.95")
    books.edit("Bill", bill, PrivateNote="three loads")
    rest = books.pay(bill, "1300.00", number="2232")
    voided = {"Id": rest["Id"], "SyncToken": rest["SyncToken"], "sparse": True}
    books.post("billpayment?operation=update&include=void", voided)
    books.delete("BillPayment", part)
    books.delete("Bill", books.bill("4472", [line("1.00", item="101")]))
    other = [{"bId": "1", "operation": "create", "Vendor": {"DisplayName": "Batch & Co"}}]
    other.append({"bId": "2", "operation": "create", "Vendor": {"DisplayName": "granite supply"}})
    other.append({"bId": "3", "operation": "create", "Bill": {"VendorRef": {"value": "21"}, "Line": lines}})
    books.post("batch", {"BatchItemRequest": other})


def _ask(books: Bookkeeper) -> None:
    since = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    url, headers = f"{books.url}/v3/company/{books.realm}", books._headers()
    call("GET", f"{url}/cdc?entities=Bill,BillPayment,Vendor&changedSince={since}", headers=headers)
    for entity in WRITTEN:
        call("GET", f"{url}/query?query=select%20*%20from%20{entity}", headers=headers)
    for wrong in ("bill/987", "query?query=select", "query?query=select%20*%20from%20Nothing"):
        with pytest.raises(Problem):
            call("GET", f"{url}/{wrong}", headers=headers)
    with pytest.raises(Problem):
        books.vendor("Granite Supply")


@pytest.mark.parametrize("entity", WRITTEN)
def test_records_have_the_keys_and_types_of_the_samples_of_their_entity(
    day: list[tuple[str, int, Any]], known: dict[str, list[dict[str, Any]]], entity: str
) -> None:
    loaded = {"21", "22", "23", "24"} if entity == "Vendor" else set()
    found = [
        (path, row)
        for path, _, body in day
        for row in records_of(body, entity)
        if row["Id"] not in loaded  # the fixture firm's vendors were put in as they are, with few fields
    ]
    assert len(known[entity]) > 3
    assert len(found) > 5
    assert {path: troubles(known[entity], row) for path, row in found if troubles(known[entity], row)} == {}


def test_envelopes_tombstones_and_faults_have_the_form_of_the_samples(
    day: list[tuple[str, int, Any]], samples: Samples
) -> None:
    sorts = dict.fromkeys(("query", "cdc", "batch", "fault", "deleted", "one"), 0)
    for path, status, body in day:
        sort = _sort(path, status, body)
        sorts[sort] += 1
        assert _against(samples, sort, body) == [], path
    assert min(sorts.values()) > 0, sorts


def _sort(path: str, status: int, body: Any) -> str:
    if status != 200:
        return "fault"
    for name in ("query", "cdc", "batch"):
        if f"/{name}?" in path:
            return name
    (record,) = (held for name, held in body.items() if name != "time")
    return "deleted" if record.get("status") == "Deleted" else "one"


def _against(samples: Samples, sort: str, body: Any) -> list[str]:
    """Where the parts of an answer that are not records differ from the samples."""
    if sort == "fault":
        return _less_element(differences(samples["fault-610-not-found"], body))
    if sort == "deleted":
        (entity,) = body.keys() - {"time"}
        return differences({entity: DELETED, "time": ""}, body)
    if sort == "query":
        head = {name: held for name, held in body["QueryResponse"].items() if not isinstance(held, list)}
        paging = samples["bill-query"]["QueryResponse"]
        strange = differences({"QueryResponse": {}, "time": ""}, {**body, "QueryResponse": {}})
        return strange + [word for word in differences(paging, head) if not word.endswith(" is missing")]
    if sort == "cdc":
        (response,) = body["CDCResponse"]
        rows = [
            row
            for block in response["QueryResponse"]
            for rows in block.values()
            if isinstance(rows, list)
            for row in rows
        ]
        gone = [word for row in rows if "SyncToken" not in row for word in differences(DELETED_IN_CDC, row)]
        return gone + differences({"CDCResponse": [{"QueryResponse": []}], "time": ""}, body)
    if sort == "batch":
        fault = samples["batch-response-faults"]["BatchItemResponse"][0]
        items = body["BatchItemResponse"]
        return [word for item in items if "Fault" in item for word in _less_element(differences(fault, item))]
    return [] if isinstance(body["time"], str) else ["time is no text"]


def _less_element(words: list[str]) -> list[str]:
    """`element` may be there or not (facts page 13)."""
    return [word for word in words if ".element is " not in word]


@pytest.mark.parametrize(
    ("got", "word"),
    [
        ({"Id": "1", "Line": [{"Amount": 1}], "Made": "up"}, ".Made is too much"),
        ({"Id": "1", "Line": [{"Amount": "1"}]}, ".Line[0].Amount is str, sample has number"),
        ({"Line": []}, "Id is missing"),
    ],
)
def test_the_comparison_sees_what_is_strange_and_what_is_missing(got: dict[str, Any], word: str) -> None:
    samples = [{"Id": "1", "Line": [{"Amount": 2}]}, {"Id": "2", "Line": [{"Amount": 1}], "Note": "x"}]
    assert troubles(samples, got) == [word]
    assert troubles(samples, {"Id": "3", "Line": []}) == []
