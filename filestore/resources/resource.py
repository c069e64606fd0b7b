"""What volumes, snapshots and connections have in common."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from contextlib import contextmanager
from sys import intern
from typing import TYPE_CHECKING, Any, ClassVar, Self

from filestore.errors import InvalidDocument
from filestore.exception import DriverError, InvalidDump
from filestore.resources import loading
from filestore.resources.changes import changed_fields
from filestore.resources.documents import UTC, unreadable
from filestore.resources.elements import parsed
from filestore.resources.fields import Tracked, Unreadable, read_fields, write_fields
from filestore.resources.objects import Entity, Fielded, new_values
from filestore.resources.scope import Scope, name_of
from filestore.resources.shapes import shaped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from filestore.model import Document, Key
    from filestore.resources.backend import Backend
    from filestore.resources.volume import Volume

NAMESPACE = "versioned_object."
_WORD = 24
_OWN = frozenset({"display_name", "display_description", "provider_location", "provider_id"})


class Resource(Scope, Fielded):
    """A volume, a snapshot or a connection.

    Its fields are Cinder's, and can be read and assigned; :meth:`save` keeps what changed.
    ``_ovo`` is what drivers and plugins are handed: the same values as Cinder's object.
    Not safe for threads that use one object at once; each get gives an object of its own.
    """

    collection: ClassVar[str] = ""
    ovo_name: ClassVar[str] = ""
    version: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = {}
    LAZY_PROPERTIES: ClassVar[tuple[str, ...]] = ()

    id: Any
    _backend: Backend | str | None
    _entity: Entity | None

    def _begin(self, backend: Backend | str | None, tracked: Tracked) -> None:
        """Take these values, of this backend; all else is as nothing had been loaded."""
        self._backend = backend
        self._tracked = tracked
        self._entity = None

    @classmethod
    def _new_values(cls, given: Mapping[str, Any]) -> Tracked:
        """The values of a new resource: those given, else the defaults; an id of its own."""
        values = {**cls.defaults, **given}
        if not values.get("id"):
            values["id"] = cls.new_uuid()
        if not values.get("created_at"):
            values["created_at"] = dt.datetime.now(UTC)
        return new_values(cls, values)

    @classmethod
    def _read(cls, key: Key, document: Document) -> Tracked:
        """The values in a document, unchanged so far; takes the document over.  Raises Corrupt."""
        document["id"] = key.id
        try:
            tracked = cls.blank(read_fields(cls.fields, document))
        except Unreadable as error:
            raise unreadable(key, error.name, error.value, error.reason) from error
        for name in cls._mutable:
            tracked.seen[name] = cls.fields[name].write(tracked.values.get(name))
        return tracked

    def _settle(self) -> None:
        """Take it for unchanged, and its type too."""
        self.obj_reset_changes()

    @property
    def backend(self) -> Backend | str:
        """The backend; its name while there is no backend of that name."""
        backend = self._backend
        if isinstance(backend, str):
            return Scope.backends.get(backend, backend)
        if backend is None:
            raise AttributeError(f"{self!r} has no backend")
        return backend

    @backend.setter
    def backend(self, value: Backend | str) -> None:
        self._backend = value

    def _driven(self) -> Backend:
        """The backend, to call its driver.  Raises BackendNotFound when it isn't loaded."""
        backend = self.backend
        if isinstance(backend, str):
            raise loading.missing(backend)
        return backend

    @property
    def _ovo(self) -> Entity:
        raise NotImplementedError

    @property
    def json(self) -> Document:
        """All that is loaded, in cinderlib's form; see :mod:`filestore.serialization`."""
        return self.to_json(simplified=False)

    def to_json(self, simplified: bool = True) -> Document:
        """The same; ``simplified``: without the other resources that it refers to."""
        return {
            "class": type(self).__name__,
            "backend": self._backend_config(),
            "ovo": self._primitive(set(), simplified),
        }

    def _backend_config(self) -> Document:
        backend = self.backend
        return {"volume_backend_name": backend} if isinstance(backend, str) else backend.config

    @property
    def jsons(self) -> str:
        """:attr:`json` as text."""
        return self.to_jsons(simplified=False)

    def to_jsons(self, simplified: bool = True) -> str:
        """:meth:`to_json` as text."""
        return json.dumps(self.to_json(simplified), separators=(",", ":"))

    @property
    def dump(self) -> Document:
        """:attr:`json` after everything it refers to was loaded."""
        self._load_all()
        return self.json

    def _load_all(self) -> None:
        """Load everything that it refers to."""
        for name in self.LAZY_PROPERTIES:
            getattr(self, name)

    @property
    def dumps(self) -> str:
        """:attr:`dump` as text."""
        return json.dumps(self.dump, separators=(",", ":"))

    def to_dict(self) -> Document:
        """:attr:`json` for people: without the wrapping, by the objects' names."""
        result: Document = _unwrapped(self.json["ovo"])
        return result

    def _primitive(self, visited: set[int], simplified: bool) -> Document:
        """The fields as a versioned object; what is in ``visited`` is not gone into again."""
        visited.add(id(self))
        data = write_fields(self.fields, self._tracked.values)
        data.update(dict.fromkeys(self.absent))
        self._add_others(data, visited, simplified)
        return versioned(self.ovo_name, self.version, shaped(self.ovo_name, data))

    def _add_others(self, data: Document, visited: set[int], simplified: bool) -> None:
        """Add what the fields have not, and the resources that it refers to."""
        raise NotImplementedError

    @classmethod
    def load(cls, json_src: str | bytes | Document, save: bool = False) -> Self:
        """Make the resource that was dumped, and those in it; ``save`` stores them, all or none.

        Raises InvalidDump, BackendNotFound.
        """
        source = parsed(json_src)
        with loading.all_or_nothing():
            loaded = cls._load(loading.backend_of(source), loading.part(source, "ovo", dict))
            if save:
                loading.save([loaded])
        return loaded

    @classmethod
    def _load(cls, backend: Backend | str, primitive: Document) -> Self:
        """Make the resource of a versioned object, and those in it; stores nothing."""
        raise NotImplementedError

    @classmethod
    def _loaded_values(cls, primitive: Document) -> tuple[Tracked, Document]:
        """The values of a versioned object, and its data.  Raises InvalidDump."""
        data = loading.data_of(primitive, cls.ovo_name, cls.version)
        loading.only(data, cls, cls._others)
        try:
            # The same words stand in a dump many times; what is longer is an id or the like, and
            # names of one's own would only make the table of words large.
            shared = {
                name: intern(value)
                if type(value) is str and len(value) < _WORD and name not in _OWN
                else value
                for name, value in data.items()
            }
            tracked = cls.blank(read_fields(cls.fields, shared))
        except Unreadable as error:
            raise InvalidDump(
                f"{cls.ovo_name} {data['id']} in the dump: the field {error.name!r} cannot be"
                f" {loading.shown(error.name, error.value)} ({error.reason})"
            ) from error
        for name in cls._mutable:  # what can be changed in place is not the dump's
            tracked.values[name] = cls.fields[name].write(tracked.values.get(name))
        return tracked, data

    _others: ClassVar[tuple[str, ...]] = ()
    """Names in a versioned object that are no fields here."""

    def _apply(self, update: Any) -> None:
        """Take over what a driver returned.  Raises DriverError."""
        if not update:
            return
        try:
            self.update(dict(update))
        except (InvalidDocument, TypeError, ValueError) as error:
            raise DriverError(
                f"the driver of {self!r} returned what can't be stored: {error}"
            ) from error

    def _document_extras(self, fields: Document) -> None:
        """Add to the fields what the document has besides."""

    def document_fields(self, names: Collection[str] | None = None) -> Document:
        """The fields, or those of ``names``, as the document has them, None for null."""
        fields = write_fields(self.fields, self._tracked.values, names)
        self._document_extras(fields)
        return fields

    def document_changes(self) -> tuple[Document, set[str], dict[str, Document]]:
        """What :meth:`filestore.persistence.documents.Documents.write` asks for."""
        tracked = self._tracked
        fields = self.document_fields({*tracked.assigned, *self._mutable})
        seen: Document = {}
        maps: dict[str, Document] = {}
        for name, before in tracked.seen.items():
            field = self.fields.get(name)
            (maps if field is not None and field.merged else seen)[name] = before
        assigned, inside = changed_fields(tracked.assigned, fields, seen, maps)
        return fields, assigned, inside

    def _resources(self) -> list[Resource]:
        """Itself and what was loaded with it, in the order to store them in."""
        return [self]

    def save(self) -> None:
        """Store what changed since the last save; everything when nothing did."""
        raise NotImplementedError

    @staticmethod
    def new_uuid() -> str:
        """An id for a new resource."""
        return str(uuid.uuid4())

    def __repr__(self) -> str:
        backend = self._backend
        where = "" if backend is None else f" on backend {name_of(backend)}"
        return f"<filestore.{type(self).__name__} object {self.id}{where}>"

    def _note(self, error: BaseException) -> None:
        """Note in a driver's error which resource it is about, as cinderlib's callers expect."""
        error.resource = self  # type: ignore[attr-defined]  # any error may be a driver's


