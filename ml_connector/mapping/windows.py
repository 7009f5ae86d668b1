"""Mapping windows: the newest version of every record of a day becomes a decision in the store.

New versions are mapped, and held ones again, since their cause may be gone; what is posted and unchanged is left alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.errors import BadRecord
from ml_connector.holds import Hold, Reason
from ml_connector.mapping.models import (
    Excluded,
    Held,
    MappedBill,
    Part,
    Posted,
    ProjectLinks,
    Reference,
    RuleBook,
)
from ml_connector.mapping.publishing import newest_links, newest_rules
from ml_connector.mapping.resolve import map_bill
from ml_connector.money import ZERO, parse_amount, total
from ml_connector.procore.models import Catalog
from ml_connector.qbo.models import (
    Bill,
    Entity,
    Raw,
    document_key,
    parse_account,
    parse_bill,
    parse_bill_payment,
    parse_customer,
    parse_item,
    parse_vendor,
    updated_at,
)
from ml_connector.settings import Connection
from ml_connector.store import audit, cursor, landing, ledger, records, windows
from ml_connector.store.records import Decision, MappedLine, State

CHUNK = 500
MAPPED = (Entity.VENDOR, Entity.BILL, Entity.VENDOR_CREDIT, Entity.BILL_PAYMENT)
NOT_PUBLISHED = "mapping.csv was never published: run `ml-connector mapping publish`"


@dataclass
class Mapped:
    """What mapping did: records by entity and state, and money of bills and credits (total, excluded, held)."""

    states: dict[tuple[Entity, State], int] = field(default_factory=dict)
    total: Decimal = ZERO
    excluded: Decimal = ZERO
    held: Decimal = ZERO

    def count(self, decision: Decision) -> None:
        """Add one decision."""
        key = (Entity(decision.entity), decision.state)
        self.states[key] = self.states.get(key, 0) + 1
        self.total += decision.total
        self.excluded += decision.excluded
        self.held += decision.held


@dataclass(frozen=True)
class _Books:
    rules: RuleBook | None
    links: ProjectLinks
    reference: Reference
    catalog: Catalog
    went_live: datetime | None


@dataclass(frozen=True)
class Mapper:
    """Maps windows of one connection. `load_catalog` gives the stored copy of Procore's lists."""

    connection: Connection
    engine: Engine
    load_catalog: Callable[[Database], Catalog]
    run_id: str

    def map_days(self, days: Sequence[date]) -> Mapped:
        """Decide every record of `days` that is new or held. Never raises for one record: it is held instead.

        A record of which nothing new can be said costs no write: neither a row nor an entry of the trail.
        """
        done = Mapped()
        with self.engine.connect() as db:
            books = self._books(db)
        for entity, numbers in self._pending(days):
            with self.engine.begin() as db:
                decisions = self._decide(db, entity, numbers, books)
                self._store(db, entity, decisions, days)
            for decision in decisions:
                done.count(decision)
        return done

    def decisions(self, days: Sequence[date]) -> Iterator[Decision]:
        """What `map_days` would decide now, without storing it."""
        with self.engine.connect() as db:
            books = self._books(db)
            for entity, numbers in self._pending(days):
                yield from self._decide(db, entity, numbers, books)

    def _pending(self, days: Sequence[date]) -> Iterator[tuple[Entity, list[int]]]:
        for entity in MAPPED:
            after = 0
            while True:
                with self.engine.connect() as db:
                    numbers = records.to_map(
                        db, self.connection.name, entity, days, again_held=True, limit=CHUNK, after=after
                    )
                if not numbers:
                    break
                yield entity, numbers
                after = numbers[-1]

    def _store(self, db: Database, entity: Entity, decisions: Sequence[Decision], days: Sequence[date]) -> None:
        name, ids = self.connection.name, [decision.qbo_id for decision in decisions]
        before = records.known(db, name, entity, ids)
        reasons = records.reasons_of(db, name, entity, ids)
        same = records.unchanged(db, name, entity, decisions, before)
        fresh = [decision for decision in decisions if decision.qbo_id not in same]
        records.save(db, name, fresh, run_id=self.run_id)
        self._wake_others(db, fresh, before, days)
        told = [
            entry
            for decision in fresh
            for entry in _told(decision, before.get(decision.qbo_id), reasons.get(decision.qbo_id, []))
        ]
        audit.append(db, name, told, run_id=self.run_id, actor="ml-connector")

    def _wake_others(
        self, db: Database, fresh: Sequence[Decision], before: Mapping[str, Row[Any]], days: Sequence[date]
    ) -> None:
        """A day that lost a waiting record to a later one may be clean by now; so may a duplicate of a changed bill."""
        name = self.connection.name
        changed = [row for row in map(before.get, [decision.qbo_id for decision in fresh]) if row is not None]
        moved = {decision.qbo_id: decision.day for decision in fresh}
        left = {
            row.day
            for row in changed
            if row.day != moved[row.qbo_id] and row.state in (State.HELD, State.RETRYING)
        }
        windows.mark(db, name, left - set(days), reason="a waiting record was superseded")
        causes = [_duplicate_of(row.qbo_id) for row in changed]
        if causes:
            windows.wake_causes(db, name, causes, why="the bill with the same number changed")

    def _books(self, db: Database) -> _Books:
        name = self.connection.name
        return _Books(
            rules=newest_rules(db, name),
            links=newest_links(db, name),
            reference=load_reference(db, self.connection),
            catalog=self.load_catalog(db),
            went_live=cursor.went_live(db, name),
        )

    def _decide(self, db: Database, entity: Entity, numbers: Sequence[int], books: _Books) -> list[Decision]:
        versions = landing.by_number(db, self.connection.name, numbers)
        ids = [version.qbo_id for version in versions.values()]
        live = ledger.live_amounts(db, self.connection.name, entity, ids)
        before = records.known(db, self.connection.name, entity, ids)
        twins = self._twins(db, entity, list(versions.values()))
        deciding = _Deciding(self.connection, books, live, before, twins, db)
        return [deciding.decide(versions[number]) for number in numbers]

    def _twins(
        self, db: Database, entity: Entity, versions: Sequence[landing.Version]
    ) -> dict[tuple[str, str], list[landing.Twin]]:
        documents = [_document(version.raw) for version in versions]
        return landing.same_documents(db, self.connection.name, entity, [pair for pair in documents if all(pair)])


