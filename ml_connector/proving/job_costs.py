"""Procore's side of the proof: what its lists show of each project, whoever made it. Reads only."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property

from ml_connector.errors import BadRecord, PermanentError
from ml_connector.money import ZERO, parse_amount, parse_number, to_cents
from ml_connector.posting.payments.bodies import origin_in
from ml_connector.procore.catalog import parse_code
from ml_connector.procore.client import Params, ProcoreClient, Raw
from ml_connector.procore.commitments import CONTRACT_ITEM, REQUISITIONS
from ml_connector.procore.direct_costs import CostThere, fetch_all_with_lines
from ml_connector.proving.figures import CHANGE_ORDER, RETAINAGE, Place, There
from ml_connector.qbo.models import Entity
from ml_connector.store.ledger import Kind
from ml_connector.store.proofs import Link

Stored = tuple[Decimal, Decimal]  # materials, and what is retained of them
COUNTED = ("approved", "approved_as_noted")
IN_REVIEW = ("under_review", "pending_owner_approval")
OF_ORIGIN = {
    "bill": Entity.BILL,
    "vendorcredit": Entity.VENDOR_CREDIT,
    "purchase": Entity.PURCHASE,
    "billpayment": Entity.BILL_PAYMENT,
}


@dataclass(frozen=True)
class Retained:
    """Retainage of one requisition: held less released, of what counts. `month` is that of its billing date."""

    commitment_id: int
    project: str
    month: str
    source: tuple[str, str] | None
    amount: Decimal


@dataclass
class JobCosts:
    """Procore's side: records that are job cost, payments on commitments, retainage by requisition."""

    costs: list[There] = field(default_factory=list)
    payments: list[There] = field(default_factory=list)
    retainage: list[Retained] = field(default_factory=list)
    direct_costs: dict[int, CostThere] = field(default_factory=dict)  # as read, by id
    commitments: dict[int, str] = field(default_factory=dict)  # project of each


