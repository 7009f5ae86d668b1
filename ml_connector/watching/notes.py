"""The morning notes: to accounting what needs it, with the sheet to decide by; to each project what was posted to it.

A note with nothing to say is not written. They hold numbers, vendors and money, and go to those alone whom the connection
names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal

from sqlalchemy import Connection as Db

from ml_connector.errors import NoticeNotSent
from ml_connector.holds import Fixer
from ml_connector.mapping.decision_sheet import Waiting, waiting, written
from ml_connector.money import total
from ml_connector.settings import Connection
from ml_connector.store import ledger
from ml_connector.store.ledger import Kind, Written
from ml_connector.transport.notices import Attachment, send_mail

AT = time(6, 30)  # in the zone of the books
FIRST = 10  # causes that a note tells; the sheet has them all
WORDS = {
    Kind.DIRECT_COST: "direct cost",
    Kind.REQUISITION: "subcontractor invoice",
    Kind.CONTRACT_PAYMENT: "payment",
}


@dataclass(frozen=True)
class Note:
    """A message and whom it goes to. `reader` is "accounting" or the id of a project."""

    reader: str
    to: Sequence[str]
    subject: str
    text: str
    attachments: Sequence[Attachment] = ()


def readers(connection: Connection) -> list[str]:
    """Who gets notes."""
    settings = connection.alarms
    return [*(["accounting"] if settings.accounting else []), *sorted(settings.projects)]


def note_for(db: Db, connection: Connection, reader: str, *, since: datetime) -> Note | None:
    """The note of one reader, None when there is nothing to say."""
    if reader == "accounting":
        return _to_accounting(db, connection)
    return _to_project(db, connection, reader, since=since)


def send(connection: Connection, note: Note) -> None:
    """Hand a note to the mail server. Raises NoticeNotSent."""
    mail = connection.alarms.mail
    if mail is None:  # settings let nobody have readers without one
        raise NoticeNotSent(f"{connection.name} has no mail server")
    send_mail(mail, note.to, subject=note.subject, text=note.text, attachments=note.attachments)


def _to_accounting(db: Db, connection: Connection) -> Note | None:
    rows = [row for row in waiting(db, connection.name) if row.holds[0].fixer != Fixer.NOBODY]
    if not rows:
        return None
    by_cause: dict[str, list[Waiting]] = {}
    for row in rows:
        by_cause.setdefault(row.holds[0].cause, []).append(row)
    causes = sorted(by_cause.values(), key=_money, reverse=True)
    oldest = min(hold.since for row in rows for hold in row.holds)
    since = f"{oldest.astimezone(connection.zone):%Y-%m-%d}"
    text = [
        f"{_counted(_records(rows))} to look at in {connection.name}: {_money(rows):,} in all, the oldest since {since}.",
        *(
            f"{_counted(_records(group))}, {_money(group):,}, for {group[0].holds[0].fixer} ({group[0].holds[0].reason}): "
            f"{group[0].holds[0].sentence}"
            for group in causes[:FIRST]
        ),
    ]
    if len(causes) > FIRST:
        text.append(f"{len(causes) - FIRST} more causes stand in the sheet.")
    text.append(
        "The sheet has a row for each. Most end by themselves once what their sentence asks for is done. To decide, write "
        f"one of the row's choices into `decision` and give it back: ml-connector decide {connection.name} --sheet FILE"
    )
    return Note(
        "accounting",
        connection.alarms.accounting,
        f"{connection.name}: {_counted(_records(rows))} to look at, {_money(rows):,}",
        "\n\n".join(text) + "\n",
        [Attachment(f"{connection.name}-decisions.csv", written(rows, connection))],
    )


def _to_project(db: Db, connection: Connection, project: str, *, since: datetime) -> Note | None:
    rows = ledger.written_since(db, connection.name, project, since=since)
    if not rows:
        return None
    text = [
        f"Posted from QuickBooks to project {project} since {since.astimezone(connection.zone):%Y-%m-%d %H:%M}:"
    ]
    for kind, word in WORDS.items():
        of_kind = [row for row in rows if row.kind is kind]
        if of_kind:
            text.append(f"{_counted(len(of_kind), word)}, {_sum(of_kind):,}")
            text.append(
                "\n".join(f"  {row.number or '(no number)'}  {row.vendor}  {row.amount:,}" for row in of_kind)
            )
    return Note(
        project,
        connection.alarms.projects[project],
        f"Project {project}: {_counted(len(rows), 'record')} from QuickBooks",
        "\n\n".join(text) + "\n",
    )


def _records(rows: Sequence[Waiting]) -> int:
    return len({(row.holds[0].entity, row.holds[0].qbo_id) for row in rows})


def _money(rows: Sequence[Waiting]) -> Decimal:
    """What the records hold back; a record that waits for two reasons counts once."""
    by_record = {(row.holds[0].entity, row.holds[0].qbo_id): row.holds[0].total for row in rows}
    return total(by_record.values())


def _sum(rows: Sequence[Written]) -> Decimal:
    return total(row.amount for row in rows)


def _counted(number: int, what: str = "record") -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
