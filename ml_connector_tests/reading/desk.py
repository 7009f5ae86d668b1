"""What tests of reading need beside the rig: raw bills as QBO holds them, a reader with a clock, a look into landing."""

import json
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import select

from ml_connector.orchestration.clients import qbo_client, vault_of
from ml_connector.qbo.client import QboClient, QueryAnswer, open_qbo
from ml_connector.reading.windows import Reader, Reading
from ml_connector.store import cursor, landing, windows
from ml_connector.store.tables import landing as landing_table
from ml_connector.store.tables import limiter as limiter_table
from ml_connector.store.windows import DirtyWindow
from ml_connector.transport.ports import Clock
from ml_connector_tests.rig import REALM, Rig, line

DAY = timedelta(days=1)


def raw_bill(qbo_id: int | str, *, at: str = "", total: str = "100.00", **fields: Any) -> dict[str, Any]:
    """A bill to be loaded as it is; `at` is its LastUpdatedTime (default: when it is loaded)."""
    bill: dict[str, Any] = {
        "Id": str(qbo_id),
        "DocNumber": f"N{qbo_id}",
        "SyncToken": "0",
        "VendorRef": {"value": "21", "name": "Granite Supply"},
        "TxnDate": "2026-05-04",
        "TotalAmt": float(total),
        "Balance": float(total),
        "CurrencyRef": {"value": "USD"},
        "Line": [{"Id": "1", **line(total, item="101")}],
    }
    if at:
        bill["MetaData"] = {"CreateTime": at, "LastUpdatedTime": at}
    return bill | fields


def load_text(rig: Rig, bills: str) -> None:
    """Load a JSON list of bills byte by byte, for numbers that no Python value holds."""
    body = f'{{"realm": "{REALM}", "Bill": {bills}}}'.encode()
    request = urllib.request.Request(f"{rig.qbo.url}/_control/load", body, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def text_of(bill: Mapping[str, Any], **numbers: str) -> str:
    """A bill as JSON in which fields are replaced by the given numbers, digit by digit."""
    marked = json.dumps({**bill, **{name: f"<{name}>" for name in numbers}}, default=float)
    for name, digits in numbers.items():
        marked = marked.replace(f'"<{name}>"', digits)
    return marked


def reader(
    rig: Rig, *, clock: Callable[[], datetime] | None = None, client: QboClient | None = None
) -> Reader:
    """A reader of the rig's connection."""
    client = client or qbo_client(rig.home, rig.connection, rig.engine)
    told = clock or (lambda: datetime.now(UTC))
    return Reader(rig.connection, rig.home, rig.engine, client, "run", clock=told)


def poll_at(rig: Rig, instant: str) -> Reading:
    """Poll as if it were `instant`, for QBO and for us: the open window is asked for."""
    now = datetime.fromisoformat(instant)
    rig.qbo.clock(frozen=instant)
    return reader(rig, clock=lambda: now).read([now.astimezone(rig.connection.zone).date()])


def read_to(rig: Rig) -> datetime | None:
    """Where the cursor stands."""
    with rig.engine.connect() as db:
        return cursor.read_to(db, rig.name)


def dirty(rig: Rig) -> dict[date, DirtyWindow]:
    """Dirty windows by day."""
    with rig.engine.connect() as db:
        return {window.day: window for window in windows.dirty(db, rig.name)}


def clean(rig: Rig) -> None:
    """Forget every mark."""
    with rig.engine.begin() as db:
        seen = {window.day: window.mark for window in windows.dirty(db, rig.name)}
        windows.clear(db, rig.name, seen)


def live_bills(rig: Rig) -> set[str]:
    """Ids of the bills that landing holds as live."""
    with rig.engine.connect() as db:
        return landing.live_ids(db, rig.name, "Bill", from_date=date(2000, 1, 1))


def versions(rig: Rig, qbo_id: str, entity: str = "Bill") -> list[Any]:
    """Rows of landing for one record, oldest first."""
    with rig.engine.connect() as db:
        return list(
            db.execute(
                select(landing_table)
                .where(landing_table.c.entity == entity, landing_table.c.qbo_id == qbo_id)
                .order_by(landing_table.c.number)
            )
        )


class Interrupted(QboClient):
    """A client between whose calls something happens in QBO: `happen[n]` after the n-th call."""

    def __init__(self, inner: QboClient, happen: Mapping[int, Callable[[], object]]) -> None:
        super().__init__(inner._session, inner._realm)
        self._happen = happen
        self._made = 0

    def query(self, statement: str) -> QueryAnswer:
        answer = super().query(statement)
        self._after()
        return answer

    def batch(self, statements: Any) -> list[QueryAnswer]:
        answers = super().batch(statements)
        self._after()
        return answers

    def _after(self) -> None:
        self._made += 1
        if self._made in self._happen:
            self._happen[self._made]()


def patient_client(rig: Rig, waits: list[float]) -> QboClient:
    """A client whose waits take no time; they are noted in `waits`, and the shared limits believe them."""
    began = datetime.now(UTC)

    def passed() -> timedelta:
        return timedelta(seconds=sum(waits))

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        with rig.engine.begin() as db:
            earlier = limiter_table.c.paused_until - timedelta(seconds=seconds)
            db.execute(limiter_table.update().values(paused_until=earlier))

    def elapsed() -> float:
        return (datetime.now(UTC) - began + passed()).total_seconds()

    clock = Clock(now=lambda: datetime.now(UTC) + passed(), monotonic=elapsed, sleep=sleep)
    vault = vault_of(rig.home, rig.engine)
    return open_qbo(rig.connection, engine=rig.engine, vault=vault, clock=clock)