def load_reference(db: Database, connection: Connection) -> Reference:
    """QBO's lists as they were landed last."""
    accounts = (parse_account(version.raw) for version in landing.every(db, connection.name, Entity.ACCOUNT))
    items = (parse_item(version.raw) for version in landing.every(db, connection.name, Entity.ITEM))
    customers = (parse_customer(version.raw) for version in landing.every(db, connection.name, Entity.CUSTOMER))
    return Reference(
        accounts={account.id: account for account in accounts},
        items={item.id: item for item in items},
        customers={customer.id: customer for customer in customers},
        home_currency=connection.qbo.home_currency,
    )


def _document(raw: Raw) -> tuple[str, str]:
    vendor = raw.get("VendorRef")
    vendor_id = str(vendor.get("value", "")) if isinstance(vendor, dict) else ""
    return vendor_id, document_key(str(raw.get("DocNumber") or ""))


def _duplicate_of(qbo_id: str) -> str:
    return f"{Reason.POSSIBLE_DUPLICATE} bill {qbo_id}"


def _told(decision: Decision, before: Row[Any] | None, reasons: Sequence[str]) -> Iterator[audit.Entry]:
    if before is not None and before.state == State.HELD and decision.state is not State.HELD:
        yield audit.Entry(
            "released" if before.landing_number == decision.landing_number else "superseded",
            decision.entity,
            decision.qbo_id,
            {
                "from": sorted(set(reasons)),
                "mapping": decision.mapping_version,
                "projects": decision.projects_version,
                "waited_since": before.since,
            },
        )
    yield audit.Entry(
        "mapped",
        decision.entity,
        decision.qbo_id,
        {
            "state": decision.state,
            "version": decision.landing_number,
            "mapping": decision.mapping_version,
            "projects": decision.projects_version,
            "total": decision.total,
            "excluded": decision.excluded,
            "held": decision.held,
            "rules": sorted({line.rule for line in decision.lines if line.rule}),
            "holds": [{"reason": entry.reason, "sentence": entry.sentence} for entry in decision.holds],
        },
    )


