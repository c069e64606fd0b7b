"""What every store promises its users, over any backend: subclass :class:`StoreContract`."""

from __future__ import annotations

import queue
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

from filestore import (
    ANY,
    Change,
    Closed,
    Collection,
    Conflict,
    Corrupt,
    FilestoreError,
    InvalidDocument,
    InvalidKey,
    Key,
    LockTimeout,
    NotFound,
    ReadOnly,
    Store,
)
from filestore.codec import canonical
from filestore.codec.etag import etag_of
from tests.contract.backend import GRACE, HOSTILE_IDS, in_thread
from tests.contract.history import HistoryContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore.model import Document

ONE: Document = {"size": 1}
TWO: Document = {"size": 2}

INVALID_DOCUMENTS: list[Any] = [
    None,
    [],
    "text",
    5,
    {"x": float("nan")},
    {"x": float("inf")},
    {5: 1},
    {"x": 2**64},
    {"x": "\ud800"},
    {"x": Ellipsis},
    {"x": (1, 2)},
    {"x": b"bytes"},
]


class Refused(Exception):
    """Raised by tests inside of blocks."""


def pool_of(document: Document) -> str | None:
    _, mark, pool = str(document.get("host")).partition("@")
    return pool if mark else None


def everything(store: Any) -> dict[str, dict[str, Document]]:
    """The documents of a store, a transaction or a view."""
    return {name: dict(store[name]) for name in store.collections()}


