"""Parsing QBO's records: the vendor's own samples, and records that are not what they should be."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.errors import BadRecord
from ml_connector.money import total
from ml_connector.qbo.models import (
    AppliedLine,
    Entity,
    Raw,
    Ref,
    document_key,
    is_deleted,
    parse_account,
    parse_bill,
    parse_bill_payment,
    parse_customer,
    parse_instant,
    parse_item,
    parse_vendor,
    updated_at,
)

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = Path(os.environ.get("ML_CONNECTOR_REFERENCE") or ROOT.parent / "shared" / "reference")
SAMPLES = REFERENCE / "qbo-samples"
PARSERS: dict[str, Callable[[Raw], Any]] = {
    "Bill": parse_bill,
    "VendorCredit": lambda raw: parse_bill(raw, Entity.VENDOR_CREDIT),
    "BillPayment": parse_bill_payment,
    "Vendor": parse_vendor,
    "Account": parse_account,
    "Item": parse_item,
    "Customer": parse_customer,
}
# Bodies that a client sends, and documentation that shortens its records.
NO_RECORDS = ("request", "delete", "void", "doc-sample")


def sample(name: str) -> Any:
    if not SAMPLES.is_dir():
        pytest.skip(f"the QBO samples are not here: set ML_CONNECTOR_REFERENCE (looked in {SAMPLES.name})")
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"), parse_float=Decimal)


def records(body: Any) -> Iterator[tuple[str, Raw]]:
    """Every record of a known kind, however deep the answer wraps it."""
    if isinstance(body, list):
        for entry in body:
            yield from records(entry)
    if isinstance(body, dict):
        for name, value in body.items():
            rows = value if isinstance(value, list) else [value]
            for row in rows:
                if name in PARSERS and isinstance(row, dict) and not is_deleted(row):
                    yield name, row
            if name not in PARSERS:
                yield from records(value)


def test_every_record_of_the_samples_is_parsed() -> None:
    sample("bill-query.json")
    seen: dict[str, int] = {}
    for path in sorted(SAMPLES.glob("*.json")):
        if any(word in path.name for word in NO_RECORDS):
            continue
        for name, raw in records(sample(path.name)):
            parsed = PARSERS[name](raw)
            assert parsed.id == raw["Id"], path.name
            updated_at(raw)
            seen[name] = seen.get(name, 0) + 1
    assert set(seen) == set(PARSERS)
    assert seen["Bill"] >= 6
    assert seen["Account"] >= 24


def test_the_lines_and_the_tax_of_the_sample_bills_add_up_to_their_totals() -> None:
    for name in (
        "bill-query.json",
        "bill-both-detail-types-composed.json",
        "bill-foreign-currency-composed.json",
    ):
        for _, raw in records(sample(name)):
            bill = parse_bill(raw)
            assert (
                total(line.amount for line in bill.lines if line.amount is not None) + bill.tax == bill.total
            )


def test_a_bill_with_both_kinds_of_line_is_read_in_full() -> None:
    bill = parse_bill(sample("bill-both-detail-types-composed.json")["Bill"])
    assert (bill.number, bill.txn_date, bill.due_date) == ("INV-20881", date(2026, 5, 5), date(2026, 6, 4))
    assert (bill.total, bill.balance, bill.currency) == (Decimal("2891.25"), Decimal("1450.75"), "USD")
    assert bill.location == Ref("2", "North Yard")
    assert bill.created == datetime(2026, 5, 5, 15, 12, 31, tzinfo=UTC)
    concrete, pump, retainage = bill.lines
    assert (concrete.number, concrete.item, concrete.account) == (1, Ref("3", "Concrete"), None)
    assert (concrete.quantity, concrete.unit_price, concrete.amount) == (
        Decimal(15),
        Decimal("157.5"),
        Decimal("2362.50"),
    )
    assert (concrete.customer, concrete.purchase_orders) == (
        Ref("61", "Riverside Developers:Riverside Clinic"),
        ("288",),
    )
    assert pump.account == Ref("64", "Job Expenses:Job Materials:Decks and Patios")
    assert (retainage.amount, retainage.customer) == (Decimal("-321.25"), None)


def test_an_inventory_item_stands_on_its_asset_account() -> None:
    items = {item.name: item for item in (parse_item(raw) for _, raw in records(sample("item-query.json")))}
    assert items["Pump"].account == Ref("81", "Inventory Asset")
    assert items["Concrete"].account is None


BILL: dict[str, Any] = {
    "Id": "145",
    "SyncToken": "2",
    "VendorRef": {"value": "46", "name": "City Rental"},
    "TxnDate": "2026-06-28",
    "TotalAmt": Decimal("300.0"),
    "Line": [
        {
            "Id": "1",
            "Amount": 300,
            "DetailType": "AccountBasedExpenseLineDetail",
            "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "13"}},
        }
    ],
}


def test_a_bill_of_the_least_fields_is_read() -> None:
    bill = parse_bill(BILL)
    assert (bill.number, bill.currency, bill.created, bill.due_date) == ("", "", None, None)
    assert (bill.total, bill.tax, bill.sync_token) == (Decimal("300.00"), Decimal("0.00"), 2)
    assert bill.lines[0].account == Ref("13", "")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("Id", "", "Id"),
        ("Id", 145, "Id"),
        ("SyncToken", "two", "SyncToken"),
        ("VendorRef", {"name": "City Rental"}, "VendorRef"),
        ("TxnDate", None, "TxnDate"),
        ("TxnDate", "28.06.2026", "TxnDate"),
        ("DueDate", "soon", "DueDate"),
        ("TotalAmt", None, "TotalAmt"),
        ("TotalAmt", 300.0, "TotalAmt"),
        ("TotalAmt", Decimal("300.005"), "TotalAmt"),
        ("Balance", "a lot", "Balance"),
        ("TxnTaxDetail", "none", "TxnTaxDetail"),
        ("TxnTaxDetail", {"TotalTax": "NaN"}, "TotalTax"),
        ("MetaData", "yesterday", "MetaData"),
        ("MetaData", {"CreateTime": "2026-06-28T10:00:00"}, "CreateTime"),
        ("Line", {"Amount": 1}, "Line"),
        ("Line", ["text"], "Line"),
        ("Line", [{"Amount": "1,00"}], "Line 1 Amount"),
        ("Line", [{"Amount": 1, "DetailType": "XDetail", "XDetail": "text"}], "XDetail"),
        ("Line", [{"Amount": 1, "LinkedTxn": "145"}], "LinkedTxn"),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_refused_by_name(
    field: str, value: object, named: str
) -> None:
    with pytest.raises(BadRecord, match=named):
        parse_bill({**BILL, field: value})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=True) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["value", "name", "Amount", "DetailType", "CreateTime", "TotalTax"]), inner
        )
    ),
    max_leaves=6,
)


@given(st.sampled_from([*BILL, "MetaData", "TxnTaxDetail", "CurrencyRef", "PrivateNote"]), json_values)
def test_whatever_stands_in_a_field_a_bill_is_read_or_refused(field: str, value: object) -> None:
    try:
        parse_bill({**BILL, field: value})
    except BadRecord as error:
        assert str(error)


def test_the_detail_type_decides_when_a_line_carries_both_details() -> None:
    both = {
        "Amount": 300,
        "DetailType": "ItemBasedExpenseLineDetail",
        "ItemBasedExpenseLineDetail": {"ItemRef": {"value": "3"}},
        "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "13"}},
    }
    (line,) = parse_bill({**BILL, "Line": [both]}).lines
    assert (line.item, line.account) == (Ref("3", ""), None)


def test_a_text_line_has_no_amount() -> None:
    (line,) = parse_bill(
        {**BILL, "Line": [{"DetailType": "DescriptionOnly", "Description": "See ticket 881"}]}
    ).lines
    assert (line.amount, line.description, line.id) == (None, "See ticket 881", "")


def test_S85_inactive_records_and_references_to_them_lose_the_mark_of_qbo() -> None:
    assert (
        parse_vendor({"Id": "46", "DisplayName": "City Rental (deleted)", "Active": False}).name
        == "City Rental"
    )
    assert parse_vendor({"Id": "46", "DisplayName": "City Rental (Deleted)"}).name == "City Rental"
    gone = {
        "Id": "61",
        "DisplayName": "Clinic (deleted)",
        "FullyQualifiedName": "Health:Clinic (deleted)",
        "Active": False,
    }
    customer = parse_customer(gone)
    assert (customer.name, customer.full_name, customer.active) == ("Clinic", "Health:Clinic", False)
    bill = parse_bill({**BILL, "VendorRef": {"value": "46", "name": "City Rental (Deleted)"}})
    assert bill.vendor == Ref("46", "City Rental")


def test_a_payment_names_what_it_settles() -> None:
    raw = {
        "Id": "402",
        "VendorRef": {"value": "46"},
        "TxnDate": "2026-07-01",
        "TotalAmt": 250,
        "Line": [
            {"Amount": 300, "LinkedTxn": [{"TxnId": "145", "TxnType": "Bill"}]},
            {"Amount": 50, "LinkedTxn": [{"TxnId": "255", "TxnType": "VendorCredit"}]},
            {"Amount": 1},
        ],
    }
    assert parse_bill_payment(raw).applied == (
        AppliedLine(Decimal("300.00"), "Bill", "145"),
        AppliedLine(Decimal("50.00"), "VendorCredit", "255"),
    )
    two = {
        "Amount": 300,
        "LinkedTxn": [{"TxnId": "145", "TxnType": "Bill"}, {"TxnId": "146", "TxnType": "Bill"}],
    }
    with pytest.raises(BadRecord, match="Line 1 settles 2 transactions"):
        parse_bill_payment({**raw, "Line": [two]})


def test_S112_an_instant_is_utc_and_needs_its_offset() -> None:
    assert parse_instant("2026-05-31T23:30:00-07:00", field="x") == datetime(2026, 6, 1, 6, 30, tzinfo=UTC)
    for text in ("2026-05-31T23:30:00", "0001-01-01T00:00:00+14:00", "yesterday", ""):
        with pytest.raises(BadRecord, match="MetaData"):
            parse_instant(text, field="MetaData.LastUpdatedTime")


def test_S13_document_numbers_are_compared_without_case_and_outer_blanks() -> None:
    assert document_key(" INV-1001 ") == document_key("inv-1001")
    assert document_key("1001") != document_key("01001")
