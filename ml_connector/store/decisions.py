"""What people decided about held records: one row a decision, made once, for one version, and never changed.

What may be chosen is stated in `holds`; what follows from a choice is done by mapping and posting when the day runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select

from ml_connector.errors import DecisionRefused
from ml_connector.holds import NEEDS_COMMENT, Choice, Reason, choices_of
from ml_connector.store import audit, ledger, sheets, windows
from ml_connector.store.records import State
from ml_connector.store.sets import one_of
from ml_connector.store.tables import decision, hold, landing, record

# They are about a digest of what would be sent, which says more than the version.
BY_CONTENT = (Choice.APPROVE, Choice.REJECT)
TAKES_FROM_PROCORE = (Choice.EXCLUDE, Choice.NEXT_OPEN_DAY)  # nothing of the record may count there


@dataclass(frozen=True)
class Made:
    """A decision as it was made: on one hold (`reason`, `about`) of one version (`landing_number`) of a record."""

    entity: str
    qbo_id: str
    landing_number: int
    reason: Reason
    about: str
    choice: Choice
    comment: str
    by: str
    at: datetime

    @property
    def next_open_day(self) -> date | None:
        """The day that takes the place of the bill's own date, when that was chosen."""
        if self.choice is not Choice.NEXT_OPEN_DAY:
            return None
        return date.fromisoformat(self.about) + timedelta(days=1)

    def __str__(self) -> str:
        """`approve, by anna at 2026-06-04 10:12 UTC: as agreed`."""
        said = f": {self.comment}" if self.comment else ""
        return f"{self.choice}, by {self.by} at {self.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC{said}"


def of(db: Connection, connection: str, entity: str, ids: Sequence[str]) -> dict[str, list[Made]]:
    """Every decision on the records of `ids`, lapsed ones included, by id, oldest first; each id is there."""
    found: dict[str, list[Made]] = {qbo_id: [] for qbo_id in ids}
    for made in _select(db, connection, entity, one_of(decision.c.qbo_id, ids)):
        found[made.qbo_id].append(made)
    return found


def entity_of(db: Connection, connection: str, kind: str, qbo_id: str) -> str | None:
    """The entity of a record that is named by its kind in any case (`bill`) and its id; None when there is none."""
    found: str | None = db.scalar(
        select(record.c.entity).where(
            record.c.connection == connection,
            func.lower(record.c.entity) == kind.lower(),
            record.c.qbo_id == qbo_id,
        )
    )
    return found


def no_duplicates_of(db: Connection, connection: str, entity: str, ids: Sequence[str]) -> list[Made]:
    """The decisions that some other record is no duplicate of one of `ids`."""
    said = (decision.c.reason == str(Reason.POSSIBLE_DUPLICATE), decision.c.choice == str(Choice.POST_ANYWAY))
    return _select(db, connection, entity, *said, one_of(decision.c.about, ids))


def _select(db: Connection, connection: str, entity: str, *which: ColumnElement[bool]) -> list[Made]:
    rows = db.execute(
        select(decision)
        .where(decision.c.connection == connection, decision.c.entity == entity, *which)
        .order_by(decision.c.decided_at, decision.c.landing_number)
    )
    return [_made(row) for row in rows]


def _made(row: Row[Any]) -> Made:
    return Made(
        row.entity,
        row.qbo_id,
        row.landing_number,
        Reason(row.reason),
        row.about,
        Choice(row.choice),
        row.comment,
        row.decided_by,
        row.decided_at,
    )


def decide(
    db: Connection,
    connection: str,
    entity: str,
    qbo_id: str,
    choice: Choice,
    *,
    comment: str,
    by: str,
    two_persons: bool,
    version: int | None = None,
    answers: tuple[Reason, str] | None = None,
) -> Made:
    """Store what the person `by` decided about a held record, and mark its day: the next run takes it up.

    `version` is the one that the person saw, `answers` the reason and what it is about, where these are known.
    `two_persons`: who published the mapping may not approve by it. Raises DecisionRefused, with a sentence and nothing
    stored, for what cannot be decided (any more).
    """
    mine = (record.c.connection == connection, record.c.entity == entity, record.c.qbo_id == qbo_id)
    row = db.execute(select(record).where(*mine).with_for_update()).one_or_none()
    if row is None:
        raise DecisionRefused(f"{entity.lower()}:{qbo_id} of {connection} was never read")
    earlier = of(db, connection, entity, [qbo_id])[qbo_id]
    _check_version(db, row, earlier, version)
    asked = _open_hold(db, row, choice, earlier, answers)
    made = Made(
        entity=entity,
        qbo_id=qbo_id,
        landing_number=row.landing_number,
        reason=Reason(asked.reason),
        about=asked.about,
        choice=choice,
        comment=comment.strip().encode("utf-8", "replace").decode(),
        by=by,
        at=datetime.now(UTC),
    )
    _check(db, row, made, two_persons=two_persons)
    _store(db, connection, row, made)
    if choice is Choice.ACCEPT:  # it frees everything that waits for the same
        windows.wake_causes(db, connection, [asked.cause], why=f"{_name(row)} was decided: {choice}")
    return made


def accepted(db: Connection, connection: str, reason: Reason, about: str) -> Made | None:
    """Who accepted a difference, on whatever record; None when nobody did."""
    said = (decision.c.reason == str(reason), decision.c.about == about)
    rows = db.execute(
        select(decision)
        .where(decision.c.connection == connection, decision.c.choice == str(Choice.ACCEPT), *said)
        .order_by(decision.c.decided_at)
    )
    found = [_made(row) for row in rows]
    return found[0] if found else None


