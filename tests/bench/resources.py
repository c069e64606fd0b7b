"""Loading and dumping whole systems, without Cinder and in real cinderlib with its ``db`` plugin.

::

    python -m tests.bench.resources [--volumes N] [--cinderlib PYTHON [--of M]] [--data FOLDER]

``PYTHON``: the interpreter of an environment that has the extra ``cinderlib``; without it only
filestore is measured.  Each volume has three snapshots and a connection.  Everybody
loads the same text, in a process of its own, and dumps what is stored.  cinderlib may be given
fewer volumes (``--of``), since its time grows with their number: what is compared is the time a
volume.

Memory is what Linux says that the process has, at its peak while it loads or dumps, over what it
had before (with the text, when it loads); the size of the data is the text's.  Each is measured in
a process of its own, so that nothing hides in what was used before and let go; but for the
store in memory, which is dumped by the process that loaded it.  What a dump grows by includes what
it returns: also told by itself, every object counted once.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
VOLUMES = 10_000
KINDS = ("file", "memory", "db")
LEAST = {"load(save=True)": 10.0, "dump()": 10.0}
MOST_GET = 30e-6
MOST_MEMORY = 2.0
LATER = "and what follows in the background"
GROWN = tuple(
    f"{what}: memory grown, times the text" for what in ("load(save=True)", "dump()", "dumps()")
)

Figures = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.resources", description=__doc__)
    parser.add_argument("--volumes", type=int, default=VOLUMES)
    parser.add_argument("--cinderlib", metavar="PYTHON")
    parser.add_argument("--of", type=int, metavar="M", help="how many volumes cinderlib gets")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=options.data))
    try:
        return compare(folder, options.volumes, options.cinderlib, options.of or options.volumes)
    finally:
        shutil.rmtree(folder)


def compare(folder: Path, volumes: int, cinderlib: str | None, of: int) -> int:
    measured = {kind: child(sys.executable, kind, folder, volumes) for kind in KINDS}
    if cinderlib is not None:
        measured["cinderlib, db"] = child(cinderlib, "cinderlib", folder, of)
    for kind, python, count in (
        *((kind, sys.executable, volumes) for kind in KINDS),
        ("cinderlib, db", cinderlib, of),
    ):
        for what in ("dump", "dumps"):
            if python is not None:
                measured[kind] |= child(python, kind.partition(",")[0], folder, count, what)
    failed = False
    print(f"\n{volumes} volumes with 3 snapshots and a connection each; seconds, loaded from text")
    print(f"{'':46}" + "".join(f"{kind:>16}" for kind in measured))
    for what in dict.fromkeys(name for figures in measured.values() for name in figures):
        line = [figures.get(what) for figures in measured.values()]
        print(f"{what:46}" + "".join(f"{'':>16}" if x is None else f"{x:16.6g}" for x in line))
    for what, least in LEAST.items():
        if cinderlib is not None:
            times = {kind: figures[f"{what}, a volume"] for kind, figures in measured.items()}
            ratio = times["cinderlib, db"] / times["file"]
            failed |= ratio < least
            print(f"{what}: {ratio:.1f} times faster than cinderlib; promised: {least:g}")
    for kind in KINDS:
        get = measured[kind]["get_volumes(volume_id=…)"]
        failed |= get > MOST_GET
        print(f"{kind}: get_volumes(volume_id=…) {get * 1e6:.1f} us; promised: < 30")
        for what in GROWN:
            grown = measured[kind][what]
            failed |= grown > MOST_MEMORY
            print(f"{kind}: {what}: {grown:.2f}; promised: < {MOST_MEMORY:g}")
    return int(failed)


def child(python: str, kind: str, folder: Path, volumes: int, what: str = "load") -> Figures:
    """Measure in a process of its own."""
    print(f"measuring: {kind}, {what}", file=sys.stderr)
    done = subprocess.run(
        [python, "-m", "tests.bench.resources", "--child", kind, str(folder), str(volumes), what],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def system(volumes: int) -> str:
    """The dump of such a system."""
    import filestore as cl

    cl.setup()
    backend = cl.Backend(volume_backend_name="lvm")
    with cl.Backend.persistence.exclusive():
        for number in range(volumes):
            volume = cl.Volume(
                backend,
                size=1 + number % 50,
                name=f"volume-{number}",
                metadata={"team": "billing", "number": str(number)},
                provider_location=f"192.0.2.10:3260,1 iqn.2010-10.org.openstack:volume-{number} 1",
            )
            volume.save()
            for each in range(3):
                cl.Snapshot(volume, name=f"snapshot-{each}", status="available").save()
            cl.Connection(
                volume=volume,
                attached_host="node1",
                connector={"host": "node1", "ip": "192.0.2.7", "multipath": False},
                connection_info={
                    "conn": {
                        "driver_volume_type": "iscsi",
                        "data": {"target_lun": number, "auth_method": "CHAP"},
                    },
                    "connector": {"host": "node1", "ip": "192.0.2.7", "multipath": False},
                },
            ).save()
    text = cl.dumps()
    cl.Backend.global_teardown()
    return text


def measure(kind: str, folder: Path, volumes: int, what: str) -> Figures:
    if what == "load":
        return measure_load(kind, folder, volumes)
    return measure_memory(kind, folder, volumes, what)


def measure_load(kind: str, folder: Path, volumes: int) -> Figures:
    text_file = folder / f"{volumes}.json"
    if not text_file.exists():
        with_filestore = [sys.executable, "-m", "tests.bench.resources", "--text", str(volumes)]
        with text_file.open("wb") as target:
            subprocess.run(with_filestore, stdout=target, check=True, cwd=ROOT)
    text = text_file.read_text()
    cl, backend = upstream(folder) if kind == "cinderlib" else ours(kind, folder)
    persistence = cl.Backend.persistence
    if kind == "cinderlib":
        text = with_types(text, persistence.DEFAULT_TYPE.id)
    before = _resident()
    load = timed(lambda: cl.load(text, save=True))
    grown = _most_resident() - before
    later = {}
    if kind == "file":
        persistence.store.checkpoint()
        persistence.store.rescan()  # and all else that the handle's threads do after a commit
        later[LATER] = (_most_resident() - before) / len(text)
    backend._volumes = None
    dump = timed(cl.dump)
    ids = [volume.id for volume in backend.volumes[:500]]
    gets = [timed(partial(persistence.get_volumes, volume_id=id)) for id in ids * 3]
    assert len(persistence.get_snapshots()) == 3 * volumes
    return {
        "load(save=True)": load,
        "load(save=True), a volume": load / volumes,
        "dump()": dump,
        "dump(), a volume": dump / volumes,
        "get_volumes(volume_id=…)": statistics.median(gets[len(ids) :]),
        GROWN[0]: grown / len(text),
        **later,
    }


def measure_memory(kind: str, folder: Path, volumes: int, what: str) -> Figures:
    """What a dump takes, in a process that has not loaded anything, if the store is not its own."""
    cl, backend = upstream(folder) if kind == "cinderlib" else ours(kind, folder)
    text_file = folder / f"{volumes}.json"
    size = text_file.stat().st_size
    if kind == "memory":
        cl.load(text_file.read_text(), save=True)
    backend._volumes = None
    before = _resident()
    value = cl.dump() if what == "dump" else cl.dumps()
    grown = _most_resident() - before
    found = {f"{what}(): memory grown, times the text": grown / size}
    if what == "dump":
        found["dump(): what it returns, times the text"] = size_of(value) / size
    return found


def size_of(value: Any) -> int:
    """The memory that JSON's objects take, each counted once; units of 16 bytes are handed out."""
    seen: set[int] = set()
    size, left = 0, [value]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        size += -(-sys.getsizeof(each) // 16) * 16
        if isinstance(each, dict):
            left += each.keys()
            left += each.values()
        elif isinstance(each, list):
            left += each
    return size


def ours(kind: str, folder: Path) -> tuple[Any, Any]:
    import filestore as cl

    config: dict[str, Any] = {"storage": "memory"}
    if kind == "file":
        config = {"storage": "file", "path": folder / "state"}
    elif kind == "db":
        config = {"storage": "db", "connection": f"sqlite:///{folder}/state.db"}
    cl.setup(persistence_config=config)
    return cl, cl.Backend(volume_backend_name="lvm")


def upstream(folder: Path) -> tuple[Any, Any]:
    """cinderlib with its db plugin, mended where it cannot load snapshots of volumes at all."""
    warnings.simplefilter("ignore")
    import cinderlib as cl
    from cinderlib.persistence.dbms import DBPersistence
    from cinderlib.tests.unit import utils
    from oslo_versionedobjects import fields

    class Mended(DBPersistence):  # type: ignore[misc]  # cinderlib has no types
        def get_fields(self, resource: Any) -> dict[str, Any]:
            if not isinstance(resource, cl.Snapshot):
                found: dict[str, Any] = super().get_fields(resource)
                return found
            return {  # upstream looks for the snapshot's type, which snapshots do not have
                name: getattr(resource._ovo, name)
                for name, field in resource.fields.items()
                if resource._ovo.obj_attr_is_set(name)
                and name not in resource.obj_extra_fields
                and not isinstance(field, fields.ObjectField)
            }

    connection = f"sqlite:///{folder}/cinder.sqlite"
    cl.setup(persistence_config={"storage": Mended, "connection": connection})
    return cl, utils.FakeBackend(volume_backend_name="lvm")


def with_types(text: str, type_id: str) -> str:
    """The dump with a type for snapshots of volumes that have none: Cinder's table wants one."""
    dump = json.loads(text)
    for volume in dump[0]["volumes"]:
        data = volume["ovo"]["versioned_object.data"]
        for snapshot in data["snapshots"]["versioned_object.data"]["objects"]:
            snapshot["versioned_object.data"]["volume_type_id"] = type_id
    return json.dumps(dump)


def _resident() -> int:
    """The memory that the process has, in bytes; what it has had before counts no more.

    Without that a load would hide in what it took to read the text.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _of_status("VmRSS")


def _most_resident() -> int:
    """The most that the process has had since :func:`_resident`, in bytes."""
    return _of_status("VmHWM")


def _of_status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(found) * 1024


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


if __name__ == "__main__":
    if sys.argv[1:2] == ["--text"]:
        sys.stdout.write(system(int(sys.argv[2])))
    elif sys.argv[1:2] == ["--child"]:
        kind, folder, volumes, what = sys.argv[2:]
        print(json.dumps(measure(kind, Path(folder), int(volumes), what)))
    else:
        sys.exit(main())
