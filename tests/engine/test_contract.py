"""The contracts of backends and stores, over files: each codec, each durability, fan-out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import Store
from filestore.engine import journal, record
from filestore.engine.files import FileBackend
from filestore.engine.layout import Layout
from tests.contract.backend import SharedBackendContract
from tests.contract.store import SharedStoreContract

if TYPE_CHECKING:
    from pathlib import Path


class FilesContract(SharedBackendContract):
    """The backend's contract over a folder."""

    options: dict[str, Any] = {}

    def make(
        self, where: Path, *, readonly: bool = False, lock_timeout: float = 10.0
    ) -> FileBackend:
        return FileBackend(
            where / "store", readonly=readonly, lock_timeout=lock_timeout, **self.options
        )


class TestJson(FilesContract):
    pass


class TestYaml(FilesContract):
    options = {"codec": "yaml"}


class TestFanout(FilesContract):
    options = {"fanout": 2}


class TestNormalDurability(FilesContract):
    options = {"durability": "normal"}


class TestNoDurability(FilesContract):
    options = {"durability": "off"}


@pytest.fixture
def long_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly every line of the journal is too long to be written or read as a whole."""
    monkeypatch.setattr(record, "_LONG", 0)
    monkeypatch.setattr(journal, "_PIECE_BYTES", 130)
    monkeypatch.setattr(journal, "_CHUNK_BYTES", 64)


@pytest.mark.usefixtures("long_lines")
class TestLongLines(FilesContract):
    pass


class FilesStoreContract(SharedStoreContract):
    """The store's contract over a folder."""

    options: dict[str, Any] = {}

    def open(self, where: Path, **options: Any) -> Store:
        return filestore.open(where / "store", **self.options, **options)

    def spoil(self, store: Store, collection: str, id: str) -> None:
        codec = self.options.get("codec", "json")
        layout = Layout(store.location, f".{codec}", 0)
        with open(layout.path((collection, id)), "r+b") as file:
            os.ftruncate(file.fileno(), 1)


class TestJsonStore(FilesStoreContract):
    pass


class TestYamlStore(FilesStoreContract):
    options = {"codec": "yaml"}
