"""Which vendor of Procore's directory a vendor of QBO is: by its row of vendors.csv, by origin id, or by name. Pure.

Procore's names are not unique: a sure match is linked, several are held, and only without any candidate one is made.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ml_connector.holds import Hold, Reason
from ml_connector.mapping.models import folded
from ml_connector.mapping.vendor_sheet import VendorLink
from ml_connector.mapping.wording import quoted
from ml_connector.money import ZERO
from ml_connector.procore.directory import DirectoryVendor
from ml_connector.qbo.models import Vendor
from ml_connector.store.decisions import Made

LEGAL_FORMS = frozenset(
    ("inc", "incorporated", "llc", "ltd", "limited", "corp", "corporation", "co", "company")
) | frozenset(("lp", "llp", "pllc", "pc", "gmbh", "plc"))

OURS = "origin id"  # why a vendor that carries our link already is taken


def match_key(name: str) -> str:
    """A name as it is compared: without case, punctuation and legal form; "&" is "and"."""
    words = re.findall(r"\w+", name.casefold().replace("&", " and ").replace("'", "").replace(".", ""))
    while len(words) > 1 and words[-1] in LEGAL_FORMS:
        words.pop()
    return " ".join(words)


@dataclass(frozen=True)
class Adopt:
    """Link this vendor of Procore; `name` is what it is called there, `why` what made it sure."""

    procore_id: int
    name: str
    why: str


@dataclass(frozen=True)
class Create:
    """Make a new one."""


Match = Adopt | Create | Hold


def match(vendor: Vendor, origin_id: str, directory: Sequence[DirectoryVendor]) -> Match:
    """What to do for a vendor that is not linked yet, given Procore's whole directory."""
    ours = [entry for entry in directory if entry.origin_id == origin_id]
    if len(ours) == 1:
        return Adopt(ours[0].id, ours[0].name, OURS)
    key = match_key(vendor.name)
    alike = [entry for entry in directory if match_key(entry.name) == key]
    active = [entry for entry in alike if entry.active]
    if not alike:
        return Create()
    if len(active) == 1 and not active[0].origin_id:
        return Adopt(active[0].id, active[0].name, "the only one of that name")
    if not active:
        return inactive(vendor.id, vendor.name)
    where = "; ".join(
        f"{entry.name} ({entry.city or 'no city'}, {_address(vendor, entry)}Procore id {entry.id})"
        for entry in active[:5]
    )
    linked = ", one of them linked to another QBO vendor" if any(entry.origin_id for entry in active) else ""
    sentence = (
        f"Vendor {vendor.name} has {len(active)} possible match{'es' if len(active) > 1 else ''} in Procore{linked}: "
        f"{where}. Merge or rename them in Procore so that one is left, or name the right one in vendors.csv."
    )
    return ambiguous(vendor.id, sentence)


def _address(vendor: Vendor, entry: DirectoryVendor) -> str:
    """Whether the address there is that of QBO, as far as both say one; it is evidence for a person and links nothing."""
    ours, theirs = (vendor.street, vendor.postal_code), (entry.street, entry.postal_code)
    both = [(folded(one), folded(other)) for one, other in zip(ours, theirs, strict=True) if one and other]
    if not both:
        return ""
    return "the address matches, " if all(one == other for one, other in both) else "another address, "


def match_row(
    vendor: Vendor, link: VendorLink, source: str, directory: Sequence[DirectoryVendor]
) -> Adopt | Hold:
    """The vendor of Procore that a row of vendors.csv names; `source` says which row."""
    asked = folded(link.procore_vendor)
    found = [entry for entry in directory if str(entry.id) == asked] or [
        entry for entry in directory if folded(entry.name) == asked
    ]
    if len(found) > 1:
        found = [entry for entry in found if entry.active]
    if len(found) != 1:
        count = "no vendor" if not found else f"{len(found)} vendors"
        sentence = (
            f"Vendor {vendor.name} stands for {link.procore_vendor!r} by {source}, and Procore's directory has {count} "
            "of that id or name. Write the Procore id into the row, and publish vendors.csv again."
        )
        return ambiguous(vendor.id, sentence)
    if not found[0].active:
        return inactive(vendor.id, found[0].name)
    return Adopt(found[0].id, found[0].name, source)


def inactive(qbo_id: str, name: str) -> Hold:
    """Nothing is sent for a vendor that people made inactive in Procore: often its insurance has expired (S86)."""
    sentence = (
        f"Vendor {name} is inactive in Procore. Make it active there, exclude its bills, or say in vendors.csv whom it "
        "stands for."
    )
    return Hold(Reason.VENDOR_INACTIVE, sentence, f"{Reason.VENDOR_INACTIVE} vendor {qbo_id}", ZERO)


def unknown(vendor: Vendor) -> Hold:
    """Procore has no such vendor, and by policy people alone add one there (S80)."""
    sentence = (
        f"Vendor {vendor.name} is not in Procore's directory, and by the policy new_vendors people add vendors there: "
        "add it in Procore, or say in vendors.csv whom it stands for."
    )
    return ambiguous(vendor.id, sentence)


def is_ours(found: Adopt | Create) -> bool:
    """Whether Procore says itself that the vendor is linked."""
    return isinstance(found, Adopt) and found.why == OURS


def proposal_of(found: Adopt | Create) -> str:
    """What a person approves: `link 900`, `create`."""
    return f"link {found.procore_id}" if isinstance(found, Adopt) else "create"


def proposed(vendor: Vendor, found: Adopt | Create, said: Made | None) -> Hold:
    """By policy a person has a look at each new link; `said` is the decision on this proposal, if it is a refusal."""
    if isinstance(found, Adopt):
        what = f"link it to {found.name} (Procore id {found.procore_id}), {found.why}"
    else:
        what = "create it in Procore, which has none of that name"
    if said is None:
        text = f"has no link to Procore. The proposal: {what}. Approve or reject it on vendor:{vendor.id}"
    else:
        text = f"is not linked: {said.by} rejected to {what} ({quoted(said.comment, 120)}). Add it in Procore"
    sentence = f"Vendor {vendor.name} {text}, or say in vendors.csv whom it stands for."
    cause = f"{Reason.VENDOR_PROPOSED} vendor {vendor.id}"
    about = proposal_of(found) if said is None else ""  # asked once: another proposal is asked for anew
    return Hold(Reason.VENDOR_PROPOSED, sentence, cause, ZERO, about=about)


def ambiguous(qbo_id: str, sentence: str) -> Hold:
    """Which vendor is meant is not sure."""
    return Hold(Reason.VENDOR_AMBIGUOUS, sentence, f"{Reason.VENDOR_AMBIGUOUS} vendor {qbo_id}", ZERO)
