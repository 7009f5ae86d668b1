"""Unclear writes of records that mapping holds by now: nothing of them is planned, but what came to be counts.

A bill may be changed to one that waits while a write of it is on its way. Procore is asked what it counts; nothing is
written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Row

from ml_connector.errors import BadRecord, OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.money import ZERO, parse_amount
from ml_connector.posting.bill_work import is_lost
from ml_connector.posting.direct_costs.lost import fitting_costs
from ml_connector.posting.requisitions.invoices import DRAFT, is_as_sent
from ml_connector.procore.client import ProcoreClient, Raw
from ml_connector.procore.commitments import REQUISITIONS, CommitmentBook, Contract, net_of
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger, records
from ml_connector.store.ledger import Kind
from ml_connector.store.records import Move, State


@dataclass(frozen=True)
class Unclear:
    """Counts what unclear writes of held records came to, during one run."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    now: Callable[[], datetime]

    def count(self, entity: Entity, days: Sequence[date]) -> dict[date, datetime]:
        """Correct what is posted and held of records of `days`; gives the days of those that cannot be told before when."""
        with self.engine.connect() as db:
            rows = ledger.unclear_of_held(db, self.connection.name, entity, days)
        later: dict[date, datetime] = {}
        for row in rows:
            until = self._count(row)
            if until is not None:
                later[row.day] = max(until, later.get(row.day, until))
        return later

    def _count(self, row: Row[Any]) -> datetime | None:
        settle = timedelta(seconds=self.connection.timing.settle)
        until: datetime = row.not_before or row.sent_at + settle
        if until > self.now():
            return until
        try:
            there = self._there(row)
        except ReconnectNeeded:
            raise
        except (OutcomeUnknown, TransientError, BadRecord):
            return self.now() + settle
        except PermanentError:
            return None  # not to be seen: what was known of it stands
        if there is not None and (row.procore_id, row.amount) != there:
            self._note(row, *there)
        return None

    def _there(self, row: Row[Any]) -> tuple[int, Decimal] | None:
        """Procore's id and what counts of a record; None when it is not there. Raises BadRecord."""
        if is_lost(row):
            return self._lost(row)
        path, params = f"/rest/v1.1/projects/{row.project_id}/direct_costs", dict[str, str]()
        if row.kind == Kind.REQUISITION:
            path, params = REQUISITIONS, {"project_id": str(row.project_id)}
        found = self.client.rows(path, {**params, "filters[origin_id]": row.origin_id})
        ids = [int(entry["id"]) for entry in found if entry.get("origin_id") == row.origin_id]
        known = next(iter(ids), row.procore_id)
        if known is None:
            return None
        record = self.client.get(f"{path}/{known}", params)
        return int(known), ZERO if record.get("status") == DRAFT else _amount(row, record)

    def _lost(self, row: Row[Any]) -> tuple[int, Decimal] | None:
        """As `_there`, of a record that carries no link; none that may be another one. Raises BadRecord for several."""
        if row.kind == Kind.REQUISITION:
            contract = Contract(row.commitment_id, row.project_id, "", "", "", None, "")
            with self.engine.connect() as db:
                taken = ledger.linked(db, self.connection.name, Kind.REQUISITION, row.commitment_id)
            every = CommitmentBook(self.client).requisitions(contract)
            there = [
                (one.id, ZERO if one.status == DRAFT else one.net)
                for one in every
                if one.id not in taken and is_as_sent(row, one)
            ]
        else:
            fits = fitting_costs(self.engine, self.connection, self.client, row.project_id, [row])
            there = [(cost.id, cost.counts) for cost in fits[row.origin_id]]
        if len(there) > 1:
            raise BadRecord(f"{len(there)} records of Procore's may be {row.origin_id}")
        return there[0] if there else None

    def _note(self, row: Row[Any], procore_id: int, amount: Decimal) -> None:
        """The row stays unclear, so that a later plan compares what is there with what it wants."""
        name = self.connection.name
        detail = {"origin_id": row.origin_id, "procore_id": procore_id, "amount": amount}
        with self.engine.begin() as db:
            ledger.counts(db, name, row.origin_id, procore_id=procore_id, amount=amount)
            live = ledger.live_amounts(db, name, row.entity, [row.qbo_id])[row.qbo_id]
            held = row.total - row.excluded - live
            move = Move(row.entity, row.qbo_id, State.HELD, live, held, None, settled=True)
            records.move(db, name, [move], run_id=self.run_id)
            told = [audit.Entry("found", row.entity, row.qbo_id, detail)]
            audit.append(db, name, told, run_id=self.run_id, actor="ml-connector")


def _amount(row: Row[Any], record: Raw) -> Decimal:
    if row.kind == Kind.REQUISITION:
        net = net_of(record)
        if net is None:
            raise BadRecord("an invoice says no current payment due")
        return net
    return parse_amount(record.get("grand_total"), field="grand_total")
