"""Volumes' data: read without their holes, and written with them."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore import StorageError
from filestore.backup.volume_file import Chunk, VolumeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

K = 1024


def regular(path: Path, content: bytes, **options: Any) -> BinaryIO:
    path.write_bytes(content)
    file: BinaryIO = open(path, "r+b", **options)  # noqa: SIM115  # the test closes it
    return file


KINDS: list[Callable[[Path, bytes], BinaryIO]] = [
    regular,
    lambda path, content: regular(path, content, buffering=0),
    lambda path, content: io.BytesIO(content),
]


@pytest.fixture(params=KINDS, ids=["buffered", "raw", "object"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], BinaryIO]:
    return lambda content: request.param(tmp_path / "volume", content)


def content_of(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def test_zeros_are_not_read_out(make: Callable[[bytes], BinaryIO]) -> None:
    content = bytes(2 * K) + b"a" * K + bytes(3 * K) + b"b" * 100
    with make(content) as file:
        chunks = list(VolumeFile(file).chunks(K))
        assert chunks == [Chunk(2 * K, b"a" * K), Chunk(6 * K, b"b" * 100)]


def test_what_the_object_has_buffered_is_read(tmp_path: Path) -> None:
    with regular(tmp_path / "volume", b"") as file:
        file.write(b"abc")
        assert list(VolumeFile(file).chunks(2)) == [Chunk(0, b"ab"), Chunk(2, b"c")]
        file.write(b"def")  # goes on where it stood
        assert content_of(file) == b"abcdef"


def test_holes_are_neither_read_nor_made_data(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with open(source, "wb") as file:
        file.truncate(1 << 40)  # nobody reads a terabyte of zeros
        for offset in (5 << 30, 1 << 39):
            file.seek(offset)
            file.write(b"data")
    with open(source, "rb") as file, open(target, "w+b") as to:
        chunks = list(VolumeFile(file).chunks(1 << 20))
        VolumeFile(to).write(chunks, 1 << 40, blank=False)
        assert [chunk.data.strip(b"\0") for chunk in chunks] == [b"data", b"data"]
        to.seek(1 << 39)
        assert to.read(4) == b"data"
    assert os.stat(target).st_size == 1 << 40
    assert os.stat(target).st_blocks <= os.stat(source).st_blocks


PIECES = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 2]), st.sampled_from([1, 7, K - 1, K, 4 * K])), max_size=8
)


def built(pieces: list[tuple[int, int]]) -> bytes:
    return b"".join(bytes([value]) * length for value, length in pieces)


@given(PIECES, PIECES, st.sampled_from([1, 5, K, 3 * K, 1 << 20]), st.integers(0, 2))
def test_what_was_read_out_is_written_over_anything(
    tmp_path: Path, was: list[tuple[int, int]], old: list[tuple[int, int]], length: int, kind: int
) -> None:
    content, before = built(was), built(old)
    path = tmp_path / "other"
    with io.BytesIO(content) as file, KINDS[kind](path, before) as to:
        chunks = list(VolumeFile(file).chunks(max(length, 64)))
        VolumeFile(to).write(chunks, len(content), blank=False)
        assert content_of(to) == content + before[len(content) :]


def test_a_volume_that_is_blank_is_not_written_with_zeros(
    make: Callable[[bytes], BinaryIO],
) -> None:
    with make(b"x" * 10) as file:
        VolumeFile(file).write([Chunk(4, b"data")], 8, blank=True)
        assert content_of(file) == b"xxxxdataxx"  # not looked at, as it was told


def test_what_lies_behind_the_end_stays(make: Callable[[bytes], BinaryIO]) -> None:
    with make(b"x" * 10 * K) as file:
        VolumeFile(file).write([Chunk(K, b"data")], 8 * K, blank=False)
        assert content_of(file) == bytes(K) + b"data" + bytes(7 * K - 4) + b"x" * 2 * K


def test_a_read_buffer_does_not_show_what_was_replaced(tmp_path: Path) -> None:
    with regular(tmp_path / "volume", b"old" * 100) as file:
        file.read(10)
        VolumeFile(file).write([Chunk(0, b"new" * 100)], 300, blank=False)
        assert content_of(file) == b"new" * 100


def test_a_file_that_gets_shorter_is_told(make: Callable[[bytes], BinaryIO]) -> None:
    with make(b"x" * 4 * K) as file:
        chunks = VolumeFile(file).chunks(K)
        next(chunks)
        file.truncate(K + 10)
        with pytest.raises(StorageError, match="shorter"):
            list(chunks)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.write_bytes(b"x")
    with open(path, "ab") as file, pytest.raises(StorageError, match="cannot be read at 0"):
        list(VolumeFile(file).chunks(K))


def test_short_reads_and_writes_are_gone_on_with() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 3))

        def write(self, data: Any, /) -> int:
            return super().write(bytes(data[:3]))

    with Slow(b"0123456789") as file, Slow() as to:
        VolumeFile(to).write(VolumeFile(file).chunks(8), 10, blank=False)
        assert to.getvalue() == b"0123456789"


def test_a_device_must_have_room() -> None:
    with open("/dev/zero", "r+b", buffering=0) as file:
        with pytest.raises(StorageError, match="larger volume"):
            VolumeFile(file).require_room(1)
        VolumeFile(file).require_room(0)
