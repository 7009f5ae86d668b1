"""The list of reasons that people look holds up in."""

from pathlib import Path

import pytest

from ml_connector.holds import MEANINGS, REASONS, Reason

PAGE = Path(__file__).resolve().parents[1] / "docs" / "holds.md"
COLUMNS = ("reason", "it means", "what frees it", "by itself then", "who", "to decide", "the day")
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"


def row(reason: Reason) -> str:
    """A reason's row in the page."""
    facts = REASONS[reason]
    cells = (
        f"`{reason}`",
        MEANINGS[reason],
        facts.release,
        "yes" if facts.automatic else "no",
        facts.fixer,
        ", ".join(f"`{choice}`" for choice in facts.choices),
        "red" if facts.fails_day else "",
    )
    return f"| {' | '.join(cells)} |\n"


def test_the_page_of_holds_says_of_every_reason_what_the_code_says() -> None:
    expected = HEADER + "".join(map(row, sorted(Reason)))
    assert PAGE.read_text(encoding="utf-8").endswith(f"## Every reason\n\n{expected}")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_meaning_and_facts(reason: Reason) -> None:
    assert MEANINGS[reason]
    assert REASONS[reason].release
