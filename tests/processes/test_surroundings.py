"""What happens around a store: clocks, descriptors, and trees that are moved, copied, restored."""

from __future__ import annotations

import os
import resource
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import FilestoreError
from tests.processes.actors import FORK, HookedFileSystem, assert_sound, quiet, state_of, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.processes.actors import Actor


def test_a_clock_that_goes_backwards_disturbs_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 2_000_000_000.0

    def clock() -> float:
        nonlocal now
        now -= 3600.0
        return now

    with filestore.open(path) as other, monkeypatch.context() as patch:
        patch.setattr(time, "time", clock)
        patch.setattr(time, "time_ns", lambda: int(clock() * 1e9))
        with filestore.open(path) as store:
            for n in range(20):
                store["c"]["x"] = {"value": n}
                assert other["c"]["x"] == {"value": n}
                # An editor on a machine whose clock is behind, too.
                (path / "c/x.json").write_text('{"value": "by hand"}')
                os.utime(path / "c/x.json", (n, n))
                assert store["c"]["x"] == other["c"]["x"] == {"value": "by hand"}
                store["c"].patch("x", {"value": n})
            times = [change.time for change in store.changes()]
            assert times == sorted(times, reverse=True)
    assert list(assert_sound_but_for_edits(path)) == [("c", "x")]


def assert_sound_but_for_edits(path: Path) -> dict[tuple[str, str], Any]:
    with filestore.open(path) as store:
        assert store.check() == []
        return state_of(store)


def run_out_of_descriptors(pipe: Connection, path: Path) -> None:
    store = filestore.open(path, lock_timeout=5.0)
    for n in range(5):
        store["c"][str(n)] = {"value": n}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for left in range(12):
        taken = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for fd in taken[:left]:
            os.close(fd)
        refused = False
        try:
            store["c"]["1"] = {"value": f"new {left}"}
            with store.transaction() as tx:
                for n in range(40):
                    tx["many"][str(n)] = {"value": left}
        except FilestoreError as error:
            refused = True
            assert "open files" in str(error)  # noqa: PT017  # it may be refused or not
        opened = None
        try:
            opened = filestore.open(path, lock_timeout=0.5)
            opened["d"]["x"] = {"value": left}
            opened.close()
        except FilestoreError as error:
            assert "open files" in str(error)  # noqa: PT017  # it may be refused or not
            if opened is not None:
                opened.close()
        for fd in taken[left:]:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
        assert store["c"]["2"] == {"value": 2}
        if not refused:
            assert store["c"]["1"] == {"value": f"new {left}"}
            assert store["many"]["39"] == {"value": left}
        store["c"]["0"] = {"value": left}  # clears away what was left undone
        # What went wrong behind the caller's back is told until it is repaired.
        for problem in store.check():
            assert problem.kind == "background"
            assert "open files" in problem.message
        assert store.repair() == []
    pipe.send("done")
    store.close()


def test_a_process_that_runs_out_of_descriptors_is_told_and_goes_on_later(
    path: Path, start: Callable[..., Actor]
) -> None:
    actor = start(run_out_of_descriptors, path)
    assert actor.hear() == "done"
    actor.end()
    assert_sound(path)


def fill(path: Path) -> dict[tuple[str, str], Any]:
    with filestore.open(path) as store:
        for n in range(10):
            store["c"][str(n % 4)] = {"value": n}
        return state_of(store)


def test_a_store_moved_between_sessions_keeps_everything(path: Path) -> None:
    state = fill(path)
    moved = path.parent / "elsewhere"
    path.rename(moved)
    assert assert_sound(moved) == state
    with filestore.open(moved) as store:
        store["c"]["new"] = {}
        assert store.revision == 11
    assert not path.exists()


def test_a_store_moved_to_another_file_system_keeps_everything(path: Path) -> None:
    state = fill(path)
    moved = path.parent / "elsewhere"
    shutil.copytree(path, moved, symlinks=True)
    shutil.rmtree(path)
    assert assert_sound(moved) == state


