"""Backends and what drives them: what is called, what is stored of what it returns."""

import os

import pytest

import filestore as cl
from filestore import exception


class Driver:
    """A driver as Cinder's are, that remembers how it was called and fails when told to."""

    db = None

    def __init__(self):
        self.calls = []
        self.fail = None

    def _called(self, name, *args):
        self.calls.append((name, *args))
        if self.fail == name:
            raise RuntimeError(f"no {name}")

    def do_setup(self, context):
        self._called("do_setup", context.is_admin)

    def check_for_setup_error(self):
        self._called("check_for_setup_error")

    def get_volume_stats(self, refresh=False):
        self._called("get_volume_stats", refresh)
        return {"vendor_name": "Tests", "free_capacity_gb": 7, "total_capacity_gb": 10}

    def create_volume(self, volume):
        self._called("create_volume", volume.name)
        assert self.db.volume_get(None, volume.id) is volume
        assert self.db.volume_type_get(None, volume["id"]) is None or volume.volume_type
        return {"provider_location": f"lun:{volume['size']}"}

    def delete_volume(self, volume):
        self._called("delete_volume", volume.provider_location)

    def create_snapshot(self, snapshot):
        self._called("create_snapshot", snapshot.name, snapshot.volume.name, snapshot.volume_name)
        return {"provider_id": "snap-1", "progress": "100%"}

    def delete_snapshot(self, snapshot):
        self._called("delete_snapshot", snapshot.provider_id)

    def create_volume_from_snapshot(self, volume, snapshot):
        self._called("create_volume_from_snapshot", volume.size, snapshot.id)
        return {"provider_location": "from-snapshot"}

    def create_cloned_volume(self, volume, src_vref):
        self._called("create_cloned_volume", volume.size, src_vref.id)
        return {"provider_location": "clone"}

    def extend_volume(self, volume, new_size):
        self._called("extend_volume", volume.size, new_size)

    def create_export(self, context, volume, connector):
        self._called("create_export", connector["host"])
        return {"provider_auth": "CHAP user not-a-secret"}

    def remove_export(self, context, volume):
        self._called("remove_export", volume.id)

    def initialize_connection(self, volume, connector):
        self._called("initialize_connection", connector["host"])
        return {"driver_volume_type": "iscsi", "data": {"target_lun": 1, "iqns": ("a",)}}

    def terminate_connection(self, volume, connector, force=False):
        self._called("terminate_connection", connector["host"], force)

    def validate_connector(self, connector):
        self._called("validate_connector", connector)

    def connect_volume(self, data):
        self._called("connect_volume", data["target_lun"])
        return {"type": "block", "path": "/dev/sdx"}

    def disconnect_volume(self, data, device, force=False, ignore_errors=False):
        self._called("disconnect_volume", device["path"], force)

    def extend_attached_volume(self, data):
        self._called("extend_attached_volume")
        return 5 * 1024**3 + 512


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture
def backend(driver):
    return cl.Backend(volume_backend_name="lvm", volume_driver="some.Driver", driver=driver)


def stored(resource):
    return type(resource).get_by_id(resource.id)


