"""What the clock, the inbox and Postgres ask for: ticks, one at a time, with no daemon and no vendor call."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import delete, select, update

from ml_connector.orchestration import names, ticks
from ml_connector.orchestration.clients import vault_of
from ml_connector.orchestration.schedules import open_day
from ml_connector.orchestration.work import Run, sign_in
from ml_connector.settings import DATABASE_VARIABLE, Connection, load_connection, load_connections
from ml_connector.store import windows
from ml_connector.store.tables import breaker as breaker_table
from ml_connector.store.tables import dirty_window
from ml_connector.store.tables import vault as vault_table
from ml_connector_tests.orchestration.stage import TODAY, Stage, day
from ml_connector_tests.rig import Rig, add_connection, line, open_rig
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, period, sub, subcontract

SIXTEEN_HEX = "0123456789abcdef"
# No midnight of New York or Tokyo is within hours of it.
QUIET_HOUR = datetime.combine(day(1), time(17, 30), UTC)


@pytest.fixture
def pair(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Two connections, in New York and in Tokyo."""
    monkeypatch.setenv(DATABASE_VARIABLE, database_url)
    start = day(40).isoformat()
    rig = open_rig(tmp_path, database_url, time_zone="America/New_York", start_date=start)
    add_connection(rig, "beta", "9341450000000002", 5002, time_zone="Asia/Tokyo", start_date=start)
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(
        str(tmp_path / "dagster")
    ) as instance:  # schedules need one with a folder
        yield Stage(rig, instance)
    ticks.engine().dispose()
    rig.close()


def asked(stage: Stage, sensor: str) -> list[dg.RunRequest]:
    """The run requests of one tick."""
    context = dg.build_sensor_context(
        instance=stage.instance, definitions=stage.definitions, sensor_name=sensor
    )
    return list(stage.definitions.resolve_sensor_def(sensor).evaluate_tick(context).run_requests or [])


def polled(stage: Stage, connection: str, at: datetime) -> Sequence[dg.RunRequest]:
    """The run requests of a poll at an instant."""
    context = dg.build_schedule_context(
        instance=stage.instance,
        scheduled_execution_time=at,
        repository_def=stage.definitions.get_repository_def(),
    )
    schedule = stage.definitions.resolve_schedule_def(f"{connection}__poll")
    return schedule.evaluate_tick(context).run_requests or []


def waiting_run(stage: Stage, request: dg.RunRequest, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """The run that a request makes, in some status."""
    assert request.job_name is not None
    return stage.instance.create_run_for_job(
        stage.definitions.resolve_job_def(request.job_name), tags=dict(request.tags), status=status
    )


def mark(rig: Rig, *days: date, connection: str = "acme") -> None:
    with rig.engine.begin() as db:
        windows.mark(db, connection, days, reason="a bill changed")


def hint(rig: Rig, connection: str, second: int) -> str:
    """A webhook file as the receiver leaves it."""
    name = f"{connection}__20260302T1207{second:02d}Z__{SIXTEEN_HEX}.json"
    (rig.home.inbox / name).write_text("{}")
    return name


# -- the clock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "zone", "window"),
    [
        ("2026-10-20T03:50:00+00:00", "America/New_York", "2026-10-19"),  # 23:50 there
        ("2026-10-20T04:00:00+00:00", "America/New_York", "2026-10-20"),
        ("2026-10-20T14:59:00+00:00", "Asia/Tokyo", "2026-10-20"),  # 23:59 there
        ("2026-10-20T15:00:00+00:00", "Asia/Tokyo", "2026-10-21"),
    ],
)
def test_the_open_window_is_the_day_in_the_connections_zone(at: str, zone: str, window: str) -> None:
    content = {"qbo": {"realm_id": "1"}, "procore": {"company_id": 1}, "start_date": "2026-01-01"}
    connection = Connection.model_validate({**content, "name": "acme", "time_zone": zone})
    assert open_day(connection, datetime.fromisoformat(at)) == window


def test_a_poll_asks_for_the_sync_job_with_its_tags(pair: Stage) -> None:
    (request,) = polled(pair, "beta", QUIET_HOUR)
    today = open_day(load_connection(pair.rig.home, "beta"), QUIET_HOUR)
    assert (request.job_name, request.partition_key) == ("beta__sync", today)
    assert request.tags[names.AUTOMATIC_TAG] == "true"
    assert request.tags[names.DAYS_TAG] == today
    assert request.tags[names.PRIORITY_TAG] == names.LIVE_PRIORITY


