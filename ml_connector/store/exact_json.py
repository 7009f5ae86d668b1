"""JSON that keeps every digit of a number: Decimal in, Decimal out.

Text is escaped to ASCII, so any record can be stored.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any

WRITTEN_OUT = 1000  # digits


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """`value` as compact JSON bytes.

    Raises TypeError for what JSON has no word for, binary floats and what is no number included.
    """
    parts: list[str] = []
    _write(value, parts, sort_keys)
    return "".join(parts).encode("ascii")


def loads(content: bytes) -> Any:
    """The value of JSON bytes, with Decimal for numbers that have a point or an exponent."""
    return json.loads(content, parse_float=Decimal)


def _write(value: Any, parts: list[str], sort_keys: bool) -> None:
    if isinstance(value, str):
        parts.append(encode_basestring_ascii(value))
    elif value is None or isinstance(value, int):  # bool is one
        parts.append(json.dumps(value))
    elif isinstance(value, Decimal) and value.is_finite():
        # Written out, a number such as 1E999999999 would fill the memory.
        parts.append(format(value, "f") if abs(value.adjusted()) <= WRITTEN_OUT else str(value))
    elif isinstance(value, Mapping):
        parts.append("{")
        for position, key in enumerate(sorted(value) if sort_keys else value):
            parts.append(f"{',' if position else ''}{encode_basestring_ascii(str(key))}:")
            _write(value[key], parts, sort_keys)
        parts.append("}")
    elif isinstance(value, list | tuple):
        parts.append("[")
        for position, entry in enumerate(value):
            if position:
                parts.append(",")
            _write(entry, parts, sort_keys)
        parts.append("]")
    else:
        raise TypeError(f"{type(value).__name__} is not exact JSON")
