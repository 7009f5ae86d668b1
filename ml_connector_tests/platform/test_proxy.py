"""T3, T4, T11: the shipped nginx configuration in front of Dagster's real web server; every attack is tried on both."""

import base64
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ml_connector_tests.cli.shell import wait_for
from ml_connector_tests.cli.test_connect import free_port

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "nginx" / "ml-connector.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
HOST = "ml-connector.example.com"
VIEW = f"view.{HOST}"
OWN = f"https://{HOST}"
LOGIN = {"Authorization": "Basic " + base64.b64encode(b"anna:correct horse").decode()}
CHANGE = "mutation { setNuxSeen }"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes !!").decode(),
    "Sec-WebSocket-Protocol": "graphql-ws",
}
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(NGINX is None, reason="needs nginx: `make test` as root installs it"),
]


@dataclass
class Door:
    """The web server as it stands, the proxy before it, and what came to a stand-in for receiver and consent page."""

    dagster: int
    viewer: int
    proxy: int
    behind: list[tuple[str, str, dict[str, str]]]

    def direct(self, method: str, target: str, headers: Mapping[str, str] = {}, body: bytes = b"") -> int:
        """The status of a call past the proxy."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.dagster, timeout=30)) as connection:
            connection.request(method, target, body or None, dict(headers))
            return connection.getresponse().status

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] = {},
        body: bytes = b"",
        *,
        host: str = HOST,
    ) -> tuple[int, str, http.client.HTTPMessage]:
        """A call through the proxy."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.proxy), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=VIEW if host == VIEW else HOST) as sealed,
        ):
            connection = http.client.HTTPConnection(host)
            connection.sock = sealed
            connection.request(method, target, body or None, dict(headers))
            reply = connection.getresponse()
            content = "" if reply.status == 101 else reply.read().decode("utf-8", "replace")
            return reply.status, content, reply.headers

    def graphql(self, query: str, **headers: str) -> tuple[int, str]:
        """A question of a page of ours, or of another one."""
        asked = {"Content-Type": "application/json", **LOGIN, **headers}
        return self.ask("POST", "/graphql", asked, json.dumps({"query": query}).encode())[:2]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("proxy")
    behind: list[tuple[str, str, dict[str, str]]] = []
    stand_in = ThreadingHTTPServer(("127.0.0.1", 0), _stand_in(behind))
    Thread(target=stand_in.serve_forever, daemon=True).start()
    opened = Door(free_port(), free_port(), free_port(), behind)
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (home / "workspace.yaml").write_text("load_from: []\n")
    servers: list[subprocess.Popen[bytes]] = []
    with (folder / "dagster.log").open("wb") as log:
        for port, options in ((opened.dagster, []), (opened.viewer, ["--read-only"])):
            servers.append(subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port),
                 "-w", str(home / "workspace.yaml"), *options],
                cwd=home, env={"DAGSTER_HOME": str(home), "PATH": "/usr/bin:/bin"}, stdout=log, stderr=log,
            ))  # fmt: skip
            wait_for(lambda port=port: _listens(port), seconds=90, saying=(folder / "dagster.log").read_text)  # type: ignore[misc]
    proxy = _nginx(folder, opened, stand_in.server_address[1])
    try:
        wait_for(lambda: _listens(opened.proxy), seconds=90, saying=(folder / "error.log").read_text)
        yield opened
    finally:
        for process in (proxy, *servers):
            process.terminate()
            process.wait(30)
        stand_in.shutdown()
        stand_in.server_close()


def _stand_in(behind: list[tuple[str, str, dict[str, str]]]) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            self.do_GET()

        def do_GET(self) -> None:
            behind.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    return Answer


