"""What `ping` finds: one check is one sentence, and what to do when it is not fine. Nothing is written anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from ml_connector.errors import ReconnectNeeded, SetupError, TransientError, VendorError
from ml_connector.transport.call import CallRefused

T = TypeVar("T")

SKEW_NOTED, SKEW_TOO_MUCH = timedelta(seconds=30), timedelta(minutes=2)


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # works, and will hold something up
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One check: of what (`QuickBooks`, `Procore`, `Webhooks`), what was found, and what to do ("" when fine)."""

    of: str
    what: str
    result: Result
    found: str
    fix: str = ""


def ok(of: str, what: str, found: str) -> Check:
    """A check that is fine."""
    return Check(of, what, Result.OK, found)


def warning(of: str, what: str, found: str, *, fix: str) -> Check:
    """A check that works and should be seen to."""
    return Check(of, what, Result.WARNING, found, fix)


def failed(of: str, what: str, found: str, *, fix: str) -> Check:
    """A check that keeps the connection from working."""
    return Check(of, what, Result.FAILED, found, fix)


def tried(of: str, what: str, ask: Callable[[], T], *, fix: str) -> T | Check:
    """What `ask` brings, or the failed check that tells why not; `fix` is for a refusal."""
    try:
        return ask()
    except CallRefused as refusal:
        said = f": {refusal.fault.text}" if refusal.fault.text else ""
        return failed(of, what, f"HTTP {refusal.status}{said}", fix=fix)
    except ReconnectNeeded as error:
        return failed(of, what, str(error), fix="connect again")
    except SetupError as error:
        return failed(of, what, str(error), fix="see the sentence")
    except TransientError as error:
        return failed(of, what, str(error), fix="try again later; nothing is lost meanwhile")
    except VendorError as error:
        return failed(of, what, str(error), fix=fix)


def clock(of: str, skew: timedelta | None) -> Check:
    """Whether our clock goes with the vendor's: token ends and waits are told by it."""
    if skew is None:
        return warning(of, "clock", "the answers carry no time", fix="look at a proxy between here and there")
    seconds = round(skew.total_seconds())
    found = f"{abs(seconds)} s {'behind' if seconds > 0 else 'ahead of'} {of}" if seconds else f"with {of}"
    if abs(skew) >= SKEW_TOO_MUCH:
        return failed(of, "clock", found, fix="set this machine's clock, by NTP for instance")
    if abs(skew) >= SKEW_NOTED:
        return warning(of, "clock", found, fix="set this machine's clock, by NTP for instance")
    return ok(of, "clock", found)
