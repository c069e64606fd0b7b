"""Stores of every kind, with volumes to back up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore.backup import StoreDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filestore import Store


@pytest.fixture(params=["memory", "json", "yaml", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    where: dict[str, Any] = {"path": tmp_path / "state", "durability": "off"}
    if request.param == "memory":
        where = {"path": "memory:"}
    elif request.param == "sqlite":
        where = {"path": "sqlite://"}
    else:
        where["codec"] = request.param
    with filestore.open(**where) as store:
        yield store
        assert store.check() == []


@pytest.fixture
def db(store: Store) -> StoreDatabase:
    return StoreDatabase(store)
