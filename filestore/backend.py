"""The one seam under the store: what a ground must offer to carry one.

Documents cross this seam as *canonical bytes*: compact JSON with sorted keys
(see :mod:`filestore.codec`).  So equality of bytes is equality of values, a
journal takes them as they are, and whoever reads decodes a copy of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from filestore.codec import etag_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from filestore.model import Commit, Edit, Etag, Problem, Revision


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
            self._etag = etag_of(self.data)
        return self._etag


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

    def ids(self, collection: str) -> list[str]:
        """The ids in a collection, in no particular order; corrupt ones too."""

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

    def changes(self, since: Revision) -> Iterator[Commit]:
        """The commits after ``since`` that are still kept, in order."""

    def subscribe(self, observer: Callable[[Sequence[Commit] | None], None]) -> Callable[[], None]:
        """Tell ``observer`` of commits, in order, each once, before any read shows them.

        Called with no write lock of another process held, but maybe inside
        this backend's own mutex: it must be quick and must not call back.  None
        instead of commits: the commits since the last call can't be told.
        Returns the function that ends the subscription.
        """

    def check(self) -> list[Problem]:
        """Look at everything; change nothing."""

    def repair(self) -> list[Problem]:
        """Mend what can be mended without losing a document; returns what is left."""

    def checkpoint(self) -> None:
        """Make the documents themselves durable, so that the journal is only history."""

    def stats(self) -> dict[str, Any]:
        """Figures for people and monitoring; the names are stable."""

    def close(self) -> None:
        """Release everything; idempotent."""
