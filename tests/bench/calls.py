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
    "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "utimensat", "copy_file_range",
}  # fmt: skip
SCANS = frozenset({"getdents64", "getdents"})

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
    warm = "volumes.put(volume_id(9000), volume(9000)); store.checkpoint()"
    new = count(build(fresh(data), 100), "volumes.put(volume_id(500), volume(500))", prepare=warm)
    hundred = count(
        build(fresh(data), 100),
        "with store.transaction():\n"
        "        for n in range(1000, 1100): volumes[volume_id(n)] = volume(n)",
        prepare=warm,
    )
    unchanged = count(
        build(fresh(data), 100),
        "for n in range(100): volumes.put(volume_id(n), volume(n))",
        prepare="volumes[volume_id(3)]",
    )
    first = count(build(fresh(data), 100), "volumes[volume_id(50)]")
    cached = count(
        build(fresh(data), 100),
        "for n in range(1000): volumes[volume_id(50)]",
        prepare="volumes[volume_id(50)]",
    )
    return [
        Row(
            "calls: durable put, new",
            _told(new),
            "",
            _syncs(new),
            "1 sync",
            _total(new, SYNCS) == 1,
        ),
        Row(
            "calls: transaction of 100",
            _told(hundred),
            "",
            _syncs(hundred),
            "1 sync",
            _total(hundred, SYNCS) == 1,
        ),
        Row(
            "calls: 100 unchanged puts",
            _told(unchanged),
            "",
            f"{_total(unchanged, WRITES)} writing",
            "0 writing",
            _total(unchanged, WRITES) == 0,
        ),
        Row(
            "calls: first get from a cold store",
            _told(first),
            "",
            f"{_total(first, SCANS)} scans",
            "0 scans",
            _total(first, SCANS) == 0,
        ),
        Row("calls: 1,000 cached gets", _told(cached) or "none"),
    ]


def _total(calls: collections.Counter[str], names: frozenset[str]) -> int:
    return sum(calls[name] for name in names | ({"creat"} if names is WRITES else set()))


def _syncs(calls: collections.Counter[str]) -> str:
    return f"{_total(calls, SYNCS)} syncs"


def _told(calls: collections.Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in calls.most_common())
