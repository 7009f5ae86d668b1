"""S117: two clients in one installation whose QuickBooks ids are the same; nothing of one is seen or moved by the other."""

import json
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from ml_connector.errors import TransientError
from ml_connector.orchestration.clients import vault_of
from ml_connector.store import windows
from ml_connector.store.tables import limiter
from ml_connector.store.vault import Credentials
from ml_connector_tests.cli.shell import Shell
from ml_connector_tests.reading.desk import raw_bill
from ml_connector_tests.rig import (
    CODES,
    COMPANY,
    HARBOR,
    MAPPING,
    REALM,
    Bookkeeper,
    Rig,
    add_connection,
    line,
)
from ml_connector_tests.scenarios.test_outages import waits_pass

OTHER_REALM, OTHER_COMPANY, OTHER_PROJECT = "9341450000000002", 5002, "201"
SECOND_APPS = [
    {"client_id": f"{name}-client", "client_secret": f"{name}-secret", "refresh_token": f"RT1-{name}",
     "realms": [OTHER_REALM]}
    for name in ("second", "colleague")
]  # fmt: skip


@pytest.fixture
def second(rig: Rig) -> Rig:
    """Another client beside acme: the same QuickBooks ids, another company in Procore."""
    lists = {kind: rig.qbo.live(kind) for kind in ("Account", "Item", "Class", "Customer", "Vendor")}
    lists["Vendor"] = [
        {**vendor, "DisplayName": f"{vendor['DisplayName']} of Maine"} for vendor in lists["Vendor"]
    ]
    rig.qbo.load(realm=OTHER_REALM, App=SECOND_APPS, **lists)
    rig.procore.load(
        companies=[{"id": OTHER_COMPANY, "name": "Borealis", "is_active": True}],
        projects=[
            {
                "id": int(OTHER_PROJECT),
                "company_id": OTHER_COMPANY,
                "name": "Pier",
                "active": True,
                "budget_codes": CODES,
            }
        ],
    )
    add_connection(rig, "borealis", OTHER_REALM, OTHER_COMPANY)
    vault_of(rig.home, rig.engine).put(
        "borealis", "qbo", Credentials("second-client", "second-secret", refresh_token="RT1-second")
    )
    other = Rig(rig.home, rig.engine, rig.qbo_server, rig.procore_server, name="borealis")
    other.bookkeeper = Bookkeeper(rig.qbo_server.url, OTHER_REALM, _token=_token(rig.qbo_server.url))
    other.publish(mapping=MAPPING, projects=f"customer,project,note\n61,{OTHER_PROJECT},Pier\n")
    return other


