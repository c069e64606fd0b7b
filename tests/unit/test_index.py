"""The parts of an index, without a store: what may match is always among the candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore.index import layered as layered_module
from filestore.index.image import build, hashing, merge
from filestore.index.layered import Layered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filestore.index.image import Hashes

SALT = bytes(16)
hash_of = hashing(SALT)
NOTHING: Hashes = (None, None)

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
digests = st.one_of(st.none(), st.integers(0, 5), st.sampled_from([2**32 - 1, 2**31]))
documents = st.dictionaries(ids, st.tuples(digests, digests), max_size=40)


def matching(documents: Mapping[str, Hashes], column: int, digest: int) -> list[str]:
    return sorted(id for id, hashes in documents.items() if hashes[column] == digest)


@given(documents)
def test_an_image_finds_just_the_documents_with_the_hash(documents: dict[str, Hashes]) -> None:
    image = build(sorted(documents.items()), 2)
    assert image.all_ids() == sorted(id for id, hashes in documents.items() if hashes != NOTHING)
    for column in range(2):
        for digest in (*range(6), 2**32 - 1, 2**31):
            assert image.found(column, digest) == matching(documents, column, digest)


def test_a_run_of_any_length_is_found_whole() -> None:
    for length in (1, 7, 8, 9, 1000):
        image = build([(f"{n:04}", (5,)) for n in range(length)] + [("a", (4,)), ("b", (6,))], 1)
        assert len(image.found(0, 5)) == length
        assert image.found(0, 4) == ["a"]
        assert image.found(0, 6) == ["b"]


@given(documents, documents, st.booleans())
def test_what_is_merged_says_what_the_newer_one_says(
    older: dict[str, Hashes], newer: dict[str, Hashes], bare: bool
) -> None:
    image = merge(
        build(sorted(older.items()), 2), build(sorted(newer.items()), 2, bare=True), bare=bare
    )
    both = {**older, **newer}
    for column in range(2):
        for digest in range(6):
            assert image.found(column, digest) == matching(both, column, digest)
    # Ids that say nothing are kept only for those below.
    expected = {id for id, hashes in both.items() if hashes != NOTHING}
    assert set(image.all_ids()) == expected | (set(newer) if bare else set())


@given(documents, st.lists(documents, max_size=6), st.sampled_from([0, 3, 20]))
def test_no_change_hides_a_candidate(
    first: dict[str, Hashes], changes: list[dict[str, Hashes]], least: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layered_module, "_MIN_RECENT", least)
        patch.setattr(layered_module, "_MIN_UPPER", least)
        layered = Layered(build(sorted(first.items()), 2), SALT)
        model = dict(first)
        for change in changes:
            for id, hashes in change.items():
                layered.put(id, hashes)
                model[id] = hashes
            layered.fold()
            for data in (b"1", b"2"):
                digest = hash_of(data)
                layered.put(data.decode(), (digest, digest))
                model[data.decode()] = (digest, digest)
                for wanted in ([(0, data)], [(1, data)], [(0, data), (1, data)]):
                    found = set(layered.candidates(wanted))
                    expected = [
                        id
                        for id, hashes in model.items()
                        if all(hashes[column] == digest for column, _ in wanted)
                    ]
                    assert found >= set(expected)
                    assert layered.size(wanted[0][0], data) >= len(expected)
        layered.settle()
        if not layered.upper.count:
            for data in (b"1", b"2"):
                digest = hash_of(data)
                assert sorted(layered.candidates([(1, data)])) == matching(model, 1, digest)


def test_a_document_of_an_image_costs_its_id_and_12_bytes() -> None:
    many = 1000
    image = build([(f"{n:036}", (n,)) for n in range(many)], 1)
    assert image.nbytes == many * (36 + 4 + 8) + 4


def test_different_salts_give_different_hashes() -> None:
    assert hash_of(b'"a"') == hashing(SALT)(b'"a"')
    assert hash_of(b'"a"') != hashing(b"\1" * 16)(b'"a"')


def test_what_was_found_is_the_callers_own_and_told_again_when_it_changed() -> None:
    digest = hash_of(b"1")
    layered = Layered(build([("a", (digest,)), ("b", (digest,))], 1), SALT)
    layered.one(0, b"1").clear()
    assert layered.one(0, b"1") == ["a", "b"]
    layered.put("c", (digest,))
    assert layered.one(0, b"1") == ["a", "b", "c"]
    layered.settle()
    assert layered.one(0, b"1") == ["a", "b", "c"]
    layered.put("c", (None,))
    layered.settle()
    assert layered.one(0, b"1") == ["a", "b"]


def test_what_is_known_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layered_module, "_MOST_KNOWN", 3)
    layered = Layered(build([("a", (hash_of(b"1"),))], 1), SALT)
    for number in range(10):
        found = layered.one(0, b"%d" % number)
        assert found == (["a"] if number == 1 else [])
        assert len(layered._known[0]) <= 3
    long = b"x" * 1000
    assert layered.one(0, long) == []
    assert long not in layered._known[0]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 3000])
def test_hashes_of_any_size_are_found_in_an_image_of_any_size(count: int) -> None:
    edges = [0, 1, 2**31 - 1, 2**31, 2**32 - 1]
    hashes = (edges + [number * 2654435761 % 2**32 for number in range(count)])[-count:]
    documents: dict[str, Hashes] = {f"{n:05}": (digest,) for n, digest in enumerate(hashes)}
    image = build(sorted(documents.items()), 1)
    for digest in {*hashes, *edges, *((digest + 1) % 2**32 for digest in hashes)}:
        assert image.found(0, digest) == matching(documents, 0, digest)
