"""What a store's collections read and write: the backend, or the calling thread's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filestore.importing import importing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filestore.backend import Backend, Entry, Unreadable
    from filestore.index import Indexes
    from filestore.model import Commit, Edit, Revision
    from filestore.query import Fields, Query
    from filestore.transaction import Transaction


class Joined:
    """The ground of a store's collections.

    The write lock admits one transaction of this handle at a time, so one attribute holds
    it.  ``get`` is the backend's own while there is none: a read pays for nothing else.
    """

    __slots__ = (
        "_apply",
        "_backend",
        "_indexes",
        "_transaction",
        "actor",
        "candidates",
        "get",
        "get_many",
    )

    def __init__(self, backend: Backend, actor: str | None) -> None:
        self._backend = backend
        self._indexes: Indexes | None = None
        self._apply = backend.apply
        self._transaction: Transaction | None = None
        self.actor = actor
        self.get: Callable[[tuple[str, str]], Entry | None] = backend.get
        self.get_many: Callable[[str, Sequence[str]], list[tuple[str, Entry | Unreadable]]]
        self.get_many = backend.get_many
        self.candidates: Callable[[str, Query], list[str] | None] = self._candidates

    @property
    def indexes(self) -> Indexes:
        """The store's indexes; who never finds by a field never has them."""
        indexes = self._indexes
        return self._make_indexes() if indexes is None else indexes

    def _make_indexes(self) -> Indexes:
        with importing(ours=True):
            from filestore.index import Indexes

            if self._indexes is None:
                self._indexes = Indexes(self._backend)
            return self._indexes

    def keep_indexes(self) -> None:
        """Keep what is indexed for the next run."""
        if self._indexes is not None:
            self._indexes.save()

    def begin(self, transaction: Transaction) -> None:
        """Have the transaction's thread read and write it."""
        self._transaction = transaction
        self.get = self._get_joined
        self.get_many = self._get_many_joined
        self.candidates = self._candidates_joined

    def end(self, transaction: Transaction) -> None:
        """Have everybody read and write the backend again; repeatable."""
        transaction.end()
        if self._transaction is transaction:
            self.get = self._backend.get
            self.get_many = self._backend.get_many
            self.candidates = self._candidates
            self._transaction = None

    def joined(self) -> Transaction | None:
        """The calling thread's transaction."""
        transaction = self._transaction
        if transaction is None or transaction.ended or not transaction.mine:
            return None
        return transaction

    @property
    def location(self) -> str:
        return self._backend.location

    @property
    def readonly(self) -> bool:
        return self._backend.readonly

    @property
    def revision(self) -> Revision:
        return self._backend.revision

    @property
    def moment(self) -> object:
        transaction = None if self._transaction is None else self.joined()
        return self._backend.revision if transaction is None else transaction.moment

    def _get_many_joined(
        self, collection: str, ids: Sequence[str]
    ) -> list[tuple[str, Entry | Unreadable]]:
        transaction = self.joined()
        ground = self._backend if transaction is None else transaction
        return ground.get_many(collection, ids)

    def computed(self, collection: str) -> Fields:
        return self.indexes.computed(collection)

    def _candidates(self, collection: str, query: Query) -> list[str] | None:
        return self.indexes.candidates(collection, query)

    def _candidates_joined(self, collection: str, query: Query) -> list[str] | None:
        transaction = self.joined()
        ground = self.indexes if transaction is None else transaction
        return ground.candidates(collection, query)

    def _get_joined(self, key: tuple[str, str]) -> Entry | None:
        transaction = self.joined()
        return (self._backend if transaction is None else transaction).get(key)

    def ids(self, collection: str) -> list[str]:
        transaction = self.joined()
        return (self._backend if transaction is None else transaction).ids(collection)

    def apply(self, edits: Sequence[Edit]) -> Commit | None:
        transaction = self.joined()
        if transaction is None:
            return self._apply(edits, actor=self.actor)
        return transaction.apply(edits)
