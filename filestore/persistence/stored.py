"""The plugin that keeps resources in a store: ``file``, ``memory``, and any store's URL.

What it keeps to, beyond the methods' signatures:

* A set is an upsert of what changed.  A resource that is not there yet, or in
  which nothing changed, is written whole.  What another process wrote to other
  fields, and to other keys of the metadata, stays.  Reading, merging and
  writing are one step under the store's lock.
* A set brings back what was deleted: ``deleted`` is for soft deletes alone.
* Every get makes new objects, and leaves snapshots and connections to be loaded
  when they are asked for.
* A document that cannot be read makes the listings that would contain it raise
  Corrupt: a snapshot missing from a listing would let its volume be deleted.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from filestore.model import Key
from filestore.persistence.base import PersistenceDriverBase
from filestore.persistence.db import DB
from filestore.persistence.documents import Documents
from filestore.persistence.dumping import BitByBit
from filestore.resources.connection import Connection
from filestore.resources.documents import CONNECTIONS, SNAPSHOTS, VOLUMES
from filestore.resources.key_value import KeyValue
from filestore.resources.snapshot import Snapshot
from filestore.resources.volume import Volume

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from filestore.collection import Collections
    from filestore.persistence.dumping import Dumping
    from filestore.resources.resource import Resource
    from filestore.store import Store


class StorePersistence(PersistenceDriverBase):
    """Keeps resources in a store, which it owns and closes.

    ``soft_deletes``: what is deleted stays, marked and hidden.
    Safe for threads and, where the store's backend is, for processes.
    """

    atomic = True

    def __init__(self, store: Store, *, soft_deletes: bool = False) -> None:
        super().__init__()
        self._documents = Documents(store, soft_deletes=soft_deletes)
        self._db = DB(self)
        # Programs written for cinderlib never close their persistence: the end of them does.
        self._close_store = weakref.finalize(self, store.close)

    @property
    def store(self) -> Store:
        """The store itself, for transactions, the change feed, check and so on."""
        return self._documents.store

    @property
    def soft_deletes(self) -> bool:
        """Whether what is deleted stays, marked and hidden."""
        return self._documents.soft_deletes

    @property
    def db(self) -> DB:
        """What drivers use as Cinder's database."""
        return self._db

    def exclusive(self) -> AbstractContextManager[Any]:
        """Hold the store's write lock: what is read inside stays true until it ends.

        What is set and deleted inside is one commit, all or nothing.
        """
        return self.store.transaction()

    @contextmanager
    def dumping(self) -> Iterator[Dumping]:
        """Everything for a dump, of the moment when it is first asked for.

        Inside a transaction, what that sees.
        """
        with ExitStack() as stack:
            yield BitByBit(partial(self._moment, stack))

    def _moment(self, stack: ExitStack) -> Collections:
        store = self.store
        return store if store.in_transaction else stack.enter_context(store.snapshot(keep=False))

    def close(self) -> None:
        """Close the store; idempotent."""
        self._close_store()

    def get_volumes(  # as it is inherited
        self,
        volume_id: str | None = None,
        volume_name: str | None = None,
        backend_name: str | None = None,
    ) -> list[Volume]:
        return self._documents.resources(
            Volume._stored, VOLUMES, volume_id, display_name=volume_name, backend_name=backend_name
        )

    def get_snapshots(  # as it is inherited
        self,
        snapshot_id: str | None = None,
        snapshot_name: str | None = None,
        volume_id: str | None = None,
    ) -> list[Snapshot]:
        return self._documents.resources(
            Snapshot._stored,
            SNAPSHOTS,
            snapshot_id,
            display_name=snapshot_name,
            volume_id=volume_id,
        )

    def get_connections(  # as it is inherited
        self, connection_id: str | None = None, volume_id: str | None = None
    ) -> list[Connection]:
        return self._documents.resources(
            Connection._stored, CONNECTIONS, connection_id, volume_id=volume_id
        )

    def get_key_values(self, key: str | None = None) -> list[KeyValue]:  # as it is inherited
        return [KeyValue(found, value) for found, value in self._documents.key_values(key)]

    def set_volume(self, volume: Volume) -> None:
        """Write what changed in a volume, or all of it when nothing did."""
        self._write(volume)
        super().set_volume(volume)

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Write what changed in a snapshot, or all of it when nothing did."""
        self._write(snapshot)
        super().set_snapshot(snapshot)

    def set_connection(self, connection: Connection) -> None:
        """Write what changed in a connection, or all of it when nothing did."""
        self._write(connection)
        super().set_connection(connection)

    def set_key_value(self, key_value: KeyValue) -> None:
        """Write a key-value; the value must be one that JSON has."""
        self._documents.set_key_value(_key_of(key_value), key_value.value)

    def delete_volume(self, volume: Volume) -> None:
        """Delete a volume, if it is there."""
        when = self._documents.delete(VOLUMES, volume.id)
        super().delete_volume(volume)
        _note_deletion(volume, when)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Delete a snapshot, if it is there."""
        when = self._documents.delete(SNAPSHOTS, snapshot.id)
        super().delete_snapshot(snapshot)
        _note_deletion(snapshot, when)

    def delete_connection(self, connection: Connection) -> None:
        """Delete a connection, if it is there."""
        when = self._documents.delete(CONNECTIONS, connection.id)
        super().delete_connection(connection)
        _note_deletion(connection, when)

    def delete_key_value(self, key: KeyValue) -> None:
        """Delete the key-value with this object's key, if it is there; for good."""
        self._documents.delete_key_value(_key_of(key))

    def _write(self, resource: Resource) -> None:
        """Merge what changed in ``resource`` into its document."""
        if resource._tracked.values.get("deleted"):
            resource.update({"deleted": False, "deleted_at": None})
        fields, assigned, inside = resource.document_changes()
        key = Key(resource.collection, resource.id)
        self._documents.write(key, fields, assigned, inside, resource.document_fields)


def _key_of(key_value: KeyValue) -> str:
    key = key_value.key
    if not isinstance(key, str):
        raise TypeError(f"the key of a KeyValue must be text, not {key!r}")
    return key


def _note_deletion(resource: Resource, when: dt.datetime) -> None:
    resource.update({"deleted_at": when})
    resource.obj_reset_changes(("deleted_at",))
