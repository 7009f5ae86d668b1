"""One walk through QuickBooks by python-quickbooks and intuit-oauth; prints what they saw as one JSON object.

Arguments: address of the server, realm, client id, client secret, refresh token. Needs the environment
variable OAUTHLIB_INSECURE_TRANSPORT=1, because the server speaks plain HTTP on loopback.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from intuitlib.client import AuthClient  # type: ignore[import-not-found]
from intuitlib.exceptions import AuthClientError  # type: ignore[import-not-found]
from quickbooks import QuickBooks  # type: ignore[import-not-found]
from quickbooks.batch import batch_create, batch_delete, batch_update  # type: ignore[import-not-found]
from quickbooks.cdc import change_data_capture  # type: ignore[import-not-found]
from quickbooks.exceptions import QuickbooksException  # type: ignore[import-not-found]
from quickbooks.objects.account import Account  # type: ignore[import-not-found]
from quickbooks.objects.base import Ref  # type: ignore[import-not-found]
from quickbooks.objects.bill import Bill  # type: ignore[import-not-found]
from quickbooks.objects.billpayment import (  # type: ignore[import-not-found]
    BillPayment,
    BillPaymentLine,
    CheckPayment,
)
from quickbooks.objects.company_info import CompanyInfo  # type: ignore[import-not-found]
from quickbooks.objects.detailline import (  # type: ignore[import-not-found]
    AccountBasedExpenseLine,
    AccountBasedExpenseLineDetail,
    ItemBasedExpenseLine,
    ItemBasedExpenseLineDetail,
)
from quickbooks.objects.vendor import Vendor  # type: ignore[import-not-found]

MATERIALS, READY_MIX, CHECKING, CLINIC, MINOR_VERSION = "1", "101", "35", "61", 75


def main(server: str, realm: str, client_id: str, secret: str, refresh_token: str) -> dict[str, Any]:
    """Every step's findings under its name."""
    auth = AuthClient(client_id, secret, "", f"{server}/.well-known/openid_configuration")
    found: dict[str, Any] = {"refused refresh": refused_refresh(auth)}
    auth.refresh(refresh_token=refresh_token)
    QuickBooks.api_url_v3 = f"{server}/v3"
    qb = QuickBooks(
        auth_client=auth,
        refresh_token=auth.refresh_token,
        company_id=realm,
        minorversion=MINOR_VERSION,
        use_decimal=True,
    )
    found["token"] = {
        "expires_in": auth.expires_in,
        "x_refresh_token_expires_in": auth.x_refresh_token_expires_in,
        "refresh_token": auth.refresh_token,
    }
    for step in (lists, vendor, bill, payment, changes, batch, refusals):
        found[step.__name__] = step(qb)
    auth.revoke()
    found["after revocation"] = refusal(lambda: Vendor.all(qb=qb))
    return found


def refused_refresh(auth: Any) -> dict[str, Any]:
    """A refresh with a token that nobody issued."""
    try:
        auth.refresh(refresh_token="never-issued")
    except AuthClientError as error:
        return {"status": error.status_code, "error": json.loads(error.content)["error"]}
    return {}


def lists(qb: Any) -> dict[str, Any]:
    """Read, query, order, page and count."""
    company = CompanyInfo.get(qb.company_id, qb=qb)
    pages = [
        [found.Id for found in Vendor.all(order_by="Id", start_position=start, max_results=3, qb=qb)]
        for start in (1, 4, 7)
    ]
    return {
        "company": company.CompanyName,
        "vendors": Vendor.count(qb=qb),
        "pages": pages,
        "by name": [found.Id for found in Vendor.filter(DisplayName="Granite Supply", qb=qb)],
        "by ids": sorted(found.Id for found in Vendor.choose(["22", "23"], qb=qb)),
        "like": [found.Id for found in Vendor.where("DisplayName LIKE '%rental%'", qb=qb)],
        "accounts of goods": Account.count("AccountType = 'Cost of Goods Sold'", qb=qb),
        "bills": Bill.count(qb=qb),
        "rows of bills": len(Bill.all(qb=qb)),
    }


