"""Looks every locked package up among the published advisories. Usage: audit.py PIP_AUDIT LOCK...

pip-audit calls a package that it could not look up "no known vulnerability" and ends with 0. Here the last line begins with
`passed:`, `vulnerable:` (exit code 1) or `skipped:` (exit code 0: nothing was found, and not everything was looked at).
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

SECONDS = 600


def report(pip_audit: str, lock: str) -> Mapping[str, Any] | str:
    """What pip-audit says of a lock, or why it says nothing."""
    command = [pip_audit, "--require-hashes", "--disable-pip", "--no-deps", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [*command, "--format", "json", "--requirement", lock],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    except ValueError:
        return (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]
    return found if isinstance(found, dict) and isinstance(found.get("dependencies"), list) else "no answer"


def verdict(reports: Mapping[str, Mapping[str, Any] | str]) -> tuple[list[str], int]:
    """The lines to print and the exit code, for the reports by lock."""
    lines: list[str] = []
    looked, unseen, why = 0, 0, ""
    for lock, found in reports.items():
        if isinstance(found, str):
            unseen, why = unseen + 1, f"{lock}: {found}"
            continue
        for package in found["dependencies"]:
            if "skip_reason" in package:
                unseen, why = unseen + 1, str(package["skip_reason"])[:200]
                continue
            looked += 1
            for advisory in package.get("vulns", []):
                fixed = ", ".join(advisory.get("fix_versions", [])) or "no version yet"
                lines.append(
                    f"{lock}: {package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}"
                )
    if lines:
        return [*lines, f"vulnerable: {len(lines)} known; {looked} packages looked up"], 1
    if unseen or not looked:
        return [f"skipped: {looked} packages looked up, the others not ({why or 'no packages'})"], 0
    return [f"passed: {looked} packages looked up, no known vulnerability"], 0


def main(arguments: Sequence[str]) -> int:
    """Print the verdict on all locks."""
    pip_audit, *locks = arguments
    lines, code = verdict({lock: report(pip_audit, lock) for lock in locks})
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
