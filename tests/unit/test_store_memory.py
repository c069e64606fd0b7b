"""The store's contract over the memory backend, some of whose documents can be spoilt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from filestore import Corrupt, Key, Store
from filestore.backend import InMemory
from filestore.backends.memory import MemoryBackend
from tests.contract.store import StoreContract

if TYPE_CHECKING:
    from pathlib import Path

    from filestore.backend import Entry, Indexing


class Spoiled(InMemory):
    """Tells indexes what cannot be read."""

    def __init__(self, unreadable: set[tuple[str, str]]) -> None:
        self._unreadable = unreadable

    def edited(self, collection: str) -> set[str]:
        return {id for name, id in self._unreadable if name == collection}


class Spoilable(MemoryBackend):
    """Memory in which documents can become unreadable, as half-saved files do."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.unreadable: set[tuple[str, str]] = set()

    @property
    def indexing(self) -> Indexing | None:
        return Spoiled(self.unreadable)

    def get(self, key: tuple[str, str]) -> Entry | None:
        if key in self.unreadable:
            raise Corrupt(
                f"{key[0]}/{key[1]} cannot be read", key=Key(*key), path=f"memory:{key}", line=1
            )
        return super().get(key)


class TestStoreOverMemory(StoreContract):
    def open(
        self,
        where: Path,
        *,
        actor: str | None = None,
        readonly: bool = False,
        lock_timeout: float = 10.0,
    ) -> Store:
        return Store(Spoilable(readonly=readonly, lock_timeout=lock_timeout), actor=actor)

    def spoil(self, store: Store, collection: str, id: str) -> None:
        assert isinstance(store._backend, Spoilable)
        store._backend.unreadable.add((collection, id))


def test_the_error_of_an_iteration_names_every_unreadable_document() -> None:
    backend = Spoilable()
    with Store(backend) as store:
        store["volumes"].update({id: {} for id in "abcd"})
        backend.unreadable |= {("volumes", "b"), ("volumes", "d")}
        with pytest.raises(Corrupt) as caught:
            list(store["volumes"].values())
    assert caught.value.key == Key("volumes", "b")
    assert caught.value.__notes__ == ["also unreadable: volumes/d cannot be read"]
