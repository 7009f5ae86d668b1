"""Vendors in Procore's directory: found, adopted, created, and put on the projects that need them.

Procore's names are not unique, so a sure match is linked, several are held, and only without any candidate one is made.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import BadRecord, OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO
from ml_connector.posting.targets import sendable, vendor_origin
from ml_connector.procore.client import Accepted, Outcome, ProcoreClient, Refused
from ml_connector.procore.directory import DirectoryVendor, fetch_project_vendor_ids, fetch_vendors
from ml_connector.qbo.models import Entity, Vendor, parse_vendor
from ml_connector.settings import Connection
from ml_connector.store import audit, exact_json, landing, ledger
from ml_connector.store.ledger import Confirmed, Fate, Intent, Kind
from ml_connector.transport.call import CallRefused

LEGAL_FORMS = frozenset(
    ("inc", "incorporated", "llc", "ltd", "limited", "corp", "corporation", "co", "company")
) | frozenset(("lp", "llp", "pllc", "pc", "gmbh", "plc"))
SYNC_ROWS = 1000


def match_key(name: str) -> str:
    """A name as it is compared: without case, punctuation and legal form; "&" is "and"."""
    words = re.findall(r"\w+", name.casefold().replace("&", " and ").replace("'", "").replace(".", ""))
    while len(words) > 1 and words[-1] in LEGAL_FORMS:
        words.pop()
    return " ".join(words)


@dataclass(frozen=True)
class Adopt:
    """Link this vendor of Procore."""

    procore_id: int


@dataclass(frozen=True)
class Create:
    """Make a new one."""


Match = Adopt | Create | Hold


def match(vendor: Vendor, origin_id: str, directory: Sequence[DirectoryVendor]) -> Match:
    """What to do for a vendor that is not linked yet, given Procore's whole directory. Pure."""
    ours = [entry for entry in directory if entry.origin_id == origin_id]
    if len(ours) == 1:
        return Adopt(ours[0].id)
    key = match_key(vendor.name)
    alike = [entry for entry in directory if match_key(entry.name) == key]
    active = [entry for entry in alike if entry.active]
    if not alike:
        return Create()
    if len(active) == 1 and not active[0].origin_id:
        return Adopt(active[0].id)
    cause = f"vendor {vendor.id}"
    if not active:
        sentence = f"Vendor {vendor.name} is inactive in Procore. Make it active there, or exclude its bills."
        return Hold(Reason.VENDOR_INACTIVE, sentence, f"VENDOR_INACTIVE {cause}", ZERO)
    where = "; ".join(
        f"{entry.name} ({entry.city or 'no city'}, Procore id {entry.id})" for entry in active[:5]
    )
    linked = ", one of them linked to another QBO vendor" if any(entry.origin_id for entry in active) else ""
    sentence = (
        f"Vendor {vendor.name} has {len(active)} possible match{'es' if len(active) > 1 else ''} in Procore{linked}: "
        f"{where}. Merge or rename them in Procore so that one is left."
    )
    return Hold(Reason.VENDOR_AMBIGUOUS, sentence, f"VENDOR_AMBIGUOUS {cause}", ZERO)


@dataclass
class Links:
    """What is known after `VendorDesk.link`: Procore ids by QBO id, holds, and vendors that must wait until an instant."""

    ids: dict[str, int] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    waiting: dict[str, datetime] = field(default_factory=dict)
    created: int = 0
    adopted: int = 0


