"""`sync` and `status`: a person's run, and where everything stands."""

from datetime import timedelta

import pytest

from ml_connector.orchestration.clients import vault_of
from ml_connector.store.breaker import ATTEMPTS, PostgresBreaker
from ml_connector.store.vault import Credentials
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import line, today


def test_sync_takes_the_open_day_and_status_tells_what_came_of_it(firm: Firm) -> None:
    firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    firm.rig.bookkeeper.bill("4472", [line("1020.10", account="7")])
    told = firm.shell("sync", "acme", "--json")
    document = told.document()
    assert (told.code, told.err) == (0, "")
    assert document["days"] == [str(today())]
    (run,) = document["runs"]
    assert (run["days"], run["status"], run["problem"]) == (str(today()), "SUCCESS", "")
    bills = {row["state"]: row for row in document["records"] if row["kind"] == "Bill"}
    assert (bills["posted"]["records"], bills["posted"]["posted"]) == (1, "1250.00")
    assert (bills["held"]["records"], bills["held"]["held"]) == (1, "1020.10")
    assert document["holds"] == 1
    assert len(firm.rig.direct_costs()) == 1

    (standing,) = firm.shell("status", "--json").document()
    assert standing["read_to"].endswith("+00:00")
    assert (standing["holds"], standing["days_to_do"]) == (1, [])
    shown = firm.shell("status", "acme").out
    assert "acme: read to " in shown
    assert "no day to do; 1 hold" in shown
    assert "1,020.10" in shown

    again = firm.shell("sync", "acme")
    assert f"{today()}: SUCCESS, run " in again.out
    assert "1 hold: `ml-connector holds acme`" in again.out
    assert again.err == ""
    assert len(firm.rig.direct_costs()) == 1


def test_S29_a_dry_run_tells_what_would_become_of_each_record_and_writes_nothing(firm: Firm) -> None:
    firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    firm.rig.bookkeeper.bill("4472", [line("1020.10", account="7")])
    firm.rig.read()
    told = firm.shell("sync", "acme", "--dry-run", "--json")
    assert (told.code, told.err) == (0, "")
    bills = {row["number"]: row for row in told.document()["records"] if row["record"].startswith("bill:")}
    assert (bills["4471"]["action"], bills["4471"]["amount"]) == ("create", "1250.00")
    assert bills["4472"]["action"] == "hold"
    assert "4472" in bills["4472"]["why"]
    assert firm.rig.procore.writes() == []
    assert "nothing was written" in firm.shell("sync", "acme", "--dry-run").out


def test_status_before_the_first_reading_says_what_reads(firm: Firm) -> None:
    assert "nothing read yet" in firm.shell("status").out


def test_F37_webhooks_of_companies_that_no_connection_names_are_counted(firm: Firm) -> None:
    firm.rig.read()
    for name in (
        "unknown__20261122T080000Z__0123456789abcdef",
        "unknown__20261122T080001Z__0123456789abcdee",
    ):
        (firm.rig.home.inbox / f"{name}.json").write_text('{"realm_id": "777"}')
    (standing,) = firm.shell("status", "--json").document()
    assert standing["webhooks"] == {"waiting": 0, "of_unknown_companies": 2}
    shown = firm.shell("status").out
    assert "2 webhooks of QuickBooks companies that no connection names" in shown


def test_F12_a_vendor_that_does_not_answer_is_told_with_when_it_is_asked_again(firm: Firm) -> None:
    firm.rig.read()
    breaker = PostgresBreaker(firm.rig.engine, "acme", "procore")
    for _ in range(ATTEMPTS):
        breaker.silent("HTTP 503", first=True)
    (standing,) = firm.shell("status", "acme", "--json").document()
    (outage,) = standing["outages"]
    assert (outage["system"], outage["reason"]) == ("procore", "HTTP 503")
    assert outage["since"] < outage["asked_again_at"]
    shown = " ".join(firm.shell("status", "acme").out.split())
    assert "Procore does not answer since" in shown
    assert "(HTTP 503): nothing is sent to it and work waits" in shown


def test_sync_takes_a_range_of_days_of_change_in_one_run_a_week(firm: Firm) -> None:
    first = today() - timedelta(days=8)
    firm.rig.configure(start_date=first.isoformat())
    document = firm.shell("sync", "acme", "--from", str(first), "--to", str(today()), "--json").document()
    assert [run["days"] for run in document["runs"]] == [
        f"{first}...{first + timedelta(days=6)}",
        f"{first + timedelta(days=7)}...{today()}",
    ]
    assert {run["status"] for run in document["runs"]} == {"SUCCESS"}
    assert len(document["days"]) == 9


def test_sync_takes_bills_by_their_own_date_on_the_days_they_were_changed(firm: Firm) -> None:
    first, dated, last, none_on = (str(today() - timedelta(days=ago)) for ago in (9, 7, 5, 3))
    firm.rig.configure(start_date=first)
    firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")], day=dated)
    firm.rig.read()
    told = firm.shell("sync", "acme", "--bill-dates", first, last, "--json")
    assert told.document()["days"] == [str(today())]
    assert firm.rig.cost_of("1")["grand_total"] == "1250.00"
    none = firm.shell("sync", "acme", "--bill-dates", none_on, none_on)
    assert (none.code, none.out) == (0, "No bill of those dates was ever read.\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--from", str(today()), "--bill-dates", "2026-03-01", "2026-03-31"], "give one of the two"),
        (["--from", str(today() - timedelta(days=1))], "the start of acme"),
        (["--to", str(today() + timedelta(days=1))], "today"),
        (["--bill-dates", "2026-03-31", "2026-03-01"], "must not be after"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_days_that_cannot_be_are_one_sentence(options: list[str], told: str, firm: Firm) -> None:
    assert told in firm.shell("sync", "acme", *options).sentence()


def test_a_run_that_failed_ends_with_1_and_its_problem_in_one_sentence(firm: Firm) -> None:
    dead = Credentials("sandbox-client", "sandbox-secret", refresh_token="RT1-revoked")
    vault_of(firm.rig.home, firm.rig.engine).put("acme", "qbo", dead)
    told = firm.shell("sync", "acme", "--json")
    (run,) = told.document()["runs"]
    assert (told.code, run["status"]) == (1, "FAILURE")
    assert run["problem"].startswith("qbo: ")
    assert len(run["problem"].splitlines()) == 1
    assert "RT1-revoked" not in told.out + told.err
    assert "Traceback" not in told.err
    shown = firm.shell("sync", "acme")
    assert shown.code == 1
    assert f"{today()}: FAILURE" in shown.out
    assert "\n  qbo: QuickBooks must be connected again: run `ml-connector connect qbo acme`; " in shown.out
