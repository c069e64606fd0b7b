"""What cinderlib's documentation does, call by call, with Python 3's print."""

import json
import socket

import pytest

import filestore as cl

LVM = {
    "volume_driver": "cinder.volume.drivers.lvm.LVMVolumeDriver",
    "volume_group": "cinder-volumes",
    "target_protocol": "iscsi",
    "target_helper": "lioadm",
    "volume_backend_name": "lvm_iscsi",
}


@pytest.fixture
def lvm():
    return cl.Backend(**LVM)


def test_backends(lvm, capsys):
    cl.Backend(
        volume_driver="cinder.volume.drivers.dell_emc.xtremio.XtremIOISCSIDriver",
        san_ip="10.10.10.1",
        san_login="xtremio_user",
        san_password="not-a-secret",
        volume_backend_name="xtremio",
    )
    for backend in cl.Backend.backends.values():
        told = "" if backend.initialized else "not "
        print(f"Backend {backend.id} is {told}initialized with configuration: {backend.config}")
    print(lvm.stats(refresh=True))
    printed = capsys.readouterr().out
    assert "Backend xtremio is initialized" in printed
    assert "not-a-secret" not in printed
    assert "'pool_name': 'lvm_iscsi'" in printed


def test_volumes(lvm):
    vol = lvm.create_volume(1)
    clone = vol.clone()
    bigger = vol.clone(size=vol.size + 1)
    snap = vol.create_snapshot(name="s")
    of_snapshot = snap.create_volume()
    assert vol.extend(2) == 2 * 1024**3
    assert [each.size for each in (vol, clone, bigger, of_snapshot)] == [2, 1, 2, 1]
    assert {each.id for each in lvm.volumes} == {
        each.id for each in (vol, clone, bigger, of_snapshot)
    }
    with_id = lvm.create_volume(size=1, id="0e8f3a0c-9f0e-4f0e-8f0e-0e8f3a0c9f0e", name="mine")
    assert cl.Volume.get_by_id(with_id.id).name == "mine"
    with_id.delete()
    assert with_id.id not in {each.id for each in lvm.volumes}


def test_a_local_attachment(lvm):
    vol = lvm.create_volume(size=1)
    attach = vol.attach()
    with open(attach.path, "w") as file:
        file.write("*" * 100)
    vol.detach()
    assert vol.connections == []


def test_a_remote_connection_by_way_of_the_persistence(tmp_path):
    config = {"storage": "file", "path": tmp_path / "state"}

    # The consumer tells who it is.
    cl.setup(persistence_config=config)
    node_id = "node-7"
    if not cl.Backend.persistence.get_key_values(node_id):
        connector_dict = cl.get_connector_properties("sudo", "192.0.2.7", True, False)
        value = json.dumps(connector_dict, separators=(",", ":"))
        cl.Backend.persistence.set_key_value(cl.KeyValue(node_id, value))
    cl.Backend.global_teardown()

    # The controller connects a volume to it.
    cl.setup(persistence_config=config)
    storage = cl.Backend(**LVM)
    volume_id = storage.create_volume(1).id
    kv = cl.Backend.persistence.get_key_values(node_id)
    vol = storage.Volume.get_by_id(volume_id)
    vol.connect(json.loads(kv[0].value), attached_host=node_id)
    cl.Backend.global_teardown()

    # The consumer attaches it.
    cl.setup(persistence_config=config, fail_on_missing_backend=False)
    cl.Backend(**LVM)
    vol = cl.Volume.get_by_id(volume_id)
    connection = vol.connections[0]
    connection.attach()
    found = cl.Connection.get_by_id(connection.id)
    assert found.attached
    assert found.attached_host == node_id
    assert found.connector_info["host"] == socket.gethostname()


def test_a_device_that_somebody_else_attached(lvm):
    vol = lvm.create_volume(1)
    vol.connect({"host": "h"})
    conn = vol.connections[0]
    conn.device = {"type": "block", "path": "/dev/sdz"}
    conn.save()
    assert cl.Connection.get_by_id(conn.id).path == "/dev/sdz"


def test_everything_in_a_file(lvm, tmp_path):
    vol = lvm.create_volume(size=1, name="v")
    vol.create_snapshot("s")
    (tmp_path / "cinderlib.txt").write_text(cl.dumps())
    (tmp_path / "lvm.txt").write_text(lvm.dumps)
    (tmp_path / "vol.txt").write_text(vol.dumps)
    cl.Backend.global_teardown()
    cl.setup(persistence_config={"storage": "memory"})
    lvm = cl.Backend(**LVM)
    assert lvm.volumes == []
    backends = cl.load((tmp_path / "cinderlib.txt").read_text(), save=True)
    assert [each.name for each in backends[0].volumes] == ["v"]
    assert cl.load((tmp_path / "lvm.txt").read_text(), save=True) is lvm
    assert cl.load((tmp_path / "vol.txt").read_text()).snapshots[0].name == "s"
    assert cl.Volume.load((tmp_path / "vol.txt").read_text()).name == "v"
    assert cl.Backend.load((tmp_path / "lvm.txt").read_text()) is lvm


def test_the_state_of_everything(lvm, capsys):
    vol = lvm.create_volume(1)
    vol.create_snapshot()
    vol.connect({"host": "h", "ip": "192.0.2.7"})
    lvm.refresh()
    for vol in lvm.volumes:
        print(f"Volume {vol.id} is currently {vol.status}")
        vol.refresh()
        for snap in vol.snapshots:
            print(f"Snapshot {snap.id} for volume {snap.volume.id} is currently {snap.status}")
        for conn in vol.connections:
            info = conn.connector_info
            print(
                f"Connection from {info['host']} with ip {info['ip']} to {conn.volume.id}", end=""
            )
            print(f" is {conn.status}")
    printed = capsys.readouterr().out
    assert "is currently in-use" in printed
    assert "is currently available" in printed
    assert "with ip 192.0.2.7" in printed
    assert "is attached" in printed
