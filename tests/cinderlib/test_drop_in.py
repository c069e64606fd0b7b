"""What implementers of cinderlib's persistence interface usually miss, one behaviour a test."""

import datetime as dt
import stat
import threading

import cinderlib
import pytest
from cinder import exception as cinder_exception
from cinder import objects as ovos
from cinderlib import exception, objects
from cinderlib.persistence import base as persistence_base
from cinderlib.persistence import setup
from cinderlib.tests.unit import utils
from oslo_versionedobjects import fields as ovo_fields
from stevedore.exception import NoMatches

import filestore
from filestore.integrations.cinderlib import FilestorePersistence
from tests.cinderlib.conftest import persistence_of

CHAP = {
    "driver_volume_type": "iscsi",
    "data": {"auth_method": "CHAP", "auth_password": "not-a-secret", "target_lun": 1},
}


@pytest.fixture
def volume(plugin, backend):
    volume = cinderlib.Volume(backend, size=1, name="disk", metadata={"a": "1", "b": "2"})
    volume.save()
    return volume


@pytest.fixture
def snapshot(volume):
    snapshot = cinderlib.Snapshot(volume, name="before-upgrade", metadata={"a": "1"})
    snapshot.save()
    return snapshot


@pytest.fixture
def connection(volume):
    connection = cinderlib.Connection(
        volume.backend,
        volume=volume,
        connector={"host": "node1"},
        connection_info={"conn": CHAP, "connector": {"host": "node1"}},
    )
    connection.save()
    return connection


def reread(resource):
    """What the store has of a resource now, as another holder of it."""
    return type(resource).get_by_id(resource.id)


def document(resource):
    """The document of a resource."""
    collection = {
        cinderlib.Volume: "volumes",
        cinderlib.Snapshot: "snapshots",
        cinderlib.Connection: "connections",
    }[type(resource)]
    return resource.persistence.store[collection][resource.id]


def fields(resource):
    """All values of a resource but the other resources in it."""
    ovo = resource._ovo
    return {
        name: getattr(ovo, name)
        for name, field in ovo.fields.items()
        if not isinstance(field, ovo_fields.ObjectField) and ovo.obj_attr_is_set(name)
    }


