"""What a commitment was billed, retained and paid before the start, in the books and in Procore, compared once.

A commitment on which nothing of ours was billed yet is looked at when its first bill comes: what differs waits for a
person. What is alike, or was accepted, is never asked for again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.errors import BadRecord, PermanentError, TransientError, VendorAway
from ml_connector.holds import Choice, Reason
from ml_connector.mapping.deciding import line_of
from ml_connector.mapping.models import Committed, Held, Retained
from ml_connector.mapping.publishing import newest_links, newest_rules
from ml_connector.mapping.resolve import map_bill
from ml_connector.mapping.windows import load_reference
from ml_connector.money import ZERO, to_cents, total
from ml_connector.posting.requisitions.commitments import Sender, Share, Waits, shares_of
from ml_connector.posting.requisitions.invoices import APPROVED
from ml_connector.posting.requisitions.opening import OPENINGS, Opening, Sums, read_row, row_of
from ml_connector.posting.requisitions.schedule import figures_of
from ml_connector.procore.commitments import Commitment, CommitmentBook, Contract, fetch_payments
from ml_connector.procore.stored_catalog import load_catalog
from ml_connector.qbo.client import QboClient
from ml_connector.qbo.models import Bill, Entity, Raw, parse_bill, parse_bill_payment, vendor_id_of
from ml_connector.reading.walk import before
from ml_connector.settings import Connection
from ml_connector.store import audit, catalog, decisions, ledger
from ml_connector.store.decisions import Made
from ml_connector.store.ledger import Kind

COUNTED = (APPROVED, "approved_as_noted")
LATELY = timedelta(hours=1)
BILLED = (Entity.BILL, Entity.VENDOR_CREDIT)
Earlier = Mapping[Entity, list[Raw]]


@dataclass
class Openings:
    """Compares commitments on behalf of one run. Without `qbo` what was compared before is all that is known."""

    connection: Connection
    engine: Engine
    book: CommitmentBook
    run_id: str
    now: Callable[[], datetime]
    qbo: Callable[[], QboClient] | None = None
    _expected: set[str] = field(default_factory=set)
    _asked: set[str] = field(default_factory=set)
    _earlier: dict[Entity, list[Raw]] = field(default_factory=dict)
    _unanswered: TransientError | None = None
    _compared: dict[int, Opening] = field(default_factory=dict)

    def expect(self, vendors: Iterable[str]) -> None:
        """Name vendors (QBO ids) of bills that may be the first on their commitments, so that one call asks for many."""
        self._expected.update(vendors)

    def check(self, bill: Bill, commitment: Commitment, orders: Mapping[str, str]) -> None:
        """Raises Waits where both sides of the bill's commitment differ and nobody accepted that, and clients' errors."""
        contract = commitment.contract
        if self.connection.policies.opening_difference == "post" or contract.vendor_id is None:
            return
        with self.engine.connect() as db:
            known = self._known(db, contract)
            has_begun = ledger.linked(db, self.connection.name, Kind.REQUISITION, contract.id)
        if (known is not None and known.is_settled) or (known is None and has_begun):
            return
        if self.qbo is not None:  # what differed may have been corrected since
            if contract.id not in self._compared:
                self._compared[contract.id] = self._compare(bill, commitment, orders)
            known = self._compared[contract.id]
        if known is None:
            return
        with self.engine.begin() as db:
            said = decisions.accepted(
                db, self.connection.name, Reason.OPENING_DIFFERENCE, known.about
            )  # whichever bill of the commitment it was said of
            known = replace(known, accepted=_words(said))
            if self.qbo is not None:
                self._keep(db, known)
        if not known.is_settled:
            raise _difference(known)

    # -- the books ----------------------------------------------------------------------------------------------------

    def _compare(self, bill: Bill, commitment: Commitment, orders: Mapping[str, str]) -> Opening:
        contract = commitment.contract
        earlier = self._before_the_start(bill, contract)
        opening = Opening(
            commitment_id=contract.id,
            project_id=contract.project_id,
            number=contract.number,
            vendor_name=bill.vendor.name,
            start=self.connection.start_date,
            books=Sums(),
            procore=Sums(),
        )
        sender = Sender(contract.vendor_id or 0, bill.vendor.name)
        opening, shares = self._placed(opening, earlier, contract, sender, orders)
        books = self._sums(shares, earlier, commitment)
        there = self._in_procore(contract, are_books_empty=books == Sums())
        return replace(opening, books=books, procore=there)

    def _before_the_start(self, bill: Bill, contract: Contract) -> Earlier:
        """What the books have of the contract's vendor; the vendors that are expected are asked for in the same call."""
        with self.engine.connect() as db:
            other = ledger.source_of(db, self.connection.name, Kind.VENDOR, contract.vendor_id or 0)
        vendors = {bill.vendor.id, *([other] if other else [])}
        unasked = (vendors | self._expected) - self._asked
        if vendors - self._asked:
            for entity, rows in self._ask(sorted(unasked)).items():
                self._earlier.setdefault(entity, []).extend(rows)
            self._asked |= unasked
        return {
            entity: [row for row in rows if vendor_id_of(entity, row) in vendors]
            for entity, rows in self._earlier.items()
        }

    def _ask(self, vendors: Sequence[str]) -> Earlier:
        if self._unanswered is not None:
            raise self._unanswered
        if self.qbo is None:
            return {}
        entities = (*BILLED, Entity.BILL_PAYMENT)
        try:
            with closing(self.qbo()) as client:
                return before(client, entities, vendors=vendors, dated_before=self.connection.start_date)
        except (VendorAway, TransientError, PermanentError) as error:
            # Without QBO the rest of the run goes on; what needs this answer waits for it, and nobody asks again.
            later = self.now() + LATELY if isinstance(error, PermanentError) else error.not_before
            what = f"the books from before the start are not to be had ({error})"
            self._unanswered = TransientError(what, vendor="qbo", not_before=later)
            raise self._unanswered from error

    def _placed(
        self,
        opening: Opening,
        earlier: Earlier,
        contract: Contract,
        sender: Sender,
        orders: Mapping[str, str],
    ) -> tuple[Opening, list[tuple[Bill, Share]]]:
        """The parts of earlier bills that are on the commitment by the published sheets; `opening` counts the others."""
        found: list[tuple[Bill, Share]] = []
        for entity in BILLED:
            for raw in self._not_ours(entity, earlier.get(entity, [])):
                try:
                    bill = parse_bill(raw, entity)
                    shares = self._shares(bill, contract, sender, orders)
                except (BadRecord, Waits) as error:
                    amount = bill.sign * bill.total if isinstance(error, Waits) else ZERO
                    opening = replace(
                        opening,
                        unplaced=opening.unplaced + 1,
                        unplaced_amount=opening.unplaced_amount + amount,
                    )
                    continue
                found += [(bill, share) for share in shares if share.contract.id == contract.id]
        return opening, found

    def _not_ours(self, entity: Entity, rows: Sequence[Raw]) -> Iterable[Raw]:
        """Without those that a person brought in: Procore has them from us, or is going to."""
        with self.engine.connect() as db:
            ids = [str(row.get("Id")) for row in rows]
            ours = set(ledger.live_amounts(db, self.connection.name, entity, ids))
            for qbo_id, several in decisions.of(db, self.connection.name, entity, ids).items():
                if any(made.choice is Choice.BRING_IN for made in several):
                    ours.add(qbo_id)
        return (row for row in rows if str(row.get("Id")) not in ours)

    def _shares(
        self, bill: Bill, contract: Contract, sender: Sender, orders: Mapping[str, str]
    ) -> list[Share]:
        if bill.not_yet:
            return []
        parts = self._map(bill)
        project = contract.project_id
        if any(isinstance(part, Held) for part in parts):
            raise Waits(Reason.COMMITMENT_AMBIGUOUS, "a line of it is not mapped", f"bill {bill.id}")
        work = [
            line_of(part, waits=False)
            for part in parts
            if isinstance(part, Committed) and part.project == project
        ]
        retained = [
            line_of(part, waits=False)
            for part in parts
            if isinstance(part, Retained) and part.project in (project, "" if work else project)
        ]
        if not work and not retained:
            return []
        return shares_of(
            bill, [*work, *retained], sender=sender, orders=orders, contracts=self.book.contracts
        )

    def _map(self, bill: Bill) -> Sequence[object]:
        with self.engine.connect() as db:
            name = self.connection.name
            rules = newest_rules(db, name)
            if rules is None:
                return []
            return map_bill(
                bill,
                rules=rules,
                links=newest_links(db, name),
                reference=load_reference(db, self.connection),
                catalog=load_catalog(db, name),
                policies=self.connection.policies,
            ).parts

    def _sums(self, shares: Sequence[tuple[Bill, Share]], earlier: Earlier, commitment: Commitment) -> Sums:
        paid_of = _paid(earlier.get(Entity.BILL_PAYMENT, []))
        billed = retained = paid = ZERO
        for bill, share in shares:
            gross, held, released = self._figures(share, commitment)
            settled = paid_of.get(bill.id, ZERO)
            if self.connection.policies.retainage == "paid_short" and settled == bill.total:
                released += held if not share.has_retainage else ZERO
            billed += gross
            retained += held - released
            if bill.total:
                paid += to_cents(settled * share.amount / bill.total)
        return Sums(billed, retained, paid)

    def _figures(self, share: Share, commitment: Commitment) -> tuple[Decimal, Decimal, Decimal]:
        try:
            figures = figures_of(share, commitment, self.connection.policies)
        except Waits:  # the way of keeping retainage is not chosen: the bill's own lines
            return share.gross, share.held, share.released
        return figures.gross, figures.held, figures.released

    # -- Procore ------------------------------------------------------------------------------------------------------

    def _in_procore(self, contract: Contract, *, are_books_empty: bool) -> Sums:
        """What people entered there before the start; payments are asked for where there is anything at all."""
        start = self.connection.start_date
        with self.engine.connect() as db:
            ours = ledger.linked(db, self.connection.name, Kind.REQUISITION, contract.id)
            our_payments = ledger.linked(db, self.connection.name, Kind.CONTRACT_PAYMENT, contract.id)
        mark = f"qbo:{self.connection.qbo.realm_id}:"
        theirs = [
            entry
            for entry in self.book.requisitions(contract)
            if entry.id and entry.id not in ours and not entry.origin_id.startswith(mark)
        ]
        counted = [
            entry for entry in theirs if entry.status in COUNTED and entry.dated and entry.dated < start
        ]
        if not counted and are_books_empty:
            return Sums()
        items = [item for entry in counted for item in entry.items]
        newest = counted[-1].items if counted else ()  # materials stand on an invoice up to now
        paid = [
            entry.amount
            for entry in fetch_payments(self.book.client, contract)
            if entry.id not in our_payments and entry.dated is not None and entry.dated < start
        ]
        return Sums(
            billed=total(item.work for item in items) + total(item.stored for item in newest),
            retained=total(item.retained - item.released for item in items)
            + total(item.stored_retained for item in newest),
            paid=total(paid),
        )

    # -- what is kept ---------------------------------------------------------------------------------------------------

    def _known(self, db: Database, contract: Contract) -> Opening | None:
        stored = catalog.stored(db, self.connection.name, OPENINGS, contract.project_id)
        rows = map(read_row, stored[0] if stored is not None else ())
        asked = contract.id, self.connection.start_date
        return next((one for one in rows if (one.commitment_id, one.start) == asked), None)

    def _keep(self, db: Database, opening: Opening) -> None:
        name = self.connection.name
        stored = catalog.stored(db, name, OPENINGS, opening.project_id)
        rows = [] if stored is None else stored[0]
        before_now = [row for row in rows if row["commitment_id"] == opening.commitment_id]
        others = [row for row in rows if row["commitment_id"] != opening.commitment_id]
        catalog.keep(db, name, OPENINGS, opening.project_id, [*others, row_of(opening)], at=self.now())
        if not before_now or read_row(before_now[0]) != opening:
            told = audit.Entry(
                "compared at the start", "Commitment", str(opening.commitment_id), row_of(opening)
            )
            audit.append(db, name, [told], run_id=self.run_id, actor="ml-connector")


