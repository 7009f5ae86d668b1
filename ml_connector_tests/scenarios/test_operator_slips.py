"""T10: what an operator does twice, or saves half, moves no money."""

import pytest

from ml_connector.errors import SetupError
from ml_connector_tests.rig import MAPPING, Rig, line

BROKEN = {
    "half saved": MAPPING[: len(MAPPING) // 2].rsplit(",", 3)[0],
    "a code that is none": MAPPING.replace("03-3000", "no such route").replace("direct_cost", "directcost"),
    "empty": "",
    "another file": "customer,project\n61,101\n",
}


@pytest.fixture
def posted(rig: Rig) -> Rig:
    """A firm with two bills, one of them held, and a payment."""
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.bookkeeper.bill("4472", [line("20.10", account="7")])
    rig.bookkeeper.pay(bill, "1250.00")
    rig.sync()
    return rig


def test_T10_F53_everything_replayed_twice_writes_nothing(posted: Rig) -> None:
    mark = posted.procore.mark()
    for _ in range(2):
        posted.replay_everything()
    assert posted.procore.writes(mark) == []
    assert len(posted.direct_costs()) == 1


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_T10_F50_a_broken_mapping_is_refused_and_the_one_before_goes_on(posted: Rig, content: str) -> None:
    with pytest.raises(SetupError):
        posted.publish(mapping=content)
    mark = posted.procore.mark()
    posted.replay_everything()
    assert posted.procore.writes(mark) == []
    bill = posted.bookkeeper.bill("4473", [line(10, item="101")])
    posted.sync()
    assert posted.cost_of(bill["Id"])["grand_total"] == "10.00"