class TestReading:
    def test_what_is_not_found_is_an_empty_list(self, plugin, snapshot, connection):
        assert plugin.get_volumes(volume_id="nope") == []
        assert plugin.get_volumes(volume_name="nope") == []
        assert plugin.get_volumes(backend_name="nope") == []
        assert plugin.get_snapshots(snapshot_id="nope") == []
        assert plugin.get_snapshots(volume_id="nope") == []
        assert plugin.get_connections(connection_id="nope") == []
        assert plugin.get_connections(volume_id="nope") == []
        assert plugin.get_key_values("nope") == []

    def test_filters_are_anded(self, plugin, volume, snapshot, connection):
        other = cinderlib.Volume(volume.backend, size=1, name="other")
        other.save()
        assert plugin.get_volumes(volume_id=volume.id, volume_name="other") == []
        assert plugin.get_volumes(volume_name="disk", backend_name="other") == []
        assert len(plugin.get_volumes(volume.id, "disk", "lvm")) == 1
        assert plugin.get_snapshots(snapshot_name="before-upgrade", volume_id=other.id) == []
        assert plugin.get_snapshots(snapshot_id=snapshot.id, volume_id=other.id) == []
        assert plugin.get_connections(connection_id=connection.id, volume_id=other.id) == []

    @pytest.mark.parametrize("empty", ["", None])
    def test_an_empty_filter_is_no_filter(self, plugin, snapshot, connection, empty):
        plugin.set_key_value(cinderlib.KeyValue("k", "v"))
        assert len(plugin.get_volumes(empty, empty, empty)) == 1
        assert len(plugin.get_snapshots(empty, empty, empty)) == 1
        assert len(plugin.get_connections(empty, empty)) == 1
        assert len(plugin.get_key_values(empty)) == 1

    def test_results_are_lists(self, plugin, snapshot, connection):
        assert type(plugin.get_volumes()) is list
        assert type(plugin.get_snapshots()) is list
        assert type(plugin.get_connections()) is list
        assert type(plugin.get_key_values()) is list

    def test_the_backend_name_is_compared_exactly(self, plugin):
        for name in ("lvm_1", "lvmx1", "lvm_", "xlvm_1"):
            cinderlib.Volume(utils.FakeBackend(volume_backend_name=name), size=1, name=name).save()
        assert [v.name for v in plugin.get_volumes(backend_name="lvm_1")] == ["lvm_1"]

    @pytest.mark.parametrize("host", ["node@lvm#pool", "node@lvm", "a@b@lvm#p", "lvm"])
    def test_the_backend_name_is_what_the_host_has_between_at_and_hash(self, plugin, backend, host):
        cinderlib.Volume(backend, size=1, host=host).save()
        assert len(plugin.get_volumes(backend_name="lvm")) == 1

    def test_each_get_returns_objects_of_its_own(self, plugin, volume, snapshot, connection):
        plugin.set_key_value(cinderlib.KeyValue("k", {"a": 1}))
        for get in (plugin.get_volumes, plugin.get_snapshots, plugin.get_connections):
            first, second = get()[0], get()[0]
            assert first is not second
            assert first._ovo is not second._ovo
        plugin.get_volumes()[0].metadata["a"] = "changed"
        plugin.get_key_values("k")[0].value["a"] = "changed"
        plugin.get_connections()[0].connection_info["conn"] = "changed"
        assert plugin.get_volumes()[0].metadata["a"] == "1"
        assert plugin.get_key_values("k")[0].value == {"a": 1}
        assert plugin.get_connections()[0].conn_info == CHAP | {
            "data": CHAP["data"] | {"access_mode": "rw"}
        }

    def test_refresh_takes_what_is_stored_and_leaves_it_there(self, plugin, volume, snapshot):
        volume._ovo.display_name = "not saved"
        volume.refresh()
        assert volume.name == "disk"
        assert reread(volume).name == "disk"
        snapshot.refresh()
        assert reread(snapshot).name == "before-upgrade"

    def test_nothing_of_a_loaded_resource_is_marked_as_changed(
        self, plugin, volume, snapshot, connection
    ):
        for resource in (volume, snapshot, connection):
            assert plugin.get_changed_fields(reread(resource)) == {}

    def test_what_is_read_is_what_was_written(self, plugin, volume, snapshot, connection):
        for resource in (volume, snapshot, connection):
            assert fields(reread(resource)) == fields(resource)

    def test_a_dump_of_what_is_read_is_the_dump_of_what_was_written(
        self, plugin, volume, snapshot, connection
    ):
        assert reread(volume).to_json() == volume.to_json()
        assert reread(snapshot).to_json() == snapshot.to_json()
        assert reread(connection).to_json() == connection.to_json()

    def test_times_keep_their_microseconds(self, plugin, volume):
        when = dt.datetime(2026, 3, 1, 8, 15, 30, 123456, tzinfo=dt.UTC)
        volume._ovo.launched_at = when
        volume.save()
        assert reread(volume).launched_at == when
        assert document(volume)["launched_at"] == "2026-03-01T08:15:30.123456Z"

    def test_times_of_other_zones_are_kept_as_the_same_moment(self, plugin, volume):
        when = dt.datetime(2026, 3, 1, 8, tzinfo=dt.timezone(dt.timedelta(hours=2), "CEST"))
        volume._ovo.launched_at = when
        volume.save()
        assert reread(volume).launched_at == when
        assert document(volume)["launched_at"] == "2026-03-01T06:00:00.000000Z"


class TestChildren:
    def test_a_volume_holds_no_children(self, plugin, volume, snapshot, connection):
        volume.snapshots.append(snapshot)
        volume._ovo.snapshots.objects.append(snapshot._ovo)
        volume.save()
        assert not {"snapshots", "volume_attachment"} & document(volume).keys()
        assert "volume" not in document(snapshot)
        assert "volume" not in document(connection)

    def test_a_loaded_volume_finds_its_children_when_asked(
        self, plugin, volume, snapshot, connection
    ):
        loaded = reread(volume)
        assert [each.id for each in loaded.snapshots] == [snapshot.id]
        assert [each.id for each in loaded.connections] == [connection.id]
        assert reread(snapshot).volume.id == volume.id
        assert reread(connection).volume.id == volume.id
        assert reread(connection).backend is volume.backend

    def test_a_volume_is_not_deleted_while_it_has_snapshots(self, plugin, volume, snapshot):
        with pytest.raises(exception.InvalidVolume):
            reread(volume).delete()
        volume.backend.driver.delete_volume.assert_not_called()

    def test_drivers_find_a_volumes_attachments(self, plugin, volume, connection):
        attachments = reread(volume)._ovo.volume_attachment
        assert [each.id for each in attachments] == [connection.id]


