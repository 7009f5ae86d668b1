"""`prove`: for people a table and the differences, for scripts one document and the exit code."""

from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.reading.desk import raw_bill
from ml_connector_tests.rig import ELM, HARBOR, REALM, line, today
from ml_connector_tests.scenarios.test_changes_in_procore import delete

MONTH = f"{today():%Y-%m}"


def test_S113_a_firm_in_order_ends_with_exit_code_0_and_the_calls_it_took(books: Firm) -> None:
    told = books.shell("prove", "acme", "--json")
    document = told.document()
    assert (told.code, document["balanced"], document["problems"]) == (0, True, [])
    assert document["job_cost"]["total"] == {
        "qbo": "1625.10", "procore": "1250.00", "held": "375.10", "excluded": "0.00", "timing": "0.00", "drift": "0.00",
    }  # fmt: skip
    assert document["calls"] == {"qbo": 2, "procore": 9}
    (row,) = [row for row in document["job_cost"]["rows"] if row["cost_code"] == "03-3000"]
    assert (row["project"], row["cost_type"], row["month"], row["procore"]) == (HARBOR, "M", MONTH, "1250.00")
    shown = books.shell("prove", "acme")
    assert shown.code == 0
    assert "Balanced to the cent: QBO 1,625.10 = Procore 1,250.00 + held 375.10 + excluded 0.00." in shown.out


def test_S114_a_record_that_is_gone_is_named_and_the_exit_code_is_1(books: Firm) -> None:
    books.rig.bookkeeper.bill("4480", [line("70.00", item="101", customer="62")])
    books.rig.sync()
    delete(books.rig, books.rig.cost_of("1"))
    told = books.shell("prove", "acme", "--json")
    document = told.document()
    assert (told.code, document["balanced"]) == (1, False)
    (difference,) = document["job_cost"]["differences"]
    assert (difference["direction"], difference["record"]) == ("only in QBO", "bill:1")
    assert (difference["qbo"], difference["procore"]) == ("1250.00", "0.00")
    shown = books.shell("prove", "acme")
    assert shown.code == 1
    assert "only in QBO: Bill 4471 of Granite Supply (QBO id 1)" in shown.out
    assert "Not balanced: 1 difference, drift 1,250.00." in shown.out
    other = books.shell("prove", "acme", "--project", ELM, "--month", MONTH, "--json")
    assert (other.code, other.document()["job_cost"]["total"]["qbo"]) == (0, "70.00")
    assert books.shell("prove", "acme", "--project", HARBOR).code == 1
    assert "is written like 2026-03" in books.shell("prove", "acme", "--month", "March").sentence()


def test_S114_a_bill_hidden_from_the_reader_is_named_and_the_exit_code_is_1(books: Firm) -> None:
    hidden = raw_bill(
        9001, total="77.50", Line=[{"Id": "1", **line("77.50", item="101")}], TxnDate=today().isoformat()
    )
    long_ago = "1999-01-01T00:00:00-00:00"  # before any time that a reader asks for
    hidden["MetaData"] = {"CreateTime": long_ago, "LastUpdatedTime": long_ago}
    books.rig.qbo.load(realm=REALM, Bill=[hidden])
    books.rig.sync()
    shown = books.shell("prove", "acme")
    assert shown.code == 1
    assert "QBO id 9001" in shown.out
    assert "never read" in shown.out
    assert "Not balanced: 1 difference, drift 77.50." in shown.out
