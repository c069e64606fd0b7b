"""The system calls that no store with readable files can do without.

They are not a store: no lock, no recovery, no check of what was there.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson

from tests.bench.documents import volume, volume_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOG_SIZE = 16 << 20


class Calls:
    """Append + ``fdatasync`` on a preallocated log; write and rename of one file."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.position = 0
        self.log = os.open(f"{self.folder}/log", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for offset in range(0, LOG_SIZE, 1 << 20):
            os.pwrite(self.log, bytes(1 << 20), offset)
        os.fsync(self.log)
        for name in ("volumes", "tmp"):
            os.mkdir(f"{self.folder}/{name}", 0o700)

    def append(self, data: bytes) -> None:
        os.pwrite(self.log, data, self.position)
        self.position += len(data)
        os.fdatasync(self.log)

    def publish(self, name: str, data: bytes) -> None:
        spare = f"{self.folder}/tmp/{name}"
        fd = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.write(fd, data)
        os.close(fd)
        os.rename(spare, f"{self.folder}/volumes/{name}.json")

    def close(self) -> None:
        os.close(self.log)


def encode(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


@contextmanager
def put_new(folder: Path) -> Iterator[Callable[[int], object]]:
    """A new file each time; encoded beforehand."""
    calls = Calls(folder)
    data = encode(volume(1))

    def put(index: int) -> None:
        calls.append(data)
        calls.publish(volume_id(index), data)

    yield put
    calls.close()


@contextmanager
def update(folder: Path) -> Iterator[Callable[[int], object]]:
    """One of a hundred files replaced each time."""
    calls = Calls(folder)
    data = encode(volume(1))
    for index in range(100):
        calls.publish(volume_id(index), data)

    def put(index: int) -> None:
        calls.append(data)
        calls.publish(volume_id(index % 100), data)

    yield put
    calls.close()


@contextmanager
def together(folder: Path, size: int) -> Iterator[Callable[[int], object]]:
    """Many new files behind one append."""
    calls = Calls(folder)
    data = encode(volume(1))

    def put(index: int) -> None:
        calls.append(data * size)
        for number in range(index * size, index * size + size):
            calls.publish(volume_id(number), data)

    yield put
    calls.close()
