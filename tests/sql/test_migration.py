"""Migrating into a database and out of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import filestore
from tests.contract.migration import MigrationContract

if TYPE_CHECKING:
    from pathlib import Path

    from filestore.store import Store


class TestFilesToSqlite(MigrationContract):
    def open_source(self, folder: Path) -> Store:
        return filestore.open(folder / "json", durability="off")

    def open_target(self, folder: Path) -> Store:
        return filestore.open(f"sqlite:///{folder}/state.db", durability="off")


class TestSqliteToFiles(MigrationContract):
    def open_source(self, folder: Path) -> Store:
        return filestore.open(f"sqlite:///{folder}/state.db", durability="off")

    def open_target(self, folder: Path) -> Store:
        return filestore.open(folder / "yaml", codec="yaml", durability="off")


class TestSqliteToSqlite(MigrationContract):
    def open_source(self, folder: Path) -> Store:
        return filestore.open(f"sqlite:///{folder}/one.db", durability="off")

    def open_target(self, folder: Path) -> Store:
        return filestore.open(f"sqlite:///{folder}/other.db", durability="off")
