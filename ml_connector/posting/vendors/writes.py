"""Writing vendors by Procore's sync action: intent, one call for up to 1000, outcome of each, halves after a refusal."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO
from ml_connector.posting.targets import vendor_origin
from ml_connector.procore.client import Accepted, Outcome, ProcoreClient, Refused
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store import audit, exact_json, landing, ledger
from ml_connector.store.ledger import Confirmed, Intent, Kind
from ml_connector.transport.call import CallRefused

SYNC_ROWS = 1000
FORBIDDEN = (401, 403, 404)


@dataclass(frozen=True)
class VendorWrite:
    """One row of a sync: `row` is sent, `wanted` is what the ledger keeps of the vendor in Procore.

    `event` and `detail` are what the audit trail is told once Procore has taken it. `is_linked`: the vendor is there, and
    stays linked whatever becomes of the write.
    """

    qbo_id: str
    version: landing.Version
    row: Mapping[str, Any]
    wanted: Mapping[str, Any]
    event: str
    detail: Mapping[str, Any]
    is_linked: bool = False

    @property
    def wanted_hash(self) -> bytes:
        """SHA-256 of `wanted`."""
        return hash_of(self.wanted)


@dataclass
class Written:
    """How writes ended, by QBO id: Procore's ids, what it said to those it refused, instants to look again."""

    accepted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    forbidden: dict[str, PermanentError] = field(default_factory=dict)
    waiting: dict[str, datetime] = field(default_factory=dict)

    def hold(self, write: VendorWrite) -> Hold | None:
        """Why a vendor that was to be linked is not; None when it is, or when its outcome is awaited."""
        if write.qbo_id in self.forbidden:
            return forbidden(self.forbidden[write.qbo_id])
        said = self.refused.get(write.qbo_id)
        return None if said is None else refused(write.qbo_id, said)


