"""What the imitation knows of each QuickBooks entity: properties, required ones, what a query may filter by.

Facts of Intuit's entity reference; nothing here acts.
"""

from collections.abc import Set
from dataclasses import dataclass

_SHARED = frozenset({"Id", "SyncToken", "MetaData", "domain", "sparse", "CustomField", "status"})
_LINES = frozenset(
    {"Line", "TxnDate", "DocNumber", "PrivateNote", "CurrencyRef", "ExchangeRate", "LinkedTxn"}
)
_TAXED = frozenset({"TxnTaxDetail", "GlobalTaxCalculation", "DepartmentRef", "TotalAmt", "HomeTotalAmt"})
_PERSON = frozenset(
    {
        "DisplayName", "Title", "GivenName", "MiddleName", "FamilyName", "Suffix", "CompanyName",
        "PrintOnCheckName", "Active", "Balance", "BillAddr", "CurrencyRef", "PrimaryPhone", "AlternatePhone",
        "Mobile", "Fax", "PrimaryEmailAddr", "WebAddr", "V4IDPseudonym", "ClientEntityId", "OtherAddr",
        "OtherContactInfo", "Notes",
    }
)  # fmt: skip
_LISTED = frozenset({"Name", "FullyQualifiedName", "ParentRef", "Active", "Description"})


@dataclass(frozen=True)
class Entity:
    """One entity. Name lists, which are soft-deleted, have a `name_property`; transactions have none."""

    name: str
    properties: frozenset[str]
    required: tuple[str, ...] = ()
    name_property: str | None = None
    queryable: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    totalled: bool = False
    """Whether query answers carry totalCount."""
    writable: bool = True
    sub_flag: str | None = None
    """The property that says that a list entry has a parent."""
    numbered: bool = False
    """Whether a second use of DocNumber with one vendor is refused (6140)."""


def _transaction(
    name: str,
    properties: Set[str],
    *,
    required: tuple[str, ...],
    queryable: Set[str],
    read_only: Set[str],
    totalled: bool = False,
    numbered: bool = False,
) -> Entity:
    return Entity(
        name,
        frozenset(_SHARED | _LINES | _TAXED | properties),
        required,
        queryable=frozenset({"TxnDate", "DocNumber", "TotalAmt", *queryable}),
        read_only=frozenset(read_only),
        totalled=totalled,
        numbered=numbered,
    )


def _listed(
    name: str,
    properties: Set[str],
    *,
    required: tuple[str, ...],
    queryable: Set[str],
    read_only: Set[str],
    name_property: str = "Name",
    sub_flag: str | None = None,
    totalled: bool = False,
) -> Entity:
    return Entity(
        name,
        frozenset(_SHARED | properties),
        required,
        name_property=name_property,
        queryable=frozenset({name_property, "Active", *queryable}),
        read_only=frozenset(read_only),
        sub_flag=sub_flag,
        totalled=totalled,
    )


