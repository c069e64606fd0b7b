"""What every persistence plugin keeps to, without Cinder: subclass :class:`PersistenceContract`.

:class:`StoreContract` is for plugins that keep a store; :class:`SoftDeletes` is mixed in.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

import filestore as cl
from filestore import exception
from filestore.persistence import DB, PersistenceDriverBase, dumping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CHAP = {
    "driver_volume_type": "iscsi",
    "data": {"auth_method": "CHAP", "auth_password": "not-a-secret", "target_lun": 1},
}


def fields(resource: Any) -> dict[str, Any]:
    """All values of a resource but the other resources in it."""
    return {name: getattr(resource, name) for name in resource.fields}


def reread(resource: Any) -> Any:
    """What the plugin has of a resource now, as another holder of it."""
    return type(resource).get_by_id(resource.id)


def ids(resources: Any) -> set[str]:
    return {each.id for each in resources}


def data(primitive: dict[str, Any]) -> dict[str, Any]:
    """The fields of a versioned object."""
    fields: dict[str, Any] = primitive["versioned_object.data"]
    return fields


def normal(dump: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A dump in one order."""
    for backend in dump:
        backend["volumes"].sort(key=lambda each: data(each["ovo"])["id"])
        for volume in backend["volumes"]:
            for name in ("snapshots", "volume_attachment"):
                data(data(volume["ovo"])[name])["objects"].sort(key=lambda each: data(each)["id"])
    return dump


def spoil(value: Any) -> None:
    """Change everything in it that can be changed."""
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            spoil(each)
    if isinstance(value, dict):
        value["spoilt"] = True
    value.clear()


