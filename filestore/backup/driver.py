"""What a backup driver is: subclass it to keep backups of volumes somewhere."""

from __future__ import annotations

import base64
import binascii
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, BinaryIO

from filestore.backup.metadata import BackupMetadataAPI, MetadataDatabase, serializable
from filestore.errors import InvalidBackup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filestore.backup.rows import Row
    from filestore.model import Document


class BackupDriver(ABC):
    """Keeps backups of volumes.

    A subclass says how to :meth:`backup`, :meth:`restore` and :meth:`delete` (or
    :meth:`delete_backup`, as it is called today), and better :meth:`verify`, too.

    ``context``: the request's, passed on to ``db``.  ``db``: a
    :class:`~filestore.backup.StoreDatabase`, or whatever
    :class:`~filestore.backup.BackupMetadataAPI` takes.  ``version``: of the metadata it makes.

    A *backup* is its record: a row of the database or a dictionary, with an ``id``, a
    ``volume_id`` and more.
    """

    support_force_delete = False

    def __init__(self, context: Any, db: MetadataDatabase, *, version: int = 2) -> None:
        kind = type(self)
        if kind.delete is BackupDriver.delete and kind.delete_backup is BackupDriver.delete_backup:
            raise TypeError(f"{kind.__name__} must define delete or delete_backup")
        self.context = context
        self.db = db
        self.backup_meta_api = BackupMetadataAPI(context, db, version=version)

    @abstractmethod
    def backup(
        self,
        backup: Row | Mapping[str, Any],
        volume_file: BinaryIO,
        backup_metadata: bool = False,
    ) -> None:
        """Keep what ``volume_file`` holds, and with ``backup_metadata`` the volume's metadata."""

    @abstractmethod
    def restore(
        self,
        backup: Row | Mapping[str, Any],
        volume_id: str,
        volume_file: BinaryIO,
        volume_is_new: bool = False,
    ) -> None:
        """Write a backup to ``volume_file``, and its metadata, if any, to the volume.

        ``volume_is_new``: nothing was ever written to the volume, so that it reads as zeros.
        """

    def delete(self, backup: Row | Mapping[str, Any]) -> None:
        """Delete what is kept of a backup."""
        self.delete_backup(backup)

    def delete_backup(self, backup: Row | Mapping[str, Any]) -> None:
        """Delete what is kept of a backup; today's name of :meth:`delete`."""
        self.delete(backup)

    def verify(self, backup: Row | Mapping[str, Any] | str) -> None:
        """See that a backup, given by its record or its id, can be restored.

        Raises InvalidBackup.  A driver that cannot tell raises NotImplementedError.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot verify backups")

    def check_for_setup_error(self) -> None:  # noqa: B027  # most have nothing to look at
        """Raise an error when backups can't be kept, for want of a folder or a service."""

    def get_metadata(self, volume_id: str) -> str:
        """The metadata of a volume as JSON; see :class:`~filestore.backup.BackupMetadataAPI`."""
        return self.backup_meta_api.get(volume_id)

    def put_metadata(self, volume_id: str, json_metadata: str | bytes) -> None:
        """Restore metadata to a volume."""
        self.backup_meta_api.put(volume_id, json_metadata)

    def export_record(self, backup: Row | Mapping[str, Any]) -> str:
        """The whole record of a backup as text to carry elsewhere: JSON in base64.

        Raises InvalidBackup when it holds what JSON does not have.
        """
        record = {}
        for field, value in dict(backup).items():
            try:
                record[field] = serializable(value)
            except (TypeError, ValueError, RecursionError) as error:
                raise InvalidBackup(
                    f"the field {field!r} of the backup's record cannot be exported: {error}"
                ) from error
        return base64.b64encode(json.dumps(record).encode()).decode()

    def import_record(self, backup_url: str | bytes) -> Document:
        """The record that :meth:`export_record` made a text of.

        Cinder's own exports are read, too.  Raises InvalidBackup for anything else.
        """
        try:
            data = backup_url.encode() if isinstance(backup_url, str) else bytes(backup_url)
            # Line breaks are what mail and terminals put in.
            record = json.loads(base64.b64decode(b"".join(data.split()), validate=True))
        except (binascii.Error, TypeError, ValueError, RecursionError) as error:
            raise InvalidBackup(
                f"this is no exported record of a backup, which is JSON in base64 ({error}):"
                " was it copied whole?"
            ) from error
        if not isinstance(record, dict):
            raise InvalidBackup("this is no exported record of a backup, but other JSON in base64")
        return record
