"""The decision on one version of a record: planned, held, excluded or without effect, with its lines and its money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Row

from ml_connector.errors import BadRecord
from ml_connector.holds import Choice, Hold, Reason
from ml_connector.mapping.approval import approval_hold, asks_for_approval, digest_of
from ml_connector.mapping.costs import home_total, rate_of
from ml_connector.mapping.decided import is_no_duplicate, last_of
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
from ml_connector.mapping.posted_rates import at_rate_of, differ_in_rate_alone, posted_bill
from ml_connector.mapping.resolve import map_bill
from ml_connector.mapping.wording import KIND_WORDS, bill_words
from ml_connector.money import ZERO, parse_amount, total
from ml_connector.procore.models import Catalog
from ml_connector.qbo.models import (
    Bill,
    Entity,
    Raw,
    document_key,
    is_refund,
    parse_bill,
    parse_bill_payment,
    parse_vendor,
    sign_of,
    updated_at,
    vendor_id_of,
)
from ml_connector.settings import Connection
from ml_connector.store import landing, ledger, records
from ml_connector.store.decisions import Made
from ml_connector.store.records import Decision, MappedLine, State

EXCLUDED_BY_DECISION = "EXCLUDED_BY_DECISION"
EXPENSES_OFF = "EXPENSES_OFF"
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
    made: Mapping[str, Sequence[Made]]  # what people decided, and still holds
    db: Database

    def decide(self, version: landing.Version) -> Decision:
        """The decision on one version; what cannot be read is held, and what a person excluded is excluded."""
        decision = self._decide(version)
        if any(made.choice is Choice.EXCLUDE for made in self.made.get(version.qbo_id, ())):
            return self._left_out(decision)
        return decision

    def _decide(self, version: landing.Version) -> Decision:
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

    def _left_out(self, decision: Decision) -> Decision:
        """The whole record as excluded; posting first takes away what a refused attempt may have left in Procore."""
        is_readable = all(hold.reason is not Reason.UNREADABLE for hold in decision.holds)
        cleans = is_readable and decision.qbo_id in self.live
        return replace(
            decision,
            state=State.PLANNED if cleans else State.EXCLUDED,
            posted=ZERO,
            excluded=decision.total,
            held=ZERO,
            holds=(),
            lines=(MappedLine(0, "excluded", decision.total, reason=EXCLUDED_BY_DECISION),),
        )

    def _said(self, version: landing.Version, reason: Reason, about: str) -> Made | None:
        """What a person decided about such a hold on this version."""
        return last_of(self.made.get(version.qbo_id, ()), reason, about)

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
            amount = sign_of(version.entity, raw) * parse_amount(raw.get("TotalAmt"), field="TotalAmt") + ZERO
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
        if bill.not_yet:
            return self._not_yet(version, bill)
        is_off = bill.entity is Entity.PURCHASE and self.connection.policies.expenses == "off"
        if is_off and version.qbo_id not in self.live:  # taken up before the policy was turned off
            return self._excluded(version, bill, self._amount(bill), reason=EXPENSES_OFF)
        if bill.txn_date < self.connection.start_date and not self._is_brought_in(version):
            return self._before_start(version, bill, self._amount(bill))
        if self.books.rules is None:
            hold = self._hold(Reason.UNMAPPED, NOT_PUBLISHED, "UNMAPPED nothing published", bill)
            mapped = MappedBill(self._amount(bill), (), (hold,), ())
        else:
            mapped = map_bill(
                bill,
                rules=self.books.rules,
                links=self.books.links,
                reference=self.books.reference,
                catalog=self.books.catalog,
                policies=self.connection.policies,
            )
        holds = [*mapped.holds, *self._duplicate(version, bill), *self._rate(version, bill)]
        return self._settle(version, bill, mapped, holds, mapped.total)

    def _amount(self, bill: Bill) -> Decimal:
        """What the bill adds to job cost: below zero for a credit, in the currency of the books where it is converted."""
        rate = rate_of(bill, self.connection.policies, self.books.reference.home_currency)
        return bill.sign * home_total(bill, rate) + ZERO

    def _not_yet(self, version: landing.Version, bill: Bill) -> Decision:
        """What QBO shows before it is a transaction counts as excluded; what was posted keeps its cost meanwhile (S21)."""
        live, amount = self.live.get(version.qbo_id, ZERO), self._amount(bill)
        if not live:
            return self._excluded(version, bill, amount, reason=bill.not_yet)
        sentence = (
            f"it waits for approval in QBO, and Procore keeps {live:.2f} of it until then. "
            "Approve or delete it in QBO, and it follows by itself."
        )
        hold = self._hold(Reason.NEEDS_APPROVAL, sentence, f"{Reason.NEEDS_APPROVAL} in QBO", bill)
        return self._settle(version, bill, MappedBill(amount, (), (hold,), ()), [hold], amount)

    def _rate(self, version: landing.Version, bill: Bill) -> list[Hold]:
        """The hold of a posted bill of which nothing but the rate was changed (S17)."""
        rate = rate_of(bill, self.connection.policies, self.books.reference.home_currency)
        if rate is None or version.qbo_id not in self.live:
            return []
        posted = posted_bill(self.db, self.connection.name, bill)
        said = self._said(version, Reason.CURRENCY, str(rate))
        if posted is None or said is not None or not differ_in_rate_alone(posted, bill):
            return []
        before = self._amount(at_rate_of(posted, bill))
        sentence = (
            f"its rate was changed from {posted.exchange_rate} to {rate}, which would move the posted cost from "
            f"{before:.2f} to {self._amount(bill):.2f}. Put the rate back in QBO, or decide to post it at the new one."
        )
        cause = f"{Reason.CURRENCY} rate of {bill.entity} {bill.id}"
        return [self._hold(Reason.CURRENCY, sentence, cause, bill, about=str(rate))]

    def _hold(self, reason: Reason, sentence: str, cause: str, bill: Bill, *, about: str = "") -> Hold:
        return Hold(reason, f"{bill_words(bill)}: {sentence}", cause, self._amount(bill), about=about)

    def _is_brought_in(self, version: landing.Version) -> bool:
        """Whether a person brought in a bill from before the start; once Procore counts it, it follows its edits."""
        start = self.connection.start_date.isoformat()
        said = self._said(version, Reason.ENTERED_AFTER_START, start)
        return said is not None or self.live.get(version.qbo_id, ZERO) != ZERO

    def _before_start(self, version: landing.Version, bill: Bill, amount: Decimal) -> Decision:
        late = (
            self.books.went_live is not None
            and bill.created is not None
            and bill.created >= self.books.went_live.replace(microsecond=0)  # QBO stamps whole seconds
        )
        if not late:
            return self._excluded(version, bill, amount, reason="BEFORE_START")
        sentence = (
            f"it is dated {bill.txn_date}, before the start {self.connection.start_date}, but was entered after go-live. "
            "Decide whether to bring it in or to exclude it."
        )
        start = self.connection.start_date.isoformat()
        hold = self._hold(
            Reason.ENTERED_AFTER_START, sentence, str(Reason.ENTERED_AFTER_START), bill, about=start
        )
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

    def _excluded(self, version: landing.Version, bill: Bill, amount: Decimal, *, reason: str) -> Decision:
        return self._decision(
            version,
            State.EXCLUDED,
            document=bill.number,
            vendor_name=bill.vendor.name,
            txn_date=bill.txn_date,
            amount=amount,
            excluded=amount,
            lines=(MappedLine(0, "excluded", amount, reason=reason),),
        )

    def _duplicate(self, version: landing.Version, bill: Bill) -> list[Hold]:
        twins = [twin for twin in self._namesakes(version, bill) if twin.qbo_id != version.qbo_id]
        if not twins or version.qbo_id in self.live:
            return []
        taken = ledger.live_amounts(
            self.db, self.connection.name, version.entity, [twin.qbo_id for twin in twins]
        )
        first = [
            twin for twin in twins if twin.qbo_id in taken or _entered(twin.qbo_id) < _entered(version.qbo_id)
        ]
        first = [twin for twin in first if not self._are_two(version, twin.qbo_id)]
        if not first:
            return []
        other = min(first, key=lambda twin: _entered(twin.qbo_id))
        kind = KIND_WORDS[bill.entity].split()[-1]
        sentence = (
            f"the same vendor has another {kind} with this number, dated {other.txn_date} over {other.total} "
            f"(QBO id {other.qbo_id}). Correct the number in QBO, delete one, or decide that it is no duplicate."
        )
        cause = duplicate_of(other.qbo_id)
        return [self._hold(Reason.POSSIBLE_DUPLICATE, sentence, cause, bill, about=other.qbo_id)]

    def _namesakes(self, version: landing.Version, bill: Bill) -> Sequence[landing.Twin]:
        """Records of one vendor and number; of purchases, which banks number `Debit`, only those of the same money."""
        twins = self.twins.get(document_of(version.entity, version.raw), [])
        if bill.entity is not Entity.PURCHASE:
            return twins
        alike = [twin.qbo_id for twin in twins if twin.total == bill.total]
        others = landing.newest(self.db, self.connection.name, version.entity, alike)
        return [
            twin
            for twin in twins
            if twin.qbo_id in others and is_refund(version.entity, others[twin.qbo_id].raw) == bill.is_refund
        ]

    def _are_two(self, version: landing.Version, other: str) -> bool:
        """Whether a person said, about the one or the other, that the two records are no duplicates."""
        pairs = ((version.qbo_id, other), (other, version.qbo_id))
        said = [made for made in self.made.get(version.qbo_id, ()) if is_no_duplicate([made])]
        return any((made.qbo_id, made.about) in pairs for made in said)

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
        if good and not waits:
            holds = self._approval(version, bill, [line_of(part, waits=False) for part in parts], amount)
            waits = bool(holds)
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
            lines=(*(line_of(part, waits=waits) for part in parts), *texts),
            told=mapped.told,
        )

    def _approval(
        self, version: landing.Version, bill: Bill, lines: Sequence[MappedLine], amount: Decimal
    ) -> list[Hold]:
        """The hold of a bill that a person must approve, until one has approved just this, or Procore holds it."""
        policies = self.connection.policies
        changes = policies.edit_after_posting == "hold" and self._changes_posted(version)
        asked = asks_for_approval(policies, amount, changes_posted=changes)
        if not asked:
            return []
        digest = digest_of(bill, lines)
        said = self._said(version, Reason.NEEDS_APPROVAL, digest)
        if said is not None and said.choice is Choice.APPROVE:
            return []
        if said is None and digest == self._digest_in_procore(version):
            return []
        return [approval_hold(bill, lines, asked, said, digest=digest)]

    def _changes_posted(self, version: landing.Version) -> bool:
        """Whether Procore counts an earlier version of the bill; also once this version waits for approval."""
        row = self.before.get(version.qbo_id)
        if row is None or not self.live.get(version.qbo_id):
            return False
        if row.landing_number != version.number:
            return True
        name, entity = self.connection.name, Entity(version.entity)
        reasons = records.reasons_of(self.db, name, entity, [version.qbo_id]).get(version.qbo_id, [])
        return row.state == State.HELD and Reason.NEEDS_APPROVAL in reasons

    def _digest_in_procore(self, version: landing.Version) -> str | None:
        """What Procore holds of the bill as an approval sees it; None when that is not known to the last line."""
        row = self.before.get(version.qbo_id)
        if row is None or not row.settled or version.qbo_id not in self.live:
            return None
        name, entity = self.connection.name, Entity(version.entity)
        then = landing.by_number(self.db, name, [row.landing_number])[row.landing_number]
        if then.tombstone:
            return None
        lines = records.lines_of(self.db, name, entity, [version.qbo_id])[version.qbo_id]
        try:
            return digest_of(parse_bill(then.raw, entity), lines)
        except BadRecord:
            return None

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
        told: Mapping[str, object] | None = None,
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
            told=told or {},
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


def line_of(part: Part, *, waits: bool) -> MappedLine:
    """A part as it is stored; `waits`: the whole bill is held, and so is what would be posted."""
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


def document_of(entity: str, raw: Raw) -> tuple[str, str]:
    """Vendor id and document number, by which duplicates are found; "" for what is missing."""
    return vendor_id_of(entity, raw) or "", document_key(str(raw.get("DocNumber") or ""))


def duplicate_of(qbo_id: str) -> str:
    """The cause of holds on duplicates of a bill."""
    return f"{Reason.POSSIBLE_DUPLICATE} bill {qbo_id}"
