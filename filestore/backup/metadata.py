"""What a backup keeps of its volume beside the data, and how it is put on another volume.

The container is a JSON object::

    { "version": 1 | 2,
      "volume-base-metadata"?: { column: value… },
      "volume-metadata"?: { key: text… },
      "volume-glance-metadata"?: { key: text… } }

Everything is saved; a restore takes, by the container's version,

* of the volume's columns, in version 1, its name unless that is null, and its description; in
  version 2 the key of its encryption, if it has one, and name and description, if the target
  looks as if it was made for this restore (it has no name or one that begins with
  ``restore_backup_``) and there is a name;
* all metadata, which replace the target's;
* all glance metadata, which replace the target's and make it bootable.

An encrypted backup is restored to a volume of its own type only, or to one of no type, which is
given it.  A section that is not there is passed over.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from filestore.backup.database import StoreDatabase
from filestore.errors import (
    BackupMetadataUnsupportedVersion,
    EncryptedBackupOperationFailed,
    InvalidBackup,
    NotFound,
)
from filestore.resources.documents import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

VERSIONS: Final = (1, 2)

_COLUMNS: Final = {
    1: ("display_name", "display_description"),
    2: ("display_name", "display_description", "encryption_key_id"),
}


class MetadataReader(Protocol):
    """What saving asks of a database; Cinder's own has it, too."""

    def volume_get(self, context: Any, volume_id: str, /) -> Any: ...

    def volume_metadata_get(self, context: Any, volume_id: str, /) -> Mapping[str, Any]: ...

    def volume_glance_metadata_get(self, context: Any, volume_id: str, /) -> Iterable[Any]: ...


class MetadataDatabase(MetadataReader, Protocol):
    """What a restore asks of a database."""

    def volume_update(self, context: Any, volume_id: str, values: Any, /) -> Any: ...

    def volume_metadata_update(
        self, context: Any, volume_id: str, metadata: Any, delete: bool, /
    ) -> Any: ...

    def volume_glance_metadata_create(
        self, context: Any, volume_id: str, key: str, value: Any, /
    ) -> Any: ...

    def volume_glance_metadata_delete_by_volume(self, context: Any, volume_id: str, /) -> Any: ...

    def volume_type_get(self, context: Any, id: str, /) -> Any: ...


class LeftOut(NamedTuple):
    """A value that JSON does not have, and that is not in the container."""

    section: str
    field: str
    reason: str


