"""The demo firm: enough of everything, the same every time, sums that agree, shapes that QuickBooks knows."""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.demo import bills, bookkeeper
from ml_connector.sandbox.demo.bookkeeper import Entered, EntryRefused
from ml_connector.sandbox.demo.expectations import Expected, key_of
from ml_connector.sandbox.demo.firm import DemoFirm, demo, load_reference
from ml_connector.sandbox.demo.payments import Payment
from ml_connector.sandbox.demo.reference import REALM, procore_lists, qbo_lists
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector.sandbox.qbo.vendor import QboVendor
from ml_connector.sandbox.records import Records
from ml_connector.sandbox.wire import write_json
from ml_connector_tests.sandbox.conftest import Books, Samples

TODAY = date(2026, 7, 8)
# A Monday, a Sunday, and a span over the change of clocks.
DAYS = (date(2026, 7, 6), date(2026, 8, 2), date(2026, 11, 20))
TOLD = {
    "S01", "S02", "S03", "S04", "S05", "S06", "S07", "S08", "S09", "S10",
    "S11", "S12", "S13", "S14", "S15", "S16", "S17", "S22", "S23", "S24",
    "S25", "S27", "S33", "S34", "S39", "S40", "S41", "S56", "S69", "S73", "S82", "S85", "S87", "S88",
    "S124", "S125", "S127",
}  # fmt: skip
HELD = {
    "CODE_MISSING",
    "COMMITMENT_MISSING",
    "COMMITMENT_NOT_APPROVED",
    "CURRENCY",
    "NOT_A_COST",
    "NO_PROJECT",
    "OVERBILLED",
    "POSSIBLE_DUPLICATE",
    "PROJECT_CLOSED",
    "PROJECT_NOT_LINKED",
    "TAX_POLICY",
    "UNMAPPED",
    "VENDOR_AMBIGUOUS",
}
PAID = {"S50", "S51", "S52", "S53", "S55", "S56", "S59", "S61", "S62"}  # fmt: skip
MAPPING = (
    "account,item,class,location,vendor,customer,description,valid_from,valid_to,"
    "route,cost_code,cost_type,project,commitment,share,reason,note"
)


@pytest.fixture(scope="module")
def firm() -> DemoFirm:
    return demo(TODAY)


def bodies(firm: DemoFirm) -> dict[str, dict[str, Any]]:
    """Every bill and credit of the firm by key, as it is loaded or sent."""
    past = {bill["Id"]: bill for bill in firm.history["Bill"]}
    return past | {entry.key: entry.body for entry in firm.entries}


def bill_expectations(firm: DemoFirm) -> list[Expected]:
    return [expected for expected in firm.expectations.values() if expected.entity == "Bill"]


def test_the_firm_has_five_active_projects_sixty_vendors_and_400_bills(firm: DemoFirm) -> None:
    projects = procore_lists(TODAY)["projects"]
    assert [project["id"] for project in projects if project["active"]] == [66001, 66002, 66003, 66004, 66005]
    assert [project["name"] for project in projects if not project["active"]] == ["Depot Lofts"]
    assert len(qbo_lists()["Vendor"]) == 60
    assert sum(not vendor["Active"] for vendor in qbo_lists()["Vendor"]) == 1
    live = [entry for entry in firm.entries if entry.entity == "Bill"]
    assert (len(firm.history["Bill"]), len(live)) == (330, 70)
    assert Counter(expected.entity for expected in firm.expectations.values()) == {
        "Bill": 400,
        "BillPayment": len(firm.payments),
        "VendorCredit": 4,
    }


def test_the_firm_is_the_same_whenever_it_is_made(firm: DemoFirm) -> None:
    bills._drawn.cache_clear()
    again = demo(TODAY)
    assert again == firm
    assert write_json(again.history) == write_json(firm.history)


def test_another_day_moves_dates_and_nothing_else(firm: DemoFirm) -> None:
    def undated(made: DemoFirm) -> Counter[tuple[object, ...]]:
        return Counter(
            (e.scenario, e.state, e.reason, e.total, e.targets, e.invoices) for e in bill_expectations(made)
        )

    for day in DAYS:
        assert undated(demo(day)) == undated(firm)
    assert all(
        demo(day).expectations[key] == firm.expectations[key] for day in DAYS for key in ("D-304", "D-370")
    )


