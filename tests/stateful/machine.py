"""The store against a plain dictionary: any sequence of calls gives what the dictionary has.

:class:`StoreMachine` runs over any backend.  :class:`SharedStoreMachine` adds what needs a
ground that lasts and is shared: reopening, a second handle and, where the subclass
says how, crashes and another process.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from filestore import Conflict, Key, NotFound, Store, View
from filestore.codec import canonical
from filestore.codec.etag import etag_of
from filestore.merge import merge
from tests.contract.backend import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore.model import Document, Etag

    Model = dict[Key, Document]

# Few, so that calls meet the same documents.
COLLECTIONS = ["volumes", "driver/lvm"]
IDS = ["a", "A", "a/é"]

keys = st.builds(Key, st.sampled_from(COLLECTIONS), st.sampled_from(IDS))
scalars = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "x", "1", "no"])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2)
    ),
    max_leaves=4,
)
documents = st.dictionaries(st.sampled_from(["name", "size", "x"]), values, max_size=3)
writes = st.dictionaries(keys, st.none() | documents, min_size=1, max_size=4)


class Refused(Exception):
    """Rolls a transaction back."""


class Pinned(NamedTuple):
    """A view and what it must go on showing."""

    view: View
    model: Model
    revision: int


def everything(source: Any) -> Model:
    """The documents of a store, a transaction or a view."""
    return {
        Key(name, id): document
        for name in source.collections()
        for id, document in source[name].items()
    }


def etag(document: Document | None) -> Etag | None:
    return None if document is None else etag_of(canonical(document))


def merged(target: Any, changes: Any) -> Any:
    """RFC 7386, as its section 2 has it."""
    if not isinstance(changes, dict):
        return changes
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def undone(after: Model, now: Model, before: Model) -> Model | None:
    """The model with one commit taken back; None for a conflict."""
    model = dict(now)
    for key in {*after, *before}:
        was, made, current = before.get(key), after.get(key), now.get(key)
        if etag(was) in {etag(made), etag(current)}:
            continue
        if etag(current) != etag(made) and (current is None or made is None):
            return None
        result = merge(made, current, was)
        if result.conflicts:
            return None
        model.pop(key, None)
        if result.document is not None:
            model[key] = result.document
    return model


class StoreMachine(RuleBasedStateMachine):
    """Subclass, and say how to open a store."""

    pinned = Bundle("pinned")

    def open(self) -> Store:
        """Open the store of this run; the first time it is empty."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.opened = ExitStack()
        self.model: Model = {}
        self.committed: Model = {}
        self.replayed: Model = {}
        self.replayed_to = 0
        self.copies: dict[int, Model] = {0: {}}  # what there was after each revision
        self.etags: dict[Key, list[Etag]] = {}
        self.views: list[Pinned] = []
        # The blocks that are open, outermost first, each with the model as it began.
        self.blocks: list[tuple[Any, Model]] = []

    @initialize()
    def begin_empty(self) -> None:
        self.store = self.open()
        self.opened.callback(self.close)
        self.revision = self.store.revision
        assert everything(self.store) == {}

    def close(self) -> None:
        self.store.close()

    def teardown(self) -> None:
        with self.opened:
            if not hasattr(self, "store"):
                return
            while self.blocks:
                self.leave(Refused())
            self.everything_agrees()
            self.the_feed_replayed_gives_the_documents()
            for pinned in self.views:
                self.shows(pinned)
                pinned.view.close()
            assert self.store.check() == []

    # --- the model's half of a write

    def wrote(self, model: Model, *, store: Store | None = None) -> None:
        """Take ``model`` as what must be there now; a commit must have been made for it or not."""
        changed = model != self.model
        self.model = model
        for key, document in model.items():
            known = self.etags.setdefault(key, [])
            if (now := etag_of(canonical(document))) not in known:
                known.append(now)
        if not self.blocks:
            self.commits(changed)

    def commits(self, changed: bool) -> None:
        revision = self.store.revision
        assert (revision > self.revision) == changed
        self.revision = revision
        self.committed = dict(self.model)
        self.copies[revision] = self.committed

    def source(self, through: bool) -> Any:
        """The store, or the transaction itself: inside a block they are the same."""
        return self.blocks[-1][0].transaction if through and self.blocks else self.store

    def raises(self, error: type[Exception], call: Callable[[], object]) -> None:
        with pytest.raises(error):
            call()
        self.wrote(self.model)

    # --- writes

    @rule(key=keys, document=documents, through=st.booleans())
    def put(self, key: Key, document: Document, through: bool) -> None:
        self.source(through)[key.collection][key.id] = copy.deepcopy(document)
        self.wrote({**self.model, key: document})

    @rule(key=keys, through=st.booleans())
    def put_the_same_again(self, key: Key, through: bool) -> None:
        if key in self.model:
            assert self.source(through)[key.collection].put(key.id, self.model[key]) is None
            self.wrote(self.model)

    @rule(key=keys, document=st.none() | documents, data=st.data())
    def put_expecting(self, key: Key, document: Document | None, data: st.DataObject) -> None:
        document = self.model.get(key, {}) if document is None else document
        expected = data.draw(st.sampled_from([None, "0" * 32, *self.etags.get(key, [])]))
        collection = self.store[key.collection]
        if expected == etag(self.model.get(key)):
            collection.put(key.id, document, expected=expected)
            self.wrote({**self.model, key: document})
        else:
            self.raises(Conflict, lambda: collection.put(key.id, document, expected=expected))

    @rule(key=keys, changes=documents, through=st.booleans())
    def patch(self, key: Key, changes: Document, through: bool) -> None:
        collection = self.source(through)[key.collection]
        if key in self.model:
            after = merged(self.model[key], changes)
            assert collection.patch(key.id, changes) == after
            self.wrote({**self.model, key: after})
        else:
            self.raises(NotFound, lambda: collection.patch(key.id, changes))

    @rule(key=keys, through=st.booleans())
    def delete(self, key: Key, through: bool) -> None:
        collection = self.source(through)[key.collection]
        if key in self.model:
            del collection[key.id]
            self.wrote({other: each for other, each in self.model.items() if other != key})
        else:
            self.raises(NotFound, lambda: collection.pop(key.id))

    @rule(key=keys, default=st.none() | documents)
    def pop(self, key: Key, default: Document | None) -> None:
        model = dict(self.model)
        assert self.store[key.collection].pop(key.id, default) == model.pop(key, default)
        self.wrote(model)

    @rule(key=keys, document=documents)
    def setdefault(self, key: Key, document: Document) -> None:
        model = dict(self.model)
        found = self.store[key.collection].setdefault(key.id, document)
        assert found == model.setdefault(key, document)
        self.wrote(model)

    @rule(
        collection=st.sampled_from(COLLECTIONS),
        update=st.dictionaries(st.sampled_from(IDS), documents, max_size=3),
    )
    def update(self, collection: str, update: dict[str, Document]) -> None:
        self.store[collection].update(update)
        self.wrote({**self.model, **{Key(collection, id): each for id, each in update.items()}})

    @rule(collection=st.sampled_from(COLLECTIONS))
    def clear(self, collection: str) -> None:
        self.store[collection].clear()
        self.wrote({key: each for key, each in self.model.items() if key.collection != collection})

    # --- transactions

    @precondition(lambda self: len(self.blocks) < 3)
    @rule()
    def enter(self) -> None:
        block = _Block(self.store)
        block.enter()
        self.blocks.append((block, self.model))

    @precondition(lambda self: self.blocks)
    @rule()
    def commit(self) -> None:
        self.leave(None)

    @precondition(lambda self: self.blocks)
    @rule()
    def roll_back(self) -> None:
        self.leave(Refused())

    def leave(self, error: Refused | None) -> None:
        block, before = self.blocks.pop()
        block.leave(error)
        if error is not None:
            self.model = before
        if not self.blocks:
            self.commits(self.model != self.committed)

    @rule(first=writes, inner=writes, last=writes, fails=st.booleans())
    def a_block_in_a_block(
        self,
        first: dict[Key, Document | None],
        inner: dict[Key, Document | None],
        last: dict[Key, Document | None],
        fails: bool,
    ) -> None:
        with self.store.transaction():
            carry_out(self.store, first)
            model = written(self.model, first)
            with suppress(Refused), self.store.transaction():
                carry_out(self.store, inner)
                assert everything(self.store) == written(model, inner)
                if fails:
                    raise Refused
                model = written(model, inner)
            assert everything(self.store) == model
            carry_out(self.store, last)
            model = written(model, last)
        self.wrote(model)

    @precondition(lambda self: self.blocks)
    @rule()
    def another_thread_sees_what_is_committed(self) -> None:
        def look() -> None:
            assert everything(self.store) == self.committed

        in_thread(look)

    # --- views

    @rule(target=pinned)
    def snapshot(self) -> Pinned:
        pinned = Pinned(self.store.snapshot(), dict(self.committed), self.revision)
        self.views.append(pinned)
        return pinned

    @rule(pinned=pinned)
    def look_at_a_view(self, pinned: Pinned) -> None:
        if pinned in self.views:
            self.shows(pinned)

    @rule(pinned=consumes(pinned))
    def close_a_view(self, pinned: Pinned) -> None:
        if pinned in self.views:
            self.shows(pinned)
            pinned.view.close()
            self.views.remove(pinned)

    def shows(self, pinned: Pinned) -> None:
        assert pinned.view.revision == pinned.revision
        assert everything(pinned.view) == pinned.model
        for collection in COLLECTIONS:
            ids = {key.id for key in pinned.model if key.collection == collection}
            assert set(pinned.view[collection]) == ids
            for id in IDS:
                assert pinned.view[collection].get(id) == pinned.model.get(Key(collection, id))

    # --- reads

    @rule(
        collection=st.sampled_from(COLLECTIONS),
        name=st.sampled_from(["name", "size", "x"]),
        value=values,
    )
    def find(self, collection: str, name: str, value: Any) -> None:
        wanted = canonical({name: value})
        found = {each.key: each for each in self.store[collection].find(**{name: value})}
        assert {key: each.document for key, each in found.items()} == {
            key: document
            for key, document in self.model.items()
            if key.collection == collection
            and name in document
            and canonical({name: document[name]}) == wanted
        }
        assert all(each.etag == etag(each.document) for each in found.values())

    @rule(key=keys)
    def read(self, key: Key) -> None:
        collection = self.store[key.collection]
        assert (key.id in collection) == (key in self.model)
        assert collection.get(key.id) == self.model.get(key)
        if key in self.model:
            record = collection.read(key.id)
            assert (record.key, record.document) == (key, self.model[key])
            assert record.etag == etag(self.model[key])
            assert record.revision == self.revision

    @rule()
    def the_feed_replayed_gives_the_documents(self) -> None:
        for change in self.store.changes(self.replayed_to):
            assert change.revision > self.replayed_to
            assert self.replayed.get(change.key) == change.before != change.after
            if change.after is None:
                del self.replayed[change.key]
            else:
                self.replayed[change.key] = change.after
        self.replayed_to = self.revision
        assert self.replayed == self.committed

    # --- the past

    @rule(data=st.data())
    def look_at_the_past(self, data: st.DataObject) -> None:
        revision = data.draw(st.sampled_from(sorted(self.copies)), "revision")
        copy = self.copies[revision]
        with self.store.at(revision=revision) as past:
            for collection in COLLECTIONS:
                for id in IDS:
                    assert past[collection].get(id) == copy.get(Key(collection, id))
            assert everything(past) == copy
            assert past.collections() == sorted({key.collection for key in copy})

    @precondition(lambda self: not self.blocks and self.revision)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        revision = data.draw(st.integers(max(1, self.revision - 3), self.revision), "revision")
        if not {revision, revision - 1} <= self.copies.keys():
            return
        model = undone(self.copies[revision], self.model, self.copies[revision - 1])
        if model is None:
            self.raises(Conflict, lambda: self.store.undo(revision))
        else:
            self.store.undo(revision)
            self.wrote(model)

    @precondition(lambda self: not self.blocks)
    @rule(data=st.data(), stale=st.booleans())
    def go_back_by_a_plan(self, data: st.DataObject, stale: bool) -> None:
        revision = data.draw(st.sampled_from(sorted(self.copies)), "revision")
        copy = self.copies[revision]
        wanted: dict[str, dict[str, Document]] = {}
        for key, document in copy.items():
            wanted.setdefault(key.collection, {})[key.id] = document
        plan = self.store.plan(wanted, delete=True)
        seen = [*plan.unchanged, *(step.key for step in plan.steps)]
        if stale and seen:
            key = data.draw(st.sampled_from(sorted(seen)), "changed meanwhile")
            self.store[key.collection][key.id] = {"changed": "meanwhile"}
            changed = {**self.model, key: {"changed": "meanwhile"}}
            if changed != self.model:
                self.wrote(changed)
                self.raises(Conflict, lambda: self.store.apply(plan))
            return
        self.store.apply(plan)
        kept = {key: one for key, one in self.model.items() if key.collection not in wanted}
        self.wrote({**kept, **copy})

    @rule(key=keys)
    def blame(self, key: Key) -> None:
        document = self.committed.get(key)
        if self.blocks or document is None:
            return
        fields = self.store.blame(*key)
        assert {field.path[0] for field in fields} == document.keys()
        for field in fields:
            assert field.revision is not None
            value: Any = self.copies[field.revision][key] if field.revision in self.copies else None
            for step in field.path if value is not None else ():
                value = value[step]
            assert value is None or value == field.value

    @rule()
    def checkpoint(self) -> None:
        if not self.blocks:
            self.store.checkpoint()

    @invariant()
    def everything_agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        assert everything(self.store) == self.model
        assert self.store.revision == self.revision
        for collection in COLLECTIONS:
            ids = {key.id for key in self.model if key.collection == collection}
            assert set(self.store[collection]) == ids
            assert len(self.store[collection]) == len(ids)
        assert self.store.collections() == sorted({key.collection for key in self.model})


