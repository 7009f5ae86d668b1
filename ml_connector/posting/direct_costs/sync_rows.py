"""Rows of sync actions on their way to Procore: one call for many, each settled on its own, the works told of trouble."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.posting.bill_work import Work
from ml_connector.posting.targets import DirectCost
from ml_connector.procore.client import Outcome, ProcoreClient, Refused
from ml_connector.transport.call import CallRefused

SYNC_ROWS = 1000
FORBIDDEN = (401, 403, 404)
LOCKED = "synced with"  # words of Procore's notice on a record that an origin id locks (procore-api 11)

Entry = TypeVar("Entry")
Sent = tuple[Work, DirectCost | None, Mapping[str, Any]]  # a row of a sync action, and what it belongs to


@dataclass
class RowSync:
    """Sends rows of direct costs and their lines."""

    client: ProcoreClient
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again

    def send(self, path: str, rows: Sequence[Sent], *, key: str = "origin_id") -> dict[str, Outcome]:
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
                work.wait(self.again(error))
            return {}
        except PermanentError as error:
            return self._blame(path, rows, error, key=key)
        return answer.settle(updates, key=key)

    def _blame(
        self, path: str, rows: Sequence[Sent], error: PermanentError, *, key: str
    ) -> dict[str, Outcome]:
        """A whole call was refused: find the rows that are to blame by halves, so that the others go through."""
        if error.status in FORBIDDEN:
            for work, _, _ in rows:
                work.forbid(words_of(error), path)
            return {}
        if len(rows) == 1:
            return {str(rows[0][2][key]): Refused(words_of(error), {})}
        middle = len(rows) // 2
        return {
            **self.send(path, rows[:middle], key=key),
            **self.send(path, rows[middle:], key=key),
        }

    def again(self, error: OutcomeUnknown | TransientError) -> datetime:
        """When to look again after a call without a clear answer."""
        settled = self.settled_at()
        later = error.not_before if isinstance(error, TransientError) else None
        return settled if later is None else max(settled, later)

    def not_accepted(self, work: Work, cost: DirectCost | None, outcome: Outcome, *, what: str = "") -> None:
        """Tell a work of a row that was not taken."""
        if isinstance(outcome, Refused):
            work.refuse(f"{what}{outcome.text}", cost)
        else:  # in neither list of the answer, or in both
            work.wait(self.settled_at())


def headers_path(project: str) -> str:
    """The sync action for direct costs of a project."""
    return f"/rest/v1.0/projects/{project}/direct_costs/sync"


def lines_path(project: str) -> str:
    """The sync action for lines of direct costs of a project."""
    return f"/rest/v1.0/projects/{project}/direct_costs/line_items/sync"


def by_project(
    rows: Iterable[Entry], project_of: Callable[[Entry], str]
) -> Iterator[tuple[str, list[Entry]]]:
    """`rows` by project, at most as many as one sync action takes."""
    groups: dict[str, list[Entry]] = {}
    for row in rows:
        groups.setdefault(project_of(row), []).append(row)
    for name, group in groups.items():
        for first in range(0, len(group), SYNC_ROWS):
            yield name, group[first : first + SYNC_ROWS]


def project_of_cost(pair: tuple[Work, DirectCost]) -> str:
    """The project of a target on its way."""
    return pair[1].project_id


def is_lock(outcome: Outcome | None) -> bool:
    """Whether a row was refused because its record is locked."""
    return isinstance(outcome, Refused) and LOCKED in outcome.text.lower()


def is_gone(outcome: Outcome | None) -> bool:
    """Whether a row was refused because no record has its id."""
    return isinstance(outcome, Refused) and "id" in outcome.fields


def words_of(error: PermanentError) -> str:
    """What Procore said, where it said something."""
    return (error.fault.text if isinstance(error, CallRefused) else "") or str(error)
