"""The database that Cinder's drivers see, served from a persistence plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from filestore.exception import SnapshotNotFound, VolumeNotFound
from filestore.resources.documents import backend_of_host
from filestore.resources.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filestore.persistence.base import PersistenceDriverBase
    from filestore.resources.objects import Entity
    from filestore.resources.volume import Volume

_GETS: Final = {
    "Volume": "volume_get",
    "VolumeType": "volume_type_get",
    "Snapshot": "snapshot_get",
    "QualityOfServiceSpecs": "qos_specs_get",
}


class DB:
    """The calls that drivers make of Cinder's database, over any plugin.

    Objects come fresh from the plugin, but for volumes that a driver is creating: those are
    the driver's own, since they are stored nowhere yet.  Volume types and qos
    specs have the ids of their volumes.  ``context`` is ignored throughout.

    Nothing in the process is replaced by making one, and changing an object stores nothing.
    """

    def __init__(self, persistence_driver: PersistenceDriverBase) -> None:
        self.persistence = persistence_driver

    def _volume(self, volume_id: str) -> tuple[bool, Volume]:
        """Whether it is being created, and the volume."""
        volume = Scope._volumes_inflight.get(volume_id)
        if volume is not None:
            return True, volume
        found = self.persistence.get_volumes(volume_id=volume_id)
        if not found:
            raise VolumeNotFound(volume_id)
        return False, found[0]

    def volume_get(self, context: Any, volume_id: str, *args: Any, **kwargs: Any) -> Entity:
        """A volume's object, also of one that is being created.  Raises VolumeNotFound."""
        return self._volume(volume_id)[1]._ovo

    def snapshot_get(self, context: Any, snapshot_id: str, *args: Any, **kwargs: Any) -> Entity:
        """A snapshot's object.  Raises SnapshotNotFound."""
        found = self.persistence.get_snapshots(snapshot_id=snapshot_id)
        if not found:
            raise SnapshotNotFound(snapshot_id)
        entity: Entity = found[0]._ovo  # what drivers get
        return entity

    def volume_type_get(
        self,
        context: Any,
        id: str,
        inactive: bool = False,
        expected_fields: Any = None,
    ) -> dict[str, Any] | None:
        """A volume's type as a dictionary, by the volume's id; None when it has none."""
        found = self._volume(id)[1].volume_type
        return None if found is None else vol_type_to_dict(found)

    def get_volume_type(self, context: Any, id: str) -> dict[str, Any] | None:
        """The same, under the name that Cinder's ``volume_types`` module has for it."""
        return self.volume_type_get(context, id)

    def volume_type_get_by_name(self, context: Any, name: str) -> dict[str, Any] | None:
        """A volume's type by its name, which is the volume's id."""
        return self.volume_type_get(context, name)

    def _volume_type_get_by_name(
        self, context: Any, name: str, session: Any = None
    ) -> dict[str, Any] | None:
        return self.volume_type_get(context, name)

    def qos_specs_get(
        self, context: Any, qos_specs_id: str, inactive: bool = False
    ) -> dict[str, Any] | None:
        """The qos specs of a volume's type, by the volume's id; None when it has none."""
        found = self.volume_type_get(context, qos_specs_id)
        qos: dict[str, Any] | None = None if found is None else found["qos_specs"]
        return qos

    @classmethod
    def image_volume_cache_get_by_volume_id(cls, context: Any, volume_id: str) -> None:
        """None: there is no cache of images."""

    def get_by_id(self, context: Any, model: Any, id: str, *args: Any, **kwargs: Any) -> Any:
        """What a get gives, chosen by ``model``: a class, or its name, of Cinder's."""
        name = model if isinstance(model, str) else getattr(model, "__name__", str(model))
        name = name.removesuffix("Object")
        if name not in _GETS:
            raise ValueError(f"there is nothing to get by id for {name}")
        return getattr(self, _GETS[name])(context, id)

    def volume_get_all_by_host(
        self, context: Any, host: str, filters: Mapping[str, Any] | None = None
    ) -> list[Entity]:
        """The volumes of the backend in ``host``; of the filters those that are fields count."""
        found = self.persistence.get_volumes(backend_name=backend_of_host(host))
        return [
            volume._ovo
            for volume in found
            if all(volume._ovo.get(name) == value for name, value in (filters or {}).items())
        ]

    def volume_admin_metadata_get(self, context: Any, volume_id: str) -> dict[str, str]:
        """A volume's admin metadata."""
        return self._volume(volume_id)[1].admin_metadata

    def _volume_admin_metadata_get(
        self, context: Any, volume_id: str, session: Any = None
    ) -> dict[str, str]:
        return self.volume_admin_metadata_get(context, volume_id)

    def volume_admin_metadata_update(
        self,
        context: Any,
        volume_id: str,
        metadata: Mapping[str, str],
        delete: bool,
        add: bool = True,
        update: bool = True,
    ) -> dict[str, str]:
        """Change a volume's admin metadata and return all of it.

        ``delete``: keys that ``metadata`` does not have go; ``add``: keys that are not there
        come; ``update``: those that are there change.  Reading and writing are one step.
        """
        with self.persistence.exclusive():
            creating, volume = self._volume(volume_id)
            before = volume.admin_metadata
            after = {k: v for k, v in before.items() if k in metadata or not delete}
            after |= {k: v for k, v in metadata.items() if (update if k in before else add)}
            if after != before:
                before.clear()
                before.update(after)
                if not creating:
                    self.persistence.set_volume(volume)
            return dict(after)

    def _volume_admin_metadata_update(
        self,
        context: Any,
        volume_id: str,
        metadata: Mapping[str, str],
        delete: bool,
        session: Any = None,
        add: bool = True,
        update: bool = True,
    ) -> dict[str, str]:
        return self.volume_admin_metadata_update(context, volume_id, metadata, delete, add, update)

    def volume_admin_metadata_delete(self, context: Any, volume_id: str, key: str) -> None:
        """Remove one key of a volume's admin metadata."""
        with self.persistence.exclusive():
            creating, volume = self._volume(volume_id)
            if volume.admin_metadata.pop(key, None) is not None and not creating:
                self.persistence.set_volume(volume)


def vol_type_to_dict(volume_type: Any) -> dict[str, Any]:
    """A volume type's fields, with those of its qos specs under ``qos_specs``."""
    qos = volume_type.qos_specs
    return {
        **_fields(volume_type),
        "qos_specs": None if qos is None else _fields(qos),
    }


def _fields(entity: Entity) -> dict[str, Any]:
    return {name: value for name, value in entity.items() if value is not None}