class BackupMetadataAPI:
    """Saves and restores the metadata of volumes that are backed up.

    ``db``: a :class:`~filestore.backup.StoreDatabase`, or whatever has the methods of
    :class:`MetadataDatabase`.  ``version``: of the containers that are made; containers of all
    versions are restored.  Raises BackupMetadataUnsupportedVersion.

    ``left_out``: what the last :meth:`get` could not save.
    """

    TYPE_TAG_VOL_BASE_META: Final = "volume-base-metadata"
    TYPE_TAG_VOL_META: Final = "volume-metadata"
    TYPE_TAG_VOL_GLANCE_META: Final = "volume-glance-metadata"

    def __init__(self, context: Any, db: MetadataDatabase, *, version: int = 2) -> None:
        self.context = context
        self.db = db
        self.version = _known(version)
        self.left_out: list[LeftOut] = []

    def get(self, volume_id: str) -> str:
        """The container of a volume's metadata, as JSON, of one moment.

        Raises NotFound.
        """
        self.left_out = []
        container: dict[str, Any] = {"version": self.version}
        reader = self.db.frozen(volume_id) if isinstance(self.db, StoreDatabase) else self.db
        self._save_base(container, reader, volume_id)
        self._save_map(container, reader, volume_id)
        self._save_glance(container, reader, volume_id)
        return json.dumps(container)

    def put(self, volume_id: str, json_metadata: str | bytes) -> None:
        """Restore what a container has to a volume: all of it or, when it raises, nothing.

        (Over a database that is not a :class:`~filestore.backup.StoreDatabase` the parts are
        restored one by one.)  Raises BackupMetadataUnsupportedVersion, InvalidBackup for
        what is no container, EncryptedBackupOperationFailed, NotFound.
        """
        container = parsed(json_metadata)
        whole = isinstance(self.db, StoreDatabase)
        with self.db.transaction() if whole else contextlib.nullcontext():  # type: ignore[attr-defined]  # narrowed above
            for section, (restore, fields) in self._factory(container["version"]).items():
                if section in container:
                    restore(container[section], volume_id, fields)

    def _factory(self, version: int) -> dict[str, tuple[_Restore, Sequence[str]]]:
        return self._v1_restore_factory() if version == 1 else self._v2_restore_factory()

    # By the names that they have in Cinder, where subclasses and tests know them.

    def _v1_restore_factory(self) -> dict[str, tuple[_Restore, Sequence[str]]]:
        """For each section what restores it, and the fields to restore; none means all."""
        return {
            self.TYPE_TAG_VOL_BASE_META: (self._restore_vol_base_meta_v1, _COLUMNS[1]),
            self.TYPE_TAG_VOL_META: (self._restore_vol_meta, ()),
            self.TYPE_TAG_VOL_GLANCE_META: (self._restore_vol_glance_meta, ()),
        }

    def _v2_restore_factory(self) -> dict[str, tuple[_Restore, Sequence[str]]]:
        """For each section what restores it, and the fields to restore; none means all."""
        return {
            **self._v1_restore_factory(),
            self.TYPE_TAG_VOL_BASE_META: (self._restore_vol_base_meta, _COLUMNS[2]),
        }

    def _save_vol_base_meta(self, container: dict[str, Any], volume_id: str) -> None:
        self._save_base(container, self.db, volume_id)

    def _save_vol_meta(self, container: dict[str, Any], volume_id: str) -> None:
        self._save_map(container, self.db, volume_id)

    def _save_vol_glance_meta(self, container: dict[str, Any], volume_id: str) -> None:
        self._save_glance(container, self.db, volume_id)

    def _save_base(self, container: dict[str, Any], db: MetadataReader, volume_id: str) -> None:
        row = db.volume_get(self.context, volume_id)
        self._save(container, self.TYPE_TAG_VOL_BASE_META, row or ())

    def _save_map(self, container: dict[str, Any], db: MetadataReader, volume_id: str) -> None:
        metadata = db.volume_metadata_get(self.context, volume_id)
        self._save(container, self.TYPE_TAG_VOL_META, metadata.items())

    def _save_glance(self, container: dict[str, Any], db: MetadataReader, volume_id: str) -> None:
        entries = db.volume_glance_metadata_get(self.context, volume_id)
        pairs = [(entry.key, entry.value) for entry in entries]
        self._save(container, self.TYPE_TAG_VOL_GLANCE_META, pairs)

    def _save(
        self, container: dict[str, Any], section: str, pairs: Iterable[tuple[str, Any]]
    ) -> None:
        """Put what can be saved into a section, which is not made for nothing at all."""
        saved = {}
        anything = False
        for field, value in pairs:
            anything = True
            try:
                saved[field] = serializable(value)
            except (TypeError, ValueError, RecursionError) as error:
                self.left_out.append(LeftOut(section, field, str(error) or type(error).__name__))
        if anything:
            container[section] = saved

    @staticmethod
    def _is_serializable(value: Any) -> bool:
        """Whether a value can be saved."""
        try:
            serializable(value)
        except (TypeError, ValueError, RecursionError):
            return False
        return True

    @staticmethod
    def _filter(
        metadata: Mapping[str, Any], fields: Collection[str], excludes: Collection[str] = ()
    ) -> dict[str, Any]:
        """Those of the fields that are there, without ``excludes``; no fields means all."""
        return {
            name: value
            for name, value in metadata.items()
            if not fields or (name in fields and name not in (excludes or ()))
        }

    def _restore_vol_base_meta_v1(
        self, metadata: Mapping[str, Any], volume_id: str, fields: Sequence[str]
    ) -> None:
        # What the restore has named the target is more useful than no name.
        unnamed = ("display_name",) if metadata.get("display_name") is None else ()
        self.db.volume_update(self.context, volume_id, self._filter(metadata, fields, unnamed))

    def _restore_vol_base_meta(
        self, metadata: Mapping[str, Any], volume_id: str, fields: Sequence[str]
    ) -> None:
        if "encryption_key_id" in fields and metadata.get("encryption_key_id") is not None:
            self._restore_vol_encryption_meta(volume_id, metadata["volume_type_id"])
        excludes: tuple[str, ...] = ()
        if "display_name" in fields and "display_name" in metadata:
            name = self.db.volume_get(self.context, volume_id).get("display_name", "")
            if not metadata["display_name"] or (name and not name.startswith("restore_backup_")):
                excludes = ("display_name", "display_description")
        self.db.volume_update(self.context, volume_id, self._filter(metadata, fields, excludes))

    def _restore_vol_encryption_meta(self, volume_id: str, src_volume_type_id: str | None) -> None:
        target = self.db.volume_get(self.context, volume_id)["volume_type_id"]
        if target == src_volume_type_id:
            return
        if target is not None or not src_volume_type_id:
            raise EncryptedBackupOperationFailed(
                f"the backup's volume was encrypted and of the type {src_volume_type_id}, but"
                f" the volume {volume_id} is of the type {target}: restore to one of the same type"
            )
        try:
            self.db.volume_type_get(self.context, src_volume_type_id)
        except NotFound as error:
            raise EncryptedBackupOperationFailed(
                f"the backup's volume was encrypted and of the type {src_volume_type_id}, which"
                " is not there any more: make a volume of that type first"
            ) from error
        self.db.volume_update(self.context, volume_id, {"volume_type_id": src_volume_type_id})

    def _restore_vol_meta(
        self, metadata: Mapping[str, Any], volume_id: str, fields: Sequence[str]
    ) -> None:
        self.db.volume_metadata_update(
            self.context, volume_id, self._filter(metadata, fields), True
        )

    def _restore_vol_glance_meta(
        self, metadata: Mapping[str, Any], volume_id: str, fields: Sequence[str]
    ) -> None:
        self.db.volume_glance_metadata_delete_by_volume(self.context, volume_id)
        for key, value in self._filter(metadata, fields).items():
            self.db.volume_glance_metadata_create(self.context, volume_id, key, value)
        self.db.volume_update(self.context, volume_id, {"bootable": True})


