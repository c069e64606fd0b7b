"""A process that works with real volumes through cinderlib and can be killed at any step.

``python -m tests.cinderlib.storage_day``: each line of its input is a JSON object that says
what to do in a child forked for it: the folders, the codec, and ``kill_at``, the number of
the step at which the child kills itself with SIGKILL (null: never).  It answers with how the child
ended.  A step is the beginning or the end of a call of the driver or the persistence, or a
call of the file system by the store.

The day resumes where it stopped: each task looks at what is there and does what is missing.
When a task is done, the child appends to its log what the store has, so that what later
children find can be compared with what had been promised.
"""

import json
import os
import signal
import sys
import warnings

warnings.simplefilter("ignore")

import cinderlib as cl  # noqa: E402  # the warnings that are ignored are of its imports
from oslo_utils import units  # noqa: E402

from filestore.engine import fs  # noqa: E402
from filestore.integrations.cinderlib import FilestorePersistence  # noqa: E402
from tests.cinderlib.sparse_driver import SparseDriver  # noqa: E402

DRIVER_CALLS = [
    "create_volume",
    "delete_volume",
    "extend_volume",
    "create_snapshot",
    "delete_snapshot",
    "create_export",
    "create_volume_from_snapshot",
    "create_cloned_volume",
    "remove_export",
    "initialize_connection",
    "terminate_connection",
]
KINDS = ("volume", "snapshot", "connection", "key_value")
WRITES = [f"{verb}_{kind}" for verb in ("set", "delete") for kind in KINDS]
FILE_CALLS = [
    "pwrite",
    "write",
    "fsync",
    "fdatasync",
    "rename",
    "exchange",
    "rename_new",
    "unlink",
    "mkdir",
    "syncfs",
]


class Day:
    """The tasks of a day; each may find what an earlier life left half done."""

    def __init__(self, backend):
        self.backend = backend
        self.persistence = backend.persistence

    def tasks(self):
        """Pairs of a task's function and the names of the resources it touches."""
        return [
            (self.create, ("db",)),
            (self.snapshot, ("db", "before")),
            (self.clone, ("db", "copy")),
            (self.restore, ("before", "restored")),
            (self.extend, ("db",)),
            (self.connect, ("db",)),
            (self.note, ("note",)),
            (self.attach, ("db",)),
            (self.detach, ("db",)),
            (self.disconnect, ("db",)),
            (self.delete_snapshot, ("before",)),
            (self.delete_copy, ("copy",)),
            (self.delete_restored, ("restored",)),
        ]

    def create(self):
        if not self.available("db"):
            self.backend.create_volume(1, "db", metadata={"team": "billing"})
        # Also in the life after one that ended between the two.
        (volume,) = self.available("db")
        with open(self.backend.driver.local_path(volume._ovo), "r+b") as disk:
            disk.write(b"precious")

    def snapshot(self):
        if not cl.Snapshot.get_by_name("before"):
            self.one("db").create_snapshot("before")

    def clone(self):
        if not self.available("copy"):
            self.one("db").clone(name="copy")

    def restore(self):
        if not self.available("restored"):
            cl.Snapshot.get_by_name("before")[0].create_volume(name="restored")

    def extend(self):
        volume = self.one("db")
        if volume.size < 2:
            volume.extend(2)

    def connect(self):
        volume = self.one("db")
        for stale in list(volume.connections):
            volume.disconnect(stale)
        self.one("db").connect({"host": "node1"})

    def note(self):
        self.persistence.set_key_value(cl.KeyValue("note", {"day": 1, "done": None}))

    def attach(self):
        connection = self.one("db").connections[0]
        # As Connection.attach does, without reading the device as root.
        connection.device_attached(
            connection.connector.connect_volume(connection.conn_info["data"])
        )

    def detach(self):
        connection = self.one("db").connections[0]
        if connection.attached:
            connection.detach()

    def disconnect(self):
        volume = self.one("db")
        for connection in list(volume.connections):
            connection.disconnect()
        volume = self.one("db")
        if volume.status != "available":
            volume._ovo.status = "available"
            volume.save()

    def delete_snapshot(self):
        for snapshot in cl.Snapshot.get_by_name("before"):
            snapshot.delete()

    def delete_copy(self):
        for volume in cl.Volume.get_by_name("copy"):
            volume.delete()

    def delete_restored(self):
        for volume in cl.Volume.get_by_name("restored"):
            volume.delete()

    @staticmethod
    def one(name):
        (volume,) = cl.Volume.get_by_name(name)
        return volume

    @staticmethod
    def available(name):
        return [each for each in cl.Volume.get_by_name(name) if each.status == "available"]


