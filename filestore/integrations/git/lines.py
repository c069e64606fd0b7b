"""A document as lines that tell where they belong, for ``git diff``.

Each scalar is one line, with the whole path in front::

    metadata.team: "billing"
    ports[id="p1"].mac: "52:54:00:00:00:01"
    tags[]: "fast"

Elements of a list are named by what tells them apart in a merge, and not by their places, so that
one that is put in or taken out is one group of lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filestore.diff import text_of
from filestore.fieldpath import readable
from filestore.merge import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.model import Document


def lines(document: Document) -> bytes:
    """The text, in UTF-8; what a terminal would obey is written as an escape of JSON."""
    text = "".join(f"{line}\n" for line in _lines(document, ""))
    return text.encode()


def _lines(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            step = readable((key,))
            between = "." if where and not step.startswith("[") else ""
            yield from _lines(value[key], f"{where}{between}{step}")
    elif isinstance(value, list) and value:
        name = identity_of(value)
        for item in value:
            step = "" if name is None else f"{name}={_shown(text_of(item[name]))}"
            yield from _lines(item, f"{where}[{step}]")
    else:
        yield f"{where}: {_shown(text_of(value))}" if where else _shown(text_of(value))


def _shown(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
