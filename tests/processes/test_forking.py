"""Forks with an open store: parent and child each have locks, cache and threads of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import Closed, FilestoreError
from tests.processes.actors import DEADLINE, assert_sound, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from filestore import Store
    from tests.processes.actors import Actor

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def forked(function: Callable[[], object]) -> int:
    """Run it in a child; the child's pid.  Exit status 0 if it does not raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the fork beside threads is meant
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(int(DEADLINE))
        function()
        status = 0
    except BaseException:  # the child must not run the rest of the test  # noqa: BLE001  # told to the test, whatever it is
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def waited(pid: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def in_actor(start: Callable[..., Actor], function: Callable[..., object], *args: Any) -> None:
    """Run it in a process of its own, so that the test runner's is not forked with open stores."""
    actor = start(function, *args)
    actor.end()


def both_write(pipe: Connection, path: Path, durability: str) -> None:
    store = filestore.open(path, durability=durability)
    store["c"]["before"] = {"value": 1}
    ready, wake = os.pipe()

    def child() -> None:
        assert store["c"]["before"] == {"value": 1}
        for n in range(20):
            store["c"][f"child-{n}"] = {"value": n}
            store["c"].patch("both", {"child": n})
        os.write(wake, b"x")
        until(lambda: store["c"].get("last") == {"value": "parent"})
        assert store["c"]["both"] == {"child": 19, "parent": 19}
        store.close()

    store["c"]["both"] = {}
    pid = forked(child)
    for n in range(20):
        store["c"][f"parent-{n}"] = {"value": n}
        store["c"].patch("both", {"parent": n})
    os.read(ready, 1)
    assert store["c"]["both"] == {"child": 19, "parent": 19}
    assert len(store["c"]) == 42
    store["c"]["last"] = {"value": "parent"}
    waited(pid)
    store["c"]["after"] = {"value": 2}
    store.close()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_parent_and_child_go_on_with_a_store_opened_before_the_fork(
    path: Path, start: Callable[..., Actor], durability: str
) -> None:
    in_actor(start, both_write, path, durability)
    assert len(assert_sound(path)) == 44


def fork_in_transaction(pipe: Connection, path: Path) -> None:
    store = filestore.open(path)

    def child(tx: Any) -> None:
        with pytest.raises(FilestoreError):
            tx["c"]["tx-in-child"] = {}
        with store.transaction() as mine:  # begins when the parent's has ended
            mine["c"]["child"] = {"value": mine["c"]["parent"]}
        store.close()

    with store.transaction() as tx:
        tx["c"]["parent"] = {"value": 1}
        pid = forked(lambda: child(tx))
        tx["c"]["parent"] = {"value": 2}
    waited(pid)
    assert store["c"]["child"] == {"value": {"value": 2}}
    store.close()


def test_a_transaction_is_the_parents_alone(path: Path, start: Callable[..., Actor]) -> None:
    in_actor(start, fork_in_transaction, path)
    assert set(assert_sound(path)) == {("c", "parent"), ("c", "child")}


def leave_transaction_in_child(pipe: Connection, path: Path) -> None:
    store = filestore.open(path, lock_timeout=0.2)
    child = 0
    raised = False
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            with store.transaction() as tx:
                tx["c"]["one"] = {"by": parent}
                child = os.fork()
                if child:
                    waited(child)
                    # The end of the block in the child took nothing away from here.
                    holder = store._backend._ground.state.holder
                    assert holder is not None
                    assert holder.pid == parent
                    other = filestore.open(path, lock_timeout=0.05)
                    with pytest.raises(filestore.LockTimeout):
                        other["c"]["two"] = {}
        except FilestoreError:
            raised = True
    if not child:
        os._exit(0 if raised else 1)
    assert not raised
    assert store["c"]["one"] == {"by": parent}
    store.close()


def test_a_child_that_leaves_the_parents_transaction_commits_nothing(
    path: Path, start: Callable[..., Actor]
) -> None:
    in_actor(start, leave_transaction_in_child, path)
    with filestore.open(path) as store:
        assert store.revision == 1


def fork_beside_commits(pipe: Connection, path: Path) -> None:
    store = filestore.open(path, durability="normal")
    stop = threading.Event()

    def commit() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            store["c"]["thread"] = {"value": n}

    threads = [threading.Thread(target=commit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(15):

        def child(turn: int = turn) -> None:
            store["c"][f"child-{turn}"] = {"value": store["c"].get("thread", {})}
            with store.transaction() as tx:
                tx["c"]["count"] = {"value": tx["c"].get("count", {"value": 0})["value"] + 1}
            with store.snapshot() as view:
                assert view["c"]["count"] == store["c"]["count"]
            store.close()

        waited(forked(child))
    stop.set()
    for thread in threads:
        thread.join()
    assert store["c"]["count"] == {"value": 15}
    assert store.check() == []
    store.close()


def test_a_fork_while_other_threads_commit(path: Path, start: Callable[..., Actor]) -> None:
    in_actor(start, fork_beside_commits, path)
    assert len(assert_sound(path)) == 17


def fork_with_view(pipe: Connection, path: Path) -> None:
    store = filestore.open(path)
    store["c"]["a"] = {"value": 1}
    view = store.snapshot()
    ready, wake = os.pipe()

    def child() -> None:
        os.read(ready, 1)
        store["c"]["a"] = {"value": 3}
        try:
            assert view["c"]["a"] == {"value": 1}
        except (Closed, filestore.Conflict):
            pass  # it says that it does not know: that is honest too
        store.close()

    pid = forked(child)
    store["c"]["a"] = {"value": 2}
    os.write(wake, b"x")
    waited(pid)
    assert view["c"]["a"] == {"value": 1}
    store.close()


def test_a_view_taken_before_the_fork_never_shows_another_revision(
    path: Path, start: Callable[..., Actor]
) -> None:
    in_actor(start, fork_with_view, path)


def fork_with_mutex_held(pipe: Connection, path: Path) -> None:
    store = filestore.open(path)
    store["c"]["a"] = {"value": 1}
    watched: list[Any] = []
    subscription = store.watch(watched.append)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with store._backend._reads.mutex:
            held.set()
            go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def child() -> None:
        with store.snapshot() as view:
            assert view["c"]["a"] == {"value": 1}
        assert store.stats()["revision"] == 1
        store["c"]["b"] = {}
        store.close()

    pid = forked(child)
    go.set()
    thread.join()
    waited(pid)
    subscription.close()
    store.close()


def test_a_lock_that_another_thread_held_at_the_fork_does_not_hang_the_child(
    path: Path, start: Callable[..., Actor]
) -> None:
    in_actor(start, fork_with_mutex_held, path)


def die_with_heir(pipe: Connection, path: Path) -> None:
    """Fork inside a transaction; the child lives on, and its pid is told."""
    store = filestore.open(path)
    store["c"]["a"] = {"value": 1}
    with store.transaction() as tx:
        tx["c"]["a"] = {"value": 2}
        ready, wake = os.pipe()

        def child() -> None:
            signal.alarm(0)
            os.write(wake, b"x")
            signal.pause()

        pid = forked(child)
        os.read(ready, 1)
        pipe.send(pid)
        pipe.recv()  # killed here


def test_a_child_that_outlives_the_writer_does_not_keep_the_lock(
    path: Path, start: Callable[..., Actor]
) -> None:
    writer = start(die_with_heir, path)
    heir = writer.hear()
    try:
        writer.kill()
        with filestore.open(path, lock_timeout=5.0) as store:
            store["c"]["b"] = {"value": 3}
            assert store["c"]["a"] == {"value": 1}
    finally:
        os.kill(heir, signal.SIGKILL)
    assert set(assert_sound(path)) == {("c", "a"), ("c", "b")}


POOLED: list[Store] = []


def _open_pooled(path: str) -> None:
    POOLED.append(filestore.open(path, lock_timeout=DEADLINE))


def _add(number: int) -> int:
    store = POOLED[0]
    with store.transaction() as tx:
        total = tx["c"].get("total", {"value": 0})["value"] + number
        tx["c"]["total"] = {"value": total}
        tx["c"][f"n{number}"] = {}
    return number


@pytest.fixture
def pooled() -> Iterator[list[Store]]:
    yield POOLED
    while POOLED:
        POOLED.pop().close()


def pool_with_inherited_store(pipe: Connection, path: Path) -> None:
    _open_pooled(str(path))
    POOLED[0]["c"]["total"] = {"value": 0}
    with (
        warnings.catch_warnings(),
        multiprocessing.get_context("fork").Pool(3) as pool,
    ):
        warnings.simplefilter("ignore", DeprecationWarning)
        assert sorted(pool.imap_unordered(_add, range(60))) == list(range(60))
        pool.close()
        pool.join()
    assert POOLED[0]["c"]["total"] == {"value": sum(range(60))}
    POOLED.pop().close()


def test_a_pool_of_forked_workers_shares_the_parents_store(
    path: Path, start: Callable[..., Actor]
) -> None:
    actor = start(_undaemonic, pool_with_inherited_store, path)
    actor.end()
    assert len(assert_sound(path)) == 61


def _undaemonic(pipe: Connection, function: Callable[..., None], path: Path) -> None:
    function(pipe, path)


def test_a_pool_of_spawned_workers_opens_the_store_anew(path: Path) -> None:
    filestore.open(path).close()
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, initializer=_open_pooled, initargs=(str(path),)) as pool:
        assert sorted(pool.imap_unordered(_add, range(40))) == list(range(40))
        pool.close()
        pool.join()
    assert assert_sound(path)["c", "total"] == {"value": sum(range(40))}


SLOW_IMPORT = """
import os, signal, sys, threading, time
import filestore

signal.alarm(50)
module, path = sys.argv[1:]
importing, forking = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, *_):
        if name == module and os.getpid() == parent:
            os.register_at_fork(before=forking.set)  # what is registered last is called first
            importing.set()
            assert forking.wait(30)

parent = os.getpid()
sys.meta_path.insert(0, Slow())
store = filestore.open(path)
assert importing.wait(30)
pid = os.fork()
if not pid:
    signal.alarm(20)
    with filestore.open(path) as mine:
        mine["c"]["child"] = {}
        while not mine.stats()["watching"]:
            time.sleep(0.001)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the child hung"
assert "child" in store["c"]
store.close()
"""


@pytest.mark.parametrize("module", ["filelock", "watchdog.observers.inotify_c"])
def test_a_fork_while_a_thread_of_the_store_imports_leaves_the_child_able_to(
    path: Path, module: str
) -> None:
    filestore.open(path).close()
    done = subprocess.run(
        [sys.executable, "-c", SLOW_IMPORT, module, str(path)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr


ALL_IMPORTS = """
import sys, threading, time
import filestore
from filestore.importing import _under_way

unguarded = []

class Recording:
    def find_spec(self, name, *_):
        if threading.current_thread() is not threading.main_thread():
            if not _under_way.lock._is_owned() and name != "logging":
                unguarded.append(name)

sys.meta_path.insert(0, Recording())
path = sys.argv[1]
until = time.monotonic() + 30

def wait_for(condition):
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)

with filestore.open(path) as store:
    store["c"]["a"] = {"value": 1}
    wait_for(lambda: store.stats()["watching"] and store.stats()["passes"])
    with open(path + "/c/a.json", "w") as file:
        file.write('{"value": 2}')
    wait_for(lambda: store.revision == 2)
    store["c"]["b"] = {"value": 3}
    wait_for(lambda: store.stats()["checkpoint_revision"] == 3)
assert not unguarded, unguarded
"""


def test_the_threads_of_a_store_import_nothing_that_a_fork_does_not_wait_for(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL_IMPORTS, str(path)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
