"""The contracts of backends and stores, over SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import filestore
from filestore import Store
from filestore.backends.sql.backend import SqlBackend
from tests.contract.backend import BackendContract, SharedBackendContract
from tests.contract.store import SharedStoreContract, StoreContract
from tests.sql.spoiling import spoil

if TYPE_CHECKING:
    from pathlib import Path


class TestSqliteFile(SharedBackendContract):
    def make(
        self, where: Path, *, readonly: bool = False, lock_timeout: float = 10.0
    ) -> SqlBackend:
        return SqlBackend(
            f"sqlite:///{where}/state.db", readonly=readonly, lock_timeout=lock_timeout
        )


class TestSqliteInMemory(BackendContract):
    def make(
        self, where: Path, *, readonly: bool = False, lock_timeout: float = 10.0
    ) -> SqlBackend:
        return SqlBackend("sqlite://", readonly=readonly, lock_timeout=lock_timeout)


class TestStoreInSqliteFile(SharedStoreContract):
    def open(self, where: Path, **options: Any) -> Store:
        return filestore.open(f"sqlite:///{where}/state.db", **options)

    def spoil(self, store: Store, collection: str, id: str) -> None:
        spoil(store, collection, id)


class TestStoreInSqliteMemory(StoreContract):
    def open(self, where: Path, **options: Any) -> Store:
        return filestore.open("sqlite://", **options)

    def spoil(self, store: Store, collection: str, id: str) -> None:
        spoil(store, collection, id)
