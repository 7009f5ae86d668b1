"""What a saved record moves besides itself, and what QuickBooks refuses to save."""

from decimal import Decimal
from typing import Any

import pytest

from ml_connector_tests.sandbox.conftest import REALM, Books, account_line


def state(doc: dict[str, Any]) -> tuple[str, Any, list[tuple[str, str]]]:
    links = [(link["TxnType"], link["TxnId"]) for link in doc.get("LinkedTxn", [])]
    return doc["SyncToken"], doc["Balance"], links


def test_a_payment_moves_its_bills_and_a_card_payment_is_linked_as_a_check(books: Books) -> None:
    one, two = books.bill("100"), books.bill("50.25")
    payment = books.save(
        "BillPayment",
        {
            "VendorRef": {"value": "56"},
            "PayType": "CreditCard",
            "CreditCardPayment": {"CCAccountRef": {"value": "35"}},
            "TotalAmt": 120,
            "Line": [
                {"Amount": 100, "LinkedTxn": [{"TxnId": one["Id"], "TxnType": "Bill"}]},
                {"Amount": 20, "LinkedTxn": [{"TxnId": two["Id"], "TxnType": "Bill"}]},
            ],
        },
    )
    link = [("BillPaymentCheck", payment["Id"])]
    assert state(books.read("Bill", one["Id"])) == ("1", 0, link)
    assert state(books.read("Bill", two["Id"])) == ("1", Decimal("30.25"), link)
    assert books.read("Vendor", "56")["Balance"] == Decimal("30.25")
    paid = books.read("Bill", one["Id"])["MetaData"]["LastUpdatedTime"]
    assert paid == payment["MetaData"]["CreateTime"]


def test_a_void_keeps_the_payment_and_gives_the_balance_back(books: Books) -> None:
    bill = books.bill("100")
    payment = books.pay("100", ("Bill", bill["Id"], "100"), PrivateNote="check 7")
    sent = {"Id": payment["Id"], "SyncToken": "0", "sparse": True}
    voided = books.save("BillPayment", sent, operation="update", include="void")
    assert (voided["TotalAmt"], voided["Line"], voided["SyncToken"]) == (0, [], "1")
    assert voided["PrivateNote"] == "Voided - check 7"
    assert state(books.read("Bill", bill["Id"])) == ("2", 100, [])
    assert books.read("Vendor", "56")["Balance"] == 100


def test_an_edited_payment_moves_old_and_new_bills(books: Books) -> None:
    one, two = books.bill("100"), books.bill("100")
    payment = books.pay("100", ("Bill", one["Id"], "100"))
    line = {"Amount": 60, "LinkedTxn": [{"TxnId": two["Id"], "TxnType": "Bill"}]}
    sent = {"Id": payment["Id"], "SyncToken": "0", "sparse": True, "TotalAmt": 60, "Line": [line]}
    books.save("BillPayment", sent)
    assert state(books.read("Bill", one["Id"])) == ("2", 100, [])
    assert state(books.read("Bill", two["Id"])) == ("1", 40, [("BillPaymentCheck", payment["Id"])])


def test_a_credit_settles_a_bill_without_money(books: Books) -> None:
    bill = books.bill("100")
    credit = books.save("VendorCredit", {"VendorRef": {"value": "56"}, "Line": [account_line("70")]})
    payment = books.pay("0", ("Bill", bill["Id"], "70"), ("VendorCredit", credit["Id"], "70"))
    link = [("BillPaymentCheck", payment["Id"])]
    assert state(books.read("Bill", bill["Id"])) == ("1", 30, link)
    assert state(books.read("VendorCredit", credit["Id"])) == ("1", 0, link)
    assert books.read("Vendor", "56")["Balance"] == 30


