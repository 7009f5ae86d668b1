"""Projects and their budget codes, read from Procore.

One call for the projects of the company, one for the WBS codes of each project that is asked for.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ml_connector.procore.client import Params, ProcoreClient, Raw
from ml_connector.procore.models import BudgetCode, Catalog, CatalogProject
from ml_connector.transport.call import CallRefused

PROJECTS_PER_PAGE = 300  # the most that this list gives (procore-api 2.2)
_COST_CODE = "cost_code"
_COST_TYPE = "line_item_type"


def fetch_catalog(client: ProcoreClient, company_id: int, project_ids: Collection[str]) -> Catalog:
    """All projects of the company, closed ones too; those of `project_ids` with their budget codes.

    A project whose codes are forbidden or hidden (403, 404) says so in `unreadable`; the others go on.
    Raises what the client raises for everything else.
    """
    projects = fetch_projects(client, company_id)
    wanted = [project for project in projects.values() if project.id in project_ids]
    return Catalog({**projects, **{project.id: _with_codes(client, project) for project in wanted}})


def fetch_projects(client: ProcoreClient, company_id: int) -> dict[str, CatalogProject]:
    """All projects of the company by id, without codes."""
    params: Params = {"company_id": company_id, "filters[by_status]": "All"}
    rows = client.rows("/rest/v1.1/projects", params, per_page=PROJECTS_PER_PAGE)
    return {
        str(row["id"]): CatalogProject(
            id=str(row["id"]),
            name=str(row.get("name") or row.get("display_name") or ""),
            active=row.get("active") is not False,
            codes={},
            number=str(row.get("project_number") or "").strip(),
        )
        for row in rows
    }


def fetch_codes(client: ProcoreClient, project_id: str) -> dict[tuple[str, str], BudgetCode]:
    """The budget codes of a project by (cost code, cost type) in upper case.

    A code with further segments (sub job, custom) is left out: the pair does not name it. Of two codes
    with the same pair an active one is taken.
    """
    rows = client.rows(f"/rest/v1.0/projects/{project_id}/work_breakdown_structure/wbs_codes")
    found: dict[tuple[str, str], BudgetCode] = {}
    for row in rows:
        code = parse_code(row)
        if code is None:
            continue
        pair = (code.cost_code.upper(), code.cost_type.upper())
        if pair not in found or (code.active and not found[pair].active):
            found[pair] = code
    return found


def parse_code(row: Raw) -> BudgetCode | None:
    """A WBS code from its segments, or from `flat_code` ("03-300.M") where they are left out (procore-api 5).

    None for a code that is not exactly a cost code with a cost type.
    """
    pair = _pair_of_segments(row) if row.get("segment_items") else _pair_of_flat_code(row)
    if pair is None:
        return None
    active = str(row.get("status") or "active").lower() == "active"
    return BudgetCode(wbs_code_id=int(row["id"]), cost_code=pair[0], cost_type=pair[1], active=active)


def _with_codes(client: ProcoreClient, project: CatalogProject) -> CatalogProject:
    try:
        return replace(project, codes=fetch_codes(client, project.id))
    except CallRefused as refusal:
        if refusal.status not in (403, 404):
            raise
        return replace(project, unreadable=refusal.fault.text or f"HTTP {refusal.status}")


def _pair_of_segments(row: Raw) -> tuple[str, str] | None:
    codes: dict[str, str] = {}
    for item in row["segment_items"]:
        segment = item.get("segment")
        kind = segment.get("type") if isinstance(segment, Mapping) else None
        codes[str(kind)] = _code_of(item)
    if set(codes) != {_COST_CODE, _COST_TYPE} or not all(codes.values()):
        return None
    return codes[_COST_CODE], codes[_COST_TYPE]


def _code_of(item: Mapping[str, Any]) -> str:
    """The code with its parents' ("03-300"); `code` alone is the last part."""
    return str(item.get("path_code") or item.get("code") or "").strip()


def _pair_of_flat_code(row: Raw) -> tuple[str, str] | None:
    cost_code, dot, cost_type = str(row.get("flat_code") or "").rpartition(".")
    return (cost_code.strip(), cost_type.strip()) if dot and cost_code and cost_type else None
