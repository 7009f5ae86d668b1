"""The rehearsal: what would have become of a quarter's bills by some sheets, from reading alone.

A year of QBO is read into scratch tables and goes the way of every bill from there, up to the write that is never made.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from ml_connector.holds import Hold
from ml_connector.mapping.models import Reference
from ml_connector.mapping.publishing import procore_projects
from ml_connector.mapping.read_lines import ReadLine, read_lines
from ml_connector.mapping.windows import Mapper, load_reference
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import Work
from ml_connector.posting.preview import BillPlans
from ml_connector.posting.vendors.desk import VendorDesk
from ml_connector.posting.vendors.matching import match_key
from ml_connector.procore.catalog import fetch_catalog, fetch_projects
from ml_connector.procore.client import ProcoreClient
from ml_connector.qbo.client import QboClient
from ml_connector.qbo.models import JOB_COSTS, Entity
from ml_connector.reading.walk import counts
from ml_connector.reading.windows import Reader
from ml_connector.settings import Connection, Home
from ml_connector.store import landing, sheets
from ml_connector.store.records import Decision, State
from ml_connector.takeover.drafting import Draft, draft
from ml_connector.takeover.evidence import Linked, know_projects, link_customers
from ml_connector.takeover.scratch import scratch_tables
from ml_connector.takeover.wanted import Wanted, wanted

YEAR = timedelta(days=365)
NO_ANSWER = "NO_ANSWER"
CALLS_A_COMMITMENT_BILL = 4  # list, period, create, a look at what is there
BILLS_A_SYNC = 40  # of direct costs, all their calls counted: the budget of 25 for 1000


@dataclass(frozen=True)
class Quarter:
    """The days that are rehearsed, by the bills' own dates."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first.year}-Q{(self.first.month + 2) // 3}"


@dataclass
class Sum:
    """Bills and their money."""

    bills: int = 0
    amount: Decimal = ZERO


@dataclass
class Rehearsal:
    """A quarter's bills, credits and, by policy, expenses: `all_` = `posted` + `linked` + `excluded` + `held`, in money.

    A bill counts once, where the most telling part of it went: held, else posted, else linked to what people typed in
    Procore, else excluded. A bill that waits for two things stands under both in `wanted`.
    """

    quarter: Quarter
    all_: Sum = field(default_factory=Sum)
    posted: Sum = field(default_factory=Sum)
    linked: Sum = field(default_factory=Sum)
    excluded: dict[str, Sum] = field(default_factory=dict)
    held: dict[str, Sum] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)
    on_commitments: int = 0


@dataclass(frozen=True)
class FirstLoad:
    """What the first load from the start date on would take."""

    start: date
    records: int
    qbo_calls: int
    procore_calls: int
    seconds: int


