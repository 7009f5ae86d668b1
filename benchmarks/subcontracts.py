"""Subject `subcontracts`: what 1,000 bills on 40 commitments and 600 payments of them cost in calls and seconds."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import firm
from benchmarks.ground import Ground, open_ground
from benchmarks.report import Figure, Report
from benchmarks.stage import run_steps
from ml_connector.settings import load_connection
from ml_connector.store.database import open_engine

BILLS, COMMITMENTS, PAYMENTS = 1000, 40, 600
PER_RECORD = 1.3


def measure() -> Report:
    """Calls by route and per record, as the sandbox's journal counts them; the reading of Procore's lists is in them."""
    with open_ground(policies={"retainage": "separate_line"}) as ground:
        _run(ground)
        ground.sandbox.control("procore", "POST", "load", firm.contracts(COMMITMENTS))
        bills = list(firm.subcontract_bills(BILLS, COMMITMENTS))
        ground.load_bills(bills)
        posting, billed = _run(ground)
        ground.load("BillPayment", _payments(bills[:PAYMENTS]))
        paying, paid = _run(ground)
        idle, _ = _run(ground)
        requisitions = len(ground.sandbox.live("procore", "requisitions"))
        payments = len(ground.sandbox.live("procore", "contract_payments"))
    figures = [
        Figure(
            "calls a requisition", sum(posting.values()) / max(requisitions, 1), "calls", limit=PER_RECORD
        ),
        Figure("calls a payment", sum(paying.values()) / max(payments, 1), "calls", limit=PER_RECORD),
        Figure("calls of a run in which nothing changed", sum(idle.values()), "calls", limit=0),
        Figure("requisitions posted", requisitions / billed, "a second"),
        Figure("payments posted", payments / paid, "a second"),
    ]
    routes = [f"bills: {count} x {route}" for route, count in posting.items()]
    routes += [f"payments: {count} x {route}" for route, count in paying.items()]
    done = (
        f"{requisitions:,} requisitions of {BILLS:,} bills, {payments:,} contract payments of {PAYMENTS:,}."
    )
    return Report("subcontracts", "Bills on commitments and their payments", figures, [done, *routes])


def _run(ground: Ground) -> tuple[Mapping[str, int], float]:
    """Calls to Procore by route, and the seconds that mapping and posting took."""
    mark = ground.entries("procore")
    engine, connection = open_engine(ground.site.database_url), load_connection(ground.site.home, firm.NAME)
    run_id = uuid.uuid4().hex
    run_steps(("read",), run_id, ground.site.home, connection, engine)
    began = time.perf_counter()
    run_steps(("map", "post"), run_id, ground.site.home, connection, engine)
    took = time.perf_counter() - began
    engine.dispose()
    return ground.calls("procore", since=mark), took


def _payments(bills: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for place, bill in enumerate(bills):
        yield firm.payment(place, bill)
