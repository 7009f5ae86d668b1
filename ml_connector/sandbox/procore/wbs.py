"""Budget codes (WBS codes): cost code + cost type (+ sub job), their segments, and the v2 form.

Segment items have ids of their own, as in Procore: not those of the cost codes and types behind them.
"""

from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, one
from ml_connector.sandbox.procore.cost_structure import cost_code_body, full_code, line_item_type_body
from ml_connector.sandbox.procore.errors import TAKEN, Refusal, invalid, not_found
from ml_connector.sandbox.procore.forms import picked, read_fields
from ml_connector.sandbox.procore.paging import Filters, between, containing, equal, listing, unpaged
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import sent_rows
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

# (type, name, kind of record behind its items, key of that record in a budget code)
_SEGMENTS = (
    ("sub_job", "Sub Job", "sub_jobs", "sub_job_id"),
    ("cost_code", "Cost Code", "cost_codes", "cost_code_id"),
    ("line_item_type", "Cost Type", "line_item_types", "line_item_type_id"),
)
_FILTERS: Filters = {"status": equal("status"), "updated_at": between("updated_at")}
_V2_FILTERS: Filters = {"id": equal("id"), "search": containing("flat_code", "flat_name", "description")}


def list_codes(call: Call) -> Response:
    rows = call.state.find("wbs_codes", project_id=call.project()["id"])
    text = call.request.first("query")
    if text:
        rows = [doc for doc in rows if text.casefold() in f"{doc['flat_code']} {doc['flat_name']}".casefold()]
    return listing(call, rows, lambda doc: code_body(call.state, doc), filters=_FILTERS)


def create_code(call: Call) -> Response:
    """The same combination again changes the code that is there, so repeating is safe."""
    doc = _write_code(call, call.project(write=True), call.body)
    return one(code_body(call.state, doc), status=201)


def bulk_create(call: Call) -> Response:
    project = call.project(write=True)
    entities: list[Any] = []
    errors: list[Any] = []
    for row in sent_rows(call, "bulk"):
        try:
            entities.append(code_body(call.state, _write_code(call, project, row)))
        except Refusal as refusal:
            errors.append({**row, "errors": refusal.by_field()})
    outcome = f"{len(errors)} refused" if errors else "ok"
    return Response(201, {"entities": entities, "errors": errors}, records=len(entities), outcome=outcome)


def update_code(call: Call) -> Response:
    doc = call.owned("wbs_codes", project_id=call.project(write=True)["id"])
    fields = read_fields(call.body, {"status": forms.text, "description": forms.text}, call.switches)
    if fields.get("status", "active") not in ("active", "inactive"):
        raise invalid("status", "is not included in the list", status=422)
    return one(code_body(call.state, call.state.put("wbs_codes", call.state.changed(doc, fields))))


def get_pattern(call: Call) -> Response:
    project = call.project()
    return one(
        {
            "id": project["company_id"],
            "description": "Budget codes",
            "is_project_level_ordered": False,
            "segments": [
                _segment_body(call.state, doc) | {"is_included_in_project_pattern": True}
                for doc in segments(call.state, project)
            ],
        }
    )


def list_segments(call: Call) -> Response:
    project = call.project()
    return unpaged([_segment_body(call.state, doc) for doc in segments(call.state, project)])


def list_segment_items(call: Call) -> Response:
    project, segment = call.project(), _segment(call)
    items = [_segment_item_body(call.state, doc) for doc in _items(call.state, project, segment)]
    return listing(call, items, lambda body: body)


def create_segment_item(call: Call) -> Response:
    """A cost code of the project, made from this side; cost types belong to the company."""
    project, segment = call.project(write=True), _segment(call)
    if segment["type"] != "cost_code":
        raise invalid("segment_id", "takes no items in a project", status=422)
    code, name, parent = call.body.get("code"), call.body.get("name"), call.body.get("parent_id")
    if not code or not name:
        raise invalid("code" if not code else "name", "can't be blank")
    if any(doc["code"] == code for doc in call.state.live("cost_codes", project_id=project["id"])):
        raise invalid("code", TAKEN, status=422)
    above = None if parent is None else call.state.get("segment_items", parent)
    scope = {"project_id": project["id"], "company_id": call.company_id}
    made = {"code": str(code), "name": str(name), "parent_id": above and above["record_id"]}
    doc = call.state.put("cost_codes", call.state.created("cost_codes", made | scope))
    return one(_segment_item_body(call.state, _item_of(call.state, segment, doc)), status=201)


