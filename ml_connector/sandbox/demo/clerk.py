"""The chance behind the data: amounts, jobs, vendors and numbers from one fixed seed, the same every day."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from ml_connector.sandbox.demo.lines import DemoLine, cost, on_account, on_item
from ml_connector.sandbox.demo.parties import ACTIVE_JOBS, LIBRARY, QUARRY, Job, Vendor, of_trade

_SEED = 20817
_FIRST_NUMBER = 2000


@dataclass(frozen=True)
class Purchase:
    """Something the firm buys day by day: from whom, how it is booked, and where its cost belongs.

    `off` are jobs that do not have the budget code. Booked by `item`, or by `account` if that is given.
    """

    trade: str
    code: str
    cost_type: str
    texts: tuple[str, ...]
    low: int
    high: int
    item: str = ""
    account: str = ""
    vendor: str = ""
    location: str = ""
    off: tuple[Job, ...] = ()

    def line(self, job: Job, amount: Decimal, text: str) -> DemoLine:
        """One line of it on a job."""
        outcome = cost(job, self.code, self.cost_type, amount)
        if self.account:
            return on_account(self.account, amount, outcome, job=job, text=text)
        return on_item(self.item, amount, outcome, job=job, text=text)


READY_MIX = Purchase(
    "concrete", "03-3000", "M", ("Ready-mix 4000 psi", "Grade beams, 8 yd"), 900, 7800, item="Ready-mix"
)
LUMBER = Purchase(
    "lumber", "06-1000", "M", ("2x6 SPF No. 2", "LVL beams", "Joists, level 2"), 600, 5200, item="Lumber"
)
PURCHASES = (
    READY_MIX,
    LUMBER,
    Purchase("lumber", "06-1000", "M", ("Plywood 3/4 CDX", "Sheathing"), 400, 3800, account="5010"),
    Purchase(
        "lumber", "01-5000", "O", ("Fence panels for the yard",), 200, 900, account="5010", location="Yard"
    ),
    Purchase(
        "doors", "08-1000", "M", ("Hollow metal frames", "Door hardware"), 1200, 9400, item="Doors and frames"
    ),
    Purchase(
        "electrical",
        "26-0500",
        "M",
        ("THHN #12, 20 boxes", "EMT 3/4"),
        700,
        6400,
        item="Wire and conduit",
        off=(LIBRARY,),
    ),
    Purchase(
        *("electrical", "26-0500", "M", ("Panel boards", "Switchgear deposit"), 900, 7000),
        account="5010",
        vendor="Bowline Electrical Supply",
        off=(LIBRARY,),
    ),
    Purchase("plumbing", "22-0500", "M", ("Copper type L", "Fixtures, level 1"), 500, 5600, account="5010"),
    Purchase(
        "steel", "05-1200", "M", ("W12x26 beams", "Angles and plates"), 2500, 14500, item="Structural steel"
    ),
    Purchase("steel", "03-3000", "M", ("Rebar #5, cut and bent", "Rebar mats"), 800, 6200, account="5010"),
    Purchase(
        "roofing", "07-5000", "M", ("TPO 60 mil", "Tapered insulation"), 1500, 9800, item="Roof membrane"
    ),
    Purchase(
        "drywall",
        "09-2900",
        "S",
        ("Hang and finish, level 1", "Taping crew"),
        1800,
        9600,
        item="Drywall labor",
        off=(QUARRY,),
    ),
    Purchase(
        "earthwork", "31-2300", "S", ("Footing excavation", "Export of spoil"), 2200, 12500, item="Excavation"
    ),
    Purchase(
        "rental", "01-5000", "E", ("Telehandler, 2 weeks", "Scaffold, west side"), 450, 5200, account="5030"
    ),
    Purchase(
        "labor", "03-3000", "L", ("Place and finish", "Form crew, 3 days"), 900, 6800, item="Concrete labor"
    ),
    Purchase(
        "site", "01-5000", "L", ("Weekly cleanup", "Final clean, level 1"), 250, 1400, item="Site cleanup"
    ),
    Purchase("permits", "01-5000", "O", ("Street closure permit", "Tap fee"), 120, 1800, account="5060"),
)


class Clerk:
    """Draws from one seeded source; the order of the calls decides what is drawn."""

    def __init__(self) -> None:
        self._chance = random.Random(_SEED)
        self._numbers: dict[str, int] = {}

    def amount(self, low: int, high: int) -> Decimal:
        """An amount between whole `low` and `high`, in cents."""
        return Decimal(self._chance.randrange(low * 100, high * 100)).scaleb(-2)

    def whole(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both in."""
        return self._chance.randint(low, high)

    def place(self) -> float:
        """A place between 0 and 1."""
        return self._chance.random()

    def job(self, *, off: Collection[Job] = ()) -> Job:
        """An active job, none of `off`."""
        return self._chance.choice([job for job in ACTIVE_JOBS if job not in off])

    def text(self, texts: tuple[str, ...]) -> str:
        """One of the texts."""
        return self._chance.choice(texts)

    def purchase(self) -> Purchase:
        """One of the daily purchases."""
        return self._chance.choice(PURCHASES)

    def vendor(self, trade: str, *, name: str = "") -> Vendor:
        """A vendor of the trade, the one of this name if one is given."""
        return self._chance.choice([vendor for vendor in of_trade(trade) if name in ("", vendor.name)])

    def number(self, vendor: Vendor) -> str:
        """The vendor's next invoice number, in its own style; never one it has used."""
        serial = self._numbers.get(vendor.id, _FIRST_NUMBER + 31 * int(vendor.id)) + self.whole(1, 9)
        self._numbers[vendor.id] = serial
        initials = "".join(word[0] for word in vendor.name.split() if word[0].isalpha())[:3].upper()
        return (f"INV-{serial}", f"{serial}", f"{initials}-{serial}", f"{serial}/1")[int(vendor.id) % 4]