def test_deleting_a_payment_restores_the_bill_and_a_paid_bill_cannot_be_deleted(books: Books) -> None:
    bill = books.bill("100")
    payment = books.pay("40", ("Bill", bill["Id"], "40"))
    sent = {"Id": bill["Id"], "SyncToken": "1"}
    refused = books.refused("POST", "bill", json=sent, params={"operation": "delete"})
    assert refused == (400, "6000")
    books.save("BillPayment", {"Id": payment["Id"], "SyncToken": "0"}, operation="delete")
    assert state(books.read("Bill", bill["Id"])) == ("2", 100, [])
    books.save("Bill", {"Id": bill["Id"], "SyncToken": "2"}, operation="delete")
    assert books.refused("GET", f"bill/{bill['Id']}") == (400, "610")
    assert books.read("Vendor", "56")["Balance"] == 0


def test_a_payment_over_the_open_balance_or_below_its_lines_is_refused_and_leaves_no_trace(
    books: Books,
) -> None:
    bill = books.bill("100")
    for total, amount in (("150", "150"), ("50", "100")):
        line = {"Amount": Decimal(amount), "LinkedTxn": [{"TxnId": bill["Id"], "TxnType": "Bill"}]}
        body = {
            "VendorRef": {"value": "56"},
            "PayType": "Check",
            "TotalAmt": Decimal(total),
            "Line": [line],
        }
        assert books.refused("POST", "billpayment", json=body) == (400, "6000")
    assert state(books.read("Bill", bill["Id"])) == ("0", 100, [])
    assert books.ids("select * from BillPayment") == []


def test_an_edit_of_a_part_paid_bill_keeps_what_is_paid(books: Books) -> None:
    bill = books.bill("100")
    books.pay("40", ("Bill", bill["Id"], "40"))
    lines = [*books.read("Bill", bill["Id"])["Line"], account_line("25.50")]
    sent = {"Id": bill["Id"], "SyncToken": "1", "sparse": True, "Line": lines}
    edited = books.save("Bill", sent)
    assert (edited["TotalAmt"], edited["Balance"]) == (Decimal("125.50"), Decimal("85.50"))
    assert [line["Id"] for line in edited["Line"]] == ["1", "2"]
    assert edited["LinkedTxn"][0]["TxnType"] == "BillPaymentCheck"


def test_a_sparse_update_keeps_what_a_full_update_empties(books: Books) -> None:
    bill = books.bill("100", PrivateNote="memo", DocNumber="7")
    sparse = books.save("Bill", {"Id": bill["Id"], "SyncToken": "0", "sparse": True, "DocNumber": "8"})
    assert (sparse["PrivateNote"], sparse["DocNumber"], sparse["SyncToken"]) == ("memo", "8", "1")
    body = {"Id": bill["Id"], "SyncToken": "1", "VendorRef": {"value": "56"}, "Line": [account_line("100")]}
    full = books.save("Bill", body)
    assert ("PrivateNote" in full, "DocNumber" in full) == (False, False)
    assert full["MetaData"]["CreateTime"] == bill["MetaData"]["CreateTime"]


def test_a_save_that_changes_nothing_leaves_the_sync_token(books: Books) -> None:
    bill = books.bill("100", DocNumber="7")
    again = books.save("Bill", {"Id": bill["Id"], "SyncToken": "0", "sparse": True, "DocNumber": "7"})
    assert again["SyncToken"] == "0"


def test_an_item_line_posts_to_the_item_s_expense_account(books: Books) -> None:
    line = {
        "DetailType": "ItemBasedExpenseLineDetail",
        "Amount": 30,
        "ItemBasedExpenseLineDetail": {"ItemRef": {"value": "3"}, "Qty": 3, "UnitPrice": 10},
    }
    books.save("Bill", {"VendorRef": {"value": "56"}, "Line": [line]})
    assert books.read("Account", "64")["CurrentBalance"] == 30
    assert books.read("Account", "33")["CurrentBalance"] == -30


