"""F08: what is no answer is an error, and never an empty day."""

from collections.abc import Mapping
from typing import Any

import pytest

from ml_connector.errors import PermanentError, TransientError
from ml_connector.qbo.models import Entity
from ml_connector_tests.reading.desk import (
    clean,
    live_bills,
    patient_client,
    raw_bill,
    read_to,
    reader,
    versions,
)
from ml_connector_tests.rig import Rig, line, today

FAULT_200 = {
    "CDCResponse": [
        {"Fault": {"Error": [{"Message": "System Failure Error", "code": "10000"}], "type": "SystemFault"}}
    ],
    "time": "2026-11-22T08:00:00.000-08:00",
}
REFUSAL_200 = {
    "Fault": {"Error": [{"Message": "no", "code": "4000"}], "type": "ValidationFault"},
    "time": "x",
}
FORBIDDEN = {
    "Fault": {"Error": [{"Message": "Permission Denied Error", "code": "5020"}], "type": "ValidationFault"},
    "time": "x",
}
NO_BLOCK = {"time": "2026-11-22T08:00:00.000-08:00"}
ODD_ROWS = {
    "CDCResponse": [{"QueryResponse": [{"Bill": {"Id": "1"}}]}],
    "time": "2026-11-22T08:00:00.000-08:00",
}
XML_500 = "<?xml version='1.0'?><IntuitResponse><Fault><Error code='10000'/></Fault></IntuitResponse>"


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"fault": "status", "args": {"status": 200, "body": FAULT_200}}, TransientError),
        ({"fault": "status", "args": {"status": 200, "body": REFUSAL_200}}, PermanentError),
        ({"fault": "status", "args": {"status": 200, "body": NO_BLOCK}}, PermanentError),
        ({"fault": "status", "args": {"status": 200, "body": ODD_ROWS}}, PermanentError),
        ({"fault": "status", "args": {"status": 500, "body": XML_500}}, TransientError),
        ({"fault": "status", "args": {"status": 403, "body": FORBIDDEN}}, PermanentError),
        ({"fault": "body", "args": {"kind": "html"}}, TransientError),
        ({"fault": "body", "args": {"kind": "xml"}}, TransientError),
        ({"fault": "body", "args": {"kind": "empty"}}, TransientError),
        ({"fault": "body", "args": {"kind": "malformed"}}, TransientError),
        ({"fault": "truncate", "args": {"bytes": 40}}, TransientError),
    ],
    ids=[
        "system fault in 200",
        "refusal in 200",
        "no block",
        "a row instead of rows",
        "XML error",
        "forbidden",
        "HTML",
        "XML in 200",
        "empty 200",
        "malformed",
        "cut off",
    ],
)
def test_F08_what_is_no_answer_is_an_error_and_never_an_empty_day(
    rig: Rig, rule: Mapping[str, Any], error: type[Exception]
) -> None:
    rig.read()
    clean(rig)
    before = read_to(rig)
    (rig.home.inbox / "acme__20261122T080000Z__0123456789abcdef.json").write_text("{}")
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.qbo.fault({"route": "GET */cdc", **rule})
    with pytest.raises(error):
        reader(rig, client=patient_client(rig, [])).read([today()])
    assert read_to(rig) == before
    assert versions(rig, bill["Id"]) == []
    assert len(list(rig.home.inbox.iterdir())) == 1, "the hint waits for the next run"
    rig.qbo.no_faults()
    assert rig.read().files == 1
    assert len(versions(rig, bill["Id"])) == 1


def test_an_outage_in_the_middle_of_a_walk_keeps_the_pages_and_not_the_cursor(rig: Rig) -> None:
    rig.read()
    before = read_to(rig)
    rig.qbo.load(Bill=[raw_bill(number) for number in range(1, 1201)])
    rig.qbo.fault({"route": "GET */query", "fault": "status", "args": {"status": 503}})
    with pytest.raises(TransientError) as failure:
        reader(rig, client=patient_client(rig, [])).read([today()])
    assert failure.value.not_before is not None
    assert read_to(rig) == before
    rig.qbo.no_faults()
    assert rig.read().new[Entity.BILL] == 200
    assert len(live_bills(rig)) == 1200
