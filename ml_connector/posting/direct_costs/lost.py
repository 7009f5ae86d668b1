"""Direct costs that went out without an origin id and whose answer was lost: known again by what they say.

The same vendor, number, date and money, made since the intent, and linked to nothing: exactly one is taken over, with none
the record is written, several are held. A list is believed only when it shows a record that is surely there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Row

from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.mapping.decided import last_of
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import Work, is_lost
from ml_connector.posting.direct_costs.sync_rows import words_of
from ml_connector.posting.planning import PlannedBill
from ml_connector.posting.procore_names import Names
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.direct_costs import MOST_NESTED_LINES, CostThere, fetch_changed, fetch_costs
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger
from ml_connector.store.ledger import Kind

OVERLAP = timedelta(minutes=15)  # clocks differ

Case = tuple[PlannedBill, Work]
Lost = tuple[PlannedBill, Work, Row[Any]]


def fitting_costs(
    engine: Engine, connection: Connection, client: ProcoreClient, project: str, rows: Sequence[Row[Any]]
) -> dict[str, list[CostThere]]:
    """What Procore has on the project that may be one of the lost `rows`, by origin id; records in our ledger are none.

    One list. Raises the client's errors, and OutcomeUnknown for a list that leaves out what is there.
    """
    with engine.connect() as db:
        taken = ledger.procore_ids(db, connection.name, Kind.DIRECT_COST, project)
        known = ledger.posted_costs(db, connection.name, days=None, projects=[project])
    control = max(known, key=lambda row: row.sent_at, default=None)
    since = min(row.sent_at for row in (*rows, *([] if control is None else [control])))
    listed = {cost.id: cost for cost in fetch_changed(client, project, since=since - OVERLAP)}
    is_shown = any(row.procore_id in listed for row in known)
    if control is not None and not is_shown and fetch_costs(client, project, {int(control.procore_id)}):
        raise OutcomeUnknown("the list of direct costs leaves out what is there", vendor="procore")
    free = [cost for cost in listed.values() if cost.id not in taken]
    return {row.origin_id: [cost for cost in free if _fits(row, cost)] for row in rows}


@dataclass
class LostCosts:
    """Looks for the lost direct costs of works before these are written; what it finds goes into the ledger at once."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    settled_at: Callable[[], datetime]  # when a call that failed may be tried again

    def check(self, cases: Sequence[Case]) -> None:
        """Take over what is there, or hold the works of which that is not sure. One list a project, for lost ones only."""
        lost: dict[str, list[Lost]] = {}
        for bill, work in cases:
            for row in work.known.values() if work.open else []:
                if is_lost(row):
                    lost.setdefault(row.project_id, []).append((bill, work, row))
        for project, some in lost.items():
            try:
                found = fitting_costs(
                    self.engine, self.connection, self.client, project, [row for _, _, row in some]
                )
            except ReconnectNeeded:
                raise
            except (OutcomeUnknown, TransientError) as error:
                later = error.not_before if isinstance(error, TransientError) else None
                for _, work, _ in some:
                    work.wait(self.settled_at() if later is None else max(self.settled_at(), later))
            except PermanentError as error:
                for _, work, _ in some:
                    work.forbid(words_of(error), f"project {project}")
            else:
                self._settle(some, found)

    def _settle(self, lost: Sequence[Lost], found: Mapping[str, Sequence[CostThere]]) -> None:
        taken: set[int] = set()
        for bill, work, row in lost:
            fits = [cost for cost in found[row.origin_id] if cost.id not in taken]
            if last_of(bill.made, Reason.POSSIBLE_DUPLICATE, _about(fits)) is not None:
                continue  # a person said that it is none of them
            if len(fits) == 1:
                taken.add(fits[0].id)
                self._take_over(work, row, fits[0])
            elif fits:
                work.holds.append(self._hold(work, row, fits))

    def _take_over(self, work: Work, row: Row[Any], there: CostThere) -> None:
        work.found[row.origin_id] = there.id
        detail = {"origin_id": row.origin_id, "procore_id": there.id, "amount": there.total}
        with self.engine.begin() as db:
            ledger.found(db, self.connection.name, {row.origin_id: there.id})
            entry = audit.Entry("found", work.entity, work.qbo_id, detail)
            audit.append(db, self.connection.name, [entry], run_id=self.run_id, actor="ml-connector")

    def _hold(self, work: Work, row: Row[Any], fits: Sequence[CostThere]) -> Hold:
        where = Names(self.connection, self.engine).project(row.project_id)
        ids = ", ".join(str(cost.id) for cost in fits)
        sentence = (
            f"{work.words}: Procore's answer was lost when it was sent, and {where} has {len(fits)} direct costs over "
            f"{fits[0].total:.2f} that may be it (Procore ids {ids}). Delete there what is too much and replay, and the one "
            "that is left is taken over; or decide post_anyway when it is none of them."
        )
        about = _about(fits)
        return Hold(
            Reason.POSSIBLE_DUPLICATE, sentence, f"{Reason.POSSIBLE_DUPLICATE} {about}", ZERO, about=about
        )


def _about(fits: Sequence[CostThere]) -> str:
    return f"direct costs {' '.join(str(cost.id) for cost in fits)}"


def _fits(row: Row[Any], there: CostThere) -> bool:
    header, lines = row.wanted["header"], row.wanted["lines"]
    amounts = [Decimal(line["amount"]) for line in lines]
    return (
        not there.origin_id
        and there.vendor_id == header["vendor_id"]
        and there.number.split() == str(header["invoice_number"] or "").split()
        and str(there.fields.get("direct_cost_date") or "") == header["direct_cost_date"]
        and there.total in (total(amounts), total(amounts[:MOST_NESTED_LINES]))
        and _made_since(row.sent_at - OVERLAP, there)
    )


def _made_since(instant: datetime, there: CostThere) -> bool:
    try:
        return datetime.fromisoformat(str(there.fields.get("created_at"))) >= instant
    except (TypeError, ValueError) as error:
        raise OutcomeUnknown(
            f"a direct cost does not say when it was made ({error})", vendor="procore"
        ) from error
