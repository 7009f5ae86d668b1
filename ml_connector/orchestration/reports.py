"""What a run leaves in Dagster, day by day: counts, money as text, links, and the first holds, never all of them."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
from sqlalchemy import Connection as Database

from ml_connector.mapping.windows import Mapped
from ml_connector.money import ZERO
from ml_connector.orchestration.markdown import Tallies, links_to_qbo, money_of, plain, posted_table, summary
from ml_connector.posting.payments.plans import UNAPPLIED
from ml_connector.posting.windows import Posted
from ml_connector.qbo.models import JOB_COSTS, REFERENCE, Entity
from ml_connector.reading.outside import outside_the_sync
from ml_connector.reading.windows import Reading
from ml_connector.settings import Connection
from ml_connector.store import audit, landing, overview, payments
from ml_connector.store.ledger import Kind
from ml_connector.store.overview import HeldRecord
from ml_connector.store.records import State

if TYPE_CHECKING:
    from ml_connector.procore.client import ProcoreClient
    from ml_connector.qbo.client import QboClient

Metadata = dict[str, dg.MetadataValue[Any]]
ByDay = dict[date, Metadata]  # a range run says of each day what is true of that day
Counts = Mapping[tuple[date, str], tuple[int, Decimal]]  # of landing, by day and entity
FIRST = 20
LINKS = (
    8  # Dagster shows Markdown of up to a thousand characters in place, and hides a longer one behind a click
)
LARGEST = 3
ENTITIES_OF = {
    "vendors": [Entity.VENDOR],
    "bills": [Entity.BILL],
    "bill_payments": [Entity.BILL_PAYMENT],
    "vendor_credits": [Entity.VENDOR_CREDIT],
    "other_costs": [Entity.PURCHASE, Entity.JOURNAL_ENTRY],
    "reference": [*REFERENCE, Entity.PURCHASE_ORDER],
    "bill_lines": [*JOB_COSTS],
    "payments": [Entity.BILL_PAYMENT],
    "direct_costs": [*JOB_COSTS],
    "requisitions": [Entity.BILL, Entity.VENDOR_CREDIT],
    "contract_payments": [Entity.BILL_PAYMENT],
}
PART_OF = {"direct_costs": overview.Part.DIRECT_COSTS, "requisitions": overview.Part.REQUISITIONS}
KIND_OF = {
    "direct_costs": Kind.DIRECT_COST,
    "requisitions": Kind.REQUISITION,
    "contract_payments": Kind.CONTRACT_PAYMENT,
}


def read_sentence(reading: Reading) -> str:
    """What reading did, for the run's log: counts only."""
    why = f" ({reading.why})" if reading.why else ""
    return (
        f"Read by {reading.mode}{why}: {reading.new.total()} new versions, {reading.deleted.total()} deleted, "
        f"{reading.unchanged} unchanged; {len(reading.days)} days marked"
    )


def map_sentence(mapped: Mapped) -> str:
    """What mapping did, for the run's log: counts only."""
    states = ", ".join(
        f"{count} {entity} {state}" for (entity, state), count in sorted(mapped.states.items())
    )
    return f"Mapped: {states or 'nothing new'}"


def of_reading(
    db: Database,
    connection: Connection,
    days: Sequence[date],
    name: str,
    reading: Reading,
    client: "QboClient",
) -> ByDay:
    """Metadata of a `qbo/*` asset."""
    entities = ENTITIES_OF[name]
    stored = landing.counts_of_days(db, connection.name, days)
    of_run: Metadata = {
        "read_by": dg.MetadataValue.text(str(reading.mode)),
        "new_versions": dg.MetadataValue.int(sum(reading.new[entity] for entity in entities)),
        "deleted": dg.MetadataValue.int(sum(reading.deleted[entity] for entity in entities)),
        "qbo_calls": dg.MetadataValue.int(client.calls.total()),
        "webhook_files": dg.MetadataValue.int(reading.files),
    }
    return {
        day: {
            **_in_window(stored, day, name),
            **(_outside(db, connection, stored, day) if name == "other_costs" else {}),
            **of_run,
        }
        for day in days
    }


def _outside(db: Database, connection: Connection, stored: Counts, day: date) -> Metadata:
    """Job cost in QBO that the sync does not bring, of the day: lines and their money."""
    if not any((day, entity) in stored for entity in ENTITIES_OF["other_costs"]):
        return {"job_cost_outside_the_sync": dg.MetadataValue.text(f"0 lines, {ZERO:.2f}")}
    found = outside_the_sync(db, connection, days=[day])
    money = sum((cost.amount for cost in found.costs), ZERO)
    return {
        "job_cost_outside_the_sync": dg.MetadataValue.text(f"{len(found.costs)} lines, {money:.2f}"),
        **(
            {"unreadable": dg.MetadataValue.text(", ".join(found.unreadable[:FIRST]))}
            if found.unreadable
            else {}
        ),
    }


