"""QuickBooks Online as the frame drives it: who may call, which company, which operation, in which dress."""

import re
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.qbo import cdc, query
from ml_connector.sandbox.qbo.batch import run_batch
from ml_connector.sandbox.qbo.company import Change, Company
from ml_connector.sandbox.qbo.entities import Outcome, Writer
from ml_connector.sandbox.qbo.refusals import (
    Refusal,
    throttled,
    unauthenticated,
    unauthorized,
    unsupported,
)
from ml_connector.sandbox.qbo.schema import BY_LOWER, ENTITIES
from ml_connector.sandbox.qbo.switches import Switches
from ml_connector.sandbox.qbo.times import answer_time, record_time
from ml_connector.sandbox.qbo.tokens import Tokens
from ml_connector.sandbox.records import Document, Records
from ml_connector.sandbox.wire import BadBody, Request, Response, write_xml

_COMPANY_PATH = re.compile(r"/v3/company/([^/]+)/(.+)")
_FIRST_REALM = "9341450000000001"
_REALM = "#realm"
_XML = {"Content-Type": "application/xml;charset=utf-8"}


class QboVendor:
    """The imitation. `announce` is called with every change that a webhook may carry."""

    name = "qbo"

    def __init__(self, records: Records, clock: Clock) -> None:
        """State that `records` already holds is taken up."""
        self.announce: Callable[[Change], None] = lambda change: None
        self._records = records
        self._clock = clock
        self._switches = Switches(records)
        self._tokens = Tokens(records, clock, self._switches)
        self._companies: dict[str, Company] = {}
        self._recent: dict[str, deque[datetime]] = {}

    def handle(self, request: Request) -> Response:
        """Answer one request of the OAuth server or the accounting API."""
        began = self._clock.now()
        route = f"{request.method} {request.path.rstrip('/')}"
        if route == "POST /oauth2/v1/tokens/bearer":
            return self._tokens.token(request)
        if route == "GET /connect/oauth2":
            return self._tokens.authorize(request, self._realms())
        if route == "POST /v2/oauth2/tokens/revoke":
            return self._tokens.revoke(request)
        if route.startswith("GET /.well-known/openid_"):
            return self._tokens.discovery(request.headers.get("host", "127.0.0.1"))
        found = _COMPANY_PATH.fullmatch(request.path.rstrip("/"))
        if found is None:
            return unsupported(request.path).response(began)
        return self._dressed(request, self._guarded(request, found[1], found[2], began), began)

    def load(self, payload: Mapping[str, Any]) -> int:
        """Take records as given under entity names, and `App`s; `realm` says whose (default: the first).

        Missing Id, SyncToken and MetaData are filled in. Raises ValueError for an unknown kind.
        """
        unknown = set(payload) - set(ENTITIES) - {"App", "realm"}
        if unknown:
            raise ValueError(f"unknown kinds {sorted(unknown)}")
        if not all(isinstance(doc, Mapping) for name in set(payload) - {"realm"} for doc in payload[name]):
            raise ValueError("a kind holds a list of objects")
        loaded = 0
        for app in payload.get("App", []):
            self._tokens.register(app)
            loaded += 1
        kinds = {name: docs for name, docs in payload.items() if name in ENTITIES}
        if not kinds:
            return loaded
        company = self.company(str(payload.get("realm") or self._default_realm()))
        for entity, docs in kinds.items():
            for doc in docs:
                company.keep(entity, self._completed(company, entity, doc))
                loaded += 1
        return loaded

    def live(self, kind: str) -> list[dict[str, Any]]:
        """Live records of `Bill`, say, in the first realm, or of `<realm>/Bill`."""
        realm, _, entity = kind.rpartition("/")
        return list(self._records.all(f"{realm or self._default_realm()}/{entity}"))

    def switch(self, name: str, value: Any) -> None:
        """Set a behaviour switch. Raises ValueError."""
        self._switches.set(name, value)

    def switches(self) -> dict[str, Any]:
        """Every switch with its value."""
        return self._switches.all()

    def refusal(self, status: int) -> Response:
        """The body that usually comes with an error status."""
        now = self._clock.now()
        if status == 401:
            return unauthenticated("Token expired", now)
        if status == 403:
            return unauthorized(now, upper_case=self._switches["upper_case_403"])
        if status == 429:
            return throttled().response(now)
        code = "10000" if status >= 500 else "6000"
        return Refusal(code, "System Failure Error", None, status).response(now)

    def reset(self, seed: str) -> None:
        """Forget every company, token and switch; the frame loads the seed."""
        self._records.clear()
        self._recent.clear()

    def company(self, realm: str) -> Company:
        """The books of a realm, which begin with their first use."""
        if realm not in self._companies:
            self._companies[realm] = Company(realm, self._records, self._tell)
        if self._records.get(_REALM, realm) is None:
            self._records.put(_REALM, realm, {"realm": realm})
        return self._companies[realm]

    def merge(self, order: Any) -> dict[str, Any]:
        """Control route: `{"entity": "Vendor", "loser": id, "winner": id, "realm"?}`. Raises ValueError."""
        company, writer = self._as_bookkeeper(order)
        if order.get("entity", "Vendor") != "Vendor":
            raise ValueError("only vendors can be merged here")
        try:
            writer.merge(
                ENTITIES["Vendor"],
                loser=str(order.get("loser")),
                winner=str(order.get("winner")),
                at=self._clock.now(),
            )
        except Refusal as refusal:
            raise ValueError(refusal.detail) from refusal
        return {"merged": company.find("Vendor", str(order.get("loser")))}

    def _tell(self, change: Change) -> None:
        self.announce(change)  # looked up at every change: the frame sets it after the vendor is made

    def _as_bookkeeper(self, order: Any) -> tuple[Company, Writer]:
        if not isinstance(order, Mapping):
            raise ValueError("a JSON object is needed")
        company = self.company(str(order.get("realm") or self._default_realm()))
        return company, Writer(company, self._switches)

    def _realms(self) -> list[str]:
        return [str(doc["realm"]) for doc in self._records.all(_REALM)] or [_FIRST_REALM]

    def _default_realm(self) -> str:
        return self._realms()[0]

    def _completed(self, company: Company, entity: str, doc: Document) -> Document:
        now = record_time(self._clock.now())
        id = str(doc["Id"]) if doc.get("Id") is not None else company.new_id(entity)
        meta = {"CreateTime": now, "LastUpdatedTime": now}
        return {"SyncToken": "0", "MetaData": meta, "domain": "QBO", "sparse": False, **doc, "Id": id}

    def _guarded(self, request: Request, realm: str, rest: str, began: datetime) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        realms = self._tokens.realms(token) if scheme.lower() == "bearer" else None
        if realms is None:
            return unauthenticated("Token expired: " if token else "Token missing", began)
        if realm not in realms and "*" not in realms:
            return unauthorized(began, upper_case=self._switches["upper_case_403"])
        try:
            self._throttle(realm, rest, began)
            return self._answer(request, self.company(realm), rest, began)
        except Refusal as refusal:
            return refusal.response(began)

    def _throttle(self, realm: str, rest: str, now: datetime) -> None:
        """Refuse over the limits that are switched on. Raises Refusal 3001."""
        limits = [("requests_per_minute", 60), ("requests_per_second", 1)]
        if rest == "batch":
            limits.append(("batches_per_minute", 60))
        for name, seconds in limits:
            most = self._switches[name]
            if not most:
                continue
            recent = self._recent.setdefault(f"{realm} {name}", deque())
            while recent and recent[0] <= now - timedelta(seconds=seconds):
                recent.popleft()
            if len(recent) >= most:
                raise throttled()
            recent.append(now)

    def _answer(self, request: Request, company: Company, rest: str, began: datetime) -> Response:
        head, _, id = rest.partition("/")
        operations = {
            "GET query": self._query,
            "POST query": self._query,
            "GET cdc": self._cdc,
            "POST batch": self._batch,
            "GET companyinfo": self._company_info,
            "GET preferences": self._preferences,
        }
        operation = operations.get(f"{request.method} {head.lower()}")
        if operation is not None:
            return operation(request, company, began)
        entity = BY_LOWER.get(head.lower())
        if entity is None:
            raise unsupported(head)
        if request.method == "GET" and id:
            return self._single(entity.name, company.get(entity.name, id), began)
        if request.method == "POST" and not id:
            return self._write(request, company, entity.name, began)
        raise unsupported(f"{request.method} {rest}")

    def _single(self, entity: str, doc: Document, began: datetime) -> Response:
        body = {entity: self._with_extras(doc), "time": answer_time(began)}
        return Response(200, body, records=1, outcome=f"read {entity} {doc.get('Id')}")

    def _query(self, request: Request, company: Company, began: datetime) -> Response:
        text = request.first("query")
        if text is None:
            text = request.body.decode("utf-8", "replace")
        statement = query.parse(text)
        found = query.run(statement, company)
        count = len(found.get(statement.entity.name, []))
        body = {"QueryResponse": self._with_extras(found), "time": answer_time(began)}
        return Response(200, body, records=count, outcome=f"query {statement.entity.name}: {count} rows")

    def _cdc(self, request: Request, company: Company, began: datetime) -> Response:
        blocks = cdc.changes(
            company,
            entities=request.first("entities"),
            since=request.first("changedSince"),
            now=began,
            switches=self._switches,
        )
        count = sum(len(rows) for block in blocks for rows in block.values() if isinstance(rows, list))
        body = {
            "CDCResponse": [{"QueryResponse": [self._with_extras(block) for block in blocks]}],
            "time": answer_time(began),
        }
        return Response(200, body, records=count, outcome=f"cdc: {count} rows")

    def _write(self, request: Request, company: Company, entity: str, began: datetime) -> Response:
        def work() -> tuple[Document, str]:
            options = {name: value for name, value in request.query if name in ("operation", "include")}
            outcome: Outcome = self._writer(company).write(
                ENTITIES[entity], _object(request), options=options, at=began
            )
            return {outcome.entity: self._with_extras(outcome.body)}, outcome.words

        return self._once(request, company, began, work)

    def _batch(self, request: Request, company: Company, began: datetime) -> Response:
        def work() -> tuple[Document, str]:
            items = run_batch(
                _object(request),
                company=company,
                writer=self._writer(company),
                at=began,
                injected=request.instructions.get("batch_item_fault", {}),
                dressed=self._with_extras,
            )
            faults = sum("Fault" in item for item in items)
            return {"BatchItemResponse": items}, f"batch of {len(items)}, {faults} faults"

        return self._once(request, company, began, work)

    def _once(
        self, request: Request, company: Company, began: datetime, work: Callable[[], tuple[Document, str]]
    ) -> Response:
        """Do the work, or give the first answer again when the requestid has been seen."""
        request_id = request.first("requestid")
        kept = company.replay(request_id) if request_id else None
        if kept is not None:
            return Response(200, kept, records=1, outcome=f"replayed requestid {request_id}")
        part, words = work()
        body = {**part, "time": answer_time(began)}
        if request_id:
            company.remember(request_id, body)
        return Response(200, body, records=1, outcome=words)

    def _writer(self, company: Company) -> Writer:
        return Writer(company, self._switches)

    def _company_info(self, request: Request, company: Company, began: datetime) -> Response:
        kept = next(company.all("CompanyInfo"), None)
        info = kept or {
            "CompanyName": f"Sandbox Company {company.realm}",
            "LegalName": f"Sandbox Company {company.realm}",
            "Country": "US",
            "FiscalYearStartMonth": "January",
            "SupportedLanguages": "en",
            "WebAddr": {},
            "NameValue": [{"Name": "SubscriptionStatus", "Value": "PAID"}],
            "domain": "QBO",
            "sparse": False,
            "Id": "1",
            "SyncToken": "0",
        }
        return self._single("CompanyInfo", info, began)

    def _preferences(self, request: Request, company: Company, began: datetime) -> Response:
        kept = next(company.all("Preferences"), None)
        preferences = kept or {
            "AccountingInfoPrefs": {"ClassTrackingPerTxnLine": True, "TrackDepartments": True},
            "CurrencyPrefs": {"HomeCurrency": {"value": "USD"}},
            "VendorAndPurchasesPrefs": {"TrackingByCustomer": True, "BillableExpenseTracking": True},
            "TaxPrefs": {"UsingSalesTax": False},
            "domain": "QBO",
            "sparse": False,
            "Id": "1",
            "SyncToken": "0",
        }
        return self._single("Preferences", preferences, began)

    def _with_extras(self, value: Any) -> Any:
        """The value with properties nobody has heard of in every record, when that is switched on."""
        if not self._switches["extra_fields"]:
            return value
        if isinstance(value, list):
            return [self._with_extras(item) for item in value]
        if isinstance(value, dict):
            grown = {name: self._with_extras(held) for name, held in value.items()}
            return {**grown, "SandboxNewField": {"nested": ["unheard of"]}} if "Id" in value else grown
        return value

    def _dressed(self, request: Request, response: Response, began: datetime) -> Response:
        response.headers.setdefault("intuit_tid", f"1-{int(began.timestamp()):08x}-{secrets.token_hex(12)}")
        response.headers.setdefault("QBO-Version", "1977.160")
        if "json" not in request.headers.get("accept", ""):
            response.body = write_xml(response.body, root="IntuitResponse")
            response.headers.update(_XML)
        return response


def _object(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except BadBody as error:
        raise Refusal("2010", f"Request body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refusal("2010", "Request body is not an object")
    return body
