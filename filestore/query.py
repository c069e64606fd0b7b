"""What a find asks of a document: fields and the values that they must have.  Pure.

Two values are equal when their JSON is: ``1``, ``1.0`` and ``True`` are three
values, and so are ``0.0`` and ``-0.0``.  So a value is compared, and hashed by
indexes, as its canonical bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import orjson

from filestore.codec import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filestore.model import Document

_MOST_QUICK: Final = 1000  # characters; canonical() knows what is too long
_QUICK: Final = frozenset((str, int, bool, type(None)))
"""The types whose values are equal just when their bytes are."""


class _Absent:
    """The type of what a document without the field has."""


ABSENT: Final = _Absent()


class Computed(NamedTuple):
    """A field that documents do not have: a function of the document gives its value.

    ``function`` returns a value of JSON, None for none; it must depend on nothing but
    the document.  ``version`` is another whenever the function is: what was kept of an
    earlier one is then not believed.
    """

    name: str
    function: Callable[[Document], Any]
    version: str


Fields: TypeAlias = "Mapping[str, Computed]"
"""The computed fields of a collection, by name."""

Source: TypeAlias = "str | Computed"
"""Where a field's value comes from: the document's field of that name, or a function."""


def value_in(document: Document, source: Source) -> Any:
    """A field's value, or ABSENT."""
    if type(source) is str:
        return document.get(source, ABSENT)
    assert isinstance(source, Computed)
    value = source.function(document)
    return ABSENT if value is None else value


class Query:
    """What all documents of an answer have in common.

    ``wanted``: fields, with their values and those's canonical bytes.  ``text``: the one field
    and its value, where documents meet the query just when they have that text in that field;
    else both are None.
    """

    __slots__ = ("_needles", "text", "wanted")

    def __init__(self, fields: Mapping[str, Any], computed: Fields) -> None:
        """Raises InvalidDocument for a value that no document can hold."""
        self.wanted: list[tuple[Source, Any, bytes]] = []
        for name, value in fields.items():
            source: Source = computed.get(name, name) if computed else name
            self.wanted.append((source, value, _bytes_for(name, value)))
        self.text: tuple[str, str] | tuple[None, None] = (None, None)
        if len(self.wanted) == 1:
            # Nothing but text is equal to text, and a name is what most queries are about.
            source, value, _ = self.wanted[0]
            if type(source) is str and type(value) is str:
                self.text = source, value
        self._needles: list[bytes] | None = None

    def met_by(self, document: Document) -> bool:
        """Whether every field has its value."""
        for source, value, data in self.wanted:
            found = value_in(document, source)
            kind = type(found)
            if kind is not type(value):
                return False
            if found != value if kind in _QUICK else bytes_of(found) != data:
                return False
        return True

    def may_match(self, data: bytes) -> bool:
        """Whether a document of these canonical bytes is worth decoding."""
        needles = self._needles
        if needles is None:
            needles = self._needles = [
                canonical({source: value})[1:-1]
                for source, value, _ in self.wanted
                if type(source) is str
            ]
        for needle in needles:  # noqa: SIM110  # all() of a generator takes twice as long
            if needle not in data:
                return False
        return True


def bytes_of(value: Any) -> bytes:
    """The canonical bytes of a value out of a document."""
    if type(value) in _QUICK:
        return orjson.dumps(value)
    return canonical({"": value})[4:-1]


def _bytes_for(name: str, value: Any) -> bytes:
    kind = type(value)
    if (kind is str and len(value) <= _MOST_QUICK) or kind is bool or value is None:
        try:
            if name.isascii():
                return orjson.dumps(value)
        except TypeError:
            pass  # no text: canonical() says what is wrong with it
    data = canonical({name: value})
    return data[len(orjson.dumps(name)) + 2 : -1]
