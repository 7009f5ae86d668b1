"""Bills that are posted although the budget of a project has no line for their code: a warning each (S23)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from ml_connector.errors import OutcomeUnknown, TransientError
from ml_connector.holds import Reason
from ml_connector.posting.bill_work import Work
from ml_connector.posting.planning import PlannedBill
from ml_connector.posting.procore_names import Names
from ml_connector.procore.budgets import BUDGETS, budget_of, refresh_budget
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.models import Budget
from ml_connector.settings import Connection
from ml_connector.store import catalog

LATELY = timedelta(hours=1)  # for a warning a list of the last hour will do


@dataclass
class BudgetWarnings:
    """Looks at the budgets of projects during one run; one that was read lately is not read again."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    now: Callable[[], datetime]
    _unanswered: Budget | None = None  # once Procore does not answer, no other budget is asked for

    def check(self, cases: Sequence[tuple[PlannedBill, Work]]) -> None:
        """Warn of what is to be written to a code without a budget line.

        A project whose budget has no line at all keeps its budget elsewhere: of that nothing is told.
        """
        if self.connection.policies.budget_line_missing != "warn":
            return
        codes = [(work, _codes(bill)) for bill, work in cases if work.open and work.differs]
        names = Names(self.connection, self.engine)
        wanted: dict[str, set[int]] = {}
        for _, used in codes:
            for project, wbs_code_id in used:
                wanted.setdefault(project, set()).add(wbs_code_id)
        budgets = {project: self._budget(project, mine) for project, mine in wanted.items()}
        told: set[str] = set()
        for work, used in codes:
            for (project, wbs_code_id), pair in used.items():
                budget = budgets[project]
                if budget.unreadable and project not in told:
                    told.add(project)
                    text = (
                        f"Procore does not show the budget of {names.project(project)} ({budget.unreadable}), so bills go "
                        "without a look at it. Give the service account the Budget tool of that project."
                    )
                    work.warnings.append((Reason.PERMISSION, text))
                elif budget.codes and wbs_code_id not in budget.codes:
                    text = (
                        f"{work.words}: the budget of {names.project(project)} has no line for {pair}, so that the cost "
                        "shows as unbudgeted. Add a line there, or correct the rule."
                    )
                    work.warnings.append((Reason.NO_BUDGET_LINE, text))

    def _budget(self, project: str, wanted: Collection[int]) -> Budget:
        """The budget as it was read lately, or ever where that has a line for all that is wanted."""
        with self.engine.connect() as db:
            stored = catalog.stored(db, self.connection.name, BUDGETS, project)
        if stored is not None:
            budget, read_at = budget_of(stored[0]), stored[1]
            if budget.codes.issuperset(wanted) or self.now() - read_at < LATELY:
                return budget
        if self._unanswered is None:
            try:
                return refresh_budget(self.engine, self.connection, self.client, project)
            except (OutcomeUnknown, TransientError) as error:
                self._unanswered = Budget(frozenset(), str(error))
        return self._unanswered


def _codes(bill: PlannedBill) -> dict[tuple[str, int], str]:
    """What a bill is posted to: `03-3000 / M` by project and budget code."""
    return {
        (line.project_id, line.wbs_code_id): f"{line.cost_code} / {line.cost_type}"
        for line in bill.lines
        if line.outcome == "posted" and line.wbs_code_id is not None
    }
