"""Commitments of projects as Procore has them: contracts, their schedules of values, billing periods, invoices.

Read lazily and once a run, since they are asked for only when something is to be posted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from ml_connector.errors import BadRecord, PermanentError
from ml_connector.money import ZERO, parse_amount, parse_number, to_cents, total
from ml_connector.procore.client import Params, ProcoreClient, Raw

REQUISITIONS = "/rest/v1.1/requisitions"
TAKES_INVOICES = ("Approved", "Complete")  # procore-api 9.5
OVER = ("Terminated", "Void", "Closed")
CONTRACT_ITEM = "contract_item"
CHANGE_ORDER_ITEM = "change_order_item"
ItemKey = tuple[str, int]  # type of item, id of its line


@dataclass(frozen=True)
class Contract:
    """A commitment in short. `vendor_id` None when none was chosen yet."""

    id: int
    project_id: str
    number: str
    title: str
    status: str
    vendor_id: int | None
    vendor_name: str


@dataclass(frozen=True)
class ScheduleLine:
    """What may be billed on: a line of the schedule of values, or an approved change order (no budget code)."""

    key: ItemKey
    wbs_code_id: int | None
    text: str
    amount: Decimal
    unit_cost: Decimal | None


@dataclass(frozen=True)
class Commitment:
    """A contract with its schedule of values in Procore's order. `retainage_percent` is None when it says none."""

    contract: Contract
    takes_invoices: bool
    by_units: bool
    retainage_percent: Decimal | None
    revised: Decimal
    invoiced: Decimal
    change_orders: Decimal  # approved, in money
    lines: tuple[ScheduleLine, ...]


@dataclass(frozen=True)
class Period:
    """A billing period."""

    id: int
    start: date
    end: date
    is_open: bool


@dataclass(frozen=True)
class Item:
    """What an invoice bills on one line: this period's work and retainage, and materials stored up to now."""

    id: int
    key: ItemKey
    text: str
    scheduled: Decimal
    work: Decimal
    retained: Decimal
    released: Decimal
    stored: Decimal
    stored_retained: Decimal


@dataclass(frozen=True)
class Requisition:
    """A subcontractor invoice. `number` counts in its commitment, `net` is its current payment due."""

    id: int
    number: int
    invoice_number: str
    status: str
    period_id: int | None
    origin_id: str
    net: Decimal
    items: tuple[Item, ...]
    dated: date | None = None  # billing date, else the end of what it bills, else the day it was entered

    @property
    def gross(self) -> Decimal:
        """Work of this period."""
        return total(item.work for item in self.items)


@dataclass
class CommitmentBook:
    """Commitments of one run. Every method raises the client's errors, and PermanentError for what cannot be read."""

    client: ProcoreClient
    _contracts: dict[str, list[Contract]] = field(default_factory=dict)
    _commitments: dict[int, Commitment] = field(default_factory=dict)
    _periods: dict[str, list[Period]] = field(default_factory=dict)
    _requisitions: dict[int, list[Requisition]] = field(default_factory=dict)

    def contracts(self, project_id: str) -> list[Contract]:
        """All commitments of a project, subcontracts and purchase orders: one call."""
        if project_id not in self._contracts:
            rows = self.client.rows("/rest/v1.0/commitments", {"project_id": project_id})
            self._contracts[project_id] = [_parsed(_contract, row, project_id) for row in rows]
        return self._contracts[project_id]

    def has_contracts(self, project_id: str) -> bool:
        """Whether the commitments of a project were read in this run."""
        return project_id in self._contracts

    def commitment(self, contract: Contract) -> Commitment:
        """One commitment with its schedule of values: one call."""
        if contract.id not in self._commitments:
            path, params = f"/rest/v1.0/commitments/{contract.id}", {"project_id": contract.project_id}
            self._commitments[contract.id] = _parsed(_commitment, self.client.get(path, params), contract)
        return self._commitments[contract.id]

    def periods(self, project_id: str) -> list[Period]:
        """The billing periods of a project, oldest first: one call."""
        if project_id not in self._periods:
            rows = self.client.rows(f"/rest/v1.0/projects/{project_id}/billing_periods")
            found = [_parsed(_period, row, None) for row in rows]
            self._periods[project_id] = sorted(found, key=lambda period: period.start)
        return self._periods[project_id]

    def requisitions(self, contract: Contract) -> list[Requisition]:
        """The invoices of a commitment with their items, oldest first: one call."""
        if contract.id not in self._requisitions:
            params: Params = {
                "project_id": contract.project_id,
                "filters[commitment_id]": contract.id,
                "view": "items",
            }
            rows = self.client.rows(REQUISITIONS, params)
            mine = [row for row in rows if row.get("commitment_id") in (None, contract.id)]
            found = [_parsed(_requisition, row, None) for row in mine]
            self._requisitions[contract.id] = sorted(found, key=lambda requisition: requisition.number)
        return self._requisitions[contract.id]

    def forget(self, contract: Contract) -> None:
        """Read the invoices of a commitment again when they are asked for next: one of them was written."""
        self._requisitions.pop(contract.id, None)

    def is_paid(self, contract: Contract, requisition_id: int) -> bool:
        """Whether a payment on the contract names this invoice: one call, never kept."""
        params: Params = {"project_id": contract.project_id, "contract_id": contract.id}
        rows = self.client.rows("/rest/v1.0/contract_payments", params)
        return any(str(row.get("requisition_id")) == str(requisition_id) for row in rows)