def test_at_least_88_percent_of_the_money_is_posted(firm: DemoFirm) -> None:
    bills = bill_expectations(firm)
    assert sum(bill.posted for bill in bills) >= Decimal("0.88") * sum(bill.total for bill in bills)


def test_I1_posted_excluded_and_held_are_the_total_of_every_record(firm: DemoFirm) -> None:
    for expected in firm.expectations.values():
        assert expected.posted + expected.excluded + expected.held == expected.total, expected
        assert bool(expected.reason) == (expected.state in ("held", "excluded")), expected
        if expected.entity != "BillPayment":
            records = [*expected.targets, *expected.invoices]
            nets = [target.amount for target in expected.targets]
            nets += [invoice.net for invoice in expected.invoices]
            assert expected.posted == sum(nets)
            assert bool(records) == (expected.state in ("posted", "updated"))
        assert all(amount == amount.quantize(Decimal("0.01")) for amount in (expected.total, expected.held))


def test_totals_are_the_sum_of_lines_and_tax(firm: DemoFirm) -> None:
    corrected = {change.key: change.body for change in firm.changes if change.act == "edit"}
    deleted = {change.key for change in firm.changes if change.act == "delete"}
    for key, body in bodies(firm).items():
        lines = sum((line.get("Amount", Decimal(0)) for line in body["Line"]), Decimal(0))
        total = lines + body.get("TxnTaxDetail", {}).get("TotalTax", 0)
        assert total >= 0, key
        if "TotalAmt" in body:
            assert body["TotalAmt"] == body["Balance"] == total
        stands = sum(line["Amount"] for line in corrected[key]["Line"]) if key in corrected else total
        assert (0 if key in deleted else stands) == abs(firm.expectations[key].total), key


def test_S51_to_S61_a_payment_is_its_cash_and_the_credits_that_it_uses(firm: DemoFirm) -> None:
    for payment in firm.payments:
        credits, bills = (sum(amount for _, amount in pairs) for pairs in (payment.uses, payment.pays))
        cash = payment.body["TotalAmt"]
        assert cash + credits == payment.expected.total, payment.key
        assert cash + credits == (bills or Decimal("2000.00")), payment.key
        assert sum(part.amount for part in payment.expected.payments) <= cash
    unused = {"C-001"}
    spent = dict(chain.from_iterable(payment.uses for payment in firm.payments))
    totals = {key: -e.total for key, e in firm.expectations.items() if e.entity == "VendorCredit"}
    assert spent == {key: total for key, total in totals.items() if key not in unused}


def test_S62_S69_S73_one_payment_is_voided_two_bills_are_corrected_and_one_is_deleted(firm: DemoFirm) -> None:
    assert [change.act for change in firm.changes] == ["void", "delete", "edit", "edit"]
    for change in firm.changes:
        stands = firm.expectations[change.key]
        assert stands.state == ("updated" if change.act == "edit" else "reversed")
        assert stands == change.expected
        paying = [payment for payment in firm.payments if change.key in dict(payment.pays)]
        assert paying == [], "what is corrected or deleted is not paid"
    direct, progress = (change for change in firm.changes if change.act == "edit")
    before = {entry.key: entry.expected for entry in firm.entries}
    assert len(direct.expected.targets[0].lines) == len(before[direct.key].targets[0].lines) + 1
    assert [before[progress.key].invoices[0].gross, progress.expected.invoices[0].gross] == [9000, 9500]


def test_payment_dates_stand_on_direct_costs_of_bills_that_are_paid_off(firm: DemoFirm) -> None:
    settled: Counter[str] = Counter()
    for payment in firm.payments:
        if firm.expectations[payment.key].state != "reversed":
            settled.update(dict(payment.pays))
    dated = {key for key, expected in firm.expectations.items() if expected.paid_on is not None}
    paid_off = {key for key, amount in settled.items() if amount == firm.expectations[key].total}
    assert dated == {key for key in paid_off if firm.expectations[key].targets}
    assert len(dated) > 20
    assert set(settled) - paid_off, "some are paid in part"
    (voided,) = (payment for payment in firm.payments if payment.voided)
    assert {key for key, _ in voided.pays if firm.expectations[key].targets} - dated


