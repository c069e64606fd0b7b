"""Documents in memory, up to a number of bytes: the clock algorithm.

A hit only marks its entry as used, which costs 20 ns; all else happens when a
document is put in.  The keys stand in a ring in the order in which they came.  To make
room, its first is taken: an entry that was used since gets another turn,
any other goes.  So what is read again and again stays, though much else is read once.

What has gone counts as not seen: a put that asks for nothing (no ``expected``)
does not notice that such a document was edited from outside since it was read.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, Protocol, TypeAlias, TypeVar


class Cacheable(Protocol):
    """A document, and whether it was read since the cache last asked."""

    data: bytes
    used: bool


E = TypeVar("E", bound=Cacheable)

DEFAULT_BYTES: Final = 256 << 20
ENTRY_BYTES: Final = 900
"""What a document costs beside its bytes: its path, key, signature and place in the tables."""

_TURNS: Final = 8  # used entries that a newcomer passes over at most, so that none waits for long
_STALE: Final = 64

CacheKey: TypeAlias = tuple[str, str]


class Cache(dict[CacheKey, E]):
    """Entries by key; ``get`` is the dictionary's own.  Safe for threads.

    Whoever uses what ``get`` gives sets its ``used``.  ``limit`` is in bytes; an entry larger
    than that is not kept, with 0 none is.
    """

    __slots__ = ("_mutex", "_ring", "bytes", "limit")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.bytes = 0
        self._ring: deque[CacheKey] = deque()
        self._mutex = threading.RLock()

    def __setitem__(self, key: CacheKey, entry: E) -> None:
        size = len(entry.data) + ENTRY_BYTES
        with self._mutex:
            before = self.get(key)
            if before is not None:
                self.bytes -= len(before.data) + ENTRY_BYTES
            elif size <= self.limit:
                self._ring.append(key)
            if size > self.limit:
                super().pop(key, None)
                return
            super().__setitem__(key, entry)
            self.bytes += size
            if self.bytes > self.limit:
                self._make_room()

    def _make_room(self) -> None:
        ring, turns = self._ring, _TURNS
        while self.bytes > self.limit and ring:
            key = ring.popleft()
            entry = self.get(key)
            if entry is None:
                continue  # dropped since
            if entry.used and turns:
                entry.used = False
                ring.append(key)
                turns -= 1
                continue
            super().pop(key)
            self.bytes -= len(entry.data) + ENTRY_BYTES

    def drop(self, key: CacheKey) -> None:
        """Keep nothing of this key."""
        with self._mutex:
            entry = super().pop(key, None)
            if entry is None:
                return
            self.bytes -= len(entry.data) + ENTRY_BYTES
            ring = self._ring
            if len(ring) > 2 * len(self) + _STALE:
                self._ring = deque(self)

    @property
    def full(self) -> bool:
        """Whether another document would drive one out, or nearly so."""
        return self.bytes + ENTRY_BYTES * 4 > self.limit

    def clear(self) -> None:
        with self._mutex:
            super().clear()
            self._ring.clear()
            self.bytes = 0

    def after_fork(self) -> None:
        """In a child: a thread that is gone may hold the mutex, half-way."""
        self._mutex = threading.RLock()
        self._ring = deque(self)
        self.bytes = sum(len(entry.data) + ENTRY_BYTES for entry in self.values())
