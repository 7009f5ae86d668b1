"""How a bill's part on a commitment is billed on its schedule of values: work, stored materials, retainage. Pure.

Retainage is spread over the lines by their work, a release by what each line still holds, both to the cent.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from ml_connector.holds import Reason
from ml_connector.money import ZERO, split, to_cents, total
from ml_connector.posting.requisitions.commitments import Share, Waits
from ml_connector.procore.commitments import (
    CHANGE_ORDER_ITEM,
    Commitment,
    ItemKey,
    Requisition,
    ScheduleLine,
)
from ml_connector.settings import Policies
from ml_connector.store.records import MappedLine

CHANGE_ORDER = re.compile(r"\b(?:CO|change order)[\s#-]*0*(\d+)\b", re.IGNORECASE)
STORED = re.compile(r"\bstored\b", re.IGNORECASE)


class UnseenChangeOrder(Waits):
    """The bill names a change order that no invoice of the commitment has shown yet."""


@dataclass(frozen=True)
class Billed:
    """What is billed on one line of the schedule. `stored` is new; `presently` and `stored_held` are up to now."""

    key: ItemKey
    work: Decimal = ZERO
    quantity: Decimal | None = None
    held: Decimal = ZERO
    released: Decimal = ZERO
    stored: Decimal = ZERO
    presently_stored: Decimal = ZERO
    stored_held: Decimal = ZERO


@dataclass(frozen=True)
class Figures:
    """What the bill comes to on the commitment: gross work by line, retainage held and released."""

    work: tuple[tuple[MappedLine, Decimal], ...]
    held: Decimal
    released: Decimal

    @property
    def gross(self) -> Decimal:
        """The work."""
        return total(amount for _, amount in self.work)

    @property
    def net(self) -> Decimal:
        """What is due: what Procore must come to."""
        return self.gross + self.released - self.held


def figures_of(share: Share, commitment: Commitment, policies: Policies) -> Figures:
    """Gross, held and released by the firm's way of keeping retainage in the books. Raises Waits."""
    amounts = [line.amount for line in share.work]
    gross, held = share.gross, share.held
    rate = (commitment.retainage_percent or ZERO) / 100
    number = commitment.contract.number
    if not share.has_retainage and gross > 0 and 0 < rate < 1:
        if policies.retainage == "hold":
            text = (
                f"commitment {number} holds {rate * 100:.2f} % retainage, and the bill has no line of retainage: "
                "choose the policy `retainage` in connection.yaml, or add the line in QBO"
            )
            raise Waits(Reason.RETAINAGE_POLICY, text, "subcontracts")
        if policies.retainage == "paid_short":
            held = to_cents(gross * rate)
        elif policies.retainage == "net_bill" and all(amount >= 0 for amount in amounts):
            whole = to_cents(gross / (1 - rate))
            amounts, held = split(whole, amounts), whole - gross
    return Figures(tuple(zip(share.work, amounts, strict=True)), held, share.released)


def bill_on(
    commitment: Commitment,
    figures: Figures,
    *,
    others: Sequence[Requisition],
    orders: Sequence[ScheduleLine],
    policies: Policies,
) -> list[Billed]:
    """The invoice's items with `others` billed before, oldest first; `orders` are change orders. Raises Waits."""
    billing = _Billing(commitment, others, orders, policies)
    for line, amount in figures.work:
        billing.add(line, amount)
    billing.check()
    billed = _with_held(billing.billed(), figures.held, commitment)
    return _carried(_with_released(billed, figures.released, others, commitment), others)


def change_orders(requisitions: Iterable[Requisition]) -> list[ScheduleLine]:
    """The change orders that invoices of a commitment show."""
    return [
        ScheduleLine(key, None, item.text, item.scheduled, None)
        for key, item in {
            item.key: item for entry in requisitions if entry.id for item in entry.items
        }.items()
        if key[0] == CHANGE_ORDER_ITEM
    ]