@dataclass
class VendorDesk:
    """Links vendors of one connection during one run; Procore's directory is read once, and only when it is needed."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again
    now: Callable[[], datetime]
    _directory: list[DirectoryVendor] | None = None
    _on_project: dict[str, set[int]] = field(default_factory=dict)

    def link(self, vendor_ids: Collection[str]) -> Links:
        """Procore ids of these QBO vendors, linking or creating those that are not linked yet. Repeatable."""
        links, missing, versions = self._look(vendor_ids)
        rows = self._match(missing, versions, links) if missing else []
        for first in range(0, len(rows), SYNC_ROWS):
            self._send(rows[first : first + SYNC_ROWS], links)
        return links

    def foresee(self, vendor_ids: Collection[str]) -> Links:
        """What `link` would come to, by reading alone; a vendor that would be created has the id 0."""
        links, missing, versions = self._look(vendor_ids)
        for vendor, _, row in self._match(missing, versions, links) if missing else []:
            links.ids[vendor.id] = int(row.get("id", 0))
        return links

    def _look(self, vendor_ids: Collection[str]) -> tuple[Links, list[str], dict[str, landing.Version]]:
        """What the ledger knows, and the vendors that it does not know with their newest versions."""
        links = Links()
        realm, name = self.connection.qbo.realm_id, self.connection.name
        with self.engine.connect() as db:
            rows = ledger.rows(db, name, [vendor_origin(realm, qbo_id) for qbo_id in vendor_ids])
            for qbo_id in sorted(vendor_ids):
                row = rows.get(vendor_origin(realm, qbo_id))
                if row is not None and row.state == Fate.CONFIRMED:
                    links.ids[qbo_id] = row.procore_id
                elif row is not None and row.not_before is not None and row.not_before > self.now():
                    links.waiting[qbo_id] = row.not_before
            missing = [
                qbo_id
                for qbo_id in sorted(vendor_ids)
                if qbo_id not in links.ids and qbo_id not in links.waiting
            ]
            return links, missing, landing.newest(db, name, Entity.VENDOR, missing)

    def _match(
        self, missing: Sequence[str], versions: Mapping[str, landing.Version], links: Links
    ) -> list[tuple[Vendor, landing.Version, dict[str, Any]]]:
        try:
            directory = self._read_directory()
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            for qbo_id in missing:
                links.holds[qbo_id] = _forbidden(error)
            return []
        rows: list[tuple[Vendor, landing.Version, dict[str, Any]]] = []
        coming: dict[str, str] = {}
        for qbo_id in missing:
            version = versions.get(qbo_id)
            vendor = self._readable(qbo_id, version, links)
            if vendor is None or version is None:
                continue
            origin = vendor_origin(self.connection.qbo.realm_id, qbo_id)
            found = match(vendor, origin, directory)
            if isinstance(found, Create) and match_key(vendor.name) in coming:
                other = coming[match_key(vendor.name)]
                found = Hold(
                    Reason.VENDOR_AMBIGUOUS,
                    f"Vendor {vendor.name} has the same name as {other} but for spelling. Merge them in QBO, or rename one.",
                    f"VENDOR_AMBIGUOUS vendor {qbo_id}",
                    ZERO,
                )
            if isinstance(found, Hold):
                links.holds[qbo_id] = found
                continue
            coming[match_key(vendor.name)] = vendor.name
            rows.append((vendor, version, _sync_row(vendor, origin, found)))
        return rows

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

    def _send(self, rows: Sequence[tuple[Vendor, landing.Version, dict[str, Any]]], links: Links) -> None:
        name = self.connection.name
        intents = [
            Intent(
                origin_id=row["origin_id"],
                kind=Kind.VENDOR,
                entity=Entity.VENDOR,
                qbo_id=vendor.id,
                project_id="",
                landing_number=version.number,
                sync_token=version.sync_token,
                wanted=row,
                wanted_hash=_hash(row),
            )
            for vendor, version, row in rows
        ]
        with self.engine.begin() as db:
            ledger.intend(db, name, intents, run_id=self.run_id)
            audit.append(
                db, name, [_sent(intent) for intent in intents], run_id=self.run_id, actor="ml-connector"
            )
        crashpoint("K5")
        try:
            answer = self.client.sync(
                "/rest/v1.0/vendors/sync",
                {"company_id": self.connection.procore.company_id},
                [row for _, _, row in rows],
            )
        except (OutcomeUnknown, TransientError) as error:
            self._doubt(intents, error, links)
            return
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            self._refuse(rows, error, links)
            return
        crashpoint("K14")
        self._record(rows, intents, answer.settle([row for _, _, row in rows]), links)

    def _refuse(
        self,
        rows: Sequence[tuple[Vendor, landing.Version, dict[str, Any]]],
        error: PermanentError,
        links: Links,
    ) -> None:
        """A whole call was refused: find the vendors that are to blame by halves, so that the others go through."""
        if error.status in (401, 403, 404):
            links.holds.update({vendor.id: _forbidden(error) for vendor, _, _ in rows})
        elif len(rows) == 1:
            vendor = rows[0][0]
            text = (error.fault.text if isinstance(error, CallRefused) else "") or str(error)
            sentence = f"Procore refused vendor {vendor.name}: {text}. Correct it in QBO or in Procore."
            links.holds[vendor.id] = Hold(Reason.REFUSED, sentence, f"REFUSED vendor {vendor.id}", ZERO)
        else:
            middle = len(rows) // 2
            self._send(rows[:middle], links)
            self._send(rows[middle:], links)

    def _doubt(self, intents: Sequence[Intent], error: OutcomeUnknown | TransientError, links: Links) -> None:
        again = self.settled_at()
        if isinstance(error, TransientError) and error.not_before is not None:
            again = max(again, error.not_before)
        with self.engine.begin() as db:
            ledger.doubt(db, self.connection.name, [intent.origin_id for intent in intents], not_before=again)
        for intent in intents:
            links.waiting[intent.qbo_id] = again

    def _record(
        self,
        rows: Sequence[tuple[Vendor, landing.Version, dict[str, Any]]],
        intents: Sequence[Intent],
        outcomes: Mapping[str, Outcome],
        links: Links,
    ) -> None:
        name, confirmed, told, unclear = self.connection.name, [], [], []
        with self.engine.begin() as db:
            for (vendor, _, row), intent in zip(rows, intents, strict=True):
                outcome = outcomes[intent.origin_id]
                if isinstance(outcome, Accepted):
                    procore_id = int(outcome.entity["id"])
                    confirmed.append(Confirmed(intent.origin_id, procore_id, intent.wanted_hash))
                    links.ids[vendor.id] = procore_id
                    adopted = "id" in row
                    links.adopted += adopted
                    links.created += not adopted
                    event = "linked" if adopted else "created"
                    told.append(
                        audit.Entry(
                            event, intent.entity, vendor.id, {"procore_id": procore_id, "name": vendor.name}
                        )
                    )
                elif isinstance(outcome, Refused):
                    ledger.refuse(
                        db, name, intent.origin_id, refused_hash=intent.wanted_hash, refusal=outcome.text
                    )
                    sentence = f"Procore refused vendor {vendor.name}: {outcome.text}. Correct it in QBO or in Procore."
                    links.holds[vendor.id] = Hold(
                        Reason.REFUSED, sentence, f"REFUSED vendor {vendor.id}", ZERO
                    )
                    told.append(audit.Entry("refused", intent.entity, vendor.id, {"text": outcome.text}))
                else:
                    unclear.append(intent)
            ledger.confirm(db, name, confirmed)
            audit.append(db, name, told, run_id=self.run_id, actor="ml-connector")
        if unclear:
            self._doubt(unclear, OutcomeUnknown("row missing in the answer", vendor="procore"), links)

    def put_on_projects(
        self, wanted: Iterable[tuple[str, str, int]]
    ) -> dict[tuple[str, str], Hold | datetime]:
        """Put vendors on projects, given (QBO vendor id, Procore project id, Procore vendor id).

        Gives what went wrong by (vendor, project): a hold, or the instant to try again; {} when all are there.
        """
        realm, name = self.connection.qbo.realm_id, self.connection.name
        origins = {
            f"{vendor_origin(realm, vendor)}:{project}": (vendor, project, procore_id)
            for vendor, project, procore_id in wanted
        }
        with self.engine.connect() as db:
            rows = ledger.rows(db, name, origins)
        troubles: dict[tuple[str, str], Hold | datetime] = {}
        for origin, (vendor, project, procore_id) in sorted(origins.items()):
            row = rows.get(origin)
            if row is not None and row.state == Fate.CONFIRMED and row.procore_id == procore_id:
                continue
            try:
                self._put(origin, vendor, project, procore_id)
            except ReconnectNeeded:
                raise
            except PermanentError as error:
                sentence = (
                    f"Procore does not let vendor {vendor} onto project {project}: {error}. Give the service account "
                    "the directory of the project, or add the vendor there."
                )
                troubles[vendor, project] = Hold(
                    Reason.PERMISSION, sentence, f"PERMISSION project {project}", ZERO
                )
            except (OutcomeUnknown, TransientError) as error:
                later = error.not_before if isinstance(error, TransientError) else None
                troubles[vendor, project] = max(self.settled_at(), later) if later else self.settled_at()
        return troubles

    def _put(self, origin: str, vendor: str, project: str, procore_id: int) -> None:
        if project not in self._on_project:
            self._on_project[project] = fetch_project_vendor_ids(self.client, project)
        intent = Intent(
            origin_id=origin,
            kind=Kind.PROJECT_VENDOR,
            entity=Entity.VENDOR,
            qbo_id=vendor,
            project_id=project,
            landing_number=0,
            sync_token=0,
            wanted={"vendor_id": procore_id, "project_id": project},
            wanted_hash=_hash({"vendor_id": procore_id, "project_id": project}),
        )
        there = procore_id in self._on_project[project]
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, [intent], run_id=self.run_id)
        if not there:
            crashpoint("K5")
            self.client.add_project_vendor(project, procore_id)
            crashpoint("K7")
            self._on_project[project].add(procore_id)
        event = audit.Entry("on project", Entity.VENDOR, vendor, {"project": project, "added": not there})
        with self.engine.begin() as db:
            ledger.confirm(db, self.connection.name, [Confirmed(origin, procore_id, intent.wanted_hash)])
            audit.append(db, self.connection.name, [event], run_id=self.run_id, actor="ml-connector")


def _sync_row(vendor: Vendor, origin: str, found: Adopt | Create) -> dict[str, Any]:
    if isinstance(found, Adopt):
        return {
            "id": found.procore_id,
            "origin_id": origin,
        }  # a vendor that people keep: only the link is ours
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
    return {"origin_id": origin, "is_active": True, **given}


def _forbidden(error: PermanentError) -> Hold:
    sentence = (
        f"Procore does not let ml-connector into its company directory ({error}). Give the service account the "
        "Directory tool of the company, then replay."
    )
    return Hold(Reason.PERMISSION, sentence, "PERMISSION directory", ZERO)


def _hash(row: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(exact_json.dumps(row, sort_keys=True)).digest()


def _sent(intent: Intent) -> audit.Entry:
    return audit.Entry(
        "sent",
        intent.entity,
        intent.qbo_id,
        {
            "origin_id": intent.origin_id,
            "body": intent.wanted_hash.hex()[:16],
            "version": intent.landing_number,
        },
    )
