"""Drift: what people changed or deleted in Procore of the direct costs that we left there. Reads Procore, writes nothing.

A difference is never written over and never accepted in silence: a person says keep_theirs or restore_ours.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Row

from ml_connector.holds import Choice, Hold, Reason
from ml_connector.mapping.decided import last_of, standing
from ml_connector.mapping.wording import quoted
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import is_unlinked
from ml_connector.posting.direct_costs.differences import (
    DRAFT,
    Difference,
    content_of,
    content_there,
    drifted,
)
from ml_connector.posting.procore_names import Names
from ml_connector.posting.targets import DirectCost
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.direct_costs import CostThere, fetch_costs
from ml_connector.settings import Connection
from ml_connector.store import landing, ledger
from ml_connector.store.ledger import Fate

SHOWN = 3  # differences in one sentence
DELETED = "deleted"
GONE = "gone"  # from QBO


@dataclass(frozen=True)
class Drift:
    """One direct cost that is not as we left it; `there` is None when it was deleted. `ours` is what we posted."""

    entity: str
    qbo_id: str
    origin_id: str
    project_id: str
    procore_id: int
    number: str
    ours: Decimal
    there: CostThere | None
    differences: tuple[Difference, ...]
    is_typed: bool  # by a person, and only linked here

    @property
    def counts(self) -> Decimal:
        """What Procore counts of it now."""
        return ZERO if self.there is None else self.there.counts


def is_left_by_us(row: Row[Any]) -> bool:
    """Whether Procore should hold just what the ledger says: not so while a write of ours may be half done."""
    live = row.confirmed_hash is not None and row.procore_id is not None
    return live and row.state in (Fate.CONFIRMED, Fate.REFUSED)


def is_theirs(row: Row[Any] | None) -> bool:
    """Whether a person typed the record, and it is linked in our ledger alone."""
    return row is not None and bool((row.wanted or {}).get("linked"))


def drift_of(row: Row[Any], there: CostThere | None) -> Drift | None:
    """What is different there from what the ledger's `row` says we left; None when nothing is."""
    ours = _amount_left(row)
    if there is None:
        found = [Difference("", DELETED, f"{ours:.2f}", "")]
    elif is_theirs(row):
        found = _changed_total(ours, there)
    elif knows_body(row):
        found = drifted(content_of(row.wanted), content_there(there, _line_keys(row)))
        found += _taken_over(row, there)
    else:
        found = _changed_total(ours, there)
    if not found:
        return None
    return Drift(
        entity=row.entity,
        qbo_id=row.qbo_id,
        origin_id=row.origin_id,
        project_id=row.project_id,
        procore_id=int(row.procore_id),
        number=row.number,
        ours=ours,
        there=there,
        differences=tuple(found),
        is_typed=is_theirs(row),
    )


def gone_from_qbo(row: Row[Any], there: CostThere) -> Drift:
    """A record whose bill was voided, deleted, or has left its project, and that counts until a person decides (S73)."""
    return Drift(
        entity=row.entity,
        qbo_id=row.qbo_id,
        origin_id=row.origin_id,
        project_id=row.project_id,
        procore_id=there.id,
        number=there.number,
        ours=row.amount,
        there=there,
        differences=(Difference("", GONE, f"{there.counts:.2f}", ""),),
        is_typed=False,
    )


def drift_of_posted(
    engine: Engine,
    connection: Connection,
    client: ProcoreClient,
    *,
    days: Collection[date] | None = None,
    projects: Collection[str] | None = None,
) -> list[Drift]:
    """Every direct cost of `days` and `projects` (None: of all) that is not as we left it, for the nightly proof.

    What a person decided to keep is no drift any more. Two lists a project, or two calls for up to 150 records. Nothing
    is written anywhere. Raises the client's errors.
    """
    with engine.connect() as db:
        rows = [
            row
            for row in ledger.posted_costs(db, connection.name, days=days, projects=projects)
            if is_left_by_us(row) and row.state == Fate.CONFIRMED
        ]
    found: list[Drift] = []
    for project, mine in _by_project(rows):
        there = fetch_costs(client, project, {int(row.procore_id) for row in mine})
        found += [one for row in mine if (one := drift_of(row, there.get(int(row.procore_id))))]
    return _without_kept(engine, connection, found)


def kept_as_theirs(
    engine: Engine, connection: Connection, there: Mapping[int, CostThere]
) -> set[tuple[str, str]]:
    """The records (entity, id) whose direct costs drifted and a person decided to keep: `there` is all that Procore has."""
    with engine.connect() as db:
        rows = ledger.posted_costs(db, connection.name, days=None, projects=None)
    ours = [row for row in rows if is_left_by_us(row) and row.state == Fate.CONFIRMED]
    found = [one for row in ours if (one := drift_of(row, there.get(int(row.procore_id))))]
    left = {(one.entity, one.qbo_id) for one in _without_kept(engine, connection, found)}
    return {(one.entity, one.qbo_id) for one in found} - left


def about_of(drifts: Iterable[Drift]) -> str:
    """A digest of the differences of one record: what a decision about them holds for."""
    said = [
        f"{one.origin_id} {change.line} {change.field} {change.before} {change.after}"
        for one in drifts
        for change in one.differences
    ]
    return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()[:16]


