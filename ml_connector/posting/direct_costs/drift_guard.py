"""Before a posted direct cost is changed or taken back, what Procore holds is compared with what we left there.

A person's change is held; what a person decided about it is put into the work, which the desks then follow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Row

from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Choice, Reason
from ml_connector.mapping.decided import last_of
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.differences import DRAFT
from ml_connector.posting.direct_costs.drift import (
    Drift,
    about_of,
    drift_hold,
    drift_of,
    gone_from_qbo,
    holds_already,
    is_left_by_us,
    is_theirs,
)
from ml_connector.posting.direct_costs.sync_rows import words_of
from ml_connector.posting.direct_costs.typed_costs import is_same
from ml_connector.posting.planning import PlannedBill
from ml_connector.posting.procore_names import Names
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.direct_costs import CostThere, fetch_costs
from ml_connector.settings import Connection
from ml_connector.store import records
from ml_connector.store.decisions import Made
from ml_connector.store.ledger import Fate

Case = tuple[PlannedBill, Work]


@dataclass
class DriftGuard:
    """Looks at the posted direct costs of works that would change them. Reads only; `seen` is for the ledger."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    settled_at: Callable[[], datetime]  # when a call that failed may be tried again
    seen: dict[str, Decimal] = field(default_factory=dict)  # what Procore counts now, by origin id

    def check(self, cases: Sequence[Case]) -> None:
        """Hold the works whose direct costs drifted, or let them follow what a person decided.

        One list of records and one of lines a project, for works that would change something there, and for those that
        are held for drift. An outage ends only the works concerned, which then say so.
        """
        waiting = self._held_for_drift([work for _, work in cases if work.open])
        questions: dict[str, list[tuple[Work, Row[Any]]]] = {}
        for work in (work for _, work in cases if work.open):
            for row in _in_question(work, everything=(work.entity, work.qbo_id) in waiting):
                questions.setdefault(row.project_id, []).append((work, row))
        there: dict[int, CostThere] = {}
        for project, rows in questions.items():
            there |= self._fetch(project, rows)
        asked: dict[tuple[str, str], list[Row[Any]]] = {}
        for work, row in (pair for rows in questions.values() for pair in rows):
            asked.setdefault((work.entity, work.qbo_id), []).append(row)
        for bill, work in cases:
            if work.open and (mine := asked.get((work.entity, work.qbo_id))):
                self._judge(bill, work, mine, there)

    def _held_for_drift(self, works: Sequence[Work]) -> set[tuple[str, str]]:
        """The records that wait for a word about a drift, whether or not QBO would change anything."""
        ids: dict[str, list[str]] = {}
        for work in works:
            if work.known:
                ids.setdefault(work.entity, []).append(work.qbo_id)
        with self.engine.connect() as db:
            reasons = {
                (entity, qbo_id): several
                for entity, some in ids.items()
                for qbo_id, several in records.reasons_of(db, self.connection.name, entity, some).items()
            }
        return {name for name, several in reasons.items() if Reason.DRIFT in several}

    def _fetch(self, project: str, rows: Sequence[tuple[Work, Row[Any]]]) -> Mapping[int, CostThere]:
        try:
            return fetch_costs(self.client, project, {int(row.procore_id) for _, row in rows})
        except ReconnectNeeded:
            raise
        except (OutcomeUnknown, TransientError) as error:
            later = error.not_before if isinstance(error, TransientError) else None
            until = self.settled_at() if later is None else max(self.settled_at(), later)
            for work, _ in rows:
                work.wait(until)
        except PermanentError as error:
            for work, _ in rows:
                work.forbid(words_of(error), f"project {project}")
        return {}

    def _judge(
        self, bill: PlannedBill, work: Work, rows: Sequence[Row[Any]], there: Mapping[int, CostThere]
    ) -> None:
        drifts: list[Drift] = []
        for row in rows:
            now = there.get(int(row.procore_id))
            counts = ZERO if now is None else now.counts
            if row.state == Fate.CONFIRMED and counts != row.amount:
                self.seen[row.origin_id] = counts
            drift = self._drift(work, row, now)
            if drift is not None:
                drifts.append(drift)
        if not drifts:
            return
        said = last_of(bill.made, Reason.DRIFT, about_of(drifts))
        names = Names(self.connection, self.engine)
        if said is None:
            wanted = total(cost.amount for cost in work.wanted if cost.project_id == drifts[0].project_id)
            work.holds.append(
                drift_hold(work.words, drifts, names, wanted=wanted if len(drifts) == 1 else None)
            )
            return
        work.told.append((_event(said), _detail(said, drifts, names)))
        if said.choice is Choice.KEEP_THEIRS:
            work.keep()
        else:
            self._restore(work, drifts)

    def _drift(self, work: Work, row: Row[Any], now: CostThere | None) -> Drift | None:
        """What keeps the record from being changed; nothing when the change was made there by a person already."""
        is_surplus = any(gone.origin_id == row.origin_id for gone in work.surplus)
        if is_surplus and (now is None or now.status == DRAFT):
            return None  # what should go has no effect any more
        cost = work.target(row.origin_id)
        if not is_theirs(row):
            if cost is not None and now is not None and holds_already(row, cost, now):
                return None
            drift = drift_of(row, now)
            waits = is_surplus and self.connection.policies.gone_direct_cost == "hold"
            return gone_from_qbo(row, now) if drift is None and waits and now is not None else drift
        if cost is not None and now is not None and is_same(cost, now):
            work.links[row.origin_id] = now
            return None
        drift = drift_of(row, now)
        if drift is None and now is not None:  # it is as it was, and the bill is another
            drift = Drift(
                row.entity,
                row.qbo_id,
                row.origin_id,
                row.project_id,
                now.id,
                now.number,
                row.amount,
                now,
                (),
                True,
            )
        return drift

    def _restore(self, work: Work, drifts: Sequence[Drift]) -> None:
        for one in drifts:
            if one.there is None:
                work.vanished.add(one.origin_id)
            work.rewrite.add(one.origin_id)


def _in_question(work: Work, *, everything: bool) -> list[Row[Any]]:
    """The ledger rows of what the work would change in Procore."""
    touched = {cost.origin_id for cost in work.todo} | {row.origin_id for row in work.surplus}
    return [
        row for row in work.known.values() if is_left_by_us(row) and (everything or row.origin_id in touched)
    ]


def _event(said: Made) -> str:
    return "kept" if said.choice is Choice.KEEP_THEIRS else "restored"


def _detail(said: Made, drifts: Sequence[Drift], names: Names) -> dict[str, Any]:
    return {
        "decided": str(said),
        "direct_costs": [
            {
                "origin_id": one.origin_id,
                "procore_id": one.procore_id,
                "ours": one.ours,
                "there": None if one.there is None else one.there.counts,
                "differences": [names.spelled(change, one.project_id).detail for change in one.differences],
            }
            for one in drifts
        ],
    }
