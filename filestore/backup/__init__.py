"""Backups of volumes and their metadata, in the interface of Cinder's backup drivers.

* :class:`BackupMetadataAPI` saves what a store knows of a volume, and restores it.
* :class:`StoreDatabase` is the database that this interface asks: volumes and backups of a store.
  Cinder's own ``BackupMetadataAPI`` runs with it as well.
* :class:`BackupDriver` is what a driver is, :class:`DirectoryBackupDriver` is one.
"""

from filestore.backup.database import BACKUPS, StoreDatabase
from filestore.backup.directory import DirectoryBackupDriver
from filestore.backup.driver import BackupDriver
from filestore.backup.metadata import BackupMetadataAPI, LeftOut, MetadataDatabase
from filestore.backup.rows import GlanceEntry, Row

__all__ = [
    "BACKUPS",
    "BackupDriver",
    "BackupMetadataAPI",
    "DirectoryBackupDriver",
    "GlanceEntry",
    "LeftOut",
    "MetadataDatabase",
    "Row",
    "StoreDatabase",
]
