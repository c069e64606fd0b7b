"""Looking back over the segments of a journal."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import retention
from filestore.codec import canonical
from filestore.engine import journal, record
from filestore.engine.checkpoint import Checkpointer
from filestore.engine.files import FileBackend
from filestore.errors import Corrupt, HistoryGone
from filestore.model import Edit, Key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filestore.model import Commit

KEYS = [Key("volumes", f"v{number}") for number in range(8)]


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 2048)


def scribble(backend: FileBackend, moves: random.Random, commits: int) -> None:
    for _ in range(commits):
        keys = moves.sample(KEYS, moves.randrange(1, 4))
        wanted = (moves.choice([None, canonical({"n": moves.randrange(99)})]) for _ in keys)
        backend.apply([Edit(key, after) for key, after in zip(keys, wanted, strict=True)])


def filtered(backend: FileBackend, since: int, key: Key) -> list[Commit]:
    told = (
        commit._replace(ops=tuple(op for op in commit.ops if op.key == key))
        for commit in backend.changes(since)
    )
    return [commit for commit in told if commit.ops]


def segments(root: Path) -> list[Path]:
    return sorted(root.glob(".filestore/journal/*.log"))


def test_changes_of_a_document_are_found_in_every_segment(tmp_path: Path) -> None:
    moves = random.Random(1)
    backend, other = FileBackend(tmp_path), FileBackend(tmp_path)
    for _ in range(6):
        scribble(backend, moves, 20)
        scribble(other, moves, 5)
        for since in (0, backend.revision // 2, backend.revision - 3):
            for key in KEYS:
                assert list(backend.changes(since, key)) == filtered(backend, since, key)
                assert list(other.changes(since, key)) == filtered(backend, since, key)
    assert len(segments(tmp_path)) > 5
    backend.close()
    other.close()
    for readonly in (True, False):
        backend = FileBackend(tmp_path, readonly=readonly)
        assert backend.horizon == 0
        assert list(backend.changes(0, KEYS[0])) == filtered(backend, 0, KEYS[0])
        backend.close()


def test_the_past_is_read_where_nobody_may_write(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "state") as store:
        for number in range(30):
            store["volumes"]["a"] = {"n": number, "padding": "x" * 100}
    (tmp_path / "state" / ".filestore" / "state").unlink()  # as after a reboot
    with (
        filestore.open(tmp_path / "state", readonly=True) as store,
        store.at(revision=3) as past,
    ):
        assert past["volumes"]["a"]["n"] == 2
        assert len(list(store.changes())) == 30


def test_what_was_trimmed_away_is_gone_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DEFAULT", retention.Retention(bytes=0))
    with filestore.open(tmp_path / "state") as store:
        volumes = store["volumes"]
        volumes["quiet"] = {"n": -1}
        volumes["a"] = {"n": -1}
        past = store.at(revision=2)
        assert past["volumes"]["a"] == {"n": -1}
        for number in range(31):
            volumes["a"] = {"n": number, "padding": "x" * 500}
        store.checkpoint()
        oldest = store.horizon
        assert 2 < oldest < store.revision
        for read in (
            lambda: past["volumes"]["a"],
            lambda: past["volumes"]["quiet"],
            lambda: list(past["volumes"]),
            past.collections,
            lambda: store.at(revision=oldest - 1),
        ):
            with pytest.raises(HistoryGone) as caught:
                read()
            assert caught.value.revision == oldest
        with store.at(revision=oldest) as kept:
            assert kept["volumes"]["quiet"] == {"n": -1}
            assert kept["volumes"]["a"]["n"] == oldest - 3


def test_damage_in_the_history_is_reported_not_passed_over(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "state") as store:
        for number in range(60):
            store["volumes"]["a"] = {"n": number}
            store["volumes"]["b"] = {"n": number}
        store.checkpoint()
        second = segments(tmp_path / "state")[1]
        whole = second.read_bytes()
        at = whole.index(b'"document"')
        second.write_bytes(whole[:at] + b"!" + whole[at + 1 :])
    with filestore.open(tmp_path / "state") as store:
        with pytest.raises(Corrupt, match="damaged"):
            list(store.changes(collection="volumes", id="a"))
        with store.at(revision=0) as past, pytest.raises(Corrupt, match="damaged"):
            past["volumes"]["a"]
        with store.at(revision=store.revision - 10) as past:
            assert past["volumes"]["a"] == {"n": 54}


def test_a_documents_changes_are_not_sought_in_the_rest_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FileBackend(tmp_path)
    scribble(backend, random.Random(2), 100)
    assert list(backend.changes(0, KEYS[0]))
    read: list[int] = []
    original = journal.Journal.lines

    def lines(
        self: journal.Journal, number: int, start: int, stop: int, seed: int
    ) -> Iterator[record.Line]:
        read.append(stop - start)
        return original(self, number, start, stop, seed)

    monkeypatch.setattr(journal.Journal, "lines", lines)
    found = list(backend.changes(0, KEYS[1]))
    assert len(read) == len(found)
    scribble(backend, random.Random(3), 1)
    list(backend.changes(backend.revision - 1, KEYS[1]))
    assert sum(read[len(found) :]) < 4096  # the new lines, once
    backend.close()


def settings(root: Path, line: str) -> None:
    """Add a line to a store's settings."""
    with (root / "filestore.yaml").open("a") as file:
        file.write(line + "\n")