def last_quarter(today: date) -> Quarter:
    """The last calendar quarter that is over."""
    return quarter_of(date(today.year, 3 * ((today.month - 1) // 3) + 1, 1) - timedelta(days=1))


def quarter_of(day: date) -> Quarter:
    """The calendar quarter of a day."""
    month = 3 * ((day.month - 1) // 3) + 1
    first = date(day.year, month, 1)
    after = date(day.year + (month + 3) // 13, (month + 2) % 12 + 1, 1)
    return Quarter(first, after - timedelta(days=1))


def beginning(today: date) -> date:
    """The first day of the year that is read: 12 months ago, or where the last quarter begins."""
    return min(today - YEAR, last_quarter(today).first)


@dataclass(frozen=True)
class Year:
    """A year of QBO in scratch tables."""

    connection: Connection  # of its own start date, a year ago
    start: date  # the connection's own
    scratch: Engine
    qbo: QboClient
    procore: ProcoreClient
    now: datetime

    @cached_property
    def reference(self) -> Reference:
        """QBO's lists."""
        with self.scratch.connect() as db:
            return load_reference(db, self.connection)

    def lines(self) -> list[ReadLine]:
        """Every line of a year that a rule could be asked for; expenses where they are posted."""
        with self.scratch.connect() as db:
            found = list(read_lines(db, self.connection.name, load_reference(db, self.connection)))
        is_off = self.connection.policies.expenses == "off"
        since = self.connection.start_date
        return [
            one
            for one in found
            if one.bill.txn_date >= since and not (is_off and one.bill.entity is Entity.PURCHASE)
        ]

    def links(self, lines: Sequence[ReadLine]) -> list[Linked]:
        """The customers of the year with their projects: one call."""
        projects = fetch_projects(self.procore, self.connection.procore.company_id)
        used = {one.line.customer.id for one in lines if one.line.customer is not None}
        return link_customers(used, self.reference, projects)

    @cached_property
    def drafted(self) -> Draft:
        """Both sheets, drafted. Raises the client's errors."""
        lines = self.lines()
        links = self.links(lines)
        used = {one.line.customer.id for one in lines if one.line.customer is not None}
        projects = {one.project.id for one in links if one.project is not None and one.customer.id in used}
        vendors = {match_key(one.bill.vendor.name) for one in lines}
        return draft(lines, links, know_projects(self.procore, projects, vendors), self.reference)

    def first_load(self, rehearsed: Rehearsal) -> FirstLoad:
        """What the first load would take, with as many bills on commitments as the quarter had: one call."""
        found = counts(self.qbo, (Entity.BILL, Entity.VENDOR_CREDIT), dated_from=self.start)
        records = sum(found.values())
        share = Decimal(rehearsed.on_commitments) / max(rehearsed.all_.bills, 1)
        calls = int(records * share * CALLS_A_COMMITMENT_BILL + records * (1 - share) / BILLS_A_SYNC) + 1
        pages = records // 1000 + 2
        limits = self.connection.limits
        seconds = max(calls * 3600 / limits.procore_per_hour, pages * 60 / limits.qbo_per_minute)
        return FirstLoad(self.start, records, pages, calls, int(seconds) + 1)


@contextmanager
def read_year(
    engine: Engine,
    connection: Connection,
    qbo: QboClient,
    procore: ProcoreClient,
    *,
    now: datetime | None = None,
) -> Iterator[Year]:
    """The last 12 months of QBO, read by paged queries. Nothing of it stays, and nothing is written at any vendor."""
    now = now or datetime.now(UTC)
    today = now.astimezone(connection.zone).date()
    since = beginning(today)
    of_year = connection.model_copy(update={"start_date": since})
    with scratch_tables(engine, connection) as scratch, tempfile.TemporaryDirectory() as folder:
        # A home of its own: the webhooks that wait are for the real one.
        Reader(of_year, Home(Path(folder)), scratch, qbo, "").read([today])
        yield Year(of_year, connection.start_date, scratch, qbo, procore, now)


def rehearse(year: Year, quarter: Quarter, *, mapping: bytes, projects: bytes, vendors: bytes) -> Rehearsal:
    """What would have become of the quarter by these sheets. Raises SheetRefused, and the clients' errors."""
    name = year.connection.name
    connection = year.connection.model_copy(update={"start_date": quarter.first})
    given = {sheets.MAPPING: mapping, sheets.PROJECTS: projects, sheets.VENDORS: vendors}
    with year.scratch.begin() as db:
        for sheet, content in given.items():
            if content:
                sheets.publish(db, name, sheet, content, by="")
        named = procore_projects(db, name)
        days = landing.days_of_bill_dates(db, name, first=quarter.first, last=quarter.last)
    catalog = fetch_catalog(year.procore, connection.procore.company_id, named)
    mapper = Mapper(connection, year.scratch, lambda db: catalog, run_id="")
    decided = [
        decision
        for decision in mapper.decisions(days)
        if decision.entity in JOB_COSTS and _is_of(decision, quarter)
    ]
    done = Rehearsal(quarter)
    causes: dict[tuple[str, str], list[tuple[Decision, Hold]]] = {}
    plans = BillPlans(
        connection,
        year.scratch,
        year.procore,
        VendorDesk(connection, year.scratch, year.procore, "", lambda: year.now, lambda: year.now),
        year.now,
    )
    planned = [decision for decision in decided if decision.state is State.PLANNED]
    works = {(one.entity, one.qbo_id): work for one, _, work in plans.of(planned)}
    for decision in decided:
        work = works.get((decision.entity, decision.qbo_id))
        holds = _count(done, decision, work)
        for hold in holds:
            causes.setdefault((hold.reason, hold.cause), []).append((decision, hold))
    done.wanted = wanted(causes, drafted=lambda: year.drafted, reference=year.reference)
    return done


def _is_of(decision: Decision, quarter: Quarter) -> bool:
    if decision.txn_date is None:  # it cannot be read, and counts as held; a deleted one is none
        return decision.state is State.HELD
    return quarter.first <= decision.txn_date <= quarter.last


def _count(done: Rehearsal, decision: Decision, work: Work | None) -> Sequence[Hold]:
    """Put the money of one bill where it would have gone; returns what it would wait for."""
    done.all_.bills += 1
    done.all_.amount += decision.total
    left_out = [line for line in decision.lines if line.outcome == "excluded"]
    for line in left_out:
        done.excluded.setdefault(line.reason, Sum()).amount += line.amount
    rest = decision.total - total(line.amount for line in left_out)
    is_unanswered = work is not None and work.wait_until is not None
    if decision.state is State.HELD or (work is not None and (work.holds or is_unanswered)):
        holds = decision.holds if work is None else tuple(work.holds)
        _add(done.held.setdefault(holds[0].reason if holds else NO_ANSWER, Sum()), rest)
        return holds
    if work is None:
        if left_out:
            done.excluded[left_out[0].reason].bills += 1
        return ()
    for line in (line for line in decision.lines if line.outcome == "held"):
        done.held.setdefault(line.reason, Sum()).amount += line.amount
        rest -= line.amount
    linked = total(cost.amount for cost in work.wanted if cost.origin_id in work.links)
    linked += total(invoice.amount for invoice in work.invoices if invoice.is_linked)
    done.linked.amount += linked
    done.posted.amount += rest - linked
    (done.posted if rest != linked or not linked else done.linked).bills += 1
    done.on_commitments += bool(work.invoices)
    return decision.holds


def _add(sum_: Sum, amount: Decimal) -> None:
    sum_.bills += 1
    sum_.amount += amount
