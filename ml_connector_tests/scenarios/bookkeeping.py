"""Random bookkeeping: acts of people, runs, kills and lost answers as data, and the world in which they are played.

An act that does not fit the moment (paying a bill that is paid) is nothing, so that any part of a sequence is a sequence.
"""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from ml_connector_tests.rig import MAPPING, Problem, Rig, line, today
from ml_connector_tests.scenarios.kills import run_in_a_process, run_killed_in_flight
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, SC_009, period, subcontract

GRANITE = "21"
RULES = MAPPING.replace(
    "5020,,,,,,,,,commitment,26-0500,S,,,,,",
    "5020,,,,,,second floor,,,commitment,26-0500,S,,SC-009,,,\n5020,,,,,,,,,commitment,26-0500,S,,SC-007,,,",
)
# Why the generator's own slips are held; what is not here is posted or, for `office`, excluded in part.
SLIPS = {"no project": "NO_PROJECT", "closed project": "PROJECT_CLOSED", "no rule": "UNMAPPED"}
ON_CONTRACTS = ("progress", "two contracts", "mixed")
KINDS = ["direct", "two projects", "office", *ON_CONTRACTS]
# An edit of what Procore has built on, or has paid, waits for a person; so do the payments of such a bill.
AFTER_EDIT = frozenset({"LATER_INVOICE_EXISTS", "LOCKED_IN_PROCORE", "DRIFT"})
OF_EDITED = frozenset({"WAITING_FOR_BILL", "UNBALANCED", "LOCKED_IN_PROCORE"})
ROUTES = [
    "PATCH */vendors/sync",
    "POST */vendors*",
    "PATCH */direct_costs/sync",
    "PATCH */direct_costs/line_items/sync",
    "DELETE */direct_costs/*",
    "POST */requisitions",
    "PATCH */requisitions/*",
    "POST */contract_payments",
    "PATCH */contract_payments/*",
    "DELETE */contract_payments/*",
]
FAULTS: dict[str, dict[str, Any]] = {
    "accepted, then cut": {"fault": "accept_then_drop"},
    "cut before it was taken": {"fault": "drop"},
    "answered with half a body": {"fault": "truncate", "args": {"bytes": 40}},
    "503": {"fault": "status", "args": {"status": 503}},
    "500 although it was done": {"fault": "status", "args": {"status": 500, "processed": True}},
}


@dataclass(frozen=True)
class House:
    """How this firm's Procore locks what is linked, and the firm's own policies."""

    direct_costs: str
    requisitions: str
    payments: str
    reference: str
    gone: str

    def settle_in(self, rig: Rig) -> None:
        """Set switches and policies."""
        rig.procore.switch(
            direct_cost_lock=self.direct_costs,
            requisition_lock=self.requisitions,
            contract_payment_lock=self.payments,
            linked_requisition_deletion="refuse",
        )
        rig.configure(
            policies={
                "retainage": "separate_line",
                "gone_requisition": self.gone,
                "payment_reference": self.reference,
            }
        )


@dataclass
class Entered:
    """A bill that the bookkeeper entered, and why it, or a payment of it, may wait."""

    record: dict[str, Any]
    kind: str
    vendor: str
    reasons: set[str] = field(default_factory=set)
    edited: bool = False


@dataclass
class World:
    """A rig with its bookkeeper's memory. `story` tells what happened, a sentence an act."""

    rig: Rig
    house: House
    bills: list[Entered] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)
    credits: list[dict[str, Any]] = field(default_factory=list)
    paid: dict[str, set[str]] = field(default_factory=dict)  # payment id -> ids of bills it ever paid
    nights: int = 2  # days until today
    entered: int = 0  # bills so far
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Two contracts of Bright Electric with room for everything, and books of the day before yesterday."""
        rig, room = self.rig, {"retainage_percent": Decimal(10)}
        lines = [{"flat_code": "26-0500.S", "amount": Decimal(10_000_000)}]
        contracts = [
            subcontract(number, id_, line_items=[{"id": id_ * 10 + 1, **lines[0]}], **room)
            for number, id_ in (("SC-007", SC_007), ("SC-009", SC_009))
        ]
        rig.procore.load(
            vendors=[{"id": 900, "name": "Bright Electric"}],
            commitments=contracts,
            billing_periods=[period()],
        )
        self.house.settle_in(rig)
        rig.publish(mapping=RULES)
        self.turn_clock()

    def turn_clock(self) -> None:
        """QBO's clock `nights` days before today; the person logs in again."""
        self.rig.qbo.clock(offset_seconds=-int(timedelta(days=self.nights).total_seconds()))
        self.rig.bookkeeper._token = ""

    def tell(self, words: str) -> None:
        """Go on with the story."""
        self.story.append(f"{len(self.story) + 1:>3}. {words}")

    def bill(self, which: int) -> Entered | None:
        """One of the bills that there are."""
        return self.bills[which % len(self.bills)] if self.bills else None

    def payment(self, which: int) -> dict[str, Any] | None:
        """One of the payments that there are."""
        return self.payments[which % len(self.payments)] if self.payments else None

    def balance(self, entered: Entered) -> Decimal:
        """What QBO shows as unpaid."""
        return Decimal(str(self.rig.bookkeeper.read("Bill", entered.record["Id"])["Balance"]))

    def allowed(self, entity: str, qbo_id: str) -> set[str]:
        """Reasons for which the generator gave cause, of one record."""
        if entity == "VendorCredit":
            return set()
        if entity == "Bill":
            return next((one.reasons for one in self.bills if one.record["Id"] == qbo_id), set())
        mine = [one for one in self.bills if one.record["Id"] in self.paid.get(qbo_id, ())]
        return {
            *(OF_EDITED if any(one.edited for one in mine) else ()),
            *({"WAITING_FOR_BILL"} if any(one.reasons for one in mine) else ()),
        }


