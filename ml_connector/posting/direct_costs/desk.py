"""Writing direct costs: drafts first, then lines, then the status that counts, by repeatable sync actions.

Only a record that is to carry no origin id is made by the plain create call, which see in `unlinked`.

A draft has no effect on job cost (procore-api 6), so a crash or a refused line at any place leaves no part of a bill in
Procore's figures. A record is settled only when all its lines are confirmed and `grand_total` equals its share of the bill.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import BadRecord
from ml_connector.money import parse_amount
from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.differences import content_of, edited
from ml_connector.posting.direct_costs.drift import knows_body
from ml_connector.posting.direct_costs.lines import LineDesk, Progress
from ml_connector.posting.direct_costs.silencing import Silencing
from ml_connector.posting.direct_costs.sync_rows import (
    RowSync,
    Sent,
    by_project,
    headers_path,
    is_gone,
    is_lock,
    project_of_cost,
)
from ml_connector.posting.direct_costs.taking_back import TakingBack
from ml_connector.posting.direct_costs.unlinked import UnlinkedDesk, without_link
from ml_connector.posting.direct_costs.unlocking import Unlocking
from ml_connector.posting.procore_names import Names
from ml_connector.posting.targets import DirectCost
from ml_connector.procore.client import Accepted, Outcome, ProcoreClient, Refused
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger
from ml_connector.store.ledger import Confirmed, Intent, Kind

Pair = tuple[Work, DirectCost]


@dataclass
class DirectCostDesk:
    """Writes direct costs of one connection during one run."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again
    _progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self._rows = RowSync(self.client, self.settled_at)
        self._unlocking = Unlocking(self.connection, self.engine, self._rows, self.run_id)
        self._lines = LineDesk(self.connection, self.engine, self.client, self._rows, self._unlocking)
        self._unlinked = UnlinkedDesk(self.connection, self.engine, self.client, self._rows, self._unlocking)
        self._back = TakingBack(
            self.connection, self.engine, self.client, self._rows, self._unlocking, self.run_id
        )
        self._silencing = Silencing(self.connection, self.engine, self._rows, self.run_id)

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
        self._progress = Progress()
        self._intend([(work, cost) for work in works for cost in work.todo], works)
        crashpoint("K5")
        self._link([work for work in works if work.links])
        self._back.take_back(works)
        self._draft_headers(works)
        self._lines.send(works, self._progress)
        self._unlinked.send_lines(works, self._progress)
        self._lines.drop_surplus(works, self._progress)
        self._final_headers(works)
        self._silencing.silence(
            [work for work in works if work.holds and work.wait_until is None], self._progress
        )
        # A bill with a part in doubt is tried again as a whole, refused parts included.
        self._silencing.doubt([work for work in works if work.wait_until is not None])

    def retreat(self, works: Sequence[Work]) -> None:
        """Take the direct costs of bills back to draft: another part of them was refused."""
        if not works:
            return
        self._progress = Progress()
        with self.engine.connect() as db:
            for work in works:
                work.known = ledger.rows(db, self.connection.name, [cost.origin_id for cost in work.wanted])
        self._silencing.silence(works, self._progress)

    # -- intent, and what became of it ------------------------------------------------------------------------------

    def _intend(self, costs: Sequence[Pair], works: Sequence[Work] = ()) -> None:
        intents = [_intent(work, cost) for work, cost in costs]
        going = [(work, row) for work in works for row in work.surplus]
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, intents, run_id=self.run_id)
            ledger.take_back(
                db, self.connection.name, [row.origin_id for _, row in going], run_id=self.run_id
            )
            told = [_sent(intent) for intent in intents]
            self._tell(db, [*told, *(_taking_back(work, row) for work, row in going)])

    def _link(self, works: Sequence[Work]) -> None:
        """Records that a person typed: linked here alone, since an origin id would lock them for that person."""
        intents, confirmed, told = [], [], []
        for work in works:
            for cost in (cost for cost in work.wanted if cost.origin_id in work.links):
                there = work.links[cost.origin_id]
                intents.append(_intent(work, cost, linked=True))
                confirmed.append(Confirmed(cost.origin_id, there.id, cost.body_hash, there.total))
                detail = {
                    "origin_id": cost.origin_id,
                    "procore_id": there.id,
                    "number": there.number,
                    "amount": there.total,
                }
                told.append(audit.Entry("linked", work.entity, work.qbo_id, detail))
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, intents, run_id=self.run_id)
            ledger.confirm(db, self.connection.name, confirmed)
            self._tell(db, told)

    def _tell(self, db: Database, entries: Sequence[audit.Entry]) -> None:
        audit.append(db, self.connection.name, entries, run_id=self.run_id, actor="ml-connector")

    # -- headers ----------------------------------------------------------------------------------------------------

    def _draft_headers(self, works: Sequence[Work]) -> None:
        costs = [
            (work, cost)
            for work in works
            if work.open
            for cost in work.todo
            if not work.is_live(cost) or cost.origin_id in work.rewrite
        ]
        taken = self._sync_drafts(costs)
        if taken:
            self._intend(taken)
            self._sync_drafts(taken)

    def _sync_drafts(self, costs: Sequence[Pair]) -> list[Pair]:
        """Returns those to be sent again under a number of their own."""
        again: list[Pair] = []
        for project, group in by_project(costs, project_of_cost):
            outcomes = self._send_headers(project, group, status="draft")
            crashpoint("K7")
            found: dict[str, int] = {}
            for work, cost in group:
                outcome = outcomes.get(cost.origin_id)
                if isinstance(outcome, Accepted):
                    found[cost.origin_id] = self._progress.header_ids[cost.origin_id] = int(
                        outcome.entity["id"]
                    )
                    self._progress.drafts.add(cost.origin_id)
                elif isinstance(outcome, Refused) and work.renumber(cost, outcome, self._progress.header_ids):
                    again.append((work, work.newest(cost)))
                elif outcome is not None:
                    self._not_accepted(work, cost, outcome)
            with self.engine.begin() as db:
                ledger.found(db, self.connection.name, found)
        return again

    def _send_headers(
        self, project: str, group: Sequence[Pair], *, status: str | None = None
    ) -> dict[str, Outcome]:
        """Outcomes by origin id. A record whose id is known is written by it, which sets our link again, too."""
        outcomes = self._send_once(project, group, status)
        locked = [
            (work, cost)
            for work, cost in group
            if is_lock(outcomes.get(cost.origin_id)) and not work.is_unlinked(cost)
        ]
        known = [(work, there) for work, cost in locked if (there := self._progress.id_of(work, cost))]
        freed = self._unlocking.unlock(project, known)
        again = [(work, cost) for work, cost in locked if self._progress.id_of(work, cost) in freed]
        for work, cost in group:
            if is_gone(outcomes.get(cost.origin_id)) and not work.is_live(cost):
                work.vanished.add(cost.origin_id)  # a draft that a person threw away
                self._progress.header_ids.pop(cost.origin_id, None)
                again.append((work, cost))
        return outcomes | self._send_once(project, again, status)

    def _send_once(self, project: str, group: Sequence[Pair], status: str | None) -> dict[str, Outcome]:
        """Outcomes by origin id. A record without a link is found by its id; where it has none, it is made as a draft."""
        unlinked = [(work, cost) for work, cost in group if work.is_unlinked(cost)]
        linked = [(work, cost) for work, cost in group if not work.is_unlinked(cost)]
        path = headers_path(project)
        outcomes = self._rows.send(path, [self._header(pair, status) for pair in linked])
        ids = {cost.origin_id: self._progress.id_of(work, cost) for work, cost in unlinked}
        known = [pair for pair in unlinked if ids[pair[1].origin_id] is not None]
        said = self._rows.send(path, [self._header(pair, status) for pair in known], key="id")
        for work, cost in unlinked:
            outcome = said.get(str(ids[cost.origin_id]))
            if ids[cost.origin_id] is None:
                if status is None:  # deleted before it was final: made again when it is looked at again
                    work.wait(self.settled_at())
                else:
                    outcome = self._unlinked.make(work, cost)
            if outcome is not None:
                outcomes[cost.origin_id] = outcome
        return outcomes

    def _header(self, pair: Pair, status: str | None) -> Sent:
        work, cost = pair
        there = self._progress.id_of(work, cost)
        header = without_link(cost.header) if work.is_unlinked(cost) else dict(cost.header)
        if there is not None:
            header = {"id": there, **header}
        return work, cost, header if status is None else {**header, "status": status}

    def _not_accepted(self, work: Work, cost: DirectCost, outcome: Outcome) -> None:
        if is_lock(outcome):
            self._unlocking.hold_cost(work, cost, outcome)
        elif is_gone(outcome) and work.is_live(cost):
            work.wait(self.settled_at())  # deleted in Procore between our look and our write: looked at again
        else:
            self._rows.not_accepted(work, cost, outcome)

    def _final_headers(self, works: Sequence[Work]) -> None:
        costs = [(work, cost) for work in works if work.open for cost in work.todo]
        for project, group in by_project(costs, project_of_cost):
            self._progress.drafts.difference_update(cost.origin_id for _, cost in group)
            outcomes = self._send_headers(project, group)
            crashpoint("K14")
            confirmed: list[Confirmed] = []
            posted: list[tuple[Work, DirectCost, Mapping[str, Any]]] = []
            for work, cost in group:
                outcome = outcomes.get(cost.origin_id)
                if isinstance(outcome, Accepted):
                    if self._is_whole(work, cost, outcome.entity):
                        confirmed.append(self._confirmed(cost, outcome.entity))
                        posted.append((work, cost, outcome.entity))
                elif outcome is not None:
                    self._not_accepted(work, cost, outcome)
            told = self._posted(project, posted)
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
        line_ids = self._progress.line_ids.get(cost.origin_id, {})
        return Confirmed(cost.origin_id, int(entity["id"]), cost.body_hash, cost.amount, line_ids)

    def _posted(
        self, project: str, posted: Sequence[tuple[Work, DirectCost, Mapping[str, Any]]]
    ) -> list[audit.Entry]:
        """What was posted: an edit with its difference line by line, a bill entered again with the one that it replaces."""
        with self.engine.connect() as db:
            taken_back = ledger.taken_back(
                db, self.connection.name, project, {cost.number for _, cost, _ in posted}
            )
        names = Names(self.connection, self.engine)
        told = []
        for work, cost, entity in posted:
            detail: dict[str, Any] = {
                "origin_id": cost.origin_id,
                "procore_id": entity["id"],
                "amount": cost.amount,
            }
            row = work.known.get(cost.origin_id)
            if row is not None and work.is_live(cost) and knows_body(row):
                changes = edited(content_of(row.wanted), content_of(cost.body))
                detail["changes"] = [names.spelled(change, project).detail for change in changes]
            elif replaced := _replaced(taken_back, work, cost):
                detail["replaces"] = replaced
            told.append(audit.Entry("posted", work.entity, work.qbo_id, detail))
        return told


