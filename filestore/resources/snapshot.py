"""Snapshots of volumes."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from filestore.exception import SnapshotNotFound
from filestore.resources.documents import SNAPSHOTS, set_backend
from filestore.resources.objects import Entity, SnapshotFields
from filestore.resources.resource import NamedResource, OfVolume
from filestore.resources.scope import Scope, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filestore.model import Document, Key
    from filestore.resources.backend import Backend
    from filestore.resources.volume import Volume

_PROGRESS = "cinderlib.data"
"""Where a dump has a driver's progress: cinderlib wants the backend's name under ``progress``."""


class SnapshotObject(SnapshotFields, Entity):
    """A snapshot as drivers are handed it; ``name`` is the storage's."""

    ovo_name = "Snapshot"
    version = "1.6"

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot._tracked)
        self._cl_obj_ = snapshot

    @property
    def name(self) -> str:
        """What drivers call it."""
        return f"snapshot-{self.id}"

    @property
    def volume_name(self) -> str:
        """What drivers call its volume."""
        return f"volume-{self.volume_id}"

    @property
    def volume(self) -> Entity:
        """Its volume, loaded when it is first asked for."""
        return self._cl_obj_.volume._ovo

    def obj_attr_is_set(self, name: str) -> bool:  # as it is inherited
        if name == "volume":
            return self._cl_obj_._volume is not None
        return super().obj_attr_is_set(name)


class Snapshot(SnapshotFields, OfVolume, NamedResource):
    """A snapshot of a volume.

    ``Snapshot(volume, name=…)`` makes one that is stored nowhere yet and unknown to
    the storage; :meth:`Volume.create_snapshot <filestore.Volume.create_snapshot>` does all of it.
    """

    collection = SNAPSHOTS
    ovo_name = "Snapshot"
    version = "1.6"
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"status": "creating"})
    _others = ("volume",)

    def __init__(self, volume: Volume, **kwargs: Any) -> None:
        """Take the volume, and values of fields besides.

        Raises InvalidDocument, ValueError for a ``backend`` that isn't the volume's.
        """
        backend = kwargs.pop("backend", None)
        name = name_of(volume.backend)
        if backend is not None and name_of(backend) != name:
            raise ValueError("Multiple backends provided and they don't match")
        given = {
            "user_id": volume.user_id,
            "project_id": volume.project_id,
            **self._named(kwargs),
            "volume_id": volume.id,
            "volume_size": volume.size,
            "volume_type_id": volume.volume_type_id,
            "progress": name,
        }
        self._begin(volume.backend, self._new_values(given))
        self._volume = volume

    @classmethod
    def _stored(cls, key: Key, document: Document) -> Self:
        """The snapshot that a document is of; takes the document over.  Raises Corrupt."""
        backend = document.get("backend")
        backend = backend if isinstance(backend, str) else ""
        document.setdefault("progress", backend)
        snapshot = cls.__new__(cls)
        snapshot._begin(backend, cls._read(key, document))
        snapshot._volume = None
        return snapshot

    @classmethod
    def _load(
        cls, backend: Backend | str, primitive: Document, volume: Volume | None = None
    ) -> Self:
        tracked, data = cls._loaded_values(primitive)
        own = primitive.get(_PROGRESS)
        if isinstance(own, dict) and isinstance(own.get("progress"), str):
            tracked.values["progress"] = own["progress"]
        snapshot = cls.__new__(cls)
        snapshot._begin(backend, tracked)
        inner = snapshot._load_volume(backend, data, volume)
        if inner is not None:
            inner._adopt_snapshot(snapshot)
        snapshot._settle()
        return snapshot

    @property
    def _ovo(self) -> SnapshotObject:
        entity = self._entity
        if entity is None:
            entity = self._entity = SnapshotObject(self)
        return entity

    _entity: SnapshotObject | None

    def _load_all(self) -> None:
        super()._load_all()
        # cinderlib, loading the dump, looks for this snapshot among those of its volume.
        self.volume.snapshots  # noqa: B018  # loads them
        self.volume._adopt_snapshot(self)

    def _add_others(self, data: Document, visited: set[int], simplified: bool) -> None:
        self._add_volume(data, visited, simplified)

    def _primitive(self, visited: set[int], simplified: bool) -> Document:
        primitive = super()._primitive(visited, simplified)
        data = primitive["versioned_object.data"]
        backend = None if self._backend is None else name_of(self._backend)
        if backend and data["progress"] not in {backend, None}:
            primitive[_PROGRESS] = {"progress": data["progress"]}
        data["progress"] = backend
        return primitive

    def _document_extras(self, fields: Document) -> None:
        set_backend(fields, name_of(self.backend))

    def create(self) -> None:
        """Have the driver make the snapshot, and store it, with status ``error`` if that fails."""
        backend = self._driven()
        with self._saving():
            update = backend._call("create_snapshot", self._ovo)
            self.status = "available"
            self._apply(update)

    def delete(self) -> None:
        """Have the driver delete the snapshot, and forget it.

        When that fails it stays, with status ``error_deleting``.
        """
        backend = self._driven()
        with self._deleting():
            backend._call("delete_snapshot", self._ovo)
            self._plugin().delete_snapshot(self)
        if self._volume is not None:
            self._volume._snapshot_removed(self)

    def create_volume(self, **new_vol_params: Any) -> Volume:
        """A new volume with what the snapshot has; of its size, unless told otherwise."""
        new_vol_params.setdefault("size", self.volume_size)
        new_vol_params["snapshot_id"] = self.id
        volume = type(self.volume)(self.volume, **new_vol_params)
        volume._make("create_volume_from_snapshot", self._ovo)
        return volume

    @classmethod
    def get_by_id(cls, snapshot_id: str) -> Self:
        """The snapshot with this id.  Raises SnapshotNotFound."""
        found: list[Self] = Scope._plugin().get_snapshots(snapshot_id=snapshot_id)
        if not found:
            raise SnapshotNotFound(snapshot_id)
        return found[0]

    @classmethod
    def get_by_name(cls, snapshot_name: str) -> list[Self]:
        """The snapshots with this name."""
        return Scope._plugin().get_snapshots(snapshot_name=snapshot_name)

    def save(self) -> None:
        """Store what changed since the last save; everything when nothing did."""
        self._plugin().set_snapshot(self)