@dataclass(frozen=True)
class VendorWriter:
    """Writes vendors of one connection during one run."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again

    def write(self, writes: Sequence[VendorWrite]) -> Written:
        """Send all; every outcome is in the ledger before this returns. Raises ReconnectNeeded."""
        done = Written()
        for first in range(0, len(writes), SYNC_ROWS):
            self._send(writes[first : first + SYNC_ROWS], done)
        return done

    def note(self, db: Database, writes: Iterable[VendorWrite], procore_ids: Mapping[str, int]) -> None:
        """Keep links that are ours alone: the ledger and the trail know of them, Procore is not told."""
        noted = list(writes)
        name = self.connection.name
        ledger.intend(db, name, [self._intent(write) for write in noted], run_id=self.run_id)
        ledger.confirm(db, name, [self._confirmed(write, procore_ids[write.qbo_id]) for write in noted])
        self._tell(db, [_told(write, procore_ids[write.qbo_id]) for write in noted])

    def _send(self, writes: Sequence[VendorWrite], done: Written) -> None:
        rows = [write.row for write in writes]
        with self.engine.begin() as db:
            ledger.intend(
                db, self.connection.name, [self._intent(write) for write in writes], run_id=self.run_id
            )
            self._tell(db, [_sent(write) for write in writes])
        crashpoint("K5")
        try:
            answer = self.client.sync(
                "/rest/v1.0/vendors/sync", {"company_id": self.connection.procore.company_id}, rows
            )
        except (OutcomeUnknown, TransientError) as error:
            self._doubt(writes, error, done)
            return
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            self._refuse(writes, error, done)
            return
        crashpoint("K14")
        self._record(writes, answer.settle(rows), done)
        crashpoint("K8")

    def _refuse(self, writes: Sequence[VendorWrite], error: PermanentError, done: Written) -> None:
        """A whole call was refused: find the vendors that are to blame by halves, so that the others go through."""
        if error.status in FORBIDDEN:
            done.forbidden |= dict.fromkeys((write.qbo_id for write in writes), error)
            self._give_up(writes, str(error), again=True)
        elif len(writes) == 1:
            text = (error.fault.text if isinstance(error, CallRefused) else "") or str(error)
            done.refused[writes[0].qbo_id] = _sentence(writes[0], text)
            self._give_up(writes, text)
        else:
            middle = len(writes) // 2
            self._send(writes[:middle], done)
            self._send(writes[middle:], done)

    def _give_up(self, writes: Sequence[VendorWrite], text: str, *, again: bool = False) -> None:
        """Nothing came to be. With `again` the next run may send the same: nobody has judged the body itself."""
        with self.engine.begin() as db:
            for write in writes:
                self._note_refusal(db, write, text, of=b"" if again else write.wanted_hash)
            self._tell(db, [_refused(write, text) for write in writes])

    def _note_refusal(self, db: Database, write: VendorWrite, text: str, *, of: bytes) -> None:
        ledger.refuse(
            db,
            self.connection.name,
            write.row["origin_id"],
            refused_hash=of,
            refusal=_sentence(write, text),
            still_counts=write.is_linked,
        )

    def _doubt(
        self, writes: Sequence[VendorWrite], error: OutcomeUnknown | TransientError, done: Written
    ) -> None:
        again = self.settled_at()
        if isinstance(error, TransientError) and error.not_before is not None:
            again = max(again, error.not_before)
        origins = [write.row["origin_id"] for write in writes]
        with self.engine.begin() as db:
            ledger.doubt(db, self.connection.name, origins, not_before=again)
        done.waiting |= dict.fromkeys((write.qbo_id for write in writes), again)

    def _record(self, writes: Sequence[VendorWrite], outcomes: Mapping[str, Outcome], done: Written) -> None:
        confirmed, told, unclear = [], [], []
        with self.engine.begin() as db:
            for write in writes:
                outcome = outcomes[write.row["origin_id"]]
                if isinstance(outcome, Accepted):
                    procore_id = int(outcome.entity["id"])
                    done.accepted[write.qbo_id] = procore_id
                    confirmed.append(self._confirmed(write, procore_id))
                    told.append(_told(write, procore_id))
                elif isinstance(outcome, Refused):
                    done.refused[write.qbo_id] = _sentence(write, outcome.text)
                    self._note_refusal(db, write, outcome.text, of=write.wanted_hash)
                    told.append(_refused(write, outcome.text))
                else:
                    unclear.append(write)
            ledger.confirm(db, self.connection.name, confirmed)
            self._tell(db, told)
        if unclear:
            self._doubt(unclear, OutcomeUnknown("row missing in the answer", vendor="procore"), done)

    def _intent(self, write: VendorWrite) -> Intent:
        return Intent(
            origin_id=vendor_origin(self.connection.qbo.realm_id, write.qbo_id),
            kind=Kind.VENDOR,
            entity=Entity.VENDOR,
            qbo_id=write.qbo_id,
            project_id="",
            landing_number=write.version.number,
            sync_token=write.version.sync_token,
            wanted=write.wanted,
            wanted_hash=write.wanted_hash,
        )

    def _confirmed(self, write: VendorWrite, procore_id: int) -> Confirmed:
        origin = vendor_origin(self.connection.qbo.realm_id, write.qbo_id)
        return Confirmed(origin, procore_id, write.wanted_hash)

    def _tell(self, db: Database, entries: Sequence[audit.Entry]) -> None:
        audit.append(db, self.connection.name, entries, run_id=self.run_id, actor="ml-connector")


def hash_of(body: Mapping[str, Any]) -> bytes:
    """SHA-256 of a body."""
    return hashlib.sha256(exact_json.dumps(body, sort_keys=True)).digest()


def forbidden(error: PermanentError) -> Hold:
    """We may not look into Procore's directory, or write there."""
    sentence = (
        f"Procore does not let ml-connector into its company directory ({error}). Give the service account the "
        "Directory tool of the company, then replay."
    )
    return Hold(Reason.PERMISSION, sentence, "PERMISSION directory", ZERO)


def refused(qbo_id: str, sentence: str) -> Hold:
    """Procore refused to take a vendor."""
    return Hold(Reason.REFUSED, sentence, f"{Reason.REFUSED} vendor {qbo_id}", ZERO)


def _sentence(write: VendorWrite, text: str) -> str:
    name = write.detail["name"]
    return f"Procore refused vendor {name}: {text}. Correct it in QBO or in Procore."


def _told(write: VendorWrite, procore_id: int) -> audit.Entry:
    return audit.Entry(write.event, Entity.VENDOR, write.qbo_id, {"procore_id": procore_id, **write.detail})


def _refused(write: VendorWrite, text: str) -> audit.Entry:
    return audit.Entry("refused", Entity.VENDOR, write.qbo_id, {"text": text, **write.detail})


def _sent(write: VendorWrite) -> audit.Entry:
    detail = {
        "origin_id": write.row["origin_id"],
        "body": write.wanted_hash.hex()[:16],
        "version": write.version.number,
    }
    return audit.Entry("sent", Entity.VENDOR, write.qbo_id, detail)
