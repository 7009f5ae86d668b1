"""A stage for runs inside the test's process: the rig's firm, its Definitions, and a Dagster instance that forgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import dagster as dg
from sqlalchemy import func, update

from ml_connector.orchestration import names
from ml_connector.orchestration.build import build_definitions
from ml_connector.orchestration.partitions import windows_of
from ml_connector.settings import load_connections
from ml_connector.store.tables import breaker, dirty_window
from ml_connector_tests.rig import REALM, Rig, line, today

MATERIALIZED, FAILED = "MATERIALIZED", "FAILED"
DIRECT_COSTS = "/rest/*direct_costs/sync*"
TODAY = today()


def day(ago: int) -> date:
    """The day so many days ago, in the fixture firm's zone."""
    return TODAY - timedelta(days=ago)


@dataclass
class Stage:
    """Runs of one connection and what they leave in Dagster."""

    rig: Rig
    instance: dg.DagsterInstance

    @cached_property
    def definitions(self) -> dg.Definitions:
        """What Dagster would load now."""
        return build_definitions(self.rig.home, load_connections(self.rig.home))

    def run(
        self,
        *days: date,
        job: str = "sync",
        automatic: bool = False,
        selection: Sequence[str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """A run over `days` (first and last of a range), as a person starts it or, `automatic`, as a sensor does."""
        first, last = (days or (TODAY,))[0], (days or (TODAY,))[-1]
        tags = {names.AUTOMATIC_TAG: "true"} if automatic else {}
        if first != last:
            tags |= {names.RANGE_START_TAG: first.isoformat(), names.RANGE_END_TAG: last.isoformat()}
        found = self.definitions.resolve_job_def(f"{self.rig.name}__{job}")
        return found.execute_in_process(
            instance=self.instance,
            partition_key=first.isoformat() if first == last else None,
            tags=tags,
            asset_selection=None if selection is None else [self.key(name) for name in selection],
            raise_on_error=False,
        )

    def work_off(self) -> list[bool]:
        """What the dirty_windows sensor does until nothing is left that may be done now; the success of its runs."""
        done: list[bool] = []
        for _ in range(10):
            ready = self.rig.dirty()
            if not ready:
                return done
            done.append(self.run(ready[0], ready[-1], job="post", automatic=True).success)
        raise AssertionError(f"windows stay dirty: {self.rig.dirty()}")

    def time_passes(self) -> None:
        """Every wait of a window is over, and a vendor that is away may be asked again."""
        with self.rig.engine.begin() as db:
            db.execute(update(dirty_window).values(not_before=None))
            away = breaker.c.open_until.is_not(None)
            db.execute(update(breaker).where(away).values(open_until=func.clock_timestamp()))

    def key(self, name: str) -> dg.AssetKey:
        """The key of an asset such as "procore/direct_costs"."""
        return dg.AssetKey([self.rig.name, *name.split("/")])

    def colour(self, name: str, of: date = TODAY) -> str | None:
        """The status of one day of an asset as the partition bar shows it; None when it never ran."""
        key = of.isoformat()
        status = self.instance.get_status_by_partition(self.key(name), [key], windows_of(self.rig.connection))
        found = (status or {}).get(key)
        return None if found is None else found.value

    def metadata(self, name: str, of: date = TODAY) -> Mapping[str, Any]:
        """The values that the newest materialization of a day shows."""
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=self.key(name), asset_partitions=[of.isoformat()]), limit=1
        ).records
        found = records[0].asset_materialization
        assert found is not None
        return {label: entry.value for label, entry in found.metadata.items()}

    def bill(self, number: str, amount: str, *, changed: date = TODAY, **fields: Any) -> dict[str, Any]:
        """A bill of one line on Harbor Clinic, last changed on a day of ours."""
        entered = self.rig.bookkeeper.bill(number, [line(amount)], **fields)
        return entered if changed == TODAY else self.backdate(entered, changed)

    def backdate(self, bill: Mapping[str, Any], changed: date) -> dict[str, Any]:
        """The bill as if it had been saved at noon of that day."""
        stamp = f"{changed.isoformat()}T12:00:00+00:00"
        record = {**bill, "MetaData": {**bill["MetaData"], "LastUpdatedTime": stamp, "CreateTime": stamp}}
        self.rig.qbo.load(realm=REALM, Bill=[record])
        return record

    def refuse(self, number: str, *, place: int = 0) -> None:
        """Procore refuses the record at this place of a call that names the bill."""
        self.rig.procore.fault(
            {
                "route": f"PATCH {DIRECT_COSTS}",
                "contains": number,
                "fault": "item_fault",
                "args": {"index": place},
            }
        )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """The check evaluations of a run by "group/asset check"."""
    return {
        f"{'/'.join(entry.asset_key.path[1:])} {entry.check_name}": entry
        for entry in result.get_asset_check_evaluations()
    }


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the failure panel of the run says."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = event.step_failure_data.user_failure_data
    assert said is not None
    assert said.metadata["problems"].value == f"- {said.description}"
    return said.description or ""
