"""The database that Cinder's backup code is given, over a store.

Every method is named and called as the function of ``cinder.db`` that it stands for; ``context``,
the request's, is not looked at.  Volumes are the documents that the cinderlib plugin writes (see
:mod:`filestore.resources.documents`), backups are documents of the collection ``backups``
with the fields of Cinder's table and ``metadata``.
"""

# ruff: noqa: ARG002  # the signatures are Cinder's

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any, Final

from filestore.backup.rows import MAPS, GlanceEntry, Row, backup_row, volume_row
from filestore.errors import Conflict, InvalidDocument, NotFound
from filestore.model import Key
from filestore.resources.documents import VOLUMES, timestamp, unfold_type
from filestore.rewrite import rewrite

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from filestore.model import Document
    from filestore.store import Store

BACKUPS: Final = "backups"


class VolumeReader:
    """Reads volumes from collections of documents, wherever these are.

    Every method raises NotFound for a volume that is not there or was deleted softly,
    and Corrupt for one that cannot be read.
    """

    def __init__(self, collections: Mapping[str, Mapping[str, Document]] | Store) -> None:
        self._collections = collections

    def volume_get(self, context: Any, volume_id: str) -> Row:
        """The row of a volume."""
        return volume_row(volume_id, self._there(VOLUMES, volume_id))

    def volume_metadata_get(self, context: Any, volume_id: str) -> dict[str, str]:
        """A volume's metadata."""
        return dict(self._there(VOLUMES, volume_id).get("metadata") or {})

    def volume_glance_metadata_get(self, context: Any, volume_id: str) -> list[GlanceEntry]:
        """What is known of the image of a volume; nothing is an empty list, not an error."""
        known = self._there(VOLUMES, volume_id).get("glance_metadata") or {}
        return [GlanceEntry(volume_id, key, value) for key, value in known.items()]

    def missing(self, key: Key) -> Exception:
        """The error about a document that is not there; to be raised."""
        return NotFound(f"there is no document {key}", key=key)

    def _there(self, collection: str, id: str) -> Document:
        document = self._collections[collection].get(id)
        return self._not_deleted(Key(collection, id), document)

    def _not_deleted(self, key: Key, document: Document | None) -> Document:
        if document is None or document.get("deleted"):
            raise self.missing(key)
        return document


