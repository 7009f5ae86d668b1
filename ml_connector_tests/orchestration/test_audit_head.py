"""S115: each run leaves the end of the audit trail outside our tables, in a file of the home and in Dagster."""

from sqlalchemy import text

from ml_connector.orchestration.audit_heads import heads_in_dagster
from ml_connector.proving import trail
from ml_connector.store import audit
from ml_connector_tests.orchestration.stage import Stage


def test_S115_a_cut_of_everything_since_a_run_shows_against_what_the_run_noted(stage: Stage) -> None:
    stage.bill("G-1", "100.10")
    assert stage.run().success
    rig = stage.rig
    with rig.engine.connect() as db:
        head = audit.head(db, rig.name)
    noted = trail.noted_heads(rig.home.audit_heads(rig.name))
    assert [(one.number, one.hash) for one in noted] == [(head.number, head.hash.hex())]
    assert stage.metadata("procore/direct_costs")["audit_head"] == str(head)
    assert [(one.number, one.hash) for one in heads_in_dagster(stage.instance, rig.name)] == [
        (head.number, head.hash.hex())
    ]
    assert trail.verify(rig.engine, rig.name, noted).faults == []
    with rig.engine.begin() as db:
        db.execute(text("set local session_replication_role = replica"))
        db.execute(text("delete from ml_connector.audit where number > 2"))
        db.execute(
            text(
                "update ml_connector.audit_head set number = 2, "
                "hash = (select hash from ml_connector.audit where number = 2)"
            )
        )
    (fault,) = trail.verify(rig.engine, rig.name, noted).faults
    assert fault.number == 3
    assert fault.sentence.startswith(f"entries 3 to {head.number} were cut off at the end")


def test_a_run_that_adds_nothing_notes_no_head_again(stage: Stage) -> None:
    stage.bill("G-1", "100.10")
    assert stage.run().success
    rig = stage.rig
    file = rig.home.audit_heads(rig.name)
    with rig.engine.connect() as db:
        before = audit.head(db, rig.name)
    lines = file.read_text().count("\n")
    assert stage.run(job="post", automatic=True).success
    with rig.engine.connect() as db:
        same = audit.head(db, rig.name) == before
    assert file.read_text().count("\n") == lines + (not same)
