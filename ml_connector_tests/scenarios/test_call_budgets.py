"""What reading and posting may cost in calls, counted from the journals of the sandbox."""

from collections import Counter
from typing import Any

from ml_connector_tests.reading.desk import raw_bill
from ml_connector_tests.rig import CODES, COMPANY, Rig, line
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, period, sub, subcontract

CUSTOMERS = ["61", "62", "65", "66", "67"]
PROJECTS = ["101", "102", "105", "106", "107"]


def five_projects(rig: Rig) -> None:
    """Two projects more beside those of the firm's that are open, and one, all of them linked."""
    rig.qbo.load(
        Customer=[
            {
                "Id": qbo_id,
                "DisplayName": f"Job {qbo_id}",
                "FullyQualifiedName": f"Job {qbo_id}",
                "Active": True,
            }
            for qbo_id in CUSTOMERS[2:]
        ]
    )
    rig.procore.load(
        projects=[
            {
                "id": int(project),
                "company_id": COMPANY,
                "name": f"Job {project}",
                "active": True,
                "budget_codes": CODES,
            }
            for project in PROJECTS[2:]
        ]
    )
    links = [f"{customer},{project}," for customer, project in zip(CUSTOMERS, PROJECTS, strict=True)]
    rig.publish(projects="\n".join(["customer,project,note", *links, ""]))


def three_lines(number: int) -> list[dict[str, Any]]:
    """The lines of a bill on one of the projects."""
    customer = CUSTOMERS[number % len(CUSTOMERS)]
    made = [line(amount, item="101", customer=customer) for amount in (10, 20, 30)]
    return [{"Id": str(position), **one} for position, one in enumerate(made, start=1)]


def test_an_unchanged_window_costs_one_call_to_QBO_and_none_to_Procore(rig: Rig) -> None:
    rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    for _ in range(3):
        qbo, procore = rig.qbo.mark(), rig.procore.mark()
        rig.sync()
        rig.post()
        assert (len(rig.qbo.calls(qbo)), rig.procore.calls(procore)) == (1, [])


def test_a_thousand_new_bills_over_five_projects_stay_within_the_budget(rig: Rig) -> None:
    five_projects(rig)
    vendors = ["21", "22", "23", "24"]
    for vendor in vendors:
        everywhere = [line(1, item="101", customer=customer) for customer in CUSTOMERS]
        rig.bookkeeper.bill(f"first of {vendor}", everywhere, vendor=vendor)
    rig.sync()
    assert rig.holds() == []
    rig.configure(timing={"catalog_age": 0})  # the worst case: the copy of Procore's lists is too old
    bills = [
        raw_bill(
            10_000 + number,
            total="60.00",
            VendorRef={"value": vendors[number % len(vendors)]},
            Line=three_lines(number),
        )
        for number in range(1000)
    ]
    rig.qbo.load(Bill=bills)
    qbo, procore = rig.qbo.mark(), rig.procore.mark()
    rig.sync()
    reads, writes = rig.qbo.calls(qbo), rig.procore.calls(procore)
    posted = [cost for cost in rig.direct_costs() if cost["grand_total"] == "60.00"]
    assert len(posted) == 1000
    assert sum(cost["line_items_count"] for cost in posted) == 3000
    assert len(reads) <= 12, reads
    assert len(writes) <= 25, writes


def test_requisitions_and_payments_cost_at_most_one_and_a_third_calls_each(rig: Rig) -> None:
    commitments, bills, payments = 8, 80, 48
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[
            subcontract(f"SC-{number}", number, retainage_percent=None)
            for number in range(100, 100 + commitments)
        ],
        billing_periods=[period()],
    )
    entered = [
        rig.bookkeeper.bill(f"BE-{number}", [sub(100, f"SC-{100 + number % commitments}")], vendor=BRIGHT)
        for number in range(bills)
    ]
    mark = rig.procore.mark()
    rig.sync()
    calls = [call for call in rig.procore.calls(mark) if "sync" not in call and "wbs_codes" not in call]
    assert rig.holds() == []
    assert len(rig.procore.live("requisitions")) == bills
    assert len(calls) <= 1.3 * bills, Counter(call.split("?")[0] for call in calls)
    for number, bill in enumerate(entered[:payments]):
        rig.bookkeeper.pay(bill, "100.00", number=str(2231 + number))
    mark = rig.procore.mark()
    rig.sync()
    calls = rig.procore.calls(mark)
    assert len(rig.procore.live("contract_payments")) == payments
    assert len(calls) <= 1.3 * payments, calls
    mark = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.calls(mark) == []
