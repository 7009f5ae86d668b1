"""QBO's tokens: a refresh with a refresh token that rotates. Where the set is kept is none of its business.

Every rotated value is part of the set that comes back, and the value before stays with it (qbo-api 2).
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from ml_connector.errors import ReconnectNeeded, TransientError
from ml_connector.store.tokens import Renewal
from ml_connector.store.vault import Credentials
from ml_connector.transport.call import CallRefused
from ml_connector.transport.oauth import Grant, TokenEndpoint

REQUEST_ID_HEADER = "intuit_tid"
AHEAD = timedelta(minutes=5)
LONGEST_LIFE = 100 * 366 * 86_400  # seconds; a longer one is no statement


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


def exchanged(
    endpoint: TokenEndpoint,
    credentials: Credentials,
    *,
    code: str,
    redirect_url: str,
    now: Callable[[], datetime],
) -> Credentials:
    """The set with the first tokens of a consent; `redirect_url` is the one that the consent was asked with.

    Raises CallRefused when the code or the client is not taken, TransientError when nothing can be said: the code is
    spent all the same, and the consent must be asked for again.
    """
    grant = endpoint.ask(
        {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_url},
        headers=_headers(credentials),
    )
    made = _with_grant(credentials, "", grant, now())
    if not made.refresh_token:
        raise TransientError("a token answer without a refresh token", vendor="qbo")
    return made


def revoked(endpoint: TokenEndpoint, credentials: Credentials) -> bool:
    """End the grant at Intuit's revocation endpoint (qbo-api 2); False when Intuit knows it no more.

    Raises TransientError when nothing can be said, CallRefused for anything else.
    """
    content = json.dumps({"token": credentials.refresh_token or credentials.access_token}).encode()
    headers = {"Authorization": _headers(credentials)["Authorization"]}
    try:
        endpoint.revoke(content, content_type="application/json", headers=headers)
    except CallRefused as refusal:
        if refusal.status not in (400, 401):
            raise
        return False
    return True


def _headers(credentials: Credentials) -> dict[str, str]:
    keys = f"{credentials.client_id}:{credentials.client_secret}".encode()
    return {
        "Authorization": f"Basic {b64encode(keys).decode('ascii')}",
        "x-include-refresh-token-hard-expires-in": "true",
    }


def _with_grant(credentials: Credentials, used: str, grant: Grant, issued: datetime) -> Credentials:
    newest = str(grant.answer.get("refresh_token") or used)
    return replace(
        credentials,
        access_token=grant.access_token,
        access_issued_at=issued,
        access_expires_at=issued + grant.life,
        refresh_token=newest,
        previous_refresh_token=credentials.previous_refresh_token if newest == used else used,
        refresh_issued_at=issued,
        refresh_expires_at=_end(grant, "x_refresh_token_expires_in", issued)
        or credentials.refresh_expires_at,
        hard_expires_at=_end(grant, "x_refresh_token_hard_expires_in", issued) or credentials.hard_expires_at,
    )


def _end(grant: Grant, name: str, issued: datetime) -> datetime | None:
    seconds = grant.answer.get(name)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 < seconds < LONGEST_LIFE:
        return None
    return issued + timedelta(seconds=seconds)