def test_a_poll_skips_when_a_run_of_the_window_waits_to_start(pair: Stage) -> None:
    (request,) = polled(pair, "acme", QUIET_HOUR)
    waiting_run(pair, request, dg.DagsterRunStatus.NOT_STARTED)
    assert polled(pair, "acme", QUIET_HOUR + timedelta(minutes=15)) == []
    assert len(polled(pair, "beta", QUIET_HOUR)) == 1, "the other connection does not wait for it"


def test_a_poll_asks_again_while_a_run_has_begun(pair: Stage) -> None:
    """It may have read before the change."""
    (request,) = polled(pair, "acme", QUIET_HOUR)
    waiting_run(pair, request, dg.DagsterRunStatus.STARTED)
    (again,) = polled(pair, "acme", QUIET_HOUR + timedelta(minutes=15))
    assert again.run_key != request.run_key


def test_procores_lists_are_refreshed_only_while_something_waits_for_them(stage: Stage) -> None:
    def refresh() -> Sequence[dg.RunRequest]:
        schedule = stage.definitions.resolve_schedule_def("acme__catalog_refresh")
        context = dg.build_schedule_context(
            instance=stage.instance, scheduled_execution_time=datetime.now(UTC)
        )
        return schedule.evaluate_tick(context).run_requests or []

    assert refresh() == []
    stage.rig.bookkeeper.bill("D-1", [line("10.00", customer="63")])
    stage.run()
    assert [hold.reason for hold in stage.rig.holds()] == ["PROJECT_CLOSED"]
    (request,) = refresh()
    assert request.tags[names.AUTOMATIC_TAG] == "true"
    ticks.engine().dispose()


def test_S40_a_bill_on_a_commitment_approved_later_is_posted_by_the_schedule_alone(stage: Stage) -> None:
    stage.rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007, status="Draft", retainage_percent=None)],
        billing_periods=[period()],
    )
    bill = stage.rig.bookkeeper.bill("BE-14", [sub(9000)], vendor=BRIGHT)
    stage.run(automatic=True)
    stage.work_off()
    assert [hold.reason for hold in stage.rig.holds()] == ["COMMITMENT_NOT_APPROVED"]
    assert ticks.waits_for_procore("acme"), "the schedule asks for a look at Procore"
    stage.rig.procore.load(commitments=[subcontract("SC-007", SC_007, retainage_percent=None)])
    catalog = stage.definitions.resolve_job_def("acme__catalog")
    automatic = {names.AUTOMATIC_TAG: "true"}
    assert catalog.execute_in_process(instance=stage.instance, tags=automatic).success
    assert stage.work_off() == [True]
    assert stage.rig.holds() == []
    assert stage.rig.record("Bill", bill["Id"]).posted == 9000
    ticks.engine().dispose()


# -- the inbox ----------------------------------------------------------------------------------------------------


def test_webhook_files_of_two_connections_ask_for_one_run_each(pair: Stage) -> None:
    for second in range(3):
        hint(pair.rig, "acme", second)
    hint(pair.rig, "beta", 9)
    requests = asked(pair, "webhook_inbox")
    assert [request.job_name for request in requests] == ["acme__sync", "beta__sync"]
    days = [open_day(connection, datetime.now(UTC)) for connection in load_connections(pair.rig.home)]
    assert [request.partition_key for request in requests] == days


def test_no_second_run_is_asked_for_while_one_waits_to_start(pair: Stage) -> None:
    hint(pair.rig, "acme", 1)
    (request,) = asked(pair, "webhook_inbox")
    waiting_run(pair, request, dg.DagsterRunStatus.NOT_STARTED)
    hint(pair.rig, "acme", 2)
    assert asked(pair, "webhook_inbox") == []


def test_a_file_that_comes_while_a_run_works_asks_again(pair: Stage) -> None:
    hint(pair.rig, "acme", 1)
    (first,) = asked(pair, "webhook_inbox")
    waiting_run(pair, first, dg.DagsterRunStatus.STARTED)
    hint(pair.rig, "acme", 2)
    (second,) = asked(pair, "webhook_inbox")
    assert second.run_key != first.run_key


def test_the_same_files_ask_with_the_same_key(pair: Stage) -> None:
    hint(pair.rig, "acme", 1)
    keys = {asked(pair, "webhook_inbox")[0].run_key for _ in range(2)}
    assert len(keys) == 1


