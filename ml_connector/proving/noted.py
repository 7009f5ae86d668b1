"""That a proof was made, in the audit trail: when, by whom, and whether it balanced."""

from sqlalchemy import Connection

from ml_connector.proving.proof import Proof
from ml_connector.proving.told import verdict
from ml_connector.store import audit

PROOF, PROVED = "Proof", "proved"


def note(db: Connection, proof: Proof, *, run_id: str, actor: str) -> None:
    """Append the verdict of a whole proof, never of a part of one."""
    detail = {
        "balanced": proof.balanced,
        "differences": len(proof.problems()),
        "verdict": verdict(proof),
        "qbo_calls": proof.calls.qbo,
        "procore_calls": proof.calls.procore,
    }
    audit.append(db, proof.connection, [audit.Entry(PROVED, PROOF, "", detail)], run_id=run_id, actor=actor)
