"""The proof of one connection: both sides read afresh and compared, to the cent. Writes to neither vendor."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import Engine

from ml_connector.mapping.publishing import procore_projects
from ml_connector.money import total
from ml_connector.posting.direct_costs.drift import kept_as_theirs
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.directory import fetch_vendors
from ml_connector.procore.stored_catalog import load_catalog
from ml_connector.proving.books import Fresh, add_referenced, place_all, read_afresh
from ml_connector.proving.compare import compare
from ml_connector.proving.figures import Compared
from ml_connector.proving.job_costs import JobCosts, Lists, sources
from ml_connector.proving.retainage import Payable, RetainageRow
from ml_connector.proving.vendors import VendorReport, vendor_report
from ml_connector.qbo.client import QboClient
from ml_connector.reading.outside import OutsideCost, expenses_followed, outside_the_sync
from ml_connector.settings import Connection
from ml_connector.store import proofs
from ml_connector.store.proofs import Link


@dataclass(frozen=True)
class Calls:
    """What the proof cost."""

    qbo: int
    procore: int


@dataclass(frozen=True)
class Proof:
    """Both sides of one connection at `at`. `unread` are sentences on records that QBO counts and did not show.

    `names` are those of Procore's projects by id, `outside` is job cost in QBO that the sync does not bring: it is
    told, and is no part of the balance. `retainage` is what `payable` shows: by now, or by the end of the month.
    """

    connection: str
    at: datetime
    start: date
    costs: Compared
    payments: Compared
    payable: Payable
    retainage: Sequence[RetainageRow]
    vendors: VendorReport
    outside: Sequence[OutsideCost]
    unread: Sequence[str]
    names: dict[str, str]
    calls: Calls

    @property
    def balanced(self) -> bool:
        """Whether every cent of both sides is explained."""
        sides = self.costs.balanced and self.payments.balanced and not self.unread
        return sides and not any(row.difference for row in self.retainage)

    @property
    def outside_total(self) -> Decimal:
        """Job cost in QBO that the sync does not bring."""
        return total(cost.amount for cost in self.outside)

    def narrowed(self, *, project: str | None, month: str | None) -> "Proof":
        """What concerns one project or month alone; vendors and what QBO did not show concern all.

        Retainage is a balance: of a month it is what was held back at its end.
        """
        return replace(
            self,
            costs=_narrowed(self.costs, project, month),
            payments=_narrowed(self.payments, project, month),
            retainage=[row for row in self.payable.rows(until=month) if project in (None, row.project)],
        )

    def problems(self) -> list[str]:
        """A sentence for everything that keeps the two sides from balancing, the largest money first."""
        differences = [one for one in (*self.costs.differences, *self.payments.differences) if one.is_problem]
        differences.sort(key=lambda one: -abs(one.qbo - one.procore))
        retained = [
            f"Retainage of commitment {row.commitment_id or 'none'}: the books hold {row.books:,}, Procore "
            f"{row.procore:,}; {row.difference:,} is explained by nothing."
            for row in self.retainage
            if row.difference
        ]
        return [*self.unread, *(f"{one.direction}: {one.sentence}" for one in differences), *retained]


def prove(engine: Engine, connection: Connection, qbo: QboClient, procore: ProcoreClient) -> Proof:
    """Read both sides and compare them.

    QBO: two calls for up to 1000 records a kind, and one when Procore has records of which the dates show nothing.
    Procore: three lists a project, one of payments for each commitment that is billed, two for the directory. Raises the
    clients' errors: a side that cannot be read proves nothing.
    """
    before = qbo.calls.total(), procore.calls.total()
    with engine.connect() as db:
        with_expenses = expenses_followed(db, connection)
    fresh = read_afresh(qbo, start=connection.start_date, with_expenses=with_expenses)
    with engine.connect() as db:
        links = proofs.links(db, connection.name)
        names = {project.id: project.name for project in load_catalog(db, connection.name).projects.values()}
        projects = procore_projects(db, connection.name) | proofs.project_ids(db, connection.name)
    there = _read_procore(connection, procore, links, projects)
    add_referenced(qbo, fresh, sources([*there.costs, *there.payments]))
    books = place_all(engine, connection, fresh, commitments=there.commitments)
    kept = kept_as_theirs(engine, connection, there.direct_costs)
    costs = [replace(record, kept=record.name in kept) for record in books.costs]
    directory = fetch_vendors(procore)
    with engine.connect() as db:
        vendors = vendor_report(db, connection, directory)
        outside = outside_the_sync(db, connection)
    commitments_of: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for link in links:
        if link.commitment_id is not None:
            mine = commitments_of.setdefault((link.entity, link.qbo_id), [])
            if (link.commitment_id, link.project_id) not in mine:
                mine.append((link.commitment_id, link.project_id))
    payable = Payable(books.retainage, there.retainage, commitments_of, connection.policies.retainage)
    return Proof(
        connection=connection.name,
        at=datetime.now(UTC),
        start=connection.start_date,
        costs=compare(costs, there.costs),
        payments=compare(books.payments, there.payments),
        payable=payable,
        retainage=payable.rows(),
        vendors=vendors,
        outside=outside.costs,
        unread=_unread(fresh),
        names=names,
        calls=Calls(qbo.calls.total() - before[0], procore.calls.total() - before[1]),
    )


def _read_procore(
    connection: Connection, client: ProcoreClient, links: Sequence[Link], projects: Collection[str]
) -> JobCosts:
    in_review = connection.policies.requisition_status == "under_review"
    return Lists(client, connection.qbo.realm_id, links, in_review).read(projects)


def _unread(fresh: Fresh) -> list[str]:
    return [
        f"QBO counts {counted} of {entity} and showed {shown}: prove again; if it stays so, a record is not shown by date."
        for entity, (counted, shown) in fresh.missing.items()
    ]


def _narrowed(compared: Compared, project: str | None, month: str | None) -> Compared:
    return Compared(
        {
            (place, when): row
            for (place, when), row in compared.rows.items()
            if project in (None, place.project) and month in (None, when)
        },
        [
            one
            for one in compared.differences
            if (project is None or project in one.projects) and (month is None or month in one.months)
        ],
    )
