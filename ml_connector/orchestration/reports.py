"""What a run leaves in Dagster: counts, money as text, links, and a table of the first holds, never all of them."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
from sqlalchemy import Connection as Database

from ml_connector.mapping.windows import Mapped
from ml_connector.money import ZERO
from ml_connector.posting.payments.plans import UNAPPLIED
from ml_connector.posting.windows import Posted
from ml_connector.qbo.models import JOB_COSTS, REFERENCE, Entity
from ml_connector.qbo.pages import page_of
from ml_connector.reading.outside import outside_the_sync
from ml_connector.reading.windows import Reading
from ml_connector.settings import Connection
from ml_connector.store import audit, landing, overview, payments
from ml_connector.store.overview import HeldRecord

if TYPE_CHECKING:
    from ml_connector.procore.client import ProcoreClient
    from ml_connector.qbo.client import QboClient

Metadata = dict[str, dg.MetadataValue[Any]]
Counts = Mapping[tuple[date, str], tuple[int, Decimal]]  # of landing, by day and entity
FIRST = 20
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


def qbo_link(connection: Connection, entity: str, qbo_id: str) -> str:
    """The page of a record in QuickBooks."""
    return page_of(connection.qbo.app_url, entity, qbo_id)


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
) -> Metadata:
    """Metadata of a `qbo/*` asset."""
    entities = ENTITIES_OF[name]
    return {
        **_in_window(landing.counts_of_days(db, connection.name, days), days, name),
        **(_outside(db, connection, days) if name == "other_costs" else {}),
        "read_by": dg.MetadataValue.text(str(reading.mode)),
        "new_versions": dg.MetadataValue.int(sum(reading.new[entity] for entity in entities)),
        "deleted": dg.MetadataValue.int(sum(reading.deleted[entity] for entity in entities)),
        "qbo_calls": dg.MetadataValue.int(client.calls.total()),
        "webhook_files": dg.MetadataValue.int(reading.files),
    }


def _outside(db: Database, connection: Connection, days: Sequence[date]) -> Metadata:
    """Job cost in QBO that the sync does not bring, of the days: lines and their money."""
    found = outside_the_sync(db, connection, days=days)
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
    return {**_in_window(stored, [day], name), "read_by": dg.MetadataValue.text(str(reading.mode))}


def _in_window(stored: Counts, days: Sequence[date], name: str) -> Metadata:
    held = [stored[day, entity] for day in days for entity in ENTITIES_OF[name] if (day, entity) in stored]
    return {
        "window": dg.MetadataValue.text(_span(days)),
        "in_window": dg.MetadataValue.int(sum(count for count, _ in held)),
        "money_in_window": dg.MetadataValue.text(f"{sum((amount for _, amount in held), ZERO):.2f}"),
    }


def of_mapping(db: Database, connection: Connection, days: Sequence[date], name: str) -> Metadata:
    """Metadata of a `mapped/*` asset: records by state, money, the first holds."""
    return _states(db, connection, days, name)


def of_posting(
    db: Database,
    connection: Connection,
    days: Sequence[date],
    name: str,
    posted: Posted,
    client: "ProcoreClient",
) -> Metadata:
    """Metadata of a `procore/*` asset."""
    now = {
        str(state): count
        for (entity, state), count in sorted(posted.outcomes.items())
        if entity in ENTITIES_OF[name]
    }
    first = "\n".join(f"- {sentence}" for sentence in posted.warnings[:FIRST])
    return {
        **_states(db, connection, days, name),
        **(_unapplied(db, connection, days) if name == "contract_payments" else {}),
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


def _states(db: Database, connection: Connection, days: Sequence[date], name: str) -> Metadata:
    entities = ENTITIES_OF[name]
    tallies = {
        (entity, state): tally
        for (entity, state), tally in overview.tally(
            db, connection.name, days=days, part=PART_OF.get(name)
        ).items()
        if entity in entities
    }
    holds = overview.holds_of(
        db, connection.name, days=days, entities=entities, part=PART_OF.get(name), limit=FIRST
    )
    lines = ["| what | state | records | total | posted | excluded | held |", "|---|---|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {entity} | {state} | {t.count} | {t.total} | {t.posted} | {t.excluded} | {t.held} |"
        for (entity, state), t in tallies.items()
    ]
    metadata: Metadata = {
        "window": dg.MetadataValue.text(_span(days)),
        "records": dg.MetadataValue.int(sum(t.count for t in tallies.values())),
        "money": dg.MetadataValue.text(f"{sum((t.total for t in tallies.values()), ZERO):.2f}"),
        "posted": dg.MetadataValue.text(f"{sum((t.posted for t in tallies.values()), ZERO):.2f}"),
        "excluded": dg.MetadataValue.text(f"{sum((t.excluded for t in tallies.values()), ZERO):.2f}"),
        "held": dg.MetadataValue.text(f"{sum((t.held for t in tallies.values()), ZERO):.2f}"),
        "summary": dg.MetadataValue.md("\n".join(lines) if tallies else "Nothing changed in this window."),
    }
    if holds:
        metadata["first_holds"] = _hold_table(connection, holds)
        metadata["first_hold_in_qbo"] = dg.MetadataValue.url(
            qbo_link(connection, holds[0].entity, holds[0].qbo_id)
        )
    return metadata


def _unapplied(db: Database, connection: Connection, days: Sequence[date]) -> Metadata:
    """Cash that was paid without a bill, by vendor: it has no place in Procore until it is applied."""
    cash = payments.cash_by_vendor(db, connection.name, Entity.BILL_PAYMENT, days, reason=UNAPPLIED)
    rows = [f"- {vendor}: {amount:.2f}" for vendor, amount in cash.items()]
    return {"unapplied_cash": dg.MetadataValue.md("\n".join(rows))} if rows else {}


def _hold_table(connection: Connection, holds: Sequence[HeldRecord]) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "record": f"{hold.entity.lower()}:{hold.qbo_id}",
                    "number": hold.document,
                    "vendor": hold.vendor_name,
                    "amount": str(hold.amount),
                    "reason": hold.reason,
                    "sentence": hold.sentence,
                    "who": hold.fixer,
                    "qbo": qbo_link(connection, hold.entity, hold.qbo_id),
                }
            )
            for hold in holds
        ]
    )


def waiting_for_people(db: Database, connection: Connection, days: Sequence[date]) -> tuple[bool, Metadata]:
    """Whether nothing of `days` waits for people, and the holds by reason."""
    holds = overview.holds_of(db, connection.name, days=days, failing=False)
    by_reason: dict[str, int] = {}
    for hold in holds:
        by_reason[hold.reason] = by_reason.get(hold.reason, 0) + 1
    metadata: Metadata = {
        "window": dg.MetadataValue.text(_span(days)),
        "holds": dg.MetadataValue.int(len(holds)),
        "by_reason": dg.MetadataValue.json(by_reason),
    }
    if holds:
        metadata["first_holds"] = _hold_table(connection, holds[:FIRST])
    return not holds, metadata


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
    first = [f"- {day}: {sentence}" for day, sentences in bad.items() for sentence in sentences][:FIRST]
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
