"""Counts the system calls of one operation with strace, in a process of its own.

The operation stands between two calls that nobody else makes: a stat of a
marker's name.  Calls of other threads in between count too.
"""

from __future__ import annotations

import collections
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench.reads import build
from tests.bench.runner import Row, fresh

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END = "/filestore-begin", "/filestore-end"
SYNCS = frozenset({"fsync", "fdatasync", "sync_file_range", "syncfs", "msync"})
WRITES = SYNCS | {
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "truncate", "fallocate",
    "rename", "renameat", "renameat2", "link", "linkat", "symlink", "unlink", "unlinkat", "mkdir",
    "mkdirat", "rmdir", "creat", "chmod", "fchmod", "fchmodat", "utimensat", "copy_file_range",
}  # fmt: skip
SCANS = frozenset({"getdents64", "getdents"})

HUNDRED = """
    with store.transaction():
        for n in range(1000, 1100):
            volumes[volume_id(n)] = volume(n)
"""

PROGRAM = """
import os, sys
import filestore
from tests.bench.documents import volume, volume_id

def mark(name):
    try:
        os.stat(name)
    except FileNotFoundError:
        pass

with filestore.open(sys.argv[1]) as store:
    volumes = store["volumes"]
    {prepare}
    mark({begin!r})
    {operation}
    mark({end!r})
"""


def count(path: Path, operation: str, prepare: str = "pass") -> collections.Counter[str]:
    """The calls that ``operation`` made, by name."""
    code = PROGRAM.format(begin=BEGIN, end=END, operation=operation, prepare=prepare)
    trace = path.with_name("trace")
    command = ["strace", "-f", "-qq", "-o", str(trace), sys.executable, "-c", code, str(path)]
    subprocess.run(command, check=True)
    lines = trace.read_text(errors="replace").splitlines()
    begin = next(number for number, line in enumerate(lines) if BEGIN in line)
    end = next(number for number, line in enumerate(lines) if END in line)
    found: collections.Counter[str] = collections.Counter()
    for line in lines[begin + 1 : end]:
        match = re.match(r"\d+ +(\w+)\(", line)
        if match:
            found[match[1]] += 1
            if match[1] == "openat" and re.search(r"O_(CREAT|TRUNC)", line):
                found["creat"] += 1
    return found


def run(data: Path) -> list[Row]:
    if shutil.which("strace") is None:
        return [Row("system calls", "strace is not installed: not counted")]

    def counted(operation: str, prepare: str = "pass") -> collections.Counter[str]:
        return count(build(fresh(data), 100), operation, prepare)

    # A handle that has written before holds what it keeps between commits.
    written = "volumes.put(volume_id(9000), volume(9000)); store.checkpoint()"
    new = counted("volumes.put(volume_id(500), volume(500))", written)
    update = counted(
        "volumes.put(volume_id(50), volume(50, 1))", f"{written}; volumes[volume_id(50)]"
    )
    hundred = counted(HUNDRED, written)
    unchanged = counted("for n in range(100): volumes.put(volume_id(n), volume(n))")
    first = counted("volumes[volume_id(50)]")
    cached = counted("for n in range(1000): volumes[volume_id(50)]", "volumes[volume_id(50)]")
    return [
        _row("calls: durable put, new", new, SYNCS, 1, "syncs"),
        _row("calls: durable put, update", update, SYNCS, 1, "syncs"),
        _row("calls: transaction of 100", hundred, SYNCS, 1, "syncs"),
        _row("calls: 100 unchanged puts", unchanged, WRITES, 0, "writing"),
        _row("calls: first get from a cold store", first, SCANS, 0, "scans"),
        _row("calls: 1,000 cached gets", cached, WRITES, 0, "writing"),
    ]


def _row(
    what: str, calls: collections.Counter[str], kind: frozenset[str], promised: int, noun: str
) -> Row:
    found = sum(calls[name] for name in kind)
    note = ", ".join(f"{number} {name}" for name, number in calls.most_common()) or "none"
    return Row(what, f"{found} {noun}", "", "", f"{promised} {noun}", found == promised, note=note)
