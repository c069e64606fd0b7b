"""Which documents may be other than observers were told: edited, and not recorded yet.

Whoever answers from an index must look at these one by one.  An event adds a document; it
goes when the recorder, in whatever process, has heard everything that happened until then
and recorded what was an edit.  How far it has heard stands in the shared state.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from filestore.errors import FilestoreError
from filestore.model import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

_NEVER: Final = float("inf")
_MOST_AWAITED: Final = 100_000  # beyond, events of publishing pass for edits, for a while


class Unsure:
    """The unsure documents of one handle.  Safe for threads; times are of the monotonic clock."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._since = _NEVER
        self._suspects: dict[str, dict[str, float]] = {}
        self._awaited: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """From now on every edit is told by :meth:`add`; earlier ones are for the recorder."""
        with self._mutex:
            self._since = time.monotonic()
            self._awaited.clear()

    def end(self) -> None:
        """Edits may happen and not be told."""
        with self._mutex:
            self._since = _NEVER
            self._suspects.clear()
            self._awaited.clear()

    def committed(self, keys: Iterable[tuple[str, str]]) -> None:
        """Commits are about to give these documents' names to new files."""
        if self._since is not _NEVER:
            if len(self._awaited) > _MOST_AWAITED:
                self._awaited.clear()
            self._awaited.update(keys)

    def add(self, key: Key, *, touched: bool) -> None:
        """An event tells of a document's file; not ``touched``: it may be a publishing."""
        if not touched and key in self._awaited:
            self._awaited.discard(key)
            return
        with self._mutex:
            self._suspects.setdefault(key.collection, {})[key.id] = time.monotonic()

    def edited(self, collection: str, heard: float) -> Collection[str] | None:
        """The unsure ids of a collection; None where all are.  ``heard``: by the recorder."""
        if heard < self._since:
            return None
        suspects = self._suspects.get(collection)
        if not suspects:
            return ()
        with self._mutex:
            return list(suspects)

    def settle(self, heard: float, get: Callable[[Key], object]) -> None:
        """Be sure again of what happened before ``heard``, but for what cannot be read."""
        with self._mutex:
            old = [
                (Key(collection, id), at)
                for collection, suspects in self._suspects.items()
                for id, at in suspects.items()
                if at < heard
            ]
        for key, at in old:
            try:
                get(key)
            except FilestoreError:
                continue
            with self._mutex:
                suspects = self._suspects.get(key.collection, {})
                if suspects.get(key.id) == at:  # else there was an event meanwhile
                    del suspects[key.id]

    def after_fork(self) -> None:
        self._mutex = threading.Lock()
        self.end()
