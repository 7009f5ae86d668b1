"""Strict JSON: what is refused, and that money stays exact both ways."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.transport import strict_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, places=4)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b"<html></html>",
        b"",
        b'{"a":',
        b'{"a":1}x',
        b'"\xff"',
        b"[" * 100_000,
        b"[1e99999999999999999999]",
        b"[" + b"9" * 5000 + b"]",
    ],
    ids=lambda text: text[:20].decode("latin-1"),
)
def test_F08_a_text_that_is_not_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads(text)


def test_F08_numbers_with_a_point_or_an_exponent_are_decimal() -> None:
    value = strict_json.loads(b'{"a":103.10,"b":1e400,"c":205,"d":"0.1"}')
    assert value == {"a": Decimal("103.10"), "b": Decimal("1e400"), "c": 205, "d": "0.1"}
    assert str(value["a"]) == "103.10"


@pytest.mark.parametrize("value", [1.5, {"a": [0.1]}, Decimal("NaN"), {1: 2}, object(), {"a"}])
def test_what_has_no_exact_json_form_is_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        strict_json.dumps(value)


def test_a_decimal_is_written_as_a_plain_number() -> None:
    assert (
        strict_json.dumps({"amount": Decimal("1E+3"), "cent": Decimal("0.01")})
        == b'{"amount":1000,"cent":0.01}'
    )


@given(VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    assert strict_json.loads(strict_json.dumps(value)) == value
