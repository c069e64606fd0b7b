"""The store as it was: what has been committed since, undone.

Nothing is copied when a moment of the past is looked at.  What a document was then is what
the first later commit of that document replaced; one that no later commit has touched is
as it is now.  The document of now is read first, so a commit that comes in between is
found among the later ones.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from filestore import overlay
from filestore.backend import Entry, one_by_one
from filestore.errors import Corrupt, HistoryGone, NotFound, StorageError
from filestore.model import Key, stands_in
from filestore.moment import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from filestore.backend import Backend, Unreadable
    from filestore.index import Indexes
    from filestore.model import Commit, Revision
    from filestore.query import Fields, Query


class PastGround(Protocol):
    """Where a moment of the past is kept; the methods are those of a Backend."""

    @property
    def location(self) -> str: ...

    @property
    def revision(self) -> Revision:
        """The revision, or the newest one of the store where the moment has none."""

    def get(self, key: tuple[str, str]) -> Entry | None: ...

    def ids(self, collection: str) -> list[str]: ...

    def collections(self) -> list[str]: ...

    def get_many(
        self, collection: str, ids: Sequence[str]
    ) -> list[tuple[str, Entry | Unreadable]]: ...

    def computed(self, collection: str) -> Fields: ...

    def candidates(self, collection: str, query: Query) -> list[str] | None: ...

    def suspects(self, other: PastGround) -> Mapping[str, Collection[str]] | None:
        """All that may differ from another moment, ids by collection; None: anything may."""

    def close(self) -> None: ...


class Past(Moment):
    """The documents and ids of one moment of the past; a context manager, safe for threads.

    Made by :meth:`filestore.Store.at`.  Read like a store, never written.  What is edited from
    outside is no commit until the store has noticed, and shows.  Reading raises
    HistoryGone once the store has dropped the commits that the moment needs.  It is of
    the process that made it: in a child, reading raises Closed.
    """

    _what = "the view of the past"
    _again = "take another with at()"

    def __init__(self, ground: PastGround, on_close: Callable[[Past], object]) -> None:
        super().__init__(on_close)
        self._ground = ground

    def collections(self) -> list[str]:
        """The names of the collections that had documents, sorted."""
        self._require_open()
        return self._ground.collections()

    @property
    def location(self) -> str:
        """Where the store is, for people."""
        return self._ground.location

    @property
    def revision(self) -> Revision:
        """The revision that is shown."""
        self._require_open()
        return self._ground.revision

    def get(self, key: tuple[str, str]) -> Entry | None:
        """A document as it was; a ground's method, see Backend."""
        self._require_open()
        return self._ground.get(key)

    def ids(self, collection: str) -> list[str]:
        """The ids as they were; a ground's method, see Backend."""
        self._require_open()
        return self._ground.ids(collection)

    @property
    def moment(self) -> object:
        """A ground's property: what reads give never changes."""
        return None

    def get_many(self, collection: str, ids: Sequence[str]) -> list[tuple[str, Entry | Unreadable]]:
        """Documents as they were; a ground's method, see Backend."""
        self._require_open()
        return self._ground.get_many(collection, ids)

    def computed(self, collection: str) -> Fields:
        """A ground's method."""
        return self._ground.computed(collection)

    def candidates(self, collection: str, query: Query) -> list[str] | None:
        """A ground's method."""
        self._require_open()
        return self._ground.candidates(collection, query)

    def suspects(self, other: Past) -> Mapping[str, Collection[str]] | None:
        """All that may differ from another moment, ids by collection; None: anything may."""
        self._require_open()
        return self._ground.suspects(other._ground)

    def _release(self) -> None:
        self._ground.close()

    def __repr__(self) -> str:
        return f"<Past {self.location}{' (closed)' if self._closed else ''}>"


