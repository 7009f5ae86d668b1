"""The checks of a Procore company: token, company, clock, linked projects with their tools, whose origin ids stand there.

Reading rights only: Procore has no call that tells writing rights. A missing one holds the first record with PERMISSION.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from ml_connector.connecting.checks import Check, clock, failed, ok, tried, warning
from ml_connector.connecting.companies import procore_company_name
from ml_connector.procore.catalog import fetch_codes, fetch_projects
from ml_connector.procore.client import Params, ProcoreClient, Raw
from ml_connector.procore.models import CatalogProject
from ml_connector.settings import Connection

OF = "Procore"
NEWEST, SINCE = (
    200,
    timedelta(days=180),
)  # how many records of a list are looked at for origin ids, and how old
FAR = "9999-12-31T23:59:59Z"
_PERMITTED = "a company administrator adds it to the permitted projects of the app's service account"
_COMPANY_RIGHTS = (
    "a company administrator gives the app's service account the right to read it (App Management)"
)


def check_procore(
    connection: Connection, client: ProcoreClient, *, linked: Collection[str], realms: Collection[str]
) -> Iterator[Check]:
    """All checks in order; the first call that fails for its token ends them, and so do foreign origin ids.

    `linked` are the Procore projects of the published sheets, `realms` the QuickBooks companies of this installation.
    """
    name = tried(
        OF,
        "token",
        lambda: procore_company_name(client),
        fix=f"run `ml-connector connect procore {connection.name}`; if that fails, install the app in the company",
    )
    if isinstance(name, Check):
        yield name
        return
    yield ok(OF, "token", "accepted")
    yield ok(OF, "company", f"{name} ({client.company_id}), taken in the header Procore-Company-Id")
    yield clock(OF, client.skew)
    projects = tried(OF, "projects", lambda: fetch_projects(client, client.company_id), fix=_COMPANY_RIGHTS)
    if isinstance(projects, Check):
        yield projects
        return
    vendors = tried(OF, "directory", lambda: _newest(client, *_vendors(client)), fix=_COMPANY_RIGHTS)
    yield vendors if isinstance(vendors, Check) else ok(OF, "directory", "the company's vendors can be read")
    foreign = [] if isinstance(vendors, Check) else _foreign(vendors, realms)
    if foreign:
        yield _other_connector("vendors", foreign)
        return
    if not linked:
        fix = f"fill projects.csv and run `ml-connector projects publish {connection.name}`"
        yield warning(OF, "projects", f"{len(projects)} can be seen, none is linked", fix=fix)
    for number in sorted(linked, key=lambda project: (len(project), project)):
        for check in _project(client, number, projects.get(number), realms):
            yield check
            if check.what == "origin ids":
                return
    yield ok(OF, "origin ids", "none of another connector among the newest records")
    yield ok(
        OF,
        "rights",
        "reading is checked; writing shows with the first posted record: Procore has no call for it",
    )


def _project(
    client: ProcoreClient, number: str, project: CatalogProject | None, realms: Collection[str]
) -> Iterator[Check]:
    """The checks of one linked project; with one named `origin ids` only when they are another connector's."""
    if project is None:
        found = f"project {number} is linked and cannot be seen"
        yield failed(OF, "project", found, fix=f"{_PERMITTED}, or the link in projects.csv is corrected")
        return
    name = f"{project.name} ({number})"
    if not project.active:
        fix = "make it active in Procore, or take its link out of projects.csv: its bills wait meanwhile"
        yield warning(OF, "project", f"{name} is not active", fix=fix)
    costs = _tool(client, name, "Direct Costs", *_costs(number))
    readable = ["Direct Costs"]
    if isinstance(costs, Check):
        yield costs
        readable = []
    elif foreign := _foreign(costs, realms):
        yield _other_connector(f"direct costs of {name}", foreign)
        return
    for tool, path, params in _tools(number):
        rows = _tool(client, name, tool, path, params)
        if isinstance(rows, Check):
            yield rows
        else:
            readable.append(tool)
    yield from _periods(client, name, number)
    codes = tried(OF, "budget codes", lambda: fetch_codes(client, number), fix=_right(name, "Budget"))
    if isinstance(codes, Check):
        yield codes
    elif not any(code.active for code in codes.values()):
        fix = "set up its budget codes in Procore (Budget or Admin, Work Breakdown Structure): nothing can be posted"
        yield failed(OF, "budget codes", f"{name} has none", fix=fix)
    else:
        found = f"{name}: {len(codes)} budget codes; readable: {', '.join(readable) or 'no tool'}"
        yield ok(OF, "project", found)


def _tools(number: str) -> Sequence[tuple[str, str, Params]]:
    return (
        ("Commitments", "/rest/v1.0/commitments", {"project_id": number}),
        ("Subcontractor Invoices", "/rest/v1.1/requisitions", {"project_id": number}),
        ("Directory", f"/rest/v1.1/projects/{number}/vendors", {"view": "ids_only"}),
    )


def _periods(client: ProcoreClient, name: str, number: str) -> Iterator[Check]:
    rows = _tool(
        client,
        name,
        "Subcontractor Invoices",
        f"/rest/v1.0/projects/{number}/billing_periods",
        {"filters[status]": "open"},
    )
    if isinstance(rows, Check):
        yield rows
    elif not rows:
        fix = "open one in Procore (Commitments, Billing Periods): bills on commitments wait for it"
        yield warning(OF, "billing periods", f"{name} has no open one", fix=fix)


def _tool(client: ProcoreClient, project: str, tool: str, path: str, params: Params) -> Check | Sequence[Raw]:
    return tried(OF, tool, lambda: _newest(client, path, params), fix=_right(project, tool))


def _right(project: str, tool: str) -> str:
    return (
        f"in {project}: switch the tool {tool} on, permit the project to the app's service account, "
        f"and give the app the right to {tool}"
    )


def _newest(client: ProcoreClient, path: str, params: Params) -> Sequence[Raw]:
    """The first page of a list: one call."""
    return next(client.pages(path, params, per_page=NEWEST), [])


def _changed() -> str:
    return f"{datetime.now(UTC) - SINCE:%Y-%m-%dT%H:%M:%SZ}...{FAR}"


def _vendors(client: ProcoreClient) -> tuple[str, Params]:
    return "/rest/v1.0/vendors", {"company_id": client.company_id, "filters[updated_at]": _changed()}


def _costs(number: str) -> tuple[str, Params]:
    return f"/rest/v1.1/projects/{number}/direct_costs", {"filters[updated_at]": _changed()}


def _foreign(rows: Sequence[Raw], realms: Collection[str]) -> list[str]:
    """Origin ids that no connection of this installation gave (procore-api 11: one integration owns them)."""
    ours = tuple(f"qbo:{realm}:" for realm in realms)
    given = [str(row.get("origin_id") or "") for row in rows]
    return [origin for origin in given if origin and not origin.startswith(ours)]


def _other_connector(where: str, foreign: Sequence[str]) -> Check:
    return failed(
        OF,
        "origin ids",
        f"{len(foreign)} of the newest {where} carry origin ids of another connector, such as {foreign[0][:60]!r}",
        fix="switch the other ERP connector off for this company before ours is used: two would overwrite each other",
    )
