"""What is done to a store while it is made to crash, and what must be true afterwards."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from filestore.codec import canonical
from filestore.engine.files import FileBackend
from filestore.model import Edit, Key
from filestore.problem import Severity
from tests.crash.disk import Disk
from tests.crash.sim import Crash, RecordingFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filestore.engine.fs import FileSystem
    from tests.crash.disk import Image

Tree: TypeAlias = dict[Key, bytes]

A: Final = Key("volumes", "a")
B: Final = Key("volumes", "b")
C: Final = Key("driver_data/lvm", "c")
D: Final = Key("snapshots", "d")
EXTRA: Final = Key("extra", "extra")
PADDING: Final = "x" * 500


def document(number: int, size: int = 1) -> bytes:
    return canonical({"number": number, "padding": PADDING * size})


@dataclass(frozen=True)
class Step:
    """A commit, or with ``edits`` empty another call: ``reopen`` or ``checkpoint``."""

    name: str
    edits: tuple[tuple[Key, bytes | None], ...] = ()

    def after(self, tree: Tree) -> Tree:
        new = dict(tree)
        for key, data in self.edits:
            if data is None:
                new.pop(key, None)
            else:
                new[key] = data
        return new


def commit(name: str, *edits: tuple[Key, bytes | None]) -> Step:
    return Step(name, edits)


OPEN: Final = Step("open")
CHECKPOINT: Final = Step("checkpoint")
CLOSE: Final = Step("close")

WORKLOAD: Final = (
    OPEN,
    commit("create", (A, document(1))),
    commit("create in another collection", (C, document(2, 10))),
    commit("update", (A, document(3))),
    commit("three at once", (A, document(4)), (B, document(5, 9)), (C, None)),
    CHECKPOINT,
    commit("delete and create", (A, None), (D, document(6))),
    CLOSE,
    OPEN,
    commit("again", (B, document(7)), (A, document(8))),
    commit("three again", (B, document(9)), (D, None), (C, document(10))),
    CLOSE,
)
SHORT: Final = (
    OPEN,
    commit("create", (A, document(1)), (B, document(2, 9))),
    commit("all kinds", (A, document(3)), (B, None), (C, document(4))),
    CHECKPOINT,
    commit("one more", (B, document(5))),
    CLOSE,
)


@dataclass
class Promise:
    """The states that a store may be in after a crash at this point."""

    trees: list[Tree] = field(default_factory=lambda: [{}])
    returned: int = 0  # commits that returned
    durable: int = 0  # of those, how many were made durable by a checkpoint or close

    def allowed(self, durability: str, *, power: bool) -> list[Tree]:
        if not power or durability == "full":
            return self.trees[self.returned :]
        return self.trees[self.durable :]


class Run:
    """A workload in one process on a disk; another process may take it up after a crash."""

    def __init__(
        self, disk: Disk, fs: FileSystem, *, codec: str = "json", durability: str = "full"
    ) -> None:
        self.disk = disk
        self.fs = fs
        self.codec = codec
        self.durability = durability
        self.promise = Promise()
        self.backend: FileBackend | None = None
        self.step = OPEN
        self.at = 0  # how many steps were begun

    def do(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.at += 1
            self.one(step)

    def one(self, step: Step) -> None:
        promise = self.promise
        self.step = step
        if step is OPEN:
            self.backend = opened(self.disk, self.fs, codec=self.codec, durability=self.durability)
            return
        backend = self.backend
        assert backend is not None
        if step is CHECKPOINT or step is CLOSE:
            backend.checkpoint() if step is CHECKPOINT else backend.close()
            promise.durable = promise.returned
            return
        new = step.after(promise.trees[-1])
        if new == promise.trees[-1]:
            return
        promise.trees.append(new)
        made = backend.apply([Edit(key, data) for key, data in step.edits])
        assert made is not None
        promise.returned = len(promise.trees) - 1

    def resume(self, fs: FileSystem, steps: Sequence[Step]) -> None:
        """Recover in another process, and do what is left of the steps."""
        self.fs = fs
        left = steps[self.at :]
        self.one(OPEN)
        assert self.backend is not None
        found, promise = tree_of(self.backend), self.promise
        if found not in promise.allowed(self.durability, power=False):
            raise Violation(f"after the crash: {numbers(found)}")
        del promise.trees[promise.trees.index(found, promise.returned) + 1 :]
        promise.returned = len(promise.trees) - 1
        self.at = 0
        self.do(left[1:] if left[:1] == (OPEN,) else left)


def opened(
    disk: Disk, fs: FileSystem, *, codec: str | None = None, durability: str = "full"
) -> FileBackend:
    return FileBackend(
        store_path(disk), fs=fs, background=False, codec=codec, durability=durability
    )


def store_path(disk: Disk) -> str:
    return disk.path + "/store"


def tree_of(backend: FileBackend) -> Tree:
    """All documents, read as a user reads them."""
    tree: Tree = {}
    for collection in backend.collections():
        for id in backend.ids(collection):
            key = Key(collection, id)
            entry = backend.get(key)
            assert entry is not None, key
            tree[key] = entry.data
    return tree


def documents_on(disk: Disk) -> dict[str, object]:
    """The documents' files, as they are."""
    return {
        path: item.content
        for path, item in disk.now().items.items()
        if "/.filestore" not in path and not path.startswith(".")
    }


