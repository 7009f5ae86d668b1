"""F50, F51, F52, F53: bills, rules and payments that change while a run is under way, and replays beside it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client
from ml_connector_tests.rig import MAPPING, Rig, line
from ml_connector_tests.scenarios.invariants import invariants, oracle
from ml_connector_tests.scenarios.test_kill_points import a_credit, firm_with_contracts
from ml_connector_tests.scenarios.test_payments import applied, on, pay
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, sub


@pytest.fixture
def contracts(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The firm with two contracts."""
    opened = firm_with_contracts(tmp_path, database)
    try:
        yield opened
        invariants(opened)
    finally:
        opened.close()


def test_F51_bills_edited_or_deleted_between_our_read_and_our_write_end_as_quickbooks_says(rig: Rig) -> None:
    edited = rig.bookkeeper.bill("edited", [line(100, item="101")])
    deleted = rig.bookkeeper.bill("deleted", [line(70, item="101")])
    client, run = procore_client(rig.home, rig.connection, rig.engine), rig.run(sorted(rig.read().days))
    work.map_days(rig.engine, rig.connection, run, lambda: client)
    rig.bookkeeper.edit("Bill", edited, Line=[line(300, item="102")])
    rig.bookkeeper.delete("Bill", deleted)
    work.post(rig.engine, rig.connection, run, client, work.KINDS)
    assert rig.cost_of(edited["Id"])["grand_total"] == "100.00", "what was read"
    rig.sync()
    assert rig.cost_of(edited["Id"])["grand_total"] == "300.00"
    assert rig.record("Bill", deleted["Id"]).state == "reversed"
    assert [cost["grand_total"] for cost in rig.direct_costs()] == ["300.00"]


def test_F50_a_mapping_published_in_mid_run_is_taken_by_the_next_one_and_no_bill_sees_both(rig: Rig) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(10, account="3"), line(20, account="3")])
    client, run = procore_client(rig.home, rig.connection, rig.engine), rig.run(sorted(rig.read().days))
    work.map_days(rig.engine, rig.connection, run, lambda: client)
    rig.publish(mapping=MAPPING.replace("01-5000,E", "01-7800,O"))
    work.post(rig.engine, rig.connection, run, client, work.KINDS)
    rig.settle()
    later = rig.bookkeeper.bill("4472", [line(30, account="3")])
    rig.sync()
    codes = {code["id"]: code["flat_code"] for code in rig.procore.live("wbs_codes")}
    taken = [
        {codes[item["wbs_code_id"]] for item in rig.cost_of(one["Id"])["line_items"]} for one in (bill, later)
    ]
    assert taken == [{"01-5000.E"}, {"01-7800.O"}]


def test_F52_part_payments_a_check_over_three_bills_and_a_credit_come_out_to_the_cent(
    contracts: Rig, measured: Callable[[str], None]
) -> None:
    rig = contracts
    numbers = ("BE-14", "BE-15", "BE-16")
    first, second, third = (rig.bookkeeper.bill(number, [sub(9000)], vendor=BRIGHT) for number in numbers)
    cost = rig.bookkeeper.bill("4471", [line("100.10", item="101")])
    credit = a_credit(rig)
    rig.sync()
    pay(rig, [(first, "3000.33")])
    pay(rig, [(first, "5999.67"), (second, "0.01"), (third, "9000")], number="2232")
    rig.bookkeeper.pay(cost, "50.05", number="2233")
    rig.bookkeeper.post(
        "billpayment",
        {
            "VendorRef": {"value": "21"},
            "PayType": "Check",
            "CheckPayment": {"BankAccountRef": {"value": "35"}},
            "TotalAmt": 0,
            "Line": [applied(cost, "50.05", "Bill"), applied(credit, "50.05", "VendorCredit")],
        },
    )
    rig.sync()
    assert sorted(amount for amount, _, _ in on(rig)) == ["0.01", "3000.33", "5999.67", "9000.00"]
    report = oracle(rig, everything_read=True, at_least=3)
    assert not report.findings, str(report)
    measured(f"F52 part payments, a check over 3 bills, a credit: money_delta {report.delta:.2f}")


def test_F53_a_replay_of_everything_beside_a_live_run_writes_what_is_new_once(rig: Rig) -> None:
    rig.sync()
    bills = [rig.bookkeeper.bill(f"N{number}", [line(10, item="101")]) for number in range(5)]
    faults: list[BaseException] = []

    def beside(deed: Callable[[], object]) -> None:
        try:
            deed()
        except BaseException as fault:  # noqa: BLE001 handed to the test's own thread
            faults.append(fault)

    works = [threading.Thread(target=beside, args=(deed,)) for deed in (rig.sync, rig.replay_everything)]
    for each in works:
        each.start()
    for each in works:
        each.join(60)
    assert faults == []
    rig.sync()
    assert [rig.cost_of(bill["Id"])["grand_total"] for bill in bills] == ["10.00"] * 5
    assert {rig.story("Bill", bill["Id"]).count("posted") for bill in bills} == {1}
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []
