"""The lock that an origin_id puts on a record. Source: the finance guide."""

from ml_connector.sandbox.procore.errors import SYNCED_NOT_EDITABLE, Refusal
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.records import Document

ORIGIN_FIELDS = frozenset(("origin_id", "origin_data"))


def refuse_locked(state: State, doc: Document, fields: Document, *, switch: str) -> None:
    """A field that keeps its value is no change. Raises Refusal 422."""
    lock = state.switches[switch]
    if lock == "never" or not doc.get("origin_id"):
        return
    changes = {name for name, value in fields.items() if doc.get(name) != value}
    if changes - (ORIGIN_FIELDS if lock == "except_origin" else frozenset()):
        raise Refusal(422, SYNCED_NOT_EDITABLE)


def refuse_locked_parts(state: State, doc: Document, *, switch: str) -> None:
    """Lines and deletion belong to the locked whole. Raises Refusal 422."""
    if state.switches[switch] != "never" and doc.get("origin_id"):
        raise Refusal(422, SYNCED_NOT_EDITABLE)
