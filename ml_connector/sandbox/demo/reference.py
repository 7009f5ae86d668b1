"""The firm's lists as `load` takes them: what stands in QBO and in Procore before the first bill."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import Any

from ml_connector.sandbox.demo.chart import (
    ACCOUNT_BY_ID,
    ACCOUNTS,
    CLASSES,
    INCOME,
    ITEMS,
    LOCATIONS,
    NET_30,
    STOCK,
    Account,
    Item,
)
from ml_connector.sandbox.demo.contracts import billing_periods, purchase_order, subcontracts
from ml_connector.sandbox.demo.parties import (
    CANADIAN,
    CURRENCY_NAMES,
    CUSTOMERS,
    DOLLAR,
    FIREHOUSE,
    JOBS,
    LIBRARY,
    PROCORE_VENDORS,
    QUARRY,
    VENDORS,
    Job,
    Vendor,
)
from ml_connector.sandbox.records import Document

REALM = "9341457021722202"
COMPANY = 5001
_BEGAN = "2024-02-05T08:30:00-08:00"
_ADDRESS = {
    "Id": "2",
    "Line1": "410 Wynkoop Street",
    "City": "Denver",
    "CountrySubDivisionCode": "CO",
    "PostalCode": "80202",
    "Country": "US",
}
_COST_TYPES = {
    "L": ("Labor", "labor"),
    "M": ("Materials", "materials"),
    "S": ("Subcontract", "commitment"),
    "E": ("Equipment", "equipment"),
    "O": ("Other", "other"),
}
BUDGET = {
    "01-5000.L": 40_000,
    "01-5000.E": 160_000,
    "01-5000.O": 35_000,
    "01-7800.O": 20_000,
    "03-3000.L": 90_000,
    "03-3000.M": 260_000,
    "05-1200.M": 240_000,
    "06-1000.L": 120_000,
    "06-1000.M": 220_000,
    "07-5000.M": 150_000,
    "07-5000.S": 80_000,
    "08-1000.M": 140_000,
    "09-2900.M": 60_000,
    "09-2900.S": 130_000,
    "09-2910.M": 30_000,
    "22-0500.M": 110_000,
    "22-0500.S": 95_000,
    "26-0500.M": 130_000,
    "26-0500.S": 180_000,
    "31-2300.S": 160_000,
}
"""Budget code -> original budget, of a job that lacks nothing."""
_LACKING = {QUARRY.project: ("09-2900.M", "09-2900.S"), LIBRARY.project: ("26-0500.M",)}
_UNBUDGETED = {FIREHOUSE.project: ("01-7800.O",)}


def qbo_lists() -> Document:
    """Every list of the QBO company, by entity name, with its realm."""
    return {
        "realm": REALM,
        "CompanyInfo": [_company_info()],
        "Preferences": [_preferences()],
        "Account": [_account(account) for account in ACCOUNTS],
        "Item": [_item(item) for item in ITEMS],
        "Customer": [*_customers(), *(_job(job) for job in JOBS)],
        "Class": [_named(id, name, SubClass=False) for name, id in CLASSES.items()],
        "Department": [_named(id, name, SubDepartment=False) for name, id in LOCATIONS.items()],
        "Vendor": [vendor_record(vendor) for vendor in VENDORS],
    }


def procore_lists(today: date) -> Document:
    """Company, cost types, projects with budget codes, budget lines and billing periods, directory, and commitments."""
    return {
        "companies": [{"id": COMPANY, "name": "Stonebridge Builders"}],
        "line_item_types": [
            {"company_id": COMPANY, "code": code, "name": name, "base_type": base}
            for code, (name, base) in _COST_TYPES.items()
        ],
        "projects": list(_projects()),
        "budget_line_items": list(_budget_lines()),
        "vendors": [
            {"id": id, "company_id": COMPANY, "name": name, "city": city, "state_code": "CO"}
            for id, name, city in PROCORE_VENDORS
        ],
        "billing_periods": list(billing_periods(today)),
        "commitments": list(subcontracts()),
        "purchase_order_contracts": [purchase_order()],
    }


def vendor_record(vendor: Vendor, *, balance: Decimal = Decimal(0), updated: str = _BEGAN) -> Document:
    """The vendor as QBO shows it; `updated` moves with every posting, its SyncToken does not."""
    plain = vendor.name.removesuffix(" (deleted)")
    domain = "".join(mark for mark in plain.casefold() if mark.isascii() and mark.isalnum())[:30]
    return {
        **_head(vendor.id, updated=updated),
        "DisplayName": vendor.name,
        "CompanyName": plain[:100],
        "PrintOnCheckName": plain[:110],
        "Active": vendor.active,
        "Balance": balance,
        "Vendor1099": vendor.trade == "subcontract",
        "CurrencyRef": currency(vendor.currency),
        "TermRef": {"value": NET_30["value"]},
        "PrimaryEmailAddr": {"Address": f"office@{domain}.example"},
        "PrimaryPhone": {"FreeFormNumber": f"(303) 555-01{int(vendor.id) % 100:02}"},
        "BillAddr": {
            "Id": vendor.id,
            "Line1": f"{int(vendor.id) * 17} Main Street",
            "City": vendor.city,
            "CountrySubDivisionCode": vendor.state,
        },
        "V4IDPseudonym": _pseudonym(vendor.name),
    }


def currency(code: str) -> dict[str, str]:
    """A CurrencyRef."""
    return {"value": code, "name": CURRENCY_NAMES[code]}


def _head(id: str, *, updated: str = _BEGAN) -> Document:
    meta = {"CreateTime": _BEGAN, "LastUpdatedTime": updated}
    return {"domain": "QBO", "sparse": False, "Id": id, "SyncToken": "0", "MetaData": meta}


def _pseudonym(name: str) -> str:
    return "00209" + sha256(name.encode()).hexdigest()[:33]


def _named(id: str, name: str, **flag: bool) -> Document:
    return {**_head(id), "Name": name, "FullyQualifiedName": name, "Active": True, **flag}


def _company_info() -> Document:
    return {
        **_head("1"),
        "CompanyName": "Stonebridge Builders Inc.",
        "LegalName": "Stonebridge Builders Inc.",
        "CompanyAddr": _ADDRESS,
        "LegalAddr": _ADDRESS,
        "Country": "US",
        "Email": {"Address": "books@stonebridge.example"},
        "PrimaryPhone": {"FreeFormNumber": "(303) 555-0100"},
        "CompanyStartDate": "2024-02-05",
        "FiscalYearStartMonth": "January",
        "SupportedLanguages": "en",
        "WebAddr": {},
        "NameValue": [
            {"Name": "SubscriptionStatus", "Value": "PAID"},
            {"Name": "OfferingSku", "Value": "QuickBooks Online Plus"},
        ],
    }


def _preferences() -> Document:
    return {
        **_head("1"),
        "AccountingInfoPrefs": {
            "TrackDepartments": True,
            "ClassTrackingPerTxn": False,
            "ClassTrackingPerTxnLine": True,
            "UseAccountNumbers": True,
            "CustomerTerminology": "Customers",
        },
        "CurrencyPrefs": {"MultiCurrencyEnabled": True, "HomeCurrency": {"value": DOLLAR}},
        "VendorAndPurchasesPrefs": {"TrackingByCustomer": True, "BillableExpenseTracking": True},
        "TaxPrefs": {"UsingSalesTax": False},
    }


def _account(account: Account) -> Document:
    return {
        **_head(account.id),
        "Name": account.name,
        "AcctNum": account.number,
        "SubAccount": bool(account.parent),
        **({"ParentRef": {"value": account.parent}} if account.parent else {}),
        "FullyQualifiedName": account.full_name,
        "Active": True,
        "Classification": account.classification,
        "AccountType": account.kind,
        "AccountSubType": account.subtype,
        "CurrentBalance": 0,
        "CurrentBalanceWithSubAccounts": 0,
        "CurrencyRef": currency(CANADIAN if account.name.endswith("CAD") else DOLLAR),
    }


def _item(item: Item) -> Document:
    stocked = item.kind == "Inventory"
    record: Document = {
        **_head(item.id),
        "Name": item.name,
        "FullyQualifiedName": item.name,
        "Active": True,
        "Type": item.kind,
        "Taxable": False,
        "UnitPrice": 0,
        "PurchaseCost": 0,
        "TrackQtyOnHand": stocked,
        "IncomeAccountRef": _account_ref(INCOME),
    }
    if item.account:
        record["ExpenseAccountRef"] = _account_ref(item.account)
    if stocked:
        record |= {"AssetAccountRef": _account_ref(STOCK), "QtyOnHand": 0, "InvStartDate": "2024-02-05"}
    return record


def _account_ref(id: str) -> dict[str, str]:
    return {"value": id, "name": ACCOUNT_BY_ID[id].full_name}


def _customers() -> Iterator[Document]:
    for name, id in CUSTOMERS.items():
        yield {**_customer(id, name), "FullyQualifiedName": name, "Job": False, "IsProject": False}


def _job(job: Job) -> Document:
    return {
        **_customer(job.id, job.name),
        "FullyQualifiedName": f"{job.customer}:{job.name}",
        "Job": True,
        "ParentRef": {"value": CUSTOMERS[job.customer]},
        "Level": 1,
        "IsProject": job.is_project,
    }


def _customer(id: str, name: str) -> Document:
    return {
        **_head(id),
        "DisplayName": name,
        "PrintOnCheckName": name,
        "Active": True,
        "Balance": 0,
        "BalanceWithJobs": 0,
        "BillWithParent": False,
        "Taxable": False,
        "CurrencyRef": currency(DOLLAR),
        "PreferredDeliveryMethod": "Print",
        "V4IDPseudonym": _pseudonym(name),
    }


def _codes(project: int | None) -> list[str]:
    return [code for code in BUDGET if code not in _LACKING.get(project, ())]


def _projects() -> Iterator[dict[str, Any]]:
    for job in JOBS:
        if job.project is not None:
            yield {
                "id": job.project,
                "company_id": COMPANY,
                "name": job.name,
                "display_name": job.name,
                "project_number": f"24-{job.project - 66000:03}",
                "active": job.active,
                "city": "Denver",
                "state_code": "CO",
                "country_code": "US",
                "time_zone": "America/Denver",
                "budget_codes": _codes(job.project),
            }


def _budget_lines() -> Iterator[dict[str, Any]]:
    for job in JOBS:
        if job.project is not None and job.active:
            for code in _codes(job.project):
                if code not in _UNBUDGETED.get(job.project, ()):
                    budget = Decimal(BUDGET[code])
                    yield {"project_id": job.project, "flat_code": code, "original_budget_amount": budget}