def live(orders):
    """A child's life: check what is there, go on with the day."""
    os.chdir(orders["files"])
    steps = Steps(orders["kill_at"])
    steps.count_calls(fs.FileSystem, FILE_CALLS, both=False)
    steps.count_calls(SparseDriver, DRIVER_CALLS)
    steps.count_calls(FilestorePersistence, WRITES)
    cl.setup(
        file_locks_path=orders["locks"],
        persistence_config={
            "storage": FilestorePersistence,
            "path": orders["state"],
            "codec": orders["codec"],
        },
    )
    backend = cl.Backend(
        "sparse",
        volume_driver="tests.cinderlib.sparse_driver.SparseDriver",
        sparse_directory=orders["files"],
    )
    day = Day(backend)
    tasks = day.tasks()
    log = Log(orders["log"])
    done, promised = log.last()
    in_flight = set(tasks[done][1]) if done < len(tasks) else set()
    compare(promised, contents(day.persistence.store), in_flight)
    compare_files(backend, in_flight)
    assert not day.persistence.store.check()
    for number in range(done, len(tasks)):
        tasks[number][0]()
        log.append(number + 1, contents(day.persistence.store))
    day.persistence.close()
    log.end(steps.taken)


class Steps:
    """Counts steps and kills the process at one of them."""

    def __init__(self, kill_at):
        self.kill_at = kill_at
        self.taken = 0

    def step(self):
        if self.taken == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.taken += 1

    def count_calls(self, cls, names, both=True):
        for name in names:
            setattr(cls, name, self.counted(vars(cls)[name], both))

    def counted(self, function, both):
        static = isinstance(function, staticmethod)
        target = function.__func__ if static else function

        def call(*args, **kwargs):
            self.step()
            result = target(*args, **kwargs)
            if both:
                self.step()
            return result

        return staticmethod(call) if static else call


class Log:
    """One line a finished task: how many are done, and what the store has."""

    def __init__(self, path):
        self.path = path

    def last(self):
        with open(self.path, "a+", encoding="utf-8") as file:
            file.seek(0)
            lines = file.readlines()
        return json.loads(lines[-1])[:2] if lines else (0, {})

    def append(self, *entry):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def end(self, steps):
        self.append(*self.last(), steps)


def contents(store):
    """All documents, by collection and id."""
    return {name: dict(store[name].items()) for name in store.collections()}


def compare(promised, found, in_flight):
    """What had been promised is there; only what the task in flight touches may differ."""
    names = {
        id: document["display_name"]
        for stage in (promised, found)
        for kind in ("volumes", "snapshots")
        for id, document in stage.get(kind, {}).items()
    }
    for kind in {*promised, *found}:
        before, after = promised.get(kind, {}), found.get(kind, {})
        for id in {*before, *after}:
            document = before.get(id) or after[id]
            name = names.get(document.get("volume_id")) if kind == "connections" else None
            if (name or names.get(id, id)) in in_flight:
                continue
            assert before.get(id) == after.get(id), (kind, id, before.get(id), after.get(id))


def compare_files(backend, in_flight):
    """What the store calls available is on disk, in its size and with its content."""
    for volume in cl.Volume.get_by_name(None):
        if volume.name in in_flight:
            continue
        path = backend.driver.local_path(volume._ovo)
        assert os.path.getsize(path) == volume.size * units.Gi
        with open(path, "rb") as disk:
            assert disk.read(8) == b"precious"
    for snapshot in cl.Snapshot.get_by_name(None):
        if snapshot.name not in in_flight:
            assert os.path.exists(backend.driver.local_path(snapshot._ovo))
            assert snapshot.backend is backend
            assert snapshot.progress == "100%"


def main():
    for line in sys.stdin:
        orders = json.loads(line)
        child = os.fork()
        if not child:
            try:
                live(orders)
            except BaseException:  # noqa: BLE001  # the child must end here, whatever happened
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
