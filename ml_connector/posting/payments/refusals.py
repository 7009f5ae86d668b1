"""What a payment is told when Procore refuses: the hold with both figures, and what the ledger keeps of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.errors import PermanentError
from ml_connector.holds import Reason
from ml_connector.money import ZERO
from ml_connector.posting.payments.bodies import ContractPayment
from ml_connector.posting.payments.plans import GONE, NOT_LET, PaymentWork
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger
from ml_connector.transport.call import CallRefused

NO_ACCESS = (401, 403, 404)


@dataclass(frozen=True)
class Refusals:
    """Holds payments of one connection that Procore refused during one run; nothing is sent again by itself."""

    connection: Connection
    engine: Engine
    run_id: str
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again

    def of_new(self, work: PaymentWork, one: ContractPayment, error: PermanentError) -> None:
        """A new payment was refused: nothing of it is in Procore."""
        text = words_of(error)
        if "origin_id" in text and "taken" in text:  # it is there, and the list does not show it yet
            with self.engine.begin() as db:
                ledger.doubt(db, self.connection.name, [one.origin_id], not_before=self.settled_at())
            work.wait(self.settled_at())
            return
        if error.status in NO_ACCESS:
            self.forbidden(work, error, one.project_id, one.commitment_id)
        else:
            advice = "Correct it in QBO, or allow payments on the contract in Procore and replay."
            work.hold(Reason.REFUSED, f"Procore refused its {one.amount}: {text}. {advice}", text, one.amount)
        self._note(work, one.origin_id, one.body_hash, still_counts=False, text=text)

    def of_change(
        self, work: PaymentWork, one: ContractPayment, procore_id: int, error: PermanentError | None
    ) -> None:
        """A change was refused: Procore goes on counting what it has."""
        if error is not None and error.status in (401, 403):
            self.forbidden(work, error, one.project_id, one.commitment_id)
        elif error is not None and error.status == 404:
            text = f"its payment with Procore's id {procore_id} is no more there. Replay it to enter it again, or leave it."
            work.hold(Reason.DRIFT, text, f"payment {one.origin_id}", one.amount)
        else:
            before = work.known[one.origin_id].amount if one.origin_id in work.known else ZERO
            text = (
                f"Procore keeps its payment with id {procore_id} at {before} ({_said(error)}). Change it there to "
                f"{one.amount} on {one.day}, or enter one of {one.amount - before}, and replay."
            )
            work.hold(Reason.LOCKED_IN_PROCORE, text, f"payment {procore_id}", one.amount - before)
        work.stopped = True
        self._note(work, one.origin_id, one.body_hash, still_counts=True, text=_said(error))

    def of_removal(
        self, work: PaymentWork, row: Row[Any], procore_id: int, error: PermanentError | None
    ) -> None:
        """A removal was refused: Procore goes on counting it, so nothing may take its place."""
        work.stopped = True
        if error is not None and error.status in NO_ACCESS:
            self.forbidden(work, error, row.project_id, row.commitment_id)
            return
        text = (
            f"it is void or changed in QBO, and Procore keeps its payment with id {procore_id} of {row.amount} "
            f"({_said(error)}). Delete it there, or enter a reversing payment of {-row.amount}, and replay."
        )
        work.hold(Reason.LOCKED_IN_PROCORE, text, f"payment {procore_id}", -row.amount)
        self._note(work, row.origin_id, GONE, still_counts=True, text=_said(error))

    def forbidden(
        self, work: PaymentWork, error: PermanentError, project_id: str, commitment_id: int
    ) -> None:
        """The service account may not see or change payments of the contract."""
        text = (
            f"{NOT_LET} to the payments of contract {commitment_id} ({words_of(error)}). "
            f"Give the service account project {project_id} and its Commitments tool, then replay."
        )
        work.hold(Reason.PERMISSION, text, f"project {project_id} payments", ZERO)

    def _note(self, work: PaymentWork, origin: str, refused: bytes, *, still_counts: bool, text: str) -> None:
        sentence = work.holds[-1].sentence
        with self.engine.begin() as db:
            ledger.refuse(
                db,
                self.connection.name,
                origin,
                refused_hash=refused,
                refusal=sentence,
                still_counts=still_counts,
            )
            tell(
                db, self.connection, work, "refused", {"origin_id": origin, "text": text}, run_id=self.run_id
            )


def tell(
    db: Database,
    connection: Connection,
    work: PaymentWork,
    event: str,
    detail: Mapping[str, Any],
    *,
    run_id: str,
) -> None:
    """Add an entry of a payment to the trail."""
    entry = audit.Entry(event, Entity.BILL_PAYMENT, work.qbo_id, detail)
    audit.append(db, connection.name, [entry], run_id=run_id, actor="ml-connector")


def words_of(error: PermanentError) -> str:
    """What Procore said, in its own words where it has some."""
    return (error.fault.text if isinstance(error, CallRefused) else "") or str(error)


def _said(error: PermanentError | None) -> str:
    return "it answers that all is well, and changes nothing" if error is None else words_of(error)
