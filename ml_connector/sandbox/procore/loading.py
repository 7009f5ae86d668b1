"""Records from outside, as given: what `load` takes and what `live` shows. No rule of the API applies.

The kinds stand in `_LOADERS`. Lines of commitments, direct costs and requisitions come inside their record; a
line names its budget code by `wbs_code_id` or `flat_code`. A project may carry `budget_codes`: ["03-3000.M"].
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore import requisition_sums as sums
from ml_connector.sandbox.procore.direct_cost_rules import totals
from ml_connector.sandbox.procore.directory import put_on_project
from ml_connector.sandbox.procore.errors import Refusal
from ml_connector.sandbox.procore.forms import cents, money
from ml_connector.sandbox.procore.pricing import priced
from ml_connector.sandbox.procore.requisitions import live_body, store_requisition
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.wbs import ensure_code
from ml_connector.sandbox.records import Document

# The usual one-letter cost types: code -> (name, base type).
_COST_TYPES = {
    "L": ("Labor", "labor"),
    "M": ("Materials", "materials"),
    "S": ("Subcontract", "commitment"),
    "C": ("Commitment", "commitment"),
    "E": ("Equipment", "equipment"),
    "O": ("Other", "other"),
}
_COST_CODE_NAMES = {
    "01-5000": "Temporary works",
    "01-7800": "Freight",
    "03-3000": "Concrete",
    "06-1000": "Carpentry",
    "09-2900": "Drywall",
    "26-0500": "Electrical",
}


def load_all(state: State, payload: Mapping[str, Any]) -> int:
    """Store every record; return how many. Raises ValueError for an unknown kind or parent."""
    count = 0
    for kind in sorted(payload, key=_place):
        if kind not in _LOADERS:
            raise ValueError(f"no kind {kind!r}; there are {', '.join(_LOADERS)}")
        for record in payload[kind]:
            try:
                _LOADERS[kind](state, dict(record))
            except (Refusal, KeyError, StopIteration) as error:
                raise ValueError(f"{kind}: {error!r} in {record!r}") from error
            count += 1
    return count


def live_records(state: State, kind: str) -> list[Document]:
    """Records that are not deleted, raw, with the parts that belong to them."""
    contracts = {
        "work_order_contracts": "WorkOrderContract",
        "purchase_order_contracts": "PurchaseOrderContract",
    }
    stored = {**dict.fromkeys(contracts, "commitments"), "App": "apps"}.get(kind, kind)
    docs = [doc for doc in state.all(stored) if doc.get("deleted_at") is None]
    if kind in contracts:
        docs = [doc for doc in docs if doc["type"] == contracts[kind]]
    match stored:
        case "direct_costs":
            return [
                doc | {"line_items": state.find("direct_cost_lines", direct_cost_id=doc["id"])}
                for doc in docs
            ]
        case "commitments":
            return [
                doc | {"line_items": state.find("commitment_lines", contract_id=doc["id"])} for doc in docs
            ]
        case "requisitions":
            return [live_body(state, doc) for doc in docs]
        case "apps":
            return [{name: value for name, value in doc.items() if name != "client_secret"} for doc in docs]
        case "tokens":
            return []
        case _:
            return docs


def _load_app(state: State, record: Document) -> None:
    state.put("apps", {**record, "id": record["client_id"]})


def _load_permitted(state: State, record: Document) -> None:
    client = record.get("client_id", "sandbox-client")
    state.put("permitted_projects", {"id": client, "project_ids": list(record["project_ids"])})


def _load_company(state: State, record: Document) -> None:
    _store(state, "companies", {"is_active": True, **record})


def _load_project(state: State, record: Document) -> None:
    codes = record.pop("budget_codes", [])
    project = _store(state, "projects", {"active": True, "company_id": _company(state, record), **record})
    for flat_code in codes:
        _budget_code(state, project, flat_code)


def _load_vendor(state: State, record: Document) -> None:
    projects = record.pop("project_ids", [])
    vendor = _store(state, "vendors", {"is_active": True, "company_id": _company(state, record), **record})
    for project_id in projects:
        put_on_project(state, vendor["id"], project_id)


def _load_of_company(kind: str) -> Callable[[State, Document], None]:
    def load(state: State, record: Document) -> None:
        _store(state, kind, {"company_id": _company(state, record), **record})

    return load


def _load_of_project(kind: str) -> Callable[[State, Document], None]:
    def load(state: State, record: Document) -> None:
        _store(state, kind, {"company_id": _project(state, record)["company_id"], **record})

    return load


def _load_wbs_code(state: State, record: Document) -> None:
    """By `flat_code` alone, or in full with cost code and cost type."""
    project = _project(state, record)
    if "cost_code_id" in record:
        made = ensure_code(state, project, record["cost_code_id"], record["line_item_type_id"])
    else:
        made = _budget_code(state, project, record["flat_code"])
    if record.get("id", made["id"]) != made["id"]:
        state.drop("wbs_codes", made["id"])
    state.put("wbs_codes", {**made, **record})


def _load_contract(type_: str) -> Callable[[State, Document], None]:
    def load(state: State, record: Document) -> None:
        project = _project(state, record)
        lines = record.pop("line_items", [])
        start = {
            "company_id": project["company_id"],
            "type": type_,
            "status": "Draft",
            "accounting_method": "amount",
            "allow_payments": True,
            "allow_payment_applications": True,
            "deleted_at": None,
        }
        if record.get("retainage_percent") is not None:
            record["retainage_percent"] = str(record["retainage_percent"])
        contract = _store(state, "commitments", {**start, **record})
        if contract.get("vendor_id") is not None:
            put_on_project(state, contract["vendor_id"], project["id"])
        for position, line in enumerate(lines, start=1):
            scope = {"contract_id": contract["id"], "position": position}
            _store_line(state, "commitment_lines", project, {**line, **scope})

    return load


def _load_budget_line(state: State, record: Document) -> None:
    project = _project(state, record)
    line = _coded(state, project, record) | {"calculation_strategy": "manual"} | record
    line["original_budget_amount"] = cents(money(line.get("original_budget_amount")))
    _store(state, "budget_line_items", {**line, "company_id": project["company_id"]})


def _load_direct_cost(state: State, record: Document) -> None:
    project = _project(state, record)
    lines = record.pop("line_items", [])
    start = {"direct_cost_type": "invoice", "status": "approved", "deleted_at": None}
    cost = _store(state, "direct_costs", {**start, **record, "company_id": project["company_id"]})
    for position, line in enumerate(lines, start=1):
        scope = {"direct_cost_id": cost["id"], "position": position}
        _store_line(state, "direct_cost_lines", project, {**line, **scope})
    state.put("direct_costs", {**cost, **totals(state, cost["id"])})


def _load_requisition(state: State, record: Document) -> None:
    """Items by `line_item_id`; retainage is taken as given."""
    contract = state.get("commitments", record["commitment_id"])
    if contract is None:
        raise KeyError("commitment_id")
    rows = {row["line_item_id"]: row for row in record.pop("items", [])}
    start = {"status": "approved", "company_id": contract["company_id"], "project_id": contract["project_id"]}
    doc = store_requisition(state, {**start, **record}, contract)
    for item in sums.items_of(state, doc["id"]):
        given = {
            name: _as_text(value)
            for name, value in rows.get(item["line_item_id"], {}).items()
            if name != "id"
        }
        state.put("requisition_items", item | given | {"line_item_id": item["line_item_id"]})


def _load_payment(state: State, record: Document) -> None:
    contract = state.get("commitments", record["contract_id"]) or state.get(
        "prime_contracts", record["contract_id"]
    )
    if contract is None:
        raise KeyError("contract_id")
    scope = {"company_id": contract["company_id"], "project_id": contract["project_id"]}
    amount = {"amount": cents(money(record["amount"]))}
    _store(
        state, "contract_payments", {"status": state.switches["payment_status"], **record, **scope, **amount}
    )


def _store(state: State, kind: str, record: Document) -> Document:
    """The record with an id and time stamps where it has none."""
    start = {} if "id" in record else {"id": state.new_id(kind)}
    stamps = {"created_at": state.stamp(), "updated_at": state.stamp(), "writes": 0}
    return state.put(kind, {**start, **stamps, **record})


def _store_line(state: State, kind: str, project: Document, line: Document) -> None:
    line = {
        name: _as_text(value) if name in ("amount", "quantity", "unit_cost") else value
        for name, value in line.items()
    }
    scope = {"company_id": project["company_id"], "project_id": project["id"]}
    _store(state, kind, {**line, **_coded(state, project, line), **priced(line, forms.ZERO), **scope})


def _coded(state: State, project: Document, line: Document) -> Document:
    """The budget code of a loaded line, named by `wbs_code_id` or by `flat_code`, made when it is missing."""
    if line.get("wbs_code_id") is not None:
        code = state.get("wbs_codes", line["wbs_code_id"])
        if code is None:
            raise KeyError("wbs_code_id")
    else:
        code = _budget_code(state, project, line["flat_code"])
    names = ("cost_code_id", "line_item_type_id")
    return {"wbs_code_id": code["id"], **{name: code[name] for name in names}}


def _budget_code(state: State, project: Document, flat_code: str) -> Document:
    """`03-3000.M` with its cost code and cost type, made where they are missing."""
    code, _, kind = flat_code.rpartition(".")
    if not code:
        raise KeyError(flat_code)
    codes = state.find("cost_codes", project_id=project["id"], code=code)
    scope = {"company_id": project["company_id"]}
    cost_code = codes[0] if codes else None
    if cost_code is None:
        name = _COST_CODE_NAMES.get(code, f"Cost code {code}")
        cost_code = _store(
            state, "cost_codes", {"code": code, "name": name, "project_id": project["id"], **scope}
        )
    kinds = state.find("line_item_types", company_id=project["company_id"], code=kind)
    name, base = _COST_TYPES.get(kind, (kind, "other"))
    made = (
        kinds[0]
        if kinds
        else _store(state, "line_item_types", {"code": kind, "name": name, "base_type": base, **scope})
    )
    return ensure_code(state, project, cost_code["id"], made["id"])


def _company(state: State, record: Document) -> int:
    """The company named, else the only one there is."""
    if record.get("company_id") is not None:
        return int(record["company_id"])
    companies = [doc["id"] for doc in state.all("companies")]
    if len(companies) != 1:
        raise KeyError("company_id")
    return int(companies[0])


def _project(state: State, record: Document) -> Document:
    project = state.get("projects", record["project_id"])
    if project is None:
        raise KeyError("project_id")
    return project


def _as_text(value: Any) -> Any:
    number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    return format(money(value), "f") if number else value


_LOADERS: dict[str, Callable[[State, Document], None]] = {
    "App": _load_app,
    "companies": _load_company,
    "projects": _load_project,
    "permitted_projects": _load_permitted,
    "vendors": _load_vendor,
    "line_item_types": _load_of_company("line_item_types"),
    "uoms": _load_of_company("uoms"),
    "tax_codes": _load_of_company("tax_codes"),
    "standard_cost_code_lists": _load_of_company("standard_cost_code_lists"),
    "standard_cost_codes": _load_of_company("standard_cost_codes"),
    "budget_views": _load_of_company("budget_views"),
    "sub_jobs": _load_of_project("sub_jobs"),
    "cost_codes": _load_of_project("cost_codes"),
    "wbs_codes": _load_wbs_code,
    "billing_periods": _load_of_project("billing_periods"),
    "budget_line_items": _load_budget_line,
    "direct_costs": _load_direct_cost,
    "commitments": _load_contract("WorkOrderContract"),
    "work_order_contracts": _load_contract("WorkOrderContract"),
    "purchase_order_contracts": _load_contract("PurchaseOrderContract"),
    "requisitions": _load_requisition,
    "prime_contracts": _load_of_project("prime_contracts"),
    "payment_applications": _load_of_project("payment_applications"),
    "payment_application_lines": _load_of_project("payment_application_lines"),
    "contract_payments": _load_payment,
}
_ORDER = list(_LOADERS)


def _place(kind: str) -> int:
    """Parents before their children, whatever the order in the payload."""
    return _ORDER.index(kind) if kind in _LOADERS else len(_ORDER)
