"""Where the grants of a connection stand, without opening them: connected, soon to end, dead, or none.

The sentences are what `status`, runs and the log tell people.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from ml_connector.store.tables import vault
from ml_connector.store.vault import State, System

WARN_DAYS = (1, 7, 14)
PRODUCTS: dict[System, str] = {"qbo": "QuickBooks", "procore": "Procore"}


@dataclass(frozen=True)
class Standing:
    """A grant. `state` is None when there is none; `ends_at` is None when the vendor sets no end."""

    connection: str
    system: System
    state: State | None
    ends_at: datetime | None

    def sentence(self, now: datetime) -> str:
        """What a person must know and do, "" when nothing is to be done."""
        if self.state is None:
            return not_connected(self.connection, self.system)
        if self.state is State.RECONNECT_NEEDED:
            return reconnect(self.connection, self.system)
        if warning_due(self.ends_at, now) is None or self.ends_at is None:
            return ""
        return ending(self.connection, self.system, self.ends_at, now)


def standings(db: Connection, connection: str) -> list[Standing]:
    """Both grants of a connection."""
    rows = db.execute(
        select(vault.c.system, vault.c.state, vault.c.ends_at).where(vault.c.connection == connection)
    )
    found = {row.system: row for row in rows}
    return [
        Standing(connection, system, State(found[system].state), found[system].ends_at)
        if system in found
        else Standing(connection, system, None, None)
        for system in PRODUCTS
    ]


def warning_due(ends_at: datetime | None, now: datetime) -> int | None:
    """Which of the warnings (14, 7, 1 days before the end) is in force; None while none is."""
    if ends_at is None:
        return None
    return next((days for days in WARN_DAYS if ends_at - now <= timedelta(days=days)), None)


def reconnect(connection: str, system: System) -> str:
    """The sentence of a dead grant."""
    return (
        f"{PRODUCTS[system]} must be connected again: run `ml-connector connect {system} {connection}`; "
        "until then no call is made and all work waits"
    )


def not_connected(connection: str, system: System) -> str:
    """The sentence of a grant that is not there."""
    return f"{PRODUCTS[system]} is not connected: run `ml-connector connect {system} {connection}`"


def ending(connection: str, system: System, ends_at: datetime, now: datetime) -> str:
    """The sentence of a grant that ends soon."""
    when = f"{ends_at:%Y-%m-%d %H:%M} UTC"
    if ends_at <= now:
        return f"the consent of {PRODUCTS[system]} ended on {when}: run `ml-connector connect {system} {connection}`"
    days = -((now - ends_at) // timedelta(days=1))
    return (
        f"the consent of {PRODUCTS[system]} ends in {days} day{'' if days == 1 else 's'}, on {when}: "
        f"run `ml-connector connect {system} {connection}` before that"
    )
