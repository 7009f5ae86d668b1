"""S117: two clients in one installation whose QuickBooks ids are the same; nothing of one is seen or moved by the other."""

import json
import urllib.request
from base64 import b64encode

import pytest
from sqlalchemy import text

from ml_connector.orchestration.clients import vault_of
from ml_connector.store.vault import Credentials
from ml_connector_tests.cli.shell import Shell
from ml_connector_tests.rig import (
    CODES,
    HARBOR,
    MAPPING,
    REALM,
    Bookkeeper,
    Rig,
    add_connection,
    line,
)

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
