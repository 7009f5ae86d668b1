"""The demo firm as one bundle: lists, history, what is entered live, sheets, and what must come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from ml_connector.sandbox.demo import bills, credits, payments, sheets
from ml_connector.sandbox.demo.bills import Entry, PastBill
from ml_connector.sandbox.demo.changes import Change, changes
from ml_connector.sandbox.demo.expectations import Expected
from ml_connector.sandbox.demo.parties import VENDORS
from ml_connector.sandbox.demo.payments import Payment
from ml_connector.sandbox.demo.reference import COMPANY, REALM, procore_lists, qbo_lists, vendor_record
from ml_connector.sandbox.qbo.times import epoch
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Vendor


@dataclass(frozen=True)
class DemoFirm:
    """All that the demo needs for one day.

    `history` is a payload for QBO's `load`. `entries` (bills and vendor credits), `payments` and then `changes` are
    for `bookkeeper`. `expectations` say what stands when all of that is done. They go by key: the Id of a record of the
    history, the mark `ref D-317` in the PrivateNote of a record entered live. `expectations.key_of` tells the key of any
    record that QBO shows.
    """

    today: date
    start_date: date
    time_zone: str
    realm: str
    company: int
    history: Document
    entries: tuple[Entry, ...]
    payments: tuple[Payment, ...]
    changes: tuple[Change, ...]
    expectations: Mapping[str, Expected]
    mapping_csv: str
    projects_csv: str


def this_day() -> date:
    """Today where the firm is."""
    return datetime.now(ZoneInfo(bills.TIME_ZONE)).date()


def load_reference(qbo: Vendor, procore: Vendor, *, today: date) -> int:
    """Load the lists of both sides, no transaction, into empty sandboxes; returns how many records.

    `today` only places the billing periods.
    """
    return qbo.load(qbo_lists()) + procore.load(procore_lists(today))


def demo(today: date) -> DemoFirm:
    """The firm as of `today` in its time zone. Only dates depend on it; amounts and numbers never change."""
    past = bills.history(today)
    live = bills.live(today)
    entered = [*live, *credits.credits(today)]
    paid = payments.payments(past, live, today)
    later = list(changes(past, live, paid))
    first = [row.expected for row in past] + [entry.expected for entry in entered]
    first += [payment.expected for payment in paid]
    stands = {entry.key: entry for entry in first} | {change.key: change.expected for change in later}
    return DemoFirm(
        today=today,
        start_date=today - timedelta(days=bills.DAYS - 1),
        time_zone=bills.TIME_ZONE,
        realm=REALM,
        company=COMPANY,
        history={"realm": REALM, "Vendor": _touched(past), "Bill": [row.bill for row in past]},
        entries=tuple(entered),
        payments=tuple(paid),
        changes=tuple(later),
        expectations=_with_payment_dates(stands, paid),
        mapping_csv=sheets.mapping_csv(today),
        projects_csv=sheets.projects_csv(),
    )


def _with_payment_dates(stands: Mapping[str, Expected], paid: Sequence[Payment]) -> dict[str, Expected]:
    """The direct costs of a bill that is paid off bear the date of its last payment."""
    settled: dict[str, Decimal] = {}
    last: dict[str, date] = {}
    for payment in (payment for payment in paid if not payment.voided):
        for key, amount in payment.pays:
            settled[key] = settled.get(key, Decimal(0)) + amount
            last[key] = max(payment.day, last.get(key, payment.day))
    return {
        key: replace(entry, paid_on=last[key]) if entry.targets and settled.get(key) == entry.total else entry
        for key, entry in stands.items()
    }


def _touched(past: list[PastBill]) -> list[Document]:
    """The vendors of the history with the balance and the time of change that their bills left behind."""
    balances: dict[str, Decimal] = {}
    updated: dict[str, str] = {}
    for row in past:
        id, time = row.draft.vendor.id, row.bill["MetaData"]["LastUpdatedTime"]
        balances[id] = balances.get(id, Decimal(0)) + row.bill["Balance"]
        updated[id] = max(updated.get(id, time), time, key=epoch)
    return [
        vendor_record(vendor, balance=balances[vendor.id], updated=updated[vendor.id])
        for vendor in VENDORS
        if vendor.id in balances
    ]