def test_files_of_unknown_companies_ask_for_nothing(pair: Stage) -> None:
    hint(pair.rig, "unknown", 1)
    assert asked(pair, "webhook_inbox") == []


# -- dirty windows ------------------------------------------------------------------------------------------------


def test_every_dirty_day_is_asked_for_in_few_ranges(pair: Stage) -> None:
    mark(pair.rig, *(day(ago) for ago in range(3, 38)))
    mark(pair.rig, day(2), connection="beta")
    first, second, other = asked(pair, "dirty_windows")
    assert (first.tags[names.RANGE_START_TAG], first.tags[names.RANGE_END_TAG]) == (str(day(37)), str(day(7)))
    assert (second.tags[names.RANGE_START_TAG], second.tags[names.RANGE_END_TAG]) == (
        str(day(6)),
        str(day(3)),
    )
    assert first.partition_key is None
    assert first.tags[names.DAYS_TAG] == f"{day(37)}...{day(7)}"
    assert (other.job_name, other.partition_key) == ("beta__post", str(day(2)))
    assert {request.tags[names.AUTOMATIC_TAG] for request in (first, second, other)} == {"true"}
    assert first.tags[names.PRIORITY_TAG] == names.CATCH_UP_PRIORITY


def test_days_that_a_run_works_on_are_left_out(pair: Stage) -> None:
    mark(pair.rig, day(5), day(4), day(3))
    (request,) = asked(pair, "dirty_windows")
    waiting_run(pair, request, dg.DagsterRunStatus.STARTED)
    mark(pair.rig, day(4), day(2))
    (again,) = asked(pair, "dirty_windows")
    assert again.partition_key == str(day(2))


def test_days_that_a_person_runs_are_left_out_once_its_worker_has_signed_in(pair: Stage) -> None:
    job = pair.definitions.resolve_job_def("acme__sync")
    begun = pair.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    mark(pair.rig, day(4), day(2))
    mark(pair.rig, day(4), connection="beta")
    sign_in(pair.rig.engine, pair.rig.connection, Run(begun.run_id, (day(4),), automatic=False))
    acme, beta = asked(pair, "dirty_windows")
    assert acme.partition_key == str(day(2))
    assert beta.partition_key == str(day(4)), "the other connection's day is not worked on"


def test_a_day_that_was_asked_for_is_left_alone_for_a_while_and_longer_each_time(pair: Stage) -> None:
    mark(pair.rig, day(3))
    waits = []
    for _ in range(3):
        began = datetime.now(UTC)
        assert len(asked(pair, "dirty_windows")) == 1
        assert asked(pair, "dirty_windows") == []
        with pair.rig.engine.connect() as db:
            until = db.scalar(select(dirty_window.c.not_before))
        assert until is not None
        waits.append(round((until - began).total_seconds() / 60))
        pair.time_passes()
    assert waits == [1, 2, 4]


def test_a_new_change_ends_the_pause(pair: Stage) -> None:
    mark(pair.rig, day(3))
    assert len(asked(pair, "dirty_windows")) == 1
    mark(pair.rig, day(3))
    assert len(asked(pair, "dirty_windows")) == 1


def test_a_red_day_between_two_dirty_ones_is_not_run_again(stage: Stage) -> None:
    """Its run would fail with the same sentence, and tell people of a failure that is no news."""
    stage.bill("G-2", "20.00", changed=day(4))
    stage.refuse("G-2")
    stage.run(day(4), automatic=True)
    stage.work_off()
    mark(stage.rig, day(6), day(5), day(3))
    spans = [request.tags[names.DAYS_TAG] for request in asked(stage, "dirty_windows")]
    assert spans == [f"{day(6)}...{day(5)}", str(day(3))]
    ticks.engine().dispose()


def test_a_range_request_runs_all_its_days_in_one_run(stage: Stage) -> None:
    """What a sensor's request with range tags becomes: one run over the days, each with a colour of its own."""
    stage.rig.read()
    (request,) = asked(stage, "dirty_windows")
    result = stage.definitions.resolve_job_def("acme__post").execute_in_process(
        instance=stage.instance, tags=dict(request.tags), raise_on_error=False
    )
    assert result.success
    first = date.fromisoformat(request.tags[names.RANGE_START_TAG])
    last = date.fromisoformat(request.tags[names.RANGE_END_TAG])
    assert last <= TODAY
    colours = {
        stage.colour("procore/vendors", first + timedelta(days=n)) for n in range((last - first).days + 1)
    }
    assert colours == {"MATERIALIZED"}
    assert stage.rig.dirty() == []
    ticks.engine().dispose()


