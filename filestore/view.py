"""One revision of the whole store, while commits go on.

Nothing is copied when a view is taken.  It asks the backend for the documents of
now, and the backend tells it of every commit before any read shows it; so what a commit
replaced is kept aside, and a key that is kept is answered from there.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from filestore import overlay
from filestore.backend import Entry, one_by_one
from filestore.errors import Conflict
from filestore.model import stands_in
from filestore.moment import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filestore.backend import Backend, Unreadable
    from filestore.index import Indexes
    from filestore.model import Commit, Revision
    from filestore.query import Fields, Query


class View(Moment):
    """The documents and ids of one revision; a context manager, safe for threads.

    Made by :meth:`filestore.Store.snapshot`.  It keeps what later commits replace, of this
    and other processes, so close it when done: memory grows by one old document for each
    document changed meanwhile.  What is edited from outside is no commit until the store has
    noticed, and shows.  If the backend loses track of what changed (it says so
    when another process wrote more than it still keeps), reading raises Conflict: take
    another snapshot.  It is of the process that took it: in a child, reading raises Closed.
    """

    _what = "the view"
    _again = "take another snapshot"

    def __init__(
        self,
        backend: Backend,
        indexes: Indexes,
        on_close: Callable[[View], object],
        *,
        keep: bool = True,
    ) -> None:
        super().__init__(on_close)
        self._keeping = keep
        self._backend = backend
        self._indexes = indexes
        self._mutex = threading.Lock()
        self._replaced: dict[tuple[str, str], bytes | None] = {}
        self._early: list[Commit] = []
        self._revision: Revision | None = None
        self._lost = False
        self._unsubscribe = backend.subscribe(self._observe)
        # Commits between the two calls belong to the view; those that the backend has yet
        # to tell of may be on either side, so they wait in _early for the revision.
        try:
            revision = backend.revision
        except BaseException:
            self._unsubscribe()
            raise
        with self._mutex:
            self._revision = revision
            for commit in self._early:
                self._keep(commit)
            self._early = []

    def collections(self) -> list[str]:
        """The names of the collections that had documents, sorted."""
        self._require_open()
        known = self._backend.collections()
        return overlay.collections(known, {name for name, _ in self._changed()}, self.ids)

    @property
    def location(self) -> str:
        """Where the store is, for people."""
        return self._backend.location

    @property
    def revision(self) -> Revision:
        """The revision that the view shows."""
        self._require_open()
        assert self._revision is not None
        return self._revision

    @property
    def moment(self) -> object:
        """A ground's property: what reads give never changes."""
        return self._revision

    def get(self, key: tuple[str, str]) -> Entry | None:
        """A document as it was; a ground's method, see Backend."""
        self._require_open()
        with self._mutex:
            kept = key in self._replaced
        # Asked before looking at what is kept: if this shows a later commit, the
        # backend has told of it by now, and what that replaced is kept.
        entry = None if kept else self._backend.get(key)
        with self._mutex:
            self._require_known()
            if key not in self._replaced:
                return entry
            data = self._replaced[key]
        return None if data is None else Entry(data)

    def get_many(self, collection: str, ids: Sequence[str]) -> list[tuple[str, Entry | Unreadable]]:
        """Documents as they were; a ground's method, see Backend."""
        self._require_open()
        wanted = set(ids)
        with self._mutex:
            kept = {id for id in wanted if (collection, id) in self._replaced}
        if kept:
            return one_by_one(self.get, collection, ids)
        found = self._backend.get_many(collection, ids, keep=self._keeping)
        replaced = self._changed()
        if any((collection, id) in replaced for id in ids):
            return one_by_one(self.get, collection, ids)
        return found

    def computed(self, collection: str) -> Fields:
        """A ground's method."""
        return self._indexes.computed(collection)

    def candidates(self, collection: str, query: Query) -> list[str] | None:
        """A ground's method: the candidates of now, and whatever changed since."""
        self._require_open()
        found = self._indexes.candidates(collection, query)
        if found is None:
            return None
        return overlay.candidates(found, [id for name, id in self._changed() if name == collection])

    def ids(self, collection: str) -> list[str]:
        """The ids as they were; a ground's method, see Backend."""
        self._require_open()
        known = self._backend.ids(collection)
        changed = self._changed().items()
        return overlay.ids(
            known, ((id, data is not None) for (name, id), data in changed if name == collection)
        )

    def _release(self) -> None:
        self._unsubscribe()
        if self._process == os.getpid():  # else a thread that is gone may hold it for ever
            with self._mutex:
                self._replaced.clear()

    def _observe(self, commits: Sequence[Commit] | None) -> None:
        with self._mutex:
            if commits is None:
                self._lost = True
                return
            for commit in commits:
                if self._revision is None:
                    self._early.append(commit)
                else:
                    self._keep(commit)

    def _keep(self, commit: Commit) -> None:
        """Keep what the commit replaced, unless the view shows that commit."""
        assert self._revision is not None
        if commit.revision > self._revision:
            for op in commit.ops:
                if not stands_in(op.before):  # what nobody knows can't be kept: the edit shows
                    self._replaced.setdefault(op.key, op.before)

    def _changed(self) -> dict[tuple[str, str], bytes | None]:
        with self._mutex:
            self._require_known()
            return dict(self._replaced)

    def _require_known(self) -> None:
        if self._lost:
            raise Conflict(
                f"what changed since revision {self._revision} is no longer known:"
                " take another snapshot",
                revision=self._revision,
            )