def _nginx(folder: Path, door: Door, stand_in: int) -> "subprocess.Popen[bytes]":
    """The shipped file with other ports and places, and nothing else changed."""
    key, certificate, passwords = folder / "key.pem", folder / "certificate.pem", folder / "passwords"
    viewers = folder / "viewers"
    _certificate(key, certificate)
    passwords.write_text("anna:{PLAIN}correct horse\n")
    viewers.write_text("vera:{PLAIN}only looking\n")
    text = SHIPPED.read_text()
    for shipped, here in (
        ("127.0.0.1:3000", f"127.0.0.1:{door.dagster}"),
        ("127.0.0.1:3001", f"127.0.0.1:{door.viewer}"),
        ("127.0.0.1:8765", f"127.0.0.1:{stand_in}"),
        ("127.0.0.1:8766", f"127.0.0.1:{stand_in}"),
        ("listen 443", f"listen 127.0.0.1:{door.proxy}"),
        ("/etc/ssl/ml-connector/fullchain.pem", str(certificate)),
        ("/etc/ssl/ml-connector/privkey.pem", str(key)),
        ("auth_basic_user_file /etc/nginx/ml-connector.htpasswd", f"auth_basic_user_file {passwords}"),
        (
            "auth_basic_user_file /etc/nginx/ml-connector-viewers.htpasswd",
            f"auth_basic_user_file {viewers}",
        ),
        ("/var/log/nginx/ml-connector.log", str(folder / "access.log")),
    ):
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    places = " ".join(
        f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; user root; worker_processes 1; pid {folder / 'pid'}; error_log {folder / 'error.log'};\n"
        f"events {{ worker_connections 512; }}\nhttp {{ {places}\n{text}\n}}\n"
    )
    assert NGINX is not None
    checked = subprocess.run(
        [NGINX, "-t", "-q", "-c", str(main), "-e", str(folder / "error.log")],
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr.decode() + (folder / "error.log").read_text()
    return subprocess.Popen(
        [NGINX, "-c", str(main), "-e", str(folder / "error.log")], stderr=subprocess.DEVNULL
    )


def _certificate(key_file: Path, certificate_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_person_who_logs_in_sees_the_pages_and_may_ask_and_change(door: Door) -> None:
    assert door.ask("GET", "/", LOGIN)[0] == 200
    status, answer = door.graphql("{ version }", Origin=OWN)
    assert (status, json.loads(answer)) == (200, {"data": {"version": version("dagster-webserver")}})
    assert door.graphql(CHANGE, Origin=OWN)[0] == 200
    status, _, headers = door.ask("GET", "/graphql", {**LOGIN, **UPGRADE, "Origin": OWN})
    assert (status, headers["Upgrade"].lower()) == (101, "websocket")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YW5uYTp3cm9uZw=="}], ids=["none", "wrong"])
@pytest.mark.parametrize("target", ["/", "/runs", "/server_info", "/logs/x", "/download_debug/x", "/graphql"])
def test_T4_nobody_gets_in_without_the_login(target: str, headers: dict[str, str], door: Door) -> None:
    method = "POST" if target == "/graphql" else "GET"
    assert door.ask(method, target, {**headers, "Origin": OWN})[0] == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_T4_a_change_by_get_works_on_dagster_alone_and_not_through_the_proxy(method: str, door: Door) -> None:
    target = f"/graphql?query={quote(CHANGE)}"
    foreign = {"Origin": "https://evil.example", "Host": "evil.example"}
    if method == "GET":
        assert door.direct(method, target, foreign) == 200, "without the proxy the attack works"
    for headers in ({}, LOGIN, {**LOGIN, "Origin": OWN}, {**LOGIN, "Upgrade": "h2c", "Origin": OWN}):
        assert door.ask(method, target, headers)[0] == 403
    for spelled in ("//graphql", "/%67raphql", "/x/../graphql", "/./graphql"):
        assert door.ask(method, f"{spelled}?query={quote(CHANGE)}", LOGIN)[0] == 403, spelled


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"http://{HOST}", f"{OWN}.evil.example", f"{OWN}:8443", "null"]
)
def test_T4_another_pages_origin_is_refused_even_with_the_login_of_the_browser(
    origin: str, door: Door
) -> None:
    plain, body = {"Content-Type": "text/plain", "Origin": origin}, json.dumps({"query": CHANGE}).encode()
    assert (
        door.direct(
            "POST",
            "/graphql",
            {**plain, "Content-Type": "application/json"},
            body,
        )
        == 200
    )
    assert door.graphql(CHANGE, Origin=origin)[0] == 403
    assert door.ask("POST", "/graphql", {**LOGIN, **plain}, CHANGE.encode())[0] == 403
    assert door.ask("GET", "/graphql", {**LOGIN, **UPGRADE, "Origin": origin})[0] == 403


