"""Processes and threads that keep private data of the same entities lose nothing of each other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore.private_data import StoreStorageDriver
from tests.processes.actors import assert_sound

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.processes.actors import Actor

HOST = "node1@alpha"
ENTITY = "4fcf2247-7812-48cf-a1e2-ab09e0045d9d"
ROUNDS = 40


def keep(pipe: Connection, path: Path | str, durability: str, name: str) -> None:
    """Three threads set, change and delete keys of their own in one entity."""
    raised: list[BaseException] = []

    def run(mine: str) -> None:
        try:
            data = StoreStorageDriver(store, HOST)
            for n in range(ROUNDS):
                data.update(ENTITY, {mine: n, f"{mine}-{n}": n})
                assert data.get(ENTITY, mine) == str(n)
                if n:
                    data.delete(ENTITY, [f"{mine}-{n - 1}"])
        except BaseException as error:  # noqa: BLE001  # told to the test, whatever it is
            raised.append(error)

    with filestore.open(path, durability=durability, lock_timeout=60.0) as store:
        pipe.send("ready")
        pipe.recv()
        threads = [threading.Thread(target=run, args=(f"{name}.{n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if raised:
        raise raised[0]


@pytest.mark.parametrize("codec", ["json", "yaml"])
def test_concurrent_updates_and_deletes_of_one_entity_are_all_kept(
    path: Path, start: Callable[..., Actor], codec: str
) -> None:
    filestore.open(path, codec=codec).close()
    names = ["a", "b", "c"]
    actors = [
        start(keep, path, durability, name)
        for durability, name in zip(["full", "normal", "off"], names, strict=True)
    ]
    for actor in actors:
        assert actor.hear() == "ready"
    for actor in actors:
        actor.say("go")
    for actor in actors:
        actor.end()
    expected: dict[str, Any] = {}
    for mine in (f"{name}.{n}" for name in names for n in range(3)):
        expected[mine] = expected[f"{mine}-{ROUNDS - 1}"] = str(ROUNDS - 1)
    state = assert_sound(path)
    assert state == {(f"driver_data/{HOST}", ENTITY): expected}


def test_so_are_those_in_a_database(tmp_path: Path, start: Callable[..., Actor]) -> None:
    url = f"sqlite:///{tmp_path}/private.db"
    filestore.open(url).close()
    actors = [start(keep, url, "full", name) for name in ("a", "b")]
    for actor in actors:
        assert actor.hear() == "ready"
    for actor in actors:
        actor.say("go")
    for actor in actors:
        actor.end()
    with filestore.open(url) as store:
        kept = StoreStorageDriver(store, HOST).get(ENTITY)
        assert len(kept) == 2 * 3 * 2
        assert set(kept.values()) == {str(ROUNDS - 1)}
        assert store.check() == []
