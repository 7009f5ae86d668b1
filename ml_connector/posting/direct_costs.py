"""Writing direct costs: drafts first, then lines, then the status that counts, all by repeatable sync actions.

A draft has no effect on job cost (procore-api 6), so a crash or a refused line at any place leaves no part of a bill in
Procore's figures. A record is settled only when all its lines are confirmed and `grand_total` equals its share of the bill.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import BadRecord, OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.money import parse_amount
from ml_connector.posting.bill_work import Work
from ml_connector.posting.targets import DirectCost, void_number
from ml_connector.procore.client import Accepted, Outcome, ProcoreClient, Refused
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger
from ml_connector.store.ledger import Confirmed, Fate, Intent, Kind
from ml_connector.transport.call import CallRefused

SYNC_ROWS = 1000
COUNTING = (
    Fate.CONFIRMED,
    Fate.SENDING,
    Fate.UNKNOWN,
)  # states in which a record with a Procore id may count

Entry = TypeVar("Entry")
Sent = tuple[Work, DirectCost | None, Mapping[str, Any]]  # a row of a sync action, and what it belongs to


@dataclass
class DirectCostDesk:
    """Writes direct costs of one connection during one run."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again
    _header_ids: dict[str, int] = field(default_factory=dict)
    _line_ids: dict[str, dict[str, int]] = field(default_factory=dict)
    _drafts: set[str] = field(default_factory=set)  # origin ids of records that surely do not count

    def write(self, works: Sequence[Work]) -> None:
        """Bring Procore to what `works` want; each ends held, waiting, or confirmed in the ledger.

        Calls are made a project at a time with up to 1000 rows each. A refusal or an outage ends only the works
        concerned, which then say so; ReconnectNeeded is raised, since no other work could go on.
        """
        # A number that one bill gives up may be what another one takes.
        for some in ([work for work in works if work.renames], [work for work in works if not work.renames]):
            if some:
                self._write(some)

    def _write(self, works: Sequence[Work]) -> None:
        for kept in (self._header_ids, self._line_ids, self._drafts):
            kept.clear()
        self._intend([(work, cost) for work in works for cost in work.todo])
        crashpoint("K5")
        self._take_back(works)
        self._draft_headers(works)
        self._send_lines(works)
        self._drop_surplus_lines(works)
        self._final_headers(works)
        self._silence([work for work in works if work.holds and work.wait_until is None])
        # A bill with a part in doubt is tried again as a whole, refused parts included.
        self._doubt([work for work in works if work.wait_until is not None])

    def retreat(self, works: Sequence[Work]) -> None:
        """Take the direct costs of bills back to draft: another part of them was refused."""
        if not works:
            return
        for kept in (self._header_ids, self._line_ids, self._drafts):
            kept.clear()
        with self.engine.connect() as db:
            for work in works:
                work.known = ledger.rows(db, self.connection.name, [cost.origin_id for cost in work.wanted])
        self._silence(works)

    # -- intent, and what became of it ------------------------------------------------------------------------------

    def _intend(self, costs: Sequence[tuple[Work, DirectCost]]) -> None:
        intents = [
            Intent(
                origin_id=cost.origin_id,
                kind=Kind.DIRECT_COST,
                entity=work.entity,
                qbo_id=work.qbo_id,
                project_id=cost.project_id,
                landing_number=work.landing_number,
                sync_token=work.sync_token,
                wanted=cost.body,
                wanted_hash=cost.body_hash,
                number=cost.number,
                suffix=cost.suffix,
                line_origins=cost.line_origins,
            )
            for work, cost in costs
        ]
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, intents, run_id=self.run_id)
            self._tell(db, [_sent(intent) for intent in intents])

    def _tell(self, db: Database, entries: Sequence[audit.Entry]) -> None:
        audit.append(db, self.connection.name, entries, run_id=self.run_id, actor="ml-connector")

    def _sync(self, path: str, rows: Sequence[Sent], *, key: str = "origin_id") -> dict[str, Outcome]:
        """Outcomes by `key` as text; rows whose works were told of trouble with the whole call are absent."""
        if not rows:
            return {}
        updates = [row for _, _, row in rows]
        try:
            answer = self.client.sync(path, {}, updates)
        except ReconnectNeeded:
            raise
        except (OutcomeUnknown, TransientError) as error:
            for work, _, _ in rows:
                work.wait(self._again(error))
            return {}
        except PermanentError as error:
            return self._blame(path, rows, error, key=key)
        return answer.settle(updates, key=key)

    def _blame(
        self, path: str, rows: Sequence[Sent], error: PermanentError, *, key: str
    ) -> dict[str, Outcome]:
        """A whole call was refused: find the rows that are to blame by halves, so that the others go through."""
        if error.status in (401, 403, 404):
            for work, _, _ in rows:
                work.forbid(_words_of(error), path)
            return {}
        if len(rows) == 1:
            work, cost, _ = rows[0]
            work.refuse(_words_of(error), cost)
            return {}
        middle = len(rows) // 2
        return {
            **self._sync(path, rows[:middle], key=key),
            **self._sync(path, rows[middle:], key=key),
        }

    def _again(self, error: OutcomeUnknown | TransientError) -> datetime:
        settled = self.settled_at()
        later = error.not_before if isinstance(error, TransientError) else None
        return settled if later is None else max(settled, later)

    def _not_accepted(self, work: Work, cost: DirectCost | None, outcome: Outcome, *, what: str = "") -> None:
        if isinstance(outcome, Refused):
            work.refuse(f"{what}{outcome.text}", cost)
        else:  # in neither list of the answer, or in both
            work.wait(self.settled_at())

    # -- what must go -----------------------------------------------------------------------------------------------

    def _take_back(self, works: Sequence[Work]) -> None:
        """Targets whose bill is gone or has left the project: to draft, their number marked so that it is free again."""
        for project, group in _by([(work, row) for work in works for row in work.surplus], _project_of_row):
            there = {row.origin_id: self._look_up(work, row) for work, row in group}
            updates: list[Sent] = [
                (
                    work,
                    None,
                    {
                        "id": there[row.origin_id],
                        "status": "draft",
                        "invoice_number": void_number(row.number, row.qbo_id),
                    },
                )
                for work, row in group
                if there[row.origin_id] is not None
            ]
            outcomes = self._sync(headers_path(project), updates, key="id")
            with self.engine.begin() as db:
                told = []
                for work, row in group:
                    outcome = outcomes.get(str(there[row.origin_id]))
                    if _is_gone(outcome):
                        ledger.remove(db, self.connection.name, row.origin_id)
                        told.append(_reversed(work, row))
                    elif outcome is not None:
                        self._not_accepted(work, None, outcome)
                    elif there[row.origin_id] is None and work.open:  # it never came to be
                        ledger.remove(db, self.connection.name, row.origin_id)
                self._tell(db, told)

    def _look_up(self, work: Work, row: Row[Any]) -> int | None:
        """The Procore id of a record that must go; None when it is not there, or when that cannot be told by now."""
        if row.procore_id is not None or row.state not in (Fate.SENDING, Fate.UNKNOWN):
            return None if row.procore_id is None else int(row.procore_id)
        path = f"/rest/v1.1/projects/{row.project_id}/direct_costs"
        try:
            found = self.client.rows(path, {"filters[origin_id]": row.origin_id})
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self._again(error))
            return None
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            work.forbid(_words_of(error), path)
            return None
        ids = [int(cost["id"]) for cost in found if cost.get("origin_id") == row.origin_id]
        return ids[0] if ids else None

    # -- headers ----------------------------------------------------------------------------------------------------

    def _draft_headers(self, works: Sequence[Work]) -> None:
        costs = [(work, cost) for work in works if work.open for cost in work.todo if not work.is_live(cost)]
        taken = self._sync_drafts(costs)
        if taken:
            self._intend(taken)
            self._sync_drafts(taken)

    def _sync_drafts(self, costs: Sequence[tuple[Work, DirectCost]]) -> list[tuple[Work, DirectCost]]:
        """Returns those to be sent again under a number of their own."""
        again: list[tuple[Work, DirectCost]] = []
        for project, group in _by(costs, _project_of_cost):
            outcomes = self._sync(
                headers_path(project),
                [(work, cost, {**cost.header, "status": "draft"}) for work, cost in group],
            )
            crashpoint("K7")
            found: dict[str, int] = {}
            for work, cost in group:
                outcome = outcomes.get(cost.origin_id)
                if isinstance(outcome, Accepted):
                    found[cost.origin_id] = self._header_ids[cost.origin_id] = int(outcome.entity["id"])
                    self._drafts.add(cost.origin_id)
                elif isinstance(outcome, Refused) and work.renumber(cost, outcome, self._header_ids):
                    again.append((work, work.newest(cost)))
                elif outcome is not None:
                    self._not_accepted(work, cost, outcome)
            with self.engine.begin() as db:
                ledger.found(db, self.connection.name, found)
        return again

    def _final_headers(self, works: Sequence[Work]) -> None:
        costs = [(work, cost) for work in works if work.open for cost in work.todo]
        for project, group in _by(costs, _project_of_cost):
            self._drafts.difference_update(cost.origin_id for _, cost in group)
            outcomes = self._sync(headers_path(project), [(work, cost, cost.header) for work, cost in group])
            crashpoint("K14")
            confirmed: list[Confirmed] = []
            told: list[audit.Entry] = []
            for work, cost in group:
                outcome = outcomes.get(cost.origin_id)
                if isinstance(outcome, Accepted):
                    if self._is_whole(work, cost, outcome.entity):
                        confirmed.append(self._confirmed(cost, outcome.entity))
                        told.append(_posted(work, cost, outcome.entity))
                elif outcome is not None:
                    self._not_accepted(work, cost, outcome)
            with self.engine.begin() as db:
                ledger.confirm(db, self.connection.name, confirmed)
                self._tell(db, told)
            crashpoint("K8")

    def _is_whole(self, work: Work, cost: DirectCost, entity: Mapping[str, Any]) -> bool:
        """Whether Procore counts what the bill has; if not, the bill is refused."""
        try:
            there = parse_amount(entity.get("grand_total"), field="grand_total")
        except BadRecord as error:
            work.refuse(f"its answer has no usable total ({error})", cost)
            return False
        if there != cost.amount:
            work.refuse(
                f"it counts {there} where the bill has {cost.amount}: a line there is not of this bill", cost
            )
            return False
        return True

    def _confirmed(self, cost: DirectCost, entity: Mapping[str, Any]) -> Confirmed:
        line_ids = self._line_ids.get(cost.origin_id, {})
        return Confirmed(cost.origin_id, int(entity["id"]), cost.body_hash, cost.amount, line_ids)

    # -- what went wrong --------------------------------------------------------------------------------------------

    def _silence(self, works: Sequence[Work]) -> None:
        """Held after a refusal: whatever of the bill may count in Procore goes to draft, and the refusal is noted."""
        costs = [(work, cost) for work in works for cost in work.wanted]
        for project, group in _by(costs, _project_of_cost):
            loud = {
                cost.origin_id: self._id_of(work, cost) for work, cost in group if self._may_count(work, cost)
            }
            drafts: list[Sent] = [
                (work, None, {"id": loud[cost.origin_id], "status": "draft"})
                for work, cost in group
                if cost.origin_id in loud
            ]
            outcomes = self._sync(headers_path(project), drafts, key="id")
            with self.engine.begin() as db:
                for work, cost in group:
                    silent = cost.origin_id not in loud or isinstance(
                        outcomes.get(str(loud[cost.origin_id])), Accepted
                    )
                    self._note_refusal(db, work, cost, silent=silent)
        with self.engine.begin() as db:
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
                still_counts=not silent,
            )
        else:
            ledger.silence(db, name, origin)

    def _may_count(self, work: Work, cost: DirectCost) -> bool:
        if self._id_of(work, cost) is None or cost.origin_id in self._drafts:
            return False
        row = work.known.get(cost.origin_id)
        # A header that was sent in this run and is no draft; or one of which no run can say that it is a draft.
        return (
            cost.origin_id in self._header_ids or row is None or row.state in COUNTING or work.is_live(cost)
        )

    def _id_of(self, work: Work, cost: DirectCost) -> int | None:
        row = work.known.get(cost.origin_id)
        return self._header_ids.get(cost.origin_id) or (None if row is None else row.procore_id)

    def _doubt(self, works: Sequence[Work]) -> None:
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

    # -- lines ------------------------------------------------------------------------------------------------------

    def _send_lines(self, works: Sequence[Work]) -> None:
        costs = [(work, cost) for work in works if work.open for cost in work.todo]
        for project, group in _by(costs, _project_of_cost):
            rows: list[Sent] = [
                (work, cost, {**line, "direct_cost_id": self._id_of(work, cost)})
                for work, cost in group
                for line in cost.lines
            ]
            for first in range(0, len(rows), SYNC_ROWS):
                self._sync_lines(project, rows[first : first + SYNC_ROWS])

    def _sync_lines(self, project: str, rows: Sequence[Sent]) -> None:
        outcomes = self._sync(lines_path(project), rows)
        crashpoint("K14")
        made: dict[str, dict[str, int]] = {}
        for work, cost, line in rows:
            outcome = outcomes.get(line["origin_id"])
            if cost is not None and isinstance(outcome, Accepted):
                made.setdefault(cost.origin_id, {})[line["origin_id"]] = int(outcome.entity["id"])
            elif outcome is not None:
                self._not_accepted(work, cost, outcome, what=f"the line over {line['amount']}: ")
        for origin, ids in made.items():
            self._line_ids.setdefault(origin, {}).update(ids)
        with self.engine.begin() as db:
            ledger.found_lines(db, self.connection.name, made)

    def _drop_surplus_lines(self, works: Sequence[Work]) -> None:
        """Lines of an earlier version that the bill has no more; deleted one by one, there is no sync for it."""
        for work in works:
            for cost in work.todo if work.open else []:
                row = work.known.get(cost.origin_id)
                ids = {} if row is None else row.line_ids
                surplus = {origin: ids[origin] for origin in ids.keys() - set(cost.line_origins)}
                if None in surplus.values():  # sent once, and nobody knows whether they came to be
                    surplus = self._lines_there(work, cost, surplus)
                for line_id in surplus.values():
                    self._delete_line(work, cost, int(line_id))

    def _lines_there(self, work: Work, cost: DirectCost, origins: Iterable[str]) -> dict[str, int]:
        try:
            lines = self.client.rows(self._lines_of(work, cost))
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self._again(error))
            return {}
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            work.forbid(_words_of(error), self._lines_of(work, cost))
            return {}
        wanted = set(origins)
        return {line["origin_id"]: int(line["id"]) for line in lines if line.get("origin_id") in wanted}

    def _lines_of(self, work: Work, cost: DirectCost) -> str:
        return f"/rest/v1.0/projects/{cost.project_id}/direct_costs/{self._id_of(work, cost)}/line_items"

    def _delete_line(self, work: Work, cost: DirectCost, line_id: int) -> None:
        try:
            self.client.delete(f"{self._lines_of(work, cost)}/{line_id}")
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self._again(error))
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            if error.status != 404:  # gone already: a deletion before a crash
                work.refuse(_words_of(error), cost)


