"""Before bills are mapped: the budget codes that they lack are made, and budgets that decide about them are looked at.

Both by policy, and only for what nothing else holds. Making a code again does no harm (procore-api 5): one call a code,
and none for one that could not be made, until something changed in Procore or a person replays.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import OutcomeUnknown, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.mapping.wording import quoted
from ml_connector.procore.budget_codes import (
    Segments,
    absent,
    create_code,
    fetch_segments,
    note_not_made,
)
from ml_connector.procore.budgets import BUDGETS, refresh_budget
from ml_connector.procore.catalog import fetch_codes
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.models import BudgetCode, Pair
from ml_connector.procore.stored_catalog import add_code, load_catalog
from ml_connector.settings import Connection
from ml_connector.store import audit, catalog, windows
from ml_connector.store.records import Decision
from ml_connector.transport.call import CallRefused

MINE = (Reason.CODE_MISSING, Reason.NO_BUDGET_LINE)
Place = tuple[str, str, str]  # project, cost code, cost type


@dataclass
class BudgetCodeDesk:
    """Prepares the budget codes of one run. `again` tries what could not be made before: a replay by a person."""

    connection: Connection
    engine: Engine
    client: Callable[[], ProcoreClient]
    run_id: str
    again: bool
    _segments: dict[str, Segments] = field(default_factory=dict)
    _opened: ProcoreClient | None = None

    @property
    def is_needed(self) -> bool:
        """Whether the policies ask for anything."""
        policies = self.connection.policies
        return policies.budget_code_missing == "create" or policies.budget_line_missing == "hold"

    def prepare(self, decisions: Iterable[Decision]) -> datetime | None:
        """Make what the bills of `decisions` lack, and read the budgets that they ask for.

        Gives the instant to try again when Procore did not answer clearly. Raises VendorAway and ReconnectNeeded.
        """
        lacking: dict[Place, dict[tuple[str, str], Decision]] = {}
        projects: set[str] = set()
        for decision in decisions:
            for hold in self._hopeful(decision):
                if hold.reason is Reason.CODE_MISSING and hold.wants is not None:
                    lacking.setdefault(hold.wants, {})[decision.entity, decision.qbo_id] = decision
                elif hold.wants is not None:
                    projects.add(hold.wants[0])
        later: list[datetime] = []
        with self.engine.connect() as db:
            known = load_catalog(db, self.connection.name).projects
        for place in sorted(lacking):
            project, pair = place[0], place[1:]
            if pair in known[project].not_made and not self.again:
                continue
            try:
                made = self._make(project, pair, list(lacking[place].values()))
            except (OutcomeUnknown, TransientError) as error:
                later.append(self._again_at(error))
                continue
            if made and self.connection.policies.budget_line_missing == "hold":
                projects.add(project)
        later += self._read_budgets(projects)
        return max(later, default=None)

    def _procore(self) -> ProcoreClient:
        if self._opened is None:
            self._opened = self.client()
        return self._opened

    def _again_at(self, error: OutcomeUnknown | TransientError) -> datetime:
        settled = datetime.now(UTC) + timedelta(seconds=self.connection.timing.settle)
        named = error.not_before if isinstance(error, TransientError) else None
        return max(settled, named or settled)

    def _hopeful(self, decision: Decision) -> Sequence[Hold]:
        """The holds of a bill that nothing else holds, or of its lines where the others are sent without them."""
        by_line = self.connection.policies.bad_line == "send_good_lines"
        others = [hold for hold in decision.holds if hold.reason not in MINE]
        if any(hold.line is None or not by_line for hold in others):
            return ()
        return decision.holds

    def _make(self, project: str, pair: Pair, wanting: Sequence[Decision]) -> bool:
        """Whether the project has the code now."""
        client = self._procore()
        try:
            if project not in self._segments:
                self._segments[project] = fetch_segments(client, project)
        except CallRefused as refused:
            self._give_up(project, pair, wanting, _said(refused), is_absent=False)
            return False
        lacks = absent(self._segments[project], pair)
        if lacks:
            self._give_up(project, pair, wanting, f"the project has {lacks}", is_absent=True)
            return False
        detail = {"project": project, "budget_code": ".".join(pair)}
        self._tell("sent", wanting[:1], detail)
        crashpoint("K5")
        refusal = "Procore's answer does not name the code"
        try:
            code = create_code(client, project, self._segments[project], pair)
        except CallRefused as refused:
            code, refusal = None, _said(refused)
        crashpoint("K7")
        if code is None:  # somebody else may have been quicker
            code = self._there(client, project, pair)
        if code is None:
            self._give_up(project, pair, wanting, refusal, is_absent=False)
            return False
        self._keep(project, pair, code, wanting, detail)
        crashpoint("K8")
        return True

    def _there(self, client: ProcoreClient, project: str, pair: Pair) -> BudgetCode | None:
        try:
            return fetch_codes(client, project).get(pair)
        except CallRefused:
            return None  # the refusal of the code itself is what is told

    def _keep(
        self,
        project: str,
        pair: Pair,
        code: BudgetCode,
        wanting: Sequence[Decision],
        detail: dict[str, str],
    ) -> None:
        name = self.connection.name
        with self.engine.begin() as db:
            add_code(db, name, project, code)
            note_not_made(db, name, project, pair, "", is_absent=False)
            told = {**detail, "wbs_code_id": code.wbs_code_id}
            audit.append(
                db,
                name,
                [audit.Entry("budget code made", one.entity, one.qbo_id, told) for one in wanting],
                run_id=self.run_id,
                actor="ml-connector",
            )
            elsewhere = {
                hold.cause for one in wanting for hold in one.holds if hold.wants == (project, *pair)
            }
            windows.wake_causes(db, name, elsewhere, why="a budget code was made in Procore")

    def _give_up(
        self, project: str, pair: Pair, wanting: Sequence[Decision], why: str, *, is_absent: bool
    ) -> None:
        with self.engine.begin() as db:
            note_not_made(db, self.connection.name, project, pair, why, is_absent=is_absent)
        detail = {"project": project, "budget_code": ".".join(pair), "text": why}
        self._tell("budget code not made", wanting[:1], detail)

    def _tell(self, event: str, wanting: Sequence[Decision], detail: dict[str, str]) -> None:
        told = [audit.Entry(event, one.entity, one.qbo_id, detail) for one in wanting]
        with self.engine.begin() as db:
            audit.append(db, self.connection.name, told, run_id=self.run_id, actor="ml-connector")

    def _read_budgets(self, projects: Iterable[str]) -> list[datetime]:
        since = datetime.now(UTC) - timedelta(seconds=self.connection.timing.catalog_age)
        later: list[datetime] = []
        for project in sorted(projects):
            with self.engine.connect() as db:
                fresh = catalog.lately(db, self.connection.name, BUDGETS, project, since=since)
            if fresh is not None and not self.again:
                continue
            try:
                refresh_budget(self.engine, self.connection, self._procore(), project)
            except TransientError as error:
                later.append(self._again_at(error))
        return later


def _said(refused: CallRefused) -> str:
    return f"Procore says: {quoted(refused.fault.text or str(refused), 160)}"
