"""`keys rotate`, `keys make`, and a start with keys that do not belong to the database."""

import pytest

from ml_connector.orchestration.clients import vault_of
from ml_connector.store.keys import load_key_ring, make_key_ring
from ml_connector_tests.cli.conftest import Firm


def test_S119_F26_keys_are_rotated_by_a_command_and_the_connection_works_on(firm: Firm) -> None:
    ring_file = firm.rig.home.keys
    old = load_key_ring(ring_file).current
    before = vault_of(firm.rig.home, firm.rig.engine)
    told = firm.shell("keys", "rotate", "--json")
    assert (told.code, told.err) == (0, "")
    document = told.document()
    assert (document["credential_sets"], document["removed"]) == (2, [old])
    assert document["key"] == load_key_ring(ring_file).current
    assert before.get("acme", "qbo")[0].client_id == "sandbox-client"
    firm.rig.read()
    shown = firm.shell("keys", "rotate").out
    assert "2 credential sets sealed anew with key k" in shown
    assert f"Back up {ring_file}" in shown
    firm.rig.read()


@pytest.mark.parametrize("command", [("sync", "acme"), ("up", "--port", "0")], ids=["sync", "up"])
def test_F26_with_a_wrong_ring_or_none_nothing_starts_and_the_sentence_says_what_to_do(
    command: tuple[str, ...], firm: Firm
) -> None:
    if command[0] == "up":
        from ml_connector_tests.cli.test_connect import free_port

        command = ("up", "--port", str(free_port()), "--receiver-port", str(free_port()))
    ring_file = firm.rig.home.keys
    kept = ring_file.with_name("kept")
    ring_file.rename(kept)
    missing = firm.shell(*command)
    assert missing.code == 2
    assert "is missing, and 2 credential sets" in missing.err
    assert not ring_file.exists()
    make_key_ring(ring_file)
    wrong = firm.shell(*command)
    assert wrong.code == 2
    assert "the key ring is another one" in wrong.err
    assert "Traceback" not in wrong.err
    kept.rename(ring_file)
    assert vault_of(firm.rig.home, firm.rig.engine).check() == 2


def test_a_new_ring_is_written_where_nothing_is_yet(firm: Firm) -> None:
    place = firm.rig.home.root / "new.json"
    told = firm.shell("keys", "make", str(place), "--json")
    assert told.document() == {"file": str(place), "key": "1"}
    assert place.stat().st_mode & 0o777 == 0o600
    assert "exists" in firm.shell("keys", "make", str(place)).sentence()
    assert "exists" in firm.shell("keys", "make").sentence()
