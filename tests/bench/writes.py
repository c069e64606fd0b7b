"""What writing costs, beside the raw system calls it cannot avoid."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import filestore
from tests.bench import raw
from tests.bench.documents import volume, volume_id
from tests.bench.runner import Case, Row, Sample, measure, spread, versus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def put_new(folder: Path) -> Iterator[Callable[[int], object]]:
    with filestore.open(folder / "state") as store:
        volumes = store["volumes"]
        yield lambda index: volumes.put(volume_id(index), volume(index))


@contextmanager
def update(folder: Path) -> Iterator[Callable[[int], object]]:
    with filestore.open(folder / "state") as store:
        volumes = store["volumes"]
        with store.transaction():
            for index in range(100):
                volumes[volume_id(index)] = volume(index)
        yield lambda index: volumes.put(volume_id(index % 100), volume(index % 100, index + 1))


@contextmanager
def hundred(folder: Path) -> Iterator[Callable[[int], object]]:
    with filestore.open(folder / "state") as store:
        volumes = store["volumes"]

        def put(index: int) -> None:
            with store.transaction():
                for number in range(index * 100, index * 100 + 100):
                    volumes[volume_id(number)] = volume(number)

        yield put


@contextmanager
def unchanged(folder: Path) -> Iterator[Callable[[int], object]]:
    with filestore.open(folder / "state") as store:
        volumes = store["volumes"]
        documents = [(volume_id(index), volume(index)) for index in range(100)]
        with store.transaction():
            for id, document in documents:
                volumes[id] = document
        yield lambda index: volumes.put(*documents[index % 100])


@contextmanager
def making(folder: Path) -> Iterator[Callable[[int], object]]:
    """What the benchmark itself spends: the making of the document."""
    yield lambda index: (volume_id(index), volume(index))


def run(data: Path, rounds: int) -> list[Row]:
    cases = [
        Case("new: calls", raw.put_new),
        Case("new", put_new),
        Case("update: calls", raw.update),
        Case("update", update),
        Case("hundred: calls", raw.hundred, count=10, warmup=2),
        Case("hundred", hundred, count=10, warmup=2),
        Case("unchanged", unchanged, count=1000),
        Case("making", making, count=1000),
    ]
    samples = measure(cases, rounds, data)
    note = "raw calls"
    return [
        versus("durable put, new 1 kB document", samples["new"], samples["new: calls"], 1.5, note),
        versus("durable put, update", samples["update"], samples["update: calls"], 1.5, note),
        versus("transaction of 100", samples["hundred"], samples["hundred: calls"], None, note),
        _alone("put of an unchanged document", samples["unchanged"]),
        _alone("(making a document, inside the puts)", samples["making"]),
    ]


def _alone(what: str, sample: Sample) -> Row:
    return Row(what, spread(sample.medians))