class PersistenceContract:
    """Subclass, and say which configuration to test."""

    def config(self, where: Path) -> dict[str, Any]:
        """A ``persistence_config``; ``where`` is a folder that it may use or ignore."""
        raise NotImplementedError

    @pytest.fixture
    def plugin(self, tmp_path: Path) -> Iterator[PersistenceDriverBase]:
        cl.setup(persistence_config=self.config(tmp_path))
        yield cl.Backend.persistence
        cl.Backend.global_teardown()

    @pytest.fixture
    def backend(self, plugin: PersistenceDriverBase) -> cl.Backend:
        return cl.Backend(volume_backend_name="lvm")

    @pytest.fixture
    def volume(self, backend: cl.Backend) -> cl.Volume:
        volume = cl.Volume(backend, size=1, name="disk", metadata={"a": "1", "b": "2"})
        volume.save()
        return volume

    @pytest.fixture
    def typed(self, backend: cl.Backend) -> cl.Volume:
        volume = cl.Volume(backend, size=1, extra_specs={"thin": "true"}, qos_specs={"iops": "100"})
        volume.save()
        return volume

    @pytest.fixture
    def snapshot(self, volume: cl.Volume) -> cl.Snapshot:
        snapshot = cl.Snapshot(volume, name="before-upgrade", metadata={"a": "1"})
        snapshot.save()
        return snapshot

    @pytest.fixture
    def connection(self, volume: cl.Volume) -> cl.Connection:
        connection = cl.Connection(
            volume.backend,
            volume=volume,
            connector={"host": "node1"},
            connection_info={
                "conn": {**CHAP, "data": {**CHAP["data"]}},  # type: ignore[dict-item]
                "connector": {"host": "node1"},
            },
        )
        connection.save()
        return connection

    # Reading

    def test_the_plugin_is_the_one_that_was_asked_for(self, plugin):
        assert isinstance(plugin, PersistenceDriverBase)
        assert cl.Volume.persistence is cl.Backend.persistence is plugin

    def test_what_is_not_found_is_an_empty_list(self, plugin, snapshot, connection):
        assert plugin.get_volumes(volume_id="nope") == []
        assert plugin.get_volumes(volume_name="nope") == []
        assert plugin.get_volumes(backend_name="nope") == []
        assert plugin.get_snapshots(snapshot_id="nope") == []
        assert plugin.get_snapshots(snapshot_name="nope") == []
        assert plugin.get_snapshots(volume_id="nope") == []
        assert plugin.get_connections(connection_id="nope") == []
        assert plugin.get_connections(volume_id="nope") == []
        assert plugin.get_key_values("nope") == []

    def test_getting_what_is_not_there_by_its_id_raises(self, plugin):
        with pytest.raises(exception.VolumeNotFound):
            cl.Volume.get_by_id("nope")
        with pytest.raises(exception.SnapshotNotFound):
            cl.Snapshot.get_by_id("nope")
        with pytest.raises(exception.ConnectionNotFound, match="id=nope"):
            cl.Connection.get_by_id("nope")
        assert cl.Volume.get_by_name("nope") == []
        assert cl.Snapshot.get_by_name("nope") == []

    def test_filters_are_anded(self, plugin, volume, snapshot, connection):
        other = cl.Volume(volume.backend, size=1, name="other")
        other.save()
        assert plugin.get_volumes(volume_id=volume.id, volume_name="other") == []
        assert plugin.get_volumes(volume_name="disk", backend_name="other") == []
        assert ids(plugin.get_volumes(volume.id, "disk", "lvm")) == {volume.id}
        assert plugin.get_snapshots(snapshot_name="before-upgrade", volume_id=other.id) == []
        assert plugin.get_snapshots(snapshot_id=snapshot.id, volume_id=other.id) == []
        assert plugin.get_connections(connection_id=connection.id, volume_id=other.id) == []

    @pytest.mark.parametrize("empty", ["", None])
    def test_an_empty_filter_is_no_filter(self, plugin, snapshot, connection, empty):
        plugin.set_key_value(cl.KeyValue("k", "v"))
        assert len(plugin.get_volumes(empty, empty, empty)) == 1
        assert len(plugin.get_snapshots(empty, empty, empty)) == 1
        assert len(plugin.get_connections(empty, empty)) == 1
        assert len(plugin.get_key_values(empty)) == 1

    def test_results_are_lists(self, plugin, snapshot, connection):
        assert type(plugin.get_volumes()) is list
        assert type(plugin.get_snapshots()) is list
        assert type(plugin.get_connections()) is list
        assert type(plugin.get_key_values()) is list

    def test_several_of_one_name_are_all_found(self, plugin, backend):
        made = [cl.Volume(backend, size=size, name="disk") for size in (1, 2)]
        for volume in made:
            volume.save()
        assert ids(cl.Volume.get_by_name("disk")) == ids(made)

    def test_the_backend_name_is_compared_exactly(self, plugin):
        for name in ("lvm_1", "lvmx1", "lvm_", "xlvm_1"):
            cl.Volume(cl.Backend(volume_backend_name=name), size=1, name=name).save()
        assert [v.name for v in plugin.get_volumes(backend_name="lvm_1")] == ["lvm_1"]

    @pytest.mark.parametrize("host", ["node@lvm#pool", "node@lvm", "a@b@lvm#p", "lvm"])
    def test_the_backend_name_is_what_the_host_has_between_at_and_hash(self, plugin, backend, host):
        cl.Volume(backend, size=1, host=host).save()
        assert len(plugin.get_volumes(backend_name="lvm")) == 1

    def test_each_get_returns_objects_of_its_own(self, plugin, volume, snapshot, connection):
        plugin.set_key_value(cl.KeyValue("k", {"a": 1}))
        for get in (plugin.get_volumes, plugin.get_snapshots, plugin.get_connections):
            first, second = get()[0], get()[0]
            assert first is not second
            assert first._ovo is not second._ovo
        plugin.get_volumes()[0].metadata["a"] = "changed"
        plugin.get_key_values("k")[0].value["a"] = "changed"
        plugin.get_connections()[0].connection_info["conn"] = "changed"
        assert plugin.get_volumes()[0].metadata["a"] == "1"
        assert plugin.get_key_values("k")[0].value == {"a": 1}
        assert plugin.get_connections()[0].conn_info["data"]["target_lun"] == 1

    def test_what_is_set_later_does_not_change_what_was_stored(self, plugin, volume):
        volume.display_name = "not saved"
        volume.metadata["c"] = "not saved"
        assert reread(volume).name == "disk"
        assert reread(volume).metadata == {"a": "1", "b": "2"}

    def test_refresh_takes_what_is_stored_and_leaves_it_there(self, plugin, volume, snapshot):
        volume.display_name = "not saved"
        volume.refresh()
        assert volume.name == "disk"
        assert reread(volume).name == "disk"
        snapshot.refresh()
        assert reread(snapshot).name == "before-upgrade"

    def test_nothing_of_a_loaded_resource_is_marked_as_changed(
        self, plugin, volume, typed, snapshot, connection
    ):
        for resource in (volume, typed, snapshot, connection):
            assert plugin.get_changed_fields(reread(resource)) == {}
            assert plugin.get_changed_fields(resource) == {}

    def test_what_is_read_is_what_was_written(self, plugin, volume, snapshot, connection):
        for resource in (volume, snapshot, connection):
            assert fields(reread(resource)) == fields(resource)

    def test_a_dump_of_what_is_read_is_the_dump_of_what_was_written(
        self, plugin, volume, typed, snapshot, connection
    ):
        for resource in (volume, typed, snapshot, connection):
            assert reread(resource).to_json() == resource.to_json()

    def test_times_keep_their_microseconds(self, plugin, volume):
        when = dt.datetime(2026, 3, 1, 8, 15, 30, 123456, tzinfo=dt.UTC)
        volume.launched_at = when
        volume.save()
        assert reread(volume).launched_at == when

    # Children

    def test_children_are_loaded_when_they_are_asked_for(self, plugin, volume):
        holder = reread(volume)
        snapshot = cl.Snapshot(volume, name="later")
        snapshot.save()
        assert ids(holder.snapshots) == {snapshot.id}
        assert holder.snapshots[0].volume is holder
        assert holder.connections == []

    def test_children_that_were_loaded_stay_until_a_refresh(self, plugin, volume, snapshot):
        holder = reread(volume)
        assert len(holder.snapshots) == 1
        cl.Snapshot(volume, name="another").save()
        assert len(holder.snapshots) == 1
        holder.refresh()
        assert len(holder.snapshots) == 2
        assert all(each.volume is holder for each in holder.snapshots)

    def test_a_child_loads_its_volume(self, plugin, volume, snapshot, connection):
        assert reread(snapshot).volume.id == volume.id
        assert reread(connection).volume.id == volume.id
        assert reread(connection).backend is volume.backend

    def test_a_volume_is_not_deleted_while_it_has_snapshots(self, plugin, volume, snapshot):
        with pytest.raises(exception.InvalidVolume, match="with snapshots"):
            reread(volume).delete()
        assert reread(volume).status == "creating"

    def test_a_stored_volume_has_no_children_in_it(self, plugin, volume, snapshot, connection):
        volume.refresh()
        assert volume.dump["ovo"]["versioned_object.data"]["snapshots"]
        volume.save()
        holder = reread(volume)
        assert "snapshots" not in holder.json["ovo"]["versioned_object.data"]
        snapshot.delete()
        assert holder.snapshots == []

    # Writing

    def test_a_set_is_an_upsert(self, plugin, volume):
        plugin.set_volume(volume)
        plugin.set_volume(volume)
        assert len(plugin.get_volumes()) == 1

    def test_the_tracker_is_reset_after_the_write(self, plugin, volume):
        volume.size = 2
        assert plugin.get_changed_fields(volume) == {"size": 2}
        plugin.set_volume(volume)
        assert plugin.get_changed_fields(volume) == {}

    @pytest.mark.parametrize("name", ["metadata", "admin_metadata", "glance_metadata"])
    def test_metadata_changed_in_place_is_written(self, plugin, volume, name):
        getattr(volume, name)["new"] = "x"
        assert name in plugin.get_changed_fields(volume)
        volume.save()
        assert getattr(reread(volume), name)["new"] == "x"

    def test_connection_information_changed_in_place_is_written(self, plugin, connection):
        holder = reread(connection)
        holder.attached_host = "node2"
        holder.connection_info["conn"]["data"]["target_lun"] = 9
        assert set(plugin.get_changed_fields(holder)) == {"attached_host", "connection_info"}
        holder.save()
        assert reread(connection).conn_info["data"]["target_lun"] == 9

    def test_connection_information_may_hold_what_drivers_put_there(self, plugin, volume):
        connection = cl.Connection(
            volume=volume,
            connection_info={"conn": {"data": {"luns": (1, 2), "none": None, "b": b"raw", 3: 4}}},
        )
        connection.save()
        data = reread(connection).conn_info["data"]
        assert data == {"luns": [1, 2], "none": None, "b": "raw", "3": 4, "access_mode": "rw"}
        assert plugin.get_changed_fields(connection) == {}

    def test_a_field_set_to_none_is_none_when_read(self, plugin, volume):
        volume.display_name = None
        volume.save()
        assert reread(volume).name is None

    def test_everything_is_written_when_nothing_changed(self, plugin, volume):
        holder = reread(volume)
        plugin.delete_volume(reread(volume))
        assert plugin.get_volumes() == []
        holder.save()
        assert fields(reread(volume)) == fields(volume)

    # Deleting

    def test_the_resource_is_marked_after_the_delete(self, plugin, volume, snapshot, connection):
        plugin.delete_snapshot(snapshot)
        plugin.delete_connection(connection)
        plugin.delete_volume(volume)
        for resource in (volume, snapshot, connection):
            assert resource.deleted is True
            assert resource.deleted_at.tzinfo is not None
            assert plugin.get_changed_fields(resource) == {}
        assert volume.status == snapshot.status == "deleted"
        assert plugin.get_volumes() == plugin.get_snapshots() == plugin.get_connections() == []

    def test_deleting_what_is_not_there_is_silent(self, plugin, volume):
        plugin.delete_volume(volume)
        plugin.delete_volume(volume)
        plugin.delete_key_value(cl.KeyValue("never there"))

    def test_a_set_after_a_delete_brings_the_volume_back_whole(self, plugin, volume):
        before = fields(volume)
        plugin.delete_volume(volume)
        volume.status = "error_deleting"
        volume.save()
        assert fields(reread(volume)) == {**before, "status": "error_deleting"}

    # Volume types

    def test_a_volume_type_is_named_after_its_volume(self, plugin, typed):
        found = reread(typed).volume_type
        assert found.id == found.name == typed.id == reread(typed).volume_type_id
        assert found.is_public is True
        assert found.extra_specs == {"thin": "true"}
        assert found.qos_specs_id == found.qos_specs.id == found.qos_specs.name == typed.id
        assert found.qos_specs.consumer == "back-end"
        assert found.qos_specs.specs == {"iops": "100"}

    def test_specs_changed_in_place_are_written(self, plugin, typed):
        holder = reread(typed)
        holder.volume_type.extra_specs["thin"] = "false"
        holder.volume_type.qos_specs.specs["iops"] = "200"
        assert plugin.get_changed_fields(holder) == {
            "extra_specs": {"thin": "false"},
            "qos_specs": {"iops": "200"},
        }
        holder.size = 2
        holder.save()
        assert plugin.get_changed_fields(holder) == {}
        assert reread(typed).volume_type.extra_specs == {"thin": "false"}
        assert reread(typed).volume_type.qos_specs.specs == {"iops": "200"}

    def test_all_fields_have_the_specs(self, plugin, typed, volume):
        found = plugin.get_fields(reread(typed))
        assert found["extra_specs"] == {"thin": "true"}
        assert found["qos_specs"] == {"iops": "100"}
        assert set(plugin.get_fields(volume)) == set(volume.fields)

    def test_a_volume_without_type_has_none(self, plugin, volume):
        assert reread(volume).volume_type is None

    # Snapshots and connections

    def test_the_backend_is_kept_apart_from_the_progress(self, plugin, backend, snapshot):
        assert reread(snapshot).progress == "lvm"
        snapshot.progress = "100%"
        snapshot.save()
        assert reread(snapshot).backend is backend
        assert reread(snapshot).progress == "100%"

    @pytest.mark.parametrize("info", [None, {}, {"connector": {"host": "node1"}}])
    def test_a_connection_without_information_is_loaded(self, plugin, connection, info):
        connection.connection_info = info
        connection.save()
        loaded = reread(connection)
        assert loaded.connection_info == info
        assert loaded.use_multipath is False
        assert loaded.connected is loaded.attached is False
        assert plugin.get_changed_fields(loaded) == {}

    def test_a_device_comes_and_goes(self, plugin, connection):
        connection.device_attached({"path": "/dev/sdx", "type": "block"})
        assert reread(connection).path == "/dev/sdx"
        assert reread(connection).attached
        connection.device = None
        connection.save()
        assert not reread(connection).attached
        assert reread(connection).path is None

    # Key-values

    @pytest.mark.parametrize(
        "value",
        ["text", "", None, 0, 7, -1.5, True, [], [1, [None]], {}, {"a": {"b": None}}, "null", "7"],
    )
    def test_a_value_comes_back_as_itself(self, plugin, value):
        plugin.set_key_value(cl.KeyValue("k", value))
        (found,) = plugin.get_key_values("k")
        assert type(found) is cl.KeyValue
        assert (found.key, found.value) == ("k", value)
        assert type(found.value) is type(value)

    def test_a_value_is_replaced_whole(self, plugin):
        plugin.set_key_value(cl.KeyValue("k", {"a": 1, "b": 2}))
        plugin.set_key_value(cl.KeyValue("k", {"b": 3}))
        assert plugin.get_key_values("k")[0].value == {"b": 3}

    def test_a_key_value_that_cannot_be_hashed_is_no_obstacle(self, plugin):
        kv = cl.KeyValue("k", "v")
        with pytest.raises(TypeError, match="unhashable"):
            hash(kv)
        plugin.set_key_value(kv)
        plugin.set_key_value(kv)
        assert plugin.get_key_values() == [kv]

    def test_key_values_are_deleted_by_their_object(self, plugin):
        for key in ("a", "b"):
            plugin.set_key_value(cl.KeyValue(key, key))
        assert sorted(kv.key for kv in plugin.get_key_values()) == ["a", "b"]
        plugin.delete_key_value(cl.KeyValue("a"))
        assert [kv.key for kv in plugin.get_key_values()] == ["b"]

    # Backends that are not loaded, and ids

    @pytest.mark.parametrize("fail", [True, False])
    def test_resources_of_a_backend_that_is_not_loaded_are_listed(  # noqa: PLR0917
        self, plugin, volume, snapshot, connection, fail, monkeypatch
    ):
        monkeypatch.setattr("filestore.resources.scope.Scope.fail_on_missing_backend", fail)
        cl.Backend.backends.clear()
        assert [each.backend for each in plugin.get_volumes()] == ["lvm"]
        assert [each.backend for each in plugin.get_snapshots()] == ["lvm"]
        assert [each.backend for each in plugin.get_connections()] == ["lvm"]
        held = plugin.get_volumes(backend_name="lvm")[0]
        assert held.json["backend"] == {"volume_backend_name": "lvm"}
        held.size = 2
        held.save()
        assert reread(volume).size == 2
        with pytest.raises(exception.BackendNotFound):
            held.extend(3)

    @pytest.mark.parametrize("id", ["a/b", "../up", "é", "CON", "x" * 300])
    def test_any_text_is_an_id(self, plugin, backend, id):
        volume = cl.Volume(backend, size=1, id=id)
        volume.save()
        cl.Snapshot(volume, id=id).save()
        plugin.set_key_value(cl.KeyValue(id, 1))
        assert reread(volume).id == id
        assert plugin.get_snapshots(volume_id=id)[0].id == id
        assert plugin.get_key_values(id)[0].key == id
        plugin.delete_volume(volume)
        assert plugin.get_volumes() == []

    # The database

    def test_the_database_finds_what_is_stored(self, plugin, typed, snapshot):
        db = plugin.db
        assert isinstance(db, DB)
        assert db.persistence is plugin
        assert db.volume_get(None, typed.id).id == typed.id
        assert db.volume_get(None, typed.id).name == f"volume-{typed.id}"
        assert db.snapshot_get(None, snapshot.id)["volume_id"] == snapshot.volume_id
        assert db.volume_type_get(None, typed.id)["extra_specs"] == {"thin": "true"}
        assert db.volume_type_get(None, typed.id)["qos_specs"]["specs"] == {"iops": "100"}
        assert db.get_volume_type(None, typed.id) == db.volume_type_get(None, typed.id)
        assert db._volume_type_get_by_name(None, typed.id) == db.volume_type_get(None, typed.id)
        assert db.qos_specs_get(None, typed.id)["specs"] == {"iops": "100"}
        assert db.volume_type_get(None, snapshot.volume_id) is None
        assert db.qos_specs_get(None, snapshot.volume_id) is None
        assert db.image_volume_cache_get_by_volume_id(None, typed.id) is None
        assert db.get_by_id(None, cl.Volume, typed.id).id == typed.id
        assert db.get_by_id(None, "Snapshot", snapshot.id).id == snapshot.id
        assert ids(db.volume_get_all_by_host(None, "any@lvm#p")) == {typed.id, snapshot.volume_id}

    def test_the_database_says_what_is_not_there(self, plugin):
        with pytest.raises(exception.VolumeNotFound):
            plugin.db.volume_get(None, "nope")
        with pytest.raises(exception.SnapshotNotFound):
            plugin.db.snapshot_get(None, "nope")
        with pytest.raises(exception.VolumeNotFound):
            plugin.db.volume_type_get(None, "nope")
        with pytest.raises(ValueError, match="Backup"):
            plugin.db.get_by_id(None, "Backup", "nope")

    def test_admin_metadata_is_updated_by_drivers(self, plugin, volume):
        db = plugin.db
        assert db.volume_admin_metadata_update(None, volume.id, {"a": "1"}, False) == {"a": "1"}
        db._volume_admin_metadata_update(None, volume.id, {"b": "2"}, delete=False)
        assert db.volume_admin_metadata_get(None, volume.id) == {"a": "1", "b": "2"}
        db.volume_admin_metadata_update(None, volume.id, {"a": "x", "c": "x"}, False, add=False)
        assert reread(volume).admin_metadata == {"a": "x", "b": "2"}
        db.volume_admin_metadata_update(None, volume.id, {"a": "y", "c": "y"}, False, update=False)
        assert reread(volume).admin_metadata == {"a": "x", "b": "2", "c": "y"}
        db.volume_admin_metadata_delete(None, volume.id, "a")
        db.volume_admin_metadata_update(None, volume.id, {"b": "2"}, True)
        assert reread(volume).admin_metadata == {"b": "2"}

    def test_admin_metadata_updated_at_once_loses_nothing(self, plugin, volume):
        def update(number: int) -> None:
            for turn in range(5):
                plugin.db.volume_admin_metadata_update(
                    None, volume.id, {f"{number}-{turn}": "x"}, False
                )

        threads = [threading.Thread(target=update, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reread(volume).admin_metadata) == 20

    # Dumps

    def test_a_dump_is_loaded_and_saved_whole(self, plugin, volume, typed, snapshot, connection):
        before = {each.id: each.to_json() for each in (volume, typed, snapshot, connection)}
        dump = cl.dump()
        for resource in (snapshot, connection, volume, typed):
            getattr(plugin, f"delete_{type(resource).__name__.lower()}")(resource)
        assert plugin.get_volumes() == []
        (backend,) = cl.load(dump, save=True)
        assert backend is cl.Backend.backends["lvm"]
        assert {
            each.id: reread(each).to_json() for each in (volume, typed, snapshot, connection)
        } == before
        cl.load(dump, save=True)
        assert len(plugin.get_volumes()) == 2
        assert len(plugin.get_snapshots()) == len(plugin.get_connections()) == 1

    def test_every_dump_is_the_same(self, backend, volume, typed, snapshot, connection):
        other = cl.Backend(volume_backend_name="ssd")
        far = cl.Volume(other, size=2)
        far.save()
        for number in range(3):  # enough for everybody to be read at once
            cl.Snapshot(far, name=f"s{number}").save()
            cl.Snapshot(typed, name=f"s{number}").save()
        first = cl.dump()
        assert [each["backend"]["volume_backend_name"] for each in first] == ["lvm", "ssd"]
        assert normal(json.loads(cl.dumps())) == normal(first)
        assert normal(json.loads(cl.jsons())) == normal(first)  # all of it was loaded by now
        assert normal([backend.dump, other.dump]) == normal(first)
        assert normal([json.loads(backend.dumps), json.loads(other.dumps)]) == normal(first)
        backend.refresh()
        assert ids(backend.volumes) == {volume.id, typed.id}  # and as objects
        assert normal(cl.dump()) == normal(first)
        assert normal(cl.dump()) == normal([each.json for each in (backend, other)])
        (_, loaded) = backend.volumes
        loaded.size = 7  # in this program alone so far
        assert 7 in [data(each["ovo"])["size"] for each in cl.dump()[0]["volumes"]]

    def test_what_a_dump_returns_is_the_callers(self, plugin, volume, typed, snapshot, connection):
        first, second = cl.dump(), cl.dump()
        before = json.dumps(second)
        for each in first[0]["volumes"]:
            spoil(each)
        assert json.dumps(second) == before
        assert json.dumps(cl.dump()) == before

    def test_a_dump_inside_a_block_of_exclusive_has_what_was_written_in_it(self, plugin, volume):
        with plugin.exclusive():
            added = cl.Volume(volume.backend, size=3)
            added.save()
            volume.size = 9
            volume.save()
            (dump,) = cl.dump()
        found = {data(each["ovo"])["id"]: data(each["ovo"])["size"] for each in dump["volumes"]}
        assert found == {added.id: 3, volume.id: 9}

    def test_nothing_is_stored_of_a_dump_that_turns_out_bad(self, plugin, volume, snapshot):
        dump = cl.dumps()
        plugin.delete_snapshot(snapshot)
        plugin.delete_volume(volume)
        for bad in (dump[:-1], f'{dump[:-1]},{{"class":"Nope"}}]'):
            with pytest.raises(cl.FilestoreError):
                cl.load(bad, save=True)
            assert plugin.get_volumes() == plugin.get_snapshots() == []

    def test_loading_without_saving_stores_nothing(self, plugin, volume, snapshot):
        dump = cl.dumps()
        plugin.delete_snapshot(snapshot)
        plugin.delete_volume(volume)
        (backend,) = cl.load(dump)
        assert ids(backend.volumes) == {volume.id}
        assert ids(backend.volumes[0].snapshots) == {snapshot.id}
        assert plugin.get_volumes() == plugin.get_snapshots() == []
        backend.refresh()
        assert backend.volumes == []


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

    def test_a_dump_is_of_one_moment(self, plugin, backend, volume, snapshot, monkeypatch):
        began = dumping._read_children

        def beginning(documents: Mapping[str, dict[str, Any]]) -> dict[str, list[bytes]]:
            plugin.delete_snapshot(snapshot)  # as another program would, between two collections
            return began(documents)

        monkeypatch.setattr(dumping, "_read_children", beginning)
        (dump,) = cl.dump()
        (found,) = dump["volumes"]
        (kept,) = data(data(found["ovo"])["snapshots"])["objects"]
        assert data(kept)["id"] == snapshot.id
        assert plugin.get_snapshots() == []

    def test_what_a_program_has_loaded_is_dumped_without_the_store(
        self, plugin, backend, volume, snapshot
    ):
        (held,) = backend.volumes
        assert held.snapshots
        plugin.close()
        (dump,) = cl.json()
        (found,) = dump["volumes"]
        assert data(data(found["ovo"])["snapshots"])["objects"]
        with pytest.raises(cl.FilestoreError):
            cl.dump()  # its connections were never asked for

    def test_a_dump_with_a_document_that_is_no_volume_is_refused(self, plugin, backend, volume):
        plugin.store["volumes"].patch(volume.id, {"size": "large"})
        with pytest.raises(cl.Corrupt, match="size"):
            cl.dumps()

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

    def test_a_dump_has_nothing_of_what_was_deleted(self, plugin, volume, snapshot, connection):
        plugin.delete_snapshot(snapshot)
        plugin.delete_connection(connection)
        (found,) = cl.dump()[0]["volumes"]
        for name in ("snapshots", "volume_attachment"):
            assert data(data(found["ovo"])[name])["objects"] == []
        plugin.delete_volume(volume)
        assert cl.dump()[0]["volumes"] == []

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