def of_closed_day(stored: Counts, day: date, name: str, reading: Reading) -> Metadata:
    """Metadata of a `qbo/*` asset for a day that another day's run read to its end."""
    return {**_in_window(stored, day, name), "read_by": dg.MetadataValue.text(str(reading.mode))}


def _in_window(stored: Counts, day: date, name: str) -> Metadata:
    held = [stored[day, entity] for entity in ENTITIES_OF[name] if (day, entity) in stored]
    money = sum((amount for _, amount in held), ZERO)
    return {
        "window": dg.MetadataValue.text(str(day)),
        "in_window": dg.MetadataValue.int(sum(count for count, _ in held)),
        "money_in_window": dg.MetadataValue.text(f"{money:.2f}"),
        "money_rounded": _for_plots(money),
    }


def of_mapping(db: Database, connection: Connection, days: Sequence[date], name: str) -> ByDay:
    """Metadata of a `mapped/*` asset: records by state, money, the first holds."""
    return _states(db, connection, days, name, done="mapped")


def of_posting(
    db: Database,
    connection: Connection,
    days: Sequence[date],
    name: str,
    posted: Posted,
    client: "ProcoreClient",
) -> ByDay:
    """Metadata of a `procore/*` asset."""
    now = {
        str(state): count
        for (entity, state), count in sorted(posted.outcomes.items())
        if entity in ENTITIES_OF[name]
    }
    first = "\n".join(f"- {plain(sentence)}" for sentence in posted.warnings[:FIRST])
    of_run: Metadata = {
        **(
            {"warnings": dg.MetadataValue.md(first), "warned": dg.MetadataValue.int(len(posted.warnings))}
            if first
            else {}
        ),
        "this_run": dg.MetadataValue.json(now),
        "posted_this_run": dg.MetadataValue.text(f"{posted.posted:.2f}"),
        "procore_calls": dg.MetadataValue.int(client.calls.total()),
        "audit_head": dg.MetadataValue.text(str(audit.head(db, connection.name))),
        "procore": dg.MetadataValue.url(f"{connection.procore.app_url}/{connection.procore.company_id}"),
    }
    return {
        day: {**of_day, **of_run}
        for day, of_day in _states(db, connection, days, name, done="posted").items()
    }


def _states(db: Database, connection: Connection, days: Sequence[date], name: str, *, done: str) -> ByDay:
    by_day = overview.tally_by_day(db, connection.name, days, part=PART_OF.get(name))
    return {
        day: {
            **_shown(db, connection, day, name, of_day, done=done),
            **_figures(of_day, done=done),
        }
        for day, tallies in by_day.items()
        for of_day in [{key: tally for key, tally in tallies.items() if key[0] in ENTITIES_OF[name]}]
    }


def _shown(
    db: Database, connection: Connection, day: date, name: str, tallies: Tallies, *, done: str
) -> Metadata:
    """What people look for first: the money in a sentence, the first holds, the largest posted records, links."""
    shown: Metadata = {"summary": dg.MetadataValue.md(summary(tallies, done=done))}
    if tallies:
        holds = overview.holds_of(
            db,
            connection.name,
            days=[day],
            entities=ENTITIES_OF[name],
            part=PART_OF.get(name),
            limit=FIRST,
        )
        shown |= _first_holds(connection, holds)
        if name in KIND_OF and done == "posted":
            posted = overview.posted_of(db, connection.name, [day], KIND_OF[name], limit=LARGEST)
            shown |= (
                {"largest_in_procore": dg.MetadataValue.md(posted_table(connection, posted))}
                if posted
                else {}
            )
        if name == "contract_payments":
            shown |= _unapplied(db, connection, day)
    return {**shown, "window": dg.MetadataValue.text(str(day))}


