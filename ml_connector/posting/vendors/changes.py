"""What becomes in Procore of linked vendors that were renamed, merged, or made inactive in QBO. No new vendor, ever."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Row

from ml_connector.errors import BadRecord
from ml_connector.mapping.vendor_merges import is_active
from ml_connector.money import ZERO
from ml_connector.posting.targets import sendable, vendor_origin
from ml_connector.posting.vendors.desk import ROW, VendorDesk, is_linked
from ml_connector.posting.vendors.matching import match_key
from ml_connector.posting.vendors.writes import VendorWrite, Written, hash_of
from ml_connector.qbo.models import JOB_COSTS, Entity, Vendor, parse_bill, parse_vendor, vendor_id_of
from ml_connector.store import aliases, audit, landing, ledger, records
from ml_connector.store.ledger import Fate
from ml_connector.store.records import State

UNDER_WAY = (State.PLANNED, State.RETRYING, State.HELD)


@dataclass
class Followed:
    """What `VendorChanges.follow` came to.

    By QBO id: vendors that were linked before this version, those that Procore took a change of, instants to look again;
    and sentences on what is left to a person.
    """

    known: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    waiting: dict[str, datetime] = field(default_factory=dict)
    warnings: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Change:
    """A linked vendor: its row in the ledger, its newest version, and the one that was followed last."""

    row: Row[Any]
    version: landing.Version
    now: Vendor | None  # None for a deleted one
    before: Vendor | None

    @property
    def qbo_id(self) -> str:
        return self.version.qbo_id

    @property
    def is_new(self) -> bool:
        """Whether the version was not followed yet."""
        return bool(self.row.landing_number != self.version.number)

    @property
    def is_active(self) -> bool:
        return self.now is not None and self.now.active

    @property
    def is_renamed(self) -> bool:
        return self.now is not None and self.before is not None and self.now.name != self.before.name

    @property
    def name(self) -> str:
        known = self.now or self.before
        return f"with QBO id {self.qbo_id}" if known is None else known.name

    def wanted(self, *, active: bool | None) -> dict[str, Any]:
        """What Procore should hold; the name of a vendor that people keep is theirs until QBO gives another one."""
        body = dict(self.row.wanted)
        if ROW in body or self.now is None:
            return body
        if "name" in body or (
            self.before is not None and match_key(self.before.name) != match_key(self.now.name)
        ):
            body["name"] = sendable(self.now.name)
        if active is not None and body.get("is_active", True) != active:
            body["is_active"] = active
        return body


@dataclass(frozen=True)
class _Plan:
    """What is to be done: all changes, losers of merges with their winners, writes, and what is awaited."""

    changes: Sequence[_Change]
    merged: Mapping[str, str]
    writes: Sequence[VendorWrite]
    waiting: dict[str, datetime]


@dataclass(frozen=True)
class VendorChanges:
    """Follows the vendors of one desk during one run."""

    desk: VendorDesk

    @property
    def _follows_activity(self) -> bool:
        return self.desk.connection.policies.vendor_inactive == "follow"

    def follow(self, versions: Sequence[landing.Version]) -> Followed:
        """Bring the linked ones among `versions` (newest of each vendor) to what QBO says: one call for up to 1000."""
        plan = self._plan(versions)
        done = Followed({one.qbo_id for one in plan.changes if one.is_new}, waiting=plan.waiting)
        done.warnings += self._proposals(plan)
        told = [entry for one in plan.changes for entry in self._told(one, plan.merged)]
        told += [_warned(qbo_id, sentence) for qbo_id, sentence in done.warnings]
        with self.desk.engine.begin() as db:
            self._append(db, told)
        self._settle(plan, self.desk.writer.write(plan.writes), done)
        return done

    def foresee(self, versions: Sequence[landing.Version]) -> dict[str, Mapping[str, Any] | None]:
        """What `follow` would change in Procore, by QBO id; None for a linked vendor that stays as it is."""
        plan = self._plan(versions)
        stay: dict[str, Mapping[str, Any] | None] = dict.fromkeys(one.qbo_id for one in plan.changes)
        return stay | {write.qbo_id: write.detail["set"] for write in plan.writes}

    def keep_activity(self, vendor_ids: Collection[str]) -> None:
        """With the policy `follow`: vendors inactive in QBO are active in Procore while they have an open bill."""
        if not self._follows_activity or not vendor_ids:
            return
        with self.desk.engine.connect() as db:
            versions = landing.newest(db, self.desk.connection.name, Entity.VENDOR, vendor_ids)
        self.follow([one for one in versions.values() if not is_active(one)])

    # -- what has changed -------------------------------------------------------------------------------------------

    def _plan(self, versions: Sequence[landing.Version]) -> _Plan:
        with self.desk.engine.connect() as db:
            changes = self._changes(db, versions)
            ends = aliases.winners(db, self.desk.connection.name)
            open_ = self._with_open_bills(db, changes) if self._follows_activity else set()
        merged = {one.qbo_id: ends[one.qbo_id] for one in changes if one.qbo_id in ends}
        waiting = {
            one.qbo_id: one.row.not_before
            for one in changes
            if one.row.not_before is not None and one.row.not_before > self.desk.now()
        }
        free = [one for one in changes if one.qbo_id not in merged and one.qbo_id not in waiting]
        writes = [write for one in free if (write := self._write(one, open_)) is not None]
        return _Plan(changes, merged, writes, waiting)

    def _changes(self, db: Database, versions: Sequence[landing.Version]) -> list[_Change]:
        name, realm = self.desk.connection.name, self.desk.connection.qbo.realm_id
        rows = ledger.rows(db, name, [vendor_origin(realm, version.qbo_id) for version in versions])
        linked = {row.qbo_id: row for row in rows.values() if is_linked(row)}
        followed = landing.by_number(db, name, [row.landing_number for row in linked.values()])
        return [
            _Change(row, version, _parsed(version), _parsed(followed.get(row.landing_number)))
            for version in versions
            if (row := linked.get(version.qbo_id)) is not None
        ]

    def _with_open_bills(self, db: Database, changes: Sequence[_Change]) -> set[str]:
        name, ids = self.desk.connection.name, [one.qbo_id for one in changes if not one.is_active]
        found = set()
        for entity in JOB_COSTS if ids else ():
            bills = list(landing.of_vendors(db, name, entity, ids))
            known = records.known(db, name, entity, [version.qbo_id for version in bills])
            for version in bills:
                row = known.get(version.qbo_id)
                is_paid = entity is Entity.PURCHASE  # and not even taken up, unless a policy says so
                under_way = row is not None and row.state in UNDER_WAY
                if under_way or not (is_paid or (row is not None and not _is_unpaid(version, entity))):
                    found.add(str(vendor_id_of(entity, version.raw)))
        return found

    # -- what is told -----------------------------------------------------------------------------------------------

    def _told(self, one: _Change, merged: Collection[str]) -> Iterator[audit.Entry]:
        """The facts of QBO, before anything is sent."""
        if one.before is None or not one.is_new:
            return
        if one.is_renamed and one.now is not None:
            detail = {"from": one.before.name, "to": one.now.name, "procore_id": one.row.procore_id}
            if ROW in one.row.wanted:
                detail["name_in_procore"] = "stays: vendors.csv made the link"
            elif hash_of(one.wanted(active=None)) == hash_of(one.row.wanted):
                detail["name_in_procore"] = "stays: the same but for spelling"
            yield audit.Entry("renamed in QBO", Entity.VENDOR, one.qbo_id, detail)
        if one.is_active != one.before.active and one.qbo_id not in merged:
            event = "active again in QBO" if one.is_active else "inactive in QBO"
            policy = self.desk.connection.policies.vendor_inactive
            detail = {"name": one.name, "vendor_inactive": policy, "procore_id": one.row.procore_id}
            yield audit.Entry(event, Entity.VENDOR, one.qbo_id, detail)

    def _proposals(self, plan: _Plan) -> list[tuple[str, str]]:
        """What QBO merged is proposed to be merged in Procore, too, where only a person can (procore-api 4)."""
        lost = [one for one in plan.changes if one.is_new and one.qbo_id in plan.merged]
        if not lost:
            return []
        name, realm = self.desk.connection.name, self.desk.connection.qbo.realm_id
        winners = {plan.merged[one.qbo_id] for one in lost}
        with self.desk.engine.connect() as db:
            versions = landing.newest(db, name, Entity.VENDOR, winners)
            rows = ledger.rows(db, name, [vendor_origin(realm, winner) for winner in winners])
        linked = {row.qbo_id: row.procore_id for row in rows.values() if is_linked(row)}
        sentences = []
        for one in lost:
            winner = plan.merged[one.qbo_id]
            own, vendor = linked.get(winner), _parsed(versions.get(winner))
            if own == one.row.procore_id:
                continue
            into = f"the vendor with QBO id {winner}" if vendor is None else vendor.name
            sentence = (
                f"QBO merged vendor {one.name} into {into}. What was posted for {one.name} keeps its vendor in Procore "
                f"(id {one.row.procore_id}), new bills go to {into}{f' (id {own})' if own else ''}. Merge the two in "
                f"Procore, too; if {one.row.procore_id} goes, name the other one for QBO id {one.qbo_id} in vendors.csv."
            )
            sentences.append((one.qbo_id, sentence))
        return sentences

    # -- what is sent -----------------------------------------------------------------------------------------------

    def _write(self, one: _Change, open_: Collection[str]) -> VendorWrite | None:
        active = (one.is_active or one.qbo_id in open_) if self._follows_activity else None
        body, known = one.wanted(active=active), one.row.wanted
        wanted, settled = hash_of(body), one.row.state == Fate.CONFIRMED
        if settled and wanted == bytes(one.row.confirmed_hash):
            return None
        refused = one.row.state == Fate.REFUSED and not self.desk.resend
        if refused and wanted == bytes(one.row.refused_hash or b""):
            return None
        sent = {
            key: body[key]
            for key in ("name", *(["is_active"] if self._follows_activity else []))
            if key in body and (not settled or body[key] != known.get(key))
        }
        if not sent:
            return None
        row = {"id": one.row.procore_id, "origin_id": one.row.origin_id, **sent}
        detail = {"name": one.name, "set": sent}
        return VendorWrite(one.qbo_id, one.version, row, body, "updated", detail, is_linked=True)

    def _settle(self, plan: _Plan, written: Written, done: Followed) -> None:
        by_id = {one.qbo_id: one for one in plan.changes}
        done.changed = set(written.accepted)
        done.waiting |= written.waiting
        told = []
        for write in plan.writes:
            if write.qbo_id in written.accepted and "is_active" in write.row:
                procore_id = written.accepted[write.qbo_id]
                self.desk.note_activity(procore_id, active=write.row["is_active"])
            said = written.refused.get(write.qbo_id) or str(written.forbidden.get(write.qbo_id) or "")
            if said:
                sentence = _not_followed(by_id[write.qbo_id], write, said)
                done.warnings.append((write.qbo_id, sentence))
                told.append(_warned(write.qbo_id, sentence))
        sent = {write.qbo_id for write in plan.writes}
        seen = {
            one.row.origin_id: one.version.number
            for one in plan.changes
            if one.is_new and one.qbo_id not in sent and one.qbo_id not in plan.waiting
        }
        with self.desk.engine.begin() as db:
            ledger.follow(db, self.desk.connection.name, seen)
            self._append(db, told)

    def _append(self, db: Database, entries: Sequence[audit.Entry]) -> None:
        name = self.desk.connection.name
        audit.append(db, name, entries, run_id=self.desk.run_id, actor="ml-connector")


def _not_followed(one: _Change, write: VendorWrite, said: str) -> str:
    what = []
    if "name" in write.row:
        before = f" from {one.before.name}" if one.before is not None and one.is_renamed else ""
        what.append(f"was renamed{before}")
    if "is_active" in write.row:
        what.append("is active again" if write.row["is_active"] else "was made inactive")
    return (
        f"Vendor {one.name} {' and '.join(what)} in QBO, and Procore did not take it: {said} "
        f"The link stays. Change the vendor by hand in Procore (id {one.row.procore_id})."
    )


def _warned(qbo_id: str, sentence: str) -> audit.Entry:
    return audit.Entry("warned", Entity.VENDOR, qbo_id, {"sentence": sentence})


def _parsed(version: landing.Version | None) -> Vendor | None:
    try:
        return None if version is None or version.tombstone else parse_vendor(version.raw)
    except BadRecord:
        return None


def _is_unpaid(version: landing.Version, entity: Entity) -> bool:
    try:
        return parse_bill(version.raw, entity).balance != ZERO
    except BadRecord:
        return True