def test_names_turn_inactive_with_a_suffix_and_cannot_be_deleted(books: Books) -> None:
    sent = {"Id": "46", "SyncToken": "0", "sparse": True, "Active": False}
    gone = books.save("Vendor", sent)
    assert (gone["DisplayName"], gone["Active"], gone["SyncToken"]) == ("Norton Lumber (deleted)", False, "1")
    assert books.read("Vendor", "46")["Active"] is False
    delete = books.refused("POST", "vendor", json={**sent, "SyncToken": "1"}, params={"operation": "delete"})
    assert delete == (400, "500")
    body = {"VendorRef": {"value": "46"}, "Line": [account_line("1")]}
    assert books.refused("POST", "bill", json=body) == (400, "610")


def test_without_the_suffix_an_inactive_name_still_counts(books: Books) -> None:
    books.control("POST", "switches", {"inactive_suffix": False})
    books.save("Vendor", {"Id": "46", "SyncToken": "0", "sparse": True, "Active": False})
    assert books.refused("POST", "vendor", json={"DisplayName": "Norton Lumber"}) == (400, "6240")


def test_a_name_is_taken_by_a_customer_as_well(books: Books) -> None:
    assert books.refused("POST", "vendor", json={"DisplayName": "Riverside Clinic"}) == (400, "6240")


def test_a_renamed_parent_renames_its_children_without_their_sync_token(books: Books) -> None:
    parent = books.save("Account", {"Name": "Job Costs", "AccountType": "Expense"})
    child = books.save("Account", {"Name": "Steel", "ParentRef": {"value": parent["Id"]}})
    assert (child["FullyQualifiedName"], child["SubAccount"]) == ("Job Costs:Steel", True)
    books.save("Account", {"Id": parent["Id"], "SyncToken": "0", "sparse": True, "Name": "Costs"})
    moved = books.read("Account", child["Id"])
    assert (moved["FullyQualifiedName"], moved["SyncToken"]) == ("Costs:Steel", "0")


def test_merged_vendors_move_their_bills_and_leave_the_loser_inactive(books: Books) -> None:
    bill = books.bill("100", vendor="46")
    books.control("POST", "merge", {"entity": "Vendor", "loser": "46", "winner": "56"})
    moved = books.read("Bill", bill["Id"])
    assert (moved["VendorRef"]["value"], moved["SyncToken"]) == ("56", "1")
    loser = books.read("Vendor", "46")
    assert (loser["Active"], loser["DisplayName"], loser["Balance"]) == (False, "Norton Lumber (deleted)", 0)
    assert books.read("Vendor", "56")["Balance"] == 100


@pytest.mark.parametrize(
    ("entity", "body", "code"),
    [
        ("bill", {"VendorRef": {"value": "56"}}, "2020"),
        ("bill", {"Line": [account_line("1")]}, "2020"),
        ("bill", {"VendorRef": {"value": "56"}, "Line": [account_line("1")], "Colour": "red"}, "2010"),
        ("bill", {"VendorRef": {"value": "999"}, "Line": [account_line("1")]}, "2500"),
        ("bill", {"VendorRef": {"value": "56"}, "Line": [account_line("-1")]}, "6000"),
        ("bill", {"Id": "1", "VendorRef": {"value": "56"}, "SyncToken": "0"}, "610"),
        ("vendor", {"Id": "56", "DisplayName": "B"}, "2020"),
        ("vendor", {"DisplayName": "a:b"}, "2080"),
        ("invoice", {"Line": []}, "500"),
        ("nonsense", {}, "500"),
    ],
)
def test_a_save_is_refused(books: Books, entity: str, body: dict[str, Any], code: str) -> None:
    assert books.refused("POST", entity, json=body) == (400, code)


