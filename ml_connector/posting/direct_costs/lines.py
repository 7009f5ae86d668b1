"""Lines of direct costs: many in one sync action, and those that an edit took away deleted one by one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.sync_rows import (
    LOCKED,
    SYNC_ROWS,
    RowSync,
    Sent,
    by_project,
    is_lock,
    lines_path,
    project_of_cost,
    words_of,
)
from ml_connector.posting.direct_costs.unlocking import Unlocking
from ml_connector.posting.targets import DirectCost
from ml_connector.procore.client import Accepted, Outcome, ProcoreClient, Refused
from ml_connector.procore.direct_costs import fetch_line_ids
from ml_connector.settings import Connection
from ml_connector.store import ledger


@dataclass
class Progress:
    """What one writing of works has come to: ids of headers and lines, records that are drafts, records it changed."""

    header_ids: dict[str, int] = field(default_factory=dict)
    line_ids: dict[str, dict[str, int]] = field(default_factory=dict)
    drafts: set[str] = field(default_factory=set)  # origin ids of records that surely do not count
    touched: set[str] = field(default_factory=set)
    surplus: dict[str, list[int]] = field(
        default_factory=dict
    )  # ids of lines to be deleted, where they are known

    def id_of(self, work: Work, cost: DirectCost) -> int | None:
        """The Procore id of a record, where it is known."""
        return self.header_ids.get(cost.origin_id) or work.there(cost)


@dataclass
class LineDesk:
    """Writes the lines of direct costs whose headers are in Procore."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    rows: RowSync
    unlocking: Unlocking

    def send(self, works: Sequence[Work], progress: Progress) -> None:
        """Bring the wanted lines to Procore; works say what went wrong."""
        costs = [
            (work, cost) for work in works if work.open for cost in work.todo if not work.is_unlinked(cost)
        ]
        for project, group in by_project(costs, project_of_cost):
            rows: list[Sent] = [
                (work, cost, {**line, "direct_cost_id": progress.id_of(work, cost)})
                for work, cost in group
                for line in cost.lines
            ]
            for first in range(0, len(rows), SYNC_ROWS):
                self._sync(project, rows[first : first + SYNC_ROWS], progress)

    def _sync(self, project: str, rows: Sequence[Sent], progress: Progress) -> None:
        outcomes = self.rows.send(lines_path(project), rows)
        crashpoint("K14")
        outcomes |= self._unlocked(project, rows, outcomes, progress)
        made: dict[str, dict[str, int]] = {}
        for work, cost, line in rows:
            outcome = outcomes.get(line["origin_id"])
            if cost is None or outcome is None:
                continue
            if isinstance(outcome, Accepted):
                made.setdefault(cost.origin_id, {})[line["origin_id"]] = int(outcome.entity["id"])
            elif is_lock(outcome):
                self.unlocking.hold_cost(work, cost, outcome)
            else:
                self.rows.not_accepted(work, cost, outcome, what=f"the line over {line['amount']}: ")
        for origin, ids in made.items():
            progress.line_ids.setdefault(origin, {}).update(ids)
            progress.touched.add(origin)
        with self.engine.begin() as db:
            ledger.found_lines(db, self.connection.name, made)

    def _unlocked(
        self, project: str, rows: Sequence[Sent], outcomes: dict[str, Outcome], progress: Progress
    ) -> dict[str, Outcome]:
        """Outcomes of the lines that were locked, sent again after their record was unlocked."""
        locked = [
            (work, row) for work, _, row in rows if is_lock(outcomes.get(row["origin_id"])) and work.open
        ]
        owners = {int(row["direct_cost_id"]): work for work, row in locked}
        freed = self.unlocking.unlock(project, [(work, there) for there, work in owners.items()])
        again = [sent for sent in rows if freed and sent[2]["direct_cost_id"] in freed]
        return self.rows.send(lines_path(project), again)

    def drop_surplus(self, works: Sequence[Work], progress: Progress) -> None:
        """Delete lines of an earlier version that the bill has no more; there is no sync for it."""
        for work in works:
            for cost in work.todo if work.open else []:
                for line_id in self._surplus(work, cost, progress):
                    self._delete(work, cost, line_id, progress)

    def _surplus(self, work: Work, cost: DirectCost, progress: Progress) -> Iterable[int]:
        if cost.origin_id in progress.surplus:
            return progress.surplus[cost.origin_id]
        row = work.known.get(cost.origin_id)
        ids = {} if row is None or cost.origin_id in work.vanished else row.line_ids
        surplus = {origin: ids[origin] for origin in ids.keys() - set(cost.line_origins)}
        rewritten = cost.origin_id in work.rewrite and cost.origin_id not in work.vanished
        if None not in surplus.values() and not rewritten:
            return [int(line_id) for line_id in surplus.values()]
        # Sent once, and nobody knows whether they came to be; or written over what a person made of it.
        there = self._lines_there(work, cost, progress)
        unwanted = [there_id for there_id, origin in there.items() if origin not in cost.line_origins]
        return unwanted if rewritten else [there_id for there_id in unwanted if there[there_id] in surplus]

    def _lines_there(self, work: Work, cost: DirectCost, progress: Progress) -> dict[int, str]:
        there = progress.id_of(work, cost)
        try:
            return {} if there is None else fetch_line_ids(self.client, cost.project_id, there)
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self.rows.again(error))
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            work.forbid(words_of(error), lines_path(cost.project_id))
        return {}

    def _delete(self, work: Work, cost: DirectCost, line_id: int, progress: Progress) -> None:
        there = progress.id_of(work, cost)
        path = f"/rest/v1.0/projects/{cost.project_id}/direct_costs/{there}/line_items/{line_id}"
        progress.touched.add(cost.origin_id)
        error = self._refusal(work, lambda: self.client.delete(path))
        if error is not None and there is not None and LOCKED in words_of(error).lower():
            # What locks a record that carries no link of ours is another integration's.
            if work.is_unlinked(cost) or not self.unlocking.unlock(cost.project_id, [(work, there)]):
                self.unlocking.hold_cost(work, cost, Refused(words_of(error), {}))
                return
            error = self._refusal(work, lambda: self.client.delete(path))
        if error is not None:
            work.refuse(words_of(error), cost)

    def _refusal(self, work: Work, act: Callable[[], object]) -> PermanentError | None:
        try:
            act()
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self.rows.again(error))
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            return None if error.status == 404 else error  # gone already: a deletion before a crash
        return None
