"""Group B, rules that change: by date (S27), and corrected after posting (S28), first looked at and then applied."""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from ml_connector.errors import SetupError
from ml_connector.holds import Choice
from ml_connector.mapping import remapping
from ml_connector.mapping.explain import explain_line
from ml_connector.mapping.publishing import newest_rules
from ml_connector.mapping.remapping import Applied
from ml_connector.mapping.windows import load_reference
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client
from ml_connector.posting.rule_preview import RulePreview, preview_rules
from ml_connector.procore.stored_catalog import load_catalog
from ml_connector.qbo.models import Entity, parse_bill
from ml_connector.store import audit, windows
from ml_connector_tests.rig import ELM, HARBOR, MAPPING, Rig, line, today
from ml_connector_tests.scenarios.kills import run_that_dies_at
from ml_connector_tests.scenarios.test_changes_in_procore import recode
from ml_connector_tests.scenarios.test_decisions import decide
from ml_connector_tests.scenarios.test_subcontracts import (
    SC_007,
    invoices,
    period,
    progress,
    sub,
    subcontract,
    sums,
)

WRONG = "Ready-mix,,,,,,,,direct_cost,03-3000,M"
RIGHT = MAPPING.replace(WRONG, "Ready-mix,,,,,,,,direct_cost,03-3000,S")
STATE_TABLES = ("record", "hold", "mapped_line", "ledger", "catalog", "dirty_window", "sheet_version")


def preview(rig: Rig, mapping: str, *, by: str = "controller") -> RulePreview:
    """What `mapping preview` does."""
    client = procore_client(rig.home, rig.connection, rig.engine)
    return preview_rules(rig.connection, rig.engine, client, mapping.encode(), by=by, now=datetime.now(UTC))


def apply(rig: Rig, *, by: str = "controller") -> Applied:
    """What `mapping apply` does."""
    work.refresh_lists(rig.engine, rig.connection, procore_client(rig.home, rig.connection, rig.engine))
    with rig.engine.connect() as db:
        catalog = load_catalog(db, rig.name)
    return remapping.apply(rig.engine, rig.connection, catalog, by=by)


def bring_in(rig: Rig, mapping: str) -> Applied:
    """Preview, publish, apply, and what the sensor does then."""
    preview(rig, mapping)
    rig.publish(mapping=mapping)
    done = apply(rig)
    rig.settle()
    return done


def codes(rig: Rig, cost: dict[str, Any]) -> list[tuple[str, str]]:
    """Budget code and amount of each line of a direct cost."""
    names = {row["id"]: str(row["flat_code"]) for row in rig.procore.live("wbs_codes")}
    return [(names[entry["wbs_code_id"]], str(entry["amount"])) for entry in cost["line_items"]]


def stored(rig: Rig, tables: Collection[str]) -> list[object]:
    """The rows of tables."""
    with rig.engine.connect() as db:
        return [
            db.execute(text(f"select * from ml_connector.{table} order by 1, 2, 3")).all() for table in tables
        ]


def entries(rig: Rig, event: str) -> Sequence[Any]:
    """All audit entries of one event."""
    with rig.engine.connect() as db:
        names = db.execute(
            text("select distinct entity, qbo_id from ml_connector.audit where event = :event"),
            {"event": event},
        ).all()
        found = [entry for name in names for entry in audit.story(db, rig.name, *name)]
    return sorted((entry for entry in found if entry.event == event), key=lambda entry: entry.number)


def thirty(rig: Rig) -> list[dict[str, Any]]:
    """30 bills whose code is wrong by the rules of today, with a line that is right, and one without a wrong line."""
    bills = [
        rig.bookkeeper.bill(f"70{number:02}", [line(10 + number, item="101"), line(5, item="102")])
        for number in range(30)
    ]
    rig.bookkeeper.bill("7099", [line(77, item="102")])
    rig.sync()
    return bills


