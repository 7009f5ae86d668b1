"""The rig for tests of reading."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_connector_tests.rig import Rig, open_rig


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[Rig]:
    """Both sandbox servers, a home with the connection `acme`, the fixture firm."""
    opened = open_rig(tmp_path, database_url)
    yield opened
    opened.close()
