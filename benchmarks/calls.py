"""Subject `calls`: what a poll of an unchanged window costs, and what 1,000 new bills over five projects cost."""

import uuid

from benchmarks import firm
from benchmarks.ground import Ground, open_ground
from benchmarks.report import Figure, Report
from benchmarks.stage import STAGES, run_steps
from ml_connector.settings import load_connection
from ml_connector.store.database import open_engine

BILLS = 1000
LINES = 3


def measure() -> Report:
    """Calls as the sandbox's journals count them, token calls left out."""
    # A stored copy of Procore's lists is too old at once, so that reading them again is counted, too.
    with open_ground(timing={"settle": 0, "overlap": 900, "catalog_age": 0}) as ground:
        everything(ground)
        marks = {vendor: ground.entries(vendor) for vendor in ("qbo", "procore")}
        everything(ground)
        idle = {vendor: sum(ground.calls(vendor, since=mark).values()) for vendor, mark in marks.items()}
        ground.load_bills(firm.bills(BILLS, lines=LINES))
        marks = {vendor: ground.entries(vendor) for vendor in ("qbo", "procore")}
        done = everything(ground)
        busy = {vendor: ground.calls(vendor, since=mark) for vendor, mark in marks.items()}
    figures = [
        Figure("poll of an unchanged window, QBO", idle["qbo"], "calls", limit=1),
        Figure("poll of an unchanged window, Procore", idle["procore"], "calls", limit=0),
        Figure(f"{BILLS:,} new bills of {LINES} lines, QBO", sum(busy["qbo"].values()), "calls", limit=12),
        Figure(
            f"{BILLS:,} new bills of {LINES} lines, Procore", sum(busy["procore"].values()), "calls", limit=25
        ),
    ]
    routes = [f"{vendor}: {count} x {route}" for vendor in busy for route, count in busy[vendor].items()]
    return Report("calls", "Calls to the vendors", figures, [f"{done:,} bills posted.", *routes])


def everything(ground: Ground) -> int:
    """Read, map and post once; returns the bills posted."""
    engine, connection = open_engine(ground.site.database_url), load_connection(ground.site.home, firm.NAME)
    run_id = uuid.uuid4().hex
    done = run_steps(STAGES, run_id, ground.site.home, connection, engine)
    engine.dispose()
    return done[-1].bills
