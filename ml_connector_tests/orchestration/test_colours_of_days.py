"""What the partition bar shows after a run, for each way in which a day can end."""

from datetime import timedelta
from decimal import Decimal

import dagster as dg
import pytest

from ml_connector.orchestration import names
from ml_connector_tests.orchestration.stage import (
    DIRECT_COSTS,
    FAILED,
    MATERIALIZED,
    TODAY,
    Stage,
    checks,
    day,
    failure,
)
from ml_connector_tests.rig import ELM, HARBOR, PROJECTS, line
from ml_connector_tests.scenarios.test_codes_and_mapping import refresh
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, period, retainage, sub, subcontract

ALL = [
    *(f"qbo/{name}" for name in names.QBO_ASSETS),
    *(f"mapped/{name}" for name in names.MAPPED_ASSETS),
    *(f"procore/{name}" for name in names.PROCORE_ASSETS),
]
HOLDS = "mapped/bill_lines nothing_waits_for_people"
REFUSED = "procore/direct_costs procore_took_everything"


def test_a_clean_day_is_green_in_every_asset(stage: Stage) -> None:
    stage.bill("G-1", "100.00")
    result = stage.run()
    assert result.success
    assert {name: stage.colour(name) for name in ALL} == dict.fromkeys(ALL, MATERIALIZED)
    assert all(check.passed for check in checks(result).values())
    assert len(stage.rig.direct_costs()) == 1


def test_an_empty_day_is_green_with_zero_counts(stage: Stage) -> None:
    stage.run()
    stage.work_off()
    before = stage.rig.procore.mark()
    result = stage.run()
    assert result.success
    assert {name: stage.colour(name) for name in ALL} == dict.fromkeys(ALL, MATERIALIZED)
    read, posted = stage.metadata("qbo/bills"), stage.metadata("procore/direct_costs")
    assert (read["new_versions"], read["in_window"], read["money_in_window"]) == (0, 0, "0.00")
    assert (posted["records"], posted["posted"], posted["this_run"]) == (0, "0.00", {})
    assert posted["summary"] == "Nothing changed in this window."
    assert stage.rig.procore.calls(before) == []


def test_a_refused_bill_fails_its_day_and_vendors_stay_green(stage: Stage) -> None:
    stage.bill("G-1", "100.00")
    stage.bill("G-2", "20.00")
    stage.refuse("G-2", place=1)
    result = stage.run()
    assert not result.success
    assert stage.colour("procore/direct_costs") == FAILED
    green = [name for name in ALL if name != "procore/direct_costs"]
    assert {name: stage.colour(name) for name in green} == dict.fromkeys(green, MATERIALIZED)
    sentence = failure(result)
    assert sentence.startswith(f"{TODAY}: ")
    assert "G-2" in sentence
    assert "Granite Supply" in sentence
    assert "20.00" in sentence
    assert "is refused by order of the test" in sentence
    check = checks(result)[REFUSED]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert check.metadata["problems"].value == 1
    assert checks(result)["procore/vendors procore_took_everything"].passed


def test_a_refused_invoice_on_a_commitment_fails_the_requisitions_of_its_day_alone(stage: Stage) -> None:
    stage.rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007)],
        billing_periods=[period()],
    )
    stage.bill("G-1", "100.00")
    invoice = stage.rig.bookkeeper.bill("BE-14", [sub(9000), retainage(-900)], vendor=BRIGHT)
    stage.rig.bookkeeper.pay(invoice, "8100.00")
    body = {"status": 422, "body": {"errors": {"base": ["is refused by order of the test"]}}}
    stage.rig.procore.fault({"route": "POST */requisitions", "fault": "status", "args": body})
    result = stage.run()
    assert not result.success
    assert failure(result).startswith(f"{TODAY}: Bill BE-14 (Bright Electric, 8100.00)")
    assert stage.colour("procore/requisitions") == FAILED
    green = [name for name in ALL if name != "procore/requisitions"]
    assert {name: stage.colour(name) for name in green} == dict.fromkeys(green, MATERIALIZED)
    shown = stage.metadata("procore/direct_costs")
    assert (shown["records"], shown["posted"], shown["posted_this_run"]) == (1, "100.00", "100.00")
    stage.rig.procore.no_faults()
    assert stage.run().success
    shown = stage.metadata("procore/requisitions")
    assert (shown["records"], shown["posted"], shown["this_run"]) == (1, "8100.00", {"posted": 1})
    assert stage.metadata("procore/contract_payments")["posted"] == "8100.00"


