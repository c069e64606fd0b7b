"""Dictionaries that have the same names, and one table of them.

A dump is many thousands of a few kinds of dictionaries.  Python keeps the names of instances'
attributes once for their class (PEP 412); a dictionary of 24 fields then takes a third.
It is a dictionary like any other, and gets a table of its own when names are taken away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from filestore.model import Document

_MOST: Final = 30  # names that Python keeps so

_kinds: Final[dict[str, type]] = {}


def shaped(kind: str, document: Document) -> Document:
    """The same, with the table of its kind; of one kind are those with the same names in order."""
    if len(document) > _MOST:
        return document
    of_kind = _kinds.get(kind)
    if of_kind is None:
        of_kind = _kinds[kind] = type(kind, (), {})
    result: dict[str, Any] = of_kind().__dict__
    for name, value in document.items():
        result[name] = value  # noqa: PERF403  # a comprehension's result has a table of its own
    return result
