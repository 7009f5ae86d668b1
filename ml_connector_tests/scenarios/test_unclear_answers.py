"""F02, F03, F05, F06, F14: Procore says nothing, too late, too slowly, or that it is there already: one invoice, once."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client
from ml_connector.store import ledger
from ml_connector.transport.session import Bounds
from ml_connector.transport.wire import Timeouts
from ml_connector_tests.rig import Rig, line
from ml_connector_tests.scenarios.invariants import invariants
from ml_connector_tests.scenarios.test_kill_points import firm_with_contracts
from ml_connector_tests.scenarios.test_outages import waits_pass
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, sub

POST, LIST = "POST */requisitions", "GET */requisitions"
SERVER_WORKS = 1.6


@pytest.fixture
def rig(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The firm with two contracts."""
    opened = firm_with_contracts(tmp_path, database)
    try:
        yield opened
        invariants(opened)
    finally:
        opened.close()


def unclear(rig: Rig) -> int:
    with rig.engine.connect() as db:
        return ledger.count_unclear(db, rig.name)


def due(rig: Rig) -> list[str]:
    """What each invoice is worth."""
    return sorted(invoice["current_payment_due"] for invoice in rig.procore.live("requisitions"))


@pytest.mark.parametrize(
    "silence",
    [
        {"fault": "delay", "args": {"seconds": 3, "when": "after"}},
        {"fault": "drip", "args": {"bytes_per_second": 20}},
    ],
    ids=["F02 no answer", "F03 one byte after the other"],
)
def test_F02_F03_a_write_without_a_whole_answer_is_cut_at_the_total_deadline_and_looked_up(
    rig: Rig, measured: Callable[[str], None], silence: dict[str, Any]
) -> None:
    bill = rig.bookkeeper.bill("BE-14", [sub(9000)], vendor=BRIGHT)
    rig.read()
    rig.procore.fault({"route": POST, "nth": 1, **silence})
    bounds = Bounds(timeouts=Timeouts(connect=1.0, read=1.0, total=1.0), patience=0.0)
    client, run = procore_client(rig.home, rig.connection, rig.engine, bounds=bounds), rig.run(rig.dirty())
    work.map_days(rig.engine, rig.connection, run, lambda: client)
    began = time.monotonic()
    work.post(rig.engine, rig.connection, run, client, work.KINDS)
    held = time.monotonic() - began
    assert (rig.record("Bill", bill["Id"]).state, unclear(rig)) == ("retrying", 1)
    rig.procore.no_faults()
    rig.settle()
    assert (due(rig), rig.record("Bill", bill["Id"]).state) == (["9000.00"], "posted")
    measured(f"F02/F03 {silence['fault']}: a run held {held:.1f} s at a deadline of 1 s")


def test_F05_procore_that_is_still_working_when_we_give_up_is_not_looked_up_too_early(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    rig.configure(timing={"settle": 2})
    late = {"fault": "work_after_disconnect", "args": {"seconds": SERVER_WORKS}}
    rig.procore.fault({"route": POST, **late}, {"route": "PATCH */direct_costs/sync", "nth": 1, **late})
    rig.bookkeeper.bill("BE-14", [sub(9000)], vendor=BRIGHT)
    rig.bookkeeper.bill("BE-15", [sub(500, "second floor")], vendor=BRIGHT)
    cost = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.read()
    rig.post(rig.dirty())
    assert unclear(rig) == 3
    mark = rig.procore.mark()
    rig.post()
    early = [entry for entry in rig.procore.journal(mark) if entry["method"] != "GET" and not entry["fault"]]
    assert early == [], "what may still be under way is left alone"
    time.sleep(2.1)
    rig.procore.no_faults()
    waits_pass(rig)
    mark = rig.procore.mark()
    rig.settle()
    assert [
        call for call in rig.procore.writes(mark) if call.startswith("POST") and "requisitions" in call
    ] == []
    assert due(rig) == ["500.00", "9000.00"]
    assert rig.cost_of(cost["Id"])["grand_total"] == "1250.00"
    measured(f"F05 3 writes that Procore did {SERVER_WORKS} s later: {len(due(rig)) - 2} doubles")


@pytest.mark.parametrize(
    ("blind", "refused"),
    [
        ({"fault": "status", "args": {"status": 404}}, []),
        ({"fault": "status", "args": {"status": 403}}, []),
        ({"fault": "search_lag", "args": {"seconds": 300}}, [422]),
    ],
    ids=["404", "403", "the search lags"],
)
def test_F06_a_look_that_proves_nothing_makes_no_second_invoice(
    rig: Rig, measured: Callable[[str], None], blind: dict[str, Any], refused: list[int]
) -> None:
    rig.procore.fault({"route": POST, "nth": 1, "fault": "accept_then_drop"})
    bill = rig.bookkeeper.bill("BE-14", [sub(9000)], vendor=BRIGHT)
    rig.read()
    rig.post(rig.dirty())
    rig.procore.fault({"route": LIST, **blind})
    mark = rig.procore.mark()
    for _ in range(3):
        waits_pass(rig)
        rig.post(rig.dirty())
    writes = [entry["status"] for entry in rig.procore.journal(mark) if entry["method"] != "GET"]
    assert writes == refused, (
        "a search that lags cannot be told from one that is right: Procore knows the link"
    )
    assert due(rig) == ["9000.00"]
    assert rig.record("Bill", bill["Id"]).state == "held"
    rig.procore.no_faults()
    rig.post(automatic=False)
    assert (due(rig), unclear(rig), rig.holds()) == (["9000.00"], 0, [])
    measured(f"F06 list: {blind['args']}: 3 looks, 0 doubles")


def test_F14_a_refusal_because_it_is_there_already_is_held_and_adopted_when_it_is_ours(rig: Rig) -> None:
    body = {"errors": {"origin_id": ["has already been taken"]}}
    taken = {"fault": "status", "args": {"status": 422, "processed": True, "body": body}}
    rig.procore.fault({"route": POST, "nth": 1, **taken})
    bill = rig.bookkeeper.bill("BE-14", [sub(9000)], vendor=BRIGHT)
    rig.sync()
    rig.procore.no_faults()
    mark = rig.procore.mark()
    rig.post(automatic=False)
    assert (due(rig), rig.record("Bill", bill["Id"]).state, rig.holds()) == (["9000.00"], "posted", [])
    assert not any(call.startswith("POST") for call in rig.procore.writes(mark))
