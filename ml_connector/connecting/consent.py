"""A person's consent at Intuit: the address to open, and what may come back from it (RFC 6749 4.1, qbo-api 2).

The `state` of one consent is random, lives in this process alone, and is good once and for ten minutes.
"""

import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs, urlencode, urlsplit

from ml_connector.errors import SetupError
from ml_connector.settings import Connection
from ml_connector.transport.hosts import checked_origin

SCOPE = "com.intuit.quickbooks.accounting"  # reads and writes; Intuit has none that only reads
LIFE = 600.0  # seconds
Query = Mapping[str, Sequence[str]]


class Consent:
    """One request for consent and its one answer."""

    def __init__(
        self, connection: Connection, client_id: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        checked_origin(connection.qbo.authorize_url)
        checked_origin(connection.qbo.redirect_url)
        self._connection = connection
        self._client_id = client_id
        self._monotonic = monotonic
        self._state = secrets.token_urlsafe(32)
        self._ends = monotonic() + LIFE
        self._answered = False

    @property
    def address(self) -> str:
        """What the person opens in a browser."""
        asked = {
            "client_id": self._client_id,
            "response_type": "code",
            "scope": SCOPE,
            "redirect_uri": self._connection.qbo.redirect_url,
            "state": self._state,
        }
        return f"{self._connection.qbo.authorize_url}?{urlencode(asked)}"

    def take(self, query: Query) -> bool:
        """Whether this is the answer to this consent; true once at most."""
        given = query.get("state", [])
        matches = len(given) == 1 and hmac.compare_digest(given[0].encode(), self._state.encode())
        if not matches or self._answered or self._monotonic() >= self._ends:
            return False
        self._answered = True
        return True

    def code(self, query: Query) -> str:
        """The code of an answer that was taken.

        Raises SetupError when Intuit refused, or when another company was chosen than the connection's.
        """
        refused = query.get("error", [])
        if refused:
            raise SetupError(f"Intuit gave no consent ({refused[0][:60]}): nothing was changed")
        codes, realms = query.get("code", []), query.get("realmId", [])
        if len(codes) != 1 or len(realms) != 1:
            raise SetupError("Intuit's answer has no code or no company: ask again")
        wanted = self._connection.qbo.realm_id
        if realms[0] != wanted:
            raise SetupError(
                f"the company that was chosen is {realms[0][:30]}, and {self._connection.name} is for {wanted}: nothing "
                f"was stored; choose the company {wanted} at Intuit, or make a connection of its own for the other one"
            )
        return codes[0]


def query_of(redirected: str) -> Query:
    """The query of a redirected address, as a person copied it from the browser."""
    try:
        return parse_qs(urlsplit(redirected.strip()).query, keep_blank_values=True)
    except ValueError:
        return {}