_ALL = (
    _listed(
        "Vendor",
        _PERSON
        | {
            "AcctNum", "TaxIdentifier", "Vendor1099", "T4AEligible", "T5018Eligible", "TermRef",
            "APAccountRef",
            "CostRate", "BillRate", "VendorPaymentBankDetail", "HasTPAR", "TaxReportingBasis", "GSTIN",
            "GSTRegistrationType", "BusinessNumber", "PrimaryTaxIdentifier", "VendorType", "Source",
        },
        required=("DisplayName",),
        queryable={"CompanyName", "GivenName", "FamilyName", "PrintOnCheckName", "Balance"},
        read_only={"Balance", "V4IDPseudonym"},
        name_property="DisplayName",
    ),
    _listed(
        "Customer",
        _PERSON
        | {
            "FullyQualifiedName", "Job", "ParentRef", "Level", "BillWithParent", "BalanceWithJobs",
            "IsProject",
            "ShipAddr", "Taxable", "DefaultTaxCodeRef", "PreferredDeliveryMethod", "SalesTermRef",
            "PaymentMethodRef", "ResaleNum", "ARAccountRef", "CustomerTypeRef", "OpenBalanceDate",
        },
        required=("DisplayName",),
        queryable={"CompanyName", "GivenName", "FamilyName", "FullyQualifiedName", "Balance", "Job"},
        read_only={"Balance", "BalanceWithJobs", "FullyQualifiedName", "Level", "IsProject", "V4IDPseudonym"},
        name_property="DisplayName",
        sub_flag="Job",
    ),
    _listed(
        "Account",
        _LISTED
        | {
            "SubAccount", "AcctNum", "Classification", "AccountType", "AccountSubType", "CurrentBalance",
            "CurrentBalanceWithSubAccounts", "CurrencyRef", "TaxCodeRef", "TxnLocationType", "AccountAlias",
        },
        required=("Name",),
        queryable={
            "FullyQualifiedName", "AccountType", "AccountSubType", "Classification", "CurrentBalance",
            "SubAccount", "AcctNum", "Description",
        },
        read_only={
            "FullyQualifiedName", "CurrentBalance", "CurrentBalanceWithSubAccounts", "SubAccount",
            "Classification",
        },
        sub_flag="SubAccount",
    ),
    _listed(
        "Item",
        _LISTED
        | {
            "Sku", "Type", "ExpenseAccountRef", "IncomeAccountRef", "AssetAccountRef", "PurchaseCost",
            "PurchaseDesc", "UnitPrice", "SubItem", "Level", "Taxable", "TrackQtyOnHand", "QtyOnHand",
            "InvStartDate", "PrefVendorRef", "ItemGroupDetail", "ReorderPoint", "ClassRef", "SalesTaxCodeRef",
            "PurchaseTaxCodeRef", "SalesTaxIncluded", "PurchaseTaxIncluded", "ItemCategoryType",
            "TaxClassificationRef",
        },
        required=("Name",),
        queryable={"FullyQualifiedName", "Type", "Sku", "UnitPrice", "Description"},
        read_only={"FullyQualifiedName", "Level"},
        sub_flag="SubItem",
    ),
    _listed(
        "Class",
        _LISTED | {"SubClass"},
        required=("Name",),
        queryable={"FullyQualifiedName", "SubClass"},
        read_only={"FullyQualifiedName"},
        sub_flag="SubClass",
        totalled=True,
    ),
    _listed(
        "Department",
        _LISTED | {"SubDepartment", "Address"},
        required=("Name",),
        queryable={"FullyQualifiedName", "SubDepartment"},
        read_only={"FullyQualifiedName"},
        sub_flag="SubDepartment",
        totalled=True,
    ),
    _transaction(
        "Bill",
        {
            "VendorRef", "Balance", "HomeBalance", "DueDate", "APAccountRef", "SalesTermRef", "RecurDataRef",
            "TransactionLocationType", "IncludeInAnnualTPAR", "VendorAddr", "RemitToAddr", "ShipAddr",
            "LessCIS",
            "TxnApprovalInfo",
        },
        required=("VendorRef", "Line"),
        queryable={"Balance", "DueDate", "VendorRef", "APAccountRef", "SalesTermRef", "DepartmentRef"},
        read_only={"TotalAmt", "Balance", "HomeBalance", "HomeTotalAmt", "VendorAddr"},
        totalled=True,
        numbered=True,
    ),
    _transaction(
        "BillPayment",
        {
            "VendorRef", "PayType", "CheckPayment", "CreditCardPayment", "APAccountRef", "ProcessBillPayment",
            "VendorAddr", "TransactionLocationType",
        },
        required=("VendorRef", "PayType", "TotalAmt"),
        queryable={"VendorRef", "PayType", "APAccountRef", "DepartmentRef"},
        read_only={"VendorAddr"},
        totalled=True,
    ),
    _transaction(
        "VendorCredit",
        {"VendorRef", "Balance", "APAccountRef", "RecurDataRef", "VendorAddr", "IncludeInAnnualTPAR"},
        required=("VendorRef", "Line"),
        queryable={"VendorRef", "Balance", "APAccountRef", "DepartmentRef"},
        read_only={"TotalAmt", "Balance", "VendorAddr"},
        numbered=True,
    ),
    _transaction(
        "Purchase",
        {
            "PaymentType", "AccountRef", "EntityRef", "Credit", "PrintStatus", "RemitToAddr", "PurchaseEx",
            "PaymentMethodRef", "PaymentRefNum", "RecurDataRef", "TransactionLocationType",
        },
        required=("PaymentType", "AccountRef", "Line"),
        queryable={"PaymentType", "AccountRef", "EntityRef", "Credit", "DepartmentRef"},
        read_only={"TotalAmt", "PurchaseEx"},
    ),
    _transaction(
        "JournalEntry",
        {"Adjustment", "RecurDataRef", "TransactionLocationType", "TaxRateRef"},
        required=("Line",),
        queryable={"Adjustment"},
        read_only={"TotalAmt"},
    ),
    _transaction(
        "PurchaseOrder",
        {
            "VendorRef", "APAccountRef", "POStatus", "POEmail", "ShipAddr", "ShipTo", "VendorAddr", "DueDate",
            "ShipMethodRef", "ClassRef", "SalesTermRef", "EmailStatus", "Memo", "RecurDataRef",
        },
        required=("VendorRef", "Line"),
        queryable={"VendorRef", "POStatus", "DueDate", "APAccountRef"},
        read_only={"TotalAmt", "VendorAddr"},
    ),
)  # fmt: skip