def test_S33_to_S41_work_fits_its_schedule_of_values_and_holds_the_rate_of_the_contract(
    firm: DemoFirm,
) -> None:
    lists = procore_lists(TODAY)
    contracts = {contract["number"]: contract for contract in lists["commitments"]}
    billed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    held: dict[str, Decimal] = defaultdict(Decimal)
    for expected in bill_expectations(firm):
        for invoice in expected.invoices:
            contract = contracts[invoice.commitment]
            assert contract["status"] == "Approved"
            assert invoice.held == invoice.gross * (contract["retainage_percent"] or 0) / 100
            held[invoice.commitment] += invoice.held - invoice.released
            for code, kind, amount in invoice.work:
                billed[invoice.commitment, f"{code}.{kind}"] += amount
    schedule = {
        (number, line["flat_code"]): line["amount"]
        for number, contract in contracts.items()
        for line in contract["line_items"]
    }
    assert all(amount <= schedule[place] for place, amount in billed.items())
    assert {number for number, _ in billed} == {"SC-007", "SC-009", "SC-012", "SC-014", "SC-016", "SC-020"}
    assert sum(len(expected.invoices) > 1 for expected in bill_expectations(firm)) == 2  # S39
    assert all(amount > 0 for amount in held.values())
    (over,) = (expected for expected in bill_expectations(firm) if expected.scenario == "S41")
    assert over.total > contracts["SC-023"]["line_items"][0]["amount"]


@pytest.mark.parametrize("today", [TODAY, *DAYS])
def test_S34_retainage_is_released_after_it_was_held(today: date) -> None:
    firm = demo(today)
    (released,) = (e for e in bill_expectations(firm) if e.scenario == "S34")
    (invoice,) = released.invoices
    past = {bill["Id"]: bill for bill in firm.history["Bill"]}

    def dated(key: str) -> str:
        return str(past[key]["TxnDate"])

    def changed(key: str) -> datetime:
        return datetime.fromisoformat(past[key]["MetaData"]["LastUpdatedTime"])

    earlier = [
        entry.held
        for key in past
        for entry in firm.expectations[key].invoices
        if entry.commitment == invoice.commitment
        and dated(key) < dated(released.key)
        and changed(key) < changed(released.key)
    ]
    assert 0 < invoice.released <= sum(earlier)


@pytest.mark.parametrize("today", [TODAY, *DAYS])
def test_S44_every_job_has_one_open_period_that_takes_all_its_bills(today: date) -> None:
    periods = procore_lists(today)["billing_periods"]
    opened = {period["project_id"]: period for period in periods if period["status"] == "open"}
    assert set(opened) == {66001, 66002, 66003, 66004, 66005}
    assert len(periods) == 10
    for period in opened.values():
        assert period["start_date"] <= today.isoformat() <= period["end_date"]


def test_every_shape_is_there_in_the_history_or_live(firm: DemoFirm) -> None:
    assert {expected.scenario for expected in bill_expectations(firm)} == TOLD
    reasons = {e.reason for e in bill_expectations(firm) if e.state == "held"}
    assert reasons == HELD
    excluded = {e.reason for e in bill_expectations(firm) if e.state == "excluded"}
    assert excluded == {"OVERHEAD", "NOT_A_COST", "RETAINAGE_PAYABLE"}
    assert {payment.expected.scenario for payment in firm.payments} == PAID
    methods = {part.method for payment in firm.payments for part in payment.expected.payments}
    assert methods == {"check", "electronic"}
    assert sum("CreditCardPayment" in payment.body for payment in firm.payments) == 3


def test_S24_eight_bills_wait_for_one_rule(firm: DemoFirm) -> None:
    assert sum(expected.reason == "UNMAPPED" for expected in bill_expectations(firm)) == 8


def test_S12_a_zero_bill_moves_cost_between_two_projects(firm: DemoFirm) -> None:
    zero = [expected for expected in bill_expectations(firm) if expected.scenario == "S12"]
    assert zero
    for expected in zero:
        assert expected.total == 0
        assert len({target.project for target in expected.targets}) == 2


