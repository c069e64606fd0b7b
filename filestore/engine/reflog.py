"""What git leaves behind of what it does to a work tree, read as files.

An operation that changes files holds ``index.lock`` from before the first change until its
new ``index`` is in place, and then writes a line to ``logs/HEAD``; nothing of git is run
or imported.  A line is: old name, new name, committer, seconds, time zone, tab, what was done.
The seconds are often of when git was started, long before a merge of many files has changed them;
when the log was written tells when its last line was.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from filestore.engine.fs import let_go, read_at
from filestore.engine.grouping import Look, Operation

if TYPE_CHECKING:
    from filestore.engine.fs import FileSystem

_TAIL_BYTES: Final = 1 << 15
_LONGEST_SECONDS: Final = 3600  # who rewrites an old log does nothing
_TEXT: Final = 300
_NAME: Final = 100
_SAFELY: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_STEPS: Final = ("rebase-merge", "rebase-apply", "sequencer")
_LINE: Final = re.compile(
    rb"[0-9a-f]{40,64} [0-9a-f]{40,64} (.{0,500}?) ?<([^>\n]{0,500})> (\d{1,12}) [+-]\d{4}"
    rb"(?:\t([^\n]*))?"
)
# These change no file.
_IDLE: Final = re.compile(r"commit\b|[Bb]ranch\b|clone\b|$")


class Reflog:
    """The traces of git around a folder; raises nothing."""

    def __init__(self, fs: FileSystem, root: str) -> None:
        self._fs = fs
        self._root = root
        self._folder: str | None = None

    def look(self) -> Look | None:
        """What shows now; None where there is no repository."""
        folder = self._folder
        if folder is None or not self._fs.exists(f"{folder}/HEAD"):
            folder = self._folder = self._find()
            if folder is None:
                return None
        exists = self._fs.exists
        return Look(
            self._touched(f"{folder}/index.lock"),
            any(exists(f"{folder}/{name}") for name in _STEPS),
            self._touched(f"{folder}/index"),
            self._touched(f"{folder}/logs/HEAD"),
        )

    def operations(self) -> list[Operation]:
        """The last operations that may have changed files."""
        if self._folder is None:
            return []
        status, raw = self._tail(f"{self._folder}/logs/HEAD", _TAIL_BYTES)
        if status is None:
            return []
        found = []
        at = status.st_size - len(raw)
        written = status.st_mtime_ns // 10**9
        for line in raw.split(b"\n")[:-1]:  # what has no newline is being written
            at += len(line) + 1
            match = _LINE.fullmatch(line)
            if match is None:
                continue
            name, address, seconds, text = match.groups()
            said = _clean(text or b"", _TEXT)
            if not _IDLE.match(said):
                actor = _clean(name, _NAME) or _clean(address, _NAME) or None
                ended = int(seconds)
                if at == status.st_size and 0 <= written - ended <= _LONGEST_SECONDS:
                    ended = written
                found.append(Operation(at, ended, actor, said))
        return found

    def _find(self) -> str | None:
        """Git's folder of the work tree that the root is in."""
        folder = self._root
        while True:
            there = f"{folder}/.git"
            if self._fs.exists(f"{there}/HEAD"):
                return there
            if self._fs.exists(there):
                # A work tree of many, or a submodule: a file says where.
                first = self._tail(there, 4096)[1].partition(b"\n")[0]
                if first.startswith(b"gitdir: ") and b"\0" not in first:
                    target = os.path.join(folder, os.fsdecode(first[8:].strip()))
                    return target if self._fs.exists(f"{target}/HEAD") else None
                return None
            above = os.path.dirname(folder)
            if above == folder:
                return None
            folder = above

    def _touched(self, path: str) -> float:
        try:
            return self._fs.lstat(path).st_mtime_ns / 1e9
        except OSError:
            return 0.0

    def _tail(self, path: str, most: int) -> tuple[os.stat_result | None, bytes]:
        """The status of a file, None where it can't be read, and its last bytes."""
        fs = self._fs
        try:
            fd = fs.open(path, _SAFELY)
        except OSError:
            return None, b""
        try:
            status = fs.fstat(fd)
            size = status.st_size
            return status, read_at(fs, fd, max(0, size - most), min(size, most))
        except OSError:
            return None, b""
        finally:
            let_go(fs, fd)


def _clean(raw: bytes, most: int) -> str:
    text = " ".join(raw.decode(errors="replace").split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
