"""Backups' metadata and their database over every kind of store, but for PostgreSQL's."""

from __future__ import annotations

from tests.contract.backup_database import BackupDatabaseContract
from tests.contract.backup_metadata import BackupMetadataContract


class TestMetadata(BackupMetadataContract):
    """Over the stores of this folder's fixtures."""


class TestDatabase(BackupDatabaseContract):
    """Over the stores of this folder's fixtures."""
