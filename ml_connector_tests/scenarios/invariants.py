"""What must hold after every scenario: no money lost, nothing twice, nothing in two states, a trail without gaps."""

from collections import Counter, defaultdict
from decimal import Decimal

from sqlalchemy import text

from ml_connector_tests.rig import REALM, Rig

STATES = {"posted", "updated", "no-op", "held", "excluded", "reversed", "retrying"}


def invariants(rig: Rig) -> None:
    """Assert I1 to I5 of the scenario bank and the numbering of the audit trail."""
    with rig.engine.connect() as db:
        rows = db.execute(text("select * from ml_connector.record")).all()
        entries = db.scalars(text("select number from ml_connector.audit order by number")).all()
        linked = db.execute(
            text(
                "select qbo_id, procore_id from ml_connector.ledger where kind = 'requisition'"
                " and state = 'confirmed' and (wanted ->> 'linked')::boolean"
            )
        ).all()
    for row in rows:
        assert row.state in STATES, f"{row.entity} {row.qbo_id} is {row.state}"
        sums = f"{row.entity} {row.qbo_id}: {row.posted} + {row.excluded} + {row.held} against {row.total}"
        assert row.posted + row.excluded + row.held == row.total, sums
    costs, invoices = rig.direct_costs(counting=False), rig.procore.live("requisitions")
    origins = Counter(entry["origin_id"] for entry in (*costs, *invoices) if entry.get("origin_id"))
    assert not [origin for origin, times in origins.items() if times > 1], "an origin id lives twice"
    assert len(rig.procore.live("vendors")) == len({v["id"] for v in rig.procore.live("vendors")})
    counted: defaultdict[str, Decimal] = defaultdict(Decimal)
    for cost in rig.direct_costs():
        if str(cost["origin_id"] or "").startswith(f"qbo:{REALM}:bill:"):
            counted[cost["origin_id"].split(":")[3]] += Decimal(cost["grand_total"])
    bill_of = {row.procore_id: row.qbo_id for row in linked}
    for invoice in (invoice for invoice in invoices if invoice["status"] != "draft"):
        origin = str(invoice.get("origin_id") or "")
        qbo_id = (
            origin.split(":")[3] if origin.startswith(f"qbo:{REALM}:bill:") else bill_of.get(invoice["id"])
        )
        if qbo_id is not None:
            counted[qbo_id] += Decimal(invoice["current_payment_due"])
    posted = {row.qbo_id: row.posted for row in rows if row.entity == "Bill" and row.posted}
    assert {qbo_id: money for qbo_id, money in counted.items() if money} == posted
    assert list(entries) == list(range(1, len(entries) + 1))
