"""Procore's tokens: client credentials, which never rotate and have no refresh token (procore-api 1.1)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

from ml_connector.errors import ReconnectNeeded
from ml_connector.store.tokens import Renewal
from ml_connector.store.vault import Credentials
from ml_connector.transport.call import CallRefused
from ml_connector.transport.oauth import TokenEndpoint

REQUEST_ID_HEADER = "x-request-id"
AHEAD = timedelta(minutes=30)  # more than a fifth of the 90 minutes: renewed at 80 % of the life
_DEAD = ("invalid_grant", "invalid_client", "unauthorized_client")


def procore_renewal(endpoint: TokenEndpoint, *, now: Callable[[], datetime]) -> Renewal:
    """How Procore renews: at four fifths of the life."""

    def renew(credentials: Credentials) -> Credentials:
        return fetched(endpoint, credentials, now=now)

    return Renewal(renew, AHEAD)


def revoked(endpoint: TokenEndpoint, credentials: Credentials) -> None:
    """End the access token at Procore (procore-api 1.1). Client id and secret stay good: they are ended in App Management.

    Raises TransientError when nothing can be said, CallRefused for a refusal.
    """
    form = {
        "token": credentials.access_token,
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
    }
    endpoint.revoke(urlencode(form).encode("ascii"), content_type="application/x-www-form-urlencoded")


def fetched(endpoint: TokenEndpoint, credentials: Credentials, *, now: Callable[[], datetime]) -> Credentials:
    """The set with a new access token.

    Raises ReconnectNeeded when client id and secret are not taken, TransientError when nothing can be said.
    """
    try:
        grant = endpoint.ask(
            {
                "grant_type": "client_credentials",
                "client_id": credentials.client_id,
                "client_secret": credentials.client_secret,
            }
        )
    except CallRefused as refusal:
        if refusal.status != 401 and refusal.fault.code not in _DEAD:
            raise
        raise ReconnectNeeded(
            "client id and secret are not taken",
            vendor="procore",
            status=refusal.status,
            request_id=refusal.request_id,
        ) from refusal
    issued = now()
    return replace(
        credentials,
        access_token=grant.access_token,
        access_issued_at=issued,
        access_expires_at=issued + grant.life,
    )
