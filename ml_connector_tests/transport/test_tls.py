"""TLS: certificates are checked before a byte of the request leaves, and the deadline holds there, too."""

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ml_connector.errors import OutcomeUnknown, TransientError
from ml_connector.transport.call import Call
from ml_connector.transport.retry import Kind
from ml_connector.transport.session import Bounds, VendorSession
from ml_connector.transport.wire import Timeouts
from ml_connector_tests.transport.doubles import FakeTime, Tokens, session

WRITE = Call("POST", "/rest/v1.0/vendors", Kind.WRITE, content=b"{}", content_type="application/json")
ONE_TRY = Bounds(Timeouts(connect=1.0, read=0.4, total=0.8), patience=0.0)
HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 300\r\n\r\n"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and self-signed certificate of 127.0.0.1 in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form) + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def heard() -> list[bytes]:
    """What the server was sent after the handshake."""
    return []


@pytest.fixture
def origin(certificate: Path, heard: list[bytes]) -> Iterator[str]:
    """A TLS server that answers every request with a body of one byte at a time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context, heard, ended))
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


def test_a_certificate_that_is_not_trusted_ends_the_call_before_the_token_is_sent(
    origin: str, heard: list[bytes]
) -> None:
    with pytest.raises(TransientError, match="not sent"):
        session(origin, FakeTime(), tokens=Tokens(), bounds=ONE_TRY).send(WRITE)
    assert heard == []


def test_F03_the_total_deadline_holds_over_tls(origin: str, heard: list[bytes], certificate: Path) -> None:
    with pytest.raises(OutcomeUnknown):
        _trusting(session(origin, FakeTime(), bounds=ONE_TRY), certificate).send(WRITE)
    assert heard[0].startswith(b"POST /rest/v1.0/vendors ")


def test_a_whole_answer_comes_over_tls(origin: str, certificate: Path) -> None:
    patient = Bounds(Timeouts(connect=1.0, read=0.4, total=60.0), patience=0.0)
    assert _trusting(session(origin, FakeTime(), bounds=patient), certificate).send(WRITE).body == []


def _trusting(vendor: VendorSession, certificate: Path) -> VendorSession:
    vendor._wire._session.verify = str(certificate)
    return vendor


def _serve(
    listener: socket.socket, context: ssl.SSLContext, heard: list[bytes], ended: threading.Event
) -> None:
    while True:
        peer, _ = listener.accept()
        if ended.is_set():
            peer.close()
            return
        with peer:
            try:
                with context.wrap_socket(peer, server_side=True) as tls:
                    heard.append(tls.recv(65_536))
                    for byte in HEAD + b"[" + b" " * 298 + b"]":
                        tls.sendall(bytes([byte]))
                        ended.wait(0.01)
            except OSError:  # the client hung up
                continue