class TestBackend:
    def test_the_driver_is_set_up_first(self, driver, backend):
        assert driver.calls[:2] == [("do_setup", True), ("check_for_setup_error",)]
        assert driver.db is cl.Backend.persistence.db
        assert backend.initialized

    def test_a_backend_whose_driver_fails_is_not_made(self, driver):
        driver.fail = "check_for_setup_error"
        with pytest.raises(RuntimeError):
            cl.Backend(volume_backend_name="lvm", driver=driver)
        assert cl.Backend.backends == {}
        driver.fail = None
        cl.Backend(volume_backend_name="lvm", driver=driver)

    def test_newer_drivers_have_one_method_to_set_up(self):
        class Newer:
            def setup(self, context):
                self.context = context

        made = cl.Backend(volume_backend_name="lvm", driver=Newer())
        assert made.driver.context.project_id == "cinderlib"

    def test_asking_again_gives_the_same(self, driver, backend):
        assert cl.Backend(volume_backend_name="lvm", volume_driver="some.Driver") is backend
        assert cl.Backend("lvm", volume_driver="some.Driver", driver=driver) is backend
        with pytest.raises(ValueError, match="lvm already exists with a different configuration"):
            cl.Backend(volume_backend_name="lvm", volume_driver="another.Driver")
        with pytest.raises(ValueError, match="lvm"):
            cl.Backend(volume_backend_name="lvm", volume_driver="some.Driver", driver=Driver())

    def test_stats_are_kept_until_asked_again(self, driver, backend):
        assert backend.stats()["pools"] == [
            {"pool_name": "lvm", "free_capacity_gb": 7, "total_capacity_gb": 10}
        ]
        assert backend.stats()["vendor_name"] == "Tests"
        backend.stats(refresh=True)
        assert [call for call in driver.calls if call[0] == "get_volume_stats"] == [
            ("get_volume_stats", False),
            ("get_volume_stats", True),
        ]

    def test_pools_of_a_driver_that_has_some(self):
        class Pools:
            def get_volume_stats(self, refresh=False):
                return {"pools": [{"pool_name": "fast"}, {"pool_name": "slow"}]}

        backend = cl.Backend(volume_backend_name="lvm", driver=Pools())
        assert backend.pool_names == ("fast", "slow")
        assert backend.create_volume(1).host.endswith("@lvm#fast")
        slow = backend.create_volume(1, pool_name="slow")
        assert slow.host.endswith("@lvm#slow")
        assert slow.clone().host.endswith("@lvm#slow")

    def test_without_a_driver_there_is_one_pool(self):
        backend = cl.Backend(volume_backend_name="lvm")
        assert backend.pool_names == ("lvm",)
        assert backend.stats(refresh=True)["volume_backend_name"] == "lvm"

    def test_a_connector_is_validated_by_the_driver(self, driver, backend):
        backend.validate_connector({"host": "h"})
        assert driver.calls[-1] == ("validate_connector", {"host": "h"})
        cl.Backend(volume_backend_name="none").validate_connector({})

    def test_configurations_are_not_shown(self, backend):
        secret = cl.Backend(volume_backend_name="ssd", san_password="not-a-secret")
        assert secret.config == {"volume_backend_name": "ssd"}
        assert repr(secret) == "<filestore.Backend ssd>"
        assert "not-a-secret" not in secret.dumps

    def test_the_class_of_volumes_is_at_hand(self, backend):
        volume = backend.create_volume(1)
        assert backend.Volume.get_by_id(volume.id).id == volume.id

    def test_volumes_are_listed_and_filtered(self, backend):
        assert backend.volumes == []
        one = backend.create_volume(1, name="one")
        two = backend.create_volume(1, name="two")
        other = cl.Backend(volume_backend_name="other").create_volume(1, name="one")
        assert backend.volumes == [one, two]
        assert [each.id for each in backend.volumes_filtered(volume_name="one")] == [one.id]
        assert backend.volumes_filtered(volume_id=other.id) == []
        cl.Volume(backend, name="stored aside").save()
        assert len(backend.volumes) == 2
        backend.refresh()
        assert len(backend.volumes) == 3


