"""What a person should know of now: read from our own tables, one cause for one trouble, most urgent first.

Sentences hold counts, days and what to do; money and names stay where people sign in to see them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection as Db

from ml_connector.procore.client import procore_limits
from ml_connector.proving.noted import PROOF, PROVED
from ml_connector.qbo.client import qbo_limits
from ml_connector.settings import Connection
from ml_connector.store import audit, breaker, cursor, limiter, overview
from ml_connector.store.grants import PRODUCTS, Standing, standings, warning_due
from ml_connector.store.vault import State

AWAY_AFTER = timedelta(minutes=15)  # a vendor that is away for less is nobody's business
RED_DAYS = "red_days"
QUOTA_NEAR = 0.9  # of a limit
NAMES: Mapping[str, str] = {str(system): name for system, name in PRODUCTS.items()}
A_MOMENT = 30.0  # seconds: limits of shorter periods are met in every busy minute


@dataclass(frozen=True)
class Cause:
    """One trouble. `key` tells it from others and stays the same while it lasts: "reconnect:qbo", "old_holds", …"""

    key: str
    sentence: str


def causes(db: Db, connection: Connection, *, now: datetime) -> list[Cause]:
    """Every trouble of the connection that stands now."""
    lost = [*_grants(db, connection, now), *_away(db, connection, now)]
    found = list(lost)
    if not any(cause.key in ("reconnect:qbo", "away:qbo") for cause in lost):
        found += _unread(db, connection, now)
    return [
        *found,
        *_red_days(db, connection),
        *_unbalanced(db, connection),
        *_old_holds(db, connection, now),
        *_quotas(db, connection),
    ]


def explains_failed_run(cause: str, job: str) -> bool:
    """Whether a run of the job (`sync`, `post`, `catalog`, `proof`) fails for this trouble: then its failing is no news."""
    return cause.startswith(("reconnect:", "away:")) or (cause == RED_DAYS and job in ("sync", "post"))


def _grants(db: Db, connection: Connection, now: datetime) -> Iterator[Cause]:
    for grant in standings(db, connection.name):
        if grant.state is State.RECONNECT_NEEDED:
            yield Cause(f"reconnect:{grant.system}", grant.sentence(now))
        elif grant.state is State.CONNECTED and grant.sentence(now):
            yield Cause(f"consent:{grant.system}:{_days(grant, now)}", grant.sentence(now))


def _days(grant: Standing, now: datetime) -> str:
    """Which of the warnings it is: each is told once."""
    if grant.ends_at is not None and grant.ends_at <= now:
        return "ended"
    return str(warning_due(grant.ends_at, now))


def _away(db: Db, connection: Connection, now: datetime) -> Iterator[Cause]:
    for outage in breaker.outages(db, connection.name):
        if now - outage.since >= AWAY_AFTER:
            yield Cause(f"away:{outage.system}", f"{outage.sentence(connection.zone)}.")


def _unread(db: Db, connection: Connection, now: datetime) -> Iterator[Cause]:
    read_to = cursor.read_to(db, connection.name)
    if read_to is not None and now - read_to > timedelta(hours=connection.alarms.unread_hours):
        yield Cause(
            "unread",
            f"QuickBooks was last read up to {_at(connection, read_to)}: see that `ml-connector up` runs and that the "
            f"schedule {connection.name}__poll is on and does not fail.",
        )


def _red_days(db: Db, connection: Connection) -> Iterator[Cause]:
    failing = overview.holds_of(db, connection.name, failing=True)
    if failing:
        days, records = {hold.day for hold in failing}, {(hold.entity, hold.qbo_id) for hold in failing}
        reasons = ", ".join(sorted({hold.reason for hold in failing}))
        yield Cause(
            RED_DAYS,
            f"{len(days)} day{' is' if len(days) == 1 else 's are'} red for {len(records)} "
            f"record{'' if len(records) == 1 else 's'} ({reasons}). `ml-connector holds {connection.name}` says for "
            "each what Procore answered and what to do.",
        )


def _unbalanced(db: Db, connection: Connection) -> Iterator[Cause]:
    proved = audit.newest(db, connection.name, entity=PROOF, event=PROVED)
    if proved is not None and not proved.detail["balanced"]:
        count = proved.detail["differences"]
        yield Cause(
            "unbalanced",
            f"The proof of {_at(connection, proved.at)} does not balance: {count} difference{'' if count == 1 else 's'}. "
            f"`ml-connector prove {connection.name}` names them.",
        )


def _old_holds(db: Db, connection: Connection, now: datetime) -> Iterator[Cause]:
    limit = now - timedelta(days=connection.alarms.hold_days)
    old = [hold for hold in overview.holds_of(db, connection.name) if hold.since < limit]
    if old:
        records = {(hold.entity, hold.qbo_id) for hold in old}
        by_fixer = Counter(hold.fixer for hold in old)
        oldest = min(hold.since for hold in old)
        waiting = ", ".join(f"{count} for {fixer}" for fixer, count in by_fixer.most_common())
        yield Cause(
            "old_holds",
            f"{len(records)} record{' waits' if len(records) == 1 else 's wait'} for more than "
            f"{connection.alarms.hold_days} days ({waiting}), the oldest since {_at(connection, oldest)}. "
            f"`ml-connector holds {connection.name}` lists what frees them.",
        )


def _quotas(db: Db, connection: Connection) -> Iterator[Cause]:
    limits = {
        "qbo": (f"qbo:{connection.qbo.realm_id}", qbo_limits(connection.limits.qbo_per_minute)),
        "procore": (f"procore:{connection.procore.company_id}", procore_limits(connection.limits)),
    }
    for system, (account, several) in limits.items():
        used = limiter.use_of(db, account)
        paused = [use.paused_until for use in used.values() if use.paused_until is not None]
        lasting = [limit for limit in several if limit.period > A_MOMENT and limit.name in used]
        if paused:
            until = f"takes no more calls until {_at(connection, max(paused))}: its quota is used up"
        elif any(used[limit.name].ahead >= QUOTA_NEAR * limit.slack for limit in lasting):
            until = "is called about as often as its quota allows, and calls are slowed down"
        else:
            continue
        yield Cause(
            f"quota:{system}",
            f"{NAMES[system]} {until}. Work waits for its turn and nothing is lost; if this comes often, poll less "
            "often (`poll_cron`) or ask the vendor for a larger quota (`limits`).",
        )


def _at(connection: Connection, instant: datetime) -> str:
    return f"{instant.astimezone(connection.zone):%Y-%m-%d %H:%M}"
