"""Migrating between folders, memory, and the two codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import filestore
from filestore.errors import Conflict, Corrupt, ReadOnly
from filestore.migration import migrate
from tests.contract.migration import MigrationContract, everything

if TYPE_CHECKING:
    from pathlib import Path

    from filestore.store import Store


class TestJsonToYaml(MigrationContract):
    def open_source(self, folder: Path) -> Store:
        return filestore.open(folder / "json", durability="off")

    def open_target(self, folder: Path) -> Store:
        return filestore.open(folder / "yaml", codec="yaml", durability="off")


class TestMemoryToFiles(MigrationContract):
    def open_source(self, folder: Path) -> Store:
        return filestore.open("memory:")

    def open_target(self, folder: Path) -> Store:
        return filestore.open(folder / "json", durability="off")


class TestFilesToMemory(MigrationContract):
    def open_source(self, folder: Path) -> Store:
        return filestore.open(folder / "yaml", codec="yaml", durability="off")

    def open_target(self, folder: Path) -> Store:
        return filestore.open("memory:")


def test_a_source_that_was_opened_read_only_is_left_as_it_is(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "a") as store:
        store["volumes"]["v1"] = {"size": 1}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with filestore.open(tmp_path / "a", readonly=True) as source, filestore.open("memory:") as to:
        migrate(source, to)
        assert everything(to) == everything(source)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_store_is_not_migrated_into_itself(tmp_path: Path) -> None:
    with (
        filestore.open(tmp_path / "a") as one,
        filestore.open(tmp_path / "a") as other,
        pytest.raises(Conflict, match="into itself"),
    ):
        migrate(one, other)


def test_a_document_that_cannot_be_read_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "a") as source, filestore.open(tmp_path / "b") as target:
        source["volumes"]["v1"] = {"size": 1}
        source["volumes"]["v2"] = {"size": 2}
        (tmp_path / "a" / "volumes" / "v2.json").write_text('{"size": ')
        with pytest.raises(Corrupt, match=r"v2\.json"):
            migrate(source, target)
        assert target.collections() == []


def test_a_read_only_target_refuses(tmp_path: Path) -> None:
    filestore.open(tmp_path / "b").close()
    with (
        filestore.open("memory:") as source,
        filestore.open(tmp_path / "b", readonly=True) as target,
    ):
        source["volumes"]["v1"] = {"size": 1}
        with pytest.raises(ReadOnly):
            migrate(source, target)
