"""Whether the demo did what the demo data say: every record's state, project, code and amount, and the money of both sides.

What QuickBooks and Procore hold is asked of the sandbox, not of our own tables.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, select

from ml_connector.cli.demo_firm import NAME, Sandbox
from ml_connector.sandbox.demo.expectations import Expected, key_of
from ml_connector.sandbox.demo.firm import DemoFirm
from ml_connector.store.tables import audit, hold, record

ZERO = Decimal("0.00")
ENOUGH_POSTED = Decimal("0.85")
MONEY_KINDS = {"Bill": 1, "VendorCredit": -1}
SHOWN = {"posted": "posted", "updated": "posted", "no-op": "no-op", "held": "held", "excluded": "excluded"}


@dataclass
class Verdict:
    """What the demo shows: counts, money as on both sides, and everything that is not as the demo data state it."""

    records: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    held_by_reason: Counter[str] = field(default_factory=Counter)
    money: dict[str, Decimal] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all is as stated, the money agrees and enough of it is posted."""
        enough = self.money["posted"] >= ENOUGH_POSTED * self.money["qbo"]
        return not self.wrong and self.money["delta"] == ZERO and enough


def shown_state(row: Any) -> str:
    """The state for people: a record whose newest version changed nothing is still posted."""
    if row.state == "no-op" and row.posted:
        return "posted"
    state = str(row.state)
    return SHOWN.get(state, state)


def judge(engine: Engine, sandbox: Sandbox, firm: DemoFirm) -> Verdict:
    """Compare what came of every demo record with what the data state."""
    verdict = Verdict()
    with engine.connect() as db:
        rows = {
            (row.entity, row.qbo_id): row
            for row in db.execute(select(record).where(record.c.connection == NAME))
        }
        reasons: dict[tuple[str, str], str] = {}
        for row in db.execute(select(hold).where(hold.c.connection == NAME).order_by(hold.c.ordinal)):
            reasons.setdefault((row.entity, row.qbo_id), row.reason)
    costs = sandbox.live("procore", "direct_costs")
    codes = {row["id"]: str(row["flat_code"]) for row in sandbox.live("procore", "wbs_codes")}
    by_source: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cost in costs:
        by_source[str(cost["origin_id"]).rpartition(":")[0]].append(cost)
    seen: set[str] = set()
    qbo = ZERO
    for entity in ("Bill", "VendorCredit", "BillPayment"):
        for source in sandbox.live("qbo", entity):
            key = key_of(source)
            expected = firm.expectations.get(key)
            seen.add(key)
            ours = rows.get((entity, source["Id"]))
            qbo += MONEY_KINDS.get(entity, 0) * Decimal(source["TotalAmt"])
            if expected is None or ours is None:
                verdict.wrong.append(
                    f"{entity} {key}: {'not in the demo data' if expected is None else 'never seen'}"
                )
                continue
            reason = reasons.get((entity, source["Id"]), "")
            mine = by_source[f"qbo:{firm.realm}:{entity.lower()}:{source['Id']}"]
            _compare(verdict, expected, ours, reason, mine, codes)
    verdict.wrong += [f"{key}: not in QuickBooks" for key in firm.expectations if key not in seen]
    _count(verdict, rows, reasons)
    _money(verdict, qbo, costs, rows)
    return verdict


def _compare(
    verdict: Verdict,
    expected: Expected,
    row: Any,
    reason: str,
    costs: Sequence[Mapping[str, Any]],
    codes: Mapping[int, str],
) -> None:
    what = f"{expected.entity} {expected.key} ({expected.scenario})"
    state = shown_state(row)
    if state != expected.state:
        verdict.wrong.append(f"{what}: {state} {reason} instead of {expected.state} {expected.reason}")
        return
    if expected.state == "held" and reason != expected.reason:
        verdict.wrong.append(f"{what}: held for {reason} instead of {expected.reason}")
    ours = (row.posted, row.excluded, row.held)
    stated = (expected.posted, expected.excluded, expected.held)
    if expected.entity in MONEY_KINDS and ours != stated:
        verdict.wrong.append(f"{what}: posted, excluded, held are {ours} instead of {stated}")
    counting = [cost for cost in costs if cost["status"] != "draft"]
    there = sorted((int(cost["project_id"]), tuple(_lines(cost, codes))) for cost in counting)
    wanted = sorted((target.project, tuple(sorted(target.lines))) for target in expected.targets)
    if there != wanted:
        verdict.wrong.append(f"{what}: Procore holds {there} instead of {wanted}")


def _lines(cost: Mapping[str, Any], codes: Mapping[int, str]) -> list[tuple[str, str, Decimal]]:
    lines = []
    for line in cost["line_items"]:
        cost_code, _, cost_type = codes[line["wbs_code_id"]].rpartition(".")
        lines.append((cost_code, cost_type, Decimal(line["amount"])))
    return sorted(lines)


def _count(
    verdict: Verdict, rows: Mapping[tuple[str, str], Any], reasons: Mapping[tuple[str, str], str]
) -> None:
    for (entity, qbo_id), row in rows.items():
        verdict.records[entity][shown_state(row)] += 1
        if (entity, qbo_id) in reasons and row.state == "held":
            verdict.held_by_reason[reasons[entity, qbo_id]] += 1


def _money(
    verdict: Verdict, qbo: Decimal, costs: Sequence[Mapping[str, Any]], rows: Mapping[tuple[str, str], Any]
) -> None:
    posted = sum((Decimal(cost["grand_total"]) for cost in costs if cost["status"] != "draft"), ZERO)
    ours = [row for (entity, _), row in rows.items() if entity in MONEY_KINDS]
    excluded = sum((row.excluded for row in ours), ZERO)
    held = sum((row.held for row in ours), ZERO)
    verdict.money = {
        "qbo": qbo,
        "posted": posted,
        "excluded": excluded,
        "held": held,
        "delta": qbo - posted - excluded - held,
    }


def posted_at(engine: Engine) -> dict[str, datetime]:
    """When each bill was first posted, by QBO id."""
    with engine.connect() as db:
        found: dict[str, datetime] = {}
        statement = (
            select(audit.c.qbo_id, audit.c.at)
            .where(audit.c.connection == NAME, audit.c.event == "posted", audit.c.entity == "Bill")
            .order_by(audit.c.number)
        )
        for row in db.execute(statement):
            found.setdefault(row.qbo_id, row.at)
        return found