def headers_path(project: str) -> str:
    """The sync action for direct costs of a project."""
    return f"/rest/v1.0/projects/{project}/direct_costs/sync"


def lines_path(project: str) -> str:
    """The sync action for lines of direct costs of a project."""
    return f"/rest/v1.0/projects/{project}/direct_costs/line_items/sync"


def _project_of_cost(pair: tuple[Work, DirectCost]) -> str:
    return pair[1].project_id


def _project_of_row(pair: tuple[Work, Row[Any]]) -> str:
    return str(pair[1].project_id)


def _by(rows: Iterable[Entry], key: Callable[[Entry], str]) -> Iterator[tuple[str, list[Entry]]]:
    groups: dict[str, list[Entry]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    for name, group in groups.items():
        for first in range(0, len(group), SYNC_ROWS):
            yield name, group[first : first + SYNC_ROWS]


def _sent(intent: Intent) -> audit.Entry:
    return audit.Entry(
        "sent",
        intent.entity,
        intent.qbo_id,
        {
            "origin_id": intent.origin_id,
            "body": intent.wanted_hash.hex()[:16],
            "number": intent.number,
            "version": intent.landing_number,
        },
    )


def _posted(work: Work, cost: DirectCost, entity: Mapping[str, Any]) -> audit.Entry:
    detail = {"origin_id": cost.origin_id, "procore_id": entity["id"], "amount": cost.amount}
    return audit.Entry("posted", work.entity, work.qbo_id, detail)


def _reversed(work: Work, row: Row[Any]) -> audit.Entry:
    return audit.Entry(
        "reversed", work.entity, work.qbo_id, {"origin_id": row.origin_id, "amount": row.amount}
    )


def _refused(work: Work) -> audit.Entry:
    hold = work.holds[0]
    return audit.Entry("refused", work.entity, work.qbo_id, {"text": hold.sentence, "reason": hold.reason})


def _words_of(error: PermanentError) -> str:
    """What Procore said, where it said something."""
    return (error.fault.text if isinstance(error, CallRefused) else "") or str(error)


def _is_gone(outcome: Outcome | None) -> bool:
    """Whether the record has no effect now: taken back, or deleted by a person meanwhile."""
    return isinstance(outcome, Accepted) or (isinstance(outcome, Refused) and "id" in outcome.fields)


def _is_confirmed(row: Row[Any] | None, cost: DirectCost) -> bool:
    return row is not None and row.state == Fate.CONFIRMED and bytes(row.confirmed_hash) == cost.body_hash
