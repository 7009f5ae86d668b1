"""The independent judge: does Procore hold what QBO's bookkeeper saved, once, to the cent? It reads the sandboxes alone.

`python -m ml_connector_tests.oracle --qbo URL --procore URL [--stated|--holds|--status FILE] [--json]`, exit 1 on a finding.
What the product says it held or excluded is believed only as far as the sums go.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from ml_connector_tests.evidence import CENT, ZERO, Evidence, Live, Saved, gather

SHOWN = 40  # findings for people
NAMES = {"Bill": "bill", "VendorCredit": "vendorcredit", "Purchase": "purchase", "BillPayment": "billpayment"}


class Trouble(StrEnum):
    """What a finding is about."""

    LOST = "lost"  # saved in QBO, and neither in Procore nor said to wait or to be left out
    DUPLICATED = "duplicated"  # more than one live record for one QBO record and target
    UNEXPECTED = "unexpected"  # a record or a call that nothing in QBO explains
    DELTA = "delta"  # there once, with another amount


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with the money concerned."""

    trouble: Trouble
    record: str
    text: str
    amount: Decimal = ZERO


@dataclass(frozen=True)
class Stated:
    """What the product says of one record. `held` None: it waits, with whatever is missing of it.

    `version` is the SyncToken that this speaks of, "" for one not told, "deleted" for a deletion.
    """

    held: Decimal | None = ZERO
    excluded: Decimal = ZERO
    version: str = ""


@dataclass(frozen=True)
class Statement:
    """All that the product says: records by name ("bill:4471"), and what it linked without leaving a mark in Procore.

    `links`: Procore record ("requisition:55") -> reference. `excluded`: money left out by kind, where it is not told by
    record. `complete`: what is not in `records` was not read yet, and neither is a version that is not the one told.
    `expenses`: purchases belong in Procore, too; without it only those that are there, or in `records`, are judged.
    """

    records: Mapping[str, Stated] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, Decimal] = field(default_factory=dict)
    complete: bool = False
    expenses: bool = False


@dataclass(frozen=True)
class Report:
    """What was done and what is wrong."""

    attempted: int  # writes that reached Procore
    acknowledged: int
    refused: int
    unanswered: int
    recovered: int  # references of unanswered writes that live once
    saved: Decimal  # of bills and credits, in QBO
    posted: Decimal  # of these, in Procore
    held: Decimal
    excluded: Decimal
    unread: tuple[str, ...]
    findings: tuple[Finding, ...]

    def of(self, trouble: Trouble) -> list[Finding]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.trouble is trouble]

    @property
    def delta(self) -> Decimal:
        """Money in findings, added up without its sign."""
        return sum((abs(finding.amount) for finding in self.findings), ZERO)

    def document(self) -> dict[str, Any]:
        """The one JSON document of `--json`; money as text."""
        counts = {str(trouble): len(self.of(trouble)) for trouble in Trouble}
        names = ("attempted", "acknowledged", "refused", "unanswered", "recovered")
        sums = ("saved", "posted", "held", "excluded", "delta")
        return {
            **{name: getattr(self, name) for name in names},
            **counts,
            **{f"money_{name}": f"{getattr(self, name):.2f}" for name in sums},
            "unread": list(self.unread),
            "findings": [
                {"trouble": f.trouble, "record": f.record, "text": f.text, "amount": f"{f.amount:.2f}"}
                for f in self.findings
            ],
        }

    def __str__(self) -> str:
        document = self.document()
        document.pop("findings")
        head = ", ".join(f"{name} {value}" for name, value in document.items() if value != [])
        shown = [f"  {f.trouble}: {f.record}: {f.text} ({f.amount:+.2f})" for f in self.findings[:SHOWN]]
        rest = [f"  and {len(self.findings) - SHOWN} more"] if len(self.findings) > SHOWN else []
        return "\n".join([head, *shown, *rest])