def vendor(qb: Any) -> dict[str, Any]:
    """Create, read, rename, make inactive."""
    fresh = Vendor()
    fresh.DisplayName = "O'Neill & Sons"
    made = fresh.save(qb=qb)
    by_name = [row.Id == made.Id for row in Vendor.filter(DisplayName="O'Neill & Sons", qb=qb)]
    made.DisplayName = "O'Neill & Daughters"
    renamed = made.save(qb=qb)
    renamed.Active = False
    retired = renamed.save(qb=qb)
    return {
        "found by name": by_name,
        "tokens": [made.SyncToken, renamed.SyncToken, retired.SyncToken],
        "read": Vendor.get(made.Id, qb=qb).DisplayName,
        "active after": retired.Active,
        "listed after": len(Vendor.filter(DisplayName="O'Neill & Daughters (deleted)", qb=qb)),
        "listed with inactive": len(Vendor.where("Active IN (true, false)", qb=qb)),
    }


def bill(qb: Any) -> dict[str, Any]:
    """Create with both kinds of lines, read, query, change, delete."""
    made = new_bill("4471", account_line("1250.00"), item_line("99.95")).save(qb=qb)
    read = Bill.get(made.Id, qb=qb)
    read.PrivateNote = "delivered in two loads"
    read.Line[0].Amount = Decimal("1300.05")
    changed = read.save(qb=qb)
    found = Bill.where("DocNumber = '4471'", qb=qb)
    doomed = new_bill("4472", account_line("1.00")).save(qb=qb)
    deleted = doomed.delete(qb=qb)
    return {
        "due as dated": made.DueDate == made.TxnDate,
        "total": str(made.TotalAmt),
        "balance": str(made.Balance),
        "details": [line.DetailType for line in made.Line],
        "customer": made.Line[0].AccountBasedExpenseLineDetail.CustomerRef.value,
        "item": made.Line[1].ItemBasedExpenseLineDetail.ItemRef.value,
        "changed": [str(changed.TotalAmt), changed.PrivateNote, changed.SyncToken],
        "found": [row.Id == made.Id for row in found],
        "deleted": deleted["Bill"]["status"],
        "read of the deleted": refusal(lambda: Bill.get(doomed.Id, qb=qb)),
    }


def payment(qb: Any) -> dict[str, Any]:
    """Pay a bill, void the payment, pay again, delete that payment."""
    owed = new_bill("5001", account_line("500.00")).save(qb=qb)
    paid = new_payment(owed, "500.00").save(qb=qb)
    after_payment = Bill.get(owed.Id, qb=qb)
    delete_paid = refusal(lambda: after_payment.delete(qb=qb))
    paid.void(qb=qb)
    voided, after_void = BillPayment.get(paid.Id, qb=qb), Bill.get(owed.Id, qb=qb)
    again = new_payment(after_void, "200.00").save(qb=qb)
    after_part = Bill.get(owed.Id, qb=qb)
    gone = again.delete(qb=qb)
    versions = (owed, after_payment, after_void, after_part, Bill.get(owed.Id, qb=qb))
    return {
        "balances": [str(version.Balance) for version in versions],
        "linked": [(link.TxnType, link.TxnId == paid.Id) for link in after_payment.LinkedTxn],
        "delete of the paid bill": delete_paid,
        "voided": [str(voided.TotalAmt), len(voided.Line), voided.PrivateNote],
        "deleted": gone["BillPayment"]["status"],
    }


def changes(qb: Any) -> dict[str, Any]:
    """Change data capture over three types since an hour ago."""
    since = datetime.now(UTC) - timedelta(hours=1)
    seen = change_data_capture([Bill, BillPayment, Vendor, Account], since.isoformat(), qb=qb)
    too_old = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    return {
        "bills": [getattr(row, "status", "live") for row in seen.Bill],
        "payments": [getattr(row, "status", "live") for row in seen.BillPayment],
        "vendors": sorted(row.DisplayName for row in seen.Vendor),
        "too old": refusal(lambda: change_data_capture([Bill], too_old, qb=qb)),
    }


