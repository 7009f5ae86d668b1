"""QBO's side of the proof: every bill, credit and payment read afresh by date, and placed by the versions that posted it.

Our own tables say only which versions those were, what waits and what a person left out; the money is that of the answer.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.errors import BadRecord
from ml_connector.holds import Reason
from ml_connector.mapping.matching import customer_name
from ml_connector.mapping.models import (
    Excluded,
    Held,
    Posted,
    ProjectLinks,
    Reference,
    Retained,
    RuleBook,
    folded,
)
from ml_connector.mapping.publishing import newest_links, newest_rules, rules_of
from ml_connector.mapping.resolve import map_bill
from ml_connector.mapping.sheets import parse_projects
from ml_connector.mapping.vendor_merges import as_entered
from ml_connector.mapping.windows import load_reference
from ml_connector.money import ZERO, parse_amount, total
from ml_connector.procore.models import Catalog
from ml_connector.procore.stored_catalog import load_catalog
from ml_connector.proving.figures import RETAINAGE, Booked, Place
from ml_connector.qbo.client import QboClient
from ml_connector.qbo.models import (
    JOB_COSTS,
    Bill,
    Entity,
    Raw,
    Ref,
    parse_bill,
    parse_bill_payment,
    parse_date,
    sign_of,
)
from ml_connector.reading.sightings import content_hash
from ml_connector.reading.walk import counts, existing, walk_dated
from ml_connector.settings import Connection
from ml_connector.store import landing, proofs, sheets
from ml_connector.store.payments import Share, ShareKind
from ml_connector.store.proofs import Standing
from ml_connector.store.records import State

READ = (*JOB_COSTS, Entity.BILL_PAYMENT)
ON_ITS_WAY = (State.PLANNED, State.RETRYING)
UNREAD = "QBO has a newer version than the one that was worked on: the next run takes it up."
UNSEEN = "It was never read: neither change data capture nor a query by time of change showed it."
WAITS_TO_BE_MAPPED = "It is read and not worked on yet."
TAKEN_UP = (
    "If it was read before the policy `expenses` was turned on, `ml-connector sync --bill-dates` takes it up."
)


@dataclass
class Fresh:
    """What QBO answered: newest raw by entity and id; `missing` are entities of which fewer rows came than QBO counts."""

    rows: dict[Entity, dict[str, Raw]] = field(default_factory=lambda: {entity: {} for entity in READ})
    missing: dict[Entity, tuple[int, int]] = field(default_factory=dict)  # counted, read


@dataclass(frozen=True)
class Retention:
    """Retainage in the books' lines of one bill: held back less released, by what became of the lines."""

    entity: str
    qbo_id: str
    month: str  # of the date on the bill, "2026-03"
    project: str
    posted: Decimal
    waiting: Decimal
    excluded: Decimal


@dataclass(frozen=True)
class Books:
    """QBO's side: records that are job cost or not, payments, retainage by bill."""

    costs: Sequence[Booked]
    payments: Sequence[Booked]
    retainage: Sequence[Retention]


def read_afresh(client: QboClient, *, start: date, with_expenses: bool) -> Fresh:
    """Every bill, credit, payment, and purchase where asked, dated `start` or later.

    One call for the counts, one for up to 1000 of each. Raises the client's errors; a fault is never an empty page.
    """
    fresh = Fresh()
    entities = [entity for entity in READ if with_expenses or entity is not Entity.PURCHASE]
    counted = counts(client, entities, dated_from=start)
    for page in walk_dated(client, entities, dated_from=start):
        fresh.rows[page.entity] |= {str(row["Id"]): row for row in page.rows}
    for entity, number in counted.items():
        if number > len(fresh.rows[entity]):
            fresh.missing[entity] = (number, len(fresh.rows[entity]))
    return fresh


