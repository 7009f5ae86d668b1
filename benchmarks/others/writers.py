"""The writers: how each is configured, what it keeps between runs, and what it says did not get through."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import firm
from benchmarks.others.ground import LINE_CODE, PROJECT, ROOT, SCRIPTS, Cell, run_tool
from benchmarks.others.judge import Told
from benchmarks.others.tools import CLIENT, SECRET, KillWhen
from ml_connector_tests.rig import call


@dataclass
class Writer:
    """What writers have in common: the bills as Procore takes them, and the account."""

    cell: Cell
    origins: bool = True

    def __post_init__(self) -> None:
        self.environment = {
            "PROCORE_CLIENT_ID": CLIENT,
            "PROCORE_CLIENT_SECRET": SECRET,
            "PROCORE_AUTH_MODE": "client_credentials",
            "PROCORE_LOGIN_URL": self.cell.procore.url,
            "PROCORE_API_BASE": self.cell.procore.url,
            "PROCORE_COMPANY_ID": str(firm.COMPANY),
            "PROCORE_TOKEN_STORE_PATH": str(self.cell.folder / "token.json"),
        }
        self.code = line_code(self.cell)
        self.prepare()

    def prepare(self) -> None:
        """Write the configuration and the bills."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, Any]]:
        """Each bill as a direct cost with its line. Without `origins` it is an expense, which has no number to be unique."""
        return [self._row(bill) for bill in self.cell.bills]

    def _row(self, bill: Mapping[str, Any]) -> dict[str, Any]:
        vendor = 70_000 + int(bill["VendorRef"]["value"])
        own = (
            {"direct_cost_type": "invoice", "vendor_id": vendor,
             "origin_id": f"qbo:{firm.REALM}:bill:{bill['Id']}:{PROJECT}"}
            if self.origins else {"direct_cost_type": "expense", "description": f"Vendor {vendor}"}
        )  # fmt: skip
        line = {"wbs_code_id": self.code, "manual_amount": bill["TotalAmt"], "description": "Delivery"}
        common = {
            "status": "approved",
            "invoice_number": bill["DocNumber"],
            "direct_cost_date": bill["TxnDate"],
        }
        return {**own, **common, "line_items": [line]}

    def two_at_once(self) -> tuple[tuple[str, str], ...]:
        """A service account has no refresh token: there is nothing to rotate."""
        raise NotImplementedError


@dataclass
class SdkScript(Writer):
    """A home-made writer on one of the SDKs."""

    sdk: str = "pyprocore"
    python: Path = Path()

    def prepare(self) -> None:
        (self.cell.folder / "bills.json").write_text(json.dumps(self.rows()))

    def run(self, kill_when: KillWhen = None) -> Told:
        """One run of the script."""
        script = SCRIPTS / "sdk_writer.py"
        place = [self.cell.procore.url, str(firm.COMPANY), str(PROJECT), "bills.json", "done.txt"]
        command: list[str | Path] = [self.python, "-I", script, self.sdk, *place]
        ended = run_tool(command, self.cell, environment=self.environment, kill_when=kill_when)
        if ended.code is None:
            return Told(False, silent=True)
        if not ended.out:
            return Told(False, frozenset(self.cell.wanted), words=ended.err[-300:])
        failed: dict[str, str] = json.loads(ended.out)["failed"]
        return Told(ended.code == 0, frozenset(failed), words=str(list(failed.items())[:1]))

    def replay(self) -> Told:
        """Its state file was lost with its machine."""
        (self.cell.folder / "done.txt").unlink()
        return self.run()


