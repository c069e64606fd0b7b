"""The state machine over PostgreSQL, with reopening, a second handle and another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings

import filestore
from filestore import Store
from tests.stateful.machine import SharedStoreMachine, written
from tests.stateful.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore import Key
    from filestore.model import Document
    from tests.postgresql.server import Server


class PostgresqlMachine(SharedStoreMachine):
    has_other_process = True
    server: ClassVar[Server]
    writer: ClassVar[Writer]

    def __init__(self) -> None:
        super().__init__()
        self.url = self.server.url(self.server.schema())

    def open(self) -> Store:
        return filestore.open(self.url)

    def in_other_process(self, writes: dict[Key, Document | None]) -> None:
        before, after = self.writer.write(self.url, writes)
        assert before == self.model
        assert after == written(self.model, writes)


@pytest.fixture(scope="module", autouse=True)
def surroundings(server: Server) -> Iterator[None]:
    PostgresqlMachine.server = server
    PostgresqlMachine.writer = Writer()
    yield
    PostgresqlMachine.writer.close()


TestPostgresqlMachine = PostgresqlMachine.TestCase
TestPostgresqlMachine.settings = settings(settings.default, max_examples=10, stateful_step_count=25)
