"""Names for the ids that sentences and the audit trail would otherwise show: projects, budget codes, vendors."""

from dataclasses import dataclass, replace

from sqlalchemy import Engine

from ml_connector.mapping.wording import quoted
from ml_connector.posting.direct_costs.differences import Difference
from ml_connector.procore.models import Catalog
from ml_connector.procore.stored_catalog import load_catalog
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store import ledger, records
from ml_connector.store.ledger import Kind


@dataclass
class Names:
    """Looks names up in what is stored; no call is made. An id without a name stays an id."""

    connection: Connection
    engine: Engine
    _catalog: Catalog | None = None

    def project(self, project_id: str) -> str:
        """`project Harbor Clinic (101)`."""
        known = self._lists().projects.get(project_id)
        return f"project {quoted(known.name, 40)} ({project_id})" if known else f"project {project_id}"

    def spelled(self, difference: Difference, project_id: str) -> Difference:
        """The difference with names in the place of ids."""
        before, after = difference.before, difference.after
        if difference.field == "vendor_id":
            return replace(difference, before=self._vendor(before), after=self._vendor(after))
        if difference.field == "wbs_code_id":
            return replace(
                difference, before=self._code(before, project_id), after=self._code(after, project_id)
            )
        return difference

    def _code(self, key: str, project_id: str) -> str:
        project = self._lists().projects.get(project_id)
        codes = project.codes.values() if project is not None else ()
        spelled = [f"{code.cost_code}.{code.cost_type}" for code in codes if str(code.wbs_code_id) == key]
        return spelled[0] if spelled else key

    def _vendor(self, key: str) -> str:
        if not key.isdigit():
            return key
        with self.engine.connect() as db:
            qbo_id = ledger.source_of(db, self.connection.name, Kind.VENDOR, int(key))
            row = records.known(db, self.connection.name, Entity.VENDOR, [qbo_id or ""]).get(qbo_id or "")
        return quoted(row.vendor_name, 40) if row is not None and row.vendor_name else f"vendor {key}"

    def _lists(self) -> Catalog:
        if self._catalog is None:
            with self.engine.connect() as db:
                self._catalog = load_catalog(db, self.connection.name)
        return self._catalog
