"""What would free the bills that a rehearsal holds: the sheet and the row to type, or what else to do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ml_connector.holds import Hold, Reason
from ml_connector.mapping.models import Reference
from ml_connector.money import total
from ml_connector.store import sheets
from ml_connector.store.records import Decision
from ml_connector.takeover.drafting import Draft

BY_A_ROW = (Reason.PROJECT_NOT_LINKED, Reason.UNMAPPED)


@dataclass(frozen=True)
class Wanted:
    """What would free held bills: the sheet and what to type there, or for `sheet` "" what else to do."""

    reason: str
    cause: str
    sheet: str
    to_type: str
    bills: int
    amount: Decimal


def wanted(
    causes: Mapping[tuple[str, str], Sequence[tuple[Decision, Hold]]],
    *,
    drafted: Callable[[], Draft],
    reference: Reference,
) -> list[Wanted]:
    """What would free the bills of each cause (reason, cause), most money first; `drafted` proposes rows."""
    proposals = drafted() if any(reason in BY_A_ROW for reason, _ in causes) else Draft((), ())
    found = []
    for (reason, cause), several in causes.items():
        bills = {(decision.entity, decision.qbo_id): decision for decision, _ in several}
        waits = total(decision.total - decision.excluded for decision in bills.values())
        sheet, to_type = _to_type(reason, cause, several[0], proposals, reference)
        found.append(Wanted(reason, cause, sheet, to_type, len(bills), waits))
    return sorted(found, key=lambda one: (-abs(one.amount), one.cause))


def _to_type(
    reason: str, cause: str, first: tuple[Decision, Hold], drafted: Draft, reference: Reference
) -> tuple[str, str]:
    """The sheet that takes a row for the cause, and the row; else "" and what else is to be done."""
    decision, hold = first
    kind, _, qbo_id = cause.removeprefix(f"{reason} ").partition(" ")
    if reason == Reason.PROJECT_NOT_LINKED and qbo_id in reference.customers:
        name = reference.customers[qbo_id].full_name
        row = next((one.cells for one in drafted.projects if one.cells["customer"] in (name, qbo_id)), None)
        return sheets.PROJECTS, _row_words(row or {"customer": name, "project": ""})
    if reason == Reason.UNMAPPED and kind in ("account", "item"):
        rows = [
            one.cells for one in drafted.mapping if one.cells.get(kind) in _names(kind, qbo_id, reference)
        ]
        mine = [cells for cells in rows if cells.get("vendor") == decision.vendor_name]
        general = [cells for cells in rows if not cells.get("vendor")]
        if mine or general:
            return sheets.MAPPING, _row_words((mine or general)[0])
    if reason in (Reason.VENDOR_AMBIGUOUS, Reason.VENDOR_MISMATCH):
        return sheets.VENDORS, f"vendor: {decision.vendor_name}; procore_vendor: its id in Procore"
    return "", hold.sentence


def _names(kind: str, qbo_id: str, reference: Reference) -> tuple[str, ...]:
    if kind == "item":
        item = reference.items.get(qbo_id)
        return () if item is None else (item.id, item.name, item.full_name)
    account = reference.accounts.get(qbo_id)
    return () if account is None else (account.id, account.number, account.full_name)


def _row_words(cells: Mapping[str, str]) -> str:
    """`item: Ready-mix; route: direct_cost; cost_code: 03-3000; cost_type: M`; a `?` is for a person to find."""
    if "customer" in cells and "route" not in cells:
        asked: tuple[str, ...] = ("customer", "project")
    else:
        needs_code = cells.get("route") in ("direct_cost", "commitment", "")
        given = [name for name in ("account", "item", "vendor") if cells.get(name)]
        asked = (*given, "route", *(("cost_code", "cost_type") if needs_code else ()))
        asked += ("reason",) if cells.get("reason") else ()
    words = "; ".join(f"{name}: {cells.get(name) or '?'}" for name in asked)
    is_open = any(not cells.get(name) for name in asked)
    return f"{words} ({cells['note']})" if is_open and cells.get("note") else words