class _Billing:
    """Adds a bill's lines up by line of the schedule."""

    def __init__(
        self,
        commitment: Commitment,
        others: Sequence[Requisition],
        orders: Sequence[ScheduleLine],
        policies: Policies,
    ) -> None:
        self.commitment, self.orders, self.policies = commitment, orders, policies
        self.number = commitment.contract.number
        self.before: dict[ItemKey, Decimal] = {}
        for entry in others:
            for item in entry.items:
                self.before[item.key] = self.before.get(item.key, ZERO) + item.work
        for item in others[-1].items if others else ():
            self.before[item.key] += item.stored
        self.new: dict[ItemKey, Billed] = {}
        self.lines: dict[ItemKey, ScheduleLine] = {}

    def add(self, line: MappedLine, amount: Decimal) -> None:
        """Bill `amount` of one line of the bill."""
        if amount < 0 and self.policies.back_charge == "hold":
            text = (
                f"line {line.line} takes {-amount:.2f} off the work on commitment {self.number}, and a back-charge is "
                "not less work done: give it a rule with the route direct_cost, or choose the policy `back_charge`"
            )
            raise Waits(Reason.CREDIT_ON_COMMITMENT, text, "back-charges")
        fitting = self._fitting(line)
        if len(fitting) == 1:
            self._put(fitting[0], line, amount)
            return
        left = amount
        for place, entry in enumerate(fitting, start=1):
            part = left if place == len(fitting) else max(ZERO, min(left, self._open(entry)))
            if part:
                self._put(entry, replace(line, quantity=None), part)
            left -= part

    def check(self) -> None:
        """Raises Waits for work above what a line has left, or taken off more than is billed."""
        for key, billed in self.new.items():
            line, amount = self.lines[key], billed.work + billed.stored
            if amount < 0:
                text = f"its lines take {-amount:.2f} off commitment {self.number}, which is no work done: correct it in QBO"
                raise Waits(Reason.CREDIT_ON_COMMITMENT, text, f"commitment {self.commitment.contract.id}")
            left = line.amount - self.before.get(key, ZERO)
            if self.policies.overbilling == "hold" and amount > left:
                text = (
                    f"commitment {self.number} has {left:.2f} left on {_words(line)}, and the bill is for {amount:.2f}: "
                    f"{amount - left:.2f} too much. A change order in Procore is needed, or a corrected bill"
                )
                raise Waits(Reason.OVERBILLED, text, f"commitment {self.commitment.contract.id}")

    def billed(self) -> list[Billed]:
        """What was added, in the order of the schedule."""
        order = {line.key: place for place, line in enumerate((*self.commitment.lines, *self.orders))}
        return sorted(self.new.values(), key=lambda entry: order[entry.key])

    def _fitting(self, line: MappedLine) -> list[ScheduleLine]:
        named = CHANGE_ORDER.search(line.description)
        if named:
            return [self._change_order(line, int(named[1]))]
        fitting = [entry for entry in self.commitment.lines if entry.wbs_code_id == line.wbs_code_id]
        code, cause = f"{line.cost_code} / {line.cost_type}", f"commitment {self.commitment.contract.id}"
        if not fitting:
            text = (
                f"commitment {self.number} has no line with {code}, which line {line.line} goes to: "
                "add it in Procore, or correct the rule"
            )
            raise Waits(Reason.SOV_AMBIGUOUS, text, cause)
        if len(fitting) > 1 and self.policies.schedule_lines == "hold":
            offers = "; ".join(f"{_words(entry)}, {self._open(entry):.2f} left" for entry in fitting)
            text = (
                f"commitment {self.number} has {len(fitting)} lines with {code} ({offers}): give them codes of their own, "
                "or choose the policy `schedule_lines`"
            )
            raise Waits(Reason.SOV_AMBIGUOUS, text, cause)
        return fitting

    def _change_order(self, line: MappedLine, number: int) -> ScheduleLine:
        fitting = [
            entry
            for entry in self.orders
            if (told := CHANGE_ORDER.search(entry.text)) is not None and int(told[1]) == number
        ]
        if len(fitting) == 1:
            return fitting[0]
        contract = self.commitment.contract
        text = (
            f"line {line.line} names CO-{number}, and commitment {self.number} shows "
            f"{len(fitting) or 'no'} approved change order{'s' if len(fitting) > 1 else ''} of that number: "
            "approve it in Procore, or correct the text"
        )
        kind = Waits if fitting or not self.commitment.change_orders else UnseenChangeOrder
        raise kind(Reason.SOV_AMBIGUOUS, text, f"commitment {contract.id}")

    def _open(self, line: ScheduleLine) -> Decimal:
        new = self.new.get(line.key, Billed(line.key))
        return line.amount - self.before.get(line.key, ZERO) - new.work - new.stored

    def _put(self, entry: ScheduleLine, line: MappedLine, amount: Decimal) -> None:
        old = self.new.get(entry.key, Billed(entry.key))
        quantity = self._quantity(entry, line, amount)
        self.lines[entry.key] = entry
        if self.policies.stored_materials == "stored" and STORED.search(line.description):
            self.new[entry.key] = replace(old, stored=old.stored + amount)
            return
        units = None if quantity is None else quantity + (old.quantity or 0)
        self.new[entry.key] = replace(old, work=old.work + amount, quantity=units)

    def _quantity(self, entry: ScheduleLine, line: MappedLine, amount: Decimal) -> Decimal | None:
        """Units billed, where the commitment is billed by units and Procore multiplies by itself. Raises Waits."""
        if not self.commitment.by_units or entry.unit_cost is None:
            return None
        cause = f"commitment {self.commitment.contract.id}"
        if line.quantity is None:
            text = f"commitment {self.number} is billed by units, and line {line.line} has no quantity: enter it in QBO"
            raise Waits(Reason.UNBALANCED, text, cause)
        if to_cents(line.quantity * entry.unit_cost) != amount:
            text = (
                f"commitment {self.number} has {entry.unit_cost} a unit, and line {line.line} has {line.quantity} units for "
                f"{amount:.2f}: correct the quantity in QBO, or the price in Procore"
            )
            raise Waits(Reason.UNBALANCED, text, cause)
        return line.quantity


