"""The one seam under the store: what a ground must offer to carry one.

Documents cross this seam as *canonical bytes*: compact JSON with sorted keys
(see :mod:`filestore.codec`).  So equality of bytes is equality of values, a
journal takes them as they are, and whoever reads decodes a copy of its own.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from filestore.errors import Corrupt, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from filestore.model import Commit, Edit, Etag, Key, Revision
    from filestore.problem import Problem

Unreadable: TypeAlias = Corrupt | StorageError
"""Why one document cannot be read, which says nothing of the others."""

_OF_ONE_FILE: Final = frozenset({errno.EACCES, errno.EPERM})


class Entry:
    """A document as a backend holds it.  Never changed once made.

    ``etag``: the hash of ``data``, where it is known already.
    """

    __slots__ = ("_etag", "data")

    def __init__(self, data: bytes, etag: Etag | None = None) -> None:
        self.data = data
        self._etag = etag

    @property
    def etag(self) -> Etag:
        """The hash of the canonical bytes, computed once when asked for."""
        if self._etag is None:
            # Hashing takes 3 ms to import, and who only looks has no use for it.  A thread of the
            # store's own has it by now: the journal's lines tell etags.
            from filestore.codec.etag import etag_of

            self._etag = etag_of(self.data)
        return self._etag


class Indexing(Protocol):
    """What the indexes above a ground need of it, beside the feed of commits."""

    @property
    def declared(self) -> Mapping[str, Sequence[str]]:
        """The fields that the store's settings want indexed, by collection."""

    def edited(self, collection: str) -> Collection[str] | None:
        """The ids whose documents may be other than observers were told, by commit or by edit.

        Those are what was edited from outside and nobody was told of, and what cannot be read.
        An edit that :meth:`Backend.get` has shown counts until a commit or an edit was told,
        or for good when it was taken back before.  None where edits are found only by
        looking at each document.  Cheap: every find asks.
        """

    @property
    def settling(self) -> bool:
        """Whether what was edited before is being looked for, and will be told soon.

        Until then :meth:`edited` says None, and who has much to look at may do without.
        """

    def listen(self) -> float | None:
        """From when on every edit is told to observers of :meth:`on_edit`; None if none is.

        Waits a moment where that is about to begin.  Another time than before: between them
        some may not have been told.
        """

    @property
    def lasting(self) -> bool:
        """Whether edits become commits, whoever is there to be told of them."""

    def on_edit(self, observer: Callable[[str, str | None], None]) -> None:
        """Tell ``observer`` of documents, by collection and id, that may have been edited.

        ``id`` None: any document of any collection may have been, before this run.
        It must be quick and must not call back; it is called from any thread, and dropped when
        the backend is closed.
        """

    def point(self) -> tuple[Revision, str] | None:
        """The newest revision, and a text that this commit alone has, in any history.

        None where nothing is kept between runs.
        """

    def holds(self, revision: Revision, token: str) -> bool:
        """Whether the store's history has this commit: what :meth:`point` said of it."""

    def load(self, name: str) -> memoryview | None:
        """The bytes that were saved under a name; None where there are none.

        They may be damaged, and of any age.  A whole number of 8 bytes; not to be changed.
        """

    def save(self, name: str, parts: Iterable[bytes | memoryview]) -> bool:
        """Keep bytes under a name, all or none, for as long as nobody tidies up.

        ``name``: letters, digits, dots.  False where that is not possible now.  Nothing
        is synced: a power cut may leave anything.
        """


class InMemory:
    """:class:`Indexing` where documents change by commits alone."""

    @property
    def declared(self) -> Mapping[str, Sequence[str]]:
        return {}

    def edited(self, collection: str) -> Collection[str] | None:  # noqa: ARG002  # the protocol's
        return ()

    @property
    def settling(self) -> bool:
        return False

    def listen(self) -> float | None:
        return 0.0

    @property
    def lasting(self) -> bool:
        return True

    def on_edit(self, observer: Callable[[str, str | None], None]) -> None:
        """Nothing is edited here."""

    def point(self) -> tuple[Revision, str] | None:
        return None

    def holds(self, revision: Revision, token: str) -> bool:  # noqa: ARG002  # as above
        return False

    def load(self, name: str) -> memoryview | None:  # noqa: ARG002  # as above
        return None

    def save(self, name: str, parts: Iterable[bytes | memoryview]) -> bool:  # noqa: ARG002  # as above
        return False


