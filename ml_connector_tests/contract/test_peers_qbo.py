"""QuickBooks as python-quickbooks and intuit-oauth see it: clients that were written against the real one."""

import json
from typing import Any

import pytest

from ml_connector_tests.contract.conftest import Firm, Peer
from ml_connector_tests.rig import REALM, Bookkeeper, call
from ml_connector_tests.sandbox.test_frame_webhooks import TOKEN, Receiver

pytestmark = pytest.mark.peers

Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(acme: Firm, peer: Peer) -> Told:
    """What one walk of the library through the fixture firm found, by step."""
    account = ("sandbox-client", "sandbox-secret", "RT1-sandbox")
    found: Told = peer("quickbooks_walk.py", acme.qbo.url, REALM, *account)
    return found


def test_discovery_refresh_and_revocation_work_by_the_vendors_own_oauth_client(told: Told) -> None:
    assert told["refused refresh"] == {"status": 400, "error": "invalid_grant"}
    assert told["token"]["expires_in"] == 3600
    assert told["token"]["x_refresh_token_expires_in"] > 8_000_000
    assert told["token"]["refresh_token"] == "RT1-sandbox"
    assert told["after revocation"] == {"class": "AuthorizationException", "code": 401}


def test_lists_are_read_queried_ordered_paged_and_counted(told: Told) -> None:
    assert told["lists"] == {
        "company": "Acme Builders",
        "vendors": 4,
        "pages": [["21", "22", "23"], ["24"], []],
        "by name": ["21"],
        "by ids": ["22", "23"],
        "like": ["23"],
        "accounts of goods": 5,
        "bills": 0,
        "rows of bills": 0,
    }


def test_a_vendor_is_created_renamed_and_made_inactive(told: Told) -> None:
    assert told["vendor"] == {
        "found by name": [True],
        "tokens": ["0", "1", "2"],
        "read": "O'Neill & Daughters (deleted)",
        "active after": False,
        "listed after": 0,
        "listed with inactive": 5,
    }


def test_a_bill_is_created_with_both_kinds_of_lines_changed_and_deleted(told: Told) -> None:
    assert told["bill"] == {
        "due as dated": True,
        "total": "1349.95",
        "balance": "1349.95",
        "details": ["AccountBasedExpenseLineDetail", "ItemBasedExpenseLineDetail"],
        "customer": "61",
        "item": "101",
        "changed": ["1400", "delivered in two loads", "1"],
        "found": [True],
        "deleted": "Deleted",
        "read of the deleted": {"class": "ObjectNotFoundException", "code": 610},
    }


def test_a_payment_moves_the_bill_and_its_void_and_deletion_move_it_back(told: Told) -> None:
    assert told["payment"] == {
        "balances": ["500", "0", "500", "300", "500"],
        "linked": [["BillPaymentCheck", True]],
        "delete of the paid bill": {"class": "QuickbooksException", "code": 6000},
        "voided": ["0", 0, "Voided"],
        "deleted": "Deleted",
    }


def test_change_data_capture_shows_live_rows_then_deleted_ones(told: Told) -> None:
    assert told["changes"] == {
        "bills": ["live", "live", "Deleted"],
        "payments": ["live", "Deleted"],
        "vendors": ["Granite Supply", "O'Neill & Daughters (deleted)"],
        "too old": {"class": "UnsupportedException", "code": 500},
    }


def test_a_batch_does_what_it_can_and_names_what_it_cannot(told: Told) -> None:
    assert told["batch"] == {
        "created": ["Batch One", "Batch Two"],
        "faults": ["6240"],
        "updated": [["B-1", "1"], ["B-1", "1"]],
        "bills": [35, 0],
        "deletion of vendors": ["500", "500"],
    }


@pytest.mark.parametrize(
    ("case", "kind", "code"),
    [
        ("stale", "QuickbooksException", 5010),
        ("duplicate name", "QuickbooksException", 6240),
        ("duplicate number", "QuickbooksException", 6140),
        ("not found", "ObjectNotFoundException", 610),
        ("bad reference", "ValidationException", 2500),
        ("bad query", "ValidationException", 4000),
        ("unknown property in a query", "ValidationException", 4001),
        # The gateway writes `fault` in lower case, and the library looks for `Fault` alone: its own code.
        ("other realm", "QuickbooksException", 10000),
    ],
)
def test_a_refusal_becomes_the_librarys_own_exception(told: Told, case: str, kind: str, code: int) -> None:
    assert told["refusals"][case] == {"class": kind, "code": code}


def test_nothing_was_refused_but_what_the_walk_wanted_refused(told: Told, acme: Firm) -> None:
    outcomes = [row["outcome"] for row in acme.qbo.journal() if (row["status"] or 500) >= 400]
    wanted = [*("610", "6000", "500"), *("5010", "6240", "6140", "610", "2500", "4000", "4001")]
    assert outcomes == [
        "invalid_grant",
        *(f"fault {code}" for code in wanted),
        "gateway fault 3100",
        "gateway fault 3200",
    ]


def test_empty_texts_that_the_library_sends_are_not_kept(told: Told, acme: Firm) -> None:
    assert told["bill"]["found"]
    for kind in ("Bill", "BillPayment", "Vendor"):
        written = json.dumps(acme.qbo.live(kind), default=str)
        assert '"SyncToken"' in written
        assert '""' not in written


def test_the_library_accepts_the_signature_of_a_post_and_refuses_altered_ones(acme: Firm, peer: Peer) -> None:
    receiver = Receiver()
    try:
        webhooks = f"{acme.qbo.url}/_control/webhooks"
        call("POST", webhooks, {"target": receiver.url, "verifier_token": TOKEN, "delay_seconds": 600})
        Bookkeeper(acme.qbo.url).vendor("Señor Concreto")
        call("POST", f"{webhooks}/flush")
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
    headers, raw = receiver.posts[0]
    post = {"body": raw.decode(), "signature": headers["intuit-signature"], "token": TOKEN}
    altered = [
        post,
        post | {"body": post["body"].replace("created", "deleted")},
        post | {"token": TOKEN[::-1]},
    ]
    assert peer("quickbooks_signature.py", given=json.dumps(altered)) == [True, False, False]
