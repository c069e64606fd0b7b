"""The lab in fixtures/ is what its script makes, by real cinderlib."""

import subprocess
import sys
from pathlib import Path

import cinderlib

import filestore
from filestore.integrations.cinderlib import FilestorePersistence
from tests.cinderlib.conftest import persistence_of

ROOT = Path(__file__).parents[2]
LAB = ROOT / "fixtures" / "lab"


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_script_makes_the_same_lab_again(tmp_path):
    made = tmp_path / "lab"
    subprocess.run(
        [sys.executable, "-m", "fixtures.make_lab", made], cwd=ROOT, check=True, timeout=120
    )
    assert tree(made) == tree(LAB)


def test_cinderlib_reads_the_lab(tmp_path):
    state = tmp_path / "state"
    with filestore.open(LAB, readonly=True) as lab, filestore.open(state) as store:
        for name in lab.collections():
            store[name].update(lab[name])
    with persistence_of({"storage": FilestorePersistence, "path": state}) as plugin:
        assert len(plugin.get_volumes()) == 40
        assert len(plugin.get_snapshots()) == 30
        assert len(plugin.get_connections()) == 20
        (primary,) = plugin.get_volumes(volume_name="db-primary", backend_name="lvm-ssd")
        assert primary.volume_type.qos_specs.specs["total_iops_sec"] == "5000"
        assert {snapshot.backend for snapshot in primary.snapshots} == {"lvm-ssd"}
        assert primary.connections[0].conn_info["data"]["auth_method"] == "CHAP"
        assert cinderlib.KeyValue("maintenance", None) in plugin.get_key_values()
