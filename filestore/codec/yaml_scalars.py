"""What a scalar of YAML means, and how to write one so that no reader can mistake it.

YAML 1.1 (most libraries) and YAML 1.2 (its core schema) read some plain scalars differently:
``no``, ``1e3``, ``0o7``, ``12:30:45``, ``2026-01-31``.  Those are written in quotes, and where
a person left them unquoted they are refused rather than guessed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

import orjson

from filestore.codec.floats import format_float

Scalar: TypeAlias = "str | int | float | bool | None"


class Unclear(ValueError):
    """A plain scalar that has not one meaning; the message says what to write instead."""


_SAME: Final[dict[str, Scalar]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TRUE_OR_FALSE: Final = {
    form: meaning
    for word, meaning in (
        ("yes", "true"),
        ("on", "true"),
        ("y", "true"),
        ("no", "false"),
        ("off", "false"),
        ("n", "false"),
    )
    for form in (word, word.capitalize(), word.upper())
}
_NUMBERS_BEGIN: Final = frozenset("+-.0123456789")

_is_integer: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII).fullmatch
_is_float: Final = re.compile(
    r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|\.[0-9]+(?:[eE][-+][0-9]+)?", re.ASCII
).fullmatch
_is_hexadecimal: Final = re.compile(r"0x[0-9a-fA-F]+", re.ASCII).fullmatch
_is_not_finite: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII).fullmatch


class _Form(NamedTuple):
    """A form of plain scalars that the two versions read differently."""

    pattern: re.Pattern[str]
    in_1_1: str
    in_1_2: str
    advice: str


def _form(pattern: str, in_1_1: str, in_1_2: str, advice: str = "") -> _Form:
    return _Form(
        re.compile(pattern, re.ASCII), in_1_1, in_1_2, advice or "write it in decimal or quote it"
    )


_FORMS: Final = (
    _form(
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
        r"(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
        r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?)?",
        "a date",
        "text",
        "quote it",
    ),
    _form(
        r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?",
        "a number with base 60",
        "text",
        "quote it",
    ),
    _form(r"[-+]?0[0-7_]+", "an octal number", "a decimal number or text"),
    _form(r"[-+]?0[0-9]+", "text", "a decimal number"),
    _form(r"0o[0-7]+", "text", "an octal number"),
    _form(r"[-+]?0b[01_]+", "a binary number", "text"),
    _form(r"[-+]?0x[0-9a-fA-F_]+", "a hexadecimal number", "text"),
    # Wider than YAML 1.1: readers differ in where they take an underscore.
    _form(r"(?=.*_)[-+]?\.?[0-9][0-9_.]*(?:[eE][-+]?[0-9_]+)?", "a number", "text"),
    _form(r"[-+]?\.[0-9]+(?:[eE][-+][0-9]+)?", "text to some readers", "a number"),
    _form(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        "text",
        "a number",
        "write it with a point and a sign, as in 1.0e+3, or quote it",
    ),
)


def read_plain(text: str) -> Scalar:
    """What a plain scalar means.  Raises Unclear for one that has not one meaning in JSON."""
    if text in _SAME:
        return _SAME[text]
    if text[0] not in _NUMBERS_BEGIN:
        if text in _TRUE_OR_FALSE:
            raise Unclear(
                f"`{text}` is {_TRUE_OR_FALSE[text]} in YAML 1.1 and text in 1.2:"
                " write true, false or quote it"
            )
        if text in ("=", "<<"):
            raise Unclear(f"`{text}` has a meaning of its own in YAML 1.1: quote it")
        return text
    if _is_integer(text):
        return _integer(text, 10)
    if _is_float(text):
        number = float(text)
        if abs(number) == float("inf"):
            raise Unclear(f"`{_shown(text)}` is too large for a float: quote it")
        return number
    if _is_hexadecimal(text):
        return _integer(text, 16)
    if _is_not_finite(text):
        raise Unclear(f"`{text}` is no number of JSON: write null or quote it")
    for form in _FORMS:
        if form.pattern.fullmatch(text):
            raise Unclear(
                f"`{_shown(text)}` is {form.in_1_1} in YAML 1.1 and {form.in_1_2} in 1.2:"
                f" {form.advice}"
            )
    return text


def _integer(text: str, base: int) -> int:
    # Longer ones are beyond 64 bits unless they begin with zeros, and may be too much for int().
    number = int(text, base) if len(text) <= 64 else 2**64
    if not -(2**63) <= number < 2**64:
        raise Unclear(f"the integer {_shown(text)} is not between -2**63 and 2**64-1: quote it")
    return number


def _shown(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


# Plain: words that begin with a letter, with no mark that YAML knows, and UUIDs.
_WORD: Final = r"[A-Za-z0-9_./@+=-]+(?::[A-Za-z0-9_./@+=-]+)*"
_is_plain: Final = re.compile(
    rf"(?=[A-Za-z_/]){_WORD}(?: {_WORD})*"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII,
).fullmatch
_LONGEST_WORD: Final = 5
_WORDS: Final = frozenset({word.lower() for word in (*_SAME, *_TRUE_OR_FALSE)}) | {"nan", "inf"}

# What JSON leaves as it is and YAML does not print, or takes for a line break or a mark.
_unprintables: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def write_text(text: str) -> str:
    """The text as a scalar on one line, read as this text by YAML 1.1 and 1.2 alike."""
    if _is_plain(text) and (len(text) > _LONGEST_WORD or text.lower() not in _WORDS):
        return text
    quoted = orjson.dumps(text).decode()
    if not quoted.isascii() or "\x7f" in quoted:
        quoted = _unprintables.sub(_escaped, quoted)
    return quoted


def write_float(number: float) -> str:
    """The float as YAML 1.1 knows it too: with a point before the exponent."""
    text = format_float(number)
    digits, mark, exponent = text.partition("e")
    return f"{digits}.0e{exponent}" if mark and "." not in digits else text


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
