"""Real processes: receiver, code server, webserver and daemon, with run workers that they start, against the sandbox.

One installation for the module, so the tests leave it quiet. What took how long is printed, never asserted.
"""

import math
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from datetime import time as time_of_day
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from ml_connector.orchestration import names
from ml_connector.reading import inbox
from ml_connector_tests.orchestration.live.installation import (
    ASSET_JOB,
    ENDED,
    NEW_YORK,
    TOKYO,
    ZONES,
    Installation,
    Ran,
    open_installation,
    tell,
    until,
)
from ml_connector_tests.rig import REALM, line

pytestmark = [
    pytest.mark.processes,
    pytest.mark.installation,
    pytest.mark.timeout(600),
    # Postgres and its sockets are closed by the services, not by this process.
    pytest.mark.filterwarnings("default::ResourceWarning"),
]
DIRECT_COSTS = "/rest/*direct_costs/sync*"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Everything started once, both firms read, nothing left to do."""
    with open_installation(tmp_path_factory.mktemp("live")) as installation:
        yield installation


@pytest.fixture(autouse=True)
def calm(live: Installation) -> Iterator[None]:
    """No fault and no webhook is left over for the next test."""
    yield
    for control in (live.rigs[NEW_YORK].qbo, live.rigs[NEW_YORK].procore):
        control.no_faults()
    live.webhooks(on=False)
    live.quiet()


def test_a_signed_webhook_becomes_a_file_a_run_and_a_direct_cost(live: Installation) -> None:
    rig, today = live.rigs[NEW_YORK], live.today(NEW_YORK)
    live.webhooks(on=True)
    began = time.time()
    rig.bookkeeper.bill("W-1", [line("10.00")])
    until("the direct cost", lambda: live.costs(NEW_YORK, "W-1"))
    posted = time.time()
    run = until(
        "the run", lambda: [ran for ran in live.runs(NEW_YORK, since=began) if ran.status == "SUCCESS"]
    )[0]
    assert run.tags["dagster/sensor_name"] == "webhook_inbox"
    assert run.tags[names.DAYS_TAG] == str(today)
    assert inbox.waiting(live.site.home, NEW_YORK) == []
    (done,) = live.site.home.done.glob(f"{NEW_YORK}__*.json")
    assert re.fullmatch(NEW_YORK + r"__\d{8}T\d{6}Z__[0-9a-f]{16}\.json", done.name)
    assert live.colour(NEW_YORK, "procore/direct_costs", today) == "MATERIALIZED"
    tell(
        f"webhook: file {done.stat().st_mtime - began:.1f} s after the bill, run started {run.start - began:.1f} s, "
        f"posted {posted - began:.1f} s"
    )


def test_a_failed_day_is_red_and_a_person_turns_it_green_in_the_ui(live: Installation) -> None:
    rig, today = live.rigs[NEW_YORK], live.today(NEW_YORK)
    rig.procore.fault({"route": f"PATCH {DIRECT_COSTS}", "contains": "F-1", "fault": "item_fault"})
    rig.bookkeeper.bill("F-1", [line("20.00")])
    assert live.ended(live.materialize(NEW_YORK, today)).status == "FAILURE"
    live.quiet()
    assert live.colour(NEW_YORK, "procore/direct_costs", today) == "FAILED"
    assert live.colour(NEW_YORK, "procore/vendors", today) == "MATERIALIZED"
    rig.procore.no_faults()
    assert live.ended(live.materialize(NEW_YORK, today, groups=("mapped", "procore"))).status == "SUCCESS"
    assert live.colour(NEW_YORK, "procore/direct_costs", today) == "MATERIALIZED"
    (cost,) = live.costs(NEW_YORK, "F-1")
    assert cost["grand_total"] == "20.00"


def test_T6_what_a_failed_run_says_of_a_bill_stands_on_its_page_and_in_no_process_log(
    live: Installation,
) -> None:
    rig, today, mark = live.rigs[NEW_YORK], live.today(NEW_YORK), "zebrafink"
    rig.procore.fault({"route": f"PATCH {DIRECT_COSTS}", "contains": mark, "fault": "item_fault"})
    rig.bookkeeper.bill(f"{mark}-1", [line("70.00", description=f"{mark} concrete")], PrivateNote=mark)
    run = live.materialize(NEW_YORK, today)
    assert live.ended(run).status == "FAILURE"
    live.quiet()
    with rig.engine.connect() as db:
        events = db.scalars(text("select event from event_logs where run_id = :run"), {"run": run}).all()
    assert any(mark in event for event in events), "the operator reads it on the run's page"
    secrets = ["sandbox-secret", "other-secret", "RT1-", live.verifier_token, *live.tokens()]
    shown = live.shown(run)
    assert any(mark in content for where, content in shown if where == "GraphQL")
    assert [(where, secret[:12]) for where, content in shown for secret in secrets if secret in content] == []
    read = 0
    for folder in (live.services.logs, live.site.home.dagster):
        for path in folder.rglob("*"):
            if path.is_file():
                read += 1
                content = path.read_text(encoding="utf-8", errors="replace")
                assert mark not in content, path
                assert [secret for secret in secrets if secret in content] == [], path
    assert read > 5
    assert "STEP_FAILURE" in "".join(
        path.read_text(errors="replace") for path in live.services.logs.iterdir()
    )
    rig.procore.no_faults()
    assert live.ended(live.materialize(NEW_YORK, today, groups=("mapped", "procore"))).status == "SUCCESS"


def test_a_backfill_posts_each_day_once_and_again_nothing(live: Installation) -> None:
    rig, today = live.rigs[NEW_YORK], live.today(NEW_YORK)
    days = [today - timedelta(days=ago) for ago in range(9, 1, -1)]  # eight days: two runs of at most seven
    template = rig.bookkeeper.bill("B-0", [line("30.00")])
    for number, day in enumerate(days):
        at = datetime.combine(day, time_of_day(12), ZoneInfo(ZONES[NEW_YORK]))
        live.saved_at(NEW_YORK, template, f"90{number}", f"B-{day}", at)
    backfill = live.backfill(NEW_YORK, days)
    runs = live.backfill_runs(backfill, count=2)
    assert [run.status for run in runs] == ["SUCCESS"] * 2
    assert [len(live.costs(NEW_YORK, f"B-{day}")) for day in days] == [1] * len(days)
    assert live.all_green(NEW_YORK, days)
    live.quiet()
    before = rig.procore.mark()
    (again,) = live.backfill_runs(live.backfill(NEW_YORK, days[:4]), count=1)
    assert again.status == "SUCCESS"
    assert live.backfill_status(backfill) == "COMPLETED_SUCCESS"
    written = [
        call
        for call in rig.procore.writes(before)
        if f"/{live.rigs[TOKYO].connection.procore.company_id}" not in call
    ]
    assert written == []


def test_runs_of_one_connection_follow_each_other_and_the_other_runs_alongside(live: Installation) -> None:
    rig, today = live.rigs[NEW_YORK], live.today(NEW_YORK)
    slow = {"fault": "delay", "args": {"seconds": 3}}
    rig.qbo.fault({"route": f"GET /v3/company/{REALM}/*", **slow})
    live.webhooks(on=True)
    began = time.time()
    live.backfill(NEW_YORK, [today - timedelta(days=ago) for ago in (4, 3)], groups=("qbo",))
    by_hand = live.materialize(NEW_YORK, today)
    rig.bookkeeper.bill("C-1", [line("40.00")])
    other = live.materialize(TOKYO, live.today(TOKYO))

    def all_doors() -> list[Ran]:
        runs = live.runs(NEW_YORK, since=began)
        doors = {_door(run) for run in runs if run.status in ENDED}
        return (
            runs if doors >= {"backfill", "sensor", "person"} and all(r.status in ENDED for r in runs) else []
        )

    runs = sorted(until("a run through each door", all_doors, seconds=240), key=lambda run: run.start)
    assert {run.status for run in runs} == {"SUCCESS"}
    assert by_hand in {run.id for run in runs}
    assert all(first.end <= second.start for first, second in pairwise(runs)), runs
    alongside = live.ended(other)
    assert any(run.start < alongside.end and alongside.start < run.end for run in runs), (
        "Tokyo's run waited for New York's"
    )
    for run in [*runs, alongside]:
        tell(f"{run.connection} {_door(run):8} {run.start - began:6.1f} .. {run.end - began:6.1f} s")


def _door(run: Ran) -> str:
    if "dagster/backfill" in run.tags:
        return "backfill"
    if "dagster/sensor_name" in run.tags:
        return "sensor"
    return "person" if run.job == ASSET_JOB else "schedule"


def test_bills_saved_shortly_before_midnight_are_posted_with_nobody_acting(live: Installation) -> None:
    """Saved at 23:55, read at 23:50 before and after midnight next: once with a poll at 00:00, once after an outage."""
    rig, today = live.rigs[TOKYO], live.today(TOKYO)
    template = rig.bookkeeper.bill("M-0", [line("50.00")])
    live_zone = ZoneInfo(ZONES[TOKYO])
    evenings = [today - timedelta(days=ago) for ago in (3, 1)]
    for number, evening in enumerate(evenings):
        late = datetime.combine(evening, time_of_day(23, 55), live_zone)
        live.saved_at(TOKYO, template, f"80{number}", f"M-{evening}", late)
    before = datetime.combine(evenings[0], time_of_day(23, 50), live_zone)
    until("the end of a poll that is under way", lambda: all(ran.status in ENDED for ran in live.runs(TOKYO)))
    began = time.time()
    live.read_last_at(TOKYO, before)
    until("the bills", lambda: all(live.costs(TOKYO, f"M-{evening}") for evening in evenings), seconds=240)
    tell(f"midnight: posted {time.time() - began:.1f} s after it could be read, polls every minute")
    days = [today - timedelta(days=ago) for ago in (3, 2, 1)]
    until("green days", lambda: live.all_green(TOKYO, days))
    assert [len(live.costs(TOKYO, f"M-{evening}")) for evening in evenings] == [1, 1]
    assert {_door(run) for run in live.runs(TOKYO, since=began)} <= {"schedule", "sensor"}


def test_F43_after_kill_9_of_everything_in_mid_run_the_day_is_posted_once(live: Installation) -> None:
    rig, today = live.rigs[NEW_YORK], live.today(NEW_YORK)
    slow = {"fault": "delay", "times": 1, "args": {"seconds": 15, "when": "after"}}
    rig.procore.fault({"route": f"PATCH {DIRECT_COSTS}", "contains": "K-1", **slow})
    bill = rig.bookkeeper.bill("K-1", [line("60.00")])
    run = live.materialize(NEW_YORK, today)
    until("the write", lambda: live.costs(NEW_YORK, "K-1"))
    assert "sent" in rig.story("Bill", bill["Id"])
    live.kill_everything()
    (killed,) = [ran for ran in live.runs(NEW_YORK) if ran.id == run]
    assert killed.status == "STARTED", "it was killed in mid-run"
    again = time.time()
    live.start()
    (swept,) = [ran for ran in live.runs(NEW_YORK) if ran.id == run]
    assert swept.status == "FAILURE"
    up = time.time()
    next_run = until(
        "the next run of the connection",
        lambda: [ran for ran in live.runs(NEW_YORK) if again < ran.start < math.inf],
    )[0]
    tell(
        f"kill -9: services up after {up - again:.1f} s, next run started {next_run.start - again:.1f} s after the start"
    )
    live.quiet()
    assert [ran for ran in live.runs() if ran.status not in ENDED and ran.connection == NEW_YORK] == []
    assert rig.record("Bill", bill["Id"]).state in ("posted", "no-op")
    (cost,) = live.costs(NEW_YORK, "K-1")
    assert cost["grand_total"] == "60.00"
    assert live.colour(NEW_YORK, "procore/direct_costs", today) == "MATERIALIZED"