def test_T4_a_websocket_must_name_our_own_pages(door: Door) -> None:
    assert door.direct("GET", "/graphql", {**UPGRADE, "Origin": "https://evil.example"}) == 101
    assert door.ask("GET", "/graphql", {**LOGIN, **UPGRADE})[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost", f"{HOST}.evil.example"])
def test_T4_another_host_is_refused_as_in_dns_rebinding(host: str, door: Door) -> None:
    assert door.direct("GET", "/server_info", {"Host": host}) == 200
    assert door.ask("GET", "/server_info", LOGIN, host=host)[0] == 403


@pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
def test_T4_nobody_can_make_a_day_look_posted(kind: str, door: Door) -> None:
    target = f"/report_asset_{kind}/acme/procore/direct_costs?partition=2026-03-01&check_name=x&passed=true"
    assert door.direct("POST", target) == 200, "without the proxy the attack works"
    for spelled in (target, f"/{target}", target.replace("/r", "/%72", 1), f"/x/..{target}"):
        assert door.ask("POST", spelled, {**LOGIN, "Origin": OWN})[0] == 403, spelled


VIEWER = {"Authorization": "Basic " + base64.b64encode(b"vera:only looking").decode()}
OWN_VIEW = f"https://{VIEW}"
CHANGES = {
    "deleteRun": 'mutation { answer: deleteRun(runId: "x") { __typename } }',
    "terminateRun": 'mutation { answer: terminateRun(runId: "x") { __typename } }',
    "wipeAssets": "mutation { answer: wipeAssets(assetPartitionRanges: []) { __typename } }",
    "setConcurrencyLimit": 'mutation { setConcurrencyLimit(concurrencyKey: "acme", limit: 9) }',
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_T4_a_viewer_may_look_and_every_change_is_refused(change: str, door: Door) -> None:
    def viewed(query: str, **headers: str) -> tuple[int, str]:
        asked = {"Content-Type": "application/json", **VIEWER, **headers}
        return door.ask("POST", "/graphql", asked, json.dumps({"query": query}).encode(), host=VIEW)[:2]

    status, answer = viewed("{ version }", Origin=OWN_VIEW)
    assert (status, json.loads(answer)) == (200, {"data": {"version": version("dagster-webserver")}})
    status, answer = viewed(change, Origin=OWN_VIEW)
    assert "Unauthorized" in answer or "permission" in answer, answer
    assert "Unauthorized" not in door.graphql(change, Origin=OWN)[1], "who may change is not refused"
    assert viewed(change, Origin=OWN)[0] == viewed(change, Origin="https://evil.example")[0] == 403
    assert door.ask("GET", f"/graphql?query={quote(change)}", VIEWER, host=VIEW)[0] == 403


def test_T4_a_viewers_name_opens_no_other_door(door: Door) -> None:
    assert door.ask("GET", "/", VIEWER, host=VIEW)[0] == 200
    assert door.ask("GET", "/", host=VIEW)[0] == door.ask("GET", "/", LOGIN, host=VIEW)[0] == 401
    assert door.ask("GET", "/", VIEWER)[0] == 401
    target = "/report_asset_materialization/acme/procore/direct_costs?partition=2026-03-01"
    assert door.direct("POST", target, {"Host": VIEW}) == 200
    for path in (target, "/download_debug/x", "/logs/x"):
        assert door.ask("POST", path, {**VIEWER, "Origin": OWN_VIEW}, host=VIEW)[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"])
def test_other_methods_do_not_pass(method: str, door: Door) -> None:
    assert door.ask(method, "/runs", LOGIN)[0] in (403, 405)


def test_webhooks_pass_without_a_login_and_with_the_senders_true_address(door: Door) -> None:
    door.behind.clear()
    sent = {"intuit-signature": "c2ln", "X-Forwarded-For": "6.6.6.6", "Authorization": "Basic x"}
    assert door.ask("POST", "/webhooks/qbo", sent, b"[]")[0] == 200
    ((method, path, headers),) = door.behind
    assert (method, path, headers["intuit-signature"]) == ("POST", "/webhooks/qbo", "c2ln")
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert "authorization" not in headers
    door.behind.clear()
    assert door.ask("GET", "/webhooks/qbo")[0] == 403
    assert door.ask("POST", "/webhooks/qbo", {}, b"x" * (1024 * 1024 + 1))[0] == 413
    assert door.ask("POST", "/webhooks/qbo/x", {}, b"[]")[0] in (401, 403)
    assert door.ask("GET", "/health")[0] == 401
    assert door.behind == []


def test_T11_the_code_of_a_consent_passes_and_stands_in_no_log(
    door: Door, tmp_path_factory: pytest.TempPathFactory
) -> None:
    door.behind.clear()
    assert door.ask("GET", "/callback?code=kanarienvogel&state=s&realmId=1")[0] == 200
    assert door.ask("GET", "/runs?q=zebrafink", LOGIN)[0] == 200
    assert [path for _, path, _ in door.behind] == ["/callback?code=kanarienvogel&state=s&realmId=1"]
    assert door.ask("POST", "/callback/confirm", {}, b"token=t&answer=yes")[0] == 200
    assert door.ask("DELETE", "/callback/confirm")[0] == 403
    folder = next(
        path for path in tmp_path_factory.getbasetemp().glob("proxy*") if (path / "access.log").exists()
    )
    written = (folder / "access.log").read_text()
    assert '"anna"' in written
    for word in ("kanarienvogel", "zebrafink", "correct horse"):
        assert word not in written


def test_pages_are_not_kept_not_framed_and_name_no_version(door: Door) -> None:
    _, _, headers = door.ask("GET", "/", LOGIN)
    assert headers["Cache-Control"] == "no-cache, no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["Server"] == "nginx"


def test_T3_half_open_requests_are_closed_and_a_true_one_is_answered_meanwhile(door: Door) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held: list[Any] = []
    for _ in range(40):
        sock = context.wrap_socket(socket.create_connection(("127.0.0.1", door.proxy)), server_hostname=HOST)
        sock.sendall(f"POST /webhooks/qbo HTTP/1.1\r\nHost: {HOST}\r\nX-Slow".encode())
        held.append(sock)
    assert door.ask("POST", "/webhooks/qbo", {}, b"[]")[0] == 200
    deadline = time.monotonic() + 60
    for sock in held:
        sock.settimeout(max(0.1, deadline - time.monotonic()))
        assert sock.recv(1024) == b""  # closed by the proxy; a timeout would raise
        sock.close()