def numbers(tree: Tree) -> str:
    return str({str(key): json.loads(data).get("number") for key, data in sorted(tree.items())})


class Violation(AssertionError):
    """A promise broken."""


def judge(
    disk: Disk,
    allowed: Sequence[Tree],
    where: str,
    *,
    fs: RecordingFileSystem | None = None,
    clean: bool = True,
) -> Tree:
    """Open a store after a crash and require all that was promised; returns what was found."""
    process = fs or RecordingFileSystem(disk)
    backend = opened(disk, process)
    found = tree_of(backend)
    if found not in allowed:
        choices = "\n  or ".join(map(numbers, allowed))
        raise Violation(f"{where}:\nfound {numbers(found)}\nnot   {choices}")
    if clean:
        problems = [p for p in backend.check() if p.severity is Severity.ERROR]
        if problems:
            raise Violation(f"{where}: check found {problems}")
    before = documents_on(disk)
    backend.close()
    again = RecordingFileSystem(disk)
    backend = opened(disk, again)
    if tree_of(backend) != found or documents_on(disk) != before:
        raise Violation(f"{where}: the second recovery changed something")
    backend.apply([Edit(EXTRA, document(99))])
    entry = backend.get(EXTRA)
    if entry is None or entry.data != document(99):
        raise Violation(f"{where}: a put afterwards does not take")
    backend.close()
    backend = opened(disk, again)
    if tree_of(backend) != {**found, EXTRA: document(99)}:
        raise Violation(f"{where}: a put afterwards did not last")
    backend.close()
    if process.opened or again.opened:
        raise Violation(f"{where}: left open: {process.opened} {again.opened}")
    return found


class Ground:
    """Makes disks in a folder, and clears them away again."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._disks: list[Disk] = []

    def disk(self, image: Image | None = None, boot_id: str = "boot-1") -> Disk:
        os.makedirs(self._folder, exist_ok=True)
        path = f"{self._folder}/{next(self._numbers)}"
        if image is None:
            os.mkdir(path, 0o700)
        else:
            image.write(path)
        disk = Disk(path, boot_id)
        self._disks.append(disk)
        return disk

    def clear(self) -> None:
        for disk in self._disks:
            disk.release()
            shutil.rmtree(disk.path, ignore_errors=True)
        self._disks.clear()


def crashing(act: Callable[[], object]) -> bool:
    """Whether it ended in a crash."""
    try:
        act()
    except Crash:
        return True
    return False
