"""The way to a field inside a document, and how people read it: ``metadata.tags[2]``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

FieldPath: TypeAlias = "tuple[str | int, ...]"
"""Keys of objects and indexes of lists, from the document inwards."""

_is_plain: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*").fullmatch


def readable(path: Iterable[str | int]) -> str:
    """The path as text; a key that is no plain word is quoted: ``a["b c"][0]``.

    Different paths have different texts.  The document itself is the empty text.
    """
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _is_plain(step):
            parts.append(f".{step}" if parts else step)
        else:
            quoted = ascii(step)[1:-1].replace("\\'", "'").replace('"', '\\"')
            parts.append(f'["{quoted}"]')
    return "".join(parts)