class TestVolumes:
    def test_what_the_driver_returns_is_stored(self, driver, backend):
        volume = backend.create_volume(3, name="v", description="d", bootable=True)
        assert driver.calls[-1] == ("create_volume", f"volume-{volume.id}")
        for each in (volume, stored(volume)):
            assert each.status == "available"
            assert each.provider_location == "lun:3"
            assert (each.name, each.description, each.bootable) == ("v", "d", True)
        assert volume.name_in_storage == f"volume-{volume.id}"
        assert cl.Backend._volumes_inflight == {}

    def test_drivers_find_specs_of_what_they_create(self, backend):
        volume = backend.create_volume(1, extra_specs={"a": "b"}, qos_specs={"c": "d"})
        assert stored(volume).volume_type.extra_specs == {"a": "b"}

    def test_a_failed_creation_is_stored_as_an_error(self, driver, backend):
        driver.fail = "create_volume"
        with pytest.raises(RuntimeError, match="no create_volume") as caught:
            backend.create_volume(1)
        volume = caught.value.resource
        assert stored(volume).status == volume.status == "error"
        assert cl.Backend._volumes_inflight == {}

    @pytest.mark.parametrize("update", [{"colour": "blue"}, {"size": "large"}, 5, ["a"]])
    def test_what_cannot_be_stored_is_the_drivers_error(self, driver, backend, update):
        driver.create_volume = lambda volume: update
        with pytest.raises(exception.DriverError) as caught:
            backend.create_volume(1)
        assert stored(caught.value.resource).status == "error"

    def test_a_clone_is_a_volume_of_its_own(self, driver, backend):
        source = backend.create_volume(
            2, name="v", metadata={"a": "1"}, extra_specs={"s": "1"}, qos_specs={"q": "1"}
        )
        clone = source.clone()
        assert driver.calls[-1] == ("create_cloned_volume", 2, source.id)
        found = stored(clone)
        assert found.id != source.id
        assert found.source_volid == source.id
        assert (found.size, found.name, found.metadata) == (2, "v", {"a": "1"})
        assert found.provider_location == "clone"
        assert found.created_at > source.created_at
        assert found.volume_type.id == found.volume_type_id == found.id
        assert found.volume_type.extra_specs == {"s": "1"}
        assert found.volume_type.qos_specs.specs == {"q": "1"}
        clone.metadata["a"] = "2"
        assert source.metadata == {"a": "1"}
        assert source.clone(size=5, name="big").size == 5

    def test_a_failed_clone_is_stored_as_an_error(self, driver, backend):
        source = backend.create_volume(1)
        driver.fail = "create_cloned_volume"
        with pytest.raises(RuntimeError) as caught:
            source.clone()
        assert stored(caught.value.resource).status == "error"
        assert stored(source).status == "available"

    def test_a_volume_is_extended(self, driver, backend):
        volume = backend.create_volume(1)
        assert volume.extend(4) == 4 * 1024**3
        assert driver.calls[-1] == ("extend_volume", 1, 4)
        assert (stored(volume).size, stored(volume).status) == (4, "available")
        assert stored(volume).previous_status is None

    def test_a_failed_extension_is_an_error_of_the_old_size(self, driver, backend):
        volume = backend.create_volume(1)
        driver.fail = "extend_volume"
        with pytest.raises(RuntimeError):
            volume.extend(4)
        assert (stored(volume).size, stored(volume).status) == (1, "error")

    def test_an_attached_volume_tells_the_size_that_the_host_sees(self, driver, backend):
        volume = backend.create_volume(1)
        volume.attach()
        assert volume.extend(5) == 5 * 1024**3 + 512
        assert driver.calls[-1] == ("extend_attached_volume",)

    def test_a_deleted_volume_is_gone(self, driver, backend):
        volume = backend.create_volume(1)
        assert backend.volumes
        volume.delete()
        assert driver.calls[-1] == ("delete_volume", "lun:1")
        assert backend.volumes == []
        assert volume.status == "deleted"
        with pytest.raises(exception.VolumeNotFound):
            stored(volume)
        with pytest.raises(exception.VolumeNotFound):
            volume.refresh()

    def test_a_volume_that_cannot_be_deleted_stays(self, driver, backend):
        volume = backend.create_volume(1)
        driver.fail = "delete_volume"
        with pytest.raises(RuntimeError) as caught:
            volume.delete()
        assert caught.value.resource is volume
        assert stored(volume).status == "error_deleting"
        driver.fail = None
        stored(volume).delete()

    def test_the_drivers_object_has_the_resources_values(self, backend):
        volume = backend.create_volume(1, name="v", metadata={"a": "1"})
        entity = volume._ovo
        assert entity is volume._ovo
        entity.size = 5
        entity["status"] = "error"
        entity.metadata["b"] = "2"
        assert (volume.size, volume.status, volume.metadata) == (5, "error", {"a": "1", "b": "2"})
        assert entity.obj_what_changed() == {"size", "status", "metadata"}
        assert entity.obj_get_changes()["size"] == 5
        assert entity.get("nope", 7) == 7
        assert "size" in entity
        assert "nope" not in entity
        assert set(entity) == set(entity.keys())
        assert dict(entity.items())["display_name"] == "v"
        with pytest.raises(KeyError):
            entity["nope"]
        assert entity.cluster is entity.group is None
        entity.save()
        assert stored(volume).size == 1
        volume.save()
        assert stored(volume).size == 5

    def test_the_drivers_object_loads_children_when_asked(self, backend):
        volume = backend.create_volume(1)
        volume.create_snapshot("s")
        volume.connect({"host": "h"})
        entity = stored(volume)._ovo
        assert not entity.obj_attr_is_set("snapshots")
        assert not entity.obj_attr_is_set("volume_attachment")
        assert [each.display_name for each in entity.snapshots] == ["s"]
        assert entity.volume_attachment.objects[0].connector == {"host": "h"}
        assert entity.volume_attachment[0].volume is entity
        assert entity.obj_attr_is_set("snapshots")
        assert entity.obj_attr_is_set("cluster")
        with pytest.raises(AttributeError):
            entity.obj_attr_is_set("nope")

    def test_fields_take_what_cinder_takes(self, backend):
        volume = cl.Volume(backend, size="3", metadata={"a": 1}, display_name=5)
        assert (volume.size, volume.metadata, volume.name) == (3, {"a": "1"}, "5")
        for name, wrong in [("size", "x"), ("attach_status", "glued"), ("metadata", 5)]:
            with pytest.raises(cl.InvalidDocument, match=name):
                setattr(volume, name, wrong)
        with pytest.raises(cl.InvalidDocument, match="colour"):
            cl.Volume(backend, colour="blue")
        with pytest.raises(cl.InvalidDocument):
            volume.id = None
        with pytest.raises(AttributeError):
            volume.name = "not a field"

    def test_a_refused_update_assigns_nothing(self, backend):
        volume = cl.Volume(backend)
        with pytest.raises(cl.InvalidDocument):
            volume.update({"status": "error", "size": "x"})
        assert volume.status == "creating"

    def test_a_volume_of_a_name_that_is_no_backend(self, backend, again):
        with pytest.raises(exception.BackendNotFound):
            cl.Volume("ceph", size=1)
        again(fail_on_missing_backend=False)
        assert cl.Volume("ceph", size=1).host.endswith("@ceph#ceph")
        assert cl.Volume("lvm", size=1).backend is cl.Backend.backends["lvm"]


