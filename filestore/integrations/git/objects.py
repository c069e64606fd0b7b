"""The objects of a repository, read through one git process that stays."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.errors import Closed
from filestore.integrations.git.run import GitError, environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from filestore.integrations.git.run import Git

TREE: Final = "40000"
"""The mode of a folder, as a tree object has it."""

_AT_ONCE: Final = 400
"""Names of objects that fit into a pipe, so that writing them waits for nobody."""


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

    def read_many(self, ids: Sequence[str]) -> Iterator[bytes]:
        """The contents of many objects, asked for together, so that none is waited for."""
        for begin in range(0, len(ids), _AT_ONCE):
            chunk = ids[begin : begin + _AT_ONCE]
            for id, found in zip(chunk, self._found(chunk), strict=True):
                yield self.read(id) if found is None else found[1]  # which says what is wrong

    def find(self, name: str) -> tuple[str, bytes] | None:
        """The id and the content of what a name such as ``HEAD`` leads to; None for nothing."""
        (found,) = self._found([name])
        return found

    def _found(self, names: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """The same of several, no more than a pipe holds the names of."""
        with self._mutex:
            process = self._running()
            assert process.stdin is not None
            try:
                process.stdin.write("".join(f"{name}\n" for name in names).encode())
                process.stdin.flush()
                return [_answer(process) for _ in names]
            except OSError as error:
                raise GitError(f"git cat-file ended: {error.strerror}") from error

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
                    with contextlib.suppress(BrokenPipeError):  # git ended with a question unread
                        stream.close()
            process.wait()


def _answer(process: subprocess.Popen[bytes]) -> tuple[str, bytes] | None:
    assert process.stdout is not None
    head = process.stdout.readline().split()
    if len(head) != 3:
        return None
    size = int(head[2])
    content = process.stdout.read(size + 1)
    if len(content) != size + 1:
        raise GitError("git cat-file ended early: git fsck tells what is wrong")
    return head[0].decode(), content[:size]


def entries(raw: bytes, size: int) -> dict[str, TreeEntry]:
    """What is in a tree object, in its order; ``size`` is the bytes of an object's name."""
    found = _tree_entry(size).findall(raw)
    return {
        name.decode("utf-8", "surrogateescape"): TreeEntry(mode.decode(), id)
        for mode, name, id in found
    }


def _tree_entry(size: int) -> re.Pattern[bytes]:
    return re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{%d})" % size, re.DOTALL)


class Place(NamedTuple):
    """Where a name stands in a tree object, from its mode to behind its object's name."""

    start: int
    end: int
    entry: TreeEntry


_CERTAIN: Final = 12
"""Bytes of a name that do not stand by chance among the names of objects."""

_MODES: Final = frozenset({b"100644", b"100755", b"100664", b"40000", b"120000", b"160000"})


def places(raw: bytes, names: Iterable[str], size: int) -> dict[str, Place]:
    """Where some names of a tree object stand, those that are there."""
    wanted = {_raw(name): name for name in names}
    if min(map(len, wanted), default=0) >= _CERTAIN:
        # A folder of 100,000 documents takes long to read, and is quick to search.
        found: dict[str, Place] = {}
        at = 0
        for name in sorted(wanted):  # as they stand there, folders maybe not
            place = _place(raw, name, size, at) or _place(raw, name, size, 0)
            if place is None:
                break
            found[wanted[name]] = place
            at = place.end
        else:
            return found
    return {
        wanted[name]: _found(raw, each.start(), each.end(), size, each[1])
        for each in _tree_entry(size).finditer(raw)
        if (name := each[2]) in wanted
    }


def _place(raw: bytes, name: bytes, size: int, start: int) -> Place | None:
    """Where a name surely stands: between a mode and a zero, behind another object's name."""
    at = raw.find(b" %s\0" % name, start)
    if at < 0:
        return None
    for length in (6, 5):
        begin = at - length
        mode = raw[max(begin, 0) : at]
        if begin >= 0 and mode in _MODES and (begin == 0 or raw[begin - size - 1] == 0):
            return _found(raw, begin, at + len(name) + 2 + size, size, mode)
    return None


def _found(raw: bytes, start: int, end: int, size: int, mode: bytes) -> Place:
    return Place(start, end, TreeEntry(mode.decode(), raw[end - size : end]))


def patched(
    raw: bytes, changes: Mapping[str, TreeEntry | None], there: Mapping[str, Place], size: int
) -> bytes:
    """The tree object with these names put in or taken out (None).

    ``there``: where those of them stand that are there, see :func:`places`.
    """
    rest = dict(changes)
    parts: list[bytes | memoryview] = []
    view, kept = memoryview(raw), 0  # what is kept of 100,000 names is copied once
    for place, name in sorted((there[name], name) for name in changes if name in there):
        change = changes[name]
        parts.append(view[kept : place.start])
        # A name that goes on as what it was, a file or a folder, keeps its place.
        if change is not None and (change.mode == TREE) == (place.entry.mode == TREE):
            parts.append(_encoded(_raw(name), change))
            del rest[name]
        kept = place.end
    parts.append(view[kept:])
    kept_ones = b"".join(parts)
    new = sorted(
        (_order(_raw(name), change), _raw(name), change) for name, change in rest.items() if change
    )
    return _inserted(kept_ones, new, size) if new else kept_ones


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


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