def _token(url: str) -> str:
    """A session of the other client's bookkeeper."""
    request = urllib.request.Request(
        f"{url}/oauth2/v1/tokens/bearer",
        b"grant_type=refresh_token&refresh_token=RT1-colleague",
        {"Authorization": f"Basic {b64encode(b'colleague-client:colleague-secret').decode()}",
         "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.loads(answer.read())["access_token"])


def test_S117_the_same_ids_in_two_companies_each_go_to_their_own(rig: Rig, second: Rig) -> None:
    ours = rig.bookkeeper.bill("A-145", [line("1250.00", item="101")])
    theirs = second.bookkeeper.bill("B-145", [line("77.00", item="101")])
    assert ours["Id"] == theirs["Id"]
    mark = rig.procore.mark()
    rig.sync()
    assert [cost["grand_total"] for cost in rig.direct_costs()] == ["1250.00"]
    second.sync()
    costs = {cost["origin_id"]: cost["grand_total"] for cost in rig.direct_costs()}
    assert costs == {
        f"qbo:{REALM}:bill:{ours['Id']}:{HARBOR}": "1250.00",
        f"qbo:{OTHER_REALM}:bill:{theirs['Id']}:{OTHER_PROJECT}": "77.00",
    }
    for entry in rig.procore.journal(mark):
        if "/oauth" not in entry["path"] and entry["path"].startswith("/rest"):
            assert (OTHER_PROJECT in entry["path"]) <= (str(HARBOR) not in entry["path"])


def test_S117_no_view_export_or_replay_of_one_shows_or_moves_the_other(rig: Rig, second: Rig) -> None:
    rig.bookkeeper.bill("A-145", [line("1250.00", item="101"), line("3.00", account="7")])
    rig.bookkeeper.bill("A-146", [line("10.00", item="101")])
    held = second.bookkeeper.bill("B-145", [line("77.31", account="7", description="Quay bollards")])
    second.bookkeeper.bill("B-146", [line("21.45", item="101")])
    rig.sync()
    second.sync()
    shell = Shell(rig.home.root, rig.database_url)
    views = [
        shell("holds", "acme", "--json"),
        shell("find", "acme", "14", "--json"),
        shell("audit", "acme", f"bill:{held['Id']}", "--json"),
        shell("status", "acme", "--json"),
    ]
    assert [view.code for view in views] == [0, 0, 0, 0], views
    shown = "".join(view.out + view.err for view in views)
    assert "A-145" in shown
    for word in ("borealis", "B-145", "B-146", "77.31", "21.45", "Quay", OTHER_REALM):
        assert word not in shown, word
    before, mark = second.direct_costs(counting=False), rig.procore.mark()
    with rig.engine.connect() as db:
        trail = db.scalar(text("select max(number) from ml_connector.audit where connection = 'borealis'"))
    assert shell("replay", "acme", "--held", "--json").code in (0, 1)
    rig.replay_everything()
    with rig.engine.connect() as db:
        assert (
            db.scalar(text("select max(number) from ml_connector.audit where connection = 'borealis'"))
            == trail
        )
    assert rig.procore.writes(mark) == []
    assert second.direct_costs(counting=False) == before
    shell.end()


BILLS = 600


def pauses(rig: Rig) -> dict[str, datetime | None]:
    """Until when no call of an account is made."""
    with rig.engine.connect() as db:
        rows = db.execute(select(limiter.c.account, limiter.c.paused_until).where(limiter.c.name == "hour"))
        return {row.account: row.paused_until for row in rows}


def test_S102_F11_with_the_hourly_limit_used_up_600_records_wait_for_its_reset_and_the_other_client_goes_on(
    rig: Rig, second: Rig, measured: Callable[[str], None]
) -> None:
    rig.configure(timing={"patience": 1})
    rig.sync()
    second.sync()
    rig.procore.switch(limit_per="company", hourly_limit=12)
    lines = [{"Id": "1", **line("60.00", item="101")}]
    bills = [raw_bill(10_000 + number, total="60.00", Line=lines) for number in range(BILLS)]
    rig.qbo.load(realm=REALM, Bill=bills)
    rig.read()
    began = datetime.now(UTC)
    for _ in range(3):  # runs end early, and those that follow send nothing
        try:
            rig.settle()
        except TransientError as error:
            assert "429" in str(error) or "limit of calls" in str(error)
    paused = pauses(rig)[f"procore:{COMPANY}"]
    assert paused is not None
    assert timedelta(minutes=55) < paused - began < timedelta(minutes=65), (
        "until the time that Procore stated"
    )
    refused = [entry for entry in rig.procore.journal() if entry["status"] == 429]
    assert len(refused) <= 1, "nobody asks again while the pause lasts"
    with rig.engine.connect() as db:
        (waiting,) = windows.dirty(db, rig.name)
    assert waiting.not_before is not None
    done = len(rig.direct_costs())
    assert done < BILLS

    theirs = second.bookkeeper.bill("B-1", [line("77.00", item="101")])
    second.sync()
    assert second.record("Bill", theirs["Id"]).state == "posted"

    rig.procore.clock(offset_seconds=3660)
    rig.procore.switch(hourly_limit=3600)
    with rig.engine.begin() as db:  # the hour has passed here, too
        db.execute(update(limiter).values(paused_until=None))
    waits_pass(rig)
    rig.settle()
    assert len(rig.direct_costs()) == BILLS + 1, "and that of the other client"
    assert rig.holds() == []
    measured(
        f"F11 an hour's 12 calls used up: {len(refused)} calls wasted, {BILLS - done} of {BILLS} records after its reset"
    )
