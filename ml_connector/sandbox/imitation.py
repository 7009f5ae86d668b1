"""One vendor with all that belongs to it: what a server runs and what the control routes reach into."""

import threading
from dataclasses import dataclass, field

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.faults import FaultBook
from ml_connector.sandbox.journal import Journal
from ml_connector.sandbox.records import Records
from ml_connector.sandbox.webhooks import Webhooks
from ml_connector.sandbox.wire import Vendor


@dataclass(frozen=True)
class Imitation:
    """`lock` is held around every use of `vendor` and `records`; the others guard themselves."""

    vendor: Vendor
    records: Records
    clock: Clock
    journal: Journal
    faults: FaultBook
    webhooks: Webhooks | None
    lock: threading.RLock = field(default_factory=threading.RLock)
