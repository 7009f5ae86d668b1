"""The webhook endpoint as a process of its own, driven over loopback."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from ml_connector_tests.receiver.conftest import VERIFIER_TOKEN, Receiver, prepare, running_receiver, sign

# The public signature vector: token, body and header of one post.
VECTOR_BODY = (
    b'{"eventNotifications":[{"realmId":"1185883450","dataChangeEvent":{"entities":[{"name":"Customer","id":"1",'
    b'"operation":"Create","lastUpdated":"2015-10-05T14:42:19-0700"}]}}]}'
)
VECTOR_SIGNATURE = "JC2GUwciPmRBwEO7WvrRmKqu9tGOKL8FFallocTFi8Q="
HEX_SIGNATURE = base64.b64decode(VECTOR_SIGNATURE).hex()
# A body whose signature has letters that the other alphabet of base64 writes otherwise.
OTHER_ALPHABET_BODY = next(raw for raw in (b"[%d]" % n for n in range(100)) if {*"+/"} <= {*sign(raw)})


def cloud_event(
    number: int = 1, *, realm: str = "1185883450", kind: str = "qbo.bill.updated.v1"
) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"0d0f2b5e-7a60-4a4d-9c02-{number:012}",
        "source": "intuit.opaque",
        "type": kind,
        "time": "2026-05-19T23:40:02.114000221Z",
        "intuitentityid": str(number),
        "intuitaccountid": realm,
        "data": {},
    }


def body(*events: dict[str, object]) -> bytes:
    return json.dumps(events).encode()


def start_and_end(home: Path, *, port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ml_connector.receiver.main", "--home", str(home), "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_genuine_post_becomes_one_file_with_the_contracts_name(receiver: Receiver) -> None:
    assert receiver.post(VECTOR_BODY, signature=VECTOR_SIGNATURE) == 200
    (name,) = receiver.names()
    assert re.fullmatch(r"acme__\d{8}T\d{6}Z__[0-9a-f]{16}\.json", name)
    (part,) = receiver.parts()
    assert part == {
        "realm_id": "1185883450",
        "events": [
            {
                "entity": "Customer",
                "id": "1",
                "verb": "created",
                "at": "2015-10-05T21:42:19+00:00",
                "deleted_id": None,
            }
        ],
    }


def test_S92_the_same_webhook_five_times_at_once_is_one_file(receiver: Receiver) -> None:
    raw = body(cloud_event(4471))
    with ThreadPoolExecutor(5) as senders:
        assert list(senders.map(receiver.post, [raw] * 5)) == [200] * 5
    assert len(receiver.names()) == 1


def test_S92_a_repetition_of_what_was_done_already_is_dropped(receiver: Receiver) -> None:
    raw = body(cloud_event(4471))
    receiver.post(raw)
    (name,) = receiver.names()
    done = receiver.home / "done"
    (receiver.home / "inbox" / name).rename(done / name)
    assert receiver.post(raw) == 200
    assert receiver.names() == []


def test_S92_a_repetition_with_the_events_in_another_order_is_dropped(receiver: Receiver) -> None:
    first, second = cloud_event(1), cloud_event(2)
    receiver.post(body(first, second))
    receiver.post(body(second, first))
    assert len(receiver.names()) == 1


def test_S92_another_change_of_the_same_bill_is_not_dropped(receiver: Receiver) -> None:
    receiver.post(body(cloud_event(1)))
    receiver.post(body(cloud_event(1) | {"time": "2026-05-19T23:40:03Z"}))
    assert len(receiver.names()) == 2


@pytest.mark.parametrize(
    ("raw", "signature"),
    [
        (VECTOR_BODY, ""),
        (VECTOR_BODY, "bm90IGEgc2lnbmF0dXJl"),
        (VECTOR_BODY, VECTOR_SIGNATURE[:-2]),
        (VECTOR_BODY, VECTOR_SIGNATURE.rstrip("=")),
        (VECTOR_BODY, VECTOR_SIGNATURE[::-1]),
        (VECTOR_BODY, sign(VECTOR_BODY, VERIFIER_TOKEN.upper())),
        (VECTOR_BODY.replace(b'"1"', b'"2"'), VECTOR_SIGNATURE),
        (json.dumps(json.loads(VECTOR_BODY)).encode(), VECTOR_SIGNATURE),
        (b"{not json", VECTOR_SIGNATURE),
        (b"", VECTOR_SIGNATURE),
        (VECTOR_BODY, HEX_SIGNATURE),
        (OTHER_ALPHABET_BODY, sign(OTHER_ALPHABET_BODY).replace("+", "-").replace("/", "_")),
        (VECTOR_BODY, f"{VECTOR_SIGNATURE}, {VECTOR_SIGNATURE}"),
        (VECTOR_BODY, "A" * 8000),
        (VECTOR_BODY, sign(VECTOR_BODY, "")),
    ],
    ids=[
        *("none", "wrong", "cut", "unpadded", "reversed", "other key", "altered", "written anew", "not JSON"),
        *("empty body", "in hex", "another base64", "twice", "long", "no key"),
    ],
)
def test_S94_F32_T1_a_forged_or_altered_webhook_is_refused_and_leaves_nothing(
    receiver: Receiver,
    raw: bytes,
    signature: str,
    measured: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    assert receiver.post(raw, signature=signature) == 401
    assert receiver.names() == []
    measured(f"F32 forged ({request.node.callspec.id}): {len(receiver.names())} accepted")
    assert receiver.post(VECTOR_BODY, signature=VECTOR_SIGNATURE) == 200
    assert len(receiver.names()) == 1
    log = receiver.log.read_text()
    assert '"source": "127.0.0.1"' in log
    assert "Customer" not in log


def test_S94_refusals_do_not_flood_the_log(receiver: Receiver) -> None:
    for _ in range(60):
        assert receiver.post(VECTOR_BODY, signature="x") == 401
    assert 20 <= receiver.log.read_text().count("webhook_refused") <= 40  # the minute may turn once


def test_S95_both_forms_of_the_same_event_are_the_same_part(receiver: Receiver) -> None:
    entity = {"name": "BillPayment", "id": "104", "operation": "Void", "lastUpdated": "2026-02-03T17:20:11Z"}
    legacy = {"eventNotifications": [{"realmId": "1185883450", "dataChangeEvent": {"entities": [entity]}}]}
    event = cloud_event(104, kind="qbo.billpayment.void.v1") | {"time": "2026-02-03T17:20:11.000000000Z"}
    assert receiver.post(json.dumps(legacy).encode()) == 200
    names = receiver.names()
    assert receiver.post(body(event)) == 200
    assert receiver.names() == names
    assert receiver.parts()[0]["events"][0]["verb"] == "voided"


def test_F37_T9_several_companies_in_one_post_each_get_their_own_and_the_unknown_one_is_kept(
    receiver: Receiver, measured: Callable[[str], None]
) -> None:
    raw = body(
        cloud_event(1),
        cloud_event(2, realm="9341457021722202"),
        cloud_event(3, realm="777"),
        cloud_event(4, kind="qbo.spaceship.launched.v2"),
    )
    assert receiver.post(raw) == 200
    found = {name.split("__")[0]: part for name, part in zip(receiver.names(), receiver.parts(), strict=True)}
    assert {name: [event["id"] for event in part["events"]] for name, part in found.items()} == {
        "acme": ["1", "4"],
        "borealis": ["2"],
        "unknown": ["3"],
    }
    measured(f"F37 four events of three companies in one post: {len(found)} parts, 1 of them kept as unknown")
    assert found["acme"]["events"][1] | {"at": None} == {
        "entity": "spaceship", "id": "4", "verb": "launched", "at": None, "deleted_id": None
    }  # fmt: skip


def test_F37_the_same_events_of_two_unknown_companies_are_two_files(receiver: Receiver) -> None:
    receiver.post(body(cloud_event(1, realm="777"), cloud_event(1, realm="778")))
    assert len(receiver.names()) == 2


def test_a_company_that_is_connected_later_is_known_without_a_restart(receiver: Receiver) -> None:
    receiver.post(body(cloud_event(1, realm="777")))
    realms = receiver.home / "receiver" / "realms.json"
    realms.write_text(json.dumps(json.loads(realms.read_text()) | {"777": "newcomer"}))
    receiver.post(body(cloud_event(1, realm="777")))
    assert [name.split("__")[0] for name in receiver.names()] == ["newcomer", "unknown"]


@pytest.mark.parametrize("broken", ["{", "[]", '{"1185883450": "../acme"}', '{"1185883450": "a__b"}'])
def test_a_broken_list_of_companies_never_replaces_a_good_one(receiver: Receiver, broken: str) -> None:
    (receiver.home / "receiver" / "realms.json").write_text(broken)
    assert receiver.post(VECTOR_BODY) == 200
    assert receiver.names()[0].startswith("acme__")
    assert "last_good_one_stays" in receiver.log.read_text()


def test_a_rotated_verifier_token_is_taken_without_a_restart(receiver: Receiver) -> None:
    (receiver.home / "receiver" / "verifier_token").write_text("another-token\n")
    assert receiver.post(VECTOR_BODY, signature=VECTOR_SIGNATURE) == 401
    assert receiver.post(VECTOR_BODY, signature=sign(VECTOR_BODY, "another-token")) == 200


def test_a_genuine_post_in_an_unknown_form_is_kept_for_a_person(receiver: Receiver) -> None:
    assert receiver.post(b'{"surprise": 1}') == 200
    assert receiver.post(b"\xff[[[") == 200
    assert all(name.startswith("unknown__") for name in receiver.names())
    assert {part["body"] for part in receiver.parts()} == {'{"surprise": 1}', "\\xff[[["}
    assert receiver.log.read_text().count("webhook_form_unknown") == 2


def test_F33_a_body_just_below_the_cap_is_taken_and_one_above_it_is_not(receiver: Receiver) -> None:
    events = [cloud_event(number) for number in range(4_000)]
    raw = body(*events)
    assert len(raw) < 1024 * 1024
    assert receiver.post(raw.ljust(1024 * 1024)) == 200
    assert len(receiver.parts()[0]["events"]) == 4_000
    assert receiver.post(raw.ljust(1024 * 1024 + 1)) == 413
    assert len(receiver.names()) == 1


def test_F33_an_endless_body_without_a_length_is_cut_off(receiver: Receiver) -> None:
    head = b"POST /webhooks/qbo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as sender:
        sender.sendall(head)
        for _ in range(17):
            sender.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        assert sender.recv(100).startswith(b"HTTP/1.1 413")


def test_F33_deep_json_is_not_a_crash(receiver: Receiver) -> None:
    assert receiver.post(b"[" * 100_000) == 200
    assert receiver.names()[0].startswith("unknown__")


def test_F33_both_a_length_and_chunks_never_make_a_second_request(receiver: Receiver) -> None:
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    head = (
        b"POST /webhooks/qbo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" % (len(smuggled) + 5)
    )
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as sender:
        sender.sendall(head + b"0\r\n\r\n" + smuggled)
        answer = b"".join(iter(lambda: sender.recv(4096), b""))
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))
    assert answer.count(b"HTTP/1.1") == 1


def test_F34_a_body_that_drips_is_given_up(receiver: Receiver) -> None:
    head = b"POST /webhooks/qbo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=30) as sender:
        sender.sendall(head + b"x")
        assert sender.recv(100).startswith(b"HTTP/1.1 408")


def test_F35_F42_a_disk_that_refuses_is_a_503_and_the_repetition_arrives(receiver: Receiver) -> None:
    receiver.fill_the_disk()
    assert receiver.post(VECTOR_BODY) == 503
    assert receiver.names() == [], "no part of a file is left"
    assert receiver.post(VECTOR_BODY, signature="x") == 401
    receiver.free_the_disk()
    assert receiver.post(VECTOR_BODY) == 200
    assert len(receiver.names()) == 1


def test_F35_folders_that_were_exchanged_are_taken_by_a_new_worker(receiver: Receiver) -> None:
    inbox = receiver.home / "inbox"
    shutil.rmtree(inbox)
    assert receiver.post_until(VECTOR_BODY) == 200
    assert len(receiver.names()) == 1
    assert (receiver.home / "done").is_dir()


def test_a_reader_of_the_inbox_sees_whole_files_only(receiver: Receiver) -> None:
    bodies = [body(*(cloud_event(batch * 1000 + number) for number in range(200))) for batch in range(30)]
    seen = 0
    with ThreadPoolExecutor(4) as senders:
        answers = [senders.submit(receiver.post, raw) for raw in bodies]
        while not all(answer.done() for answer in answers):
            for path in (receiver.home / "inbox").glob("*.json"):
                assert len(json.loads(path.read_text())["events"]) == 200
                seen += 1
    assert [answer.result() for answer in answers] == [200] * 30
    assert seen > 0
    assert len(receiver.names()) == 30
    assert all(name.endswith(".json") for name in receiver.names())


def test_drafts_of_a_killed_receiver_are_cleared_at_the_start(
    home: Path, request: pytest.FixtureRequest
) -> None:
    (home / "inbox").mkdir()
    (home / "inbox" / ".acme__20260101T000000Z__0000000000000000.json.draft").write_text("{")
    receiver: Receiver = request.getfixturevalue("receiver")
    assert receiver.names() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("POST", "/health", 405),
        ("GET", "/webhooks/qbo", 405),
        ("PUT", "/webhooks/qbo", 405),
        ("DELETE", "/webhooks/qbo", 405),
        ("TRACE", "/webhooks/qbo", 405),
        ("POST", "/webhooks/other", 404),
        ("GET", "/", 404),
        ("GET", "/openapi.json", 404),
    ],
)
def test_there_are_two_paths_with_one_method_each(
    receiver: Receiver, method: str, path: str, status: int
) -> None:
    answer = requests.request(method, f"{receiver.url}{path}", timeout=10, allow_redirects=False)
    assert answer.status_code == status


def test_a_forwarded_address_is_not_believed(receiver: Receiver) -> None:
    headers = {"intuit-signature": "x", "X-Forwarded-For": "203.0.113.9"}
    requests.post(f"{receiver.url}/webhooks/qbo", data=b"{}", headers=headers, timeout=10)
    assert "203.0.113.9" not in receiver.log.read_text()


@pytest.mark.parametrize(
    ("mode", "content", "says"),
    [(0o644, "token", "0600"), (0o640, "token", "0600"), (0o600, "\n", "empty"), (None, "", "missing")],
)
def test_a_verifier_token_that_others_can_read_or_that_is_not_there_stops_the_start(
    tmp_path: Path, mode: int | None, content: str, says: str
) -> None:
    prepare(tmp_path)
    token = tmp_path / "receiver" / "verifier_token"
    token.write_text(content)
    if mode is None:
        token.unlink()
    else:
        token.chmod(mode)
    done = start_and_end(tmp_path, port=0)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_in_a_sentence(receiver: Receiver) -> None:
    done = start_and_end(receiver.home, port=receiver.port)
    assert done.returncode == 2
    assert "Address already in use" in done.stderr
    assert receiver.post(VECTOR_BODY) == 200


@pytest.mark.processes
def test_K2_a_receiver_killed_with_minus_9_frees_its_port_and_loses_nothing_it_acknowledged(
    home: Path, tmp_path: Path
) -> None:
    with running_receiver(home, tmp_path / "first.log") as first:
        assert first.post(VECTOR_BODY) == 200
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        with running_receiver(home, tmp_path / "second.log", port=first.port) as second:
            assert second.post(VECTOR_BODY) == 200
            assert len(second.names()) == 1


def test_the_verifier_token_and_the_events_reach_no_log(receiver: Receiver) -> None:
    receiver.post(body(cloud_event(987654321)))
    receiver.post(b'{"surprise": "canary-in-the-body"}')
    log = receiver.log.read_text()
    assert "webhook_stored" in log
    for secret in (VERIFIER_TOKEN, "987654321", "canary-in-the-body"):
        assert secret not in log
