"""Whom the firm deals with: vendors in QBO and in Procore, customers, and the jobs it builds for them."""

from dataclasses import dataclass

DOLLAR, CANADIAN = "USD", "CAD"
CURRENCY_NAMES = {DOLLAR: "United States Dollar", CANADIAN: "Canadian Dollar"}


@dataclass(frozen=True)
class Job:
    """A sub-customer or project in QBO; `project` is the id in its row of projects.csv, None without one."""

    id: str
    name: str
    customer: str
    project: int | None
    is_project: bool
    active: bool = True  # in Procore


@dataclass(frozen=True)
class Vendor:
    """A vendor in QBO. `trade` is what it sells to the firm."""

    id: str
    name: str
    trade: str
    city: str
    state: str = "CO"
    currency: str = DOLLAR
    active: bool = True


CUSTOMERS = {
    "Harborview Health": "1",
    "Mesa County Schools": "2",
    "Quarry Road Partners LLC": "3",
    "City of Northgate": "4",
    "Depot Development Group": "5",
}

HARBOR = Job("11", "Harbor Clinic", "Harborview Health", 66001, is_project=True)
ELM = Job("12", "Elm Street School", "Mesa County Schools", 66002, is_project=False)
QUARRY = Job("13", "Quarry Road Apartments", "Quarry Road Partners LLC", 66003, is_project=True)
LIBRARY = Job("14", "Northgate Library", "City of Northgate", 66004, is_project=True)
FIREHOUSE = Job("15", "Willow Creek Fire Station", "City of Northgate", 66005, is_project=False)
DEPOT = Job("16", "Depot Lofts", "Depot Development Group", 66006, is_project=True, active=False)
MILL_BRIDGE = Job("17", "Mill Bridge", "City of Northgate", None, is_project=True)
JOBS = (HARBOR, ELM, QUARRY, LIBRARY, FIREHOUSE, DEPOT, MILL_BRIDGE)
ACTIVE_JOBS = (HARBOR, ELM, QUARRY, LIBRARY, FIREHOUSE)

_FIRST_VENDOR = 41
_LONG_NAME = (
    "High Plains Lumber, Truss and Engineered Wood Products Company of Colorado Springs "
    "and Pueblo County, Limited Liability Company"
)
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("Granite Supply, Inc.", "concrete", "Golden"),
    ("Cascade Ready-Mix", "concrete", "Aurora"),
    ("Front Range Aggregates & Concrete", "concrete", "Longmont"),
    ("ABC Concrete", "ambiguous", "Denver"),
    ("Norton Ridge Lumber", "lumber", "Loveland"),
    ("Harrow & Sons Building Materials", "lumber", "Denver"),
    (_LONG_NAME, "lumber", "Pueblo"),
    ("Timberline Yard", "lumber", "Evergreen"),
    ("Blue Spruce Millwork", "doors", "Boulder"),
    ("Ironwood Doors & Hardware", "doors", "Arvada"),
    ("Portal Glass and Frame", "doors", "Denver"),
    ("Bowline Electrical Supply", "electrical", "Denver"),
    ("Ampère Lighting", "electrical", "Fort Collins"),
    ("Silver State Cable", "electrical", "Greeley"),
    ("Tri-County Plumbing Supply", "plumbing", "Brighton"),
    ("Copperline Pipe & Valve", "plumbing", "Pueblo"),
    ("Müller Stahlbau GmbH", "steel", "Denver"),
    ("Rocky Mountain Rebar", "steel", "Commerce City"),
    ("Anvil Structural Steel", "steel", "Pueblo"),
    ("Arrowhead Roofing Materials", "roofing", "Lakewood"),
    ("Stormgate Membranes", "roofing", "Englewood"),
    ("Peak Drywall Crew", "drywall", "Thornton"),
    ("Whitewall Interiors", "drywall", "Westminster"),
    ("Castañeda Drywall & Finish", "drywall", "Denver"),
    ("Summit Board Supply", "board", "Denver"),
    ("Redrock Excavating", "earthwork", "Grand Junction"),
    ("Badger Earthworks", "earthwork", "Castle Rock"),
    ("City Rental", "rental", "Denver"),
    ("Big Bear Cranes", "rental", "Commerce City"),
    ("Aerial Lift Rentals", "rental", "Aurora"),
    ("Western Scaffold", "rental", "Denver"),
    ("Pour & Finish Concrete Labor", "labor", "Denver"),
    ("D'Angelo Flatwork", "labor", "Wheat Ridge"),
    ("Framing Partners", "carpentry", "Denver"),
    ("Kowalczyk Carpentry", "carpentry", "Golden"),
    ("Old Town Joinery", "carpentry", "Littleton"),
    ("SiteServ", "site", "Denver"),
    ("Clean Sweep Site Care", "site", "Aurora"),
    ("O'Brien & Söhne GmbH", "umlaut", "Denver"),
    ("Ace Fasteners", "tools", "Denver"),
    ("Toolcrib Direct", "tools", "Broomfield"),
    ("Bright Electric", "subcontract", "Denver"),
    ("Nordwall Drywall", "subcontract", "Boulder"),
    ("Helm Roofing", "subcontract", "Durango"),
    ("Pineline Plumbing & Mechanical", "retainage", "Denver"),
    ("Keystone Masonry", "retainage", "Golden"),
    ("Maple Leaf Millwork", "foreign", "Calgary"),
    ("Vernon Stone Works", "taxed", "Kansas City"),
    ("Front Range Office Products", "office", "Denver"),
    ("Mile High Power & Light", "utilities", "Denver"),
    ("Canyon Telecom", "utilities", "Denver"),
    ("Larimer Square Properties", "rent", "Denver"),
    ("Foothills Mutual Insurance", "insurance", "Omaha"),
    ("First Bank of the Plains", "loan", "Denver"),
    ("Prairie Equipment Sales", "machinery", "Greeley"),
    ("Bolt Depot Wholesale", "inventory", "Denver"),
    ("Old Mill Supply", "inactive", "Leadville"),
    ("Aspen Permit Runners", "permits", "Aspen"),
    ("Cottonwood Landscaping", "none", "Denver"),
    ("Zephyr Mechanical", "subcontract", "Parker"),
)


