"""What a draft of the sheets rests on: a year of lines in QBO, and what Procore has of the projects they may belong to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ml_connector.errors import PermanentError, ReconnectNeeded
from ml_connector.mapping.models import Reference, folded
from ml_connector.mapping.read_lines import ReadLine
from ml_connector.posting.direct_costs.typed_costs import number_key
from ml_connector.posting.vendors.matching import match_key
from ml_connector.procore.catalog import fetch_codes
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.commitments import TAKES_INVOICES, CommitmentBook, Contract
from ml_connector.procore.direct_costs import CostThere, fetch_all_with_lines
from ml_connector.procore.models import CatalogProject, Pair
from ml_connector.qbo.models import Customer

ALIKE = 3  # candidates that a note names


@dataclass(frozen=True)
class Linked:
    """A customer of QBO with the project that it surely is, None where that is not sure, and those that it may be."""

    customer: Customer
    project: CatalogProject | None
    why: str
    candidates: tuple[CatalogProject, ...] = ()


@dataclass
class Known:
    """What Procore has of one project: its active budget codes, approved commitments and direct costs that people typed."""

    pairs: dict[int, Pair] = field(default_factory=dict)  # by WBS code
    contracts: dict[str, list[tuple[Contract, set[Pair]]]] = field(
        default_factory=dict
    )  # by vendor, `match_key`
    typed: dict[tuple[str, str], list[CostThere]] = field(default_factory=dict)  # by vendor and number


def link_customers(
    used: Collection[str], reference: Reference, projects: Mapping[str, CatalogProject]
) -> list[Linked]:
    """The customers of `used` (QBO ids), and the others that surely are a project, each with its project.

    Sure is a name that is just the same, or a project number that stands in the name as a word, where no other project
    and no other customer of ours fits as well.
    """
    customers = [one for one in reference.customers.values() if one.id in used or one.active]
    sure = {customer.id: _sure(customer, projects.values()) for customer in customers}
    taken: dict[str, list[str]] = {}
    for customer_id, (fits, _) in sure.items():
        if len(fits) == 1:
            taken.setdefault(fits[0].id, []).append(customer_id)
    found = []
    for customer in customers:
        fits, why = sure[customer.id]
        rivals = (
            [other for other in taken.get(fits[0].id, []) if other != customer.id] if len(fits) == 1 else []
        )
        is_used = customer.id in used
        is_open = len(fits) == 1 and (is_used or fits[0].active)
        if is_open and not [other for other in rivals if other in used or not is_used]:
            found.append(Linked(customer, fits[0], why))
        elif is_used:
            found.append(
                Linked(customer, None, "", tuple(fits or _near(customer, projects.values()))[:ALIKE])
            )
    return sorted(found, key=lambda one: folded(one.customer.full_name))


def _sure(customer: Customer, projects: Collection[CatalogProject]) -> tuple[list[CatalogProject], str]:
    names = {match_key(customer.name), match_key(customer.full_name)}
    same = [project for project in projects if match_key(project.name) in names]
    if same:
        return same, "the same name"
    words = set(folded(customer.name).replace("-", " ").split()) | set(folded(customer.name).split())
    numbered = [
        project
        for project in projects
        if len(project.number) > 1 and (folded(project.number) in words or project.number == customer.name)
    ]
    return numbered, "its number in Procore"


def _near(customer: Customer, projects: Collection[CatalogProject]) -> list[CatalogProject]:
    mine = {word for word in match_key(customer.full_name).split() if len(word) > 2}
    alike = [(len(mine & set(match_key(project.name).split())), project) for project in projects]
    return [project for often, project in sorted(alike, key=lambda one: (-one[0], one[1].name)) if often]


def know_projects(
    client: ProcoreClient, projects: Collection[str], vendors: Collection[str]
) -> dict[str, Known]:
    """What Procore has of `projects`; schedules of values only for `vendors` (`match_key`). Four lists a project.

    A list that is forbidden leaves its part empty: the draft then knows less. Raises the client's other errors.
    """
    return {project: _know(client, project, vendors) for project in sorted(projects)}


def _know(client: ProcoreClient, project: str, vendors: Collection[str]) -> Known:
    known = Known()
    for learn in (_codes, _contracts, _typed):  # schedules of values speak of the codes
        try:
            learn(known, client, project, vendors)
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            if error.status not in (403, 404):
                raise
    return known


def _codes(known: Known, client: ProcoreClient, project: str, _: Collection[str]) -> None:
    codes = fetch_codes(client, project).values()
    known.pairs = {code.wbs_code_id: (code.cost_code, code.cost_type) for code in codes if code.active}


def _contracts(known: Known, client: ProcoreClient, project: str, vendors: Collection[str]) -> None:
    book = CommitmentBook(client)
    for contract in book.contracts(project):
        vendor = match_key(contract.vendor_name)
        if contract.status in TAKES_INVOICES and vendor in vendors:
            lines = book.commitment(contract).lines
            pairs = {known.pairs[line.wbs_code_id] for line in lines if line.wbs_code_id in known.pairs}
            known.contracts.setdefault(vendor, []).append((contract, pairs))


def _typed(known: Known, client: ProcoreClient, project: str, _: Collection[str]) -> None:
    for cost in fetch_all_with_lines(client, project):
        if number_key(cost.number) and not cost.origin_id.startswith("qbo:"):
            place = match_key(cost.vendor_name), number_key(cost.number)
            known.typed.setdefault(place, []).append(cost)


def typed_code(one: ReadLine, known: Known) -> Pair | None:
    """The budget code that people gave this line in Procore; None where that cannot be told."""
    place = match_key(one.bill.vendor.name), number_key(one.bill.number)
    lines = [line for cost in known.typed.get(place, ()) for line in cost.lines]
    alike = {line.code for line in lines if line.amount == one.line.amount} or {line.code for line in lines}
    if len(alike) != 1:
        return None
    code, _, kind = alike.pop().rpartition(".")
    return (code, kind) if code else None


def money_of(lines: Sequence[ReadLine]) -> Decimal:
    """What lines come to; credits count against bills."""
    return sum((one.bill.sign * (one.line.amount or Decimal(0)) for one in lines), Decimal("0.00"))