class Backend(Protocol):
    """A ground for a store.  Safe for threads; processes where the ground allows.

    Guarantees to give:

    * C1: :meth:`get`, :meth:`ids` and :attr:`revision` reflect every commit that
      returned before the call began, in any process.
    * C2: nothing of a commit is visible before its commit point, and all of it after.
    * :meth:`apply` is atomic and, at the durability asked for, durable on return.
    """

    @property
    def location(self) -> str:
        """Where the store is, for people: a path, a URL, ``memory:``."""

    @property
    def readonly(self) -> bool:
        """Whether :meth:`apply` always raises :class:`~filestore.errors.ReadOnly`."""

    @property
    def revision(self) -> Revision:
        """The newest revision; cheap."""

    def get(self, key: tuple[str, str], /) -> Entry | None:
        """The document as it is now; None when there is none.

        Raises Corrupt when its file cannot be read as a document, InvalidKey
        for a key that cannot name one.
        """

    def get_many(
        self, collection: str, ids: Sequence[str], /, *, keep: bool = True
    ) -> list[tuple[str, Entry | Unreadable]]:
        """Those of these documents that are there, as :meth:`get` gives them, in their order.

        One that cannot be read has its error in its place.  Trouble that is not of
        one document alone (no descriptor left, a failing disk) is raised.  For many
        documents, ask for some hundreds at a time.  See :func:`one_by_one`.
        ``keep``: whether those that were not in memory are kept there for the next read.
        """

    def ids(self, collection: str) -> list[str]:
        """The ids in a collection, in no particular order; corrupt ones too.  The caller's own."""

    def collections(self) -> list[str]:
        """The names of the collections that have documents, sorted."""

    def exclusive(self, timeout: float | None = None) -> AbstractContextManager[None]:
        """Hold the store's write lock; reentrant in a thread, readers go on.

        ``timeout`` in seconds, None for the backend's own.  Raises LockTimeout,
        ReadOnly.  Inside it :meth:`apply` and :meth:`get` of this thread work as ever.
        """

    def apply(
        self, edits: Sequence[Edit], *, actor: str | None = None, message: str | None = None
    ) -> Commit | None:
        """Carry out the edits as one commit; None when they change nothing.

        At most one edit a key.  Raises Conflict (an ``expected`` etag is not
        the current one; the document was edited from outside since this handle
        last saw it), Corrupt (a document to be replaced cannot be read),
        InvalidDocument, LockTimeout, ReadOnly, StorageError, RecoveryNeeded.
        When it raises, nothing has changed.
        """

    @property
    def horizon(self) -> Revision:
        """The oldest revision that can be gone back to: every commit after it is kept.

        It only grows.  The newest revision where no commit is kept, or none is to be looked
        back at.
        """

    def changes(self, since: Revision, key: Key | None = None) -> Iterator[Commit]:
        """The commits after ``since`` that are still kept, in order.

        With a ``key``: those that changed that document, each with that one op alone.  Their
        cost grows with their number, not with how much else was committed.  Raises HistoryGone
        where some are dropped meanwhile that follow one that was told.
        """

    def subscribe(self, observer: Callable[[Sequence[Commit] | None], None]) -> Callable[[], None]:
        """Tell ``observer`` of commits, in order, each once, before any read shows them.

        Called with no write lock of another process held, but maybe inside
        this backend's own mutex: it must be quick and must not call back.  None
        instead of commits: the commits since the last call can't be told.
        Returns the function that ends the subscription.
        """

    @property
    def indexing(self) -> Indexing | None:
        """What indexes need of this ground; None where every find has to look at all documents."""

    def check(self) -> list[Problem]:
        """Look at everything; change nothing."""

    def repair(self) -> list[Problem]:
        """Mend what can be mended without losing a document; returns what is left."""

    def rescan(self) -> Revision:
        """Look for edits from outside now, and record them; the newest revision.

        All that were made before are recorded when it returns, also where another handle
        records for all; but for a store that may not be written.  Raises LockTimeout.
        """

    def checkpoint(self) -> None:
        """Make the documents themselves durable, so that the journal is only history."""

    def stats(self) -> dict[str, Any]:
        """Figures for people and monitoring; the names are stable."""

    def close(self) -> None:
        """Release everything; idempotent."""


def one_by_one(
    get: Callable[[tuple[str, str]], Entry | None], collection: str, ids: Sequence[str]
) -> list[tuple[str, Entry | Unreadable]]:
    """:meth:`Backend.get_many` for a ground that gains nothing by being asked for many."""
    found: list[tuple[str, Entry | Unreadable]] = []
    for id in ids:
        try:
            entry = get((collection, id))
        except Corrupt as error:
            found.append((id, error))
        except StorageError as error:
            if error.errno not in _OF_ONE_FILE:
                raise
            found.append((id, error))
        else:
            if entry is not None:
                found.append((id, entry))
    return found
