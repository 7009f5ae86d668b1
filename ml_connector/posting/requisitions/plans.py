"""Planning of subcontractor invoices: what Procore should hold of a bill on its commitments. Reads Procore, writes nothing.

Nothing is read for a bill whose invoices are settled; what is read is kept for the run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Row

from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.mapping.models import Route
from ml_connector.mapping.wording import quoted
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import Work, is_lost
from ml_connector.posting.direct_costs.taking_back import is_refused
from ml_connector.posting.planning import PlannedBill, Planner, earlier_refusal
from ml_connector.posting.requisitions.commitments import (
    NoCommitment,
    Sender,
    Share,
    Waits,
    expected,
    is_subcontract,
    shares_of,
)
from ml_connector.posting.requisitions.invoices import (
    APPROVED,
    DRAFT,
    RELEASE,
    Invoice,
    is_as_sent,
    kept_items,
    release_of,
    share_hash,
    source_of,
)
from ml_connector.posting.requisitions.openings import Openings
from ml_connector.posting.requisitions.schedule import Billed, Figures, bill_on, change_orders, figures_of
from ml_connector.posting.targets import number_of, origin_of
from ml_connector.procore.commitments import (
    Commitment,
    CommitmentBook,
    Contract,
    Item,
    Period,
    Requisition,
)
from ml_connector.qbo.models import Bill, Entity, document_key
from ml_connector.settings import Connection
from ml_connector.store import catalog, landing, ledger
from ml_connector.store.ledger import Fate, Kind
from ml_connector.store.records import MappedLine
from ml_connector.transport.call import CallRefused

UNCLEAR = (Fate.SENDING, Fate.UNKNOWN)
COMMITMENTS_TOOL = "Commitments"
COMMITMENTS = "commitments"  # kind of stored list
LATELY = timedelta(hours=1)


@dataclass
class RequisitionPlanner:
    """Plans the invoices of one connection's bills during one run."""

    connection: Connection
    engine: Engine
    book: CommitmentBook
    planner: Planner
    settled_at: Callable[[], datetime]
    keeps_lists: bool = True  # False for a dry run, which stores nothing
    openings: Openings | None = None  # None where what was before the start is not looked at
    _orders: dict[str, str] | None = field(default=None)

    def plan(
        self, bill: PlannedBill, work: Work, vendor_id: int | None, merged: frozenset[int] = frozenset()
    ) -> None:
        """Add to `work` the invoices that are wanted, those that must go, warnings, or what keeps the bill.

        `vendor_id` is the bill's vendor in Procore, None when nothing of the bill is to be sent; `merged` are vendors
        there of those that QBO has merged with it.
        """
        named = "" if bill.bill is None else bill.bill.vendor.name
        sender = None if vendor_id is None else Sender(vendor_id, named, merged)
        lines = [line for line in bill.lines if is_subcontract(line)] if bill.bill is not None else []
        rows = {row.origin_id: row for row in bill.requisitions if row.state != Fate.REMOVED}
        if not work.open:
            return
        try:
            if lines or rows:
                self._plan(bill, work, sender, lines, rows)
            if not work.holds and work.todo and bill.bill is not None and sender is not None:
                self._expect(bill, work, sender)
        except Waits as waits:
            work.holds.append(self._hold(work, waits))
        except (OutcomeUnknown, TransientError) as error:
            later = error.not_before if isinstance(error, TransientError) else None
            work.wait(max(self.settled_at(), later) if later is not None else self.settled_at())
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            said = (error.fault.text if isinstance(error, CallRefused) else "") or str(error)
            work.forbid(said, "commitments", tool=COMMITMENTS_TOOL)

    def _plan(
        self,
        bill: PlannedBill,
        work: Work,
        sender: Sender | None,
        lines: Sequence[MappedLine],
        rows: Mapping[str, Row[Any]],
    ) -> None:
        if bill.bill is None or sender is None:
            self._let_go(work, list(rows.values()), number=bill.row.document)
            return
        source = source_of(bill.bill, lines, sender.vendor_id, is_paid_off=self._is_paid_off(bill.bill))
        work.has_invoices = bool(lines)
        if lines and rows and _are_settled(rows, source):
            work.kept_back = total(line.amount for line in lines) - total(row.amount for row in rows.values())
            return
        if self._was_refused(work, rows, source):
            return
        if bill.bill.entity is Entity.VENDOR_CREDIT:
            shares, missing = self._shares_of_credit(bill.bill, lines, sender)
        else:
            self._check_sender(sender, rows.values())
            shares, missing = self._shares(bill.bill, lines, sender)
        work.has_invoices = bool(shares)
        self._without_commitment(bill, work, sender.vendor_id, missing)
        for share in shares:
            work.invoices += self._invoices(bill.bill, work, share, rows, source)
        wanted = tuple(invoice.origin_id for invoice in work.invoices)
        work.invoices = [replace(invoice, beside=wanted) for invoice in work.invoices]
        self._let_go(
            work, [row for row in rows.values() if row.origin_id not in wanted], number=bill.bill.number
        )
        for invoice in work.invoices if work.open else []:
            if invoice.there is None:
                self._remember(invoice)
        kept = total(share.amount for share in shares) - total(invoice.amount for invoice in work.invoices)
        work.kept_back = kept

    def _check_sender(self, sender: Sender, rows: Iterable[Row[Any]]) -> None:
        """A posted bill that got another vendor does not leave its contract by itself (S72). Raises Waits."""
        for row in rows:
            contracts = self.book.contracts(row.project_id)
            contract = next((entry for entry in contracts if entry.id == row.commitment_id), None)
            if contract is None or contract.vendor_id in sender.ids:
                continue
            there = self._still_there(row, contract)
            if there is not None and there.status != DRAFT:
                text = (
                    f"it is billed on commitment {contract.number} of {contract.vendor_name}, invoice "
                    f"{quoted(there.invoice_number, 30) or there.number} over {there.net:.2f}, and is from {sender.name} "
                    "now: put the vendor back in QBO; or delete that invoice in Procore, or put it to draft, and replay"
                )
                raise Waits(Reason.VENDOR_MISMATCH, text, f"requisition {there.id}")

    def _is_paid_off(self, bill: Bill) -> bool:
        return self.connection.policies.retainage == "paid_short" and bill.balance == 0

    def _was_refused(self, work: Work, rows: Mapping[str, Row[Any]], source: str) -> bool:
        """Whether Procore refused the same before, and nobody asked for another try: then no call is made."""
        for row in rows.values() if not self.planner.resend else []:
            if row.state == Fate.REFUSED and row.wanted["source"] == source and not is_refused(row):
                work.holds.append(earlier_refusal(row))
                return True
        return False

    # -- which commitment -------------------------------------------------------------------------------------------

    def _shares(
        self, bill: Bill, lines: Sequence[MappedLine], sender: Sender
    ) -> tuple[list[Share], list[MappedLine]]:
        """The bill's parts by commitment, and the lines of projects where the vendor has none, if these may go on."""
        left = list(lines)
        missing: list[MappedLine] = []
        while True:
            try:
                shares = shares_of(
                    bill, left, sender=sender, orders=self._order_numbers(), contracts=self.book.contracts
                )
                return shares, missing
            except NoCommitment as none:
                mine = [line for line in left if line.project_id == none.project]
                alone = all(line.route == Route.RETAINAGE for line in left)
                if not alone and self.connection.policies.commitment_missing == "hold":
                    raise
                missing += mine
                left = [line for line in left if line.project_id != none.project]

    def _shares_of_credit(
        self, bill: Bill, lines: Sequence[MappedLine], sender: Sender
    ) -> tuple[list[Share], list[MappedLine]]:
        """As `_shares`, but none on a commitment: no invoice below zero is ever sent (S57). Raises Waits."""
        try:
            shares, missing = self._shares(bill, lines, sender)
        except Waits:  # which commitment is not sure, but that it is one is
            shares, missing = [], []
        if missing and not shares:
            return shares, missing
        named = [share.contract.number for share in shares] or sorted(
            {line.commitment for line in lines if line.commitment}
        )
        amount = -total(line.amount for line in lines if line not in missing)
        where = f"commitment {', '.join(named)}" if named else f"a commitment of {sender.name}"
        text = (
            f"{amount:.2f} of it is for {where}, and an invoice below zero is never sent: bill the next requisition less "
            f"{amount:.2f} and exclude this credit, or give its line a rule with the route direct_cost"
        )
        raise Waits(Reason.CREDIT_ON_COMMITMENT, text, f"vendor {sender.vendor_id}")

    def _without_commitment(
        self, bill: PlannedBill, work: Work, vendor_id: int, missing: Sequence[MappedLine]
    ) -> None:
        """Work goes to direct costs; retainage without a commitment is no cost, and so it is excluded (S124)."""
        work.excluded = [line for line in missing if line.route == Route.RETAINAGE]
        costs = [line for line in missing if line.route == Route.COMMITMENT]
        if costs:
            self.planner.send_as_direct_costs(bill, work, vendor_id, costs)

    def _order_numbers(self) -> dict[str, str]:
        """Document numbers of QBO's purchase orders by id."""
        if self._orders is None:
            with self.engine.connect() as db:
                versions = landing.every(db, self.connection.name, Entity.PURCHASE_ORDER)
                self._orders = {
                    version.qbo_id: str(version.raw.get("DocNumber") or "") for version in versions
                }
        return self._orders

    def _expect(self, bill: PlannedBill, work: Work, sender: Sender) -> None:
        """Direct costs whose vendor has an open commitment with that code: warned of, or held (S126)."""
        policy = self.connection.policies.commitment_expected
        if policy == "post":
            return
        for line in (line for line in bill.lines if line.outcome == "posted" and not is_subcontract(line)):
            for contract in expected(self._contracts_lately(line.project_id), sender):
                commitment = self.book.commitment(contract)
                if line.wbs_code_id not in {entry.wbs_code_id for entry in commitment.lines}:
                    continue
                text = (
                    f"line {line.line} is a direct cost on {line.cost_code} / {line.cost_type}, for which {sender.name} "
                    f"has commitment {contract.number} with {_open(commitment):.2f} not billed"
                )
                if policy == "hold":
                    is_expense = work.entity is Entity.PURCHASE
                    advice = "enter a bill" if is_expense else "give it a rule with the route commitment"
                    text += f": {advice}, or choose the policy `commitment_expected`"
                    raise Waits(Reason.COMMITMENT_EXPECTED, text, f"commitment {contract.id}")
                work.warnings.append((Reason.COMMITMENT_EXPECTED, f"{work.words}: {text}."))

    def _contracts_lately(self, project_id: str) -> list[Contract]:
        """The commitments of a project; for a warning a list of the last hour will do."""
        if self.connection.policies.commitment_expected == "hold" or self.book.has_contracts(project_id):
            return self.book.contracts(project_id)
        name, now = self.connection.name, self.planner.now()
        with self.engine.connect() as db:
            stored = catalog.lately(db, name, COMMITMENTS, project_id, since=now - LATELY)
        if stored is not None:
            return [Contract(**row) for row in stored]
        contracts = self.book.contracts(project_id)
        if self.keeps_lists:
            with self.engine.begin() as db:
                rows = [asdict(contract) for contract in contracts]
                catalog.keep(db, name, COMMITMENTS, project_id, rows, at=now)
        return contracts

    def _hold(self, work: Work, waits: Waits) -> Hold:
        offers = [
            f"{contract.number} ({quoted(contract.title, 40) or 'no title'}), {left:.2f} open"
            for contract in waits.offers
            for left in [_open(self.book.commitment(contract))]
        ]
        text = f"{waits.text}: {'; '.join(offers)}" if offers else waits.text
        return Hold(waits.reason, f"{work.words}: {text}.", waits.cause[:200], ZERO, about=waits.about)

    # -- what is billed on it ---------------------------------------------------------------------------------------

    def _invoices(
        self, bill: Bill, work: Work, share: Share, rows: Mapping[str, Row[Any]], source: str
    ) -> list[Invoice]:
        origin = origin_of(self.connection.qbo.realm_id, bill.entity, bill.id, str(share.contract.id))
        main = self._invoice(bill, share, rows.get(origin), origin, source)
        if share.has_retainage or not self._is_paid_off(bill) or main.is_linked:
            return [main]
        held = {entry.key: entry.held for entry in main.billed if entry.held}
        if not held:
            return [main]
        release, row = release_of(main, held), rows.get(origin + RELEASE)
        if row is not None and _holds(row, release):
            release = replace(release, is_settled=True)
        else:
            release = replace(release, there=self._own(row, release))
        return [main, release]

    def _invoice(self, bill: Bill, share: Share, row: Row[Any] | None, origin: str, source: str) -> Invoice:
        commitment = self.book.commitment(share.contract)
        number = number_of(bill)
        invoice = Invoice(
            origin_id=origin,
            contract=share.contract,
            number=number,
            txn_date=bill.txn_date,
            header={},
            billed=(),
            amount=share.amount,
            share_hash=share_hash(number, share, self.connection.policies),
            source=source,
            status=self.connection.policies.requisition_status,
            is_unlinked=not self.connection.policies.links_invoices,
        )
        if row is not None and _holds(row, invoice):
            return replace(
                invoice,
                is_settled=True,
                is_linked=row.wanted["linked"],
                billed=kept_items(row.wanted),
                amount=row.amount,
                header=row.wanted["header"],
            )
        if not commitment.takes_invoices:
            text = f"commitment {share.contract.number} does not take invoices: switch them on in Procore"
            raise Waits(Reason.COMMITMENT_NOT_APPROVED, text, f"commitment {share.contract.id}")
        own = self._own(row, invoice)
        is_found = own is not None and (row is None or is_lost(row))
        theirs = None if is_found else self._by_person(bill, share, invoice, commitment, row)
        if theirs is not None:
            return replace(invoice, there=theirs, is_linked=True, amount=theirs.net)
        figures = figures_of(share, commitment, self.connection.policies)
        invoice = replace(invoice, amount=figures.net, there=own, rates=_rates(figures, commitment))
        same_sum = own is not None and (own.net, own.invoice_number) == (invoice.amount, invoice.number)
        if own is not None and not same_sum:
            self._check_change(invoice, own)
        if own is None and self.openings is not None:
            self.openings.check(bill, commitment, self._order_numbers())
        every = self.book.requisitions(share.contract)
        billed = bill_on(
            commitment,
            figures,
            others=[entry for entry in every if own is None or entry.number < own.number],
            orders=change_orders(every),
            policies=self.connection.policies,
        )
        header = self._header(bill, share.contract) if own is None else {}
        invoice = replace(invoice, billed=tuple(billed), header=header)
        if own is not None and same_sum and not invoice.is_there:
            self._check_change(invoice, own)
        return invoice

    def _own(self, row: Row[Any] | None, invoice: Invoice) -> Requisition | None:
        """Our invoice as it is in Procore; None when it never came to be. Raises Waits when a person deleted it.

        Without a ledger row it is known by its link: so it is after the database came back from a backup (S118).
        """
        contract = invoice.contract
        if row is None:
            every = self.book.requisitions(contract)
            return next((entry for entry in every if entry.id and entry.origin_id == invoice.origin_id), None)
        there = self._still_there(row, contract)
        if there is not None:
            return there
        if row.confirmed_hash is not None:
            text = (
                f"its invoice on commitment {contract.number} was deleted in Procore, and counted {row.amount:.2f}: "
                "enter it there again by hand, or delete the bill in QBO"
            )
            raise Waits(Reason.DRIFT, text, f"commitment {contract.id}")
        if row.procore_id is not None and row.state in UNCLEAR:
            raise OutcomeUnknown(
                "an invoice that was found is not in its commitment's list", vendor="procore"
            )
        return None

    def _check_change(self, invoice: Invoice, own: Requisition) -> None:
        """An invoice that others build on, or that is paid, is not changed. Raises Waits."""
        if own.status == DRAFT:
            return  # it has no effect yet
        number, difference = invoice.contract.number, invoice.amount - own.net
        advice = f"put the bill back to what it was, and bill {difference:+.2f} on the next requisition"
        if not difference:
            advice = "let it have its old codes again, and move the money between the lines on the next requisition"
        if any(entry.number > own.number for entry in self.book.requisitions(invoice.contract)):
            text = f"commitment {number} has a later invoice, which builds on this one over {own.net:.2f}: {advice}"
            raise Waits(Reason.LATER_INVOICE_EXISTS, text, f"commitment {invoice.contract.id}")
        if self.book.is_paid(invoice.contract, own.id):
            text = f"its invoice over {own.net:.2f} on commitment {number} is paid in Procore: {advice}"
            raise Waits(Reason.LOCKED_IN_PROCORE, text, f"requisition {own.id}")

    def _header(self, bill: Bill, contract: Contract) -> dict[str, Any]:
        """Period and dates; a bill from before the open period is billed at its start. Raises Waits."""
        periods = [period for period in self.book.periods(contract.project_id) if period.is_open]
        fitting = [period for period in periods if period.end >= bill.txn_date]
        if not fitting:
            text = (
                f"it is dated {bill.txn_date}, and project {contract.project_id} has no open billing period for that: "
                "open one in Procore, and the bill goes by itself"
            )
            raise Waits(Reason.NO_OPEN_PERIOD, text, f"project {contract.project_id}")
        period = fitting[0]
        return {
            "period_id": period.id,
            "requisition_start": period.start.isoformat(),
            "requisition_end": period.end.isoformat(),
            "billing_date": max(bill.txn_date, period.start).isoformat(),
        }

    def _remember(self, invoice: Invoice) -> None:
        """Let later bills of the run build on what this one is going to bill."""
        if invoice.is_settled:
            return
        known = self.book.requisitions(invoice.contract)
        number = max((entry.number for entry in known), default=0) + 1
        items = tuple(_foreseen(entry) for entry in invoice.billed)
        known.append(
            Requisition(
                0, number, invoice.number, invoice.status, None, invoice.origin_id, invoice.amount, items
            )
        )

    # -- invoices that a person made --------------------------------------------------------------------------------

    def _by_person(
        self, bill: Bill, share: Share, invoice: Invoice, commitment: Commitment, row: Row[Any] | None
    ) -> Requisition | None:
        """The invoice that the subcontractor entered itself (S46). Raises Waits when that is not sure."""
        if row is not None and not row.wanted["linked"] and row.procore_id:
            return None
        with self.engine.connect() as db:
            taken = ledger.linked(db, self.connection.name, Kind.REQUISITION, share.contract.id)
        taken -= {row.procore_id} if row is not None else set()
        free = [
            entry
            for entry in self.book.requisitions(share.contract)
            if not entry.origin_id and entry.id and entry.id not in taken
        ]
        if not free:
            return None
        net = self._expected_net(share, commitment)
        number = document_key(invoice.number)
        same = [entry for entry in free if document_key(entry.invoice_number) == number]
        alike = same or [
            entry
            for entry in free
            if entry.period_id in self._near_periods(bill, share.contract)
            and (entry.net in (net, share.amount) or (entry.gross == share.gross and entry.gross))
        ]
        if not alike:
            return None
        found, words = alike[0], f"commitment {share.contract.number}"
        told = f"invoice {quoted(found.invoice_number, 30) or found.number} over {found.net:.2f}"
        if not same or found.net != net or len(same) > 1:
            text = (
                f"{words} has an {told} that a person entered (status {found.status}), and the bill comes to {net:.2f}: "
                "it may be the same one. Give both the same number and amount, or correct the one that is wrong"
            )
            raise Waits(Reason.POSSIBLE_DUPLICATE, text, f"requisition {found.id}")
        if found.status not in (APPROVED, "approved_as_noted"):
            text = f"{words} has the same {told}, which is {found.status.replace('_', ' ')} in Procore: approve it there"
            raise Waits(Reason.NOT_YET_APPROVED_IN_PROCORE, text, f"requisition {found.id}")
        return found

    def _expected_net(self, share: Share, commitment: Commitment) -> Decimal:
        try:
            return figures_of(share, commitment, self.connection.policies).net
        except Waits:  # the way of keeping retainage is not chosen: the bill's own sum
            return share.amount

    def _near_periods(self, bill: Bill, contract: Contract) -> set[int | None]:
        """The period of the bill and the one before it; an invoice without a period is near, too."""
        periods = self.book.periods(contract.project_id)
        until: list[Period] = [period for period in periods if period.start <= bill.txn_date] or periods[:1]
        following = [period for period in periods if period.is_open]
        return {period.id for period in (*until[-2:], *following)} | {None}

    # -- invoices that must go --------------------------------------------------------------------------------------

    def _let_go(self, work: Work, rows: Sequence[Row[Any]], *, number: str) -> None:
        """Invoices whose bill is gone, or has left their commitment. Raises Waits for what a person must decide."""
        for row in rows:
            contract = Contract(row.commitment_id, row.project_id, "", "", "", None, "")
            there = self._still_there(row, contract)
            if there is None or there.status == DRAFT:
                work.gone.append((row, None))
            elif is_refused(row) and not self.planner.resend:
                cause = f"LOCKED_IN_PROCORE requisition {there.id}"
                work.holds.append(Hold(Reason.LOCKED_IN_PROCORE, row.refusal, cause, ZERO))
            elif self.connection.policies.gone_requisition != "hold" and not row.wanted["linked"]:
                work.gone.append((row, there))
            else:
                text = (
                    f"Procore has its invoice {quoted(there.invoice_number, 30) or number} over {there.net:.2f} on "
                    f"commitment {row.commitment_id}, which the bill has no more: delete it there or put it to draft, "
                    "then replay"
                )
                raise Waits(Reason.DRIFT, text, f"requisition {there.id}")

    def _still_there(self, row: Row[Any], contract: Contract) -> Requisition | None:
        every = self.book.requisitions(contract)
        mine = [entry for entry in every if entry.id and row.procore_id == entry.id]
        mine += [entry for entry in every if entry.id and entry.origin_id == row.origin_id]
        if not mine and is_lost(row):
            mine = self._lost(row, every)
        return mine[0] if mine else None

    def _lost(self, row: Row[Any], every: Sequence[Requisition]) -> list[Requisition]:
        """What came to be of a write without a link of which the answer was lost. Raises Waits when it may be several."""
        with self.engine.connect() as db:
            taken = ledger.linked(db, self.connection.name, Kind.REQUISITION, row.commitment_id)
        fits = [entry for entry in every if entry.id and entry.id not in taken and is_as_sent(row, entry)]
        if len(fits) > 1:
            ids = ", ".join(str(entry.id) for entry in fits)
            text = (
                f"Procore's answer was lost when its invoice {quoted(row.number, 30)} was sent, and the commitment has "
                f"{len(fits)} that may be it (Procore ids {ids}): delete there what is too much and replay, and the one "
                "that is left is taken over"
            )
            raise Waits(Reason.POSSIBLE_DUPLICATE, text, f"requisition {fits[0].id}")
        return fits


def _are_settled(rows: Mapping[str, Row[Any]], source: str) -> bool:
    """Whether these are all invoices of the bill, and each is confirmed for what the bill says."""
    return all(
        row.state == Fate.CONFIRMED
        and row.wanted["source"] == source
        and rows.keys() == set(row.wanted["beside"])
        for row in rows.values()
    )


def _holds(row: Row[Any], invoice: Invoice) -> bool:
    return bool(row.state == Fate.CONFIRMED and bytes(row.confirmed_hash) == invoice.share_hash)


def _open(commitment: Commitment) -> Decimal:
    return commitment.revised - commitment.invoiced


def _rates(figures: Figures, commitment: Commitment) -> dict[str, Decimal | None]:
    rate = None if not figures.gross else (figures.held / figures.gross * 100).quantize(Decimal("0.01"))
    return {"bill": rate, "contract": commitment.retainage_percent}


def _foreseen(entry: Billed) -> Item:
    return Item(
        id=0,
        key=entry.key,
        text="",
        scheduled=ZERO,
        work=entry.work,
        retained=entry.held,
        released=entry.released,
        stored=entry.presently_stored,
        stored_retained=entry.stored_held,
    )
