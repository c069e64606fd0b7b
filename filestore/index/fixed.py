"""An index of documents that never change, such as those of a commit of git.

As with any index what is found are candidates: whoever asked reads them and compares.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from filestore.backend import Entry
from filestore.codec import decode
from filestore.collector import BULK, paused
from filestore.index.held import Extract
from filestore.index.image import build
from filestore.index.indexes import MOST_FIELDS
from filestore.index.layered import Layered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.backend import Unreadable
    from filestore.index.image import Hashes
    from filestore.query import Query, Source


class Fixed:
    """Of one collection, in memory; made by the second find, of the fields asked for.

    The first looks at all documents and is no slower for it; who finds once needs no index.
    ``ids`` gives them all, ``read`` their documents.  Safe for threads.
    """

    def __init__(
        self,
        ids: Callable[[], Sequence[str]],
        read: Callable[[Sequence[str]], list[tuple[str, Entry | Unreadable]]],
    ) -> None:
        self._ids = ids
        self._read = read
        self._mutex = threading.Lock()
        self._asked: dict[Source, None] = {}
        self._columns: dict[Source, int] = {}
        self._layered: Layered | None = None
        self._unread: list[str] = []

    def candidates(self, query: Query) -> list[str] | None:
        """All that may be in the answer, ascending; None: look at all.  Raises as ``read``."""
        if not query.wanted:
            return None
        with self._mutex:
            wanted = self._known(query)
            if not wanted:
                first = not self._asked
                for source, _, _ in query.wanted[: MOST_FIELDS - len(self._asked)]:
                    self._asked[source] = None
                if first or not any(source in self._asked for source, _, _ in query.wanted):
                    return None
                self._make()
                wanted = self._known(query)
            assert self._layered is not None
            return sorted({*self._layered.candidates(wanted), *self._unread})

    def _known(self, query: Query) -> list[tuple[int, bytes]]:
        return [
            (self._columns[source], data)
            for source, _, data in query.wanted
            if source in self._columns
        ]

    def _make(self) -> None:
        sources, salt = tuple(self._asked), os.urandom(16)
        self._unread = []
        self._layered = Layered(build(self._look(sources, salt), len(sources)), salt)
        self._columns = {source: column for column, source in enumerate(sources)}

    def _look(self, sources: Sequence[Source], salt: bytes) -> Iterator[tuple[str, Hashes]]:
        extract = Extract(sources, salt)
        ids = sorted(self._ids())
        for begin in range(0, len(ids), BULK):
            chunk = ids[begin : begin + BULK]
            seen = []
            with paused(len(chunk)):
                for id, entry in self._read(chunk):
                    if isinstance(entry, Entry):
                        seen.append((id, extract(decode(entry.data))))
                    else:
                        self._unread.append(id)
            yield from seen
