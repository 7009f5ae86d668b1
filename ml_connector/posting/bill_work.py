"""One bill on its way to Procore: which targets are wanted, which must go, and how it ended. No call is made here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import chain, count
from typing import Any

from sqlalchemy import Row

from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO
from ml_connector.posting.requisitions.invoices import Invoice
from ml_connector.posting.targets import DirectCost
from ml_connector.procore.client import Refused
from ml_connector.procore.commitments import Requisition
from ml_connector.procore.direct_costs import CostThere
from ml_connector.qbo.models import Entity
from ml_connector.store.ledger import Fate
from ml_connector.store.records import MappedLine


def is_unlinked(row: Row[Any]) -> bool:
    """Whether the record of a ledger row carries no origin id of ours by policy."""
    return bool((row.wanted or {}).get("unlinked"))


def is_lost(row: Row[Any]) -> bool:
    """Whether a record may be in Procore of which neither an id nor an origin id tells."""
    return row.procore_id is None and row.state in (Fate.SENDING, Fate.UNKNOWN) and is_unlinked(row)


@dataclass
class Work:
    """One bill's targets on their way: what is wanted, what is live and must go, and how it ended."""

    entity: Entity
    qbo_id: str
    words: str  # how sentences name the bill
    landing_number: int
    sync_token: int
    wanted: list[DirectCost]
    surplus: list[Row[Any]]  # ledger rows of targets that must lose their effect
    known: Mapping[str, Row[Any]]  # ledger rows of all its targets, by origin id
    repeats_number: bool = False  # a person said that it is no duplicate of a bill with the same number
    invoices: list[Invoice] = field(default_factory=list)
    gone: list[tuple[Row[Any], Requisition | None]] = field(
        default_factory=list
    )  # ledger rows of invoices that must go, with what Procore still counts of them
    has_invoices: bool = False  # some are wanted; those that are settled need not be in `invoices`
    kept_back: Decimal = ZERO  # retainage of a gross bill that is not released yet
    excluded: list[MappedLine] = field(default_factory=list)  # retainage of no commitment
    warnings: list[tuple[Reason, str]] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    wait_until: datetime | None = None
    refused: dict[str, str] = field(
        default_factory=dict
    )  # sentences by origin id of the target that is to blame
    links: dict[str, CostThere] = field(default_factory=dict)  # targets that a person typed in Procore
    rewrite: set[str] = field(
        default_factory=set
    )  # origin ids of targets to be written over what people changed
    vanished: set[str] = field(default_factory=set)  # those of which the record in Procore was deleted
    found: dict[str, int] = field(
        default_factory=dict
    )  # Procore ids of targets that came to be although their answer was lost
    links_new: bool = True  # whether what is made new carries an origin id
    is_kept: bool = False  # a person decided to leave Procore as it is
    told: list[tuple[str, Mapping[str, Any]]] = field(
        default_factory=list
    )  # for the audit trail: event, detail

    @property
    def open(self) -> bool:
        """Whether nothing has gone wrong so far."""
        return not self.holds and self.wait_until is None

    @property
    def differs(self) -> bool:
        """Whether Procore does not hold what is wanted, as far as the ledger knows."""
        return bool(self.surplus or self.todo or self.links or self.gone or self.open_invoices)

    @property
    def open_invoices(self) -> list[Invoice]:
        """The invoices that Procore does not hold as they are wanted."""
        return [invoice for invoice in self.invoices if not invoice.is_settled]

    @property
    def todo(self) -> list[DirectCost]:
        """The targets that Procore does not hold as they are wanted, and that are ours to write."""
        return [
            cost
            for cost in self.wanted
            if cost.origin_id not in self.links
            and (cost.origin_id in self.rewrite or not self._is_settled(cost))
        ]

    def _is_settled(self, cost: DirectCost) -> bool:
        row = self.known.get(cost.origin_id)
        confirmed = row is not None and row.state == Fate.CONFIRMED and row.amount == cost.amount
        return row is not None and confirmed and bytes(row.confirmed_hash) == cost.body_hash

    def target(self, origin_id: str) -> DirectCost | None:
        """The wanted target of that origin id."""
        return next((cost for cost in self.wanted if cost.origin_id == origin_id), None)

    def there(self, cost: DirectCost) -> int | None:
        """The Procore id of a target's record, where it is known and not deleted."""
        row = self.known.get(cost.origin_id)
        if cost.origin_id in self.vanished:
            return None
        known = self.found.get(cost.origin_id, None if row is None else row.procore_id)
        return None if known is None else int(known)

    def is_unlinked(self, cost: DirectCost) -> bool:
        """Whether a target's link is in our ledger alone; a record stays as it was made, whatever the policy is now."""
        row = self.known.get(cost.origin_id)
        unclear = row is not None and row.state in (Fate.SENDING, Fate.UNKNOWN)
        if row is None or (self.there(cost) is None and not unclear) or (row.wanted or {}).get("linked"):
            return not self.links_new
        return is_unlinked(row)

    def keep(self) -> None:
        """Leave everything of the bill in Procore as it is."""
        self.is_kept = True
        self.wanted, self.surplus, self.invoices, self.gone = [], [], [], []

    def lock(self, sentence: str, what: str, about: str) -> None:
        """Hold the whole bill: Procore does not let a record of it be changed."""
        if not self.holds:
            cause = f"{Reason.LOCKED_IN_PROCORE} {what}"
            self.holds.append(Hold(Reason.LOCKED_IN_PROCORE, sentence, cause, ZERO, about=about))

    @property
    def is_locked(self) -> bool:
        """Whether a lock keeps the bill from being written."""
        return any(hold.reason is Reason.LOCKED_IN_PROCORE for hold in self.holds)

    def refuse(self, text: str, cost: DirectCost | Invoice | None = None) -> None:
        """Hold the whole bill: Procore said no to a part of it, namely to `cost` where that is known."""
        advice = "Correct it in QBO, or in Procore and replay."
        if self.entity is not Entity.BILL and any(cost.amount < ZERO for cost in self.wanted):
            advice = (
                "Correct it in QBO, or let Procore take amounts below zero and replay; "
                "or exclude it here, and enter the credit in Procore by hand."
            )
        if isinstance(cost, DirectCost) and cost.header["vendor_id"] is None and "vendor" in text.lower():
            advice = "Choose a vendor as its payee in QBO, where it names none."
        sentence = f"{self.words}: Procore refused it: {text}. {advice}"
        if cost is not None:
            self.refused.setdefault(cost.origin_id, sentence)
        if not self.holds:
            self.holds.append(Hold(Reason.REFUSED, sentence, f"REFUSED {text}"[:200], ZERO))

    def forbid(self, text: str, path: str, *, tool: str = "Direct Costs") -> None:
        """Hold the whole bill: we may not write there."""
        if not self.holds:
            sentence = (
                f"{self.words}: Procore does not let ml-connector write there ({text}). Give the service account "
                f"the project and its {tool} tool, then replay."
            )
            self.holds.append(Hold(Reason.PERMISSION, sentence, f"PERMISSION {path}", ZERO))

    def wait(self, until: datetime) -> None:
        """The outcome of a part is unknown: leave the bill alone until then."""
        self.wait_until = until if self.wait_until is None else max(self.wait_until, until)

    @property
    def renames(self) -> bool:
        """Whether a number that is in use in Procore is given up."""
        return bool(self.surplus) or any(
            self.is_live(cost) and self.known[cost.origin_id].number != cost.number for cost in self.wanted
        )

    def is_live(self, cost: DirectCost) -> bool:
        """Whether an earlier version of this target counts in Procore."""
        row = self.known.get(cost.origin_id)
        counted = row is not None and row.confirmed_hash is not None
        return counted and cost.origin_id not in self.vanished

    def newest(self, cost: DirectCost) -> DirectCost:
        """The target of `cost` as it is wanted now."""
        return next(entry for entry in self.wanted if entry.origin_id == cost.origin_id)

    def renumber(self, cost: DirectCost, refusal: Refused, made: Collection[str]) -> bool:
        """Where numbers are unique over the company, a bill's second record carries `-2` and keeps it for good.

        `made` are origin ids of records that are in Procore by now. Returns whether the number is taken by another
        record of this bill, so that a suffix is worth a try; taken by a stranger it is a duplicate, and refused,
        unless a person has said that it is none: then the suffix is the bill's id in QBO, `-145`. So it is for a credit
        or a purchase with the number of a bill, which in Procore are records of one kind.
        """
        others = [entry for entry in self.wanted if entry.origin_id != cost.origin_id]
        taken = any(entry.number == cost.number and self._may_exist(entry, made) for entry in others)
        is_other = self.repeats_number or (self.entity is not Entity.BILL and not taken)
        if "invoice_number" not in refusal.fields or cost.suffix or not (taken or is_other):
            return False
        own = f"-{self.qbo_id}" if is_other else ""
        suffixes = {entry.suffix for entry in others} | {""}
        ends = chain([own], (f"{own}-{n}" for n in count(2)))
        suffix = next(end for end in ends if end not in suffixes)
        self.wanted = [
            cost.suffixed(suffix) if entry.origin_id == cost.origin_id else entry for entry in self.wanted
        ]
        return True

    def _may_exist(self, cost: DirectCost, made: Collection[str]) -> bool:
        row = self.known.get(cost.origin_id)
        sent = row is not None and (row.procore_id is not None or row.state in (Fate.SENDING, Fate.UNKNOWN))
        return sent or cost.origin_id in made
