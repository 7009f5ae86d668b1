"""The proof in Dagster: a table of the money, and a check that goes red with the first differences."""

from datetime import UTC, datetime

import dagster as dg
from sqlalchemy import update

from ml_connector.orchestration import ticks
from ml_connector.store.tables import vault
from ml_connector.store.vault import State
from ml_connector_tests.orchestration.stage import Stage, checks
from ml_connector_tests.scenarios.test_changes_in_procore import delete

PROOF = "proof/reconciliation"
CHECK = f"{PROOF} both_sides_balance"


def prove(stage: Stage) -> dg.ExecuteInProcessResult:
    """The nightly run."""
    return stage.definitions.resolve_job_def("acme__proof").execute_in_process(
        instance=stage.instance, raise_on_error=False
    )


def told(stage: Stage) -> dict[str, object]:
    """What the newest proof shows."""
    record = stage.instance.fetch_materializations(stage.key(PROOF), limit=1).records[0]
    found = record.asset_materialization
    assert found is not None
    return {label: entry.value for label, entry in found.metadata.items()}


def test_S113_the_nightly_proof_shows_the_money_and_its_check_is_green(stage: Stage) -> None:
    stage.bill("4471", "1250.00")
    stage.run()
    stage.work_off()
    result = prove(stage)
    assert result.success
    assert checks(result)[CHECK].passed
    shown = told(stage)
    assert (shown["qbo"], shown["procore"], shown["drift"], shown["differences"]) == (
        "1250.00",
        "1250.00",
        "0.00",
        0,
    )
    plotted = [shown[key] for key in ("qbo_rounded", "procore_rounded", "held_rounded", "drift_cents")]
    assert plotted == [1250, 1250, 0, 0]
    assert "| 101 Harbor Clinic | 1,250.00 | 1,250.00 | 0.00 | 0.00 | 0.00 | 0.00 |" in str(
        shown["by_project"]
    )
    assert str(shown["verdict"]).startswith("Balanced to the cent")


def test_S114_the_check_goes_red_with_the_record_that_is_missing(stage: Stage) -> None:
    bill = stage.bill("4471", "1250.00")
    stage.run()
    stage.work_off()
    delete(stage.rig, stage.rig.cost_of(bill["Id"]))
    result = prove(stage)
    assert result.success
    found = checks(result)[CHECK]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    words = str(found.metadata["first_differences"].value)
    assert f"only in QBO: Bill 4471 of Granite Supply (QBO id {bill['Id']})" in words
    assert "1,250.00" in words
    assert found.metadata["differences"].value == 1
    assert (told(stage)["drift"], told(stage)["drift_cents"]) == ("1250.00", 125_000)


def test_the_night_is_skipped_while_a_grant_is_lost(stage: Stage) -> None:
    stage.rig.sync()
    schedule = stage.definitions.resolve_schedule_def("acme__nightly_proof")
    due = dg.build_schedule_context(
        instance=stage.instance,
        scheduled_execution_time=datetime.now(UTC),
        repository_def=stage.definitions.get_repository_def(),
    )
    try:
        assert len(schedule.evaluate_tick(due).run_requests or []) == 1
        with stage.rig.engine.begin() as db:
            db.execute(update(vault).values(state=State.RECONNECT_NEEDED).where(vault.c.system == "qbo"))
        tick = schedule.evaluate_tick(due)
        assert tick.run_requests == []
        assert "ml-connector connect" in (tick.skip_message or "")
    finally:
        ticks.engine().dispose()
