"""QBO's tokens: a refresh with a refresh token that rotates. Where the set is kept is none of its business.

Every rotated value is part of the set that comes back, and the value before stays with it (qbo-api 2).
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from ml_connector.errors import ReconnectNeeded
from ml_connector.store.tokens import Renewal
from ml_connector.store.vault import Credentials
from ml_connector.transport.call import CallRefused
from ml_connector.transport.oauth import Grant, TokenEndpoint

REQUEST_ID_HEADER = "intuit_tid"
AHEAD = timedelta(minutes=5)


def qbo_renewal(endpoint: TokenEndpoint, *, now: Callable[[], datetime]) -> Renewal:
    """How QBO renews: five minutes ahead of the end."""

    def renew(credentials: Credentials) -> Credentials:
        return refreshed(endpoint, credentials, now=now)

    return Renewal(renew, AHEAD)


def refreshed(
    endpoint: TokenEndpoint, credentials: Credentials, *, now: Callable[[], datetime]
) -> Credentials:
    """The set with a new access token and the newest refresh token.

    When the refresh token is refused, the one before is tried once: an answer may have been lost on the
    way. Raises ReconnectNeeded when the grant is dead, TransientError when nothing can be said,
    CallRefused for anything else.
    """
    tokens = [credentials.refresh_token, credentials.previous_refresh_token]
    refusal: CallRefused | None = None
    for token in dict.fromkeys(token for token in tokens if token):
        try:
            grant = endpoint.ask(
                {"grant_type": "refresh_token", "refresh_token": token}, headers=_headers(credentials)
            )
        except CallRefused as error:
            refusal = error
            if error.fault.code == "invalid_grant":
                continue
            if error.status == 401 or error.fault.code in ("invalid_client", "unauthorized_client"):
                break
            raise
        return _with_grant(credentials, token, grant, now())
    why = refusal.fault.code or "HTTP 401" if refusal is not None else "there is no refresh token"
    raise ReconnectNeeded(
        f"the stored grant is not taken ({why})",
        vendor="qbo",
        status=None if refusal is None else refusal.status,
        request_id="" if refusal is None else refusal.request_id,
    ) from refusal


def _headers(credentials: Credentials) -> dict[str, str]:
    keys = f"{credentials.client_id}:{credentials.client_secret}".encode()
    return {
        "Authorization": f"Basic {b64encode(keys).decode('ascii')}",
        "x-include-refresh-token-hard-expires-in": "true",
    }


def _with_grant(credentials: Credentials, used: str, grant: Grant, issued: datetime) -> Credentials:
    newest = str(grant.answer.get("refresh_token") or used)
    hard = grant.answer.get("x_refresh_token_hard_expires_in")
    hard_end = issued + timedelta(seconds=hard) if isinstance(hard, int) else credentials.hard_expires_at
    return replace(
        credentials,
        access_token=grant.access_token,
        access_issued_at=issued,
        access_expires_at=issued + grant.life,
        refresh_token=newest,
        previous_refresh_token=credentials.previous_refresh_token if newest == used else used,
        refresh_issued_at=issued,
        hard_expires_at=hard_end,
    )