_READ_ONLY_TRANSACTIONS = (
    "Invoice", "Payment", "Deposit", "Transfer", "Estimate", "CreditMemo", "SalesReceipt", "RefundReceipt",
    "TimeActivity",
)  # fmt: skip
_READ_ONLY_LISTS = (
    "Employee", "Term", "TaxCode", "TaxRate", "TaxAgency", "PaymentMethod", "Budget", "CompanyInfo",
    "Preferences",
    "CompanyCurrency",
)  # fmt: skip

ENTITIES: dict[str, Entity] = {
    **{entity.name: entity for entity in _ALL},
    **{
        name: Entity(
            name, frozenset(), queryable=frozenset({"TxnDate", "DocNumber", "TotalAmt"}), writable=False
        )
        for name in _READ_ONLY_TRANSACTIONS
    },
    **{
        name: Entity(
            name,
            frozenset(),
            name_property="DisplayName" if name == "Employee" else "Name",
            queryable=frozenset({"Name", "DisplayName", "Active"}),
            writable=False,
        )
        for name in _READ_ONLY_LISTS
    },
}
"""Every entity by its name; those that are not writable live by `load` alone."""

BY_LOWER = {name.lower(): entity for name, entity in ENTITIES.items()}
"""Lower-case name, as in paths and queries, to entity."""

NOT_IN_CDC = frozenset({"TaxAgency", "TaxCode", "TaxRate", "TimeActivity", "CompanyInfo", "Preferences"})
PEOPLE = ("Vendor", "Customer", "Employee")
"""DisplayName is unique over these together."""

REFERENCES = {
    "VendorRef": ("Vendor", "Names"),
    "CustomerRef": ("Customer", "Names"),
    "AccountRef": ("Account", "Accounts"),
    "APAccountRef": ("Account", "Accounts"),
    "BankAccountRef": ("Account", "Accounts"),
    "CCAccountRef": ("Account", "Accounts"),
    "ExpenseAccountRef": ("Account", "Accounts"),
    "IncomeAccountRef": ("Account", "Accounts"),
    "AssetAccountRef": ("Account", "Accounts"),
    "ItemRef": ("Item", "Items"),
    "ClassRef": ("Class", "Klasses"),
    "DepartmentRef": ("Department", "Depts"),
}
"""Reference property -> entity it points to, QuickBooks' word for that list in fault 2500."""
