"""What it costs that history is kept, and to look at it."""

from __future__ import annotations

import statistics
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import orjson

import filestore
from filestore.diff import diff, same
from filestore.engine import record
from tests.bench.documents import sample, volume
from tests.bench.runner import Case, Row, measure, ratios, spread, versus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from filestore.model import Commit

_MANY = 20_000  # commits in the store that is looked back at
_OWN = 20  # of them, those to the document that is looked at


@contextmanager
def tracked(folder: Path, *, looked_at: bool = False) -> Iterator[Callable[[int], object]]:
    """Updates that wait for no disk, so that what else they cost shows.

    ``looked_at``: while a moment of the past is read, from an index that was made before.
    """
    volumes = [(id, document | {"size": -1}) for id, document in sample(100)]
    with filestore.open(folder / "state", durability="off") as store, ExitStack() as stack:
        collection = store["volumes"]
        collection.update(dict(sample(100)))
        if looked_at:
            past = stack.enter_context(store.at(revision=1))
            assert len(dict(past["volumes"])) == 100

        def grow(index: int) -> None:
            id, document = volumes[index % 100]
            document["size"] = index
            collection.put(id, document)

        yield grow


@contextmanager
def untracked(folder: Path) -> Iterator[Callable[[int], object]]:
    """The same updates, but the journal is not told what was there before."""
    whole = record.commit_payload

    def without(commit: Commit, etags: Sequence[record.Etags], synced: int) -> record.Payload:
        ops = tuple([op._replace(before=None) for op in commit.ops])
        return whole(commit._replace(ops=ops), etags, synced)

    record.commit_payload = without
    try:
        with tracked(folder) as operation:
            yield operation
    finally:
        record.commit_payload = whole


@contextmanager
def looking_back(folder: Path, others: int) -> Iterator[Callable[[int], object]]:
    """Reading a document as it was before its own later changes and so many others'."""
    with filestore.open(folder / "state", durability="off") as store:
        volumes = store["volumes"]
        volumes["it"] = volume(0)
        for index in range(others):
            if index % (others // _OWN) == 0:
                volumes["it"] = volume(0, index + 1)
            volumes[f"other-{index % 100}"] = {"n": index}
        with store.at(revision=1) as past:
            collection = past["volumes"]
            yield lambda _: collection["it"]


def _large() -> list[tuple[str, Any, Any]]:
    """Documents of about 1 MB, and the same with one change."""
    shapes: list[tuple[str, Any, list[Any]]] = [
        ("objects", {f"v{n}": volume(n) for n in range(1000)}, ["v500", "size"]),
        ("a list of objects", {"all": [volume(n) for n in range(1000)]}, ["all", 500, "size"]),
        ("texts", {f"f{n}": "x" * 20 for n in range(30_000)}, ["f20000"]),
        ("a list of numbers", {"all": [*range(150_000)]}, ["all", 70_000]),
    ]
    made = []
    for name, document, way in shapes:
        raw = orjson.dumps(document)
        one, other = orjson.loads(raw), orjson.loads(raw)
        place = other
        for step in way[:-1]:
            place = place[step]
        place[way[-1]] = "changed"
        made.append((name, one, other))
    return made


def _pair(name: str, one: Any, other: Any) -> list[Case]:
    copy = orjson.loads(orjson.dumps(one))
    assert len(diff(one, other)) == 1

    @contextmanager
    def comparing(_: Path) -> Iterator[Callable[[int], object]]:
        yield lambda _: same(one, copy)

    @contextmanager
    def differing(_: Path) -> Iterator[Callable[[int], object]]:
        yield lambda _: diff(one, other)

    return [
        Case(f"comparing {name}", comparing, count=10),
        Case(f"diff {name}", differing, count=10),
    ]


def run(data: Path, rounds: int) -> list[Row]:
    puts = measure(
        [
            Case("tracked", tracked, count=500),
            Case("untracked", untracked, count=500),
            Case("looked at", lambda folder: tracked(folder, looked_at=True), count=500),
        ],
        rounds,
        data,
    )
    rows = [
        versus("put with change tracking", puts["tracked"], puts["untracked"], 1.1, "without"),
        versus("put while the past is read", puts["looked at"], puts["tracked"], 1.1, "not read"),
    ]
    small = (volume(1), volume(1) | {"size": -1})
    for name, one, other in [("1 kB", *small), *_large()]:
        samples = measure(_pair(name, one, other), max(3, rounds // 2), data)
        limit = None if name == "1 kB" else 3  # there the fixed costs are most of it
        what = f"diff of one change in {name if name == '1 kB' else f'1 MB of {name}'}"
        rows.append(
            versus(what, samples[f"diff {name}"], samples[f"comparing {name}"], limit, "comparing")
        )
    back = measure(
        [
            Case("few", lambda folder: looking_back(folder, _MANY // 20), count=200),
            Case("many", lambda folder: looking_back(folder, _MANY), count=200),
        ],
        min(rounds, 3),
        data,
    )
    each = ratios(back["many"], back["few"])
    middle = statistics.median(each)
    rows.append(
        Row(
            f"at(revision), one document among {_MANY:,} later commits",
            spread(back["many"].medians),
            f"{spread(back['few'].medians)} among {_MANY // 20:,}",
            f"{middle:.2f} ({min(each):.2f}-{max(each):.2f})",
            "<= 2",
            middle <= 2,
        )
    )
    return rows
