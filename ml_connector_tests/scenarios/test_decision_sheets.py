"""The accountant's sheet: what waits is written, filled in and taken back, all of it or nothing."""

import csv
import io

import pytest

from ml_connector.mapping import decision_sheet
from ml_connector.mapping.table import SheetRefused
from ml_connector.store.decisions import Made
from ml_connector_tests.rig import MAPPING_HEADER, Rig, line
from ml_connector_tests.scenarios.test_decisions import UNMAPPED_ACCOUNT, gate, money, writes_nothing

Row = dict[str, str]


def sheet(rig: Rig) -> list[Row]:
    """The rows as the accountant opens them."""
    with rig.engine.connect() as db:
        content = decision_sheet.written(decision_sheet.waiting(db, rig.name), rig.connection)
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def fill(rows: list[Row], qbo_id: str, decision: str, comment: str = "", *, reason: str = "") -> None:
    for row in rows:
        if row["record"] == f"bill:{qbo_id}" and reason in ("", row["reason"]):
            row |= {"decision": decision, "comment": comment}


def take(rig: Rig, rows: list[Row], *, by: str = "berta") -> list[Made]:
    """What `decide --sheet` does; Excel saves with semicolons here."""
    out = io.StringIO()
    writer = csv.DictWriter(out, decision_sheet.COLUMNS, delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    with rig.engine.begin() as db:
        return decision_sheet.decide_by(db, rig.connection, out.getvalue().encode("utf-8-sig"), by=by)


def faults(rig: Rig, rows: list[Row]) -> dict[int, str]:
    """Why a sheet is refused, by row as Excel counts."""
    with pytest.raises(SheetRefused) as refused:
        take(rig, rows)
    return {fault.row: fault.text for fault in refused.value.faults}


def test_S30_a_sheet_says_all_that_is_needed_and_decides_many_bills_at_once(rig: Rig) -> None:
    gate(rig)
    big = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    odd = rig.bookkeeper.bill("=1+1", [line(20, account=UNMAPPED_ACCOUNT), line(5, account=UNMAPPED_ACCOUNT)])
    twice = rig.bookkeeper.bill("=1+1", [line(40, item="101")])
    later = rig.bookkeeper.bill("4479", [line(30, account=UNMAPPED_ACCOUNT)])
    payment = rig.bookkeeper.pay(big, "10")
    rig.sync()
    rows = sheet(rig)
    of = {row["record"]: row for row in rows}
    assert of[f"bill:{big['Id']}"]["choices"] == "approve, reject, exclude"
    assert of[f"bill:{big['Id']}"]["amount"] == "12000.00"
    assert of[f"bill:{big['Id']}"]["link"].endswith(f"/bill?txnId={big['Id']}")
    assert "what is above 10,000.00 needs approval" in of[f"bill:{big['Id']}"]["what to do"]
    lines = of[f"bill:{odd['Id']}"]
    assert (lines["reason"], lines["amount"], lines["choices"]) == ("UNMAPPED", "25.00", "exclude")
    assert "Line 1 of" in lines["what to do"]
    assert "Line 2 of" in lines["what to do"]
    assert (lines["number"], lines["vendor"]) == ("'=1+1", "Granite Supply")
    assert of[f"billpayment:{payment['Id']}"]["choices"] == ""
    assert of[f"billpayment:{payment['Id']}"]["freed by"] == "the bill that it pays, once that is posted"
    fill(rows, big["Id"], "Approve", "as ordered")
    fill(rows, odd["Id"], "exclude", "private purchase")
    fill(rows, twice["Id"], "post anyway")
    made = take(rig, rows)
    assert {(one.qbo_id, one.choice, one.by) for one in made} == {
        (big["Id"], "approve", "berta"),
        (odd["Id"], "exclude", "berta"),
        (twice["Id"], "post_anyway", "berta"),
    }
    rig.settle()
    assert [money(rig, bill)[0] for bill in (big, odd, twice, later)] == [
        "posted",
        "excluded",
        "posted",
        "held",
    ]
    writes_nothing(rig)


def test_a_sheet_with_faults_decides_nothing_and_tells_every_one_with_its_row(rig: Rig) -> None:
    rig.configure(policies={"approval": "all"})
    bills = [rig.bookkeeper.bill(f"{number}", [line(10, item="101")]) for number in range(4471, 4478)]
    rig.sync()
    rows = sheet(rig)
    assert [row["record"] for row in rows] == [f"bill:{bill['Id']}" for bill in bills]
    for place, (decision, comment) in enumerate(
        [
            ("approve", ""),
            ("aprove", ""),
            ("reject", ""),
            ("", "why?"),
            ("next_open_day", ""),
            ("approve", ""),
        ]
    ):
        rows[place] |= {"decision": decision, "comment": comment}
    rows[5]["record"] = "bill:99999"
    rows[6] |= {**rows[0]}
    found = faults(rig, rows)
    assert sorted(found) == [3, 4, 5, 6, 7, 8]
    assert found[3] == "'aprove' is no choice: choose among approve, reject, exclude"
    assert "needs a comment" in found[4]
    assert "it has a comment and no decision: choose among approve, reject, exclude" in found[5]
    assert "it takes approve, reject, exclude (NEEDS_APPROVAL), not next_open_day" in found[6]
    assert "'bill:99999' is no record of acme" in found[7]
    assert found[8] == "row 2 decides the same hold: keep one of them"
    rig.settle()
    assert len(rig.holds()) == len(bills), "the good row was not taken either"
    assert faults(rig, sheet(rig)) == {
        0: "no row has a decision: write one of the row's choices into the column decision"
    }


def test_S31_a_sheet_of_yesterday_decides_nothing_that_changed_since_nor_anything_twice(rig: Rig) -> None:
    rig.configure(policies={"approval": "all"})
    edited, recoded, done, waits = (
        rig.bookkeeper.bill(f"{number}", [line(10, item=item)])
        for number, item in enumerate(("101", "102", "101", "101"), start=4471)
    )
    rig.sync()
    old = sheet(rig)
    mine = [row for row in old if row["record"] in (f"bill:{done['Id']}", f"bill:{waits['Id']}")]
    fill(mine, done["Id"], "approve")
    take(rig, mine)
    assert "was decided before: approve, by berta" in faults(rig, mine)[2], "also before a run took it up"
    rig.settle()
    rig.bookkeeper.edit("Bill", edited, Line=[line(15, item="101")])
    # The rules change, the bill does not: its approval would be for another code than the sheet told.
    rig.publish(
        mapping=f"{MAPPING_HEADER}\n,Ready-mix,,,,,,,,direct_cost,03-3000,M,,,,,\n,Lumber,,,,,,,,direct_cost,06-1000,L,,,,,\n"
    )
    rig.sync()
    for bill in (edited, recoded, done, waits):
        fill(old, bill["Id"], "approve")
    found = faults(rig, old)
    assert sorted(found) == [2, 3, 4]
    assert all("does not wait for this any more, or it was changed" in text for text in found.values())
    assert "the last decision on it was approve, by berta at " in found[4]
    fresh = sheet(rig)
    assert any("06-1000 / L" in row["what to do"] for row in fresh)
    for bill in (edited, recoded, waits):
        fill(fresh, bill["Id"], "approve")
    take(rig, fresh)
    rig.settle()
    assert rig.holds() == []