def add_referenced(client: QboClient, fresh: Fresh, names: Collection[tuple[str, str]]) -> None:
    """Read what Procore has a record of and the dates did not bring: older, or gone. No call when nothing is missing."""
    wanted: dict[Entity, set[str]] = {}
    for entity, qbo_id in names:
        if qbo_id not in fresh.rows[Entity(entity)]:
            wanted.setdefault(Entity(entity), set()).add(qbo_id)
    for page in existing(client, wanted):
        fresh.rows[page.entity] |= {str(row["Id"]): row for row in page.rows}


def place_all(
    engine: Engine, connection: Connection, fresh: Fresh, *, commitments: Mapping[int, str]
) -> Books:
    """QBO's side of every record of `fresh`, and of records that only our books still hold something of.

    `commitments` tells the project of each commitment.
    """
    with engine.connect() as db:
        return _Placing(connection, db, fresh, commitments).run()


class _Placing:
    def __init__(
        self, connection: Connection, db: Database, fresh: Fresh, commitments: Mapping[int, str]
    ) -> None:
        self.connection, self.db, self.fresh, self.commitments = connection, db, fresh, commitments
        self.known = proofs.standings(db, connection.name, READ)
        self.reference: Reference = load_reference(db, connection)
        self.catalog = _open(load_catalog(db, connection.name))
        self.rules: dict[int, RuleBook | None] = {}
        self.links: dict[int, ProjectLinks] = {}
        self.newest = newest_rules(db, connection.name), newest_links(db, connection.name)
        self.retainage: list[Retention] = []

    def run(self) -> Books:
        costs = [record for entity in JOB_COSTS for record in self._costs(entity)]
        shares = proofs.shares(self.db, self.connection.name)
        payments = [
            self._payment(raw, shares.get(qbo_id, []))
            for qbo_id, raw in self.fresh.rows[Entity.BILL_PAYMENT].items()
        ]
        return Books(
            [*costs, *self._gone(JOB_COSTS)], [*payments, *self._gone((Entity.BILL_PAYMENT,))], self.retainage
        )

    def _gone(self, entities: Sequence[Entity]) -> Iterator[Booked]:
        """Records that QBO no longer shows and that our books hold: what is left of them in Procore waits."""
        for name, standing in self.known.items():
            gone = standing.entity in entities and name[1] not in self.fresh.rows[Entity(name[0])]
            if gone and (standing.held or standing.state in ON_ITS_WAY):
                day = standing.txn_date or self.connection.start_date
                yield self._booked(standing, *name, standing.document, standing.vendor, day, {}, {})

    # -- bills, credits, purchases ------------------------------------------------------------------------------------

    def _costs(self, entity: Entity) -> Iterator[Booked]:
        rows = self.fresh.rows[entity]
        if entity is Entity.PURCHASE and self.connection.policies.expenses == "off":
            rows = {qbo_id: raw for qbo_id, raw in rows.items() if (entity, qbo_id) in self.known}
        versions = {
            number: landing.Version(number, entity, qbo_id, 0, tombstone=False, day=date.min, raw=raw)
            for number, (qbo_id, raw) in enumerate(rows.items())
        }
        for version in as_entered(self.db, self.connection.name, entity, versions).values():
            try:
                bill = parse_bill(version.raw, entity)
            except BadRecord as error:
                yield self._unreadable(entity, version.qbo_id, version.raw, error)
            else:
                yield self._bill(bill, rows[version.qbo_id])

    def _bill(self, bill: Bill, raw: Raw) -> Booked:
        standing = self.known.get((bill.entity, bill.id))
        wanted: dict[Place, Decimal] = {}
        excluded: dict[Place, Decimal] = {}
        left_out = bill.not_yet or ("" if standing is None else standing.excluded_for)
        for place, amount, counts_there in self._parts(bill, standing):
            side = wanted if counts_there and not left_out else excluded
            side[place] = side.get(place, ZERO) + amount
        note = self._note(standing, bill.entity, raw)
        return self._booked(
            standing,
            bill.entity,
            bill.id,
            bill.number,
            bill.vendor.name,
            bill.txn_date,
            wanted,
            excluded,
            note,
        )

    def _parts(self, bill: Bill, standing: Standing | None) -> Iterator[tuple[Place, Decimal, bool]]:
        """Place and money of every part of a bill, and whether it belongs in Procore."""
        rules, links = self._versions(standing)
        if rules is None:
            yield Place(), bill.sign * bill.total, True
            return
        mapped = map_bill(
            bill,
            rules=rules,
            links=links,
            reference=self.reference,
            catalog=self.catalog,
            policies=self.connection.policies,
        )
        project_of = {line.number: self._project(line.customer, links) for line in bill.lines}
        main = next((part.project for part in mapped.parts if isinstance(part, Posted)), "")
        held_back = [part for part in mapped.parts if isinstance(part, Retained)]
        left_out = frozenset[int]() if standing is None else standing.left_out
        for part in mapped.parts:
            project = project_of.get(part.line, "")
            if isinstance(part, Posted):
                yield Place(part.project, part.cost_code, part.cost_type), part.amount, True
            elif isinstance(part, Retained):
                counts_there = part.line not in left_out
                yield Place(part.project or main, RETAINAGE), part.amount, counts_there
            elif isinstance(part, Held):
                yield _as_posted(part, standing) or Place(project), part.amount, True
            else:
                yield Place(project), part.amount, False
        apart = [
            part for part in mapped.parts if isinstance(part, Excluded) and part.reason == "RETAINAGE_PAYABLE"
        ]
        if held_back or apart:
            self._retain(bill, standing, held_back, apart, left_out, main)
        rest = mapped.total - total(part.amount for part in mapped.parts)
        if rest:  # a bill that is held as a whole, such as one out of balance
            yield Place(main), rest, True

    def _retain(
        self,
        bill: Bill,
        standing: Standing | None,
        parts: Sequence[Retained],
        apart: Sequence[Excluded],
        left_out: Collection[int],
        main: str,
    ) -> None:
        waits = standing is None or standing.state in (State.HELD, *ON_ITS_WAY) or bool(standing.held)
        counted = -total(part.amount for part in parts if part.line not in left_out)
        excluded = -total(part.amount for part in parts if part.line in left_out)
        excluded -= total(part.amount for part in apart)
        project = next((part.project for part in parts if part.project), main)
        self.retainage.append(
            Retention(
                bill.entity,
                bill.id,
                f"{bill.txn_date:%Y-%m}",
                project,
                ZERO if waits else counted,
                counted if waits else ZERO,
                excluded,
            )
        )

    def _unreadable(self, entity: Entity, qbo_id: str, raw: Raw, error: BadRecord) -> Booked:
        try:
            amount = sign_of(entity, raw) * parse_amount(raw.get("TotalAmt"), field="TotalAmt") + ZERO
        except BadRecord:
            amount = ZERO
        try:
            day = parse_date(raw.get("TxnDate"), field="TxnDate")
        except BadRecord:
            day = self.connection.start_date
        standing = self.known.get((entity, qbo_id))
        number = str(raw.get("DocNumber") or "")[:40]
        wanted = {Place(): amount} if amount else {}
        return self._booked(
            standing, entity, qbo_id, number, "", day, wanted, {}, f"It cannot be read: {error}."
        )

    # -- payments -----------------------------------------------------------------------------------------------------

    def _payment(self, raw: Raw, shares: Sequence[Share]) -> Booked:
        qbo_id = str(raw["Id"])
        standing = self.known.get((Entity.BILL_PAYMENT, qbo_id))
        try:
            payment = parse_bill_payment(raw)
        except BadRecord as error:
            return self._unreadable(Entity.BILL_PAYMENT, qbo_id, raw, error)
        wanted: dict[Place, Decimal] = {}
        excluded: dict[Place, Decimal] = {}
        held = ZERO
        for share in shares:
            if not share.cash:
                continue
            if share.kind is ShareKind.REQUISITION:
                place = Place(self.commitments.get(int(share.target_id.partition(":")[0]), ""))
                wanted[place] = wanted.get(place, ZERO) + share.cash
            elif share.kind is ShareKind.WAITING:
                wanted[Place()] = wanted.get(Place(), ZERO) + share.cash
                held += share.cash
            else:  # a direct cost shows a payment by its date alone
                place = Place(share.target_id if share.kind is ShareKind.DIRECT_COST else "")
                excluded[place] = excluded.get(place, ZERO) + share.cash
        rest = payment.total - total([*wanted.values(), *excluded.values()])
        if rest:
            wanted[Place()] = wanted.get(Place(), ZERO) + rest
        made = self._booked(
            standing, Entity.BILL_PAYMENT, qbo_id, payment.number, payment.vendor.name, payment.txn_date,
            wanted, excluded, self._note(standing, Entity.BILL_PAYMENT, raw),
        )  # fmt: skip
        waits = made.waits or (standing is not None and standing.state == State.HELD)
        return replace(made, held=held, waits=waits)

    # -- what our books say -------------------------------------------------------------------------------------------

    def _booked(
        self,
        standing: Standing | None,
        entity: str,
        qbo_id: str,
        document: str,
        vendor: str,
        day: date,
        wanted: dict[Place, Decimal],
        excluded: dict[Place, Decimal],
        note: str = "",
    ) -> Booked:
        drifted = standing is not None and Reason.DRIFT in standing.reasons
        if drifted:
            note = f"It is held for a decision: keep_theirs or restore_ours. {note}".strip()
        return Booked(
            entity, qbo_id, document, vendor, day, wanted, excluded,
            held=ZERO if standing is None else standing.held,
            is_held=standing is not None and standing.state == State.HELD,
            waits=standing is not None and standing.state in ON_ITS_WAY and not standing.settled and not note,
            drifted=drifted,
            note=note,
        )  # fmt: skip

    def _note(self, standing: Standing | None, entity: Entity, raw: Raw) -> str:
        if standing is None:
            seen = landing.newest(self.db, self.connection.name, entity, [str(raw["Id"])])
            if not seen:
                return UNSEEN
            return f"{WAITS_TO_BE_MAPPED} {TAKEN_UP}" if entity is Entity.PURCHASE else WAITS_TO_BE_MAPPED
        return "" if standing.content_hash == content_hash(entity, raw) else UNREAD

    def _versions(self, standing: Standing | None) -> tuple[RuleBook | None, ProjectLinks]:
        """The versions that decided the record; the newest for one that was never decided."""
        if standing is None or standing.mapping_version is None:
            return self.newest
        mapping, projects = standing.mapping_version, standing.projects_version or 0
        if mapping not in self.rules:
            self.rules[mapping] = rules_of(self.db, self.connection.name, mapping)
        if projects not in self.links:
            stored = (
                sheets.one(self.db, self.connection.name, sheets.PROJECTS, projects) if projects else None
            )
            self.links[projects] = (
                ProjectLinks(0, {}) if stored is None else parse_projects(stored.content, projects)
            )
        return self.rules[mapping], self.links[projects]

    def _project(self, customer: Ref | None, links: ProjectLinks) -> str:
        if customer is None:
            return ""
        name = folded(customer_name(customer, self.reference))
        return links.by_customer.get(folded(customer.id)) or links.by_customer.get(name, "")


def _as_posted(part: Held, standing: Standing | None) -> Place | None:
    """Where a part was posted that the lists of today would hold."""
    for line, project, code, kind, amount in () if standing is None else standing.placed:
        if line == part.line and amount == part.amount:
            return Place(project, code, kind)
    return None


def _open(catalog: Catalog) -> Catalog:
    """The copy of Procore's lists with everything in use: what was posted is placed whatever was closed since."""
    return Catalog(
        {
            project.id: replace(
                project,
                active=True,
                unreadable="",
                codes={pair: replace(code, active=True) for pair, code in project.codes.items()},
            )
            for project in catalog.projects.values()
        }
    )
