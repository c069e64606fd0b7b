"""The memory backend: the contract, and what only it promises."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

import pytest

from filestore import Closed, FilestoreError, Store
from filestore.backends.memory import MemoryBackend
from filestore.codec import canonical
from filestore.model import Edit, Key
from tests.contract.backend import GRACE, BackendContract, Worker, put, value

if TYPE_CHECKING:
    from pathlib import Path

A = Key("volumes", "a")


class TestMemoryBackend(BackendContract):
    def make(
        self, where: Path, *, readonly: bool = False, lock_timeout: float = 10.0
    ) -> MemoryBackend:
        return MemoryBackend(readonly=readonly, lock_timeout=lock_timeout)


def test_the_feed_keeps_the_newest_commits_up_to_their_number() -> None:
    backend = MemoryBackend(history_commits=3)
    for n in range(5):
        put(backend, A, n)
    assert [commit.revision for commit in backend.changes(0)] == [3, 4, 5]
    assert backend.stats()["history_commits"] == 3


def test_the_feed_keeps_the_newest_commits_up_to_their_bytes() -> None:
    size = len(canonical({"size": 0}))
    backend = MemoryBackend(history_bytes=4 * size)
    for n in range(5):
        put(backend, A, n)
    assert [commit.revision for commit in backend.changes(0)] == [4, 5]
    assert backend.stats()["history_bytes"] == 4 * size


def test_a_commit_larger_than_the_history_is_made_all_the_same() -> None:
    backend = MemoryBackend(history_bytes=1)
    put(backend, A, 1)
    assert list(backend.changes(0)) == []
    assert backend.revision == 1
    assert backend.stats()["documents"] == 1
    assert backend.stats()["history_bytes"] == 0


def test_two_edits_of_one_document_are_a_mistake() -> None:
    backend = MemoryBackend()
    with pytest.raises(ValueError, match="same document"):
        backend.apply([Edit(A, canonical({})), Edit(A, None)])
    assert backend.revision == 0


def test_closing_while_a_writer_is_about_refuses_its_commit() -> None:
    backend = MemoryBackend()

    def close_and_store(_: bytes | None) -> bytes:
        backend.close()
        return canonical({})

    with backend.exclusive():
        with pytest.raises(Closed):
            backend.apply([Edit(A, close_and_store)])
        with pytest.raises(Closed):
            backend.apply([Edit(A, canonical({}))])


def test_the_clock_dates_commits() -> None:
    backend = MemoryBackend(clock=lambda: 1234.5)
    commit = backend.apply([Edit(A, canonical({}))])
    assert commit is not None
    assert commit.time == 1234.5


def test_two_memories_share_nothing() -> None:
    first, second = MemoryBackend(), MemoryBackend()
    put(first, A, 1)
    assert second.get(A) is None


def test_closing_lets_go_of_the_documents() -> None:
    backend = MemoryBackend()
    put(backend, A, 1)
    backend.close()
    assert backend._documents == {}


def test_a_forked_child_has_locks_of_its_own() -> None:
    backend = MemoryBackend(lock_timeout=GRACE)
    put(backend, A, 1)
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with backend.exclusive():
            holding.set()
            assert release.wait(GRACE)

    holder = Worker(hold)
    holder.start()
    assert holding.wait(GRACE)
    with catch_warnings():  # of newer Pythons: the child uses what the threads may have held
        simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            put(backend, A, 2)
            os._exit(0 if value(backend, A) == 2 else 1)
        finally:
            os._exit(2)
    release.set()
    holder.done()
    assert os.waitpid(child, 0)[1] == 0
    assert value(backend, A) == 1


def test_a_child_forked_inside_a_transaction_has_no_part_in_it() -> None:
    with Store(MemoryBackend()) as store:
        with store.transaction() as tx:
            tx["volumes"]["a"] = {}
            child = os.fork()
            if child == 0:
                try:
                    with suppress(FilestoreError):
                        tx["volumes"]["b"] = {}
                        os._exit(1)
                    os._exit(0 if store.collections() == [] else 1)
                finally:
                    os._exit(2)
            assert os.waitpid(child, 0)[1] == 0
        assert dict(store["volumes"]) == {"a": {}}