def _figures(tallies: Tallies, *, done: str) -> Metadata:
    """Exact money as text, then the numbers that Dagster plots."""
    found = tallies.values()
    each = [(ZERO, ZERO, ZERO, ZERO), *(money_of(tally, done=done) for tally in found)]
    total, through, excluded, held = (sum(amounts, ZERO) for amounts in zip(*each, strict=True))
    return {
        "money": dg.MetadataValue.text(f"{total:.2f}"),
        done: dg.MetadataValue.text(f"{through:.2f}"),
        "excluded": dg.MetadataValue.text(f"{excluded:.2f}"),
        "held": dg.MetadataValue.text(f"{held:.2f}"),
        "records": dg.MetadataValue.int(sum(tally.count for tally in found)),
        "records_held": dg.MetadataValue.int(
            sum(tally.count for (_, state), tally in tallies.items() if state == State.HELD)
        ),
        f"{done}_rounded": _for_plots(through),
        "held_rounded": _for_plots(held),
    }


def _first_holds(connection: Connection, holds: Sequence[HeldRecord]) -> Metadata:
    """A table of what to do, and links. Dagster shows tables in place, but no links in them."""
    if not holds:
        return {}
    rows = [
        dg.TableRecord(
            {
                "record": f"{hold.entity.lower()}:{hold.qbo_id}",
                "amount": str(hold.amount),
                "what to do": hold.sentence,
                "who": hold.fixer,
            }
        )
        for hold in holds
    ]
    return {
        "first_holds": dg.MetadataValue.table(rows),
        "open_in_quickbooks": dg.MetadataValue.md(links_to_qbo(connection, holds[:LINKS])),
    }


def _unapplied(db: Database, connection: Connection, day: date) -> Metadata:
    """Cash that was paid without a bill, by vendor: it has no place in Procore until it is applied."""
    cash = payments.cash_by_vendor(db, connection.name, Entity.BILL_PAYMENT, [day], reason=UNAPPLIED)
    rows = [f"- {plain(vendor)}: {amount:.2f}" for vendor, amount in cash.items()]
    return {"unapplied_cash": dg.MetadataValue.md("\n".join(rows))} if rows else {}


def _for_plots(money: Decimal) -> dg.MetadataValue[Any]:
    """Money in whole units: Dagster plots numbers alone, and the exact amount is the text beside it."""
    return dg.MetadataValue.int(round(money))


def waiting_for_people(
    db: Database, connection: Connection, days: Sequence[date]
) -> tuple[bool, str, Metadata]:
    """Whether nothing of any day waits for people, that in one sentence, and the first holds of `days`.

    Dagster shows one state of a check, not one a day: it is that of the whole connection.
    """
    by_reason = overview.waiting_by_reason(db, connection.name)
    count = sum(by_reason.values())
    metadata: Metadata = {
        "holds": dg.MetadataValue.int(count),
        "by_reason": dg.MetadataValue.json(dict(by_reason)),
        "window": dg.MetadataValue.text(_span(days)),
    }
    if not count:
        return True, "Nothing waits for people.", metadata
    holds = overview.holds_of(db, connection.name, days=days, failing=False, limit=FIRST)
    metadata |= _first_holds(connection, holds)
    reasons = ", ".join(f"{reason} {number}" for reason, number in by_reason.items())
    sentence = (
        f"{count} hold{'' if count == 1 else 's'} wait{'s' if count == 1 else ''} for people: {reasons}."
    )
    return False, sentence, metadata


def bad_days(
    db: Database, connection: Connection, days: Sequence[date], name: str, posted: Posted
) -> dict[date, list[str]]:
    """Days that must not look done: a sentence for each record that Procore refused or has not answered for."""
    bad: dict[date, list[str]] = {}
    holds = overview.holds_of(
        db,
        connection.name,
        days=days,
        entities=ENTITIES_OF[name],
        part=PART_OF.get(name),
        failing=True,
    )
    for hold in holds:
        bad.setdefault(hold.day, []).append(hold.sentence)
    for day, until in posted.waiting_days.items():
        bad.setdefault(day, []).append(
            f"Procore has not answered clearly; it is looked at again by itself after {until:%Y-%m-%d %H:%M:%S} UTC"
        )
    return dict(sorted(bad.items()))


def of_bad_days(days: Sequence[date], bad: Mapping[date, Sequence[str]]) -> Metadata:
    """Metadata of the check on refusals."""
    first = [f"- {day}: {plain(sentence)}" for day, sentences in bad.items() for sentence in sentences][
        :FIRST
    ]
    return {
        "window": dg.MetadataValue.text(_span(days)),
        "problems": dg.MetadataValue.int(sum(len(sentences) for sentences in bad.values())),
        "first_problems": dg.MetadataValue.md("\n".join(first) or "none"),
    }


def failure_sentence(troubles: Sequence[str]) -> str:
    """The one sentence of a failed run."""
    more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
    return f"{troubles[0]}{more}"


def _span(days: Sequence[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
