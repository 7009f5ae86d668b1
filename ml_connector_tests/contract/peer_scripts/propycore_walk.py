"""One walk through Procore by ProPyCore; prints what it saw as one JSON object.

Arguments: address of the server, company id, project id, client id, client secret. Two habits of the library
are mended here, and both are tried unmended first: it asks for its token with Basic credentials instead of
form fields, and three of its lists leave the Procore-Company-Id header out.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import requests
from ProPyCore.exceptions import ProcoreException  # type: ignore[import-not-found]
from ProPyCore.procore import Procore  # type: ignore[import-not-found]

VENDOR = {"name": "Granite Supply", "origin_id": "peer:1"}


class Walk:
    """One company and one project; each method is a step that tells what it found."""

    def __init__(self, server: str, company: str, project: str, client_id: str, secret: str) -> None:
        self.server, self.credentials = server, (client_id, secret)
        self.company, self.project = int(company), int(project)
        self.header = {"Procore-Company-Id": company}
        self.basic_token = self.basic_token_is_given()
        Procore.get_access_token = lambda _: self.token_by_form()
        self.api = Procore(client_id, secret, "", server, server)
        self.vendor_id = 0

    def basic_token_is_given(self) -> bool:
        """Whether the library's own token request works."""
        try:
            Procore(*self.credentials, "", self.server, self.server)
        except KeyError:  # it takes the token out of whatever came
            return False
        return True

    def token_by_form(self) -> str:
        """A token as the vendor's guide asks for it."""
        client_id, secret = self.credentials
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        answer = requests.post(f"{self.server}/oauth/token", data=form, timeout=10)
        return str(answer.json()["access_token"])

    def without_header(self) -> dict[str, Any]:
        """The lists that leave the company header out, unmended; then they are mended."""
        api, company, project = self.api, self.company, self.project
        told = {
            "companies": refusal(api.companies.get),
            "projects": refusal(lambda: api.projects.get(company)),
            "cost codes": refusal(lambda: api.cost_codes.get(company, project)),
        }
        for part in (api.companies, api.projects, api.cost_codes):
            part.get_request = self.headed(part.get_request)
        return told

    def headed(self, get: Callable[..., Any]) -> Callable[..., Any]:
        """The library's GET with the company header added."""

        def mended(api_url: str, additional_headers: Any = None, params: Any = None) -> Any:
            return get(api_url, {**(additional_headers or {}), **self.header}, params)

        return mended

    def companies_and_projects(self) -> dict[str, Any]:
        """Lists walked by page, and finds by name and id."""
        projects = self.api.projects
        return {
            "company": self.api.companies.find("Acme Builders")["id"],
            "projects": [row["name"] for row in projects.get(self.company, per_page=2)],
            "active": [row["name"] for row in projects.get(self.company, status="Active")],
            "found": projects.find(self.company, "Harbor Clinic")["id"],
            "found by id": projects.find(self.company, self.project)["name"],
            "nobody's": refusal(lambda: projects.find(self.company, "Atlantis")),
        }

    def cost_codes(self) -> dict[str, Any]:
        """List by page, show, find, create, and create a second time."""
        codes, at = self.api.cost_codes, (self.company, self.project)
        listed = codes.get(*at, per_page=2)
        made = codes.create(*at, "Earthwork", "31-0000")
        return {
            "listed": [row["full_code"] for row in listed],
            "shown": codes.show(*at, listed[0]["id"])["full_code"],
            "found": codes.find(*at, listed[1]["name"])["full_code"],
            "created": [made["code"], made["name"]],
            "again": refusal(lambda: codes.create(*at, "Earthwork", "31-0000")),
            "nobody's": refusal(lambda: codes.show(*at, 999_999_999)),
        }

    def vendors(self) -> dict[str, Any]:
        """Create, find, put on the project, change, take a second time."""
        vendors, company, project = self.api.directory.vendors, self.company, self.project
        body = {"company_id": company, "vendor": VENDOR}
        made = vendors.post_request("/rest/v1.0/vendors", self.header, data=body)
        self.vendor_id = made["id"]
        before = vendors.get(company, project)
        vendors.post_request(
            f"/rest/v1.1/projects/{project}/vendors/{self.vendor_id}/actions/add", self.header
        )
        body = {"company_id": company, "vendor": {"name": "Granite Supply Inc"}}
        changed = vendors.patch_request(f"/rest/v1.0/vendors/{self.vendor_id}", self.header, data=body)
        again = {"company_id": company, "vendor": VENDOR}
        return {
            "created": [made["name"], made["origin_id"]],
            "changed": changed["name"],
            "found": vendors.find(company, "Granite Supply Inc")["id"] == self.vendor_id,
            "on project": [len(before), [row["name"] for row in vendors.get(company, project)]],
            "taken origin id": refusal(
                lambda: vendors.post_request("/rest/v1.0/vendors", self.header, data=again)
            ),
            "of a foreign company": refusal(lambda: vendors.get(77)),
        }

    def direct_costs(self) -> dict[str, Any]:
        """Create by form data (the library's way) and by JSON, find, change, see the budget, delete."""
        costs, at = self.api.direct_costs, (self.company, self.project)
        path = f"/rest/v1.1/projects/{self.project}/direct_costs"
        codes = f"/rest/v1.0/projects/{self.project}/work_breakdown_structure/wbs_codes"
        code = next(row for row in costs.get_request(codes, self.header) if row["flat_code"] == "03-3000.M")
        line = {"wbs_code_id": code["id"], "manual_amount": 1250.5, "description": "40 bags"}
        cost = {
            "direct_cost_type": "invoice",
            "status": "approved",
            "vendor_id": self.vendor_id,
            "invoice_number": "4471",
            "direct_cost_date": "2026-02-08",
        }
        by_form = refusal(lambda: costs.create(*at, cost, [line]))
        body = {"direct_cost": {**cost, "line_items": [line]}}
        made = costs.post_request(path, self.header, data=body)
        more = {"direct_cost": {"description": "late", "line_items": [{**line, "manual_amount": 9.25}]}}
        costs.patch_request(f"{path}/{made['id']}", self.header, data=more)
        shown = costs.find(*at, "4471")
        told = {
            "created by form": by_form,
            "created": [made["grand_total"], made["line_items_count"]],
            "listed": [row["invoice_number"] for row in costs.get(*at)],
            "changed": [shown["description"], shown["grand_total"], len(shown["line_items"])],
            "changed by form": refusal(lambda: costs.update(*at, made["id"], {"description": "x"})),
            "taken number": refusal(lambda: costs.post_request(path, self.header, data=body)),
            "budget": self.budget(),
            "deleted": costs.delete_request(f"{path}/{made['id']}", self.header)["status_code"],
        }
        return {**told, "shown after": refusal(lambda: costs.show(*at, made["id"]))}

    def budget(self) -> dict[str, Any]:
        """The standard view with its columns, rows and details."""
        budgets, at = self.api.budgets, (self.company, self.project)
        view = budgets.views.find(*at, "Procore Standard Budget")["id"]
        row = budgets.rows.find(*at, view, "03-3000 - Concrete")
        return {
            "column": budgets.columns.find(*at, view, "Direct Costs")["name"],
            "row": [row["wbs_code"]["flat_code"], row["budgeted"], row["Direct Costs"]],
            "details": [entry["item"] for entry in budgets.details.get(*at, view)],
            "nobody's view": refusal(lambda: budgets.views.find(*at, "No such view")),
        }

    def off_the_imitation(self) -> dict[str, Any]:
        """Resources outside the imitated part."""
        api, at = self.api, (self.company, self.project)
        return {
            "company projects": refusal(lambda: api.companies.get_projects(self.company)),
            "people": refusal(lambda: api.directory.people.get(self.company)),
            "rfis": refusal(lambda: api.rfis.get(*at)),
        }


def refusal(call: Callable[[], object]) -> str:
    """The class of the library's exception for a call that must fail, with the server's words."""
    try:
        call()
    except ProcoreException as error:
        return f"{type(error).__name__} {error.response or ''}".strip()
    return ""


def main(*arguments: str) -> dict[str, Any]:
    """Every step's findings under its name."""
    walk = Walk(*arguments)
    steps = (
        walk.without_header,
        walk.companies_and_projects,
        walk.cost_codes,
        walk.vendors,
        walk.direct_costs,
        walk.off_the_imitation,
    )
    return {"basic token": walk.basic_token} | {step.__name__: step() for step in steps}


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)