def batch(qb: Any) -> dict[str, Any]:
    """Create, update and delete several at a time; one creation fails."""
    fresh = [Vendor() for _ in range(3)]
    for record, name in zip(fresh, ("Batch One", "granite supply", "Batch Two"), strict=True):
        record.DisplayName = name
    created = batch_create(fresh, qb=qb)
    for record in created.successes:
        record.AcctNum = "B-1"
    updated = batch_update(created.successes, qb=qb)
    bills = batch_create([new_bill(f"60{n:02}", account_line("10.00")) for n in range(35)], qb=qb)
    deleted = batch_delete(updated.successes, qb=qb)
    return {
        "created": [row.DisplayName for row in created.successes],
        "faults": codes(created),
        "updated": [(row.AcctNum, row.SyncToken) for row in updated.successes],
        "bills": [len(bills.successes), len(bills.faults)],
        "deletion of vendors": codes(deleted),
    }


def refusals(qb: Any) -> dict[str, Any]:
    """What the server refuses, as the library's own exceptions."""
    stale = Vendor.get("22", qb=qb)
    newer = Vendor.get("22", qb=qb)
    newer.CompanyName = "Bright Electric Inc"
    newer.save(qb=qb)
    stale.CompanyName = "Too late"
    twin = Vendor()
    twin.DisplayName = "CITY rental"
    lost = new_bill("7001", account_line("1.00", account="999"))
    return {
        "stale": refusal(lambda: stale.save(qb=qb)),
        "duplicate name": refusal(lambda: twin.save(qb=qb)),
        "duplicate number": refusal(lambda: new_bill("4471", account_line("1.00")).save(qb=qb)),
        "not found": refusal(lambda: Bill.get("987654", qb=qb)),
        "bad reference": refusal(lambda: lost.save(qb=qb)),
        "bad query": refusal(lambda: Vendor.query("SELECT FROM", qb=qb)),
        "unknown property in a query": refusal(lambda: Bill.where("Line = '1'", qb=qb)),
        "other realm": other_realm(qb),
    }


def other_realm(qb: Any) -> dict[str, Any]:
    """A read in a company that the token is not for."""
    realm, qb.company_id = qb.company_id, "1"
    told = refusal(lambda: Vendor.all(qb=qb))
    qb.company_id = realm
    return told


def refusal(call: Callable[[], object]) -> dict[str, Any]:
    """The exception of a call that must fail: class and code."""
    try:
        call()
    except QuickbooksException as error:
        return {"class": type(error).__name__, "code": error.error_code}
    return {}


def codes(answer: Any) -> list[str]:
    """The codes of a batch's faults."""
    return [fault.Error[0].code for fault in answer.faults]


def new_bill(number: str, *lines: Any, vendor: str = "21") -> Any:
    """An unsaved bill."""
    made = Bill()
    made.DocNumber = number
    made.TxnDate = datetime.now(UTC).date().isoformat()
    made.VendorRef = ref(vendor)
    made.Line = list(lines)
    return made


def new_payment(owed: Any, amount: str) -> Any:
    """An unsaved payment by check."""
    line = BillPaymentLine()
    line.Amount = Decimal(amount)
    line.LinkedTxn = [owed.to_linked_txn()]
    made = BillPayment()
    made.VendorRef, made.PayType, made.TotalAmt = owed.VendorRef, "Check", Decimal(amount)
    made.CheckPayment = CheckPayment()
    made.CheckPayment.BankAccountRef = ref(CHECKING)
    made.Line = [line]
    return made


def account_line(amount: str, *, account: str = MATERIALS) -> Any:
    """A line on an account, for the clinic."""
    line = AccountBasedExpenseLine()
    line.Amount = Decimal(amount)
    line.AccountBasedExpenseLineDetail = AccountBasedExpenseLineDetail()
    line.AccountBasedExpenseLineDetail.AccountRef = ref(account)
    line.AccountBasedExpenseLineDetail.CustomerRef = ref(CLINIC)
    return line


def item_line(amount: str) -> Any:
    """A line on an item."""
    line = ItemBasedExpenseLine()
    line.Amount = Decimal(amount)
    line.ItemBasedExpenseLineDetail = ItemBasedExpenseLineDetail()
    line.ItemBasedExpenseLineDetail.ItemRef = ref(READY_MIX)
    return line


def ref(value: str) -> Any:
    """A reference by id."""
    made = Ref()
    made.value = value
    return made


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)
