"""The `/_control/*` routes of one server: how a test or a person steers an imitation and looks into it.

Answers are JSON. What is not understood is answered 400 with `{"error": sentence}`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ml_connector.sandbox.imitation import Imitation
from ml_connector.sandbox.wire import Request, Response

Action = Callable[[Any], Any]
"""Takes the JSON body (None for GET), returns the JSON answer, raises ValueError."""


class Control:
    """Answers control requests for one vendor."""

    def __init__(
        self,
        imitation: Imitation,
        *,
        seed: Callable[[str], None],
        routes: Mapping[str, Action],
        deeds: Mapping[str, Action],
    ) -> None:
        """`seed` resets the vendor and loads a seed; `routes` and `deeds` are the vendor's own.

        A deed changes records: it runs under the vendor's lock and is saved.
        """
        self._vendor = imitation.vendor
        self._records = imitation.records
        self._clock = imitation.clock
        self._journal = imitation.journal
        self._faults = imitation.faults
        self._lock = imitation.lock
        self._seed = seed
        self._routes: dict[str, Action] = {
            "GET health": lambda _: self._health(),
            "GET clock": lambda _: self._time(),
            "POST clock": self._set_clock,
            "POST load": self._load,
            "GET switches": lambda _: self._vendor.switches(),
            "POST switches": self._switch,
            "GET faults": lambda _: self._faults.listed(),
            "POST faults": self._add_faults,
            "DELETE faults": self._clear_faults,
            "POST reset": self._reset,
            **routes,
            **{name: self._saved(deed) for name, deed in deeds.items()},
        }

    def __call__(self, request: Request) -> Response:
        """Answer one request under `/_control/`."""
        name = request.path.removeprefix("/_control/").strip("/")
        try:
            body = request.json() if request.body else None
            if request.method == "GET" and name in ("journal", "calls"):
                number = int(request.first("since") or 0)
                read = self._journal.since if name == "journal" else self._journal.calls
                return Response(200, read(number))
            if request.method == "GET" and name.startswith("records/"):
                with self._lock:
                    # A copy of the list: its documents are never changed in place.
                    return Response(200, self._vendor.live(name.removeprefix("records/")))
            action = self._routes.get(f"{request.method} {name}")
            if action is None:
                return Response(404, {"error": f"no control route {request.method} {name}"})
            return Response(200, action(body))
        except ValueError as error:  # BadBody is one
            return Response(400, {"error": str(error)})

    def _saved(self, deed: Action) -> Action:
        def action(body: Any) -> Any:
            with self._lock:
                answer = deed(body)
                self._records.commit()
                return answer

        return action

    def _health(self) -> dict[str, Any]:
        return {"status": "ok", "vendor": self._vendor.name, "now": self._clock.now().isoformat()}

    def _time(self) -> dict[str, Any]:
        return {"now": self._clock.now().isoformat(), **self._clock.state()}

    def _set_clock(self, body: Any) -> dict[str, Any]:
        self._clock.set(_object(body))
        return self._time()

    def _load(self, body: Any) -> dict[str, Any]:
        with self._lock:
            loaded = self._vendor.load(_object(body))
            self._records.commit()
        return {"loaded": loaded}

    def _switch(self, body: Any) -> dict[str, Any]:
        with self._lock:
            for name, value in _object(body).items():
                self._vendor.switch(name, value)
            self._records.commit()
            return self._vendor.switches()

    def _add_faults(self, body: Any) -> dict[str, Any]:
        numbers = []
        for given in body if isinstance(body, list) else [body]:
            rule = _object(given)
            if rule.get("fault") == "token":  # a behaviour of the vendor, not of one request
                self._switch({"token": _object(rule.get("args")).get("mode")})
            else:
                numbers.append(self._faults.add(rule))
        return {"numbers": numbers}

    def _clear_faults(self, _: Any) -> dict[str, Any]:
        self._faults.clear()
        return {"cleared": True}

    def _reset(self, body: Any) -> dict[str, Any]:
        seed = _object(body or {}).get("seed", "empty")
        if seed not in ("empty", "demo"):
            raise ValueError("seed is empty or demo")
        with self._lock:
            self._faults.clear()
            self._clock.set({"offset_seconds": 0})
            self._seed(seed)
            self._records.commit()
        return {"seed": seed}


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise ValueError("a JSON object is needed")
    return body