def _store(db: Connection, connection: str, row: Row[Any], made: Made) -> None:
    db.execute(
        insert(decision).values(
            connection=connection,
            entity=made.entity,
            qbo_id=made.qbo_id,
            landing_number=made.landing_number,
            reason=str(made.reason),
            about=made.about,
            choice=str(made.choice),
            comment=made.comment,
            decided_by=made.by,
            decided_at=made.at,
        )
    )
    windows.mark(db, connection, {row.day}, reason=f"{_name(row)} was decided: {made.choice}")
    detail = {
        "choice": made.choice,
        "reason": made.reason,
        "about": made.about,
        "comment": made.comment,
        "version": made.landing_number,
        "held": row.held,
        "dated": row.txn_date,
        "to_be_dated": made.next_open_day,
    }
    told = audit.Entry("decided", made.entity, made.qbo_id, detail)
    audit.append(db, connection, [told], run_id="", actor=made.by)


def _check_version(db: Connection, row: Row[Any], earlier: Sequence[Made], version: int | None) -> None:
    newest = db.scalar(
        select(landing.c.number).where(
            landing.c.connection == row.connection,
            landing.c.entity == row.entity,
            landing.c.qbo_id == row.qbo_id,
            landing.c.is_current,
        )
    )
    if newest != row.landing_number:
        raise DecisionRefused(
            f"{_words(row)} was changed in QBO and the change is not taken up yet: look at it again after the next run"
        )
    if version is not None and version != row.landing_number:
        last = f"; the last decision on it was {earlier[-1]}" if earlier else ""
        raise DecisionRefused(
            f"{_words(row)} is no longer at version {version}: it was changed in QBO and is at version "
            f"{row.landing_number} now, look at it again{last}"
        )


def _open_hold(
    db: Connection, row: Row[Any], choice: Choice, earlier: Sequence[Made], answers: tuple[Reason, str] | None
) -> Row[Any]:
    """The hold that the choice answers: the one that `answers` names, else the first that takes the choice.

    Raises DecisionRefused when there is none, or it was answered before.
    """
    holds = db.execute(
        select(hold)
        .where(hold.c.connection == row.connection, hold.c.entity == row.entity, hold.c.qbo_id == row.qbo_id)
        .order_by(hold.c.ordinal)
    ).all()
    answered: list[Made] = []
    offers: list[str] = []
    for entry in holds if row.state == State.HELD else []:
        if answers not in (None, (Reason(entry.reason), entry.about)):
            continue
        before = [made for made in earlier if _answers(made, entry, row)]
        offered = choices_of(Reason(entry.reason), entity=row.entity, about=entry.about)
        if before:
            answered += before
        elif choice in offered:
            return entry
        elif offered:
            offers.append(f"{', '.join(offered)} ({entry.reason})")
    answered = answered or [made for made in earlier if made.landing_number == row.landing_number]
    if answered:
        raise DecisionRefused(f"{_words(row)} was decided before: {answered[-1]}")
    last = f". The last decision on it was {earlier[-1]}" if earlier else ""
    if row.state != State.HELD:
        raise DecisionRefused(f"{_words(row)} is {row.state}: there is nothing to decide{last}")
    why = ", ".join(dict.fromkeys(entry.reason for entry in holds))
    offer = f"it takes {'; '.join(dict.fromkeys(offers))}" if offers else "nobody can decide that"
    raise DecisionRefused(f"{_words(row)} waits for {why}: {offer}, not {choice}{last}")


def _answers(made: Made, entry: Row[Any], row: Row[Any]) -> bool:
    same = (made.reason, made.about) == (entry.reason, entry.about)
    return same and (made.landing_number == row.landing_number or made.choice in BY_CONTENT)


def _check(db: Connection, row: Row[Any], made: Made, *, two_persons: bool) -> None:
    """Raises DecisionRefused for what this person may not decide, or what the record does not allow."""
    if made.choice in NEEDS_COMMENT and not made.comment:
        raise DecisionRefused(
            f"to {made.choice} {_words(row)} needs a comment: it is the reason that others read"
        )
    if (made.reason, made.choice) == (Reason.NEEDS_APPROVAL, Choice.APPROVE) and two_persons:
        publishers = {
            sheets.publisher(db, row.connection, sheets.MAPPING, row.mapping_version or 0),
            getattr(sheets.newest(db, row.connection, sheets.MAPPING), "published_by", None),
        }
        if made.by in publishers:
            raise DecisionRefused(
                f"{made.by} published the mapping by which {_words(row)} would be posted, and approval takes two "
                "persons: somebody else must approve it"
            )
    if made.choice not in TAKES_FROM_PROCORE:
        return
    counted = ledger.live_amounts(db, row.connection, row.entity, [row.qbo_id]).get(row.qbo_id, Decimal(0))
    if counted:
        other = (
            "void or delete it in QBO" if made.choice is Choice.EXCLUDE else "post_anyway keeps its own date"
        )
        raise DecisionRefused(
            f"Procore counts {counted:.2f} of {_words(row)} already, which {made.choice} would take away: {other}"
        )


def _name(row: Row[Any]) -> str:
    return f"{row.entity.lower()}:{row.qbo_id}"


def _words(row: Row[Any]) -> str:
    number = row.document or "without number"
    return f"{_name(row)} ({number}, {row.vendor_name}, {row.total})"
