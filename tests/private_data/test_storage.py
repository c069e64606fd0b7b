"""Driver private data over every kind of store."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import InvalidKey, ReadOnly
from filestore.private_data import (
    DriverPrivateData,
    PrivateDriverData,
    SqlStorageDriver,
    StorageDriver,
    StoreStorageDriver,
)
from tests.contract.private_data import (
    ENTITY,
    HOST,
    OTHER_HOST,
    PrivateDataContract,
    StorePrivateDataContract,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore import Store


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
