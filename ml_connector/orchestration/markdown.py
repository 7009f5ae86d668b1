"""A day's records as Markdown for the UI: the money in one sentence, what waits and what is posted, with links.

Names and numbers come from the books: what Markdown would take for its own is escaped.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from ml_connector.money import ZERO
from ml_connector.procore.pages import commitments_page, direct_cost_page
from ml_connector.qbo.pages import page_of
from ml_connector.settings import Connection
from ml_connector.store.ledger import Kind
from ml_connector.store.overview import HeldRecord, PostedRecord, Tally

Tallies = Mapping[tuple[str, str], Tally]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~!])")
_WORDS = {
    Kind.DIRECT_COST: "direct cost",
    Kind.REQUISITION: "invoice",
    Kind.CONTRACT_PAYMENT: "payment",
}


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def money_of(tally: Tally, *, done: str) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Total, what is `done` ("mapped" or "posted") of it, excluded, held."""
    mapped = tally.total - tally.excluded - tally.held
    return tally.total, tally.posted if done == "posted" else mapped, tally.excluded, tally.held


def summary(tallies: Tallies, *, done: str) -> str:
    """`3 records, 300.00: 200.00 posted, 0.00 excluded, 100.00 held.`, and a table by kind and state.

    `done` is what becomes of money that is neither excluded nor held: mapped, posted.
    """
    if not tallies:
        return "Nothing changed in this window."
    found = list(tallies.values())
    count = sum(tally.count for tally in found)
    total, through, excluded, held = (
        f"{sum(amounts, ZERO):,}"
        for amounts in zip(*(money_of(tally, done=done) for tally in found), strict=True)
    )
    whole = f"{count:,} record{'' if count == 1 else 's'}, {total}"
    sentence = f"**{whole}:** {through} {done}, {excluded} excluded, {held} held."
    rows = [
        (entity, state, f"{tally.count:,}", *(f"{amount:,}" for amount in money_of(tally, done=done)))
        for (entity, state), tally in tallies.items()
    ]
    heading = ("what", "state", "records", "total", done, "excluded", "held")
    return f"{sentence}\n\n{_table(heading, rows, numbers=5)}"


def links_to_qbo(connection: Connection, holds: Sequence[HeldRecord]) -> str:
    """The pages in QuickBooks of what waits."""
    return " · ".join(_qbo_link(connection, hold.entity, hold.qbo_id, hold.document) for hold in holds)


def posted_table(connection: Connection, posted: Sequence[PostedRecord]) -> str:
    """What Procore holds: number (a link to QuickBooks), vendor, amount, a link to Procore."""
    rows = [
        (
            _qbo_link(connection, one.entity, one.qbo_id, one.document),
            plain(one.vendor_name),
            f"{one.amount:,}",
            f"[{_WORDS[one.kind]} {one.procore_id}]({_procore_page(connection, one)})",
        )
        for one in posted
    ]
    return _table(("in QuickBooks", "vendor", "amount", "in Procore"), rows)


def _qbo_link(connection: Connection, entity: str, qbo_id: str, document: str) -> str:
    shown = plain(document) or f"{entity} {qbo_id}"
    return f"[{shown}]({page_of(connection.qbo.app_url, entity, qbo_id)})"


def _procore_page(connection: Connection, one: PostedRecord) -> str:
    if one.kind is Kind.DIRECT_COST:
        return direct_cost_page(connection.procore.app_url, one.project_id, one.procore_id)
    return commitments_page(connection.procore.app_url, one.project_id)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """A table of which the last `numbers` columns are figures."""
    rules = ["---"] * (len(heading) - numbers) + ["--:"] * numbers
    lines = [heading, rules, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
