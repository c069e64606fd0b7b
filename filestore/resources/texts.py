"""Long JSON texts, made of the texts of their parts: the objects are never there all at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from filestore.model import Document

COMPACT: Final = (",", ":")
SPACED: Final = (", ", ": ")

_PIECE: Final = 1 << 16  # characters that are added in one go, at least;
_SHARE: Final = 16  # and this share of what is there: so all of it is copied 16 times at most


def of_object(
    head: Document, name: str, items: Iterable[Any], separators: tuple[str, str]
) -> Iterator[str]:
    """The text of an object, in parts: ``head``, which is not empty, and a list besides."""
    between, after_name = separators
    encode = json.JSONEncoder(separators=separators).encode
    yield f"{encode(head)[:-1]}{between}{encode(name)}{after_name}["
    yield from _separated(((encode(each),) for each in items), between)
    yield "]}"


def of_list(items: Iterable[Iterable[str]]) -> Iterator[str]:
    """The text of a list, in parts, of what is text in parts."""
    yield "["
    yield from _separated(items, COMPACT[0])
    yield "]"


def _separated(items: Iterable[Iterable[str]], between: str) -> Iterator[str]:
    first = True
    for each in items:
        if not first:
            yield between
        first = False
        yield from each


def joined(parts: Iterable[str]) -> str:
    """All of it."""
    text, piece, size = "", [], 0
    for part in parts:
        piece.append(part)
        size += len(part)
        if size >= _PIECE and size >= len(text) // _SHARE:
            # A join of all would be a second copy.  This makes the first longer where it stands,
            # or copies it, as the interpreter can.
            text += "".join(piece)
            piece, size = [], 0
    text += "".join(piece)
    return text
