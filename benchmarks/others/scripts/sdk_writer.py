"""A careful home-made writer on a Procore SDK: `pyprocore|ProPyCore SERVER COMPANY PROJECT BILLS STATE`.

One POST a bill, its lines with it and QuickBooks' id as origin id. A state file remembers each bill as soon as it was
answered, so that the next run leaves it out. What Procore refuses as taken was posted before: it counts as done. Any
other error is told at the end, by bill, and the run goes on; the exit code is 1 then.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Post = Callable[[str, Any], Any]
TAKEN = "has already been taken"


def main(sdk: str, server: str, company: str, project: str, bills_file: str, state_file: str) -> int:
    """One run; the exit code."""
    opened = {"pyprocore": by_pyprocore, "ProPyCore": by_propycore}[sdk](server, company)
    path = f"/rest/v1.1/projects/{project}/direct_costs"
    state = Path(state_file)
    done = set(state.read_text().split()) if state.exists() else set()
    failed = {}
    with state.open("a") as notes:
        for bill in json.loads(Path(bills_file).read_text()):
            number = bill["invoice_number"]
            if number in done:
                continue
            try:
                opened(path, {"direct_cost": bill})
            except Exception as error:  # noqa: BLE001 whatever an SDK raises is told of its bill
                said = f"{error} {getattr(error, 'response_body', '')} {getattr(error, 'response', '')}"
                if TAKEN not in said:
                    failed[number] = said[:200]
                    continue
            notes.write(f"{number}\n")
            notes.flush()
    sys.stdout.write(json.dumps({"failed": failed}))
    return 1 if failed else 0


def by_pyprocore(server: str, company: str) -> Post:
    """pyprocore: its HTTP client with its own token handling and its own three tries."""
    from pyprocore.core.client import ProcoreClient  # type: ignore[import-not-found]  # noqa: PLC0415

    client = ProcoreClient()
    header = {"Procore-Company-Id": company}
    return lambda path, body: client.post(path, json=body, headers=header)


def by_propycore(server: str, company: str) -> Post:
    """ProPyCore: its JSON POST. Its `direct_costs.create` sends form data, and its token request Basic credentials,
    neither of which Procore's reference has: both are mended here."""
    import requests  # noqa: PLC0415
    from ProPyCore.procore import Procore  # type: ignore[import-not-found]  # noqa: PLC0415

    credentials = {name: os.environ[f"PROCORE_{name.upper()}"] for name in ("client_id", "client_secret")}

    def token(_: Any) -> str:
        form = {"grant_type": "client_credentials", **credentials}
        return str(requests.post(f"{server}/oauth/token", data=form, timeout=30).json()["access_token"])

    Procore.get_access_token = token
    api = Procore(*credentials.values(), "", server, server)
    header = {"Procore-Company-Id": company}
    return lambda path, body: api.direct_costs.post_request(path, header, data=body)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