class TestSnapshots:
    def test_the_documented_program(self, backend):
        volume = backend.create_volume(size=1)
        snapshot = volume.create_snapshot()
        assert snapshot is next(iter(volume.snapshots))
        assert volume is snapshot.volume
        assert len(volume.snapshots) == 1
        snapshot.delete()
        assert len(volume.snapshots) == 0

    def test_what_the_driver_returns_is_stored(self, driver, backend):
        volume = backend.create_volume(1)
        snapshot = volume.create_snapshot("s", "d", metadata={"a": "1"})
        name = f"volume-{volume.id}"
        assert driver.calls[-1] == ("create_snapshot", f"snapshot-{snapshot.id}", name, name)
        found = stored(snapshot)
        assert (found.name, found.description, found.status) == ("s", "d", "available")
        assert (found.provider_id, found.progress) == ("snap-1", "100%")
        assert found.backend is backend
        assert found.name_in_storage == f"snapshot-{snapshot.id}"

    def test_a_failed_one_is_stored_as_an_error(self, driver, backend):
        volume = backend.create_volume(1)
        driver.fail = "create_snapshot"
        with pytest.raises(RuntimeError) as caught:
            volume.create_snapshot()
        assert stored(caught.value.resource).status == "error"
        assert volume.snapshots == [caught.value.resource]

    def test_one_that_cannot_be_deleted_stays(self, driver, backend):
        volume = backend.create_volume(1)
        snapshot = volume.create_snapshot()
        driver.fail = "delete_snapshot"
        with pytest.raises(RuntimeError):
            snapshot.delete()
        assert stored(snapshot).status == "error_deleting"
        assert volume.snapshots == [snapshot]

    def test_a_volume_is_made_of_it(self, driver, backend):
        snapshot = backend.create_volume(2, name="v").create_snapshot()
        volume = snapshot.create_volume(name="w")
        assert driver.calls[-1] == ("create_volume_from_snapshot", 2, snapshot.id)
        found = stored(volume)
        assert (found.size, found.name, found.snapshot_id) == (2, "w", snapshot.id)
        assert found.provider_location == "from-snapshot"
        assert stored(snapshot).create_volume(size=9).size == 9

    def test_a_backend_that_is_not_its_volumes_is_refused(self, backend):
        volume = backend.create_volume(1)
        other = cl.Backend(volume_backend_name="other")
        with pytest.raises(ValueError, match="don't match"):
            cl.Snapshot(volume, backend=other)
        assert cl.Snapshot(volume, backend="lvm").backend is backend