@dataclass
class Drt(Writer):
    """drt from a SQLite table to Procore's REST API, one POST a row or, `in_batches`, through the sync action."""

    in_batches: bool = False
    program: Path = ROOT / ".venv-others-drt" / "bin" / "drt"

    def prepare(self) -> None:
        folder, url = self.cell.folder, self.cell.procore.url
        (folder / ".drt").mkdir()
        (folder / "syncs").mkdir()
        (folder / "drt_project.yml").write_text("name: costs\nprofile: warehouse\n")
        profile = f"warehouse:\n  type: sqlite\n  database: {folder}/warehouse.sqlite\n"
        (folder / ".drt" / "profiles.yml").write_text(profile)
        (folder / "syncs" / "costs.yml").write_text(self._sync(url))
        table = sqlite3.connect(folder / "warehouse.sqlite")
        table.execute("create table bills (seq integer primary key, invoice_number text, body text)")
        rows = self.rows()
        for row in rows if self.in_batches else ():
            del row["line_items"]  # the sync action takes headers; lines need the ids that it answers
        values = [(place, row["invoice_number"], json.dumps(row)) for place, row in enumerate(rows, 1)]
        table.executemany("insert into bills values (?, ?, ?)", values)
        table.commit()
        table.close()

    def _sync(self, url: str) -> str:
        if self.in_batches:
            place, method = f"/rest/v1.0/projects/{PROJECT}/direct_costs/sync", "PATCH"
            body = (
                "  body_mode: batch\n  batch_template: |\n"
                '    {"updates": [{% for row in rows %}{{ row.body }}{% if not loop.last %}, {% endif %}{% endfor %}]}\n'
            )
        else:
            place, method = f"/rest/v1.1/projects/{PROJECT}/direct_costs", "POST"
            body = '  body_template: |\n    {"direct_cost": {{ row.body }}}\n'
        return (
            f"name: costs\nmodel: ref('bills')\ndestination:\n  type: rest_api\n  url: {url}{place}\n"
            f"  method: {method}\n  headers:\n    Content-Type: application/json\n"
            f'    Procore-Company-Id: "{firm.COMPANY}"\n'
            f"  auth:\n    type: oauth2_client_credentials\n    token_url: {url}/oauth/token\n"
            "    client_id_env: PROCORE_CLIENT_ID\n    client_secret_env: PROCORE_CLIENT_SECRET\n"
            f"{body}"
            "sync:\n  mode: incremental\n  cursor_field: seq\n  on_error: skip\n"
            "  rate_limit:\n    requests_per_second: 100\n  dlq:\n    enabled: true\n  batch_size: 50\n"
        )

    def run(self, kill_when: KillWhen = None) -> Told:
        """`drt run`, then `drt retry` for what it queued as failed."""
        return self._run([], kill_when)

    def replay(self) -> Told:
        """A backfill: the watermark is set back to the start."""
        return self._run(["--cursor-value", "0"], None)

    def _run(self, more: Sequence[str], kill_when: KillWhen) -> Told:
        command: list[str | Path] = [self.program, "run", "--output", "json", *more]
        ended = run_tool(command, self.cell, environment=self.environment, kill_when=kill_when)
        if ended.code is None:
            return Told(False, silent=True)
        queued = self._queued()
        if queued:
            run_tool([self.program, "retry", "costs"], self.cell, environment=self.environment)
            queued = self._queued()
            words = str(sorted(queued.items())[:1])
            return Told(not queued, frozenset(queued), words=words)
        return Told(ended.code == 0, words=(ended.out + ended.err)[-300:])

    def _queued(self) -> dict[str, str]:
        """Its dead letters: number and error."""
        path = self.cell.folder / ".drt" / "dlq" / "costs.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return {row["record"]["invoice_number"]: row["error_message"] for row in rows}


def line_code(cell: Cell) -> int:
    """Procore's id of the budget code of every line, as a person would look it up."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    token = call("POST", f"{cell.procore.url}/oauth/token", form)["access_token"]
    header = {"Authorization": f"Bearer {token}", "Procore-Company-Id": str(firm.COMPANY)}
    url = f"{cell.procore.url}/rest/v1.0/projects/{PROJECT}/work_breakdown_structure/wbs_codes"
    return next(int(row["id"]) for row in call("GET", url, None, header) if row["flat_code"] == LINE_CODE)
