"""Which commitment a bill is billed on: found in what the data name, never guessed. Pure.

In this order: the purchase order in QBO that the line was made from, a commitment's number in the line's text, in memo or
bill number, the rule's cell, and only then the one approved commitment of the vendor on the project.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ml_connector.holds import Reason
from ml_connector.mapping.models import Route, folded
from ml_connector.money import total
from ml_connector.posting.vendors.matching import match_key
from ml_connector.procore.commitments import OVER, TAKES_INVOICES, Contract
from ml_connector.qbo.models import Bill
from ml_connector.store.records import MappedLine

SHORTEST_PLAIN_NUMBER = 4  # a shorter number without a letter is found in any text


class Waits(Exception):
    """The bill cannot be billed on a commitment yet: reason, what is wrong, the cause that frees others too.

    `offers` are commitments to choose from; who tells the sentence adds what each has left. `about` is of `holds.Hold`.
    """

    def __init__(
        self, reason: Reason, text: str, cause: str, *, offers: Sequence[Contract] = (), about: str = ""
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.cause = f"{reason} {cause}"
        self.offers = offers
        self.about = about


class NoCommitment(Waits):
    """The vendor has no commitment on the project at all."""

    def __init__(self, text: str, cause: str, *, project: str) -> None:
        super().__init__(Reason.COMMITMENT_MISSING, text, cause)
        self.project = project


@dataclass(frozen=True)
class Sender:
    """Whose bill it is: the vendor in Procore, its name in QBO, and the vendors there of those that QBO merged with it."""

    vendor_id: int
    name: str
    merged: frozenset[int] = frozenset()

    @property
    def ids(self) -> frozenset[int]:
        """All that it is in Procore."""
        return self.merged | {self.vendor_id}


@dataclass(frozen=True)
class Share:
    """A bill's part on one commitment. `held` and `released` are positive; `has_retainage`: the bill has such lines."""

    contract: Contract
    work: tuple[MappedLine, ...]
    held: Decimal
    released: Decimal
    has_retainage: bool

    @property
    def amount(self) -> Decimal:
        """What the bill's lines add up to on this commitment."""
        return self.gross + self.released - self.held

    @property
    def gross(self) -> Decimal:
        """The work as the bill's lines say it."""
        return total(line.amount for line in self.work)


def is_subcontract(line: MappedLine) -> bool:
    """Whether a posted line goes to a commitment."""
    return line.outcome == "posted" and line.route in (Route.COMMITMENT, Route.RETAINAGE)


def shares_of(
    bill: Bill,
    lines: Sequence[MappedLine],
    *,
    sender: Sender,
    orders: Mapping[str, str],
    contracts: Callable[[str], Sequence[Contract]],
) -> list[Share]:
    """The bill's parts by commitment, in the order of its lines. Raises Waits.

    `orders` are document numbers of purchase orders by QBO id, `contracts` gives the commitments of a project.
    """
    work = [line for line in lines if line.route == Route.COMMITMENT]
    clues = _Clues(bill, sender, orders)
    found = [(line, clues.find(line, contracts(line.project_id), line.project_id)) for line in work]
    billed = {contract.id: contract for _, contract in found}
    retained = [line for line in lines if line.route == Route.RETAINAGE]
    found += [(line, _of_retainage(line, clues, list(billed.values()), contracts)) for line in retained]
    parts: dict[int, list[MappedLine]] = {}
    for line, contract in found:
        parts.setdefault(contract.id, []).append(line)
    named = {contract.id: contract for _, contract in found}
    return [_share(named[contract_id], mine) for contract_id, mine in parts.items()]


def expected(contracts: Iterable[Contract], sender: Sender) -> list[Contract]:
    """Approved commitments of the vendor: what a direct cost of it may belong to."""
    return [entry for entry in contracts if entry.vendor_id in sender.ids and entry.status == "Approved"]


def _share(contract: Contract, lines: Sequence[MappedLine]) -> Share:
    retained = [line.amount for line in lines if line.route == Route.RETAINAGE]
    return Share(
        contract=contract,
        work=tuple(line for line in lines if line.route == Route.COMMITMENT),
        held=-total(amount for amount in retained if amount < 0),
        released=total(amount for amount in retained if amount > 0),
        has_retainage=bool(retained),
    )


def _of_retainage(
    line: MappedLine,
    clues: "_Clues",
    billed: Sequence[Contract],
    contracts: Callable[[str], Sequence[Contract]],
) -> Contract:
    """The commitment of a line of retainage: the one it names, else that of the bill's work."""
    where = [line.project_id] if line.project_id else sorted({contract.project_id for contract in billed})
    if not where:
        text = f"line {line.line} is retainage without a project: choose the project of the line in QBO"
        raise Waits(Reason.NO_PROJECT, text, f"{clues.bill.entity} {clues.bill.id}")
    named = clues.named(line, contracts(where[0])) if len(where) == 1 else []
    mine = [contract for contract in billed if contract.project_id in where]
    if not named and len(mine) > 1:
        text = f"line {line.line} is retainage, and the bill has work on several commitments: name one in its text"
        raise Waits(Reason.COMMITMENT_AMBIGUOUS, text, f"{clues.bill.entity} {clues.bill.id}", offers=mine)
    if not named and mine:
        return mine[0]
    return clues.find(line, contracts(where[0]), where[0])


