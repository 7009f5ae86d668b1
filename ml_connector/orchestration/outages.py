"""Vendors that are away: the run that meets the outage says so in one sentence, and one sensor asks until they answer.

Schedules and the other sensors ask for no run meanwhile (`ticks.out_of_reach`). The probe is the one vendor call that
a tick makes: one small request with a short deadline, where a run for each would be one red run for each.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
import structlog

from ml_connector.errors import PermanentError, TransientError, VendorAway
from ml_connector.settings import Connection, Home

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ml_connector.store.breaker import Outage

EVERY_SECONDS = 30
SERVER_TROUBLE = 500

_log = structlog.get_logger(__name__)


@contextmanager
def told_in_one_sentence(engine: "Engine", connection: Connection) -> Iterator[None]:
    """A step that an outage ends fails with the sentence of it; the outage is known to all ticks from then on."""
    try:
        yield
    except (TransientError, VendorAway) as error:
        outage = _noted(engine, connection, error)
        if outage is None:
            raise
        raise dg.Failure(description=outage.sentence(connection.zone), allow_retries=False) from error


def outage_sensor(connections: Sequence[Connection], home: Home) -> dg.SensorDefinition:
    """Asks a vendor that is away whether it is back, when its pause is over: one call a tick."""

    @dg.sensor(
        name="outages",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="While a vendor does not answer: asks it once in a while, and lets everything go on when it does.",
    )
    def outages(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from ml_connector.orchestration import ticks
        from ml_connector.store.grants import PRODUCTS

        asked = False
        standing: list[str] = []
        for connection in connections:
            for outage in ticks.outages(connection):
                told: Outage | None = outage
                if not asked and outage.asked_again_at <= datetime.now(UTC):
                    asked = True
                    told = _ask(ticks.engine(), home, connection, outage)
                if told is not None:
                    standing.append(f"{connection.name}: {told.sentence(connection.zone)}")
                else:
                    standing.append(f"{connection.name}: {PRODUCTS[outage.system]} answers again")
        return dg.SkipReason("; ".join(standing) or "every vendor answers")

    return outages


def _ask(engine: "Engine", home: Home, connection: Connection, outage: "Outage") -> "Outage | None":
    """One call without consequences; the outage as it stands now, None when the vendor answered."""
    from ml_connector.orchestration.clients import probe
    from ml_connector.store import breaker

    try:
        probe(home, connection, engine, outage.system)
    except (TransientError, VendorAway) as error:
        return _noted(engine, connection, error)
    except PermanentError as refusal:
        _log.info("vendor answers again", system=outage.system, status=refusal.status)
    with engine.begin() as db:
        breaker.end(db, connection.name, outage.system)
    return None


def _noted(engine: "Engine", connection: Connection, error: TransientError | VendorAway) -> "Outage | None":
    """The outage that the error tells of; None when the vendor is there and only busy."""
    from ml_connector.store import breaker

    with engine.begin() as db:
        if isinstance(error, TransientError):
            status = error.status or 0
            reason = f"HTTP {status}" if status >= SERVER_TROUBLE else ""
            breaker.give_up(db, connection.name, error.vendor, reason=reason)
        found = breaker.outages(db, connection.name)
    return next((outage for outage in found if outage.system == error.vendor), None)
