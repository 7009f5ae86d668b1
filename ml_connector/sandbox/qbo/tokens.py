"""The OAuth server: consent page, token endpoint with rotating refresh tokens, revocation, discovery.

Tokens live by the sandbox's clock and are kept with the records.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode

from ml_connector.sandbox.clock import Clock, instant
from ml_connector.sandbox.qbo.switches import Switches
from ml_connector.sandbox.records import Document, Records
from ml_connector.sandbox.wire import BadBody, Request, Response

_APP, _REFRESH, _ACCESS, _CODE = "#app", "#refresh", "#access", "#code"
_DAY = timedelta(days=1)
_CODE_LIFE = timedelta(minutes=5)
_HARD_EXPIRY_ASKED = "x-include-refresh-token-hard-expires-in"
_ANY_REALM = "*"
_SCOPE = "com.intuit.quickbooks.accounting"
_DEFAULT_APP: Document = {
    "client_id": "sandbox-client",
    "client_secret": "sandbox-secret",
    "refresh_token": "RT1-sandbox",
    "realms": [_ANY_REALM],
}


class Tokens:
    """Issues and checks tokens."""

    def __init__(self, records: Records, clock: Clock, switches: Switches) -> None:
        """Without a loaded App there is a default one, good for every realm."""
        self._records = records
        self._clock = clock
        self._switches = switches

    def register(self, app: Mapping[str, Any]) -> None:
        """Take an App record. Raises ValueError when a property is missing."""
        lacking = {"client_id", "client_secret"} - set(app)
        if lacking:
            raise ValueError(f"App lacks {sorted(lacking)}")
        doc = {"realms": [_ANY_REALM], **app}
        self._records.put(_APP, str(doc["client_id"]), doc)
        if doc.get("refresh_token"):
            self._issue_refresh(
                str(doc["refresh_token"]), doc, secrets.token_hex(8), consent=self._clock.now()
            )

    def realms(self, access_token: str) -> list[str] | None:
        """The realms that an access token opens (`*` is all), or None when it is unknown or expired."""
        held = self._records.get(_ACCESS, access_token)
        if held is None or self._past(held["expires"]):
            return None
        return list(held["realms"])

    def authorize(self, request: Request, known_realms: Sequence[str]) -> Response:
        """The consent page: a redirect with code, state and realmId; with the switch `consent_page` a person chooses.

        An app that lists `redirect_uris` is sent back to these alone, letter for letter.
        """
        back, state = request.first("redirect_uri"), request.first("state") or ""
        app = self._app(request.first("client_id") or "")
        if back is None or app is None or request.first("response_type") != "code":
            return Response(400, {"error": "invalid_request"}, outcome="authorize refused")
        if back not in app.get("redirect_uris", [back]):
            return Response(400, {"error": "invalid_redirect_uri"}, outcome="redirect_uri refused")
        own = [realm for realm in app["realms"] if realm != _ANY_REALM] or list(known_realms)
        chosen = request.first("consent")
        if self._switches["consent_page"] and chosen is None:
            return _consent_page(request, own)
        refused = self._switches["authorize_error"] or ("access_denied" if chosen == "" else "")
        if not refused and _SCOPE not in (request.first("scope") or _SCOPE).split():
            refused = "invalid_scope"
        if refused:
            answer = {"error": refused, "state": state}
        else:
            realm = chosen or self._switches["authorize_realm"] or own[0]
            code = f"AB1{secrets.token_hex(18)}"
            until = (self._clock.now() + _CODE_LIFE).isoformat()
            doc = {"client_id": app["client_id"], "redirect_uri": back, "realm": realm, "expires": until}
            self._records.put(_CODE, code, doc)
            answer = {"code": code, "state": state, "realmId": realm}
        joint = "&" if "?" in back else "?"
        return Response(302, None, {"Location": f"{back}{joint}{urlencode(answer)}"}, outcome="authorized")

    def token(self, request: Request) -> Response:
        """`POST /oauth2/v1/tokens/bearer`"""
        app = self._client(request)
        if app is None:
            return Response(401, {"error": "invalid_client"}, outcome="invalid_client")
        form = {
            name: values[-1] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()
        }
        hard = request.headers.get(_HARD_EXPIRY_ASKED, "").lower() == "true"
        if form.get("grant_type") == "authorization_code":
            return self._exchange(app, form, hard=hard)
        if form.get("grant_type") == "refresh_token":
            return self._refresh(app, form.get("refresh_token", ""), hard=hard)
        error = "unsupported_grant_type" if form.get("grant_type") else "invalid_request"
        return Response(400, {"error": error}, outcome=error)

    def revoke(self, request: Request) -> Response:
        """`POST /v2/oauth2/tokens/revoke`: ends the whole chain that the token belongs to."""
        if self._client(request) is None:
            return Response(401, {"error": "invalid_client"}, outcome="invalid_client")
        try:
            body = request.json()
        except BadBody:
            body = None
        token = str(body.get("token", "")) if isinstance(body, dict) else ""
        held = self._records.get(_REFRESH, token) or self._records.get(_ACCESS, token)
        if held is None:
            return Response(400, {"error": "invalid_request"}, outcome="unknown token")
        self._end_chain(held["chain"])
        return Response(200, None, outcome="revoked")

    def discovery(self, host: str) -> Response:
        """The OpenID discovery document with this server's own addresses."""
        here = f"http://{host}"
        body = {
            "issuer": f"{here}/op/v1",
            "authorization_endpoint": f"{here}/connect/oauth2",
            "token_endpoint": f"{here}/oauth2/v1/tokens/bearer",
            "userinfo_endpoint": f"{here}/v1/openid_connect/userinfo",
            "revocation_endpoint": f"{here}/v2/oauth2/tokens/revoke",
            "jwks_uri": f"{here}/op/v1/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile", "address", "phone"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "claims_supported": ["aud", "exp", "iat", "iss", "realmid", "sub"],
        }
        return Response(200, body, outcome="discovery")

    def _exchange(self, app: Document, form: Mapping[str, str], *, hard: bool) -> Response:
        held = self._records.get(_CODE, form.get("code", ""))
        wanted = {"client_id": app["client_id"], "redirect_uri": form.get("redirect_uri")}
        if held is None or self._past(held["expires"]) or any(held[k] != v for k, v in wanted.items()):
            return _invalid_grant("Invalid authorization code")
        self._records.drop(_CODE, form["code"])
        now = self._clock.now()
        chain_app = {**app, "realms": [held["realm"]]}
        refresh = self._issue_refresh(_refresh_value(), chain_app, secrets.token_hex(8), consent=now)
        return self._answer(refresh, hard=hard)

    def _refresh(self, app: Document, token: str, *, hard: bool) -> Response:
        held = self._records.get(_REFRESH, token)
        if held is None and app is _DEFAULT_APP and token == app["refresh_token"]:
            held = self._issue_refresh(token, app, secrets.token_hex(8), consent=self._clock.now())
        if held is None or held["client_id"] != app["client_id"]:
            return _invalid_grant("Incorrect or invalid refresh token")
        if self._past(held["expires"]) or self._past(self._hard_end(held)):
            if self._switches["reuse_revokes"] and held.get("replaced_by"):
                self._end_chain(held["chain"])
            return _invalid_grant("Incorrect or invalid refresh token")
        return self._answer(self._current(held), hard=hard)

    def _current(self, held: Document) -> Document:
        """The refresh token to hand out for this one: itself, its successor, or a new one."""
        rule, now = self._switches["token"], self._clock.now()
        successor = self._records.get(_REFRESH, held.get("replaced_by") or "")
        if rule == "daily" and successor is not None:
            return self._current(successor)
        if rule == "same" or (rule == "daily" and now - instant(held["issued"]) < _DAY):
            until = now + timedelta(seconds=self._switches["refresh_token_seconds"])
            rolled = {**held, "expires": until.isoformat()}
            self._records.put(_REFRESH, held["token"], rolled)
            return rolled
        app = {"client_id": held["client_id"], "realms": held["realms"]}
        fresh = self._issue_refresh(_refresh_value(), app, held["chain"], consent=instant(held["consent"]))
        dead = now if rule == "single_use" else min(now + _DAY, instant(held["expires"]))
        self._records.put(
            _REFRESH, held["token"], {**held, "replaced_by": fresh["token"], "expires": dead.isoformat()}
        )
        return fresh

    def _issue_refresh(
        self, token: str, app: Mapping[str, Any], chain: str, *, consent: datetime
    ) -> Document:
        now = self._clock.now()
        until = now + timedelta(seconds=self._switches["refresh_token_seconds"])
        doc: Document = {
            "token": token,
            "client_id": app["client_id"],
            "realms": list(app["realms"]),
            "chain": chain,
            "issued": now.isoformat(),
            "expires": until.isoformat(),
            "consent": consent.isoformat(),
        }
        self._records.put(_REFRESH, token, doc)
        return doc

    def _answer(self, refresh: Document, *, hard: bool) -> Response:
        now, life = self._clock.now(), int(self._switches["access_token_seconds"])
        access = f"eyJlbmMiOiJBMTI4Q0JDLUhTMjU2IiwiYWxnIjoiZGlyIn0..{secrets.token_urlsafe(32)}"
        for old in self._records.all(_ACCESS):
            if self._past(old["expires"]):
                self._records.drop(_ACCESS, old["token"])
        until = (now + timedelta(seconds=life)).isoformat()
        doc = {"token": access, "realms": refresh["realms"], "chain": refresh["chain"], "expires": until}
        self._records.put(_ACCESS, access, doc)
        body = {
            "token_type": "bearer",
            "expires_in": life,
            "refresh_token": refresh["token"],
            "x_refresh_token_expires_in": int((instant(refresh["expires"]) - now).total_seconds()),
            "access_token": access,
        }
        if hard:
            left = instant(self._hard_end(refresh)) - now
            body["x_refresh_token_hard_expires_in"] = int(left.total_seconds())
        return Response(200, body, {"Cache-Control": "no-store"}, outcome="token issued")

    def _client(self, request: Request) -> Document | None:
        """The app by Basic credentials or by form fields: both are named in the discovery document."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                client_id, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
        else:
            form = parse_qs(request.body.decode("utf-8", "replace"))
            client_id, secret = (form.get(name, [""])[-1] for name in ("client_id", "client_secret"))
        app = self._app(client_id)
        return app if app is not None and secret == app["client_secret"] else None

    def _app(self, client_id: str) -> Document | None:
        if self._records.count(_APP):
            return self._records.get(_APP, client_id)
        return _DEFAULT_APP if client_id == _DEFAULT_APP["client_id"] else None

    def _hard_end(self, refresh: Document) -> str:
        end = instant(refresh["consent"]) + timedelta(seconds=self._switches["hard_expiry_seconds"])
        return end.isoformat()

    def _end_chain(self, chain: str) -> None:
        for kind in (_REFRESH, _ACCESS):
            for doc in self._records.all(kind):
                if doc["chain"] == chain:
                    # Kept, and expired: a first refresh token must not come back to life.
                    self._records.put(kind, doc["token"], {**doc, "expires": self._clock.now().isoformat()})

    def _past(self, moment: str) -> bool:
        return instant(moment) <= self._clock.now()


def _consent_page(request: Request, realms: Sequence[str]) -> Response:
    asked = [pair for pair in request.query if pair[0] != "consent"]

    def link(realm: str, words: str) -> str:
        return f'<p><a href="?{escape(urlencode([*asked, ("consent", realm)]))}">{escape(words)}</a></p>'

    choices = "".join(link(realm, f"Connect company {realm}") for realm in realms)
    body = (
        "<!doctype html><title>QuickBooks sandbox</title><h1>QuickBooks sandbox</h1>"
        f"<p>{escape(request.first('client_id') or '')} asks for access to your books.</p>{choices}"
        f"{link('', 'No, thanks')}"
    )
    return Response(200, body, {"Content-Type": "text/html;charset=utf-8"}, outcome="consent page")


def _refresh_value() -> str:
    return f"RT1-{secrets.randbelow(1000)}-H0-{secrets.token_hex(20)}"


def _invalid_grant(description: str) -> Response:
    body = {"error_description": description, "error": "invalid_grant"}
    return Response(400, body, outcome="invalid_grant")
