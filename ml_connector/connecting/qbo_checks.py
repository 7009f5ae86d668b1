"""The checks of a QuickBooks company: token, company, currency, clock, change data capture, lists."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ml_connector.connecting.checks import Check, clock, failed, ok, tried, warning
from ml_connector.qbo.client import QboClient
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store.grants import Standing

OF = "QuickBooks"
PAYABLE = "Accounts Payable"
_RIGHTS = (
    "the user who consented needs the right to all of the books: connect again as a company administrator"
)


def check_qbo(connection: Connection, client: QboClient, standing: Callable[[], Standing]) -> Iterator[Check]:
    """All checks in order; the first call that fails for its token ends them.

    `standing` is asked after that call, which may renew the token and learn when the consent ends.
    """
    info = tried(OF, "token", client.company_info, fix=f"run `ml-connector connect qbo {connection.name}`")
    if isinstance(info, Check):
        yield info
        return
    yield _token(standing())
    yield ok(OF, "company", f"{info.get('CompanyName')} ({connection.qbo.realm_id})")
    yield clock(OF, client.skew)
    yield _currency(connection, client)
    yield _changes(client)
    yield _accounts(client)


def _token(standing: Standing) -> Check:
    said = standing.sentence(datetime.now(UTC))
    ends = (
        ""
        if standing.ends_at is None
        else f"; without use or renewal the consent ends on {standing.ends_at:%Y-%m-%d}"
    )
    if said:
        return warning(OF, "token", said, fix=f"run `ml-connector connect qbo {standing.connection}`")
    return ok(OF, "token", f"accepted{ends}")


def _currency(connection: Connection, client: QboClient) -> Check:
    preferences = tried(OF, "currency", client.preferences, fix=_RIGHTS)
    if isinstance(preferences, Check):
        return preferences
    currency = _within(preferences, "CurrencyPrefs", "HomeCurrency", "value")
    wanted = connection.qbo.home_currency
    if currency is None:
        return warning(
            OF, "currency", "QuickBooks does not tell its home currency", fix=f"make sure that it is {wanted}"
        )
    if currency != wanted:
        return failed(
            OF,
            "currency",
            f"the books are kept in {currency}, and the connection says {wanted}",
            fix=f"set qbo.home_currency: {currency} in connection.yaml, when Procore counts in {currency}, too",
        )
    return ok(OF, "currency", str(currency))


def _changes(client: QboClient) -> Check:
    since = datetime.now(UTC) - timedelta(hours=1)
    answer = tried(
        OF,
        "changes",
        lambda: client.cdc([Entity.BILL, Entity.VENDOR, Entity.BILL_PAYMENT], since),
        fix=_RIGHTS,
    )
    if isinstance(answer, Check):
        return answer
    bills = len(answer.blocks[Entity.BILL])
    return ok(OF, "changes", f"change data capture answers; bills that changed in the last hour: {bills}")


def _accounts(client: QboClient) -> Check:
    answer = tried(
        OF,
        "accounts",
        lambda: client.query("SELECT * FROM Account STARTPOSITION 1 MAXRESULTS 1000"),
        fix=_RIGHTS,
    )
    if isinstance(answer, Check):
        return answer
    payable = [row for row in answer.rows if row.get("AccountType") == PAYABLE]
    if not payable:
        return failed(
            OF,
            "accounts",
            f"{len(answer.rows)} accounts, none of type {PAYABLE}",
            fix="is this the company whose bills are to be taken?",
        )
    return ok(OF, "accounts", f"{len(answer.rows)} accounts")


def _within(record: Mapping[str, Any], *names: str) -> Any:
    value: Any = record
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