def test_S13_numbers_repeat_only_where_the_story_says_so(firm: DemoFirm) -> None:
    used: dict[tuple[str, str], list[Expected]] = {}
    for key, body in bodies(firm).items():
        if body.get("DocNumber"):
            pair = body["VendorRef"]["value"], body["DocNumber"]
            used.setdefault(pair, []).append(firm.expectations[key])
    repeated = [found for found in used.values() if len(found) > 1]
    assert [[expected.state for expected in found] for found in repeated] == [["posted", "held"]] * 3
    assert all(found[1].reason == "POSSIBLE_DUPLICATE" for found in repeated)
    numbers = Counter(number for _, number in used)
    assert sum(count > 1 for count in numbers.values()) >= 2  # of two vendors
    assert sum("DocNumber" not in body for body in bodies(firm).values()) == 5


def test_S14_numbers_and_texts_keep_within_the_limits_and_near_them(firm: DemoFirm) -> None:
    texts = [line.get("Description", "") for body in bodies(firm).values() for line in body["Line"]]
    assert max(map(len, texts)) == 3900
    assert any("🏗" in text and "\n" in text and "ß" in text for text in texts)
    assert all(len(body.get("DocNumber", "")) <= 21 for body in bodies(firm).values())
    assert all(len(body.get("PrivateNote", "")) <= 4000 for body in bodies(firm).values())


def test_S27_the_date_of_the_bill_decides_which_code_is_expected(firm: DemoFirm) -> None:
    change = date.fromisoformat(
        next(row["valid_from"] for row in csv.DictReader(io.StringIO(firm.mapping_csv)) if row["valid_from"])
    )
    seen = set()
    for key, body in bodies(firm).items():
        expected = firm.expectations[key]
        if expected.scenario == "S27":
            ((code, _, _),) = expected.targets[0].lines
            assert code == ("09-2900" if date.fromisoformat(body["TxnDate"]) < change else "09-2910")
            entered = body.get("MetaData", {}).get("CreateTime", firm.today.isoformat())
            assert date.fromisoformat(entered[:10]) >= change
            seen.add(code)
    assert seen == {"09-2900", "09-2910"}


def test_posted_lines_name_budget_codes_that_the_project_has(firm: DemoFirm) -> None:
    codes = {project["id"]: project["budget_codes"] for project in procore_lists(TODAY)["projects"]}
    for expected in bill_expectations(firm):
        for target in expected.targets:
            assert 66001 <= target.project <= 66005
            assert {f"{code}.{kind}" for code, kind, _ in target.lines} <= set(codes[target.project])
    assert not any(code.startswith("09-2900") for code in codes[66003])
    assert [code for code in codes[66004] if code.startswith("26-0500")] == ["26-0500.S"]


@pytest.mark.parametrize("today", [TODAY, *DAYS])
def test_all_dates_lie_within_60_days_and_changes_in_working_hours(today: date) -> None:
    firm = demo(today)
    first = today - timedelta(days=59)
    assert firm.start_date == first
    for body in bodies(firm).values():
        assert first <= date.fromisoformat(body["TxnDate"]) <= today
    last_of_all = datetime.min.replace(tzinfo=UTC)
    for bill in firm.history["Bill"]:
        created, updated = (bill["MetaData"][name] for name in ("CreateTime", "LastUpdatedTime"))
        for text in (created, updated):
            moment = datetime.fromisoformat(text).astimezone(ZoneInfo(firm.time_zone))
            assert first <= moment.date() < today
            assert moment.weekday() < 5
            assert 8 <= moment.hour < 17
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-0[78]:00", text)
        entered = datetime.fromisoformat(created)
        assert date.fromisoformat(bill["TxnDate"]) <= entered.date()
        assert entered <= datetime.fromisoformat(updated)
        assert (bill["SyncToken"] == "0") == (created == updated)
        assert last_of_all <= entered  # Ids follow the order of entry
        last_of_all = entered
    changed = {bill["MetaData"]["LastUpdatedTime"][:10] for bill in firm.history["Bill"]}
    assert len(changed) >= 40


def test_every_record_tells_its_key(firm: DemoFirm) -> None:
    assert [key_of(bill) for bill in firm.history["Bill"]] == [str(n) for n in range(1, 331)]
    assert all(key_of(entry.body) == entry.key for entry in firm.entries)
    assert all(key_of(payment.body) == payment.key for payment in firm.payments)
    assert key_of({"Id": "9", "PrivateNote": "Voided - ref P-004"}) == "P-004"