class StoreDatabase(VolumeReader):
    """Reads and writes volumes and backups of a store, which stays its caller's to close.

    Safe for threads and processes as the store is.  Each method that writes is one commit, and
    takes part in :meth:`transaction`.  Values are JSON's, and times: what no document can hold
    raises InvalidDocument.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.store = store

    def transaction(self) -> AbstractContextManager[object]:
        """What is written inside is one commit, or nothing when it raises."""
        return self.store.transaction()

    def frozen(self, volume_id: str) -> VolumeReader:
        """A reader of this volume as it is now, whatever is written from here on."""
        return VolumeReader({VOLUMES: {volume_id: self._there(VOLUMES, volume_id)}})

    # Volumes

    def volume_create(self, context: Any, values: Mapping[str, Any]) -> Row:
        """Make a volume; its id is made up unless it is given.  Raises Conflict."""
        fields = {"deleted": False, "metadata": {}, "admin_metadata": {}, "glance_metadata": {}}
        return volume_row(*self._create(VOLUMES, {**fields, **values}))

    def volume_update(self, context: Any, volume_id: str, values: Mapping[str, Any]) -> Row:
        """Set columns of a volume; ``metadata`` and ``admin_metadata`` replace what was there.

        A volume that is given the id of a type that another volume has is given the type, too.
        """
        values = dict(values)
        type_id = values.get("volume_type_id")

        def updated(document: Document) -> Document:
            if type_id not in (None, document.get("volume_type_id")):
                values.setdefault("volume_type", self._type_document(type_id))
            return {**document, **values}

        return volume_row(volume_id, self._rewrite(VOLUMES, volume_id, updated))

    def volume_metadata_update(
        self, context: Any, volume_id: str, metadata: Mapping[str, str], delete: bool
    ) -> dict[str, str]:
        """Set keys of a volume's metadata; ``delete`` drops all others.  Returns all of it."""

        def updated(document: Document) -> Document:
            before = {} if delete else document.get("metadata") or {}
            return {**document, "metadata": {**before, **_texts(metadata)}}

        after: dict[str, str] = self._rewrite(VOLUMES, volume_id, updated)["metadata"]
        return after

    def volume_glance_metadata_create(
        self, context: Any, volume_id: str, key: str, value: Any
    ) -> None:
        """Note something of a volume's image.  Raises Conflict when the key is known already."""

        def updated(document: Document) -> Document:
            known = document.get("glance_metadata") or {}
            if key in known:
                where = Key(VOLUMES, volume_id)
                raise Conflict(f"{where} has {key!r} among its glance metadata already", key=where)
            return {**document, "glance_metadata": {**known, **_texts({key: value})}}

        self._rewrite(VOLUMES, volume_id, updated)

    def volume_glance_metadata_delete_by_volume(self, context: Any, volume_id: str) -> None:
        """Forget all that is known of a volume's image."""
        self._rewrite(VOLUMES, volume_id, lambda document: {**document, "glance_metadata": {}})

    def volume_type_get(self, context: Any, id: str) -> dict[str, Any]:
        """A volume type, which some volume has.  Raises NotFound when none has it."""
        key = Key("volume types", id)
        document = self._type_document(id)
        if document is None:
            raise self.missing(key)
        return {"qos_specs_id": None, **unfold_type(key, id, document)[0]}

    def _type_document(self, id: str) -> Document | None:
        """How the volumes of a type have it; without Cinder a type is found through them alone."""
        volumes = self.store[VOLUMES]
        first = volumes.get(id)  # where a volume has a type of its own, the two have one id
        if first is not None and first.get("volume_type_id") == id and "volume_type" in first:
            return dict(first["volume_type"])
        for record in volumes.find(volume_type_id=id):
            if "volume_type" in record.document:
                return dict(record.document["volume_type"])
        return None

    # Backups

    def backup_create(self, context: Any, values: Mapping[str, Any]) -> Row:
        """Make the record of a backup; its id is made up unless it is given.  Raises Conflict."""
        return backup_row(*self._create(BACKUPS, {"deleted": False, "metadata": {}, **values}))

    def backup_get(self, context: Any, backup_id: str) -> Row:
        """The record of a backup.  Raises NotFound."""
        return backup_row(backup_id, self._there(BACKUPS, backup_id))

    def backup_get_all(self, context: Any, filters: Mapping[str, Any] | None = None) -> list[Row]:
        """The records of all backups whose fields have the given values."""
        return [
            backup_row(record.key.id, record.document)
            for record in self.store[BACKUPS].find(**(filters or {}))
            if not record.document.get("deleted")
        ]

    def backup_update(self, context: Any, backup_id: str, values: Mapping[str, Any]) -> Row:
        """Set fields of a backup's record.  Raises NotFound."""
        updated = self._rewrite(BACKUPS, backup_id, lambda document: {**document, **values})
        return backup_row(backup_id, updated)

    def backup_destroy(self, context: Any, backup_id: str) -> None:
        """Delete the record of a backup, if it is there; its data are its driver's to delete."""
        self.store[BACKUPS].pop(backup_id, None)

    def _create(self, collection: str, values: Mapping[str, Any]) -> tuple[str, Document]:
        id = values.get("id") or str(uuid.uuid4())
        created = {"created_at": dt.datetime.now(dt.UTC), **values, "id": id}
        document = _document(Key(collection, id), created)
        self.store[collection].put(id, document, expected=None)
        return id, document

    def _rewrite(self, collection: str, id: str, after: Any) -> Document:
        key = Key(collection, id)

        def rewritten(document: Document | None) -> Document:
            return _document(key, after(self._not_deleted(key, document)))

        document = rewrite(self.store, collection, id, rewritten)
        assert document is not None
        return document


def _document(key: Key, fields: Mapping[str, Any]) -> Document:
    """The fields as a document has them: null is absent, but for maps, which are empty."""
    document: Document = {}
    for name, value in fields.items():
        if value is None:
            if name in MAPS and name != "volume_type":
                document[name] = {}
        elif isinstance(value, dt.datetime):
            document[name] = timestamp(value)
        elif isinstance(value, uuid.UUID):
            document[name] = str(value)
        else:
            document[name] = value
    if type(document.get("id")) is not str:
        raise InvalidDocument(f"the id of {key} must be text", key=key)
    return document


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else str(value) for key, value in values.items()}
