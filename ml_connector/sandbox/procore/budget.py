"""Budget: its lines, and views whose rows are worked out from the costs that stand in the project now."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.budget_figures import Figures, figures_of, none_of
from ml_connector.sandbox.procore.call import Call, Route, one
from ml_connector.sandbox.procore.cost_structure import full_code
from ml_connector.sandbox.procore.errors import ENTITY_NOT_FOUND, TAKEN, invalid, not_found
from ml_connector.sandbox.procore.forms import cents, money, picked, plain, read_fields
from ml_connector.sandbox.procore.paging import listing, unpaged
from ml_connector.sandbox.procore.pricing import priced
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row, sent_rows
from ml_connector.sandbox.procore.wbs import code_ref, usable_code
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

# Customers name the columns of a view: a loaded `budget_views` record may carry other titles under `columns`.
TITLES = {
    "revised_budget": "Revised Budget",
    "pending_budget_changes": "Pending Budget Changes",
    "projected_budget": "Projected Budget",
    "committed_costs": "Committed Costs",
    "direct_costs": "Direct Costs",
    "job_to_date_costs": "Job to Date Costs",
    "pending_cost_changes": "Pending Cost Changes",
    "projected_costs": "Projected Costs",
    "forecast_to_complete": "Forecast To Complete",
    "estimated_cost_at_completion": "Estimated Cost at Completion",
    "projected_over_under": "Projected over Under",
}
_LINE_FIELDS: forms.Fields = {
    "wbs_code_id": forms.whole,
    "cost_code_id": forms.whole,
    "line_item_type_id": forms.whole,
    "original_budget_amount": forms.amount,
    "quantity": forms.number,
    "unit_cost": forms.number,
    "uom": forms.text,
    "calculation_strategy": forms.one_of("automatic", "manual"),
}
_FIXED = tuple(name for name in TITLES if name not in ("job_to_date_costs", "forecast_to_complete"))
_STANDARD_VIEW_ID = 1


def get_budget(call: Call) -> Response:
    return one({"locked": bool(call.project().get("budget_locked"))})


def list_views(call: Call) -> Response:
    if call.request.first("project_id"):
        call.project()
    shown = ("id", "name", "description", "created_at", "updated_at")
    return listing(call, _views(call), lambda doc: picked(doc, shown))


def list_detail_rows(call: Call) -> Response:
    project, view = call.project(), _view(call)
    return listing(call, _asked_rows(call, project), lambda row: _detail_body(call.state, project, view, row))


def list_summary_rows(call: Call) -> Response:
    project, view = call.project(), _view(call)
    group = call.request.first("group_by") or "cost_code"
    sums: dict[str, Document] = {}
    for row in _asked_rows(call, project):
        name = _group_name(call.state, project, row, group)
        total = sums.setdefault(name, {"id": name, "original": forms.ZERO, "figures": none_of()})
        total["original"] += money(row["original_budget_amount"])
        total["figures"] += row["figures"]
    return listing(call, list(sums.values()), lambda row: _summary_body(view, row))


def list_columns(call: Call) -> Response:
    call.project()
    titles = _titles(_view(call))
    return unpaged(
        [
            {"id": name, "name": title, "position": place, "type": "standard", "aggregatable": True}
            for place, (name, title) in enumerate(titles.items(), start=1)
        ]
    )


def report_details(call: Call) -> Response:
    """A read done with POST: one row for every line of a direct cost that counts."""
    project = call.project()
    _view(call)
    state = call.state
    rows = []
    for line in state.find("direct_cost_lines", project_id=project["id"]):
        cost, code = (
            state.get("direct_costs", line["direct_cost_id"]),
            state.get("wbs_codes", line["wbs_code_id"]),
        )
        if cost and code and not cost.get("deleted_at") and cost["status"] != "draft":
            rows.append(
                {
                    "id": str(line["id"]),
                    "description": line.get("description"),
                    "item": cost.get("invoice_number"),
                    "detail_type": {"id": "direct_costs", "name": "Direct Costs"},
                    "wbs_code": code_ref(code),
                }
            )
    return unpaged(rows)


def get_line_v10(call: Call) -> Response:
    return one(_body_v10(call.state, _line(call)))


def get_line_v11(call: Call) -> Response:
    return one(_body_v11(call.state, _line(call)))


def create_line_v10(call: Call) -> Response:
    doc = _write_line(call, call.project(write=True), call.fields("budget_line_item"), None)
    return one(_body_v10(call.state, doc), status=201)


def create_line_v11(call: Call) -> Response:
    given = call.fields("budget_line_item")
    if given.get("wbs_code_id") is None:
        raise invalid("wbs_code_id", "can't be blank")
    return one(_body_v11(call.state, _write_line(call, call.project(write=True), given, None)), status=201)


def update_line_v10(call: Call) -> Response:
    doc = _write_line(call, call.project(write=True), call.fields("budget_line_item"), _line(call))
    return one(_body_v10(call.state, doc))


def update_line_v11(call: Call) -> Response:
    doc = _write_line(call, call.project(write=True), call.fields("budget_line_item"), _line(call))
    return one(_body_v11(call.state, doc))


def sync_lines(call: Call) -> Response:
    """Unlike the other sync actions: a POST that is refused as a whole, answered by a bare array."""
    project, state = call.project(write=True), call.state
    pairs = []
    for row in sent_rows(call, "budget_line_items"):
        if row.get("id") is not None:
            existing = state.get("budget_line_items", row["id"]) if isinstance(row["id"], int) else None
            if existing is None or existing["project_id"] != project["id"]:
                raise invalid("id", ENTITY_NOT_FOUND, status=422)
        else:
            found = state.find(
                "budget_line_items", project_id=project["id"], wbs_code_id=row.get("wbs_code_id", 0)
            )
            existing = found[0] if found else None
        pairs.append((row, existing))
        _checked(call, project, row, existing)
    docs = [_write_line(call, project, row, existing) for row, existing in pairs]
    return Response(200, [_body_v11(state, doc) for doc in docs], records=len(docs), outcome="ok")


def _write_line(call: Call, project: Document, given: Row, existing: Document | None) -> Document:
    state = call.state
    fields = _checked(call, project, given, existing)
    doc = state.created("budget_line_items", fields) if existing is None else state.changed(existing, fields)
    return state.put("budget_line_items", doc)


def _checked(call: Call, project: Document, given: Row, existing: Document | None) -> Document:
    """The line as it would be stored. Raises Refusal 400, or 422 (locked budget, code that has a line)."""
    state = call.state
    fields = read_fields(given, _LINE_FIELDS, call.switches)
    merged = {"calculation_strategy": "manual", **(existing or {}), **fields}
    if existing is None or fields.get("wbs_code_id") is not None:
        code = usable_code(call, project, fields)
        merged |= picked(code, ("cost_code_id", "line_item_type_id")) | {"wbs_code_id": code["id"]}
    same = state.find("budget_line_items", project_id=project["id"], wbs_code_id=merged["wbs_code_id"])
    if any(other["id"] != (existing or {}).get("id") for other in same):
        raise invalid("wbs_code_id", TAKEN, status=422)
    if merged["calculation_strategy"] == "automatic":
        line = picked(merged, ("quantity", "unit_cost")) | {"extended_type": "calculated"}
        merged["original_budget_amount"] = priced(line, forms.ZERO)["amount"]
    merged["original_budget_amount"] = cents(money(merged.get("original_budget_amount")))
    before = money((existing or {}).get("original_budget_amount"))
    if project.get("budget_locked") and money(merged["original_budget_amount"]) != before:
        raise invalid("original_budget_amount", "cannot be changed in a locked budget", status=422)
    return merged | {"company_id": call.company_id, "project_id": project["id"]}


def _asked_rows(call: Call, project: Document) -> list[Document]:
    """Budgeted and unbudgeted rows by the query's filters, in the order of the codes."""
    state, query = call.state, call.request
    costs = figures_of(state, project["id"])
    lines = {doc["wbs_code_id"]: doc for doc in state.find("budget_line_items", project_id=project["id"])}
    wanted = query.first("budget_row_type") or "budgeted"
    rows = []
    for code in state.find("wbs_codes", project_id=project["id"]):
        line = lines.get(code["id"])
        spent = code["id"] in costs
        if (line is None and (wanted == "budgeted" or not spent)) or (
            line is not None and wanted == "unbudgeted"
        ):
            continue
        row = {
            "id": line["id"] if line else None,
            "code": code,
            "line": line,
            "original_budget_amount": line["original_budget_amount"] if line else "0.00",
            "figures": costs.get(code["id"], none_of()),
        }
        if _is_asked(call, row):
            rows.append(row)
    return sorted(rows, key=lambda row: str(row["code"]["flat_code"]))