def drift_hold(words: str, drifts: Sequence[Drift], names: Names, *, wanted: Decimal | None = None) -> Hold:
    """The hold of a record of which some direct costs drifted; `wanted` is what its newest version comes to."""
    return Hold(
        Reason.DRIFT,
        f"{words}: {' '.join(_sentence(one, names, wanted) for one in drifts)} {_advice(drifts)}",
        f"{Reason.DRIFT} direct cost {drifts[0].procore_id}",
        ZERO,
        about=about_of(drifts),
    )


def _sentence(one: Drift, names: Names, wanted: Decimal | None) -> str:
    where = names.project(one.project_id)
    bill = one.ours if wanted is None else wanted
    if one.there is None:
        return f"its direct cost on {where} was deleted in Procore, still {bill:.2f} in QBO."
    if one.is_typed:
        return (
            f"its direct cost {quoted(one.there.number, 24)} on {where} was typed in Procore by a person and is left "
            f"alone: it counts {one.counts:.2f} there, the bill has {bill:.2f}."
        )
    if one.differences[0].field == GONE:
        return (
            f"its direct cost {quoted(one.number, 24)} on {where} counts {one.counts:.2f} in Procore, and the bill has none "
            "there any more."
        )
    spelled = [_told(names.spelled(change, one.project_id), one.there) for change in one.differences]
    more = f" and {len(spelled) - SHOWN} more" if len(spelled) > SHOWN else ""
    return (
        f"its direct cost on {where} was changed in Procore since it was posted: {'; '.join(spelled[:SHOWN])}{more}. "
        f"It counts {one.counts:.2f} there, the bill has {bill:.2f}."
    )


def _advice(drifts: Sequence[Drift]) -> str:
    if all(one.there is None for one in drifts):
        return "It is not made again by itself: decide keep_theirs to leave it deleted, or restore_ours to make it again."
    return (
        "Nothing was written: decide keep_theirs to leave Procore as it is, or restore_ours to write it as the bill has "
        "it; or put it right in Procore and replay."
    )


def _told(change: Difference, there: CostThere) -> str:
    before, after = (quoted(text, 40) or "empty" for text in (change.before, change.after))
    if change.field == "line":
        return (
            f"{change.place} over {after} was added"
            if change.after
            else f"{change.place} over {before} is gone"
        )
    if change.field == "link":
        return f"another integration has linked it as {after}"
    if change.field == "total":
        return f"its total is {after}, we left {before}"
    if change.field == "vendor_id":
        after = quoted(there.vendor_name, 40) or after
    what = f"the {change.detail['what']}" + (f" of {change.place}" if change.line else "")
    return f"{what} is {after} there, we left {before}"


def _amount_left(row: Row[Any]) -> Decimal:
    """The amount of the body that Procore confirmed; the ledger's amount follows what is there."""
    return total(Decimal(line["amount"]) for line in row.wanted["lines"]) if knows_body(row) else row.amount


def holds_already(row: Row[Any], wanted: DirectCost, there: CostThere) -> bool:
    """Whether Procore has just what is wanted now, whoever wrote it: a run whose memory was restored, or a person."""
    return not drifted(content_of(wanted.body), content_there(there, _line_keys(row)))


def knows_body(row: Row[Any]) -> bool:
    """Whether the body in the ledger is the one that was confirmed, and not one that was refused later."""
    return row.wanted_hash is not None and bytes(row.wanted_hash) == bytes(row.confirmed_hash)


def _line_keys(row: Row[Any]) -> dict[int, str]:
    """The keys of the lines of a record that carries no links, by the ids that Procore gave them."""
    return {there: origin for origin, there in row.line_ids.items() if there} if is_unlinked(row) else {}


def _changed_total(ours: Decimal, there: CostThere) -> list[Difference]:
    same = there.status != DRAFT and there.total == ours
    return [] if same else [Difference("", "total", f"{ours:.2f}", f"{there.counts:.2f}")]


def _taken_over(row: Row[Any], there: CostThere) -> list[Difference]:
    """Another integration's link in the place of ours; without any it is unlocked, and the next write sets ours again."""
    taken = there.origin_id not in ("", row.origin_id)
    return [Difference("", "link", row.origin_id, there.origin_id)] if taken else []


def _by_project(rows: Iterable[Row[Any]]) -> Iterator[tuple[str, list[Row[Any]]]]:
    groups: dict[str, list[Row[Any]]] = {}
    for row in rows:
        groups.setdefault(row.project_id, []).append(row)
    yield from groups.items()


def _without_kept(engine: Engine, connection: Connection, found: Sequence[Drift]) -> list[Drift]:
    by_record: dict[tuple[str, str], list[Drift]] = {}
    for one in found:
        by_record.setdefault((one.entity, one.qbo_id), []).append(one)
    left: list[Drift] = []
    with engine.connect() as db:
        for entity in sorted({entity for entity, _ in by_record}):
            ids = [qbo_id for kind, qbo_id in by_record if kind == entity]
            versions = landing.newest(db, connection.name, entity, ids)
            made = standing(db, connection.name, entity, versions.values())
            for qbo_id in ids:
                drifts = by_record[entity, qbo_id]
                said = last_of(made.get(qbo_id, ()), Reason.DRIFT, about_of(drifts))
                if said is None or said.choice is not Choice.KEEP_THEIRS:
                    left += drifts
    return left
