"""Connections of volumes to hosts: Cinder's volume attachments.

``connection_info`` has three parts: ``conn``, what the storage told about how to
connect; ``connector``, what the host told about itself; ``device``, what it became on the host.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from filestore.exception import ConnectionNotFound
from filestore.resources.documents import CONNECTIONS, plain
from filestore.resources.objects import AttachmentFields, Entity
from filestore.resources.resource import OfVolume
from filestore.resources.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filestore.model import Document, Key
    from filestore.resources.backend import Backend
    from filestore.resources.volume import Volume

_SCAN_ATTEMPTS = 3


class VolumeAttachment(AttachmentFields, Entity):
    """A connection as drivers are handed it."""

    ovo_name = "VolumeAttachment"
    version = "1.3"

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection._tracked)
        self._cl_obj_ = connection

    @property
    def volume(self) -> Entity:
        """Its volume, loaded when it is first asked for."""
        return self._cl_obj_.volume._ovo

    def obj_attr_is_set(self, name: str) -> bool:  # as it is inherited
        if name == "volume":
            return self._cl_obj_._volume is not None
        return super().obj_attr_is_set(name)


class Connection(AttachmentFields, OfVolume):
    """A connection of a volume to a host.

    :meth:`Volume.connect <filestore.Volume.connect>` makes one.  ``use_multipath`` and
    ``scan_attempts`` are for whoever attaches the volume on the host.
    """

    collection = CONNECTIONS
    ovo_name = "VolumeAttachment"
    version = "1.3"
    _others = ("volume",)

    use_multipath: bool
    scan_attempts: int

    def __init__(
        self, backend: Backend | str | None = None, *, volume: Volume | None = None, **kwargs: Any
    ) -> None:
        """Take the volume, or its id as ``volume_id``, and values of fields besides.

        Raises InvalidDocument.
        """
        multipath = kwargs.pop("use_multipath", None)
        attempts = kwargs.pop("device_scan_attempts", _SCAN_ATTEMPTS)
        kwargs.pop("status", None)  # told to Cinder's constructor, which forgets it
        if volume is not None:
            kwargs["volume_id"] = volume.id
            backend = volume._backend if backend is None else backend
        self._begin(backend, self._new_values(kwargs))
        self._volume = volume
        self._complete(multipath, attempts)

    def _complete(self, multipath: bool | None = None, attempts: int = _SCAN_ATTEMPTS) -> None:
        """Set what follows from the fields."""
        info = self.connection_info or {}
        self.use_multipath = _multipathed(info, self.connector) if multipath is None else multipath
        self.scan_attempts = attempts
        data = self.conn_info.get("data")
        values = self._tracked.values
        if not values.get("attach_mode"):
            mode = data.get("access_mode") if isinstance(data, dict) else None
            values["attach_mode"] = mode or "rw"
        if isinstance(data, dict) and data:
            data["access_mode"] = values["attach_mode"]

    @classmethod
    def _stored(cls, key: Key, document: Document) -> Self:
        """The connection that a document is of; takes the document over.  Raises Corrupt."""
        connection = cls.__new__(cls)
        connection._begin(None, cls._read(key, document))
        connection._volume = None
        connection._complete()
        connection.obj_reset_changes()
        return connection

    @classmethod
    def _load(
        cls, backend: Backend | str, primitive: Document, volume: Volume | None = None
    ) -> Self:
        tracked, data = cls._loaded_values(primitive)
        connection = cls.__new__(cls)
        connection._begin(backend, tracked)
        connection._complete()
        inner = connection._load_volume(backend, data, volume)
        if inner is not None:
            inner._adopt_connection(connection)
        connection._settle()
        return connection

    @classmethod
    def connect(cls, volume: Volume, connector: Mapping[str, Any], **kwargs: Any) -> Self:
        """Have the driver give the host access, and store what it told.

        ``kwargs``: fields of the connection, such as ``attached_host``.
        """
        told = volume._driven()._call("initialize_connection", volume._ovo, dict(connector))
        if told is None:
            told = {"driver_volume_type": "recorded", "data": {"volume_id": volume.id}}
        connector = plain(dict(connector))
        connection = cls(
            volume=volume,
            connector=connector,
            connection_info={"conn": plain(told), "connector": plain(connector)},
            **kwargs,
        )
        connection.save()
        return connection

    @property
    def _ovo(self) -> VolumeAttachment:
        entity = self._entity
        if entity is None:
            entity = self._entity = VolumeAttachment(self)
        return entity

    _entity: VolumeAttachment | None

    @property
    def backend(self) -> Backend | str:
        """Its volume's backend; its name while there is no backend of that name."""
        if self._backend is None:
            self._backend = self.volume._backend
        return super().backend

    @backend.setter
    def backend(self, value: Backend | str) -> None:
        self._backend = value

    def _load_all(self) -> None:
        super()._load_all()
        # cinderlib, loading the dump, looks for this connection among those of its volume.
        self.volume.connections  # noqa: B018  # loads them
        self.volume._adopt_connection(self)

    def _add_others(self, data: Document, visited: set[int], simplified: bool) -> None:
        self._add_volume(data, visited, simplified)

    @property
    def conn_info(self) -> dict[str, Any]:
        """What the storage told about how to connect; empty when not connected.

        Assigning keeps ``attach_mode`` and the data's ``access_mode`` the same.
        """
        info = self.connection_info
        return (info.get("conn") or {}) if info else {}

    @conn_info.setter
    def conn_info(self, value: dict[str, Any] | None) -> None:
        if not value:
            self.connection_info = None
            return
        if "data" in value:
            self.attach_mode = value["data"].setdefault("access_mode", self.attach_mode)
        self.connection_info = {**(self.connection_info or {}), "conn": value}

    @property
    def protocol(self) -> str | None:
        """How to connect, for example ``iscsi``."""
        return self.conn_info.get("driver_volume_type")

    @property
    def connector_info(self) -> dict[str, Any] | None:
        """What the host told about itself."""
        return (self.connection_info or {}).get("connector")

    @connector_info.setter
    def connector_info(self, value: dict[str, Any] | None) -> None:
        self.connection_info = {**(self.connection_info or {}), "connector": value}

    @property
    def device(self) -> dict[str, Any] | None:
        """What the volume became on the host; None when it is not attached."""
        return (self.connection_info or {}).get("device")

    @device.setter
    def device(self, value: dict[str, Any] | None) -> None:
        info = {**(self.connection_info or {})}
        info.pop("device", None)
        if value:
            info["device"] = value
        self.connection_info = info or None

    @property
    def path(self) -> str | None:
        """The device's path on the host; None when it is not attached."""
        device = self.device
        return device.get("path") if device else None

    @property
    def attached(self) -> bool:
        """Whether it is attached to the host."""
        return bool(self.device)

    @property
    def connected(self) -> bool:
        """Whether the storage has given the host access."""
        return bool(self.conn_info)

    @property
    def status(self) -> str:
        """``attached`` while connected, ``detached`` after, as cinderlib has it."""
        return "attached" if self.connected else "detached"

    def _disconnect(self, force: bool = False) -> None:
        backend = self._driven()
        backend._call("terminate_connection", self.volume._ovo, self.connector_info, force=force)
        self.conn_info = None
        self._plugin().delete_connection(self)

    def disconnect(self, force: bool = False) -> None:
        """Have the driver take the access back, and forget the connection."""
        self._disconnect(force)
        self.volume._disconnect(self)

    def device_attached(self, device: dict[str, Any]) -> None:
        """Store what the volume became on the host, after somebody attached it there."""
        self.device = device
        self.save()

    def attach(self) -> None:
        """Have the driver attach the volume to this host, and store the device.

        The driver's ``connect_volume(data)`` does it, as os-brick's connectors, and returns the
        device.  Without one it is only recorded; ``path`` is then what the storage told as
        ``device_path``, or the system's null device, behind which there is nothing.
        """
        data = self.conn_info.get("data") or {}
        device = self._driven()._call("connect_volume", data)
        if device is None:
            device = {"type": "recorded", "path": data.get("device_path") or os.devnull}
        self.device_attached(plain(device))
        if self._volume is not None:
            self._volume.local_attach = self

    def detach(self, force: bool = False, ignore_errors: bool = False) -> None:
        """Undo :meth:`attach`; the storage's access stays.

        The driver's ``disconnect_volume(data, device, force=…, ignore_errors=…)`` does it.
        """
        try:
            self._driven()._call(
                "disconnect_volume",
                self.conn_info.get("data") or {},
                self.device,
                force=force,
                ignore_errors=ignore_errors,
            )
        except Exception:
            if not ignore_errors:
                raise
        if self._volume is not None:
            self._volume.local_attach = None
        self.device = None
        self.save()

    def extend(self) -> int | None:
        """Have the host see that the volume has grown; its size in bytes, None if nobody can."""
        size = self._driven()._call("extend_attached_volume", self.conn_info.get("data") or {})
        return None if size is None else int(size)

    @classmethod
    def get_by_id(cls, connection_id: str) -> Self:
        """The connection with this id.  Raises ConnectionNotFound."""
        found: list[Self] = Scope._plugin().get_connections(connection_id=connection_id)
        if not found:
            raise ConnectionNotFound(f"id={connection_id}")
        return found[0]

    def save(self) -> None:
        """Store what changed since the last save; everything when nothing did."""
        self._plugin().set_connection(self)


def _multipathed(info: Mapping[str, Any], connector: Mapping[str, Any] | None) -> bool:
    """Whether several paths lead to the volume: as the host says, else as the storage tells."""
    told = connector or info.get("connector") or {}
    if "multipath" in told:
        return bool(told["multipath"])
    data = (info.get("conn") or {}).get("data") or {}
    return ("target_iqns" in data and "target_portals" in data) or not isinstance(
        data.get("target_wwn", ""), str
    )
