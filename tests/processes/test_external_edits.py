"""Editors, git and scripts beside processes that have the store open."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import Corrupt, Origin
from filestore.engine.files import FileBackend
from filestore.engine.recorder import Recorder
from tests.processes.actors import FORK, assert_sound, replayed, state_of, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from filestore import Change, Store
    from tests.processes.actors import Actor

OVERFLOW = Path("/proc/sys/fs/inotify/max_queued_events")


def watching(store: Store) -> bool:
    return bool(store.stats()["watching"])


def settled(store: Store) -> bool:
    """Whether the tree was gone through since events are heard."""
    stats = store.stats()
    return bool(stats["watching"]) and (stats["passes"] > 0 or not stats["recorder"])


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with filestore.open(path) as store:
        store["volumes"]["a"] = {"n": 0}
        until(lambda: settled(store))
        yield store


def on_disk(path: Path) -> dict[tuple[str, str], Any]:
    return {
        (str(file.parent.relative_to(path)), file.stem): json.loads(file.read_text())
        for file in path.rglob("*.json")
        if ".filestore" not in file.parts and ".git" not in file.parts
    }


def save_in_place(file: Path, document: Any) -> None:
    file.write_text(json.dumps(document))


def save_by_rename(file: Path, document: Any) -> None:
    other = file.with_name(f".{file.name}.swp")
    other.write_text(json.dumps(document))
    other.replace(file)


def save_as_vim_does(file: Path, document: Any) -> None:
    backup = file.with_name(f"{file.name}~")
    file.rename(backup)
    file.write_text(json.dumps(document))
    backup.unlink()


@pytest.mark.parametrize("save", [save_in_place, save_by_rename, save_as_vim_does])
def test_a_saved_file_is_a_change_with_both_documents(
    path: Path, store: Store, save: Callable[[Path, Any], None]
) -> None:
    changes: list[Change] = []
    store.watch(changes.append)
    for n in range(1, 6):
        save(path / "volumes/a.json", {"n": n})
        until(lambda n=n: changes and changes[-1].after == {"n": n})
        assert store["volumes"]["a"] == {"n": n}
    assert {change.origin for change in changes} == {Origin.EXTERNAL}
    assert changes[-1].before is None or changes[-1].before == {"n": 4}
    assert replayed(store) == state_of(store)


def test_new_folders_are_followed_moved_and_made_anew(path: Path, store: Store) -> None:
    def recorded() -> bool:
        told = {(change.key.collection, change.key.id): change.after for change in store.changes()}
        return {key: after for key, after in told.items() if after is not None} == on_disk(path)

    (path / "one/two/three").mkdir(parents=True)
    save_in_place(path / "one/two/three/x.json", {"n": 1})
    until(recorded)
    save_in_place(path / "one/two/three/x.json", {"n": 2})
    until(recorded)
    before = store.revision
    (path / "one").rename(path / "uno")
    until(recorded)
    moved = {change.key.collection for change in store.changes(before)}
    assert moved == {"one/two/three", "uno/two/three"}
    save_in_place(path / "uno/two/three/x.json", {"n": 3})
    until(recorded)
    shutil.rmtree(path / "uno")
    until(recorded)
    (path / "uno/two/three").mkdir(parents=True)
    save_in_place(path / "uno/two/three/x.json", {"n": 4})
    until(recorded)
    shutil.copytree(path / "uno", path.parent / "outside")
    (path.parent / "outside").rename(path / "inside")
    until(recorded)
    assert replayed(store) == state_of(store) == on_disk(path)


def test_a_tree_that_takes_the_place_of_the_whole_store_is_followed(
    path: Path, store: Store
) -> None:
    copy = path.parent / "copy"
    with store.transaction():
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns(".filestore"))
    save_in_place(copy / "volumes/a.json", {"n": "other"})
    path.rename(path.parent / "gone")
    copy.rename(path)
    until(lambda: store["volumes"].get("a") == {"n": "other"})
    until(lambda: watching(store))
    save_in_place(path / "volumes/a.json", {"n": "edited"})
    until(lambda: store["volumes"].get("a") == {"n": "edited"})


def test_a_half_saved_file_hides_no_other_and_is_back_when_it_is_mended(
    path: Path, store: Store
) -> None:
    store["volumes"]["b"] = {"n": 0}
    (path / "volumes/a.json").write_text("<<<<<<< ours\n")

    def broken() -> bool:
        try:
            store["volumes"]["a"]
        except Corrupt:
            return True
        return False

    until(broken)
    save_in_place(path / "volumes/b.json", {"n": 1})
    until(lambda: store["volumes"]["b"] == {"n": 1})
    assert [problem.kind for problem in store.check()] == ["corrupt"]
    save_in_place(path / "volumes/a.json", {"n": 2})
    until(lambda: not broken())
    assert store["volumes"]["a"] == {"n": 2}
    until(lambda: last_documents(store) == state_of(store))


def test_own_commits_are_not_taken_for_edits(path: Path, store: Store) -> None:
    for n in range(300):
        store["volumes"][f"v{n % 7}"] = {"n": n}
    store["volumes"].clear()
    save_in_place(path / "volumes/last.json", {"n": 1})
    until(lambda: "last" in store["volumes"])
    until(lambda: store.stats()["external_commits"] == 1)
    assert sum(1 for change in store.changes() if change.origin is Origin.EXTERNAL) == 1
    assert replayed(store) == state_of(store)


def test_an_edit_in_place_just_after_a_put_is_seen(path: Path, store: Store) -> None:
    file = path / "volumes/a.json"
    for n in range(100, 150):
        store["volumes"]["a"] = {"n": n}
        assert store["volumes"]["a"] == {"n": n}
        with file.open("r+") as stream:
            stream.write(file.read_text().replace(str(n), str(n + 100)))
        until(lambda n=n: store["volumes"]["a"] == {"n": n + 100})
        until(lambda n=n: list(store.changes())[-1].after == {"n": n + 100})
    assert replayed(store) == state_of(store)


def put_when_told(pipe: Connection, path: Path) -> None:
    with filestore.open(path, watch=False) as store:
        while (n := pipe.recv()) != "end":
            store["volumes"].get("a")
            pipe.send(store["volumes"].put("a", {"n": n}))


def remove(file: Path, document: Any) -> None:
    file.unlink()


def move_away(file: Path, document: Any) -> None:
    file.rename(file.with_name("a.json~"))


@pytest.mark.parametrize("change", [save_by_rename, remove, move_away])
@pytest.mark.parametrize("by_other", [False, True])
def test_an_edit_just_after_a_put_is_not_left_until_there_is_time(
    path: Path,
    store: Store,
    start: Callable[..., Actor],
    monkeypatch: pytest.MonkeyPatch,
    *,
    change: Callable[[Path, Any], None],
    by_other: bool,
) -> None:
    until(lambda: store.stats()["recorder"])
    work = Recorder.round
    monkeypatch.setattr(Recorder, "round", lambda self, *, idle: work(self, idle=idle and False))
    other = start(put_when_told, path)
    for n in range(1, 20):
        if by_other:
            other.ask(n)
        else:
            store["volumes"].get("a")
            store["volumes"]["a"] = {"n": n}
        change(path / "volumes/a.json", {"n": -n})
        after = None if change is not save_by_rename else {"n": -n}
        until(
            lambda after=after, n=n: (
                [store.revision, list(store.changes())[-1].after] == [1 + 2 * n, after]
            )
        )
    other.say("end")
    other.end()
    assert replayed(store) == state_of(store)


def test_without_events_edits_are_found_by_going_through_the_tree(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filestore.engine.watcher.POLL_SECONDS", 0.01)
    with filestore.open(path, watch=False) as store:
        store["volumes"]["a"] = {"n": 0}
        until(lambda: store.stats()["passes"])
        save_in_place(path / "volumes/b.json", {"n": 1})
        until(lambda: store.revision == 2)
        stats = store.stats()
        assert (stats["watching"], stats["verifies"]) == (False, "stat")
        assert stats["watching_why_not"] == "watch=False"


def test_where_the_system_gives_no_events_the_store_says_so_and_does_without(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, folder: str) -> int:
        raise OSError(28, "No space left on device", folder)

    monkeypatch.setattr("filestore.engine.watcher.POLL_SECONDS", 0.01)
    monkeypatch.setattr("filestore.engine.notices.Notices.add", refuse)
    with filestore.open(path) as store:
        store["volumes"]["a"] = {"n": 0}
        until(lambda: store.stats()["passes"])
        save_in_place(path / "volumes/a.json", {"n": 1})
        assert store["volumes"]["a"] == {"n": 1}
        until(lambda: store.revision == 2)
        assert "max_user_watches" in store.stats()["watching_why_not"]


@pytest.mark.skipif(
    not os.access(OVERFLOW, os.W_OK), reason="only root may make the kernel's queue small"
)
def test_what_an_overflowing_queue_loses_is_found(path: Path) -> None:
    before = OVERFLOW.read_text()
    OVERFLOW.write_text("8")
    try:
        with filestore.open(path) as store:
            store["volumes"]["a"] = {"n": 0}
            until(lambda: settled(store))
            until(lambda: _flood(path, store))
            expected = on_disk(path)
            until(lambda: state_of(store) == expected)
            until(lambda: last_documents(store) == expected)
            assert replayed(store) == expected
            assert watching(store)
            (path / "late").mkdir()
            save_in_place(path / "late/x.json", {"n": 1})
            until(lambda: "x" in store["late"])
    finally:
        OVERFLOW.write_text(before)


def _flood(path: Path, store: Store) -> bool:
    for n in range(50):
        (path / f"new{n}").mkdir(exist_ok=True)
        for name in ("x", "y", "z"):
            save_in_place(path / f"new{n}/{name}.json", {"n": n, "was": store.revision})
    return bool(store.stats()["overflows"])


def keep_open(pipe: Connection, path: Path, writes: int) -> None:
    """Have the store open, collect its changes, write a little, and tell all at the end."""
    with filestore.open(path, actor=str(os.getpid())) as store:
        changes: list[Change] = []
        store.watch(changes.append, since=0)
        until(lambda: settled(store))
        pipe.send("open")
        for n in range(writes):
            store["own"][f"{os.getpid()}-{n}"] = {"n": n}
        while (told := pipe.recv()) != "end":
            expected, revision = told
            until(lambda revision=revision: store.revision >= revision)
            until(lambda expected=expected: state_of(store) == expected)
            until(lambda: changes[-1].revision == store.revision)
            pipe.send((store.revision, [(c.revision, c.key, c.before, c.after) for c in changes]))


@pytest.mark.parametrize("processes", [2, 4])
def test_every_process_sees_an_edit_and_one_records_it(
    path: Path, start: Callable[..., Actor], processes: int
) -> None:
    filestore.open(path).close()
    (path / "volumes").mkdir()
    actors = [start(keep_open, path, 20) for _ in range(processes)]
    for actor in actors:
        assert actor.hear() == "open"
    with filestore.open(path, watch=False, readonly=True) as store:
        for n in range(20):
            (path / f"volumes/v{n}.json").write_text(json.dumps({"n": n}))
            until(lambda n=n: any(c.key.id == f"v{n}" for c in store.changes()))
        until(lambda: len(store["own"]) == 20 * processes)
        expected, revision = state_of(store), store.revision
    heard = [actor.ask((expected, revision)) for actor in actors]
    assert all(one == heard[0] for one in heard)
    for actor in actors:
        actor.say("end")
        actor.end()
    assert assert_sound(path) == expected
    with filestore.open(path) as store:
        external = [change for change in store.changes() if change.origin is Origin.EXTERNAL]
        assert sorted(change.key.id for change in external) == sorted(f"v{n}" for n in range(20))


def test_when_the_recorder_is_killed_another_process_takes_over(
    path: Path, start: Callable[..., Actor]
) -> None:
    filestore.open(path).close()
    (path / "volumes").mkdir()
    first = start(keep_open, path, 0)
    assert first.hear() == "open"
    with filestore.open(path) as store:
        until(lambda: watching(store))
        assert not store.stats()["recorder"]
        first.process.kill()
        first.process.join()
        save_in_place(path / "volumes/a.json", {"n": 1})
        until(lambda: store.revision == 1)
        assert store.stats()["recorder"]
        assert replayed(store) == {("volumes", "a"): {"n": 1}}


def record_without_events(pipe: Connection, path: Path) -> None:
    with filestore.open(path, watch=False) as store:
        until(lambda: store.stats()["recorder"] and store.stats()["passes"])
        pipe.send("open")
        assert pipe.recv() == "end"


@pytest.fixture
def recorder(path: Path, start: Callable[..., Actor]) -> Actor:
    """A process that records, of a store without documents."""
    filestore.open(path).close()
    (path / "volumes").mkdir()
    actor = start(record_without_events, path)
    assert actor.hear() == "open"
    return actor


def test_a_rescan_returns_when_whoever_records_has_recorded_all(
    path: Path, recorder: Actor
) -> None:
    with filestore.open(path, watch=False) as store:
        for n in range(3):
            save_in_place(path / "volumes/a.json", {"n": n})
            assert store.rescan() == n + 1
            assert [change.after for change in store.changes(n)] == [{"n": n}]
        assert not store.stats()["recorder"]
    recorder.say("end")
    recorder.end()


def test_a_rescan_says_when_whoever_records_does_not_answer(path: Path, recorder: Actor) -> None:
    with filestore.open(path, watch=False, lock_timeout=0.1) as store:
        os.kill(recorder.process.pid or 0, signal.SIGSTOP)
        save_in_place(path / "volumes/a.json", {"n": 1})
        with pytest.raises(filestore.LockTimeout, match="does not answer"):
            store.rescan()
        recorder.process.kill()
        recorder.process.join()
        assert store.rescan() == 1
        assert store.stats()["recorder"]


def git(path: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(path), *arguments],
        check=True,
        capture_output=True,
    )


def test_a_checkout_of_another_branch_is_ingested_and_back(
    path: Path, start: Callable[..., Actor]
) -> None:
    with filestore.open(path) as store, store.transaction():
        for n in range(300):
            store["volumes"][f"v{n}"] = {"n": n}
    git(path, "init", "-b", "one")
    git(path, "add", "-A")
    git(path, "commit", "-m", "one")
    git(path, "checkout", "-b", "two")
    with filestore.open(path) as store, store.transaction():
        for n in range(300):
            if n % 3 == 0:
                del store["volumes"][f"v{n}"]
            elif n % 3 == 1:
                store["volumes"][f"v{n}"] = {"n": -n}
            store["more"][f"w{n}"] = {"n": n}
    git(path, "add", "-A")
    git(path, "commit", "-m", "two")
    actors = [start(keep_open, path, 0) for _ in range(2)]
    for actor in actors:
        assert actor.hear() == "open"
    with filestore.open(path, watch=False, readonly=True) as store:
        for branch in ("one", "two", "one"):
            git(path, "checkout", branch)
            expected = on_disk(path)
            until(lambda expected=expected: last_documents(store) == expected)
            heard = [actor.ask((expected, store.revision)) for actor in actors]
            assert heard[0] == heard[1]
        external = [c for c in store.changes() if c.origin is Origin.EXTERNAL]
        assert len({(c.key, c.revision) for c in external}) == len(external)
    for actor in actors:
        actor.say("end")
        actor.end()
    assert_sound(path)


def edit_all_the_time(pipe: Connection, path: Path) -> None:
    """Overwrite, save by renaming and delete, until told to end."""
    n = 0
    while not pipe.poll(0):
        n += 1
        file = path / f"volumes/v{n % 5}.json"
        try:
            if n % 11 == 0:
                file.unlink(missing_ok=True)
            else:
                save_by_rename(file, {"n": n, "by": "editor"})
        except FileNotFoundError:
            continue
    pipe.recv()


def test_writers_and_an_editor_end_in_agreement(path: Path, start: Callable[..., Actor]) -> None:
    filestore.open(path).close()
    (path / "volumes").mkdir()
    editor = start(edit_all_the_time, path)
    keepers = [start(keep_open, path, 0) for _ in range(2)]
    for keeper in keepers:
        assert keeper.hear() == "open"
    with filestore.open(path) as store:
        for n in range(300):
            try:
                store["volumes"].put(f"v{n % 5}", {"n": n, "by": "store"})
            except filestore.Conflict:
                continue
        editor.say("end")
        editor.end()
        expected = on_disk(path)
        until(lambda: state_of(store) == expected)
        until(lambda: last_documents(store) == expected)
        heard = [keeper.ask((expected, store.revision)) for keeper in keepers]
    assert heard[0] == heard[1]
    for keeper in keepers:
        keeper.say("end")
        keeper.end()
    with filestore.open(path) as store:
        assert store.check() == []
        assert state_of(store) == expected


def last_documents(store: Store) -> dict[tuple[str, str], Any]:
    """What the feed tells last of each document."""
    state: dict[tuple[str, str], Any] = {}
    for change in store.changes():
        state[change.key.collection, change.key.id] = change.after
    return {key: document for key, document in state.items() if document is not None}


def indexed(store: Store) -> bool:
    """Whether finds are answered from indexes."""
    indexing = store._backend.indexing
    assert indexing is not None
    return indexing.edited("volumes") is not None


def test_finds_are_answered_from_indexes_that_agree_with_edits(path: Path, store: Store) -> None:
    with filestore.open(path) as other, filestore.open(path, readonly=True) as reader:
        handles = store, other, reader
        until(lambda: all(indexed(each) for each in handles))
        for n in range(20):
            store["volumes"][f"v{n}"] = {"size": n % 4}
        for each in handles:
            assert len(each["volumes"].find(size=1)) == 5
        for n in range(20):
            save_by_rename(path / f"volumes/v{n}.json", {"size": 9})
            for each in handles:
                until(lambda each=each, n=n: len(each["volumes"].find(size=9)) == n + 1)
        for each in handles:
            assert each["volumes"].find(size=1) == []
            assert indexed(each)


def test_without_events_no_index_is_believed(path: Path) -> None:
    with filestore.open(path, watch=False) as store:
        store["volumes"]["a"] = {"n": 0}
        until(lambda: store.stats()["passes"])
        assert not indexed(store)


def read_in_child(pipe: Connection, path: Path, store: Store) -> None:
    pipe.send(store["volumes"]["a"])
    until(lambda: watching(store))
    pipe.send("watching")
    until(lambda: store["volumes"]["a"] == {"n": 2})
    pipe.send(store["volumes"]["a"])
    store.close()


def test_a_child_has_a_watcher_of_its_own(
    path: Path, store: Store, start: Callable[..., Actor]
) -> None:
    child = start(read_in_child, path, store)
    assert child.hear() == {"n": 0}
    assert child.hear() == "watching"
    save_by_rename(path / "volumes/a.json", {"n": 2})
    assert child.hear() == {"n": 2}
    until(lambda: store.revision == 2)
    child.end()
    save_by_rename(path / "volumes/a.json", {"n": 3})
    until(lambda: store.revision == 3)
    assert replayed(store) == {("volumes", "a"): {"n": 3}}


def _length(path: Path) -> int:
    with filestore.open(path) as store:
        return len(store["volumes"])


def test_a_pool_of_processes_opens_the_store(path: Path, store: Store) -> None:
    with FORK.Pool(2) as pool:
        assert pool.map(_length, [path] * 4) == [1] * 4
        pool.close()
        pool.join()


def test_closing_ends_the_threads_at_once(path: Path) -> None:
    before = set(threading.enumerate())
    for _ in range(5):
        filestore.open(path).close()
    store = filestore.open(path)
    until(lambda: settled(store))
    store.close()
    assert set(threading.enumerate()) <= before


def test_a_handle_that_nobody_holds_lets_go_of_everything(path: Path) -> None:
    before = set(threading.enumerate())
    backend: FileBackend | None = FileBackend(path)
    assert backend is not None
    until(lambda: backend is not None and backend.stats()["watching"])
    threads = set(threading.enumerate()) - before
    backend = None
    until(lambda: gc.collect() >= 0 and not any(thread.is_alive() for thread in threads))
    with filestore.open(path) as store:
        until(lambda: store.stats()["recorder"])