def test_a_journal_entry_must_balance(books: Books) -> None:
    def line(kind: str, amount: int) -> dict[str, Any]:
        detail = {"PostingType": kind, "AccountRef": {"value": "69"}}
        return {"DetailType": "JournalEntryLineDetail", "Amount": amount, "JournalEntryLineDetail": detail}

    assert books.save("JournalEntry", {"Line": [line("Debit", 5), line("Credit", 5)]})["SyncToken"] == "0"
    body = {"Line": [line("Debit", 5), line("Credit", 4)]}
    assert books.refused("POST", "journalentry", json=body) == (400, "6000")


def test_a_purchase_order_is_linked_with_its_bill_and_a_missing_one_is_refused(books: Books) -> None:
    order = books.save("PurchaseOrder", {"VendorRef": {"value": "56"}, "Line": [account_line("10")]})
    linked = {**account_line("10"), "LinkedTxn": [{"TxnId": order["Id"], "TxnType": "PurchaseOrder"}]}
    bill = books.save("Bill", {"VendorRef": {"value": "56"}, "Line": [linked]})
    assert bill["LinkedTxn"] == [{"TxnId": order["Id"], "TxnType": "PurchaseOrder"}]
    order = books.read("PurchaseOrder", order["Id"])
    assert order["LinkedTxn"] == [{"TxnId": bill["Id"], "TxnType": "Bill"}]
    linked["LinkedTxn"] = [{"TxnId": "999", "TxnType": "PurchaseOrder"}]
    body = {"VendorRef": {"value": "56"}, "Line": [linked]}
    assert books.refused("POST", "bill", json=body) == (400, "620")


def test_a_repeated_requestid_gives_the_first_answer_and_writes_once(books: Books) -> None:
    body = {"VendorRef": {"value": "56"}, "Line": [account_line("1")]}
    first = books.ask("POST", "bill", json=body, params={"requestid": "r1"})
    assert books.ask("POST", "bill", json=body, params={"requestid": "r1"}) == first
    assert books.query("select count(*) from Bill") == {"totalCount": 1}


def test_a_bill_is_voided_only_when_the_switch_allows_it(books: Books) -> None:
    bill = books.bill("100")
    sent = {"Id": bill["Id"], "SyncToken": "0"}
    assert books.refused("POST", "bill", json=sent, params={"include": "void"}) == (400, "500")
    books.control("POST", "switches", {"bill_void": "allowed"})
    voided = books.save("Bill", sent, include="void")
    assert (voided["TotalAmt"], voided["Balance"], voided["PrivateNote"]) == (0, 0, "Voided")
    assert [line["Amount"] for line in voided["Line"]] == [0]


def test_a_purchase_names_its_payee_or_none_gives_money_back_and_is_voided_like_a_bill(books: Books) -> None:
    spent = {"PaymentType": "CreditCard", "AccountRef": {"value": "33"}, "Line": [account_line("34")]}
    bought = books.save("Purchase", {**spent, "EntityRef": {"value": "56"}})
    vendor = books.read("Vendor", "56")
    assert bought["EntityRef"] == {"value": "56", "name": vendor["DisplayName"], "type": "Vendor"}
    assert (bought["TotalAmt"], bought["Credit"]) == (34, False)
    assert books.save("Purchase", {**spent, "Credit": True})["Credit"] is True
    for odd, code in (
        ({"EntityRef": {"value": "56", "type": "Customer"}}, "2500"),
        ({"PaymentType": "Gold"}, "2170"),
    ):
        assert books.refused("POST", "purchase", json={**spent, **odd}) == (400, code)
    sent = {"Id": bought["Id"], "SyncToken": "0"}
    assert books.refused("POST", "purchase", json=sent, params={"include": "void"}) == (400, "500")
    books.control("POST", "switches", {"bill_void": "allowed"})
    voided = books.save("Purchase", sent, include="void")
    assert (voided["TotalAmt"], [line["Amount"] for line in voided["Line"]]) == (0, [0])
    assert "Balance" not in voided