# -- a grant that is gone -----------------------------------------------------------------------------------------


def said(stage: Stage, sensor: str) -> str:
    """Why a tick of a sensor asks for nothing."""
    context = dg.build_sensor_context(
        instance=stage.instance, definitions=stage.definitions, sensor_name=sensor
    )
    return stage.definitions.resolve_sensor_def(sensor).evaluate_tick(context).skip_message or ""


@pytest.fixture
def ticking(stage: Stage, tmp_path: Path) -> Iterator[Stage]:
    """The stage with an instance that has a folder: schedules need one."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Stage(stage.rig, instance)
    ticks.engine().dispose()


def test_S110_F23_without_quickbooks_one_run_is_red_and_then_polls_and_webhooks_wait(ticking: Stage) -> None:
    rig, now = ticking.rig, datetime.now(UTC).replace(second=0, microsecond=0)
    rig.bookkeeper.bill("4471", [line("1250.00")])
    vault = vault_of(rig.home, rig.engine)
    good, _ = vault.get("acme", "qbo")
    vault.put("acme", "qbo", replace(good, refresh_token="RT1-withdrawn"))
    assert len(polled(ticking, "acme", now)) == 1
    assert not ticking.run(automatic=True).success
    mark = rig.qbo.mark()
    hint(rig, "acme", 1)
    for minutes in (15, 30, 45):
        assert polled(ticking, "acme", now + timedelta(minutes=minutes)) == []
    assert "connect qbo acme" in said(ticking, "webhook_inbox")
    assert rig.qbo.journal(mark) == []
    vault.put("acme", "qbo", good)
    (request,) = asked(ticking, "webhook_inbox")
    assert request.job_name == "acme__sync"
    assert len(polled(ticking, "acme", now + timedelta(minutes=60))) == 1
    assert ticking.run(automatic=True).success
    assert len(rig.direct_costs()) == 1


def test_S110_without_procore_quickbooks_is_read_on_and_what_is_to_post_waits(ticking: Stage) -> None:
    rig, now = ticking.rig, datetime.now(UTC).replace(second=0, microsecond=0)
    vault = vault_of(rig.home, rig.engine)
    good, _ = vault.get("acme", "procore")
    vault.put("acme", "procore", replace(good, client_secret="withdrawn"))
    rig.bookkeeper.bill("4471", [line("1250.00")])
    assert not ticking.run(automatic=True).success
    rig.bookkeeper.bill("4472", [line("300.00")])
    mark = rig.procore.mark()
    (request,) = polled(ticking, "acme", now)
    assert request.asset_selection is not None
    read_alone = [key.to_user_string().removeprefix("acme/") for key in request.asset_selection]
    assert {name.partition("/")[0] for name in read_alone} == {"qbo"}
    assert ticking.run(automatic=True, selection=read_alone).success
    ticking.time_passes()
    assert asked(ticking, "dirty_windows") == []
    assert "connect procore acme" in said(ticking, "dirty_windows")
    assert rig.procore.journal(mark) == []
    vault.put("acme", "procore", good)
    assert asked(ticking, "dirty_windows") != []
    ticking.time_passes()
    assert ticking.work_off() == [True]
    assert sorted(cost["grand_total"] for cost in rig.direct_costs()) == ["1250.00", "300.00"]


def test_a_connection_that_was_never_connected_asks_for_nothing_and_the_others_go_on(pair: Stage) -> None:
    with pair.rig.engine.begin() as db:
        db.execute(delete(vault_table).where(vault_table.c.connection == "beta"))
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    assert polled(pair, "beta", now) == []
    assert len(polled(pair, "acme", now)) == 1


# -- a vendor that is away for days -------------------------------------------------------------------------------

AWAY = {"fault": "status", "args": {"status": 503}}


def pause_is_over(stage: Stage, *, since: timedelta) -> None:
    """The vendor may be asked again, and is away for as long as `since` says."""
    now = datetime.now(UTC)
    with stage.rig.engine.begin() as db:
        db.execute(update(breaker_table).values(open_until=now, since=now - since))


def sentence_of(result: dg.ExecuteInProcessResult) -> str:
    """What the failed run says."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = event.step_failure_data.user_failure_data
    return "" if said is None else said.description or ""