@dataclass(frozen=True)
class Paid:
    """A payment on a commitment."""

    id: int
    dated: date | None
    amount: Decimal


def fetch_payments(client: ProcoreClient, contract: Contract) -> list[Paid]:
    """All payments of a commitment: one call. Raises the client's errors, and PermanentError for what cannot be read."""
    params: Params = {"project_id": contract.project_id, "contract_id": contract.id}
    return [_parsed(_paid, row, None) for row in client.rows("/rest/v1.0/contract_payments", params)]


def _paid(row: Raw, _: object) -> Paid:
    said = row.get("date") or str(row.get("created_at") or "")[:10]
    return Paid(int(row["id"]), date.fromisoformat(said) if said else None, _money(row, "amount"))


def net_of(row: Raw) -> Decimal | None:
    """`summary.current_payment_due` of a requisition's answer; None when it is not said. Raises BadRecord."""
    summary = row.get("summary")
    due = summary.get("current_payment_due") if isinstance(summary, Mapping) else None
    return None if due is None else parse_amount(due, field="current_payment_due")


def _parsed(parse: Any, row: Any, context: object) -> Any:
    """`parse(row, context)`; what it cannot read is a broken promise of Procore's, never a missing record."""
    try:
        return parse(row, context)
    except (BadRecord, KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"a commitment, period or invoice cannot be read ({error!r:.200})"
        raise PermanentError(what, vendor="procore") from error


def _contract(row: Raw, project_id: str) -> Contract:
    vendor = row.get("vendor") or {}
    return Contract(
        id=int(row["id"]),
        project_id=project_id,
        number=str(row.get("number") or ""),
        title=str(row.get("title") or ""),
        status=str(row.get("status") or ""),
        vendor_id=None if vendor.get("id") is None else int(vendor["id"]),
        vendor_name=str(vendor.get("name") or ""),
    )


def _commitment(row: Raw, contract: Contract) -> Commitment:
    lines = sorted(row.get("line_items") or [], key=lambda line: (line.get("position") or 0, int(line["id"])))
    percent = row.get("retainage_percent")
    return Commitment(
        contract=contract,
        takes_invoices=row.get("allow_payment_applications") is not False,
        by_units=str(row.get("accounting_method") or "amount").startswith("unit"),
        retainage_percent=None if percent is None else parse_number(percent, field="retainage_percent"),
        revised=_money(row, "revised_contract"),
        invoiced=_money(row, "total_requisitions_amount"),
        change_orders=_money(row, "approved_change_orders"),
        lines=tuple(_schedule_line(line) for line in lines),
    )


def _schedule_line(line: Raw) -> ScheduleLine:
    code = (line.get("wbs_code") or {}).get("id")
    unit_cost = line.get("unit_cost")
    return ScheduleLine(
        key=(CONTRACT_ITEM, int(line["id"])),
        wbs_code_id=None if code is None else int(code),
        text=str(line.get("description") or ""),
        amount=_money(line, "amount"),
        unit_cost=None if unit_cost is None else parse_number(unit_cost, field="unit_cost"),
    )


def _period(row: Raw, _: object) -> Period:
    return Period(
        id=int(row["id"]),
        start=date.fromisoformat(row["start_date"]),
        end=date.fromisoformat(row["end_date"]),
        is_open=row.get("status") == "open",
    )


def _requisition(row: Raw, _: object) -> Requisition:
    items = tuple(_item(item) for item in row.get("items") or [])
    net = net_of(row)
    if net is None:
        raise BadRecord("a requisition says no current_payment_due")
    return Requisition(
        id=int(row["id"]),
        number=int(row["number"]),
        invoice_number=str(row.get("invoice_number") or ""),
        status=str(row.get("status") or ""),
        period_id=None if row.get("period_id") is None else int(row["period_id"]),
        origin_id=str(row.get("origin_id") or ""),
        net=net,
        items=items,
        dated=_dated(row),
    )


def _dated(row: Raw) -> date | None:
    said = row.get("billing_date") or row.get("requisition_end") or str(row.get("created_at") or "")[:10]
    return date.fromisoformat(said) if said else None


def _item(row: Raw) -> Item:
    return Item(
        id=int(row["id"]),
        key=(str(row["item_type"]), int(row["line_item_id"])),
        text=str(row.get("description_of_work") or ""),
        scheduled=_money(row, "scheduled_value"),
        work=_money(row, "work_completed_this_period"),
        retained=_money(row, "work_completed_retainage_retained_this_period"),
        released=_money(row, "work_completed_retainage_released_this_period"),
        stored=_money(row, "materials_presently_stored"),
        stored_retained=_money(row, "materials_stored_retainage_currently_retained"),
    )


def _money(row: Raw, name: str) -> Decimal:
    value = row.get(name)
    # Procore writes money with up to twelve decimals; it counts in cents.
    return ZERO if value in (None, "") else to_cents(parse_number(value, field=name))