def test_the_sheets_have_the_headings_of_the_product(firm: DemoFirm) -> None:
    assert firm.mapping_csv.splitlines()[0] == MAPPING
    assert firm.projects_csv.splitlines()[0] == "customer,project,note"
    linked = [row["project"] for row in csv.DictReader(io.StringIO(firm.projects_csv))]
    assert sorted(linked) == [str(project["id"]) for project in procore_lists(TODAY)["projects"]]
    assert "Mill Bridge" not in firm.projects_csv


def keys_of(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, held in value.items():
            yield path + name
            yield from keys_of(held, f"{path}{name}.")
    elif isinstance(value, list):
        yield from chain.from_iterable(keys_of(item, path) for item in value)


def sampled(samples: Samples) -> dict[str, set[str]]:
    """Entity -> key paths, over all samples."""
    found: dict[str, set[str]] = {}

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            for name, held in value.items():
                docs = [doc for doc in (held if isinstance(held, list) else [held]) if isinstance(doc, dict)]
                found.setdefault(name, set()).update(chain.from_iterable(map(keys_of, docs)))
                visit(held)
        elif isinstance(value, list):
            for item in value:
                visit(item)

    for path in sorted(samples.folder.glob("*.json")):
        visit(samples[path.stem])
    return found


def test_shapes_have_no_keys_that_the_samples_lack(firm: DemoFirm, samples: Samples) -> None:
    known = sampled(samples)
    lists = {name: rows for name, rows in qbo_lists().items() if isinstance(rows, list)}
    # Named by the reference, and in no sample.
    known["VendorCredit"] |= known["Bill"]
    known["Preferences"].add("AccountingInfoPrefs.UseAccountNumbers")
    known["Department"] = known["Class"] | {"SubDepartment"}
    sent = [entry.body for entry in firm.entries if entry.entity == "Bill"]
    shown: dict[str, list[Any]] = {
        **lists,
        "Bill": [*firm.history["Bill"], *sent],
        "VendorCredit": [entry.body for entry in firm.entries if entry.entity == "VendorCredit"],
        "BillPayment": [payment.request(_any_ids(firm)) for payment in firm.payments],
    }
    for entity, docs in shown.items():
        assert docs
        assert set(keys_of(docs)) <= known[entity], entity


def _any_ids(firm: DemoFirm) -> dict[str, str]:
    return dict.fromkeys(firm.expectations, "1")


def test_references_point_to_what_is_there(firm: DemoFirm) -> None:
    lists = {name: {row["Id"]: row for row in rows} for name, rows in qbo_lists().items() if name != "realm"}
    for body in bodies(firm).values():
        vendor = lists["Vendor"][body["VendorRef"]["value"]]
        assert vendor["CurrencyRef"] == body["CurrencyRef"]
        for line in body["Line"]:
            detail = line.get(line["DetailType"], {})
            for name, entity in (("AccountRef", "Account"), ("ItemRef", "Item"), ("CustomerRef", "Customer")):
                if name in detail:
                    found = lists[entity][detail[name]["value"]]
                    assert detail[name]["name"] == found["FullyQualifiedName"]


@pytest.fixture
def procore(tmp_path: Path) -> Iterator[ProcoreVendor]:
    server = open_server(ProcoreVendor, name="procore", directory=tmp_path / "procore")
    assert isinstance(server.vendor, ProcoreVendor)
    server.start()
    yield server.vendor
    server.stop()


@pytest.fixture
def demo_books(tmp_path: Path) -> Iterator[Books]:
    """A QuickBooks sandbox with the firm's lists and nothing else."""
    server = open_qbo(directory=tmp_path / "demo", seed="demo")
    server.start()
    caller = Books(server.url)
    yield caller
    caller.session.close()
    server.stop()


def test_both_sandboxes_take_the_lists(tmp_path: Path, procore: ProcoreVendor) -> None:
    records = Records(tmp_path / "qbo.sqlite")
    qbo = QboVendor(records, Clock())
    assert load_reference(qbo, procore, today=TODAY) > 200
    assert len(qbo.live(f"{REALM}/Vendor")) == 60
    codes = {(doc["project_id"], doc["flat_code"]) for doc in procore.live("wbs_codes")}
    listed = {
        (project["id"], code)
        for project in procore_lists(TODAY)["projects"]
        for code in project["budget_codes"]
    }
    assert codes == listed  # commitments and budget lines made none by the way
    assert {doc["number"]: doc["status"] for doc in procore.live("commitments")} == {
        **dict.fromkeys(("SC-007", "SC-009", "SC-012", "SC-014", "SC-016", "SC-020", "SC-023"), "Approved"),
        **{"SC-011": "Draft", "PO-021": "Approved"},
    }
    assert {doc["vendor_id"] for doc in procore.live("commitments")} <= {
        doc["id"] for doc in procore.live("vendors")
    }
    records.close()


def test_the_bookkeeper_enters_everything_once_and_then_corrects(firm: DemoFirm, demo_books: Books) -> None:
    demo_books.control("POST", "load", firm.history)
    authorization = f"Bearer {demo_books.refresh().json()['access_token']}"
    told: list[Entered] = []

    def enter() -> dict[str, Entered]:
        return bookkeeper.enter(
            demo_books.url, authorization=lambda: authorization, demo=firm, progress=told.append, pace=0
        )

    entered = enter()
    assert set(entered) == {key for key in firm.expectations if not key.isdigit()}
    assert [record.key for record in told] == list(entered)
    bills = live(demo_books, "Bill")
    assert len(bills) == 400
    changed = {change.key for change in firm.changes}
    for key, bill in bills.items():
        assert key in changed or bill["TotalAmt"] == firm.expectations[key].total
        if not key.isdigit():
            assert bill["Id"] == entered[key].id
            assert int(bill["Id"]) > 330  # as QuickBooks counts: what is entered later has the higher Id
            created = datetime.fromisoformat(bill["MetaData"]["CreateTime"])
            assert timedelta(0) <= entered[key].at - created < timedelta(seconds=1)
    for key, bill in bills.items():
        assert bill["Balance"] == bill["TotalAmt"] - paid(firm)[key], key
    kinds = {"BillPayment": len(firm.payments), "VendorCredit": 4}
    for entity, count in kinds.items():
        assert len(live(demo_books, entity)) == count
    assert {key: record.id for key, record in enter().items()} == {
        key: record.id for key, record in entered.items()
    }
    assert len(live(demo_books, "Bill")) == 400
    calls = bookkeeper.correct(
        demo_books.url, authorization=lambda: authorization, demo=firm, entered=entered
    )
    assert calls == 8
    assert len(demo_books.control("GET", "journal")) >= calls
    stands_as_stated(firm, demo_books)


def live(books: Books, entity: str) -> dict[str, Any]:
    """The records of an entity by key."""
    return {key_of(doc): doc for doc in books.control("GET", f"records/{REALM}/{entity}")}


def paid(firm: DemoFirm, *, voided: bool = True) -> Counter[str]:
    """What is paid of each bill, with or without the payment that is voided."""
    amounts: Counter[str] = Counter()
    for payment in firm.payments:
        if voided or not payment.voided:
            amounts.update(dict(payment.pays))
    return amounts


def stands_as_stated(firm: DemoFirm, books: Books) -> None:
    """Totals and balances in QuickBooks after the corrections."""
    (deleted,) = (change.key for change in firm.changes if change.act == "delete")
    bills = live(books, "Bill")
    assert set(bills) == {e.key for e in bill_expectations(firm)} - {deleted}
    settled = paid(firm, voided=False)
    for key, bill in bills.items():
        assert bill["TotalAmt"] == firm.expectations[key].total
        assert bill["Balance"] == bill["TotalAmt"] - settled[key], key
    used = Counter(dict(chain.from_iterable(payment.uses for payment in firm.payments)))
    for key, credit in live(books, "VendorCredit").items():
        assert credit["Balance"] == credit["TotalAmt"] - used[key]
    for key, payment in live(books, "BillPayment").items():
        assert payment["TotalAmt"] + sum(dict(payment_of(firm, key).uses).values()) == (
            payment_of(firm, key).expected.total if not payment_of(firm, key).voided else 0
        )


def payment_of(firm: DemoFirm, key: str) -> Payment:
    return next(payment for payment in firm.payments if payment.key == key)


def test_the_bookkeeper_says_what_was_refused(firm: DemoFirm, demo_books: Books) -> None:
    with pytest.raises(EntryRefused, match=r"^D-301 Bill: 401 "):
        bookkeeper.enter(demo_books.url, authorization=lambda: "Bearer nothing", demo=firm, pace=0)
