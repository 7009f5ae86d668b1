"""The demo firm as one bundle: lists, history, what is entered live, sheets, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from ml_connector.sandbox.demo import bills, payments, sheets
from ml_connector.sandbox.demo.bills import Entry, PastBill
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

    `history` is a payload for QBO's `load`. `entries` (bills and vendor credits) and `payments` are for
    `bookkeeper`. `expectations` go by key: the Id of a record of the history, the mark `ref D-317` in the
    PrivateNote of a record entered live. `expectations.key_of` tells the key of any record that QBO shows.
    """

    today: date
    start_date: date
    time_zone: str
    realm: str
    company: int
    history: Document
    entries: tuple[Entry, ...]
    payments: tuple[Payment, ...]
    expectations: Mapping[str, Expected]
    mapping_csv: str
    projects_csv: str


def load_reference(qbo: Vendor, procore: Vendor) -> int:
    """Load the lists of both sides, no transaction, into empty sandboxes; returns how many records."""
    return qbo.load(qbo_lists()) + procore.load(procore_lists())


def demo(today: date) -> DemoFirm:
    """The firm as of `today` in its time zone. Only dates depend on it; amounts and numbers never change."""
    past = bills.history(today)
    live = bills.live(today)
    entered = [*live, *payments.credits(today)]
    paid = payments.payments(past, live, today)
    expected = [row.expected for row in past] + [entry.expected for entry in entered]
    expected += [payment.expected for payment in paid]
    return DemoFirm(
        today=today,
        start_date=today - timedelta(days=bills.DAYS - 1),
        time_zone=bills.TIME_ZONE,
        realm=REALM,
        company=COMPANY,
        history={"realm": REALM, "Vendor": _touched(past), "Bill": [row.bill for row in past]},
        entries=tuple(entered),
        payments=tuple(paid),
        expectations={entry.key: entry for entry in expected},
        mapping_csv=sheets.mapping_csv(today),
        projects_csv=sheets.projects_csv(),
    )


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