def test_S28_a_preview_tells_what_would_change_and_changes_nothing(rig: Rig) -> None:
    thirty(rig)
    waiting = rig.bookkeeper.bill("7100", [line(8, account="7")])
    rig.sync()
    before, mark, told = stored(rig, STATE_TABLES), rig.procore.mark(), len(entries(rig, "mapped"))
    found = preview(rig, RIGHT)
    assert rig.procore.writes(mark) == []
    assert (stored(rig, STATE_TABLES), len(entries(rig, "mapped"))) == (before, told)
    assert (found.looked_at, found.moved.bills, found.lines, found.moved.amount) == (31, 30, 30, Decimal(735))
    codes_told = {
        (place.project, place.cost_code, place.cost_type): (
            moved.lines_before,
            moved.before,
            moved.lines_after,
            moved.after,
        )
        for place, moved in found.places.items()
    }
    assert codes_told == {
        (HARBOR, "03-3000", "M"): (30, Decimal(735), 0, Decimal(0)),
        (HARBOR, "03-3000", "S"): (0, Decimal(0), 30, Decimal(735)),
    }
    assert (found.held, found.excluded, found.closed.bills) == ({}, {}, 0)
    (saved,) = entries(rig, "previewed")
    assert (saved.actor, saved.detail["bills"], saved.detail["version"]) == ("controller", 30, 2)
    assert [(code["cost_type"], code["before"], code["after"]) for code in saved.detail["codes"]] == [
        ("M", "735.00", "0.00"),
        ("S", "0.00", "735.00"),
    ]
    assert rig.record("Bill", waiting["Id"]).state == "held"


def test_S28_a_rule_corrected_after_posting_recodes_the_same_records_once_a_person_applies_it(
    rig: Rig,
) -> None:
    bills = thirty(rig)
    records = {cost["id"]: str(cost["grand_total"]) for cost in rig.direct_costs()}
    preview(rig, RIGHT)
    rig.publish(mapping=RIGHT)
    mark = rig.procore.mark()
    rig.sync()
    rig.replay_everything()
    assert rig.procore.writes(mark) == []  # publishing alone moves nothing
    done = apply(rig)
    assert (done.version, done.bills, done.left, done.days) == (2, 30, 0, (today(),))
    assert rig.procore.writes(mark) == []  # the next run does it
    with rig.engine.connect() as db:
        (window,) = windows.dirty(db, rig.name)
    assert window.reason == "mapping version 2 was applied to it"
    rig.settle()
    assert {cost["id"]: str(cost["grand_total"]) for cost in rig.direct_costs(counting=False)} == records
    for number, bill in enumerate(bills):
        cost = rig.cost_of(bill["Id"])
        assert codes(rig, cost) == [("03-3000.S", f"{10 + number}.00"), ("06-1000.M", "5.00")]
        row = rig.record("Bill", bill["Id"])
        assert (row.state, row.posted, row.mapping_version) == ("updated", 15 + number, 2)
    assert len(rig.procore.writes(mark)) <= 4  # a sync of lines and one of headers carry all
    told = entries(rig, "remapped")
    assert [entry.qbo_id for entry in told] == sorted(bill["Id"] for bill in bills)
    assert {entry.actor for entry in told} == {"controller"}
    first = next(entry for entry in told if entry.qbo_id == bills[0]["Id"])
    part = {"line": 1, "amount": "10.00", "outcome": "posted", "project": HARBOR}
    assert first.detail["before"] == [{**part, "code": "03-3000.M", "rule": "1.2"}]
    assert first.detail["after"] == [{**part, "code": "03-3000.S", "rule": "2.2"}]
    (seen,), (applied,) = entries(rig, "previewed"), entries(rig, "applied")
    assert (applied.actor, applied.detail["preview"], applied.detail["bills"]) == (
        "controller",
        seen.number,
        30,
    )


def test_S28_applying_again_costs_nothing(rig: Rig) -> None:
    thirty(rig)
    bring_in(rig, RIGHT)
    before, mark = stored(rig, (*STATE_TABLES, "audit")), rig.procore.mark()
    assert apply(rig).bills == 0
    tables = tuple(table for table in STATE_TABLES if table != "catalog")  # its time of reading is new
    assert stored(rig, (*tables, "audit")) == [
        rows for rows, table in zip(before, (*STATE_TABLES, "audit"), strict=True) if table != "catalog"
    ]
    rig.replay_everything()
    assert rig.procore.writes(mark) == []
    assert preview(rig, RIGHT).moved.bills == 0


