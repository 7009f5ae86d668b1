"""What becomes of direct costs when something went wrong: no part of a held bill may count, what is unclear waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.drift import is_theirs
from ml_connector.posting.direct_costs.lines import Progress
from ml_connector.posting.direct_costs.sync_rows import (
    RowSync,
    Sent,
    by_project,
    headers_path,
    project_of_cost,
)
from ml_connector.posting.targets import DirectCost
from ml_connector.procore.client import Accepted
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger
from ml_connector.store.ledger import Fate

# States in which a record with a Procore id may count.
COUNTING = (Fate.CONFIRMED, Fate.SENDING, Fate.UNKNOWN)


@dataclass
class Silencing:
    """Notes refusals and doubts of one run, and takes back what would count in part."""

    connection: Connection
    engine: Engine
    rows: RowSync
    run_id: str

    def silence(self, works: Sequence[Work], progress: Progress) -> None:
        """Held after a refusal: whatever of the bill may count in Procore goes to draft, and the refusal is noted.

        A lock is another matter: what Procore counts stays, but for what this run left half written.
        """
        for project, group in by_project(
            [(work, cost) for work in works for cost in _to_silence(work, progress)], project_of_cost
        ):
            loud = {
                cost.origin_id: progress.id_of(work, cost)
                for work, cost in group
                if _may_count(work, cost, progress)
            }
            drafts: list[Sent] = [
                (work, None, {"id": loud[cost.origin_id], "status": "draft"})
                for work, cost in group
                if cost.origin_id in loud
            ]
            outcomes = self.rows.send(headers_path(project), drafts, key="id")
            with self.engine.begin() as db:
                for work, cost in group:
                    silent = cost.origin_id not in loud or isinstance(
                        outcomes.get(str(loud[cost.origin_id])), Accepted
                    )
                    self._note_refusal(db, work, cost, silent=silent)
        with self.engine.begin() as db:
            for work in (work for work in works if work.is_locked):
                left_alone = [cost for cost in work.todo if cost.origin_id not in progress.touched]
                for cost in left_alone:
                    self._note_refusal(db, work, cost, silent=not work.is_live(cost))
            self._tell(db, [_refused(work) for work in works if work.wait_until is None])

    def _note_refusal(self, db: Database, work: Work, cost: DirectCost, *, silent: bool) -> None:
        name, origin = self.connection.name, cost.origin_id
        if work.wait_until is not None:
            return  # not known whether it counts: the bill is in doubt
        if origin in work.refused or not silent:
            ledger.refuse(
                db,
                name,
                origin,
                refused_hash=cost.body_hash,
                refusal=work.refused.get(origin, work.holds[0].sentence),
                reason=work.holds[0].reason,
                still_counts=not silent,
            )
        else:
            ledger.silence(db, name, origin)

    def doubt(self, works: Sequence[Work]) -> None:
        """Leave works alone of which the outcome is unclear, until it can be told."""
        with self.engine.begin() as db:
            for work in works:
                if work.wait_until is not None:
                    rows = ledger.rows(db, self.connection.name, [cost.origin_id for cost in work.todo])
                    open_ones = [
                        cost.origin_id
                        for cost in work.todo
                        if not _is_confirmed(rows.get(cost.origin_id), cost)
                    ]
                    ledger.doubt(db, self.connection.name, open_ones, not_before=work.wait_until)
            self._tell(
                db,
                [
                    audit.Entry("unknown", work.entity, work.qbo_id, {"look again": work.wait_until})
                    for work in works
                ],
            )

    def _tell(self, db: Database, entries: Sequence[audit.Entry]) -> None:
        audit.append(db, self.connection.name, entries, run_id=self.run_id, actor="ml-connector")


def _to_silence(work: Work, progress: Progress) -> list[DirectCost]:
    ours = [cost for cost in work.wanted if not _is_typed(work, cost)]
    return [cost for cost in ours if not work.is_locked or cost.origin_id in progress.touched]


def _may_count(work: Work, cost: DirectCost, progress: Progress) -> bool:
    if progress.id_of(work, cost) is None or cost.origin_id in progress.drafts:
        return False
    row = work.known.get(cost.origin_id)
    # A header that was sent in this run and is no draft; or one of which no run can say that it is a draft.
    return cost.origin_id in progress.header_ids or row is None or row.state in COUNTING or work.is_live(cost)


def _refused(work: Work) -> audit.Entry:
    hold = work.holds[0]
    return audit.Entry("refused", work.entity, work.qbo_id, {"text": hold.sentence, "reason": hold.reason})


def _is_typed(work: Work, cost: DirectCost) -> bool:
    """Whether the record is a person's, linked by this run or by an earlier one."""
    typed = is_theirs(work.known.get(cost.origin_id)) and cost.origin_id not in work.rewrite
    return cost.origin_id in work.links or typed


def _is_confirmed(row: Row[Any] | None, cost: DirectCost) -> bool:
    return row is not None and row.state == Fate.CONFIRMED and bytes(row.confirmed_hash) == cost.body_hash
