"""What reading and opening cost."""

from __future__ import annotations

import statistics
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson

import filestore
from tests.bench.documents import volume, volume_id
from tests.bench.runner import Case, Row, fresh, measure, no_collection, ratios, spread, versus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INNER = 100  # calls a sample: the clock itself takes as long as a decoding


def build(folder: Path, count: int) -> Path:
    """A store of ``count`` volumes, closed."""
    path = folder / f"state-{count}"
    with filestore.open(path, durability="off") as store:
        volumes = store["volumes"]
        for begin in range(0, count, 1000):
            with store.transaction():
                for index in range(begin, min(begin + 1000, count)):
                    volumes[volume_id(index)] = volume(index)
    return path


@contextmanager
def cached(folder: Path) -> Iterator[Callable[[int], object]]:
    """Gets that look at their files; those that events spare it are in ``external``."""
    with filestore.open(build(folder, 100), watch=False) as store:
        volumes = store["volumes"]
        ids = [volume_id(index) for index in range(INNER)]
        for id in ids:
            volumes[id]

        def get(_: int) -> None:
            for id in ids:
                volumes[id]

        yield get


@contextmanager
def decoding(folder: Path) -> Iterator[Callable[[int], object]]:
    """The same documents from the same bytes, by the JSON library alone."""
    raws = [orjson.dumps(volume(index), option=orjson.OPT_SORT_KEYS) for index in range(INNER)]
    loads = orjson.loads

    def decode(_: int) -> None:
        for data in raws:
            loads(data)

    yield decode


@contextmanager
def first(folder: Path) -> Iterator[Callable[[int], object]]:
    """Gets of documents that the handle has not seen."""
    with filestore.open(build(folder, 300)) as store:
        volumes = store["volumes"]
        yield lambda index: volumes[volume_id(index)]


@contextmanager
def first_raw(folder: Path) -> Iterator[Callable[[int], object]]:
    """Open, read, close and decode the same files, knowing their names."""
    root = build(folder, 300) / "volumes"

    def get(index: int) -> object:
        with open(root / f"{volume_id(index)}.json", "rb", buffering=0) as file:
            return orjson.loads(file.read())

    yield get


def run(data: Path, rounds: int) -> list[Row]:
    samples = measure(
        [
            Case("decode", decoding, count=30),
            Case("get", cached, count=30),
            Case("open, read, decode", first_raw, count=200),
            Case("first get", first, count=200),
        ],
        rounds,
        data,
    )
    get, decode = samples["get"], samples["decode"]
    get.medians[:] = [value / INNER for value in get.medians]
    decode.medians[:] = [value / INNER for value in decode.medians]
    beyond = [one - other for one, other in zip(get.medians, decode.medians, strict=True)]
    middle = statistics.median(beyond)
    each = ratios(get, decode)
    return [
        Row(
            "cached get (watch=False)",
            spread(get.medians),
            f"{spread(decode.medians)} orjson.loads",
            f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})",
        ),
        Row(
            "cached get (watch=False), beyond decoding",
            spread(beyond),
            "",
            "",
            "< 3 us",
            middle < 3e-6,
        ),
        versus("first get", samples["first get"], samples["open, read, decode"]),
    ]


def opening(data: Path, rounds: int, sizes: tuple[int, ...]) -> list[Row]:
    """Opening stores of several sizes, in turn; the smallest is what the others are set beside."""
    folder = fresh(data)
    paths = {size: build(folder, size) for size in sizes}

    def case(size: int) -> Case:
        @contextmanager
        def setup(_: Path) -> Iterator[Callable[[int], object]]:
            stores: list[filestore.Store] = []
            yield lambda _: stores.append(filestore.open(paths[size]))
            for store in stores:
                store.close()

        return Case(str(size), setup, count=5, warmup=1)

    samples = measure([case(size) for size in sizes], rounds, data)
    least = samples[str(sizes[0])]
    rows = [Row(f"open, {sizes[0]:,} documents", spread(least.medians))]
    rows += [
        # Twice is the noise of a call this short; a scan would be a thousand times.
        versus(f"open, {size:,} documents", samples[str(size)], least, 2.0, f"with {sizes[0]:,}")
        for size in sizes[1:]
    ]
    return rows


def memory(data: Path, count: int = 10_000) -> list[Row]:
    """What a cached document occupies, beside its bytes."""
    path = build(fresh(data), count)
    size = sum(
        len(orjson.dumps(volume(index), option=orjson.OPT_SORT_KEYS)) for index in range(count)
    )
    with filestore.open(path) as store, no_collection():
        volumes = store["volumes"]
        ids = [volume_id(index) for index in range(count)]
        before = resident()
        for id in ids:
            volumes[id]
        grown = resident() - before
    return [
        Row(
            f"memory of a cached document ({count:,} of them)",
            f"{grown / count:.0f} bytes",
            f"{size / count:.0f} bytes of JSON",
            f"{grown / size:.2f}",
        )
    ]


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096
