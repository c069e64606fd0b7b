"""The documents that cinderlib's resources are kept as, and their way to and from Cinder's objects.

The format is Cinder's own field names, flat, one document a resource, and no
trace of the object library that Cinder wraps them in, so that a program
without Cinder reads and writes the same files.

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
from functools import cache
from typing import TYPE_CHECKING, Any

from cinder import objects as ovos
from oslo_serialization import jsonutils
from oslo_versionedobjects import fields as ovo_fields

from filestore.errors import Corrupt
from filestore.model import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filestore.model import Document

UTC = dt.UTC
_SCALARS = frozenset((str, int, bool, float, type(None)))


def plain(value: Any) -> Any:
    """A copy of ``value`` made of JSON's own types.

    Drivers put tuples, sets, bytes and objects into ``connection_info``; they
    become what oslo's JSON makes of them.
    """
    if type(value) in _SCALARS:
        return value
    if isinstance(value, dt.datetime):
        return timestamp(value)
    if isinstance(value, dict):
        return {k if isinstance(k, str) else str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    return jsonutils.to_primitive(value, convert_instances=True)


def timestamp(value: dt.datetime) -> str:
    """``value`` in UTC with microseconds; a naive one is in UTC already, as Cinder has it."""
    if value.tzinfo is not None and value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def moment(value: str) -> dt.datetime:
    """What :func:`timestamp` wrote; also any other ISO 8601 time."""
    parsed = dt.datetime.fromisoformat(value)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


class Shape:
    """How one of Cinder's object classes is laid out as a document.

    ``lazy``: fields that are left to be loaded when they are asked for.
    ``complete``: a field that the document does not have is null, a map empty; otherwise it
    is not set.
    Made at first use, not at import: cinderlib replaces fields of the classes
    when it is set up with ``non_uuid_ids``.

    Objects are made by filling their ``__dict__`` instead of assigning field by
    field, which costs Cinder ten times as much in coercions.  A stored value that
    has the field's exact type is what the coercion would return; any other goes
    through it.  Where the class keeps attributes besides those known here (another
    release of Cinder), objects are made by assignment after all.
    """

    # What Cinder's constructors set besides the fields themselves: copies of maps, to
    # find changes inside them, and the rest.
    _ORIGINALS = (
        ("_orig_metadata", "metadata"),
        ("_orig_admin_metadata", "admin_metadata"),
        ("_orig_glance_metadata", "glance_metadata"),
        ("_init_specs", "specs"),
    )
    _KNOWN = frozenset(("_changed_fields", "_context", *(name for name, _ in _ORIGINALS)))

    def __init__(self, ovo_class: Any, lazy: Iterable[str] = (), complete: bool = True) -> None:
        self.ovo_class = ovo_class
        self.complete = complete
        extra = {*ovo_class.obj_extra_fields, *lazy}
        self._readers: dict[str, tuple[str, type | None, Callable[..., Any]]] = {}
        self._blank: dict[str, Any] = {}
        for name, field in ovo_class.fields.items():
            if name in extra:
                continue
            if field.nullable and complete:
                self._blank["_obj_" + name] = None
            if not isinstance(field, ovo_fields.ObjectField):
                self._readers[name] = ("_obj_" + name, *_reader(name, field))
        probe = vars(ovo_class())
        self._originals = tuple(
            (original, name, "_obj_" + name)
            for original, name in self._ORIGINALS
            if original in probe
        )
        self.maps = tuple(name for _, name, _ in self._originals)
        self.transparent = all(name in self._KNOWN or name.startswith("_obj_") for name in probe)

    def encode(self, ovo: Any, names: Iterable[str] | None = None) -> Document:
        """The fields, or those of ``names``, as a document has them.

        None for null, nothing for a field that is not set or not one of the document's.
        """
        have = vars(ovo)
        readers = self._readers
        document: Document = {}
        for name in readers if names is None else names:
            attribute = "_obj_" + name
            if attribute in have and name in readers:
                value = have[attribute]
                document[name] = value if type(value) in _SCALARS else plain(value)
        return document

    def decode(self, key: Key, document: Document, context: Any) -> Any:
        """A new object of the document, with nothing marked as changed.

        Takes the document over.  Raises Corrupt when a value is not one its field can have.
        """
        if not self.transparent:
            return self.decode_by_assignment(key, document, context)
        document["id"] = key.id
        ovo = self.ovo_class.__new__(self.ovo_class)
        have = ovo.__dict__
        have.update(self._blank)
        have["_context"] = context
        have["_changed_fields"] = set()
        readers = self._readers
        for name, value in document.items():
            reader = readers.get(name)
            if reader is None or value is None:
                continue
            attribute, exact, read = reader
            if type(value) is exact:
                have[attribute] = value
            else:
                try:
                    have[attribute] = read(ovo, value)
                except (ValueError, TypeError, AttributeError) as error:
                    raise _unreadable(key, name, value, error) from error
        for original, name, attribute in self._originals:
            if have.get(attribute) is None and self.complete:
                have[attribute] = readers[name][2](ovo, {})  # Cinder fails on null metadata
            have[original] = document[name] if have.get(attribute) else {}
        return ovo

    def decode_by_assignment(self, key: Key, document: Document, context: Any) -> Any:
        """The same as :meth:`decode`, by the public way that is slow."""
        ovo = self.ovo_class(context)
        for attribute in self._blank:
            setattr(ovo, attribute[len("_obj_") :], None)
        for name in self.maps if self.complete else ():
            setattr(ovo, name, {})
        for name, value in {**document, "id": key.id}.items():
            if name in self._readers and value is not None:
                try:
                    setattr(ovo, name, value)
                except (ValueError, TypeError) as error:
                    raise _unreadable(key, name, value, error) from error
        ovo.obj_reset_changes()
        return ovo


def _unreadable(key: Key, name: str, value: Any, error: Exception) -> Corrupt:
    return Corrupt(
        f"{key}: the field {name!r} cannot be {value!r} ({error}): correct the document", key=key
    )


def _reader(name: str, field: Any) -> tuple[type | None, Callable[..., Any]]:
    """The exact type to take as it is, and the function for any other value.

    Enumerations are never taken as they are: their values must be checked.
    """

    def coerce(ovo: Any, value: Any) -> Any:
        return field.coerce(ovo, name, value)

    if isinstance(field, ovo_fields.BaseEnumField):
        valid = frozenset(field.valid_values)
        return None, lambda ovo, value: value if value in valid else coerce(ovo, value)
    if isinstance(field, ovo_fields.BooleanField):
        return bool, _refuse_boolean
    if isinstance(field, ovo_fields.StringField | ovo_fields.UUIDField):
        return str, coerce
    if isinstance(field, ovo_fields.IntegerField):
        return int, coerce
    if isinstance(field, ovo_fields.DateTimeField):
        return None, lambda _ovo, value: moment(value)
    if isinstance(field, ovo_fields.DictOfStringsField | ovo_fields.DictOfNullableStringsField):
        element = field._type._element_type  # noqa: SLF001  # the coercion has no other name
        taken = frozenset((str, type(None)) if element.nullable else (str,))

        def read_map(ovo: Any, value: Any) -> Any:
            if not all(type(item) in taken for item in value.values()):
                return coerce(ovo, value)
            result = ovo_fields.CoercedDict.__new__(ovo_fields.CoercedDict)
            result.enable_coercing(element, ovo, name)
            dict.update(result, value)
            return result

        return None, read_map
    return None, coerce


def _refuse_boolean(_ovo: Any, value: Any) -> bool:
    if value in (0, 1):
        return bool(value)
    raise ValueError("true or false is required")  # the coercion would take "no" for true


_TYPE_IMPLIED = {"is_public": True}


def encode_type(ovo: Any) -> Document | None:
    """A volume type with its qos specs; None for none."""
    if ovo is None:
        return None
    document = _set_fields(ovo)
    type_id = document.pop("id", None)
    _leave_out(document, {**_TYPE_IMPLIED, "name": type_id})
    qos = ovo.qos_specs if ovo.obj_attr_is_set("qos_specs") else None
    qos_id = document.pop("qos_specs_id", None)
    if qos is not None:
        nested = _set_fields(qos)
        _leave_out(nested, {"id": type_id, "name": type_id})
        document["qos_specs"] = nested
    elif qos_id is not None:
        document["qos_specs_id"] = qos_id  # specs that were not loaded: only their name is known
    return document


def decode_type(key: Key, type_id: str, document: Document, context: Any) -> Any:
    """What :func:`encode_type` made a document of; ``key`` is its volume's."""
    values = {"name": type_id, "extra_specs": {}, **_TYPE_IMPLIED, **document}
    nested = values.pop("qos_specs", None)
    qos = None
    if nested is not None:
        qos_id = nested.get("id", type_id)
        qos = _shape(ovos.QualityOfServiceSpecs).decode(
            Key(key.collection, qos_id), {"name": type_id, "specs": {}, **nested}, context
        )
        values["qos_specs_id"] = qos_id
    volume_type = _shape(ovos.VolumeType).decode(Key(key.collection, type_id), values, context)
    vars(volume_type).setdefault("_obj_qos_specs_id", None)
    vars(volume_type)["_obj_qos_specs"] = qos
    return volume_type


@cache
def _shape(ovo_class: Any) -> Shape:
    return Shape(ovo_class, complete=False)


def _set_fields(ovo: Any) -> Document:
    return {
        name: value
        for name, value in _shape(ovo.__class__).encode(ovo).items()
        if value is not None
    }


def _leave_out(document: Document, implied: Document) -> None:
    for name, value in implied.items():
        if document.get(name) == value:
            document.pop(name, None)