if TYPE_CHECKING:
    _Restore = Callable[[Mapping[str, Any], str, Sequence[str]], None]


def parsed(json_metadata: str | bytes) -> dict[str, Any]:
    """A container, looked through.

    Raises BackupMetadataUnsupportedVersion, and InvalidBackup for what is no container.
    """
    try:
        container = json.loads(json_metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidBackup(f"the metadata of the backup are no JSON ({error})") from error
    if not isinstance(container, dict):
        raise InvalidBackup("the metadata of the backup are no JSON object")
    version = container["version"] = _known(container.get("version"))
    for section in (
        BackupMetadataAPI.TYPE_TAG_VOL_BASE_META,
        BackupMetadataAPI.TYPE_TAG_VOL_META,
        BackupMetadataAPI.TYPE_TAG_VOL_GLANCE_META,
    ):
        if not isinstance(container.get(section, {}), dict):
            raise InvalidBackup(f"the section {section} of the backup's metadata is no object")
    base = container.get(BackupMetadataAPI.TYPE_TAG_VOL_BASE_META, {})
    for column in _COLUMNS[version]:
        if not isinstance(base.get(column), str | None):
            raise InvalidBackup(f"the backup's metadata have a {column} that is no text")
    encrypted = version > 1 and base.get("encryption_key_id") is not None
    if encrypted and not isinstance(base.get("volume_type_id", 0), str | None):
        raise InvalidBackup("the backup's metadata do not tell the type of its encrypted volume")
    return container


def _known(version: Any) -> int:
    # True equals 1, and '1' does not.
    if isinstance(version, bool) or version not in VERSIONS:
        told = "no version" if version is None else f"the version {version!r}"
        raise BackupMetadataUnsupportedVersion(
            f"the metadata of the backup have {told}: those of the versions"
            f" {' and '.join(map(str, VERSIONS))} can be restored"
        )
    return int(version)


def serializable(value: Any) -> Any:
    """A copy of the value made of what JSON has; raises TypeError, ValueError, RecursionError.

    Times become ISO 8601, bytes text; what comes from Cinder's database has them.
    """
    copy = plain(value)
    json.dumps(copy, allow_nan=False, ensure_ascii=False).encode()
    return copy
