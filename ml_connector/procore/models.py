"""What ml-connector knows of Procore's projects: the budget codes that costs can be posted to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Pair = tuple[str, str]  # cost code, cost type; in upper case where codes are looked up by it


@dataclass(frozen=True)
class BudgetCode:
    """A WBS code of a project: cost code + cost type, as Procore spells them."""

    wbs_code_id: int
    cost_code: str
    cost_type: str
    active: bool


@dataclass(frozen=True)
class Budget:
    """The ids of the budget codes that a project's budget has lines for; `unreadable` says why that is not known."""

    codes: frozenset[int]
    unreadable: str = ""


@dataclass(frozen=True)
class CatalogProject:
    """A Procore project as the stored catalog copy knows it; codes by (cost code, cost type), upper case.

    `unreadable` says why the codes could not be read, "" when they were or were not asked for. `not_made` says why a code
    that the project lacks could not be made. `budget` is None until it was read.
    """

    id: str
    name: str
    active: bool
    codes: Mapping[Pair, BudgetCode]
    unreadable: str = ""
    not_made: Mapping[Pair, str] = field(default_factory=dict)
    budget: Budget | None = None
    number: str = ""  # as people write it; "" in the stored copy, which does not keep it


@dataclass(frozen=True)
class Catalog:
    """The stored copy of Procore's projects and budget codes."""

    projects: Mapping[str, CatalogProject]
