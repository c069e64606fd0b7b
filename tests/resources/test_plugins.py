"""The contract over every plugin, and what those that keep a store promise besides."""

from __future__ import annotations

import contextlib
import queue
import stat
from typing import TYPE_CHECKING, Any

import pytest

import filestore as cl
from filestore import exception
from filestore.persistence import MemoryPersistence
from tests.contract.persistence import PersistenceContract, SoftDeletes, StoreContract, reread
from tests.resources.third_party import JsonPersistence

if TYPE_CHECKING:
    from pathlib import Path


class TestMemory(StoreContract):
    def config(self, where: Path) -> dict[str, Any]:
        return {"storage": "memory"}


class TestMemorySoftDeletes(SoftDeletes, StoreContract):
    def config(self, where: Path) -> dict[str, Any]:
        return {"storage": "memory", "soft_deletes": True}


class TestJsonFiles(StoreContract):
    def config(self, where: Path) -> dict[str, Any]:
        return {"storage": "file", "path": where / "state", "durability": "off"}

    def test_only_the_owner_reads_by_default(self, plugin, connection, tmp_path):
        modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "state").rglob("*.json")}
        assert modes == {0o600}

    def test_a_file_that_cannot_be_read_hides_no_other(self, plugin, volume, snapshot, tmp_path):
        other = cl.Volume(volume.backend, size=1, name="other")
        other.save()
        (tmp_path / "state" / "snapshots" / f"{snapshot.id}.json").write_text("<<<<<<< HEAD")
        with pytest.raises(cl.Corrupt):
            reread(volume).delete()
        with pytest.raises(cl.Corrupt):
            plugin.get_snapshots()
        assert reread(other).name == "other"

    def test_what_is_kept_is_there_when_it_is_opened_again(self, plugin, volume, tmp_path):
        cl.Backend.global_teardown()
        cl.setup(persistence_config=self.config(tmp_path))
        assert [each.name for each in cl.Backend(volume_backend_name="lvm").volumes] == ["disk"]


class TestYamlFiles(StoreContract):
    def config(self, where: Path) -> dict[str, Any]:
        return {"storage": "file", "path": where / "state", "codec": "yaml", "durability": "off"}


class TestYamlSoftDeletes(SoftDeletes, TestYamlFiles):
    def config(self, where: Path) -> dict[str, Any]:
        return {**super().config(where), "soft_deletes": True}


class TestSqlite(StoreContract):
    def config(self, where: Path) -> dict[str, Any]:
        return {
            "storage": "db",
            "connection": f"sqlite:///{where}/cl.sqlite",
            "sqlite_synchronous": False,  # what full durability costs is not tested here
        }

    def test_what_is_kept_is_there_when_it_is_opened_again(self, plugin, volume, tmp_path):
        cl.Backend.global_teardown()
        cl.setup(persistence_config=self.config(tmp_path))
        assert [each.name for each in cl.Backend(volume_backend_name="lvm").volumes] == ["disk"]

    def test_changes_are_told_as_of_files(self, plugin, volume):
        told: queue.Queue[str] = queue.Queue()
        before = plugin.store.revision
        with contextlib.closing(plugin.store.watch(lambda change: told.put(change.key.id))):
            volume.size = 5
            volume.save()
            assert told.get(timeout=60) == volume.id
        (change,) = plugin.store.changes(since=before)
        assert [each.field for each in change.diff] == ["size"]


class TestSqliteSoftDeletes(SoftDeletes, StoreContract):
    def config(self, where: Path) -> dict[str, Any]:
        return {
            "storage": "db",
            "connection": f"sqlite:///{where}/cl.sqlite",
            "sqlite_synchronous": False,
            "soft_deletes": True,
        }


class TestMemoryDb(StoreContract):
    def config(self, where: Path) -> dict[str, Any]:
        return {"storage": "memory_db"}


class TestClass(StoreContract):
    """A class that inherits from a plugin of ours."""

    class Mine(MemoryPersistence):
        pass

    def config(self, where: Path) -> dict[str, Any]:
        return {"storage": self.Mine}


class TestThirdParty(PersistenceContract):
    def config(self, where: Path) -> dict[str, Any]:
        return {"storage": JsonPersistence, "location": "here"}

    def test_resources_of_a_backend_that_is_not_loaded_are_listed(self, plugin, volume):
        """Of a plugin that loads what ``to_jsons`` gave it, ``fail_on_missing_backend`` tells."""
        cl.Backend.global_teardown()
        cl.setup(persistence_config={"storage": plugin}, fail_on_missing_backend=False)
        assert [each.backend for each in plugin.get_volumes()] == ["lvm"]
        cl.Backend.global_teardown()
        cl.setup(persistence_config={"storage": plugin})
        with pytest.raises(exception.BackendNotFound):
            plugin.get_volumes()
