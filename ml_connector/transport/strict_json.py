"""JSON that cannot lose a cent: numbers with a point become Decimal, Decimal is written as a plain number.

Stricter than the standard library: NaN, Infinity, doubled keys and floats are refused, because each of them
would be a wrong amount that looks right.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def loads(text: bytes) -> Any:
    """The value of a UTF-8 JSON text. Raises ValueError for anything that is not one."""
    try:
        return json.loads(
            text.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except ArithmeticError as error:  # an exponent that no Decimal can hold
        raise ValueError("a number is out of range") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def dumps(value: object) -> bytes:
    """`value` as compact UTF-8 JSON. Raises TypeError for a float: money is never one."""
    return _text(value).encode("utf-8")


def _text(value: object) -> str:
    match value:
        case Decimal():
            if not value.is_finite():
                raise TypeError("a Decimal that is not finite has no JSON form")
            return format(value, "f")
        case None | bool() | int() | str():
            return json.dumps(value)
        case Mapping():
            return "{" + ",".join(f"{_key(key)}:{_text(entry)}" for key, entry in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(_text(entry) for entry in value) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form here")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a JSON key must be text, not {type(key).__name__}")
    return json.dumps(key)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return content


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number")