def test_a_batch_takes_30_items_and_one_can_be_made_to_fail(books: Books) -> None:
    items = [
        {"bId": str(n), "operation": "create", "Vendor": {"DisplayName": f"Vendor {n}"}} for n in range(31)
    ]
    assert books.refused("POST", "batch", json={"BatchItemRequest": items}) == (400, "1040")
    books.fault("POST /v3/*/batch", "batch_item_fault", args={"index": 4, "code": "10000"})
    answer = books.ask("POST", "batch", json={"BatchItemRequest": items[:30]})["BatchItemResponse"]
    failed = [item["bId"] for item in answer if "Fault" in item]
    assert failed == ["4"]
    assert "Vendor 4" not in [row["DisplayName"] for row in books.query("select * from Vendor")["Vendor"]]


def test_companies_are_walled(books: Books) -> None:
    bill = books.bill("100")
    assert books.refused("GET", f"bill/{bill['Id']}", realm="123") == (400, "610")
    books.control("POST", "load", {"realm": "123", "Vendor": [{"Id": "1", "DisplayName": "Norton Lumber"}]})
    assert [doc["Id"] for doc in books.control("GET", "records/123/Vendor")] == ["1"]
    assert [doc["Id"] for doc in books.control("GET", f"records/{REALM}/Bill")] == [bill["Id"]]
    assert books.control("GET", "records/Bill") == books.control("GET", f"records/{REALM}/Bill")


def test_unheard_of_fields_come_on_demand(books: Books) -> None:
    books.control("POST", "switches", {"extra_fields": True})
    bill = books.bill("100")
    assert "SandboxNewField" in bill
    assert "SandboxNewField" in books.query("select * from Bill")["Bill"][0]
    books.control("POST", "switches", {"extra_fields": False})
    assert "SandboxNewField" not in books.read("Bill", bill["Id"])


def test_line_ids_can_change_with_an_edit(books: Books) -> None:
    bill = books.save("Bill", {"VendorRef": {"value": "56"}, "Line": [account_line("1"), account_line("2")]})
    books.control("POST", "switches", {"line_ids": "renewed"})
    lines = [{**bill["Line"][0], "Amount": 5}, bill["Line"][1]]
    edited = books.save("Bill", {"Id": bill["Id"], "SyncToken": "0", "sparse": True, "Line": lines})
    assert [line["Id"] for line in edited["Line"]] == ["3", "2"]


def test_odd_records_are_taken_as_given_and_do_not_break_a_query(books: Books) -> None:
    odd = [
        {"Id": "1", "MetaData": {"LastUpdatedTime": "the other day"}, "Balance": "a lot", "TotalAmt": 5},
        {"Id": "2", "MetaData": None, "VendorRef": "56", "TxnDate": None},
        {"TotalAmt": Decimal("1E+2"), "DocNumber": 7},
    ]
    assert books.control("POST", "load", {"Bill": odd}) == {"loaded": 3}
    assert len(books.ids("select * from Bill orderby TxnDate")) == 3
    assert books.ids("select * from Bill where TotalAmt >= '5' orderby Id") == ["1", "3"]
    assert books.ids("select * from Bill where Balance > '0'") == []
    assert books.read("Bill", "1")["MetaData"] == {"LastUpdatedTime": "the other day"}


@pytest.mark.parametrize("body", [{"Line": "x"}, {"Line": [1]}, {"VendorRef": "56"}])
def test_a_property_of_the_wrong_shape_is_refused(books: Books, body: dict[str, Any]) -> None:
    whole = {"VendorRef": {"value": "56"}, "Line": [account_line("1")], **body}
    assert books.refused("POST", "bill", json=whole) == (400, "2010")


def test_a_stale_bill_is_refused_and_stays(books: Books) -> None:
    bill = books.bill("100")
    books.pay("100", ("Bill", bill["Id"], "100"))
    sent = {"Id": bill["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "late"}
    assert books.refused("POST", "bill", json=sent) == (400, "5010")
    assert "PrivateNote" not in books.read("Bill", bill["Id"])