def test_the_newest_commits_are_kept_and_not_many_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FEED_SECONDS", -1.0)
    monkeypatch.setattr(retention, "LEAST_COMMITS", 4)
    root = tmp_path / "state"
    filestore.open(root).close()
    settings(root, "retention: {revisions: 80}")
    with filestore.open(root) as store:
        for number in range(300):
            store["volumes"][f"v{number % 3}"] = {"n": number}
            if number % 7 == 0:
                store.checkpoint()
        store.checkpoint()
        assert 80 <= store.revision - store.horizon <= 80 + 10 + 7
        for revision in (store.horizon, store.revision - 80):
            with store.at(revision=revision) as past:
                assert len(past["volumes"]) == 3
        assert store.check() == []
        assert len(list(store.changes())) == store.revision - store.horizon


def test_old_commits_go_when_younger_ones_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "state"
    filestore.open(root).close()
    settings(root, "retention: {age: 1d}")
    now = [1_700_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    with filestore.open(root) as store:
        for hour in range(100):
            now[0] += 3600
            store["volumes"]["v"] = {"hour": hour}
            store.checkpoint()
        assert 24 <= store.revision - store.horizon <= 24 + 6
        assert min(change.time for change in store.changes()) <= now[0] - 86400
        assert store.check() == []


def test_a_store_without_history_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FEED_SECONDS", -1.0)
    root = tmp_path / "state"
    filestore.open(root).close()
    settings(root, "history: none")
    with filestore.open(root) as store, filestore.open(root, readonly=True) as other:
        seen: list[int] = []
        for number in range(300):
            store["volumes"]["v"] = {"n": number}
            seen += [change.revision for change in other.changes(seen[-1] if seen else 0)]
            if number % 50 == 49:
                store.checkpoint()
        store.checkpoint()
        assert seen == [*range(1, 301)]
        assert store.horizon == store.revision == 300
        assert len(segments(root)) <= 2
        with store.at(revision=300) as past:
            assert past["volumes"]["v"] == {"n": 299}
        for look in (lambda: store.at(revision=299), lambda: store.undo(300)):
            with pytest.raises(HistoryGone):
                look()
        assert [one.revision for one in store.blame("volumes", "v")] == [None]
        assert store.check() == []
    with filestore.open(root) as store:
        assert store["volumes"]["v"] == {"n": 299}
        assert store["volumes"].put("v", {}) == 301


def test_readers_go_on_while_segments_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DEFAULT", retention.Retention(bytes=4 * 131072))
    with filestore.open(tmp_path / "state") as store, filestore.open(tmp_path / "state") as other:
        with other.snapshot() as view:
            for number in range(60):
                store["volumes"]["v"] = {"n": number, "padding": "x" * 900}
                store.checkpoint()
                feed = other.changes(store.horizon)
                first = next(feed)
                assert first.revision == store.horizon + 1
                assert other["volumes"]["v"]["n"] == number
                assert other.revision == number + 1
            assert list(view["volumes"]) == []
        assert store.horizon > 10


def test_writers_go_on_while_the_journal_is_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DEFAULT", retention.Retention(bytes=16384))
    root, count = tmp_path / "state", 300
    with filestore.open(root, durability="normal") as store:
        with filestore.open(root, durability="normal") as other:
            sync = Checkpointer.sync
            numbers = itertools.count()
            between: list[int | None] = []

            def sync_late(self: Checkpointer, keys: set[Key]) -> None:
                # Syncing the files is what takes long: who writes then need not wait for it.
                between.append(other["volumes"].put("between", {"n": next(numbers)}))
                sync(self, keys)

            def write() -> None:
                for number in range(count):
                    other["volumes"]["v"] = {"n": number, "padding": "x" * 90}

            with ThreadPoolExecutor(1) as pool:
                with monkeypatch.context() as patch:
                    patch.setattr(Checkpointer, "sync", sync_late)
                    writing = pool.submit(write)
                    while not writing.done() or len(between) < 20:
                        store["volumes"]["w"] = {"n": next(numbers)}
                        store.checkpoint()
                writing.result()
            assert None not in between
        store.checkpoint()
        assert store["volumes"]["v"]["n"] == count - 1
        assert store.horizon > 100
        kept = [commit.revision for commit in _backend(store).changes(store.horizon)]
        assert kept == [*range(store.horizon + 1, store.revision + 1)]
        assert store.check() == []


def _backend(store: filestore.Store) -> FileBackend:
    assert isinstance(store._backend, FileBackend)
    return store._backend
