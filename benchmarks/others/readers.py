"""The readers: how each is configured, what it keeps between runs, and the rows that it gives out."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import firm
from benchmarks.others.ground import SCRIPTS, Cell, Ended, run_tool
from benchmarks.others.judge import Told
from benchmarks.others.tools import CLIENT, REFRESH, SECRET, KillWhen, python_of


@dataclass
class Reader:
    """What readers have in common: one command, its rows, and what it keeps between runs."""

    cell: Cell

    def __post_init__(self) -> None:
        self.prepare()

    def prepare(self) -> None:
        """Write the configuration."""
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        """The command of a run."""
        raise NotImplementedError

    def keep(self, ended: Ended) -> tuple[tuple[str, str], ...]:
        """Keep what the next run needs, and the rows of this one."""
        raise NotImplementedError

    def run(self, kill_when: KillWhen = None) -> Told:
        """One run."""
        ended = run_tool(self.command(), self.cell, kill_when=kill_when)
        rows = self.keep(ended)
        return Told(ended.code == 0, rows=rows, silent=ended.code is None, words=ended.err[-300:])

    def replay(self) -> Told:
        """Nothing has changed, and the schedule runs it again."""
        return self.run()

    def two_at_once(self) -> tuple[tuple[str, str], ...]:
        """Two runs that start together on one configuration; what both print is kept."""
        ended: list[Ended] = []

        def start() -> None:
            ended.append(run_tool(self.command(), self.cell))

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return tuple(row for one in ended for row in self.keep(one))


class Tap(Reader):
    """tap-quickbooks, with the state that its target would keep."""

    python = python_of(".venv-others-tap")
    streams = ("accounts", "bill_payments", "bills", "customers", "vendors")

    def prepare(self) -> None:
        config = {
            "start_date": "2026-01-01T00:00:00Z", "user_agent": "comparison", "realm_id": firm.REALM, "sandbox": "true",
            "client_id": CLIENT, "client_secret": SECRET, "refresh_token": REFRESH,
        }  # fmt: skip
        folder = self.cell.folder
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "state.json").write_text("{}")
        found = json.loads(run_tool([*self._base(), "--discover"], self.cell).out)
        for stream in found["streams"]:
            if stream["tap_stream_id"] in self.streams:
                root = next(row for row in stream["metadata"] if not row["breadcrumb"])
                root["metadata"]["selected"] = True
        (folder / "catalog.json").write_text(json.dumps(found))

    def _base(self) -> list[str | Path]:
        script = SCRIPTS / "tap_quickbooks_run.py"
        return [self.python, "-I", script, self.cell.qbo.url, "--config", "config.json"]

    def command(self) -> list[str | Path]:
        return [*self._base(), "--catalog", "catalog.json", "--state", "state.json"]

    def keep(self, ended: Ended) -> tuple[tuple[str, str], ...]:
        rows = []
        for message in messages(ended.out):
            if message["type"] == "STATE":
                (self.cell.folder / "state.json").write_text(json.dumps(message["value"]))
            elif message["type"] == "RECORD" and message["stream"] == "bills":
                rows.append((message["record"]["Id"], message["record"]["SyncToken"]))
        return tuple(rows)


class Airbyte(Reader):
    """airbyte-source-quickbooks, with the state and the configuration that its platform would keep."""

    python = python_of(".venv-others-airbyte")

    def prepare(self) -> None:
        config = {
            "start_date": "2026-01-01T00:00:00Z", "realm_id": firm.REALM, "sandbox": True, "client_id": CLIENT,
            "client_secret": SECRET, "refresh_token": REFRESH, "access_token": "none yet",
            "token_expiry_date": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        folder = self.cell.folder
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "state.json").write_text("[]")
        out = run_tool([*self._base("discover")], self.cell).out
        catalog = next(message["catalog"] for message in messages(out) if message["type"] == "CATALOG")
        chosen = {
            "sync_mode": "incremental",
            "destination_sync_mode": "append_dedup",
            "cursor_field": ["airbyte_cursor"],
            "primary_key": [["Id"]],
        }
        streams = [{"stream": row, **chosen} for row in catalog["streams"] if row["name"] == "bills"]
        (folder / "catalog.json").write_text(json.dumps({"streams": streams}))

    def _base(self, verb: str) -> list[str | Path]:
        script = SCRIPTS / "airbyte_quickbooks_run.py"
        return [self.python, "-I", script, self.cell.qbo.url, verb, "--config", "config.json"]

    def command(self) -> list[str | Path]:
        return [*self._base("read"), "--catalog", "catalog.json", "--state", "state.json"]

    def keep(self, ended: Ended) -> tuple[tuple[str, str], ...]:
        rows = []
        for message in messages(ended.out):
            if message["type"] == "STATE":
                (self.cell.folder / "state.json").write_text(json.dumps([message["state"]]))
            elif message["type"] == "CONTROL":
                config = message["control"]["connectorConfig"]["config"]
                (self.cell.folder / "config.json").write_text(json.dumps(config))
            elif message["type"] == "RECORD":
                rows.append((message["record"]["data"]["Id"], message["record"]["data"]["SyncToken"]))
        return tuple(rows)


class Script(Reader):
    """A home-made reader on python-quickbooks."""

    python = python_of(".venv-peers")

    def prepare(self) -> None:
        state = {"client_id": CLIENT, "client_secret": SECRET, "refresh_token": REFRESH, "since": ""}
        (self.cell.folder / "state.json").write_text(json.dumps(state))

    def command(self) -> list[str | Path]:
        return [
            self.python,
            "-I",
            SCRIPTS / "quickbooks_script.py",
            self.cell.qbo.url,
            firm.REALM,
            "state.json",
        ]

    def keep(self, ended: Ended) -> tuple[tuple[str, str], ...]:
        return tuple((row["Id"], row["SyncToken"]) for row in messages(ended.out))


def messages(out: str) -> Iterator[dict[str, Any]]:
    """The JSON lines among a tool's output; a line that a kill cut off is none."""
    for line in out.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
