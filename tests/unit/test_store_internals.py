"""What a store does when its ground misbehaves: edits from outside, lost feeds, failing reads."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import pytest

from filestore import ANY, Change, Conflict, Edit, Key, Op, StorageError, Store
from filestore import subscription as subscription_module
from filestore.backends.memory import MemoryBackend
from filestore.codec import canonical, decode
from tests.contract.backend import GRACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore import Commit

A = Key("volumes", "a")
B = Key("volumes", "b")


class Outside(MemoryBackend):
    """Memory that somebody edits without asking for the write lock, as an editor does a file."""

    def edit_from_outside(self, key: Key, document: dict[str, Any] | None) -> None:
        entry = self.get(key)
        before = None if entry is None else entry.data
        after = None if document is None else canonical(document)
        self._commit((Op(key, before, after),), None, None)


@pytest.fixture
def backend() -> Outside:
    return Outside()


@pytest.fixture
def store(backend: Outside) -> Iterator[Store]:
    with Store(backend) as store:
        yield store


class TestAnEditFromOutsideDuringATransaction:
    @pytest.mark.parametrize("edited", [{"size": 7}, None])
    def test_of_what_it_read_and_wrote_is_a_conflict(
        self, store: Store, backend: Outside, edited: dict[str, Any] | None
    ) -> None:
        volumes = store["volumes"]
        volumes["a"] = {"size": 1}
        with pytest.raises(Conflict) as caught, store.transaction():  # noqa: PT012  # the block
            volumes["a"] = {"size": volumes["a"]["size"] + 1}
            volumes["b"] = {"size": 1}
            backend.edit_from_outside(A, edited)
        assert caught.value.keys == (A,)
        assert dict(volumes) == ({} if edited is None else {"a": edited})

    def test_that_makes_what_it_found_absent_is_a_conflict(
        self, store: Store, backend: Outside
    ) -> None:
        with pytest.raises(Conflict), store.transaction():  # noqa: PT012  # the block
            store["volumes"].setdefault("a", {"size": 1})
            backend.edit_from_outside(A, {"size": 7})
        assert store["volumes"]["a"] == {"size": 7}

    def test_of_what_it_only_read_comes_after_it(self, store: Store, backend: Outside) -> None:
        volumes = store["volumes"]
        volumes["a"] = {"size": 1}
        with store.transaction():
            volumes["b"] = {"size": volumes["a"]["size"] + 1}
            backend.edit_from_outside(A, {"size": 7})
            assert volumes["a"] == {"size": 7}
        assert volumes == {"a": {"size": 7}, "b": {"size": 2}}

    def test_counts_from_the_first_reading(self, store: Store, backend: Outside) -> None:
        volumes = store["volumes"]
        volumes["a"] = {"size": 1}
        with pytest.raises(Conflict), store.transaction():  # noqa: PT012  # the block
            size = volumes["a"]["size"]
            backend.edit_from_outside(A, {"size": 7})
            assert volumes["a"] == {"size": 7}
            volumes["a"] = {"size": size + 1}


def test_edits_given_to_a_transaction_are_taken_as_one(store: Store) -> None:
    with store.transaction() as tx:
        tx.apply([Edit(A, canonical({"size": 1}), None)])
        with pytest.raises(Conflict) as caught:
            tx.apply(
                [
                    Edit(B, canonical({"size": 1})),
                    Edit(A, canonical({"size": 2}), None),
                ]
            )
        assert caught.value.keys == (A,)
        tx.apply([Edit(A, lambda data: canonical({"was": decode(data or b"")}), ANY)])
    assert dict(store["volumes"]) == {"a": {"was": {"size": 1}}}


class Forgetful(MemoryBackend):
    """Memory whose feed can lose track, as a journal does that another process trimmed."""

    def lose_track(self) -> None:
        for observer in self._observers:
            observer(None)


def test_a_view_whose_feed_lost_track_raises_instead_of_guessing() -> None:
    backend = Forgetful()
    with Store(backend) as store:
        store["volumes"]["a"] = {}
        view = store.snapshot()
        backend.lose_track()
        for call in (
            lambda: view["volumes"].get("a"),
            lambda: list(view["volumes"]),
            view.collections,
        ):
            with pytest.raises(Conflict, match="another snapshot"):
                call()
        with store.snapshot() as again:
            assert again["volumes"] == {"a": {}}


def test_a_watcher_whose_feed_lost_track_reads_the_changes_again() -> None:
    backend = Forgetful()
    heard: queue.Queue[Change] = queue.Queue()
    with Store(backend) as store, store.watch(heard.put):
        backend.lose_track()
        store["volumes"]["a"] = {"n": 1}
        assert heard.get(timeout=GRACE).after == {"n": 1}
    assert heard.empty()


def test_a_watcher_ends_with_its_backend() -> None:
    backend = MemoryBackend()
    errors: list[BaseException] = []
    with Store(backend) as store:
        subscription = store.watch(lambda change: None, on_error=errors.append)
        backend.close()
        subscription.wait()
    assert errors == []


class Behind(MemoryBackend):
    """Memory that tells observers of a commit only when asked, as a second handle does."""

    def __init__(self) -> None:
        super().__init__()
        self._untold: list[Commit] = []

    def subscribe(self, observer: Callable[[Sequence[Commit] | None], None]) -> Callable[[], None]:
        end = super().subscribe(observer)
        # What was committed before is news all the same to one that has yet to catch up.
        observer(tuple(self._untold))
        return end

    def _remember(self, commit: Commit) -> None:
        super()._remember(commit)
        self._untold.append(commit)


def test_a_view_is_not_taken_back_by_commits_that_it_already_shows() -> None:
    with Store(Behind()) as store:
        store["volumes"]["a"] = {"n": 1}
        store["volumes"]["a"] = {"n": 2}
        with store.snapshot() as view:
            store["volumes"]["a"] = {"n": 3}
            assert view["volumes"]["a"] == {"n": 2}
            assert view.revision == 2


class Failing(MemoryBackend):
    """Memory whose feed cannot be read for a while."""

    failures = 1

    def changes(self, since: int) -> Iterator[Commit]:
        if self.failures:
            self.failures -= 1
            raise StorageError("input/output error", errno=5)
        return super().changes(since)


def test_a_watcher_reports_a_feed_that_fails_and_delivers_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription_module, "RETRY_SECONDS", 0.0)
    heard: queue.Queue[Change] = queue.Queue()
    errors: queue.Queue[BaseException] = queue.Queue()
    with Store(Failing()) as store, store.watch(heard.put, on_error=errors.put):
        store["volumes"]["a"] = {"n": 1}
        assert isinstance(errors.get(timeout=GRACE), StorageError)
        assert heard.get(timeout=GRACE).after == {"n": 1}
    assert errors.empty()
    assert heard.empty()


def test_a_watcher_that_fell_behind_what_is_kept_goes_on_with_what_is() -> None:
    backend = MemoryBackend(history_commits=2)
    with Store(backend) as store:
        for n in range(5):
            store["volumes"]["a"] = {"n": n}
        heard: queue.Queue[Change] = queue.Queue()
        with store.watch(heard.put, since=0):
            assert [heard.get(timeout=GRACE).revision for _ in range(2)] == [4, 5]
            store["volumes"]["a"] = {"n": 5}
            assert heard.get(timeout=GRACE).revision == 6


def test_a_watcher_passes_over_revisions_of_which_nothing_is_kept() -> None:
    backend = MemoryBackend(history_bytes=0)
    with Store(backend) as store:
        store["volumes"]["a"] = {"n": 1}
        heard: queue.Queue[Change] = queue.Queue()
        with store.watch(heard.put, since=0) as subscription:
            # Two more that nobody will hear of; the subscription arrives at the end all the same.
            store["volumes"]["a"] = {"n": 2}
            while subscription.revision < store.revision:
                pass
        assert heard.empty()
