"""The contracts of backends and stores, over a real PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy

import filestore
from filestore import Store
from filestore.backends.sql.backend import SqlBackend
from tests.contract.backend import SharedBackendContract
from tests.contract.store import SharedStoreContract
from tests.sql.spoiling import spoil

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgresql.server import Server


class TestPostgresql(SharedBackendContract):
    driver = ""

    @pytest.fixture(autouse=True)
    def where_to(self, server: Server) -> None:
        self.url = server.url(server.schema(), driver=self.driver)

    def make(
        self, where: Path, *, readonly: bool = False, lock_timeout: float = 10.0
    ) -> SqlBackend:
        return SqlBackend(self.url, readonly=readonly, lock_timeout=lock_timeout)


@pytest.mark.skipif(
    sqlalchemy.__version__.startswith("1."), reason="SQLAlchemy 1.4 has no psycopg 3"
)
class TestPsycopg(TestPostgresql):
    driver = "psycopg"


class TestStore(SharedStoreContract):
    @pytest.fixture(autouse=True)
    def where_to(self, server: Server) -> None:
        self.url = server.url(server.schema())

    def open(self, where: Path, **options: Any) -> Store:
        return filestore.open(self.url, **options)

    def spoil(self, store: Store, collection: str, id: str) -> None:
        spoil(store, collection, id)