def lines_of(kind: str, first: int, second: int) -> list[dict[str, Any]]:
    """The lines of a bill; amounts in cents. Slips are over a hundredth of `first`."""
    one, two, little = (Decimal(cents) / 100 for cents in (first, second, max(first // 100, 1)))
    match kind:
        case "direct":
            return [line(str(one), item="101")]
        case "two projects":
            return [line(str(one), item="101"), line(str(two), item="102", customer="62")]
        case "office":
            return [line(str(one), item="102"), line(str(little), account="5", customer=None)]
        case "progress":
            held = (one / 10).quantize(Decimal("0.01"))
            return [line(str(one), account="2"), line(str(-held), account="6")]
        case "two contracts":
            return [line(str(one), account="2"), line(str(two), account="2", description="second floor")]
        case "mixed":
            return [line(str(one), account="2"), line(str(two), item="102")]
        case "no project":
            return [line(str(little), item="101", customer=None)]
        case "closed project":
            return [line(str(little), item="101", customer="63")]
        case _:
            return [line(str(little), account="7")]


@dataclass(frozen=True)
class Enter:
    """A new bill."""

    kind: str
    first: int
    second: int

    def play(self, world: World) -> None:
        vendor = BRIGHT if self.kind in ON_CONTRACTS else GRANITE
        world.entered += 1
        number = f"N-{world.entered}"
        lines = lines_of(self.kind, self.first, self.second)
        made = world.rig.bookkeeper.bill(number, lines, vendor=vendor)
        entered = Entered(made, self.kind, vendor)
        if self.kind in SLIPS:
            entered.reasons.add(SLIPS[self.kind])
        world.bills.append(entered)
        world.tell(f"bill {number} (id {made['Id']}), {self.kind}, {made['TotalAmt']}")


@dataclass(frozen=True)
class Edit:
    """Other lines on a bill, of the same kind or of another one of its vendor: amounts, codes, projects, contracts."""

    which: int
    kind: str
    first: int
    second: int

    def play(self, world: World) -> None:
        entered = world.bill(self.which)
        if entered is None:
            return
        kind = self.kind if entered.vendor == BRIGHT or self.kind not in ON_CONTRACTS else "two projects"
        was_on_contracts = entered.kind in ON_CONTRACTS
        made = world.rig.bookkeeper.edit("Bill", entered.record, Line=lines_of(kind, self.first, self.second))
        if was_on_contracts or kind in ON_CONTRACTS:
            entered.reasons |= AFTER_EDIT
        if kind in SLIPS:
            entered.reasons.add(SLIPS[kind])
        entered.kind, entered.edited = kind, True
        world.tell(f"bill id {made['Id']} is now {kind}, {made['TotalAmt']}")


@dataclass(frozen=True)
class Delete:
    """A bill goes; QBO refuses it for one that is paid."""

    which: int

    def play(self, world: World) -> None:
        entered = world.bill(self.which)
        if entered is not None:
            world.rig.bookkeeper.delete("Bill", entered.record)
            world.bills.remove(entered)
            world.tell(f"bill id {entered.record['Id']} deleted")


@dataclass(frozen=True)
class EnterTwice:
    """The same vendor's number once more."""

    which: int

    def play(self, world: World) -> None:
        entered = world.bill(self.which)
        if entered is None:
            return
        number = entered.record["DocNumber"]
        made = world.rig.bookkeeper.bill(number, lines_of("direct", 1000, 0), vendor=entered.vendor)
        entered.reasons.add("POSSIBLE_DUPLICATE")
        twin = Entered(made, "direct", entered.vendor, {"POSSIBLE_DUPLICATE"})
        world.bills.append(twin)
        world.tell(f"bill {number} again (id {made['Id']}), {made['TotalAmt']}")


@dataclass(frozen=True)
class GiveCredit:
    """A vendor credit on a direct cost."""

    vendor: str
    cents: int

    def play(self, world: World) -> None:
        body = {
            "VendorRef": {"value": self.vendor},
            "DocNumber": f"VC-{len(world.credits) + 1}",
            "TxnDate": today().isoformat(),
            "Line": [line(str(Decimal(self.cents) / 100), account="1")],
        }
        made = world.rig.bookkeeper.post("vendorcredit", body)["VendorCredit"]
        world.credits.append(made)
        world.tell(f"credit id {made['Id']} of {made['TotalAmt']}")


@dataclass(frozen=True)
class Pay:
    """A check over a bill, or over all open bills of its vendor: `percent` of each balance, credits used if wanted."""

    which: int
    percent: int
    all_bills: bool
    with_credit: bool

    def play(self, world: World) -> None:
        chosen = world.bill(self.which)
        if chosen is None:
            return
        every = [one for one in world.bills if one.vendor == chosen.vendor] if self.all_bills else [chosen]
        parts = [(one, (world.balance(one) * self.percent / 100).quantize(Decimal("0.01"))) for one in every]
        parts = [(one, amount) for one, amount in parts if amount > 0]
        if not parts:
            return
        cash = sum(amount for _, amount in parts)
        lines = [_applied(one.record["Id"], amount, "Bill") for one, amount in parts]
        for credit in self._credits(world, chosen.vendor):
            left = Decimal(str(world.rig.bookkeeper.read("VendorCredit", credit["Id"])["Balance"]))
            if 0 < left < cash:
                lines.append(_applied(credit["Id"], left, "VendorCredit"))
                cash -= left
        made = world.rig.bookkeeper.post("billpayment", _check(chosen.vendor, cash, lines))["BillPayment"]
        world.payments.append(made)
        world.paid[made["Id"]] = {one.record["Id"] for one, _ in parts}
        what = ", ".join(f"{amount} of bill id {one.record['Id']}" for one, amount in parts)
        world.tell(f"payment id {made['Id']} of {cash} in cash: {what}")

    def _credits(self, world: World, vendor: str) -> list[dict[str, Any]]:
        mine = [credit for credit in world.credits if credit["VendorRef"]["value"] == vendor]
        return mine if self.with_credit else []


@dataclass(frozen=True)
class Repay:
    """Another amount on the first bill of a payment, its other lines gone."""

    which: int
    percent: int

    def play(self, world: World) -> None:
        payment = world.payment(self.which)
        if payment is None:
            return
        current = world.rig.bookkeeper.read("BillPayment", payment["Id"])
        first = current["Line"][0]
        amount = (Decimal(str(first["Amount"])) * self.percent / 100).quantize(Decimal("0.01"))
        if amount > 0:
            lines = [{**first, "Amount": amount}]
            world.rig.bookkeeper.edit("BillPayment", payment, TotalAmt=amount, Line=lines)
            world.tell(f"payment id {payment['Id']} is now {amount} of one bill")


@dataclass(frozen=True)
class TakeBack:
    """A payment is void, or deleted."""

    which: int
    delete: bool

    def play(self, world: World) -> None:
        payment = world.payment(self.which)
        if payment is None:
            return
        if self.delete:
            world.rig.bookkeeper.delete("BillPayment", payment)
        else:
            current = world.rig.bookkeeper.read("BillPayment", payment["Id"])
            body = {"Id": current["Id"], "SyncToken": current["SyncToken"], "sparse": True}
            world.rig.bookkeeper.post("billpayment?operation=update&include=void", body)
        world.payments.remove(payment)
        world.tell(f"payment id {payment['Id']} {'deleted' if self.delete else 'void'}")


@dataclass(frozen=True)
class Night:
    """The next day in QBO, at most today."""

    def play(self, world: World) -> None:
        if world.nights:
            world.nights -= 1
            world.turn_clock()
            world.tell(f"the day {world.nights} before today")


@dataclass(frozen=True)
class Work:
    """A part of a run, or all of it, or a replay of a day by a person."""

    how: str
    day: int

    def play(self, world: World) -> None:
        rig, day = world.rig, today() - timedelta(days=self.day)
        world.tell(f"replay of the day {self.day} before today" if self.how == "replay" else self.how)
        if self.how == "read":
            rig.read()
        elif self.how == "post":
            rig.post(rig.dirty() or None)
        elif self.how == "replay":
            rig.post([day], automatic=False)
        else:
            rig.sync()


@dataclass(frozen=True)
class Kill:
    """A run that is killed at a crash point, if it comes there."""

    point: str
    nth: int

    def play(self, world: World) -> None:
        died = run_in_a_process(world.rig, f"{self.point}:{self.nth}") == -signal.SIGKILL
        world.tell(f"a run killed at pass {self.nth} of {self.point}" if died else "a run in its own process")


@dataclass(frozen=True)
class KillInFlight:
    """A run that is killed while its nth write is under way, if it makes so many (K6)."""

    nth: int

    def play(self, world: World) -> None:
        died = run_killed_in_flight(world.rig, self.nth)
        world.tell(f"a run killed during write {self.nth} (K6)" if died else "a run in its own process")


@dataclass(frozen=True)
class Lose:
    """The next answer of a route goes wrong."""

    route: str
    fault: str

    def play(self, world: World) -> None:
        world.rig.procore.fault({"route": self.route, "nth": 1, **FAULTS[self.fault]})
        world.tell(f"the next {self.route} is {self.fault}")


Act = (
    Enter
    | Edit
    | Delete
    | EnterTwice
    | GiveCredit
    | Pay
    | Repay
    | TakeBack
    | Night
    | Work
    | Kill
    | KillInFlight
    | Lose
)


def play(world: World, act: Act) -> None:
    """One act; what QBO refuses did not happen."""
    try:
        act.play(world)
    except Problem as problem:
        if problem.status != 400:
            raise
        world.tell(f"QBO refuses {act}")


def _applied(qbo_id: str, amount: Decimal, kind: str) -> dict[str, Any]:
    return {"Amount": amount, "LinkedTxn": [{"TxnId": qbo_id, "TxnType": kind}]}


def _check(vendor: str, cash: Decimal | int, lines: list[dict[str, Any]]) -> Mapping[str, Any]:
    return {
        "VendorRef": {"value": vendor},
        "PayType": "Check",
        "CheckPayment": {"BankAccountRef": {"value": "35"}},
        "TotalAmt": cash,
        "DocNumber": "2231",
        "TxnDate": today().isoformat(),
        "Line": lines,
    }


def house_of(dice: Random) -> House:
    """Any house."""
    locks = ["never", "except_origin"]
    return House(
        direct_costs=dice.choice(locks),
        requisitions=dice.choice(locks),
        payments=dice.choice(["refuse", "ignore", "allow"]),
        reference=dice.choice(["origin_id", "notes"]),
        gone=dice.choice(["draft", "delete"]),
    )


def acts_of(dice: Random) -> list[Act]:
    """A sequence: some bills first, on contracts and not, and then anything, bills and payments more often than slips."""
    begin: list[Act] = [
        _enter(dice, kind) for kind in ("progress", "two contracts", "mixed", dice.choice(KINDS))
    ]
    makers = list(WEIGHTS)
    weights = [WEIGHTS[maker] for maker in makers]
    return begin + [maker(dice) for maker in dice.choices(makers, weights, k=dice.randint(20, 28))]


def _cents(dice: Random) -> int:
    return dice.randint(10_000, 999_999)


def _enter(dice: Random, kind: str = "") -> Act:
    return Enter(kind or dice.choice(KINDS), _cents(dice), _cents(dice))


def _slip(dice: Random) -> Act:
    return Enter(dice.choice(sorted(SLIPS)), _cents(dice), _cents(dice))


def _edit(dice: Random) -> Act:
    kind = dice.choice([*KINDS, *KINDS, *sorted(SLIPS)])
    return Edit(dice.randrange(9), kind, _cents(dice), _cents(dice))


def _pay(dice: Random) -> Act:
    return Pay(dice.randrange(9), dice.choice([33, 50, 70, 100]), dice.random() < 0.3, dice.random() < 0.5)


def _work(dice: Random) -> Act:
    return Work(dice.choice(["read", "post", "sync", "sync", "replay"]), dice.randrange(3))


WEIGHTS: dict[Callable[[Random], Act], int] = {
    _enter: 12,
    _pay: 22,
    _edit: 8,
    _work: 12,
    _slip: 3,
    lambda dice: Kill(dice.choice(["K5", "K7", "K8", "K14"]), dice.randint(1, 4)): 12,
    lambda dice: KillInFlight(dice.randint(1, 4)): 5,
    lambda dice: Lose(dice.choice(ROUTES), dice.choice(sorted(FAULTS))): 14,
    lambda dice: EnterTwice(dice.randrange(9)): 1,
    lambda dice: Delete(dice.randrange(9)): 3,
    lambda dice: GiveCredit(dice.choice([GRANITE, BRIGHT]), dice.randint(100, 20_000)): 4,
    lambda dice: Repay(dice.randrange(9), dice.choice([10, 50, 99])): 4,
    lambda dice: TakeBack(dice.randrange(9), dice.random() < 0.5): 5,
    lambda _: Night(): 3,
}
