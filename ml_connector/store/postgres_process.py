"""What the operating system and the lock file say about the processes of a Postgres cluster."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def postmaster(data: Path) -> int | None:
    """The process id of the running server of `data`, None when it does not run."""
    pid = noted_pid(data)
    return pid if pid is not None and is_server(pid, data) else None


def noted_pid(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def is_ready(data: Path, pid: int) -> bool:
    """The eighth line of postmaster.pid is the server's own word for its state."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def is_server(pid: int, data: Path) -> bool:
    """Whether `pid` lives (a zombie does not) and is a Postgres in `data`, every server's working folder."""
    if sys.platform != "linux":
        answer = subprocess.run(["/bin/ps", "-p", str(pid), "-o", "comm="], capture_output=True, check=False)
        return b"postgres" in answer.stdout
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        if not name.endswith("(postgres") or rest.split()[0] in "ZX":
            return False
        return Path(f"/proc/{pid}/cwd").readlink() == data
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:  # root of a container may not look into other accounts' processes
        return True


def living_processes(data: Path) -> set[int]:
    """The living processes of the cluster, also the children that a killed postmaster leaves for a moment."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == data and (entry / "comm").read_text().startswith("postgres"):
                found.add(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