class NamedResource(Resource):
    """A resource with a name and a description."""

    display_name: Any
    display_description: Any
    status: Any

    @classmethod
    def _named(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What was given, under the names of the fields."""
        values = dict(given)
        for short, field in (("name", "display_name"), ("description", "display_description")):
            if short in values:
                values[field] = values.pop(short)
        return values

    @property
    def name(self) -> str | None:
        """What its user calls it; assign ``display_name`` to change it."""
        name: str | None = self.display_name
        return name

    @property
    def description(self) -> str | None:
        """What its user says of it; assign ``display_description`` to change it."""
        description: str | None = self.display_description
        return description

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Store it after the block, with status ``error`` where a driver fails in that."""
        try:
            yield
        except Exception as error:
            self.status = "error"
            self._note(error)
            raise
        finally:
            self.save()

    @contextmanager
    def _deleting(self) -> Iterator[None]:
        """Take it for deleted after the block; store it where a driver fails in that."""
        try:
            yield
            self.status = "deleted"
        except Exception as error:
            self.status = "error_deleting"
            self.save()
            self._note(error)
            raise

    @property
    def name_in_storage(self) -> str:
        """What drivers call it."""
        name: str = self._ovo["name"]
        return name


class OfVolume(Resource):
    """A resource of a volume, which is loaded when it is first asked for."""

    LAZY_PROPERTIES = ("volume",)
    volume_class: ClassVar[type[Volume]]

    volume_id: Any
    _volume: Volume | None

    @property
    def volume(self) -> Volume:
        """Its volume.  Raises VolumeNotFound."""
        if self._volume is None:
            self._volume = self.volume_class.get_by_id(self.volume_id)
        return self._volume

    @volume.setter
    def volume(self, value: Volume) -> None:
        self._volume = value

    @classmethod
    def get_by_id(cls, id: str) -> Self:  # each kind says it
        raise NotImplementedError

    def refresh(self) -> None:
        """Read it again, and its volume if that was loaded.  Raises NotFound if it is gone."""
        stored = self.get_by_id(self.id)
        if self._volume is not None:
            stored._volume = self.volume_class.get_by_id(stored.volume_id)
        vars(self).clear()
        vars(self).update(vars(stored))
        self._entity = None

    def _add_volume(self, data: Document, visited: set[int], simplified: bool) -> None:
        if self._volume is not None and not simplified and id(self._volume) not in visited:
            data["volume"] = self._volume._primitive(visited, simplified)

    def _load_volume(
        self, backend: Backend | str, data: Document, volume: Volume | None
    ) -> Volume | None:
        """Refer to the volume that it was found in, or that was dumped with it.

        Returns the latter.  Raises InvalidDump when that is not its volume.
        """
        inner = None
        if volume is None and data.get("volume") is not None:
            inner = self.volume_class._load(backend, data["volume"])
        self._volume = inner or volume
        if self._volume is not None and self._volume.id != self.volume_id:
            raise InvalidDump(
                f"{self.ovo_name} {self.id} in the dump is of volume {self.volume_id},"
                f" but {'stands in' if inner is None else 'holds'} volume {self._volume.id}"
            )
        if self._volume is not None:
            self._tracked.values["volume_id"] = self._volume.id  # one text for all of them
        return inner


def versioned(name: str, version: str, data: Document) -> Document:
    """A versioned object as oslo has it."""
    primitive = {
        f"{NAMESPACE}name": name,
        f"{NAMESPACE}namespace": "cinder",
        f"{NAMESPACE}version": version,
        f"{NAMESPACE}data": data,
    }
    return shaped(NAMESPACE, primitive)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, dict):
        if f"{NAMESPACE}data" in value:
            return {value[f"{NAMESPACE}name"].lower(): _unwrapped(value[f"{NAMESPACE}data"])}
        return {name: _unwrapped(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_unwrapped(each) for each in value]
    return value
