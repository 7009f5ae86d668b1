"""The walk that the documentation shows, in a real browser on the demo firm: lineage, a red day, its repair, a backfill.

`make pictures` saves what the walk sees into docs/pictures.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ml_connector.cli.demo_firm import NAME
from ml_connector_tests import chromium
from ml_connector_tests.chromium import LARGEST, PICTURES_VARIABLE, Page, browser
from ml_connector_tests.conftest import ROOT
from ml_connector_tests.orchestration.live.installation import Installation, until
from ml_connector_tests.orchestration.live.shown_firm import DAYS, REFUSAL, Refused, open_shown_firm

pytestmark = [
    chromium.needed,
    pytest.mark.processes,
    pytest.mark.installation,
    pytest.mark.timeout(900),
    # Postgres and its sockets are closed by the services, not by this process.
    pytest.mark.filterwarnings("default::ResourceWarning"),
]
WIDTH, HEIGHT, LOW = 1280, 760, 480
SECONDS, PAUSE = 30.0, 0.4
DIALOG = "[role=dialog]"
SENTENCE_ENDS_AT = """(() => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const place = texts.currentNode.data.indexOf('Stack Trace');
        if (place < 0) continue;
        const range = document.createRange();
        range.setStart(texts.currentNode, place);
        range.setEnd(texts.currentNode, place + 5);
        return range.getBoundingClientRect().top;
    }
})()"""
Keep = Callable[..., None]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Refused]]:
    """The demo firm, read and posted, with one red day."""
    with open_shown_firm(tmp_path_factory.mktemp("shown")) as found:
        yield found


@pytest.fixture
def page(shown: tuple[Installation, Refused], tmp_path: Path) -> Iterator[Page]:
    """The lineage, which is where people begin, with room for what they look at."""
    with browser(tmp_path) as opened:
        opened.size(WIDTH, HEIGHT)
        opened.open(f"{shown[0].url}/asset-groups")
        opened.click("Hide navigation")
        yield opened


@pytest.fixture
def keep(page: Page) -> Keep:
    """Saves a picture where the walk is made for the documentation."""

    def save(name: str, *, height: float | None = None) -> None:
        folder = os.environ.get(PICTURES_VARIABLE)
        if folder:
            content, deadline = b"", time.monotonic() + SECONDS
            while content != (content := page.picture(height=height)):  # until nothing moves any more
                assert time.monotonic() < deadline, f"{name} does not come to rest"
                time.sleep(PAUSE)
            assert len(content) < LARGEST, (name, len(content))
            (ROOT / folder / f"{name}.png").write_bytes(content)

    return save


def test_a_newcomer_sees_the_way_of_the_data_and_what_became_of_it(
    shown: tuple[Installation, Refused], page: Page, keep: Keep
) -> None:
    live, refused = shown
    lineage = page.wait_for("demo_4_prove")
    steps = [lineage.index(f"{NAME}_{step}") for step in ("1_read", "2_map", "3_post", "4_prove")]
    assert steps == sorted(steps)
    keep("lineage", height=LOW)
    page.run("document.activeElement.blur()")
    page.press("e", alt=True)
    page.wait_for("requisitions")
    page.open(f"{live.url}/assets/{NAME}/mapped/bill_lines?view=partitions&partition={refused.today}")
    page.wait_for("first_holds")
    day = page.wait_for(" mapped, ")
    sentence = r"\d+ records, [\d,.]+:\s+[\d,.]+ mapped, [\d,.]+ excluded, [\d,.]+\s+held\."
    assert re.search(sentence, day), day
    assert "which no rule takes: add a rule to mapping.csv and publish it." in day
    links = page.run("[...document.querySelectorAll('td a')].map(link => link.href)")
    assert any(link.startswith("https://qbo.intuit.com/app/bill?txnId=") for link in links), links
    page.run(
        "[...document.querySelectorAll('td')].find(cell => cell.innerText === 'summary').scrollIntoView()"
    )
    keep("holds")
    page.open(f"{live.url}/assets/{NAME}/procore/direct_costs")
    page.click("Plots")
    page.wait_for("posted_rounded")
    keep("plots")


def test_a_red_day_says_why_and_failed_and_missing_turns_it_green(
    shown: tuple[Installation, Refused], page: Page, keep: Keep
) -> None:
    live, refused = shown
    number = refused.bill["DocNumber"]
    days = f"{live.url}/assets/{NAME}/procore/direct_costs?view=partitions"
    page.open(f"{days}&partition={refused.day}")
    page.wait_for("failed, and did not materialize this asset")
    assert "Failed (1)" in page.text()
    keep("red-day")
    run = page.wait_until(
        "[...document.querySelectorAll('a')].find(one => one.href.includes('/runs/'))?.href"
    )
    page.open(f"{run}?logs=Steps%20failed")
    why = page.wait_for("Stack Trace")
    sentence = re.sub(r"\s+", " ", why)
    assert f"{refused.day}: Bill {number} (" in sentence
    assert f"Procore refused it: {REFUSAL}. Correct it in QBO, or in Procore and replay." in sentence
    keep("why", height=page.run(SENTENCE_ENDS_AT))
    assert live.costs(NAME, number) == []

    procore = live.rigs[NAME].procore
    procore.no_faults()  # somebody has put it right in Procore
    before = procore.mark()
    page.open(days)
    page.click("Materialize")
    page.click("Failed and missing", within=DIALOG)
    page.wait_for("1 partition")
    keep("failed-and-missing")
    page.click("Launch 1 run", within=DIALOG)
    page.wait_for(f"Materialized ({DAYS})", seconds=240)
    assert "Failed (0)" in page.text()
    (cost,) = live.costs(NAME, number)
    assert cost["grand_total"] == f"{refused.bill['TotalAmt']:.2f}"
    assert all("direct_costs" in call for call in procore.writes(before)), "nothing else is written"
    page.open(f"{days}&partition={refused.day}")
    page.wait_for("largest_in_procore")
    keep("green-day")


def test_three_days_are_backfilled_by_their_dates(
    shown: tuple[Installation, Refused], page: Page, keep: Keep
) -> None:
    """Bills that were saved on days that are read already: a backfill of these days reads them again and posts them."""
    live, refused = shown
    rig = live.rigs[NAME]
    start = rig.connection.start_date
    days = [start + timedelta(days=ahead) for ahead in range(3)]
    for ahead, day in enumerate(days):
        at = datetime.combine(day, time_of_day(12), ZoneInfo(str(rig.connection.zone)))
        live.saved_at(NAME, refused.bill, f"70{ahead}", f"LATE-{ahead}", at)
    marks = {name: control.mark() for name, control in (("qbo", rig.qbo), ("procore", rig.procore))}
    page.open(f"{live.url}/locations/__repository__@ml_connector/jobs/{NAME}__sync")
    page.click("Materialize all…")
    page.type_into(f"{DIALOG} input[type=text]", f"[{days[0]}...{days[-1]}]")
    page.wait_for("3 partitions")
    keep("backfill")
    page.click("Launch backfill", within=DIALOG)
    until(
        "the backfill's bills", lambda: all(live.costs(NAME, f"LATE-{one}") for one in range(3)), seconds=240
    )
    assert [len(live.costs(NAME, f"LATE-{one}")) for one in range(3)] == [1, 1, 1]
    read = rig.qbo.calls(marks["qbo"])
    assert 0 < len(read) <= 12, read
    page.open(f"{live.url}/assets/{NAME}/procore/direct_costs?view=partitions&partition={days[1]}")
    page.wait_for('"posted": 3')
    page.wait_for("Missing (0)")
