"""cinderlib's own database as an end of a migration: ``cinderlib+mysql+pymysql://…``.

Read and written through a real cinderlib and its ``db`` plugin, in the format of the
documents that this package's plugin keeps.  What that database cannot tell or keep:

* It gives volumes without a type its default type, which is left out again.
* It stamps ``created_at`` and ``updated_at`` itself.
* It keeps a snapshot's backend in ``progress``.
* Of a volume type it keeps the id and the extra specs, not the qos specs.
* Key-values hold text or None.
* The type that a volume had and has no more stays, without a volume.
* What was deleted softly is hidden, and stays behind.
"""

# cinderlib hands its plugins objects whose parts it calls private

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import cinderlib
import sqlalchemy.exc
from alembic.util.exc import CommandError
from cinder import exception as cinder_exception
from cinderlib import objects
from oslo_db import exception as db_exception

from filestore.codec import canonical
from filestore.codec.etag import etag_of
from filestore.errors import Conflict, InvalidDocument, StorageError
from filestore.integrations.cinderlib import resources
from filestore.integrations.cinderlib.updates import (
    UNCHANGED,
    create_image_metadata,
    update_snapshot_metadata,
    update_volume,
)
from filestore.location import CINDERLIB, masked_url
from filestore.resources.documents import CONNECTIONS, KEY_VALUES, SNAPSHOTS, VOLUMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filestore.migration import Policy, Write
    from filestore.model import Document, Etag, Key

_ORDER: Final = (VOLUMES, SNAPSHOTS, CONNECTIONS, KEY_VALUES)
"""The collections, each after those that it refers to."""

_MAKERS: Final[dict[str, Callable[[Key, Document], Any]]] = {
    VOLUMES: resources.volume,
    SNAPSHOTS: resources.snapshot,
    CONNECTIONS: resources.connection,
}

_ITS_OWN: Final = ("created_at", "updated_at", "progress")
_TROUBLE: Final = (
    sqlalchemy.exc.SQLAlchemyError,
    db_exception.DBError,
    cinder_exception.CinderException,
    CommandError,
    ImportError,  # of the database's driver
)


