"""`draft`, `rehearse`, `takeover`: what an accountant types before the first bill is posted, and the report afterwards."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ml_connector.cli.connections import MAPPING_HEADER, PROJECTS_HEADER
from ml_connector.takeover.rehearsal import last_quarter
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.cli.shell import Shell
from ml_connector_tests.rig import MAPPING, line, open_rig, today
from ml_connector_tests.rig import firm as fixture_firm

QUARTER = last_quarter(today())
IN_QUARTER = (QUARTER.first + timedelta(days=40)).isoformat()


@pytest.fixture
def unpublished(tmp_path: Path, database_url: str) -> Iterator[Firm]:
    """The fixture firm, connected, and no sheet of it was ever published."""
    rig = open_rig(tmp_path, database_url, fixture=False, start_date=today().isoformat())
    fixture_firm(rig.qbo, rig.procore)
    opened = Firm(rig, Shell(rig.home.root, database_url))
    yield opened
    opened.shell.end()
    rig.close()


def test_S89_a_new_connection_is_drafted_and_rehearsed_and_no_sheet_of_a_person_is_touched(
    unpublished: Firm,
) -> None:
    rig, shell = unpublished.rig, unpublished.shell
    folder = rig.home.folder("acme")
    (folder / "mapping.csv").write_text(MAPPING_HEADER)
    (folder / "projects.csv").write_text(f"{PROJECTS_HEADER}61,101,mine\n")
    rig.bookkeeper.bill("A", [line(800, item="101")], day=IN_QUARTER)
    rig.bookkeeper.bill("B", [line(200, item="101", customer="64")], day=IN_QUARTER)
    done = shell("draft", "acme", "--json").document()
    files = {entry["sheet"]: (Path(entry["file"]).name, entry["to_fill"]) for entry in done["drafts"]}
    assert files == {"projects": ("projects.draft.csv", 1), "mapping": ("mapping.csv", 1)}
    assert 'Mill Bridge,,"no project alike; 1 line, 200.00' in (folder / "projects.draft.csv").read_text(
        "utf-8-sig"
    )
    assert done["rehearsal"]["quarter"] == str(QUARTER)
    assert done["rehearsal"]["bills"] == {"bills": 2, "amount": "1000.00"}
    assert (folder / "projects.csv").read_text() == f"{PROJECTS_HEADER}61,101,mine\n", "it has rows"
    assert "Ready-mix" in (folder / "mapping.csv").read_text("utf-8-sig")
    assert "remove it, then draft again" in shell("draft", "acme").sentence()
    (folder / "mapping.csv").write_text(MAPPING)  # a person has filled it in
    told = shell("rehearse", "acme")
    assert told.code == 0, told.err
    shown = " ".join(told.out.split())
    assert "would be posted │ │ 1 │ 800.00" in shown
    assert "customer: Mill Bridge; project: ? (no project alike" in shown
    assert "The first load from" in shown
    assert "2026-Q2, not last" in shell("rehearse", "acme", "--quarter", "last").sentence()
    assert "within the last 12 months" in shell("rehearse", "acme", "--quarter", "2019-Q1").sentence()
    assert rig.procore.writes() == []


def test_S89_the_report_to_sign_and_S91_the_first_load_are_told(books: Firm) -> None:
    done = books.shell("takeover", "acme", "--json").document()
    assert (done["direct_costs"]["new"]["bills"], done["direct_costs"]["new"]["amount"]) == (1, "1250.00")
    assert done["commitments"] == []
    load = done["first_load"]
    assert (load["over"], load["bills"], load["bills_done"]) == (True, 3, 3)
    assert load["projects"] == {"101": "1250.00"}
    told = " ".join(books.shell("takeover", "acme").out.split())
    assert "First load done: 3 of 3 bills and credits" in told
    assert "Posted by project: 101: 1,250.00." in told
