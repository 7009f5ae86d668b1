"""Records that their origin id locks: unlocked by taking it off, changed, and linked again; else a task for a person.

Source of the way around: procore-api 11. A refusal of that kind is never repeated by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Row

from ml_connector.crashpoints import crashpoint
from ml_connector.money import ZERO
from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.sync_rows import RowSync, headers_path
from ml_connector.posting.procore_names import Names
from ml_connector.posting.targets import DirectCost
from ml_connector.procore.client import Accepted, Outcome, Refused
from ml_connector.settings import Connection
from ml_connector.store import audit

GONE = "gone"  # what the hold of a record that should go is about


@dataclass
class Unlocking:
    """Takes origin ids off direct costs, and says what cannot be unlocked."""

    connection: Connection
    engine: Engine
    rows: RowSync
    run_id: str

    def unlock(self, project: str, locked: Sequence[tuple[Work, int]]) -> set[int]:
        """Those of the records (work, Procore id) that may be changed now; their next header links them again."""
        if not locked:
            return set()
        updates = [(work, None, {"id": there, "origin_id": None}) for work, there in locked]
        outcomes = self.rows.send(headers_path(project), updates, key="id")
        crashpoint("K14")
        freed = {there for _, there in locked if isinstance(outcomes.get(str(there)), Accepted)}
        told = [
            audit.Entry("unlocked", work.entity, work.qbo_id, {"procore_id": there, "project": project})
            for work, there in locked
            if there in freed
        ]
        with self.engine.begin() as db:
            audit.append(db, self.connection.name, told, run_id=self.run_id, actor="ml-connector")
        return freed

    def hold_cost(self, work: Work, cost: DirectCost, outcome: Outcome | None) -> None:
        """Hold a work whose direct cost cannot be changed to `cost`."""
        row = work.known.get(cost.origin_id)
        counts = row.amount if row is not None and work.is_live(cost) else ZERO
        sentence = self._sentence(work, cost.project_id, cost.number, counts, cost.amount, outcome)
        work.refused.setdefault(cost.origin_id, sentence)
        work.lock(
            sentence, f"direct cost {row.procore_id if row is not None else cost.origin_id}", cost.about
        )

    def hold_row(self, work: Work, row: Row[Any], outcome: Outcome | None) -> None:
        """Hold a work whose direct cost of the ledger's `row` should go and cannot."""
        sentence = self._sentence(work, row.project_id, row.number, row.amount, ZERO, outcome)
        work.refused.setdefault(row.origin_id, sentence)
        work.lock(sentence, f"direct cost {row.procore_id}", GONE)

    def _sentence(
        self,
        work: Work,
        project_id: str,
        number: str,
        counts: Decimal,
        wanted: Decimal,
        outcome: Outcome | None,
    ) -> str:
        where = Names(self.connection, self.engine).project(project_id)
        said = f" ({outcome.text})" if isinstance(outcome, Refused) else ""
        difference = wanted - counts
        adjusting = (
            f"enter an adjusting direct cost of {difference:+.2f} there as {number}-ADJ and decide keep_theirs"
            if difference
            else "make the change there and decide keep_theirs"
        )
        return (
            f"{work.words}: its direct cost {number} on {where} is locked in Procore{said}. It counts {counts:.2f}, and the "
            f"bill has {wanted:.2f} there now. Unlock it in Procore and replay; or {adjusting}."
        )
