"""The vendor report: who is in QBO alone, in Procore alone, linked, and linked under another name."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection as Database

from ml_connector.errors import BadRecord
from ml_connector.posting.targets import vendor_origin
from ml_connector.posting.vendors.matching import match_key
from ml_connector.procore.directory import DirectoryVendor
from ml_connector.qbo.models import Entity, parse_vendor
from ml_connector.settings import Connection
from ml_connector.store import landing, ledger
from ml_connector.store.ledger import Kind


@dataclass(frozen=True)
class VendorPair:
    """A vendor on one side or both; ids and names are "" where there is none."""

    qbo_id: str
    qbo_name: str
    procore_id: str
    procore_name: str


@dataclass(frozen=True)
class VendorReport:
    """Active vendors of both sides."""

    only_in_qbo: Sequence[VendorPair]
    only_in_procore: Sequence[VendorPair]
    linked: int
    name_differs: Sequence[VendorPair]


def vendor_report(db: Database, connection: Connection, directory: Sequence[DirectoryVendor]) -> VendorReport:
    """The report on vendors as landed last, against Procore's directory. One that cannot be read is left out."""
    there = {vendor.id: vendor for vendor in directory}
    by_origin = {vendor.origin_id: vendor for vendor in directory if vendor.origin_id}
    ours = {}
    for version in landing.every(db, connection.name, Entity.VENDOR):
        try:
            ours[version.qbo_id] = parse_vendor(version.raw)
        except BadRecord:
            continue
    rows = ledger.targets_of(db, connection.name, Entity.VENDOR, list(ours), kind=Kind.VENDOR)
    linked_ids: set[int] = set()
    only_in_qbo, differs, linked = [], [], 0
    for qbo_id, vendor in sorted(ours.items(), key=lambda pair: pair[1].name.casefold()):
        ids = [int(row.procore_id) for row in rows[qbo_id] if row.procore_id is not None]
        origin = by_origin.get(vendor_origin(connection.qbo.realm_id, qbo_id))
        found = origin or next((there[id_] for id_ in ids if id_ in there), None)
        if found is None:
            if vendor.active:
                only_in_qbo.append(VendorPair(qbo_id, vendor.name, "", ""))
            continue
        linked += 1
        linked_ids.add(found.id)
        if match_key(found.name) != match_key(vendor.name):
            differs.append(VendorPair(qbo_id, vendor.name, str(found.id), found.name))
    only_in_procore = [
        VendorPair("", "", str(vendor.id), vendor.name)
        for vendor in sorted(directory, key=lambda vendor: vendor.name.casefold())
        if vendor.active and vendor.id not in linked_ids
    ]
    return VendorReport(only_in_qbo, only_in_procore, linked, differs)