class CinderlibDatabase:
    """A :class:`~filestore.migration.Source` and :class:`~filestore.migration.Target`.

    cinderlib knows one database in a process, so there can be one of these.  Opening it
    brings the database's tables to cinderlib's version, as cinderlib always does.

    Raises Conflict for a second one, StorageError.
    """

    _open: str | None = None

    def __init__(self, location: str) -> None:
        url = location.removeprefix(CINDERLIB)
        self._shown = CINDERLIB + masked_url(url)
        if CinderlibDatabase._open is not None:
            raise Conflict(
                f"{self._shown}: cinderlib knows one database in a process, and that is"
                f" {CinderlibDatabase._open}: migrate to a folder first, and from there"
            )
        try:
            # The backends of resources need not be loaded, and any id will do.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cinderlib.setup(
                    persistence_config={"storage": "db", "connection": url},
                    fail_on_missing_backend=False,
                    non_uuid_ids=True,
                )
        except _TROUBLE as error:
            raise self._refused(error) from None  # the cause tells the password
        CinderlibDatabase._open = self._shown
        self._driver = cinderlib.Backend.persistence
        self._documents: dict[str, dict[str, Document]] = {}
        self._written: set[Key] = set()  # since their collection was read

    @property
    def location(self) -> str:
        return self._shown

    def collections(self) -> Sequence[str]:
        return [name for name in _ORDER if self[name]]

    def __getitem__(self, collection: str) -> Mapping[str, Document]:
        """The documents as they were when the collection was last read."""
        if collection not in self._documents:
            self._documents[collection] = self._read(collection)
        return self._documents[collection]

    def _read(self, collection: str) -> dict[str, Document]:
        """All documents of a collection: the database gives them one by one at its own pace."""
        try:
            if collection == KEY_VALUES:
                return {each.key: {"value": each.value} for each in self._driver.get_key_values()}
            found = {
                VOLUMES: self._driver.get_volumes,
                SNAPSHOTS: self._driver.get_snapshots,
                CONNECTIONS: self._driver.get_connections,
            }[collection]()
            documents = {each.id: self._document(collection, each) for each in found}
            if collection == VOLUMES:
                # cinderlib leaves out what Cinder itself keeps of a volume's image.
                for row in self._driver.db.volume_glance_metadata_get_all(objects.CONTEXT):
                    if row.volume_id in documents:
                        image = documents[row.volume_id].setdefault("glance_metadata", {})
                        image[row.key] = row.value
        except _TROUBLE as error:
            raise self._refused(error) from None
        return documents

    def _document(self, collection: str, resource: Any) -> Document:
        fields = resources.fields_of(collection, resource)
        if fields.get("volume_type_id") == self._driver.DEFAULT_TYPE.id:
            fields["volume_type_id"] = fields["volume_type"] = None
        return {name: value for name, value in fields.items() if value is not None}

    # -- as a target ----------------------------------------------------------------

    def rank(self, collection: str) -> int:
        return _ORDER.index(collection)

    def refusal(self, collection: str, policy: Policy) -> str | None:  # noqa: ARG002  (the protocol's)
        if collection not in _ORDER:
            return f"cinderlib's database has no place for the collection {collection}"
        return None

    def current(self, key: Key) -> tuple[Document, Etag | None] | None:
        if key in self._written:
            self._forget(key.collection)
        found = self[key.collection].get(key.id)
        return None if found is None else (found, etag_of(canonical(found)))

    def agrees(self, there: Document, document: Document) -> bool:
        """Whether what is there is the document, but for what the database does by itself."""
        return canonical(_kept(there)) == canonical(_kept(document))

    def write(self, writes: Sequence[Write], message: str) -> None:  # noqa: ARG002  (no history)
        for key, document, seen in writes:
            try:
                self._set(key, document, new=seen is None)
            except _TROUBLE as error:
                raise self._refused(error, key) from None
            self._written.add(key)
        # What was read of them is old now, but only who asks for something written needs more:
        # to read a large collection anew for each batch takes time that grows with its square.
        for collection in self._documents.keys() - {key.collection for key, _, _ in writes}:
            self._forget(collection)

    def _forget(self, collection: str) -> None:
        """Have a collection read anew when it is asked for next."""
        self._documents.pop(collection, None)
        self._written = {key for key in self._written if key.collection != collection}

    def _set(self, key: Key, document: Document, *, new: bool) -> None:
        if key.collection == KEY_VALUES:
            value = document.get("value")
            if value is not None and not isinstance(value, str):
                raise InvalidDocument(
                    f"{self._shown}: {key} has a value that is no text, and cinderlib's database"
                    " keeps no other",
                    key=key,
                )
            self._driver.set_key_value(objects.KeyValue(key.id, value))
            return
        if key.collection == VOLUMES and not new:
            update_volume(self._driver, key, document)
            return
        resource = _MAKERS[key.collection](key, dict(document))
        ovo = resource._ovo
        if key.collection == SNAPSHOTS:
            ovo.progress = document.get("backend")  # where cinderlib keeps it
            if ovo.volume_type_id is None:
                ovo.volume_type_id = self._driver.DEFAULT_TYPE.id
        if key.collection != VOLUMES:  # of which cinderlib writes all, the type too, as it is
            changed = {name for name in ovo.fields if ovo.obj_attr_is_set(name)}
            ovo._changed_fields = changed if new else changed - UNCHANGED
        set_ = {
            VOLUMES: self._driver.set_volume,
            SNAPSHOTS: self._driver.set_snapshot,
            CONNECTIONS: self._driver.set_connection,
        }[key.collection]
        set_(resource)
        if key.collection == VOLUMES:
            create_image_metadata(self._driver, key, document)
        elif key.collection == SNAPSHOTS and not new:
            update_snapshot_metadata(self._driver, key, document)

    def _refused(self, error: Exception, key: Key | None = None) -> StorageError:
        what = f" {key}" if key is not None else ""
        text = masked_url(" ".join(str(error).split("\n", 1)[0].split()))
        return StorageError(f"{self._shown}:{what} {text or type(error).__name__}", key=key)


def _kept(document: Document) -> Document:
    """What the database keeps of a document as it was given."""
    kept = {name: value for name, value in document.items() if name not in _ITS_OWN}
    if not kept.get("glance_metadata"):
        kept.pop("glance_metadata", None)
    type_ = kept.get("volume_type")
    if isinstance(type_, dict):
        kept["volume_type"] = {"extra_specs": type_.get("extra_specs") or {}}
    return kept