def test_a_handle_whose_store_was_moved_away_writes_no_other(path: Path) -> None:
    state = fill(path)
    moved = path.parent / "elsewhere"
    store = filestore.open(path)
    path.rename(moved)
    with pytest.raises(FilestoreError):
        store["c"]["lost"] = {}
    fill(path)  # another store in its place
    try:
        store["c"]["late"] = {}
    except FilestoreError:
        pass
    store.close()
    assert assert_sound(moved) == state
    with filestore.open(path) as other:
        assert other.check() == []


def write_for_ever(pipe: Connection, path: Path, stop: Any, count: Any) -> None:
    with filestore.open(path) as store:
        while not stop.value:
            count.value += 1
            n = count.value
            with store.transaction() as tx:
                for id in "abcd":
                    tx["c"][id] = {"value": n, "pad": "x" * (n % 50)}


def test_a_store_copied_while_in_use_opens_and_holds_what_was_once_written(
    path: Path, start: Callable[..., Actor]
) -> None:
    stop, count = FORK.RawValue("i", 0), FORK.RawValue("Q", 0)
    writer = start(write_for_ever, path, stop, count)
    until(lambda: count.value > 20)
    for turn in range(5):
        low = count.value
        copy = path.parent / f"copy-{turn}"
        shutil.copytree(path, copy, symlinks=True, ignore=shutil.ignore_patterns("tmp"))
        high = count.value
        with filestore.open(copy) as store:
            assert store.check() == []
            for id in "abcd":
                document = store["c"][id]
                n = document["value"]
                assert document == {"value": n, "pad": "x" * (n % 50)}
                assert low - 1 <= n <= high
            store["c"]["new"] = {}
        with filestore.open(copy) as store:
            assert store.check() == []
    stop.value = 1
    writer.end()
    assert_sound(path)


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_an_old_journal_beside_newer_documents_takes_nothing_back(path: Path, how: str) -> None:
    fill(path)
    old = path.parent / "old"
    shutil.copytree(path / ".filestore", old)
    if how == "moved":  # the very files, with the state that was exact then
        (path / ".filestore").rename(path.parent / "kept")
        shutil.copytree(old, path / ".filestore")
    with filestore.open(path) as store:
        for n in range(4):
            store["c"][str(n)] = {"value": f"newer {n}"}
        del store["c"]["3"]
        store["c"]["new"] = {"value": 1}
        state = state_of(store)
    shutil.rmtree(path / ".filestore")
    if how == "moved":
        (path.parent / "kept").rename(path / ".filestore")
    else:
        shutil.copytree(old, path / ".filestore")
    with filestore.open(path, readonly=True) as store:
        assert state_of(store) == state
    with filestore.open(path) as store:
        assert state_of(store) == state
        store["c"]["0"] = {"value": "newest"}
        assert store["c"]["0"] == {"value": "newest"}
        assert store.check() == []
    with filestore.open(path) as store:
        assert state_of(store) == state | {("c", "0"): {"value": "newest"}}


def test_old_documents_beside_a_newer_journal_stay_after_a_clean_close(path: Path) -> None:
    old = fill(path)
    shutil.copytree(path / "c", path.parent / "old")
    with filestore.open(path) as store:
        store["c"]["0"] = {"value": "newer"}
        del store["c"]["1"]
        store["c"]["new"] = {"value": 1}
    shutil.rmtree(path / "c")
    (path.parent / "old").rename(path / "c")
    for forget in (False, True):
        if forget:
            (path / ".filestore/state").unlink()
        with filestore.open(path) as store:
            assert state_of(store) == old
            assert store.check() == []


def test_a_commit_that_is_read_while_its_file_lags_is_kept_when_the_runtime_is_copied(
    path: Path,
) -> None:
    store = quiet(path, HookedFileSystem(), durability="normal")
    store["c"]["x"] = {"value": 1}
    copy = path.parent / "copy"
    shutil.copytree(path, copy)
    assert assert_sound(copy) == {("c", "x"): {"value": 1}}
    store.close()
