"""What the bookkeeper takes back or corrects when all is entered and posted: a void, edits, a deletion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ml_connector.sandbox.demo.bills import Entry, PastBill
from ml_connector.sandbox.demo.drafts import BILL, expected_of
from ml_connector.sandbox.demo.expectations import ZERO, Expected
from ml_connector.sandbox.demo.payments import PAYMENT, Payment
from ml_connector.sandbox.records import Document


@dataclass(frozen=True)
class Change:
    """An act on a record that was posted; `expected` is what stands of it in the end.

    `body` are the fields of an edit. A bill that is deleted is one of the history: nobody can ask QuickBooks for its
    key any more, and its key is its Id.
    """

    key: str
    entity: str
    act: Literal["void", "edit", "delete"]
    expected: Expected
    body: Document


def changes(past: Sequence[PastBill], entries: Sequence[Entry], paid: Sequence[Payment]) -> Iterator[Change]:
    """The acts in their order."""
    for payment in paid:
        if payment.voided:
            yield Change(payment.key, PAYMENT, "void", _undone(payment.expected), {})
    bills: list[PastBill | Entry] = [*past, *entries]
    for bill in bills:
        draft = bill.draft
        if draft.then:
            corrected = replace(expected_of(replace(draft, lines=draft.then), bill.key), state="updated")
            yield Change(bill.key, BILL, "edit", corrected, {"Line": [line.body for line in draft.then]})
        if draft.deleted:
            yield Change(bill.key, BILL, "delete", _undone(bill.expected), {})


def _undone(expected: Expected) -> Expected:
    return Expected(expected.key, expected.entity, expected.scenario, "reversed", "", ZERO, ZERO, ZERO, ZERO)
