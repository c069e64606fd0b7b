"""The contracts of backups' metadata and their database, over a real PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import filestore
from filestore.backup import StoreDatabase
from tests.contract.backup_database import BackupDatabaseContract
from tests.contract.backup_metadata import BackupMetadataContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore import Store


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with filestore.open(url) as store:
        yield store
        assert store.check() == []


@pytest.fixture
def db(store: Store) -> StoreDatabase:
    return StoreDatabase(store)


class TestMetadata(BackupMetadataContract):
    """Over a schema of its own for each test."""


class TestDatabase(BackupDatabaseContract):
    """Over a schema of its own for each test."""