@dataclass(frozen=True)
class Lists:
    """Reads Procore's lists of one company. `links` are those of our ledger, for records that carry no link of ours."""

    client: ProcoreClient
    realm: str
    links: Sequence[Link]
    in_review_counts: bool

    def read(self, projects: Collection[str]) -> JobCosts:
        """What Procore has on `projects`: three lists a project, and one of payments for each commitment that is billed.

        Raises the client's errors, and PermanentError for an answer that cannot be read: never an empty list for them.
        """
        found = JobCosts()
        for link in self.links:
            if link.commitment_id is not None:
                found.commitments[link.commitment_id] = link.project_id
        try:
            for project in sorted(projects):
                for cost in fetch_all_with_lines(self.client, project):
                    found.direct_costs[cost.id] = cost
                    found.costs.append(self._cost(cost, project))
                self._requisitions(project, found)
            for commitment, project in sorted(found.commitments.items()):
                if project in projects:
                    self._payments(commitment, project, found)
        except (BadRecord, KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"a requisition, direct cost or payment cannot be read ({error!r:.200})"
            raise PermanentError(what, vendor="procore") from error
        return found

    def _cost(self, cost: CostThere, project: str) -> There:
        parts: dict[Place, Decimal] = {}
        if cost.counts:
            for line in cost.lines:
                code, _, kind = line.code.rpartition(".")
                place = Place(project, code, kind)
                parts[place] = parts.get(place, ZERO) + line.amount
            rest = cost.counts - sum(parts.values(), ZERO)
            if rest:
                parts[Place(project)] = parts.get(Place(project), ZERO) + rest
        day = cost.fields.get("direct_cost_date") or cost.fields.get("received_date")
        source = self._source(Kind.DIRECT_COST, cost.id, cost.origin_id)
        return There(
            "direct cost",
            cost.id,
            cost.number,
            _day(day, cost.fields),
            source,
            parts,
            parts,
            _maker(cost.fields),
        )

    def _requisitions(self, project: str, found: JobCosts) -> None:
        params: Params = {"project_id": project, "view": "items"}
        rows = sorted(self.client.rows(REQUISITIONS, params), key=lambda row: int(row["number"]))
        stored: dict[tuple[int, str, str], Stored] = {}  # up to the invoice before, by commitment and line
        for row in rows:
            commitment = int(row["commitment_id"])
            found.commitments[commitment] = project
            parts, net, retained = self._items(row, project, stored)
            source = self._source(Kind.REQUISITION, int(row["id"]), str(row.get("origin_id") or ""))
            day = _day(row.get("billing_date"), row)
            number = str(row.get("invoice_number") or "")
            found.costs.append(
                There("requisition", int(row["id"]), number, day, source, parts, net, _maker(row))
            )
            if retained:
                found.retainage.append(Retained(commitment, project, f"{day:%Y-%m}", source, retained))

    def _items(
        self, row: Raw, project: str, stored: dict[tuple[int, str, str], Stored]
    ) -> tuple[dict[Place, Decimal], dict[Place, Decimal], Decimal]:
        """Work by code with retainage apart, the same with retainage taken off the codes, and what is retained.

        Materials stored stand on an invoice up to now: it bills what came since the one before. An invoice that does
        not count has no parts.
        """
        parts: dict[Place, Decimal] = {}
        net: dict[Place, Decimal] = {}
        retained = ZERO
        for item in row.get("items") or []:
            place = _place(item, project)
            line = (int(row["commitment_id"]), str(item["item_type"]), str(item["line_item_id"]))
            before, now = stored.get(line, (ZERO, ZERO)), _stored(item)
            stored[line] = now
            work = _money(item, "work_completed_this_period") + now[0] - before[0]
            held = (
                _money(item, "work_completed_retainage_retained_this_period")
                - _money(item, "work_completed_retainage_released_this_period")
                + now[1]
                - before[1]
            )
            parts[place] = parts.get(place, ZERO) + work
            net[place] = net.get(place, ZERO) + work - held
            retained += held
        status = str(row.get("status") or "")
        if status not in COUNTED and not (self.in_review_counts and status in IN_REVIEW):
            return {}, {}, ZERO
        if retained:
            parts[Place(project, RETAINAGE)] = -retained
        return _without_zeros(parts), _without_zeros(net), retained

    def _payments(self, commitment: int, project: str, found: JobCosts) -> None:
        params: Params = {"project_id": project, "contract_id": commitment}
        for row in self.client.rows("/rest/v1.0/contract_payments", params):
            parts = {Place(project): parse_amount(row.get("amount"), field="amount")}
            source = self._source(Kind.CONTRACT_PAYMENT, int(row["id"]), origin_in(row))
            number = str(row.get("check_number") or row.get("invoice_number") or "")
            found.payments.append(
                There(
                    "contract payment",
                    int(row["id"]),
                    number,
                    _day(row.get("date"), row),
                    source,
                    parts,
                    parts,
                )
            )

    @cached_property
    def _linked(self) -> dict[tuple[Kind, int], tuple[str, str]]:
        return {(link.kind, link.procore_id): (link.entity, link.qbo_id) for link in self.links}

    def _source(self, kind: Kind, procore_id: int, origin: str) -> tuple[str, str] | None:
        """The record in QBO that a record of Procore's is made from: by its own link, else by our ledger."""
        parts = origin.split(":")
        if len(parts) >= 5 and parts[:2] == ["qbo", self.realm] and parts[2] in OF_ORIGIN:
            return OF_ORIGIN[parts[2]], parts[3]
        return self._linked.get((kind, procore_id))


def _place(item: Raw, project: str) -> Place:
    code = parse_code(item["wbs_code"]) if isinstance(item.get("wbs_code"), Mapping) else None
    if code is not None:
        return Place(project, code.cost_code, code.cost_type)
    is_line = item.get("item_type") == CONTRACT_ITEM
    return Place(project, "" if is_line else CHANGE_ORDER)


def _stored(item: Raw) -> Stored:
    released = _money(item, "materials_stored_retainage_released_this_period")
    held = _money(item, "materials_stored_retainage_currently_retained")
    return _money(item, "materials_presently_stored"), held - released


def _day(value: object, row: Raw) -> date:
    """A date of a record; the day that it was made, where it has none."""
    try:
        return date.fromisoformat(str(value or row.get("created_at"))[:10])
    except ValueError:
        raise PermanentError("a record of Procore's has no date", vendor="procore") from None


def _maker(row: Raw) -> str:
    maker = row.get("created_by")
    name = maker.get("name") if isinstance(maker, Mapping) else None
    return f"{name} made it." if name else ""


def _money(row: Raw, name: str) -> Decimal:
    value = row.get(name)
    return ZERO if value in (None, "") else to_cents(parse_number(value, field=name))


def _without_zeros(amounts: Mapping[Place, Decimal]) -> dict[Place, Decimal]:
    return {place: amount for place, amount in amounts.items() if amount}


def sources(records: Iterable[There]) -> set[tuple[str, str]]:
    """The records in QBO that records of Procore's are made from."""
    return {one.source for one in records if one.source is not None}
