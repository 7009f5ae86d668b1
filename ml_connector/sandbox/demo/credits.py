"""The vendor credits that are entered live: goods returned, hire ended early. Each is cost below zero at once."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from ml_connector.sandbox.demo.bills import Entry
from ml_connector.sandbox.demo.contracts import BRIGHT
from ml_connector.sandbox.demo.drafts import CREDIT, Draft, expected_of, request_of
from ml_connector.sandbox.demo.expectations import marked
from ml_connector.sandbox.demo.lines import cost, on_account, on_item
from ml_connector.sandbox.demo.parties import ELM, FIREHOUSE, HARBOR, named

_NOT_ON_CREDITS = ("DueDate", "SalesTermRef")
SHORT_LOAD, RETURNED_BOARDS, EARLY_RETURN, RETURNED_WIRE = (f"C-{number:03}" for number in range(1, 5))


def credits(today: date) -> list[Entry]:
    """The credits in the order of entry."""
    made = []
    for key, draft in _drafts():
        body = request_of(draft, on=today, note=marked(key))
        kept = {name: value for name, value in body.items() if name not in _NOT_ON_CREDITS}
        made.append(Entry(key, CREDIT, kept, draft, expected_of(draft, key, entity=CREDIT)))
    return made


def _drafts() -> Iterator[tuple[str, Draft]]:
    load, boards, hire, wire = (Decimal(text) for text in ("120.00", "264.50", "88.00", "450.00"))
    lines = {
        SHORT_LOAD: on_item(
            "Ready-mix", load, cost(HARBOR, "03-3000", "M", load), job=HARBOR, text="Short load"
        ),
        RETURNED_BOARDS: on_item(
            "Lumber", boards, cost(ELM, "06-1000", "M", boards), job=ELM, text="Returned boards"
        ),
        EARLY_RETURN: on_account(
            "5030", hire, cost(FIREHOUSE, "01-5000", "E", hire), job=FIREHOUSE, text="Early return"
        ),
        RETURNED_WIRE: on_item(
            "Wire and conduit", wire, cost(HARBOR, "26-0500", "M", wire), job=HARBOR, text="Unopened reels"
        ),
    }
    vendors = {
        SHORT_LOAD: named("Granite Supply, Inc."),
        RETURNED_BOARDS: named("Norton Ridge Lumber"),
        EARLY_RETURN: named("City Rental"),
        RETURNED_WIRE: BRIGHT,
    }
    for number, (key, line) in enumerate(lines.items(), start=311):
        yield key, Draft("S54", vendors[key], f"CM-{number}", (line,))
