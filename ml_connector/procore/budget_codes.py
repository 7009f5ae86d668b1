"""Making budget codes: the cost codes and cost types of a project that one is made of, and what could not be made.

A budget code joins one item of each segment (procore-api 5). What could not be made is kept beside the stored lists, so
that it is not asked for again until something changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.holds import Reason
from ml_connector.procore.catalog import parse_code
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.models import BudgetCode, Pair
from ml_connector.settings import Connection
from ml_connector.store import catalog, windows
from ml_connector.transport.call import CallRefused

NOT_MADE = "budget_codes_not_made"
COST_CODE = "cost_code"
COST_TYPE = "line_item_type"
_WORDS = {COST_CODE: "cost code", COST_TYPE: "cost type"}


@dataclass(frozen=True)
class SegmentItem:
    """One cost code or cost type as a budget code names it."""

    segment_id: int
    item_id: int
    name: str


Segments = Mapping[str, Mapping[str, SegmentItem]]  # by kind, then by code in upper case


def fetch_segments(client: ProcoreClient, project_id: str) -> Segments:
    """The active cost codes and cost types of a project: three calls. Raises the client's errors."""
    path = f"{_wbs(project_id)}/segments"
    found: dict[str, dict[str, SegmentItem]] = {COST_CODE: {}, COST_TYPE: {}}
    for segment in client.rows(path):
        kind = str(segment.get("type"))
        if kind not in found:
            continue
        for item in client.rows(f"{path}/{segment['id']}/segment_items"):
            code = str(item.get("path_code") or item.get("code") or "").strip().upper()
            if code and str(item.get("status") or "active").lower() == "active":
                made = SegmentItem(int(segment["id"]), int(item["id"]), str(item.get("name") or code))
                found[kind][code] = made
    return found


def absent(segments: Segments, pair: Pair) -> str:
    """What of a pair the project does not have, in words; "" when it has both."""
    parts = zip((COST_CODE, COST_TYPE), pair, strict=True)
    return " and ".join(f"no {_WORDS[kind]} {code}" for kind, code in parts if code not in segments[kind])


def create_code(client: ProcoreClient, project_id: str, segments: Segments, pair: Pair) -> BudgetCode | None:
    """Join a cost code and a cost type; the code that is there already comes back as it is (procore-api 5).

    None for an answer that does not speak of the pair. Raises the client's errors.
    """
    items = [segments[kind][code] for kind, code in zip((COST_CODE, COST_TYPE), pair, strict=True)]
    body = {
        "description": ".".join(item.name for item in items),
        "segment_items": [{"segment_id": item.segment_id, "segment_item_id": item.item_id} for item in items],
    }
    answer = client.post_again(f"{_wbs(project_id)}/wbs_codes", body)
    code = parse_code(answer) if isinstance(answer, Mapping) and "id" in answer else None
    return code if code is not None and (code.cost_code.upper(), code.cost_type.upper()) == pair else None


def not_made(rows: list[dict[str, Any]]) -> dict[Pair, str]:
    """Why codes could not be made, as the copy has it."""
    return {(row["code"], row["type"]): row["why"] for row in rows}


def note_not_made(
    db: Database, connection: str, project_id: str, pair: Pair, why: str, *, is_absent: bool
) -> None:
    """Remember why a budget code could not be made; "" forgets it. `is_absent`: a part of it is not there."""
    rows = [row for row in _rows(db, connection, project_id) if (row["code"], row["type"]) != pair]
    if why:
        rows.append({"code": pair[0], "type": pair[1], "why": why, "absent": is_absent})
    catalog.keep(db, connection, NOT_MADE, project_id, rows, at=datetime.now(UTC))


def recheck_absent(engine: Engine, connection: Connection, client: ProcoreClient) -> None:
    """Forget what a code lacked where the project has it by now, and wake the bills that wait for one."""
    with engine.connect() as db:
        causes = windows.causes(db, connection.name, [Reason.CODE_MISSING])
        copies = catalog.copy(db, connection.name, NOT_MADE)
    for project, rows in sorted(copies.items()):
        mine = [cause for cause in causes if cause.startswith(f"{Reason.CODE_MISSING} project {project} ")]
        pairs = [(row["code"], row["type"]) for row in rows if row["absent"]]
        if not mine or not pairs:
            continue
        try:
            segments = fetch_segments(client, project)
        except CallRefused:
            continue  # what the bills are told of the project stands
        came = [pair for pair in pairs if not absent(segments, pair)]
        with engine.begin() as db:
            for pair in came:
                note_not_made(db, connection.name, project, pair, "", is_absent=False)
            if came:
                windows.wake_causes(
                    db, connection.name, mine, why="cost codes or types were added in Procore"
                )


def _rows(db: Database, connection: str, project_id: str) -> list[dict[str, Any]]:
    stored = catalog.stored(db, connection, NOT_MADE, project_id)
    return [] if stored is None else stored[0]


def _wbs(project_id: str) -> str:
    return f"/rest/v1.0/projects/{project_id}/work_breakdown_structure"
