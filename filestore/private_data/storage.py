"""Storage drivers: where the details of one backend are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import filestore
from filestore.closing import Closing
from filestore.errors import Corrupt
from filestore.model import Key
from filestore.private_data.details import collection_of, keys_of, texts_of
from filestore.rewrite import rewrite

if TYPE_CHECKING:
    from filestore.collection import Collection
    from filestore.model import Document
    from filestore.store import Store

D = TypeVar("D", bound="dict[Any, Any]")


class StorageDriver(ABC):
    """Where the details of one backend are kept; subclass it to keep them elsewhere."""

    def __init__(self, backend_host: str) -> None:
        self.backend_host = backend_host

    @abstractmethod
    def details_get(
        self, namespace: str | None, entity_id: str, key: str | list[str] | None, default: Any
    ) -> Any:
        """All details of an entity, some, or the value of one key; ``default`` for no value."""

    @abstractmethod
    def details_update(
        self, namespace: str | None, entity_id: str, details: D, delete_existing: bool
    ) -> D:
        """Set details, and with ``delete_existing`` drop all others; returns ``details``."""

    @abstractmethod
    def details_delete(
        self, namespace: str | None, entity_id: str, key: str | list[str] | None
    ) -> None:
        """Delete all details of an entity or some; those that are not there are no error."""


class StoreStorageDriver(StorageDriver):
    """The details of one backend in a store, which stays its caller's to close.

    Safe for threads and processes as the store is: an update and a delete are one
    commit, decided under the store's lock, and join a transaction that is open.

    Every method raises InvalidKey (a ValueError) for an id that can name no document, and
    ValueError for a key that is no text; reads raise Corrupt for a document with a value that
    is no text; writes raise what writes of the store do.
    """

    def __init__(self, store: Store, backend_host: str) -> None:
        super().__init__(backend_host)
        self._store = store
        self._collections: dict[str | None, Collection] = {None: store[collection_of(backend_host)]}

    @property
    def store(self) -> Store:
        """Where the details are."""
        return self._store

    def details_get(
        self,
        namespace: str | None,
        entity_id: str,
        key: str | list[str] | None = None,
        default: Any = None,
    ) -> Any:
        """All details of an entity, some, or the value of one key; ``default`` for no value.

        A dictionary is the caller's own.  ``default`` plays no part in it.
        """
        collection = self._collection(namespace)
        document = collection.get(entity_id)
        if isinstance(key, str):
            value = default if document is None else document.get(key, default)
            if type(value) is not str and document is not None and key in document:
                raise _no_text(collection, entity_id, key, value)
            return value
        found = document or {}
        if key is not None:
            found = {name: found[name] for name in keys_of(key) if name in found}
        for name, value in found.items():
            if type(value) is not str:
                raise _no_text(collection, entity_id, name, value)
        return found

    def details_update(
        self, namespace: str | None, entity_id: str, details: D, delete_existing: bool = False
    ) -> D:
        """Set details, and with ``delete_existing`` drop all others; returns ``details`` as given.

        Raises ValueError when ``details`` is no dictionary, and InvalidDocument, a kind of it,
        for a key that is no text or longer than ``MAX_KEY``, or a value longer than ``MAX_VALUE``.
        """
        collection = self._collection(namespace)
        texts = texts_of(Key(collection.name, entity_id), details)

        def updated(document: Document | None) -> Document | None:
            return (texts if delete_existing else {**(document or {}), **texts}) or None

        rewrite(self._store, collection.name, entity_id, updated)
        return details

    def details_delete(
        self, namespace: str | None, entity_id: str, key: str | list[str] | None = None
    ) -> None:
        """Delete all details of an entity or some; those that are not there are no error."""
        dropped = None if key is None else frozenset(keys_of(key))

        def without(document: Document | None) -> Document | None:
            if dropped is None or document is None:
                return None
            return {name: text for name, text in document.items() if name not in dropped} or None

        rewrite(self._store, self._collection(namespace).name, entity_id, without)

    def get(self, entity_id: str, key: str | list[str] | None = None, default: Any = None) -> Any:
        """:meth:`details_get` in no namespace."""
        return self.details_get(None, entity_id, key, default)

    def update(self, entity_id: str, details: D, delete_existing: bool = False) -> D:
        """:meth:`details_update` in no namespace."""
        return self.details_update(None, entity_id, details, delete_existing)

    def delete(self, entity_id: str, key: str | list[str] | None = None) -> None:
        """:meth:`details_delete` in no namespace."""
        self.details_delete(None, entity_id, key)

    def _collection(self, namespace: str | None) -> Collection:
        found = self._collections.get(namespace)
        if found is None:
            found = self._store[collection_of(self.backend_host, namespace)]
            self._collections[namespace] = found
        return found


class SqlStorageDriver(StoreStorageDriver, Closing):
    """The details of one backend in a database, in a store of its own to close.

    ``connection``: the database's URL, such as ``sqlite:////var/lib/manila/private.sqlite``; see
    :func:`filestore.open`.  A context manager.
    """

    def __init__(self, connection: str, backend_host: str) -> None:
        if "://" not in connection:
            raise ValueError(
                f"{connection!r} is no database's URL, such as 'sqlite:///private.sqlite':"
                " for a folder of files use StoreStorageDriver(filestore.open(path), host)"
            )
        store = filestore.open(connection)
        try:
            super().__init__(store, backend_host)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close the store; idempotent."""
        self.store.close()


def _no_text(collection: Collection, id: str, name: str, value: object) -> Corrupt:
    key = Key(collection.name, id)
    return Corrupt(
        f"the value of {name!r} of {key} is no text but {type(value).__name__}:"
        " correct the document",
        key=key,
    )
