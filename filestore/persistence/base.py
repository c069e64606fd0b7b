"""What a persistence plugin is: cinderlib's interface, with its signatures."""

from __future__ import annotations

import datetime as dt
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from filestore.persistence.db import DB
from filestore.persistence.dumping import AtOnce
from filestore.resources.documents import UTC

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from filestore.persistence.dumping import Dumping
    from filestore.resources.connection import Connection
    from filestore.resources.key_value import KeyValue
    from filestore.resources.resource import Resource
    from filestore.resources.snapshot import Snapshot
    from filestore.resources.volume import Volume

__all__ = ["DB", "MyDict", "PersistenceDriverBase"]


class PersistenceDriverBase:
    """Keeps volumes, snapshots, connections and key-values.

    A plugin implements the ``get_…``, ``set_…`` and ``delete_…`` methods:

    * A get returns a list of objects of the caller's own; nothing found is an empty list.  All
      filters given must match; an empty filter is none.  ``backend_name`` is compared with what
      a volume's ``host`` has between ``@`` and ``#``.
    * A set stores what :meth:`get_changed_fields` names, and everything when that is nothing or
      when the resource is not there.
    * A set or delete calls the base's method after it has written.

    * A plugin whose gets give something else than those it inherits says in :meth:`dumping` how to
      dump that.

    ``resource._ovo`` has the fields of Cinder's object; ``resource.to_jsons()`` is all of a
    resource as text, and ``type(resource).load`` makes it again.
    """

    atomic: ClassVar[bool] = False
    """Whether what is written inside :meth:`exclusive` is taken back when the block raises."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the options of ``persistence_config`` that are left."""

    @property
    def db(self) -> DB:
        """What drivers use as Cinder's database."""
        return DB(self)

    def exclusive(self) -> AbstractContextManager[Any]:
        """Keep other writers out while the block runs; if the plugin can, as one transaction.

        Loading a dump is one such block, changing admin metadata another.  This one keeps out
        the threads of this process that use it too, and takes nothing back; a plugin whose own
        does says so by :attr:`atomic`.
        """
        return _alone()

    def dumping(self) -> AbstractContextManager[Dumping]:
        """Everything for a dump, as the gets have it; a plugin that need not read it at once
        does better.
        """
        return nullcontext(AtOnce(self))

    def close(self) -> None:
        """Release what the plugin holds; idempotent."""

    def get_volumes(
        self,
        volume_id: str | None = None,
        volume_name: str | None = None,
        backend_name: str | None = None,
    ) -> list[Any]:
        """The volumes that match every filter given."""
        raise NotImplementedError

    def get_snapshots(
        self,
        snapshot_id: str | None = None,
        snapshot_name: str | None = None,
        volume_id: str | None = None,
    ) -> list[Any]:
        """The snapshots that match every filter given."""
        raise NotImplementedError

    def get_connections(
        self, connection_id: str | None = None, volume_id: str | None = None
    ) -> list[Any]:
        """The connections that match every filter given."""
        raise NotImplementedError

    def get_key_values(self, key: str | None = None) -> list[KeyValue]:
        """The key-value of a key, or all of them."""
        raise NotImplementedError

    def set_volume(self, volume: Volume) -> None:
        """Store a volume; the base takes it for unchanged."""
        self.reset_change_tracker(volume)
        if volume.volume_type is not None:
            volume.volume_type.reset_changes()

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Store a snapshot; the base takes it for unchanged."""
        self.reset_change_tracker(snapshot)

    def set_connection(self, connection: Connection) -> None:
        """Store a connection; the base takes it for unchanged."""
        self.reset_change_tracker(connection)

    def set_key_value(self, key_value: KeyValue) -> None:
        """Store a key-value."""

    def delete_volume(self, volume: Volume) -> None:
        """Delete a volume, if it is there; the base marks the object."""
        self._set_deleted(volume)
        self.reset_change_tracker(volume)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Delete a snapshot, if it is there; the base marks the object."""
        self._set_deleted(snapshot)
        self.reset_change_tracker(snapshot)

    def delete_connection(self, connection: Connection) -> None:
        """Delete a connection, if it is there; the base marks the object."""
        self._set_deleted(connection)
        self.reset_change_tracker(connection)

    def delete_key_value(self, key: KeyValue) -> None:
        """Delete the key-value with this object's key, if it is there."""

    def _set_deleted(self, resource: Resource) -> None:
        resource.update({"deleted": True, "deleted_at": dt.datetime.now(UTC)})
        if "status" in resource.fields:
            resource.update({"status": "deleted"})

    def reset_change_tracker(
        self, resource: Resource, fields: str | Iterable[str] | None = None
    ) -> None:
        """Take these fields, or all, for unchanged."""
        resource.obj_reset_changes((fields,) if isinstance(fields, str) else fields)

    def get_changed_fields(self, resource: Resource) -> dict[str, Any]:
        """The fields that were assigned or changed in place since the last write.

        Also ``extra_specs`` and ``qos_specs`` of a volume whose type has changed in them.
        """
        values = resource._tracked.values
        result = {name: values.get(name) for name in resource.obj_what_changed()}
        found = getattr(resource, "volume_type", None)
        if found is not None:
            if found.qos_specs is not None and (
                found.qos_specs.obj_what_changed() or "qos_specs_id" in found.obj_what_changed()
            ):
                result["qos_specs"] = found.qos_specs.specs
            if "extra_specs" in found.obj_what_changed():
                result["extra_specs"] = found.extra_specs
        return result

    def get_fields(self, resource: Resource) -> dict[str, Any]:
        """All fields; and ``extra_specs`` and ``qos_specs`` of a volume that has a type."""
        values = resource._tracked.values
        result = {name: values.get(name) for name in resource.fields}
        found = getattr(resource, "volume_type", None)
        if found is not None:
            result["extra_specs"] = found.extra_specs
            if found.qos_specs is not None:
                result["qos_specs"] = found.qos_specs.specs
        return result


class MyDict(dict[Any, Any]):
    """A dictionary that :meth:`clear` leaves as it is, as early versions of cinderlib had it."""

    def clear(self) -> None:
        """Do nothing."""


_lock = threading.RLock()


@contextmanager
def _alone() -> Iterator[None]:
    with _lock:
        yield
