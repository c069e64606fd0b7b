"""The catalog: what it was told it tells, saved or not, and damage is never believed."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore.engine.catalog import (
    MAGIC,
    START,
    UNSEEN,
    Catalog,
    Point,
    Table,
    store_hash,
)
from filestore.engine.written import Known

if TYPE_CHECKING:
    from filestore.engine.tree import Signature

STORE: Final = store_hash("store")
LATER: Final = 1 << 62
names = st.from_regex(r"[a-z]{1,3}/[a-z0-9]{1,4}\.json", fullmatch=True)
numbers = st.integers(1, LATER - 1)
signatures = st.tuples(numbers, numbers, numbers, st.integers(0, 1 << 24))


def known(word: str, signature: Signature = (1, 2, 3, 4)) -> Known:
    return Known(hashlib.blake2b(word.encode(), digest_size=16).digest(), signature)


def saved(catalog: Catalog, settled: int = LATER) -> bytes:
    return b"".join(catalog.encode(STORE, settled))


def loaded(raw: bytes) -> Catalog:
    return Catalog(Table(memoryview(raw)))


def filled(**documents: Known) -> Catalog:
    catalog = Catalog()
    for name, one in documents.items():
        catalog.put(f"v/{name}.json", one)
    catalog.complete = True
    catalog.point = Point(7, 1.5)
    return catalog


def test_a_saved_catalog_tells_what_it_was_told() -> None:
    catalog = loaded(saved(filled(a=known("a"), b=known("b", (9, 8, 7, 6)))))
    assert catalog.get("v/a.json") == known("a")
    assert catalog.get("v/b.json") == known("b", (9, 8, 7, 6))
    assert catalog.get("v/c.json") is None
    assert (catalog.complete, catalog.point) == (True, Point(7, 1.5))


def test_an_empty_catalog_is_saved_too() -> None:
    catalog = loaded(saved(Catalog()))
    assert (catalog.complete, catalog.point, len(catalog)) == (False, START, 0)


def test_what_is_put_and_removed_later_counts_over_what_was_saved() -> None:
    catalog = loaded(saved(filled(a=known("a"), b=known("b"), c=known("c"))))
    catalog.put("v/a.json", known("other"))
    catalog.remove("v/b.json")
    catalog.put("v/aa.json", known("aa"))
    for one in (catalog, loaded(saved(catalog))):
        assert one.get("v/a.json") == known("other")
        assert one.get("v/b.json") is None
        assert one.get("v/c.json") == known("c")
        assert one.get("v/aa.json") == known("aa")


def test_a_file_touched_in_the_tick_of_saving_tells_no_signature() -> None:
    catalog = filled(old=known("old", (5, 6, 1, 1)), fresh=known("fresh", (5, 100, 1, 1)))
    after = loaded(saved(catalog, settled=100))
    assert after.get("v/old.json") == known("old", (5, 6, 1, 1))
    assert after.get("v/fresh.json") == known("fresh", UNSEEN)


def test_a_comparison_finds_what_is_new_changed_and_gone() -> None:
    catalog = loaded(saved(filled(same=known("s"), changed=known("c"), gone=known("g"))))
    catalog.put("v/recent.json", known("r"))
    catalog.put("v/left.json", known("l"))
    comparison = catalog.comparison()
    there: dict[str, Signature | None] = {
        "v/same.json": (1, 2, 3, 4),
        "v/changed.json": (1, 2, 3, 5),
        "v/new.json": (1, 2, 3, 4),
        "v/recent.json": (1, 2, 3, 4),
    }
    asked: list[str] = []

    def ask(names: list[str]) -> list[Signature | None]:
        asked.extend(names)
        return [there[name] for name in names]

    differ = comparison.look(list(there), ask)
    assert sorted(asked) == ["v/changed.json", "v/recent.json", "v/same.json"]  # a new one is read
    assert dict(differ) == {"v/changed.json": known("c"), "v/new.json": None}
    assert sorted(dict(comparison.missing())) == ["v/gone.json", "v/left.json"]


def test_a_file_that_went_while_it_was_compared_is_another() -> None:
    catalog = filled(a=known("a"))
    assert catalog.comparison().look(["v/a.json"], lambda _: [None]) == [("v/a.json", known("a"))]


def test_a_comparison_of_a_folder_misses_nothing_outside_of_it() -> None:
    catalog = Catalog()
    for name in ("a/x.json", "b/x.json", "b/y/z.json", "b0/x.json", "c/x.json"):
        catalog.put(name, known(name))
    catalog = loaded(saved(catalog))
    catalog.put("c/late.json", known("late"))
    catalog.put("b/late.json", known("late"))
    assert sorted(dict(catalog.comparison("b/").missing())) == [
        "b/late.json",
        "b/x.json",
        "b/y/z.json",
    ]


def test_a_document_takes_at_most_120_bytes() -> None:
    catalog = Catalog()
    count = 1000
    for number in range(count):
        name = hashlib.blake2b(str(number).encode(), digest_size=18).hexdigest()
        catalog.put(f"volumes/{name}.json", known(name))
    assert len(saved(catalog)) <= 120 * count


def test_names_that_nobody_has_any_more_do_not_pile_up() -> None:
    catalog = Catalog()
    sizes = []
    for turn in range(30):
        for number in range(50):
            catalog.remove(f"v/{turn - 1}-{number}.json")
            catalog.put(f"v/{turn}-{number}.json", known("x"))
        raw = saved(catalog)
        sizes.append(len(raw))
        catalog = loaded(raw)
    assert max(sizes[5:]) < 2 * sizes[1]


@given(st.lists(st.dictionaries(names, st.none() | signatures, max_size=8), max_size=6))
def test_any_history_of_changes_and_savings_ends_as_a_plain_dict_would(
    history: list[dict[str, Signature | None]],
) -> None:
    catalog, plain = Catalog(), dict[str, Known]()
    for changes in history:
        for name, signature in changes.items():
            if signature is None:
                catalog.remove(name)
                plain.pop(name, None)
            else:
                catalog.put(name, known(name, signature))
                plain[name] = known(name, signature)
        catalog = loaded(saved(catalog))
        for name in {name for some in history for name in some}:
            assert catalog.get(name) == plain.get(name)
        comparison = catalog.comparison()
        assert comparison.look(list(plain), partial(map, lambda name: plain[name].signature)) == []
        assert list(comparison.missing()) == []


WHOLE: Final = saved(filled(a=known("a"), b=known("b"), c=known("c")))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_never_believed(at: int, by: int) -> None:
    raw = bytearray(WHOLE)
    raw[at] ^= by
    with pytest.raises(ValueError):
        Table(memoryview(bytes(raw)))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_catalog_is_never_believed(size: int) -> None:
    with pytest.raises(ValueError):
        Table(memoryview(WHOLE[:size]))


@given(st.binary(max_size=300))
def test_no_other_bytes_are_believed(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Table(memoryview(raw))


def test_another_version_is_not_believed() -> None:
    with pytest.raises(ValueError, match="version"):
        Table(memoryview(MAGIC[:-1] + b"\2" + WHOLE[len(MAGIC) :]))
