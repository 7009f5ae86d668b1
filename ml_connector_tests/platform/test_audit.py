"""T12: `make audit` says what it looked at, and never `passed` for what it could not look up."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml_connector_tests.conftest import ROOT

GOOD = {"name": "rich", "version": "15.0.0", "vulns": []}
BAD = {"name": "rich", "version": "15.0.0", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["15.0.1"]}]}
UNSEEN = {"name": "rich", "skip_reason": "Dependency not found on PyPI: connection refused"}


def audit(tmp_path: Path, stdout: str, *, code: int = 0, stderr: str = "") -> tuple[int, list[str]]:
    """Exit code and lines of tools/audit.py over a pip-audit that answers so."""
    program = tmp_path / "pip-audit"
    told = f"import sys; sys.stderr.write({stderr!r}); sys.stdout.write({stdout!r}); sys.exit({code})"
    program.write_text(f"#!{sys.executable}\n{told}\n")
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "audit.py"), str(program), "requirements.lock"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def answer(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(dependencies), "fixes": []})


def test_T12_passed_is_said_only_when_everything_was_looked_up(tmp_path: Path) -> None:
    assert audit(tmp_path, answer(GOOD, GOOD)) == (
        0,
        ["passed: 2 packages looked up, no known vulnerability"],
    )


@pytest.mark.parametrize(
    ("stdout", "stderr", "why"),
    [
        (answer(UNSEEN, UNSEEN), "", "skipped: 0 packages looked up, the others not (Dependency not found"),
        (answer(GOOD, UNSEEN), "", "skipped: 1 packages looked up, the others not (Dependency not found"),
        (answer(), "", "skipped: 0 packages looked up, the others not (no packages)"),
        ("", "ERROR: no route to host", "(requirements.lock: ERROR: no route to host)"),
        ("<html>", "", "(requirements.lock: no answer)"),
        ("[]", "", "(requirements.lock: no answer)"),
    ],
    ids=["nothing seen", "one not seen", "empty", "no network", "a page", "another form"],
)
def test_T12_what_was_not_looked_up_is_skipped_and_not_passed(
    stdout: str, stderr: str, why: str, tmp_path: Path
) -> None:
    code, (line,) = audit(tmp_path, stdout, stderr=stderr)
    assert code == 0
    assert line.startswith("skipped: ")
    assert why in line


def test_T12_a_known_vulnerability_fails_though_others_were_not_looked_up(tmp_path: Path) -> None:
    code, lines = audit(tmp_path, answer(BAD, UNSEEN), code=1)
    assert code == 1
    assert lines == [
        "requirements.lock: rich 15.0.0: PYSEC-2026-1, fixed in 15.0.1",
        "vulnerable: 1 known; 1 packages looked up",
    ]


def test_a_program_that_is_not_there_is_skipped(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "audit.py"), str(tmp_path / "none"), "requirements.lock"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "skipped")
