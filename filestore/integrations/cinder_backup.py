"""A store as the database of Cinder's own backup code.

::

    api = cinder.backup.driver.BackupMetadataAPI(context)
    api.db = CinderDatabase(store)

Cinder's code looks for Cinder's exceptions; that is all that is added here to
:class:`~filestore.backup.StoreDatabase`.  Needs Cinder; nothing else in filestore imports
this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinder import exception

from filestore.backup import BACKUPS, StoreDatabase
from filestore.errors import NotFound
from filestore.resources.documents import VOLUMES

if TYPE_CHECKING:
    from filestore.model import Key


class VolumeNotFound(NotFound, exception.VolumeNotFound):  # type: ignore[misc]  # Cinder has no types
    """A volume is not there, to filestore and to Cinder."""


class BackupNotFound(NotFound, exception.BackupNotFound):  # type: ignore[misc]  # as above
    """The record of a backup is not there, to filestore and to Cinder."""


class VolumeTypeNotFound(NotFound, exception.VolumeTypeNotFound):  # type: ignore[misc]  # as above
    """No volume has this type, to filestore and to Cinder."""


class CinderDatabase(StoreDatabase):
    """The database of a store, with errors that Cinder's code catches."""

    def missing(self, key: Key) -> Exception:
        """The error about a document that is not there; to be raised."""
        kind = {VOLUMES: VolumeNotFound, BACKUPS: BackupNotFound}.get(
            key.collection, VolumeTypeNotFound
        )
        error: Exception = kind(str(super().missing(key)), key=key)
        return error
