"""S107: a vendor that fails now here, now there."""

from contextlib import suppress

from sqlalchemy import update

from ml_connector.errors import TransientError
from ml_connector.store.tables import dirty_window
from ml_connector_tests.rig import Rig, line


def test_S107_with_every_fifth_call_failing_everything_arrives_once(rig: Rig) -> None:
    rig.configure(timing={"patience": 20})
    rig.sync()
    busy = {"every": 20, "fault": "status", "args": {"status": 503, "retry_after": 1}}
    rig.procore.fault(
        {"route": "* /rest/*", **busy},
        {"route": "GET /rest/*", "probability": 0.2, "seed": 7, "fault": "drop"},
        {"route": "POST /rest/*", "probability": 0.2, "seed": 11, "fault": "accept_then_drop"},
        {"route": "PATCH /rest/*", "probability": 0.2, "seed": 13, "fault": "accept_then_drop"},
    )
    rig.qbo.fault({"route": "GET /v3/*", "probability": 0.2, "seed": 17, "fault": "reset"})
    mark = rig.procore.mark()
    bills = [
        rig.bookkeeper.bill(f"S-{number}", [line("10.00", item="101", customer=customer)], vendor=vendor)
        for number, (customer, vendor) in enumerate([("61", "21"), ("62", "22"), ("61", "23"), ("62", "24")])
    ]
    rig.read()
    for _ in range(10):
        with rig.engine.begin() as db:
            db.execute(update(dirty_window).values(not_before=None))
        if not rig.dirty():
            break
        with suppress(TransientError):  # a run that gives up leaves its day for the next one
            rig.settle()
    failed = [entry for entry in rig.procore.journal(mark) if entry["fault"]]
    assert len(failed) >= 5, "the storm was one"
    rig.procore.no_faults()
    rig.qbo.no_faults()
    assert rig.holds() == []
    assert [rig.record("Bill", bill["Id"]).state for bill in bills] == ["posted"] * len(bills)
    assert len(rig.direct_costs()) == len(bills)
    vendors = [vendor["name"] for vendor in rig.procore.live("vendors")]
    assert len(vendors) == len(set(vendors)), "a look-up that failed is no vendor that is missing"
