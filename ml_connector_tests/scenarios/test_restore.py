"""S118: yesterday's database comes back, and Procore has what was posted since."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine

from ml_connector.store.database import open_engine
from ml_connector.store.postgres_server import PostgresServer
from ml_connector_tests.rig import Rig, line
from ml_connector_tests.scenarios.invariants import oracle
from ml_connector_tests.scenarios.test_kill_points import a_credit, firm_with_contracts
from ml_connector_tests.scenarios.test_payments import pay
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, sub

BILLS = 20


@pytest.fixture
def rig(tmp_path: Path, database: Engine, copies: list[str]) -> Iterator[Rig]:
    """The firm with its contracts. The trail of the lost day is lost with it, so that the oracle alone judges."""
    opened = firm_with_contracts(tmp_path, database)
    try:
        yield opened
        report = oracle(opened)
        assert not report.findings, str(report)
    finally:
        opened.close()


@pytest.fixture
def copies(postgres: PostgresServer) -> Iterator[list[str]]:
    """Names of databases that the test makes; they are dropped after it."""
    made: list[str] = []
    yield made
    with _server(postgres) as db:
        for name in made:
            db.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _server(postgres: PostgresServer) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(postgres.url("psycopg", "postgres").replace("+psycopg", ""), autocommit=True)


def backed_up(rig: Rig, postgres: PostgresServer, copies: list[str]) -> str:
    """A copy of the database as it is now; its address."""
    name = f"backup_{uuid.uuid4().hex[:12]}"
    rig.engine.dispose()
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with _server(postgres) as db:
        db.execute(copy.format(sql.Identifier(name), sql.Identifier(rig.engine.url.database or "")))
    copies.append(name)
    return postgres.url("psycopg", name)


def test_S118_after_a_restore_what_was_posted_since_is_found_again_and_nothing_is_doubled(
    rig: Rig, postgres: PostgresServer, copies: list[str]
) -> None:
    before = rig.bookkeeper.bill("B-0", [line(500, item="101")])
    rig.sync()
    backup = backed_up(rig, postgres, copies)
    bills = [rig.bookkeeper.bill(f"R-{number}", [line(100 + number, item="101")]) for number in range(BILLS)]
    invoice = rig.bookkeeper.bill("BE-14", [sub(9000)], vendor=BRIGHT)
    rig.sync()
    payment = pay(rig, [(invoice, 4000)])
    a_credit(rig)
    rig.bookkeeper.edit("Bill", before, Line=[line(550, item="101")])
    vendor = rig.bookkeeper.vendor("Summit Rental")
    rig.bookkeeper.bill("SR-1", [line(70, item="101")], vendor=vendor["Id"])
    rig.sync()
    assert rig.holds() == []
    kinds = ("direct_costs", "requisitions", "contract_payments", "vendors")
    there = {kind: len(rig.procore.live(kind)) for kind in kinds}
    rig.engine = open_engine(backup)
    rig.owns_engine = True
    mark = rig.procore.mark()
    rig.sync()
    assert rig.holds() == []
    assert {kind: len(rig.procore.live(kind)) for kind in kinds} == there
    assert rig.cost_of(before["Id"])["grand_total"] == "550.00"
    assert not [call for call in rig.procore.writes(mark) if "requisitions" in call or "payment" in call]
    assert rig.story("Bill", invoice["Id"])[-1] == rig.story("BillPayment", payment["Id"])[-1] == "found"
    assert {rig.record("Bill", bill["Id"]).state for bill in bills} == {"posted"}
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == [], "what was found again is known again"