def test_a_replay_by_a_person_turns_the_day_green_and_posts_once(stage: Stage) -> None:
    bill = stage.bill("G-2", "20.00")
    stage.refuse("G-2")
    assert not stage.run(automatic=True).success
    stage.rig.procore.no_faults()
    assert stage.run().success
    assert stage.colour("procore/direct_costs") == MATERIALIZED
    assert stage.rig.cost_of(bill["Id"])["grand_total"] == "20.00"
    before = stage.rig.procore.mark()
    assert stage.run().success
    assert stage.rig.procore.writes(before) == []


def test_an_automatic_run_never_sends_a_refused_body_again(stage: Stage) -> None:
    stage.bill("G-2", "20.00")
    stage.refuse("G-2")
    first = stage.run(automatic=True)
    stage.work_off()
    stage.rig.procore.no_faults()
    before = stage.rig.procore.mark()
    again = stage.run(automatic=True)
    assert not again.success
    assert stage.colour("procore/direct_costs") == FAILED
    assert failure(again) == failure(first)
    assert stage.rig.procore.calls(before) == []


def test_what_mapping_holds_leaves_the_day_green_with_a_warning(stage: Stage) -> None:
    bill = stage.rig.bookkeeper.bill("T-7", [line("75.00", account="7")])
    result = stage.run()
    assert result.success
    assert {name: stage.colour(name) for name in ALL} == dict.fromkeys(ALL, MATERIALIZED)
    check = checks(result)[HOLDS]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.metadata["by_reason"].value == {"UNMAPPED": 1}
    assert stage.rig.direct_costs() == []
    shown = stage.metadata("mapped/bill_lines")
    assert (shown["records"], shown["money"], shown["held"], shown["mapped"]) == (1, "75.00", "75.00", "0.00")
    (row,) = shown["first_holds"].records
    assert (row.data["record"], row.data["amount"]) == (f"bill:{bill['Id']}", "75.00")
    assert str(row.data["what to do"]).startswith("Line 1 of bill T-7 (Granite Supply, 75.00) ")
    assert shown["open_in_quickbooks"] == f"[T-7](https://qbo.intuit.com/app/bill?txnId={bill['Id']})"


def test_metadata_hold_counts_and_money_as_text_and_links(stage: Stage) -> None:
    stage.bill("G-1", "100.10")
    stage.bill("G-2", "0.20")
    stage.run()
    read, shown = stage.metadata("qbo/bills"), stage.metadata("procore/direct_costs")
    assert (read["new_versions"], read["in_window"], read["money_in_window"]) == (2, 2, "100.30")
    assert read["window"] == str(TODAY)
    assert (shown["records"], shown["posted"], shown["posted_this_run"]) == (2, "100.30", "100.30")
    assert shown["this_run"] == {"posted": 2}
    assert shown["procore"] == "https://app.procore.com/5001"
    first, second = sorted(stage.rig.direct_costs(), key=lambda cost: cost["invoice_number"])
    assert shown["largest_in_procore"].splitlines()[2:] == [
        f"| [{number}](https://qbo.intuit.com/app/bill?txnId={cost['origin_id'].split(':')[3]}) | Granite Supply | {amount} "
        f"| [direct cost {cost['id']}](https://app.procore.com/{HARBOR}/project/direct_costs/{cost['id']}) |"
        for number, amount, cost in (("G-1", "100.10", first), ("G-2", "0.20", second))
    ]
    assert "| Bill | posted | 2 | 100.30 | 100.30 |" in shown["summary"]


