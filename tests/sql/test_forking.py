"""Children of a fork: connections of their own, or a clear refusal."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import filestore
from filestore import Closed, FilestoreError, StorageError, Store
from tests.contract.backend import GRACE, Worker
from tests.sql.forking import in_child

if TYPE_CHECKING:
    from pathlib import Path


def refuses(store: Store, kind: type[FilestoreError]) -> bool:
    try:
        store["volumes"].get("a")
    except kind:
        return True
    return False


def test_parent_and_child_go_on(tmp_path: Path) -> None:
    with filestore.open(f"sqlite:///{tmp_path}/state.db") as store:
        store["volumes"]["a"] = {"n": 1}

        def work() -> bool:
            for n in range(20):
                store["volumes"]["child"] = {"n": n}
            return store["volumes"]["a"] == {"n": 1}

        assert in_child(work) == 0
        assert store["volumes"]["child"] == {"n": 19}
        for n in range(20):
            store["volumes"]["parent"] = {"n": n}
        assert store.check() == []


def test_a_child_outlives_its_parents_handle(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    store = filestore.open(url)
    store["volumes"]["a"] = {"n": 1}
    closed, done = os.pipe(), os.pipe()

    def work() -> bool:
        os.read(closed[0], 1)
        store["volumes"]["b"] = {"n": 2}
        os.write(done[1], b"x")
        return store["volumes"]["a"] == {"n": 1}

    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    store.close()
    os.write(closed[1], b"x")
    os.read(done[0], 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for end in (*closed, *done):
        os.close(end)
    with filestore.open(url) as again:
        assert again["volumes"] == {"a": {"n": 1}, "b": {"n": 2}}
        assert again.check() == []


def test_a_child_of_a_fork_in_the_midst_of_a_write_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with filestore.open(url) as store:
        store["volumes"]["a"] = {"n": 1}
        holding, release = threading.Event(), threading.Event()

        def hold() -> None:
            with store.transaction():
                holding.set()
                assert release.wait(GRACE)
                store["volumes"]["b"] = {"n": 2}

        holder = Worker(hold)
        holder.start()
        assert holding.wait(GRACE)

        def work() -> bool:
            try:
                filestore.open(url)
            except StorageError:
                return refuses(store, StorageError)
            return False

        assert in_child(work) == 0
        release.set()
        holder.done()
        assert store["volumes"]["b"] == {"n": 2}
        assert store.check() == []


def test_a_store_in_memory_is_its_parents_alone() -> None:
    with filestore.open("sqlite://") as store:
        store["volumes"]["a"] = {}
        assert in_child(lambda: refuses(store, Closed)) == 0
        assert store["volumes"]["a"] == {}