def test_S28_only_what_was_previewed_last_can_be_applied(rig: Rig) -> None:
    rig.bookkeeper.bill("7200", [line(10, item="101")])
    rig.sync()
    rig.publish(mapping=RIGHT)
    with pytest.raises(SetupError, match="mapping version 2 was never previewed"):
        apply(rig)
    preview(rig, MAPPING)
    with pytest.raises(SetupError, match="version 2 is not what was previewed last, by controller"):
        apply(rig)
    preview(rig, RIGHT)
    rig.publish(projects=f"customer,project,note\n61,{ELM},\n")
    with pytest.raises(SetupError, match=r"projects\.csv was published after the preview"):
        apply(rig)
    assert (entries(rig, "remapped"), rig.dirty()) == ([], [])
    preview(rig, RIGHT)
    assert apply(rig).bills == 1
    rig.settle()


def test_S28_an_apply_that_breaks_off_goes_on_where_it_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    bills = thirty(rig)
    preview(rig, RIGHT)
    rig.publish(mapping=RIGHT)
    monkeypatch.setattr(remapping, "SLICE", 10)
    mark, marked = windows.mark, []

    def breaks(*arguments: Any, **named: Any) -> None:
        marked.append(arguments)
        if len(marked) == 2:
            raise KeyboardInterrupt
        mark(*arguments, **named)

    monkeypatch.setattr(windows, "mark", breaks)
    with pytest.raises(KeyboardInterrupt):
        apply(rig)
    monkeypatch.setattr(windows, "mark", mark)
    first = len(entries(rig, "remapped"))
    assert 0 < first <= 10
    rig.settle()  # what was marked goes its way
    assert sum(rig.record("Bill", bill["Id"]).mapping_version == 2 for bill in bills) == first
    assert apply(rig).bills == 30 - first
    rig.settle()
    assert sorted(entry.qbo_id for entry in entries(rig, "remapped")) == sorted(bill["Id"] for bill in bills)
    assert {codes(rig, rig.cost_of(bill["Id"]))[0][0] for bill in bills} == {"03-3000.S"}


@pytest.mark.processes
@pytest.mark.parametrize("point", ["K5", "K14", "K8"])
def test_S28_a_run_that_dies_over_the_recoding_ends_with_the_new_codes_on_the_same_records(
    rig: Rig, point: str
) -> None:
    bills = [rig.bookkeeper.bill(f"73{number:02}", [line(10, item="101")]) for number in range(3)]
    rig.sync()
    ids = {cost["id"] for cost in rig.direct_costs()}
    preview(rig, RIGHT)
    rig.publish(mapping=RIGHT)
    apply(rig)
    run_that_dies_at(rig, point)
    with rig.engine.begin() as db:  # the day is taken up again when its time has come
        windows.mark(db, rig.name, [today()], reason="test")
    rig.settle()
    assert {cost["id"] for cost in rig.direct_costs(counting=False)} == ids
    assert [codes(rig, rig.cost_of(bill["Id"])) for bill in bills] == [[("03-3000.S", "10.00")]] * 3


def test_S28_bills_that_would_wait_or_be_left_out_are_told_before_anything_moves(rig: Rig) -> None:
    mixed = rig.bookkeeper.bill("7400", [line(40, item="101"), line(60, account="4")])
    rented = rig.bookkeeper.bill("7401", [line(25, account="3")])
    office = rig.bookkeeper.bill("7402", [line(9, account="5", customer=None)])
    rig.sync()
    rules = (
        MAPPING.replace("5030,,,,,,,,,direct_cost,01-5000,E,,,,,", "5030,,,,,,,,,direct_cost,09-9999,E,,,,,")
        .replace("5090,,,,,,,,,direct_cost,01-7800,O,,,,,", "5090,,,,,,,,,exclude,,,,,,FREIGHT,")
        .replace("exclude,,,,,,OVERHEAD", "exclude,,,,,,OFFICE")
    )
    found = preview(rig, rules)
    assert {reason: (one.bills, one.amount) for reason, one in found.held.items()} == {
        "CODE_MISSING": (1, Decimal(25))
    }
    assert {reason: (one.bills, one.amount) for reason, one in found.excluded.items()} == {
        "FREIGHT": (1, Decimal(60)),
        "OFFICE": (1, Decimal(9)),
    }
    assert {(bill.document, bill.becomes, bill.reason) for bill in found.left_out} == {
        ("7400", "excluded", "FREIGHT"),
        ("7401", "held", "CODE_MISSING"),
        ("7402", "excluded", "OFFICE"),
    }
    (held,) = (bill for bill in found.left_out if bill.becomes == "held")
    assert "09-9999 / E" in held.sentence
    moved = {place.left_out or place.cost_code: one.after - one.before for place, one in found.places.items()}
    assert moved == {"01-7800": -60, "excluded FREIGHT": 60, "excluded OVERHEAD": -9, "excluded OFFICE": 9}
    rig.publish(mapping=rules)
    assert apply(rig).bills == 3
    rig.settle()
    row = rig.record("Bill", mixed["Id"])
    assert (row.state, row.posted, row.excluded) == ("updated", 40, 60)
    assert rig.cost_of(mixed["Id"])["grand_total"] == "40.00"
    row = rig.record("Bill", rented["Id"])
    assert (row.state, row.posted, row.held) == ("held", 25, 0)
    assert (
        rig.cost_of(rented["Id"])["grand_total"] == "25.00"
    )  # what was posted stays until the code is there
    assert rig.record("Bill", office["Id"]).state == "excluded"


