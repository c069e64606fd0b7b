"""Documents to and from Cinder's objects; the format is :mod:`filestore.resources.documents`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from cinder import objects as ovos
from oslo_serialization import jsonutils
from oslo_versionedobjects import fields as ovo_fields

from filestore.model import Key
from filestore.resources import documents
from filestore.resources.documents import SCALARS, fold_type, moment, unfold_type, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filestore.model import Document


def plain(value: Any) -> Any:
    """A copy of ``value`` made of JSON's own types; odd ones become what oslo makes of them."""
    return documents.plain(value, _primitive)


def _primitive(value: Any) -> Any:
    return jsonutils.to_primitive(value, convert_instances=True)


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

    def changed_maps(self, ovo: Any) -> list[str]:
        """Maps that may have been changed inside, whatever the object's tracker says."""
        have = vars(ovo)
        return [
            name
            for original, name, attribute in self._originals
            if have.get(attribute) != have.get(original, {})
        ]

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
                document[name] = value if type(value) in SCALARS else plain(value)
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
                    raise unreadable(key, name, value, error) from error
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
                    raise unreadable(key, name, value, error) from error
        ovo.obj_reset_changes()
        return ovo


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
        element = field._type._element_type
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


def encode_type(ovo: Any) -> Document | None:
    """A volume type with its qos specs; None for none."""
    if ovo is None:
        return None
    qos = ovo.qos_specs if ovo.obj_attr_is_set("qos_specs") else None
    return fold_type(_set_fields(ovo), None if qos is None else _set_fields(qos))


def decode_type(key: Key, type_id: str, document: Document, context: Any) -> Any:
    """What :func:`encode_type` made a document of; ``key`` is its volume's."""
    fields, nested = unfold_type(key, type_id, document)
    qos = None
    if nested is not None:
        qos_key = Key(key.collection, nested["id"])
        qos = _shape(ovos.QualityOfServiceSpecs).decode(qos_key, nested, context)
    volume_type = _shape(ovos.VolumeType).decode(Key(key.collection, type_id), fields, context)
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