def test_F16_while_quickbooks_is_away_one_run_is_red_then_ticks_are_skipped_until_it_answers(
    ticking: Stage,
) -> None:
    rig, now = ticking.rig, datetime.now(UTC).replace(second=0, microsecond=0)
    rig.configure(timing={"patience": 0})
    rig.qbo.fault({"route": "GET /v3/*", **AWAY})
    assert len(polled(ticking, "acme", now)) == 1
    sentence = sentence_of(ticking.run(automatic=True))
    assert re.match(
        r"QuickBooks does not answer since \d{4}-\d\d-\d\d \d\d:\d\d \(HTTP 503\): nothing is sent", sentence
    )
    bill = rig.bookkeeper.bill("4471", [line("1250.00")])
    hint(rig, "acme", 1)
    mark = rig.qbo.mark()
    for minutes in (15, 30, 45):
        assert polled(ticking, "acme", now + timedelta(minutes=minutes)) == []
    assert "QuickBooks does not answer since" in said(ticking, "webhook_inbox")
    assert "QuickBooks does not answer since" in said(ticking, "outages")
    assert rig.qbo.journal(mark) == [], "its pause is not over"
    pauses: list[float] = []
    for since in (timedelta(minutes=1), timedelta(minutes=4), timedelta(days=3)):
        pause_is_over(ticking, since=since)
        assert "QuickBooks does not answer since" in said(ticking, "outages")
        (outage,) = ticks.outages(rig.connection)
        pauses.append((outage.asked_again_at - datetime.now(UTC)) / timedelta(minutes=1))
        assert polled(ticking, "acme", now + timedelta(hours=1)) == []
    assert pauses == pytest.approx([1, 4, 15], abs=0.4)
    assert [entry["path"].split("/")[-2] for entry in rig.qbo.journal(mark)] == ["companyinfo"] * 3
    rig.qbo.no_faults()
    pause_is_over(ticking, since=timedelta(days=3))
    assert said(ticking, "outages") == "acme: QuickBooks answers again"
    assert len(asked(ticking, "webhook_inbox")) == len(polled(ticking, "acme", now)) == 1
    assert ticking.run(automatic=True).success
    assert ticking.colour("qbo/bills") == ticking.colour("procore/direct_costs") == "MATERIALIZED"
    assert rig.cost_of(bill["Id"])["grand_total"] == "1250.00"


def test_F17_while_procore_is_away_quickbooks_is_read_and_every_day_is_posted_when_it_answers(
    ticking: Stage,
) -> None:
    rig, now = ticking.rig, datetime.now(UTC).replace(second=0, microsecond=0)
    rig.configure(timing={"patience": 0})
    rig.procore.fault({"route": "* /rest/*", **AWAY})
    first = rig.bookkeeper.bill("4471", [line("1250.00")])
    sentence = sentence_of(ticking.run(automatic=True))
    assert sentence.startswith("Procore does not answer since")
    mark = rig.procore.mark()
    later = ticking.bill("4472", "300.00", changed=day(1))
    (request,) = polled(ticking, "acme", now)
    assert request.asset_selection is not None
    read_alone = [key.to_user_string().removeprefix("acme/") for key in request.asset_selection]
    assert {name.partition("/")[0] for name in read_alone} == {"qbo"}
    assert ticking.run(day(1), TODAY, automatic=True, selection=read_alone).success
    with rig.engine.begin() as db:
        db.execute(update(dirty_window).values(not_before=None))
    assert asked(ticking, "dirty_windows") == []
    assert "Procore does not answer since" in said(ticking, "dirty_windows")
    assert rig.procore.journal(mark) == []
    assert ticking.colour("procore/direct_costs") == "FAILED"
    rig.procore.no_faults()
    pause_is_over(ticking, since=timedelta(days=3))
    assert said(ticking, "outages") == "acme: Procore answers again"
    assert rig.procore.calls(mark) == ["GET /rest/v1.0/me"]
    assert asked(ticking, "dirty_windows") != []
    ticking.time_passes()
    assert all(ticking.work_off())
    assert [rig.cost_of(bill["Id"])["grand_total"] for bill in (first, later)] == ["1250.00", "300.00"]
    assert {ticking.colour("procore/direct_costs", day(ago)) for ago in (0, 1)} == {"MATERIALIZED"}
