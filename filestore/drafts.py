"""What a transaction has written so far: by key, and by the values that finds asked for; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filestore.codec import decode
from filestore.model import Key
from filestore.query import ABSENT, bytes_of, value_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from filestore.backend import Entry
    from filestore.query import Query, Source


class _Untouched:
    """The type of what the log keeps for a key that had no draft."""


_UNTOUCHED: Final = _Untouched()


class _Values:
    """A field's values, each with ids of drafts that have it or had it; known up to ``seen``."""

    __slots__ = ("ids", "seen")

    def __init__(self) -> None:
        self.ids: dict[bytes, dict[str, None]] = {}
        self.seen = 0


class Drafts:
    """Documents that are to be committed, None for one to be deleted; in order of first writing.

    ``entries`` is to be read alone.
    """

    __slots__ = ("_log", "_values", "entries")

    def __init__(self) -> None:
        self.entries: dict[Key, Entry | None] = {}
        # What each write replaced, so that a nested block can be taken back.
        self._log: list[tuple[Key, Entry | None | _Untouched]] = []
        self._values: dict[tuple[str, Source], _Values] = {}

    def put(self, key: Key, entry: Entry | None) -> None:
        """Take a document."""
        self._log.append((key, self.entries.get(key, _UNTOUCHED)))
        self.entries[key] = entry

    @property
    def mark(self) -> int:
        """How far it is written, for :meth:`take_back`."""
        return len(self._log)

    def take_back(self, mark: int) -> None:
        """Have everything as it was then."""
        while len(self._log) > mark:
            key, replaced = self._log.pop()
            if isinstance(replaced, _Untouched):
                del self.entries[key]
            else:
                self.entries[key] = replaced
        self._values = {}

    def listed(self, collection: str) -> Iterator[tuple[str, bool]]:
        """The ids in a collection, each with whether it will be there."""
        return (
            (id, entry is not None)
            for (name, id), entry in self.entries.items()
            if name == collection
        )

    def candidates(self, collection: str, query: Query) -> Collection[str]:
        """The ids of drafts that may meet a query.

        A field that is asked for is looked up in each draft once: a program that looks whether a
        name is taken before it writes the next of thousands must not look at all of them again.
        """
        if not query.wanted:
            return [id for id, _ in self.listed(collection)]
        source, _, data = query.wanted[0]
        values = self._values.setdefault((collection, source), _Values())
        for (name, id), _ in self._log[values.seen :]:
            entry = self.entries[Key(name, id)] if name == collection else None
            if entry is not None:
                value = value_in(decode(entry.data), source)
                if value is not ABSENT:
                    values.ids.setdefault(bytes_of(value), {})[id] = None
        values.seen = len(self._log)
        return values.ids.get(data, ())
