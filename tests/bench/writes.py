"""What writing costs, beside the raw system calls it cannot avoid."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import filestore
from tests.bench import raw
from tests.bench.documents import sample
from tests.bench.runner import Case, Row, measure, spread, versus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MOST: Final = 6000


@contextmanager
def put_new(folder: Path) -> Iterator[Callable[[int], object]]:
    volumes = sample(1000)
    with filestore.open(folder / "state") as store:
        put = store["volumes"].put
        yield lambda index: put(*volumes[index])


@contextmanager
def update(folder: Path) -> Iterator[Callable[[int], object]]:
    volumes = [(id, document | {"size": -1}) for id, document in sample(100)]
    with filestore.open(folder / "state") as store:
        put = _loaded(store).put

        def grow(index: int) -> None:
            id, document = volumes[index % 100]
            document["size"] = index
            put(id, document)

        yield grow


@contextmanager
def together(folder: Path, size: int) -> Iterator[Callable[[int], object]]:
    """A transaction of so many new documents."""
    documents = sample(_MOST)
    with filestore.open(folder / "state") as store:
        volumes = store["volumes"]

        def put(index: int) -> None:
            with store.transaction():
                for id, document in documents[index * size : index * size + size]:
                    volumes[id] = document

        yield put


@contextmanager
def unchanged(folder: Path) -> Iterator[Callable[[int], object]]:
    volumes = sample(100)
    with filestore.open(folder / "state") as store:
        put = _loaded(store).put
        yield lambda index: put(*volumes[index % 100])


def _loaded(store: filestore.Store) -> filestore.Collection:
    """The collection, with a hundred volumes in it."""
    collection = store["volumes"]
    with store.transaction():
        for id, document in sample(100):
            collection[id] = document
    return collection


def _thousand(name: str, clock: Callable[[], float]) -> list[Case]:
    return [
        Case(f"{name}{what}", partial(act, size=1000), count=5, warmup=1, clock=clock)
        for what, act in ((": calls", raw.together), ("", together))
    ]


def run(data: Path, rounds: int) -> list[Row]:
    cases = [
        Case("new: calls", raw.put_new),
        Case("new", put_new),
        Case("update: calls", raw.update),
        Case("update", update),
        Case("hundred: calls", partial(raw.together, size=100), count=10, warmup=2),
        Case("hundred", partial(together, size=100), count=10, warmup=2),
        *_thousand("thousand", time.perf_counter),
        *_thousand("thousand, busy", time.thread_time),
        Case("unchanged", unchanged, count=1000),
    ]
    samples = measure(cases, rounds, data)
    note = "raw calls"

    def beside(label: str, name: str, limit: float | None = None) -> Row:
        return versus(label, samples[name], samples[f"{name}: calls"], limit, note)

    return [
        beside("durable put, new 1 kB document", "new", 1.5),
        beside("durable put, update", "update", 1.5),
        beside("transaction of 100", "hundred"),
        beside("transaction of 1,000", "thousand"),
        beside("transaction of 1,000, processor time of its thread", "thousand, busy"),
        Row("put of an unchanged document", spread(samples["unchanged"].medians)),
    ]