@dataclass(frozen=True)
class _Clues:
    """What a bill says of its commitments."""

    bill: Bill
    sender: Sender
    orders: Mapping[str, str]

    def find(self, line: MappedLine, contracts: Sequence[Contract], project: str) -> Contract:
        """The commitment of a line, ready to be billed on. Raises Waits."""
        named = self.named(line, contracts)
        cause = f"vendor {self.sender.vendor_id} project {project}"
        if len(named) > 1:
            text = f"line {line.line} names {len(named)} commitments: name one alone"
            raise Waits(Reason.COMMITMENT_AMBIGUOUS, text, cause, offers=named)
        if not named and line.commitment:
            text = (
                f"rule {line.rule} names commitment {line.commitment}, which project {project} has not: "
                "correct the rule, or the number in Procore"
            )
            raise Waits(Reason.COMMITMENT_MISSING, text, cause)
        contract = named[0] if named else self._only_one(line, contracts, project)
        if contract.vendor_id not in self.sender.ids:
            raise self._mismatch(contract)
        if contract.status not in TAKES_INVOICES:
            text = (
                f"commitment {contract.number} is {contract.status or 'without a status'} in Procore: "
                "approve it there, and the bill goes by itself"
            )
            raise Waits(Reason.COMMITMENT_NOT_APPROVED, text, f"commitment {contract.id}")
        return contract

    def named(self, line: MappedLine, contracts: Sequence[Contract]) -> list[Contract]:
        """The commitments that the strongest clue names; none when no clue names one."""
        source = next((entry for entry in self.bill.lines if entry.number == line.line), None)
        linked = (source.purchase_orders if source is not None else ()) or self.bill.purchase_orders
        numbers = {folded(self.orders[order]) for order in linked if self.orders.get(order)}
        by_order = [entry for entry in contracts if folded(entry.number) in numbers]
        return (
            by_order
            or _in_text(contracts, line.description)
            or _in_text(contracts, f"{self.bill.memo}\n{self.bill.number}")
            or [entry for entry in contracts if line.commitment and _same(entry.number, line.commitment)]
        )

    def _only_one(self, line: MappedLine, contracts: Sequence[Contract], project: str) -> Contract:
        cause = f"vendor {self.sender.vendor_id} project {project}"
        mine = [
            entry for entry in contracts if entry.vendor_id in self.sender.ids and entry.status not in OVER
        ]
        ready = [entry for entry in mine if entry.status == "Approved"] or [
            entry for entry in mine if entry.status in TAKES_INVOICES
        ]
        if len(ready) > 1:
            text = (
                f"line {line.line} may belong to {len(ready)} commitments: name one on the bill, or in a rule"
            )
            raise Waits(Reason.COMMITMENT_AMBIGUOUS, text, cause, offers=ready)
        if ready or len(mine) == 1:
            return (ready or mine)[0]
        if mine:
            numbers = ", ".join(entry.number for entry in mine)
            text = (
                f"commitments {numbers} are not approved in Procore: approve one, and the bill goes by itself"
            )
            raise Waits(Reason.COMMITMENT_NOT_APPROVED, text, cause)
        alike = [entry for entry in contracts if entry.status not in OVER and self._is_alike(entry)]
        if alike:
            raise self._mismatch(alike[0])
        text = (
            f"line {line.line} goes to a commitment, and {self.sender.name} has none on the project: "
            "make it in Procore and approve it, or give the line another rule"
        )
        raise NoCommitment(text, cause, project=project)

    def _is_alike(self, contract: Contract) -> bool:
        """Whether one of the two names begins with the other: a holding, a branch, a factor's "c/o"."""
        ours, theirs = match_key(self.sender.name).split(), match_key(contract.vendor_name).split()
        length = min(len(ours), len(theirs))
        return bool(length) and ours[:length] == theirs[:length]

    def _mismatch(self, contract: Contract) -> Waits:
        text = (
            f"the bill is from {self.sender.name}, and commitment {contract.number} is with "
            f"{contract.vendor_name or 'nobody yet'}: correct the vendor in QBO, name another commitment, "
            "or say in vendors.csv whom the vendor stands for"
        )
        return Waits(Reason.VENDOR_MISMATCH, text, f"commitment {contract.id}")


def _same(one: str, other: str) -> bool:
    return folded(one) == folded(other)


def _in_text(contracts: Sequence[Contract], text: str) -> list[Contract]:
    """The commitments whose number stands in `text` as a word; SC-1 is not found in SC-1-A where that is one."""
    found: list[Contract] = []
    for contract in sorted(contracts, key=lambda entry: -len(entry.number)):
        number = contract.number.strip()
        told_apart = len(number) >= SHORTEST_PLAIN_NUMBER or any(mark.isalpha() for mark in number)
        is_word = told_apart and re.search(rf"(?<!\w){re.escape(number)}(?!\w)", text, re.IGNORECASE)
        if is_word and not any(number.lower() in longer.number.lower() for longer in found):
            found.append(contract)
    return found