class TestConnections:
    def test_a_host_gets_access_and_loses_it(self, driver, backend):
        volume = backend.create_volume(1)
        connection = volume.connect({"host": "h", "ip": "192.0.2.1"}, attached_host="h")
        assert [call[0] for call in driver.calls[-2:]] == ["create_export", "initialize_connection"]
        assert stored(volume).status == "in-use"
        assert stored(volume).provider_auth == "CHAP user not-a-secret"
        found = stored(connection)
        assert found.connected
        assert not found.attached
        assert found.status == "attached"
        assert found.protocol == "iscsi"
        assert found.connector_info["ip"] == "192.0.2.1"
        assert found.conn_info["data"] == {"target_lun": 1, "iqns": ["a"], "access_mode": "rw"}
        assert found.attached_host == "h"
        assert volume.connections == [connection]
        volume.disconnect(connection, force=True)
        assert driver.calls[-2:] == [
            ("terminate_connection", "h", True),
            ("remove_export", volume.id),
        ]
        assert volume.connections == []
        assert not connection.connected
        assert connection.status == "detached"
        assert stored(volume).status == "available"
        with pytest.raises(exception.ConnectionNotFound):
            stored(connection)

    def test_the_export_stays_for_other_connections(self, driver, backend):
        volume = backend.create_volume(1)
        one, two = (volume.connect({"host": name}) for name in "ab")
        one.disconnect()
        assert driver.calls[-1][0] == "terminate_connection"
        assert stored(volume).status == "in-use"
        stored(two).disconnect()
        assert driver.calls[-1][0] == "remove_export"
        assert stored(volume).status == "available"

    def test_a_failed_connection_takes_the_export_back(self, driver, backend):
        volume = backend.create_volume(1)
        driver.fail = "initialize_connection"
        with pytest.raises(RuntimeError) as caught:
            volume.connect({"host": "h"})
        assert caught.value.resource is volume
        assert driver.calls[-1][0] == "remove_export"
        assert volume.connections == []
        assert stored(volume).status == "available"

    def test_the_drivers_answer_and_the_connector_stay_their_owners(self, driver, backend):
        told = {"driver_volume_type": "iscsi", "data": {"target_lun": 1}}
        driver.initialize_connection = lambda volume, connector: told
        connector = {"host": "h", "wwpns": ["a"]}
        connection = backend.create_volume(1).connect({"host": "h", **connector})
        assert told == {"driver_volume_type": "iscsi", "data": {"target_lun": 1}}
        connection.connector_info["wwpns"].append("b")
        assert connector == {"host": "h", "wwpns": ["a"]}

    def test_a_local_attachment(self, driver, backend):
        volume = backend.create_volume(1)
        connection = volume.attach()
        assert driver.calls[-1] == ("connect_volume", 1)
        assert connection.path == "/dev/sdx"
        assert volume.local_attach is connection
        assert stored(connection).attached
        volume.refresh()
        assert volume.local_attach is connection
        volume.detach()
        assert ("disconnect_volume", "/dev/sdx", False) in driver.calls
        assert volume.local_attach is None
        assert volume.connections == []
        with pytest.raises(exception.NotLocal):
            volume.detach()

    def test_a_failed_attachment_takes_the_connection_back(self, driver, backend):
        volume = backend.create_volume(1)
        driver.fail = "connect_volume"
        with pytest.raises(RuntimeError):
            volume.attach()
        assert volume.connections == []
        assert stored(volume).status == "available"

    def test_a_failing_detachment(self, driver, backend):
        volume = backend.create_volume(1)
        volume.attach()
        driver.fail = "disconnect_volume"
        with pytest.raises(RuntimeError):
            volume.detach()
        assert volume.local_attach is not None
        with pytest.raises(RuntimeError, match="disconnect_volume"):
            volume.detach(force=True)
        assert volume.connections == []
        assert stored(volume).status == "available"

    def test_errors_of_a_detachment_can_be_ignored(self, driver, backend):
        volume = backend.create_volume(1)
        volume.attach()
        driver.fail = "disconnect_volume"
        volume.detach(force=True, ignore_errors=True)
        assert volume.connections == []

    def test_cleaning_up_detaches_everything(self, driver, backend):
        volume = backend.create_volume(1)
        volume.attach()
        volume.cleanup()
        assert driver.calls[-1][0] == "remove_export"
        assert not volume.connections[0].attached

    @pytest.mark.parametrize(
        ("connector", "data", "expected"),
        [
            ({"multipath": True}, {}, True),
            ({"multipath": False}, {"target_iqns": [], "target_portals": []}, False),
            ({}, {"target_iqns": [], "target_portals": []}, True),
            ({}, {"target_wwn": ["a", "b"]}, True),
            ({}, {"target_wwn": "a"}, False),
            ({}, {}, False),
        ],
    )
    def test_whether_several_paths_lead_there(self, driver, backend, connector, data, expected):
        driver.initialize_connection = lambda *_: {"data": data}
        connection = backend.create_volume(1).connect({"host": "h", **connector})
        assert connection.use_multipath is expected
        assert stored(connection).use_multipath is expected

    def test_conn_info_and_the_access_mode_go_together(self, backend):
        connection = backend.create_volume(1).connect({"host": "h"})
        connection.conn_info = {"data": {"access_mode": "ro"}}
        assert connection.attach_mode == "ro"
        connection.connector_info = {"host": "other"}
        connection.save()
        assert stored(connection).connector_info == {"host": "other"}
        assert stored(connection).conn_info == {"data": {"access_mode": "ro"}}


