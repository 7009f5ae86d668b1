"""Direct costs that others made: people who typed the bill before us, or another connector that posts the same bills.

Before a direct cost is made, those of its project are looked through. The same vendor, number and amount is the same bill:
linked in our ledger alone, since an origin id would lock a record that a person owns. What is nearly the same is held.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.mapping.decided import last_of
from ml_connector.mapping.wording import quoted
from ml_connector.money import ZERO
from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.sync_rows import words_of
from ml_connector.posting.planning import PlannedBill
from ml_connector.posting.procore_names import Names
from ml_connector.posting.targets import DirectCost
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.direct_costs import DRAFT, CostThere, fetch_changed, fetch_headers
from ml_connector.settings import Connection
from ml_connector.store import catalog, ledger
from ml_connector.store.ledger import Fate, Kind

OTHERS = "direct_costs_of_others"  # kind of stored list
LATELY = timedelta(
    minutes=5
)  # runs that follow each other closely share a list; Procore itself refuses equal numbers
OVERLAP = timedelta(minutes=15)  # clocks differ, and lists may lag

Case = tuple[PlannedBill, Work]


def number_key(number: str) -> str:
    """A bill's number as it is compared with what people type: `inv 0077` and `INV-77` are the same."""
    parts = re.findall(r"\d+|[^\W\d_]+", number.casefold())
    return "-".join(part.lstrip("0") or part[:1] for part in parts)


def is_same(cost: DirectCost, there: CostThere) -> bool:
    """Whether a record that counts there is this cost: the same vendor, number and amount."""
    return _is_alike(cost, there.vendor_id, there.number) and there.counts == cost.amount and _counts(there)


def _counts(there: CostThere) -> bool:
    return there.status != DRAFT


def _is_alike(cost: DirectCost, vendor_id: int | None, number: str) -> bool:
    mine = number_key(cost.number.removesuffix(cost.suffix))
    return cost.header["vendor_id"] == vendor_id and mine == number_key(number) and bool(mine)


