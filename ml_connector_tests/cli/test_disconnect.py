"""`disconnect`: the grant ends at the vendor, the credentials are gone here, and the books stay."""

import pytest
from sqlalchemy import text

from ml_connector.errors import ReconnectNeeded, SetupError
from ml_connector.orchestration.clients import vault_of
from ml_connector.store.vault import Credentials, State
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import Rig, line


def stored(rig: Rig) -> Credentials:
    return vault_of(rig.home, rig.engine).get("acme", "qbo")[0]


def test_S110_quickbooks_is_told_the_credentials_are_gone_and_the_books_stay(firm: Firm) -> None:
    rig = firm.rig
    rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    rig.sync()
    kept, costs = stored(rig), rig.direct_costs()
    told = firm.shell("disconnect", "qbo", "acme", "--yes", "--json")
    assert (told.code, told.document()["vendor"]) == (0, "ended the consent")
    assert kept.refresh_token not in told.out + told.err
    with rig.engine.connect() as db:
        assert db.scalars(text("select system from ml_connector.vault")).all() == ["procore"]
        last = db.execute(text("select event, qbo_id from ml_connector.audit order by number desc limit 1"))
        assert tuple(last.one()) == ("disconnected", "qbo")
    again = firm.shell("sync", "acme")
    assert "run `ml-connector connect qbo acme`" in again.out + again.err
    assert rig.direct_costs() == costs
    assert firm.shell("find", "acme", "4471").code == 0
    # A copy of the credentials that someone kept opens nothing.
    vault_of(rig.home, rig.engine).put("acme", "qbo", kept)
    rig.bookkeeper.bill("4472", [line("1.00", item="101")])
    with pytest.raises(ReconnectNeeded):
        rig.read()
    assert vault_of(rig.home, rig.engine).get("acme", "qbo")[1] is State.RECONNECT_NEEDED


def test_an_intuit_that_is_away_ends_nothing_unless_only_we_are_to_forget(firm: Firm) -> None:
    rig = firm.rig
    kept = stored(rig)
    rig.qbo.fault({"route": "POST /v2/oauth2/tokens/revoke", "fault": "status", "args": {"status": 503}})
    told = firm.shell("disconnect", "qbo", "acme", "--yes")
    assert "nothing was changed" in told.sentence()
    assert stored(rig) == kept
    mark = rig.qbo.mark()
    assert firm.shell("disconnect", "qbo", "acme", "--yes", "--without-revoking").code == 0
    assert rig.qbo.journal(mark) == []
    with pytest.raises(SetupError, match="has no qbo credentials"):
        stored(rig)


def test_a_consent_that_intuit_knows_no_more_is_forgotten_all_the_same(firm: Firm) -> None:
    vault = vault_of(firm.rig.home, firm.rig.engine)
    vault.put("acme", "qbo", Credentials("sandbox-client", "sandbox-secret", refresh_token="RT1-long-gone"))
    assert "knew the consent no more" in firm.shell("disconnect", "qbo", "acme", "--yes").out
    assert not vault.has("acme", "qbo")
    assert "is not connected" in firm.shell("disconnect", "qbo", "acme", "--yes").sentence()


def test_nothing_ends_that_was_not_confirmed(firm: Firm) -> None:
    kept = stored(firm.rig)
    assert "not confirmed" in firm.shell("disconnect", "qbo", "acme", answers="n\n").sentence()
    assert stored(firm.rig) == kept


def test_procore_ends_the_token_and_says_where_the_keys_end(firm: Firm) -> None:
    firm.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    firm.rig.sync()
    told = firm.shell("disconnect", "procore", "acme", "--yes")
    assert told.code == 0, told
    assert "App Management" in told.out
    assert not vault_of(firm.rig.home, firm.rig.engine).has("acme", "procore")
