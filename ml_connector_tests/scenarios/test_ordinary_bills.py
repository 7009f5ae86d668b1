"""Group A of the scenario bank: ordinary bills become direct costs."""

from decimal import Decimal

import pytest

from ml_connector.posting.preview import Action, Preview
from ml_connector_tests.rig import DEPOT, ELM, HARBOR, MAPPING_HEADER, Rig, line, text_line, today
from ml_connector_tests.scenarios.calendar_days import days_later


def lines_of(cost: dict[str, object]) -> list[tuple[str, str]]:
    """(description, amount) of a direct cost's lines in their order."""
    rows = cost["line_items"]
    assert isinstance(rows, list)
    return [(row["description"], row["amount"]) for row in sorted(rows, key=lambda row: row["position"])]


def amounts(cost: dict[str, object]) -> list[str]:
    """The amounts of a direct cost's lines in their order."""
    return [amount for _, amount in lines_of(cost)]


def codes(rig: Rig, cost: dict[str, object]) -> list[str]:
    """The budget codes of a direct cost's lines, as `03-3000.M`, in their order."""
    names = {code["id"]: code["flat_code"] for code in rig.procore.live("wbs_codes")}
    rows = cost["line_items"]
    assert isinstance(rows, list)
    return [names[row["wbs_code_id"]] for row in sorted(rows, key=lambda row: row["position"])]


def test_S01_one_line_on_one_project_becomes_one_direct_cost(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101", description="Footings")])
    rig.sync()
    (cost,) = rig.direct_costs()
    assert (cost["project_id"], cost["direct_cost_type"], cost["invoice_number"]) == (101, "invoice", "4471")
    assert (cost["status"], cost["grand_total"]) == ("approved", "1250.00")
    assert lines_of(cost) == [("Footings", "1250.00")]
    assert codes(rig, cost) == ["03-3000.M"]
    vendor = next(v for v in rig.procore.live("vendors") if v["id"] == cost["vendor_id"])
    assert vendor["name"] == "Granite Supply"
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.posted, record.held) == ("posted", Decimal(1250), 0)
    assert rig.story("Bill", bill["Id"]) == ["seen", "mapped", "sent", "posted"]


def test_S01_a_poll_of_a_quiet_company_costs_one_qbo_call_and_no_procore_call(rig: Rig) -> None:
    rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    qbo, procore = rig.qbo.mark(), rig.procore.mark()
    rig.read()
    rig.post()
    assert len(rig.qbo.calls(qbo)) == 1
    assert rig.procore.calls(procore) == []


def test_S02_one_bill_over_three_projects_makes_one_direct_cost_a_project(rig: Rig) -> None:
    bill = rig.bookkeeper.bill(
        "4480",
        [line(1200, item="101"), line(800, item="101", customer="62"), line(1000, item="102")],
    )
    rig.sync()
    harbor, elm = rig.cost_of(bill["Id"]), rig.cost_of(bill["Id"], ELM)
    assert (harbor["grand_total"], amounts(harbor)) == ("2200.00", ["1200.00", "1000.00"])
    assert codes(rig, harbor) == ["03-3000.M", "06-1000.M"]
    assert (elm["grand_total"], amounts(elm)) == ("800.00", ["800.00"])
    assert {harbor["invoice_number"], elm["invoice_number"]} == {"4480"}
    assert rig.record("Bill", bill["Id"]).posted == 3000


def test_S02_numbers_unique_over_the_company_get_a_suffix_that_stays(rig: Rig) -> None:
    rig.procore.switch(invoice_number_scope="company")
    both = [line(1200, item="101"), line(800, item="101", customer="62")]
    first = rig.bookkeeper.bill("4480", both)
    second = rig.bookkeeper.bill("4481", both[::-1])  # its first project is written after its second one
    rig.sync()
    numbers = [rig.cost_of(first["Id"], place)["invoice_number"] for place in (HARBOR, ELM)]
    assert numbers == ["4480", "4480-2"]
    others = {rig.cost_of(second["Id"], place)["invoice_number"] for place in (HARBOR, ELM)}
    assert others == {"4481", "4481-2"}
    rig.bookkeeper.edit("Bill", first, Line=[line(900, item="101", customer="62"), line(1200, item="101")])
    rig.sync()
    assert [rig.cost_of(first["Id"], place)["invoice_number"] for place in (HARBOR, ELM)] == [
        "4480",
        "4480-2",
    ]
    assert rig.cost_of(first["Id"], ELM)["grand_total"] == "900.00"
    assert rig.holds() == []