def list_codes_v2(call: Call) -> Response:
    call.company_named()
    rows = call.state.find("wbs_codes", project_id=call.project()["id"])
    return listing(
        call,
        rows,
        lambda doc: {
            "id": str(doc["id"]),
            "code": doc["flat_code"],
            "attribute_1_name": doc["flat_name"],
            "description": doc.get("description"),
            "status": doc["status"],
        },
        filters=_V2_FILTERS,
    )


def usable_code(call: Call, project: Document, given: dict[str, Any]) -> Document:
    """The budget code that a line names: `wbs_code_id`, else `cost_code_id` with `line_item_type_id`.

    A pair without a budget code gets one. Raises Refusal 422 for a foreign or inactive code.
    """
    if given.get("wbs_code_id") is not None:
        doc = call.state.get("wbs_codes", given["wbs_code_id"])
        if doc is None or doc["project_id"] != project["id"]:
            raise invalid("wbs_code_id", "is not a budget code of the project", status=422)
        if doc["status"] != "active":
            raise invalid("wbs_code_id", "is inactive", status=422)
        return doc
    if given.get("cost_code_id") is None or given.get("line_item_type_id") is None:
        raise invalid("wbs_code_id", "can't be blank")
    return ensure_code(call.state, project, given["cost_code_id"], given["line_item_type_id"])


def ensure_code(
    state: State, project: Document, cost_code_id: int, line_item_type_id: int, sub_job_id: int | None = None
) -> Document:
    """The budget code of this combination, made if the project lacks it. Raises Refusal 422."""
    code, kind = state.get("cost_codes", cost_code_id), state.get("line_item_types", line_item_type_id)
    if code is None or code["project_id"] != project["id"]:
        raise invalid("cost_code_id", "is not a cost code of the project", status=422)
    if kind is None or kind["company_id"] != project["company_id"]:
        raise invalid("line_item_type_id", "is not a cost type of the company", status=422)
    for doc in state.find("wbs_codes", cost_code_id=cost_code_id, line_item_type_id=line_item_type_id):
        if doc.get("sub_job_id") == sub_job_id:
            return doc
    job = None if sub_job_id is None else state.get("sub_jobs", sub_job_id)
    parts = [full_code(state, code), kind["code"]]
    names = [code["name"], kind["name"]]
    if job is not None:
        parts.insert(0, job["code"])
        names.insert(0, job["name"])
    fields = {
        "company_id": project["company_id"],
        "project_id": project["id"],
        "cost_code_id": cost_code_id,
        "line_item_type_id": line_item_type_id,
        "sub_job_id": sub_job_id,
        "flat_code": ".".join(parts),
        "flat_name": ".".join(names),
        "description": ".".join(names),
        "status": "active",
    }
    return state.put("wbs_codes", state.created("wbs_codes", fields))


def coding(state: State, wbs_code_id: int) -> dict[str, Any]:
    """What a line in an answer tells of its budget code: the code itself, cost code and cost type."""
    doc = state.get("wbs_codes", wbs_code_id)
    if doc is None:
        return {"wbs_code": None, "cost_code": None, "line_item_type": None}
    code = state.get("cost_codes", doc["cost_code_id"])
    kind = state.get("line_item_types", doc["line_item_type_id"])
    return {
        "wbs_code": code_ref(doc),
        "cost_code": None if code is None else cost_code_body(state, code),
        "line_item_type": None if kind is None else line_item_type_body(kind),
    }


def code_ref(doc: Document) -> dict[str, Any]:
    return picked(doc, ("id", "flat_code", "description"))


def code_body(state: State, doc: Document) -> dict[str, Any]:
    project = state.get("projects", doc["project_id"])
    items = []
    for segment in segments(state, project) if project else []:
        kind, key = _behind(segment)
        record = state.get(kind, doc[key]) if doc.get(key) is not None else None
        if record is not None:
            items.append(_segment_item_body(state, _item_of(state, segment, record)))
    shown = ("id", "flat_code", "flat_name", "description", "status", "created_at", "updated_at")
    return picked(doc, shown) | {"segment_items": items}


