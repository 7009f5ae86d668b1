"""Whether the audit trail is whole: every entry and link recomputed, and the end compared with heads noted elsewhere.

Heads are noted in a file of the home after every run, since a chain alone does not show that its end is missing.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row

from ml_connector.errors import SetupError
from ml_connector.store import audit
from ml_connector.store.audit import FIRST_HASH, Head

MOST = 20  # faults that are told; the others are counted
SHORTEST = 16  # hex digits of a hash that is typed from paper
_HEAD = re.compile(rf"(?:([0-9]+):)?([0-9a-fA-F]{{{SHORTEST},64}})")


@dataclass(frozen=True)
class Noted:
    """A head as it was noted: `number` None where only the hash is known; `where` says who noted it and when."""

    number: int | None
    hash: str  # hex, at least the first 16 digits
    where: str


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, with the first entry that it concerns."""

    number: int
    sentence: str


@dataclass
class Verdict:
    """What checking a trail found: whole when there is no fault."""

    head: Head
    compared: int  # noted heads that the trail was held against
    entries: int = 0
    faults: list[Fault] = field(default_factory=list)  # by number, the first ones
    more_faults: int = 0

    def add(self, number: int, sentence: str) -> None:
        """Note a fault, or count it when enough are told."""
        if len(self.faults) < MOST:
            self.faults.append(Fault(number, sentence))
        else:
            self.more_faults += 1


def head_from(text: str, *, where: str) -> Noted:
    """A head as people copy it: `number:hash`, or the hash or its beginning alone. Raises SetupError."""
    match = _HEAD.fullmatch(text.strip())
    if match is None:
        raise SetupError(
            f"{text!r} is no head of an audit trail: give number:hash, or at least {SHORTEST} hex digits of the hash"
        )
    return Noted(int(match[1]) if match[1] else None, match[2].lower(), where)


def noted_heads(path: Path) -> list[Noted]:
    """The heads in a file that `note_head` wrote, oldest first; none where no run has ended yet."""
    noted = []
    for place, line in enumerate(_complete(path).splitlines(), start=1):
        at, _, rest = line.partition(" ")
        head, _, run = rest.partition(" ")
        if _HEAD.fullmatch(head) is None or ":" not in head:
            raise SetupError(f"{path}, line {place}, is no head of an audit trail: the file was changed")
        noted.append(head_from(head, where=f"noted {at} by run {run}"))
    return noted


def note_head(head: Head, path: Path, *, run_id: str) -> None:
    """Add a committed head to the file at `path`, unless it is the newest there."""
    there = _complete(path)
    newest = there.splitlines()[-1] if there else ""
    if head.number == 0 or f" {head} " in newest:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {head} {run_id}\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.ftruncate(file, len(there))
        os.lseek(file, 0, os.SEEK_END)
        os.write(file, line.encode("ascii"))
        os.fsync(file)
    finally:
        os.close(file)


def _complete(path: Path) -> str:
    """The file's whole lines, a character a byte: what a power cut left of a last one never was a head."""
    try:
        content = path.read_bytes().decode("ascii", errors="replace")
    except FileNotFoundError:
        return ""
    return content[: content.rfind("\n") + 1]


def verify(engine: Engine, connection: str, noted: Sequence[Noted]) -> Verdict:
    """Recompute the whole trail of a connection, on one snapshot: writers may go on meanwhile.

    A fault names the first entry that was changed, removed, inserted, or cut off at the end. Only `noted` heads, read
    before, show a trail that was rewritten with all its hashes, or cut together with its head row.
    """
    known = _Known(noted)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as db:
        verdict = Verdict(audit.head(db, connection), len(noted))
        before = Head(0, FIRST_HASH)
        for row in audit.rows(db, connection):
            _check(row, before, verdict)
            before = Head(row.number, bytes(row.hash))
            known.meet(before)
            verdict.entries += 1
    _check_end(before, verdict)
    for fault in known.faults(last=before.number):
        verdict.add(fault.number, fault.sentence)
    verdict.faults.sort(key=lambda fault: fault.number)
    return verdict


def _check(row: Row[Any], before: Head, verdict: Verdict) -> None:
    if row.number > before.number + 1:
        verdict.add(before.number + 1, f"{_span(before.number + 1, row.number - 1)} removed")
    elif row.number <= before.number:
        verdict.add(row.number, f"entry {row.number} was inserted before the first one")
    elif bytes(row.previous_hash) != before.hash:
        sentence = (
            f"entry {row.number} does not follow the entry before it: one of them was exchanged or inserted"
        )
        verdict.add(row.number, sentence)
    if audit.hash_of(row) != bytes(row.hash):
        verdict.add(row.number, f"entry {row.number} was changed: its hash is not that of what it says")


def _check_end(last: Head, verdict: Verdict) -> None:
    head = verdict.head
    if head.number > last.number:
        verdict.add(last.number + 1, f"{_span(last.number + 1, head.number)} cut off at the end")
    elif head.number < last.number:
        verdict.add(head.number + 1, f"{_span(head.number + 1, last.number)} inserted behind the head")
    elif head.hash != last.hash:
        verdict.add(last.number, f"entry {last.number} is not the one that the head names")


def _span(first: int, last: int) -> str:
    return f"entry {first} was" if first == last else f"entries {first} to {last} were"


class _Known:
    """The heads noted elsewhere, held against the entries as they pass by."""

    def __init__(self, noted: Sequence[Noted]) -> None:
        self._by_number: dict[int, list[Noted]] = defaultdict(list)
        self._bare = [head for head in noted if head.number is None]
        for head in noted:
            if head.number is not None:
                self._by_number[head.number].append(head)
        self._good = 0  # the last entry that a noted head confirmed
        self._wrong: list[Fault] = []

    def meet(self, entry: Head) -> None:
        digits = entry.hash.hex()
        for head in self._by_number.pop(entry.number, ()):
            if digits.startswith(head.hash):
                self._good = entry.number
            else:
                first = self._good + 1
                where = (
                    f"entry {entry.number}"
                    if first == entry.number
                    else f"of entries {first} to {entry.number} one"
                )
                sentence = f"{where} was changed or removed and the trail rewritten: {head.where} as {head.hash[:SHORTEST]}"
                self._wrong.append(Fault(first, sentence))
        self._bare = [head for head in self._bare if not digits.startswith(head.hash)]

    def faults(self, *, last: int) -> Iterator[Fault]:
        """What does not fit; numbers beyond the end come together, as one cut."""
        yield from self._wrong
        beyond = max((number for number in self._by_number if number > last), default=None)
        if beyond is not None:
            where = self._by_number[beyond][-1].where
            yield Fault(
                last + 1, f"{_span(last + 1, beyond)} cut off at the end: the head {beyond} was {where}"
            )
        for head in self._bare:
            yield Fault(
                last + 1,
                f"no entry has the hash {head.hash[:SHORTEST]} ({head.where}): the trail was cut off or rewritten",
            )
