"""The state machine over files, with reopening, a second handle, crashes and another process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import settings

from filestore import Store
from filestore.engine.files import FileBackend
from tests.stateful.machine import SharedStoreMachine, written
from tests.stateful.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore import Key
    from filestore.model import Document


class FilesMachine(SharedStoreMachine):
    """Over a folder.

    A crash is looked at from the other side: what the folder holds at that moment, while nothing
    was closed, is copied elsewhere, and the run goes on there.
    """

    can_crash = True
    has_other_process = True
    options: ClassVar[dict[str, Any]] = {}
    writer: ClassVar[Writer]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="filestore-machine-"))
        # Errors don't count: the other process, which has it open, may still be saving there.
        self.opened.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.lives = 0

    @property
    def where(self) -> Path:
        return self.folder / str(self.lives)

    def open(self) -> Store:
        # Without the background thread, so that a crash copies a folder that rests.
        return Store(FileBackend(self.where, background=False, **self.options))

    def crash(self) -> None:
        before = self.where
        self.opened.callback(self.store.close)
        self.lives += 1
        shutil.copytree(before, self.where)

    def in_other_process(self, writes: dict[Key, Document | None]) -> None:
        before, after = self.writer.write(str(self.where), writes)
        assert before == self.model
        assert after == written(self.model, writes)


class JsonMachine(FilesMachine):
    options: ClassVar = {"codec": "json"}


class YamlMachine(FilesMachine):
    options: ClassVar = {"codec": "yaml", "durability": "normal"}


@pytest.fixture(scope="module", autouse=True)
def writer() -> Iterator[None]:
    FilesMachine.writer = Writer()
    yield
    FilesMachine.writer.close()


TestJson = JsonMachine.TestCase
TestYaml = YamlMachine.TestCase
TestJson.settings = TestYaml.settings = settings(
    settings.default, max_examples=25, stateful_step_count=30
)