def test_S02_a_third_project_that_comes_first_in_the_bill_gets_the_next_suffix(rig: Rig) -> None:
    rig.procore.switch(invoice_number_scope="company")
    rig.procore.load(projects=[{**_project(rig, DEPOT), "active": True}])
    bill = rig.bookkeeper.bill("4480", [line(1200, item="101"), line(800, item="101", customer="62")])
    rig.sync()
    rig.bookkeeper.edit(
        "Bill",
        bill,
        Line=[
            line(5, item="101", customer="63"),
            line(1200, item="101"),
            line(800, item="101", customer="62"),
        ],
    )
    rig.sync()
    numbers = [rig.cost_of(bill["Id"], place)["invoice_number"] for place in (HARBOR, ELM, DEPOT)]
    assert numbers == ["4480", "4480-2", "4480-3"]


def test_S02_a_new_number_in_qbo_is_followed_and_the_suffix_kept(rig: Rig) -> None:
    rig.procore.switch(invoice_number_scope="company")
    bill = rig.bookkeeper.bill("4480", [line(1200, item="101"), line(800, item="101", customer="62")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, DocNumber="5000")
    rig.sync()
    assert [rig.cost_of(bill["Id"], place)["invoice_number"] for place in (HARBOR, ELM)] == ["5000", "5000-2"]


def _project(rig: Rig, project: str) -> dict[str, object]:
    return next(row for row in rig.procore.live("projects") if str(row["id"]) == project)


def test_S02_a_number_that_people_used_in_procore_is_refused_and_never_evaded(rig: Rig) -> None:
    rig.procore.switch(invoice_number_scope="company")
    made = rig.bookkeeper.bill("1", [line(10, item="101")])
    rig.sync()
    vendor = rig.cost_of(made["Id"])["vendor_id"]
    by_hand = {
        "direct_cost_type": "invoice",
        "status": "approved",
        "vendor_id": vendor,
        "invoice_number": "4480",
    }
    rig.procore.load(
        direct_costs=[{**by_hand, "origin_id": "", "project_id": 101, "company_id": 5001, "line_items": []}]
    )
    bill = rig.bookkeeper.bill("4480", [line(1200, item="101"), line(800, item="101", customer="62")])
    rig.sync()
    assert [hold.reason for hold in rig.holds(bill["Id"])] == ["REFUSED"]
    assert "has already been taken" in rig.holds(bill["Id"])[0].sentence
    assert not [cost for cost in rig.direct_costs() if str(cost["origin_id"]).split(":")[3:4] == [bill["Id"]]]


def test_S03_a_bill_with_one_part_on_a_closed_project_waits_as_a_whole(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4480", [line(2200, item="101"), line(800, item="101", customer="63")])
    rig.sync()
    assert rig.direct_costs(counting=False) == []
    (hold,) = rig.holds(bill["Id"])
    assert (hold.reason, hold.amount) == ("PROJECT_CLOSED", Decimal(800))
    assert "Line 2 of bill 4480 (Granite Supply, 800.00)" in hold.sentence
    assert "Depot Lofts" in hold.sentence
    assert rig.record("Bill", bill["Id"]).held == 3000


def test_S03_with_send_good_lines_the_rest_is_posted_and_the_bad_line_held(rig: Rig) -> None:
    rig.configure(policies={"bad_line": "send_good_lines"})
    bill = rig.bookkeeper.bill("4480", [line(2200, item="101"), line(800, item="101", customer="63")])
    rig.sync()
    assert [cost["grand_total"] for cost in rig.direct_costs()] == ["2200.00"]
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.posted, record.held) == ("held", Decimal(2200), Decimal(800))
    assert [hold.reason for hold in rig.holds(bill["Id"])] == ["PROJECT_CLOSED"]
    procore, told = rig.procore.mark(), rig.story("Bill", bill["Id"])
    rig.post()
    assert (rig.procore.calls(procore), rig.story("Bill", bill["Id"])) == ([], told)


def test_S04_item_and_account_coded_lines_stand_in_one_bill(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4482", [line(700, item="102"), line(90, account="3")])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert codes(rig, cost) == ["06-1000.M", "01-5000.E"]
    assert amounts(cost) == ["700.00", "90.00"]


def test_S05_the_class_decides_the_cost_type(rig: Rig) -> None:
    bill = rig.bookkeeper.bill(
        "4483", [line(100, account="1", class_name="Labor"), line(200, account="1", class_name="Material")]
    )
    rig.sync()
    assert codes(rig, rig.cost_of(bill["Id"])) == ["03-3000.L", "03-3000.M"]


def test_S06_overhead_in_a_job_bill_is_excluded_and_counted(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4484", [line(500, item="101"), line(60, account="5", customer=None)])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "500.00"
    record = rig.record("Bill", bill["Id"])
    assert (record.posted, record.excluded, record.total) == (Decimal(500), Decimal(60), Decimal(560))


def test_S07_a_job_cost_line_without_a_project_is_held_and_released_by_the_correction(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4490", [line(300, account="3", customer=None)], vendor="23")
    rig.sync()
    (hold,) = rig.holds()
    assert hold.reason == "NO_PROJECT"
    assert hold.sentence.startswith(
        "Line 1 of bill 4490 (City Rental, 300.00) has a job-cost account but no project"
    )
    assert rig.direct_costs(counting=False) == []
    rig.bookkeeper.edit("Bill", bill, Line=[line(300, account="3")])
    rig.sync()
    assert (rig.holds(), rig.cost_of(bill["Id"])["grand_total"]) == ([], "300.00")
    assert "superseded" in rig.story("Bill", bill["Id"])


def test_S08_lines_of_text_go_to_the_description(rig: Rig) -> None:
    bill = rig.bookkeeper.bill(
        "4491", [line(75, item="101"), text_line("See ticket 881"), text_line("Gate 4")]
    )
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert amounts(cost) == ["75.00"]
    assert cost["description"] == "See ticket 881\nGate 4"


def test_S09_freight_is_a_line_of_its_own(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4492", [line(2000, item="101"), line(150, account="4")])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert list(zip(codes(rig, cost), amounts(cost), strict=True)) == [
        ("03-3000.M", "2000.00"),
        ("01-7800.O", "150.00"),
    ]


def test_S11_a_negative_line_is_posted_as_it_is(rig: Rig) -> None:
    bill = rig.bookkeeper.bill(
        "4493", [line(1000, item="101"), line(-120, item="101", description="Return pallets")]
    )
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert (amounts(cost), cost["grand_total"]) == (["1000.00", "-120.00"], "880.00")


def test_S11_a_negative_line_that_procore_refuses_holds_the_whole_bill(rig: Rig) -> None:
    rig.procore.switch(negative_lines="refuse")
    bill = rig.bookkeeper.bill("4493", [line(1000, item="101"), line(-120, item="101")])
    rig.sync()
    assert rig.direct_costs() == []
    (hold,) = rig.holds(bill["Id"])
    assert (hold.reason, hold.amount) == ("REFUSED", Decimal(880))
    assert "the line over -120.00: amount must be greater than or equal to 0" in hold.sentence
    assert rig.record("Bill", bill["Id"]).held == 880


def test_S11_a_negative_line_is_netted_by_policy_into_the_lines_of_its_code(rig: Rig) -> None:
    rig.configure(policies={"negative_line": "net"})
    rig.procore.switch(negative_lines="refuse")
    pallets = line(-120, item="101", description="Return pallets")
    lines = [
        line(1000, item="101", description="Ready-mix", quantity="10", unit_price="100"),
        line(50, item="102"),
        pallets,
    ]
    bill = rig.bookkeeper.bill("4493", lines)
    alone = rig.bookkeeper.bill("4494", [line(1000, item="102"), pallets])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert (amounts(cost), codes(rig, cost)) == (["880.00", "50.00"], ["03-3000.M", "06-1000.M"])
    assert cost["line_items"][0]["description"] == "Ready-mix; Return pallets"
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason) == (alone["Id"], "REFUSED"), "there is nothing to take it off"
    mark = rig.procore.mark()
    rig.sync()
    assert rig.procore.writes(mark) == []


def test_S12_a_bill_of_zero_moves_cost_between_projects(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4494", [line(400, item="101"), line(-400, item="101", customer="62")])
    rig.sync()
    assert rig.cost_of(bill["Id"])["grand_total"] == "400.00"
    assert rig.cost_of(bill["Id"], ELM)["grand_total"] == "-400.00"
    assert rig.record("Bill", bill["Id"]).state == "posted"


def test_S12_a_bill_of_zero_that_becomes_overhead_leaves_no_project_behind(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4494", [line(400, item="101"), line(-400, item="101", customer="62")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(60, account="5", customer=None)])
    rig.sync()
    assert rig.direct_costs() == []
    assert rig.record("Bill", bill["Id"]).excluded == 60


def test_S13_the_same_number_of_two_vendors_is_no_duplicate(rig: Rig) -> None:
    rig.bookkeeper.bill("INV-1001", [line(10, item="101")])
    rig.bookkeeper.bill("INV-1001", [line(20, item="101")], vendor="23")
    rig.sync()
    assert sorted(cost["grand_total"] for cost in rig.direct_costs()) == ["10.00", "20.00"]
    assert rig.holds() == []


def test_S13_the_second_bill_with_a_number_of_one_vendor_is_held_and_names_the_first(rig: Rig) -> None:
    first = rig.bookkeeper.bill("INV-1001", [line(10, item="101")])
    second = rig.bookkeeper.bill("inv-1001", [line(25, item="101")])
    rig.sync()
    assert [cost["grand_total"] for cost in rig.direct_costs()] == ["10.00"]
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, hold.amount) == (second["Id"], "POSSIBLE_DUPLICATE", Decimal(25))
    assert f"dated {today()} over 10.00 (QBO id {first['Id']})" in hold.sentence


@pytest.mark.parametrize(
    "remedy", ["the first gets another number", "the first is deleted", "the second is renumbered"]
)
def test_S13_a_duplicate_is_released_when_it_is_none_any_more(rig: Rig, remedy: str) -> None:
    first = rig.bookkeeper.bill("INV-1001", [line(10, item="101")])
    rig.sync()
    day = days_later(rig, 1)  # a day of its own: only the hold's cause leads back to it
    second = rig.bookkeeper.bill("INV-1001", [line(25, item="101")])
    rig.read([day])
    rig.settle()
    later = days_later(rig, 2)
    rig.read([later])
    rig.settle()  # the day of the held bill is complete and clean
    if remedy == "the first is deleted":
        rig.bookkeeper.delete("Bill", first)
    else:
        wrong = first if remedy.startswith("the first") else second
        rig.bookkeeper.edit("Bill", wrong, DocNumber="INV-1002")
    rig.read([later])
    rig.settle()
    assert rig.holds() == []
    assert rig.cost_of(second["Id"])["grand_total"] == "25.00"


def test_S13_a_bill_without_number_gets_one_made_of_its_qbo_id(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("", [line(10, item="101")])
    rig.sync()
    assert rig.cost_of(bill["Id"])["invoice_number"] == f"QBO-{bill['Id']}"


def test_S14_names_and_texts_keep_their_characters(rig: Rig) -> None:
    vendor = rig.bookkeeper.vendor("O'Brien & Söhne GmbH")
    words = "Beton\nC30/37, 20 m³ 🏗"
    bill = rig.bookkeeper.bill("Ä-1", [line(10, item="101", description=words)], vendor=vendor["Id"])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert lines_of(cost) == [(words, "10.00")]
    assert cost["invoice_number"] == "Ä-1"
    assert "O'Brien & Söhne GmbH" in {v["name"] for v in rig.procore.live("vendors")}


def test_S14_a_text_of_5000_characters_is_cut_with_a_mark(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4495", [line(10, item="101", description="x" * 4990 + "\n🏗 end")])
    rig.sync()
    ((text, _),) = lines_of(rig.cost_of(bill["Id"]))
    assert len(text) == 4000
    assert text.endswith("x … [cut]")


def test_S14_characters_that_no_database_holds_stop_nothing(rig: Rig) -> None:
    bad = rig.bookkeeper.bill(
        "44\x0096", [line(10, item="101", description="a\x00b\ud800c")], PrivateNote="n\x00o\udfff"
    )
    good = rig.bookkeeper.bill("4497", [line(20, item="101")])
    rig.sync()
    cost = rig.cost_of(bad["Id"])
    assert (lines_of(cost), cost["description"], cost["invoice_number"]) == (
        [("ab?c", "10.00")],
        "no?",
        "4496",
    )
    assert rig.cost_of(good["Id"])["grand_total"] == "20.00"


def test_S15_cents_that_do_not_divide_go_to_the_first_share(rig: Rig) -> None:
    rows = "".join(
        f"5010,,,,,,spread,,,direct_cost,{code},M,,,1,,\n" for code in ("03-3000", "06-1000", "09-2900")
    )
    rig.publish(mapping=f"{MAPPING_HEADER}\n{rows}")
    bill = rig.bookkeeper.bill("4498", [line(100, account="1", description="spread")])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert (amounts(cost), cost["grand_total"]) == (["33.34", "33.33", "33.33"], "100.00")


def test_S15_a_bill_with_more_lines_than_one_call_takes_is_posted_whole(rig: Rig) -> None:
    rows = "".join(f"5010,,,,,,,,,direct_cost,{code},M,,,1,,\n" for code in ("03-3000", "06-1000", "09-2900"))
    rig.publish(mapping=f"{MAPPING_HEADER}\n{rows}")
    bill = rig.bookkeeper.bill("4499", [line(1, account="1") for _ in range(350)])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert (len(lines_of(cost)), cost["grand_total"]) == (1050, "350.00")


def test_S16_quantity_and_unit_price_come_along(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4500", [line(605, item="101", quantity="12.5", unit_price="48.40")])
    rig.sync()
    (row,) = rig.cost_of(bill["Id"])["line_items"]
    assert (Decimal(row["quantity"]), Decimal(row["unit_cost"]), row["amount"]) == (
        Decimal("12.5"),
        Decimal("48.4"),
        "605.00",
    )
    assert row["extended_type"] == "calculated"


def test_S16_where_the_product_differs_by_a_cent_the_amount_wins(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4501", [line("100.01", item="101", quantity="3", unit_price="33.3333")])
    rig.sync()
    cost = rig.cost_of(bill["Id"])
    assert (cost["grand_total"], cost["line_items"][0]["extended_type"]) == ("100.01", "manual")


def test_S18_a_first_load_posts_bills_of_a_closed_period_with_their_own_date(rig: Rig) -> None:
    rig.configure(policies={"books_closed_to": today()})
    bill = rig.bookkeeper.bill("4502", [line(10, item="101")], day="2026-02-03")
    rig.sync()
    assert rig.cost_of(bill["Id"])["direct_cost_date"] == "2026-02-03"


def go_live(rig: Rig) -> None:
    """The first load, and a minute after it: QBO tells changes by the second."""
    rig.sync()
    rig.qbo.clock(offset_seconds=60)


def test_S18_a_bill_of_a_closed_period_entered_later_is_held_until_a_person_decides(rig: Rig) -> None:
    go_live(rig)
    rig.configure(policies={"books_closed_to": "2026-05-31"})
    late = rig.bookkeeper.bill("4503", [line(10, item="101")], day="2026-05-28")
    now = rig.bookkeeper.bill("4504", [line(20, item="101")], day="2026-06-01")
    rig.sync()
    assert rig.cost_of(now["Id"])["direct_cost_date"] == "2026-06-01"
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, hold.amount) == (late["Id"], "PERIOD_CLOSED", Decimal(10))
    assert "it is dated 2026-05-28, and the books are closed to 2026-05-31" in hold.sentence
    rig.configure(policies={"books_closed_to": "2026-04-30"})
    rig.replay_everything()
    assert rig.cost_of(late["Id"])["direct_cost_date"] == "2026-05-28"


def test_S18_a_version_seen_before_the_close_is_not_caught_by_it(rig: Rig) -> None:
    go_live(rig)
    bill = rig.bookkeeper.bill("4505", [line(10, account="7")], day="2026-05-28")
    rig.sync()
    assert [hold.reason for hold in rig.holds()] == ["UNMAPPED"]
    rig.configure(policies={"books_closed_to": "2026-05-31"})
    rig.publish(mapping=f"{MAPPING_HEADER}\n5075,,,,,,,,,direct_cost,03-3000,M,,,,,\n")
    rig.settle()
    assert rig.cost_of(bill["Id"])["direct_cost_date"] == "2026-05-28"


@pytest.mark.parametrize("change", ["edited", "deleted", "moved to June"])
def test_S18_F51_a_posted_bill_of_a_closed_period_stays_as_it_was_reported(rig: Rig, change: str) -> None:
    go_live(rig)
    bill = rig.bookkeeper.bill("4506", [line(10, item="101")], day="2026-05-28")
    rig.sync()
    rig.configure(policies={"books_closed_to": "2026-05-31"})
    if change == "deleted":
        rig.bookkeeper.delete("Bill", bill)
    elif change == "edited":
        rig.bookkeeper.edit("Bill", bill, Line=[line(15, item="101")])
    else:
        rig.bookkeeper.edit("Bill", bill, TxnDate="2026-06-02")
    rig.sync()
    assert [hold.reason for hold in rig.holds(bill["Id"])] == ["PERIOD_CLOSED"]
    assert (rig.cost_of(bill["Id"])["grand_total"], rig.cost_of(bill["Id"])["status"]) == (
        "10.00",
        "approved",
    )


def test_S18_a_payment_of_a_bill_of_a_closed_period_holds_nothing(rig: Rig) -> None:
    go_live(rig)
    bill = rig.bookkeeper.bill("4507", [line(10, item="101")], day="2026-05-28")
    rig.sync()
    rig.configure(policies={"books_closed_to": "2026-05-31"})
    rig.bookkeeper.pay(bill, "10")
    rig.sync()
    assert rig.holds(bill["Id"]) == []


def test_an_edit_changes_adds_and_removes_lines_in_place(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4510", [line(100, item="101"), line(50, item="102"), line(7, account="4")])
    rig.sync()
    before = rig.cost_of(bill["Id"])
    rig.bookkeeper.edit("Bill", bill, Line=[line(110, item="101"), line(50, item="102")])
    rig.sync()
    assert amounts(rig.cost_of(bill["Id"])) == ["110.00", "50.00"]
    rig.bookkeeper.edit(
        "Bill", bill, Line=[line(110, item="101"), line(50, item="102"), line(9, account="3")]
    )
    rig.sync()
    after = rig.cost_of(bill["Id"])
    assert (after["id"], amounts(after), after["grand_total"]) == (
        before["id"],
        ["110.00", "50.00", "9.00"],
        "169.00",
    )
    assert rig.record("Bill", bill["Id"]).state == "updated"


def test_an_edit_on_one_project_leaves_the_other_project_alone(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4511", [line(100, item="101"), line(50, item="101", customer="62")])
    rig.sync()
    writes = rig.cost_of(bill["Id"])["writes"]
    rig.bookkeeper.edit("Bill", bill, Line=[line(100, item="101"), line(60, item="101", customer="62")])
    rig.sync()
    assert rig.cost_of(bill["Id"])["writes"] == writes
    assert rig.cost_of(bill["Id"], ELM)["grand_total"] == "60.00"


def test_a_deleted_bill_becomes_a_draft_and_its_number_is_free_again(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(100, item="101")])
    rig.sync()
    rig.bookkeeper.delete("Bill", bill)
    again = rig.bookkeeper.bill("4471", [line(120, item="101")])
    rig.sync()
    gone = rig.cost_of(bill["Id"])
    assert (gone["status"], gone["invoice_number"]) == ("draft", f"4471 (void {bill['Id']})")
    assert rig.cost_of(again["Id"])["invoice_number"] == "4471"
    record = rig.record("Bill", bill["Id"])
    assert (record.state, record.document, record.posted) == ("reversed", "4471", 0)


def test_a_line_moved_to_another_project_takes_its_cost_along_and_back(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4512", [line(100, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(100, item="101", customer="62")])
    rig.sync()
    assert [(cost["project_id"], cost["grand_total"]) for cost in rig.direct_costs()] == [(102, "100.00")]
    assert rig.cost_of(bill["Id"])["invoice_number"] == f"4512 (void {bill['Id']})"
    rig.bookkeeper.edit("Bill", bill, Line=[line(100, item="101")])
    rig.sync()
    assert [(cost["project_id"], cost["invoice_number"]) for cost in rig.direct_costs()] == [(101, "4512")]


def test_S29_a_dry_run_says_what_would_happen_and_changes_nothing(rig: Rig) -> None:
    posted = rig.bookkeeper.bill("1", [line(100, item="101")])
    rig.sync()
    rig.bookkeeper.bill("2", [line(10, item="101"), line(5, item="101", customer="62")], vendor="23")
    rig.bookkeeper.bill("3", [line(10, account="7")])
    rig.bookkeeper.bill("4", [line(10, account="5", customer=None)])
    edited = rig.bookkeeper.bill("5", [line(10, item="101")])
    deleted = rig.bookkeeper.bill("6", [line(10, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", edited, Line=[line(11, item="101")])
    rig.bookkeeper.delete("Bill", deleted)
    rig.bookkeeper.bill("7", [line(70, item="101"), line(7, item="101", customer="62")])
    rig.bookkeeper.bill("8", [line(8, account="8")])
    rig.read()
    mark, told = rig.procore.mark(), _entries(rig)
    foreseen = {
        row.document: row for row in _preview(rig).foresee([today()]) if row.entity == "Bill" and row.document
    }
    assert rig.procore.writes(mark) == []
    assert _entries(rig) == told
    assert {number: row.action for number, row in foreseen.items()} == {
        "1": Action.NOTHING,
        "2": Action.NOTHING,
        "3": Action.HOLD,
        "4": Action.NOTHING,
        "5": Action.UPDATE,
        "6": Action.REMOVE,
        "7": Action.CREATE,
        "8": Action.HOLD,
    }
    assert foreseen["7"].why == "by project 101: 70.00, 102: 7.00"
    assert "which is no cost" in foreseen["8"].why
    assert foreseen["1"].amount == 100
    rig.settle()
    assert rig.cost_of(posted["Id"])["grand_total"] == "100.00"
    assert rig.cost_of(edited["Id"])["grand_total"] == "11.00"


def test_S29_a_dry_run_before_the_first_post_foresees_vendors_too(rig: Rig) -> None:
    rig.procore.load(vendors=[{"company_id": 5001, "name": "GRANITE SUPPLY", "is_active": True}])
    rig.bookkeeper.bill("1", [line(100, item="101")], vendor="22")
    reading = rig.read()
    foreseen = _preview(rig).foresee(sorted(reading.days))
    assert [row.action for row in foreseen if row.entity == "Bill"] == [Action.CREATE]
    vendors = {row.vendor_name or row.qbo_id: row.action for row in foreseen if row.entity == "Vendor"}
    assert vendors["Granite Supply"] is Action.UPDATE
    assert vendors["Bright Electric"] is Action.CREATE
    assert rig.procore.writes() == []
    rig.settle()


def _preview(rig: Rig) -> Preview:
    from datetime import UTC, datetime

    from ml_connector.orchestration.clients import procore_client

    client = procore_client(rig.home, rig.connection, rig.engine)
    return Preview(rig.connection, rig.engine, client, datetime.now(UTC))


def _entries(rig: Rig) -> list[object]:
    from sqlalchemy import text

    with rig.engine.connect() as db:
        tables = ("record", "hold", "mapped_line", "ledger", "audit", "catalog", "dirty_window")
        return [
            db.execute(text(f"select * from ml_connector.{table} order by 1, 2, 3")).all() for table in tables
        ]
