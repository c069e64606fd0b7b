"""What every store promises of its past; part of :class:`tests.contract.store.StoreContract`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from filestore.codec import canonical, etag_of
from filestore.errors import Closed, NotFound

if TYPE_CHECKING:
    from filestore import Store
    from filestore.model import Document

ONE: Document = {"size": 1}
TWO: Document = {"size": 2}


def everything(store: Any) -> dict[str, dict[str, Document]]:
    """The documents of a store or of a moment of it."""
    return {name: dict(store[name]) for name in store.collections()}


def scribble(store: Store, moves: random.Random) -> None:
    """A commit of some kind."""
    collection, id = moves.choice("cd"), moves.choice("pqrs")
    kind = moves.randrange(6)
    if kind == 0:
        store[collection].pop(id, None)
    elif kind == 1:
        with store.transaction():
            for name in "cd":
                store[name]["p"] = {"n": moves.randrange(3), "both": True}
    elif kind == 2:
        store[collection].clear()
    elif kind == 3 and id in store[collection]:
        store[collection].patch(id, {moves.choice("xyz"): moves.choice([1, [1, 2], None])})
    else:
        store[collection][id] = {"n": moves.randrange(9), "x": {"y": moves.randrange(2)}}


class HistoryContract:
    """Time travel, blame and undo."""

    # --- a moment of the past

    def test_a_past_revision_is_read_like_the_store(self, store: Store) -> None:
        store["volumes"].update({"a": ONE, "b": ONE, "c": ONE})
        store["gone"]["x"] = ONE
        before = everything(store)
        store["volumes"]["a"] = TWO
        store["volumes"]["a"] = {"size": 3}
        del store["volumes"]["b"]
        store["volumes"]["d"] = ONE
        del store["gone"]["x"]
        store["new"]["y"] = ONE
        with store.at(revision=2) as past:
            volumes = past["volumes"]
            assert volumes["a"] == ONE
            assert volumes["b"] == ONE
            assert "d" not in volumes
            assert past.revision == 2
            assert past.location == store.location
            assert past.collections() == list(past) == ["gone", "volumes"]
            assert "gone" in past
            assert "new" not in past
            assert sorted(volumes) == ["a", "b", "c"]
            assert len(volumes) == 3
            assert "b" in volumes
            assert volumes.get("d") is None
            with pytest.raises(NotFound):
                volumes["d"]
            assert sorted(record.key.id for record in volumes.find(size=1)) == ["a", "b", "c"]
            assert volumes.find(size=2) == []
            assert [record.key.id for record in store["volumes"].find(size=3)] == ["a"]
            record = volumes.read("a")
            assert (record.document, record.revision) == (ONE, 2)
            assert record.etag == etag_of(canonical(ONE))
            assert everything(past) == before
            assert not hasattr(volumes, "put")

    def test_every_revision_is_as_it_was(self, store: Store) -> None:
        moves, copies = random.Random(5), [everything(store)]
        for _ in range(60):
            scribble(store, moves)
            copies[store.revision :] = [everything(store)]
        for revision, copy in enumerate(copies):
            with store.at(revision=revision) as past:
                assert everything(past) == copy
            with store.at(revision=revision) as past:
                for collection in "cd":
                    for id in "pqrs":
                        assert past[collection].get(id) == copy.get(collection, {}).get(id)

    def test_a_past_revision_stays_while_commits_go_on(self, store: Store) -> None:
        moves = random.Random(6)
        with store.at(revision=0) as beginning:
            store["c"]["p"] = ONE
            with store.at(revision=1) as listed, store.at(revision=1) as unlisted:
                for _ in range(20):
                    scribble(store, moves)
                    assert everything(listed) == {"c": {"p": ONE}}
                    assert unlisted["c"]["p"] == ONE
                    assert unlisted["c"].get("q") is None
                    assert everything(beginning) == {}

    def test_a_revision_not_made_yet_is_not_found(self, store: Store) -> None:
        store["volumes"]["a"] = ONE
        with pytest.raises(NotFound, match=r"there is no revision 2.*the newest is 1"):
            store.at(revision=2)
        with pytest.raises(NotFound):
            store.at(revision=-1)

    def test_the_past_inside_a_transaction_is_what_was_committed(self, store: Store) -> None:
        store["volumes"]["a"] = ONE
        with store.transaction() as tx:
            tx["volumes"]["a"] = TWO
            with store.at(revision=1) as past:
                assert everything(past) == {"volumes": {"a": ONE}}

    def test_a_closed_past_raises_closed(self, store: Store) -> None:
        with store.at(revision=0) as past:
            volumes = past["volumes"]
        past.close()
        for call in (
            lambda: past["volumes"],
            lambda: past.revision,
            past.collections,
            lambda: volumes.get("a"),
            lambda: len(volumes),
        ):
            with pytest.raises(Closed):
                call()
        with store.at(revision=0) as past:
            volumes = past["volumes"]
            store.close()
            with pytest.raises(Closed):
                volumes.get("a")
