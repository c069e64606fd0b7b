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

# ruff: noqa: SLF001  # cinderlib hands its plugins objects whose parts it calls private

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cinderlib
from cinderlib import objects
from cinderlib.persistence import base
from oslo_utils import timeutils

import filestore
from filestore.errors import Conflict, NotFound
from filestore.integrations.cinderlib import resources
from filestore.integrations.cinderlib.changes import changed_fields, merged, original, patch_of
from filestore.integrations.cinderlib.database import Database
from filestore.integrations.cinderlib.documents import timestamp
from filestore.integrations.cinderlib.resources import (
    CONNECTIONS,
    KEY_VALUES,
    SNAPSHOTS,
    VOLUMES,
    backend_of_host,
)
from filestore.model import Key

if TYPE_CHECKING:
    import datetime as dt
    import os
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from filestore.model import Document

_ATTEMPTS = 5
"""How often to merge anew when an editor changes the same document meanwhile."""


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

    def __init__(  # noqa: PLR0917  # cinderlib passes them by name
        self,
        path: str | os.PathLike[str],
        codec: str | None = None,
        durability: str = "full",
        soft_deletes: bool = False,
        lock_timeout: float = 10.0,
        file_mode: int | str | None = None,
    ) -> None:
        options: dict[str, Any] = {}
        if file_mode is not None:
            options["file_mode"] = _permissions(file_mode)
        self.soft_deletes = soft_deletes
        self._store = filestore.open(
            path, codec=codec, durability=durability, lock_timeout=lock_timeout, **options
        )
        # cinderlib never closes its persistence: the end of the program does.
        self._close_store = weakref.finalize(self, self._store.close)
        self._database: Database | None = None
        super().__init__()

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
        with _collector_paused():
            return [
                resources.volume(key, document)
                for key, document in self._find(VOLUMES, volume_id, display_name=volume_name)
                if not backend_name or backend_of_host(document.get("host")) == backend_name
            ]

    def get_snapshots(
        self,
        snapshot_id: str | None = None,
        snapshot_name: str | None = None,
        volume_id: str | None = None,
    ) -> list[Any]:
        """The snapshots that match every filter given; an empty filter is none."""
        filters = {"display_name": snapshot_name, "volume_id": volume_id}
        with _collector_paused():
            return [
                resources.snapshot(key, document)
                for key, document in self._find(SNAPSHOTS, snapshot_id, **filters)
            ]

    def get_connections(
        self, connection_id: str | None = None, volume_id: str | None = None
    ) -> list[Any]:
        """The connections that match every filter given; an empty filter is none."""
        with _collector_paused():
            return [
                resources.connection(key, document)
                for key, document in self._find(CONNECTIONS, connection_id, volume_id=volume_id)
            ]

    def get_key_values(self, key: str | None = None) -> list[Any]:
        """The key-value of a key, or all of them."""
        return [
            objects.KeyValue(found.id, document.get("value"))
            for found, document in self._find(KEY_VALUES, key)
        ]

    def _find(
        self, collection: str, id: str | None, **filters: str | None
    ) -> Iterator[tuple[Key, Document]]:
        """The documents that are there, not deleted and equal in the filters that are given."""
        documents = self._store[collection]
        wanted = {name: value for name, value in filters.items() if value}
        found: Iterable[tuple[str, Document]]
        if id:
            document = documents.get(id)
            found = () if document is None else ((id, document),)
        elif wanted:
            found = (
                (record.key.id, record.document) for record in documents.find(_raise, **wanted)
            )
        else:
            found = documents.items()
        for each, document in found:
            if not document.get("deleted") and all(
                document.get(name) == value for name, value in wanted.items()
            ):
                yield Key(collection, each), document

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
        self._store[KEY_VALUES][key_value.key] = {"value": key_value.value}
        super().set_key_value(key_value)

    def delete_volume(self, volume: Any) -> None:
        """Delete a volume, if it is there."""
        when = self._delete(VOLUMES, volume.id, {"status": "deleted"})
        super().delete_volume(volume)
        self._note_deletion(volume, when)

    def delete_snapshot(self, snapshot: Any) -> None:
        """Delete a snapshot, if it is there."""
        when = self._delete(SNAPSHOTS, snapshot.id, {"status": "deleted"})
        super().delete_snapshot(snapshot)
        self._note_deletion(snapshot, when)

    def delete_connection(self, connection: Any) -> None:
        """Delete a connection, if it is there."""
        when = self._delete(CONNECTIONS, connection.id, {"attach_status": "deleted"})
        super().delete_connection(connection)
        self._note_deletion(connection, when)

    def delete_key_value(self, key_value: Any) -> None:
        """Delete the key-value with this object's key, if it is there."""
        self._store[KEY_VALUES].pop(key_value.key, None)
        super().delete_key_value(key_value)

    def _write(self, collection: str, resource: Any) -> None:
        """Merge what changed in ``resource`` into its document."""
        ovo = resource._ovo
        if ovo.deleted:
            ovo.deleted = False
            ovo.deleted_at = None
        fields = resources.fields_of(collection, resource, changed=True)
        maps = resources.shape(collection).maps
        assigned, inside = changed_fields(ovo, fields, resources.seen(ovo), maps)
        before = {name: original(ovo, name) for name in inside}
        if not self._patched(collection, ovo.id, fields, assigned, before):
            fields = resources.fields_of(collection, resource)
            self._write_whole(collection, ovo.id, fields, assigned, before)
        resources.note_seen(collection, ovo, fields)

    def _patched(
        self, collection: str, id: str, fields: Document, assigned: set[str], inside: Document
    ) -> bool:
        """The usual case, in one edit: plain fields of a resource that is there.

        A transaction would do it too, reading the document three times.
        """
        patch = None if "id" in assigned else patch_of(fields, assigned, inside)
        if patch is None:
            return False
        try:
            self._store[collection].patch(id, patch)
        except NotFound:
            return False
        return True

    def _write_whole(
        self, collection: str, id: str, fields: Document, assigned: set[str], inside: Document
    ) -> None:
        """All other cases, with all ``fields`` at hand."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if "id" in assigned and attempt == 1:  # new, unless somebody has the same id
                    document = merged(None, fields, assigned, inside)
                    self._store[collection].put(id, document, expected=None)
                else:
                    with self._store.transaction() as tx:
                        documents = tx[collection]
                        documents[id] = merged(documents.get(id), fields, assigned, inside)
                return
            except Conflict:  # there is one, or an editor saved it after it was read
                if attempt == _ATTEMPTS:
                    raise

    def _delete(self, collection: str, id: str, marks: Document) -> dt.datetime:
        """Delete or mark a document; returns the time it is marked with."""
        when: dt.datetime = timeutils.utcnow()
        if not self.soft_deletes:
            self._store[collection].pop(id, None)
            return when
        marks = {**marks, "deleted": True, "deleted_at": timestamp(when)}
        with self._store.transaction() as tx:
            document = tx[collection].get(id)
            if document is not None and not document.get("deleted"):
                tx[collection][id] = {**document, **marks}
        return when

    @staticmethod
    def _note_deletion(resource: Any, when: dt.datetime) -> None:
        resource._ovo.deleted_at = when
        resource._ovo.obj_reset_changes(("deleted_at",))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking at thousands of new objects over and over."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _permissions(file_mode: int | str) -> int:
    try:
        mode = int(file_mode, 8) if isinstance(file_mode, str) else file_mode
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ValueError(f"file_mode must be permissions such as '0640', not {file_mode!r}")
    return mode


def _raise(error: Exception) -> None:
    raise error
