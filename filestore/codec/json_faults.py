"""Where a text stops being one JSON document: a slow look, made after a fast reader refused."""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from filestore.codec.limits import MAX_DEPTH


class Fault(NamedTuple):
    """What is wrong, what to do, and the 1-based line."""

    message: str
    line: int


_find_conflict: Final = re.compile(r"^(?:<{7}|\|{7}|={7}|>{7})(?: .*)?$", re.MULTILINE).search
_token: Final = re.compile(
    r"""[ \t\n\r]*(?:
      (?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
    | (?P<number>-?(?:0|[1-9][0-9]*)(?P<real>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![0-9A-Za-z_.+-]))
    | (?P<word>true|false|null)(?![A-Za-z0-9_])
    | (?P<mark>[\[\]{},:])
    )""",
    re.VERBOSE,
).match
_space: Final = re.compile(r"[ \t\n\r]*").match
_glimpse: Final = re.compile(r"-?[A-Za-z0-9_.+-]+|.", re.DOTALL).match
_pair_or_lone: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
).finditer


def find_conflict(text: str) -> Fault | None:
    """The first mark that git left of a merge."""
    found = _find_conflict(text)
    if found is None:
        return None
    return Fault(
        "the file has an unresolved merge conflict: choose what to keep and remove the marks",
        _line(text, found.start()),
    )


def find_fault(text: str) -> Fault | None:
    """The first thing that keeps the text from being a document; None for a document."""
    return find_conflict(text) or _Look(text).first()


class _Fault(Exception):
    def __init__(self, message: str, at: int) -> None:
        self.message = message
        self.at = at


class _Look:
    """One look at a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        # An open object is the set of its keys so far, an open list is None.
        self.open: list[tuple[set[str] | None, int]] = []

    def first(self) -> Fault | None:
        try:
            self._look()
        except _Fault as fault:
            return Fault(fault.message, _line(self.text, fault.at))
        return None

    def _look(self) -> None:
        start, kind, token = self._next("a value")
        if token != "{":
            raise _Fault(
                "a document is an object: the file must hold fields between { and }", start
            )
        self._begin(token, start)
        while self.open:
            keys, _ = self.open[-1]
            start, kind, token = self._next("a key or }" if keys is not None else "a value or ]")
            if token == ("}" if keys is not None else "]"):
                self.open.pop()
            else:
                if keys is not None:
                    start, kind, token = self._key(keys, start, kind, token)
                if kind == "mark":
                    if token not in "[{":
                        raise _Fault(f"a value was expected here, not {token}", start)
                    self._begin(token, start)
                    continue
            self._after_value()
        end = _space(self.text, self.at).end()  # type: ignore[union-attr]
        if end < len(self.text):
            raise _Fault("there is something after the end of the document: remove it", end)

    def _key(self, keys: set[str], start: int, kind: str, token: str) -> tuple[int, str, str]:
        """Take a key and its colon; the token after them."""
        if kind != "string":
            raise _Fault(f"a key in double quotes was expected here, not {token}", start)
        key = _unescape(token)
        if key in keys:
            raise _Fault(f"the key {token} stands twice in one object: remove one of them", start)
        keys.add(key)
        colon, _, token = self._next("a colon")
        if token != ":":
            raise _Fault(f"a colon was expected after the key, not {token}", colon)
        return self._next("a value")

    def _after_value(self) -> None:
        """Take the comma, or the closing brackets that come instead."""
        while self.open:
            keys, _ = self.open[-1]
            close = "}" if keys is not None else "]"
            start, _, token = self._next(f"a comma or {close}")
            if token == close:
                self.open.pop()
                continue
            if token != ",":
                raise _Fault(f"a comma or {close} was expected here, not {token}", start)
            following = _token(self.text, self.at)
            if following is not None and following["mark"] == close:
                raise _Fault(f"the comma before {close} must go", start)
            return

    def _begin(self, token: str, start: int) -> None:
        self.open.append((set() if token == "{" else None, start))

    def _next(self, expected: str) -> tuple[int, str, str]:
        found = _token(self.text, self.at)
        if found is None:
            raise self._unreadable(expected)
        kind = str(found.lastgroup) if found.lastgroup != "real" else "number"
        start = found.start(kind)
        token = found[kind]
        self.at = found.end()
        if kind == "string":
            self._check_string(token, start)
        elif kind == "number":
            self._check_number(token, start, integer=not found["real"])
        if len(self.open) > MAX_DEPTH and not (kind == "mark" and token in "]}"):
            raise _Fault(f"the value is inside more than {MAX_DEPTH} containers", start)
        return start, kind, token

    def _check_string(self, token: str, start: int) -> None:
        if "\\u" not in token:
            return
        for escape in _pair_or_lone(token):
            if escape["lone"]:
                raise _Fault(
                    f"the text has a lone surrogate {escape['lone']}: text must be valid Unicode",
                    start + escape.start(),
                )

    def _check_number(self, token: str, start: int, *, integer: bool) -> None:
        if integer:
            if len(token) > 20 or not -(2**63) <= int(token) < 2**64:
                raise _Fault(
                    "the integer is not between -2**63 and 2**64-1: write it as text", start
                )
        elif abs(float(token)) == float("inf"):
            raise _Fault("the number is too large for a float: write it as text", start)

    def _unreadable(self, expected: str) -> _Fault:
        at = _space(self.text, self.at).end()  # type: ignore[union-attr]
        if at == len(self.text):
            opened = self.open[-1][1] if self.open else 0
            what = "the object" if self.open and self.open[-1][0] is not None else "the list"
            return _Fault(
                f"the file ends where {expected} was expected: {what} that begins in line"
                f" {_line(self.text, opened)} is not closed; was the file cut short?",
                at,
            )
        glimpse = _glimpse(self.text, at)[0]  # type: ignore[index]
        if glimpse in ("NaN", "Infinity", "-Infinity"):
            return _Fault(f"{glimpse} is no JSON number: write null or text", at)
        if glimpse == '"':
            return _Fault(
                "the text has no closing quote in its line, a control character, or a wrong"
                " escape: write control characters and backslashes as escapes",
                at,
            )
        if glimpse in ("/", "#"):
            return _Fault("JSON has no comments: remove it", at)
        shown = glimpse if len(glimpse) <= 40 else f"{glimpse[:40]}..."
        return _Fault(f"{expected} was expected here, not {ascii(shown)[1:-1]}", at)


def _unescape(token: str) -> str:

    return str(json.loads(token)) if "\\" in token else token[1:-1]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
