"""The decision on one version of a record: planned, held, excluded or without effect, with its lines and its money."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Row

from ml_connector.errors import BadRecord
from ml_connector.holds import Hold, Reason
from ml_connector.mapping.models import (
    Committed,
    Excluded,
    Held,
    MappedBill,
    Part,
    Posted,
    ProjectLinks,
    Reference,
    Retained,
    Route,
    RuleBook,
)
from ml_connector.mapping.payment_holds import payment_hold
from ml_connector.mapping.resolve import map_bill
from ml_connector.mapping.wording import bill_words
from ml_connector.money import ZERO, parse_amount, total
from ml_connector.procore.models import Catalog
from ml_connector.qbo.models import (
    Bill,
    Entity,
    Raw,
    document_key,
    parse_bill,
    parse_bill_payment,
    parse_vendor,
    updated_at,
)
from ml_connector.settings import Connection
from ml_connector.store import landing, ledger
from ml_connector.store.records import Decision, MappedLine, State

NOT_PUBLISHED = "mapping.csv was never published: run `ml-connector mapping publish`"


@dataclass(frozen=True)
class Books:
    """What a run maps by: one version of each sheet, QBO's lists, the copy of Procore's."""

    rules: RuleBook | None
    links: ProjectLinks
    reference: Reference
    catalog: Catalog
    went_live: datetime | None


@dataclass(frozen=True)
class Deciding:
    """Decides versions of one chunk with everything at hand."""

    connection: Connection
    books: Books
    live: Mapping[str, Decimal]  # of records that Procore has, or may have, something of
    before: Mapping[str, Row[Any]]
    twins: dict[tuple[str, str], list[landing.Twin]]
    db: Database

    def decide(self, version: landing.Version) -> Decision:
        """The decision on one version; what cannot be read is held."""
        entity = Entity(version.entity)
        if version.tombstone:
            return self._deleted(version)
        try:
            if entity is Entity.VENDOR:
                vendor = parse_vendor(version.raw)
                return self._decision(version, State.PLANNED, vendor_name=vendor.name)
            if entity is Entity.BILL_PAYMENT:
                return self._payment(version)
            return self._bill(version, parse_bill(version.raw, entity))
        except BadRecord as error:
            return self._unreadable(version, error)

    def _deleted(self, version: landing.Version) -> Decision:
        row = self.before.get(version.qbo_id)  # a tombstone does not say what it ends
        if row is None:
            return self._decision(version, State.PLANNED)
        return self._decision(
            version,
            State.PLANNED,
            document=row.document,
            vendor_name=row.vendor_name,
            txn_date=row.txn_date,
            posted=row.posted if version.entity == Entity.BILL_PAYMENT else ZERO,
        )

    def _payment(self, version: landing.Version) -> Decision:
        """What a payment settles is found by posting, which knows what became of its bills."""
        payment = parse_bill_payment(version.raw)
        before = self.before.get(version.qbo_id)
        live = ZERO if before is None else before.posted
        amount = payment.total + total(line.amount for line in payment.applied if line.kind != Entity.BILL)
        hold = payment_hold(payment, self.books.reference.home_currency)
        return self._decision(
            version,
            State.PLANNED if hold is None else State.HELD,
            document=payment.number,
            vendor_name=payment.vendor.name,
            txn_date=payment.txn_date,
            amount=amount,
            posted=live,
            held=ZERO if hold is None else amount - live,
            holds=() if hold is None else (hold,),
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
        return self._decision(version, State.HELD, document=number, amount=amount, held=amount, holds=(hold,))

    def _bill(self, version: landing.Version, bill: Bill) -> Decision:
        sign = -1 if bill.entity is Entity.VENDOR_CREDIT else 1
        if bill.txn_date < self.connection.start_date:
            return self._before_start(version, bill, sign * bill.total)
        if self.books.rules is None:
            mapped = MappedBill(
                (), (self._hold(Reason.UNMAPPED, NOT_PUBLISHED, "UNMAPPED nothing published", bill),), ()
            )
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
            self.books.went_live is not None
            and bill.created is not None
            and bill.created >= self.books.went_live.replace(microsecond=0)  # QBO stamps whole seconds
        )
        if not late:
            line = MappedLine(0, "excluded", amount, reason="BEFORE_START")
            return self._decision(
                version,
                State.EXCLUDED,
                document=bill.number,
                vendor_name=bill.vendor.name,
                txn_date=bill.txn_date,
                amount=amount,
                excluded=amount,
                lines=(line,),
            )
        sentence = (
            f"it is dated {bill.txn_date}, before the start {self.connection.start_date}, but was entered after go-live. "
            "Decide whether to bring it in or to exclude it."
        )
        hold = self._hold(Reason.ENTERED_AFTER_START, sentence, "ENTERED_AFTER_START", bill)
        return self._decision(
            version,
            State.HELD,
            document=bill.number,
            vendor_name=bill.vendor.name,
            txn_date=bill.txn_date,
            amount=amount,
            held=amount,
            holds=(hold,),
        )

    def _duplicate(self, version: landing.Version, bill: Bill) -> list[Hold]:
        twins = [
            twin for twin in self.twins.get(document_of(version.raw), []) if twin.qbo_id != version.qbo_id
        ]
        if not twins or version.qbo_id in self.live:
            return []
        taken = ledger.live_amounts(
            self.db, self.connection.name, version.entity, [twin.qbo_id for twin in twins]
        )
        first = [
            twin for twin in twins if twin.qbo_id in taken or _entered(twin.qbo_id) < _entered(version.qbo_id)
        ]
        if not first:
            return []
        other = min(first, key=lambda twin: _entered(twin.qbo_id))
        sentence = (
            f"the same vendor has another bill with this number, dated {other.txn_date} over {other.total} "
            f"(QBO id {other.qbo_id}). Correct the number in QBO, delete one, or decide that it is no duplicate."
        )
        return [self._hold(Reason.POSSIBLE_DUPLICATE, sentence, duplicate_of(other.qbo_id), bill)]

    def _settle(
        self, version: landing.Version, bill: Bill, mapped: MappedBill, holds: list[Hold], amount: Decimal
    ) -> Decision:
        parts = mapped.parts
        texts = [MappedLine(0, "text", ZERO, description=text) for text in mapped.texts]
        excluded = total(part.amount for part in parts if isinstance(part, Excluded))
        line_holds = [part.hold for part in parts if isinstance(part, Held)]
        good = [part for part in parts if isinstance(part, Posted | Retained)]
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
            lines=(*(_line(part, waits=waits) for part in parts), *texts),
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


def _line(part: Part, *, waits: bool) -> MappedLine:
    if isinstance(part, Excluded):
        return MappedLine(
            part.line, "excluded", part.amount, reason=part.reason, account=part.account, rule=part.rule
        )
    if isinstance(part, Held):
        return MappedLine(part.line, "held", part.amount, reason=part.hold.reason, rule=part.rule)
    if isinstance(part, Retained):
        return MappedLine(
            part.line,
            "held" if waits else "posted",
            part.amount,
            project_id=part.project,
            description=part.description,
            rule=part.rule,
            route=Route.RETAINAGE,
            commitment=part.commitment,
        )
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
        route=Route.COMMITMENT if isinstance(part, Committed) else Route.DIRECT_COST,
        commitment=part.commitment if isinstance(part, Committed) else "",
    )


def document_of(raw: Raw) -> tuple[str, str]:
    """Vendor id and document number, by which duplicates are found; "" for what is missing."""
    vendor = raw.get("VendorRef")
    vendor_id = str(vendor.get("value", "")) if isinstance(vendor, dict) else ""
    return vendor_id, document_key(str(raw.get("DocNumber") or ""))


def duplicate_of(qbo_id: str) -> str:
    """The cause of holds on duplicates of a bill."""
    return f"{Reason.POSSIBLE_DUPLICATE} bill {qbo_id}"
