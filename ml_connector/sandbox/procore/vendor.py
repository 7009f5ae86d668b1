"""The imitation of Procore as one vendor of the sandbox: the way of a request, and the frame's own doors."""

import secrets
from collections.abc import Mapping
from typing import Any

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.procore import (
    billing,
    budget,
    commitments,
    cost_structure,
    direct_cost_lines,
    direct_costs,
    directory,
    hooks,
    payments,
    prime_contracts,
    requisitions,
    schedule_of_values,
    tokens,
    wbs,
)
from ml_connector.sandbox.procore.call import Call, Handler, Route
from ml_connector.sandbox.procore.errors import Refusal, not_found
from ml_connector.sandbox.procore.limits import Limits
from ml_connector.sandbox.procore.loading import live_records, load_all
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.records import Records
from ml_connector.sandbox.wire import Request, Response

_MODULES = (
    directory,
    cost_structure,
    wbs,
    budget,
    direct_costs,
    direct_cost_lines,
    commitments,
    schedule_of_values,
    billing,
    requisitions,
    payments,
    prime_contracts,
    hooks,
)
ROUTES: list[Route] = [route for module in _MODULES for route in module.ROUTES]

_Pattern = tuple[tuple[str, ...], Handler]


class Router:
    """Method and path -> handler; literal parts such as `sync` and `line_items` go before `{id}`."""

    def __init__(self, routes: list[Route]) -> None:
        self._patterns: dict[tuple[str, int], list[_Pattern]] = {}
        for method, path, handler in routes:
            parts = tuple(path.strip("/").split("/"))
            self._patterns.setdefault((method, len(parts)), []).append((parts, handler))
        for patterns in self._patterns.values():
            patterns.sort(key=lambda pattern: [part.startswith("{") for part in pattern[0]])

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """The handler and the parameters of the path. Raises Refusal 404."""
        parts = path.strip("/").split("/")
        for pattern, handler in self._patterns.get((method, len(parts)), ()):
            pairs = list(zip(pattern, parts, strict=True))
            if all(name.startswith("{") or name == part for name, part in pairs):
                return handler, {name[1:-1]: part for name, part in pairs if name.startswith("{")}
        raise not_found()


class ProcoreVendor:
    """One Procore: REST API and login host, which share an address here."""

    name = "procore"

    def __init__(self, records: Records, clock: Clock) -> None:
        self._state = State(records, clock)
        self._limits = Limits(self._state.switches)
        self._router = Router(ROUTES)

    def handle(self, request: Request) -> Response:
        if request.path.startswith("/oauth/"):
            return tokens.answer(self._state, request)
        return self._answer(request)

    def load(self, payload: Mapping[str, Any]) -> int:
        """Take records as given, by kind; `loading` tells the kinds. Raises ValueError."""
        return load_all(self._state, payload)

    def live(self, kind: str) -> list[dict[str, Any]]:
        """Records that are not deleted, with their lines; requisitions also with what is due and paid."""
        return live_records(self._state, kind)

    def switch(self, name: str, value: Any) -> None:
        self._state.switches.set(name, value)

    def switches(self) -> dict[str, Any]:
        return self._state.switches.all()

    def refusal(self, status: int) -> Response:
        """The answer of Procore with this error status, for fault rules that bring no body of their own."""
        if status == 429 or status >= 500:
            return Response(status, "The service is not available now", {"Content-Type": "text/plain"})
        words = {401: "Unauthorized", 403: "You do not have access", 404: "Not found"}
        return Refusal(status, words.get(status, "is refused by order of the test")).response(version="v1.0")

    def reset(self, seed: str) -> None:
        """Forget records, limits and switches; both seeds begin empty."""
        self._state.records.clear()
        self._state.switches.reset()
        self._limits.reset()

    def _answer(self, request: Request) -> Response:
        """Token, limits, company, path, and then the handler's own checks."""
        version = _version_of(request.path)
        headers: dict[str, str] = {}
        try:
            token = tokens.holder(self._state, request)
            headers, refused = self._limits.spend(
                self._counted(request, token), now=self._state.now().timestamp()
            )
            if refused is not None:
                response = refused
            else:
                company = tokens.company_of(self._state, request, token["client_id"])
                handler, params = self._router.find(request.method, request.path)
                response = handler(Call(self._state, request, params, token["client_id"], company))
        except Refusal as refusal:
            response = refusal.response(version=version)
        response.headers = {"x-request-id": secrets.token_hex(16), **headers, **response.headers}
        return response

    def _counted(self, request: Request, token: Mapping[str, Any]) -> str:
        match self._state.switches["limit_per"]:
            case "company":
                return request.headers.get("procore-company-id", "")
            case "token":
                return str(token["id"])
            case _:
                return str(token["client_id"])


def _version_of(path: str) -> str:
    parts = path.split("/")
    return parts[2] if len(parts) > 2 else ""
