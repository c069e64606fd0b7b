"""cinderlib's resources, made of documents and turned into their fields."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import cinderlib
from cinder import objects as ovos
from cinderlib import objects

from filestore.integrations.cinderlib.documents import Shape, decode_type, encode_type, plain
from filestore.resources.documents import (
    CONNECTIONS,
    SNAPSHOTS,
    VOLUMES,
    backend_of_host,
    set_backend,
)

if TYPE_CHECKING:
    from filestore.model import Document, Key

_SHAPES: dict[str, tuple[Any, tuple[str, ...]]] = {
    # With the fields that are loaded when they are asked for.
    VOLUMES: (ovos.Volume, ("snapshots", "volume_attachment")),
    SNAPSHOTS: (ovos.Snapshot, ("volume",)),
    CONNECTIONS: (ovos.VolumeAttachment, ("volume",)),
}

_UNTRACKED = {
    VOLUMES: ("volume_type",),
    SNAPSHOTS: (),
    CONNECTIONS: ("connection_info", "connector"),
}

_SEEN = "_filestore_seen"
"""Attribute of Cinder's object: its untracked fields as the store has them."""

_UNCHANGING = frozenset((type(None), bool, int, str, tuple))


@cache
def shape(collection: str) -> Shape:
    """The layout of a collection's documents."""
    return Shape(*_SHAPES[collection])


def volume(key: Key, document: Document) -> Any:
    """A volume; its snapshots and connections are loaded when they are asked for."""
    ovo = shape(VOLUMES).decode(key, document, objects.CONTEXT)
    type_document = document.get("volume_type")
    if type_document is not None:
        type_id = document.get("volume_type_id") or key.id
        vars(ovo)["_obj_volume_type"] = decode_type(key, type_id, type_document, objects.CONTEXT)
        vars(ovo)[_SEEN] = {"volume_type": type_document}
    return _wrapped(objects.Volume, ovo, backend_of_host(document.get("host")))


def snapshot(key: Key, document: Document) -> Any:
    """A snapshot; its volume is loaded when it is asked for."""
    backend = document.get("backend") or ""
    document.setdefault("progress", backend)
    ovo = shape(SNAPSHOTS).decode(key, document, objects.CONTEXT)
    # Not by the constructor, which takes ``progress`` for the backend's name.
    result = objects.Snapshot.__new__(objects.Snapshot)
    vars(result).update(backend=_loaded(backend), _ovo=ovo)
    ovo._cl_obj_ = result
    return result


def connection(key: Key, document: Document) -> Any:
    """A connection; its volume and backend are loaded when they are asked for."""
    ovo = shape(CONNECTIONS).decode(key, document, objects.CONTEXT)
    info = ovo.connection_info
    if info and info.get("conn"):
        result = objects.Connection(None, volume=None, __ovo=ovo)
    else:
        # The constructor fails on a connection that has no information.
        ovo.connection_info = None
        result = objects.Connection(None, volume=None, use_multipath=False, __ovo=ovo)
        ovo.connection_info = info
    ovo._changed_fields.clear()
    vars(ovo)[_SEEN] = {name: plain(getattr(ovo, name)) for name in _UNTRACKED[CONNECTIONS]}
    return result


def fields_of(collection: str, resource: Any, *, changed: bool = False) -> Document:
    """All fields of a resource as its document has them, None for null.

    ``changed``: only those that may have changed.
    """
    ovo = resource._ovo
    layout = shape(collection)
    names = None
    if changed:
        names = {*ovo._changed_fields, *layout.changed_maps(ovo), *_UNTRACKED[collection]}
    fields = layout.encode(ovo, names)
    if collection == VOLUMES:
        # Not by the property, which would load a type that is not there.
        fields["volume_type"] = encode_type(vars(ovo).get("_obj_volume_type"))
    elif collection == SNAPSHOTS:
        set_backend(fields, getattr(resource.backend, "id", resource.backend))
    return fields


def originals(collection: str, ovo: Any) -> Document:
    """The kinds of metadata as they were when their changes were last reset."""
    return {name: getattr(ovo, f"_orig_{name}", {}) for name in shape(collection).maps}


def seen(ovo: Any) -> Document:
    """The fields that nothing tracks, as they were when they were last read or written."""
    found: Document = vars(ovo).get(_SEEN, {})
    return found


def note_seen(collection: str, ovo: Any, fields: Document) -> None:
    """Remember the untracked ones of ``fields`` as what the store has."""
    if _UNTRACKED[collection]:
        vars(ovo)[_SEEN] = {name: fields.get(name) for name in _UNTRACKED[collection]}


def _loaded(name: str) -> Any:
    """The backend of this name; the name itself while it is not loaded.

    Whatever ``fail_on_missing_backend`` says: one volume of a backend that is
    not loaded must not keep all others from being listed.
    """
    return cinderlib.Backend.backends.get(name, name)


def _wrapped(resource_class: Any, ovo: Any, backend_name: str) -> Any:
    """A resource around Cinder's object, as the constructor makes it, in a tenth of its time."""
    attributes = _constructed(resource_class, ovo.__class__)
    if attributes is None:
        resource = resource_class(None, __ovo=ovo)
        resource.backend = _loaded(backend_name)
        return resource
    resource = resource_class.__new__(resource_class)
    vars(resource).update(attributes, backend=_loaded(backend_name), _ovo=ovo)
    ovo._cl_obj_ = resource
    return resource


@cache
def _constructed(resource_class: Any, ovo_class: Any) -> Document | None:
    """What the constructor sets around an object just loaded; None if it can't be copied."""
    attributes = dict(vars(resource_class(None, __ovo=ovo_class())))
    del attributes["_ovo"], attributes["backend"]
    if all(type(value) in _UNCHANGING for value in attributes.values()):
        return attributes
    return None