class TestWriting:
    def test_two_holders_do_not_undo_each_others_fields(self, plugin, volume):
        mine, theirs = reread(volume), reread(volume)
        mine._ovo.display_name = "mine"
        theirs._ovo.size = 7
        mine.save()
        theirs.save()
        assert (reread(volume).name, reread(volume).size) == ("mine", 7)

    def test_two_holders_do_not_undo_each_others_keys_of_the_metadata(self, plugin, volume):
        mine, theirs = reread(volume), reread(volume)
        mine.metadata["mine"] = "x"
        del mine.metadata["a"]
        theirs.metadata["theirs"] = "y"
        mine.save()
        theirs.save()
        assert reread(volume).metadata == {"b": "2", "mine": "x", "theirs": "y"}

    def test_metadata_that_was_assigned_replaces_what_was_there(self, plugin, volume):
        mine, theirs = reread(volume), reread(volume)
        theirs.metadata["theirs"] = "y"
        theirs.save()
        mine._ovo.metadata = {"only": "this"}
        mine.save()
        assert reread(volume).metadata == {"only": "this"}

    def test_a_field_set_to_the_value_it_had_is_written(self, plugin, volume):
        mine, theirs = reread(volume), reread(volume)
        theirs._ovo.status = "error"
        theirs.save()
        mine._ovo.status = "creating"
        mine.save()
        assert reread(volume).status == "creating"

    def test_everything_is_written_when_nothing_changed(self, plugin, volume):
        holder = reread(volume)
        plugin.store["volumes"][volume.id] = {"id": volume.id, "display_name": "mangled"}
        holder.save()
        assert fields(reread(volume)) == fields(volume)

    def test_a_dump_is_loaded_and_saved_whole(self, plugin, volume, snapshot, connection):
        before = {each.id: document(each) for each in (volume, snapshot, connection)}
        dump = reread(volume).dump
        for resource in (snapshot, connection, volume):
            getattr(plugin, f"delete_{type(resource).__name__.lower()}")(resource)
        assert plugin.get_volumes() == []
        cinderlib.load(dump, save=True)
        assert {each.id: document(each) for each in (volume, snapshot, connection)} == before

    def test_a_dump_can_be_loaded_and_saved_again(self, plugin, volume, snapshot):
        dump = reread(volume).dump
        cinderlib.load(dump, save=True)
        revision = plugin.store.revision
        cinderlib.load(dump, save=True)
        assert plugin.store.revision == revision
        assert len(plugin.get_volumes()) == len(plugin.get_snapshots()) == 1

    def test_a_set_that_changes_nothing_writes_nothing(self, plugin, volume):
        revision = plugin.store.revision
        reread(volume).save()
        volume.save()
        assert plugin.store.revision == revision

    @pytest.mark.parametrize("name", ["metadata", "admin_metadata", "glance_metadata"])
    def test_metadata_changed_in_place_is_written(self, plugin, volume, name):
        getattr(volume, name)["new"] = "x"
        volume.save()
        assert getattr(reread(volume), name)["new"] == "x"

    def test_metadata_of_snapshots_changed_in_place_is_written(self, plugin, snapshot):
        snapshot.metadata["new"] = "x"
        snapshot.save()
        assert reread(snapshot).metadata == {"a": "1", "new": "x"}

    def test_connection_information_changed_in_place_is_written(self, plugin, connection):
        holder = reread(connection)
        holder._ovo.attached_host = "node2"  # so that not everything is written anyway
        holder.connection_info["conn"]["data"]["target_lun"] = 9
        holder.save()
        assert reread(connection).conn_info["data"]["target_lun"] == 9

    def test_a_device_comes_and_goes(self, plugin, connection):
        connection.device_attached({"path": "/dev/sdx", "type": "block"})
        assert reread(connection).path == "/dev/sdx"
        assert reread(connection).attached
        connection.device = None
        connection.save()
        assert not reread(connection).attached

    def test_connection_information_may_hold_what_drivers_put_there(self, plugin, volume):
        connection = cinderlib.Connection(
            volume.backend,
            volume=volume,
            connection_info={"conn": {"data": {"luns": (1, 2), "none": None, "b": b"raw", 3: 4}}},
        )
        connection.save()
        data = reread(connection).conn_info["data"]
        assert data == {"luns": [1, 2], "none": None, "b": "raw", "3": 4, "access_mode": "rw"}

    def test_a_field_set_to_none_is_none_when_read(self, plugin, volume):
        volume._ovo.display_name = None
        volume.save()
        assert reread(volume).name is None
        assert "display_name" not in document(volume)

    def test_unknown_fields_of_a_document_are_kept(self, plugin, volume):
        plugin.store["volumes"].patch(volume.id, {"note": "ask Ann before deleting"})
        holder = reread(volume)
        holder._ovo.size = 3
        holder.save()
        holder.save()
        assert document(volume)["note"] == "ask Ann before deleting"

    def test_the_tracker_is_reset_after_the_write(self, plugin, volume):
        volume._ovo.size = 2
        plugin.set_volume(volume)
        assert plugin.get_changed_fields(volume) == {}
        assert not volume._ovo._changed_fields

    def test_the_tracker_is_not_reset_when_the_write_fails(self, plugin, volume):
        volume._ovo.size = 2
        volume._ovo.display_name = "\ud800"  # no bytes can hold a lone surrogate
        with pytest.raises(filestore.InvalidDocument):
            plugin.set_volume(volume)
        assert volume._ovo._changed_fields == {"size", "display_name"}
        assert reread(volume).size == 1


