"""Volumes."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from filestore.exception import (
    BackendNotFound,
    InvalidVolume,
    NotLocal,
    VolumeNotFound,
)
from filestore.resources import loading
from filestore.resources.connection import Connection
from filestore.resources.connector import get_connector_properties
from filestore.resources.documents import VOLUMES, backend_of_host
from filestore.resources.objects import VolumeFields
from filestore.resources.resource import NamedResource, OfVolume, versioned
from filestore.resources.scope import DEFAULT_PROJECT_ID, DEFAULT_USER_ID, Scope, name_of
from filestore.resources.shapes import shaped
from filestore.resources.snapshot import Snapshot
from filestore.resources.volume_object import CONNECTIONS_OVO_FIELD, VolumeObject
from filestore.resources.volume_type import VolumeType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filestore.model import Document, Key
    from filestore.resources.backend import Backend
    from filestore.resources.objects import Entity
    from filestore.resources.resource import Resource

GB = 1024**3
_LISTS = {
    "snapshots": ("SnapshotList", "1.0"),
    CONNECTIONS_OVO_FIELD: ("VolumeAttachmentList", "1.1"),
}
_NOT_COPIED = frozenset(
    # What is the source's own: who it is, where it is, what became of it.
    [
        "id",
        "_name_id",
        "ec2_id",
        "host",
        "status",
        "attach_status",
        "migration_status",
        "previous_status",
        "scheduled_at",
        "launched_at",
        "terminated_at",
        "created_at",
        "updated_at",
        "deleted_at",
        "deleted",
        "provider_id",
        "provider_location",
        "provider_auth",
        "provider_geometry",
        "volume_type_id",
        "snapshot_id",
        "source_volid",
        "replication_status",
        "replication_extended_status",
        "replication_driver_data",
    ]
)


class Volume(VolumeFields, NamedResource):
    """A volume.

    ``Volume(backend, size=1, name=…)`` makes one that is stored nowhere yet and unknown
    to the storage; :meth:`Backend.create_volume <filestore.Backend.create_volume>` does all of
    it.  ``local_attach`` is the connection by which this program has attached it.
    """

    collection = VOLUMES
    ovo_name = "Volume"
    version = "1.9"
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "size": 1,
            "user_id": DEFAULT_USER_ID,
            "project_id": DEFAULT_PROJECT_ID,
            "status": "creating",
            "attach_status": "detached",
        }
    )
    LAZY_PROPERTIES = ("snapshots", "connections")
    _others = ("volume_type", CONNECTIONS_OVO_FIELD, "snapshots")

    _volume_type: VolumeType | None
    _snapshots: list[Snapshot] | None
    _connections: list[Connection] | None
    local_attach: Connection | None

    def __init__(
        self, backend_or_vol: Backend | Volume | str, pool_name: str | None = None, **kwargs: Any
    ) -> None:
        """Take a backend, its name, or a volume whose fields to copy; and values of fields.

        Besides those: ``name``, ``description``, ``extra_specs`` and ``qos_specs``.
        Raises InvalidDocument, BackendNotFound.
        """
        extra_specs = kwargs.pop("extra_specs", None)
        qos_specs = kwargs.pop("qos_specs", None)
        given = {"user_id": self.context.user_id, "project_id": self.context.project_id}
        if isinstance(backend_or_vol, Volume):
            source = backend_or_vol
            backend: Backend | str = source.backend
            pool_name = pool_name or (source.host or "").partition("#")[2] or None
            values = source._tracked.values
            given |= {name: values[name] for name in values if name not in _NOT_COPIED}
            if source._volume_type is not None:
                qos = source._volume_type.qos_specs
                extra_specs = extra_specs or source._volume_type.extra_specs
                qos_specs = qos_specs or (None if qos is None else qos.specs)
        else:
            backend = _known(backend_or_vol)
        given |= self._named(kwargs)
        if "host" not in given:
            given["host"] = f"{self.host_of(backend)}#{pool_name or _pool_of(backend)}"
        self._begin(backend, self._new_values(given))
        self._snapshots = []
        self._connections = []
        self.local_attach = None
        self._volume_type = None
        if qos_specs or extra_specs:
            self._volume_type = VolumeType.of_volume(self.id, extra_specs, qos_specs)
            self.volume_type_id = self.id

    @staticmethod
    def host_of(backend: Backend | str) -> str:
        """What new volumes of the backend have as ``host``, but for the pool."""
        return f"{Scope.node}@{name_of(backend)}"

    @classmethod
    def _stored(cls, key: Key, document: Document) -> Self:
        """The volume that a document is of; takes the document over.  Raises Corrupt."""
        volume = cls.__new__(cls)
        tracked = cls._read(key, document)
        values = tracked.values
        volume._begin(backend_of_host(values.get("host")), tracked)
        of_type = document.get("volume_type")
        if of_type is None:
            volume._volume_type = None
        else:
            found = VolumeType.stored(key, values.get("volume_type_id") or key.id, of_type)
            found.reset_changes()
            volume._volume_type = found
            tracked.seen["volume_type"] = found.document()
        volume._snapshots = volume._connections = volume.local_attach = None
        return volume

    @classmethod
    def _load(cls, backend: Backend | str, primitive: Document) -> Self:
        tracked, data = cls._loaded_values(primitive)
        volume = cls.__new__(cls)
        volume._begin(backend, tracked)
        volume.local_attach = None
        of_type = data.get("volume_type")
        volume._volume_type = None if of_type is None else VolumeType.loaded(of_type)
        volume._snapshots = volume._connections = None
        found = data.get("snapshots")
        if found is not None:
            listed = loading.listed(found, *_LISTS["snapshots"])
            volume._snapshots = [Snapshot._load(backend, each, volume) for each in listed]
        found = data.get(CONNECTIONS_OVO_FIELD)
        if found is not None:
            listed = loading.listed(found, *_LISTS[CONNECTIONS_OVO_FIELD])
            volume._connections = [Connection._load(backend, each, volume) for each in listed]
        volume._settle()
        return volume

    @property
    def _ovo(self) -> VolumeObject:
        entity = self._entity
        if entity is None:
            entity = self._entity = VolumeObject(self)
        return entity

    _entity: VolumeObject | None

    @property
    def volume_type(self) -> VolumeType | None:
        """Its type, with ``extra_specs`` and ``qos_specs``; None when it has neither."""
        return self._volume_type

    @volume_type.setter
    def volume_type(self, value: VolumeType | None) -> None:
        self._volume_type = value
        self.volume_type_id = None if value is None else value.id

    @property
    def snapshots(self) -> list[Snapshot]:
        """Its snapshots, loaded when they are first asked for."""
        found = self._snapshots
        if found is None:
            found = self._take_snapshots(self._plugin().get_snapshots(volume_id=self.id))
        return found

    @property
    def connections(self) -> list[Connection]:
        """Its connections, loaded when they are first asked for."""
        found = self._connections
        if found is None:
            found = self._take_connections(self._plugin().get_connections(volume_id=self.id))
        return found

    def _take_snapshots(self, found: list[Snapshot]) -> list[Snapshot]:
        for each in found:
            each._volume = self
        self._snapshots = found
        return found

    def _take_connections(self, found: list[Connection]) -> list[Connection]:
        for each in found:
            each._volume = self
        self._connections = found
        return found

    def _forget_children(self) -> None:
        """Have its snapshots and connections loaded when they are asked for next."""
        self._snapshots = self._connections = None

    def _adopt_snapshot(self, snapshot: Snapshot) -> None:
        """Have a snapshot that was loaded with this volume stand among its snapshots."""
        if self._snapshots is not None:
            self._snapshots = [*_others(snapshot, self._snapshots), snapshot]

    def _adopt_connection(self, connection: Connection) -> None:
        if self._connections is not None:
            self._connections = [*_others(connection, self._connections), connection]

    def _snapshot_removed(self, snapshot: Snapshot) -> None:
        if self._snapshots is not None:
            self._snapshots[:] = _others(snapshot, self._snapshots)

    def _connection_removed(self, connection: Connection) -> None:
        if self._connections is not None:
            self._connections[:] = _others(connection, self._connections)

    def obj_reset_changes(self, fields: Iterable[str] | None = None) -> None:  # as it is inherited
        super().obj_reset_changes(fields)
        if fields is None:
            found = self._volume_type
            self._tracked.seen["volume_type"] = None if found is None else found.document()

    def _settle(self) -> None:
        if self._volume_type is not None:
            self._volume_type.reset_changes()
        super()._settle()

    def _document_extras(self, fields: Document) -> None:
        found = self._volume_type
        fields["volume_type"] = None if found is None else found.document()

    def _add_others(self, data: Document, visited: set[int], simplified: bool) -> None:
        data["volume_type"] = None if self._volume_type is None else self._volume_type.primitive()
        if simplified:
            return
        for field, children in (
            (CONNECTIONS_OVO_FIELD, self._connections),
            ("snapshots", self._snapshots),
        ):
            if children is not None:
                objects = [
                    each._primitive(visited, simplified)
                    for each in children
                    if id(each) not in visited
                ]
                listed = shaped("objects", {"objects": objects})
                data[field] = versioned(*_LISTS[field], listed)

    def _resources(self) -> list[Resource]:
        return [self, *(self._snapshots or ()), *(self._connections or ())]

    def create(self) -> None:
        """Have the driver make the volume, and store it, with status ``error`` if that fails."""
        self._make("create_volume")

    def _make(self, method: str, *source: Entity) -> None:
        """Have a method of the driver make it; drivers find it in the database meanwhile."""
        backend = self._driven()
        self._volumes_inflight[self.id] = self
        try:
            with self._saving():
                update = backend._call(method, self._ovo, *source)
                self.status = "available"
                self._apply(update)
        finally:
            self._volumes_inflight.pop(self.id, None)
        backend._volume_created(self)

    def delete(self) -> None:
        """Have the driver delete the volume, and forget it.

        When that fails it stays, with status ``error_deleting``.  Raises InvalidVolume when it
        has snapshots.
        """
        backend = self._driven()
        if self.snapshots:
            raise InvalidVolume(f"Cannot delete volume {self.id} with snapshots")
        with self._deleting():
            backend._call("delete_volume", self._ovo)
            self._plugin().delete_volume(self)
            backend._volume_removed(self)

    def extend(self, size: int) -> int:
        """Have the driver make the volume larger; ``size`` in GB.  Returns the size in bytes.

        Of an attached volume, that is what the host sees.
        """
        backend = self._driven()
        self.previous_status = self.status
        self.status = "extending"
        with self._saving():
            backend._call("extend_volume", self._ovo, size)
            self.size = size
            self.status = self.previous_status
            self.previous_status = None
        seen = None
        if self.status == "in-use" and self.local_attach is not None:
            seen = self.local_attach.extend()
        return size * GB if seen is None else seen

    def clone(self, **new_vol_attrs: Any) -> Volume:
        """A new volume with what this one has; of its size and name, unless told otherwise."""
        new_vol_attrs["source_volid"] = self.id
        volume = type(self)(self, **new_vol_attrs)
        volume._make("create_cloned_volume", self._ovo)
        return volume

    def create_snapshot(self, name: str = "", description: str = "", **kwargs: Any) -> Snapshot:
        """A new snapshot; ``kwargs``: values of its fields."""
        snapshot = Snapshot(self, name=name, description=description, **kwargs)
        try:
            snapshot.create()
        finally:
            if self._snapshots is not None:
                self._snapshots.append(snapshot)
        return snapshot

    def connect(self, connector_dict: Mapping[str, Any], **ovo_fields: Any) -> Connection:
        """Give a host access to the volume.

        ``connector_dict``: what the host tells about itself, see
        :func:`filestore.get_connector_properties`.  ``ovo_fields``: fields of the
        connection, such as ``attached_host``.
        """
        backend = self._driven()
        update = backend._call("create_export", self.context, self._ovo, dict(connector_dict))
        if update:
            self._apply(update)
            self.save()
        try:
            connection = Connection.connect(self, connector_dict, **ovo_fields)
            if self._connections is not None:
                self._connections.append(connection)
            self.status = "in-use"
            self.save()
        except Exception as error:
            self._remove_export()
            self._note(error)
            raise
        return connection

    def disconnect(self, connection: Connection, force: bool = False) -> None:
        """Take a host's access back; the volume is available again after the last one's."""
        connection._disconnect(force)
        self._disconnect(connection)

    def _disconnect(self, connection: Connection) -> None:
        self._connection_removed(connection)
        if not self.connections:
            self._remove_export()
            self.status = "available"
            self.save()

    def attach(self) -> Connection:
        """Give this host access to the volume and attach it; see :meth:`Connection.attach`."""
        configured = self._driven()._driver_cfg
        connection = self.connect(
            get_connector_properties(
                multipath=bool(configured.get("use_multipath_for_image_xfer")),
                enforce_multipath=bool(configured.get("enforce_multipath_for_image_xfer")),
            )
        )
        try:
            connection.attach()
        except Exception:
            self.disconnect(connection)
            raise
        return connection

    def detach(self, force: bool = False, ignore_errors: bool = False) -> None:
        """Undo :meth:`attach`.  ``force``: go on after an error, and raise it at the end.

        Raises NotLocal when this program has not attached it.
        """
        connection = self.local_attach
        if connection is None:
            raise NotLocal(self.id)
        errors = []
        for step in (
            partial(connection.detach, force, ignore_errors),
            partial(connection.disconnect, force),
        ):
            try:
                step()
            except Exception as error:
                if not force:
                    raise
                errors.append(error)
        if errors and not ignore_errors:
            first, *others = errors
            for other in others:
                first.add_note(f"and then: {other!r}")
            raise first

    def cleanup(self) -> None:
        """Detach every connection, and take back what was exported."""
        for connection in list(self.connections):
            connection.detach()
        self._remove_export()

    def _remove_export(self) -> None:
        self._driven()._call("remove_export", self.context, self._ovo)

    def refresh(self) -> None:
        """Read it again, and its snapshots and connections if they were loaded.

        Raises VolumeNotFound if it is gone.
        """
        stored = self.get_by_id(self.id)
        snapshots = None if self._snapshots is None else stored.snapshots
        connections = None if self._connections is None else stored.connections
        stored.local_attach = self.local_attach
        vars(self).clear()
        vars(self).update(vars(stored))
        self._entity = None
        if snapshots is not None:
            self._take_snapshots(snapshots)
        if connections is not None:
            self._take_connections(connections)

    @classmethod
    def get_by_id(cls, volume_id: str) -> Self:
        """The volume with this id.  Raises VolumeNotFound."""
        found: list[Self] = Scope._plugin().get_volumes(volume_id=volume_id)
        if not found:
            raise VolumeNotFound(volume_id)
        return found[0]

    @classmethod
    def get_by_name(cls, volume_name: str) -> list[Self]:
        """The volumes with this name."""
        return Scope._plugin().get_volumes(volume_name=volume_name)

    def save(self) -> None:
        """Store what changed since the last save; everything when nothing did."""
        self._plugin().set_volume(self)


OfVolume.volume_class = Volume  # they load it, and it knows them: one of the two must be told


def _known(backend: Backend | str) -> Backend | str:
    """The backend of a name.  Raises BackendNotFound."""
    if isinstance(backend, str):
        found = Scope.backends.get(backend)
        if found is not None:
            return found
        if Scope.fail_on_missing_backend:
            raise BackendNotFound(backend)
    return backend


def _pool_of(backend: Backend | str) -> str:
    return backend if isinstance(backend, str) else backend.pool_names[0]


def _others(one: Resource, resources: Iterable[Any]) -> list[Any]:
    """All of them but the one with this id, which need not be the same object."""
    return [each for each in resources if each.id != one.id]
