"""Changing what is in cinderlib's own database already.

Snapshots and connections by cinderlib's ``db`` plugin, with all fields but :data:`UNCHANGED` for
changed.  The metadata of snapshots, which it cannot change, and volumes by the Cinder database
that the plugin offers as ``db``: the plugin's own ``set_volume`` gives a volume the default type
unless the type is another one than before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cinder import exception
from cinderlib import objects

from filestore.integrations.cinderlib import resources

if TYPE_CHECKING:
    from filestore.model import Document, Key

UNCHANGED: Final = frozenset({"id", "metadata"})


def update_snapshot_metadata(driver: Any, key: Key, document: Document) -> None:
    """Give a snapshot that is there the metadata of a document, and no other."""
    metadata = document.get("metadata") or {}
    driver.db.snapshot_metadata_update(objects.CONTEXT, key.id, metadata, True)


def update_volume(driver: Any, key: Key, document: Document) -> None:
    """Give a volume that is there all fields of a document, its type and its image's metadata."""
    database = driver.db
    volume = resources.volume(key, dict(document))
    values = driver.get_fields(volume)
    for name in ("id", "extra_specs", "qos_specs", "glance_metadata"):
        values.pop(name, None)
    values["volume_type_id"] = _type_of(driver, document)
    database.volume_update(objects.CONTEXT, key.id, values)
    try:
        database.volume_glance_metadata_delete_by_volume(objects.CONTEXT, key.id)
    except exception.GlanceMetadataNotFound:
        pass
    create_image_metadata(driver, key, document)


def create_image_metadata(driver: Any, key: Key, document: Document) -> None:
    """Add what Cinder keeps of a volume's image, of which the plugin knows nothing."""
    for name, value in (document.get("glance_metadata") or {}).items():
        driver.db.volume_glance_metadata_create(objects.CONTEXT, key.id, name, value)


def _type_of(driver: Any, document: Document) -> str:
    """The id of a volume's type, which is made, or gets the document's extra specs."""
    type_id = document.get("volume_type_id")
    if type_id is None:
        default: str = driver.DEFAULT_TYPE.id
        return default
    database = driver.db
    specs = (document.get("volume_type") or {}).get("extra_specs") or {}
    try:
        known = database.volume_type_extra_specs_get(objects.CONTEXT, type_id)
        database.volume_type_get(objects.CONTEXT, type_id)
    except exception.VolumeTypeNotFound:
        fields = {"id": type_id, "name": type_id, "extra_specs": specs, "is_public": True}
        database.volume_type_create(objects.CONTEXT, fields)
    else:
        for name in known.keys() - specs.keys():
            database.volume_type_extra_specs_delete(objects.CONTEXT, type_id, name)
        database.volume_type_extra_specs_update_or_create(objects.CONTEXT, type_id, specs)
    return str(type_id)