def test_a_range_run_marks_clean_days_green_and_only_the_bad_one_red(stage: Stage) -> None:
    bills = {ago: stage.bill(f"R-{ago}", f"{ago}.00", changed=day(ago)) for ago in (5, 4, 3, 2)}
    stage.refuse("R-4", place=1)
    result = stage.run(day(5), day(2))
    assert not result.success
    assert {ago: stage.colour("procore/direct_costs", day(ago)) for ago in (5, 4, 3, 2)} == {
        5: MATERIALIZED,
        4: FAILED,
        3: MATERIALIZED,
        2: MATERIALIZED,
    }
    for name in [name for name in ALL if name != "procore/direct_costs"]:
        assert {stage.colour(name, day(ago)) for ago in (5, 4, 3, 2)} == {MATERIALIZED}, name
    assert failure(result).startswith(f"{day(4)}: Bill R-4")
    assert stage.metadata("procore/direct_costs", day(3))["posted"] == "3.00"
    told = [stage.metadata("mapped/bill_lines", day(ago)) for ago in (5, 4, 3, 2)]
    assert [(of_day["window"], of_day["records"], of_day["money"]) for of_day in told] == [
        (str(day(ago)), 1, f"{ago}.00") for ago in (5, 4, 3, 2)
    ], "each day tells of itself"
    assert [stage.metadata("qbo/bills", day(ago))["money_rounded"] for ago in (5, 3)] == [5, 3]
    assert sorted(Decimal(cost["grand_total"]) for cost in stage.rig.direct_costs()) == [2, 3, 5]
    stage.rig.procore.no_faults()
    assert stage.run(day(4)).success
    assert stage.colour("procore/direct_costs", day(4)) == MATERIALIZED
    assert stage.rig.cost_of(bills[4]["Id"])["grand_total"] == "4.00"


def test_an_unclear_answer_fails_the_day_and_heals_by_itself(stage: Stage) -> None:
    bill = stage.bill("G-1", "100.00")
    stage.rig.procore.fault({"route": f"PATCH {DIRECT_COSTS}", "nth": 1, "fault": "accept_then_drop"})
    result = stage.run(automatic=True)
    assert not result.success
    assert stage.colour("procore/direct_costs") == FAILED
    assert stage.colour("procore/vendors") == MATERIALIZED
    assert "has not answered clearly" in failure(result)
    assert stage.work_off()[-1]
    assert stage.colour("procore/direct_costs") == MATERIALIZED
    assert stage.rig.cost_of(bill["Id"])["grand_total"] == "100.00"


def test_an_outage_of_procore_fails_the_day_and_it_is_run_again_by_itself(
    stage: Stage, impatient: None
) -> None:
    bill = stage.bill("G-1", "100.00")
    stage.rig.procore.fault({"route": "* /rest/*", "fault": "status", "args": {"status": 503}})
    assert not stage.run(automatic=True).success
    assert stage.colour("procore/direct_costs") == FAILED
    assert stage.colour("qbo/bills") == MATERIALIZED
    assert TODAY not in stage.rig.dirty(), "nobody asks while the outage is fresh"
    stage.rig.procore.no_faults()
    stage.time_passes()
    assert TODAY in stage.rig.dirty()
    assert stage.work_off()[-1]
    assert stage.colour("procore/direct_costs") == MATERIALIZED
    assert stage.rig.cost_of(bill["Id"])["grand_total"] == "100.00"


def test_an_outage_of_quickbooks_is_a_failed_day_and_never_an_empty_one(
    stage: Stage, impatient: None
) -> None:
    stage.run()
    stage.work_off()
    stage.rig.qbo.fault({"route": "* /v3/*", "fault": "status", "args": {"status": 503}})
    assert not stage.run(automatic=True).success
    assert {stage.colour(name) for name in ALL} == {FAILED}


