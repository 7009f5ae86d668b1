"""A careful home-made reader on python-quickbooks and intuit-oauth: `SERVER REALM STATE`, bills as JSON lines.

The first run pages through all bills by id, later ones ask CDC from where the run before began. The state file holds
the newest refresh token, saved before it is used, and that instant; it is written when everything has been read.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from intuitlib.client import AuthClient  # type: ignore[import-not-found]
from quickbooks import QuickBooks  # type: ignore[import-not-found]
from quickbooks.cdc import change_data_capture  # type: ignore[import-not-found]
from quickbooks.objects.bill import Bill  # type: ignore[import-not-found]

PAGE = 1000
OVERLAP = timedelta(minutes=5)


def main(server: str, realm: str, state_file: str) -> None:
    """One run."""
    path = Path(state_file)
    state = json.loads(path.read_text())
    began = datetime.now(UTC)
    discovery = f"{server}/.well-known/openid_configuration"
    auth = AuthClient(state["client_id"], state["client_secret"], "", discovery)
    auth.refresh(refresh_token=state["refresh_token"])
    state["refresh_token"] = auth.refresh_token
    path.write_text(json.dumps(state))
    QuickBooks.api_url_v3 = f"{server}/v3"
    qb = QuickBooks(auth_client=auth, refresh_token=auth.refresh_token, company_id=realm, use_decimal=True)
    for bill in changed(qb, state["since"]) if state["since"] else every(qb):
        sys.stdout.write(json.dumps({"Id": bill.Id, "SyncToken": bill.SyncToken}) + "\n")
    path.write_text(json.dumps({**state, "since": (began - OVERLAP).isoformat()}))


def every(qb: Any) -> list[Any]:
    """All bills."""
    found: list[Any] = []
    while True:
        page = Bill.all(order_by="Id", start_position=len(found) + 1, max_results=PAGE, qb=qb)
        found += page
        if len(page) < PAGE:
            return found


def changed(qb: Any, since: str) -> list[Any]:
    """Bills changed since an instant, deleted ones left out."""
    answer = change_data_capture([Bill], since, qb=qb)
    return [bill for bill in getattr(answer, "Bill", []) if getattr(bill, "status", "") != "Deleted"]


if __name__ == "__main__":
    main(*sys.argv[1:])