def _is_asked(call: Call, row: Document) -> bool:
    given: dict[str, Callable[[Document], Any]] = {
        "cost_code_id": lambda row: row["code"]["cost_code_id"],
        "category_id": lambda row: row["code"]["line_item_type_id"],
        "budget_line_item_id": lambda row: row["id"],
    }
    for name, value in given.items():
        asked = call.request.all(f"{name}[]") + call.request.all(name)
        if asked and str(value(row)) not in asked:
            return False
    return True


def _columns(original: Decimal, figures: Figures) -> dict[str, Decimal]:
    """The fixed figures of a line: budget, costs, and the forecast that fills what is left of the budget."""
    projected = figures.committed + figures.direct
    forecast = max(original - projected, forms.ZERO)
    return {
        "revised_budget": original,
        "pending_budget_changes": forms.ZERO,
        "projected_budget": original,
        "committed_costs": figures.committed,
        "direct_costs": figures.direct,
        "job_to_date_costs": figures.direct + figures.invoiced,
        "pending_cost_changes": forms.ZERO,
        "projected_costs": projected,
        "forecast_to_complete": forecast,
        "estimated_cost_at_completion": projected + forecast,
        "projected_over_under": original - (projected + forecast),
    }


def _titled(view: Document, original: Decimal, figures: Figures) -> dict[str, str]:
    titles = _titles(view)
    return {
        titles[name]: cents(value) for name, value in _columns(original, figures).items() if name in titles
    }