def _with_held(billed: Sequence[Billed], held: Decimal, commitment: Commitment) -> list[Billed]:
    """Retainage held now, spread by what is billed now."""
    weights = [amount for entry in billed for amount in (entry.work, entry.stored)]
    if not held:
        return list(billed)
    if held > total(weights):
        text = (
            f"it holds back {held:.2f} on commitment {commitment.contract.number} for work of {total(weights):.2f}: "
            "correct the lines of retainage in QBO"
        )
        raise Waits(Reason.UNBALANCED, text, f"commitment {commitment.contract.id}")
    parts = iter(split(held, weights))
    return [replace(entry, held=next(parts), stored_held=next(parts)) for entry in billed]


def _with_released(
    billed: Sequence[Billed], released: Decimal, others: Sequence[Requisition], commitment: Commitment
) -> list[Billed]:
    """Retainage released now, spread by what each line still holds from before."""
    if not released:
        return list(billed)
    holding: dict[ItemKey, Decimal] = {}
    for entry in others:
        for item in entry.items:
            holding[item.key] = holding.get(item.key, ZERO) + item.retained - item.released
    holding = {key: amount for key, amount in holding.items() if amount > 0}
    if released > total(holding.values()):
        text = (
            f"it releases {released:.2f} of retainage on commitment {commitment.contract.number}, which holds "
            f"{total(holding.values()):.2f}: a bill is missing there, or it is the wrong commitment"
        )
        raise Waits(Reason.UNBALANCED, text, f"commitment {commitment.contract.id}")
    parts = dict(zip(holding, split(released, list(holding.values())), strict=True))
    mine = {entry.key: entry for entry in billed}
    return [
        replace(mine.get(key, Billed(key)), released=parts.get(key, ZERO))
        for key in dict.fromkeys((*mine, *parts))
        if key in mine or parts[key]
    ]


def _carried(billed: Sequence[Billed], others: Sequence[Requisition]) -> list[Billed]:
    """Materials stored before are still stored: an invoice that did not say so would take them back."""
    stored = {item.key: item for item in (others[-1].items if others else ()) if item.stored}
    mine = {entry.key: entry for entry in billed}
    carried = []
    for key in dict.fromkeys((*mine, *stored)):
        entry, item = mine.get(key, Billed(key)), stored.get(key)
        before, held = (ZERO, ZERO) if item is None else (item.stored, item.stored_retained)
        carried.append(
            replace(entry, presently_stored=before + entry.stored, stored_held=held + entry.stored_held)
        )
    return carried


def _words(line: ScheduleLine) -> str:
    return f"line {line.text!r:.40}" if line.text else f"line {line.key[1]}"
