"""Vendors on the directories of projects: Procore takes a cost only of a vendor that is on its project (procore-api 4)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO
from ml_connector.posting.targets import vendor_origin
from ml_connector.posting.vendors.writes import hash_of
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.directory import fetch_project_vendor_ids
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger
from ml_connector.store.ledger import Confirmed, Fate, Intent, Kind


@dataclass
class ProjectVendorDesk:
    """Puts vendors of one connection on projects during one run; a project's list is read once, when it is needed."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    settled_at: Callable[[], datetime]
    _on_project: dict[str, set[int]] = field(default_factory=dict)

    def put(self, wanted: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str], Hold | datetime]:
        """Put vendors on projects, given (QBO vendor id, Procore project id, Procore vendor id).

        Gives what went wrong by (vendor, project): a hold, or the instant to try again; {} when all are there.
        """
        realm, name = self.connection.qbo.realm_id, self.connection.name
        places = sorted(wanted)
        with self.engine.connect() as db:
            rows = ledger.rows(
                db, name, {f"{vendor_origin(realm, vendor)}:{project}" for vendor, project, _ in places}
            )
        troubles: dict[tuple[str, str], Hold | datetime] = {}
        for vendor, project, procore_id in places:
            origin = f"{vendor_origin(realm, vendor)}:{project}"
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
        place = {"vendor_id": procore_id, "project_id": project}
        intent = Intent(
            origin_id=origin,
            kind=Kind.PROJECT_VENDOR,
            entity=Entity.VENDOR,
            qbo_id=vendor,
            project_id=project,
            landing_number=0,
            sync_token=0,
            wanted=place,
            wanted_hash=hash_of(place),
        )
        there = procore_id in self._on_project[project]
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, [intent], run_id=self.run_id)
            sent = audit.Entry("sent", Entity.VENDOR, vendor, {"origin_id": origin, "project": project})
            if not there:
                audit.append(db, self.connection.name, [sent], run_id=self.run_id, actor="ml-connector")
        if not there:
            crashpoint("K5")
            self.client.add_project_vendor(project, procore_id)
            crashpoint("K7")
            self._on_project[project].add(procore_id)
        event = audit.Entry("on project", Entity.VENDOR, vendor, {"project": project, "added": not there})
        with self.engine.begin() as db:
            ledger.confirm(db, self.connection.name, [Confirmed(origin, procore_id, intent.wanted_hash)])
            audit.append(db, self.connection.name, [event], run_id=self.run_id, actor="ml-connector")
        crashpoint("K8")
