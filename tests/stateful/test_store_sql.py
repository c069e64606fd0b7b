"""The state machine over SQLite, in a file and in memory; over PostgreSQL see tests/postgresql."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings

import filestore
from filestore import Store
from tests.stateful.machine import SharedStoreMachine, StoreMachine, written
from tests.stateful.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore import Key
    from filestore.model import Document


class SqliteMachine(SharedStoreMachine):
    """Over a file.

    A crash is looked at from the other side: what is on the disk at that moment, while nothing
    was closed, is copied elsewhere, and the run goes on there.
    """

    can_crash = True
    has_other_process = True
    writer: ClassVar[Writer]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="filestore-machine-"))
        # Errors don't count: the other process, which has it open, may still be saving there.
        self.opened.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.lives = 0

    @property
    def file(self) -> Path:
        return self.folder / f"{self.lives}.db"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    def open(self) -> Store:
        return filestore.open(self.url, durability="normal")

    def crash(self) -> None:
        before = self.file
        self.opened.callback(self.store.close)
        self.lives += 1
        shutil.copy(before, self.file)
        # Without the -shm file, which is memory that all who are there share.
        shutil.copy(f"{before}-wal", f"{self.file}-wal")

    def in_other_process(self, writes: dict[Key, Document | None]) -> None:
        before, after = self.writer.write(self.url, writes)
        assert before == self.model
        assert after == written(self.model, writes)


class SqliteMemoryMachine(StoreMachine):
    def open(self) -> Store:
        return filestore.open("sqlite://")


@pytest.fixture(scope="module", autouse=True)
def writer() -> Iterator[None]:
    SqliteMachine.writer = Writer()
    yield
    SqliteMachine.writer.close()


TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = settings(settings.default, max_examples=15, stateful_step_count=30)
TestSqliteInMemory = SqliteMemoryMachine.TestCase
TestSqliteInMemory.settings = settings(settings.default, max_examples=15, stateful_step_count=30)
