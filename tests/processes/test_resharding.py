"""A store moves between fan-outs while processes read and write it, and the mover is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import filestore

ROOT = Path(__file__).parents[2]
IDS = [f"v{number}" for number in range(60)]
MOVER = """
import sys
from filestore.engine.files import FileBackend
backend = FileBackend(sys.argv[1], lock_timeout=60)
print("ready", flush=True)
while True:
    for fanout in (1, 2, 0):
        backend.reshard(fanout)
        print(fanout, flush=True)
        for _ in range(300):  # the lock is fair among nobody: let others have it
            assert len(backend.ids("volumes")) == 60
"""
WORKER = """
import random, sys
import filestore
chance = random.Random(sys.argv[2])
with filestore.open(sys.argv[1], lock_timeout=60) as store:
    volumes = store["volumes"]
    print("ready", flush=True)
    for step in range(int(sys.argv[3])):
        id = f"v{chance.randrange(60)}"
        assert id in volumes, (step, id)
        assert volumes[id]["id"] == id
        if step % 10 == 0:
            found = sorted(volumes)
            assert len(found) == 60, (step, len(found))
        if step % 5 == 0:
            volumes.patch(id, {sys.argv[2]: step})
            with store.transaction():
                document = volumes[id]
                document["count"] += 1
                volumes[id] = document
print("done", int(sys.argv[3]) // 5, flush=True)
"""


def start(code: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it told since it was ready; communicate() would lose what came with that line."""
    assert process.stdout is not None
    assert process.stderr is not None
    told = process.stdout.read(), process.stderr.read()
    process.communicate()
    return told


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    with filestore.open(path) as store, store.transaction():
        for id in IDS:
            store["volumes"][id] = {"id": id, "count": 0}
    return path


def test_readers_and_writers_lose_nothing_while_the_store_moves(root: Path) -> None:
    mover = start(MOVER, root)
    workers = [start(WORKER, root, f"w{number}", 100) for number in range(2)]
    told = [ended(worker) for worker in workers]
    mover.kill()
    moved, errors = ended(mover)
    assert [out for out, _ in told] == ["done 20\n"] * 2, (told, errors)
    assert moved.split(), errors
    with filestore.open(root) as store:
        assert sorted(store["volumes"]) == sorted(IDS)
        assert sum(document["count"] for document in store["volumes"].values()) == 40
        assert store.check() == []
    places = list(root.glob("volumes/**/*.json"))
    assert len(places) == len(IDS)
    assert len({len(path.parts) for path in places}) == 1


def test_a_mover_that_is_killed_leaves_every_document(root: Path) -> None:
    for _ in range(4):
        mover = start(MOVER, root)
        assert mover.stdout is not None
        mover.stdout.readline()
        mover.send_signal(signal.SIGKILL)
        mover.communicate()
        with filestore.open(root, readonly=True) as store:
            assert sorted(store["volumes"]) == sorted(IDS)
            assert all(store["volumes"][id]["id"] == id for id in IDS)
        with filestore.open(root) as store:
            assert store.check() == []
        assert len(list(root.glob("volumes/**/*.json"))) == len(IDS)
        assert not (root / ".filestore/reshard").exists()