class TestDeleting:
    def test_the_resource_is_marked_after_the_delete(self, plugin, volume, snapshot, connection):
        plugin.delete_snapshot(snapshot)
        plugin.delete_connection(connection)
        plugin.delete_volume(volume)
        for resource in (volume, snapshot, connection):
            assert resource._ovo.deleted is True
            assert resource._ovo.deleted_at.tzinfo is not None
            assert not resource._ovo._changed_fields
        assert volume.status == snapshot.status == "deleted"
        assert plugin.store.collections() == []

    def test_the_resource_is_not_marked_when_the_delete_fails(self, plugin, volume):
        plugin.store.close()
        with pytest.raises(filestore.Closed):
            plugin.delete_volume(volume)
        assert volume._ovo.deleted is False

    def test_a_set_after_a_delete_brings_the_volume_back_whole(self, plugin, volume):
        before = document(volume)
        volume.backend._volume_removed = utils.mock.Mock(side_effect=RuntimeError("no cache"))
        with pytest.raises(RuntimeError):
            volume.delete()
        assert reread(volume).status == "error_deleting"
        assert document(volume) == {**before, "status": "error_deleting"}

    def test_a_key_value_is_deleted_by_its_object(self, plugin):
        plugin.set_key_value(cinderlib.KeyValue("k", "v"))
        plugin.delete_key_value(cinderlib.KeyValue("k"))
        plugin.delete_key_value(cinderlib.KeyValue("never there"))
        assert plugin.get_key_values() == []


class TestSoftDeletes:
    @pytest.fixture
    def plugin(self, path):
        config = {"storage": FilestorePersistence, "path": path, "soft_deletes": True}
        with persistence_of(config) as plugin:
            yield plugin

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

    def test_deleting_what_is_not_there_leaves_nothing(self, plugin, backend):
        plugin.delete_volume(cinderlib.Volume(backend, size=1))
        assert plugin.store.collections() == []

    def test_a_set_after_a_delete_shows_the_volume_again(self, plugin, volume):
        plugin.delete_volume(volume)
        volume._ovo.status = "error_deleting"
        volume.save()
        assert reread(volume).status == "error_deleting"
        assert reread(volume).deleted is False

    def test_key_values_are_deleted_all_the_same(self, plugin):
        plugin.set_key_value(cinderlib.KeyValue("k", "v"))
        plugin.delete_key_value(cinderlib.KeyValue("k"))
        assert plugin.store.collections() == []


