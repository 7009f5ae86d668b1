"""The stage of the runs in this process."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from ml_connector.settings import DATABASE_VARIABLE
from ml_connector_tests.orchestration.stage import Stage, day
from ml_connector_tests.rig import open_rig


@pytest.fixture
def stage(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The fixture firm since eight days ago, never read, and an empty Dagster instance."""
    monkeypatch.setenv(DATABASE_VARIABLE, database_url)
    rig = open_rig(tmp_path, database_url, start_date=day(8).isoformat())
    with dg.DagsterInstance.ephemeral() as instance:
        yield Stage(rig, instance)
    rig.close()


@pytest.fixture
def impatient(stage: Stage) -> None:
    """Clients give an outage up at once, where they would try for two minutes."""
    stage.rig.configure(timing={"patience": 0.5})
