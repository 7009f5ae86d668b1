"""F40, F41, F44: the database restarts, ends sessions, gives statements up, serves two: nothing is half done or doubled."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError, TimeoutError

from ml_connector.cli.services import only_one
from ml_connector.cli.site import Site
from ml_connector.errors import SetupError, TurnLost
from ml_connector.settings import Home
from ml_connector_tests.postgres_control import ControlledPostgres, How
from ml_connector_tests.rig import Rig, line, open_rig
from ml_connector_tests.scenarios.invariants import invariants
from ml_connector_tests.scenarios.test_kill_points import firm_with_contracts, invoices, two_invoices

HEADERS = "PATCH */direct_costs/sync"
HERE = "datname = current_database()"
CLAIMS = f"select l.pid from pg_locks l join pg_database d on d.oid = l.database where {HERE} and locktype = 'advisory'"
OTHERS = f"select pg_terminate_backend(pid) from pg_stat_activity where {HERE} and pid <> pg_backend_pid()"


@contextmanager
def held_up(rig: Rig, route: str, *, seconds: float = 1.5) -> Iterator[list[BaseException]]:
    """A run in a thread whose first call of a route is done and not answered yet; what ended it, once the block is left."""
    mark, ended = rig.procore.mark(), list[BaseException]()
    rig.procore.fault(
        {"route": route, "nth": 1, "fault": "delay", "args": {"seconds": seconds, "when": "after"}}
    )

    def run() -> None:
        try:
            rig.post(rig.dirty())
        except BaseException as error:  # noqa: BLE001 handed to the test's own thread
            ended.append(error)

    worker = threading.Thread(target=run)
    worker.start()
    until = time.monotonic() + 20
    while not any(entry["fault"] for entry in rig.procore.journal(mark)):
        assert worker.is_alive(), ended
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield ended
    finally:
        worker.join(60)
        rig.procore.no_faults()


def test_F40_postgres_restarted_in_mid_run_in_any_way_costs_one_run_and_no_record(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    postgres = ControlledPostgres(tmp_path / "postgres")
    rig = open_rig(tmp_path, postgres.url(postgres.make_database()))
    try:
        rig.sync()
        for number, how in enumerate(get_args(How)):
            bill = rig.bookkeeper.bill(how, [line(100 + number, item="101"), line(5, item="102")])
            rig.read()
            with held_up(rig, HEADERS) as ended:
                postgres.stop(how)
                postgres.start()
            began = time.monotonic()
            assert all(isinstance(error, OperationalError) for error in ended)
            rig.sync()
            measured(
                f"F40 Postgres stopped in mid-run ({how}): worked off {time.monotonic() - began:.1f} s later"
            )
            assert rig.cost_of(bill["Id"])["grand_total"] == f"{105 + number}.00"
            assert rig.record("Bill", bill["Id"]).state == "posted"
        assert len(rig.direct_costs(counting=False)) == 3
        invariants(rig)
    finally:
        rig.close()
        postgres.close()


def test_F41_sessions_that_the_server_ends_in_mid_run_leave_no_half_record(rig: Rig) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1200, item="101"), line(50, item="102")])
    rig.read()
    with held_up(rig, HEADERS) as ended, rig.engine.connect() as db:
        assert len(db.execute(text(OTHERS)).all()) >= 1
    assert all(isinstance(error, OperationalError) for error in ended)
    rig.sync()
    assert rig.record("Bill", bill["Id"]).state == "posted"
    (cost,) = rig.direct_costs(counting=False)
    assert cost["grand_total"] == "1250.00"


@contextmanager
def failing(engine: Engine, nth: int, code: str = "") -> Iterator[list[int]]:
    """The nth statement from now on ends with an error of Postgres; how many there were, in the list's one place."""
    seen = [0]

    def spoil(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> tuple[str, Any]:
        seen[0] += 1
        if seen[0] != nth or many:
            return statement, parameters
        return f"do $$ begin raise exception 'as asked for' using errcode = '{code}'; end $$", ()

    event.listen(engine, "before_cursor_execute", spoil, retval=True)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", spoil)


@pytest.mark.parametrize("code", ["40P01", "40001"], ids=["deadlock", "serialization failure"])
def test_F41_a_statement_that_postgres_gives_up_ends_the_run_and_the_next_one_does_it_all(
    rig: Rig, code: str
) -> None:
    rig.sync()

    def one(number: int) -> str:
        bill = rig.bookkeeper.bill(f"N{number}", [line(10, item="101"), line(5, item="102")])
        rig.sync()
        return str(bill["Id"])

    with failing(rig.engine, 0) as counted:
        one(0)
    failed = 0
    for nth in range(4, counted[0], max(counted[0] // 7, 1)):
        with failing(rig.engine, nth, code):
            try:
                one(nth)
            except OperationalError:
                failed += 1
        rig.sync()
    assert failed >= 4
    assert {cost["grand_total"] for cost in rig.direct_costs(counting=False)} == {"15.00"}
    with rig.engine.connect() as db:
        states = db.execute(text("select entity, state from ml_connector.record where entity = 'Bill'")).all()
    assert {row.state for row in states} == {"posted"}
    assert len(states) == len(rig.direct_costs(counting=False)) == len(rig.qbo.live("Bill"))


def test_F41_a_pool_without_a_free_connection_ends_the_run_and_the_next_one_does_it_all(rig: Rig) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.read()
    whole = rig.engine
    rig.engine = create_engine(whole.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    try:
        with pytest.raises(TimeoutError, match="QueuePool limit"):
            rig.post(rig.dirty())
    finally:
        rig.engine.dispose()
        rig.engine = whole
    rig.settle()
    assert rig.cost_of(bill["Id"])["grand_total"] == "1250.00"


@pytest.fixture
def contracts(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The firm with two contracts."""
    opened = firm_with_contracts(tmp_path, database)
    try:
        yield opened
        invariants(opened)
    finally:
        opened.close()


def test_F44_a_run_whose_claim_the_database_ended_writes_nothing_after_another_took_over(
    contracts: Rig, measured: Callable[[str], None]
) -> None:
    rig = contracts
    two_invoices(rig, {})
    rig.read()
    mark = rig.procore.mark()
    with held_up(rig, "POST */requisitions") as ended:
        with rig.engine.connect() as db:
            (holder,) = db.scalars(text(CLAIMS)).all()
            db.execute(text("select pg_terminate_backend(:pid)"), {"pid": holder})
        with suppress(TurnLost):
            rig.post(rig.dirty())
    (lost,) = ended
    assert isinstance(lost, TurnLost)
    assert "has taken over the posting of acme" in str(lost)
    rig.settle()
    invoices("1000.00", "2000.00")(rig, {})
    sent = [call for call in rig.procore.writes(mark) if call.startswith("POST") and "requisitions" in call]
    assert len(sent) == 2
    measured(f"F44 two workers after a lost claim: {len(sent) - 2} doubles")


def test_F44_the_services_of_a_second_installation_are_refused_on_the_same_database(
    rig: Rig, tmp_path: Path
) -> None:
    sites = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        sites.append(Site(Home(tmp_path / name), rig.database_url, embedded=False))
    first, second = sites
    refused = pytest.raises(SetupError, match="another installation work on this database")
    with only_one(first), refused, only_one(second):
        pass
    with only_one(second):
        pass


def test_F45_of_three_first_starts_at_once_one_goes_on_to_the_storage_and_two_are_told(
    rig: Rig, tmp_path: Path
) -> None:
    site = Site(Home(tmp_path), rig.database_url, embedded=False)
    tried, told = threading.Barrier(3), list[str]()

    def start() -> None:
        try:
            with only_one(site):
                tried.wait(20)
                told.append("started")
        except SetupError as refusal:
            tried.wait(20)
            told.append(str(refusal))

    starts = [threading.Thread(target=start) for _ in range(3)]
    for each in starts:
        each.start()
    for each in starts:
        each.join(30)
    assert sorted(told) == ["started", *[f"the services of {tmp_path} are running already"] * 2]
