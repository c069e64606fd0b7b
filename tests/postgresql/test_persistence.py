"""The contract of persistence plugins over a real PostgreSQL server, and what outages leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import filestore as cl
from tests.contract.persistence import SoftDeletes, StoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestPostgresql(StoreContract):
    @pytest.fixture(autouse=True)
    def where_to(self, url: str) -> None:
        self.url = url

    def config(self, where: Path) -> dict[str, Any]:
        return {"storage": "db", "connection": self.url}


class TestPostgresqlSoftDeletes(SoftDeletes, TestPostgresql):
    def config(self, where: Path) -> dict[str, Any]:
        return {**super().config(where), "soft_deletes": True}


@pytest.fixture
def backend(mortal: Any) -> Iterator[cl.Backend]:
    connection = mortal.url(mortal.schema())
    cl.setup(persistence_config={"storage": "db", "connection": connection})
    yield cl.Backend(volume_backend_name="lvm")
    cl.Backend.global_teardown()


def test_a_server_that_is_down_is_a_clear_error_and_comes_back(mortal, backend):
    volume = backend.create_volume(1, name="v")
    volume.create_snapshot("s")
    dump = cl.dumps()
    mortal.stop()
    with pytest.raises(cl.StorageError):
        cl.load(dump, save=True)
    with pytest.raises(cl.StorageError):
        cl.Volume.get_by_id(volume.id)
    volume.size = 2
    with pytest.raises(cl.StorageError):
        volume.save()
    assert volume.obj_what_changed() == {"size"}
    mortal.start()
    assert cl.Volume.get_by_id(volume.id).size == 1
    volume.save()
    assert cl.Volume.get_by_id(volume.id).size == 2


def test_a_server_that_goes_in_the_middle_of_a_load_has_nothing_of_it(mortal, backend):
    for number in range(3):
        backend.create_volume(1, name=str(number)).create_snapshot("s")
    dump = cl.dump()
    plugin = cl.Backend.persistence
    for name in plugin.store.collections():
        plugin.store[name].clear()
    set_snapshot = plugin.set_snapshot

    def set_and_stop(snapshot: Any) -> None:
        set_snapshot(snapshot)
        mortal.stop()

    plugin.set_snapshot = set_and_stop  # type: ignore[method-assign]  # that is the outage
    with pytest.raises(cl.StorageError):
        cl.load(dump, save=True)
    mortal.start()
    assert plugin.get_volumes() == plugin.get_snapshots() == []
    plugin.set_snapshot = set_snapshot  # type: ignore[method-assign]  # and its end
    cl.load(dump, save=True)
    assert len(plugin.get_snapshots()) == 3
