"""The campaign's own parts: a seed is a schedule for ever, a failing one can be kept, and a page cannot pass by idleness."""

from decimal import Decimal
from pathlib import Path

import pytest

from ml_connector_tests.campaign import page as pages
from ml_connector_tests.campaign.page import ALL_WITHIN, ELSEWHERE, LONG, page, shortfall
from ml_connector_tests.campaign.play import Outcome
from ml_connector_tests.campaign.schedule import draw, read_schedule
from ml_connector_tests.campaign.tricks import ROWS

HERE = Path(__file__).parent


def names_of_tricks(seed: int) -> set[str]:
    return {trick["name"] for step in draw(seed).steps if step.act == "runs" for trick in step.args["tricks"]}


def test_a_seed_is_one_schedule_and_a_written_one_is_read_as_it_was(tmp_path: Path) -> None:
    assert draw(7) == draw(7) != draw(8)
    written = tmp_path / "seed-7.json"
    written.write_text(draw(7).written())
    assert read_schedule(written) == draw(7)


def test_any_sixteen_seeds_in_a_row_meet_every_trick() -> None:
    for first in (1, 500_000):
        met = set().union(*(names_of_tricks(seed) for seed in range(first, first + ALL_WITHIN)))
        assert met == set(ROWS)


def test_schedules_that_failed_once_can_still_be_played() -> None:
    for path in (HERE / "campaign" / "fixed").glob("*.json"):
        tricks = [
            trick["name"] for step in read_schedule(path).steps for trick in step.args.get("tricks", ())
        ]
        assert set(tricks) <= set(ROWS), path.name


@pytest.mark.parametrize(("what", "where"), ELSEWHERE.items())
def test_what_the_page_leaves_to_the_suite_is_tested_there(what: str, where: str) -> None:
    file, _, name = where.partition("::")
    assert f"def {name}" in (HERE / file).read_text(), what


def test_a_campaign_that_did_less_than_its_least_fails() -> None:
    idle = [Outcome(seed) for seed in range(LONG)]
    told = shortfall(idle, least=ALL_WITHIN)
    assert "no kill at K7" in told
    assert "no fault of F04" in told
    assert shortfall(idle[:3], least=ALL_WITHIN) == ["3 schedules, and 16 were to be played"]
    for outcome in idle:
        outcome.tally.kills.update(pages.POINTS)
        outcome.tally.hits.update(list(ROWS))
    assert shortfall(idle, least=ALL_WITHIN) == []
    said = page(idle, seconds=1, postgres="16.1", least=ALL_WITHIN)
    assert "lost 0, duplicated 0, unexpected 0, recovered 0, money delta 0.00" in said
    assert said.endswith("failing seeds: none\nPASSED")
    idle[0].money = (Decimal(100), Decimal(59))
    assert shortfall(idle, least=ALL_WITHIN) == ["59.00 of 100.00 is posted, less than 60%"]
    idle[3].problems.append("lost: bill:7")
    assert page(idle, seconds=1, postgres="16.1", least=ALL_WITHIN).endswith("FAILED")
    assert "failing seeds: 3" in page(idle, seconds=1, postgres="16.1", least=ALL_WITHIN)
