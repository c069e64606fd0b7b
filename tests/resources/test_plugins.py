"""The contract over every plugin, and what those that keep a store promise besides."""

from __future__ import annotations

import contextlib
import datetime as dt
import queue
import stat
from typing import TYPE_CHECKING, Any

import pytest

import filestore as cl
from filestore import exception
from filestore.persistence import MemoryPersistence
from tests.contract.persistence import PersistenceContract, fields, reread
from tests.resources.third_party import JsonPersistence

if TYPE_CHECKING:
    from pathlib import Path


def document(resource: Any) -> dict[str, Any]:
    """The document of a resource."""
    return resource.persistence.store[resource.collection][resource.id]


class StoreContract(PersistenceContract):
    """What plugins that keep a store promise besides."""

    def test_a_volume_holds_no_children(self, plugin, volume, snapshot, connection):
        volume.refresh()
        assert volume.snapshots
        assert volume.connections
        volume.save()
        assert not {"snapshots", "volume_attachment"} & document(volume).keys()
        assert "volume" not in document(snapshot)
        assert "volume" not in document(connection)

    def test_a_document_has_only_what_is_not_implied(self, plugin, typed, snapshot):
        assert document(typed)["volume_type"] == {
            "extra_specs": {"thin": "true"},
            "qos_specs": {"consumer": "back-end", "specs": {"iops": "100"}},
        }
        assert None not in document(typed).values()
        assert document(snapshot)["backend"] == "lvm"
        assert "progress" not in document(snapshot)

    def test_two_holders_do_not_undo_each_others_fields(self, plugin, volume):
        mine, theirs = reread(volume), reread(volume)
        mine.display_name = "mine"
        theirs.size = 7
        mine.metadata["mine"] = "x"
        theirs.metadata["theirs"] = "y"
        del theirs.metadata["a"]
        mine.save()
        theirs.save()
        found = reread(volume)
        assert (found.name, found.size) == ("mine", 7)
        assert found.metadata == {"b": "2", "mine": "x", "theirs": "y"}

    def test_a_load_that_fails_stores_nothing(self, plugin, volume, snapshot):
        dump = cl.dump()
        plugin.delete_snapshot(snapshot)
        plugin.delete_volume(volume)
        set_snapshot = plugin.set_snapshot

        def fail(resource: Any) -> None:
            set_snapshot(resource)
            raise RuntimeError("no space")

        plugin.set_snapshot = fail
        with pytest.raises(RuntimeError, match="no space"):
            cl.load(dump, save=True)
        assert plugin.get_volumes() == plugin.get_snapshots() == []

    def test_metadata_that_was_assigned_replaces_what_was_there(self, plugin, volume):
        mine, theirs = reread(volume), reread(volume)
        theirs.metadata["theirs"] = "y"
        theirs.save()
        mine.metadata = {"only": "this"}
        mine.save()
        assert reread(volume).metadata == {"only": "this"}

    def test_a_field_set_to_the_value_it_had_is_written(self, plugin, volume):
        mine, theirs = reread(volume), reread(volume)
        theirs.status = "error"
        theirs.save()
        mine.status = "creating"
        mine.save()
        assert reread(volume).status == "creating"

    def test_a_mangled_document_is_written_whole_when_nothing_changed(self, plugin, volume):
        holder = reread(volume)
        plugin.store["volumes"][volume.id] = {"id": volume.id, "display_name": "mangled"}
        holder.save()
        assert fields(reread(volume)) == fields(volume)

    def test_unknown_fields_of_a_document_are_kept(self, plugin, volume):
        plugin.store["volumes"].patch(volume.id, {"note": "ask Ann before deleting"})
        holder = reread(volume)
        holder.size = 3
        holder.save()
        holder.save()
        assert document(volume)["note"] == "ask Ann before deleting"

    def test_a_set_that_changes_nothing_makes_no_revision(self, plugin, volume, typed):
        revision = plugin.store.revision
        for resource in (volume, typed):
            reread(resource).save()
            resource.save()
        assert plugin.store.revision == revision

    def test_a_load_is_one_revision(self, plugin, volume, snapshot, connection):
        dump = cl.dump()
        for each in plugin.store.collections():
            plugin.store[each].clear()
        revision = plugin.store.revision
        cl.load(dump, save=True)
        assert plugin.store.revision == revision + 1
        assert plugin.store.collections() == ["connections", "snapshots", "volumes"]

    def test_the_tracker_is_not_reset_when_the_write_fails(self, plugin, volume):
        volume.size = 2
        volume.display_name = "\ud800"  # no bytes can hold a lone surrogate
        with pytest.raises(cl.InvalidDocument):
            plugin.set_volume(volume)
        assert volume.obj_what_changed() == {"size", "display_name"}
        assert reread(volume).size == 1

    def test_the_resource_is_not_marked_when_the_delete_fails(self, plugin, volume):
        plugin.store.close()
        with pytest.raises(cl.Closed):
            plugin.delete_volume(volume)
        assert volume.deleted is False

    def test_metadata_values_are_texts(self, plugin, volume):
        volume.metadata["n"] = 2
        volume.save()
        assert document(volume)["metadata"]["n"] == "2"
        volume.metadata["n"] = {}
        with pytest.raises(cl.InvalidDocument, match="metadata"):
            volume.save()

    def test_a_value_that_json_has_not_is_refused(self, plugin):
        with pytest.raises(cl.InvalidDocument):
            plugin.set_key_value(cl.KeyValue("k", {1: "a"}))
        with pytest.raises(TypeError, match="key"):
            plugin.set_key_value(cl.KeyValue(None, 1))
        assert plugin.get_key_values() == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"size": "large"},
            {"size": {}},
            {"bootable": "no"},
            {"created_at": "yesterday"},
            {"metadata": ["a"]},
            {"metadata": {"a": {}}},
            {"attach_status": "glued"},
            {"display_name": []},
            {"volume_type": "gold"},
            {"volume_type": {"qos_specs": ["iops"]}},
            {"volume_type": {"extra_specs": {"a": []}}},
        ],
    )
    def test_values_that_a_field_cannot_have_are_refused(self, plugin, volume, wrong):
        plugin.store["volumes"].patch(volume.id, wrong)
        (name,) = wrong
        with pytest.raises(cl.Corrupt, match=rf"volumes/{volume.id}: the field '{name}"):
            plugin.get_volumes(volume.id)
        with pytest.raises(cl.Corrupt):
            plugin.get_volumes()

    def test_an_error_about_a_secret_does_not_tell_it(self, plugin, volume):
        plugin.store["volumes"].patch(volume.id, {"provider_auth": ["CHAP not-a-secret"]})
        with pytest.raises(cl.Corrupt) as caught:
            plugin.get_volumes()
        assert "not-a-secret" not in str(caught.value)

    def test_the_documents_name_is_the_id(self, plugin, volume):
        plugin.store["volumes"]["copy"] = document(volume)
        assert plugin.get_volumes("copy")[0].id == "copy"

    def test_sets_inside_a_transaction_are_one_commit(self, plugin, volume):
        before = plugin.store.revision
        with plugin.store.transaction(message="nightly"):
            volume.metadata["backup"] = "running"
            volume.save()
            plugin.set_key_value(cl.KeyValue("last", 1))
        assert [(c.key.collection, c.revision) for c in plugin.store.changes(before)] == [
            ("volumes", before + 1),
            ("key_values", before + 1),
        ]


