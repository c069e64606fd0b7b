"""cinderlib programs on one store, each a process of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import filestore

ROOT = Path(__file__).parents[2]
PRELUDE = """
import sys, warnings
warnings.simplefilter("ignore")
import cinderlib as cl
from filestore.integrations.cinderlib import FilestorePersistence
path, folder = sys.argv[1:]

def sparse():
    return cl.Backend(
        "sparse",
        volume_driver="tests.cinderlib.sparse_driver.SparseDriver",
        sparse_directory=folder,
    )
"""


@pytest.fixture
def program(entry_points, tmp_path, path):
    """Runs programs that find the store at ``path`` and a folder for files in ``folder``."""
    folder = tmp_path / "files"
    folder.mkdir()
    python_path = os.pathsep.join([str(ROOT), str(entry_points)])

    def start(source, before=""):
        return subprocess.Popen(
            [sys.executable, "-c", before + PRELUDE + textwrap.dedent(source), path, folder],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": python_path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(source, before=""):
        process = start(source, before)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return output

    run.start = start
    return run


def test_a_program_names_the_plugin_and_another_reads(program, path):
    options = {
        "storage": "filestore",
        "path": str(path),
        "codec": "yaml",
        "durability": "normal",
        "soft_deletes": True,
        "lock_timeout": 5,
        "file_mode": "0640",
    }
    program(
        f"""
        cl.setup(persistence_config={options!r}, non_uuid_ids=True)
        volume = sparse().create_volume(1, "disk", id="group_7")
        volume.create_snapshot("before")
        cl.Backend.persistence.set_key_value(cl.KeyValue("a/b", None))
        gone = sparse().create_volume(1, "gone")
        gone.delete()
        """
    )
    output = program(
        f"""
        cl.setup(persistence_config={options!r}, non_uuid_ids=True, fail_on_missing_backend=False)
        (volume,) = cl.Backend.persistence.get_volumes()
        print(volume.id, volume.name, volume.size, volume.status, volume.backend)
        print(sparse().volumes[0].snapshots[0].name)
        print(cl.Backend.persistence.get_key_values()[0].key)
        """
    )
    assert output.splitlines() == ["group_7 disk 1 available sparse", "before", "a/b"]
    assert {file.suffix for file in (path / "volumes").iterdir()} == {".yaml"}
    assert {file.stat().st_mode & 0o777 for file in (path / "volumes").iterdir()} == {0o640}
    with filestore.open(path) as store:
        assert sorted(each["status"] for each in store["volumes"].values()) == [
            "available",
            "deleted",
        ]


def test_an_instance_made_before_cinderlib_is_set_up_serves_it(program):
    output = program(
        """
        plugin = FilestorePersistence(path)
        cl.setup(persistence_config={"storage": plugin})
        volume = sparse().create_volume(1, "disk")
        volume.create_snapshot("before")
        assert cl.Backend.persistence is plugin
        loaded = cl.Volume.get_by_id(volume.id)
        assert loaded.dumps == volume.dumps, (loaded.dumps, volume.dumps)
        assert loaded.created_at.microsecond == volume.created_at.microsecond
        print(loaded.json["ovo"]["versioned_object.data"]["created_at"])
        """
    )
    assert "." in output


def test_a_dump_of_all_is_taken_over_by_another_store(program, tmp_path, path):
    program(
        """
        cl.setup(persistence_config={"storage": FilestorePersistence, "path": path},
                 output_all_backend_info=True)
        volume = sparse().create_volume(1, "disk", extra_specs={"thin": "true"})
        volume.create_snapshot("before")._ovo.progress
        volume.connect({"host": "node1"})
        volume._ovo.snapshots.objects[0].progress = "sparse"  # else upstream can't load it
        volume.snapshots[0].save()
        cl.Backend.backends["sparse"].refresh()
        open("dump", "w").write(cl.dumps())
        """
    )
    program(
        """
        cl.setup(persistence_config={"storage": FilestorePersistence, "path": path + "-2"})
        cl.load(open("dump").read(), save=True)
        """
    )
    with filestore.open(path) as one, filestore.open(f"{path}-2") as other:
        assert other.collections() == ["connections", "snapshots", "volumes"]
        for name in one.collections():
            assert dict(other[name].items()) == dict(one[name].items())


def test_two_programs_that_hold_a_volume_lose_nothing_of_each_other(program, path):
    setup = 'cl.setup(persistence_config={"storage": FilestorePersistence, "path": path})\n'
    id = program(setup + 'print(sparse().create_volume(1, "disk").id)').strip()
    source = (
        setup
        + f"""
