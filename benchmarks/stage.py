"""One stage of the way in a process of its own: `python -m benchmarks.stage STAGE RUN_ID`, one JSON line at the end.

It is the code of a run's step without Dagster; peak memory and CPU are those of the process.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Engine

from benchmarks import firm
from benchmarks.report import peak_megabytes
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.orchestration.work import Run
from ml_connector.proving.proof import prove
from ml_connector.qbo.models import Entity
from ml_connector.settings import DATABASE_VARIABLE, Connection, Home, home_from, load_connection
from ml_connector.store import overview, windows
from ml_connector.store.database import open_engine

STAGES = ("read", "map", "post")
PROVE = "prove"  # both sides read afresh, after the stages


@dataclass(frozen=True)
class Measured:
    """What a stage took: bills it settled, wall and CPU seconds, megabytes at start and at most, calls by route."""

    bills: int
    seconds: float
    cpu: float
    megabytes_before: float
    megabytes: float
    calls: dict[str, int]


def run_stage(stage: str, run_id: str, home: Home, connection: Connection, engine: Engine) -> Measured:
    """Run one stage over all dirty days, reading over the open one."""
    before = peak_megabytes()
    run = Run(run_id, _days(engine, connection, stage), automatic=True)
    began, cpu = time.perf_counter(), time.process_time()
    match stage:
        case "read":
            qbo = qbo_client(home, connection, engine)
            bills = work.read(engine, home, connection, qbo, run).new[Entity.BILL]
            calls = dict(qbo.calls)
        case "map":
            procore = procore_client(home, connection, engine)
            mapped = work.map_days(engine, connection, run, lambda: procore)
            bills = sum(count for (entity, _), count in mapped.states.items() if entity is Entity.BILL)
            calls = dict(procore.calls)
        case "prove":
            qbo, procore = qbo_client(home, connection, engine), procore_client(home, connection, engine)
            proof = prove(engine, connection, qbo, procore)
            if not proof.balanced or not proof.costs.total.procore:
                raise SystemExit(f"the proof does not balance: {proof.problems()[:3]}")
            with engine.connect() as db:
                bills = sum(tally.count for (entity, _), tally in overview.tally(db, connection.name).items()
                            if entity == Entity.BILL)  # fmt: skip
            calls = {"QuickBooks": proof.calls.qbo, "Procore": proof.calls.procore}
        case _:
            procore = procore_client(home, connection, engine)
            posted = work.post(engine, connection, run, procore, work.KINDS)
            parts = [posted[kind].outcomes for kind in work.BILLS]
            outcomes = {key: count for part in parts for key, count in part.items()}
            bills = sum(
                count for part in parts for (entity, _), count in part.items() if entity is Entity.BILL
            )
            calls = dict(procore.calls)
            if any(
                str(state) not in ("posted", "no-op") for entity, state in outcomes if entity is Entity.BILL
            ):
                raise SystemExit(f"not everything was posted: {outcomes}")
    took = time.perf_counter() - began
    return Measured(bills, took, time.process_time() - cpu, before, peak_megabytes(), calls)


def run_steps(
    stages: Sequence[str], run_id: str, home: Home, connection: Connection, engine: Engine
) -> list[Measured]:
    """Run some stages in their order, in this process."""
    return [run_stage(stage, run_id, home, connection, engine) for stage in stages]


def _days(engine: Engine, connection: Connection, stage: str) -> tuple[date, ...]:
    if stage == "read":
        return (datetime.now(UTC).date(),)
    with engine.connect() as db:
        return tuple(window.day for window in windows.dirty(db, connection.name))


def main() -> int:
    """Run the stage named and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=(*STAGES, PROVE))
    parser.add_argument("run_id")
    given = parser.parse_args()
    home = home_from()
    engine = open_engine(os.environ[DATABASE_VARIABLE])
    measured = run_stage(given.stage, given.run_id, home, load_connection(home, firm.NAME), engine)
    engine.dispose()
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
