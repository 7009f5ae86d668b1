"""Writing subcontractor invoices, for which Procore has no repeatable call: intent, one POST, outcome.

What is unclear is looked up by origin id, or by what it says where it carries none, and adopted, or written when two reads
agree that it is not there. One at a time.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import BadRecord, OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO
from ml_connector.posting.bill_work import Work, is_unlinked
from ml_connector.posting.direct_costs.taking_back import NO_EFFECT
from ml_connector.posting.requisitions.invoices import DRAFT, Invoice, around, is_as_sent
from ml_connector.posting.targets import void_number
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.commitments import REQUISITIONS, CommitmentBook, Requisition, net_of
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger, windows
from ml_connector.store.ledger import Confirmed, Fate, Intent, Kind
from ml_connector.transport.call import CallRefused

FORBIDDEN = (401, 403, 404)
LOCKED = "synced with"  # words of Procore's notice on a record that an origin id locks (procore-api 11)
TOOL = "Commitments"


@dataclass
class RequisitionDesk:
    """Writes subcontractor invoices of one connection during one run."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    book: CommitmentBook
    run_id: str
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again
    _stale: set[int] = field(default_factory=set)  # commitments on which something did not go as planned

    def take_back(self, works: Sequence[Work]) -> None:
        """Let the invoices go that bills have no more, before anything of these bills is added: money is never twice there.

        A work of which one cannot go says so, or waits, and nothing else of it may be written. ReconnectNeeded is raised.
        """
        for work in works:
            for row, there in work.gone:
                if work.open:
                    self._take_back(work, row, there)
            if work.wait_until is not None:
                self._stale.update(row.commitment_id for row, _ in work.gone)

    def write(self, works: Sequence[Work]) -> list[Work]:
        """Bring Procore to the invoices that `works` want; returns the works of which a part was refused.

        A refusal or an outage ends only the work concerned, which then says so; ReconnectNeeded is raised.
        """
        refused = []
        for work in (work for work in works if work.open):
            made = self._write_all(work)
            if work.open:
                continue
            self._stale.update(invoice.contract.id for invoice in work.open_invoices)
            if work.holds and work.wait_until is None:
                for invoice, requisition_id in made:
                    self._retreat(work, invoice, requisition_id)
                refused.append(work)
        return refused

    def renew(self, works: Sequence[Work]) -> None:
        """Note of settled invoices which version of their bill they are settled for. No call is made."""
        settled = [(work, entry) for work in works for entry in work.invoices if entry.is_settled]
        if not settled:
            return
        with self.engine.begin() as db:
            for _, invoice in settled:
                newer = {"source": invoice.source, "beside": list(invoice.beside)}
                ledger.renew(db, self.connection.name, invoice.origin_id, newer)

    def _write_all(self, work: Work) -> list[tuple[Invoice, int]]:
        """Returns what was made new, with its id."""
        made: list[tuple[Invoice, int]] = []
        for invoice in work.open_invoices:
            if not work.open:
                break
            if invoice.contract.id in self._stale:
                work.wait(self.settled_at())  # planned on what did not come to be: planned again
            elif invoice.is_linked and invoice.there is not None:
                self._link(work, invoice, invoice.there)
            else:
                requisition_id = self._write(work, invoice)
                if requisition_id is not None and invoice.there is None:
                    made.append((invoice, requisition_id))
        return made

    # -- one invoice ------------------------------------------------------------------------------------------------

    def _write(self, work: Work, invoice: Invoice) -> int | None:
        """The id of the invoice that is settled now; None when it is not."""
        with self.engine.connect() as db:
            row = ledger.rows(db, self.connection.name, [invoice.origin_id]).get(invoice.origin_id)
        there = invoice.there
        try:
            if there is None and row is not None and row.state in (Fate.SENDING, Fate.UNKNOWN):
                found = self._look_again(invoice, row) if is_unlinked(row) else self._look_up(invoice)
                if found is not None:
                    # It came to be after all: what it holds is compared, and brought up to date when it differs.
                    self.book.forget(invoice.contract)
                    work.wait(self.settled_at())
                    self._note(work, invoice, found)
                    return None
            if there is not None and row is None and _is_as_wanted(invoice, there):
                self._intend(work, invoice, sent=False)
                return self._settle(work, invoice, there.id, there.net, event="found")
            if there is not None and self._is_done(row, invoice, there):
                return self._settle(work, invoice, there.id, there.net)
            self._intend(work, invoice)
            crashpoint("K5")
            answer = self._send(work, invoice)
            crashpoint("K7")
            return None if answer is None else self._close(work, invoice, answer)
        except ReconnectNeeded:
            raise
        except (OutcomeUnknown, TransientError) as error:
            self._doubt(work, invoice, error)
        except PermanentError as error:
            self._refuse(work, invoice, error)
        return None

    def _send(self, work: Work, invoice: Invoice) -> Mapping[str, Any] | None:
        """Procore's answer to the one write; None when it is held because the record is locked."""
        if invoice.there is None:
            return _object(self.client.post(REQUISITIONS, invoice.body()))
        path = f"{REQUISITIONS}/{invoice.there.id}"
        try:
            return _object(self.client.patch(path, invoice.body()))
        except CallRefused as refusal:
            if not _is_lock(refusal):
                raise
        try:
            self.client.patch(path, invoice.change(origin_id=None))
        except CallRefused as refusal:
            if not _is_lock(refusal):
                raise
            self._locked(work, invoice, invoice.there)
            return None
        crashpoint("K14")
        return _object(self.client.patch(path, invoice.body()))

    def _close(self, work: Work, invoice: Invoice, answer: Mapping[str, Any]) -> int | None:
        named = answer.get("id")
        linked = str(answer.get("origin_id") or "")
        if not isinstance(named, int) or linked not in _links_of(invoice):
            raise OutcomeUnknown("an invoice was answered without its id and origin id", vendor="procore")
        try:
            net = net_of(answer)
            if net is None:
                net = net_of(self.client.get(f"{REQUISITIONS}/{named}", self._of_project(invoice)))
        except BadRecord as error:
            raise OutcomeUnknown(f"an invoice cannot be read ({error})", vendor="procore") from error
        if net is None:
            raise OutcomeUnknown("an invoice says no current payment due", vendor="procore")
        if net == invoice.amount:
            return self._settle(work, invoice, named, net)
        with self.engine.begin() as db:
            ledger.found(db, self.connection.name, {invoice.origin_id: named})
        silent = self._to_draft(
            work, invoice.contract.project_id, invoice.contract.id, named, origin_id=invoice.origin_id
        )
        work.refuse(
            f"its invoice on commitment {invoice.contract.number} comes to {net} there, and the bill to {invoice.amount}",
            invoice,
        )
        self._note_refusal(work, invoice, still_counts=not silent)
        return None

    def _settle(
        self, work: Work, invoice: Invoice, requisition_id: int, net: Decimal, *, event: str = "posted"
    ) -> int:
        with self.engine.begin() as db:
            self._confirm(db, invoice, requisition_id, net)
            detail = {
                "origin_id": invoice.origin_id,
                "procore_id": requisition_id,
                "commitment": invoice.contract.number,
                "amount": net,
            }
            self._tell(db, [audit.Entry(event, work.entity, work.qbo_id, detail)])
            # A release that was larger than what the commitment held may fit now.
            cause = f"{Reason.UNBALANCED} commitment {invoice.contract.id}"
            windows.wake_causes(
                db, self.connection.name, [cause], why="an invoice of its commitment was posted"
            )
        crashpoint("K8")
        return requisition_id

    def _link(self, work: Work, invoice: Invoice, theirs: Requisition) -> None:
        """A person's invoice: it is linked here alone, since an origin id would lock it for that person."""
        self._intend(work, invoice, sent=False)
        with self.engine.begin() as db:
            self._confirm(db, invoice, theirs.id, theirs.net)
            detail = {
                "procore_id": theirs.id,
                "commitment": invoice.contract.number,
                "number": theirs.invoice_number,
                "amount": theirs.net,
            }
            self._tell(db, [audit.Entry("linked", work.entity, work.qbo_id, detail)])

    def _confirm(self, db: Database, invoice: Invoice, requisition_id: int, net: Decimal) -> None:
        confirmed = Confirmed(invoice.origin_id, requisition_id, invoice.share_hash, net)
        ledger.confirm(db, self.connection.name, [confirmed])

    def _is_done(self, row: Row[Any] | None, invoice: Invoice, there: Requisition) -> bool:
        """Whether an invoice of which the outcome was unclear came to be as it is wanted."""
        unclear = row is not None and row.state in (Fate.SENDING, Fate.UNKNOWN)
        same = row is not None and bytes(row.wanted_hash) == invoice.share_hash
        return unclear and same and _is_as_wanted(invoice, there)

    def _intend(self, work: Work, invoice: Invoice, *, sent: bool = True) -> None:
        intent = Intent(
            origin_id=invoice.origin_id,
            kind=Kind.REQUISITION,
            entity=work.entity,
            qbo_id=work.qbo_id,
            project_id=invoice.contract.project_id,
            commitment_id=invoice.contract.id,
            landing_number=work.landing_number,
            sync_token=work.sync_token,
            wanted=invoice.wanted,
            wanted_hash=invoice.share_hash,
            number=invoice.number,
        )
        detail = {
            "origin_id": invoice.origin_id,
            "body": invoice.share_hash.hex()[:16],
            "number": invoice.number,
            "commitment": invoice.contract.number,
            **invoice.figures(),
            "dated": invoice.txn_date,
            "billed": invoice.header.get("billing_date"),
            "retainage_rates": invoice.rates,
            "version": work.landing_number,
        }
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, [intent], run_id=self.run_id)
            if sent:
                self._tell(db, [audit.Entry("sent", work.entity, work.qbo_id, detail)])

    # -- unclear ----------------------------------------------------------------------------------------------------

    def _look_up(self, invoice: Invoice) -> int | None:
        """The id of an invoice with our origin id, by search; planning has read the commitment's list beside it.

        The search is believed only when it finds another linked invoice of the list, where there is one.
        """
        params = self._of_project(invoice)
        rows = self.client.rows(REQUISITIONS, {**params, "filters[origin_id]": invoice.origin_id})
        ids = [int(row["id"]) for row in rows if row.get("origin_id") == invoice.origin_id]
        if len(ids) > 1:
            raise PermanentError(f"{len(ids)} invoices carry {invoice.origin_id}", vendor="procore")
        if ids:
            return ids[0]
        others = [entry for entry in self.book.requisitions(invoice.contract) if entry.id and entry.origin_id]
        if others:
            control = self.client.rows(REQUISITIONS, {**params, "filters[origin_id]": others[0].origin_id})
            if others[0].id not in {int(row["id"]) for row in control}:
                raise OutcomeUnknown(
                    "the search for origin ids finds nothing that is there", vendor="procore"
                )
        return None

    def _look_again(self, invoice: Invoice, row: Row[Any]) -> int | None:
        """The id of an invoice without a link that came to be after planning read the commitment's list, by a second read.

        The second list is believed only when it has all that the first one had, and what is surely there.
        """
        before = {entry.id for entry in self.book.requisitions(invoice.contract) if entry.id}
        self.book.forget(invoice.contract)
        now = self.book.requisitions(invoice.contract)
        listed = {entry.id for entry in now}
        if not before <= listed or not self._shows_what_is_there(invoice, listed):
            raise OutcomeUnknown(
                "a list of a commitment's invoices leaves out what is there", vendor="procore"
            )
        new = [entry.id for entry in now if entry.id not in before and is_as_sent(row, entry)]
        return new[0] if new else None

    def _shows_what_is_there(self, invoice: Invoice, listed: Collection[int]) -> bool:
        """Whether one of the commitment's invoices that we know is listed; by its own address, when none is."""
        with self.engine.connect() as db:
            known = ledger.linked(db, self.connection.name, Kind.REQUISITION, invoice.contract.id)
        if not known or not known.isdisjoint(listed):
            return True
        try:
            self.client.get(f"{REQUISITIONS}/{max(known)}", self._of_project(invoice))
        except PermanentError as error:
            if error.status == 404:
                return True
            raise
        return False

    def _note(self, work: Work, invoice: Invoice, requisition_id: int) -> None:
        with self.engine.begin() as db:
            ledger.found(db, self.connection.name, {invoice.origin_id: requisition_id})
            ledger.doubt(db, self.connection.name, [invoice.origin_id], not_before=self.settled_at())

    def _doubt(self, work: Work, invoice: Invoice, error: OutcomeUnknown | TransientError) -> None:
        until = self.settled_at()
        if isinstance(error, TransientError) and error.not_before is not None:
            until = max(until, error.not_before)
        work.wait(until)
        with self.engine.begin() as db:
            ledger.doubt(db, self.connection.name, [invoice.origin_id], not_before=until)
            self._tell(db, [audit.Entry("unknown", work.entity, work.qbo_id, {"look again": until})])

    # -- refused ----------------------------------------------------------------------------------------------------

    def _refuse(self, work: Work, invoice: Invoice, error: PermanentError) -> None:
        text = _words_of(error)
        if error.status in FORBIDDEN:
            work.forbid(text, REQUISITIONS, tool=TOOL)
            work.refused.setdefault(invoice.origin_id, work.holds[0].sentence)
        else:
            work.refuse(text, invoice)
        # A change that was refused leaves what was there before, as far as it counted.
        self._note_refusal(work, invoice, still_counts=invoice.there is not None)

    def _locked(self, work: Work, invoice: Invoice, there: Requisition) -> None:
        difference = invoice.amount - there.net
        sentence = (
            f"{work.words}: its invoice over {there.net:.2f} on commitment {invoice.contract.number} is locked in Procore. "
            f"Unlock it there and replay, or put the bill back and bill {difference:+.2f} on the next requisition."
        )
        work.refused.setdefault(invoice.origin_id, sentence)
        cause = f"LOCKED_IN_PROCORE requisition {there.id}"
        work.holds.append(Hold(Reason.LOCKED_IN_PROCORE, sentence, cause, ZERO))
        self._note_refusal(work, invoice, still_counts=True)

    def _note_refusal(self, work: Work, invoice: Invoice, *, still_counts: bool) -> None:
        with self.engine.begin() as db:
            ledger.refuse(
                db,
                self.connection.name,
                invoice.origin_id,
                refused_hash=invoice.share_hash,
                refusal=work.refused.get(invoice.origin_id, work.holds[0].sentence),
                reason=work.holds[0].reason,
                still_counts=still_counts,
            )

    def _retreat(self, work: Work, invoice: Invoice, requisition_id: int) -> None:
        """An invoice of this run whose bill is held now: to draft, without effect."""
        contract, origin = invoice.contract, invoice.origin_id
        if self._to_draft(work, contract.project_id, contract.id, requisition_id, origin_id=origin):
            with self.engine.begin() as db:
                ledger.silence(db, self.connection.name, invoice.origin_id)

    # -- what must go -----------------------------------------------------------------------------------------------

    def _take_back(self, work: Work, row: Row[Any], there: Requisition | None) -> None:
        if there is not None and not self._loses_effect(work, row, there):
            if work.wait_until is None:
                self._note_stay(work, row)
            return
        crashpoint("K7")
        with self.engine.begin() as db:
            ledger.remove(db, self.connection.name, row.origin_id)
            detail = {"origin_id": row.origin_id, "amount": row.amount}
            self._tell(db, [audit.Entry("reversed", work.entity, work.qbo_id, detail)])
        crashpoint("K8")

    def _note_stay(self, work: Work, row: Row[Any]) -> None:
        """It stays and counts: an automatic run does not ask again."""
        hold = work.holds[-1]
        with self.engine.begin() as db:
            ledger.refuse(
                db,
                self.connection.name,
                row.origin_id,
                refused_hash=NO_EFFECT,
                refusal=hold.sentence,
                reason=hold.reason,
                still_counts=True,
            )

    def _loses_effect(self, work: Work, row: Row[Any], there: Requisition) -> bool:
        """Whether it is gone, or a draft, as the policy says; else `work` says why not."""
        if self.connection.policies.gone_requisition == "delete":
            going = {"origin_id": row.origin_id, "change": "delete", "id": there.id}
            return self._takes_back(work, going, lambda: self._delete(row, there), "deleted")
        number = void_number(row.number, row.qbo_id)
        return self._to_draft(
            work,
            row.project_id,
            row.commitment_id,
            there.id,
            origin_id=row.origin_id,
            invoice_number=number,
        )

    def _delete(self, row: Row[Any], there: Requisition) -> None:
        """For good; one that is linked must be unlinked first (procore-api 9.5)."""
        path, params = f"{REQUISITIONS}/{there.id}", {"project_id": int(row.project_id)}
        try:
            self.client.delete(path, params)
        except CallRefused as refusal:
            if not _is_lock(refusal):
                raise
        else:
            return
        self.client.patch(path, around(row.project_id, row.commitment_id, {"origin_id": None}))
        crashpoint("K14")
        try:
            self.client.delete(path, params)
        except CallRefused:
            self.client.patch(path, around(row.project_id, row.commitment_id, {"origin_id": row.origin_id}))
            raise

    def _to_draft(
        self,
        work: Work,
        project_id: str,
        commitment_id: int,
        requisition_id: int,
        *,
        origin_id: str,
        **fields: str,
    ) -> bool:
        """Whether the invoice is a draft now, which counts nothing; else `work` says why not."""
        path = f"{REQUISITIONS}/{requisition_id}"
        link = {"origin_id": origin_id} if self.connection.policies.links_invoices else {}

        def patch(change: Mapping[str, Any]) -> None:
            self.client.patch(path, around(project_id, commitment_id, change))

        def draft() -> None:
            """In one call where the link does not lock it; else unlinked, put to draft and linked again."""
            try:
                patch({**link, "status": DRAFT, **fields})
            except CallRefused as refusal:
                if not _is_lock(refusal):
                    raise
            else:
                return
            patch({"origin_id": None})
            crashpoint("K14")
            try:
                patch({**link, "status": DRAFT, **fields})
            except CallRefused:
                patch(link)
                raise

        going = {"origin_id": origin_id, "change": "draft", "id": requisition_id}
        return self._takes_back(work, going, draft, "put to draft")

    def _takes_back(self, work: Work, going: Mapping[str, Any], act: Callable[[], object], done: str) -> bool:
        """Whether `act` took the invoice's effect; the trail tells of `going` before."""
        with self.engine.begin() as db:
            self._tell(db, [audit.Entry("sent", work.entity, work.qbo_id, going)])
        crashpoint("K5")
        try:
            act()
        except ReconnectNeeded:
            raise
        except (OutcomeUnknown, TransientError) as error:
            later = error.not_before if isinstance(error, TransientError) else None
            work.wait(self.settled_at() if later is None else max(self.settled_at(), later))
        except PermanentError as error:
            text = _words_of(error)
            sentence = (
                f"{work.words}: invoice {going['id']} on a commitment cannot be {done} ({text}). "
                "Do it in Procore, then replay."
            )
            cause = f"LOCKED_IN_PROCORE requisition {going['id']}"
            work.holds.append(Hold(Reason.LOCKED_IN_PROCORE, sentence, cause, ZERO))
        else:
            return True
        return False

    def _of_project(self, invoice: Invoice) -> dict[str, str]:
        return {"project_id": invoice.contract.project_id}

    def _tell(self, db: Database, entries: Sequence[audit.Entry]) -> None:
        audit.append(db, self.connection.name, entries, run_id=self.run_id, actor="ml-connector")


def _links_of(invoice: Invoice) -> set[str]:
    """Origin ids under which the invoice may stand in Procore."""
    return {invoice.origin_id, ""} if invoice.is_unlinked else {invoice.origin_id}


def _object(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise OutcomeUnknown("an invoice was answered without a record", vendor="procore")
    return answer


def _is_as_wanted(invoice: Invoice, there: Requisition) -> bool:
    """Whether Procore's invoice is ours, counts, and says what is wanted."""
    is_ours = there.net == invoice.amount and there.origin_id in _links_of(invoice)
    return is_ours and invoice.is_there and there.status != DRAFT


def _is_lock(refusal: CallRefused) -> bool:
    return LOCKED in refusal.fault.text.lower()


def _words_of(error: PermanentError) -> str:
    return (error.fault.text if isinstance(error, CallRefused) else "") or str(error)
