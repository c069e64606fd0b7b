"""The write lock between real processes: held, paused, killed, deleted, replaced (L1)."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore.errors import FilestoreError, LockTimeout
from tests.processes.actors import HookedFileSystem, assert_sound, quiet, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.processes.actors import Actor

LONG = 60.0


def hold(pipe: Connection, path: Path) -> None:
    """Say when a transaction is open, and end it when told."""
    with filestore.open(path, lock_timeout=LONG) as store:
        with store.transaction() as tx:
            tx["c"]["held"] = {"pid": os.getpid()}
            pipe.send("in")
            pipe.recv()
        pipe.send("out")
        pipe.recv()


def put_once(pipe: Connection, path: Path) -> None:
    """Say that the store is open, write when told, and tell."""
    with filestore.open(path, lock_timeout=LONG) as store:
        pipe.send("open")
        pipe.recv()
        store["c"][f"by-{os.getpid()}"] = {}
        pipe.send("written")
        pipe.recv()


def stop_in_commit(pipe: Connection, path: Path, call: str) -> None:
    """Say the pid and stop in the middle of a commit, at ``call``."""

    def stop(name: str, args: tuple[Any, ...]) -> None:
        if armed and name == call:
            armed.clear()
            pipe.send("stopping")
            os.kill(os.getpid(), signal.SIGSTOP)

    armed: list[bool] = []
    store = quiet(path, HookedFileSystem(stop))
    store["c"]["one"] = {"value": 1}
    armed.append(True)
    store["c"]["one"] = {"value": 2}
    pipe.send("woken")
    store.close()


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "exchange"])
def test_a_writer_stopped_inside_a_commit_is_named_and_loses_nothing_when_woken(
    path: Path, start: Callable[..., Actor], call: str
) -> None:
    store = filestore.open(path, lock_timeout=0.2)
    stopped = start(stop_in_commit, path, call)
    assert stopped.hear() == "stopping"
    stopped.await_stop()
    for _ in range(3):
        with pytest.raises(LockTimeout) as caught:
            store["c"]["two"] = {"value": 2}
        assert caught.value.pid == stopped.pid
        assert str(stopped.pid) in str(caught.value)
    assert "two" not in store["c"]
    # Whoever reads need not wait, and sees all of the commit or nothing.
    assert store["c"]["one"]["value"] == (2 if call == "exchange" else 1)
    stopped.wake()
    assert stopped.hear() == "woken"
    stopped.end()
    store["c"]["two"] = {"value": 3}
    assert store["c"]["one"] == {"value": 2}
    store.close()
    assert assert_sound(path) == {("c", "one"): {"value": 2}, ("c", "two"): {"value": 3}}


def test_waiters_go_on_when_the_holder_is_killed(path: Path, start: Callable[..., Actor]) -> None:
    filestore.open(path).close()
    holder = start(hold, path)
    assert holder.hear() == "in"
    waiters = [start(put_once, path) for _ in range(3)]
    for waiter in waiters:
        assert waiter.hear() == "open"
        waiter.say("go")
    assert not any(waiter.said_anything() for waiter in waiters)
    holder.kill()
    for waiter in waiters:
        assert waiter.hear() == "written"
        waiter.say("done")
        waiter.end()
    assert set(assert_sound(path)) == {("c", f"by-{waiter.pid}") for waiter in waiters}


def open_and_write(path: Path) -> None:
    """With little patience."""
    with filestore.open(path, lock_timeout=0.2) as late:
        late["c"]["late"] = {}


def delete_lock(path: Path) -> None:
    (path / ".filestore/lock").unlink()


def replace_lock(path: Path) -> None:
    new = path / "new-lock"
    new.write_bytes(b"")
    new.rename(path / ".filestore/lock")


def delete_state(path: Path) -> None:
    (path / ".filestore/state").unlink()


def delete_runtime(path: Path) -> None:
    # Out of the way first: who has the store open may make it anew at any moment.
    gone = path.with_name("gone")
    (path / ".filestore").rename(gone)
    shutil.rmtree(gone)


@pytest.mark.parametrize("meddle", [delete_lock, replace_lock, delete_state, delete_runtime])
def test_two_writers_are_never_in_at_once_whatever_happens_to_the_lock_file(
    path: Path, start: Callable[..., Actor], meddle: Callable[[Path], None]
) -> None:
    with filestore.open(path) as store:
        store["c"]["first"] = {}
    holder = start(hold, path)
    early = start(put_once, path)  # has the store open before
    assert (holder.hear(), early.hear()) == ("in", "open")
    meddle(path)
    early.say("go")
    # A new handle may wait on open already, where it has to make runtime files anew.
    with pytest.raises(LockTimeout):
        open_and_write(path)
    assert not early.said_anything()
    holder.say("go")
    assert holder.hear() == "out"
    assert early.hear() == "written"
    for actor in (holder, early):
        actor.say("done")
        actor.end()
    state = assert_sound_or_without_history(path, meddle)
    assert ("c", "first") in state
    assert ("c", f"by-{early.pid}") in state
    assert ("c", "held") in state


def assert_sound_or_without_history(
    path: Path, meddle: Callable[[Path], None]
) -> dict[tuple[str, str], Any]:
    """Deleting the journal loses the history, as documented; nothing else may go."""
    if meddle is not delete_runtime:
        return assert_sound(path)
    with filestore.open(path, create=False) as store:
        assert store.check() == []
        return {("c", id): document for id, document in store["c"].items()}


@pytest.mark.parametrize("meddle", [delete_lock, replace_lock, delete_state, delete_runtime])
def test_a_handle_that_finds_its_lock_file_gone_takes_the_new_one_before_it_writes(
    path: Path, start: Callable[..., Actor], meddle: Callable[[Path], None]
) -> None:
    with filestore.open(path) as store:
        store["c"]["first"] = {}
        meddle(path)
        with store.transaction() as tx:
            other = start(put_once, path) if meddle in (delete_lock, replace_lock) else None
            tx["c"]["second"] = {}
            if other is not None:
                assert other.hear() == "open"
                other.say("go")
            with pytest.raises(LockTimeout):
                open_and_write(path)
            assert other is None or not other.said_anything()
        if other is not None:
            assert other.hear() == "written"
            other.say("done")
            other.end()
    with filestore.open(path) as store:
        assert store.check() == []
        assert {"first", "second"} <= set(store["c"])


def count_up(pipe: Connection, path: Path, times: int) -> None:
    """Add one, so often; whoever is in alone may make the mark."""
    mark = path.parent / "mark"
    store = filestore.open(path, lock_timeout=LONG)
    pipe.send("open")
    pipe.recv()
    for _ in range(times):
        with store.transaction() as tx:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            tx["c"]["count"] = {"value": tx["c"]["count"]["value"] + 1}
            mark.unlink()
    store.close()


def test_two_processes_are_never_in_while_the_lock_file_is_deleted_over_and_over(
    path: Path, start: Callable[..., Actor]
) -> None:
    with filestore.open(path) as store:
        store["c"]["count"] = {"value": 0}
    actors = [start(count_up, path, 100) for _ in range(3)]
    for actor in actors:
        assert actor.hear() == "open"
    for actor in actors:
        actor.say("go")
    turn = 0
    while any(actor.process.is_alive() for actor in actors):
        turn += 1
        try:
            (delete_lock if turn % 2 else replace_lock)(path)
        except FileNotFoundError:
            pass
        for actor in actors:
            actor.process.join(0.002)
    for actor in actors:
        actor.end()
    assert assert_sound(path)["c", "count"] == {"value": 300}


def test_open_handles_go_on_when_the_runtime_folder_is_deleted(path: Path) -> None:
    one = filestore.open(path)
    other = filestore.open(path)
    one["c"]["a"] = {"value": 1}
    assert other["c"]["a"] == {"value": 1}
    one.checkpoint()
    delete_runtime(path)
    assert one["c"]["a"] == {"value": 1}
    one["c"]["b"] = {"value": 2}
    other["c"]["d"] = {"value": 3}
    one["c"]["a"] = {"value": 4}
    for store in (one, other):
        assert store["c"]["a"] == {"value": 4}
        assert store["c"]["b"] == {"value": 2}
        assert store["c"]["d"] == {"value": 3}
        assert sorted(store["c"]) == ["a", "b", "d"]
        assert store.check() == []
    one.close()
    other.close()
    with filestore.open(path) as store:
        assert dict(store["c"]) == {"a": {"value": 4}, "b": {"value": 2}, "d": {"value": 3}}


def test_reading_threads_do_not_notice_that_the_runtime_folder_is_made_anew(path: Path) -> None:
    store = filestore.open(path)
    store["c"]["a"] = {"value": 0}
    stop = threading.Event()
    raised: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                store["c"]["a"]
                store.revision  # noqa: B018  # a read
        except BaseException as error:  # noqa: BLE001  # told to the test, whatever it is
            raised.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(15):
            store.checkpoint()
            delete_runtime(path)
            store["c"]["a"] = {"value": turn}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    store.close()
    assert raised == []


def test_a_thread_that_waits_too_long_for_another_is_told(path: Path) -> None:
    with filestore.open(path, lock_timeout=0.1) as store:
        caught: list[FilestoreError] = []

        def write() -> None:
            try:
                store["c"]["b"] = {}
            except FilestoreError as error:
                caught.append(error)

        with store.transaction() as tx:
            tx["c"]["a"] = {}
            thread = threading.Thread(target=write)
            thread.start()
            until(lambda: caught)
            thread.join()
        (error,) = caught
        assert isinstance(error, LockTimeout)
        assert error.pid == os.getpid()
        assert list(store["c"]) == ["a"]