class TestVolumeTypes:
    @pytest.fixture
    def typed(self, plugin, backend):
        volume = cinderlib.Volume(
            backend, size=1, extra_specs={"thin": "true"}, qos_specs={"iops": "100"}
        )
        volume.save()
        return volume

    def test_a_volume_type_is_named_after_its_volume(self, plugin, typed):
        found = reread(typed).volume_type
        assert found.id == found.name == typed.id
        assert found.is_public is True
        assert found.extra_specs == {"thin": "true"}
        assert found.qos_specs_id == found.qos_specs.id == found.qos_specs.name == typed.id
        assert found.qos_specs.consumer == "back-end"
        assert found.qos_specs.specs == {"iops": "100"}

    def test_the_document_has_only_what_is_not_implied(self, plugin, typed):
        assert document(typed)["volume_type"] == {
            "extra_specs": {"thin": "true"},
            "qos_specs": {"consumer": "back-end", "specs": {"iops": "100"}},
        }
        assert document(typed)["volume_type_id"] == typed.id

    def test_drivers_get_the_type_by_the_volumes_id(self, plugin, typed):
        found = plugin.db.volume_type_get(cinderlib.objects.CONTEXT, typed.id)
        assert found["extra_specs"] == {"thin": "true"}
        assert found["qos_specs"]["specs"] == {"iops": "100"}
        qos = plugin.db.qos_specs_get(cinderlib.objects.CONTEXT, typed.id)
        assert qos["specs"] == {"iops": "100"}

    def test_a_volume_without_type_has_none(self, plugin, volume):
        assert reread(volume).volume_type is None
        assert plugin.db.volume_type_get(cinderlib.objects.CONTEXT, volume.id) is None

    def test_a_type_without_qos_specs_has_none(self, plugin, backend):
        volume = cinderlib.Volume(backend, size=1, extra_specs={"thin": "true"})
        volume.save()
        assert reread(volume).volume_type.qos_specs is None
        assert reread(volume).volume_type.qos_specs_id is None

    def test_specs_changed_in_place_are_written(self, plugin, typed):
        holder = reread(typed)
        holder._ovo.size = 2
        holder.volume_type.extra_specs["thin"] = "false"
        holder.volume_type.qos_specs.specs["iops"] = "200"
        holder.save()
        assert reread(typed).volume_type.extra_specs == {"thin": "false"}
        assert reread(typed).volume_type.qos_specs.specs == {"iops": "200"}

    def test_the_types_trackers_are_reset_after_the_write(self, plugin, typed):
        typed.volume_type.extra_specs = {"thin": "false"}
        typed.save()
        assert not typed.volume_type._changed_fields
        assert not reread(typed).volume_type.obj_what_changed()
        assert not reread(typed).volume_type.qos_specs.obj_what_changed()

    def test_a_type_of_its_own_name_round_trips(self, plugin, backend):
        volume = cinderlib.Volume(backend, size=1)
        volume._ovo.volume_type_id = "7f8a61d8-4da3-4ae9-95ee-8d2e4ba4b0d2"
        volume._ovo.volume_type = ovos.VolumeType(
            cinderlib.objects.CONTEXT,
            id=volume.volume_type_id,
            name="__DEFAULT__",
            description="Default Volume Type",
            is_public=False,
            extra_specs={},
            qos_specs_id=None,
            qos_specs=None,
        )
        volume.save()
        assert reread(volume).to_json() == volume.to_json()

    def test_a_clone_takes_the_specs_over(self, plugin, typed):
        clone = cinderlib.Volume(reread(typed))
        clone.save()
        assert clone.id != typed.id
        assert reread(clone).volume_type.id == clone.id
        assert reread(clone).volume_type.extra_specs == {"thin": "true"}
        assert reread(clone).volume_type.qos_specs.specs == {"iops": "100"}

    def test_a_dump_of_a_typed_volume_is_the_same_after_reading(self, plugin, typed):
        assert reread(typed).to_json() == typed.to_json()


class TestSnapshots:
    def test_the_backend_is_kept_apart_from_the_progress(self, plugin, backend, snapshot):
        assert document(snapshot)["backend"] == "lvm"
        assert "progress" not in document(snapshot)
        assert reread(snapshot).progress == "lvm"
        snapshot._ovo.progress = "100%"
        snapshot.save()
        assert document(snapshot)["backend"] == "lvm"
        assert document(snapshot)["progress"] == "100%"
        assert reread(snapshot).backend is backend
        assert reread(snapshot).progress == "100%"

    def test_a_loaded_snapshot_with_a_drivers_progress_can_be_saved(self, plugin, snapshot):
        snapshot._ovo.progress = "100%"
        snapshot.save()
        holder = reread(snapshot)
        holder._ovo.status = "error"
        holder.save()
        holder.save()
        assert document(snapshot)["backend"] == "lvm"
        assert reread(snapshot).status == "error"


class TestConnections:
    @pytest.mark.parametrize("info", [None, {}, {"connector": {"host": "node1"}}])
    def test_one_without_information_is_loaded(self, plugin, connection, info):
        connection._ovo.connection_info = info
        connection.save()
        loaded = reread(connection)
        assert loaded._ovo.connection_info == info
        assert loaded.use_multipath is False
        assert not plugin.get_changed_fields(loaded)

    def test_multipath_is_found_out_as_when_it_was_made(self, plugin, volume):
        info = {"conn": {"data": {"target_iqns": ["a", "b"], "target_portals": ["c", "d"]}}}
        connection = cinderlib.Connection(volume.backend, volume=volume, connection_info=info)
        connection.save()
        assert connection.use_multipath is True
        assert reread(connection).use_multipath is True


