"""What ml-connector knows of Procore's projects: the budget codes that costs can be posted to."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BudgetCode:
    """A WBS code of a project: cost code + cost type, as Procore spells them."""

    wbs_code_id: int
    cost_code: str
    cost_type: str
    active: bool


@dataclass(frozen=True)
class CatalogProject:
    """A Procore project as the stored catalog copy knows it; codes by (cost code, cost type), upper case.

    `unreadable` says why the codes could not be read, "" when they were or were not asked for.
    """

    id: str
    name: str
    active: bool
    codes: Mapping[tuple[str, str], BudgetCode]
    unreadable: str = ""


@dataclass(frozen=True)
class Catalog:
    """The stored copy of Procore's projects and budget codes."""

    projects: Mapping[str, CatalogProject]
