"""What a ground lists, where some documents are otherwise than it has them; pure.

For a view those are what was committed since, for a transaction what it has written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


def ids(known: Iterable[str], otherwise: Iterable[tuple[str, bool]]) -> list[str]:
    """The ids, given those that are otherwise, each with whether it is there."""
    result = dict.fromkeys(known)
    for id, there in otherwise:
        if there:
            result[id] = None
        else:
            result.pop(id, None)
    return list(result)


def collections(
    known: Iterable[str], touched: set[str], ids_of: Callable[[str], Collection[str]]
) -> list[str]:
    """The collections that have documents, sorted; ``ids_of`` is asked of those touched."""
    return sorted((set(known) - touched) | {name for name in touched if ids_of(name)})


def candidates(found: list[str], otherwise: Collection[str]) -> list[str]:
    """The candidates for a find, ascending: what is otherwise may be in its answer too."""
    return sorted({*found, *otherwise}) if otherwise else found
