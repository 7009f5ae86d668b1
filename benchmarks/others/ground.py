"""The ground of one cell of the comparison: both sandboxes in this process, the firm, its bills, and one tool's folder."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks import firm
from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector_tests.evidence import Evidence, gather
from ml_connector_tests.rig import Bookkeeper, Control

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
PATIENCE = 240  # seconds for one run of a tool
PERSON = {"client_id": "person-client", "client_secret": "person-secret", "refresh_token": "RT1-person"}
PROJECT = firm.PROJECTS[0]
REFUSED_VENDOR = firm.VENDORS[-1]
REFUSED = 3  # bills of that vendor
LINE_CODE = firm.CODES[0]

Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """A tool's process: its exit code (None when it was killed) and what it printed."""

    code: int | None
    out: str
    err: str


@dataclass(frozen=True)
class Cell:
    """Both sandboxes and a folder for what the tool keeps."""

    qbo: Control
    procore: Control
    folder: Path
    bills: Sequence[Mapping[str, Any]]

    @property
    def wanted(self) -> dict[str, Decimal]:
        """Amount by number of what has to arrive in Procore."""
        return {bill["DocNumber"]: Decimal(str(bill["TotalAmt"])) for bill in self.bills}

    @property
    def saved(self) -> dict[str, str]:
        """SyncToken by id of the bills that have to be read, as QBO has them now."""
        first = int(self.bills[0]["Id"])
        rows = self.qbo.live(f"{firm.REALM}/Bill")
        return {row["Id"]: row["SyncToken"] for row in rows if int(row["Id"]) >= first}

    @property
    def bookkeeper(self) -> Bookkeeper:
        """A person in QBO, with a grant of their own."""
        return Bookkeeper(self.qbo.url, firm.REALM)

    def evidence(self) -> Evidence:
        """What both sides hold."""
        return gather(self.qbo.url, self.procore.url, realm=firm.REALM)

    def enter(self, bills: Sequence[Mapping[str, Any]]) -> "Cell":
        """The same cell with more bills in QBO."""
        self.qbo.load(realm=firm.REALM, Bill=list(bills))
        return Cell(self.qbo, self.procore, self.folder, [*self.bills, *bills])


def bills(count: int, *, first: int = 10_000) -> list[dict[str, Any]]:
    """Bills of one line, all for one project; the last three are of the vendor whose bills a scenario refuses."""
    made = list(firm.bills(count, first=first, lines=1))
    for place, bill in enumerate(made):
        refused = place >= count - REFUSED
        vendor = REFUSED_VENDOR if refused else firm.VENDORS[place % (len(firm.VENDORS) - 1)]
        bill["VendorRef"] = {"value": vendor, "name": f"Vendor {vendor}"}
        detail = bill["Line"][0]["AccountBasedExpenseLineDetail"]
        detail["AccountRef"] = {"value": firm.ACCOUNTS[0][0]}
        detail["CustomerRef"] = {"value": str(PROJECT - 40)}
    return made


def new_bills(count: int) -> list[dict[str, Any]]:
    """Bills that were entered this second, and not over the minutes before it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        {**bill, "MetaData": {"CreateTime": now, "LastUpdatedTime": now}}
        for bill in bills(count, first=50_000)
    ]


def lists(qbo: Control, procore: Control) -> None:
    """What both sides hold before the first bill."""
    content = firm.qbo_lists()
    content["App"] = [*content["App"], {**PERSON, "realms": [firm.REALM]}]
    qbo.load(**content)
    procore.load(**firm.procore_lists())


@contextmanager
def open_cell(entered: Sequence[Mapping[str, Any]]) -> Iterator[Cell]:
    """Two fresh sandboxes with the firm and these bills."""
    with tempfile.TemporaryDirectory(prefix="ml-connector-others-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        servers = [
            open_qbo(directory=folder / "sandbox"),
            open_server(ProcoreVendor, name="procore", directory=folder / "sandbox"),
        ]
        for server in servers:
            server.start()
        try:
            qbo, procore = (Control(server.url) for server in servers)
            lists(qbo, procore)
            (folder / "tool").mkdir()
            cell = Cell(qbo, procore, folder / "tool", [])
            yield cell.enter(entered)
        finally:
            for server in servers:
                server.stop()


def run_tool(
    command: Sequence[str | Path],
    cell: Cell,
    *,
    environment: Mapping[str, str] | None = None,
    kill_when: Callable[[], bool] | None = None,
) -> Ended:
    """Run a tool in its folder without this machine's settings; it is killed as soon as `kill_when` holds."""
    given = {
        "PATH": os.defpath,
        "HOME": str(cell.folder),
        "OAUTHLIB_INSECURE_TRANSPORT": "1",  # plain HTTP is meant
        "NO_COLOR": "1",
        **(environment or {}),
    }
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=cell.folder,
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        killed = threading.Event()
        watcher = threading.Thread(target=_kill, args=(process, kill_when, killed), daemon=True)
        if kill_when is not None:
            watcher.start()
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return Ended(None, out, f"{err}\nstill running after {PATIENCE} s")
    return Ended(None if killed.is_set() else process.returncode, out, err)


def wait_for(holds: Callable[[], bool], *, patience: float = PATIENCE) -> bool:
    """Wait until something holds; False when it never does."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


def hits(control: Control) -> int:
    """How often the newest fault rule has struck."""
    rules: list[dict[str, Any]] = rules_of(control)
    return int(rules[-1]["hits"]) if rules else 0


def rules_of(control: Control) -> list[dict[str, Any]]:
    """The fault rules with their counts."""
    from ml_connector_tests.rig import call  # noqa: PLC0415 one small reader of the control interface

    found: list[dict[str, Any]] = call("GET", f"{control.url}/_control/faults")
    return found


def _kill(process: "subprocess.Popen[str]", when: Callable[[], bool] | None, killed: threading.Event) -> None:
    while process.poll() is None and when is not None:
        if when():
            time.sleep(0.2)  # what the server has begun is done by now
            if process.poll() is None:
                process.kill()
                killed.set()
            return
        time.sleep(0.02)
