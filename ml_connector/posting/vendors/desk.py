"""Vendors in Procore's directory: found, adopted or created, so that bills can name them. Links go by id for good."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.errors import (
    BadRecord,
    OutcomeUnknown,
    PermanentError,
    ReconnectNeeded,
    TransientError,
)
from ml_connector.holds import Choice, Hold, Reason
from ml_connector.mapping.decided import last_of
from ml_connector.mapping.publishing import newest_vendor_links
from ml_connector.mapping.vendor_sheet import VendorLink, VendorLinks
from ml_connector.money import ZERO
from ml_connector.posting.targets import sendable, vendor_origin
from ml_connector.posting.vendors.matching import (
    Adopt,
    Create,
    ambiguous,
    is_ours,
    match,
    match_key,
    match_row,
    proposal_of,
    proposed,
    unknown,
)
from ml_connector.posting.vendors.writes import VendorWrite, VendorWriter, forbidden, refused
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.directory import DirectoryVendor, fetch_inactive_vendors, fetch_vendors
from ml_connector.qbo.models import Entity, Vendor, parse_vendor
from ml_connector.settings import Connection
from ml_connector.store import aliases, decisions, landing, ledger
from ml_connector.store.decisions import Made
from ml_connector.store.ledger import Fate

ROW = "procore_vendor"  # in the stored body of a link that a row of vendors.csv made: what the row names
ASKED = "vendor"  # likewise: whom


@dataclass
class Links:
    """What is known after `VendorDesk.link`: Procore ids by QBO id, holds, and vendors that must wait until an instant.

    `merged` are Procore ids of the vendors that QBO merged with one; `rows` says which row of vendors.csv decided.
    """

    ids: dict[str, int] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    waiting: dict[str, datetime] = field(default_factory=dict)
    merged: dict[str, frozenset[int]] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    created: int = 0
    adopted: int = 0

    def of(self, qbo_id: str | None) -> tuple[int | None, frozenset[int]]:
        """A vendor in Procore, and the vendors there of those that QBO merged with it."""
        return self.ids.get(qbo_id or ""), self.merged.get(qbo_id or "", frozenset())


def is_linked(row: Row[Any] | None) -> bool:
    """Whether a ledger row of a vendor says that Procore has it, be a change of it under way or refused."""
    return row is not None and row.procore_id is not None and row.confirmed_hash is not None


@dataclass
class _Asked:
    """What was asked of a desk, sorted by what has to be done."""

    links: Links
    missing: list[str]
    rows: Mapping[str, Row[Any]]
    versions: Mapping[str, landing.Version]
    sheet: VendorLinks
    named: Mapping[str, VendorLink]  # rows of vendors.csv by QBO id
    made: Mapping[str, Sequence[Made]]  # what people decided about the vendors


@dataclass
class VendorDesk:
    """Links vendors of one connection during one run; Procore's directory is read once, and only when it is needed."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again
    now: Callable[[], datetime]
    resend: bool = False  # repeats what Procore refused before: a replay by a person
    _directory: list[DirectoryVendor] | None = None
    _inactive: set[int] | None = None

    def __post_init__(self) -> None:
        self.writer = VendorWriter(self.connection, self.engine, self.client, self.run_id, self.settled_at)

    def link(self, vendor_ids: Collection[str]) -> Links:
        """Procore ids of these QBO vendors, linking or creating those that are not linked yet. Repeatable."""
        with self.engine.connect() as db:
            asked = self._look(db, vendor_ids)
        links = asked.links
        writes, noted = self._match(asked)
        if noted:
            links.ids |= {write.qbo_id: write.wanted["id"] for write in noted}
            with self.engine.begin() as db:
                self.writer.note(db, noted, links.ids)
        done = self.writer.write(writes)
        links.ids |= done.accepted
        links.waiting |= done.waiting
        for write in writes:
            hold = done.hold(write)
            if hold is not None:
                links.holds[write.qbo_id] = hold
            elif write.qbo_id in done.accepted:
                links.adopted += "id" in write.row
                links.created += "id" not in write.row
        return links

    def foresee(self, vendor_ids: Collection[str]) -> Links:
        """What `link` would come to, by reading alone; a vendor that would be created has the id 0."""
        with self.engine.connect() as db:
            asked = self._look(db, vendor_ids)
        writes, noted = self._match(asked)
        asked.links.ids |= {write.qbo_id: int(write.wanted.get("id", 0)) for write in (*writes, *noted)}
        return asked.links

    def inactive_among(self, procore_ids: Collection[int]) -> set[int]:
        """Those that are inactive in Procore: one short list a run. Raises the client's errors, a refusal once."""
        if self._inactive is None:
            known, self._inactive = self._directory, set()
            try:
                entries = fetch_inactive_vendors(self.client) if known is None else known
            except (OutcomeUnknown, TransientError):
                self._inactive = None
                raise
            self._inactive = {entry.id for entry in entries if not entry.active}
        return self._inactive & set(procore_ids)

    def note_activity(self, procore_id: int, *, active: bool) -> None:
        """Remember what this run made of a vendor."""
        if self._inactive is not None:
            (self._inactive.discard if active else self._inactive.add)(procore_id)

    # -- what the ledger knows --------------------------------------------------------------------------------------

    def _look(self, db: Database, vendor_ids: Collection[str]) -> _Asked:
        name, realm = self.connection.name, self.connection.qbo.realm_id
        sheet = newest_vendor_links(db, name)
        known = ledger.rows(db, name, [vendor_origin(realm, qbo_id) for qbo_id in vendor_ids])
        rows = {row.qbo_id: row for row in known.values()}
        linked = {qbo_id for qbo_id in vendor_ids if is_linked(rows.get(qbo_id))}
        by_row = {qbo_id for qbo_id in linked if ROW in rows[qbo_id].wanted}
        unsure = set(vendor_ids) if sheet.by_vendor else set(vendor_ids) - (linked - by_row)
        versions = landing.newest(db, name, Entity.VENDOR, unsure)
        proposes = self.connection.policies.new_vendors == "propose"
        made = decisions.of(db, name, Entity.VENDOR, sorted(vendor_ids)) if proposes else {}
        asked = _Asked(Links(), [], rows, versions, sheet, _rows_of(sheet, versions, rows), made)
        for qbo_id in sorted(vendor_ids):
            self._sort(asked, qbo_id)
        asked.links.merged = self._merged(db, vendor_ids)
        return asked

    def _sort(self, asked: _Asked, qbo_id: str) -> None:
        links, row, link = asked.links, asked.rows.get(qbo_id), asked.named.get(qbo_id)
        by_row = None if row is None else row.wanted.get(ROW)
        if row is not None and is_linked(row) and by_row == (None if link is None else link.procore_vendor):
            links.ids[qbo_id] = row.procore_id
            if link is not None:
                links.rows[qbo_id] = asked.sheet.source(link)
        elif row is not None and row.not_before is not None and row.not_before > self.now():
            links.waiting[qbo_id] = row.not_before
        else:
            asked.missing.append(qbo_id)

    def _merged(self, db: Database, vendor_ids: Collection[str]) -> dict[str, frozenset[int]]:
        """Procore ids of the vendors that QBO merged with those asked for."""
        name, realm = self.connection.name, self.connection.qbo.realm_id
        families = aliases.families(db, name, vendor_ids)
        origins = {vendor_origin(realm, other) for others in families.values() for other in others}
        rows = ledger.rows(db, name, origins) if origins else {}
        ids = {row.qbo_id: row.procore_id for row in rows.values() if is_linked(row)}
        return {
            vendor: frozenset(ids[other] for other in others if other in ids)
            for vendor, others in families.items()
        }

    # -- what Procore has -------------------------------------------------------------------------------------------

    def _match(self, asked: _Asked) -> tuple[list[VendorWrite], list[VendorWrite]]:
        """What is to be sent, and the links by vendors.csv that are noted here alone."""
        if not asked.missing:
            return [], []
        links = asked.links
        try:
            directory = self._read_directory()
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            links.holds |= dict.fromkeys(asked.missing, forbidden(error))
            return [], []
        writes: list[VendorWrite] = []
        noted: list[VendorWrite] = []
        coming: dict[str, str] = {}
        for qbo_id in asked.missing:
            version = asked.versions.get(qbo_id)
            vendor = self._readable(qbo_id, version, links)
            if vendor is None or version is None:
                continue
            if (link := asked.named.get(qbo_id)) is not None:
                found = self._by_row(asked, vendor, version, link, directory)
            else:
                found = self._by_name(asked, vendor, version, directory, coming)
            if isinstance(found, Hold):
                links.holds[qbo_id] = found
            else:
                (noted if link is not None else writes).append(found)
        return writes, noted

    def _by_row(
        self,
        asked: _Asked,
        vendor: Vendor,
        version: landing.Version,
        link: VendorLink,
        directory: Sequence[DirectoryVendor],
    ) -> VendorWrite | Hold:
        source = asked.sheet.source(link)
        found = match_row(vendor, link, source, directory)
        if isinstance(found, Hold):
            return found
        asked.links.rows[vendor.id] = source
        origin = vendor_origin(self.connection.qbo.realm_id, vendor.id)
        return _noted(vendor, version, origin, found, link, asked.rows.get(vendor.id))

    def _by_name(
        self,
        asked: _Asked,
        vendor: Vendor,
        version: landing.Version,
        directory: Sequence[DirectoryVendor],
        coming: dict[str, str],
    ) -> VendorWrite | Hold:
        origin, key = vendor_origin(self.connection.qbo.realm_id, vendor.id), match_key(vendor.name)
        found = match(vendor, origin, directory)
        if isinstance(found, Create) and key in coming:
            text = (
                f"Vendor {vendor.name} has the same name as {coming[key]} but for spelling. "
                "Merge them in QBO, or rename one."
            )
            return ambiguous(vendor.id, text)
        if isinstance(found, Hold):
            return found
        policy = self.connection.policies.new_vendors
        if policy == "propose" and not is_ours(found):
            about = proposal_of(found)
            said = last_of(asked.made.get(vendor.id, ()), Reason.VENDOR_PROPOSED, about)
            if said is None or said.choice is not Choice.APPROVE:
                return proposed(vendor, found, said)
        elif isinstance(found, Create) and policy == "hold":
            return unknown(vendor)
        coming[key] = vendor.name
        write = _write(vendor, version, origin, found)
        return self._refused_before(asked.rows.get(vendor.id), write) or write

    def _refused_before(self, row: Row[Any] | None, write: VendorWrite) -> Hold | None:
        """An automatic run never sends a refused body again: the same sentence, no call (design 7)."""
        if self.resend or row is None or row.state != Fate.REFUSED:
            return None
        same = bytes(row.refused_hash or b"") == write.wanted_hash
        return refused(write.qbo_id, row.refusal) if same else None

    def _readable(self, qbo_id: str, version: landing.Version | None, links: Links) -> Vendor | None:
        try:
            if version is None:
                raise BadRecord("it was never read from QBO")
            return parse_vendor(version.raw)
        except BadRecord as error:
            sentence = f"Vendor with QBO id {qbo_id} cannot be used: {error}. Correct it in QBO."
            links.holds[qbo_id] = Hold(Reason.UNREADABLE, sentence, f"UNREADABLE vendor {qbo_id}", ZERO)
            return None

    def _read_directory(self) -> list[DirectoryVendor]:
        if self._directory is None:
            self._directory = fetch_vendors(self.client)
        return self._directory


