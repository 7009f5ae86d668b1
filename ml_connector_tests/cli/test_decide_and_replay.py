"""`decide` and `replay`: a person's word, given once and under their account, and what waits, tried again."""

import csv
import os
import pwd
from datetime import date

import pytest

from ml_connector.cli.replay import _stretches
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import CODES, HARBOR, MAPPING, line, today

ACCOUNT = pwd.getpwuid(os.getuid()).pw_name
HEADERS = "PATCH */direct_costs/sync"
LOCKED = {"status": 422, "body": {"errors": {"base": ["Workflow is locked"]}}}


def gate(firm: Firm, **policies: object) -> None:
    firm.rig.configure(policies={"approval": "above", "approval_above": 1000, **policies})


def test_S30_a_person_approves_and_a_replay_of_the_record_posts_it(firm: Firm) -> None:
    gate(firm)
    firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    firm.rig.sync()
    (group,) = firm.shell("holds", "acme", "--json").document()
    (hold,) = group["holds"]
    assert (group["reason"], hold["choices"]) == ("NEEDS_APPROVAL", ["approve", "reject", "exclude"])
    assert "To decide: approve, reject, exclude." in firm.shell("holds", "acme").out
    version = str(hold["version"])
    told = firm.shell(
        "decide", "acme", "bill", "4471", "approve", "--comment", "as ordered", "--version", version, "--json"
    )
    document = told.document()
    assert (told.code, told.err) == (0, "")
    assert (document["record"], document["choice"], document["reason"]) == (
        "bill:1",
        "approve",
        "NEEDS_APPROVAL",
    )
    assert (document["by"], document["comment"], document["version"]) == (ACCOUNT, "as ordered", int(version))
    again = firm.shell("decide", "acme", "bill:1", "reject", "--comment", "no").sentence()
    assert f"was decided before: approve, by {ACCOUNT} at " in again
    assert again.endswith(" UTC: as ordered")
    done = firm.shell("replay", "acme", "--record", "bill 4471", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.document()["outcomes"] == {"posted": 1}
    assert firm.rig.cost_of("1")["grand_total"] == "1250.00"
    entries = firm.shell("audit", "acme", "bill:1", "--json").document()["entries"]
    (decided,) = [entry for entry in entries if entry["event"] == "decided"]
    assert (decided["actor"], decided["detail"]["choice"], decided["detail"]["comment"]) == (
        ACCOUNT,
        "approve",
        "as ordered",
    )
    assert [entry["event"] for entry in entries][-1] == "replayed"


def test_S30_who_published_the_mapping_may_not_approve_whatever_name_the_environment_gives(
    firm: Firm,
) -> None:
    gate(firm, approval_two_persons=True)
    firm.sheet("mapping").write_text(MAPPING + "5075,,,,,,,,,direct_cost,03-3000,M,,,,,\n")
    firm.shell.settings = {"USER": "somebody", "LOGNAME": "somebody", "LNAME": "somebody"}
    assert firm.shell("mapping", "publish", "acme").code == 0
    firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    firm.rig.sync()
    said = firm.shell("decide", "acme", "bill:1", "approve").sentence()
    assert said.startswith(f"{ACCOUNT} published the mapping")
    assert "takes two persons" in said
    assert firm.shell("holds", "acme", "--json").document() != []


def test_a_decision_for_people_tells_who_what_and_what_comes_next(books: Firm) -> None:
    told = books.shell("decide", "acme", "bill:3", "exclude", "--comment", "not [bold]ours[/bold]")
    assert told.code == 0
    assert f"UNMAPPED: exclude, by {ACCOUNT} at " in told.out
    assert "not [bold]ours[/bold]" in told.out
    assert "`ml-connector replay acme --record bill:3` does so now" in told.out
    books.rig.settle()
    assert books.rig.record("Bill", "3").state == "excluded"
    assert books.rig.record("Bill", "2").state == "held"


def test_what_cannot_be_decided_is_one_sentence(books: Firm) -> None:
    assert (
        "it takes exclude (UNMAPPED), not approve"
        in books.shell("decide", "acme", "bill:3", "approve").sentence()
    )
    assert "needs a comment" in books.shell("decide", "acme", "bill:3", "exclude").sentence()
    assert (
        "is posted: there is nothing to decide"
        in books.shell("decide", "acme", "bill:1", "approve").sentence()
    )
    assert "no record of acme fits" in books.shell("decide", "acme", "bill:99", "approve").sentence()
    several = books.shell("decide", "acme", "4471", "approve")
    assert (several.code, several.out) == (2, "")
    assert "2 records of acme fit '4471'; name one of them" in several.err
    unknown = books.shell("decide", "acme", "bill:3", "agree")
    assert (unknown.code, unknown.out) == (2, "")
    assert "'agree' is not one of" in unknown.err


def test_S32_a_replay_lists_the_very_set_first_and_then_tells_what_became_of_it(firm: Firm) -> None:
    for number in range(6):
        firm.rig.bookkeeper.bill(f"7{number:03}", [line(10, item="101")])
    firm.rig.bookkeeper.bill("8000", [line("20.10", account="7")])
    firm.rig.procore.fault({"route": HEADERS, "fault": "status", "args": LOCKED})
    firm.rig.sync()
    mark = firm.rig.procore.mark()
    listed = firm.shell("replay", "acme", "--dry-run", "--json").document()
    assert (listed["dry_run"], listed["count"], listed["held"]) == (True, 7, "80.10")
    assert listed["reasons"] == [
        {"reason": "REFUSED", "records": 6, "held": "60.00"},
        {"reason": "UNMAPPED", "records": 1, "held": "20.10"},
    ]
    assert {row["record"] for row in listed["records"]} == {f"bill:{number}" for number in range(1, 8)}
    shown = firm.shell("replay", "acme", "--held", "--dry-run").out
    assert "Dry run: 7 records, 80.10 held would be replayed" in shown
    assert firm.rig.procore.calls(mark) == []

    firm.rig.procore.no_faults()
    firm.rig.procore.fault({"route": HEADERS, "fault": "status", "args": LOCKED, "contains": ':bill:6:101"'})
    told = firm.shell("replay", "acme", "--json")
    document = told.document()
    assert told.code == 1, "the day is still red"
    assert document["outcomes"] == {"held": 2, "posted": 5}
    ended = {row["record"]: row for row in document["records"]}
    assert (ended["bill:6"]["outcome"], ended["bill:6"]["reasons"], ended["bill:6"]["attempt"]) == (
        "held",
        ["REFUSED"],
        2,
    )
    assert ended["bill:7"]["reasons"] == ["UNMAPPED"]
    (run,) = document["runs"]
    assert (run["days"], run["status"]) == (str(today()), "FAILURE")

    firm.rig.procore.no_faults()
    last = firm.shell("replay", "acme", "--day", str(today()))
    assert last.code == 0
    assert "Of 2 records: 1 held, 1 posted." in last.out
    mark = firm.rig.procore.mark()
    assert firm.shell("replay", "acme").code == 0
    assert firm.rig.procore.writes(mark) == []


def test_a_replay_of_one_record_leaves_the_others_of_its_day_alone(firm: Firm) -> None:
    for number in range(2):
        firm.rig.bookkeeper.bill(f"7{number:03}", [line(10, item="101")])
    firm.rig.procore.fault({"route": HEADERS, "fault": "status", "args": LOCKED})
    firm.rig.sync()
    firm.rig.procore.no_faults()
    document = firm.shell("replay", "acme", "--record", "bill:2", "--json").document()
    assert document["outcomes"] == {"posted": 1}
    assert [cost["invoice_number"] for cost in firm.rig.direct_costs()] == ["7001"]


def test_a_replay_sees_what_was_put_right_in_procore_a_moment_ago(firm: Firm) -> None:
    missing = MAPPING.replace("5030,,,,,,,,,direct_cost,01-5000,E", "5030,,,,,,,,,direct_cost,09-2900,S")
    firm.rig.publish(mapping=missing)
    firm.rig.bookkeeper.bill("4471", [line(10, account="3")])
    firm.rig.sync()
    assert [hold.reason for hold in firm.rig.holds()] == ["CODE_MISSING"]
    project = next(row for row in firm.rig.procore.live("projects") if str(row["id"]) == HARBOR)
    firm.rig.procore.load(projects=[{**project, "budget_codes": [*CODES, "09-2900.S"]}])
    assert firm.shell("replay", "acme", "--json").document()["outcomes"] == {"posted": 1}


def test_a_replay_with_nothing_to_do_says_so(books: Firm) -> None:
    assert books.shell("replay", "acme", "--record", "bill:1").out == "Nothing of acme waits there.\n"
    assert books.shell("replay", "acme", "--day", "2026-01-01").out == "Nothing of acme waits there.\n"
    assert books.shell("replay", "acme", "--record", "bill:1", "--json").document()["count"] == 0
    both = books.shell("replay", "acme", "--held", "--record", "bill:1").sentence()
    assert "give one of them" in both


@pytest.mark.parametrize(
    ("days", "stretches"),
    [
        ([], []),
        ([1], [[1]]),
        ([3, 1, 2, 5], [[1, 2, 3], [5]]),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [[1, 2, 3, 4, 5, 6, 7], [8, 9]]),
    ],
)
def test_a_run_takes_days_that_follow_each_other_a_week_at_most(
    days: list[int], stretches: list[list[int]]
) -> None:
    found = _stretches({date(2026, 3, day) for day in days})
    assert [[day.day for day in stretch] for stretch in found] == stretches