class SharedStoreMachine(StoreMachine):
    """Also over handles that come and go.  The hooks below add crashes and processes."""

    can_crash = False
    """Whether :meth:`crash` can be called."""

    has_other_process = False
    """Whether :meth:`in_other_process` can be called."""

    def crash(self) -> None:
        """Leave the store as its process's death, or a power cut, does; nothing is closed."""
        raise NotImplementedError

    def in_other_process(self, writes: dict[Key, Document | None]) -> None:
        """Commit the writes (None deletes what is there) at once in a process of its own."""
        raise NotImplementedError

    def outside(self) -> bool:
        return not self.blocks

    def anew(self) -> None:
        """Go on with a new handle; views died with the old one."""
        self.views.clear()
        self.store = self.open()
        assert self.store.revision == self.revision

    @precondition(outside)
    @rule()
    def reopen(self) -> None:
        for pinned in self.views:
            self.shows(pinned)
        self.store.close()
        self.anew()

    @precondition(lambda self: self.can_crash and not self.blocks)
    @rule()
    def crash_and_recover(self) -> None:
        self.crash()
        self.anew()

    @precondition(lambda self: self.can_crash and self.blocks)
    @rule()
    def crash_in_a_transaction(self) -> None:
        self.crash()
        for block, _ in reversed(self.blocks):
            block.abandon()
        self.blocks.clear()
        self.model = self.committed
        self.anew()

    @precondition(outside)
    @rule(writes=writes)
    def another_handle_writes(self, writes: dict[Key, Document | None]) -> None:
        with self.open() as other:
            assert everything(other) == self.model
            carry_out(other, writes)
        self.wrote(written(self.model, writes))

    @precondition(lambda self: self.has_other_process and not self.blocks)
    @rule(writes=writes)
    def another_process_writes(self, writes: dict[Key, Document | None]) -> None:
        self.in_other_process(writes)
        self.wrote(written(self.model, writes))

    @precondition(lambda self: self.blocks)
    @rule()
    def another_handle_sees_what_is_committed(self) -> None:
        with self.open() as other:
            assert everything(other) == self.committed


class _Block:
    """A transaction's ``with`` block whose beginning and end are steps of their own."""

    def __init__(self, store: Store) -> None:
        self._context = store.transaction()

    def enter(self) -> None:
        self.transaction = self._context.__enter__()

    def leave(self, error: Refused | None) -> None:
        if error is None:
            self._context.__exit__(None, None, None)
            return
        with pytest.raises(Refused):  # noqa: PT012  # as the with statement does it
            if not self._context.__exit__(Refused, error, None):
                raise error

    def abandon(self) -> None:
        """Forget the block: its process is dead.  What it held here is let go."""
        del self._context, self.transaction


def written(model: Model, writes: dict[Key, Document | None]) -> Model:
    """The model after the writes."""
    after = {**model, **writes}
    return {key: document for key, document in after.items() if document is not None}


def carry_out(store: Store, writes: dict[Key, Document | None]) -> None:
    """Commit the writes at once; None deletes what is there."""
    with store.transaction() as tx:
        for key, document in writes.items():
            if document is None:
                tx[key.collection].pop(key.id, None)
            else:
                tx[key.collection][key.id] = document
