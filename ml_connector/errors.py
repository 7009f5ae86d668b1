"""The exceptions of ml-connector, named by what follows from them, and nothing else.

MlConnectorError
├── SetupError            a person must change the installation; the text says what
├── BadRecord             one record cannot be understood; it is held, the others go on
├── DecisionRefused       a person's decision cannot stand; the text says why
├── NoticeNotSent         a message to people did not leave; it is sent later
├── TurnLost              another run works on the connection's posting since; this one sends nothing more
└── VendorError           a call to QBO or Procore did not give what was asked for
    ├── PermanentError    asking again cannot help (4xx, broken promise of the protocol)
    │   └── ReconnectNeeded   the grant is gone; a person must connect the company again
    ├── TransientError    not processed, or only read: asking later can help
    ├── VendorAway        nobody answers at the vendor: nothing was sent, and the run ends instead of its records
    └── OutcomeUnknown    a write that may or may not have happened; look it up, never repeat it blindly
"""

from datetime import datetime


class MlConnectorError(Exception):
    """Base of everything that this package raises on purpose."""


class SetupError(MlConnectorError):
    """The installation or a file of the operator is wrong; the message says what to do."""


class BadRecord(MlConnectorError):
    """A record of a vendor that cannot be understood; the message names the field and the value."""


class DecisionRefused(MlConnectorError):
    """What a person decided cannot stand: it was decided before, is outdated, or is not theirs to decide."""


class NoticeNotSent(MlConnectorError):
    """Neither mail server nor chat took a message."""


class TurnLost(MlConnectorError):
    """The database ended this run's claim and another run took it: this one may write nothing more."""


class VendorError(MlConnectorError):
    """A call failed. `str()` has vendor, status and request id, never a header, token or record."""

    def __init__(
        self, what: str, *, vendor: str, status: int | None = None, request_id: str = "", body: str = ""
    ) -> None:
        self.vendor = vendor
        self.status = status
        self.request_id = request_id
        self.body = body  # for the protected audit trail only; never printed
        marks = [f"{vendor}: {what}"]
        if status is not None:
            marks.append(f"HTTP {status}")
        if request_id:
            marks.append(f"request {request_id}")
        super().__init__(", ".join(marks))


class PermanentError(VendorError):
    """Asking again cannot help."""


class ReconnectNeeded(PermanentError):
    """The stored grant is dead: `ml-connector connect` must be run by a person."""


class TransientError(VendorError):
    """Nothing was changed at the vendor; `not_before` says when asking again makes sense (UTC)."""

    def __init__(
        self,
        what: str,
        *,
        vendor: str,
        status: int | None = None,
        request_id: str = "",
        body: str = "",
        not_before: datetime | None = None,
    ) -> None:
        super().__init__(what, vendor=vendor, status=status, request_id=request_id, body=body)
        self.not_before = not_before


class VendorAway(VendorError):
    """So many calls in a row found nobody that none was sent; `not_before` says when one may be again (UTC).

    No TransientError: what is done for one record that fails must not be done for every record of an outage.
    """

    def __init__(self, what: str, *, vendor: str, not_before: datetime) -> None:
        super().__init__(what, vendor=vendor)
        self.not_before = not_before


class OutcomeUnknown(VendorError):
    """A write was sent and no clear answer came back."""