class TestKeyValues:
    @pytest.mark.parametrize(
        "value",
        ["text", "", None, 0, 7, -1.5, True, [], [1, [None]], {}, {"a": {"b": None}}, "null", "7"],
    )
    def test_a_value_comes_back_as_itself(self, plugin, value):
        plugin.set_key_value(cinderlib.KeyValue("k", value))
        (found,) = plugin.get_key_values("k")
        assert type(found) is cinderlib.KeyValue
        assert (found.key, found.value) == ("k", value)
        assert type(found.value) is type(value)
        assert plugin.store["key_values"]["k"] == {"value": value}

    def test_a_value_is_replaced_whole(self, plugin):
        plugin.set_key_value(cinderlib.KeyValue("k", {"a": 1, "b": 2}))
        plugin.set_key_value(cinderlib.KeyValue("k", {"b": 3}))
        assert plugin.get_key_values("k")[0].value == {"b": 3}

    def test_a_key_value_that_cannot_be_hashed_is_no_obstacle(self, plugin):
        kv = cinderlib.KeyValue("k", "v")
        with pytest.raises(TypeError, match="unhashable"):
            hash(kv)
        plugin.set_key_value(kv)
        plugin.set_key_value(kv)
        assert plugin.get_key_values() == [kv]

    def test_all_are_given_without_a_key(self, plugin):
        for key in ("a", "b"):
            plugin.set_key_value(cinderlib.KeyValue(key, key))
        assert sorted(kv.key for kv in plugin.get_key_values()) == ["a", "b"]

    def test_a_value_that_json_has_not_is_refused(self, plugin):
        with pytest.raises(filestore.InvalidDocument):
            plugin.set_key_value(cinderlib.KeyValue("k", {1: "a"}))
        assert plugin.get_key_values() == []