def _vendor(place: int, name: str, trade: str, city: str) -> Vendor:
    elsewhere = {"Calgary": "AB", "Kansas City": "MO", "Omaha": "NE"}
    return Vendor(
        id=str(_FIRST_VENDOR + place),
        name=f"{name} (deleted)" if trade == "inactive" else name,
        trade=trade,
        city=city,
        state=elsewhere.get(city, "CO"),
        currency=CANADIAN if trade == "foreign" else DOLLAR,
        active=trade != "inactive",
    )


VENDORS = tuple(_vendor(place, *row) for place, row in enumerate(_ROWS))


def of_trade(trade: str) -> tuple[Vendor, ...]:
    """The vendors of a trade, in the order of the list."""
    return tuple(vendor for vendor in VENDORS if vendor.trade == trade)


def named(name: str) -> Vendor:
    """The vendor of this name. Raises StopIteration."""
    return next(vendor for vendor in VENDORS if vendor.name == name)


PROCORE_VENDORS: tuple[tuple[int, str, str], ...] = (
    (88001, "GRANITE SUPPLY INC", "Golden"),  # another spelling of QBO's
    (88002, "ABC Concrete", "Denver"),
    (88003, "ABC Concrete", "Boulder"),
    (88004, "Cascade Ready-Mix", "Aurora"),
    (88005, "Norton Ridge Lumber", "Loveland"),
    (88006, "Bowline Electrical Supply", "Denver"),
    (88007, "City Rental", "Denver"),
    (88008, "Bright Electric", "Denver"),
    (88009, "Nordwall Drywall", "Boulder"),
    (88010, "Helm Roofing", "Durango"),
    (88011, "Blue Spruce Millwork", "Boulder"),
    (88012, "Redrock Excavating", "Grand Junction"),
    (88013, "Müller Stahlbau GmbH", "Denver"),
    (88014, "Kowalczyk Carpentry", "Golden"),
    (88015, "Peak Drywall Crew", "Thornton"),
    (88016, "Sunflower Surveying", "Denver"),  # these three are in Procore only
    (88017, "Geotech West", "Boulder"),
    (88018, "Kiln & Tile Studio", "Denver"),
    (88019, "Zephyr Mechanical", "Parker"),
)
"""Id, name and city of what stands in Procore's directory before the first run."""


def procore_vendor(name: str) -> int:
    """The id of the first vendor of this name in Procore's directory. Raises StopIteration."""
    return next(id for id, known, _ in PROCORE_VENDORS if known == name)