class StoreContract(HistoryContract):
    """Subclass, and say how to open one."""

    def open(self, where: Path, **options: Any) -> Store:
        """Open the store at ``where``, a folder that it may use or ignore."""
        raise NotImplementedError

    def spoil(self, store: Store, collection: str, id: str) -> None:
        """Make the document unreadable, as a half-saved file is."""
        raise NotImplementedError

    @pytest.fixture
    def opened(self) -> Iterator[ExitStack]:
        with ExitStack() as stack:
            yield stack

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with self.open(tmp_path, actor="tester", lock_timeout=0.2) as store:
            yield store
            try:
                problems = store.check()
            except Closed:
                return
            assert {problem.key for problem in problems} <= self.spoiled(store)

    @pytest.fixture
    def volumes(self, store: Store) -> Collection:
        return store["volumes"]

    def spoiled(self, store: Store) -> set[Key | None]:
        """The keys that :meth:`spoil` was called with for this store."""
        return getattr(self, "_spoiled", set())

    @pytest.fixture
    def spoil_b(self, store: Store, volumes: Collection) -> None:
        """Documents a, b and c, of which b cannot be read."""
        volumes.update({"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 1}})
        self._spoiled = {Key("volumes", "b")}
        self.spoil(store, "volumes", "b")

    # --- a collection is a mapping

    def test_what_was_put_is_read(self, volumes: Collection) -> None:
        document = {"size": 1, "nested": {"list": [1, 2.5, None, True, "é"]}}
        volumes["id1"] = document
        assert volumes["id1"] == document
        assert volumes.get("id1") == document
        assert "id1" in volumes
        assert list(volumes) == ["id1"]
        assert len(volumes) == 1
        assert list(volumes.values()) == [document]
        assert document in volumes.values()
        assert {} not in volumes.values()
        assert ("id1", document) in volumes.items()
        assert list(volumes.items()) == [("id1", document)]
        assert volumes == {"id1": document}

    def test_what_is_not_there_is_not_found(self, volumes: Collection) -> None:
        with pytest.raises(NotFound) as caught:
            volumes["nope"]
        assert isinstance(caught.value, KeyError)
        assert caught.value.key == Key("volumes", "nope")
        assert "volumes/nope" in str(caught.value)
        assert volumes.get("nope") is None
        assert volumes.get("nope", 5) == 5
        assert "nope" not in volumes
        assert list(volumes) == []
        assert len(volumes) == 0
        with pytest.raises(NotFound):
            volumes.read("nope")

    def test_a_read_is_the_callers_own(self, volumes: Collection) -> None:
        document = {"nested": {"list": [1]}}
        volumes["a"] = document
        document["nested"]["list"].append(2)
        for read in (
            volumes["a"],
            volumes.get("a"),
            volumes.read("a").document,
            volumes.find()[0].document,
            next(iter(volumes.values())),
            volumes.setdefault("a", {}),
            volumes.patch("a", {}),
        ):
            assert read == {"nested": {"list": [1]}}
            assert read is not None
            read["nested"]["list"].append(3)

    def test_a_collection_is_known_by_its_name(self, store: Store) -> None:
        assert store["volumes"].name == "volumes"
        assert store["driver/lvm"].name == "driver/lvm"
        assert "volumes" in repr(store["volumes"])
        assert store.location in repr(store)

    @pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", 5, None])
    def test_what_cannot_name_a_collection_is_refused(self, store: Store, name: Any) -> None:
        with pytest.raises(InvalidKey):
            store[name]
        with store.transaction() as tx, pytest.raises(InvalidKey):
            tx[name]
        with store.snapshot() as view, pytest.raises(InvalidKey):
            view[name]

    def test_collections_with_documents_are_listed(self, store: Store) -> None:
        assert store.collections() == []
        store["volumes"]["a"] = {}
        store["driver/lvm"]["a"] = {}
        store["empty"].get("a")
        assert store.collections() == list(store) == ["driver/lvm", "volumes"]
        assert "volumes" in store
        assert "empty" not in store

    @pytest.mark.parametrize("id", HOSTILE_IDS)
    def test_any_text_is_an_id(self, volumes: Collection, id: str) -> None:
        volumes[id] = ONE
        assert volumes[id] == ONE
        assert list(volumes) == [id]
        del volumes[id]
        assert id not in volumes

    @pytest.mark.parametrize("id", ["", 5, None, "\ud800"])
    def test_what_cannot_be_an_id_is_refused(self, volumes: Collection, id: Any) -> None:
        for call in (
            lambda: volumes[id],
            lambda: volumes.get(id),
            lambda: volumes.read(id),
            lambda: volumes.put(id, ONE),
            lambda: volumes.patch(id, ONE),
            lambda: volumes.pop(id, None),
            lambda: volumes.setdefault(id, ONE),
            lambda: volumes.update({"good": ONE, id: ONE}),
        ):
            with pytest.raises(InvalidKey):
                call()
        assert id not in volumes
        assert list(volumes) == []

    # --- put

    def test_put_tells_the_revision_it_made(self, store: Store, volumes: Collection) -> None:
        assert volumes.put("a", ONE) == store.revision == 1
        assert volumes.put("a", TWO) == store.revision == 2

    def test_putting_the_same_value_writes_nothing(self, store: Store, volumes: Collection) -> None:
        volumes["a"] = {"x": 1, "y": {"b": 1, "a": 2}}
        assert volumes.put("a", {"y": {"a": 2, "b": 1}, "x": 1}) is None
        assert volumes.put("a", volumes["a"], expected=volumes.read("a").etag) is None
        volumes["a"] = volumes["a"]
        volumes.update(volumes)
        volumes.patch("a", {"x": 1})
        assert store.revision == 1

    @pytest.mark.parametrize("document", INVALID_DOCUMENTS, ids=repr)
    def test_what_could_not_be_read_back_is_refused(
        self, store: Store, volumes: Collection, document: Any
    ) -> None:
        volumes["a"] = ONE
        for call in (
            lambda: volumes.put("a", document),
            lambda: volumes.put("b", document),
            lambda: volumes.setdefault("b", document),
            lambda: volumes.update({"a": TWO, "b": document}),
        ):
            with pytest.raises(InvalidDocument):
                call()
        with pytest.raises(InvalidDocument):
            volumes.patch("a", {"field": {5: document}})
        assert volumes == {"a": ONE}
        assert store.revision == 1

    def test_expected_decides_whether_a_put_may_replace(self, volumes: Collection) -> None:
        volumes.put("a", ONE, expected=None)
        with pytest.raises(Conflict) as caught:
            volumes.put("a", TWO, expected=None)
        assert caught.value.key == Key("volumes", "a")
        etag = volumes.read("a").etag
        volumes.put("a", TWO, expected=etag)
        with pytest.raises(Conflict):
            volumes.put("a", {"size": 3}, expected=etag)
        with pytest.raises(Conflict):
            volumes.put("b", ONE, expected=etag)
        volumes.put("a", {"size": 3}, expected=ANY)
        assert volumes == {"a": {"size": 3}}

    def test_a_put_of_the_same_value_conflicts_all_the_same(self, volumes: Collection) -> None:
        volumes["a"] = ONE
        with pytest.raises(Conflict):
            volumes.put("a", ONE, expected=None)
        with pytest.raises(Conflict):
            volumes.put("a", ONE, expected=etag_of(canonical(TWO)))

    # --- patch

    def test_patch_merges_fields_and_returns_the_document(
        self, store: Store, volumes: Collection
    ) -> None:
        volumes["a"] = {"keep": 1, "drop": 2, "nested": {"keep": 3, "drop": 4}, "list": [1, 2]}
        changes = {"drop": None, "nested": {"drop": None, "new": 5}, "list": [3]}
        expected = {"keep": 1, "nested": {"keep": 3, "new": 5}, "list": [3]}
        assert volumes.patch("a", changes) == expected
        assert volumes["a"] == expected
        assert store.revision == 2

    def test_patching_what_is_not_there_is_not_found(self, volumes: Collection) -> None:
        with pytest.raises(NotFound):
            volumes.patch("a", ONE)
        assert "a" not in volumes

    @pytest.mark.parametrize("changes", [None, [], "text", 5])
    def test_a_patch_is_fields(self, volumes: Collection, changes: Any) -> None:
        volumes["a"] = ONE
        with pytest.raises(InvalidDocument):
            volumes.patch("a", changes)
        assert volumes["a"] == ONE

    def test_a_patch_may_expect_an_etag(self, volumes: Collection) -> None:
        volumes["a"] = ONE
        etag = volumes.read("a").etag
        volumes.patch("a", {"x": 1}, expected=etag)
        with pytest.raises(Conflict):
            volumes.patch("a", {"x": 2}, expected=etag)
        assert volumes["a"] == {"size": 1, "x": 1}

    def test_patches_of_many_threads_are_all_kept(self, volumes: Collection) -> None:
        volumes["a"] = {}

        def work(name: str) -> None:
            for n in range(10):
                volumes.patch("a", {f"{name}{n}": n})

        in_thread(*[lambda name=name: work(name) for name in "wxyz"])  # type: ignore[misc]
        assert volumes["a"] == {f"{name}{n}": n for name in "wxyz" for n in range(10)}

    # --- delete and the rest of a mapping

    def test_a_deleted_document_is_gone(self, store: Store, volumes: Collection) -> None:
        volumes["a"] = ONE
        del volumes["a"]
        assert "a" not in volumes
        assert store.revision == 2
        with pytest.raises(NotFound) as caught:
            del volumes["a"]
        assert isinstance(caught.value, KeyError)
        assert store.revision == 2

    def test_pop_deletes_and_returns(self, volumes: Collection) -> None:
        volumes["a"] = ONE
        assert volumes.pop("a") == ONE
        assert "a" not in volumes
        with pytest.raises(NotFound):
            volumes.pop("a")
        assert volumes.pop("a", None) is None
        assert volumes.pop("a", TWO) == TWO

    def test_popitem_deletes_until_nothing_is_left(self, volumes: Collection) -> None:
        documents = {"a": ONE, "b": TWO}
        volumes.update(documents)
        assert dict([volumes.popitem(), volumes.popitem()]) == documents
        with pytest.raises(KeyError):
            volumes.popitem()

    def test_of_threads_that_pop_items_each_gets_others(self, volumes: Collection) -> None:
        documents = {f"id{n}": {"n": n} for n in range(20)}
        volumes.update(documents)
        popped: list[tuple[str, Document]] = []

        def work() -> None:
            with suppress(KeyError):
                while True:
                    popped.append(volumes.popitem())

        in_thread(*[work] * 3)
        assert len(popped) == 20
        assert dict(popped) == documents

    def test_of_threads_that_pop_one_gets_it(self, volumes: Collection) -> None:
        volumes["a"] = ONE
        popped: list[Document | None] = []
        in_thread(*[lambda: popped.append(volumes.pop("a", None))] * 4)
        assert sorted(popped, key=str) == [None, None, None, ONE]

    def test_update_is_one_commit(self, store: Store, volumes: Collection) -> None:
        volumes.update({"a": ONE, "b": TWO}, c=ONE)
        volumes.update([("d", ONE)])
        volumes.update({})
        assert volumes == {"a": ONE, "b": TWO, "c": ONE, "d": ONE}
        assert store.revision == 2

    def test_clear_is_one_commit(self, store: Store, volumes: Collection) -> None:
        volumes.update({"a": ONE, "b": TWO})
        store["other"]["a"] = ONE
        volumes.clear()
        volumes.clear()
        assert store.revision == 3
        assert everything(store) == {"other": {"a": ONE}}

    def test_setdefault_stores_once(self, store: Store, volumes: Collection) -> None:
        assert volumes.setdefault("a", ONE) == ONE
        assert volumes.setdefault("a", TWO) == ONE
        assert volumes.setdefault("a") == ONE
        assert store.revision == 1
        with pytest.raises(InvalidDocument):
            volumes.setdefault("b")

    def test_of_threads_that_set_a_default_all_get_the_same(self, volumes: Collection) -> None:
        got: list[Document] = []
        start = threading.Barrier(4)

        def work(n: int) -> None:
            start.wait(GRACE)
            got.append(volumes.setdefault("a", {"n": n}))

        in_thread(*[lambda n=n: work(n) for n in range(4)])  # type: ignore[misc]
        assert got == [volumes["a"]] * 4

    def test_documents_that_vanish_during_iteration_are_passed_over(
        self, volumes: Collection
    ) -> None:
        volumes.update({"a": ONE, "b": ONE, "c": ONE})
        items = volumes.items()
        seen = []
        for id, _ in items:
            seen.append(id)
            for other in list(volumes):
                if other != id:
                    del volumes[other]
        assert len(seen) == 1

    # --- read and find

    def test_a_record_says_what_was_read(self, store: Store, volumes: Collection) -> None:
        volumes["b"] = TWO
        volumes["a"] = ONE
        record = volumes.read("a")
        assert record.key == Key("volumes", "a")
        assert record.document == ONE
        assert record.etag == etag_of(canonical(ONE))
        assert record.revision == store.revision == 2

    def test_find_ands_equality_of_top_level_fields(self, volumes: Collection) -> None:
        volumes.update(
            {
                "a": {"name": "db", "backend": "lvm", "nested": {"name": "x"}},
                "b": {"name": "db", "backend": "ceph"},
                "c": {"name": "x", "backend": "lvm"},
                "d": {},
            }
        )

        def ids(**fields: Any) -> list[str]:
            return sorted(record.key.id for record in volumes.find(**fields))

        assert ids() == ["a", "b", "c", "d"]
        assert ids(name="db") == ["a", "b"]
        assert ids(name="db", backend="lvm") == ["a"]
        assert ids(name="x") == ["c"]
        assert ids(nested={"name": "x"}) == ["a"]
        assert ids(name="d") == []
        assert ids(nope=None) == []

    def test_find_gives_records(self, store: Store, volumes: Collection) -> None:
        volumes["a"] = ONE
        assert volumes.find(size=1) == [volumes.read("a")]

    @pytest.mark.parametrize(
        "value", [1, 1.0, True, 0, 0.0, False, None, "1", "", 'é"\\\n', [], [1], {}, {"a": [1]}, 12]
    )
    def test_find_tells_values_apart_as_json_does(self, volumes: Collection, value: Any) -> None:
        values = [1, 1.0, True, 0, 0.0, False, None, "1", "", 'é"\\\n', [], [1], {}, {"a": [1]}, 12]
        volumes.update({str(n): {"field": each, "z": 1} for n, each in enumerate(values)})
        found = [record.document["field"] for record in volumes.find(field=value)]
        assert [canonical({"": each}) for each in found] == [canonical({"": value})]

    def test_find_gives_the_records_in_the_order_of_their_ids(self, volumes: Collection) -> None:
        volumes.update({id: {"n": 1, "one": id} for id in ("b", "Z", "é", "a", "10", "9")})
        ids = ["10", "9", "Z", "a", "b", "é"]
        assert [record.key.id for record in volumes.find()] == ids
        assert [record.key.id for record in volumes.find(n=1)] == ids

    def test_find_sees_every_write_that_returned(self, store: Store, volumes: Collection) -> None:
        def ids(**fields: Any) -> list[str]:
            return [record.key.id for record in volumes.find(**fields)]

        assert ids(n=1) == []
        volumes["a"] = {"n": 1, "m": 1}
        assert ids(n=1) == ids(m=1) == ["a"]
        volumes["a"] = {"n": 2, "m": 1}
        assert ids(n=1) == []
        assert ids(n=2) == ids(n=2, m=1) == ["a"]
        volumes["a"] = {"m": None}
        assert ids(n=2) == ids(n=None) == []
        assert ids(m=None) == ["a"]
        volumes.update({"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 1}})
        assert ids(n=1) == ["a", "b", "c"]
        del volumes["b"]
        with store.transaction():
            volumes.patch("c", {"n": 3})
            volumes["d"] = {"n": 3}
        assert ids(n=1) == ["a"]
        assert ids(n=3) == ["c", "d"]
        volumes.clear()
        assert ids(n=3) == ids(n=1) == []
        volumes["b"] = {"n": 3}
        assert ids(n=3) == ["b"]

    def test_find_in_a_transaction_sees_what_it_wrote(self, store: Store) -> None:
        def ids(where: Any, **fields: Any) -> list[str]:
            return [record.key.id for record in where["volumes"].find(**fields)]

        store["volumes"].update({"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 2}})
        assert ids(store, n=1) == ["a", "b"]
        with suppress(Refused), store.transaction() as tx:
            tx["volumes"].update({"d": {"n": 1}, "c": {"n": 1}})
            del tx["volumes"]["a"]
            assert ids(tx, n=1) == ids(store, n=1) == ["b", "c", "d"]
            with suppress(Refused), store.transaction():
                store["volumes"]["e"] = {"n": 1}
                assert ids(tx, n=1) == ["b", "c", "d", "e"]
                raise Refused
            assert ids(tx, n=1) == ["b", "c", "d"]
            elsewhere: list[str] = []
            in_thread(lambda: elsewhere.extend(ids(store, n=1)))
            assert elsewhere == ["a", "b"]
            raise Refused
        assert ids(store, n=1) == ["a", "b"]

    def test_find_in_a_view_sees_its_revision(self, store: Store, volumes: Collection) -> None:
        def ids(where: Any, **fields: Any) -> list[str]:
            return [record.key.id for record in where["volumes"].find(**fields)]

        volumes.update({"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 2}})
        with store.snapshot() as early:
            volumes.update({"d": {"n": 1}, "c": {"n": 1}})
            assert ids(store, n=1) == ["a", "b", "c", "d"]
            with store.snapshot() as late:
                del volumes["a"]
                volumes["b"] = {"n": 3}
                for _ in range(2):
                    assert ids(early, n=1) == ["a", "b"]
                    assert ids(early, n=2) == ["c"]
                    assert ids(early, n=3) == []
                    assert ids(late, n=1) == ["a", "b", "c", "d"]
                    assert ids(store, n=1) == ["c", "d"]

    def test_find_takes_computed_fields(self, store: Store, volumes: Collection) -> None:
        def ids(where: Any, **fields: Any) -> list[str]:
            return [record.key.id for record in where["volumes"].find(**fields)]

        volumes.update(
            {"a": {"host": "x@lvm"}, "b": {"host": "y@lvm"}, "c": {"host": "y"}, "d": {}}
        )
        assert ids(store, pool="lvm") == []
        store.define("volumes", "pool", pool_of, version="1")
        assert ids(store, pool="lvm") == ["a", "b"]
        assert ids(store, pool="lvm", host="y@lvm") == ["b"]
        assert ids(store, pool=None) == ids(store, pool="") == []
        with store.snapshot() as view, store.transaction() as tx:
            tx["volumes"]["c"] = {"host": "z@lvm"}
            assert ids(tx, pool="lvm") == ["a", "b", "c"]
            assert ids(view, pool="lvm") == ["a", "b"]
        store.define("volumes", "pool", len, version="2")
        assert ids(store, pool=1) == ["a", "b", "c"]
        assert ids(store, pool=True) == []

    def test_iteration_reads_each_document_when_its_turn_comes(
        self, store: Store, volumes: Collection
    ) -> None:
        volumes.update({str(n): ONE for n in range(40)})

        def replace(id: str, document: Document) -> None:
            volumes.update({other: document for other in list(volumes) if other != id})

        for write in (replace, lambda id, document: in_thread(lambda: replace(id, document))):
            documents = iter(volumes.items())
            for document in (TWO, ONE, {"size": 3}):
                id, _ = next(documents)
                write(id, document)
                assert next(documents)[1] == document
        with store.transaction():
            documents = iter(volumes.items())
            id, _ = next(documents)
            replace(id, TWO)
            assert [next(documents)[1] for _ in range(30)] == [TWO] * 30
            replace(id, ONE)
            for other in list(volumes):
                del volumes[other]
            assert list(documents) == []

    def test_find_refuses_what_no_document_can_hold(self, volumes: Collection) -> None:
        with pytest.raises(InvalidDocument):
            volumes.find(size=float("nan"))
        with pytest.raises(InvalidDocument):
            volumes.find(size="\ud800")
        with pytest.raises(InvalidDocument):
            volumes.find(**{"\ud800": "x"})

    # --- documents that cannot be read

    @pytest.mark.usefixtures("spoil_b")
    def test_an_unreadable_document_raises_when_read(self, volumes: Collection) -> None:
        for call in (
            lambda: volumes["b"],
            lambda: volumes.get("b"),
            lambda: volumes.read("b"),
            lambda: volumes.setdefault("b", ONE),
        ):
            with pytest.raises(Corrupt) as caught:
                call()
            assert caught.value.key == Key("volumes", "b")
            assert caught.value.path

    @pytest.mark.usefixtures("spoil_b")
    def test_an_unreadable_document_is_there(self, volumes: Collection) -> None:
        assert "b" in volumes
        assert sorted(volumes) == ["a", "b", "c"]
        assert len(volumes) == 3

    @pytest.mark.usefixtures("spoil_b")
    def test_an_unreadable_document_is_never_replaced_or_dropped(
        self, store: Store, volumes: Collection
    ) -> None:
        def in_transaction() -> None:
            with store.transaction():
                volumes["a"] = TWO
                volumes["b"] = TWO

        for call in (
            lambda: volumes.put("b", ONE),
            lambda: volumes.put("b", ONE, expected=None),
            lambda: volumes.patch("b", ONE),
            lambda: volumes.pop("b"),
            lambda: volumes.update({"a": TWO, "b": TWO}),
            volumes.clear,
            in_transaction,
        ):
            with pytest.raises((Corrupt, Conflict)):
                call()
        assert volumes["a"] == volumes["c"] == {"n": 1}
        assert store.revision == 1
        with pytest.raises(Corrupt):
            volumes["b"]

    @pytest.mark.usefixtures("spoil_b")
    def test_an_unreadable_document_does_not_hide_the_others_from_find(
        self, volumes: Collection
    ) -> None:
        assert sorted(record.key.id for record in volumes.find(n=1)) == ["a", "c"]
        unreadable: list[Corrupt] = []
        volumes.find(unreadable.append, n=1)
        assert [error.key for error in unreadable] == [Key("volumes", "b")]

        def refuse(error: Corrupt) -> None:
            raise error

        with pytest.raises(Corrupt):
            volumes.find(refuse, n=1)

    @pytest.mark.usefixtures("spoil_b")
    def test_iteration_gives_the_readable_documents_and_then_raises(
        self, store: Store, volumes: Collection
    ) -> None:
        with store.snapshot() as view:
            for source in (volumes, view["volumes"]):
                seen = []
                with pytest.raises(Corrupt):  # noqa: PT012  # raised at the end of the loop
                    for id, document in source.items():
                        seen.append((id, document))
                assert sorted(seen) == [("a", {"n": 1}), ("c", {"n": 1})]
                with pytest.raises(Corrupt):
                    list(source.values())

    @pytest.mark.usefixtures("spoil_b")
    def test_a_copy_of_a_collection_is_whole_or_raises(
        self, store: Store, volumes: Collection
    ) -> None:
        with pytest.raises(Corrupt):
            store["copy"].update(volumes)
        assert len(store["copy"]) == 0

    @pytest.mark.usefixtures("spoil_b")
    def test_an_unreadable_document_leaves_the_rest_writable(self, volumes: Collection) -> None:
        volumes["a"] = TWO
        del volumes["c"]
        assert volumes["a"] == TWO

    # --- transactions

    def test_a_transaction_commits_at_once(self, store: Store) -> None:
        with store.transaction(message="move", actor="me") as tx:
            tx["volumes"]["a"] = ONE
            tx["snapshots"]["b"] = TWO
            assert store.revision == 0
        (change, other) = store.changes()
        assert change.revision == other.revision == store.revision == 1
        assert (change.message, change.actor) == ("move", "me")
        assert everything(store) == {"volumes": {"a": ONE}, "snapshots": {"b": TWO}}

    def test_a_transaction_without_actor_is_the_stores(self, store: Store) -> None:
        with store.transaction():
            store["volumes"]["a"] = ONE
        store["volumes"]["b"] = ONE
        assert [change.actor for change in store.changes()] == ["tester", "tester"]

    @pytest.mark.parametrize("remark", [{"message": "\ud800"}, {"actor": "\udfff"}])
    def test_a_transaction_that_no_record_could_tell_of_is_refused(
        self, store: Store, remark: dict[str, str]
    ) -> None:
        with pytest.raises(InvalidDocument, match="surrogate"), store.transaction(**remark) as tx:
            tx["volumes"]["a"] = ONE
        assert everything(store) == {}

    def test_a_transaction_that_raises_writes_nothing(self, store: Store) -> None:
        store["volumes"]["a"] = ONE
        with pytest.raises(Refused), store.transaction() as tx:  # noqa: PT012  # the block
            tx["volumes"]["a"] = TWO
            tx["snapshots"]["b"] = TWO
            del tx["volumes"]["a"]
            raise Refused
        assert everything(store) == {"volumes": {"a": ONE}}
        assert store.revision == 1
        in_thread(lambda: store["volumes"].put("b", ONE))  # the lock is free again

    def test_a_transaction_that_changes_nothing_makes_no_revision(self, store: Store) -> None:
        store["volumes"]["a"] = ONE
        with store.transaction() as tx:
            assert tx["volumes"]["a"] == ONE
        with store.transaction() as tx:
            tx["volumes"]["a"] = TWO
            tx["volumes"]["b"] = TWO
            del tx["volumes"]["b"]
            tx["volumes"]["a"] = ONE
        assert store.revision == 1

    def test_inside_a_transaction_the_store_is_the_transaction(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = ONE
        with store.transaction() as tx:
            volumes["a"] = TWO
            tx["volumes"]["b"] = TWO
            tx["new"]["n"] = ONE
            for each in (store, tx):
                assert everything(each) == {"volumes": {"a": TWO, "b": TWO}, "new": {"n": ONE}}
                assert each.collections() == list(each) == ["new", "volumes"]
                assert "new" in each
                assert sorted(each["volumes"]) == ["a", "b"]
                assert len(each["volumes"]) == 2
                assert "b" in each["volumes"]
                assert len(each["volumes"].find(size=2)) == 2
                assert each["volumes"].read("a").etag == etag_of(canonical(TWO))
                assert each["volumes"].read("a").revision == 1
            del volumes["b"]
            del volumes["a"]
            assert tx.collections() == ["new"]
            assert len(tx["volumes"]) == 0
            with pytest.raises(NotFound):
                volumes["a"]
            assert tx.location == store.location
        assert everything(store) == {"new": {"n": ONE}}

    def test_every_kind_of_write_takes_part(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes.update({"a": {"x": 1}, "b": ONE, "c": ONE})
        with pytest.raises(Refused), store.transaction():  # noqa: PT012  # the block
            assert volumes.put("a", {"x": 2}) is None
            assert volumes.patch("a", {"y": 3}) == {"x": 2, "y": 3}
            assert volumes.pop("b") == ONE
            assert volumes.setdefault("d", TWO) == TWO
            volumes.update(e=ONE)
            assert volumes == {"a": {"x": 2, "y": 3}, "c": ONE, "d": TWO, "e": ONE}
            volumes.clear()
            assert volumes == {}
            raise Refused
        assert volumes == {"a": {"x": 1}, "b": ONE, "c": ONE}
        assert store.revision == 1

    def test_expected_in_a_transaction_is_what_it_sees(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = ONE
        with store.transaction():
            etag = volumes.read("a").etag
            volumes.put("a", TWO, expected=etag)
            with pytest.raises(Conflict) as caught:
                volumes.put("a", {"size": 3}, expected=etag)
            assert caught.value.keys == (Key("volumes", "a"),)
            with pytest.raises(Conflict):
                volumes.put("a", {"size": 3}, expected=None)
            volumes.put("b", ONE, expected=None)
            volumes.put("a", {"size": 4}, expected=volumes.read("a").etag)
        assert volumes == {"a": {"size": 4}, "b": ONE}

    def test_a_write_that_raises_inside_a_transaction_changes_nothing_of_it(
        self, store: Store
    ) -> None:
        volumes = store["volumes"]
        with store.transaction():
            volumes["a"] = ONE
            with pytest.raises(InvalidDocument):
                volumes.update({"a": TWO, "b": None})
            with pytest.raises(NotFound):
                volumes.patch("nope", ONE)
            with pytest.raises(NotFound):
                del volumes["nope"]
        assert volumes == {"a": ONE}

    def test_other_threads_see_nothing_before_the_commit(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = ONE

        def look() -> None:
            assert volumes == {"a": ONE}
            assert everything(store) == {"volumes": {"a": ONE}}
            with pytest.raises(LockTimeout):
                volumes["b"] = TWO
            with pytest.raises(LockTimeout), store.transaction():
                raise AssertionError("two transactions at once")
            with pytest.raises(FilestoreError, match="thread"):
                transaction["volumes"].get("a")

        with store.transaction() as transaction:
            volumes["a"] = TWO
            volumes["b"] = ONE
            in_thread(look)
        in_thread(lambda: volumes.put("c", ONE))
        assert volumes == {"a": TWO, "b": ONE, "c": ONE}

    def test_transactions_of_threads_come_one_after_the_other(
        self, tmp_path: Path, opened: ExitStack
    ) -> None:
        store = opened.enter_context(self.open(tmp_path))
        accounts = store["accounts"]
        accounts.update({str(n): {"balance": 100} for n in range(4)})

        def work(seed: int) -> None:
            for n in range(15):
                payer, payee = str((seed + n) % 4), str((seed * 3 + n * 2 + 1) % 4)
                with store.transaction():
                    accounts.patch(payer, {"balance": accounts[payer]["balance"] - 1})
                    accounts.patch(payee, {"balance": accounts[payee]["balance"] + 1})

        def audit() -> None:
            for _ in range(30):
                with store.snapshot() as view:
                    seen = [document["balance"] for document in view["accounts"].values()]
                assert sum(seen) == 400

        in_thread(*[lambda seed=seed: work(seed) for seed in range(3)], audit)  # type: ignore[misc]
        assert sum(document["balance"] for document in accounts.values()) == 400

    def test_a_transaction_that_has_ended_is_closed(self, store: Store) -> None:
        with store.transaction() as tx:
            volumes = tx["volumes"]
        for call in (
            lambda: tx["volumes"],
            tx.collections,
            lambda: tx.revision,
            lambda: volumes.get("a"),
            lambda: volumes.put("a", ONE),
            lambda: list(volumes),
        ):
            with pytest.raises(Closed):
                call()
        assert "a" not in store["volumes"]

    def test_a_nested_transaction_commits_with_the_outer(self, store: Store) -> None:
        volumes = store["volumes"]
        with store.transaction(message="outer") as outer:
            volumes["a"] = ONE
            with store.transaction(message="inner", actor="me") as inner:
                assert inner is outer
                volumes["b"] = ONE
            assert store.revision == 0
            volumes["c"] = ONE
        assert len(volumes) == 3
        assert {(each.revision, each.message, each.actor) for each in store.changes()} == {
            (1, "outer", "me")
        }

    def test_a_nested_transaction_that_raises_takes_back_its_own_writes(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes.update({"a": ONE, "b": ONE, "c": ONE})
        with store.transaction():
            volumes["a"] = TWO
            volumes["n"] = TWO
            with pytest.raises(Refused), store.transaction(message="not this"):  # noqa: PT012  # the block
                volumes["a"] = {"size": 3}
                volumes["a"] = {"size": 4}
                volumes["b"] = TWO
                del volumes["c"]
                del volumes["n"]
                volumes["m"] = TWO
                with store.transaction():
                    volumes["k"] = ONE
                raise Refused
            assert volumes == {"a": TWO, "b": ONE, "c": ONE, "n": TWO}
            volumes["z"] = ONE
        assert volumes == {"a": TWO, "b": ONE, "c": ONE, "n": TWO, "z": ONE}
        assert {change.message for change in store.changes(since=1)} == {None}

    def test_a_nested_error_that_is_not_caught_discards_everything(self, store: Store) -> None:
        with pytest.raises(Refused), store.transaction():  # noqa: PT012  # the block
            store["volumes"]["a"] = ONE
            with store.transaction():
                raise Refused
        assert store.collections() == []

    def test_a_store_closed_inside_a_transaction_discards_it(
        self, tmp_path: Path, opened: ExitStack
    ) -> None:
        store = self.open(tmp_path)
        opened.callback(store.close)
        with pytest.raises(Closed), store.transaction() as tx:  # noqa: PT012  # the block
            tx["volumes"]["a"] = ONE
            store.close()
            with pytest.raises(Closed):
                tx["volumes"]["b"] = ONE
        with pytest.raises(Closed):
            store["volumes"].get("a")

    # --- snapshot views

    def test_a_view_stays_at_its_revision(self, store: Store) -> None:
        store["volumes"].update({"a": ONE, "b": ONE, "c": ONE})
        store["gone"]["x"] = ONE
        with store.snapshot() as view:
            before = everything(store)
            volumes = view["volumes"]
            store["volumes"]["a"] = TWO
            store["volumes"]["a"] = {"size": 3}
            del store["volumes"]["b"]
            store["volumes"]["d"] = ONE
            del store["gone"]["x"]
            store["new"]["y"] = ONE
            assert everything(view) == before
            assert view.collections() == list(view) == ["gone", "volumes"]
            assert "gone" in view
            assert view.revision == 2
            assert sorted(volumes) == ["a", "b", "c"]
            assert len(volumes) == 3
            assert "b" in volumes
            assert "d" not in volumes
            assert volumes.get("d") is None
            with pytest.raises(NotFound):
                volumes["d"]
            assert sorted(record.key.id for record in volumes.find(size=1)) == ["a", "b", "c"]
            assert volumes.read("a") in volumes.find()
            assert volumes.read("a").document == ONE
            assert volumes.read("a").revision == 2
            assert volumes.read("a").etag == etag_of(canonical(ONE))
            assert view.location == store.location
        assert len(store["volumes"]) == 3

    def test_views_of_different_moments_stand_side_by_side(self, store: Store) -> None:
        volumes = store["volumes"]
        with ExitStack() as stack:
            views = []
            for n in range(5):
                volumes["a"] = {"n": n}
                views.append(stack.enter_context(store.snapshot()))
            del volumes["a"]
            assert [view["volumes"]["a"]["n"] for view in views] == [*range(5)]
            assert [view.revision for view in views] == [*range(1, 6)]
            views[2].close()
            volumes["a"] = {"n": 7}
            assert [view["volumes"]["a"]["n"] for view in (views[0], views[4])] == [0, 4]

    def test_a_view_cannot_be_written(self, store: Store) -> None:
        with store.snapshot() as view:
            assert not hasattr(view["volumes"], "put")
            with pytest.raises(TypeError):
                view["volumes"]["a"] = ONE  # type: ignore[index]

    def test_a_view_inside_a_transaction_shows_what_was_committed(self, store: Store) -> None:
        store["volumes"]["a"] = ONE
        with store.transaction() as tx:
            tx["volumes"]["a"] = TWO
            with store.snapshot() as view:
                assert view["volumes"]["a"] == ONE
                tx["volumes"]["b"] = TWO
                assert everything(view) == {"volumes": {"a": ONE}}

    def test_a_view_taken_before_a_transaction_does_not_see_it(self, store: Store) -> None:
        with store.snapshot() as view:
            with store.transaction() as tx:
                tx["volumes"]["a"] = ONE
                assert view.collections() == []
            assert view.collections() == []

    def test_a_closed_view_raises_closed(self, store: Store) -> None:
        with store.snapshot() as view:
            volumes = view["volumes"]
        view.close()
        for call in (
            lambda: view["volumes"],
            lambda: view.revision,
            view.collections,
            lambda: volumes.get("a"),
            lambda: len(volumes),
        ):
            with pytest.raises(Closed):
                call()

    def test_views_agree_while_threads_write(self, tmp_path: Path, opened: ExitStack) -> None:
        store = opened.enter_context(self.open(tmp_path))
        writing = threading.Event()

        def apply(n: int) -> None:
            with store.transaction():
                for name in ("a", "b", "c"):
                    store["volumes"][name] = {"n": n}
                store[f"run{n % 3}"]["x"] = {"n": n}
                store[f"run{(n - 1) % 3}"].clear()

        apply(0)

        def write() -> None:
            try:
                for n in range(1, 40):
                    apply(n)
            finally:
                writing.set()

        def look() -> None:
            while not writing.is_set():
                with store.snapshot() as view:
                    first = view["volumes"]["c"]["n"]
                    assert view.collections() == [f"run{first % 3}", "volumes"]
                    assert {each["n"] for each in view["volumes"].values()} == {first}
                    assert view[f"run{first % 3}"]["x"] == {"n": first}
                    assert view.revision == first + 1

        in_thread(write, look, look)

    # --- the change feed

    def test_changes_tell_what_happened_to_each_document(self, store: Store) -> None:
        volumes = store["volumes"]
        volumes["a"] = ONE
        volumes["a"] = TWO
        del volumes["a"]
        changes = list(store.changes())
        assert [(each.before, each.after) for each in changes] == [
            (None, ONE),
            (ONE, TWO),
            (TWO, None),
        ]
        assert {each.key for each in changes} == {Key("volumes", "a")}
        assert [each.revision for each in changes] == [1, 2, 3]
        assert changes[1].diff

    def test_changes_can_be_narrowed(self, store: Store) -> None:
        with store.transaction():
            for collection in ("volumes", "snapshots"):
                store[collection].update({"a": ONE, "b": ONE})
        store["volumes"]["a"] = TWO

        def keys(**options: Any) -> list[tuple[int, str]]:
            return sorted((each.revision, str(each.key)) for each in store.changes(**options))

        assert len(keys()) == 5
        assert keys(since=1) == [(2, "volumes/a")]
        assert keys(since=2) == []
        assert keys(collection="snapshots") == [(1, "snapshots/a"), (1, "snapshots/b")]
        assert keys(id="a") == [(1, "snapshots/a"), (1, "volumes/a"), (2, "volumes/a")]
        assert keys(since=1, collection="volumes", id="a") == [(2, "volumes/a")]
        assert keys(collection="nope") == []

    def test_a_change_is_the_callers_own(self, store: Store) -> None:
        store["volumes"]["a"] = {"list": [1]}
        (change,) = store.changes()
        assert change.after is not None
        change.after["list"].append(2)
        assert next(store.changes()).after == store["volumes"]["a"] == {"list": [1]}

    # --- watch

    def test_a_watcher_hears_of_every_change_in_order_once(self, store: Store) -> None:
        store["volumes"]["before"] = ONE
        heard: queue.Queue[Change] = queue.Queue()
        subscription = store.watch(heard.put)

        def work(name: str) -> None:
            for n in range(10):
                with store.transaction():
                    store["volumes"][name] = {"n": n}
                    store["other"][name] = {"n": n}

        in_thread(*[lambda name=name: work(name) for name in "ab"])  # type: ignore[misc]
        expected = list(store.changes(since=1))
        assert [heard.get(timeout=GRACE) for _ in expected] == expected
        subscription.close()
        store["volumes"]["after"] = ONE
        assert heard.empty()
        assert subscription.revision == expected[-1].revision

    def test_a_watcher_may_begin_in_the_past(self, store: Store) -> None:
        for n in range(4):
            store["volumes"]["a"] = {"n": n}
        heard: queue.Queue[Change] = queue.Queue()
        with store.watch(heard.put, since=2):
            assert [heard.get(timeout=GRACE).revision for _ in range(2)] == [3, 4]
            store["volumes"]["a"] = ONE
            assert heard.get(timeout=GRACE).revision == 5

    def test_a_watcher_is_called_after_the_commit_with_no_lock_held(self, store: Store) -> None:
        seen: queue.Queue[Any] = queue.Queue()

        def react(change: Change) -> None:
            if change.key.collection == "volumes":
                in_thread(lambda: store["log"].put(change.key.id, {"seen": True}))
                with store.transaction() as tx:
                    seen.put((tx["volumes"][change.key.id], dict(tx["log"])))

        with store.watch(react):
            store["volumes"]["a"] = ONE
            assert seen.get(timeout=GRACE) == (ONE, {"a": {"seen": True}})

    def test_what_a_callback_raises_is_reported_and_the_next_change_delivered(
        self, store: Store
    ) -> None:
        heard: queue.Queue[Change] = queue.Queue()
        errors: queue.Queue[BaseException] = queue.Queue()

        def react(change: Change) -> None:
            if change.key.id == "bad":
                raise Refused
            heard.put(change)

        with store.watch(react, on_error=errors.put):
            store["volumes"]["bad"] = ONE
            store["volumes"]["good"] = ONE
            assert heard.get(timeout=GRACE).key.id == "good"
        assert isinstance(errors.get(timeout=GRACE), Refused)
        assert errors.empty()

    def test_what_a_callback_raises_goes_to_the_threads_hook(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hooked: queue.Queue[threading.ExceptHookArgs] = queue.Queue()
        monkeypatch.setattr(threading, "excepthook", hooked.put)

        def react(change: Change) -> None:
            raise Refused

        def fail(error: BaseException) -> None:
            raise error

        with store.watch(react):
            store["volumes"]["a"] = ONE
            assert hooked.get(timeout=GRACE).exc_type is Refused
        with store.watch(react, on_error=fail):
            store["volumes"]["a"] = TWO
            assert hooked.get(timeout=GRACE).exc_type is Refused
            store["volumes"]["a"] = ONE
            assert hooked.get(timeout=GRACE).exc_type is Refused

    def test_closing_waits_for_a_callback_that_runs(self, store: Store) -> None:
        running, proceed = threading.Event(), threading.Event()
        steps: list[str] = []

        def react(change: Change) -> None:
            running.set()
            assert proceed.wait(GRACE)
            steps.append("callback")

        subscription = store.watch(react)
        store["volumes"].update({"a": ONE, "b": ONE})
        assert running.wait(GRACE)

        def close() -> None:
            closing.set()
            subscription.close()
            steps.append("closed")

        closing = threading.Event()
        closer = threading.Thread(target=close)
        closer.start()
        assert closing.wait(GRACE)
        proceed.set()
        closer.join(GRACE)
        assert steps in (["callback", "closed"], ["callback", "callback", "closed"])

    def test_a_callback_may_close_its_subscription(self, store: Store) -> None:
        heard: list[Change] = []
        closed = threading.Event()

        def react(change: Change) -> None:
            heard.append(change)
            subscription.close()
            closed.set()

        subscription = store.watch(react)
        store["volumes"].update({"a": ONE, "b": ONE})
        assert closed.wait(GRACE)
        subscription.close()
        store["volumes"]["c"] = ONE
        assert len(heard) == 1

    def test_a_callback_may_close_the_store(self, tmp_path: Path) -> None:
        closed = threading.Event()

        def react(change: Change) -> None:
            store.close()
            closed.set()

        store = self.open(tmp_path)
        store.watch(react)
        store["volumes"]["a"] = ONE
        assert closed.wait(GRACE)
        with pytest.raises(Closed):
            store["volumes"].get("a")
        store.close()

    def test_several_callbacks_may_close_the_store_at_once(self, tmp_path: Path) -> None:
        together = threading.Barrier(3)
        closed: queue.Queue[bool] = queue.Queue()

        def react(change: Change) -> None:
            together.wait(GRACE)
            store.close()
            closed.put(True)

        store = self.open(tmp_path)
        for _ in range(3):
            store.watch(react)
        store["volumes"]["a"] = ONE
        assert [closed.get(timeout=GRACE) for _ in range(3)] == [True] * 3

    def test_closing_the_store_ends_its_watchers(self, tmp_path: Path) -> None:
        heard: queue.Queue[Change] = queue.Queue()
        store = self.open(tmp_path)
        subscription = store.watch(heard.put)
        store["volumes"]["a"] = ONE
        heard.get(timeout=GRACE)
        store.close()
        subscription.close()
        assert heard.empty()

    # --- housekeeping, read-only, closing

    def test_stats_tell_what_the_store_knows(self, store: Store) -> None:
        store["volumes"]["a"] = ONE
        with store.snapshot(), store.watch(lambda change: None):
            stats = store.stats()
        assert (stats["revision"], stats["views"], stats["subscriptions"]) == (1, 1, 1)
        stats = store.stats()
        assert (stats["views"], stats["subscriptions"]) == (0, 0)

    def test_a_sound_store_checks_and_repairs_to_nothing(self, store: Store) -> None:
        store["volumes"]["a"] = ONE
        store.checkpoint()
        assert store.check() == []
        assert store.repair() == []
        assert everything(store) == {"volumes": {"a": ONE}}

    def test_a_read_only_store_refuses_every_write(self, tmp_path: Path) -> None:
        self.open(tmp_path).close()
        with self.open(tmp_path, readonly=True) as store:
            assert store.readonly
            volumes = store["volumes"]
            for call in (
                lambda: volumes.put("a", ONE),
                lambda: volumes.patch("a", ONE),
                lambda: volumes.pop("a", None),
                lambda: volumes.setdefault("a", ONE),
                lambda: volumes.update({}),
                lambda: volumes.update(a=ONE),
                volumes.clear,
                lambda: volumes.__delitem__("a"),
                lambda: store.transaction().__enter__(),
            ):
                with pytest.raises(ReadOnly):
                    call()
            assert everything(store) == {}

    @pytest.mark.parametrize(
        "call",
        [
            lambda store, volumes: store["volumes"].get("a"),
            lambda store, volumes: volumes["a"],
            lambda store, volumes: volumes.get("nope"),
            lambda store, volumes: "a" in volumes,
            lambda store, volumes: list(volumes),
            lambda store, volumes: len(volumes),
            lambda store, volumes: list(volumes.items()),
            lambda store, volumes: volumes.find(),
            lambda store, volumes: volumes.read("a"),
            lambda store, volumes: volumes.put("a", ONE),
            lambda store, volumes: volumes.put("a", TWO),
            lambda store, volumes: volumes.patch("a", {}),
            lambda store, volumes: volumes.pop("a"),
            lambda store, volumes: volumes.update(a=TWO),
            lambda store, volumes: volumes.clear(),
            lambda store, volumes: volumes.setdefault("a", {}),
            lambda store, volumes: store.revision,
            lambda store, volumes: store.collections(),
            lambda store, volumes: "volumes" in store,
            lambda store, volumes: store.transaction().__enter__(),
            lambda store, volumes: store.snapshot(),
            lambda store, volumes: store.at(revision=0),
            lambda store, volumes: list(store.changes()),
            lambda store, volumes: store.watch(print),
            lambda store, volumes: store.check(),
            lambda store, volumes: store.repair(),
            lambda store, volumes: store.checkpoint(),
            lambda store, volumes: store.stats(),
        ],
    )
    def test_after_closing_everything_raises_closed(
        self, store: Store, volumes: Collection, call: Callable[[Store, Collection], object]
    ) -> None:
        volumes["a"] = ONE
        with store.snapshot() as view:
            store.close()
            store.close()
            with pytest.raises(Closed):
                call(store, volumes)
            with pytest.raises(Closed):
                view["volumes"].get("a")
        assert "closed" in repr(store)


class SharedStoreContract(StoreContract):
    """For stores that several handles share, in this process or others, and that last."""

    @pytest.fixture
    def other(self, store: Store, tmp_path: Path) -> Iterator[Store]:
        """A second handle on the store."""
        with self.open(tmp_path, actor="other", lock_timeout=0.2) as other:
            yield other

    def test_handles_read_each_others_writes(self, store: Store, other: Store) -> None:
        for n in range(5):
            store["volumes"]["a"] = {"n": n}
            assert other["volumes"]["a"] == {"n": n}
            other["volumes"][f"b{n}"] = ONE
            assert len(store["volumes"]) == n + 2
        assert list(store.changes()) == list(other.changes())
        assert {change.actor for change in store.changes()} == {"tester", "other"}

    def test_patches_of_two_handles_are_all_kept(self, tmp_path: Path, opened: ExitStack) -> None:
        stores = [opened.enter_context(self.open(tmp_path)) for _ in range(2)]
        stores[0]["volumes"]["a"] = {}

        def work(store: Store, name: str) -> None:
            for n in range(10):
                store["volumes"].patch("a", {f"{name}{n}": n})

        in_thread(*[lambda s=s, n=n: work(s, n) for s, n in zip(stores, "xy", strict=True)])  # type: ignore[misc]
        assert len(stores[0]["volumes"]["a"]) == len(stores[1]["volumes"]["a"]) == 20

    def test_a_transaction_keeps_the_other_handle_out(self, store: Store, other: Store) -> None:
        with store.transaction():
            store["volumes"]["a"] = ONE
            assert other.collections() == []
            with pytest.raises(LockTimeout):
                other["volumes"]["a"] = TWO
        assert other["volumes"]["a"] == ONE

    def test_a_view_is_kept_from_the_other_handles_commits(
        self, store: Store, other: Store
    ) -> None:
        other["volumes"].update({"a": ONE, "b": ONE})
        with store.snapshot() as view:
            other["volumes"]["a"] = TWO
            del other["volumes"]["b"]
            other["volumes"]["c"] = ONE
            other["new"]["x"] = ONE
            assert everything(view) == {"volumes": {"a": ONE, "b": ONE}}
            assert view.revision == 1
            assert store["volumes"] == {"a": TWO, "c": ONE}
            assert everything(view) == {"volumes": {"a": ONE, "b": ONE}}

    def test_a_view_shows_what_the_other_handle_committed_before(
        self, store: Store, other: Store
    ) -> None:
        other["kept"]["x"] = ONE
        for n in range(5):
            other["volumes"]["a"] = {"n": n}
            # This handle has not read since: the commit is news to it, and in the view.
            with store.snapshot() as view:
                assert view.revision == 2 * n + 2
                other["volumes"]["a"] = {"n": -1}
                assert everything(view) == {"kept": {"x": ONE}, "volumes": {"a": {"n": n}}}

    def test_a_watcher_hears_of_the_other_handles_changes(self, store: Store, other: Store) -> None:
        heard: queue.Queue[Change] = queue.Queue()
        with store.watch(heard.put):
            for n in range(3):
                other["volumes"]["a"] = {"n": n}
                store["volumes"]["b"] = {"n": n}
            expected = list(store.changes())
            assert [heard.get(timeout=GRACE) for _ in expected] == expected
        assert heard.empty()

    def test_what_was_written_is_there_when_opened_again(
        self, store: Store, tmp_path: Path
    ) -> None:
        with store.transaction(message="fill"):
            store["volumes"]["a"] = ONE
            store["driver/lvm"]["a/b"] = TWO
        changes = list(store.changes())
        store.close()
        with self.open(tmp_path) as again:
            assert everything(again) == {"volumes": {"a": ONE}, "driver/lvm": {"a/b": TWO}}
            assert list(again.changes()) == changes
            assert again["volumes"].put("a", ONE) is None

    def test_a_read_only_store_shows_what_is_there(self, store: Store, tmp_path: Path) -> None:
        store["volumes"]["a"] = ONE
        with self.open(tmp_path, readonly=True) as reader:
            assert reader["volumes"] == {"a": ONE}
            store["volumes"]["a"] = TWO
            assert reader["volumes"]["a"] == TWO
            with pytest.raises(ReadOnly):
                reader["volumes"].put("a", TWO)
            with reader.snapshot() as view:
                assert view["volumes"]["a"] == TWO