class TestWithoutDriver:
    """A simulator of a storage's state: everything is recorded, nothing else is done."""

    def test_a_whole_life(self):
        backend = cl.Backend(volume_backend_name="lvm")
        volume = backend.create_volume(1, name="v")
        assert volume.status == "available"
        snapshot = volume.create_snapshot("s")
        assert snapshot.create_volume().snapshot_id == snapshot.id
        assert volume.clone().source_volid == volume.id
        assert volume.extend(2) == 2 * 1024**3
        connection = volume.connect({"host": "h"})
        assert connection.protocol == "recorded"
        connection.attach()
        assert connection.attached
        assert connection.path == os.devnull
        connection.detach()
        connection.disconnect()
        attached = volume.attach()
        assert attached.connector_info["host"]
        volume.detach()
        snapshot.delete()
        volume.delete()
        assert len(backend.volumes) == 2

    def test_representations_tell_no_secrets(self):
        backend = cl.Backend(volume_backend_name="lvm")
        volume = backend.create_volume(1, provider_auth="CHAP not-a-secret")
        connection = volume.connect({"host": "h"})
        connection.conn_info = {"data": {"auth_password": "not-a-secret", "auth_method": "CHAP"}}
        for each in (volume, connection, volume._ovo, connection._ovo, cl.KeyValue("k", "not-a-s")):
            assert "not-a-s" not in repr(each)
        assert volume.id in repr(volume)
        assert "on backend lvm" in repr(volume)
