"""vendors.csv: which vendor of Procore a vendor of QBO stands for, where names do not say it or say it wrong.

Two rows may name the same Procore vendor: a joint payee, a factor, one supplier in two currencies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ml_connector.mapping.models import folded
from ml_connector.mapping.table import Fault, SheetRefused, read_table

VENDORS_SHEET = "vendors.csv"
VENDORS_COLUMNS = ("vendor", "procore_vendor", "note")


@dataclass(frozen=True)
class VendorLink:
    """One row: `vendor` is a QBO id or name, `procore_vendor` an id or name of Procore's directory, as written."""

    row: int
    vendor: str
    procore_vendor: str


@dataclass(frozen=True)
class VendorLinks:
    """One published version of vendors.csv; rows by their `folded` vendor."""

    version: int = 0
    by_vendor: Mapping[str, VendorLink] = field(default_factory=dict)

    def find(self, *names: str) -> VendorLink | None:
        """The row of a vendor by the first of its names (id, name, what its row once said) that has one."""
        return next((self.by_vendor[key] for name in names if (key := folded(name)) in self.by_vendor), None)

    def source(self, link: VendorLink) -> str:
        """How sentences and the audit trail name a row: `vendors.csv version 2, row 3`."""
        return f"{VENDORS_SHEET} version {self.version}, row {link.row}"


def parse_vendors(content: bytes, version: int) -> VendorLinks:
    """The links of vendors.csv. Raises SheetRefused with every fault."""
    required = VENDORS_COLUMNS[:2]
    rows, faults = read_table(content, sheet=VENDORS_SHEET, known=VENDORS_COLUMNS, required=required)
    links: dict[str, VendorLink] = {}
    for row in rows:
        vendor, procore_vendor = (row.cells[name] for name in required)
        if not vendor and not procore_vendor:
            continue
        if not vendor:
            faults.append(Fault(row.number, "vendor", "the vendor is missing: its QBO id or name"))
        if not procore_vendor:
            text = "the vendor of Procore is missing: its id or name"
            faults.append(Fault(row.number, "procore_vendor", text))
        first = links.setdefault(folded(vendor), VendorLink(row.number, vendor, procore_vendor))
        if vendor and folded(first.procore_vendor) != folded(procore_vendor):
            text = f"row {first.row} links it to another vendor, {first.procore_vendor}"
            faults.append(Fault(row.number, "vendor", text))
    if faults:
        raise SheetRefused(VENDORS_SHEET, sorted(faults, key=lambda fault: fault.row))
    return VendorLinks(version, links)
