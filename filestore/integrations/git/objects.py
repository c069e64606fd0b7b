"""The objects of a repository, read through one git process that stays."""

from __future__ import annotations

import re
import subprocess
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from filestore.errors import Closed
from filestore.integrations.git.run import GitError, environment

if TYPE_CHECKING:
    from filestore.integrations.git.run import Git

TREE: Final = "40000"
"""The mode of a folder, as a tree object has it."""


class TreeEntry(NamedTuple):
    """One name in a folder of git's."""

    mode: str
    id: bytes


class Objects:
    """Reads objects by their names.  Safe for threads; of the process that made it."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._mutex = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, id: str) -> bytes:
        """The content of an object.  Raises GitError where it is missing, Closed."""
        found = self.find(id)
        if found is None:
            raise GitError(
                f"{self._git.folder}: git has no object {id} here: is it a partial clone that"
                " cannot reach its origin, or damaged? git fsck tells"
            )
        return found[1]

    def find(self, name: str) -> tuple[str, bytes] | None:
        """The id and the content of what a name such as ``HEAD`` leads to; None for nothing."""
        with self._mutex:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(f"{name}\n".encode())
                process.stdin.flush()
                head = process.stdout.readline().split()
                if len(head) != 3:
                    return None
                size = int(head[2])
                content = process.stdout.read(size + 1)
            except OSError as error:
                raise GitError(f"git cat-file ended: {error.strerror}") from error
            if len(content) != size + 1:
                raise GitError("git cat-file ended early: git fsck tells what is wrong")
            return head[0].decode(), content[:size]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise Closed("this view of git was closed: take another with at()")
        if self._process is None or self._process.poll() is not None:
            self._end()
            try:
                self._process = subprocess.Popen(
                    ["git", "cat-file", "--batch"],
                    cwd=self._git.folder,
                    env=environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError as error:
                raise GitError(f"git cannot be run: {error.strerror}") from error
        return self._process

    def close(self) -> None:
        """End the process; idempotent."""
        with self._mutex:
            self._closed = True
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            process.wait()


def entries(raw: bytes, size: int) -> dict[str, TreeEntry]:
    """What is in a tree object, in its order; ``size`` is the bytes of an object's name."""
    found = _tree_entry(size).findall(raw)
    return {
        name.decode("utf-8", "surrogateescape"): TreeEntry(mode.decode(), id)
        for mode, name, id in found
    }


def _tree_entry(size: int) -> re.Pattern[bytes]:
    return re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{%d})" % size, re.DOTALL)


def patched(raw: bytes, changes: dict[str, TreeEntry | None], size: int) -> bytes:
    """The tree object with these names put in or taken out (None)."""
    edits = {name.encode("utf-8", "surrogateescape"): change for name, change in changes.items()}
    parts: list[bytes] = []
    kept = 0
    for start, end, name, mode in sorted(_places(raw, set(edits), size)):
        change = edits[name]
        parts.append(raw[kept:start])
        # A name that goes on as what it was, a file or a folder, keeps its place.
        if change is not None and (change.mode == TREE) == (mode == TREE.encode()):
            parts.append(_encoded(name, change))
            del edits[name]
        kept = end
    parts.append(raw[kept:])
    rest = b"".join(parts)
    new = sorted((_order(name, change), name, change) for name, change in edits.items() if change)
    return _inserted(rest, new, size) if new else rest


_CERTAIN: Final = 12
"""Bytes of a name that do not stand by chance among the names of objects."""

_MODES: Final = frozenset({b"100644", b"100755", b"100664", b"40000", b"120000", b"160000"})

_Place: TypeAlias = "tuple[int, int, bytes, bytes]"
"""From a mode to behind its object's name; the name, the mode."""


def _places(raw: bytes, names: set[bytes], size: int) -> list[_Place]:
    """Where each name that is there stands."""
    if min(map(len, names), default=0) >= _CERTAIN:
        # A folder of 100,000 documents takes long to read, and is quick to search.
        found: list[_Place] = []
        at = 0
        for name in sorted(names):  # as they stand there, folders maybe not
            place = _place(raw, name, size, at) or _place(raw, name, size, 0)
            if place is None:
                break
            found.append(place)
            at = place[1]
        else:
            return found
    return [
        (found.start(), found.end(), found[2], found[1])
        for found in _tree_entry(size).finditer(raw)
        if found[2] in names
    ]


def _place(raw: bytes, name: bytes, size: int, start: int) -> _Place | None:
    """Where a name surely stands: between a mode and a zero, behind another object's name."""
    at = raw.find(b" %s\0" % name, start)
    if at < 0:
        return None
    for length in (6, 5):
        begin = at - length
        mode = raw[max(begin, 0) : at]
        if begin >= 0 and mode in _MODES and (begin == 0 or raw[begin - size - 1] == 0):
            return begin, at + len(name) + 2 + size, name, mode
    return None


def _inserted(raw: bytes, new: list[tuple[bytes, bytes, TreeEntry]], size: int) -> bytes:
    parts: list[bytes] = []
    kept = 0
    coming = iter(new)
    next_one = next(coming, None)
    for found in _tree_entry(size).finditer(raw):
        if next_one is None:
            break
        name = found[2] + b"/" if found[1] == TREE.encode() else found[2]
        while next_one is not None and next_one[0] < name:
            parts += (raw[kept : found.start()], _encoded(next_one[1], next_one[2]))
            kept = found.start()
            next_one = next(coming, None)
    parts.append(raw[kept:])
    while next_one is not None:
        parts.append(_encoded(next_one[1], next_one[2]))
        next_one = next(coming, None)
    return b"".join(parts)


def _order(name: bytes, entry: TreeEntry | None) -> bytes:
    """Git sorts a folder as if its name ended in a slash."""
    return name + b"/" if entry is not None and entry.mode == TREE else name


def _encoded(name: bytes, entry: TreeEntry) -> bytes:
    return entry.mode.encode() + b" " + name + b"\0" + entry.id


def pick(raw: bytes, names: set[str], size: int) -> dict[str, TreeEntry]:
    """Some names of a tree object, without a look at the others."""
    wanted = {name.encode("utf-8", "surrogateescape"): name for name in names}
    return {
        wanted[name]: TreeEntry(mode.decode(), raw[end - size : end])
        for _, end, name, mode in _places(raw, set(wanted), size)
    }
