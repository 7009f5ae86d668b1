"""Direct costs without an origin id: made by the plain create call, their lines known by the ids that Procore gave them.

The policy `links: ledger_only` asks for them, since an origin id locks a record for people (procore-api 11). The create
call is not repeatable: one record a call, its id noted at once; what was lost on the way is looked up by `lost`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.lines import Progress
from ml_connector.posting.direct_costs.sync_rows import (
    FORBIDDEN,
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
from ml_connector.procore.direct_costs import DRAFT, MOST_NESTED_LINES, CostThere, LineThere, fetch_costs
from ml_connector.settings import Connection
from ml_connector.store import ledger

Pair = tuple[Work, DirectCost]


def without_link(row: Mapping[str, Any]) -> dict[str, Any]:
    """A header or a line as it is sent without our origin id."""
    return {name: value for name, value in row.items() if name != "origin_id"}


@dataclass
class UnlinkedDesk:
    """Makes direct costs whose link is in our ledger alone, and brings their lines."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    rows: RowSync
    unlocking: Unlocking

    def make(self, work: Work, cost: DirectCost) -> Outcome | None:
        """Enter a draft with its first 100 lines; None when the work was told of trouble. Its intent is committed."""
        if cost.origin_id in work.vanished:
            with self.engine.begin() as db:
                ledger.lose(db, self.connection.name, cost.origin_id)
        path = f"/rest/v1.1/projects/{cost.project_id}/direct_costs"
        header = {name: value for name, value in without_link(cost.header).items() if value is not None}
        lines = [_nested(line) for line in cost.lines[:MOST_NESTED_LINES]]
        try:
            answer = self.client.post(path, {"direct_cost": {**header, "status": DRAFT, "line_items": lines}})
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self.rows.again(error))
            return None
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            return self._refused(work, path, error)
        crashpoint("K7")
        made = answer.get("id") if isinstance(answer, Mapping) else None
        if not isinstance(made, int):
            work.wait(self.rows.settled_at())
            return None
        with self.engine.begin() as db:
            ledger.found(db, self.connection.name, {cost.origin_id: made})
        return Accepted(answer)

    def _refused(self, work: Work, path: str, error: PermanentError) -> Outcome | None:
        text = words_of(error)
        if error.status in FORBIDDEN:
            work.forbid(text, path)
            return None
        return Refused(text, {name: [text] for name in ("invoice_number",) if name in text})

    # -- lines ------------------------------------------------------------------------------------------------------

    def send_lines(self, works: Sequence[Work], progress: Progress) -> None:
        """Bring the wanted lines to Procore, beside what is there; lines to be deleted are noted in `progress`."""
        costs = [(work, cost) for work in works if work.open for cost in work.todo if work.is_unlinked(cost)]
        for project, group in by_project(costs, project_of_cost):
            there = self._there(project, group, progress)
            changes: list[Sent] = []
            additions: list[Sent] = []
            for work, cost in group:
                now = there.get(progress.id_of(work, cost) or 0)
                if now is None:
                    work.wait(self.rows.settled_at())
                    continue
                changed, added = _compare(work, cost, now, progress)
                changes += changed
                additions += added
            self._change(project, changes, progress)
            self._add(project, additions, progress)
            ids = {cost.origin_id: progress.line_ids.get(cost.origin_id, {}) for _, cost in group}
            with self.engine.begin() as db:
                ledger.found_lines(db, self.connection.name, ids)

    def _there(self, project: str, group: Sequence[Pair], progress: Progress) -> Mapping[int, CostThere]:
        """The records as Procore has them; {} when it does not tell, and then the works say so."""
        ids = {there for work, cost in group if (there := progress.id_of(work, cost)) is not None}
        try:
            return fetch_costs(self.client, project, ids)
        except (OutcomeUnknown, TransientError) as error:
            for work, _ in group:
                work.wait(self.rows.again(error))
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            for work, _ in group:
                work.forbid(words_of(error), lines_path(project))
        return {}

    def _change(self, project: str, changes: Sequence[Sent], progress: Progress) -> None:
        for first in range(0, len(changes), SYNC_ROWS):
            rows = changes[first : first + SYNC_ROWS]
            outcomes = self.rows.send(lines_path(project), rows, key="id")
            crashpoint("K14")
            for work, cost, row in rows:
                outcome = outcomes.get(str(row["id"]))
                if cost is not None and outcome is not None:
                    self._settle(work, cost, row, outcome, progress)

    def _add(self, project: str, additions: Sequence[Sent], progress: Progress) -> None:
        for work, cost, row in additions:
            if cost is None or not work.open:
                continue
            path = f"/rest/v1.0/projects/{project}/direct_costs/{row['direct_cost_id']}/line_items"
            line = {name: row[name] for name in row if name not in ("origin_id", "direct_cost_id")}
            progress.touched.add(cost.origin_id)
            try:
                answer = self.client.post(path, {"line_item": line})
            except (OutcomeUnknown, TransientError) as error:
                work.wait(self.rows.again(error))
                continue
            except ReconnectNeeded:
                raise
            except PermanentError as error:
                refused = self._refused(work, path, error)
                if refused is not None:
                    self._settle(work, cost, row, refused, progress)
                continue
            crashpoint("K14")
            if isinstance(answer, Mapping) and isinstance(answer.get("id"), int):
                progress.line_ids[cost.origin_id][row["origin_id"]] = answer["id"]
            else:
                work.wait(self.rows.settled_at())

    def _settle(
        self, work: Work, cost: DirectCost, row: Mapping[str, Any], outcome: Outcome, progress: Progress
    ) -> None:
        if isinstance(outcome, Accepted):
            progress.touched.add(cost.origin_id)
        elif is_lock(outcome):
            self.unlocking.hold_cost(work, cost, outcome)
        else:
            self.rows.not_accepted(work, cost, outcome, what=f"the line over {row['amount']}: ")