@dataclass
class Judge:
    """Compares one moment of both sides."""

    evidence: Evidence
    statement: Statement
    realm: str

    def __post_init__(self) -> None:
        self.findings: list[Finding] = []
        self.by_source: defaultdict[str, list[Live]] = defaultdict(list)
        for live in self.evidence.live:
            reference = self._reference(live)
            if reference.startswith(f"qbo:{self.realm}:"):
                self.by_source[_source(reference)].append(live)
        self.unread = {name for name in self._names() if self._is_unread(name)}

    def judge(self, *, at_least: int = 0, unchanged_since: int | None = None) -> Report:
        """The report. Fewer than `at_least` writes, or any after call number `unchanged_since`, are findings too."""
        self._doubles()
        self._strangers()
        posted = self._bills()
        self._payments()
        self._invoices_paid()
        writes = self.evidence.writes
        for write in writes if unchanged_since is not None else []:
            if unchanged_since is not None and write.n > unchanged_since:
                self._find(Trouble.UNEXPECTED, write.words, "a write although nothing had changed")
        if len(writes) < at_least:
            self._find(
                Trouble.UNEXPECTED, "the run", f"only {len(writes)} writes, less than {at_least}: idle"
            )
        of_bills = [name for name in self._names() if not name.startswith("billpayment")]
        statuses = [write.status or 0 for write in writes]
        return Report(
            attempted=len(writes),
            acknowledged=sum(200 <= status < 300 for status in statuses),
            refused=sum(400 <= status < 500 for status in statuses),
            unanswered=sum(not 200 <= status < 500 for status in statuses),
            recovered=self._recovered(),
            saved=sum((self._total(name) or ZERO for name in of_bills), ZERO),
            posted=posted,
            held=sum((self._stated(name).held or ZERO for name in of_bills), ZERO),
            excluded=sum((self._stated(name).excluded for name in of_bills), ZERO),
            unread=tuple(sorted(self.unread)),
            findings=tuple(self.findings),
        )

    def _find(self, trouble: Trouble, record: str, text: str, amount: Decimal = ZERO) -> None:
        self.findings.append(Finding(trouble, record, text, amount))

    def _reference(self, live: Live) -> str:
        return live.reference or self.statement.links.get(live.name, "")

    def _names(self) -> list[str]:
        """Every bill, credit, payment and, where they belong in Procore, purchase that any side knows."""
        books = {
            name
            for name in self.evidence.books
            if self.statement.expenses or not name.startswith("purchase:")
        }
        names = {*books, *self.by_source, *self.statement.records}
        return sorted(name for name in names if name.partition(":")[0] in NAMES.values())

    def _stated(self, name: str) -> Stated:
        return self.statement.records.get(name, Stated())

    def _is_unread(self, name: str) -> bool:
        if not self.statement.complete:
            return False
        saved, told = self.evidence.books.get(name), self.statement.records.get(name)
        if told is None:
            return saved is not None
        return told.version != ("deleted" if saved is None else saved.version)

    def _total(self, name: str) -> Decimal | None:
        saved = self.evidence.books.get(name)
        return ZERO if saved is None else saved.total

    # -- once -------------------------------------------------------------------------------------------------------

    def _doubles(self) -> None:
        marked = defaultdict(list)
        for live in self.evidence.live:
            if live.reference:
                marked[live.reference].append(live)
        for reference, twins in marked.items():
            if len(twins) > 1:
                names = ", ".join(live.name for live in twins)
                extra = sum((live.amount for live in twins[1:] if live.counts), ZERO)
                self._find(
                    Trouble.DUPLICATED, _source(reference), f"{names} are one record ({reference})", extra
                )
        for live in self.evidence.live:
            if live.reference or live.name in self.statement.links or not live.by_api:
                continue
            twins = [
                other
                for other in self.evidence.live
                if other.id != live.id and self._reference(other) and _looks(other) == _looks(live)
            ]
            if twins:
                source = _source(self._reference(twins[0]))
                text = f"{live.name} without a link is the same as {twins[0].name}"
                self._find(Trouble.DUPLICATED, source, text, live.amount)
        origins = Counter(str(vendor.get("origin_id") or "") for vendor in self.evidence.vendors)
        for origin, times in origins.items():
            if origin and times > 1:
                self._find(Trouble.DUPLICATED, _source(origin), f"{times} vendors carry {origin}")
        self._twin_vendors()

    def _twin_vendors(self) -> None:
        by_name = defaultdict(list)
        for vendor in self.evidence.vendors:
            by_name[str(vendor.get("name")).casefold()].append(vendor)
        for name, twins in by_name.items():
            made = [vendor for vendor in twins if vendor.get("origin_id") and vendor.get("writes")]
            if len(twins) > 1 and len(made) > 1:
                self._find(Trouble.DUPLICATED, f"vendor {name}", f"entered {len(made)} times")

    # -- nothing that QBO does not explain --------------------------------------------------------------------------

    def _strangers(self) -> None:
        for live in self.evidence.live:
            parts = live.reference.split(":")
            if not live.reference or parts[1] != self.realm:
                continue
            source = _source(live.reference)
            known = source in self.evidence.books or source in self.evidence.deleted
            if not known and live.counts and source not in self.statement.records:
                self._find(
                    Trouble.UNEXPECTED,
                    source,
                    f"{live.name}: QBO never had what it is linked to",
                    live.amount,
                )
            if live.counts and not _fits(live, parts):
                text = f"{live.name} is on {live.parent}, and its link {live.reference} says otherwise"
                self._find(Trouble.UNEXPECTED, source, text, live.amount)

    # -- money of bills and credits ---------------------------------------------------------------------------------

    def _bills(self) -> Decimal:
        """What of bills and credits counts in Procore; findings where that is not what it should be."""
        posted, missing = ZERO, defaultdict(list)
        for name in self._names():
            kind = name.partition(":")[0]
            if kind == "billpayment" or name in self.unread:
                continue
            mine = self.by_source[name]
            there = sum((live.amount for live in mine if live.counts), ZERO)
            posted += there
            delta = self._delta(name, there)
            if delta:
                missing[kind].append((name, delta, there))
            self._follows(name, mine)
        for kind, odd in missing.items():
            if sum((delta for _, delta, _ in odd), ZERO) == self.statement.excluded.get(kind, ZERO):
                continue
            for name, delta, there in odd:
                self._tell_delta(name, delta, there)
        return posted

    def _delta(self, name: str, there: Decimal) -> Decimal:
        """What is missing (above zero for a bill) of a record, held and excluded money left out."""
        stated, saved = self._stated(name), self.evidence.books.get(name)
        total = self._total(name)
        if total is None:  # nobody can say what it is worth: it may wait, and nothing of it may count
            return there if stated.held != ZERO or name in self.statement.records else CENT
        rest = total - there - stated.excluded
        if stated.held is None:
            within = min(total, ZERO) <= rest <= max(total, ZERO)
            return ZERO if within else rest
        home = saved.home_total if saved is not None else None
        other = ZERO if home is None else home - total
        return ZERO if rest + other == stated.held else rest - stated.held

    def _tell_delta(self, name: str, delta: Decimal, there: Decimal) -> None:
        stated = self._stated(name)
        total = self._total(name)
        shown = "unreadable" if total is None else f"{total:.2f}"
        held = "some" if stated.held is None else f"{stated.held:.2f}"
        text = f"{shown} in QBO, {there:.2f} in Procore, {held} held, {stated.excluded:.2f} excluded"
        gone = there == ZERO and not stated.held and not stated.excluded
        self._find(Trouble.LOST if gone else Trouble.DELTA, name, text, delta)

    def _follows(self, name: str, mine: Sequence[Live]) -> None:
        """A record that waits for nothing carries the number that the bill has now."""
        saved, stated = self.evidence.books.get(name), self._stated(name)
        if saved is None or stated.held != ZERO:
            return
        wanted = _plain(saved.number)
        for live in mine:
            if live.counts and live.reference and not _plain(live.number).startswith(wanted):
                text = f"{live.name} carries the number {live.number}, and QBO has {saved.number}: an older version"
                self._find(Trouble.UNEXPECTED, name, text, live.amount)

    # -- money of payments ------------------------------------------------------------------------------------------

    def _payments(self) -> None:
        missing = []
        for name in self._names():
            if not name.startswith("billpayment:") or name in self.unread:
                continue
            saved = self.evidence.books.get(name)
            if saved is not None and any(f"bill:{bill}" in self.unread for bill, _ in saved.paid):
                continue
            there = sum((live.amount for live in self.by_source[name] if live.counts), ZERO)
            low, high = self._cash_on_contracts(name, saved)
            if not low <= there <= high:
                missing.append((name, there - low if there < low else there - high, there, low, high))
        for name, delta, there, low, high in missing:
            wanted = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
            text = f"{there:.2f} on contracts in Procore, and {wanted} of it is for them"
            stated = self._stated(name)
            gone = not there and not stated.held and not stated.excluded
            self._find(Trouble.LOST if gone else Trouble.DELTA, name, text, delta)

    def _cash_on_contracts(self, name: str, saved: Saved | None) -> tuple[Decimal, Decimal]:
        """Least and most that a payment may have on contracts; equal where its bills leave no choice."""
        held = self._stated(name).held
        if saved is None or saved.total is None or not saved.total:
            kept = -held if held is not None and held < ZERO else ZERO  # Procore did not let it go
            return kept, kept
        low = high = waiting = ZERO
        for bill, amount in saved.paid:
            one_low, one_high, one_waiting = self._part_on_contracts(f"bill:{bill}", amount)
            low, high, waiting = low + one_low, high + one_high, waiting + one_waiting
        cash = saved.total - saved.credits
        over = max(sum((amount for _, amount in saved.paid), ZERO) - saved.total, ZERO)
        low = max(low - saved.credits - over, min(low, ZERO))
        high = min(high, max(cash, high - saved.credits))
        if held is None:
            return min(low, ZERO), high
        if held < ZERO:
            return low, high - held
        if (
            name in self.evidence.edited and held
        ):  # what is there is of an older version that could not follow
            return ZERO, high + abs(held)
        return low - max(held - waiting, ZERO), high

    def _part_on_contracts(self, bill: str, amount: Decimal) -> tuple[Decimal, Decimal, Decimal]:
        """Least and most that `amount` paid of a bill puts on contracts, and how much of it may have to wait."""
        saved, stated = self.evidence.books.get(bill), self._stated(bill)
        mine = [live for live in self.by_source[bill] if live.counts]
        contracts = sum((live.amount for live in mine if live.kind == "requisition"), ZERO)
        if not contracts:
            return ZERO, ZERO, amount
        others = [live.amount for live in mine if live.kind != "requisition"]
        total = ZERO if saved is None or saved.total is None else saved.total
        rest = total - contracts
        if not others and not rest:
            return amount, amount, ZERO
        if any(part < ZERO for part in others) or rest < ZERO:
            return ZERO, contracts, amount
        if stated.held:  # what is there is of an older version, and what pays it may wait
            return ZERO, min(amount, contracts), amount
        if stated.excluded < ZERO or self._was_touched(bill):
            return max(ZERO, amount - rest), min(amount, contracts), amount
        exact = amount * contracts / total
        slack = CENT * (1 + len(mine) * len(self._payments_of(bill)))
        return max(exact - slack, ZERO), exact + slack, ZERO

    def _was_touched(self, bill: str) -> bool:
        paying = self._payments_of(bill)
        return bool({bill, *(saved.name for saved in paying)} & self.evidence.edited)

    def _payments_of(self, bill: str) -> list[Saved]:
        id_ = bill.partition(":")[2]
        return [saved for saved in self.evidence.books.values() if any(id_ == to for to, _ in saved.paid)]

    def _invoices_paid(self) -> None:
        """No invoice is paid beyond its net by us, and those of a bill that is paid off are paid to the cent."""
        paid: defaultdict[str, Decimal] = defaultdict(Decimal)
        for live in (live for name in self.by_source for live in self.by_source[name]):
            if live.kind == "contract_payment":
                paid[_invoice_of(self._reference(live))] += live.amount
        for bill, records in list(self.by_source.items()):
            if not bill.startswith("bill:") or bill in self.unread or self._stated(bill).held != ZERO:
                continue
            paying = self._payments_of(bill)
            told = [self._stated(saved.name) for saved in paying]
            if any(one.held != ZERO for one in told) or any(one.name in self.unread for one in paying):
                continue
            saved = self.evidence.books.get(bill)
            off = saved is not None and saved.balance == ZERO and bool(paying)
            exact = off and not any(one.credits for one in paying)
            for live in records:
                if live.kind != "requisition" or not live.counts or live.amount < ZERO:
                    continue
                there = paid[_source_and_target(self._reference(live))]
                if there > live.amount or (exact and there != live.amount):
                    text = f"{live.name} of {live.amount:.2f} has payments of {there:.2f}"
                    self._find(Trouble.DELTA, bill, text, there - live.amount)

    def _recovered(self) -> int:
        lost = {
            reference for write in self.evidence.writes if not write.status for reference in write.references
        }
        alive = Counter(live.reference for live in self.evidence.live)
        return sum(alive[reference] == 1 for reference in lost)


