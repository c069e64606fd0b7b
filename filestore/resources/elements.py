"""What a dump holds, one element after another.

A parsed dump takes three times the memory of its text.  So a text is parsed as far as it is asked
for: element by element, and of a backend volume by volume.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from filestore.exception import InvalidDump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NEEDED: Final = {"class", "backend"}


def elements(source: Any) -> tuple[bool, Iterator[Any]]:
    """Whether a dump is a list, and what it holds.  Raises InvalidDump, also while iterating.

    The ``volumes`` of a backend out of a text are an iterator, unless they stand before its class
    and its name; it is to be used up before the next element is asked for.
    """
    if isinstance(source, str | bytes | bytearray):
        text = _Text(_decoded(source))
        return text.peek() == "[", text.elements()
    if isinstance(source, list):
        return True, iter(source)
    return False, iter([source])


def parsed(source: Any) -> Any:
    """A dump that may be text, whole.  Raises InvalidDump."""
    if not isinstance(source, str | bytes | bytearray):
        return source
    text = _Text(_decoded(source))
    value = text.value()
    text.end()
    return value


def _decoded(source: str | bytes | bytearray) -> str:
    if isinstance(source, str):
        return source
    try:
        return source.decode(json.detect_encoding(source))
    except ValueError as error:
        raise _no_json(error) from error


class _Text:
    """A JSON text, and how far it was read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

    def elements(self) -> Iterator[Any]:
        yield from self._list(self._element) if self.peek() == "[" else self._element()
        self.end()

    def _element(self) -> Iterator[Any]:
        """One element; of an object that may be a backend, the volumes one by one."""
        if self.peek() != "{":
            yield self.value()
            return
        found: dict[str, Any] = {}
        given: list[Iterator[Any]] = []
        for name in self._names():
            if given and name in found:
                raise InvalidDump(f"a backend in the dump has {name!r} twice")
            if name == "volumes" and found.keys() >= _NEEDED and self.peek() == "[":
                volumes = found[name] = self._list(self._value)
                given.append(volumes)
                yield found
                for _ in volumes:
                    pass  # whoever asks for the next element has no use for them
            else:
                found[name] = self.value()
        if not given:
            yield found

    def _names(self) -> Iterator[str]:
        """The names in an object; whoever takes one reads its value."""
        self._take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            if self.peek() != '"':
                raise _no_json(self._wrong("a name in double quotes is missing"))
            name: str = self.value()
            self._take(":")
            yield name
            if self._take(",}") == "}":
                return

    def _list(self, item: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield from item()
            if self._take(",]") == "]":
                return

    def _value(self) -> Iterator[Any]:
        yield self.value()

    def value(self) -> Any:
        self.peek()
        try:
            value, self._at = self._decode(self._text, self._at)
        except RecursionError as error:
            raise InvalidDump("the dump is nested too deeply: it is not one of ours") from error
        except ValueError as error:
            raise _no_json(error) from error
        return value

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        found = _SPACE.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return self._text[self._at : self._at + 1]

    def _take(self, expected: str) -> str:
        """The next character, which is to be one of these."""
        found = self.peek()
        if not found or found not in expected:
            raise _no_json(self._wrong(f"{' or '.join(expected)} is missing"))
        self._at += 1
        return found

    def end(self) -> None:
        """Raise InvalidDump when there is more."""
        if self.peek():
            raise _no_json(self._wrong("there is more after its end"))

    def _wrong(self, what: str) -> ValueError:
        return json.JSONDecodeError(what, self._text, self._at)


def _no_json(error: ValueError) -> InvalidDump:
    return InvalidDump(
        f"the dump is no JSON ({error}): was it cut short when it was written or sent?"
    )
