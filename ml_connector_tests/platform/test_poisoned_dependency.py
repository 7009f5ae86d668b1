"""T12: a package that is not the one that was locked is not installed, by the very script that `make` uses."""

import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from ml_connector_tests.conftest import ROOT

pytestmark = pytest.mark.processes

WHEEL = "granite-1.0-py3-none-any.whl"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The script that makes environments, and a shelf with one wheel in place of an index."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "venv.sh", tmp_path / "tools")
    (tmp_path / "shelf").mkdir()
    return tmp_path


def put_wheel(shop: Path, code: str) -> str:
    """A wheel of that code on the shelf; its sha256."""
    path = shop / "shelf" / WHEEL
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("granite.py", code)
        wheel.writestr(
            "granite-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: granite\nVersion: 1.0\n"
        )
        wheel.writestr(
            "granite-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("granite-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(shop: Path, lock: str) -> subprocess.CompletedProcess[str]:
    """What `make` does with such a lock."""
    (shop / "requirements.lock").write_text(lock)
    shelf = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shop / "shelf"), "PIP_NO_CACHE_DIR": "1"}
    command = ["sh", str(shop / "tools" / "venv.sh"), ".venv", "requirements.lock"]
    return subprocess.run(
        command, env={**os.environ, **shelf}, capture_output=True, text=True, timeout=110, check=False
    )


def installed(shop: Path) -> bool:
    return any((shop / ".venv").rglob("granite.py"))


def test_T12_a_changed_package_a_changed_hash_and_a_pin_without_one_are_refused(shop: Path) -> None:
    pinned = f"granite==1.0 --hash=sha256:{put_wheel(shop, 'honest = True')}\n"
    put_wheel(shop, "poisoned = True\n")
    for lock in (pinned, f"granite==1.0 --hash=sha256:{'0' * 64}\n", "granite==1.0\n", "granite\n"):
        refused = install(shop, lock)
        assert refused.returncode != 0
        assert "hash" in refused.stderr.lower()
        assert not installed(shop)
    honest = put_wheel(shop, "honest = True\n")
    taken = install(shop, f"granite==1.0 --hash=sha256:{honest}\n")
    assert taken.returncode == 0, taken.stderr
    assert installed(shop)