sparse()
volume = cl.Volume.get_by_id("{id}")
print("ready", flush=True)
sys.stdin.readline()
for number in range(50):
    volume.metadata[f"%s-{{number}}"] = "x"
    volume._ovo.%s = str(number)
    volume.save()
"""
    )
    fields = ("display_description", "availability_zone")
    writers = [program.start(source % (name, name)) for name in fields]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.close()
    for writer in writers:
        assert writer.wait(timeout=120) == 0
        writer.stdout.close()
    with filestore.open(path) as store:
        document = store["volumes"][id]
        assert store.check() == []
    assert len(document["metadata"]) == 100
    assert [document[name] for name in fields] == ["49", "49"]


def test_admin_metadata_of_two_programs_is_added_up(program, path):
    setup = 'cl.setup(persistence_config={"storage": FilestorePersistence, "path": path})\n'
    id = program(setup + 'print(sparse().create_volume(1, "disk").id)').strip()
    source = (
        setup
        + f"""
sparse()
for number in range(50):
    with cl.Backend.persistence.exclusive():
        db = cl.Backend.persistence.db
        count = int(db.volume_admin_metadata_get(None, "{id}").get("count", "0"))
        db.volume_admin_metadata_update(None, "{id}", {{"count": str(count + 1)}}, False)
"""
    )
    writers = [program.start(source) for _ in range(2)]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    with filestore.open(path) as store:
        assert store["volumes"][id]["admin_metadata"] == {"count": "100"}


def test_green_threads_see_edits_and_need_no_thread_that_listens(program, path):
    with filestore.open(path) as store:
        store["key_values"]["k"] = {"value": "old"}
    process = program.start(
        """
        cl.setup(persistence_config={"storage": FilestorePersistence, "path": path})
        store = cl.Backend.persistence.store
        print(store.stats()["watching_why_not"], flush=True)
        print(store["key_values"]["k"]["value"], flush=True)
        eventlet.tpool.execute(sys.stdin.readline)
        print(store["key_values"]["k"]["value"], flush=True)
        """,
        before="import eventlet, eventlet.tpool\neventlet.monkey_patch()\n",
    )
    with process:
        assert process.stdout.readline() == "green threads\n"
        assert process.stdout.readline() == "old\n"
        (path / "key_values" / "k.json").write_text('{"value": "edited"}')
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "edited\n"
        process.stdin.close()


def test_waiting_for_a_lock_lets_other_green_threads_run(program, path):
    filestore.open(path).close()
    process = program.start(
        """
        cl.setup(persistence_config={"storage": FilestorePersistence, "path": path})
        ticks = 0

        def tick():
            global ticks
            while True:
                eventlet.sleep(0.01)
                ticks += 1
                if ticks == 50:
                    print("ticked", flush=True)

        eventlet.spawn(tick)
        print("ready", flush=True)
        eventlet.tpool.execute(sys.stdin.readline)
        cl.Backend.persistence.set_key_value(cl.KeyValue("k", "v"))
        print("written", flush=True)
        """,
        before="import eventlet, eventlet.tpool\neventlet.monkey_patch()\n",
    )
    with process, filestore.open(path) as store:
        assert process.stdout.readline() == "ready\n"
        with store.transaction():
            process.stdin.write("go\n")
            process.stdin.flush()
            # The clock of its hub goes on while it waits for the lock that is held here.
            assert process.stdout.readline() == "ticked\n"
        assert process.stdout.readline() == "written\n"
        process.stdin.close()
