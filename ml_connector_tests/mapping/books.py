"""The books of the scenarios (scenarios 1.5): builders of bills, lists, rules and a catalog."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

from ml_connector.mapping.matching import ACCOUNT_LINE, ITEM_LINE
from ml_connector.mapping.models import (
    Committed,
    Excluded,
    Held,
    MappedBill,
    Part,
    Posted,
    ProjectLinks,
    Reference,
    Retained,
    RuleBook,
)
from ml_connector.mapping.resolve import map_bill
from ml_connector.mapping.sheets import parse_mapping, parse_projects
from ml_connector.procore.models import BudgetCode, Catalog, CatalogProject
from ml_connector.qbo.models import Account, Bill, Customer, Entity, Item, Line, QboId, Ref
from ml_connector.settings import Policies

HARBOR = Ref("61", "Harbor Health:Harbor Clinic")
ELM = Ref("62", "City Schools:Elm Street School")
DEPOT = Ref("63", "Depot Lofts")
MILL = Ref("64", "Mill Bridge")

COST_OF_SALES = "Cost of Goods Sold"
ACCOUNTS = [
    Account("11", "Materials", "Job Costs:Materials", "5010", COST_OF_SALES, "Expense", active=True),
    Account("12", "Subcontract", "Job Costs:Subcontract", "5020", COST_OF_SALES, "Expense", active=True),
    Account(
        "13", "Equipment rental", "Job Costs:Equipment rental", "5030", COST_OF_SALES, "Expense", active=True
    ),
    Account(
        "14", "Temporary works", "Job Costs:Temporary works", "5075", COST_OF_SALES, "Expense", active=True
    ),
    Account("15", "Freight", "Job Costs:Freight", "5090", COST_OF_SALES, "Expense", active=True),
    Account("16", "Office", "Office", "6100", "Expense", "Expense", active=True),
    Account("17", "Rent", "Rent", "6200", "Expense", "Expense", active=True),
    Account(
        "18",
        "Retainage payable",
        "Retainage payable",
        "2150",
        "Other Current Liability",
        "Liability",
        active=True,
    ),
    Account("19", "Inventory", "Inventory", "1300", "Other Current Asset", "Asset", active=True),
    Account("20", "Equipment", "Equipment", "1500", "Fixed Asset", "Asset", active=True),
    Account(
        "21", "Prepaid insurance", "Prepaid insurance", "1400", "Other Current Asset", "Asset", active=True
    ),
    Account("22", "Bank loan", "Bank loan", "2700", "Long Term Liability", "Liability", active=True),
]
ITEMS = [
    Item("31", "Ready-mix", "Concrete:Ready-mix", "Service", Ref("11", "Job Costs:Materials"), active=True),
    Item("32", "Lumber", "Lumber", "NonInventory", Ref("11", "Job Costs:Materials"), active=True),
    Item("33", "Drywall", "Drywall", "NonInventory", Ref("11", "Job Costs:Materials"), active=True),
    Item("34", "Anchors", "Anchors", "Inventory", Ref("19", "Inventory"), active=True),
    Item("35", "Consulting", "Consulting", "Service", None, active=True),
]
CUSTOMERS = [
    Customer(ref.id, ref.name.rpartition(":")[2], ref.name, "", is_project=True, active=True)
    for ref in (HARBOR, ELM, DEPOT, MILL)
]
REFERENCE = Reference(
    accounts={account.id: account for account in ACCOUNTS},
    items={item.id: item for item in ITEMS},
    customers={customer.id: customer for customer in CUSTOMERS},
    home_currency="USD",
)

PAIRS = [
    ("03-3000", "M"),
    ("03-3000", "L"),
    ("06-1000", "M"),
    ("09-2910", "S"),
    ("09-2900", "M"),
    ("26-0500", "S"),
    ("01-5000", "E"),
    ("01-7800", "O"),
]


def project(
    number: str, name: str, pairs: Iterable[tuple[str, str]] = PAIRS, *, active: bool = True
) -> CatalogProject:
    """A project of the catalog with budget codes of these pairs."""
    codes = {
        (code.upper(), kind.upper()): BudgetCode(int(number) * 1000 + place, code, kind, active=True)
        for place, (code, kind) in enumerate(pairs)
    }
    return CatalogProject(number, name, active, codes)


CATALOG = Catalog(
    {
        "101": project("101", "Harbor Clinic"),
        "102": project("102", "Elm Street School"),
        "103": project("103", "Depot Lofts", active=False),
    }
)
LINKS = parse_projects(
    b"customer,project,note\n61,101,\nCity Schools:Elm Street School,102,by name\n63,103,\n", version=2
)

HEADINGS = (
    "account,item,class,location,vendor,customer,description,valid_from,valid_to,"
    "route,cost_code,cost_type,project,commitment,share,reason"
)


def sheet(*rows: Mapping[str, str]) -> bytes:
    """mapping.csv with these rows under all headings."""
    names = HEADINGS.split(",")
    lines = [HEADINGS, *(",".join(row.get(name, "") for name in names) for row in rows)]
    return "\r\n".join(lines).encode()


def cost(code: str, kind: str, **cells: str) -> dict[str, str]:
    """A row of route direct_cost; a heading that Python reserves has a trailing underline."""
    named = {name.rstrip("_"): text for name, text in cells.items()}
    return {"route": "direct_cost", "cost_code": code, "cost_type": kind, **named}


def rules(*rows: Mapping[str, str], version: int = 4) -> RuleBook:
    """The rule book of a sheet with these rows: the first is row 2."""
    return parse_mapping(sheet(*rows), version)


RULES = rules(
    cost("03-3000", "M", item="Ready-mix"),
    cost("06-1000", "M", item="Lumber"),
    cost("01-5000", "E", account="5030"),
    cost("01-7800", "O", account="5090"),
    {"account": "5020", "route": "commitment", "cost_code": "26-0500", "cost_type": "S"},
    {"account": "2150", "route": "retainage"},
    {"account": "6100", "route": "exclude", "reason": "OVERHEAD"},
    cost("03-3000", "M", account="5010"),
)


def line(
    amount: str | None,
    *,
    account: str = "",
    item: str = "",
    customer: Ref | None = None,
    class_name: str = "",
    description: str = "",
    kind: str = "",
) -> Line:
    """A line on the account with this number or the item with this name; `bill` numbers it."""
    on_account = next((Ref(entry.id, entry.full_name) for entry in ACCOUNTS if entry.number == account), None)
    on_item = next((Ref(entry.id, entry.full_name) for entry in ITEMS if entry.name == item), None)
    return Line(
        number=0,
        id="",
        kind=kind or (ITEM_LINE if item else ACCOUNT_LINE if account else "DescriptionOnly"),
        description=description,
        amount=None if amount is None else Decimal(amount),
        account=on_account,
        item=on_item,
        customer=customer,
        class_ref=Ref("5000000000000007195", class_name) if class_name else None,
        quantity=None,
        unit_price=None,
        purchase_orders=(),
    )


def bill(*lines: Line, number: str = "4490", vendor: str = "City Rental", total: str | None = None) -> Bill:
    """A bill of these lines; its total is their sum unless given."""
    added = sum((entry.amount for entry in lines if entry.amount is not None), Decimal("0.00"))
    return Bill(
        entity=Entity.BILL,
        id=QboId("145"),
        sync_token=0,
        vendor=Ref("46", vendor),
        number=number,
        txn_date=date(2026, 6, 28),
        due_date=None,
        total=added if total is None else Decimal(total),
        balance=None,
        currency="USD",
        exchange_rate=None,
        tax=Decimal("0.00"),
        location=None,
        memo="",
        lines=tuple(replace(entry, number=place) for place, entry in enumerate(lines, start=1)),
        created=None,
    )


def mapped(
    one: Bill,
    *,
    by: RuleBook = RULES,
    links: ProjectLinks = LINKS,
    reference: Reference = REFERENCE,
    catalog: Catalog = CATALOG,
    policies: Policies | None = None,
) -> MappedBill:
    """The bill mapped with the books above."""
    return map_bill(
        one, rules=by, links=links, reference=reference, catalog=catalog, policies=policies or Policies()
    )


def told(parts: Iterable[Part]) -> list[str]:
    """Every part in a few words: `1 101 03-3000 / M 1250.00`, `2 excluded OVERHEAD 60.00`."""
    words = []
    for part in parts:
        match part:
            case Committed():
                words.append(
                    f"{part.line} {part.project} committed {part.cost_code} / {part.cost_type} {part.amount}"
                )
            case Posted():
                words.append(f"{part.line} {part.project} {part.cost_code} / {part.cost_type} {part.amount}")
            case Retained():
                words.append(f"{part.line} {part.project or 'no project'} retained {part.amount}")
            case Excluded():
                words.append(f"{part.line} excluded {part.reason} {part.amount}")
            case Held():
                words.append(f"{part.line} held {part.hold.reason} {part.amount}")
    return words


def only_held(result: MappedBill) -> Held:
    """The one part, which is held."""
    (part,) = result.parts
    assert isinstance(part, Held)
    return part


def only_posted(result: MappedBill) -> Posted:
    """The one part, which is posted."""
    (part,) = result.parts
    assert isinstance(part, Posted)
    return part
