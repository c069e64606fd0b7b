"""The types of volumes: extra specs and qos specs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filestore.exception import InvalidDump
from filestore.resources import loading
from filestore.resources.documents import fold_type, unfold_type, unreadable
from filestore.resources.fields import (
    Boolean,
    Choice,
    Identity,
    Specs,
    Text,
    Texts,
    Time,
    Unreadable,
    read_fields,
)
from filestore.resources.objects import Entity, new_values, set_fields
from filestore.resources.resource import versioned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filestore.model import Document, Key
    from filestore.resources.fields import Tracked


class QualityOfServiceSpecs(Entity):
    """The qos specs of a volume type."""

    ovo_name = "QualityOfServiceSpecs"
    version = "1.0"

    id = Identity()
    name = Text(nullable=False)
    consumer = Choice("back-end", "front-end", "both", default="back-end", nullable=False)
    specs = Specs()
    created_at = Time()
    updated_at = Time()
    deleted_at = Time()
    deleted = Boolean()

    @classmethod
    def loaded(cls, primitive: Any) -> QualityOfServiceSpecs:
        """The specs that were dumped.  Raises InvalidDump, Unreadable."""
        data = loading.data_of(primitive, cls.ovo_name, cls.version)
        data.pop("volume_types", None)
        loading.only(data, cls)
        return cls(cls.blank(read_fields(cls.fields, data)))


class VolumeType(Entity):
    """A volume's type: its extra specs and qos specs.  cinderlib gives each volume its own."""

    ovo_name = "VolumeType"
    version = "1.3"

    id = Identity()
    name = Text()
    description = Text()
    is_public = Boolean(default=True)
    projects = Texts()
    extra_specs = Specs()
    qos_specs_id = Text()
    created_at = Time()
    updated_at = Time()
    deleted_at = Time()
    deleted = Boolean()

    def __init__(self, tracked: Tracked, qos_specs: QualityOfServiceSpecs | None = None) -> None:
        super().__init__(tracked)
        self.qos_specs = qos_specs

    @classmethod
    def of_volume(
        cls, volume_id: str, extra_specs: Mapping[str, Any] | None, qos_specs: Any
    ) -> VolumeType:
        """The type of a volume that has specs of its own: named after the volume."""
        qos = None
        if qos_specs:
            qos = QualityOfServiceSpecs.make(id=volume_id, name=volume_id, specs=qos_specs)
        values = new_values(
            cls,
            {
                "id": volume_id,
                "name": volume_id,
                "extra_specs": extra_specs or {},
                "qos_specs_id": None if qos is None else volume_id,
            },
        )
        return cls(values, qos)

    @classmethod
    def stored(cls, key: Key, type_id: str, document: Any) -> VolumeType:
        """The type that a volume's document has; ``key`` is the volume's.  Raises Corrupt."""
        fields, nested = unfold_type(key, type_id, document)
        try:
            qos = None
            if nested is not None:
                nested.setdefault("consumer", "back-end")
                values = read_fields(QualityOfServiceSpecs.fields, nested)
                qos = QualityOfServiceSpecs(QualityOfServiceSpecs.blank(values))
            return cls(cls.blank(read_fields(cls.fields, fields)), qos)
        except Unreadable as error:
            name = f"volume_type.{error.name}"
            raise unreadable(key, name, error.value, error.reason) from error

    def reset_changes(self) -> None:
        """Take the type and its qos specs for unchanged."""
        self.obj_reset_changes()
        if self.qos_specs is not None:
            self.qos_specs.obj_reset_changes()

    def document(self) -> Document:
        """What :meth:`stored` makes the type of."""
        qos = self.qos_specs
        return fold_type(set_fields(self), None if qos is None else set_fields(qos))

    def primitive(self) -> Document:
        """The type as a dump has it."""
        data = set_fields(self)
        qos = self.qos_specs
        data["qos_specs_id"] = self.qos_specs_id
        data["qos_specs"] = (
            None if qos is None else versioned(qos.ovo_name, qos.version, set_fields(qos))
        )
        return versioned(self.ovo_name, self.version, data)

    @classmethod
    def loaded(cls, primitive: Any) -> VolumeType:
        """The type that was dumped.  Raises InvalidDump."""
        data = loading.data_of(primitive, cls.ovo_name, cls.version)
        nested = data.pop("qos_specs", None)
        try:
            qos = None if nested is None else QualityOfServiceSpecs.loaded(nested)
            loading.only(data, cls)
            return cls(cls.blank(read_fields(cls.fields, data)), qos)
        except Unreadable as error:
            raise InvalidDump(
                f"a volume type in the dump: the field {error.name!r} cannot be"
                f" {loading.shown(error.name, error.value)} ({error.reason})"
            ) from error
