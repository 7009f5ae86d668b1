"""Whether Intuit can reach the receiver: what it would do is done, without its signature."""

from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from ml_connector.connecting.checks import Check, failed, ok
from ml_connector.errors import SetupError, VendorError
from ml_connector.transport.call import Call, CallRefused
from ml_connector.transport.hosts import checked_origin
from ml_connector.transport.ports import Dialect
from ml_connector.transport.retry import Fault, Kind
from ml_connector.transport.session import Bounds, VendorSession
from ml_connector.transport.wire import Timeouts

OF, WHAT = "Webhooks", "public address"
BOUNDS = Bounds(
    Timeouts(connect=3.0, read=3.0, total=3.0), patience=0.0, body=16 * 1024
)  # Intuit waits three seconds


def check_public_address(url: str) -> Check:
    """Post nothing, unsigned: our receiver refuses that with 401, and keeps nothing of it."""
    try:
        origin = checked_origin(url)
    except SetupError as error:
        return failed(OF, WHAT, str(error), fix="give the address that is entered at Intuit")
    path = urlsplit(url).path
    dialect = Dialect("webhooks", "x-request-id", throttle_pause=1.0, read_fault=_no_fault)
    with closing(VendorSession(dialect, origin, account="", bounds=BOUNDS)) as session:
        try:
            session.send(
                Call("POST", path, Kind.READ, content=b"[]", content_type="application/json", bodyless=True)
            )
        except CallRefused as refusal:
            if refusal.status == 401 and '"error"' in refusal.body:
                return ok(OF, WHAT, f"{url} reaches the receiver, which refuses what is not signed")
            found = f"{url} answers HTTP {refusal.status}, and not as the receiver does"
        except VendorError as error:
            found = f"{url}: {error}"
        else:
            found = f"{url} takes a post without a signature: that is not our receiver"
    return failed(
        OF,
        WHAT,
        found,
        fix="hand POST /webhooks/qbo to the receiver, as in docs/deploy.md; port 443 open from outside",
    )


def _no_fault(_status: int, _body: Any) -> Fault | None:
    return None