class SoftDeletes:
    """What plugins promise with ``soft_deletes``: mixed in."""

    def test_the_resource_stays_and_is_hidden(self, plugin, volume, snapshot, connection):
        plugin.delete_snapshot(snapshot)
        plugin.delete_connection(connection)
        plugin.delete_volume(volume)
        assert plugin.get_volumes() == plugin.get_volumes(volume.id) == []
        assert plugin.get_volumes(volume_name="disk") == []
        assert plugin.get_snapshots() == plugin.get_snapshots(snapshot.id) == []
        assert plugin.get_connections() == plugin.get_connections(connection.id) == []
        for resource in (volume, snapshot, connection):
            kept = document(resource)
            assert kept["deleted"] is True
            assert dt.datetime.fromisoformat(kept["deleted_at"]) == resource.deleted_at
        assert document(volume)["status"] == document(snapshot)["status"] == "deleted"
        assert document(volume)["display_name"] == "disk"

    def test_the_first_delete_counts(self, plugin, volume):
        plugin.delete_volume(volume)
        kept = document(volume)
        plugin.delete_volume(volume)
        assert document(volume) == kept

    def test_deleting_what_was_never_there_leaves_nothing(self, plugin, backend):
        plugin.delete_volume(cl.Volume(backend, size=1))
        assert plugin.store.collections() == []

    def test_a_set_after_a_delete_shows_the_volume_again(self, plugin, volume):
        plugin.delete_volume(volume)
        volume.status = "error_deleting"
        volume.save()
        assert reread(volume).status == "error_deleting"
        assert reread(volume).deleted is False

    def test_key_values_are_deleted_all_the_same(self, plugin):
        plugin.set_key_value(cl.KeyValue("k", "v"))
        plugin.delete_key_value(cl.KeyValue("k"))
        assert plugin.store.collections() == []


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
