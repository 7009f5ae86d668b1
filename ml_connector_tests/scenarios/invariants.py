"""What must hold after every scenario: no money lost, nothing twice, nothing in two states, a trail without gaps."""

from collections import Counter
from decimal import Decimal

from sqlalchemy import text

from ml_connector_tests.rig import REALM, Rig

STATES = {"posted", "updated", "no-op", "held", "excluded", "reversed", "retrying"}


def invariants(rig: Rig) -> None:
    """Assert I1 to I5 of the scenario bank and the numbering of the audit trail."""
    with rig.engine.connect() as db:
        rows = db.execute(text("select * from ml_connector.record")).all()
        entries = db.scalars(text("select number from ml_connector.audit order by number")).all()
    for row in rows:
        assert row.state in STATES, f"{row.entity} {row.qbo_id} is {row.state}"
        sums = f"{row.entity} {row.qbo_id}: {row.posted} + {row.excluded} + {row.held} against {row.total}"
        assert row.posted + row.excluded + row.held == row.total, sums
    costs = rig.direct_costs(counting=False)
    origins = Counter(cost["origin_id"] for cost in costs if cost["origin_id"])
    assert not [origin for origin, times in origins.items() if times > 1], "an origin id lives twice"
    assert len(rig.procore.live("vendors")) == len({v["id"] for v in rig.procore.live("vendors")})
    counted: dict[str, Decimal] = {}
    for cost in rig.direct_costs():
        if str(cost["origin_id"] or "").startswith(f"qbo:{REALM}:bill:"):
            qbo_id = cost["origin_id"].split(":")[3]
            counted[qbo_id] = counted.get(qbo_id, Decimal(0)) + Decimal(cost["grand_total"])
    posted = {row.qbo_id: row.posted for row in rows if row.entity == "Bill" and row.posted}
    assert {qbo_id: money for qbo_id, money in counted.items() if money} == posted
    assert list(entries) == list(range(1, len(entries) + 1))
