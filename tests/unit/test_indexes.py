"""When indexes are made, how they are kept current, and that they never change an answer."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore import Key, Store
from filestore.backend import InMemory
from filestore.backends.memory import MemoryBackend
from filestore.codec import canonical
from filestore.index import indexes as indexes_module
from filestore.index import layered as layered_module
from filestore.model import Edit
from tests.values import values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from filestore.backend import Entry, Indexing, Unreadable
    from filestore.model import Commit, Document

NAMES = ("name", "size", "é")


class Watched(MemoryBackend):
    """Memory that counts what is read, and can be edited behind the feed's back."""

    def __init__(self, declared: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__()
        self.read: list[str] = []
        self.unseen: dict[str, Entry] = {}
        self.tells = True
        self.fields = declared or {}
        self.settling = False
        self.since: float | None = None
        self.lasting = True
        self.editing: list[Callable[[str, str | None], None]] = []

    @property
    def indexing(self) -> Indexing | None:
        return _Told(self)

    def get_many(
        self, collection: str, ids: Sequence[str], *, keep: bool = True
    ) -> list[tuple[str, Entry | Unreadable]]:
        self.read += ids
        return super().get_many(collection, ids, keep=keep)

    def tell(self, commits: Sequence[Commit] | None) -> None:
        for observer in self._observers:
            observer(commits)


class _Told(InMemory):
    def __init__(self, backend: Watched) -> None:
        self._backend = backend

    @property
    def declared(self) -> Mapping[str, Sequence[str]]:
        return self._backend.fields

    @property
    def settling(self) -> bool:
        return self._backend.settling

    def listen(self) -> float | None:
        return self._backend.since

    @property
    def lasting(self) -> bool:
        return self._backend.lasting

    def on_edit(self, observer: Callable[[str, str | None], None]) -> None:
        self._backend.editing.append(observer)

    def edited(self, collection: str) -> Collection[str] | None:
        return list(self._backend.unseen) if self._backend.tells else None


@pytest.fixture
def backend() -> Watched:
    return Watched()


@pytest.fixture
def store(backend: Watched) -> Iterator[Store]:
    with Store(backend) as store:
        store["volumes"].update({str(n): {"name": f"v{n}", "size": n % 2} for n in range(100)})
        yield store


def ids(store: Any, **fields: Any) -> list[str]:
    return [record.key.id for record in store["volumes"].find(**fields)]


def test_the_first_find_of_a_field_reads_everything_and_others_what_they_give(
    store: Store, backend: Watched
) -> None:
    assert ids(store, name="v7") == ["7"]
    assert len(backend.read) > 100
    backend.read.clear()
    assert ids(store, name="v8") == ["8"]
    assert backend.read == ["8"]
    backend.read.clear()
    assert ids(store, name="nope") == []
    assert backend.read == []
    (figures,) = store.stats()["indexes"].values()
    assert figures["fields"] == ["name"]
    assert figures["entries"] == 100
    assert figures["bytes"] < 100 * 250


def test_a_change_costs_the_next_find_one_read(store: Store, backend: Watched) -> None:
    ids(store, name="v7")
    backend.read.clear()
    for n in range(10):
        store["volumes"].patch("3", {"name": f"new{n}"})
    assert backend.read == []
    assert ids(store, name="new9") == ["3"]
    assert backend.read == ["3", "3"]  # once by the index, once for the answer
    assert ids(store, name="v3") == []


def test_another_field_is_indexed_only_when_it_is_needed(store: Store) -> None:
    assert ids(store, name="v7", size=1) == ["7"]
    fields = store.stats()["indexes"]["volumes"]["fields"]
    assert fields == ["name", "size"]
    assert ids(store, name="v7", other=None) == []
    assert store.stats()["indexes"]["volumes"]["fields"] == fields
    store["volumes"].update({f"x{n}": {"size": 5, "z": n} for n in range(300)})
    assert ids(store, size=5, z=17) == ["x17"]
    assert store.stats()["indexes"]["volumes"]["fields"] == ["name", "size", "z"]


def test_declared_fields_are_indexed_together() -> None:
    with Store(Watched({"volumes": ["size", "name"]})) as store:
        store["volumes"]["a"] = {"name": "x", "size": 1}
        assert ids(store, name="x") == ["a"]
        assert store.stats()["indexes"]["volumes"]["fields"] == ["size", "name"]


def test_fields_beyond_the_most_are_found_by_looking(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes_module, "MOST_FIELDS", 1)
    assert ids(store, name="v7") == ["7"]
    assert len(ids(store, size=0)) == 50
    assert ids(store, size=1, name="v9") == ["9"]
    assert store.stats()["indexes"]["volumes"]["fields"] == ["name"]


def entry_of(backend: Watched, id: str) -> Entry:
    entry = backend.get(("volumes", id))
    assert entry is not None
    return entry


def test_what_may_be_edited_unseen_is_looked_at(store: Store, backend: Watched) -> None:
    assert ids(store, name="v7") == ["7"]
    backend._documents["volumes"]["7"] = entry_of(backend, "8")  # as an editor would
    backend.unseen["7"] = entry_of(backend, "8")
    assert ids(store, name="v7") == []
    assert ids(store, name="v8") == ["7", "8"]


def test_an_edit_that_an_index_saw_may_be_taken_back_unrecorded(
    store: Store, backend: Watched
) -> None:
    before = entry_of(backend, "7")
    backend._documents["volumes"]["7"] = entry_of(backend, "8")
    backend.unseen["7"] = entry_of(backend, "8")
    assert ids(store, name="v8") == ["7", "8"]  # the index is made of what is there
    backend._documents["volumes"]["7"] = before
    backend.unseen.clear()
    assert ids(store, name="v7") == ["7"]
    assert ids(store, name="v8") == ["8"]


def test_what_is_told_to_be_edited_is_read_again(store: Store, backend: Watched) -> None:
    assert ids(store, name="v7") == ["7"]
    before = entry_of(backend, "7")
    for entry, found in ((entry_of(backend, "8"), ["7", "8"]), (before, ["8"])):
        backend._documents["volumes"]["7"] = entry
        for observer in backend.editing:
            observer("volumes", "7")
            observer("other", "7")
        assert ids(store, name="v8") == found
    assert ids(store, name="v7") == ["7"]


def test_while_edits_are_looked_for_only_a_large_index_answers(
    store: Store, backend: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ids(store, name="v7") == ["7"]
    backend.tells, backend.settling = False, True
    backend.read.clear()
    assert ids(store, name="v7") == ["7"]
    assert len(backend.read) == 100
    monkeypatch.setattr(indexes_module, "_WORTH_KEEPING", 100)
    backend.read.clear()
    assert ids(store, name="v7") == ["7"]
    assert backend.read == ["7"]


def test_while_edits_are_looked_for_a_large_index_is_made_if_those_that_come_are_told(
    store: Store, backend: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes_module, "_WORTH_KEEPING", 100)
    backend.tells, backend.settling = False, True

    def read_for_a_find() -> int:
        backend.read.clear()
        assert ids(store, name="v7") == ["7"]
        return len(backend.read)

    assert [read_for_a_find(), read_for_a_find()] == [100, 100]
    backend.since = 1.0
    assert [read_for_a_find(), read_for_a_find()] == [101, 1]
    backend.since = 2.0  # what was edited in between may never be told
    assert [read_for_a_find(), read_for_a_find()] == [101, 1]
    backend.tells = True
    assert read_for_a_find() == 1
    backend.tells, backend.since = False, 3.0  # all is known of what was edited before
    assert read_for_a_find() == 1


def test_what_may_have_been_edited_before_this_run_is_looked_at_unless_it_was(
    store: Store, backend: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes_module, "_WORTH_KEEPING", 100)
    assert ids(store, name="v7") == ["7"]
    for tells in (True, False):
        backend.tells, backend.settling, backend.since = tells, True, 1.0
        for observer in backend.editing:
            observer("", None)
        backend.read.clear()
        assert ids(store, name="v7") == ["7"]
        assert len(backend.read) == 101
    for observer in backend.editing:
        observer("", None)
    backend.read.clear()
    assert ids(store, name="v7") == ["7"]
    assert backend.read == ["7"]


def test_without_a_backend_that_tells_of_edits_everything_is_looked_at(
    store: Store, backend: Watched
) -> None:
    backend.tells = False
    backend.read.clear()
    assert ids(store, name="v7") == ["7"]
    assert len(backend.read) == 100
    assert store.stats()["indexes"] == {}


def test_what_a_feed_lost_is_read_again(store: Store, backend: Watched) -> None:
    assert ids(store, name="v7") == ["7"]
    backend._documents["volumes"]["7"] = entry_of(backend, "8")
    backend.tell(None)
    assert ids(store, name="v8") == ["7", "8"]


def test_a_commit_that_was_told_and_is_not_visible_changes_no_answer(
    store: Store, backend: Watched
) -> None:
    """An index that believed it too soon would find the document under neither name."""
    seen: list[list[str]] = []

    def during(commits: Sequence[Commit] | None) -> None:
        assert commits is not None
        held = store._indexes._held["volumes"]
        seen.append(list(held.marks))

    ids(store, name="v7")
    end = backend.subscribe(during)
    store["volumes"]["7"] = {"name": "w"}
    end()
    assert seen == [["7"]]
    # A find in between, told but not visible: the mark is of a revision to come.
    held = store._indexes._held["volumes"]
    held.marks["5"] = backend.revision + 1, 0
    assert ids(store, name="v5") == ["5"]
    assert held.marks == {"5": (backend.revision + 1, 0)}
    store["volumes"]["5"] = {"name": "w"}
    assert ids(store, name="w") == ["5", "7"]
    assert held.marks == {}


def test_an_index_made_while_a_commit_is_on_its_way_has_it(store: Store, backend: Watched) -> None:
    ids(store, other=1)
    store["volumes"]["7"] = {"name": "w"}  # told last: it may not be visible yet
    assert ids(store, name="w") == ["7"]
    store["snapshots"]["s"] = {"name": "s"}
    assert [record.key.id for record in store["snapshots"].find(name="s")] == ["s"]


def test_a_computed_field_that_is_replaced_is_computed_anew(store: Store) -> None:
    store.define("volumes", "parity", lambda document: document["size"], version="1")
    assert len(ids(store, parity=1)) == 50
    store.define("volumes", "parity", lambda document: 1 - document["size"], version="2")
    assert ids(store, parity=1) == ids(store, size=0)


def test_finds_and_commits_of_many_threads_agree(store: Store) -> None:
    volumes, errors, done = store["volumes"], [], threading.Event()

    def move() -> None:
        try:
            for turn in range(300):
                volumes["x"] = {"name": "left" if turn % 2 else "right", "size": turn}
                (found,) = volumes.find(name="left" if turn % 2 else "right", size=turn)
                assert found.document["size"] == turn
        except Exception as error:  # noqa: BLE001  # raised in the test's own thread
            errors.append(error)
        finally:
            done.set()

    def look() -> None:
        try:
            while not done.is_set():
                assert ids(store, name="v5") == ["5"]
                for record in volumes.find(name="left"):
                    assert record.document["name"] == "left"
        except Exception as error:  # noqa: BLE001  # raised in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=target) for target in (move, look, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_collector_is_left_as_it_was(store: Store) -> None:
    assert gc.isenabled()
    ids(store)
    assert gc.isenabled()
    gc.disable()
    try:
        ids(store)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_finds_what_it_wrote_itself(store: Store) -> None:
    assert ids(store, name="v7") == ["7"]
    pid = os.fork()
    if not pid:
        store["volumes"]["new"] = {"name": "v7"}
        os._exit(0 if ids(store, name="v7") == ["7", "new"] else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert ids(store, name="v7") == ["7"]


@given(st.data())
def test_an_index_never_changes_an_answer(data: st.DataObject) -> None:
    documents = st.dictionaries(
        st.sampled_from(NAMES), st.one_of(st.sampled_from(["a", 1, 1.0, True, None, [1]]), values)
    )
    some_ids = st.sampled_from([f"id{n}" for n in range(12)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layered_module, "_MIN_RECENT", data.draw(st.sampled_from([0, 2, 1000])))
        patch.setattr(layered_module, "_MIN_UPPER", data.draw(st.sampled_from([0, 4])))
        backend = Watched()
        model: dict[str, Document] = {}
        with Store(backend) as store:
            for _ in range(data.draw(st.integers(1, 6))):
                edits = data.draw(
                    st.dictionaries(some_ids, st.one_of(st.none(), documents), max_size=5)
                )
                backend.apply(
                    [
                        Edit(Key("volumes", id), None if each is None else canonical(each))
                        for id, each in edits.items()
                    ]
                )
                for id, each in edits.items():
                    model.pop(id, None)
                    if each is not None:
                        model[id] = each
                wanted = data.draw(documents)
                assert ids(store, **wanted) == sorted(
                    id
                    for id, each in model.items()
                    if all(
                        name in each and canonical({"": each[name]}) == canonical({"": value})
                        for name, value in wanted.items()
                    )
                )
