"""How sentences for a bookkeeper name records, lines, names and money."""

from ml_connector.money import ZERO
from ml_connector.qbo.models import Bill, Entity, Line, Ref

LONGEST_SENTENCE = 300
KIND_WORDS = {Entity.BILL: "bill", Entity.VENDOR_CREDIT: "vendor credit", Entity.PURCHASE: "expense"}


def quoted(text: str, limit: int = 60) -> str:
    """`text` on one line, without characters that cannot be seen, cut with a mark at `limit`."""
    clean = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def record_words(bill: Bill) -> str:
    """`bill 4490`, `vendor credit without number (QBO id 145)`."""
    kind = KIND_WORDS[bill.entity]
    return f"{kind} {quoted(bill.number, 24)}" if bill.number else f"{kind} without number (QBO id {bill.id})"


def bill_words(bill: Bill) -> str:
    """`Bill 4490 (City Rental, 560.00)`."""
    words = record_words(bill)
    return f"{words[0].upper()}{words[1:]} ({name_words(bill.vendor, 30)}, {bill.total:.2f})"


def line_words(line: Line, bill: Bill) -> str:
    """`Line 1 of bill 4490 (City Rental, 300.00)`, with the amount as QBO has it; line 0 is tax beside the lines."""
    what = f"Line {line.number}" if line.number else "Tax"
    return f"{what} of {record_words(bill)} ({name_words(bill.vendor, 30)}, {line.amount or ZERO:.2f})"


def name_words(ref: Ref, limit: int = 60) -> str:
    """The name of a reference, or its id where QBO left the name out; a purchase may name no payee at all."""
    return quoted(ref.name, limit) or (f"QBO id {ref.id}" if ref.id else "no payee")


def sentence(text: str) -> str:
    """`text` as one line of at most 300 characters."""
    return quoted(text, LONGEST_SENTENCE)