class Kept:
    """A revision that a backend's history still leads back to.

    Raises HistoryGone and NotFound when made, HistoryGone also later.
    """

    def __init__(self, backend: Backend, indexes: Indexes, revision: Revision) -> None:
        self.backend = backend
        self._indexes = indexes
        self._revision = revision
        self._mutex = threading.Lock()
        # Whether what later commits touched was there; known once a listing was asked for.
        self._was_there: dict[str, dict[str, bool]] = {}
        self._seen: Revision | None = None
        newest = backend.revision
        if revision > newest or revision < 0:
            raise NotFound(
                f"there is no revision {revision} of {backend.location}: the newest is {newest}",
                revision=newest,
            )
        require_kept(backend, revision)

    @property
    def location(self) -> str:
        return self.backend.location

    @property
    def revision(self) -> Revision:
        return self._revision

    def get(self, key: tuple[str, str]) -> Entry | None:
        entry, error = None, None
        try:
            entry = self.backend.get(key)
        except (Corrupt, StorageError) as refusal:
            error = refusal  # of no matter, if the document was changed since
        if self._touched(key):
            named = Key(*key)
            for commit in self.backend.changes(self._revision, named):
                before = commit.ops[0].before
                if stands_in(before):
                    raise HistoryGone(
                        f"{named}: what revision {commit.revision}, an edit from outside, replaced "
                        "was never seen by the store, or is not kept any more",
                        key=named,
                        revision=commit.revision,
                    )
                entry, error = (None if before is None else Entry(before)), None
                break
            require_kept(self.backend, self._revision)
        if error is not None:
            raise error
        return entry

    def ids(self, collection: str) -> list[str]:
        known = self.backend.ids(collection)
        self._take_in()
        with self._mutex:
            later = list(self._was_there.get(collection, {}).items())
        return overlay.ids(known, later)

    def collections(self) -> list[str]:
        known = self.backend.collections()
        self._take_in()
        with self._mutex:
            touched = set(self._was_there)
        return overlay.collections(known, touched, self.ids)

    def get_many(self, collection: str, ids: Sequence[str]) -> list[tuple[str, Entry | Unreadable]]:
        return one_by_one(self.get, collection, ids)

    def computed(self, collection: str) -> Fields:
        return self._indexes.computed(collection)

    def candidates(self, collection: str, query: Query) -> list[str] | None:
        """The candidates of now, and whatever changed since."""
        found = self._indexes.candidates(collection, query)
        if found is None:
            return None
        self._take_in()
        with self._mutex:
            later = list(self._was_there.get(collection, ()))
        return overlay.candidates(found, later)

    def suspects(self, other: PastGround) -> Mapping[str, Collection[str]] | None:
        """What was changed since the earlier of two revisions of one handle."""
        if not isinstance(other, Kept) or other.backend is not self.backend:
            return None
        return min(self, other, key=lambda one: one.revision).changed_since()

    def changed_since(self) -> dict[str, list[str]]:
        """The documents that later commits changed, ids by collection."""
        self._take_in()
        with self._mutex:
            return {collection: list(ids) for collection, ids in self._was_there.items()}

    def close(self) -> None:
        with self._mutex:
            self._was_there = {}

    def _touched(self, key: tuple[str, str]) -> bool:
        """Whether a commit later than the moment may have changed the document."""
        if self._seen is None:
            return True
        self._take_in()
        return key[1] in self._was_there.get(key[0], ())

    def _take_in(self) -> None:
        """Know what all the later commits touched, and whether it was there before them."""
        newest = self.backend.revision
        if self._seen == newest:
            return
        with self._mutex:
            seen = self._revision if self._seen is None else self._seen
            for commit in self.backend.changes(seen):
                for op in commit.ops:
                    known = self._was_there.setdefault(op.key.collection, {})
                    known.setdefault(op.key.id, op.before is not None)
                seen = commit.revision
            require_kept(self.backend, self._revision)
            self._seen = max(seen, newest)


def commit_of(backend: Backend, revision: Revision) -> Commit:
    """The commit that made a revision.  Raises HistoryGone, NotFound."""
    newest = backend.revision
    if not 1 <= revision <= newest:
        raise NotFound(
            f"there is no commit {revision} in {backend.location}: the newest is {newest}",
            revision=newest,
        )
    require_kept(backend, revision - 1)
    for commit in backend.changes(revision - 1):
        if commit.revision == revision:
            return commit
        break
    require_kept(backend, revision - 1)
    raise NotFound(f"commit {revision} of {backend.location} is not kept", revision=revision)


def require_kept(backend: Backend, revision: Revision) -> None:
    """Raise HistoryGone unless every commit after ``revision`` is kept."""
    oldest = backend.horizon
    if revision < oldest:
        raise HistoryGone(
            f"revision {revision} of {backend.location} is no longer kept: the store can go back"
            f" to revision {oldest}",
            revision=oldest,
        )