def test_S28_bills_of_closed_books_stay_as_they_are_and_are_told(rig: Rig) -> None:
    last_month = today().replace(day=1) - timedelta(days=1)
    old = rig.bookkeeper.bill("7500", [line(30, item="101")], day=last_month.isoformat())
    new = rig.bookkeeper.bill("7501", [line(10, item="101")])
    rig.sync()
    rig.configure(policies={"books_closed_to": last_month.isoformat()})
    found = preview(rig, RIGHT)
    assert (found.moved.bills, found.moved.amount) == (1, Decimal(10))
    assert (found.closed_to, found.closed.bills, found.closed.amount) == (last_month, 1, Decimal(30))
    rig.publish(mapping=RIGHT)
    done = apply(rig)
    assert (done.bills, done.left) == (1, 1)
    rig.settle()
    assert codes(rig, rig.cost_of(old["Id"])) == [("03-3000.M", "30.00")]
    assert codes(rig, rig.cost_of(new["Id"])) == [("03-3000.S", "10.00")]
    assert rig.holds() == []


def test_S28_only_rules_move_history_and_not_what_changed_in_Procore_since(rig: Rig) -> None:
    """A project that was closed since is no reason to hold the bills whose rules say what they always said."""
    kept = rig.bookkeeper.bill("7600", [line(10, item="102", customer="62")])
    stuck = rig.bookkeeper.bill("7601", [line(20, item="101", customer="62")])
    free = rig.bookkeeper.bill("7602", [line(30, item="101")])
    rig.sync()
    project = next(row for row in rig.procore.live("projects") if str(row["id"]) == ELM)
    rig.procore.load(projects=[{**project, "active": False}])
    found = preview(rig, RIGHT)
    assert (found.moved.bills, {reason: one.bills for reason, one in found.held.items()}) == (
        1,
        {"PROJECT_CLOSED": 1},
    )
    assert [(bill.qbo_id, bill.reason) for bill in found.left_out] == [(stuck["Id"], "PROJECT_CLOSED")]
    rig.publish(mapping=RIGHT)
    apply(rig)
    rig.settle()
    assert [rig.record("Bill", bill["Id"]).state for bill in (kept, stuck, free)] == [
        "posted",
        "held",
        "updated",
    ]


def test_S28_what_a_person_recoded_in_Procore_is_not_written_over(rig: Rig) -> None:
    changed, kept = [rig.bookkeeper.bill(f"765{number}", [line(20, item="101")]) for number in range(2)]
    rig.sync()
    for bill in (changed, kept):
        recode(rig, rig.cost_of(bill["Id"]), "26-0500.S")
    edited = rig.bookkeeper.edit("Bill", kept, Line=[line(21, item="101")])
    rig.sync()
    decide(rig, edited, Choice.KEEP_THEIRS)
    rig.settle()
    mark = rig.procore.mark()
    found = preview(rig, RIGHT)
    assert {reason: (one.bills, one.amount) for reason, one in found.held.items()} == {
        "DRIFT": (1, Decimal(20))
    }
    assert (found.kept.bills, found.moved.bills) == (1, 0)
    rig.publish(mapping=RIGHT)
    apply(rig)
    rig.settle()
    assert [hold.qbo_id for hold in rig.holds()] == [changed["Id"]]
    assert [codes(rig, rig.cost_of(bill["Id"])) for bill in (changed, kept)] == [[("26-0500.S", "20.00")]] * 2
    assert rig.procore.writes(mark) == []


