"""The approval gate: what a person approves of a bill, and the sentence that asks for it (S30, S31).

An approval is for what would be sent, and not for a number or an amount. Pure.
"""

import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal

from ml_connector.holds import Choice, Hold, Reason
from ml_connector.mapping.models import Route
from ml_connector.mapping.wording import bill_words, quoted
from ml_connector.money import ZERO, total
from ml_connector.qbo.models import Bill
from ml_connector.settings import Policies
from ml_connector.store.decisions import Made
from ml_connector.store.records import MappedLine

PLACES_SHOWN = 4
ROUTE_WORDS = {
    Route.DIRECT_COST: "direct cost",
    Route.COMMITMENT: "on commitment",
    Route.RETAINAGE: "retainage on commitment",
}


def asks_for_approval(policies: Policies, amount: Decimal, *, changes_posted: bool) -> str:
    """What of the policies lets a bill or credit of that total wait for a person; "" when nothing does.

    `changes_posted`: Procore counts an earlier version of it, and changes are not to follow by themselves.
    """
    if policies.approval == "all":
        return "every bill"
    if (
        policies.approval_above is not None
        and policies.approval == "above"
        and abs(amount) > policies.approval_above
    ):
        return f"what is above {policies.approval_above:,.2f}"
    return "a change of what is posted" if changes_posted else ""


def digest_of(bill: Bill, lines: Sequence[MappedLine]) -> str:
    """What an approval is for: vendor, number, date, total, and where which lines would be posted.

    The rule that took a line and the words beside the lines are no part of it, and neither is what payments change.
    """
    sent = [
        [
            line.project_id,
            line.wbs_code_id,
            str(line.route),
            line.commitment,
            f"{line.amount:.2f}",
            _number(line.quantity),
            _number(line.unit_price),
            _storable(line.description),
        ]
        for line in lines
        if line.outcome == "posted"
    ]
    head = [bill.vendor.id, _storable(bill.number), bill.txn_date.isoformat(), f"{bill.total:.2f}"]
    return hashlib.sha256(json.dumps([head, sent]).encode()).hexdigest()


def approval_hold(
    bill: Bill, lines: Sequence[MappedLine], asked: str, said: Made | None, *, digest: str
) -> Hold:
    """The hold of a bill that nobody has approved; `said` is the decision on the very same content, if there is one."""
    amount = total(line.amount for line in lines if line.outcome == "posted")
    if said is not None and said.choice is Choice.REJECT:
        text = (
            f"{said.by} rejected it on {said.at:%Y-%m-%d}: {quoted(said.comment, 120)}. Correct it in QBO, where a "
            "change asks for approval again, or void it there."
        )
    else:
        text = f"{asked} needs approval. It would post {_places(lines)}. Approve or reject it."
    return Hold(
        Reason.NEEDS_APPROVAL,
        f"{bill_words(bill)}: {text}",
        f"{Reason.NEEDS_APPROVAL} {asked}",
        amount,
        about=digest,
    )


def _places(lines: Sequence[MappedLine]) -> str:
    """`12,000.00 on project 101 as 03-3000 / M (direct cost)`, by project, code and route."""
    by_place: dict[str, Decimal] = {}
    for line in (line for line in lines if line.outcome == "posted"):
        code = f" as {line.cost_code} / {line.cost_type}" if line.cost_code else ""
        where = " ".join(filter(None, (ROUTE_WORDS[Route(line.route)], quoted(line.commitment, 24))))
        place = f"on project {line.project_id or 'of the commitment'}{code} ({where})"
        by_place[place] = by_place.get(place, ZERO) + line.amount
    shown = [f"{amount:,.2f} {place}" for place, amount in list(by_place.items())[:PLACES_SHOWN]]
    more = len(by_place) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _number(value: Decimal | None) -> str:
    return "" if value is None else f"{value.normalize():f}"


def _storable(text: str) -> str:
    # As the store keeps it: what was posted is compared with what would be.
    return text.replace("\0", "").encode("utf-8", "replace").decode()
