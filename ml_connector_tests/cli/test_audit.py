"""S115 and S116 as an auditor meets them: `audit NAME RECORD`, `audit verify`, `audit export`."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from ml_connector.orchestration.audit_heads import LABEL
from ml_connector.proving import trail
from ml_connector.proving.trail_export import COLUMNS, MARK, SCHEMA, neutral
from ml_connector.store import audit
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import line, today

DOC = Path(__file__).parents[2] / "docs" / "audit.md"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1"]


def csv_rows(shown: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shown.removeprefix("\ufeff"), newline="")))


def tamper(firm: Firm, *statements: str) -> None:
    with firm.rig.engine.begin() as db:
        db.execute(text("set local session_replication_role = replica"))
        for statement in statements:
            db.execute(text(statement))


def test_S115_a_whole_trail_is_told_with_its_head_and_exit_code_0(books: Firm) -> None:
    told = books.shell("audit", "verify", "acme")
    assert (told.code, told.err) == (0, "")
    with books.rig.engine.connect() as db:
        head = audit.head(db, "acme")
    assert f"The audit trail of acme is whole: {head.number} entries" in told.out
    assert f"Head: {head}\n" in told.out
    assert "No head was noted elsewhere yet" in told.out
    document = books.shell("audit", "verify", "acme", "--head", str(head), "--json").document()
    assert (document["whole"], document["faults"], document["head"]) == (True, [], str(head))
    assert (document["noted_heads"], document["given_heads"]) == (0, 1)


def test_S115_a_changed_row_is_named_and_the_exit_code_is_1(books: Firm) -> None:
    tamper(books, "update ml_connector.audit set actor = 'x' where number = 3")
    told = books.shell("audit", "verify", "acme")
    assert told.code == 1
    assert "3: entry 3 was changed" in told.out
    assert "is NOT whole" in told.out
    told = books.shell("audit", "verify", "acme", "--json")
    assert told.code == 1
    assert [fault["number"] for fault in told.document()["faults"]] == [3]


def test_S115_a_cut_end_shows_against_the_file_of_heads_and_a_printed_one(books: Firm) -> None:
    with books.rig.engine.connect() as db:
        head = audit.head(db, "acme")
    last = head.number - 2
    tamper(
        books,
        f"delete from ml_connector.audit where number > {last}",
        f"update ml_connector.audit_head set number = {last}, "
        f"hash = (select hash from ml_connector.audit where number = {last})",
    )
    assert books.shell("audit", "verify", "acme").code == 0
    told = books.shell("audit", "verify", "acme", "--head", head.hash.hex())
    assert (told.code, "was cut off or rewritten" in told.out) == (1, True)
    trail.note_head(head, books.rig.home.audit_heads("acme"), run_id="run-7")
    told = books.shell("audit", "verify", "acme")
    assert told.code == 1
    assert f"{last + 1}: entries {last + 1} to {head.number} were cut off at the end" in told.out
    assert "by run run-7" in told.out


def test_S115_the_last_ten_entries_cut_off_with_head_and_file_show_against_dagsters_event_log(
    books: Firm,
) -> None:
    rig = books.rig
    told = books.shell("audit", "verify", "acme")
    assert (told.code, "Dagster's event log was not asked" in told.out) == (0, True)
    with rig.engine.connect() as db:
        head = audit.head(db, "acme")
    rig.home.dagster.mkdir(parents=True)
    (rig.home.dagster / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(rig.home.dagster)) as instance:
        key = dg.AssetKey(["acme", "procore", "direct_costs"])
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata={LABEL: str(head)}))
    document = books.shell("audit", "verify", "acme", "--json").document()
    assert (document["whole"], document["noted_heads"], document["dagster_heads"]) == (True, 0, 1)
    last = head.number - 10
    assert last > 0
    tamper(
        books,
        f"delete from ml_connector.audit where number > {last}",
        f"update ml_connector.audit_head set number = {last}, "
        f"hash = (select hash from ml_connector.audit where number = {last})",
    )
    told = books.shell("audit", "verify", "acme")
    assert told.code == 1
    assert f"{last + 1}: entries {last + 1} to {head.number} were cut off at the end" in told.out
    assert f"the head {head.number} was noted in Dagster" in told.out
    (rig.home.dagster / "dagster.yaml").write_text("nonsense: 1\n")
    assert (
        "event log, which has heads of the trail, cannot be read"
        in books.shell("audit", "verify", "acme").sentence()
    )


def test_S115_what_cannot_be_checked_ends_with_code_2(books: Firm) -> None:
    assert "no head of an audit trail" in books.shell("audit", "verify", "acme", "--head", "x").sentence()
    books.shell("audit", "verify", "nobody").sentence()
    file = books.rig.home.audit_heads("acme")
    file.parent.mkdir(parents=True)
    file.write_text("nonsense\n")
    assert "line 1, is no head" in books.shell("audit", "verify", "acme").sentence()


def test_S116_one_page_tells_versions_rule_publisher_calls_result_and_links(books: Firm) -> None:
    books.shell.settings["ML_CONNECTOR_UI_URL"] = "https://dagster.example/"
    document = books.shell("audit", "acme", "bill:1", "--json").document()
    assert document == books.shell("audit", "show", "acme", "bill:1", "--json").document()
    assert document == books.shell("audit", "--json", "acme", "bill:1").document()
    assert (document["now"]["state"], document["now"]["posted"]) == ("posted", "1250.00")
    assert [(one["total"], one["is_current"]) for one in document["versions"]] == [("1250.00", True)]
    (mapped,) = document["lines"]
    assert (mapped["amount"], mapped["outcome"]) == ("1250.00", "posted")
    assert mapped["rule"]
    assert {(one["sheet"], one["version"]) for one in document["sheets"]} == {("mapping", 1), ("projects", 1)}
    assert all(one["published_by"] for one in document["sheets"])
    (target,) = document["targets"]
    assert (target["kind"], target["amount"]) == ("direct_cost", "1250.00")
    assert target["procore_id"] == books.rig.cost_of("1")["id"]
    assert {entry["run_link"] for entry in document["entries"]} == {
        f"https://dagster.example/runs/{entry['run']}" for entry in document["entries"]
    }
    shown = books.shell("audit", "acme", "bill:1").out
    for words in (mapped["rule"], str(target["procore_id"]), document["sheets"][0]["published_by"]):
        assert words in shown
    assert all(entry["run_link"] in shown for entry in document["entries"])


def test_S116_a_later_change_of_the_bill_is_on_its_page(books: Firm) -> None:
    bill = books.rig.bookkeeper.read("Bill", "1")
    books.rig.bookkeeper.edit("Bill", bill, Line=[line("1300.00", item="101")])
    books.rig.sync()
    document = books.shell("audit", "acme", "bill:1", "--json").document()
    assert [one["total"] for one in document["versions"]] == ["1250.00", "1300.00"]
    assert document["now"]["posted"] == "1300.00"
    assert [entry["event"] for entry in document["entries"]].count("posted") == 2


def test_S116_a_formula_in_a_vendors_name_or_number_stays_text_in_the_export(firm: Firm) -> None:
    firm.rig.bookkeeper.bill("=1+1", [line("10.00", item="101")])
    firm.rig.sync()
    with firm.rig.engine.begin() as db:
        db.execute(text("update ml_connector.record set vendor_name = '@SUM(A1)' where entity = 'Bill'"))
    rows = csv_rows(firm.shell("audit", "export", "acme", "--record", "bill:1").out)
    assert {(row["document"], row["vendor"]) for row in rows} == {("'=1+1", "'@SUM(A1)")}
    document = firm.shell("audit", "export", "acme", "--record", "bill:1", "--json").document()
    assert {(one["document"], one["vendor"]) for one in document["entries"]} == {("=1+1", "@SUM(A1)")}


@pytest.mark.parametrize("cell", FORMULAS)
def test_S116_cells_that_a_spreadsheet_would_execute_are_marked_and_can_be_read_back(cell: str) -> None:
    assert neutral(cell) == MARK + cell
    assert neutral(cell).removeprefix(MARK) == cell


@pytest.mark.parametrize("cell", ["", "1", "Granite = Supply", "a-b", '{"total":"-1.00"}', " =1"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert neutral(cell) == cell


def test_the_export_holds_every_entry_in_the_stated_columns(books: Firm) -> None:
    rows = csv_rows(books.shell("audit", "export", "acme").out)
    document = books.shell("audit", "export", "acme", "--json").document()
    assert (document["schema"], document["connection"]) == (SCHEMA, "acme")
    assert tuple(rows[0]) == COLUMNS
    assert all(set(entry) == set(COLUMNS) for entry in document["entries"])
    assert [row["number"] for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    assert [str(entry["number"]) for entry in document["entries"]] == [row["number"] for row in rows]
    assert [entry["detail"] for entry in document["entries"]] == [json.loads(row["detail"]) for row in rows]
    assert [row["previous_hash"] for row in rows[1:]] == [row["hash"] for row in rows[:-1]]
    words = DOC.read_text()
    assert SCHEMA in words
    assert all(f"| `{column}` |" in words for column in COLUMNS)


def test_the_export_takes_days_of_the_company_and_writes_a_file_for_this_account_alone(
    books: Firm, tmp_path: Path
) -> None:
    day = today()

    def numbers(*options: str) -> list[str]:
        return [row["number"] for row in csv_rows(books.shell("audit", "export", "acme", *options).out)]

    every = numbers()
    before, after = (str(day + timedelta(days=offset)) for offset in (-1, 1))
    assert numbers("--from", before, "--to", after) == every
    assert numbers("--from", str(day + timedelta(days=2))) == []
    assert numbers("--to", str(day - timedelta(days=2))) == []
    wrong = books.shell("audit", "export", "acme", "--from", after, "--to", before)
    assert "lies before" in wrong.sentence()
    out = tmp_path / "trail.csv"
    told = books.shell("audit", "export", "acme", "--out", str(out))
    assert (told.code, told.out) == (0, "")
    assert f"{len(every)} entries in" in told.err
    assert len(csv_rows(out.read_bytes().decode("utf-8"))) == len(every)
    assert out.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("trail")] == ["trail.csv"]
    assert "cannot be written" in books.shell("audit", "export", "acme", "--out", "/nowhere/x").sentence()


def test_S117_no_export_crosses_to_another_connection(books: Firm) -> None:
    def export(*options: str) -> Any:
        return books.shell("audit", "export", "acme", *options, "--json").document()["entries"]

    before = len(export())
    with books.rig.engine.begin() as db:
        audit.append(db, "other", [audit.Entry("seen", "Bill", "1", {})], run_id="r", actor="x")
    assert len(export()) == before
    assert {entry["connection"] for entry in export("--record", "bill:1")} == {"acme"}
