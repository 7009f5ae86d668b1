"""Direct costs whose bill is gone or has left their project: to draft, their number marked so that it is free again.

Where Procore does not take that, the record is deleted; where that is refused, too, a person must see to it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.posting.bill_work import Work, is_unlinked
from ml_connector.posting.direct_costs.sync_rows import (
    FORBIDDEN,
    RowSync,
    Sent,
    by_project,
    headers_path,
    is_gone,
    is_lock,
    words_of,
)
from ml_connector.posting.direct_costs.unlocking import Unlocking
from ml_connector.posting.targets import cut, payment_date_of, void_number
from ml_connector.procore.client import Accepted, Missing, Outcome, ProcoreClient, Refused
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger
from ml_connector.store.ledger import Fate

NO_EFFECT = hashlib.sha256(b"no effect").digest()  # stands for the body of a record that should go
NOTE = "Without effect: in QuickBooks its bill was deleted, voided, or moved away from this project."

Gone = tuple[Work, Row[Any]]


@dataclass
class TakingBack:
    """Takes direct costs back for one run."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    rows: RowSync
    unlocking: Unlocking
    run_id: str

    def take_back(self, works: Sequence[Work]) -> None:
        """Let what the works have no more lose its effect; works say what went wrong."""
        gone = [(work, row) for work in works for row in work.surplus]
        removed: set[str] = set()
        for project, group in by_project(gone, _project_of):
            there = {row.origin_id: self._look_up(work, row) for work, row in group}
            outcomes = self._send(project, [pair for pair in group if there[pair[1].origin_id]], there)
            crashpoint("K7")
            removed |= self._settle(group, there, outcomes)
            crashpoint("K8")
        self._note_rest([(work, row) for work, row in gone if row.origin_id not in removed])

    def _send(
        self, project: str, group: Sequence[Gone], there: Mapping[str, int | None]
    ) -> dict[str, Outcome]:
        """Outcomes by Procore id; one that was deleted instead counts as accepted."""
        if self.connection.policies.gone_direct_cost == "delete":
            return {str(there[row.origin_id]): self._delete(work, row, there) for work, row in group}
        outcomes = self.rows.send(headers_path(project), self._drafts(group, there), key="id")
        locked = [
            (work, row)
            for work, row in group
            if is_lock(outcomes.get(str(there[row.origin_id]))) and not is_unlinked(row)
        ]
        freed = self.unlocking.unlock(
            project, [(work, known) for work, row in locked if (known := there[row.origin_id]) is not None]
        )
        again = [(work, row) for work, row in locked if there[row.origin_id] in freed]
        outcomes |= self.rows.send(headers_path(project), self._drafts(again, there, relink=True), key="id")
        for work, row in group:
            key = str(there[row.origin_id])
            if isinstance(outcomes.get(key), Refused) and not is_gone(outcomes[key]):
                outcomes[key] = self._delete(work, row, there, refused=outcomes[key])
        return outcomes

    def _drafts(
        self, group: Sequence[Gone], there: Mapping[str, int | None], *, relink: bool = False
    ) -> list[Sent]:
        dated = self._dated(group)
        return [
            (
                work,
                None,
                {
                    "id": there[row.origin_id],
                    **({"origin_id": row.origin_id} if relink else {}),
                    "status": "draft",
                    **({"payment_date": None} if row.origin_id in dated else {}),
                    "invoice_number": void_number(row.number, row.qbo_id),
                    "description": cut(f"{NOTE}\n{row.wanted['header'].get('description') or ''}".strip()),
                },
            )
            for work, row in group
        ]

    def _dated(self, group: Sequence[Gone]) -> set[str]:
        """Origin ids of those that have, or may have, a payment date: a purchase's is in its own body."""
        paid = {row.origin_id for _, row in group if row.wanted["header"].get("payment_date")}
        keys = {payment_date_of(row.origin_id): row.origin_id for _, row in group}
        with self.engine.connect() as db:
            rows = ledger.rows(db, self.connection.name, list(keys))
        return paid | {
            keys[key]
            for key, row in rows.items()
            if row.state != Fate.REMOVED and row.wanted["payment_date"] is not None
        }

    def _delete(
        self, work: Work, row: Row[Any], there: Mapping[str, int | None], *, refused: Outcome | None = None
    ) -> Outcome:
        """Accepted when it is gone; what was refused before, or now, when it stays."""
        known = there[row.origin_id]
        path = f"/rest/v1.1/projects/{row.project_id}/direct_costs/{known}"
        outcome = self._delete_once(work, path)
        locked = is_lock(outcome) and not is_unlinked(row)
        if known is not None and locked and self.unlocking.unlock(row.project_id, [(work, known)]):
            outcome = self._delete_once(work, path)
        return outcome if refused is None or not isinstance(outcome, Refused) else refused

    def _delete_once(self, work: Work, path: str) -> Outcome:
        try:
            self.client.delete(path)
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self.rows.again(error))
            return Missing()
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            if error.status != 404:
                if error.status in FORBIDDEN:
                    work.forbid(words_of(error), path)
                return Refused(words_of(error), {})
        return Accepted({})

    def _settle(
        self, group: Sequence[Gone], there: Mapping[str, int | None], outcomes: Mapping[str, Outcome]
    ) -> set[str]:
        """Returns the origin ids of those that have no effect now."""
        removed, told = set(), []
        for work, row in group:
            outcome = outcomes.get(str(there[row.origin_id]))
            if isinstance(outcome, Accepted) or is_gone(outcome):
                removed.add(row.origin_id)
                told.append(_reversed(work, row))
            elif isinstance(outcome, Refused) and work.wait_until is None:
                self.unlocking.hold_row(work, row, outcome)
            elif outcome is not None:
                work.wait(self.rows.settled_at())
            elif there[row.origin_id] is None and work.open:  # it never came to be
                removed.add(row.origin_id)
        with self.engine.begin() as db:
            for origin in removed:
                ledger.remove(db, self.connection.name, origin)
                ledger.remove(db, self.connection.name, payment_date_of(origin))
            audit.append(db, self.connection.name, told, run_id=self.run_id, actor="ml-connector")
        return removed

    def _note_rest(self, left: Sequence[Gone]) -> None:
        """What still counts: an unclear call is looked at again, a refusal is not repeated by itself."""
        with self.engine.begin() as db:
            for work, row in left:
                if work.wait_until is not None:
                    ledger.doubt(db, self.connection.name, [row.origin_id], not_before=work.wait_until)
                elif work.holds:
                    ledger.refuse(
                        db,
                        self.connection.name,
                        row.origin_id,
                        refused_hash=NO_EFFECT,
                        refusal=work.refused.get(row.origin_id, work.holds[0].sentence),
                        reason=work.holds[0].reason,
                        still_counts=True,
                    )

    def _look_up(self, work: Work, row: Row[Any]) -> int | None:
        """The Procore id of a record that must go; None when it is not there, or when that cannot be told by now."""
        if row.procore_id is not None or row.state not in (Fate.SENDING, Fate.UNKNOWN):
            return None if row.procore_id is None else int(row.procore_id)
        if is_unlinked(row):
            return work.found.get(row.origin_id)  # looked for before anything is written
        path = f"/rest/v1.1/projects/{row.project_id}/direct_costs"
        try:
            found = self.client.rows(path, {"filters[origin_id]": row.origin_id})
        except (OutcomeUnknown, TransientError) as error:
            work.wait(self.rows.again(error))
            return None
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            work.forbid(words_of(error), path)
            return None
        ids = [int(cost["id"]) for cost in found if cost.get("origin_id") == row.origin_id]
        return ids[0] if ids else None


def is_refused(row: Row[Any]) -> bool:
    """Whether Procore refused before to let this record go."""
    return bool(row.state == Fate.REFUSED and bytes(row.refused_hash) == NO_EFFECT)


def _project_of(pair: Gone) -> str:
    return str(pair[1].project_id)


def _reversed(work: Work, row: Row[Any]) -> audit.Entry:
    detail = {"origin_id": row.origin_id, "amount": row.amount, "number": row.number}
    return audit.Entry("reversed", work.entity, work.qbo_id, detail)