@dataclass(frozen=True)
class _Deciding:
    """Decides versions of one chunk with everything at hand."""

    connection: Connection
    books: _Books
    live: Mapping[str, Decimal]  # of records that Procore has, or may have, something of
    before: Mapping[str, Row[Any]]
    twins: dict[tuple[str, str], list[landing.Twin]]
    db: Database

    def decide(self, version: landing.Version) -> Decision:
        """The decision on one version; what cannot be read is held."""
        entity = Entity(version.entity)
        if version.tombstone:
            return self._decision(version, State.PLANNED)
        try:
            if entity is Entity.VENDOR:
                vendor = parse_vendor(version.raw)
                return self._decision(version, State.PLANNED, vendor_name=vendor.name)
            if entity is Entity.BILL_PAYMENT:
                return self._payment(version)
            return self._bill(version, parse_bill(version.raw, entity))
        except BadRecord as error:
            return self._unreadable(version, error)

    def _payment(self, version: landing.Version) -> Decision:
        payment = parse_bill_payment(version.raw)
        sentence = (
            f"Payment {payment.number or 'without number'} to {payment.vendor.name} ({payment.total}) is not posted: "
            "this version of ml-connector does not post payments. Enter it in Procore by hand."
        )
        hold = Hold(Reason.UNSUPPORTED, sentence, "UNSUPPORTED payments", payment.total)
        return self._decision(
            version,
            State.HELD,
            document=payment.number,
            vendor_name=payment.vendor.name,
            txn_date=payment.txn_date,
            amount=payment.total,
            held=payment.total,
            holds=(hold,),
        )

    def _unreadable(self, version: landing.Version, error: BadRecord) -> Decision:
        raw = version.raw
        try:
            amount = parse_amount(raw.get("TotalAmt"), field="TotalAmt")
        except BadRecord:
            amount = ZERO
        number = str(raw.get("DocNumber") or "without number")[:40]
        sentence = (
            f"{version.entity} {number} (QBO id {version.qbo_id}) cannot be read: {error}. Correct it in QBO; "
            "it is taken up again by itself."
        )
        hold = Hold(Reason.UNREADABLE, sentence, f"UNREADABLE {version.entity}", amount)
        return self._decision(
            version, State.HELD, document=number, amount=amount, held=amount, holds=(hold,)
        )

    def _bill(self, version: landing.Version, bill: Bill) -> Decision:
        sign = -1 if bill.entity is Entity.VENDOR_CREDIT else 1
        if bill.txn_date < self.connection.start_date:
            return self._before_start(version, bill, sign * bill.total)
        if self.books.rules is None:
            mapped = MappedBill((), (self._hold(Reason.UNMAPPED, NOT_PUBLISHED, "UNMAPPED nothing published", bill),), ())
        else:
            mapped = map_bill(
                bill,
                rules=self.books.rules,
                links=self.books.links,
                reference=self.books.reference,
                catalog=self.books.catalog,
                policies=self.connection.policies,
            )
        holds = [*mapped.holds, *self._duplicate(version, bill)]
        return self._settle(version, bill, mapped, holds, sign * bill.total)

    def _hold(self, reason: Reason, sentence: str, cause: str, bill: Bill) -> Hold:
        return Hold(reason, f"{bill_words(bill)}: {sentence}", cause, bill.total)

    def _before_start(self, version: landing.Version, bill: Bill, amount: Decimal) -> Decision:
        late = (
            self.books.went_live is not None and bill.created is not None and bill.created > self.books.went_live
        )
        facts = {
            "document": bill.number,
            "vendor_name": bill.vendor.name,
            "txn_date": bill.txn_date,
            "amount": amount,
        }
        if not late:
            line = MappedLine(0, "excluded", amount, reason="BEFORE_START")
            return self._decision(
                version, State.EXCLUDED, excluded=amount, lines=(line,), **facts
            )
        sentence = (
            f"it is dated {bill.txn_date}, before the start {self.connection.start_date}, but was entered after go-live. "
            "Decide whether to bring it in or to exclude it."
        )
        hold = self._hold(Reason.ENTERED_AFTER_START, sentence, "ENTERED_AFTER_START", bill)
        return self._decision(version, State.HELD, held=amount, holds=(hold,), **facts)

    def _duplicate(self, version: landing.Version, bill: Bill) -> list[Hold]:
        twins = [twin for twin in self.twins.get(_document(version.raw), []) if twin.qbo_id != version.qbo_id]
        if not twins or version.qbo_id in self.live:
            return []
        taken = ledger.live_amounts(self.db, self.connection.name, version.entity, [twin.qbo_id for twin in twins])
        first = [twin for twin in twins if twin.qbo_id in taken or _entered(twin.qbo_id) < _entered(version.qbo_id)]
        if not first:
            return []
        other = min(first, key=lambda twin: _entered(twin.qbo_id))
        sentence = (
            f"the same vendor has another bill with this number, dated {other.txn_date} over {other.total} "
            f"(QBO id {other.qbo_id}). Correct the number in QBO, delete one, or decide that it is no duplicate."
        )
        return [self._hold(Reason.POSSIBLE_DUPLICATE, sentence, _duplicate_of(other.qbo_id), bill)]

    def _settle(
        self, version: landing.Version, bill: Bill, mapped: MappedBill, holds: list[Hold], amount: Decimal
    ) -> Decision:
        parts = mapped.parts
        texts = [MappedLine(0, "text", ZERO, description=text) for text in mapped.texts]
        excluded = total(part.amount for part in parts if isinstance(part, Excluded))
        line_holds = [part.hold for part in parts if isinstance(part, Held)]
        good = [part for part in parts if isinstance(part, Posted)]
        send_good = self.connection.policies.bad_line == "send_good_lines" and good and not holds
        waits = bool(holds) or (bool(line_holds) and not send_good)
        live = self.live.get(version.qbo_id, ZERO)
        if waits:
            state, posted, held = State.HELD, live, amount - excluded - live
        elif good or version.qbo_id in self.live:
            state, posted, held = State.PLANNED, ZERO, total(hold.amount for hold in line_holds)
        else:
            state, posted, held = (State.EXCLUDED if excluded else State.NO_OP), ZERO, ZERO
        return self._decision(
            version,
            state,
            document=bill.number,
            vendor_name=bill.vendor.name,
            txn_date=bill.txn_date,
            amount=amount,
            posted=posted,
            excluded=excluded,
            held=held,
            holds=(*holds, *line_holds),
            lines=tuple(_line(part, waits=waits) for part in parts),
        )

    def _decision(
        self,
        version: landing.Version,
        state: State,
        *,
        document: str = "",
        vendor_name: str = "",
        txn_date: date | None = None,
        amount: Decimal = ZERO,
        posted: Decimal = ZERO,
        excluded: Decimal = ZERO,
        held: Decimal = ZERO,
        holds: tuple[Hold, ...] = (),
        lines: tuple[MappedLine, ...] = (),
    ) -> Decision:
        return Decision(
            entity=version.entity,
            qbo_id=version.qbo_id,
            landing_number=version.number,
            day=version.day,
            state=state,
            document=document,
            vendor_name=vendor_name,
            txn_date=txn_date,
            total=amount,
            posted=posted,
            excluded=excluded,
            held=held,
            mapping_version=None if self.books.rules is None else self.books.rules.version,
            projects_version=self.books.links.version,
            holds=holds,
            lines=lines,
            closed_to=self._closed_to(version),
        )

    def _closed_to(self, version: landing.Version) -> date | None:
        """The close of the books that this version meets: the one in force when it was seen first.

        None for what the first load or a backfill brings: versions from before go-live.
        """
        row = self.before.get(version.qbo_id)
        if row is not None and row.landing_number == version.number:
            closed_to: date | None = row.closed_to
            return closed_to
        try:
            changed = updated_at(version.raw)
        except BadRecord:
            return None
        live_since = self.books.went_live
        late = changed is not None and live_since is not None and changed > live_since
        return self.connection.policies.books_closed_to if late else None


def _entered(qbo_id: str) -> tuple[int, str]:
    # Transaction ids rise with entry; an id that is no number sorts last.
    return (int(qbo_id), "") if qbo_id.isdigit() else (10**20, qbo_id)


def bill_words(bill: Bill) -> str:
    """How a sentence names a bill: kind, number, vendor, money."""
    kind = "Bill" if bill.entity is Entity.BILL else "Vendor credit"
    number = bill.number or f"without number (QBO id {bill.id})"
    return f"{kind} {number} ({bill.vendor.name}, {bill.total})"


def _line(part: Part, *, waits: bool) -> MappedLine:
    if isinstance(part, Excluded):
        return MappedLine(
            part.line, "excluded", part.amount, reason=part.reason, account=part.account, rule=part.rule
        )
    if isinstance(part, Held):
        return MappedLine(part.line, "held", part.amount, reason=part.hold.reason, rule=part.rule)
    return MappedLine(
        part.line,
        "held" if waits else "posted",
        part.amount,
        project_id=part.project,
        wbs_code_id=part.wbs_code_id,
        cost_code=part.cost_code,
        cost_type=part.cost_type,
        description=part.description,
        quantity=part.quantity,
        unit_price=part.unit_price,
        rule=part.rule,
    )