def _detail_body(state: State, project: Document, view: Document, row: Document) -> dict[str, Any]:
    code, line = row["code"], row["line"]
    cost_code = state.get("cost_codes", code["cost_code_id"]) or {}
    category = state.get("line_item_types", code["line_item_type_id"]) or {}
    company = state.get("companies", project["company_id"]) or {}
    return {
        "id": row["id"],
        "deletable": line is not None,
        "company_id": project["company_id"],
        "company": company.get("name"),
        "project_id": project["id"],
        "project": project.get("name"),
        "wbs_code_id": code["id"],
        "wbs_code": code_ref(code),
        "biller_id": project["id"],
        "biller": project.get("name"),
        "biller_type": "Project",
        "cost_code_id": code["cost_code_id"],
        "cost_code": _code_title(state, cost_code),
        "category_id": code["line_item_type_id"],
        "category": category.get("name"),
        "original_budget_amount": cents(money(row["original_budget_amount"])),
        "budget_modifications": "0.00",
        "budgeted": line is not None,
        "unbudgeted_reason": None if line is not None else "Costs on a code without a budget line",
        "budget_row_id": str(code["id"]),
        **(dict.fromkeys(("uom", "calculation_strategy")) if line is None else _line_words(line)),
        **_titled(view, money(row["original_budget_amount"]), row["figures"]),
    }


def _line_words(line: Document) -> dict[str, Any]:
    return picked(line, ("uom", "calculation_strategy")) | {
        "quantity": plain(line.get("quantity")),
        "unit_cost": plain(line.get("unit_cost")),
    }