def test_S110_a_mistyped_project_holds_its_own_bills_and_the_day_goes_on_until_the_sheet_is_corrected(
    stage: Stage,
) -> None:
    rig = stage.rig
    rig.publish(projects=PROJECTS.replace(f"61,{HARBOR},", "61,1011,"))
    astray = rig.bookkeeper.bill("G-1", [line("100.00", customer="61")])
    other = rig.bookkeeper.bill("G-2", [line("200.00", customer="62")])
    assert stage.run(automatic=True).success
    assert stage.colour("procore/direct_costs") == MATERIALIZED
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, hold.amount) == (astray["Id"], "PERMISSION", Decimal(100))
    assert (
        "goes to project 1011, which Procore does not list for ml-connector: it is not permitted, or there is no"
        in (hold.sentence)
    )
    assert "correct its id in row 2 of projects.csv and publish it" in hold.sentence
    assert rig.cost_of(other["Id"], ELM)["grand_total"] == "200.00"
    stage.work_off()
    rig.publish(projects=PROJECTS)
    assert all(stage.work_off())
    refresh(
        rig
    )  # Procore's lists, as the schedule does while a record waits for them: the project's codes were never read
    assert all(stage.work_off())
    assert rig.holds() == []
    assert rig.cost_of(astray["Id"], HARBOR)["grand_total"] == "100.00"


@pytest.mark.parametrize("kind", names.PROCORE_ASSETS)
def test_one_procore_asset_can_be_materialized_alone(stage: Stage, kind: str) -> None:
    stage.bill("G-1", "100.00")
    others = [f"procore/{name}" for name in names.PROCORE_ASSETS if name != kind]
    result = stage.run(
        selection=[*(name for name in ALL if not name.startswith("procore/")), f"procore/{kind}"]
    )
    assert result.success
    assert stage.colour(f"procore/{kind}") == MATERIALIZED
    assert {stage.colour(other) for other in others} == {None}
    assert TODAY in stage.rig.dirty(), "the work of the other assets is still to be done"
    stage.work_off()
    assert {stage.colour(other) for other in others} == {MATERIALIZED}
    assert len(stage.rig.direct_costs()) == 1


def test_S129_a_refused_bill_corrected_days_later_turns_its_old_day_green_by_itself(stage: Stage) -> None:
    refused = stage.bill("G-2", "20.00", changed=day(2))
    stage.refuse("G-2")
    assert not stage.run(day(2), automatic=True).success
    stage.work_off()
    assert stage.colour("procore/direct_costs", day(2)) == FAILED
    stage.rig.procore.no_faults()
    stage.rig.bookkeeper.edit("Bill", refused, Line=[line("25.00")])
    stage.run(automatic=True)
    assert stage.rig.dirty() == [day(2)], "only the old day is left to be looked at again"
    assert stage.work_off() == [True]
    assert stage.colour("procore/direct_costs", day(2)) == MATERIALIZED
    assert stage.colour("procore/direct_costs") == MATERIALIZED
    assert stage.rig.cost_of(refused["Id"])["grand_total"] == "25.00"
    assert "superseded" in stage.rig.story("Bill", refused["Id"])


def test_the_read_that_closes_days_turns_them_green_in_quickbooks_too(stage: Stage) -> None:
    """Days on which nothing ran, or on which QuickBooks was down, are not left missing or red."""
    stage.bill("G-5", "5.00", changed=day(5))
    stage.run(automatic=True)
    assert {stage.colour("qbo/bills", day(ago)) for ago in range(1, 9)} == {MATERIALIZED}
    assert stage.metadata("qbo/bills", day(5))["money_in_window"] == "5.00"
    assert stage.metadata("qbo/bills", day(4))["in_window"] == 0
    stage.work_off()
    assert {stage.colour(name, TODAY - timedelta(days=ago)) for name in ALL for ago in range(9)} == {
        MATERIALIZED
    }
