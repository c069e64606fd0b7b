"""What is held of one collection: its index, and what is to be looked at before it is asked."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeAlias

from filestore.index.image import Hashes, hashing
from filestore.query import ABSENT, bytes_of, value_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.index.layered import Layered
    from filestore.model import Commit, Document, Revision
    from filestore.query import Source

Mark: TypeAlias = "tuple[Revision, int]"

_MEMO: Final = 4096  # values whose hash is remembered while an index is made


class Held:
    """The index of one collection, and what is to be looked at before it is asked.

    ``lock`` is held while it is asked or brought up to date.  ``marks`` has the ids of
    documents that were written, each with the newest revision that did and the number of the
    last edit from outside that may have; ``tracked``: whether they are noted.  The index is of
    ``epoch``, and good while that is ``lost``: how often the backend could not tell what
    changed.  ``believing``: whether what was kept may be used.  ``since``: from when on edits
    are told, where those of before were not known when the index was made.
    """

    __slots__ = (
        "believing",
        "collection",
        "columns",
        "epoch",
        "kept_id",
        "kept_revision",
        "layered",
        "lock",
        "lost",
        "marks",
        "since",
        "tracked",
        "unread",
    )

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.lock = threading.Lock()
        self.layered: Layered | None = None
        self.columns: dict[Source, int] = {}
        self.marks: dict[str, Mark] = {}
        self.unread: set[str] = set()
        self.tracked = False
        self.epoch = 0
        self.lost = 0
        self.believing = True
        self.since: float | None = None
        self.kept_id = ""
        self.kept_revision: Revision = -1

    def forget(self) -> None:
        """Have no index."""
        self.layered = None
        self.unread = set()
        self.since = None
        self.kept_id, self.kept_revision = "", -1

    def mark(self, commit: Commit) -> None:
        for key, _, _ in commit.ops:
            if key.collection == self.collection:
                self.marks[key.id] = commit.revision, 0


class Extract:
    """Documents to hashes."""

    def __init__(self, sources: Sequence[Source], salt: bytes) -> None:
        self._sources = sources
        self._hash = hashing(salt)
        self._memo: dict[str, int] = {}
        self.nothing: Hashes = (None,) * len(sources)

    def __call__(self, document: Document) -> Hashes:
        hashes: list[int | None] = []
        for source in self._sources:
            value = value_in(document, source)
            if value is ABSENT:
                hashes.append(None)
            elif type(value) is str:
                digest = self._memo.get(value)
                if digest is None:
                    digest = self._remember(value)
                hashes.append(digest)
            else:
                hashes.append(self._hash(bytes_of(value)))
        return tuple(hashes)

    def _remember(self, value: str) -> int:
        if len(self._memo) >= _MEMO:
            self._memo.clear()
        digest = self._memo[value] = self._hash(bytes_of(value))
        return digest
