"""Both sandbox servers with the fixture firm, and a runner for the peers' scripts."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector_tests.rig import Control, Rig, firm, open_rig
from ml_connector_tests.sandbox.conftest import samples  # noqa: F401 - the recorded answers, as a fixture

_SCRIPTS = Path(__file__).parent / "peer_scripts"
_SECONDS = 40

Peer = Callable[..., Any]
"""`peer(script, *arguments, given="")` runs a script in the peers' environment: the JSON that it printed."""


@dataclass(frozen=True)
class Firm:
    """The control interfaces of the two servers that hold one firm."""

    qbo: Control
    procore: Control


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firm]:
    """The fixture firm, fresh for each file of tests."""
    folder = tmp_path_factory.mktemp("sandbox")
    servers = [open_qbo(directory=folder), open_server(ProcoreVendor, name="procore", directory=folder)]
    for server in servers:
        server.start()
    opened = Firm(*(Control(server.url) for server in servers))
    firm(opened.qbo, opened.procore)
    yield opened
    for server in servers:
        server.stop()


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[Rig]:
    """The whole way from QuickBooks to Procore, with the fixture firm."""
    opened = open_rig(tmp_path, database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def peer(peers_python: Path) -> Peer:
    """Runs a peer's script. A script that fails fails the test with its own words."""

    def run(script: str, *arguments: str, given: str = "") -> Any:
        ended = subprocess.run(
            [peers_python, "-I", _SCRIPTS / script, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            # No proxies and no settings of this machine; oauthlib asks for the word that plain HTTP is meant.
            env={"PATH": os.defpath, "OAUTHLIB_INSECURE_TRANSPORT": "1"},
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run
