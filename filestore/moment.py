"""One moment of a store: what a view of a revision and the past have in common."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from filestore.closing import Closing
from filestore.collection import Collections, Ground, ReadCollection
from filestore.errors import Closed

if TYPE_CHECKING:
    from collections.abc import Callable


class Moment(Ground, Collections, Closing):
    """The documents and ids of one moment, read like a store and never written.

    Of the process that made it: in a child, reading raises Closed.
    """

    _what: ClassVar[str]
    _again: ClassVar[str]

    def __init__(self, on_close: Callable[[Any], object]) -> None:
        self._on_close = on_close
        self._process = os.getpid()
        self._closed = False

    def __getitem__(self, collection: str) -> ReadCollection:
        """The collection of that name, as it was."""
        self._require_open()
        return ReadCollection(self, collection)

    def close(self) -> None:
        """Let go of the moment; idempotent.  Reading then raises Closed."""
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._release()

    @abstractmethod
    def _release(self) -> None:
        """Let go of what it keeps; called once."""

    def _require_open(self) -> None:
        if self._closed:
            raise Closed(f"{self._what} was closed: {self._again}")
        if self._process != os.getpid():
            raise Closed(f"{self._what} is of this process's parent: {self._again}")
