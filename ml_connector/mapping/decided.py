"""Which decisions of people hold for a version of a record: those on it, and on versions that say the same of the bill."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection as Database

from ml_connector.errors import BadRecord
from ml_connector.holds import Choice, Reason
from ml_connector.qbo.models import JOB_COSTS, Bill, Entity, Ref, parse_bill
from ml_connector.store import aliases, decisions, landing
from ml_connector.store.decisions import BY_CONTENT, Made


def standing(
    db: Database, connection: str, entity: str, versions: Iterable[landing.Version]
) -> dict[str, tuple[Made, ...]]:
    """The decisions that hold for `versions`, by record id, oldest first; ids without any are absent.

    A decision is for one version, and an edit makes it lapse (S31). A payment makes a version, too, and changes nothing
    of the bill but its balance: then what was decided stands. Approvals come whatever their version, since what they
    are about is the content; and so does what was said of another record, that it is no duplicate of this one.
    """
    current = {version.qbo_id: version for version in versions}
    found = decisions.of(db, connection, entity, list(current))
    older = {
        made.landing_number
        for qbo_id, several in found.items()
        for made in several
        if made.landing_number != current[qbo_id].number
    }
    then = landing.by_number(db, connection, sorted(older)) if older else {}
    merged = aliases.winners(db, connection) if older else {}
    standing_now = {
        qbo_id: tuple(
            made
            for made in several
            if made.choice in BY_CONTENT
            or made.landing_number == current[qbo_id].number
            or _say_the_same(then[made.landing_number], current[qbo_id], merged)
        )
        for qbo_id, several in found.items()
    }
    for made in decisions.no_duplicates_of(db, connection, entity, list(current)):
        standing_now[made.about] = (*standing_now[made.about], made)
    return {qbo_id: several for qbo_id, several in standing_now.items() if several}


def is_no_duplicate(made: Iterable[Made]) -> bool:
    """Whether a person said that the record shares its number with another one and is no duplicate."""
    return any(one.reason is Reason.POSSIBLE_DUPLICATE and one.choice is Choice.POST_ANYWAY for one in made)


def last_of(made: Sequence[Made], reason: str, about: str) -> Made | None:
    """The last of `made` on a hold of that reason about that."""
    mine = [one for one in made if (one.reason, one.about) == (reason, about)]
    return mine[-1] if mine else None


def _say_the_same(one: landing.Version, other: landing.Version, merged: Mapping[str, str]) -> bool:
    content = _content(one, merged)
    return content is not None and content == _content(other, merged)


def _content(version: landing.Version, merged: Mapping[str, str]) -> Bill | None:
    """A bill without what a payment, or a vendor renamed or merged, changes; None for no bill, or an unreadable one."""
    if version.tombstone or version.entity not in JOB_COSTS:
        return None
    try:
        bill = parse_bill(version.raw, Entity(version.entity))
    except BadRecord:
        return None
    vendor = Ref(merged.get(bill.vendor.id, bill.vendor.id), "")
    return replace(bill, sync_token=0, balance=None, vendor=vendor)