def judge(
    qbo: str,
    procore: str,
    statement: Statement | None = None,
    *,
    realm: str = "9341450000000001",
    at_least: int = 0,
    unchanged_since: int | None = None,
) -> Report:
    """Gather and judge in one go. Raises OSError when a sandbox does not answer."""
    evidence = gather(qbo, procore, realm=realm)
    return Judge(evidence, statement or Statement(), realm).judge(
        at_least=at_least, unchanged_since=unchanged_since
    )


def _source(reference: str) -> str:
    return ":".join(reference.split(":")[2:4])


def _source_and_target(reference: str) -> str:
    return ":".join(reference.split(":")[2:])


def _invoice_of(payment: str) -> str:
    """Source and target of the invoice that a contract payment pays, out of its reference."""
    return ":".join(["bill", *payment.split(":")[4:]])


def _plain(number: str) -> str:
    """A number without what a vendor may not take, or cuts off."""
    return "".join(sign for sign in number if sign.isascii() and sign.isalnum())[:20]


def _looks(live: Live) -> tuple[str, str, Decimal, str, str, int | None]:
    return live.kind, live.parent, live.amount, live.number, live.day, live.requisition


def _fits(live: Live, parts: Sequence[str]) -> bool:
    """Whether a record stands where its link says: entity and target."""
    match live.kind:
        case "direct_cost":
            return parts[2] in ("bill", "vendorcredit", "purchase") and parts[4] == live.parent
        case "requisition":
            return parts[2] == "bill" and parts[4] == live.parent
        case _:
            return parts[2] == "billpayment" and len(parts) > 5 and parts[5] == live.parent


