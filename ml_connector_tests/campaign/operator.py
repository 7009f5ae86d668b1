"""What the operator does at the command line: it is killed half way, must have done nothing, and is done again."""

import json
from decimal import Decimal
from typing import Any

from ml_connector_tests.campaign.site import KILLED, Site
from ml_connector_tests.scenarios.bookkeeping import RULES, SLIPS

REFUSED = 2  # with a sentence: there is a newer version of the record that no run has taken up
OVERHEAD = ",OVERHEAD,"  # ends the last rule; a note after it makes another version of the sheet


def document(site: Site, *words: str) -> Any:
    """What a command prints with `--json`; an AssertionError when it fails."""
    code, said = site.command(*words, "--json")
    assert code == 0, f"ml-connector {' '.join(words)}: {said}"
    return json.loads(said, parse_float=Decimal)


def interrupt(site: Site, name: str) -> None:
    """Do the act of a trick of this name, if there is anything to do it to."""
    match name:
        case "decision killed half way":
            site.tally.hits[name] += _decide(site)
        case "mapping killed half way":
            site.tally.hits[name] += _publish(site)
        case "rotation killed half way":
            site.tally.hits[name] += _rotate(site)


def _decide(site: Site) -> bool:
    """K11: a slip of the bookkeeper's is excluded; killed before the commit, it is held as before."""
    before = _excludable(site)
    words = ("decide", "acme", *before[:1], "exclude", "--comment", "a slip")
    if not before or not _is_killed(site, "K11", *words):
        return False
    assert _excludable(site) == before, "a decision that was killed has freed a record"
    document(site, *words)
    return True


def _publish(site: Site) -> bool:
    """K12: a new version of the mapping; killed before the commit, there is none."""
    sheet = site.rig.home.folder("acme") / "mapping.csv"
    sheet.write_text(RULES.replace(OVERHEAD, f"{OVERHEAD}after {site.tally.runs} runs"))
    killed = _is_killed(site, "K12", "mapping", "publish", "acme")
    with site.rig.engine.connect() as db:
        known = db.exec_driver_sql(
            "select max(version) from ml_connector.sheet_version where sheet = 'mapping'"
        ).scalar()
    made = document(site, "mapping", "publish", "acme")
    assert known is not None
    assert made["version"] == known + 1, "a publication that was killed has left a version"
    return killed


def _rotate(site: Site) -> bool:
    """K12: a new key; killed between two credential sets, either key opens them, and the next rotation ends it."""
    killed = _is_killed(site, "K12", "keys", "rotate")
    document(site, "keys", "rotate")
    return killed


def _excludable(site: Site) -> list[str]:
    return [
        hold["record"]
        for group in document(site, "holds", "acme")
        for hold in group["holds"]
        if group["reason"] in SLIPS.values() and "exclude" in hold["choices"]
    ]


def _is_killed(site: Site, point: str, *words: str) -> bool:
    """Whether the command came to its kill point; one that refuses has done nothing."""
    code, said = site.command(*words, point=point)
    assert code in (KILLED, REFUSED), f"ml-connector {' '.join(words)} was not killed at {point}: {said}"
    site.tally.kills[point] += code == KILLED
    return code == KILLED
