"""Driver private data over a real PostgreSQL server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore.private_data import SqlStorageDriver
from tests.contract.private_data import PrivateDataContract, StorePrivateDataContract

if TYPE_CHECKING:
    from collections.abc import Iterator


class TestPostgresql(StorePrivateDataContract):
    @pytest.fixture(autouse=True)
    def _store(self, url: str) -> Iterator[None]:  # instead of a store in a folder
        with filestore.open(url) as self.store:
            yield
            assert self.store.check() == []


class TestSqlStorageDriver(PrivateDataContract):
    @pytest.fixture(autouse=True)
    def where_to(self, url: str) -> Iterator[None]:
        self.url = url
        with ExitStack() as self.stack:
            yield

    def storage(self, backend_host: str) -> SqlStorageDriver:
        return self.stack.enter_context(SqlStorageDriver(self.url, backend_host))