@dataclass
class TypedCosts:
    """Looks through the direct costs of others on behalf of one run; keeps a copy of them, and asks for what changed."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    settled_at: Callable[[], datetime]
    now: Callable[[], datetime]
    fresh_for: timedelta = LATELY  # zero for a run that a person asked for
    keeps_lists: bool = True  # False for a dry run, which stores nothing
    _read: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def check(self, cases: Sequence[Case]) -> None:
        """Link or hold the works whose bills others have entered. One list a project, only where something is new."""
        new: dict[str, list[tuple[PlannedBill, Work, DirectCost]]] = {}
        for bill, work in cases:
            for cost in work.todo if work.open else []:
                if _is_new(work, cost):
                    new.setdefault(cost.project_id, []).append((bill, work, cost))
        for project, costs in new.items():
            try:
                self._look_through(project, costs)
            except ReconnectNeeded:
                raise
            except (OutcomeUnknown, TransientError) as error:
                later = error.not_before if isinstance(error, TransientError) else None
                for _, work, _ in costs:
                    work.wait(self.settled_at() if later is None else max(self.settled_at(), later))
            except PermanentError as error:
                for _, work, _ in costs:
                    work.forbid(words_of(error), f"project {project}")

    def _look_through(self, project: str, costs: Sequence[tuple[PlannedBill, Work, DirectCost]]) -> None:
        alike = self._alike(project, costs)
        if not alike:
            return
        # The copy may be behind: what looks alike in it is read again.
        ids = {row["id"] for rows in alike.values() for row in rows}
        there = fetch_headers(self.client, project, ids)
        for bill, work, cost in costs:
            mine = [there[row["id"]] for row in alike.get(cost.origin_id, ()) if row["id"] in there]
            mine = [one for one in mine if last_of(bill.made, Reason.POSSIBLE_DUPLICATE, _about(one)) is None]
            if mine and work.open:
                self._settle(work, cost, mine)

    def _settle(self, work: Work, cost: DirectCost, there: Sequence[CostThere]) -> None:
        one = there[0]
        if len(there) == 1 and not one.origin_id and is_same(cost, one):
            work.links[cost.origin_id] = one
            return
        where = Names(self.connection, self.engine).project(cost.project_id)
        sentence = (
            f"{work.words}: {where} has {_words(there)} with this vendor and number. {_advice(cost, there)}"
        )
        cause = f"{Reason.POSSIBLE_DUPLICATE} {_about(one)}"
        work.holds.append(Hold(Reason.POSSIBLE_DUPLICATE, sentence, cause, ZERO, about=_about(one)))

    def _alike(
        self, project: str, costs: Sequence[tuple[PlannedBill, Work, DirectCost]]
    ) -> Mapping[str, list[dict[str, Any]]]:
        """Rows of the copy by origin id of the new cost that they may be."""
        by_number: dict[tuple[int, str], list[dict[str, Any]]] = {}
        for row in self._others(project):
            by_number.setdefault((row["vendor_id"], number_key(row["number"])), []).append(row)
        with self.engine.connect() as db:
            ours = ledger.procore_ids(db, self.connection.name, Kind.DIRECT_COST, project)
        found = {}
        for _, _, cost in costs:
            key = (cost.header["vendor_id"], number_key(cost.number.removesuffix(cost.suffix)))
            rows = [row for row in by_number.get(key, ()) if key[1] and row["id"] not in ours]
            if rows:
                found[cost.origin_id] = rows
        return found

    def _others(self, project: str) -> list[dict[str, Any]]:
        if project not in self._read:
            self._read[project] = self._refresh(project)
        return self._read[project]

    def _refresh(self, project: str) -> list[dict[str, Any]]:
        name, at = self.connection.name, self.now()
        with self.engine.connect() as db:
            stored = catalog.stored(db, name, OTHERS, project)
        rows, fetched_at = stored if stored is not None else ([], None)
        if fetched_at is not None and at - fetched_at < self.fresh_for:
            return rows
        changed = fetch_changed(
            self.client, project, since=None if fetched_at is None else fetched_at - OVERLAP
        )
        ours = f"qbo:{self.connection.qbo.realm_id}:"
        newer = {cost.id: cost for cost in changed}
        merged = [row for row in rows if row["id"] not in newer]
        merged += [_row(cost) for cost in newer.values() if not cost.origin_id.startswith(ours)]
        if self.keeps_lists:
            with self.engine.begin() as db:
                catalog.keep(db, name, OTHERS, project, sorted(merged, key=lambda row: int(row["id"])), at=at)
        return merged


def _is_new(work: Work, cost: DirectCost) -> bool:
    """Whether nothing of ours is there, or may be there."""
    row = work.known.get(cost.origin_id)
    return row is None or (row.procore_id is None and row.state not in (Fate.SENDING, Fate.UNKNOWN))


def _row(cost: CostThere) -> dict[str, Any]:
    return {
        "id": cost.id,
        "origin_id": cost.origin_id,
        "number": cost.number,
        "vendor_id": cost.vendor_id,
        "vendor_name": cost.vendor_name,
        "amount": str(cost.counts),
        "day": str(cost.fields.get("direct_cost_date") or ""),
    }


def _about(there: CostThere) -> str:
    return f"direct cost {there.id}"


def _words(there: Sequence[CostThere]) -> str:
    return " and ".join(
        f"a direct cost {_creator(one)} over {one.total:.2f} (Procore id {one.id})" for one in there[:3]
    )


def _creator(one: CostThere) -> str:
    by = one.fields.get("created_by")
    name = quoted(str(by.get("name") or by.get("login") or ""), 40) if isinstance(by, Mapping) else ""
    other = f"another integration made as {quoted(one.origin_id, 60)}" if one.origin_id else "was typed there"
    drafted = ", still a draft," if one.status == DRAFT else ""
    return f"that {other}{f' by {name}' if name else ''}{drafted}"


def _advice(cost: DirectCost, there: Sequence[CostThere]) -> str:
    one = there[0]
    if any(other.origin_id for other in there):
        return (
            "Only one connector may post the bills of a project: stop the other one there, delete one of the two, or "
            "decide post_anyway when it is no duplicate."
        )
    if len(there) > 1:
        return (
            "Leave one of them in Procore and replay, or decide post_anyway when none of them is this bill."
        )
    if one.status == DRAFT:
        return (
            "Approve it in Procore and replay, and it is linked; or delete it there; or decide post_anyway."
        )
    return (
        f"The bill has {cost.amount:.2f} for that project: give both the same amount and replay, and they are linked; or "
        "decide post_anyway when it is no duplicate."
    )