def test_S28_a_rule_may_move_a_bill_to_another_project_and_its_old_record_loses_its_effect(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("7700", [line(10, item="101"), line(4, item="102")])
    rig.sync()
    moved = MAPPING.replace(f"{WRONG},,", f"{WRONG},{ELM},")
    found = preview(rig, moved)
    assert {(place.project, one.before, one.after) for place, one in found.places.items()} == {
        (HARBOR, Decimal(10), Decimal(0)),
        (ELM, Decimal(0), Decimal(10)),
    }
    rig.publish(mapping=moved)
    apply(rig)
    rig.settle()
    assert rig.cost_of(bill["Id"], HARBOR)["grand_total"] == "4.00"
    assert rig.cost_of(bill["Id"], ELM)["grand_total"] == "10.00"
    assert rig.record("Bill", bill["Id"]).posted == 14


def test_S28_rows_that_only_change_place_change_nothing(rig: Rig) -> None:
    rig.bookkeeper.bill("7800", [line(10, item="101"), line(4, account="3")])
    rig.sync()
    head, first, *rows = MAPPING.splitlines()
    assert preview(rig, "\n".join([head, *rows[:3], first, *rows[3:]])).moved.bills == 0


def test_S27_a_rule_holds_for_bills_dated_from_its_day_whenever_they_come(rig: Rig) -> None:
    first = today() - timedelta(days=2)
    rules = MAPPING.replace(
        f",{WRONG},,,,,\n",
        f",Ready-mix,,,,,,{first},,direct_cost,09-2900,M,,,,,from then on\n,{WRONG},,,,,\n",
    )
    rig.publish(mapping=rules)
    late = rig.bookkeeper.bill("7900", [line(10, item="101")], day=(first - timedelta(days=3)).isoformat())
    on_the_day = rig.bookkeeper.bill("7901", [line(20, item="101")], day=first.isoformat())
    rig.sync()
    assert codes(rig, rig.cost_of(late["Id"])) == [("03-3000.M", "10.00")]
    assert codes(rig, rig.cost_of(on_the_day["Id"])) == [("09-2900.M", "20.00")]
    assert _why(rig, late)[0] == (
        2,
        False,
        f"valid_from: it holds from {first}, the bill is dated {_dated(late)}",
    )
    assert _why(rig, on_the_day)[0] == (
        2,
        True,
        f"every condition holds; valid from {first}, the bill is dated {first}",
    )
    told = {entry.qbo_id: entry.detail["rules"] for entry in entries(rig, "mapped") if entry.entity == "Bill"}
    assert told == {late["Id"]: ["2.3"], on_the_day["Id"]: ["2.2"]}


def _dated(bill: dict[str, Any]) -> date:
    return date.fromisoformat(bill["TxnDate"])


def _why(rig: Rig, bill: dict[str, Any]) -> list[tuple[int, bool, str]]:
    with rig.engine.connect() as db:
        rules, reference = newest_rules(db, rig.name), load_reference(db, rig.connection)
    assert rules is not None
    parsed = parse_bill(rig.bookkeeper.read("Bill", bill["Id"]), Entity.BILL)
    candidates = explain_line(parsed.lines[0], parsed, rules=rules, reference=reference)
    return [(one.row, one.took, one.why) for one in candidates]


# -- invoices on commitments ----------------------------------------------------------------------------------------


@pytest.fixture
def subs(rig: Rig) -> Rig:
    """A subcontract of Bright Electric with a line for each of two codes."""
    lines = [
        {"id": SC_007 * 10 + place, "flat_code": code, "amount": Decimal(50_000), "description": code}
        for place, code in enumerate(("26-0500.S", "03-3000.S"), start=1)
    ]
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007, line_items=lines)],
        billing_periods=[period()],
    )
    return rig


CONCRETE = MAPPING.replace("commitment,26-0500,S", "commitment,03-3000,S")


