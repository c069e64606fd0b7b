"""Crashes recovered by many at once, by one that dies over and over, and read meanwhile."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import ReadOnly
from tests.processes.actors import (
    DEADLINE,
    WRITING,
    HookedFileSystem,
    assert_sound,
    crash,
    quiet,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.processes.actors import Actor

PUTS = [("c", str(n), {"value": n, "pad": "x" * 200}) for n in range(12)]
AFTER = {(name, id): document for name, id, document in PUTS}


def forget_state(path: Path) -> None:
    """As after a crash of the machine: what the state told is gone."""
    (path / ".filestore/state").unlink()


def open_and_read(pipe: Connection, path: Path, readonly: bool) -> None:
    pipe.send("ready")
    pipe.recv()
    with filestore.open(path, readonly=readonly, lock_timeout=DEADLINE) as store:
        pipe.send(state_of(store))
        if not readonly:
            store["by"][str(os.getpid())] = {}
    pipe.send("done")


@pytest.mark.parametrize("machine", [False, True], ids=["process died", "machine stopped"])
def test_many_processes_recover_one_crash_together(
    path: Path, start: Callable[..., Actor], machine: bool
) -> None:
    filestore.open(path).close()
    crash(path, *PUTS)
    if machine:
        forget_state(path)
    actors = [start(open_and_read, path, n % 3 == 2) for n in range(6)]
    for actor in actors:
        assert actor.hear() == "ready"
    for actor in actors:
        actor.say("go")
    for actor in actors:
        seen = actor.hear()
        assert {key: value for key, value in seen.items() if key[0] == "c"} == AFTER
    for actor in actors:
        assert actor.hear() == "done"
        actor.end()
    state = assert_sound(path)
    assert {key: value for key, value in state.items() if key[0] == "c"} == AFTER
    assert len(state) == len(AFTER) + 4


def die_at(pipe: Connection, path: Path, number: int) -> None:
    """Open, and die ahead of the nth call that changes something."""
    left = number

    def count(name: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if name in WRITING:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    quiet(path, HookedFileSystem(count)).close()


@pytest.mark.parametrize("machine", [False, True], ids=["process died", "machine stopped"])
def test_a_recovery_killed_over_and_over_comes_to_an_end(
    path: Path, start: Callable[..., Actor], machine: bool
) -> None:
    filestore.open(path).close()
    crash(path, *PUTS)
    if machine:
        forget_state(path)
    deaths = 0
    while True:
        actor = start(die_at, path, deaths)
        actor.process.join(DEADLINE)
        with filestore.open(path, readonly=True) as store:
            assert state_of(store) == AFTER  # at every moment
        if actor.process.exitcode == 0:
            break
        assert actor.process.exitcode == -signal.SIGKILL
        deaths += 1
    assert deaths > 12
    assert assert_sound(path) == AFTER


def test_a_second_recovery_finds_nothing_to_do(path: Path) -> None:
    filestore.open(path).close()
    crash(path, *PUTS)
    quiet(path).close()
    calls: list[str] = []
    fs = HookedFileSystem(lambda name, args: calls.append(name))
    store = quiet(path, fs)
    assert not WRITING & set(calls)
    store.close()


@pytest.mark.parametrize("machine", [False, True], ids=["process died", "machine stopped"])
def test_a_readonly_handle_shows_what_recovery_would_make_and_touches_nothing(
    path: Path, machine: bool
) -> None:
    with filestore.open(path) as store:
        store["c"]["old"] = {"value": 1}
        store["c"]["gone"] = {"value": 1}
    crash(path, *PUTS, ("c", "old", {"value": 2}), ("c", "gone", None))
    if machine:
        forget_state(path)
    expected = AFTER | {("c", "old"): {"value": 2}}
    files = {name: os.stat(path / "c" / name).st_mtime_ns for name in os.listdir(path / "c")}
    runtime = sorted(os.listdir(path / ".filestore"))
    with filestore.open(path, readonly=True) as store:
        assert state_of(store) == expected
        assert sorted(store["c"]) == sorted(id for _, id in expected)
        assert store.collections() == ["c"]
        with store.snapshot() as view:
            assert dict(view["c"]) == {id: document for (_, id), document in expected.items()}
        with pytest.raises(ReadOnly):
            store["c"]["old"] = {}
        now = {name: os.stat(path / "c" / name).st_mtime_ns for name in os.listdir(path / "c")}
        assert now == files
        assert sorted(os.listdir(path / ".filestore")) == runtime
        # Somebody recovers and writes: the handle follows.
        with filestore.open(path) as writer:
            writer["c"]["new"] = {"value": 3}
            assert store["c"]["new"] == {"value": 3}
            assert store["c"]["old"] == {"value": 2}
            writer["c"]["old"] = {"value": 4}
            assert store["c"]["old"] == {"value": 4}
            del writer["c"]["new"]
            assert "new" not in store["c"]
            assert state_of(store) == state_of(writer)
            assert store.revision == writer.revision
    assert assert_sound(path) == expected | {("c", "old"): {"value": 4}}
