"""Processes for tests: started by a fork, told what to do and heard through a pipe.

Nobody waits by the clock: what a test needs to have happened is told through the
pipe, or looked for until :data:`DEADLINE`, which only a hang ever reaches.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import filestore
from filestore import Store
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

DEADLINE = 60.0
"""Seconds after which a test calls silence a hang."""

FORK = multiprocessing.get_context("fork")

CALLS = (
    "open", "close", "read", "pread", "write", "pwrite", "fsync", "fdatasync", "fallocate",
    "fstat", "lstat", "mkdir", "rmdir", "rename", "unlink", "fchmod", "scan", "exchange",
    "rename_new", "syncfs", "map", "lock", "unlock", "boot_id",
)  # fmt: skip
"""The calls of the file system that a test may stand in the way of."""

WRITING = frozenset(
    {"write", "pwrite", "fsync", "fdatasync", "fallocate", "mkdir", "rmdir", "rename", "unlink"}
    | {"fchmod", "exchange", "rename_new", "syncfs"}
)
"""Those that a file system which takes no writes refuses."""


class Failure(NamedTuple):
    """What an actor raised."""

    text: str


class Actor:
    """A process that runs ``function(pipe, *args)``; an exception in it fails the test."""

    def __init__(self, function: Callable[..., object], *args: Any) -> None:
        self._pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=_act, args=(function, theirs, self._pipe, args))
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside threads; those of the test runner hold nothing
            # that an actor uses.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def hear(self) -> Any:
        """The next thing that it says."""
        assert self._pipe.poll(DEADLINE), f"process {self.pid} is silent"
        try:
            said = self._pipe.recv()
        except EOFError:
            raise AssertionError(f"process {self.pid} ended without a word") from None
        if isinstance(said, Failure):
            raise AssertionError(said.text)  # it is what the test found  # noqa: TRY004  # what the test found
        return said

    def said_anything(self) -> bool:
        return self._pipe.poll(0)

    def say(self, word: object = None) -> None:
        self._pipe.send(word)

    def ask(self, word: object = None) -> Any:
        self.say(word)
        return self.hear()

    def await_stop(self) -> None:
        """Wait until it has stopped itself."""
        until(lambda: _status(self.pid) in "Tt")

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()  # with a deadline it would wait for its children as well

    def end(self) -> None:
        """Wait for its end, and fail if it did not end well."""
        self.process.join(DEADLINE)
        if self.process.exitcode != 0:
            while self._pipe.poll(0):
                try:
                    said = self._pipe.recv()
                except EOFError:
                    break
                if isinstance(said, Failure):
                    raise AssertionError(said.text)  # as above  # noqa: TRY004  # what the test found
        assert self.process.exitcode == 0, f"exit status {self.process.exitcode}"

    def release(self) -> None:
        if self.process.is_alive():
            self.kill()
        self.process.close()
        self._pipe.close()


@contextmanager
def stage() -> Iterator[Callable[..., Actor]]:
    """What starts an actor; those that still run are killed at the end."""
    actors: list[Actor] = []

    def begin(function: Callable[..., object], *args: Any) -> Actor:
        actors.append(Actor(function, *args))
        return actors[-1]

    yield begin
    for actor in actors:
        actor.release()


def _act(
    function: Callable[..., object], pipe: Connection, other_end: Connection, args: tuple[Any, ...]
) -> None:
    other_end.close()
    try:
        function(pipe, *args)
    except BaseException:  # told to the test, whatever it is  # noqa: BLE001  # told to the test, whatever it is
        pipe.send(Failure(traceback.format_exc()))
        os._exit(1)


def _status(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0]


def until(condition: Callable[[], object]) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.0005)


class HookedFileSystem(FileSystem):
    """Calls ``before(name, args)`` ahead of every call and ``after(name, args)`` behind it."""

    def __init__(
        self,
        before: Callable[[str, tuple[Any, ...]], object] | None = None,
        after: Callable[[str, tuple[Any, ...]], object] | None = None,
    ) -> None:
        super().__init__()
        self.before = before
        self.after = after
        for name in CALLS:
            setattr(self, name, self._hooked(name, getattr(self, name)))

    def _hooked(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def hooked(*args: Any, **options: Any) -> Any:
            if self.before is not None:
                self.before(name, args)
            result = call(*args, **options)
            if self.after is not None:
                self.after(name, args)
            return result

        return hooked


def quiet(path: Path, fs: FileSystem | None = None, **options: Any) -> Store:
    """A store whose every call is the caller's: nothing happens in the background."""
    return Store(FileBackend(path, fs=fs, background=False, **options))


def state_of(store: Store) -> dict[tuple[str, str], Any]:
    """Every document."""
    return {
        (name, id): document for name in store.collections() for id, document in store[name].items()
    }


def replayed(store: Store) -> dict[tuple[str, str], Any]:
    """What the change feed makes of nothing; every change must follow from the one before."""
    state: dict[tuple[str, str], Any] = {}
    revision = 0
    for change in store.changes():
        assert revision <= change.revision <= revision + 1, "a revision is missing"
        revision = change.revision
        key = (change.key.collection, change.key.id)
        assert state.get(key) == change.before, f"revision {revision}: {key}"
        if change.after is None:
            del state[key]
        else:
            state[key] = change.after
    assert revision == store.revision
    return state


def assert_sound(path: Path) -> dict[tuple[str, str], Any]:
    """Open the store anew: nothing is wrong, and the feed tells the state; which it returns."""
    with filestore.open(path, create=False) as store:
        assert store.check() == []
        state = state_of(store)
        assert replayed(store) == state
    return state


def crash(path: Path, *puts: tuple[str, str, Any], durability: str = "full") -> None:
    """Commit all of this in one transaction in a process that dies before any file is renamed."""
    actor = Actor(_commit_and_die, path, puts, durability)
    actor.process.join(DEADLINE)
    assert actor.process.exitcode == -signal.SIGKILL
    actor.release()


def _commit_and_die(
    pipe: Connection, path: Path, puts: tuple[tuple[str, str, Any], ...], durability: str
) -> None:
    def die(name: str, args: tuple[Any, ...]) -> None:
        if armed and name in ("rename_new", "exchange", "rename"):
            os.kill(os.getpid(), signal.SIGKILL)

    armed = False
    store = quiet(path, HookedFileSystem(die), durability=durability)
    armed = True
    with store.transaction():
        for collection, id, document in puts:
            if document is None:
                del store[collection][id]
            else:
                store[collection][id] = document
    if durability == "normal":  # puts the renames off
        os.kill(os.getpid(), signal.SIGKILL)
