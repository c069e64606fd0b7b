"""``filestore migrate`` out of cinderlib's own database, and into one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import filestore

LAB = Path(__file__).parents[2] / "fixtures" / "lab"
# What the database does by itself; see filestore/integrations/cinderlib/ends.py.
ITS_OWN = {"created_at", "updated_at", "progress"}

MAKE = """
import sys, warnings
warnings.simplefilter("ignore")
import cinderlib as cl
from cinderlib.tests.unit import utils
cl.setup(persistence_config={"storage": "db", "connection": sys.argv[1]})
keep = cl.Backend.persistence
lvm = utils.FakeBackend(volume_backend_name="lvm")
one = cl.Volume(lvm, id="11111111-1111-4111-8111-111111111111", size=1, name="one",
                metadata={"team": "db"}, extra_specs={"tier": "gold"})
two = cl.Volume(lvm, id="22222222-2222-4222-8222-222222222222", size=2, name="two")
snapshot = cl.Snapshot(one, id="33333333-3333-4333-8333-333333333333", name="snap")
info = {"conn": {"driver_volume_type": "iscsi", "data": {"auth_password": "secret"}},
        "connector": {"multipath": False}}
connection = cl.Connection(lvm, volume=two, id="44444444-4444-4444-8444-444444444444",
                           connection_info=info, connector={"multipath": False})
for volume in (one, two):
    keep.set_volume(volume)
keep.set_snapshot(snapshot)
keep.set_connection(connection)
keep.set_key_value(cl.KeyValue("owner", "ana"))
keep.set_key_value(cl.KeyValue("nothing", None))
"""

LIST = """
import json, sys, warnings
warnings.simplefilter("ignore")
import cinderlib as cl
cl.setup(persistence_config={"storage": "db", "connection": sys.argv[1]},
         fail_on_missing_backend=False)
keep = cl.Backend.persistence
print(json.dumps({
    "volumes": [[v.id, v.size, v.name, dict(v.metadata)] for v in keep.get_volumes()],
    "specs": {v.id: v._ovo.volume_type.extra_specs for v in keep.get_volumes()},
    "snapshots": [[s.id, s.volume_id, s._ovo.progress] for s in keep.get_snapshots()],
    "connections": [[c.id, c.volume_id, c._ovo.connection_info["conn"]["data"]["auth_password"]]
                    for c in keep.get_connections()],
    "key_values": {k.key: k.value for k in keep.get_key_values()},
}))
"""

COUNT = """
import collections, json, sys
import filestore
from filestore import migration
from filestore.integrations.cinderlib.ends import CinderlibDatabase

reads = collections.Counter()
read = CinderlibDatabase._read
def counted(self, collection):
    reads[collection] += 1
    return read(self, collection)
CinderlibDatabase._read = counted
migration.BATCH = 2
target = CinderlibDatabase(sys.argv[2])
with filestore.open(sys.argv[1], readonly=True) as store, store.snapshot() as view:
    done = migration.copy(migration.Moment(store.location, view), target)
