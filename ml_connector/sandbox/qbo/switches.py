"""The doubtful points of QuickBooks' behaviour, each a switch with its default; kept with the records."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ml_connector.sandbox.records import Records

_KIND = "#switch"


@dataclass(frozen=True)
class _Switch:
    default: Any
    choices: Iterable[Any] | type


_SWITCHES: dict[str, _Switch] = {
    # daily: the value changes once it is 24 h old; the others change it at every refresh, or never.
    "token": _Switch("daily", ("daily", "same", "grace24h", "single_use")),
    "reuse_revokes": _Switch(False, bool),
    "access_token_seconds": _Switch(3600, int),
    "refresh_token_seconds": _Switch(8_726_400, int),
    "hard_expiry_seconds": _Switch(157_680_000, int),
    "authorize_error": _Switch("", str),
    "authorize_realm": _Switch("", str),
    "consent_page": _Switch(
        False, bool
    ),  # a page where a person chooses the company, instead of consent at once
    "cdc_limit": _Switch(1000, int),
    "cdc_limit_scope": _Switch("request", ("request", "type")),
    "cdc_days": _Switch(30, int),
    "cdc_too_old": _Switch("fault", ("fault", "clip")),
    "cdc_total_count": _Switch("some", ("some", "all", "none")),
    "cdc_block_order": _Switch("asked", ("asked", "reversed")),
    "bill_void": _Switch("refused", ("refused", "allowed")),
    "upper_case_403": _Switch(False, bool),
    "inactive_suffix": _Switch(True, bool),
    "line_ids": _Switch("kept", ("kept", "renewed")),
    "payment_edit_moves_bills": _Switch(True, bool),
    "payment_fires_bill_event": _Switch(True, bool),
    "balance_fires_name_event": _Switch(False, bool),
    "extra_fields": _Switch(False, bool),
    "requests_per_minute": _Switch(0, int),
    "requests_per_second": _Switch(0, int),
    "batches_per_minute": _Switch(0, int),
}


class Switches:
    """Reads and sets switches; 0 means no limit."""

    def __init__(self, records: Records) -> None:
        """Values set before a restart are in `records`."""
        self._records = records

    def __getitem__(self, name: str) -> Any:
        held = self._records.get(_KIND, name)
        return _SWITCHES[name].default if held is None else held["value"]

    def set(self, name: str, value: Any) -> None:
        """Raises ValueError for an unknown name or a value that it cannot take."""
        switch = _SWITCHES.get(name)
        if switch is None:
            raise ValueError(f"no switch {name!r}; there are {sorted(_SWITCHES)}")
        if isinstance(switch.choices, type):
            if type(value) is not switch.choices:
                raise ValueError(f"{name} takes a {switch.choices.__name__}")
        elif value not in switch.choices:
            raise ValueError(f"{name} is one of {list(switch.choices)}")
        self._records.put(_KIND, name, {"value": value})

    def all(self) -> dict[str, Any]:
        """Every switch with its value."""
        return {name: self[name] for name in _SWITCHES}