def _intent(work: Work, cost: DirectCost, *, linked: bool = False) -> Intent:
    kept_here = {"unlinked": True} if work.is_unlinked(cost) else {}
    return Intent(
        origin_id=cost.origin_id,
        kind=Kind.DIRECT_COST,
        entity=work.entity,
        qbo_id=work.qbo_id,
        project_id=cost.project_id,
        landing_number=work.landing_number,
        sync_token=work.sync_token,
        wanted={**cost.body, "linked": True} if linked else {**cost.body, **kept_here},
        wanted_hash=cost.body_hash,
        number=cost.number,
        suffix=cost.suffix,
        line_origins=() if linked else cost.line_origins,
    )


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


def _taking_back(work: Work, row: Row[Any]) -> audit.Entry:
    detail = {"origin_id": row.origin_id, "takes_back": row.amount, "version": work.landing_number}
    return audit.Entry("sent", work.entity, work.qbo_id, detail)


def _replaced(taken_back: Sequence[Row[Any]], work: Work, cost: DirectCost) -> str:
    """The bill whose number, vendor and project this one has taken over; "" when there is none."""
    for row in taken_back:
        same = (row.number, row.wanted["header"].get("vendor_id")) == (cost.number, cost.header["vendor_id"])
        if same and row.number and row.entity == work.entity and row.qbo_id != work.qbo_id:
            return f"{row.entity.lower()}:{row.qbo_id}"
    return ""
