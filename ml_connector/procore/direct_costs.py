"""Direct costs as Procore has them, read by lists: a call a project, or one for many records, never one a record.

A record that a list does not show is surely gone only when its own address says so as well.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ml_connector.errors import BadRecord, OutcomeUnknown, PermanentError
from ml_connector.money import parse_amount
from ml_connector.procore.client import ProcoreClient, Raw

MOST_IDS = 150  # in one address: Procore's ids may have 15 digits, and addresses above 8 KB are often refused
WHOLE_LIST = 4 * MOST_IDS  # from here on the whole list costs less than its parts
MOST_NESTED_LINES = 100  # of the create call (procore-api 7)
FAR = "9999-12-31T23:59:59Z"
DRAFT = "draft"


@dataclass(frozen=True)
class LineThere:
    """A line of a direct cost; `code` is its budget code as Procore writes it, such as `03-3000.M`."""

    id: int
    origin_id: str
    wbs_code_id: int | None
    code: str
    description: str
    amount: Decimal


@dataclass(frozen=True)
class CostThere:
    """A direct cost. `fields` are those of the header as Procore answers them, `total` is with tax."""

    id: int
    origin_id: str
    number: str
    status: str
    vendor_id: int | None
    vendor_name: str
    total: Decimal
    fields: Raw
    lines: tuple[LineThere, ...] = ()

    @property
    def counts(self) -> Decimal:
        """Its part of the job cost: nothing while it is a draft (procore-api 6)."""
        return Decimal("0.00") if self.status == DRAFT else self.total


def fetch_costs(client: ProcoreClient, project_id: str, ids: Collection[int]) -> dict[int, CostThere]:
    """The direct costs of `ids` with their lines, by id; those that were deleted are absent.

    Two calls for up to 150 records, two lists of the project above 600. Raises the client's errors, and OutcomeUnknown
    for an answer that cannot be read: that is not the same as a record that is gone.
    """
    found = fetch_headers(client, project_id, ids)
    lines = _fetch_lines(client, project_id, list(found.values()))
    whole = {cost_id: _with_lines(cost, lines.get(cost_id, [])) for cost_id, cost in found.items()}
    for cost_id in ids:
        known = whole.get(cost_id)
        if known is None or known.total != sum((line.amount for line in known.lines), Decimal(0)):
            alone = _fetch_alone(client, project_id, cost_id)
            if alone is not None:
                whole[cost_id] = alone
    return whole


def fetch_headers(client: ProcoreClient, project_id: str, ids: Collection[int]) -> dict[int, CostThere]:
    """The direct costs of `ids` without lines, by id, as the project's list shows them."""
    return {
        cost.id: cost
        for part in _parts(sorted(ids))
        for cost in map(parse_cost, client.rows(_path(project_id), _by_id(part)))
        if cost.id in ids
    }


def fetch_changed(client: ProcoreClient, project_id: str, *, since: datetime | None) -> list[CostThere]:
    """The direct costs of a project that were changed at `since` or later, without lines; all of them with None."""
    params = {} if since is None else {"filters[updated_at]": f"{since:%Y-%m-%dT%H:%M:%SZ}...{FAR}"}
    return [parse_cost(row) for row in client.rows(_path(project_id), params)]


def fetch_all_with_lines(client: ProcoreClient, project_id: str) -> list[CostThere]:
    """All direct costs of a project with their lines: two lists, one when there are none. Raises as `fetch_costs`."""
    found = fetch_changed(client, project_id, since=None)
    if not found:
        return []
    lines: dict[int, list[LineThere]] = {}
    for row in client.rows(f"/rest/v1.0/projects/{project_id}/direct_costs/line_items"):
        holder = row.get("holder")
        if isinstance(holder, Mapping) and str(holder.get("id", "")).isdigit():
            lines.setdefault(int(holder["id"]), []).append(_line(row))
    return [_with_lines(cost, lines.get(cost.id, [])) for cost in found]


def fetch_line_ids(client: ProcoreClient, project_id: str, cost_id: int) -> dict[int, str]:
    """The origin id of every line of one direct cost ("" without one), by the line's id."""
    rows = client.rows(f"/rest/v1.0/projects/{project_id}/direct_costs/{cost_id}/line_items")
    return {int(row["id"]): str(row.get("origin_id") or "") for row in rows}


def parse_cost(row: Raw) -> CostThere:
    """A direct cost of an answer. Raises OutcomeUnknown when its id or its money cannot be read."""
    try:
        total = parse_amount(row.get("grand_total"), field="grand_total")
        vendor = row.get("vendor_id")
        return CostThere(
            id=int(row["id"]),
            origin_id=str(row.get("origin_id") or ""),
            number=str(row.get("invoice_number") or ""),
            status=str(row.get("status") or ""),
            vendor_id=None if vendor is None else int(vendor),
            vendor_name=str(row.get("vendor_name") or ""),
            total=total,
            fields=row,
        )
    except (KeyError, TypeError, ValueError, BadRecord) as error:
        raise OutcomeUnknown(f"a direct cost cannot be read ({error})", vendor="procore") from error


def _path(project_id: str) -> str:
    return f"/rest/v1.1/projects/{project_id}/direct_costs"


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    if len(ids) > WHOLE_LIST:
        yield ()
        return
    for first in range(0, len(ids), MOST_IDS):
        yield ids[first : first + MOST_IDS]


def _by_id(ids: Sequence[int], name: str = "id") -> dict[str, Sequence[int]]:
    if not ids:
        return {}
    return {f"filters[{name}]" if len(ids) == 1 else f"filters[{name}][]": ids}


def _fetch_lines(
    client: ProcoreClient, project_id: str, costs: Sequence[CostThere]
) -> dict[int, list[LineThere]]:
    path, found = f"/rest/v1.0/projects/{project_id}/direct_costs/line_items", dict[int, list[LineThere]]()
    for part in _parts([cost.id for cost in costs]) if costs else ():
        for row in client.rows(path, _by_id(part, "direct_cost_id")):
            holder = row.get("holder")
            if isinstance(holder, Mapping) and str(holder.get("id", "")).isdigit():
                found.setdefault(int(holder["id"]), []).append(_line(row))
    return found


def _fetch_alone(client: ProcoreClient, project_id: str, cost_id: int) -> CostThere | None:
    """One direct cost by its own address; None when it is deleted."""
    try:
        row = client.get(f"{_path(project_id)}/{cost_id}")
    except PermanentError as error:
        if error.status == 404:
            return None
        raise
    if not isinstance(row, Mapping):
        raise OutcomeUnknown("a direct cost was answered without a record", vendor="procore")
    if row.get("deleted_at"):
        return None
    return _with_lines(parse_cost(row), [_line(line) for line in row.get("line_items") or []])


def _with_lines(cost: CostThere, lines: Iterable[LineThere]) -> CostThere:
    return replace(cost, lines=tuple(lines))


def _line(row: Raw) -> LineThere:
    code: Any = row.get("wbs_code") or {}
    try:
        return LineThere(
            id=int(row["id"]),
            origin_id=str(row.get("origin_id") or ""),
            wbs_code_id=int(code["id"]) if code.get("id") is not None else None,
            code=str(code.get("flat_code") or ""),
            description=str(row.get("description") or ""),
            amount=parse_amount(row.get("amount"), field="amount"),
        )
    except (AttributeError, KeyError, TypeError, ValueError, BadRecord) as error:
        raise OutcomeUnknown(f"a line of a direct cost cannot be read ({error})", vendor="procore") from error
