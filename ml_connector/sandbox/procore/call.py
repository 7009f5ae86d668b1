"""One request on its way through the imitation: its parameters, its body, its company and its project."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml_connector.sandbox.procore.errors import Refusal, forbidden, invalid, not_found
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.switches import Switches
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import BadBody, Request, Response


@dataclass
class Call:
    """A request with a good token and a good company header."""

    state: State
    request: Request
    params: Mapping[str, str]
    client_id: str
    company_id: int

    @property
    def switches(self) -> Switches:
        return self.state.switches

    def id(self, name: str = "id") -> int:
        """An id of the path. Raises Refusal 404 when it is none."""
        return _id(self.params[name])

    def number(self, name: str) -> int | None:
        """A whole number of the query, or None. Raises Refusal 400."""
        value = self.request.first(name)
        if value is None:
            return None
        if not value.isdecimal():
            raise invalid(name, "is not a whole number")
        return int(value)

    @cached_property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent. Raises Refusal 400."""
        if not self.request.body:
            return {}
        try:
            body = self.request.json()
        except BadBody:
            raise Refusal(400, "The request body is not valid JSON") from None
        if not isinstance(body, dict):
            raise Refusal(400, "The request body is not a JSON object")
        return body

    def fields(self, key: str) -> dict[str, Any]:
        """The object under the body's key. Raises Refusal 400 when it is missing."""
        given = self.body.get(key)
        if not isinstance(given, dict):
            raise Refusal(400, f"param is missing or the value is empty: {key}")
        return given

    def company_named(self) -> None:
        """The company of path, query or body must be that of the header. Raises Refusal 400 or 403."""
        named = (
            self.params.get("company_id") or self.request.first("company_id") or self.body.get("company_id")
        )
        if named is None:
            raise invalid("company_id", "is missing")
        if str(named) != str(self.company_id):
            raise forbidden("You do not have access to this company")

    def project(self, *, tool: str = "", write: bool = False) -> Document:
        """The project of path, query or body. Raises Refusal 404, or 403 when it is not for this client."""
        named = (
            self.params.get("project_id") or self.request.first("project_id") or self.body.get("project_id")
        )
        if named is None:
            raise not_found()
        return self.permitted(_id(named), tool=tool, write=write)

    def permitted(self, project_id: int, *, tool: str = "", write: bool = False) -> Document:
        """The project, when this client may see it. Raises Refusal 403 or 404."""
        project = self.state.get("projects", project_id)
        if project is None or project["company_id"] != self.company_id:
            raise not_found()
        if not self.may_see(project):
            raise Refusal(
                self.switches["unpermitted_project_status"], "You do not have access to this project"
            )
        if tool and tool in project.get("disabled_tools", ()):
            raise forbidden(f"The {tool} tool is not enabled in this project")
        if write and not project.get("active", True) and self.switches["inactive_project"] == "refuse":
            raise forbidden("This project is inactive")
        return project

    def may_see(self, project: Document) -> bool:
        listed = self.state.records.get("permitted_projects", self.client_id)
        return listed is None or project["id"] in listed["project_ids"]

    def owned(self, kind: str, id: int | None = None, **scope: Any) -> Document:
        """A record of this company, not deleted, with these values. Raises Refusal 404."""
        doc = self.state.get(kind, self.id() if id is None else id)
        if (
            doc is None
            or doc.get("company_id") != self.company_id
            or doc.get("deleted_at") is not None
            or any(doc.get(name) != value for name, value in scope.items())
        ):
            raise not_found()
        return doc


Handler = Callable[[Call], Response]
Route = tuple[str, str, Handler]


def one(body: Any, *, status: int = 200) -> Response:
    """The answer with one record."""
    return Response(status, body, records=1, outcome="ok")


def done(status: int = 200) -> Response:
    """An answer without a body."""
    return Response(status, None, outcome="ok")


def _id(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise not_found() from None
