"""The firm's books: accounts, items, classes and locations, each as the few facts the rest is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """An account; `parent` is the id of the one above it."""

    id: str
    number: str
    name: str
    kind: str
    subtype: str
    classification: str
    parent: str = ""

    @property
    def full_name(self) -> str:
        """`Parent:Child`, as QBO shows it."""
        return f"{ACCOUNT_BY_ID[self.parent].full_name}:{self.name}" if self.parent else self.name


@dataclass(frozen=True)
class Item:
    """A product or service; `account` is the expense account (cost of goods account of stock), "" = none."""

    id: str
    name: str
    kind: str
    account: str


_COST, _EXPENSE = "Cost of Goods Sold", "Expense"
PAYABLE, PAYABLE_CANADIAN, CHECKING, CARD, INCOME, STOCK = "33", "112", "35", "41", "48", "81"

ACCOUNTS = (
    Account(CHECKING, "1000", "Checking", "Bank", "Checking", "Asset"),
    Account("84", "1200", "Accounts Receivable (A/R)", "Accounts Receivable", "AccountsReceivable", "Asset"),
    Account(STOCK, "1300", "Inventory Asset", "Other Current Asset", "Inventory", "Asset"),
    Account("82", "1400", "Prepaid Insurance", "Other Current Asset", "PrepaidExpenses", "Asset"),
    Account("80", "1500", "Machinery and Equipment", "Fixed Asset", "MachineryAndEquipment", "Asset"),
    Account(PAYABLE, "2000", "Accounts Payable (A/P)", "Accounts Payable", "AccountsPayable", "Liability"),
    Account(
        PAYABLE_CANADIAN,
        "2010",
        "Accounts Payable (A/P) - CAD",
        "Accounts Payable",
        "AccountsPayable",
        "Liability",
    ),
    Account(CARD, "2050", "Mastercard", "Credit Card", "CreditCard", "Liability"),
    Account(
        "91", "2150", "Retainage Payable", "Other Current Liability", "OtherCurrentLiabilities", "Liability"
    ),
    Account("83", "2700", "Equipment Loan", "Long Term Liability", "NotesPayable", "Liability"),
    Account("49", "3000", "Retained Earnings", "Equity", "RetainedEarnings", "Equity"),
    Account(INCOME, "4000", "Construction Income", "Income", "ServiceFeeIncome", "Revenue"),
    Account("60", "5000", "Job costs", _COST, "OtherCostsOfServiceCos", "Expense"),
    Account("61", "5010", "Materials", _COST, "SuppliesMaterialsCogs", "Expense", "60"),
    Account("62", "5020", "Subcontract costs", _COST, "CostOfLaborCos", "Expense", "60"),
    Account("63", "5030", "Equipment rental", _COST, "EquipmentRentalCos", "Expense", "60"),
    Account("64", "5040", "Carpentry", _COST, "CostOfLaborCos", "Expense", "60"),
    Account("65", "5050", "Field labor", _COST, "CostOfLaborCos", "Expense", "60"),
    Account("66", "5060", "Permits and site fees", _COST, "OtherCostsOfServiceCos", "Expense", "60"),
    Account("67", "5075", "Small tools", _COST, "SuppliesMaterialsCogs", "Expense", "60"),
    Account("68", "5090", "Freight and delivery", _COST, "ShippingFreightDeliveryCos", "Expense", "60"),
    Account("70", "6100", "Office", _EXPENSE, "OfficeGeneralAdministrativeExpenses", "Expense"),
    Account("71", "6200", "Rent", _EXPENSE, "RentOrLeaseOfBuildings", "Expense"),
    Account("72", "6300", "Utilities", _EXPENSE, "Utilities", "Expense"),
    Account("73", "6400", "Business insurance", _EXPENSE, "Insurance", "Expense"),
)
ACCOUNT_BY_ID = {account.id: account for account in ACCOUNTS}
ACCOUNT_BY_NUMBER = {account.number: account for account in ACCOUNTS}

ITEMS = (
    Item("3", "Ready-mix", "NonInventory", "61"),
    Item("4", "Lumber", "NonInventory", "61"),
    Item("5", "Concrete labor", "Service", "65"),
    Item("6", "Drywall labor", "Service", "65"),
    Item("7", "Wire and conduit", "NonInventory", "61"),
    Item("8", "Structural steel", "NonInventory", "61"),
    Item("9", "Roof membrane", "NonInventory", "61"),
    Item("10", "Doors and frames", "NonInventory", "61"),
    Item("11", "Anchor bolts", "Inventory", "61"),
    Item("12", "Site services", "Service", "66"),
    Item("13", "Gypsum board", "NonInventory", "61"),
    Item("14", "Site cleanup", "Service", ""),
    Item("15", "Excavation", "Service", "65"),
)
ITEM_BY_NAME = {item.name: item for item in ITEMS}

CLASSES = {"Labor": "5000000000000005251", "Material": "5000000000000005252"}
LOCATIONS = {"Denver": "1", "Yard": "2"}
NET_30 = {"value": "3", "name": "Net 30"}
