"""Sheets and decisions that people save into the folder of a connection: noticed, published or refused, once."""

import csv
import os
from pathlib import Path

import dagster as dg
import pytest

from ml_connector.errors import SetupError
from ml_connector.mapping.sheet_files import account_of, take_in
from ml_connector.mapping.table import SheetRefused
from ml_connector.orchestration import ticks
from ml_connector.store import sheets
from ml_connector_tests.orchestration.stage import Stage, checks
from ml_connector_tests.rig import MAPPING, PROJECTS, Rig, line
from ml_connector_tests.scenarios.test_decision_sheets import fill, sheet

TOOLS_RULE = f"{MAPPING}5075,,,,,,,,,direct_cost,03-3000,M,,,,,\n"
ME = account_of(os.getuid())


def newest(rig: Rig, name: str = "mapping") -> tuple[int, str]:
    with rig.engine.connect() as db:
        found = sheets.newest(db, rig.name, name)
    assert found is not None
    return found.version, found.published_by


class Watch:
    """The sensor, tick after tick, and the runs that it asks for."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.cursor = stage, ""
        self.sensor = stage.definitions.resolve_sensor_def("sheet_files")

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            instance=self.stage.instance,
            definitions=self.stage.definitions,
            sensor_name="sheet_files",
            cursor=self.cursor,
        )
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor or ""
        return list(data.run_requests or [])

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        job = self.stage.definitions.resolve_job_def("acme__sheets")
        return job.execute_in_process(
            instance=self.stage.instance, tags=dict(request.tags), raise_on_error=False
        )

    def green(self, result: dg.ExecuteInProcessResult) -> bool:
        return checks(result)["sheets/published every_file_can_be_taken_in"].passed


def test_S24_a_saved_mapping_is_published_in_its_owners_name_and_a_broken_one_is_refused_once(
    stage: Stage,
) -> None:
    rig, watch = stage.rig, Watch(stage)
    folder = rig.home.folder(rig.name)
    (folder / "mapping.csv").write_text(MAPPING)
    (folder / "projects.csv").write_text(PROJECTS)
    (folder / "vendors.csv").write_text("vendor,procore_vendor\n")
    assert [watch.tick() for _ in range(3)] == [[], [], []], "as published, or never published by a person"
    held = rig.bookkeeper.bill("4471", [line(20, account="7")])
    rig.sync()
    (folder / "mapping.csv").write_text(TOOLS_RULE[:-20])
    assert watch.tick() == [], "it may be in the middle of being written"
    (folder / "mapping.csv").write_text(TOOLS_RULE)
    assert watch.tick() == []
    (asked,) = watch.tick()
    assert (asked.job_name, watch.tick()) == ("acme__sheets", [])
    done = watch.run(asked)
    assert (done.success, watch.green(done), newest(rig)) == (True, True, (2, ME))
    rig.settle()
    assert rig.record("Bill", held["Id"]).state == "posted"
    (folder / "mapping.csv").write_text("route,cost_code\nnowhere,1\ndirect_cost,\n")
    watch.tick()
    (refused,) = watch.tick()
    broken = watch.run(refused)
    assert not broken.success
    assert failure_text(broken).startswith("mapping.csv was refused, 4 faults:\n  row 2, route: 'nowhere'")
    assert (watch.green(broken), newest(rig)) == (False, (2, ME))
    assert [watch.tick() for _ in range(2)] == [[], []], "it is not tried again"
    os.utime(folder / "mapping.csv")
    assert [watch.tick() for _ in range(2)] == [[], []], "nor when only its time changes"
    (folder / "projects.csv").write_text(PROJECTS + "64,101,Mill Bridge\n")
    watch.tick()
    (other,) = watch.tick()
    beside = watch.run(other)
    assert (beside.success, watch.green(beside)) == (True, False), "the other sheet is still broken"
    assert newest(rig, "projects") == (2, ME)
    (folder / "mapping.csv").write_text(TOOLS_RULE)
    watch.tick()
    (restored,) = watch.tick()
    again = watch.run(restored)
    assert (again.success, watch.green(again), newest(rig)) == (True, True, (2, ME))
    assert len({request.run_key for request in (asked, refused, other, restored)}) == 4
    ticks.engine().dispose()


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = event.step_failure_data.user_failure_data
    assert said is not None
    return said.description or ""


def test_S30_decisions_are_taken_from_the_folder_in_the_name_of_the_one_who_alone_could_write_them(
    stage: Stage,
) -> None:
    rig = stage.rig
    rig.configure(policies={"approval": "all", "approval_two_persons": True})
    bill = rig.bookkeeper.bill("4471", [line(20, item="101")])
    rig.sync()
    folder = rig.home.folder(rig.name)
    saved = folder / "decisions" / "june.csv"
    saved.parent.mkdir()
    rows = sheet(rig)
    fill(rows, bill["Id"], "approve")
    write(saved, rows)
    saved.chmod(0o664)

    def take(name: str) -> str:
        return take_in(rig.engine, rig.home, rig.connection, name)

    with pytest.raises(SetupError, match=rf"others than {ME} may write it.* decide acme --sheet FILE"):
        take("decisions/june.csv")
    (folder / "mapping.csv").write_text(TOOLS_RULE)
    (folder / "mapping.csv").chmod(0o666)
    with pytest.raises(SetupError, match=rf"others than {ME} may write it.* mapping publish acme"):
        take("mapping")
    saved.chmod(0o644)
    watch = Watch(stage)
    watch.tick()
    requests = watch.tick()
    done = watch.run(requests[0])
    assert (done.success, saved.exists()) == (False, False), "the mapping is refused, the decisions are not"
    assert "mapping.csv is not taken" in failure_text(done)
    (put_away,) = (saved.parent / "done").iterdir()
    assert put_away.name.endswith("Z__june.csv")
    rig.settle()
    assert rig.record("Bill", bill["Id"]).state == "posted"
    write(saved, rows)
    with pytest.raises(SheetRefused, match=rf"row 2, decision: bill:\d+ does not wait .*approve, by {ME}"):
        take("decisions/june.csv")
    assert saved.exists(), "what is refused stays for the person"
    (folder / "mapping.csv").chmod(0o644)
    assert take("mapping") == f"mapping.csv of {ME} is version 2"
    ticks.engine().dispose()


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
