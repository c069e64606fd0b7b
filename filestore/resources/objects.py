"""What drivers and plugins are handed: Cinder's objects, as far as they hold values.

Cinder's field names, kinds and defaults (Volume 1.9, Snapshot 1.6, VolumeAttachment 1.3).
The classes ending in ``Fields`` have the fields alone: a resource and its object inherit from
the same one and share the values, so that what a driver assigns is what the resource has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from filestore.errors import InvalidDocument
from filestore.masking import masked
from filestore.resources.fields import (
    NONE,
    Boolean,
    Choice,
    Field,
    Identity,
    Integer,
    Map,
    Specs,
    Text,
    TextMap,
    Time,
    Tracked,
    fields_of,
    write_fields,
)

if TYPE_CHECKING:
    from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping

    from filestore.model import Document

_ATTACH: Final = (
    "attached",
    "attaching",
    "detached",
    "error_attaching",
    "error_detaching",
    "reserved",
    "deleted",
)
_SNAPSHOT: Final = (
    "error",
    "available",
    "creating",
    "deleting",
    "deleted",
    "updating",
    "error_deleting",
    "unmanaging",
    "backing-up",
    "restoring",
)


class Fielded:
    """What has fields, and knows which of them changed."""

    _tracked: Tracked
    fields: ClassVar[Mapping[str, Field[Any]]] = {}
    """The fields by name."""
    absent: ClassVar[tuple[str, ...]] = ()
    """Fields of Cinder's that hold other objects and are always None here."""
    _maps: ClassVar[tuple[str, ...]] = ()
    """The fields whose values are maps and never None."""
    _mutable: ClassVar[tuple[str, ...]] = ()
    """The fields whose values can be changed in place."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.fields = fields = fields_of(cls)
        cls._maps = tuple(n for n, each in fields.items() if isinstance(each, TextMap | Specs))
        cls._mutable = tuple(n for n, each in fields.items() if each.mutable)

    @classmethod
    def blank(cls, values: dict[str, Any]) -> Tracked:
        """``values`` to have, with empty maps where there are none."""
        for name in cls._maps:
            if values.get(name) is None:
                values[name] = {}
        return Tracked(values)

    @property
    def _changed_fields(self) -> set[str]:
        """The names of the fields that were assigned."""
        tracked = self._tracked
        if not isinstance(tracked.assigned, set):  # plugins add to it
            tracked.assigned = set(tracked.assigned)
        return tracked.assigned

    def obj_attr_is_set(self, name: str) -> bool:
        """Whether a field has been loaded: all but those that hold other resources always are.

        Raises AttributeError for what is no field.
        """
        if name not in self.fields and name not in self.absent:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        return True

    def obj_what_changed(self) -> set[str]:
        """The names of the fields that were assigned, or changed in place, since the last write."""
        tracked = self._tracked
        inside = {
            name
            for name in self._mutable
            if tracked.seen.get(name) != self.fields[name].write(tracked.values.get(name))
        }
        return {*tracked.assigned, *inside}

    def obj_get_changes(self) -> dict[str, Any]:
        """The fields that changed, with their values."""
        return {name: getattr(self, name) for name in self.obj_what_changed()}

    def obj_reset_changes(self, fields: Iterable[str] | None = None) -> None:
        """Take these fields, or all, for unchanged."""
        tracked = self._tracked
        names: Collection[str] = self._mutable
        if fields is None:
            tracked.assigned = NONE
        else:
            names = set(fields)
            tracked.assigned = tracked.assigned - names
        for name in self._mutable:
            if name in names:
                tracked.seen[name] = self.fields[name].write(tracked.values.get(name))

    def update(self, updates: Mapping[str, Any]) -> None:
        """Assign several fields.  Raises InvalidDocument and then has assigned none."""
        unknown = [name for name in updates if name not in self.fields]
        if unknown:
            raise InvalidDocument(
                f"{type(self).__name__} has no field {', '.join(map(repr, unknown))}"
            )
        values = {name: self.fields[name].coerced(value) for name, value in updates.items()}
        self._tracked.values.update(values)
        self._tracked.assigned |= values.keys()


class Entity(Fielded):
    """An object of Cinder's: its fields as attributes and, as drivers also do, by name."""

    ovo_name: ClassVar[str] = ""
    version: ClassVar[str] = ""

    def __init__(self, tracked: Tracked) -> None:
        self._tracked = tracked

    @classmethod
    def make(cls, **values: Any) -> Self:
        """A new object; fields not given have their defaults.  Raises InvalidDocument."""
        return cls(new_values(cls, values))

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def get(self, name: str, default: Any = None) -> Any:
        """A field's value; ``default`` for what is no field."""
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self) -> Collection[str]:
        """The names of the fields."""
        return self.fields.keys()

    def items(self) -> ItemsView[str, Any]:
        """The fields with their values."""
        return {name: getattr(self, name) for name in self.fields}.items()

    def save(self) -> None:
        """Do nothing, as in cinderlib: resources are saved, by whoever called the driver."""

    def __repr__(self) -> str:
        shown = masked({n: v for n, v in self._tracked.values.items() if v is not None})
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in shown.items())})"


