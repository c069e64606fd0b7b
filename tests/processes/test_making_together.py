"""Several that make the same store at once: one makes it, and all go on with it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from tests.processes.actors import HookedFileSystem, assert_sound, quiet

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.processes.actors import Actor

ROUNDS = 10


@pytest.mark.parametrize("call", ["rename_new", "unlink", "write", "open"])
@pytest.mark.parametrize("nth", range(3))
def test_a_store_that_another_makes_in_the_middle_is_opened(
    path: Path, call: str, nth: int
) -> None:
    seen = 0

    def interfere(name: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if name == call and (path / ".filestore" / "tmp").exists():
            seen += 1
            if seen == nth + 1:
                with filestore.open(path) as other:
                    other["c"]["other"] = {"n": 1}

    with quiet(path, HookedFileSystem(interfere)) as store:
        store["c"]["mine"] = {"n": 2}
    assert set(assert_sound(path)) - {("c", "other")} == {("c", "mine")}
    assert not list((path / ".filestore" / "tmp").iterdir())
    assert not (path / ".filestore" / "lost").exists()


def make(pipe: Connection, folder: Path, name: str) -> None:
    """Four threads open each of the stores at once, and write."""
    raised: list[BaseException] = []

    def run(number: int) -> None:
        for n in range(ROUNDS):
            gate.wait()
            try:
                with filestore.open(folder / str(n), lock_timeout=60.0) as store:
                    store["c"][f"{name}-{number}"] = {"n": n}
            except BaseException as error:  # noqa: BLE001  # told to the test, whatever it is
                raised.append(error)

    pipe.send("ready")
    pipe.recv()
    gate = threading.Barrier(4)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_threads_and_processes_that_make_the_same_stores_at_once_all_write(
    path: Path, start: Callable[..., Actor]
) -> None:
    actors = [start(make, path, name) for name in ("a", "b", "c")]
    for actor in actors:
        assert actor.hear() == "ready"
    for actor in actors:
        actor.say("go")
    for actor in actors:
        actor.end()
    for n in range(ROUNDS):
        state = assert_sound(path / str(n))
        assert state == {
            ("c", f"{name}-{number}"): {"n": n} for name in "abc" for number in range(4)
        }
