"""Publishing the customer's sheets: validated whole, stored as an immutable version, and what waits for rules is woken."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import SetupError
from ml_connector.holds import Reason
from ml_connector.mapping.models import ProjectLinks, RuleBook
from ml_connector.mapping.sheets import parse_mapping, parse_projects
from ml_connector.mapping.vendor_sheet import VendorLinks, parse_vendors
from ml_connector.settings import Connection, Home
from ml_connector.store import audit, sheets, windows

FREED_BY_SHEETS = (
    Reason.UNMAPPED,
    Reason.NO_PROJECT,
    Reason.PROJECT_NOT_LINKED,
    Reason.PROJECT_CLOSED,
    Reason.PERMISSION,
    Reason.CODE_MISSING,
    Reason.NO_BUDGET_LINE,
    Reason.NOT_A_COST,
    Reason.RETAINAGE_POLICY,
    Reason.COMMITMENT_MISSING,
    Reason.COMMITMENT_AMBIGUOUS,
    Reason.COMMITMENT_EXPECTED,
    Reason.VENDOR_MISMATCH,
    Reason.SOV_AMBIGUOUS,
    Reason.CREDIT_ON_COMMITMENT,
    Reason.EXPENSE_ON_COMMITMENT,
    Reason.NEEDS_APPROVAL,
)
FREED_BY_VENDORS = (
    Reason.VENDOR_AMBIGUOUS,
    Reason.VENDOR_PROPOSED,
    Reason.VENDOR_INACTIVE,
    Reason.VENDOR_MISMATCH,
    Reason.COMMITMENT_MISSING,
)


@dataclass(frozen=True)
class Publication:
    """What publishing did with one sheet. `woken` are days with held records that the new version may free."""

    sheet: str
    version: int
    is_new: bool
    woken: tuple[date, ...]


def sheet_path(home: Home, connection: Connection, sheet: str) -> Path:
    """Where the customer edits a sheet (`mapping`, `projects` or `vendors`)."""
    return home.folder(connection.name) / f"{sheet}.csv"


def read_sheet(home: Home, connection: Connection, sheet: str) -> bytes:
    """The file as it lies there. Raises SetupError when it is missing."""
    path = sheet_path(home, connection, sheet)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SetupError(f"{path} is missing: save the {sheet} sheet there as CSV") from None


def check(sheet: str, content: bytes, version: int) -> RuleBook | ProjectLinks | VendorLinks:
    """The sheet as parsed. Raises SheetRefused with every fault."""
    if sheet == sheets.MAPPING:
        return parse_mapping(content, version)
    return parse_projects(content, version) if sheet == sheets.PROJECTS else parse_vendors(content, version)


def publish(engine: Engine, connection: Connection, sheet: str, content: bytes, *, by: str) -> Publication:
    """Make `content` the newest version of a sheet; the same content again makes none.

    Raises SheetRefused before anything is stored, so that a broken file never replaces a good version. What was posted
    stays as it is; days with records held for want of a rule or link are marked, and released by the next run.
    """
    check(sheet, content, 0)
    with engine.begin() as db:
        version, is_new = sheets.publish(db, connection.name, sheet, content, by=by)
        woken: Sequence[date] = ()
        if is_new:
            freed = FREED_BY_VENDORS if sheet == sheets.VENDORS else FREED_BY_SHEETS
            woken = windows.wake(db, connection.name, freed, why=f"{sheet} version {version} was published")
            told = audit.Entry("published", "Sheet", sheet, {"version": version, "days_woken": len(woken)})
            audit.append(db, connection.name, [told], run_id="", actor=by)
        crashpoint("K12")
    return Publication(sheet, version, is_new, tuple(woken))


def newest_rules(db: Database, connection: str) -> RuleBook | None:
    """The newest published mapping; None before the first."""
    stored = sheets.newest(db, connection, sheets.MAPPING)
    return None if stored is None else parse_mapping(stored.content, stored.version)


def rules_of(db: Database, connection: str, version: int) -> RuleBook:
    """A published version of the mapping."""
    return parse_mapping(sheets.one(db, connection, sheets.MAPPING, version).content, version)


def newest_links(db: Database, connection: str) -> ProjectLinks:
    """The newest published project links; version 0 without any before the first."""
    stored = sheets.newest(db, connection, sheets.PROJECTS)
    return ProjectLinks(0, {}) if stored is None else parse_projects(stored.content, stored.version)


def newest_vendor_links(db: Database, connection: str) -> VendorLinks:
    """The newest published vendor links; version 0 without any before the first."""
    stored = sheets.newest(db, connection, sheets.VENDORS)
    return VendorLinks() if stored is None else parse_vendors(stored.content, stored.version)


def procore_projects(db: Database, connection: str, *, rules: RuleBook | None = None) -> set[str]:
    """Ids of the Procore projects that the published sheets name; `rules` take the place of the published ones."""
    rules = newest_rules(db, connection) if rules is None else rules
    named = set() if rules is None else {outcome.project for rule in rules.rules for outcome in rule.outcomes}
    return {project for project in named | set(newest_links(db, connection).by_customer.values()) if project}
