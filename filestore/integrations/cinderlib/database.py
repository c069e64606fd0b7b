"""The database that Cinder's drivers see: cinderlib's stand-in, undone on close and safe together.

cinderlib's ``DB`` serves the calls drivers make from a persistence plugin.  Its
constructor replaces methods of Cinder's object classes for the whole process
and leaves them so.  :class:`Database` remembers what it replaced, puts it back,
and mends four things:

* reading admin metadata and writing it back is one step under the store's lock;
* ``volume_admin_metadata_get`` and ``_update`` exist under the names drivers call,
  and the update returns the metadata (Cinder assigns what it returns);
* ``volume_get_all_by_host`` gives volumes with their children, as Cinder's database does;
* a volume or snapshot that is not there raises Cinder's own NotFound, not IndexError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cinder import exception
from cinder import objects as ovos
from cinder.objects import base as ovo_base
from cinderlib.persistence import base

if TYPE_CHECKING:
    from filestore.integrations.cinderlib.persistence import FilestorePersistence

_ABSENT: Final = object()
_installed: list[Database] = []


class Database(base.DB):  # type: ignore[misc]  # cinderlib has no types
    """``cinderlib.persistence.base.DB`` over a :class:`FilestorePersistence`."""

    def __init__(self, persistence: FilestorePersistence) -> None:
        self._replaced = {target: _current(*target) for target in _targets()}
        super().__init__(persistence)
        self._put = {target: _current(*target) for target in self._replaced}
        _installed.append(self)

    @property
    def installed(self) -> bool:
        """Whether Cinder's objects still reach this one."""
        return all(_current(*target) is mine for target, mine in self._put.items())

    def withdraw(self) -> None:
        """Put back what the constructor replaced; idempotent.

        What has been replaced again since stays; where that was by another
        :class:`Database`, it will put back what was there before this one.
        """
        if self not in _installed:
            return
        _installed.remove(self)
        for target, mine in self._put.items():
            before = self._replaced[target]
            if _current(*target) is mine:
                _assign(*target, before)
            for other in _installed:
                if other._replaced[target] is mine:
                    other._replaced[target] = before

    def volume_get(self, context: Any, volume_id: str, *args: Any, **kwargs: Any) -> Any:
        """The object of a volume, also of one that is being created."""
        try:
            return super().volume_get(context, volume_id, *args, **kwargs)
        except IndexError:
            raise exception.VolumeNotFound(volume_id=volume_id) from None

    def snapshot_get(self, context: Any, snapshot_id: str, *args: Any, **kwargs: Any) -> Any:
        """The object of a snapshot."""
        try:
            return super().snapshot_get(context, snapshot_id, *args, **kwargs)
        except IndexError:
            raise exception.SnapshotNotFound(snapshot_id=snapshot_id) from None

    def volume_get_all_by_host(self, context: Any, host: str, filters: Any = None) -> list[Any]:
        """The objects of a backend's volumes, with their snapshots and attachments loaded."""
        found: list[Any] = super().volume_get_all_by_host(context, host, filters)
        snapshots: dict[str, list[Any]] = {ovo.id: [] for ovo in found}
        connections: dict[str, list[Any]] = {ovo.id: [] for ovo in found}
        # All of them once: asking volume by volume would look at all of them every time.
        for resources, by_volume in (
            (self.persistence.get_snapshots(), snapshots),
            (self.persistence.get_connections(), connections),
        ):
            for resource in resources:
                if resource.volume_id in by_volume:
                    by_volume[resource.volume_id].append(resource)
        for ovo in found:
            volume = ovo._cl_obj_
            volume._snapshots = snapshots[ovo.id]
            volume._connections = connections[ovo.id]
            for child in (*volume._snapshots, *volume._connections):
                child.volume = volume
            ovo.snapshots = ovos.SnapshotList(objects=[each._ovo for each in volume._snapshots])
            ovo.volume_attachment = ovos.VolumeAttachmentList(
                objects=[each._ovo for each in volume._connections]
            )
            ovo.obj_reset_changes(("snapshots", "volume_attachment"))
        return found

    def volume_admin_metadata_get(self, context: Any, volume_id: str) -> Any:
        """A volume's admin metadata."""
        return self._volume_admin_metadata_get(context, volume_id)

    def volume_admin_metadata_update(
        self,
        context: Any,
        volume_id: str,
        metadata: dict[str, str],
        delete: bool,
        add: bool = True,
        update: bool = True,
    ) -> Any:
        """Change a volume's admin metadata and return all of it."""
        return self._volume_admin_metadata_update(
            context, volume_id, metadata, delete, add=add, update=update
        )

    def _volume_admin_metadata_update(
        self,
        context: Any,
        volume_id: str,
        metadata: dict[str, str],
        delete: bool,
        session: Any = None,
        add: bool = True,
        update: bool = True,
    ) -> Any:
        with self.persistence.exclusive():
            super()._volume_admin_metadata_update(
                context, volume_id, metadata, delete, session, add, update
            )
            # Read back, the upstream method returns nothing.
            return self._volume_admin_metadata_get(context, volume_id)

    def volume_admin_metadata_delete(self, context: Any, volume_id: str, key: str) -> None:
        """Remove one key of a volume's admin metadata."""
        with self.persistence.exclusive():
            super().volume_admin_metadata_delete(context, volume_id, key)


def _targets() -> list[tuple[Any, str]]:
    """What the constructor of cinderlib's DB replaces."""
    return [
        (ovos.Volume, "get_by_id"),
        (ovos.Snapshot, "get_by_id"),
        (ovos.VolumeAttachmentList, "get_all_by_volume_id"),
        *((getattr(ovos, name), "save") for name in ovo_base.CinderObjectRegistry.obj_classes()),
    ]


def _current(cls: Any, name: str) -> Any:
    # Not getattr: a classmethod must be put back as one, an inherited method not at all.
    return vars(cls).get(name, _ABSENT)


def _assign(cls: Any, name: str, value: Any) -> None:
    if value is _ABSENT:
        delattr(cls, name)
    else:
        setattr(cls, name, value)
