r"""Ids, collections and other texts as a column of a database can hold them.

A column of PostgreSQL cannot hold NUL, which an id may; an index there takes no entry of more
than 2,704 bytes, and an id and a collection together may have more.  So::

    column   = text with  \  written \\  and NUL written \0
    short id = column, or \# and the SHA-256 of the id where column has more than 512 bytes

A text without a backslash and without NUL stands as it is.  No column has ``\#`` in front: a
backslash is always followed by another or by ``0``.  Where the id is short, the
whole one is in a column of its own, which has no index.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

MAX_SHORT: Final = 512
"""Bytes of an id that stands in the index as it is."""


def column(text: str) -> str:
    """A text as a column holds it."""
    if "\\" in text or "\0" in text:
        return text.replace("\\", "\\\\").replace("\0", "\\0")
    return text


def text(column: str) -> str:
    """The text that a column holds."""
    if "\\" not in column:
        return column
    parts = column.split("\\\\")
    return "\\".join(part.replace("\\0", "\0") for part in parts)


def short(column: str) -> str:
    """What stands in the index for an id's column."""
    if (len(column) <= MAX_SHORT and column.isascii()) or len(column.encode()) <= MAX_SHORT:
        return column
    return f"\\#{sha256(column.encode()).hexdigest()}"


def remark(text_: str | None) -> str | None:
    """An actor or a message as a column holds it."""
    return None if text_ is None else column(text_)
