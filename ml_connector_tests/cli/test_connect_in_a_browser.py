"""The walk that docs/connecting.md shows: `connect qbo`, the consent page, the callback page, `ping`; in a real browser.

`make pictures` makes the picture of that page anew.
"""

import os
from pathlib import Path

import pytest

from ml_connector_tests import chromium
from ml_connector_tests.chromium import LARGEST, PICTURES_VARIABLE, browser
from ml_connector_tests.cli.test_connect import Door
from ml_connector_tests.cli.test_connect import door as door  # noqa: PLC0414 a fixture
from ml_connector_tests.conftest import ROOT
from ml_connector_tests.rig import ELM, HARBOR, REALM

PICTURE = "connect-confirm.png"


@pytest.mark.processes
@chromium.needed
def test_a_person_connects_a_company_in_a_browser_and_ping_says_that_it_works(
    door: Door, tmp_path: Path
) -> None:
    rig = door.firm.rig
    rig.publish(projects=f"customer,project,note\n61,{HARBOR},\n62,{ELM},\n")
    rig.qbo.switch(consent_page=True)
    before, _ = door.stored()
    ended, address = door.begin()
    with browser(tmp_path) as page:
        page.size(760, 460)
        page.open(address)
        page.wait_for("asks for access to your books")
        page.click(f"Connect company {REALM}")
        shown = page.wait_for("Is this the company of acme?")
        assert "Acme Builders" in shown
        assert REALM in shown
        for word in ("code=", "state="):
            assert word not in page.run("location.href"), "the code stays in no history"
        assert page.run("getComputedStyle(document.body).maxWidth") != "none", (
            "the page's own style is let through"
        )
        picture = page.picture()
        assert door.stored()[0] == before, "nothing is stored before it is confirmed"
        page.click("Yes, connect it")
        page.wait_for("Acme Builders is connected to acme.")
    told = ended()
    assert told.code == 0, told
    assert "Next: ml-connector ping acme" in told.out
    assert door.stored()[0].refresh_token != before.refresh_token
    pinged = door.firm.shell("ping", "acme")
    assert pinged.code == 0, pinged
    assert f"QuickBooks, company: Acme Builders ({REALM})" in pinged.out
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < LARGEST
    if os.environ.get(PICTURES_VARIABLE):
        (ROOT / os.environ[PICTURES_VARIABLE] / PICTURE).write_bytes(picture)


def test_the_page_of_the_documentation_shows_the_picture() -> None:
    assert f"({PICTURE})" in (ROOT / "docs" / "connecting.md").read_text()
    content = (ROOT / "docs" / PICTURE).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < LARGEST
