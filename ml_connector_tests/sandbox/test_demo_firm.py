"""The demo firm: enough of everything, the same every time, sums that agree, shapes that QuickBooks knows."""

import csv
import io
import re
from collections import Counter
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
    "S25", "S27", "S33", "S34", "S82", "S85", "S87", "S88", "S124", "S127",
}  # fmt: skip
HELD = {
    "CODE_MISSING", "CURRENCY", "NOT_A_COST", "NO_PROJECT",
    "POSSIBLE_DUPLICATE", "PROJECT_CLOSED", "PROJECT_NOT_LINKED", "RETAINAGE_POLICY",
    "TAX_POLICY", "UNMAPPED", "UNSUPPORTED", "VENDOR_AMBIGUOUS",
}  # fmt: skip
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
    projects = procore_lists()["projects"]
    assert [project["id"] for project in projects if project["active"]] == [66001, 66002, 66003, 66004, 66005]
    assert [project["name"] for project in projects if not project["active"]] == ["Depot Lofts"]
    assert len(qbo_lists()["Vendor"]) == 60
    assert sum(not vendor["Active"] for vendor in qbo_lists()["Vendor"]) == 1
    live = [entry for entry in firm.entries if entry.entity == "Bill"]
    assert (len(firm.history["Bill"]), len(live)) == (330, 70)
    assert Counter(expected.entity for expected in firm.expectations.values()) == {
        "Bill": 400,
        "BillPayment": len(firm.payments),
        "VendorCredit": 3,
    }


def test_the_firm_is_the_same_whenever_it_is_made(firm: DemoFirm) -> None:
    bills._drawn.cache_clear()
    again = demo(TODAY)
    assert again == firm
    assert write_json(again.history) == write_json(firm.history)


def test_another_day_moves_dates_and_nothing_else(firm: DemoFirm) -> None:
    def undated(made: DemoFirm) -> Counter[tuple[object, ...]]:
        return Counter((e.scenario, e.state, e.reason, e.total, e.targets) for e in bill_expectations(made))

    for day in DAYS:
        assert undated(demo(day)) == undated(firm)
    assert all(
        demo(day).expectations[key] == firm.expectations[key] for day in DAYS for key in ("D-301", "D-370")
    )


def test_at_least_88_percent_of_the_money_is_posted(firm: DemoFirm) -> None:
    bills = bill_expectations(firm)
    assert sum(bill.posted for bill in bills) >= Decimal("0.88") * sum(bill.total for bill in bills)


def test_I1_posted_excluded_and_held_are_the_total_of_every_record(firm: DemoFirm) -> None:
    for expected in firm.expectations.values():
        assert expected.posted + expected.excluded + expected.held == expected.total, expected
        assert expected.posted == sum(amount for target in expected.targets for _, _, amount in target.lines)
        assert bool(expected.targets) == (expected.state == "posted")
        assert bool(expected.reason) == (expected.state != "posted")
        assert all(amount == amount.quantize(Decimal("0.01")) for amount in (expected.total, expected.held))


def test_totals_are_the_sum_of_lines_and_tax(firm: DemoFirm) -> None:
    for key, body in bodies(firm).items():
        expected = firm.expectations[key]
        lines = sum((line.get("Amount", Decimal(0)) for line in body["Line"]), Decimal(0))
        total = lines + body.get("TxnTaxDetail", {}).get("TotalTax", 0)
        assert total == abs(expected.total), key
        assert total >= 0, key
        if "TotalAmt" in body:
            assert body["TotalAmt"] == body["Balance"] == total
    for payment in firm.payments:
        assert payment.body["TotalAmt"] == sum(amount for _, amount in payment.pays) == payment.expected.held


def test_every_shape_is_there_in_the_history_or_live(firm: DemoFirm) -> None:
    assert {expected.scenario for expected in bill_expectations(firm)} == TOLD
    reasons = {e.reason for e in bill_expectations(firm) if e.state == "held"}
    assert reasons == HELD
    excluded = {e.reason for e in bill_expectations(firm) if e.state == "excluded"}
    assert excluded == {"OVERHEAD", "NOT_A_COST", "RETAINAGE_PAYABLE"}
    assert {payment.expected.scenario for payment in firm.payments} == {"S50", "S51", "S52", "S53"}


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
    codes = {project["id"]: project["budget_codes"] for project in procore_lists()["projects"]}
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
    assert sorted(linked) == [str(project["id"]) for project in procore_lists()["projects"]]
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
    assert load_reference(qbo, procore) > 200
    assert len(qbo.live(f"{REALM}/Vendor")) == 60
    codes = {(doc["project_id"], doc["flat_code"]) for doc in procore.live("wbs_codes")}
    listed = {
        (project["id"], code) for project in procore_lists()["projects"] for code in project["budget_codes"]
    }
    assert codes == listed  # commitments and budget lines made none by the way
    assert [doc["number"] for doc in procore.live("commitments")] == ["SC-007", "SC-011", "SC-014", "PO-021"]
    records.close()


def test_the_bookkeeper_enters_everything_once(firm: DemoFirm, demo_books: Books) -> None:
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
    bills = {key_of(doc): doc for doc in demo_books.control("GET", f"records/{REALM}/Bill")}
    assert len(bills) == 400
    for key, bill in bills.items():
        expected = firm.expectations[key]
        assert bill["TotalAmt"] == expected.total
        if not key.isdigit():
            assert bill["Id"] == entered[key].id
            assert int(bill["Id"]) > 330  # as QuickBooks counts: what is entered later has the higher Id
            created = datetime.fromisoformat(bill["MetaData"]["CreateTime"])
            assert timedelta(0) <= entered[key].at - created < timedelta(seconds=1)
    paid = dict.fromkeys(bills, Decimal(0))
    for key, amount in chain.from_iterable(payment.pays for payment in firm.payments):
        paid[key] += amount
    for key, bill in bills.items():
        assert bill["Balance"] == bill["TotalAmt"] - paid[key], key
    kinds = {"BillPayment": len(firm.payments), "VendorCredit": 3}
    for entity, count in kinds.items():
        assert len(demo_books.control("GET", f"records/{REALM}/{entity}")) == count
    assert {key: record.id for key, record in enter().items()} == {
        key: record.id for key, record in entered.items()
    }
    assert len(demo_books.control("GET", f"records/{REALM}/Bill")) == 400


def test_the_bookkeeper_says_what_was_refused(firm: DemoFirm, demo_books: Books) -> None:
    with pytest.raises(EntryRefused, match=r"^D-301 Bill: 401 "):
        bookkeeper.enter(demo_books.url, authorization=lambda: "Bearer nothing", demo=firm, pace=0)
