"""A cache of bounded size: what it keeps, what it drops, and that reads do not depend on it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import filestore
from filestore import Store
from filestore.engine.cache import ENTRY_BYTES, Cache
from filestore.engine.files import FileBackend
from filestore.engine.tree import FileEntry

if TYPE_CHECKING:
    from pathlib import Path

SIZE = ENTRY_BYTES + 100


def entry(size: int = 100) -> FileEntry:
    return FileEntry(bytes(size), "/path")


def key(n: int) -> tuple[str, str]:
    return "volumes", str(n)


def test_a_cache_keeps_no_more_than_its_limit() -> None:
    cache = Cache(10 * SIZE)
    for n in range(1000):
        cache[key(n)] = entry()
        assert cache.bytes == len(cache) * SIZE <= 10 * SIZE
    assert len(cache) == 10
    assert key(999) in cache


def test_what_is_used_stays() -> None:
    cache = Cache(10 * SIZE)
    for n in range(1000):
        cache[key(n)] = entry()
        hot = cache.get(key(0))
        assert hot is not None
        hot.used = True


def test_a_newcomer_gets_in_though_all_others_are_used() -> None:
    cache = Cache(100 * SIZE)
    for n in range(100):
        cache[key(n)] = entry()
    for each in cache.values():
        each.used = True
    cache[key(100)] = entry()
    assert key(100) in cache
    assert len(cache) == 100


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = Cache(10 * SIZE)
    cache[key(1)] = entry()
    cache[key(1)] = entry(10 * SIZE)
    assert not cache
    assert cache.bytes == 0
    none = Cache(0)
    none[key(1)] = entry()
    assert not none


def test_what_comes_and_goes_leaves_nothing_behind() -> None:
    cache = Cache(10 * SIZE)
    for n in range(10_000):
        cache[key(n % 3)] = entry()
        cache.drop(key(n % 3))
    assert cache.bytes == 0
    assert len(cache._ring) < 100


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "drop", "use"]), st.integers(0, 20), st.integers(0, 3000))
    )
)
def test_the_bytes_are_those_of_what_is_there(steps: list[tuple[str, int, int]]) -> None:
    cache = Cache(5000)
    for what, n, size in steps:
        there = cache.get(key(n))
        if what == "put":
            cache[key(n)] = entry(size)
        elif what == "drop":
            cache.drop(key(n))
        elif there is not None:
            there.used = True
        total = sum(len(each.data) + ENTRY_BYTES for each in cache.values())
        assert cache.bytes == total <= cache.limit
    cache.after_fork()
    assert cache.bytes == sum(len(each.data) + ENTRY_BYTES for each in cache.values())
    cache.clear()
    assert (cache.bytes, len(cache)) == (0, 0)


def test_a_snapshot_can_be_gone_through_without_keeping_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with filestore.open(path) as store, store.transaction():
        for number in range(300):
            store["volumes"][f"v{number}"] = {"number": number}
    # Nobody is at work behind it, who might record the edit before it is looked at.
    with Store(FileBackend(path, background=False)) as store:
        assert store["volumes"]["v7"] == {"number": 7}
        with store.snapshot(keep=False) as view:
            assert len(dict(view["volumes"].items())) == 300
            assert store.stats()["cached_documents"] == 1
            with Store(FileBackend(path, background=False)) as other:
                other["volumes"]["v8"] = {"number": -8}
            (path / "volumes" / "v9.json").write_text('{"number": -9}\n')
            now = dict(view["volumes"].items())
            assert now["v8"] == {"number": 8}  # of that moment
            assert now["v9"] == {"number": -9}  # no commit yet: it shows
        assert len(dict(store["volumes"].items())) == 300
        assert store.stats()["cached_documents"] == 300


@pytest.mark.parametrize("cache_bytes", [0, 1000, 20_000])
def test_a_store_larger_than_its_cache_is_read_and_written(
    tmp_path: Path, cache_bytes: int
) -> None:
    model = {}
    with filestore.open(tmp_path / "store", cache_bytes=cache_bytes, durability="off") as store:
        volumes = store["volumes"]
        chance = random.Random(5)
        for turn in range(400):
            id = f"v{chance.randrange(60)}"
            if chance.random() < 0.5:
                volumes[id] = model[id] = {"turn": turn, "text": "x" * chance.randrange(500)}
            else:
                assert volumes.get(id) == model.get(id)
            if turn % 50 == 0:
                assert dict(volumes.items()) == model
                assert len(volumes.find()) == len(model)
                figures = store.stats()
                assert figures["cached_bytes"] <= cache_bytes
                assert figures["cached_documents"] <= cache_bytes / ENTRY_BYTES
        assert dict(volumes) == model


def test_a_negative_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cache_bytes"):
        filestore.open(tmp_path / "store", cache_bytes=-1)
    assert not (tmp_path / "store").exists()
