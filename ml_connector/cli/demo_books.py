"""What Procore holds of the demo's records, read from the sandbox and put into the words of the demo's expectations."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from ml_connector.cli.demo_firm import Sandbox
from ml_connector.sandbox.demo.expectations import (
    ZERO,
    CodedLine,
    ExpectedInvoice,
    ExpectedPayment,
    ExpectedTarget,
)

Source = tuple[str, str]
"""Kind in lower case and Id of the QBO record that an origin id names."""
Raw = Mapping[str, Any]
STRANGER: Source = ("", "")
DRAFT = "draft"  # the status of what does not count in Procore
WORK, HELD, RELEASED = (
    "work_completed_this_period",
    "work_completed_retainage_retained_this_period",
    "work_completed_retainage_released_this_period",
)


@dataclass
class Holdings:
    """What counts in Procore of one record of QBO; `net` of requisitions is what Procore itself computes."""

    costs: list[ExpectedTarget] = field(default_factory=list)
    invoices: list[ExpectedInvoice] = field(default_factory=list)
    payments: list[ExpectedPayment] = field(default_factory=list)
    paid_on: set[date | None] = field(default_factory=set)  # payment dates of the direct costs
    posted: Decimal = ZERO  # direct costs and the net of requisitions
    cash: Decimal = ZERO  # contract payments


class ProcoreBooks:
    """The sandbox's Procore side at one moment, by QBO record. What no record of QBO owns is that of STRANGER."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Reads every kind once."""
        self.of: dict[Source, Holdings] = defaultdict(Holdings)
        self._codes = {row["id"]: str(row["flat_code"]) for row in sandbox.live("procore", "wbs_codes")}
        commitments = sandbox.live("procore", "commitments")
        self._commitments = {row["id"]: str(row["number"]) for row in commitments}
        self._schedule = {
            line["id"]: line["wbs_code_id"] for row in commitments for line in row["line_items"]
        }
        for cost in _counting(sandbox.live("procore", "direct_costs")):
            self._add_cost(cost)
        requisitions = sandbox.live("procore", "requisitions")
        for invoice in _counting(requisitions):
            self._add_invoice(invoice)
        numbers = {row["id"]: str(row["invoice_number"]) for row in requisitions}
        for payment in sandbox.live("procore", "contract_payments"):
            self._add_payment(payment, numbers)

    @property
    def posted(self) -> Decimal:
        """Direct costs and the net of requisitions, of whatever record."""
        return sum((holdings.posted for holdings in self.of.values()), ZERO)

    @property
    def cash(self) -> Decimal:
        """Contract payments, of whatever record."""
        return sum((holdings.cash for holdings in self.of.values()), ZERO)

    def _add_cost(self, cost: Raw) -> None:
        mine = self.of[source_of(cost)]
        lines = tuple(
            self._coded(line["wbs_code_id"], Decimal(line["amount"])) for line in cost["line_items"]
        )
        mine.costs.append(
            ExpectedTarget(int(cost["project_id"]), str(cost.get("invoice_number") or ""), lines)
        )
        mine.paid_on.add(_day(cost.get("payment_date")))
        mine.posted += Decimal(cost["grand_total"])

    def _add_invoice(self, invoice: Raw) -> None:
        mine, items = self.of[source_of(invoice)], invoice["items"]
        work = tuple(
            self._coded(self._schedule.get(item["line_item_id"]), Decimal(item[WORK]))
            for item in items
            if Decimal(item[WORK])
        )
        held, released = (sum((Decimal(item[name]) for item in items), ZERO) for name in (HELD, RELEASED))
        commitment = self._commitments[invoice["commitment_id"]]
        mine.invoices.append(
            ExpectedInvoice(commitment, str(invoice["invoice_number"]), work, held, released)
        )
        mine.posted += Decimal(invoice["current_payment_due"])

    def _add_payment(self, payment: Raw, numbers: Mapping[int, str]) -> None:
        mine, amount = self.of[source_of(payment)], Decimal(payment["amount"])
        mine.payments.append(
            ExpectedPayment(
                self._commitments[payment["contract_id"]],
                numbers.get(payment.get("requisition_id") or 0, ""),
                amount,
                payment["payment_method"],
                str(payment.get("check_number") or ""),
                date.fromisoformat(payment["date"]),
            )
        )
        mine.cash += amount

    def _coded(self, wbs_code_id: int | None, amount: Decimal) -> CodedLine:
        code, _, kind = self._codes.get(wbs_code_id or 0, ".").rpartition(".")
        return code, kind, amount


def source_of(record: Raw) -> Source:
    """The record of QBO that the origin id `qbo:<realm>:<kind>:<id>:...` names."""
    parts = str(record.get("origin_id") or "").split(":")
    return (parts[2], parts[3]) if parts[0] == "qbo" and len(parts) > 4 else STRANGER


def _counting(records: Iterable[Raw]) -> Iterable[Raw]:
    return (record for record in records if record["status"] != DRAFT)


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
