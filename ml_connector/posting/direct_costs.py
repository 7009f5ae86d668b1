"""Writing direct costs: drafts first, then lines, then the status that counts, all by repeatable sync actions.

A draft has no effect on job cost (procore-api 6), so a crash or a refused line at any place leaves no part of a bill in
Procore's figures. A record is settled only when all its lines are confirmed and `grand_total` equals its share of the bill.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import BadRecord, OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO, parse_amount
from ml_connector.posting.targets import DirectCost, void_number
from ml_connector.procore.client import Accepted, Outcome, ProcoreClient, Refused
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger
from ml_connector.store.ledger import Intent, Kind

SYNC_ROWS = 1000

Entry = TypeVar("Entry")


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
    known: Mapping[str, Row[Any]]  # ledger rows of the wanted ones, by origin id
    holds: list[Hold] = field(default_factory=list)
    wait_until: datetime | None = None

    @property
    def open(self) -> bool:
        """Whether nothing has gone wrong so far."""
        return not self.holds and self.wait_until is None

    def refuse(self, text: str) -> None:
        """Hold the whole bill: Procore said no to a part of it."""
        if any(hold.reason is Reason.REFUSED for hold in self.holds):
            return
        sentence = f"{self.words}: Procore refused it: {text}. Correct it in QBO, or in Procore and replay."
        self.holds.append(Hold(Reason.REFUSED, sentence, f"REFUSED {text}"[:200], ZERO))

    def forbid(self, text: str, path: str) -> None:
        """Hold the whole bill: we may not write there."""
        if not self.holds:
            sentence = (
                f"{self.words}: Procore does not let ml-connector write there ({text}). Give the service account "
                "the project and its Direct Costs tool, then replay."
            )
            self.holds.append(Hold(Reason.PERMISSION, sentence, f"PERMISSION {path}", ZERO))

    def wait(self, until: datetime) -> None:
        """The outcome of a part is unknown: leave the bill alone until then."""
        self.wait_until = until if self.wait_until is None else max(self.wait_until, until)

    def is_live(self, cost: DirectCost) -> bool:
        """Whether an earlier version of this target counts in Procore."""
        row = self.known.get(cost.origin_id)
        return row is not None and row.confirmed_hash is not None

    def newest(self, cost: DirectCost) -> DirectCost:
        """The target of `cost` as it is wanted now."""
        return next(entry for entry in self.wanted if entry.origin_id == cost.origin_id)

    def renumber(self, cost: DirectCost, fields: Collection[str]) -> bool:
        """Where numbers are unique over the company, a bill's second record carries `-2` and keeps it for good.

        Returns whether the refusal was about the number and another one is worth a try.
        """
        place = [entry.origin_id for entry in self.wanted].index(cost.origin_id)
        number, suffix = str(cost.header["invoice_number"]), f"-{place + 1}"
        if "invoice_number" not in fields or place == 0 or number.endswith(suffix):
            return False
        self.wanted[place] = cost.numbered(number + suffix)
        return True


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

    def write(self, works: Sequence[Work]) -> None:
        """Bring Procore to what `works` want; each ends held, waiting, or confirmed in the ledger.

        Calls are made a project at a time with up to 1000 rows each. A refusal or an outage ends only the works
        concerned, which then say so; ReconnectNeeded is raised, since no other work could go on.
        """
        self._header_ids.clear()
        self._line_ids.clear()
        self._intend([(work, cost) for work in works for cost in work.wanted])
        crashpoint("K5")
        self._take_back(works)
        self._draft_headers(works)
        self._send_lines(works)
        self._drop_surplus_lines(works)
        self._final_headers(works)
        self._silence([work for work in works if work.holds])
        self._doubt([work for work in works if work.wait_until is not None and not work.holds])

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
                number=cost.header["invoice_number"],
            )
            for work, cost in costs
        ]
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, intents, run_id=self.run_id)
            self._tell(
                db,
                [
                    audit.Entry(
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
                    for intent in intents
                ],
            )

    def _tell(self, db: Database, entries: Sequence[audit.Entry]) -> None:
        audit.append(db, self.connection.name, entries, run_id=self.run_id, actor="ml-connector")

    def _sync(self, path: str, rows: Sequence[tuple[Work, Mapping[str, Any]]]) -> dict[str, Outcome]:
        """Outcomes by origin id; rows whose works were told of trouble with the whole call are absent."""
        if not rows:
            return {}
        try:
            answer = self.client.sync(path, {}, [row for _, row in rows])
        except ReconnectNeeded:
            raise
        except (OutcomeUnknown, TransientError) as error:
            for work, _ in rows:
                work.wait(self._again(error))
            return {}
        except PermanentError as error:
            return self._blame(path, rows, error)
        return answer.settle([row for _, row in rows])

    def _blame(
        self, path: str, rows: Sequence[tuple[Work, Mapping[str, Any]]], error: PermanentError
    ) -> dict[str, Outcome]:
        """A whole call was refused: find the rows that are to blame by halves, so that the others go through."""
        if error.status in (401, 403, 404):
            for work, _ in rows:
                work.forbid(str(error), path)
            return {}
        if len(rows) == 1:
            rows[0][0].refuse(error.body[:300] or str(error))
            return {}
        middle = len(rows) // 2
        return {**self._sync(path, rows[:middle]), **self._sync(path, rows[middle:])}

    def _again(self, error: OutcomeUnknown | TransientError) -> datetime:
        settled = self.settled_at()
        later = error.not_before if isinstance(error, TransientError) else None
        return settled if later is None else max(settled, later)

    def _not_accepted(self, work: Work, outcome: Outcome) -> None:
        if isinstance(outcome, Refused):
            work.refuse(outcome.text)
        else:  # in neither list of the answer
            work.wait(self.settled_at())

    # -- headers ----------------------------------------------------------------------------------------------------

    def _take_back(self, works: Sequence[Work]) -> None:
        """Targets whose bill is gone or has left the project: to draft, their number marked so that it is free again."""
        for project, group in _by([(work, row) for work in works for row in work.surplus], _project_of_row):
            updates = [
                (work, {"id": row.procore_id, "status": "draft", "invoice_number": void_number(row.number, row.qbo_id)})
                for work, row in group
            ]
            outcomes = self._sync_by_id(headers_path(project), updates)
            with self.engine.begin() as db:
                told = []
                for work, row in group:
                    outcome = outcomes.get(row.procore_id)
                    if isinstance(outcome, Accepted):
                        ledger.remove(db, self.connection.name, row.origin_id)
                        told.append(
                            audit.Entry(
                                "reversed",
                                work.entity,
                                work.qbo_id,
                                {"origin_id": row.origin_id, "amount": row.amount},
                            )
                        )
                    elif outcome is not None:
                        self._not_accepted(work, outcome)
                self._tell(db, told)

    def _draft_headers(self, works: Sequence[Work]) -> None:
        costs = [(work, cost) for work in works if work.open for cost in work.wanted if not work.is_live(cost)]
        taken = self._sync_drafts(costs)
        if taken:
            self._intend(taken)
            self._sync_drafts(taken)

    def _sync_drafts(self, costs: Sequence[tuple[Work, DirectCost]]) -> list[tuple[Work, DirectCost]]:
        """Returns those to be sent again under a number of their own."""
        again: list[tuple[Work, DirectCost]] = []
        for project, group in _by(costs, _project_of_cost):
            rows = [(work, {**cost.header, "status": "draft"}) for work, cost in group]
            outcomes = self._sync(headers_path(project), rows)
            crashpoint("K7")
            with self.engine.begin() as db:
                for work, cost in group:
                    outcome = outcomes.get(cost.origin_id)
                    if isinstance(outcome, Accepted):
                        self._header_ids[cost.origin_id] = int(outcome.entity["id"])
                        ledger.found(db, self.connection.name, cost.origin_id, int(outcome.entity["id"]))
                    elif isinstance(outcome, Refused) and work.renumber(cost, outcome.fields):
                        again.append((work, work.newest(cost)))
                    elif outcome is not None:
                        self._not_accepted(work, outcome)
        return again

    def _final_headers(self, works: Sequence[Work]) -> None:
        costs = [(work, cost) for work in works if work.open for cost in work.wanted]
        for project, group in _by(costs, _project_of_cost):
            outcomes = self._sync(headers_path(project), [(work, cost.header) for work, cost in group])
            crashpoint("K14")
            with self.engine.begin() as db:
                told: list[audit.Entry] = []
                for work, cost in group:
                    outcome = outcomes.get(cost.origin_id)
                    if isinstance(outcome, Accepted):
                        told.extend(self._close(db, work, cost, outcome.entity))
                    elif outcome is not None:
                        self._not_accepted(work, outcome)
                self._tell(db, told)
            crashpoint("K8")

    def _close(self, db: Database, work: Work, cost: DirectCost, entity: Mapping[str, Any]) -> list[audit.Entry]:
        try:
            there = parse_amount(entity.get("grand_total"), field="grand_total")
        except BadRecord as error:
            work.refuse(f"its answer has no usable total ({error})")
            return []
        if there != cost.amount:
            work.refuse(f"it counts {there} where the bill has {cost.amount}: a line there is not of this bill")
            return []
        ledger.confirm(
            db,
            self.connection.name,
            cost.origin_id,
            procore_id=int(entity["id"]),
            confirmed_hash=cost.body_hash,
            amount=cost.amount,
            line_ids=self._line_ids.get(cost.origin_id, {}),
        )
        detail = {"origin_id": cost.origin_id, "procore_id": entity["id"], "amount": cost.amount}
        return [audit.Entry("posted", work.entity, work.qbo_id, detail)]

    def _silence(self, works: Sequence[Work]) -> None:
        """Held after a refusal: whatever of the bill may count in Procore goes to draft, and the refusal is noted."""
        costs = [(work, cost) for work in works for cost in work.wanted]
        for project, group in _by(costs, _project_of_cost):
            counting = [
                (work, cost) for work, cost in group if work.is_live(cost) or self._confirmed(cost.origin_id)
            ]
            quiet = self._sync_by_id(
                headers_path(project),
                [(work, {"id": self._id_of(work, cost), "status": "draft"}) for work, cost in counting],
            )
            with self.engine.begin() as db:
                for work, cost in group:
                    loud = (work, cost) in counting and not isinstance(quiet.get(self._id_of(work, cost)), Accepted)
                    ledger.refuse(
                        db,
                        self.connection.name,
                        cost.origin_id,
                        refused_hash=cost.body_hash,
                        refusal=work.holds[0].sentence,
                        still_counts=loud,
                    )
        with self.engine.begin() as db:
            self._tell(
                db,
                [
                    audit.Entry("refused", work.entity, work.qbo_id, {"text": hold.sentence, "reason": hold.reason})
                    for work in works
                    for hold in work.holds
                ],
            )

    def _confirmed(self, origin_id: str) -> bool:
        with self.engine.connect() as db:
            row = ledger.rows(db, self.connection.name, [origin_id]).get(origin_id)
        return row is not None and row.confirmed_hash is not None

    def _id_of(self, work: Work, cost: DirectCost) -> int | None:
        row = work.known.get(cost.origin_id)
        return self._header_ids.get(cost.origin_id) or (None if row is None else row.procore_id)

    def _sync_by_id(self, path: str, rows: Sequence[tuple[Work, Mapping[str, Any]]]) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        for first in range(0, len(rows), SYNC_ROWS):
            updates = [row for _, row in rows[first : first + SYNC_ROWS]]
            try:
                answer = self.client.sync(path, {}, updates)
            except (OutcomeUnknown, TransientError) as error:
                for work, _ in rows[first : first + SYNC_ROWS]:
                    work.wait(self._again(error))
            except PermanentError as error:
                if isinstance(error, ReconnectNeeded):
                    raise
                for work, _ in rows[first : first + SYNC_ROWS]:
                    work.refuse(error.body[:300] or str(error))
            else:
                outcomes.update({int(name): outcome for name, outcome in answer.settle(updates, key="id").items()})
        return outcomes

    def _doubt(self, works: Sequence[Work]) -> None:
        with self.engine.begin() as db:
            for work in works:
                if work.wait_until is not None:
                    origins = [cost.origin_id for cost in work.wanted if not self._is_done(db, cost)]
                    ledger.doubt(db, self.connection.name, origins, not_before=work.wait_until)
            self._tell(
                db,
                [
                    audit.Entry("unknown", work.entity, work.qbo_id, {"look again": work.wait_until})
                    for work in works
                ],
            )

    def _is_done(self, db: Database, cost: DirectCost) -> bool:
        row = ledger.rows(db, self.connection.name, [cost.origin_id]).get(cost.origin_id)
        return row is not None and row.state == ledger.Fate.CONFIRMED and bytes(row.confirmed_hash) == cost.body_hash

    # -- lines ------------------------------------------------------------------------------------------------------

    def _send_lines(self, works: Sequence[Work]) -> None:
        costs = [(work, cost) for work in works if work.open for cost in work.wanted]
        for project, group in _by(costs, _project_of_cost):
            for batch in _batches(group):
                self._sync_lines(project, batch)

    def _sync_lines(self, project: str, batch: Sequence[tuple[Work, DirectCost]]) -> None:
        rows = [
            (work, {**line, "direct_cost_id": self._id_of(work, cost)}) for work, cost in batch for line in cost.lines
        ]
        outcomes = self._sync(lines_path(project), rows)
        crashpoint("K14")
        with self.engine.begin() as db:
            for work, cost in batch:
                ids: dict[str, int] = {}
                for line in cost.lines:
                    outcome = outcomes.get(line["origin_id"])
                    if isinstance(outcome, Accepted):
                        ids[line["origin_id"]] = int(outcome.entity["id"])
                    elif outcome is not None:
                        self._not_accepted(work, outcome)
                self._line_ids[cost.origin_id] = ids
                ledger.found_lines(db, self.connection.name, cost.origin_id, ids)

    def _drop_surplus_lines(self, works: Sequence[Work]) -> None:
        """Lines of an earlier version that the bill has no more; deleted one by one, there is no sync for it."""
        for work in works:
            for cost in work.wanted if work.open else []:
                row = work.known.get(cost.origin_id)
                wanted = {line["origin_id"] for line in cost.lines}
                surplus = {} if row is None else {k: v for k, v in row.line_ids.items() if k not in wanted}
                for line_id in surplus.values():
                    self._delete_line(work, cost, int(line_id))

    def _delete_line(self, work: Work, cost: DirectCost, line_id: int) -> None:
        header = self._id_of(work, cost)
        path = f"/rest/v1.0/projects/{cost.project_id}/direct_costs/{header}/line_items/{line_id}"
        try:
            self.client.delete(path)
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self._again(error))
        except PermanentError as error:
            if isinstance(error, ReconnectNeeded):
                raise
            if error.status != 404:  # gone already: a deletion before a crash
                work.refuse(error.body[:300] or str(error))


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


def _batches(group: Sequence[tuple[Work, DirectCost]]) -> Iterator[list[tuple[Work, DirectCost]]]:
    """Direct costs whose lines together fit one call; one with more lines than that goes in a call of its own."""
    batch: list[tuple[Work, DirectCost]] = []
    size = 0
    for work, cost in group:
        if batch and size + len(cost.lines) > SYNC_ROWS:
            yield batch
            batch, size = [], 0
        batch.append((work, cost))
        size += len(cost.lines)
    if batch:
        yield batch
