"""A sheet as it comes out of Excel: bytes become rows of trimmed cells under known headings, or faults.

What the cells mean is `sheets`' business.
"""

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_connector.errors import SetupError

MOST_BYTES = 5_000_000
MOST_ROWS = 50_000
LONGEST_CELL = 500
SHOWN = 20
SAVE_AS = "in Excel choose Save As, type `CSV UTF-8 (Comma delimited)`"


@dataclass(frozen=True)
class Fault:
    """What is wrong or doubtful in a sheet.

    `row` as Excel counts (header 1), 0 for the whole file; `column` is a heading, "" for the whole row.
    """

    row: int
    column: str
    text: str

    def __str__(self) -> str:
        place = "the file" if self.row == 0 else f"row {self.row}"
        return f"{place}, {self.column}: {self.text}" if self.column else f"{place}: {self.text}"


class SheetRefused(SetupError):
    """A sheet that cannot be used; `faults` holds every one, the message the first 20 and the count."""

    def __init__(self, sheet: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        lines = [f"{sheet} was refused, {count} fault{'' if count == 1 else 's'}:"]
        lines += [f"  {fault}" for fault in self.faults[:SHOWN]]
        if count > SHOWN:
            lines.append(f"  and {count - SHOWN} more")
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class TableRow:
    """One row that is not blank: its number and its cells by heading, "" where there is none."""

    number: int
    cells: Mapping[str, str]


def read_table(
    content: bytes, *, sheet: str, known: Sequence[str], required: Sequence[str]
) -> tuple[list[TableRow], list[Fault]]:
    """The rows under the headings `known`, and the faults of single cells.

    UTF-8 with or without BOM; comma, semicolon or tab; blank rows and empty columns at the end are left
    out. Raises SheetRefused at once where the rows cannot be told: encoding, headings, quotes, size.
    """
    records = _records(_text(content, sheet), sheet, known)
    if not records or records[0][0] != 1:
        raise SheetRefused(sheet, [Fault(1, "", f"the headings are missing: {', '.join(known)}")])
    headings = _headings(records[0][1], sheet, known, required)
    rows = []
    faults: list[Fault] = []
    for number, record in records[1:]:
        rows.append(TableRow(number, dict.fromkeys(known, "") | dict(zip(headings, record, strict=False))))
        faults += _cell_faults(number, headings, record)
    return rows, faults


def _text(content: bytes, sheet: str) -> str:
    if len(content) > MOST_BYTES:
        raise SheetRefused(sheet, [Fault(0, "", f"it is larger than {MOST_BYTES // 1_000_000} MB")])
    if content.startswith(b"PK\x03\x04"):
        raise SheetRefused(sheet, [Fault(0, "", f"this is an Excel workbook: {SAVE_AS}")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise SheetRefused(sheet, [Fault(row, "", f"this is not UTF-8: {SAVE_AS}")]) from None
    if "\0" in text:
        raise SheetRefused(sheet, [Fault(0, "", f"this is not plain text in UTF-8: {SAVE_AS}")])
    return text


def _records(text: str, sheet: str, known: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Number and trimmed cells of every row that is not blank; empty cells at the end of a row are cut."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, known), strict=True)
    records = []
    number = 0
    try:
        for number, record in enumerate(reader, start=1):
            cells = [_trimmed(cell) for cell in record]
            while cells and not cells[-1]:
                cells.pop()
            if cells and number > MOST_ROWS + 1:
                raise SheetRefused(sheet, [Fault(0, "", f"it has more than {MOST_ROWS:,} rows")])
            if cells:
                records.append((number, cells))
    except csv.Error as error:
        text = f"the row cannot be told from the next ({error}): look for a lone quote"
        raise SheetRefused(sheet, [Fault(number + 1, "", text)]) from None
    return records


def _delimiter(text: str, known: Sequence[str]) -> str:
    """The separator under which most of the first line's cells are known headings."""
    header = "".join(text[:2000].splitlines()[:1])

    def recognised(mark: str) -> int:
        return sum(_trimmed(cell.strip('"')).lower() in known for cell in header.split(mark))

    return max(",;\t", key=recognised)


def _trimmed(cell: str) -> str:
    # split() knows the blanks of Unicode; those without width come along from web pages and are never meant.
    return " ".join(cell.translate({0x200B: None, 0xFEFF: None}).split())


def _headings(record: list[str], sheet: str, known: Sequence[str], required: Sequence[str]) -> list[str]:
    headings = [heading.lower() for heading in record]
    faults = []
    for place, heading in enumerate(headings, start=1):
        if not heading:
            faults.append(Fault(1, f"column {place}", "the heading is missing"))
        elif heading not in known:
            faults.append(Fault(1, heading[:40], f"no such column; there are {', '.join(known)}"))
        elif heading in headings[: place - 1]:
            faults.append(Fault(1, heading, "the column is there twice"))
    faults += [Fault(1, name, "the column is missing") for name in required if name not in headings]
    if faults:
        raise SheetRefused(sheet, faults)
    return headings


def _cell_faults(number: int, headings: Sequence[str], record: Sequence[str]) -> list[Fault]:
    faults = [
        Fault(number, heading, wrong)
        for heading, cell in zip(headings, record, strict=False)
        if (wrong := _bad_cell(cell))
    ]
    if len(record) > len(headings):
        text = f"{len(record)} cells under {len(headings)} headings: quote a text that holds the separator"
        faults.append(Fault(number, "", text))
    return faults


def _bad_cell(cell: str) -> str:
    if cell.startswith("="):
        return "a formula is not taken: write the value itself"
    if len(cell) > LONGEST_CELL:
        return f"longer than {LONGEST_CELL} characters"
    if any(unicodedata.category(mark) == "Cc" for mark in cell):
        return "it holds a control character: type the text anew"
    return ""