class VolumeFields(Fielded):
    """The fields of Cinder's Volume."""

    id = Identity()
    _name_id = Text()
    ec2_id = Text()
    user_id = Text()
    project_id = Text()
    use_quota = Boolean(default=True)
    snapshot_id = Text()
    cluster_name = Text()
    host = Text()
    size = Integer()
    availability_zone = Text()
    status = Text()
    attach_status = Choice(*_ATTACH)
    migration_status = Text()
    scheduled_at = Time()
    launched_at = Time()
    terminated_at = Time()
    display_name = Text()
    display_description = Text()
    provider_id = Text()
    provider_location = Text()
    provider_auth = Text()
    provider_geometry = Text()
    volume_type_id = Text()
    source_volid = Text()
    encryption_key_id = Text()
    consistencygroup_id = Text()
    group_id = Text()
    deleted = Boolean(default=False)
    bootable = Boolean(default=False)
    multiattach = Boolean(default=False)
    replication_status = Text()
    replication_extended_status = Text()
    replication_driver_data = Text()
    previous_status = Text()
    metadata = TextMap()
    admin_metadata = TextMap()
    glance_metadata = TextMap()
    service_uuid = Text()
    shared_targets = Boolean(default=True)
    created_at = Time()
    updated_at = Time()
    deleted_at = Time()

    absent = ("cluster", "consistencygroup", "group")
    cluster = consistencygroup = group = None


class SnapshotFields(Fielded):
    """The fields of Cinder's Snapshot."""

    id = Identity()
    user_id = Text()
    project_id = Text()
    use_quota = Boolean(default=True)
    volume_id = Text()
    cgsnapshot_id = Text()
    group_snapshot_id = Text()
    status = Choice(*_SNAPSHOT)
    progress = Text()
    volume_size = Integer()
    display_name = Text()
    display_description = Text()
    encryption_key_id = Text()
    volume_type_id = Text()
    provider_location = Text()
    provider_id = Text()
    metadata = TextMap()
    provider_auth = Text()
    created_at = Time()
    updated_at = Time()
    deleted_at = Time()
    deleted = Boolean(default=False)

    absent = ("cgsnapshot", "group_snapshot")
    cgsnapshot = group_snapshot = None


class AttachmentFields(Fielded):
    """The fields of Cinder's VolumeAttachment, cinderlib's Connection."""

    id = Identity()
    volume_id = Text(nullable=False)
    instance_uuid = Text()
    attached_host = Text()
    mountpoint = Text()
    attach_time = Time()
    detach_time = Time()
    attach_status = Choice(*_ATTACH)
    attach_mode = Text()
    connection_info = Map()
    connector = Map()
    created_at = Time()
    updated_at = Time()
    deleted_at = Time()
    deleted = Boolean(default=False)


def new_values(owner: type[Fielded], values: Mapping[str, Any]) -> Tracked:
    """The values of a new object, all marked as assigned; raises InvalidDocument."""
    fields = owner.fields
    unknown = [name for name in values if name not in fields]
    if unknown:
        raise InvalidDocument(f"{owner.__name__} has no field {', '.join(map(repr, unknown))}")
    made = {
        name: field.coerced(values[name]) if name in values else field.default
        for name, field in fields.items()
        if name in values or field.default is not None
    }
    tracked = owner.blank(made)
    tracked.assigned = set(fields)
    return tracked


def set_fields(entity: Entity) -> Document:
    """The fields that have a value, as JSON has them."""
    values = entity._tracked.values
    document = write_fields(entity.fields, values, values)
    return {name: value for name, value in document.items() if value is not None}
