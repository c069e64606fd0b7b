"""What every store promises of its past; part of :class:`tests.contract.store.StoreContract`."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from filestore.codec import canonical
from filestore.codec.etag import etag_of
from filestore.errors import Closed, Conflict, InvalidDocument, NotFound
from filestore.plan import Plan

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

    # --- undo

    def test_undo_takes_one_commit_back_in_a_new_one(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = {"size": 1, "name": "db"}
        with store.transaction(message="grow", actor="ana"):
            volumes.patch("a", {"size": 2, "tags": ["x"]})
            volumes["b"] = ONE
        assert store.undo(2, actor="bob") == 3
        assert everything(store) == {"volumes": {"a": {"size": 1, "name": "db"}}}
        changes = list(store.changes(2))
        assert {(each.revision, each.actor, each.message) for each in changes} == {
            (3, "bob", "undo of revision 2")
        }
        assert [str(each.key) for each in changes] == ["volumes/a", "volumes/b"]

    def test_undo_keeps_what_later_commits_changed_elsewhere(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = {"size": 1, "meta": {"team": "db", "rack": 1}}
        volumes.patch("a", {"size": 2, "meta": {"team": "web"}})
        volumes.patch("a", {"status": "in-use", "meta": {"rack": 2}})
        store.undo(2)
        assert volumes["a"] == {"size": 1, "meta": {"team": "db", "rack": 2}, "status": "in-use"}

    def test_undo_brings_deleted_documents_back(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes.update({"a": ONE, "b": TWO})
        volumes.clear()
        assert store.undo(2) == 3
        assert everything(store) == {"volumes": {"a": ONE, "b": TWO}}

    def test_an_undo_can_be_undone(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = ONE
        volumes["a"] = TWO
        del volumes["a"]
        after = everything(store)
        undone = store.undo(3)
        assert volumes["a"] == TWO
        assert undone is not None
        assert store.undo(undone) == 5
        assert everything(store) == after

    def test_what_was_changed_again_is_a_conflict_that_names_it(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes.update({"a": {"size": 1, "name": "x"}, "b": ONE, "c": ONE})
        volumes.update({"a": {"size": 2, "name": "y"}, "b": TWO, "c": TWO, "d": ONE})
        volumes.patch("a", {"size": 3})
        volumes["b"] = {"size": 3}
        volumes.patch("a", {"size": 4, "other": 1})
        volumes.patch("d", {"more": 1})
        before = everything(store)
        with pytest.raises(Conflict) as caught:
            store.undo(2)
        assert caught.value.disputes == (
            (("volumes", "a"), "size", (3, 5)),
            (("volumes", "b"), "size", (4,)),
            (("volumes", "d"), "", (6,)),
        )
        assert [str(key) for key in caught.value.keys] == ["volumes/a", "volumes/b", "volumes/d"]
        assert "size of volumes/a in revisions 3, 5" in str(caught.value)
        assert everything(store) == before
        assert store.revision == 6

    def test_what_was_deleted_and_made_anew_is_a_conflict(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = ONE
        del volumes["a"]
        volumes["a"] = {"other": 1}
        with pytest.raises(Conflict) as caught:
            store.undo(2)
        assert caught.value.disputes == ((("volumes", "a"), "", (3,)),)
        with pytest.raises(Conflict):
            store.undo(1)

    def test_what_is_as_before_already_needs_no_undo(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = ONE
        volumes["a"] = TWO
        volumes["a"] = ONE
        assert store.undo(2) is None
        assert store.revision == 3

    def test_undo_takes_part_in_a_transaction(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes.update({"a": ONE, "b": ONE})
        volumes["a"] = TWO
        volumes["b"] = TWO
        with store.transaction(message="both"):
            assert store.undo(2) is None
            assert store.undo(3) is None
            assert everything(store) == {"volumes": {"a": ONE, "b": ONE}}
        assert store.revision == 4
        assert {change.message for change in store.changes(3)} == {"both"}

    @pytest.mark.parametrize("revision", [0, -1, 2])
    def test_there_must_be_a_commit_to_undo(self, store: Store, revision: int) -> None:
        store["volumes"]["a"] = ONE
        with pytest.raises(NotFound, match="the newest is 1"):
            store.undo(revision)
        assert store.revision == 1

    def test_undo_of_random_commits_is_the_merge_of_the_model(self, store: Store) -> None:
        moves, copies = random.Random(7), [everything(store)]
        done = refused = 0
        for _ in range(150):
            scribble(store, moves)
            copies[store.revision :] = [everything(store)]
            if store.revision < 2 or moves.randrange(3):
                continue
            revision = moves.randrange(max(1, store.revision - 4), store.revision + 1)
            try:
                made = store.undo(revision)
            except Conflict:
                refused += 1
                assert everything(store) == copies[-1]
                continue
            done += 1
            assert everything(store) == undone(copies[revision], copies[-1], copies[revision - 1])
            copies[store.revision :] = [everything(store)]
            if made is not None:
                assert store.undo(made) == made + 1
                assert everything(store) == copies[-2]
                copies.append(copies[-2])
        assert done > 10
        assert refused > 3

    # --- plan and apply

    def test_a_plan_makes_the_store_like_another(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes.update({"same": ONE, "other": ONE, "extra": ONE})
        store["snapshots"]["s"] = ONE
        wanted = {"volumes": {"same": ONE, "other": TWO, "new": ONE}, "notes": {"n": TWO}}
        plan = store.plan(wanted, delete=True)
        assert store.revision == 2
        assert [(str(step.key), step.kind) for step in plan.steps] == [
            ("notes/n", "create"),
            ("volumes/new", "create"),
            ("volumes/other", "update"),
            ("volumes/extra", "delete"),
        ]
        assert [each.field for each in plan.steps[2].diff] == ["size"]
        assert plan.counts == {"create": 2, "update": 1, "delete": 1, "unchanged": 1}
        assert store.apply(plan, message="sync", actor="bob") == 3
        assert everything(store) == {**wanted, "snapshots": {"s": ONE}}
        assert {(change.message, change.actor) for change in store.changes(2)} == {("sync", "bob")}
        assert store.plan(wanted, delete=True).steps == ()
        assert store.apply(store.plan(wanted)) is None

    def test_what_a_source_does_not_have_stays_unless_asked(self, store: Store) -> None:
        store["volumes"].update({"a": ONE, "b": ONE})
        store.apply(store.plan({"volumes": {"a": TWO}}))
        assert everything(store) == {"volumes": {"a": TWO, "b": ONE}}

    def test_a_plan_is_carried_out_after_being_written_down(self, store: Store) -> None:
        store["volumes"].update({"a": ONE, "b": ONE, "same": ONE})
        plan = store.plan({"volumes": {"a": TWO, "c": ONE, "same": ONE}}, delete=True)
        again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
        assert again.counts == plan.counts
        assert again.unchanged == plan.unchanged
        store.apply(again)
        assert everything(store) == {"volumes": {"a": TWO, "c": ONE, "same": ONE}}

    @pytest.mark.parametrize("id", ["a", "b", "c", "same"])
    def test_a_stale_plan_is_refused_and_names_what_changed(self, store: Store, id: str) -> None:
        volumes = store["volumes"]
        volumes.update({"a": ONE, "b": ONE, "same": ONE})
        plan = store.plan({"volumes": {"a": TWO, "c": ONE, "same": ONE}}, delete=True)
        volumes["unseen"] = ONE
        volumes[id] = {"size": 9}
        before = everything(store)
        with pytest.raises(Conflict, match="stale") as caught:
            store.apply(plan)
        assert [str(key) for key in caught.value.keys] == [f"volumes/{id}"]
        assert everything(store) == before

    def test_a_plan_can_go_back_to_a_revision(self, store: Store) -> None:
        moves = random.Random(8)
        for _ in range(20):
            scribble(store, moves)
        store["c"]["keeps the collection"] = ONE
        with store.at(revision=10) as past:
            copy = everything(past)
            store.apply(store.plan(past, delete=True))
        for name, documents in copy.items():
            assert dict(store[name]) == documents

    def test_what_cannot_be_stored_cannot_be_planned(self, store: Store) -> None:
        with pytest.raises(InvalidDocument, match="volumes/a"):
            store.plan({"volumes": {"a": {"size": float("nan")}}})

    # --- blame

    def test_blame_tells_who_set_each_field(self, store: Store) -> None:
        volumes = store["volumes"]
        with store.transaction(actor="ana", message="new"):
            volumes["a"] = {"size": 1, "meta": {"team": "db", "empty": {}}, "tags": ["x"], "n": 1}
        with store.transaction(actor="bob", message="grow"):
            volumes.patch("a", {"size": 2, "meta": {"rack": 7}, "n": None})
        volumes["other"] = ONE
        with store.transaction(actor="eve"):
            volumes.patch("a", {"tags": ["x", "y"], "n": 1})
        told = {
            one.field: (one.value, one.revision, one.actor) for one in store.blame("volumes", "a")
        }
        assert told == {
            "meta.empty": ({}, 1, "ana"),
            "meta.rack": (7, 2, "bob"),
            "meta.team": ("db", 1, "ana"),
            "n": (1, 4, "eve"),
            "size": (2, 2, "bob"),
            "tags": (["x", "y"], 4, "eve"),
        }
        assert [one.message for one in store.blame("volumes", "a") if one.field == "size"] == [
            "grow"
        ]

    def test_blame_begins_anew_with_a_document_that_does(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = {"size": 1}
        del volumes["a"]
        volumes["a"] = {"size": 1}
        assert [one.revision for one in store.blame("volumes", "a")] == [3]
        with pytest.raises(NotFound):
            store.blame("volumes", "b")


def undone(after: Any, current: Any, before: Any) -> Any:
    """The merge of three stores' worth of documents, by a rule simpler than the real one."""
    if current == after:
        return before
    if not all(isinstance(side, dict) or side is MISSING for side in (after, current, before)):
        return current  # what the commit left alone; anything else is a conflict
    sides = [{} if side is MISSING else side for side in (after, current, before)]
    merged = {}
    for name in {name for side in sides for name in side}:
        value = undone(*(side.get(name, MISSING) for side in sides))
        if value is not MISSING and value != {}:
            merged[name] = value
    return merged


MISSING: Any = object()
