"""One rig a scenario; after each the invariants of the product are checked, whatever the scenario was about."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_connector_tests.rig import Rig, open_rig
from ml_connector_tests.scenarios.invariants import invariants


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[Rig]:
    """The fixture firm on both sandbox servers; ends with the check of the invariants."""
    opened = open_rig(tmp_path, database_url)
    try:
        yield opened
        invariants(opened)
    finally:
        opened.close()
