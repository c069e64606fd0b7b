"""Documents for tests: any that a store takes, and those that formats trip over."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

AWKWARD_TEXTS: Final = (
    *("", " ", "a ", " a", "a  b", "-", "--", "---", "...", "?", ":", "a:", "a: b", ":a", "a #b"),
    *("#", "# a", "- a", "? a", "&a", "*a", "!a", "!!str", "|", ">", "%a", "@a", "`a`", "'", '"'),
    *("[", "]", "{", "}", ",", "[]", "{}", "=", "<<", "<", "~", "\\", "\\n", "/", "a/b"),
    *("null", "Null", "NULL", "none", "None", "true", "True", "TRUE", "false", "tRue"),
    *("yes", "Yes", "YES", "no", "No", "NO", "on", "ON", "off", "Off", "y", "Y", "n", "N"),
    *("0", "-0", "+0", "1", "-1", "+1", "00", "007", "08", "012", "0777", "0o7", "0O7", "0b1"),
    *("0x1F", "0xg", "-0x1", "1_000", "0x_1", "0b_1", "_1", "1_", "1,000"),
    *("1.", ".5", "-.5", "+.5", "1.5", "1e3", "1E3", "1e+3", "1.e3", "1.0e3", "1.0e+3", "1.5e-7"),
    *(
        ".inf",
        "-.inf",
        "+.Inf",
        ".nan",
        ".NaN",
        "nan",
        "NaN",
        "inf",
        "Infinity",
        ".",
        "..",
        "1.2.3",
    ),
    *("12:30", "12:30:45", "190:20:30.15", "1:2", "2026-01-31", "2026-1-1", "2026-01-31T12:00:00Z"),
    *("2026-01-31 12:00:00.5 +1", "2026-01-31t12:00:00+01:00", "20260131"),
    *("\n", "a\n", "\na", "a\nb", "a\r\nb", "\r", "\t", "\ta", "a\tb", "a\n\n b\n", "\x00", "\x1b"),
    *("\x7f", "\x80", "\x85", "\x9f", "\xa0", "\u2028", "\u2029", "\ufeff", "\ufffd", "\ufffe"),
    *("\uffff", "é", "e\u0301", "ﬁ", "İ", "😀", "\U0010ffff", "\U0001fffe", "\u202e", "\ud7ff"),
    *("<<<<<<< HEAD", "=======", ">>>>>>> b", "||||||| a", "<<<<<<< HEAD\n=======\n>>>>>>> b"),
    *("a" * 200, "a b " * 60, "é" * 600, "x" * 1100, "'\"" * 30, "e1", "1e1000", "4e5f2247"),
    *("12345678-1234-1234-1234-123456789012", "1e345678-1234-1234-1234-123456789012"),
    *("192.168.1.1:3260,1 iqn.2010-10.org.openstack:volume-1 0", "node1@lvm#lvm", "10.0.0.0/8"),
)

AWKWARD_NUMBERS: Final = (
    *(0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 0.1, -1.5, 1e15, 9007199254740993.0, 123456789012345680.0, 1e16, 1e17, 1e21),
    *(1e22, 1e23, 1.5e300, 1.7976931348623157e308, 0.001, 0.0001, 1e-5, 1.25e-5, -3e-5, 1e-6),
    *(1.5e-7, 2.2250738585072014e-308, 5e-324),
)

AWKWARD: Final[dict[str, Any]] = {
    "texts": list(AWKWARD_TEXTS),
    "keys": {text: index for index, text in enumerate(AWKWARD_TEXTS)},
    "numbers": list(AWKWARD_NUMBERS),
    "like": [1, 1.0, True, "1", 0, 0.0, -0.0, False, "", None, [], {}],
    "nested": {
        "lists": [[], [[]], [[], [{}]], [[1, [2, [3]]], {"a": [{"b": []}]}]],
        "x" * 1100: {"y" * 600: ["z" * 3000, {"é" * 600: {}}], "no": []},
        "empty": {"list": [], "object": {}, "text": ""},
    },
}
"""One document with every awkward value as a key, as a field, and in a list."""

texts: Final = (
    st.text(max_size=40)
    | st.sampled_from(AWKWARD_TEXTS)
    | st.text("0123456789+-._:eExXobTZ ", max_size=12)
    | st.text(" \t\n'\"#:-?,[]{}&*!|>%@`\\<=~ay", max_size=8)
)

scalars: Final = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(AWKWARD_NUMBERS)
    | texts
)

values: Final = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)

documents: Final[st.SearchStrategy[dict[str, Any]]] = st.dictionaries(texts, values, max_size=4)


def nested(depth: int, innermost: Any = 1, *, lists: bool = False) -> dict[str, Any]:
    """A document with ``innermost`` inside that many containers."""
    value = innermost
    for _ in range(depth - 1):
        value = [value] if lists else {"a": value}
    return {"a": value}


def exactly(value: Any) -> Any:
    """The value in a form that == compares strictly: 1, 1.0 and True differ, 0.0 and -0.0 too."""
    if isinstance(value, dict):
        return {"dict": [(key, exactly(inner)) for key, inner in sorted(value.items())]}
    if isinstance(value, list):
        return [exactly(inner) for inner in value]
    return (type(value).__name__, repr(value))
