"""One way to write each float, whichever orjson is installed.

The digits are the shortest that read back as the same float, as ``repr`` gives them.
From 1e-5 up to 1e16 they stand without an exponent, outside it with one: ``1e+16``,
``1.5e-7``.  That is what orjson 3.13 writes; earlier ones leave out the ``+``.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

_PROBE: Final = (
    (0.0, b"0.0"),
    (-0.0, b"-0.0"),
    (1.0, b"1.0"),
    (0.1, b"0.1"),
    (0.0001, b"0.0001"),
    (1e-05, b"0.00001"),
    (-1.5e-05, b"-0.000015"),
    (9.5e-06, b"9.5e-6"),
    (5e-324, b"5e-324"),
    (1e15, b"1000000000000000.0"),
    (123456789012345.6, b"123456789012345.6"),
    (9007199254740993.0, b"9007199254740992.0"),
    (1e16, b"1e+16"),
    (-1.2345678901234568e17, b"-1.2345678901234568e+17"),
    (1.7976931348623157e308, b"1.7976931348623157e+308"),
)

CONFORMS: Final = all(orjson.dumps(number) == text for number, text in _PROBE)
"""Whether the installed orjson writes floats so by itself."""

# Compiled when there is a use for them, which there is not beside an orjson that conforms.
# A number with an exponent or with many leading zeros, outside or inside a string.
_SUSPICIOUS: Final = rb"[0-9][eE]|0\.0000|[0-9]{16}"
_TOKENS: Final = rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)'


def format_float(number: float) -> str:
    """The text of a finite float.

    >>> format_float(1e16), format_float(1e-5), format_float(-1.5e-7)
    ('1e+16', '0.00001', '-1.5e-7')
    """
    text = repr(number)
    digits, mark, exponent = text.partition("e")
    if not mark or exponent[0] == "+":
        return text
    if exponent == "-05":
        sign = "-" if digits[0] == "-" else ""
        return f"{sign}0.0000{digits.lstrip('-').replace('.', '')}"
    return f"{digits}e{int(exponent)}"


def conform(data: bytes) -> bytes:
    """JSON text with its floats written so; the rest as it is."""
    if not re.search(_SUSPICIOUS, data):
        return data
    return re.sub(_TOKENS, _rewritten, data)


def _rewritten(token: re.Match[bytes]) -> bytes:
    text = token.group()
    if text[0] == 0x22:
        return text
    return format_float(float(text)).encode()
