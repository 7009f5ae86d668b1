"""How values come in and go out: money and numbers as exact decimals, dates, and tables of writable fields.

Inside the records every amount is text with its decimals, so that no digit is lost or added.
"""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from ml_connector.sandbox.procore.errors import invalid
from ml_connector.sandbox.procore.switches import Switches

CENT = Decimal("0.01")
ZERO = Decimal(0)

Reader = Callable[[Any, str, Switches], Any]
Fields = Mapping[str, Reader]


def decimal(value: Any, field: str) -> Decimal:
    """A number or a number as text. Raises Refusal 400."""
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        raise invalid(field, "is not a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise invalid(field, "is not a number") from None
    if not number.is_finite() or abs(number) >= Decimal(10) ** 15:
        raise invalid(field, "is not a number")
    return number


def rounded(value: Decimal) -> Decimal:
    """To cents, half away from zero."""
    return value.quantize(CENT, ROUND_HALF_UP)


def cents(value: Decimal) -> str:
    """As budget rows and requisitions write money: "30000.00"."""
    return format(rounded(value) + ZERO, "f")


def plain(value: Decimal | str | None) -> str | None:
    """As direct costs and contracts write numbers: "1000.0", "605.25"."""
    if value is None:
        return None
    whole, _, fraction = format(Decimal(value), "f").partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}"


def money(value: Any) -> Decimal:
    """A stored amount; none is zero."""
    return ZERO if value in (None, "") else Decimal(value)


def text(value: Any, field: str, _: Switches) -> str:
    if isinstance(value, (dict, list)):
        raise invalid(field, "is invalid")
    return str(value)


def day(value: Any, field: str, switches: Switches) -> str | None:
    """A date. One that is badly formed becomes null without a word, as Procore's guide on dates warns."""
    try:
        return date.fromisoformat(str(value)[:10]).isoformat()
    except ValueError:
        if switches["bad_dates"] == "refuse":
            raise invalid(field, "is not a date") from None
        return None


def whole(value: Any, field: str, _: Switches) -> int:
    if isinstance(value, bool) or not str(value).removeprefix("-").isdecimal():
        raise invalid(field, "is not a whole number")
    return int(value)


def number(value: Any, field: str, _: Switches) -> str:
    return format(decimal(value, field), "f")


def amount(value: Any, field: str, _: Switches) -> str:
    return cents(decimal(value, field))


def flag(value: Any, field: str, _: Switches) -> bool:
    if not isinstance(value, bool):
        raise invalid(field, "is not true or false")
    return value


def numbers(value: Any, field: str, switches: Switches) -> list[int]:
    if not isinstance(value, list):
        raise invalid(field, "is not a list")
    return [whole(one, field, switches) for one in value]


def anything(value: Any, _: str, __: Switches) -> Any:
    return value


def one_of(*choices: str) -> Reader:
    def read(value: Any, field: str, _: Switches) -> str:
        if value not in choices:
            raise invalid(field, f"must be one of {', '.join(choices)}")
        return str(value)

    return read


def read_fields(given: Mapping[str, Any], fields: Fields, switches: Switches) -> dict[str, Any]:
    """The writable fields among the given ones, checked; null stays null, unknown fields are left out.

    Raises Refusal 400.
    """
    return {
        name: None if given[name] is None else read(given[name], name, switches)
        for name, read in fields.items()
        if name in given
    }


def picked(doc: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """These fields of a document, null where it has none."""
    return {name: doc.get(name) for name in names}
