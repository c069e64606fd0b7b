"""Volumes as drivers are handed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filestore.resources.objects import Entity, VolumeFields

if TYPE_CHECKING:
    from filestore.resources.volume import Volume
    from filestore.resources.volume_type import VolumeType

CONNECTIONS_OVO_FIELD = "volume_attachment"


class EntityList(list[Entity]):
    """Objects; a list, and ``objects`` is that list, as in Cinder."""

    @property
    def objects(self) -> list[Entity]:
        """The list itself."""
        return self


class VolumeObject(VolumeFields, Entity):
    """A volume as drivers are handed it; ``name`` is the storage's."""

    ovo_name = "Volume"
    version = "1.9"

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume._tracked)
        self._cl_obj_ = volume

    @property
    def name_id(self) -> str:
        """The id that :attr:`name` is made of."""
        return self._name_id or self.id

    @property
    def name(self) -> str:
        """What drivers call it."""
        return f"volume-{self.name_id}"

    @property
    def volume_type(self) -> VolumeType | None:
        """Its type; None when it has neither extra specs nor qos specs."""
        return self._cl_obj_._volume_type

    @volume_type.setter
    def volume_type(self, value: VolumeType | None) -> None:
        self._cl_obj_._volume_type = value

    @property
    def snapshots(self) -> EntityList:
        """Its snapshots, loaded when they are first asked for."""
        return EntityList(each._ovo for each in self._cl_obj_.snapshots)

    @property
    def volume_attachment(self) -> EntityList:
        """Its connections, loaded when they are first asked for."""
        return EntityList(each._ovo for each in self._cl_obj_.connections)

    def obj_attr_is_set(self, name: str) -> bool:  # as it is inherited
        if name == "snapshots":
            return self._cl_obj_._snapshots is not None
        if name == CONNECTIONS_OVO_FIELD:
            return self._cl_obj_._connections is not None
        return name == "volume_type" or super().obj_attr_is_set(name)
