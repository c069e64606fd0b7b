"""Documents of volumes and backups as Cinder's code reads the rows of its database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from filestore.model import Document

_EVERY: Final = ("created_at", "updated_at", "deleted_at", "deleted")

VOLUME_COLUMNS: Final = (
    *("id", "_name_id", "use_quota", "ec2_id", "user_id", "project_id", "snapshot_id"),
    *("cluster_name", "host", "size", "availability_zone", "status", "attach_status"),
    *("migration_status", "scheduled_at", "launched_at", "terminated_at", "display_name"),
    *("display_description", "provider_location", "provider_auth", "provider_geometry"),
    *("provider_id", "volume_type_id", "source_volid", "encryption_key_id"),
    *("consistencygroup_id", "group_id", "bootable", "multiattach", "replication_status"),
    *("replication_extended_status", "replication_driver_data", "previous_status"),
    *("service_uuid", "shared_targets", *_EVERY),
)
"""The columns of Cinder's table of volumes."""

BACKUP_COLUMNS: Final = (
    *("id", "user_id", "project_id", "volume_id", "host", "availability_zone", "display_name"),
    *("display_description", "container", "parent_id", "status", "fail_reason"),
    *("service_metadata", "service", "size", "object_count", "temp_volume_id"),
    *("temp_snapshot_id", "num_dependent_backups", "snapshot_id", "data_timestamp"),
    *("restore_volume_id", "encryption_key_id", *_EVERY),
)
"""The columns of Cinder's table of backups."""

MAPS: Final = frozenset(("metadata", "admin_metadata", "glance_metadata", "volume_type"))
"""The fields of a volume's document that Cinder keeps in tables of their own."""


class Row:
    """A row of a table: iterates over pairs, and is asked for a column as a mapping is.

    A column that the document does not have is null.  The row is the caller's own;
    changing it changes nothing in the store.
    """

    __slots__ = ("_fields",)

    def __init__(self, columns: tuple[str, ...], id: str, document: Document) -> None:
        self._fields: dict[str, Any] = {**dict.fromkeys(columns), **document, "id": id}

    @property
    def id(self) -> str:
        """The id of the volume or backup."""
        id: str = self._fields["id"]
        return id

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._fields.items())

    def __getitem__(self, column: str) -> Any:
        return self._fields[column]

    def __contains__(self, column: object) -> bool:
        return column in self._fields

    def get(self, column: str, default: Any = None) -> Any:
        """The value of a column; ``default`` when there is no such column."""
        return self._fields.get(column, default)

    def keys(self) -> list[str]:
        """The columns' names."""
        return list(self._fields)

    def items(self) -> list[tuple[str, Any]]:
        """The columns with their values."""
        return list(self._fields.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and other._fields == self._fields

    __hash__ = None  # type: ignore[assignment]  # it has no value that stays

    def __repr__(self) -> str:
        return f"<Row {self.id}>"  # without its values, some of which are secret


class GlanceEntry(NamedTuple):
    """One piece of what is known of the image that a volume was made of."""

    volume_id: str
    key: str
    value: str


def volume_row(id: str, document: Mapping[str, Any]) -> Row:
    """A volume's document as a row: without what other tables hold."""
    fields = {name: value for name, value in document.items() if name not in MAPS}
    return Row(VOLUME_COLUMNS, id, fields)


def backup_row(id: str, document: Document) -> Row:
    """A backup's document as a row."""
    return Row(BACKUP_COLUMNS, id, document)
