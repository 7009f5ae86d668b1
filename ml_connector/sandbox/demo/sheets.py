"""The two sheets that the firm's project controls keep: mapping.csv (first match wins) and projects.csv."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

from ml_connector.sandbox.demo.parties import DEPOT, ELM, FIREHOUSE, HARBOR, LIBRARY, QUARRY

BOARD_CHANGE = 25
"""So many days before today gypsum board moved to a cost code of its own."""
_COLUMNS = (
    *("account", "item", "class", "location", "vendor", "customer", "description", "valid_from", "valid_to"),
    *("route", "cost_code", "cost_type", "project", "commitment", "share", "reason", "note"),
)
_ITEMS = {
    "Ready-mix": ("03-3000", "M"),
    "Lumber": ("06-1000", "M"),
    "Concrete labor": ("03-3000", "L"),
    "Drywall labor": ("09-2900", "S"),
    "Wire and conduit": ("26-0500", "M"),
    "Structural steel": ("05-1200", "M"),
    "Roof membrane": ("07-5000", "M"),
    "Doors and frames": ("08-1000", "M"),
    "Site cleanup": ("01-5000", "L"),
    "Excavation": ("31-2300", "S"),
}
# Vendor -> cost code of its subcontracts, which are all of type S.
_SUBCONTRACTORS = {
    "Bright Electric": "26-0500",
    "Nordwall Drywall": "09-2900",
    "Helm Roofing": "07-5000",
    "Zephyr Mechanical": "22-0500",
    "Cottonwood Landscaping": "31-2300",
}
# Of two subcontracts on one job: the one that is meant when the bill names none.
_USUAL = {"Bright Electric": "SC-007"}

Row = Mapping[str, str]


def mapping_csv(today: date) -> str:
    """mapping.csv; `today` places the day from which a rule is another."""
    return _csv(_COLUMNS, [*_split(), *_by_item(today), *_by_account(), *_subcontracted(), *_overhead()])


def projects_csv() -> str:
    """projects.csv: jobs by full name or by QBO id; Mill Bridge has no row yet."""
    by_name = [
        {"customer": f"{job.customer}:{job.name}", "project": str(job.project), "note": job.name}
        for job in (HARBOR, ELM, LIBRARY, DEPOT)
    ]
    by_id = [
        {"customer": job.id, "project": str(job.project), "note": job.name} for job in (QUARRY, FIREHOUSE)
    ]
    return _csv(("customer", "project", "note"), [*by_name, *by_id])


def _csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cost(code: str, cost_type: str, **cells: str) -> Row:
    return {"route": "direct_cost", "cost_code": code, "cost_type": cost_type, **cells}


def _split() -> list[Row]:
    parts = (("01-5000", "L"), ("01-5000", "O"), ("01-7800", "O"))
    return [_cost(*part, item="Site services", share="1", note="in equal parts") for part in parts]


def _by_item(today: date) -> list[Row]:
    change = today - timedelta(days=BOARD_CHANGE)
    last = change - timedelta(days=1)
    return [
        *(_cost(*pair, item=item) for item, pair in _ITEMS.items()),
        _cost("09-2900", "M", item="Gypsum board", valid_to=last.isoformat()),
        _cost("09-2910", "M", item="Gypsum board", valid_from=change.isoformat(), note="code of its own"),
    ]


def _by_account() -> list[Row]:
    return [
        _cost("01-5000", "E", description="*rental pump*"),
        _cost("01-5000", "O", account="5010", location="Yard"),
        _cost("26-0500", "M", account="5010", vendor="Bowline Electrical Supply"),
        _cost("22-0500", "M", account="5010", vendor="Tri-County Plumbing Supply"),
        _cost("22-0500", "M", account="5010", vendor="Copperline Pipe & Valve"),
        _cost("03-3000", "M", account="5010", description="rebar"),
        _cost("06-1000", "M", account="5010", note="any other material"),
        _cost("01-5000", "E", account="5030"),
        {"account": "5040", "class": "Labor", **_cost("06-1000", "L")},
        {"account": "5040", "class": "Material", **_cost("06-1000", "M")},
        _cost("01-5000", "O", account="5060"),
        _cost("01-7800", "O", account="Job costs:Freight and delivery"),
    ]


def _subcontracted() -> list[Row]:
    def work(vendor: str, code: str, cost_type: str, **cells: str) -> Row:
        usual = _USUAL.get(vendor, "")
        pair = {"cost_code": code, "cost_type": cost_type}
        return {
            **{"account": "5020", "vendor": vendor, "route": "commitment", "commitment": usual},
            **pair,
            **cells,
        }

    return [
        work("Bright Electric", "01-5000", "O", description="*temporary power*"),
        *(work(vendor, code, "S") for vendor, code in _SUBCONTRACTORS.items()),
        *(
            {"account": "2150", "vendor": vendor, "route": "retainage", "commitment": number}
            for vendor, number in _USUAL.items()
        ),
        {"account": "2150", "route": "retainage", "note": "of the bill's own commitment, if any"},
    ]


def _overhead() -> list[Row]:
    return [{"account": "6100", "route": "exclude", "reason": "OVERHEAD"}]
