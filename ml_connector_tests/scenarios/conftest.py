"""One rig a scenario; after each the invariants of the product are checked, whatever the scenario was about."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ml_connector_tests.rig import Rig, open_rig
from ml_connector_tests.scenarios.invariants import invariants
from ml_connector_tests.warm_database import WarmDatabase


@pytest.fixture(scope="session")
def warm_database(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[WarmDatabase]:
    """The one database of this worker's scenarios."""
    with databases() as url:
        warm = WarmDatabase(url)
        yield warm
        warm.close()


@pytest.fixture
def database(warm_database: WarmDatabase) -> Iterator[Engine]:
    """An engine on a migrated, empty database."""
    yield warm_database.engine
    warm_database.empty()


@pytest.fixture
def rig(tmp_path: Path, database: Engine) -> Iterator[Rig]:
    """The fixture firm on both sandbox servers; ends with the check of the invariants."""
    opened = open_rig(tmp_path, database)
    try:
        yield opened
        invariants(opened)
    finally:
        opened.close()
