"""Which ids there are, remembered while events tell of every file that comes or goes.  Pure.

A listing is of one *moment*: an era of events and a layout.  In it, commits say what they
add and take away, and whoever hears of a file compares (:meth:`Listings.agrees`) or has
the listing forgotten.  So a collection of any size is gone through once, not at each look.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Moment: TypeAlias = tuple[int, int]

_MOST_CHANGES: Final = 1024  # not yet taken in; with more, nobody is asking


class _Listing:
    """The ids of one collection, ascending, and what commits made of them since."""

    __slots__ = ("changes", "ids", "moment")

    def __init__(self, ids: list[str], moment: Moment) -> None:
        self.ids = ids
        self.moment = moment
        self.changes: dict[str, bool] = {}

    def fold(self) -> None:
        ids = self.ids.copy()  # another thread may be copying it
        for id, there in self.changes.items():
            at = bisect_left(ids, id)
            was = at < len(ids) and ids[at] == id
            if there and not was:
                ids.insert(at, id)
            elif was and not there:
                del ids[at]
        self.ids = ids
        self.changes = {}


class Listings:
    """The listings of one handle.  Not safe for threads: for use inside a mutex.

    ``told`` grows with each thing that is said of any file: a listing that was made
    meanwhile may lack it.
    """

    __slots__ = ("_held", "told")

    def __init__(self) -> None:
        self._held: dict[str, _Listing] = {}
        self.told = 0

    def get(self, collection: str, moment: Moment) -> list[str] | None:
        """The ids, ascending, the caller's own; None where they are not known."""
        listing = self._held.get(collection)
        if listing is None:
            return None
        if listing.moment != moment:
            del self._held[collection]
            return None
        if listing.changes:
            listing.fold()
        return listing.ids.copy()

    def keep(self, collection: str, ids: Iterable[str], moment: Moment) -> None:
        """Remember what was found."""
        self._held[collection] = _Listing(sorted(ids), moment)

    def committed(self, collection: str, id: str, *, there: bool) -> None:
        """A commit left the document there, or not."""
        self.told += 1
        listing = self._held.get(collection)
        if listing is not None:
            listing.changes[id] = there
            if len(listing.changes) > _MOST_CHANGES:
                del self._held[collection]

    def agrees(self, collection: str, id: str, *, there: bool) -> bool:
        """Whether what is remembered, if anything is, says the same of a file."""
        listing = self._held.get(collection)
        if listing is None:
            return True
        known = listing.changes.get(id)
        if known is None:
            at = bisect_left(listing.ids, id)
            known = at < len(listing.ids) and listing.ids[at] == id
        return known == there

    def knows(self, collection: str) -> bool:
        """Whether anything is remembered of a collection."""
        return collection in self._held

    def drop(self, collection: str) -> None:
        """Remember nothing of a collection."""
        self.told += 1
        self._held.pop(collection, None)

    def clear(self) -> None:
        """Remember nothing."""
        self.told += 1
        self._held.clear()