# -- from outside -----------------------------------------------------------------------------------------------------


def statement_of(files: Mapping[str, Sequence[Path]]) -> Statement:
    """What files say: `stated` ({"bill:1": {"held": "1.00", "excluded": "0"}}), `holds` and `status` as the CLI prints."""
    records: dict[str, Stated] = {}
    excluded: defaultdict[str, Decimal] = defaultdict(Decimal)
    for path in files["holds"]:
        for group in _read(path):
            records.update({hold["record"]: Stated(held=None) for hold in group["holds"]})
    for path in files["status"]:
        for row in (row for connection in _read(path) for row in connection["records"]):
            if row["kind"] in NAMES:
                excluded[NAMES[row["kind"]]] += Decimal(str(row["excluded"]))
    for path in files["stated"]:
        for name, told in _read(path).items():
            held, excluded_here = (Decimal(str(told.get(key, 0))) for key in ("held", "excluded"))
            records[name] = Stated(held=held, excluded=excluded_here)
    return Statement(records=records, excluded=excluded)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oracle", description="Does Procore hold what QBO has, once, to the cent?"
    )
    parser.add_argument("--qbo", required=True, help="address of the QBO sandbox")
    parser.add_argument("--procore", required=True, help="address of the Procore sandbox")
    parser.add_argument("--realm", default="9341450000000001")
    parser.add_argument(
        "--stated", type=Path, action="append", default=[], help="held and excluded by record"
    )
    parser.add_argument(
        "--holds", type=Path, action="append", default=[], help="ml-connector holds NAME --json"
    )
    parser.add_argument("--status", type=Path, action="append", default=[], help="ml-connector status --json")
    parser.add_argument("--at-least", type=int, default=0, help="writes that must have been tried")
    parser.add_argument("--unchanged-since", type=int, help="number of a call after which no write may come")
    parser.add_argument("--expenses", action="store_true", help="purchases belong in Procore, too")
    parser.add_argument("--json", action="store_true")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 without a finding, 1 with one, 2 when a sandbox or a file cannot be read."""
    given = _parser().parse_args(arguments)
    try:
        report = judge(
            given.qbo.rstrip("/"),
            given.procore.rstrip("/"),
            replace(
                statement_of({"stated": given.stated, "holds": given.holds, "status": given.status}),
                expenses=given.expenses,
            ),
            realm=given.realm,
            at_least=given.at_least,
            unchanged_since=given.unchanged_since,
        )
    except (OSError, ValueError) as error:
        sys.stderr.write(f"oracle: {error}\n")
        return 2
    sys.stdout.write((json.dumps(report.document(), indent=2) if given.json else str(report)) + "\n")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