print(json.dumps([done.created, reads]))
"""


def python(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def migrate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "filestore", "migrate", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def documents(path: Path) -> dict[str, dict[str, Any]]:
    with filestore.open(path, readonly=True) as store:
        return {name: dict(store[name].items()) for name in store.collections()}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/cinder.sqlite"


def test_all_that_cinderlib_keeps_in_its_database_comes_into_a_store(
    tmp_path: Path, url: str
) -> None:
    python(MAKE, url)
    ran = migrate(f"cinderlib+{url}", tmp_path / "state")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "6 documents: 6 created" in ran.stdout
    found = documents(tmp_path / "state")
    one = found["volumes"]["11111111-1111-4111-8111-111111111111"]
    two = found["volumes"]["22222222-2222-4222-8222-222222222222"]
    assert (one["size"], one["metadata"]) == (1, {"team": "db"})
    assert one["volume_type"]["extra_specs"] == {"tier": "gold"}
    assert not {"volume_type", "volume_type_id"} & set(two)  # it had none
    (snapshot,) = found["snapshots"].values()
    assert snapshot["backend"] == "lvm"
    (connection,) = found["connections"].values()
    assert connection["connection_info"]["conn"]["data"]["auth_password"] == "secret"
    assert found["key_values"] == {"owner": {"value": "ana"}, "nothing": {"value": None}}


def test_a_store_comes_into_cinderlibs_database_and_back(tmp_path: Path, url: str) -> None:
    python(MAKE, url)
    assert migrate(f"cinderlib+{url}", tmp_path / "state").returncode == 0
    other = f"sqlite:///{tmp_path}/other.sqlite"
    assert "6 created" in migrate(tmp_path / "state", f"cinderlib+{other}").stdout
    assert "6 the same" in migrate(tmp_path / "state", f"cinderlib+{other}").stdout
    assert json.loads(python(LIST, other)) == json.loads(python(LIST, url))


def test_the_lab_makes_the_round_trip(tmp_path: Path, url: str) -> None:
    lab = documents(LAB)
    keep = {name: lab[name] for name in ("volumes", "snapshots", "connections")}
    with filestore.open(tmp_path / "lab") as store:
        for name, each in keep.items():
            store[name].update(each)
    there = migrate(tmp_path / "lab", f"cinderlib+{url}")
    assert (there.returncode, there.stderr) == (0, "")
    back = migrate(f"cinderlib+{url}", tmp_path / "back", "--codec", "yaml")
    assert (back.returncode, back.stderr) == (0, "")
    found = documents(tmp_path / "back")
    for name, each in keep.items():
        assert set(found[name]) == set(each)
        for id, document in each.items():
            assert kept(found[name][id]) == kept(document)


def kept(document: dict[str, Any]) -> dict[str, Any]:
    result = {name: value for name, value in document.items() if name not in ITS_OWN}
    if not result.get("glance_metadata"):
        result.pop("glance_metadata", None)
    if "volume_type" in result:
        result["volume_type"] = result["volume_type"].get("extra_specs", {})
    return result


def test_what_the_database_has_is_read_as_often_for_many_as_for_few(
    tmp_path: Path, url: str
) -> None:
    with filestore.open(tmp_path / "state") as store:
        store["key_values"].update({f"k{number}": {"value": "v"} for number in range(11)})
    created, reads = json.loads(python(COUNT, tmp_path / "state", f"cinderlib+{url}"))
    assert created == 11
    assert reads["key_values"] == 2  # before the first batch is written, and for the comparison


ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
SNAP, LINK = "33333333-3333-4333-8333-333333333333", "44444444-4444-4444-8444-444444444444"


@pytest.fixture
def edited(tmp_path: Path, url: str) -> Path:
    """What is in a database of cinderlib, changed in every way."""
    python(MAKE, url)
    assert migrate(f"cinderlib+{url}", tmp_path / "state").returncode == 0
    with filestore.open(tmp_path / "state") as store, store.transaction() as tx:
        volumes = tx["volumes"]
        volumes.patch(ONE, {"size": 11, "metadata": {"team": None, "new": "x"}})
        volumes.patch(ONE, {"volume_type": {"extra_specs": {"tier": None, "fast": "yes"}}})
        volumes.patch(ONE, {"glance_metadata": {"os": "plan9"}, "provider_location": None})
        typed = {"extra_specs": {"tier": "iron"}}
        volumes.patch(TWO, {"display_name": None, "volume_type_id": TWO, "volume_type": typed})
        tx["snapshots"].patch(SNAP, {"status": "error", "metadata": {"a": "1"}})
        link = {"connection_info": {"conn": {"data": {"auth_password": "other"}}}}
        tx["connections"].patch(LINK, {**link, "mountpoint": "/dev/vdb"})
        tx["key_values"]["owner"] = {"value": "ben"}
        tx["key_values"]["new"] = {"value": "kv"}
    return tmp_path / "state"


def test_what_a_database_of_cinderlib_has_otherwise_is_told_or_left_alone(
    edited: Path, url: str
) -> None:
    before = python(LIST, url)
    ran = migrate(edited, f"cinderlib+{url}")
    assert ran.returncode == 3
    assert "nothing was written" in ran.stderr
    assert python(LIST, url) == before
    ran = migrate(edited, f"cinderlib+{url}", "--on-conflict", "skip")
    assert "1 created, 0 updated, 1 the same, 5 left as they were" in ran.stdout
    after = json.loads(python(LIST, url))
    assert after["key_values"].pop("new") == "kv"
    assert after == json.loads(before)


@pytest.mark.parametrize("policy", ["overwrite", "merge"])
def test_a_database_of_cinderlib_takes_changes(
    edited: Path, url: str, tmp_path: Path, policy: str
) -> None:
    dry = migrate(edited, f"cinderlib+{url}", "--on-conflict", policy, "--dry-run")
    assert "would be: 1 created, 5 updated, 1 the same" in dry.stdout
    ran = migrate(edited, f"cinderlib+{url}", "--on-conflict", policy)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "1 created, 5 updated, 1 the same; both sides compared" in ran.stdout
    again = migrate(edited, f"cinderlib+{url}", "--on-conflict", policy)
    assert "0 created, 0 updated, 7 the same" in again.stdout
    found = json.loads(python(LIST, url))
    kept = policy == "merge"
    volumes = {id: (size, name, metadata) for id, size, name, metadata in found["volumes"]}
    assert volumes == {
        ONE: (11, "one", {"new": "x", **({"team": "db"} if kept else {})}),
        TWO: (2, "two" if kept else None, {}),
    }
    assert found["specs"][ONE] == {"fast": "yes", **({"tier": "gold"} if kept else {})}
    assert found["specs"][TWO] == {"tier": "iron"}
    assert found["connections"] == [[LINK, TWO, "other"]]
    assert found["key_values"] == {"owner": "ben", "nothing": None, "new": "kv"}
    migrate(f"cinderlib+{url}", tmp_path / "back")
    back = documents(tmp_path / "back")
    assert back["volumes"][ONE]["glance_metadata"] == {"os": "plan9"}
    snapshot = back["snapshots"][SNAP]
    assert (snapshot["status"], snapshot["metadata"]) == ("error", {"a": "1"})
    assert back["connections"][LINK]["mountpoint"] == "/dev/vdb"


def test_a_volume_of_cinderlibs_database_loses_its_type_and_gets_it_back(
    edited: Path, url: str
) -> None:
    for specs in (None, {"tier": "gold"}, None, {"tier": "lead"}):
        with filestore.open(edited) as store:
            typed = specs and {"extra_specs": specs}
            store["volumes"].patch(ONE, {"volume_type": None})
            store["volumes"].patch(ONE, {"volume_type": typed, "volume_type_id": specs and ONE})
        ran = migrate(edited, f"cinderlib+{url}", "--on-conflict", "overwrite")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert json.loads(python(LIST, url))["specs"][ONE] == (specs or {})


def test_what_cinderlib_has_no_place_for_stops_it(tmp_path: Path, url: str) -> None:
    with filestore.open(tmp_path / "state") as store:
        store["key_values"]["k"] = {"value": "v"}
        store["driver_data/lvm"]["x"] = {}
    ran = migrate(tmp_path / "state", f"cinderlib+{url}")
    assert ran.returncode == 3
    assert "driver_data/lvm" in ran.stderr
    assert json.loads(python(LIST, url))["key_values"] == {}


def test_a_value_that_is_no_text_is_told(tmp_path: Path, url: str) -> None:
    with filestore.open(tmp_path / "state") as store:
        store["key_values"]["k"] = {"value": {"a": 1}}
    ran = migrate(tmp_path / "state", f"cinderlib+{url}")
    assert ran.returncode == 2
    assert "key_values/k" in ran.stderr


@pytest.mark.parametrize(
    "end",
    [
        "cinderlib+mysql+pymysql://me:hush@127.0.0.1:1/cinder",
        "cinderlib+nothing://me:hush@127.0.0.1/cinder",
        "cinderlib+sqlite:////nowhere/at/all/cinder.sqlite?password=hush",
    ],
)
def test_a_database_that_is_not_to_be_had_is_one_line_without_its_password(
    tmp_path: Path, end: str
) -> None:
    ran = migrate(end, tmp_path / "state")
    assert ran.returncode == 6
    assert ran.stderr.splitlines()[-1].startswith("Error: cinderlib+")
    assert "Traceback" not in ran.stderr
    assert "hush" not in ran.stderr


def test_two_databases_of_cinderlib_need_a_folder_in_between(tmp_path: Path, url: str) -> None:
    ran = migrate(f"cinderlib+{url}", f"cinderlib+sqlite:///{tmp_path}/other.sqlite")
    assert ran.returncode == 3
    assert "folder" in ran.stderr
