"""What writing costs, beside the raw system calls it cannot avoid."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import filestore
from tests.bench import raw
from tests.bench.documents import sample
from tests.bench.runner import Case, Row, measure, spread, versus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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
def hundred(folder: Path) -> Iterator[Callable[[int], object]]:
    documents = sample(2000)
    with filestore.open(folder / "state") as store:
        volumes = store["volumes"]

        def put(index: int) -> None:
            with store.transaction():
                for id, document in documents[index * 100 : index * 100 + 100]:
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


def run(data: Path, rounds: int) -> list[Row]:
    cases = [
        Case("new: calls", raw.put_new),
        Case("new", put_new),
        Case("update: calls", raw.update),
        Case("update", update),
        Case("hundred: calls", raw.hundred, count=10, warmup=2),
        Case("hundred", hundred, count=10, warmup=2),
        Case("unchanged", unchanged, count=1000),
    ]
    samples = measure(cases, rounds, data)
    note = "raw calls"
    return [
        versus("durable put, new 1 kB document", samples["new"], samples["new: calls"], 1.5, note),
        versus("durable put, update", samples["update"], samples["update: calls"], 1.5, note),
        versus("transaction of 100", samples["hundred"], samples["hundred: calls"], None, note),
        Row("put of an unchanged document", spread(samples["unchanged"].medians)),
    ]
