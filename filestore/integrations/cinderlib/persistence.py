"""cinderlib's persistence plugin over a store.

What it keeps to, beyond the methods' signatures:

* A set is an upsert of what changed.  A resource that is not there yet, or in
  which nothing changed, is written whole.  What another process wrote to other
  fields, and to other keys of the metadata, stays.  Reading, merging and
  writing are one step under the store's lock.
* What changed is what Cinder's tracker says and what was changed in place:
  metadata, and the dictionaries that nothing tracks (``connection_info``,
  ``connector``, extra specs and qos specs).
* A set brings back what was deleted: ``deleted`` is for soft deletes alone.
* Every get makes new objects, and leaves snapshots and connections to be loaded
  when they are asked for.
* A document that cannot be read makes the listings that would contain it raise
  Corrupt: a snapshot missing from a listing would let its volume be deleted.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import cinderlib
from cinderlib import objects
from cinderlib.persistence import base

import filestore
from filestore.integrations.cinderlib import resources
from filestore.integrations.cinderlib.database import Database
from filestore.model import Key
from filestore.persistence.documents import Documents, permissions
from filestore.resources.changes import changed_fields
from filestore.resources.documents import CONNECTIONS, SNAPSHOTS, VOLUMES

if TYPE_CHECKING:
    import datetime as dt
    import os
    from contextlib import AbstractContextManager


class FilestorePersistence(base.PersistenceDriverBase):  # type: ignore[misc]  # cinderlib has no types
    """Keeps volumes, snapshots, connections and key-values in a store.

    ``path``: the store, made when it is not there.  ``codec``: ``json`` or
    ``yaml``, for a new store; None for the store's own.  ``durability``:
    ``full``, ``normal`` or ``off``.  ``soft_deletes``: what is deleted stays,
    marked and hidden.  ``lock_timeout``: seconds to wait for another writer.
    ``file_mode``: permissions of the files, as a number or octal digits
    (``"0640"``); None for the store's own, 0600.

    Safe for threads and processes.  :meth:`close` also takes back what
    :attr:`db` changed in Cinder's classes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        codec: str | None = None,
        durability: str = "full",
        soft_deletes: bool = False,
        lock_timeout: float = 10.0,
        file_mode: int | str | None = None,
    ) -> None:
        self._store = filestore.open(
            path,
            codec=codec,
            durability=durability,
            lock_timeout=lock_timeout,
            file_mode=permissions(file_mode),
        )
        self._documents = Documents(self._store, soft_deletes=soft_deletes)
        # cinderlib never closes its persistence: the end of the program does.
        self._close_store = weakref.finalize(self, self._store.close)
        self._database: Database | None = None
        super().__init__()

    @property
    def soft_deletes(self) -> bool:
        """Whether what is deleted stays, marked and hidden."""
        return self._documents.soft_deletes

    @property
    def store(self) -> filestore.Store:
        """The store itself, for transactions, the change feed, check and so on."""
        return self._store

    @property
    def db(self) -> Database:
        """What drivers use as Cinder's database.

        The first use replaces methods of Cinder's object classes; so does one
        after cinderlib has come back to this plugin from another.
        """
        if self._database is None:
            self._database = Database(self)
        elif self._is_current() and not self._database.installed:
            self._database.withdraw()
            self._database = Database(self)
        return self._database

    def _is_current(self) -> bool:
        return getattr(cinderlib.Backend, "persistence", None) is self

    def close(self) -> None:
        """Take back what :attr:`db` replaced and close the store; idempotent."""
        if self._database is not None:
            self._database.withdraw()
        self._close_store()

    def exclusive(self) -> AbstractContextManager[Any]:
        """Hold the store's write lock: what is read inside stays true until it ends.

        What is set and deleted inside is one commit.
        """
        return self._store.transaction()

    # Reading

    def get_volumes(
        self,
        volume_id: str | None = None,
        volume_name: str | None = None,
        backend_name: str | None = None,
    ) -> list[Any]:
        """The volumes that match every filter given; an empty filter is none."""
        return self._documents.resources(
            resources.volume,
            VOLUMES,
            volume_id,
            display_name=volume_name,
            backend_name=backend_name,
        )

    def get_snapshots(
        self,
        snapshot_id: str | None = None,
        snapshot_name: str | None = None,
        volume_id: str | None = None,
    ) -> list[Any]:
        """The snapshots that match every filter given; an empty filter is none."""
        return self._documents.resources(
            resources.snapshot,
            SNAPSHOTS,
            snapshot_id,
            display_name=snapshot_name,
            volume_id=volume_id,
        )

    def get_connections(
        self, connection_id: str | None = None, volume_id: str | None = None
    ) -> list[Any]:
        """The connections that match every filter given; an empty filter is none."""
        return self._documents.resources(
            resources.connection, CONNECTIONS, connection_id, volume_id=volume_id
        )

    def get_key_values(self, key: str | None = None) -> list[Any]:
        """The key-value of a key, or all of them."""
        return [objects.KeyValue(found, value) for found, value in self._documents.key_values(key)]

    # Writing

    def set_volume(self, volume: Any) -> None:
        """Write what changed in a volume, or all of it when nothing did."""
        self._write(VOLUMES, volume)
        super().set_volume(volume)

    def set_snapshot(self, snapshot: Any) -> None:
        """Write what changed in a snapshot, or all of it when nothing did."""
        self._write(SNAPSHOTS, snapshot)
        super().set_snapshot(snapshot)

    def set_connection(self, connection: Any) -> None:
        """Write what changed in a connection, or all of it when nothing did."""
        self._write(CONNECTIONS, connection)
        super().set_connection(connection)

    def set_key_value(self, key_value: Any) -> None:
        """Write a key-value; the value must be one that JSON has."""
        self._documents.set_key_value(key_value.key, key_value.value)
        super().set_key_value(key_value)

    def delete_volume(self, volume: Any) -> None:
        """Delete a volume, if it is there."""
        when = self._documents.delete(VOLUMES, volume.id)
        super().delete_volume(volume)
        self._note_deletion(volume, when)

    def delete_snapshot(self, snapshot: Any) -> None:
        """Delete a snapshot, if it is there."""
        when = self._documents.delete(SNAPSHOTS, snapshot.id)
        super().delete_snapshot(snapshot)
        self._note_deletion(snapshot, when)

    def delete_connection(self, connection: Any) -> None:
        """Delete a connection, if it is there."""
        when = self._documents.delete(CONNECTIONS, connection.id)
        super().delete_connection(connection)
        self._note_deletion(connection, when)

    def delete_key_value(self, key_value: Any) -> None:
        """Delete the key-value with this object's key, if it is there."""
        self._documents.delete_key_value(key_value.key)
        super().delete_key_value(key_value)

    def _write(self, collection: str, resource: Any) -> None:
        """Merge what changed in ``resource`` into its document."""
        ovo = resource._ovo
        if ovo.deleted:
            ovo.deleted = False
            ovo.deleted_at = None
        fields = resources.fields_of(collection, resource, changed=True)
        assigned, inside = changed_fields(
            ovo._changed_fields, fields, resources.seen(ovo), resources.originals(collection, ovo)
        )
        fields = self._documents.write(
            Key(collection, ovo.id),
            fields,
            assigned,
            inside,
            lambda: resources.fields_of(collection, resource),
        )
        resources.note_seen(collection, ovo, fields)

    @staticmethod
    def _note_deletion(resource: Any, when: dt.datetime) -> None:
        resource._ovo.deleted_at = when
        resource._ovo.obj_reset_changes(("deleted_at",))