def test_an_accountant_decides_in_a_sheet_and_takes_it_back_whole(books: Firm) -> None:
    path = books.rig.home.root / "june.csv"
    written = books.shell("holds", "acme", "--sheet", str(path))
    assert written.code == 0, written.err
    assert "june.csv: 3 rows, 3 of them to decide." in written.out
    assert f"ml-connector decide acme --sheet {path}" in written.out
    assert "is there already" in books.shell("holds", "acme", "--sheet", str(path)).sentence()
    with path.open(newline="", encoding="utf-8-sig") as opened:
        rows = list(csv.DictReader(opened))
    assert "no row has a decision" in books.shell("decide", "acme", "--sheet", str(path)).err
    last = next(row for row in rows if row["record"] == "bill:3")
    last |= {"decision": "exclude", "comment": "Tools of the shop"}
    with path.open("w", newline="", encoding="utf-8-sig") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (made,) = books.shell("decide", "acme", "--sheet", str(path), "--json").document()
    assert (made["record"], made["choice"], made["by"]) == ("bill:3", "exclude", ACCOUNT)
    again = books.shell("decide", "acme", "--sheet", str(path))
    assert (again.code, "was decided before: exclude, by " + ACCOUNT in again.err) == (2, True)
    assert "say which record" in books.shell("decide", "acme").sentence()
    assert (
        "--sheet says everything"
        in books.shell("decide", "acme", "bill:3", "exclude", "--sheet", "x").sentence()
    )
