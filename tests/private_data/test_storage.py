"""Driver private data over every kind of store."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import filestore
from filestore import Corrupt, InvalidDocument, InvalidKey, ReadOnly
from filestore.private_data import (
    MAX_KEY,
    MAX_VALUE,
    DriverPrivateData,
    PrivateDriverData,
    SqlStorageDriver,
    StorageDriver,
    StoreStorageDriver,
)
from tests.contract.private_data import ENTITY, HOST, OTHER_HOST, PrivateDataContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore import Store

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


class TestInMemory(StorePrivateDataContract):
    def open(self, where: Path) -> Store:
        return filestore.open("memory:")


class TestInSqlite(StorePrivateDataContract):
    def open(self, where: Path) -> Store:
        return filestore.open("sqlite://")


class TestInJsonFiles(StorePrivateDataContract):
    def open(self, where: Path) -> Store:
        return filestore.open(where, durability="off")


class TestInYamlFiles(StorePrivateDataContract):
    def open(self, where: Path) -> Store:
        return filestore.open(where, codec="yaml", durability="off")


def test_a_readonly_store_is_read_and_refuses_every_write(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "state") as store:
        StoreStorageDriver(store, HOST).update(ENTITY, {"a": "1"})
    with filestore.open(tmp_path / "state", readonly=True) as store:
        data = StoreStorageDriver(store, HOST)
        assert data.get(ENTITY, "a") == "1"
        for write in (
            lambda: data.update(ENTITY, {"a": "1"}),
            lambda: data.delete(ENTITY, []),
            lambda: data.delete(ENTITY, "nope"),
        ):
            with pytest.raises(ReadOnly):
                write()


def test_an_edit_by_hand_is_seen_and_merged(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "state") as store:
        data = StoreStorageDriver(store, HOST)
        data.update(ENTITY, {"a": "1"})
        (file,) = (tmp_path / "state" / "driver_data").rglob(f"{ENTITY}.json")
        file.write_text('{"a": "edited", "b": "new"}\n')
        data.update(ENTITY, {"c": "3"})
        assert data.get(ENTITY) == {"a": "edited", "b": "new", "c": "3"}


class TestSqlStorageDriver(PrivateDataContract):
    @pytest.fixture(autouse=True)
    def _stack(self, tmp_path: Path) -> Iterator[None]:
        self.url = f"sqlite:///{tmp_path}/private.db"
        with ExitStack() as self.stack:
            yield

    def storage(self, backend_host: str) -> SqlStorageDriver:
        return self.stack.enter_context(SqlStorageDriver("sqlite://", backend_host))

    def test_drivers_of_one_database_keep_backends_and_namespaces_apart(self) -> None:
        one, same, other = (
            self.stack.enter_context(SqlStorageDriver(self.url, host))
            for host in (HOST, HOST, OTHER_HOST)
        )
        one.update(ENTITY, {"a": 1})
        one.details_update("share", ENTITY, {"a": 2})
        assert same.get(ENTITY) == {"a": "1"}
        assert same.details_get("share", ENTITY) == {"a": "2"}
        assert other.get(ENTITY) == {}

    def test_it_closes_its_store(self) -> None:
        driver = SqlStorageDriver(self.url, HOST)
        driver.close()
        driver.close()
        with pytest.raises(filestore.Closed):
            driver.get(ENTITY)

    def test_a_host_that_is_refused_leaves_no_store_open(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[Store] = []
        real = filestore.open

        def noted(url: str) -> Store:
            opened.append(real(url))
            return opened[-1]

        monkeypatch.setattr(filestore, "open", noted)
        with pytest.raises(InvalidKey):
            SqlStorageDriver(self.url, "\ud800")
        with pytest.raises(filestore.Closed):
            opened[0]["c"].get("a")

    @pytest.mark.parametrize("connection", ["state", "/var/lib/state", "memory:"])
    def test_what_is_no_url_is_refused(self, connection: str) -> None:
        with pytest.raises(ValueError, match="StoreStorageDriver"):
            SqlStorageDriver(connection, HOST)

    def test_a_url_that_nothing_serves_is_refused(self) -> None:
        with pytest.raises(filestore.UnsupportedFormat):
            SqlStorageDriver("nope://there", HOST)


class TestFronts:
    @pytest.fixture
    def storage(self) -> Iterator[StoreStorageDriver]:
        with ExitStack() as stack:
            yield StoreStorageDriver(stack.enter_context(filestore.open("memory:")), HOST)

    def test_todays_front_reads_writes_and_deletes(self, storage: StoreStorageDriver) -> None:
        data = DriverPrivateData(storage)
        assert data.get(ENTITY) == {}
        assert data.get(ENTITY, "a", 5) == 5
        details = {"a": 1}
        assert data.update(ENTITY, details) is details
        assert data.get(ENTITY, key="a") == "1"
        data.update(ENTITY, {"b": 2}, delete_existing=True)
        assert data.get(ENTITY) == {"b": "2"}
        data.delete(ENTITY, key="b")
        assert storage.get(ENTITY) == {}

    def test_the_front_with_namespaces_keeps_to_its_own(self, storage: StoreStorageDriver) -> None:
        shares = PrivateDriverData("share", storage)
        snapshots = PrivateDriverData(context="snapshot", storage=storage)
        shares.update(ENTITY, {"a": 1})
        snapshots.update(ENTITY, {"a": 2})
        assert shares.get(ENTITY, "a") == "1"
        snapshots.delete(ENTITY)
        assert snapshots.get(ENTITY) == {}
        assert storage.details_get("share", ENTITY) == {"a": "1"}

    @pytest.mark.parametrize("context", [None, object()])
    def test_a_requests_context_is_no_namespace(
        self, storage: StoreStorageDriver, context: object
    ) -> None:
        PrivateDriverData(context, storage).update(ENTITY, {"a": 1})
        assert DriverPrivateData(storage).get(ENTITY) == {"a": "1"}

    def test_another_storage_can_stand_behind_it(self) -> None:
        calls: list[Any] = []

        class Elsewhere(StorageDriver):
            def details_get(self, namespace: Any, entity_id: Any, key: Any, default: Any) -> Any:
                calls.append(("get", namespace, entity_id, key, default))
                return "found"

            def details_update(
                self, namespace: Any, entity_id: Any, details: Any, delete_existing: bool
            ) -> Any:
                calls.append(("update", namespace, entity_id, details, delete_existing))
                return details

            def details_delete(self, namespace: Any, entity_id: Any, key: Any) -> None:
                calls.append(("delete", namespace, entity_id, key))

        data = PrivateDriverData("share", Elsewhere(HOST))
        assert data.get(ENTITY, "k", "d") == "found"
        assert data.update(ENTITY, {"a": 1}, True) == {"a": 1}
        data.delete(ENTITY)
        assert calls == [
            ("get", "share", ENTITY, "k", "d"),
            ("update", "share", ENTITY, {"a": 1}, True),
            ("delete", "share", ENTITY, None),
        ]
        with pytest.raises(TypeError):
            StorageDriver(HOST)  # type: ignore[abstract]

    @pytest.mark.parametrize("front", [DriverPrivateData, lambda s: PrivateDriverData("share", s)])
    @pytest.mark.parametrize(
        "entity", ["", "111", None, 5, ["fake"], ENTITY[:-1], ENTITY + "0", "../" + ENTITY]
    )
    def test_what_is_no_uuid_is_refused(
        self, storage: StoreStorageDriver, front: Any, entity: Any
    ) -> None:
        data = front(storage)
        calls: list[Callable[[], object]] = [
            lambda: data.get(entity),
            lambda: data.update(entity, {"a": "1"}),
            lambda: data.delete(entity),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="no UUID"):
                call()
        assert storage.store.collections() == []