class TestDatabase:
    @staticmethod
    def patched():
        return {
            **{name: vars(getattr(ovos, name)).get("save") for name in ("Volume", "Snapshot")},
            "get_by_id": vars(ovos.Volume).get("get_by_id"),
            "snapshot": vars(ovos.Snapshot).get("get_by_id"),
            "attachments": vars(ovos.VolumeAttachmentList).get("get_all_by_volume_id"),
            "inherited": vars(ovos.VolumeType).get("get_by_id"),
        }

    def test_it_is_cinderlibs(self, plugin):
        assert isinstance(plugin.db, persistence_base.DB)
        assert plugin.db is plugin.db
        assert plugin.db.persistence is plugin

    def test_making_a_plugin_changes_no_class(self, path):
        before = self.patched()
        FilestorePersistence(path).close()
        assert self.patched() == before

    def test_closing_puts_back_what_was_there(self, path):
        before = self.patched()
        plugin = FilestorePersistence(path)
        plugin.db  # noqa: B018  # the first use replaces
        assert self.patched() != before
        plugin.close()
        assert self.patched() == before
        plugin.close()

    def test_closing_leaves_what_another_plugin_put_there(self, tmp_path):
        before = self.patched()
        first, second = (FilestorePersistence(tmp_path / name) for name in "ab")
        first.db  # noqa: B018
        second.db  # noqa: B018
        during = self.patched()
        first.close()
        assert self.patched() == during
        second.close()
        assert self.patched() == before

    def test_drivers_reach_the_plugin_that_cinderlib_came_back_to(self, tmp_path):
        plugins = [FilestorePersistence(tmp_path / name) for name in "ab"]
        with persistence_of({"storage": plugins[0]}):
            backend = utils.FakeBackend(volume_backend_name="lvm")
            volume = cinderlib.Volume(backend, size=1)
            volume.save()
            for plugin, found in ((plugins[1], False), (plugins[0], True)):
                cinderlib.Backend.set_persistence({"storage": plugin})
                assert ovos.Volume.get_by_id.__self__ is plugin.db
                if found:
                    assert ovos.Volume.get_by_id(None, volume.id).id == volume.id
                else:
                    with pytest.raises(cinder_exception.VolumeNotFound):
                        ovos.Volume.get_by_id(None, volume.id)
        plugins[1].close()

    def test_saving_an_object_writes_nothing(self, plugin, volume):
        volume._ovo.size = 9
        volume._ovo.save()
        assert reread(volume).size == 1

    def test_a_volume_being_created_is_found(self, plugin, backend):
        volume = cinderlib.Volume(backend, size=1, extra_specs={"thin": "true"})
        context = cinderlib.objects.CONTEXT
        with pytest.raises(cinder_exception.VolumeNotFound):
            plugin.db.volume_get(context, volume.id)
        backend._start_creating_volume(volume)
        assert plugin.db.volume_get(context, volume.id) is volume._ovo
        assert plugin.db.volume_type_get(context, volume.id)["extra_specs"] == {"thin": "true"}
        plugin.db._volume_admin_metadata_update(context, volume.id, {"k": "v"}, delete=False)
        assert volume.admin_metadata == {"k": "v"}
        assert plugin.get_volumes() == []

    def test_a_snapshot_that_is_not_there_raises_cinders_error(self, plugin):
        with pytest.raises(cinder_exception.SnapshotNotFound):
            plugin.db.snapshot_get(None, "nope")

    def test_admin_metadata_is_updated_by_drivers(self, plugin, volume):
        context = cinderlib.objects.CONTEXT
        updated = plugin.db.volume_admin_metadata_update(context, volume.id, {"a": "1"}, False)
        assert updated == {"a": "1"}
        volume._ovo.admin_metadata_update({"b": "2"}, False)
        assert volume.admin_metadata == {"a": "1", "b": "2"}
        plugin.db.volume_admin_metadata_delete(context, volume.id, "a")
        assert plugin.db.volume_admin_metadata_get(context, volume.id) == {"b": "2"}
        assert reread(volume).admin_metadata == {"b": "2"}

    def test_admin_metadata_updated_at_once_loses_nothing(self, plugin, volume):
        def update(number):
            for turn in range(10):
                plugin.db.volume_admin_metadata_update(
                    cinderlib.objects.CONTEXT, volume.id, {f"{number}-{turn}": "x"}, False
                )

        threads = [threading.Thread(target=update, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reread(volume).admin_metadata) == 40

    def test_reading_and_writing_admin_metadata_holds_the_stores_lock(
        self, plugin, volume, monkeypatch
    ):
        seen = []
        get_volumes = plugin.get_volumes

        def watched(*args, **kwargs):
            tried = threading.Thread(
                target=lambda: seen.append(self.write_in_time(plugin, volume.id))
            )
            tried.start()
            tried.join()
            return get_volumes(*args, **kwargs)

        monkeypatch.setattr(plugin, "get_volumes", watched)
        plugin.db._volume_admin_metadata_update(None, volume.id, {"k": "v"}, delete=False)
        assert seen
        assert not any(seen)

    @staticmethod
    def write_in_time(plugin, id):
        try:
            with plugin.store._backend.exclusive(0.05):
                return True
        except filestore.LockTimeout:
            return False

    def test_a_backends_volumes_come_with_their_children(self, plugin, volume, snapshot):
        (found,) = plugin.db.volume_get_all_by_host(None, "anything@lvm#pool")
        assert [each.id for each in found.snapshots] == [snapshot.id]
        assert list(found.volume_attachment) == []


class TestBackends:
    @pytest.mark.parametrize("fail", [True, False])
    def test_resources_of_a_backend_that_is_not_loaded_are_listed(  # noqa: PLR0917
        self, plugin, volume, snapshot, connection, fail, monkeypatch
    ):
        monkeypatch.setattr(cinderlib.Backend, "fail_on_missing_backend", fail)
        cinderlib.Backend.backends.clear()
        assert [each.backend for each in plugin.get_volumes()] == ["lvm"]
        assert [each.backend for each in plugin.get_snapshots()] == ["lvm"]
        assert [each.backend for each in plugin.get_connections()] == ["lvm"]
        assert plugin.get_volumes(backend_name="lvm")[0].json["backend"] == {
            "volume_backend_name": "lvm"
        }

    def test_a_volume_of_a_backend_that_is_not_loaded_can_be_saved(self, plugin, volume, snapshot):
        cinderlib.Backend.backends.clear()
        holder = reread(volume)
        holder._ovo.size = 2
        holder.save()
        held = reread(snapshot)
        held._ovo.status = "error"
        held.save()
        assert reread(volume).size == 2
        assert document(snapshot)["backend"] == "lvm"


class TestIds:
    @pytest.mark.parametrize("id", ["a/b", "../up", "é", "CON", "x" * 300])
    def test_any_text_is_an_id(self, plugin, backend, id):
        volume = cinderlib.Volume(backend, size=1, id=id)
        volume.save()
        cinderlib.Snapshot(volume, id=id).save()
        plugin.set_key_value(cinderlib.KeyValue(id, 1))
        assert reread(volume).id == id
        assert plugin.get_snapshots(volume_id=id)[0].id == id
        assert plugin.get_key_values(id)[0].key == id
        plugin.delete_volume(volume)
        assert plugin.get_volumes() == []

    def test_the_documents_name_is_the_id(self, plugin, volume):
        plugin.store["volumes"]["copy"] = document(volume)
        assert plugin.get_volumes("copy")[0].id == "copy"


class TestSetup:
    def test_by_name(self, registered, path):
        config = {"storage": "filestore", "path": path}
        plugin = setup(config)
        assert isinstance(plugin, FilestorePersistence)
        assert config == {"storage": "filestore", "path": path}
        plugin.close()

    def test_by_class(self, path):
        plugin = setup({"storage": FilestorePersistence, "path": path, "durability": "off"})
        assert isinstance(plugin, FilestorePersistence)
        plugin.close()

    def test_by_instance(self, path):
        plugin = FilestorePersistence(path)
        assert setup({"storage": plugin}) is plugin
        plugin.close()

    def test_something_else_is_refused(self, path):
        with pytest.raises(exception.InvalidPersistence):
            setup({"storage": filestore.Store, "path": path})

    def test_an_unknown_name_is_refused(self, registered):
        with pytest.raises(NoMatches):
            setup({"storage": "filestorm"})

    def test_an_unknown_option_is_refused(self, path):
        with pytest.raises(TypeError, match="colour"):
            FilestorePersistence(path, colour="blue")

    @pytest.mark.parametrize("mode", ["rw-r-----", "0888", "01777", -1])
    def test_permissions_that_are_none_are_refused(self, path, mode):
        with pytest.raises(ValueError, match="file_mode"):
            FilestorePersistence(path, file_mode=mode)

    def test_making_a_plugin_serializes_nothing(self, path, monkeypatch):
        def fail(*args, **kwargs):
            raise AssertionError("serialized before cinderlib was ready")

        for name in ("obj_to_primitive", "obj_from_primitive", "__init__"):
            monkeypatch.setattr(ovos.Volume, name, fail)
        FilestorePersistence(path).close()

    def test_the_options_reach_the_store(self, path):
        plugin = FilestorePersistence(path, codec="yaml", durability="normal", lock_timeout=3)
        plugin.set_key_value(objects.KeyValue("k", "no"))
        plugin.close()
        assert (path / "key_values" / "k.yaml").read_text() == 'value: "no"\n'
        with pytest.raises(filestore.FilestoreError):
            FilestorePersistence(path, codec="json")


class TestPermissions:
    @staticmethod
    def modes(path):
        return {stat.S_IMODE(each.stat().st_mode) for each in path.rglob("*") if each.is_file()}, {
            stat.S_IMODE(each.stat().st_mode) for each in [path, *path.rglob("*")] if each.is_dir()
        }

    def test_only_the_owner_reads_by_default(self, plugin, path, connection):
        assert self.modes(path) == ({0o600}, {0o700})

    @pytest.mark.parametrize("mode", [0o640, "0640", "640"])
    def test_the_user_may_say_otherwise(self, path, mode):
        plugin = FilestorePersistence(path, file_mode=mode)
        plugin.set_key_value(objects.KeyValue("k", "v"))
        plugin.close()
        assert self.modes(path / "key_values") == ({0o640}, {0o750})


class TestDamage:
    def test_a_document_that_cannot_be_a_volume_is_named(self, plugin, volume):
        plugin.store["volumes"].patch(volume.id, {"size": "large"})
        with pytest.raises(filestore.Corrupt, match=rf"volumes/{volume.id}: the field 'size'"):
            plugin.get_volumes(volume.id)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"bootable": "no"},
            {"created_at": "yesterday"},
            {"metadata": ["a"]},
            {"size": {}},
            {"attach_status": "glued"},
            {"display_name": []},
            {"metadata": {"a": {}}},
        ],
    )
    def test_values_that_a_field_cannot_have_are_refused(self, plugin, volume, wrong):
        plugin.store["volumes"].patch(volume.id, wrong)
        with pytest.raises(filestore.Corrupt):
            plugin.get_volumes()

    def test_a_file_that_cannot_be_read_is_reported_and_hides_no_other(
        self, plugin, path, volume, snapshot
    ):
        other = cinderlib.Volume(volume.backend, size=1, name="other")
        other.save()
        (path / "volumes" / f"{volume.id}.json").write_text("{")
        for listing in (plugin.get_volumes, lambda: plugin.get_volumes(volume_name="disk")):
            with pytest.raises(filestore.Corrupt, match=volume.id):
                listing()
        assert reread(other).name == "other"

    def test_a_volume_is_not_deleted_while_a_snapshot_cannot_be_read(
        self, plugin, path, volume, snapshot
    ):
        (path / "snapshots" / f"{snapshot.id}.json").write_text("<<<<<<< HEAD")
        with pytest.raises(filestore.Corrupt):
            reread(volume).delete()
        volume.backend.driver.delete_volume.assert_not_called()

    def test_a_resource_whose_file_cannot_be_read_is_not_overwritten(self, plugin, path, volume):
        file = path / "volumes" / f"{volume.id}.json"
        file.write_text("{")
        volume._ovo.size = 9
        with pytest.raises(filestore.Corrupt):
            volume.save()
        assert file.read_text() == "{"