def billed_on(rig: Rig, number: int = 0) -> dict[int, str]:
    """Work of an invoice by line of the commitment."""
    return {
        entry["line_item_id"]: str(entry["work_completed_this_period"])
        for entry in invoices(rig)[number]["items"]
        if Decimal(entry["work_completed_this_period"])
    }


def test_S28_an_invoice_on_a_commitment_is_recoded_in_place_while_it_is_the_newest(subs: Rig) -> None:
    bill = progress(subs)
    subs.sync()
    assert billed_on(subs) == {SC_007 * 10 + 1: "10000.00"}
    (before,) = invoices(subs)
    assert bring_in(subs, CONCRETE).bills == 1
    (after,) = invoices(subs)
    assert (after["id"], sums(after)) == (before["id"], sums(before))
    assert billed_on(subs) == {SC_007 * 10 + 2: "10000.00"}
    assert subs.record("Bill", bill["Id"]).state == "updated"


@pytest.mark.processes
@pytest.mark.parametrize("point", ["K5", "K7", "K8"])
def test_S28_a_run_that_dies_over_an_invoice_leaves_the_new_code_and_never_a_sum_that_only_seems_right(
    subs: Rig, point: str
) -> None:
    progress(subs)
    subs.sync()
    preview(subs, CONCRETE)
    subs.publish(mapping=CONCRETE)
    apply(subs)
    run_that_dies_at(subs, point)
    with subs.engine.begin() as db:
        windows.mark(db, subs.name, [today()], reason="test")
    subs.settle()
    assert billed_on(subs) == {SC_007 * 10 + 2: "10000.00"}


def test_S28_an_invoice_under_a_later_one_waits_and_the_preview_said_so(subs: Rig) -> None:
    first = progress(subs)
    subs.sync()
    second = progress(subs, "BE-15", 5000)
    subs.sync()
    found = preview(subs, CONCRETE)
    assert {reason: (one.bills, one.amount) for reason, one in found.held.items()} == {
        "LATER_INVOICE_EXISTS": (1, Decimal(10_000))
    }
    assert (found.moved.bills, [bill.qbo_id for bill in found.left_out]) == (1, [first["Id"]])
    subs.publish(mapping=CONCRETE)
    assert apply(subs).bills == 2
    subs.settle()
    (hold,) = subs.holds()
    assert (hold.qbo_id, hold.reason) == (first["Id"], "LATER_INVOICE_EXISTS")
    assert "let it have its old codes again" in hold.sentence
    assert (billed_on(subs, 0), billed_on(subs, 1)) == (
        {SC_007 * 10 + 1: "10000.00"},
        {SC_007 * 10 + 2: "5000.00"},
    )
    row = subs.record("Bill", first["Id"])
    assert (row.posted, row.held) == (9000, 0)
    assert subs.record("Bill", second["Id"]).state == "updated"
    mark = subs.procore.mark()  # a rule that gives it the old code frees it without a write
    by_number = f"{CONCRETE.splitlines()[0]}\n5020,,,,,,Rough-in,,,commitment,26-0500,S,,,,,\n"
    subs.bookkeeper.edit("Bill", first, Line=[sub(10_000, "Rough-in"), *first["Line"][1:]])
    subs.publish(mapping=by_number + "\n".join(CONCRETE.splitlines()[1:]) + "\n")
    subs.sync()
    assert (subs.holds(), billed_on(subs, 0)) == ([], {SC_007 * 10 + 1: "10000.00"})
    assert [call for call in subs.procore.writes(mark) if "requisitions" in call] == []


def test_S28_a_paid_invoice_is_not_recoded(subs: Rig) -> None:
    bill = progress(subs)
    subs.sync()
    subs.bookkeeper.pay(bill, "9000")
    subs.sync()
    mark = subs.procore.mark()
    assert {reason: one.bills for reason, one in preview(subs, CONCRETE).held.items()} == {
        "LOCKED_IN_PROCORE": 1
    }
    subs.publish(mapping=CONCRETE)
    apply(subs)
    subs.settle()
    (hold,) = subs.holds(bill["Id"])
    assert (hold.reason, subs.procore.writes(mark)) == ("LOCKED_IN_PROCORE", [])
    assert "is paid in Procore" in hold.sentence
    assert billed_on(subs) == {SC_007 * 10 + 1: "10000.00"}