def _summary_body(view: Document, row: Document) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["id"],
        "original_budget_amount": cents(row["original"]),
        "budget_modifications": "0.00",
        **_titled(view, row["original"], row["figures"]),
    }


def _group_name(state: State, project: Document, row: Document, group: str) -> str:
    if group in ("project", "biller"):
        return str(project.get("name"))
    if group == "category":
        return str((state.get("line_item_types", row["code"]["line_item_type_id"]) or {}).get("name"))
    return _code_title(state, state.get("cost_codes", row["code"]["cost_code_id"]) or {})


def _code_title(state: State, cost_code: Document) -> str:
    return f"{full_code(state, cost_code)} - {cost_code['name']}" if cost_code else ""


def _body_v10(state: State, doc: Document) -> dict[str, Any]:
    columns = _columns(
        money(doc["original_budget_amount"]),
        figures_of(state, doc["project_id"]).get(doc["wbs_code_id"], none_of()),
    )
    cost_code = state.get("cost_codes", doc["cost_code_id"]) or {}
    return {
        **_numbers(doc),
        **{name: columns[name] for name in _FIXED},
        "approved_budget_changes": forms.ZERO,
        "budget_forecast": columns["forecast_to_complete"],
        "cost_code": picked(cost_code, ("id", "name", "code")) | {"full_code": full_code(state, cost_code)},
        "line_item_type": picked(
            state.get("line_item_types", doc["line_item_type_id"]) or {}, ("id", "name")
        ),
    }


def _body_v11(state: State, doc: Document) -> dict[str, Any]:
    return _numbers(doc) | {"wbs_code": code_ref(state.get("wbs_codes", doc["wbs_code_id"]) or {})}


def _numbers(doc: Document) -> dict[str, Any]:
    return {
        **picked(doc, ("id", "uom", "calculation_strategy")),
        "original_budget_amount": money(doc["original_budget_amount"]),
        "quantity": None if doc.get("quantity") is None else money(doc["quantity"]),
        "unit_cost": None if doc.get("unit_cost") is None else money(doc["unit_cost"]),
    }


def _line(call: Call) -> Document:
    return call.owned("budget_line_items", project_id=call.project()["id"])


def _views(call: Call) -> list[Document]:
    loaded = call.state.find("budget_views", company_id=call.company_id)
    return loaded or [{"id": _STANDARD_VIEW_ID, "name": "Procore Standard Budget", "columns": TITLES}]


def _view(call: Call) -> Document:
    id = call.id("budget_view_id")
    for view in _views(call):
        if view["id"] == id:
            return view
    raise not_found()


def _titles(view: Document) -> dict[str, str]:
    titles: dict[str, str] = view.get("columns") or TITLES
    return titles


_VIEW = "/rest/v1.0/budget_views/{budget_view_id}"
ROUTES: list[Route] = [
    ("GET", "/rest/v1.0/projects/{project_id}/budget", get_budget),
    ("GET", "/rest/v1.0/budget_views", list_views),
    ("GET", f"{_VIEW}/detail_rows", list_detail_rows),
    ("GET", f"{_VIEW}/summary_rows", list_summary_rows),
    ("GET", f"{_VIEW}/budget_detail_columns", list_columns),
    ("POST", f"{_VIEW}/budget_details", report_details),
    ("POST", "/rest/v1.0/budget_line_items", create_line_v10),
    ("GET", "/rest/v1.0/budget_line_items/{id}", get_line_v10),
    ("PATCH", "/rest/v1.0/budget_line_items/{id}", update_line_v10),
    ("POST", "/rest/v1.0/budget_line_items/sync", sync_lines),
    ("POST", "/rest/v1.1/budget_line_items", create_line_v11),
    ("GET", "/rest/v1.1/budget_line_items/{id}", get_line_v11),
    ("PATCH", "/rest/v1.1/budget_line_items/{id}", update_line_v11),
]