def segments(state: State, project: Document) -> list[Document]:
    """The segments of the project's pattern; the sub job only where the project has any."""
    found = state.find("segments", company_id=project["company_id"])
    if not found:
        found = [
            state.put(
                "segments",
                state.created(
                    "segments",
                    {"company_id": project["company_id"], "type": type_, "name": name, "position": place},
                ),
            )
            for place, (type_, name, _, _) in enumerate(_SEGMENTS, start=1)
        ]
    has_jobs = bool(state.find("sub_jobs", project_id=project["id"]))
    return [doc for doc in found if has_jobs or doc["type"] != "sub_job"]


def _segment(call: Call) -> Document:
    return call.owned("segments", call.id("segment_id"))


def _behind(segment: Document) -> tuple[str, str]:
    return next((kind, key) for type_, _, kind, key in _SEGMENTS if type_ == segment["type"])


def _items(state: State, project: Document, segment: Document) -> list[Document]:
    kind, _ = _behind(segment)
    if kind == "line_item_types":
        records = state.find(kind, company_id=project["company_id"])
    else:
        records = state.find(kind, project_id=project["id"])
    return [_item_of(state, segment, record) for record in records]


def _item_of(state: State, segment: Document, record: Document) -> Document:
    found = state.find("segment_items", segment_id=segment["id"], record_id=record["id"])
    if found:
        return found[0]
    scope = {"company_id": segment["company_id"], "segment_id": segment["id"], "record_id": record["id"]}
    return state.put("segment_items", state.created("segment_items", scope))


def _segment_item_body(state: State, item: Document) -> dict[str, Any]:
    segment = state.get("segments", item["segment_id"])
    if segment is None:
        raise not_found()
    kind, key = _behind(segment)
    record = state.get(kind, item["record_id"])
    if record is None:
        raise not_found()
    path = full_code(state, record) if kind == "cost_codes" else record["code"]
    return {
        "id": item["id"],
        "code": record["code"],
        "name": record["name"],
        "path_code": path,
        "in_use": bool(state.find("wbs_codes", **{key: record["id"]})),
        "status": "active",
        "segment": picked(segment, ("id", "name", "type", "position")),
        "created_at": record.get("created_at"),
        "updated_at": record.get("updated_at"),
    }


def _segment_body(state: State, doc: Document) -> dict[str, Any]:
    return {
        **picked(doc, ("id", "type", "name", "position", "created_at", "updated_at")),
        "delimiter": ".",
        "required": doc["type"] != "sub_job",
        "structure": "tiered" if doc["type"] == "cost_code" else "flat",
    }


def _write_code(call: Call, project: Document, given: dict[str, Any]) -> Document:
    rows = given.get("segment_items")
    if not isinstance(rows, list) or not rows:
        raise invalid("segment_items", "can't be blank")
    keys: dict[str, int] = {}
    for row in rows:
        item = (
            call.state.get("segment_items", row.get("segment_item_id", 0)) if isinstance(row, dict) else None
        )
        if (
            item is None
            or item["segment_id"] != row.get("segment_id")
            or item["company_id"] != call.company_id
        ):
            raise invalid("segment_items", "names an item that is not in its segment")
        segment = call.state.get("segments", item["segment_id"])
        keys[_behind(segment or {})[1]] = item["record_id"]
    if "cost_code_id" not in keys or "line_item_type_id" not in keys:
        raise invalid("segment_items", "lacks a required segment")
    doc = ensure_code(
        call.state, project, keys["cost_code_id"], keys["line_item_type_id"], keys.get("sub_job_id")
    )
    if "description" in given:
        fields = read_fields(given, {"description": forms.text}, call.switches)
        doc = call.state.put("wbs_codes", call.state.changed(doc, fields))
    return doc


_WBS = "/rest/v1.0/projects/{project_id}/work_breakdown_structure"
ROUTES: list[Route] = [
    ("GET", f"{_WBS}/wbs_codes", list_codes),
    ("POST", f"{_WBS}/wbs_codes", create_code),
    ("PATCH", f"{_WBS}/wbs_codes/bulk_create", bulk_create),
    ("PATCH", f"{_WBS}/wbs_codes/{{id}}", update_code),
    ("GET", f"{_WBS}/patterns", get_pattern),
    ("GET", f"{_WBS}/segments", list_segments),
    ("GET", f"{_WBS}/segments/{{segment_id}}/segment_items", list_segment_items),
    ("POST", f"{_WBS}/segments/{{segment_id}}/segment_items", create_segment_item),
    ("GET", "/rest/v2.0/companies/{company_id}/projects/{project_id}/wbs/codes", list_codes_v2),
]
