"""What every storage of driver private data keeps: subclass :class:`PrivateDataContract`.

:class:`StorePrivateDataContract` is for those over a store.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore import Corrupt, InvalidDocument, InvalidKey
from filestore.private_data import (
    MAX_KEY,
    MAX_VALUE,
    DriverPrivateData,
    StoreStorageDriver,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore import Store
    from filestore.private_data import EntityStorage

HOST = "node1@alpha"
OTHER_HOST = "node1@beta"
ENTITY = "4fcf2247-7812-48cf-a1e2-ab09e0045d9d"
OTHER = "0b0a5b7e-5f0e-4a52-8d3e-5a7a3c1de0a1"

SPELLINGS = [
    ENTITY,
    ENTITY.upper(),
    ENTITY.replace("-", ""),
    f"{{{ENTITY}}}",
    f"urn:uuid:{ENTITY}",
    f"uuid:{ENTITY}",
    f"{{urn:uuid:{ENTITY.upper()}}}",
    "4fcf22477812-48cf-a1e2-ab09e0045d9d",
]


class PrivateDataContract:
    """Today's form of a storage driver; ``storage`` makes one."""

    def storage(self, backend_host: str) -> EntityStorage:
        """The storage of a backend, in the one place of this test."""
        raise NotImplementedError

    @pytest.fixture
    def data(self) -> EntityStorage:
        return self.storage(HOST)

    # --- get

    def test_nothing_is_there_at_first(self, data: EntityStorage) -> None:
        assert data.get(ENTITY, None, None) == {}
        assert data.get(ENTITY, [], None) == {}
        assert data.get(ENTITY, ["a"], None) == {}
        assert data.get(ENTITY, "a", None) is None

    def test_the_default_stands_for_one_missing_key_and_for_no_dictionary(
        self, data: EntityStorage
    ) -> None:
        default = object()
        for _ in range(2):
            assert data.get(ENTITY, "missing", default) is default
            assert data.get(ENTITY, "", default) is default
            assert data.get(ENTITY, ["missing"], default) == {}
            assert data.get(OTHER, None, default) == {}
            data.update(ENTITY, {"there": "1"}, False)

    def test_none_gets_all_a_list_some_and_a_string_one(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2", "c": "3"}, False)
        assert data.get(ENTITY, None, None) == {"a": "1", "b": "2", "c": "3"}
        assert data.get(ENTITY, ["c", "a", "nope", "a"], None) == {"a": "1", "c": "3"}
        assert data.get(ENTITY, [], None) == {}
        assert data.get(ENTITY, "b", None) == "2"

    def test_the_empty_key_is_a_key(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"": "empty", "a": "1"}, False)
        assert data.get(ENTITY, "", None) == "empty"
        assert data.get(ENTITY, [""], None) == {"": "empty"}
        data.delete(ENTITY, "")
        assert data.get(ENTITY, None, None) == {"a": "1"}

    def test_what_is_got_is_the_callers_own(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1"}, False)
        data.get(ENTITY, None, None)["a"] = "changed"
        assert data.get(ENTITY, None, None) == {"a": "1"}

    # --- update

    def test_an_update_returns_the_details_as_they_were_passed(self, data: EntityStorage) -> None:
        details = {"a": 1, "b": ["x"]}
        assert data.update(ENTITY, details, False) is details
        assert details == {"a": 1, "b": ["x"]}

    @pytest.mark.parametrize(
        "value", [0, 1.5, True, None, ["x"], {"y": 1}, b"bytes", "", "text", uuid.UUID(ENTITY)]
    )
    def test_values_are_kept_as_their_text(self, data: EntityStorage, value: Any) -> None:
        data.update(ENTITY, {"k": value}, False)
        assert data.get(ENTITY, "k", None) == str(value)
        assert type(data.get(ENTITY, "k", None)) is str

    def test_an_update_keeps_other_keys(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2"}, False)
        data.update(ENTITY, {"b": "3", "c": "4"}, False)
        assert data.get(ENTITY, None, None) == {"a": "1", "b": "3", "c": "4"}

    def test_an_update_may_drop_all_other_keys(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2"}, False)
        data.update(ENTITY, {"b": "3", "c": "4"}, True)
        assert data.get(ENTITY, None, None) == {"b": "3", "c": "4"}
        data.update(ENTITY, {}, True)
        assert data.get(ENTITY, None, None) == {}

    def test_updating_twice_is_updating_once(self, data: EntityStorage) -> None:
        for _ in range(2):
            data.update(ENTITY, {"a": "1"}, False)
        assert data.get(ENTITY, None, None) == {"a": "1"}

    def test_an_update_with_nothing_makes_nothing(self, data: EntityStorage) -> None:
        assert data.update(ENTITY, {}, False) == {}
        assert data.get(ENTITY, None, None) == {}

    def test_the_longest_key_and_value_are_kept(self, data: EntityStorage) -> None:
        key, value = "é" * 255, "日" * 1023
        data.update(ENTITY, {key: value}, False)
        assert data.get(ENTITY, None, None) == {key: value}

    # --- delete

    def test_a_delete_of_a_key_leaves_the_others(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2", "c": "3"}, False)
        data.delete(ENTITY, "b")
        assert data.get(ENTITY, None, None) == {"a": "1", "c": "3"}

    def test_a_delete_of_a_list_leaves_the_others(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2", "c": "3"}, False)
        data.delete(ENTITY, ["a", "c", "nope"])
        assert data.get(ENTITY, None, None) == {"b": "2"}

    def test_a_delete_of_no_keys_deletes_nothing(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1"}, False)
        data.delete(ENTITY, [])
        assert data.get(ENTITY, None, None) == {"a": "1"}

    def test_a_delete_without_key_deletes_all_of_the_entity(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "": "2"}, False)
        data.update(OTHER, {"a": "1"}, False)
        data.delete(ENTITY, None)
        assert data.get(ENTITY, None, None) == {}
        assert data.get(OTHER, None, None) == {"a": "1"}

    def test_deleting_what_is_not_there_is_no_error(self, data: EntityStorage) -> None:
        data.delete(ENTITY, None)
        data.delete(ENTITY, "a")
        data.delete(ENTITY, ["a"])
        data.update(ENTITY, {"b": "1"}, False)
        data.delete(ENTITY, "a")
        assert data.get(ENTITY, None, None) == {"b": "1"}

    def test_what_was_deleted_can_be_set_again(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2"}, False)
        data.delete(ENTITY, None)
        data.update(ENTITY, {"a": "3"}, False)
        assert data.get(ENTITY, None, None) == {"a": "3"}

    # --- entities

    def test_each_spelling_of_a_uuid_is_an_entity_of_its_own(self, data: EntityStorage) -> None:
        for n, entity in enumerate(SPELLINGS):
            data.update(entity, {"n": n}, False)
        assert [data.get(entity, "n", None) for entity in SPELLINGS] == [
            str(n) for n in range(len(SPELLINGS))
        ]


HOSTS = [
    HOST,
    OTHER_HOST,
    "node1@alpha#pool",
    "NODE1@alpha",
    "node1@alpha/share",
    "node1@alpha=2fshare",
    "",
    "=",
    "/",
    "//",
    "..",
    "../..",
    ".",
    "con",
    "nul\0byte",
    "a b",
    "x.json",
    "é",
    "e\u0301",
    "日" * 255,
    "日" * 254 + "本",
    "X" * 255,
    "x" * 255,
    "y" * 5000,
    "==" + "0" * 64,
    "%2e",
    "a~1",
    "@front",
]

NAMESPACES = [None, "", "share", "snapshot", "share/x", "SHARE", "x.json", "..", "s" * 300]


class StorePrivateDataContract(PrivateDataContract):
    """Over a store, which ``open`` opens."""

    def open(self, where: Path) -> Store:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _store(self, tmp_path: Path) -> Iterator[None]:
        with self.open(tmp_path / "state") as self.store:
            yield
            assert self.store.check() == []

    def storage(self, backend_host: str) -> StoreStorageDriver:
        return StoreStorageDriver(self.store, backend_host)

    # --- isolation

    def test_a_backend_does_not_reach_the_data_of_another(self) -> None:
        for number, host in enumerate(HOSTS):
            self.storage(host).update(ENTITY, {"number": number}, False)
        for number, host in enumerate(HOSTS):
            assert self.storage(host).get(ENTITY) == {"number": str(number)}
        for index, host in enumerate(HOSTS):
            self.storage(host).delete(ENTITY)
            left = [each for each in HOSTS if self.storage(each).get(ENTITY)]
            assert left == HOSTS[index + 1 :]

    def test_namespaces_are_apart_from_each_other_and_from_other_hosts(self) -> None:
        places = [(host, namespace) for host in HOSTS for namespace in NAMESPACES]
        with self.store.transaction():
            for number, (host, namespace) in enumerate(places):
                self.storage(host).details_update(namespace, ENTITY, {"number": number})
        for number, (host, namespace) in enumerate(places):
            found = self.storage(host).details_get(namespace, ENTITY)
            assert found == {"number": str(number)}

    def test_todays_form_has_no_namespace(self) -> None:
        data = self.storage(HOST)
        data.update(ENTITY, {"a": "1"})
        assert data.details_get(None, ENTITY, "a", None) == "1"
        assert data.details_get("share", ENTITY, None, None) == {}

    def test_the_documents_lie_where_they_are_said_to(self) -> None:
        data = self.storage(HOST)
        data.update(ENTITY, {"a": 1, "": "x"})
        data.details_update("share", ENTITY, {"b": 2})
        assert self.store[f"driver_data/{HOST}"][ENTITY] == {"a": "1", "": "x"}
        assert self.store[f"driver_data/{HOST}/share"][ENTITY] == {"b": "2"}

    def test_no_document_is_left_of_an_entity_without_keys(self) -> None:
        data = self.storage(HOST)
        ways: list[Callable[[], object]] = [
            lambda: data.delete(ENTITY),
            lambda: data.delete(ENTITY, "a"),
            lambda: data.delete(ENTITY, ["a"]),
            lambda: data.update(ENTITY, {}, delete_existing=True),
        ]
        for forget in ways:
            data.update(ENTITY, {"a": "1"})
            assert self.store.collections() == [f"driver_data/{HOST}"]
            forget()
            assert self.store.collections() == []

    # --- commits

    def test_an_update_is_one_commit_and_one_that_changes_nothing_is_none(self) -> None:
        data = self.storage(HOST)
        before = self.store.revision
        data.update(ENTITY, {"a": 1, "b": 2})
        assert self.store.revision == before + 1
        data.update(ENTITY, {"b": "2"})
        data.update(ENTITY, {})
        data.delete(ENTITY, "nope")
        data.delete(ENTITY, [])
        assert self.store.revision == before + 1

    def test_updates_join_a_transaction(self) -> None:
        data = self.storage(HOST)
        with suppress(ZeroDivisionError), self.store.transaction():
            data.update(ENTITY, {"a": "1"})
            assert data.get(ENTITY, "a") == "1"
            raise ZeroDivisionError
        assert data.get(ENTITY) == {}

    # --- what is refused

    @pytest.mark.parametrize("details", [None, [("a", "1")], "a", 5, {"a"}])
    def test_details_that_are_no_dictionary_are_refused(self, details: Any) -> None:
        data = self.storage(HOST)
        for refused in (data.update, DriverPrivateData(data).update):
            with pytest.raises(ValueError):
                refused(ENTITY, details)

    @pytest.mark.parametrize(
        "details",
        [
            {"k" * (MAX_KEY + 1): "v"},
            {"k": "v" * (MAX_VALUE + 1)},
            {"k": list(range(MAX_VALUE))},
            {5: "v"},
            {None: "v"},
            {("a", "b"): "v"},
            {"k": "\ud800"},
            {"\ud800": "v"},
        ],
        ids=ascii,
    )
    def test_an_update_that_is_refused_changes_nothing(self, details: Any) -> None:
        data = self.storage(HOST)
        data.update(ENTITY, {"a": "1"})
        with pytest.raises(InvalidDocument) as caught:
            data.update(ENTITY, {"a": "2", **details}, delete_existing=True)
        assert isinstance(caught.value, ValueError)
        assert data.get(ENTITY) == {"a": "1"}

    def test_a_refusal_does_not_tell_the_value(self) -> None:
        with pytest.raises(InvalidDocument) as caught:
            self.storage(HOST).update(ENTITY, {"password": "secret" * 200})
        assert "secret" not in str(caught.value)
        assert "'password'" in str(caught.value)

    def test_a_value_that_has_no_text_changes_nothing(self) -> None:
        class Mute:
            def __str__(self) -> str:
                raise RuntimeError("no text")

        data = self.storage(HOST)
        with pytest.raises(RuntimeError):
            data.update(ENTITY, {"a": "1", "b": Mute()})
        assert data.get(ENTITY) == {}

    @pytest.mark.parametrize("key", [5, ("a",), {"a"}, b"a", ["a", None], [["a"]]], ids=repr)
    def test_a_key_that_is_no_text_is_refused(self, key: Any) -> None:
        data = self.storage(HOST)
        data.update(ENTITY, {"a": "1"})
        with pytest.raises(ValueError, match="pass a string"):
            data.get(ENTITY, key)
        with pytest.raises(ValueError, match="pass a string"):
            data.delete(ENTITY, key)
        assert data.get(ENTITY) == {"a": "1"}

    @pytest.mark.parametrize("entity", ["", "\ud800", "x" * 5000, 5, None], ids=ascii)
    def test_an_entity_that_can_name_no_document_is_refused(self, entity: Any) -> None:
        data = self.storage(HOST)
        for call in (
            lambda: data.get(entity),
            lambda: data.update(entity, {"a": "1"}),
            lambda: data.delete(entity),
        ):
            with pytest.raises(InvalidKey):
                call()

    @pytest.mark.parametrize("host", ["\ud800", None, 5], ids=ascii)
    def test_a_host_that_is_no_text_is_refused(self, host: Any) -> None:
        with pytest.raises(InvalidKey):
            self.storage(host)

    def test_text_of_a_kind_of_its_own_is_text(self) -> None:
        class Message(str):
            __slots__ = ()

        data = self.storage(HOST)
        data.update(ENTITY, {Message("key"): Message("value")})
        assert data.get(ENTITY, Message("key")) == "value"
        assert data.get(ENTITY, [Message("key")]) == {"key": "value"}
        data.delete(ENTITY, Message("key"))
        assert data.get(ENTITY) == {}

    # --- a document that somebody else wrote

    def test_a_value_that_is_no_text_is_told_and_not_handed_out(self) -> None:
        self.store[f"driver_data/{HOST}"][ENTITY] = {"a": 1, "b": "2"}
        data = self.storage(HOST)
        for key in (None, "a", ["a", "b"]):
            with pytest.raises(Corrupt, match="'a'") as caught:
                data.get(ENTITY, key)
            assert caught.value.key == (f"driver_data/{HOST}", ENTITY)
        assert data.get(ENTITY, "b") == "2"
        data.update(ENTITY, {"a": "mended"})
        assert data.get(ENTITY) == {"a": "mended", "b": "2"}

    # --- the model

    def test_it_is_a_dictionary_of_dictionaries(self) -> None:
        keys = st.sampled_from(["", "a", "b", "A", "é", "a/b", "\0", "k" * 255])
        asked = st.none() | keys | st.lists(keys, max_size=3)
        places = st.tuples(
            st.sampled_from([HOST, OTHER_HOST, "a/b"]),
            st.sampled_from([None, "share"]),
            st.sampled_from([ENTITY, ENTITY.upper()]),
        )
        values = st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers()))
        steps = st.one_of(
            st.tuples(
                st.just("update"), places, st.dictionaries(keys, values, max_size=4), st.booleans()
            ),
            st.tuples(st.just("delete"), places, asked, st.none()),
            st.tuples(st.just("get"), places, asked, st.integers()),
        )

        @given(st.lists(steps, max_size=25))
        def agree(script: list[Any]) -> None:
            for collection in self.store.collections():
                self.store[collection].clear()
            model: dict[Any, dict[str, str]] = {}
            for verb, place, what, more in script:
                host, namespace, entity = place
                data = self.storage(host)
                there = model.setdefault(place, {})
                chosen = there if what is None else what if isinstance(what, list) else [what]
                if verb == "update":
                    data.details_update(namespace, entity, what, more)
                    if more:
                        there.clear()
                    there.update({key: str(value) for key, value in what.items()})
                elif verb == "delete":
                    data.details_delete(namespace, entity, what)
                    for key in list(chosen):
                        there.pop(key, None)
                else:
                    found = data.details_get(namespace, entity, what, more)
                    if isinstance(what, str):
                        assert found == there.get(what, more)
                    else:
                        assert found == {key: there[key] for key in chosen if key in there}
            stored = {
                (collection, id): document
                for collection in self.store.collections()
                for id, document in self.store[collection].items()
            }
            assert sorted(map(repr, stored.values())) == sorted(
                repr(dict(sorted(there.items()))) for there in model.values() if there
            )

        agree()