def _compare(
    work: Work, cost: DirectCost, now: CostThere, progress: Progress
) -> tuple[list[Sent], list[Sent]]:
    """Rows of lines to be changed and of lines to be added; what must go, and what is there, is noted in `progress`."""
    row = None if cost.origin_id in work.vanished else work.known.get(cost.origin_id)
    ids = {} if row is None else row.line_ids
    sent = {} if row is None else {line["origin_id"]: line for line in row.wanted["lines"]}
    left = {line.id: line for line in now.lines}
    here: dict[str, LineThere] = {}
    for origin in cost.line_origins:
        if ids.get(origin) in left:
            here[origin] = left.pop(ids[origin])
    for line in cost.lines:
        if line["origin_id"] not in here:
            match = next((there for there in left.values() if _is_alike(line, there)), None)
            if match is not None:
                here[line["origin_id"]] = left.pop(match.id)
    changes: list[Sent] = []
    additions: list[Sent] = []
    for line in cost.lines:
        origin, there = line["origin_id"], here.get(line["origin_id"])
        if there is None:
            additions.append((work, cost, {**line, "direct_cost_id": now.id}))
        elif not _is_alike(line, there) or (origin in sent and _is_edited(line, sent[origin])):
            changes.append((work, cost, {**without_link(line), "id": there.id, "direct_cost_id": now.id}))
    progress.line_ids[cost.origin_id] = {origin: there.id for origin, there in here.items()}
    # A draft of ours of which no line was ever noted holds nothing else; of lines that were added in doubt nobody knows the
    # id: they are known by what was sent. Any other line is a person's, and the total will say so.
    is_ours = cost.origin_id in work.rewrite or not (work.is_live(cost) or any(ids.values()))
    progress.surplus[cost.origin_id] = [
        there.id
        for there in left.values()
        if is_ours or there.id in ids.values() or any(_is_alike(line, there) for line in sent.values())
    ]
    return changes, additions


def _is_alike(line: Mapping[str, Any], there: LineThere) -> bool:
    same_words = str(line["description"] or "").split() == there.description.split()
    return same_words and line["wbs_code_id"] == there.wbs_code_id and Decimal(line["amount"]) == there.amount


def _is_edited(line: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether quantity or price is another one than was sent; Procore's lists do not tell them."""
    return any(str(line.get(name)) != str(before.get(name)) for name in ("quantity", "unit_cost"))


def _nested(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line inside the create call: quantity times price where Procore comes to the same, else its amount alone."""
    money = {"manual_amount": line["amount"]}
    if line["extended_type"] == "calculated":
        money = {"quantity": line["quantity"], "unit_cost": line["unit_cost"]}
    return {"wbs_code_id": line["wbs_code_id"], "description": line["description"], **money}
