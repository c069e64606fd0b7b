"""An index of documents that never change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from filestore.backend import Entry
from filestore.codec import canonical
from filestore.errors import Corrupt
from filestore.index.fixed import Fixed
from filestore.index.indexes import MOST_FIELDS
from filestore.query import Computed, Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.backend import Unreadable

FIELD = st.sampled_from(["a", "b", "c"])
VALUE = st.sampled_from([0, 1, True, 1.0, "x", None, [1], {}])


class Ground:
    """Documents in memory, None for those that cannot be read, and how many were read."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents = documents
        self.read = 0

    def get_many(self, ids: Sequence[str]) -> list[tuple[str, Entry | Unreadable]]:
        self.read += len(ids)
        found = [(id, self.documents[id]) for id in ids]
        return [
            (id, Corrupt("broken") if document is None else Entry(canonical(document)))
            for id, document in found
        ]

    def index(self) -> Fixed:
        return Fixed(lambda: list(self.documents), self.get_many)


@given(
    st.dictionaries(st.text("pqr", min_size=1), st.none() | st.dictionaries(FIELD, VALUE)),
    st.lists(st.dictionaries(FIELD, VALUE), max_size=6),
)
def test_whatever_is_asked_for_is_among_what_is_found(
    documents: dict[str, Any], asked: list[dict[str, Any]]
) -> None:
    index = Ground(documents).index()
    for fields in asked:
        query = Query(fields, {})
        found = index.candidates(query)
        if found is None:
            continue
        assert found == sorted(set(found))
        expected = {
            id for id, document in documents.items() if document is None or query.met_by(document)
        }
        assert expected <= set(found) <= set(documents)


def test_it_is_made_by_the_second_find_and_read_by_the_next_ones() -> None:
    ground = Ground({f"v{n}": {"n": n % 5, "m": n} for n in range(50)})
    index = ground.index()
    assert index.candidates(Query({"n": 1}, {})) is None
    assert ground.read == 0
    for _ in range(3):
        assert len(index.candidates(Query({"n": 1}, {})) or ()) == 10
        assert ground.read == 50
    assert index.candidates(Query({"m": 7}, {})) == ["v7"]
    assert ground.read == 100
    assert index.candidates(Query({"m": 7, "n": 2, "other": 1}, {})) == ["v7"]
    assert ground.read == 100, "the fields that are indexed will do"


def test_computed_fields_are_indexed() -> None:
    index = Ground({"a": {"n": 1}, "b": {"n": 2}}).index()
    twice = {"twice": Computed("twice", lambda document: 2 * document["n"], "1")}
    for _ in range(2):
        found = index.candidates(Query({"twice": 4}, twice))
    assert found == ["b"]


def test_it_has_no_more_than_so_many_fields() -> None:
    index = Ground({"a": {f"f{n}": 1 for n in range(2 * MOST_FIELDS)}}).index()
    for number in range(MOST_FIELDS + 2):
        index.candidates(Query({f"f{number}": 1}, {}))
    assert index.candidates(Query({"f1": 1}, {})) == ["a"]
    assert index.candidates(Query({f"f{MOST_FIELDS + 1}": 1}, {})) is None
    assert index.candidates(Query({}, {})) is None