def _paid(payments: Sequence[Raw]) -> dict[str, Decimal]:
    """What payments settled of each bill; one that cannot be read settles nothing."""
    found: dict[str, Decimal] = {}
    for raw in payments:
        try:
            payment = parse_bill_payment(raw)
        except BadRecord:
            continue
        for line in payment.applied:
            if line.kind == Entity.BILL:
                found[line.txn_id] = found.get(line.txn_id, ZERO) + line.amount
    return found


def _difference(opening: Opening) -> Waits:
    books, there = asdict(opening.books), asdict(opening.procore)
    figures = "; ".join(f"{what} {books[what]:.2f} in QBO and {there[what]:.2f} in Procore" for what in books)
    beside = (
        f" ({opening.unplaced} earlier bill{'s' if opening.unplaced > 1 else ''} of the vendor over "
        f"{opening.unplaced_amount:.2f} could be placed on no commitment)"
        if opening.unplaced
        else ""
    )
    text = (
        f"commitment {opening.number} is not the same on both sides before the start {opening.start}: {figures}{beside}. "
        "Correct the side that is wrong, or decide to accept the difference, which frees every bill of the commitment"
    )
    cause = f"commitment {opening.commitment_id}"
    return Waits(Reason.OPENING_DIFFERENCE, text, cause, about=opening.about)


def _words(said: Made | None) -> str:
    return "" if said is None else str(said)
