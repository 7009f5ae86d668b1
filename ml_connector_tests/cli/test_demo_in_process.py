"""The demo firm through the steps of a run, without Dagster: everything comes out as its data state it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_connector.cli.demo_firm import NAME, Sandbox, bookkeeper_token, load_firm, make_connection
from ml_connector.cli.demo_verdict import judge
from ml_connector.cli.site import Site
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.orchestration.ticks import days_in, ranges
from ml_connector.proving.proof import prove
from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.demo import bookkeeper
from ml_connector.sandbox.demo.firm import DemoFirm, demo, this_day
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector.settings import Home
from ml_connector.store.database import open_engine
from ml_connector.store.keys import make_key_ring
from ml_connector_tests.rig import Rig
from ml_connector_tests.scenarios.invariants import invariants

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def firm() -> DemoFirm:
    return demo(this_day())


@pytest.fixture
def rig(tmp_path: Path, database_url: str, firm: DemoFirm) -> Iterator[Rig]:
    """The demo's own installation, with its history and nothing read yet."""
    qbo = open_qbo(directory=tmp_path / "sandbox", seed="demo")
    procore = open_server(ProcoreVendor, name="procore", directory=tmp_path / "sandbox", seed="demo")
    for server in (qbo, procore):
        server.start()
    home = Home(tmp_path / "home")
    home.inbox.mkdir(parents=True)
    home.keys.parent.mkdir()
    make_key_ring(home.keys)
    sandbox = Sandbox(qbo.url, procore.url)
    load_firm(sandbox, firm)
    make_connection(Site(home, database_url, embedded=False), sandbox, firm)
    rig = Rig(home, open_engine(database_url), qbo, procore, name=NAME)
    yield rig
    rig.close()


def work_off(rig: Rig, firm: DemoFirm) -> None:
    """Read, post the open day, then every span of days that is left, as the schedule and the sensor ask for them."""
    rig.read([firm.today])
    rig.post([firm.today])
    for _ in range(20):
        spans = list(ranges(rig.dirty()))
        if not spans:
            return
        rig.post(days_in("{}...{}".format(*spans[0])))
    raise AssertionError(f"days stay dirty: {rig.dirty()}")


def test_the_firm_comes_out_as_its_data_state_it(rig: Rig, firm: DemoFirm) -> None:
    sandbox = Sandbox(rig.qbo.url, rig.procore.url)
    header = bookkeeper_token(sandbox)
    entered = bookkeeper.enter(sandbox.qbo, authorization=lambda: header, demo=firm, pace=0)
    work_off(rig, firm)
    bookkeeper.correct(sandbox.qbo, authorization=lambda: header, demo=firm, entered=entered)
    work_off(rig, firm)
    verdict = judge(rig.engine, sandbox, firm)
    assert verdict.wrong == []
    assert verdict.good
    assert verdict.money["delta"] == verdict.payments["delta"] == 0
    mark = rig.procore.mark()
    rig.post(days_in(f"{firm.start_date}...{firm.today}"), automatic=False)
    assert rig.procore.writes(mark) == [], "I4: a replay of everything is free"
    assert judge(rig.engine, sandbox, firm).wrong == []
    invariants(rig)
    qbo = qbo_client(rig.home, rig.connection, rig.engine)
    proof = prove(rig.engine, rig.connection, qbo, procore_client(rig.home, rig.connection, rig.engine))
    assert proof.problems() == []
    assert proof.balanced
    assert proof.calls.qbo <= 3
    assert proof.calls.procore <= 30, "five projects and their commitments"
