"""The documents that resources are kept as: one format, with Cinder and without.

Cinder's own field names, flat, one document a resource, and no trace of the
object library that Cinder wraps them in.  The plugin inside real cinderlib
and the resources of filestore itself write and read the same files.

Grammar::

    volumes/<id>      = { field…, "volume_type"?: type }
    snapshots/<id>    = { field…, "backend": name, "progress"?: str }
    connections/<id>  = { field…, "connection_info"?: object, "connector"?: object }
    key_values/<key>  = { "value": any }

    field  = any field of Cinder's Volume, Snapshot or VolumeAttachment that holds no other resource
    type   = { "extra_specs"?: {str: str | null}, "qos_specs"?: qos, "name"?: str,
               "is_public"?: bool, …other fields of Cinder's VolumeType }
    qos    = { "specs"?: {str: str | null}, "consumer": "back-end" | "front-end" | "both",
               "id"?: str, "name"?: str, …other fields of Cinder's QualityOfServiceSpecs }

* A field that is absent is null, and null is never written at the top level.  The three
  kinds of metadata are never null: one that is absent is empty.
* The document's id is the resource's id.  The field ``id`` repeats it for
  people; where the two differ (a copied file), the document's id wins.
* Times are ISO 8601 in UTC with microseconds: ``2026-03-01T08:15:30.250000Z``.
* The type's id is the volume's ``volume_type_id``.  Its ``name`` is left out
  when it equals that id, ``is_public`` when it is true; the qos specs' ``id``
  and ``name`` when they equal the type's id.
* A volume's backend is in ``host``, ``node@backend#pool``.  A snapshot has no
  host: cinderlib keeps its backend in ``progress``, where drivers write
  ``100%``; here it has a field of its own, and ``progress`` is only there when
  it is something else.
* No resource holds another: snapshots and connections name their volume in
  ``volume_id``.
* A resource with ``"deleted": true`` is one that was deleted softly.
* Fields that this version does not know are kept when a resource is written.

Example, ``volumes/0b0a5b7e-….json``::

    {
      "admin_metadata": {},
      "attach_status": "detached",
      "bootable": false,
      "created_at": "2026-03-01T08:15:30.250000Z",
      "deleted": false,
      "display_name": "db-primary",
      "glance_metadata": {},
      "host": "node1@lvm#fast",
      "id": "0b0a5b7e-…",
      "metadata": {"team": "billing"},
      "multiattach": false,
      "project_id": "cinderlib",
      "provider_location": "192.0.2.10:3260,1 iqn.2010-10.org.openstack:volume-0b0a5b7e-… 1",
      "shared_targets": true,
      "size": 40,
      "status": "available",
      "use_quota": true,
      "user_id": "cinderlib",
      "volume_type": {
        "extra_specs": {"provisioning:type": "thin"},
        "qos_specs": {"consumer": "back-end", "specs": {"total_iops_sec": "2000"}}
      },
      "volume_type_id": "0b0a5b7e-…"
    }
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any, Final

from filestore.errors import Corrupt
from filestore.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore.model import Document, Key

VOLUMES: Final = "volumes"
SNAPSHOTS: Final = "snapshots"
CONNECTIONS: Final = "connections"
KEY_VALUES: Final = "key_values"

UTC: Final = dt.UTC
SCALARS: Final = frozenset((str, int, bool, float, type(None)))


def timestamp(value: dt.datetime) -> str:
    """``value`` in UTC with microseconds; a naive one is in UTC already, as Cinder has it."""
    if value.tzinfo is not None and value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def moment(value: str) -> dt.datetime:
    """What :func:`timestamp` wrote; also any other ISO 8601 time.  Raises ValueError."""
    parsed = dt.datetime.fromisoformat(value)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def primitive(value: Any) -> Any:
    """JSON's text for what drivers put among their data and JSON has not; else TypeError."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode()
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has: make text or a dict of it")


def plain(value: Any, other: Callable[[Any], Any] = primitive) -> Any:
    """A copy of ``value`` made of JSON's own types.

    Drivers put tuples, sets, bytes and objects into ``connection_info``.  What is
    no time and no container becomes what ``other`` makes of it.
    """
    if type(value) in SCALARS:
        return value
    if isinstance(value, dt.datetime):
        return timestamp(value)
    if isinstance(value, dict):
        return {k if isinstance(k, str) else str(k): plain(v, other) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, other) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, other) for item in value), key=repr)
    return other(value)


def backend_of_host(host: str | None) -> str:
    """The backend's name in ``node@backend#pool``."""
    return (host or "").split("@")[-1].split("#")[0]


def backend_name_of(document: Document) -> str | None:
    """The backend's name of a volume's document, however somebody has edited it."""
    host = document.get("host")
    return backend_of_host(host) if isinstance(host, str) else None


def set_backend(fields: Document, backend: str) -> None:
    """Note a snapshot's backend among its fields; progress that only repeats it is null."""
    fields["backend"] = backend
    if fields.get("progress") == backend:
        fields["progress"] = None


def fold_type(fields: Document, qos: Document | None) -> Document:
    """A volume type as its volume's document has it; takes ``fields`` and ``qos`` over.

    ``fields``: those of the type that are set; ``qos``: those of its qos specs.
    """
    type_id = fields.pop("id", None)
    _leave_out(fields, {"is_public": True, "name": type_id})
    qos_id = fields.pop("qos_specs_id", None)
    if qos is not None:
        _leave_out(qos, {"id": type_id, "name": type_id})
        fields["qos_specs"] = qos
    elif qos_id is not None:
        fields["qos_specs_id"] = qos_id  # specs that were not loaded: only their name is known
    return fields


def unfold_type(key: Key, type_id: str, document: Any) -> tuple[Document, Document | None]:
    """The fields of a volume type, and of its qos specs, that :func:`fold_type` folded.

    ``key`` is its volume's.  Raises Corrupt for what can't be a type.
    """
    nested = document.get("qos_specs") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(nested, dict | None):
        raise unreadable(key, "volume_type", document, "an object is required")
    fields = {"name": type_id, "extra_specs": {}, "is_public": True, **document, "id": type_id}
    fields.pop("qos_specs", None)
    if nested is None:
        return fields, None
    qos = {"id": type_id, "name": type_id, "specs": {}, **nested}
    fields["qos_specs_id"] = qos["id"]
    return fields, qos


def unreadable(key: Key, name: str, value: Any, reason: object) -> Corrupt:
    """The error about a value that its field cannot have."""
    return Corrupt(
        f"{key}: the field {name!r} cannot be {masked(value, name)!r} ({reason}):"
        " correct the document",
        key=key,
    )


def _leave_out(document: Document, implied: Document) -> None:
    for name, value in implied.items():
        if document.get(name) == value:
            document.pop(name, None)
