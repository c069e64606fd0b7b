"""Resources' documents in a store: found, merged, marked as deleted.

What the plugin inside real cinderlib and the one without Cinder have in
common: it knows documents (:mod:`filestore.resources.documents`) and no objects.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, TypeVar

from filestore.collector import BULK, paused
from filestore.errors import Conflict, NotFound
from filestore.model import Key
from filestore.resources.changes import merged, patch_of
from filestore.resources.documents import (
    CONNECTIONS,
    KEY_VALUES,
    UTC,
    VOLUMES,
    backend_name_of,
    timestamp,
)
from filestore.rewrite import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import Any

    from filestore.model import Document
    from filestore.store import Store

T = TypeVar("T")

BACKEND_NAME: Final = "backend_name"
_PRIVATE: Final = 0o600  # there are passwords among what is kept


class Documents:
    """The documents of resources in a store.

    ``soft_deletes``: what is deleted stays, marked and hidden.
    """

    def __init__(self, store: Store, *, soft_deletes: bool = False) -> None:
        self.store = store
        # Not a field of the documents, for it stands in the host, which people may edit.
        store.define(VOLUMES, BACKEND_NAME, backend_name_of, version="1")
        self.soft_deletes = soft_deletes

    def resources(
        self,
        made: Callable[[Key, Document], T],
        collection: str,
        id: str | None,
        **filters: str | None,
    ) -> list[T]:
        """What ``made`` makes of the documents that :meth:`find` finds."""
        with paused(0 if id else BULK):  # making many would have the collector look at all of them
            return [made(key, document) for key, document in self.find(collection, id, **filters)]

    def find(
        self, collection: str, id: str | None, **filters: str | None
    ) -> Iterator[tuple[Key, Document]]:
        """The documents that are there, not deleted and equal in the filters that are given.

        An empty ``id`` or filter is none.  Volumes have a ``backend_name`` besides their
        fields.  Raises Corrupt, once it comes to it, for a
        document that cannot be read: a snapshot missing from a listing would let its
        volume be deleted.
        """
        documents = self.store[collection]
        wanted = {name: value for name, value in filters.items() if value}
        found: Iterable[tuple[str, Document]]
        if id:
            document = documents.get(id)
            matches = document is not None and all(
                _value(document, name) == value for name, value in wanted.items()
            )
            found = ((id, document),) if document is not None and matches else ()
        elif wanted:
            found = (
                (record.key.id, record.document) for record in documents.find(_raise, **wanted)
            )
        else:
            found = documents.items()
        for each, document in found:
            if not document.get("deleted"):
                yield Key(collection, each), document

    def write(
        self,
        key: Key,
        fields: Document,
        assigned: Collection[str],
        inside: Mapping[str, Document],
        everything: Callable[[], Document],
    ) -> Document:
        """Merge what changed in a resource into its document; returns the fields it looked at.

        ``fields``: those that may have changed, None for null.  ``assigned`` and ``inside``: as
        :func:`~filestore.resources.changes.changed_fields` gives them.  ``everything``: gives all
        fields; called when the document is written whole.

        A resource that is not there yet, or in which nothing changed, is written whole.
        What others wrote to other fields, and to other keys of the metadata,
        stays.  Reading, merging and writing are one step under the store's lock.
        """
        if self._patched(key, fields, assigned, inside):
            return fields
        fields = everything()
        self._write_whole(key, fields, assigned, inside)
        return fields

    def _patched(
        self,
        key: Key,
        fields: Document,
        assigned: Collection[str],
        inside: Mapping[str, Document],
    ) -> bool:
        """The usual case, in one edit: plain fields of a resource that is there.

        A transaction would do it too, reading the document three times.
        """
        patch = None if "id" in assigned else patch_of(fields, assigned, inside)
        if patch is None:
            return False
        try:
            self.store[key.collection].patch(key.id, patch)
        except NotFound:
            return False
        return True

    def _write_whole(
        self,
        key: Key,
        fields: Document,
        assigned: Collection[str],
        inside: Mapping[str, Document],
    ) -> None:
        """All other cases, with all ``fields`` at hand."""
        if "id" in assigned:  # new, unless somebody has the same id
            document = merged(None, fields, assigned, inside)
            try:
                self.store[key.collection].put(key.id, document, expected=None)
            except Conflict:
                pass
            else:
                return
        rewrite(
            self.store,
            key.collection,
            key.id,
            lambda before: merged(before, fields, assigned, inside),
        )

    def delete(self, collection: str, id: str) -> dt.datetime:
        """Delete a resource's document, if it is there; returns the time that counts.

        With soft deletes it is marked instead, and with that time.
        """
        when = dt.datetime.now(UTC)
        if not self.soft_deletes:
            self.store[collection].pop(id, None)
            return when
        status = "attach_status" if collection == CONNECTIONS else "status"
        marks = {status: "deleted", "deleted": True, "deleted_at": timestamp(when)}

        def marked(document: Document | None) -> Document | None:
            if document is None or document.get("deleted"):
                return document
            return {**document, **marks}

        rewrite(self.store, collection, id, marked)
        return when

    def key_values(self, key: str | None) -> list[tuple[str, Any]]:
        """The keys with their values, or the one of ``key``."""
        return [(found.id, document.get("value")) for found, document in self.find(KEY_VALUES, key)]

    def set_key_value(self, key: str, value: Any) -> None:
        """Write a key-value, replacing its value whole; it must be one that JSON has."""
        self.store[KEY_VALUES][key] = {"value": value}

    def delete_key_value(self, key: str) -> None:
        """Delete a key-value, if it is there; for good, whatever ``soft_deletes`` says."""
        self.store[KEY_VALUES].pop(key, None)


def permissions(file_mode: int | str | None) -> int:
    """Permissions given as a number, as octal digits or not at all; raises ValueError."""
    if file_mode is None:
        return _PRIVATE
    try:
        mode = int(file_mode, 8) if isinstance(file_mode, str) else file_mode
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ValueError(f"file_mode must be permissions such as '0640', not {file_mode!r}")
    return mode


def _value(document: Document, name: str) -> Any:
    return backend_name_of(document) if name == BACKEND_NAME else document.get(name)


def _raise(error: Exception) -> None:
    raise error