def _rows_of(
    sheet: VendorLinks, versions: Mapping[str, landing.Version], rows: Mapping[str, Row[Any]]
) -> dict[str, VendorLink]:
    """Rows of vendors.csv by QBO id; a vendor that is renamed in QBO keeps the row that named it before."""
    found = {}
    for qbo_id, version in versions.items() if sheet.by_vendor else ():
        names = [qbo_id, _name(version)]
        if qbo_id in rows:
            names.append(rows[qbo_id].wanted.get(ASKED, ""))
        link = sheet.find(*filter(None, names))
        if link is not None:
            found[qbo_id] = link
    return found


def _name(version: landing.Version) -> str:
    try:
        return "" if version.tombstone else parse_vendor(version.raw).name
    except BadRecord:
        return ""


def _noted(
    vendor: Vendor,
    version: landing.Version,
    origin: str,
    found: Adopt,
    link: VendorLink,
    row: Row[Any] | None,
) -> VendorWrite:
    detail = {"name": vendor.name, "name_in_procore": found.name, "why": found.why}
    if row is not None and is_linked(row) and row.procore_id != found.procore_id:
        detail["instead_of"] = row.procore_id
    wanted = {"origin_id": origin, "id": found.procore_id, ROW: link.procore_vendor, ASKED: link.vendor}
    return VendorWrite(vendor.id, version, {}, wanted, "linked", detail)


def _write(vendor: Vendor, version: landing.Version, origin: str, found: Adopt | Create) -> VendorWrite:
    if isinstance(found, Adopt):
        row = {"id": found.procore_id, "origin_id": origin}  # people keep it: only the link is ours
        detail = {"name": vendor.name, "name_in_procore": found.name, "why": found.why}
        return VendorWrite(vendor.id, version, row, row, "linked", detail)
    facts = {
        "name": vendor.name,
        "email_address": vendor.email,
        "business_phone": vendor.phone,
        "address": vendor.street,
        "city": vendor.city,
        "state_code": vendor.state,
        "zip": vendor.postal_code,
    }
    given = {key: sendable(value) for key, value in facts.items() if value}
    made = {"origin_id": origin, "is_active": True, **given}
    return VendorWrite(vendor.id, version, made, made, "created", {"name": vendor.name})
