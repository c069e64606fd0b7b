"""External edits: found, verified by etag, and recorded as commits, each once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from filestore.codec import canonical, decode
from filestore.codec.etag import etag_of
from filestore.engine import ledger as ledger_module
from filestore.engine import notices, record
from filestore.engine.files import FileBackend
from filestore.engine.notices import Notice
from filestore.engine.survey import walk
from filestore.engine.verify import Verifier
from filestore.engine.watcher import Watcher
from filestore.errors import Conflict, Corrupt, StorageError
from filestore.model import Edit, Key, Origin, stand_in
from tests.engine.reading import keys_read
from tests.processes.actors import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.engine.catalog import Catalog
    from filestore.engine.tree import Swap
    from filestore.engine.verify import Found, Suspect
    from filestore.model import Commit

A = Key("volumes", "a")
B = Key("volumes", "b")


def data(**fields: Any) -> bytes:
    return canonical(fields)


class Ground:
    """A store whose edits are looked for only when a test says so."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.backend = self.open()

    def open(self, **options: Any) -> FileBackend:
        return FileBackend(self.root, background=False, **options)

    def reopen(self) -> FileBackend:
        self.backend.close()
        self.backend = self.open()
        return self.backend

    def put(self, key: Key, **fields: Any) -> None:
        self.backend.apply([Edit(key, data(**fields))])

    def path(self, key: Key) -> Path:
        return self.root / key.collection / f"{key.id}.json"

    def edit(self, key: Key, **fields: Any) -> None:
        path = self.path(key)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(fields))

    def external(self, since: int = 0) -> list[Commit]:
        commits = self.backend.changes(since)
        return [commit for commit in commits if commit.origin is Origin.EXTERNAL]

    def ops(self, since: int = 0) -> list[tuple[str, Any, Any]]:
        """What external commits did: in their order, and by key in each."""
        return [
            (
                str(op.key),
                None if op.before is None else decode(op.before),
                None if op.after is None else decode(op.after),
            )
            for commit in self.external(since)
            for op in sorted(commit.ops, key=lambda op: op.key)
        ]


class Looks:
    """Verifying that notes of which documents."""

    def __init__(self, look: Callable[..., Iterator[Found]]) -> None:
        self._look = look
        self.names: list[str] = []

    def __get__(self, verifier: Verifier, _: type) -> Callable[..., Iterator[Found]]:
        def look(catalog: Catalog, suspects: Sequence[Suspect]) -> Iterator[Found]:
            self.names += [suspect.name for suspect in suspects]
            return self._look(verifier, catalog, suspects)

        return look


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "state")
    yield ground
    assert [p for p in ground.backend.check() if p.kind not in {"corrupt", "misnamed"}] == []
    ground.backend.close()


def test_an_edit_is_recorded_with_what_was_there_and_what_is(ground: Ground) -> None:
    ground.put(A, n=1)
    ground.backend.rescan()
    ground.edit(A, n=2)
    assert ground.backend.rescan() == 2
    assert ground.ops() == [("volumes/a", {"n": 1}, {"n": 2})]


def test_an_edit_is_recorded_once(ground: Ground) -> None:
    ground.put(A, n=1)
    ground.edit(A, n=2)
    for _ in range(3):
        assert ground.backend.rescan() == 2
    ground.reopen()
    assert ground.backend.rescan() == 2


def test_what_is_created_and_deleted_by_hand_is_recorded(ground: Ground) -> None:
    ground.put(A, n=1)
    ground.backend.rescan()
    ground.path(A).unlink()
    ground.edit(B, n=2)
    ground.backend.rescan()
    assert ground.ops() == [("volumes/a", {"n": 1}, None), ("volumes/b", None, {"n": 2})]
    assert len(ground.external()) == 1


def test_a_rename_by_hand_is_a_delete_and_a_create_in_one_commit(ground: Ground) -> None:
    ground.put(A, n=1)
    ground.backend.rescan()
    ground.path(A).rename(ground.path(B))
    ground.backend.rescan()
    assert ground.ops() == [("volumes/a", {"n": 1}, None), ("volumes/b", None, {"n": 1})]
    assert len(ground.external()) == 1


def test_another_layout_of_the_same_document_is_no_change(ground: Ground) -> None:
    ground.put(A, n=1, text="x")
    ground.backend.rescan()
    ground.path(A).write_text('{"text":"x",\n\n"n":1}')
    assert ground.backend.rescan() == 1
    os.utime(ground.path(A))
    assert ground.backend.rescan() == 1


def test_edits_made_while_no_store_was_open_are_found(ground: Ground) -> None:
    ground.put(A, n=1)
    ground.put(B, n=1)
    ground.backend.rescan()
    ground.backend.close()
    ground.edit(A, n=2)
    ground.path(B).unlink()
    ground.edit(Key("snapshots", "s"), n=3)
    ground.reopen().rescan()
    assert ground.ops() == [
        ("snapshots/s", None, {"n": 3}),
        ("volumes/a", {"n": 1}, {"n": 2}),
        ("volumes/b", {"n": 1}, None),
    ]


def test_unchanged_documents_are_not_read(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        ground.put(Key("volumes", str(number)), n=number)
    later = time.time_ns() + 10**9
    monkeypatch.setattr("filestore.engine.tree.coarse_time_ns", lambda: later)
    monkeypatch.setattr("filestore.engine.ledger.coarse_time_ns", lambda: later)
    ground.backend.rescan()
    ground.reopen()
    ground.edit(Key("volumes", "7"), n=8)
    read = keys_read(ground.backend, monkeypatch)
    ground.backend.rescan()
    assert {key.id for key in read} == {"7"}


@pytest.mark.parametrize("documents", [100, 400])
def test_what_the_recorder_wrote_is_not_read_by_the_next(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, documents: int
) -> None:
    later = time.time_ns() + 10**9
    monkeypatch.setattr("filestore.engine.tree.coarse_time_ns", lambda: later)
    monkeypatch.setattr("filestore.engine.ledger.coarse_time_ns", lambda: later)
    tree, recorder = ground.backend._ground.tree, ground.backend._works.recorder
    tree._stamps.fine = True
    swap_in = tree.swap_in

    def edited_at_once(swap: Swap) -> tuple[str | None, bool]:
        published = swap_in(swap)
        if swap.key.id == "70":
            ground.path(swap.key).write_text('{"n":"N"}')
            os.utime(ground.path(swap.key), ns=(later, later))
        elif swap.key.id in {"3", "71"}:
            ground.path(swap.key).unlink()
        return published

    monkeypatch.setattr(tree, "swap_in", edited_at_once)
    recorder.round()
    ground.backend.apply([Edit(Key("volumes", f"{n}"), data(n=n)) for n in range(documents)])
    recorder.resign(save=True)
    ground.edit(Key("volumes", "50"), n="edited")
    ground.reopen()
    read = keys_read(ground.backend, monkeypatch)
    ground.backend.rescan()
    assert {key.id for key in read} == {"3", "50", "70", "71"}
    assert [key for key, _, _ in ground.ops()] == [
        f"volumes/{id}" for id in ("3", "50", "70", "71")
    ]


def test_a_bulk_commit_is_not_kept_in_memory(ground: Ground) -> None:
    for documents, kept in (100, 100), (400, 0):
        ground.reopen()
        edits = [Edit(Key("volumes", f"{documents}-{n}"), data(n=n)) for n in range(documents)]
        ground.backend.apply(edits)
        assert ground.backend.stats()["cached_documents"] == kept
    assert ground.backend.get(Key("volumes", "400-7")) is not None
    assert ground.backend.stats()["cached_documents"] == 1


def test_an_event_of_what_a_bulk_commit_published_is_no_edit(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time_ns() + 10**9
    monkeypatch.setattr("filestore.engine.tree.coarse_time_ns", lambda: later)
    ground.backend.apply([Edit(Key("volumes", f"{n}"), data(n=n)) for n in range(400)])
    reads, edited = ground.backend._reads, []
    reads.edited = edited.append
    key, other, gone = (Key("volumes", id) for id in ("70", "80", "90"))
    ground.edit(other, n="edited")
    ground.path(gone).unlink()
    assert reads.suspect(key, touched=False) == (None, True)
    assert reads.suspect(other, touched=False) == (None, False)
    assert reads.suspect(gone, touched=False) == (None, False)
    assert edited == [other, gone]


def test_what_a_bulk_commit_published_is_looked_at_once(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time_ns() + 10**9
    monkeypatch.setattr("filestore.engine.tree.coarse_time_ns", lambda: later)
    backend = ground.backend
    recorder, reads = backend._works.recorder, backend._reads
    recorder.round(idle=True)
    watcher = Watcher(backend._ground, reads, recorder, events=False)
    watcher._watches[1] = str(ground.root / "volumes")

    def came(*names: str) -> None:
        watcher._take([Notice(1, notices.MOVED_TO, f"{name}.json".encode()) for name in names])

    backend.apply([Edit(Key("volumes", f"{n}"), data(n=n)) for n in range(400)])
    (ground.root / "edited").write_text('{"n": "edited"}\n')
    (ground.root / "edited").rename(ground.path(Key("volumes", "107")))
    looked_at: list[str] = []
    lstat = reads._lstat
    reads._lstat = lambda path: looked_at.append(path) or lstat(path)
    came(*(f"{n}" for n in range(100, 400)))
    assert len(looked_at) == 300
    monkeypatch.setattr(Verifier, "look", keeping := Looks(Verifier.look))
    recorder.round()
    assert recorder.ledger.published.keys() == {f"volumes/{n}.json" for n in range(100)}
    recorder.round(idle=True)
    assert keeping.names == ["volumes/107.json"]
    assert ground.ops() == [("volumes/107", {"n": 107}, {"n": "edited"})]
    # A file that comes to such a name later is looked at.
    (ground.root / "edited").write_text('{"n": "later"}\n')
    (ground.root / "edited").rename(ground.path(Key("volumes", "108")))
    came("108")
    recorder.round()
    assert ground.ops()[1:] == [("volumes/108", {"n": 108}, {"n": "later"})]


def test_the_recorder_waits_while_a_bulk_commit_is_published(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, recorder = ground.backend._ground.tree, ground.backend._works.recorder
    recorder.round()
    swap_in, waits = tree.swap_in, []

    def in_the_middle(swap: Swap) -> tuple[str | None, bool]:
        if swap.key.id == "7":
            waits.append((recorder.round(), recorder.ledger.news))
        return swap_in(swap)

    monkeypatch.setattr(tree, "swap_in", in_the_middle)
    ground.backend.apply([Edit(Key("volumes", f"{n}"), data(n=n)) for n in range(400)])
    assert [(wait is not None and wait > 0, news) for wait, news in waits] == [(True, True)]
    recorder.round()
    assert not recorder.ledger.news
    catalog = recorder.ledger.catalog
    assert catalog is not None
    assert len(catalog) == 400


def test_new_documents_are_read_once(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.backend.rescan()
    for number in range(20):
        ground.edit(Key("volumes", str(number)), n=number)
    later = time.time_ns() + 10**9
    monkeypatch.setattr("filestore.engine.tree.coarse_time_ns", lambda: later)
    read = keys_read(ground.backend, monkeypatch)
    ground.backend.rescan()
    assert sorted(key.id for key in read) == sorted(str(number) for number in range(20))


def test_what_many_documents_were_is_read_once_from_the_commit_that_has_them_all(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.backend.rescan()
    keys = [Key("volumes", str(number)) for number in range(20)]
    for key in keys:
        ground.edit(key, n=1)
    ground.backend.rescan()
    ground.reopen()
    for key in keys[:-1]:
        ground.edit(key, n=2)
    ground.path(keys[-1]).unlink()
    parsed: list[int] = []
    documents_after = record.documents_after

    def counted(payload: bytes, some: Any) -> Any:
        parsed.append(len(some))
        return documents_after(payload, some)

    monkeypatch.setattr("filestore.engine.record.documents_after", counted)
    ground.backend.rescan()
    assert parsed == [20]
    assert {(before["n"], after and after["n"]) for _, before, after in ground.ops(1)} == {
        (1, 2),
        (1, None),
    }


def test_what_was_there_is_found_in_the_newest_commit_that_changed_the_document(
    ground: Ground,
) -> None:
    for number in (1, 2, 3):
        ground.put(A, n=number)
    ground.put(B, n=1)
    ground.backend.rescan()
    ground.reopen()
    ground.edit(A, n=4)
    ground.edit(B, n=2)
    ground.backend.rescan()
    assert ground.ops() == [("volumes/a", {"n": 3}, {"n": 4}), ("volumes/b", {"n": 1}, {"n": 2})]


@pytest.mark.parametrize("gone", [True, False])
def test_what_was_there_is_known_also_of_what_was_committed_in_the_last_moment(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    recorder, other = ground.backend._works.recorder, ground.open()
    ground.put(A, n=1)
    recorder.round(patient=False)
    ground.edit(A, n=2)
    recorder.hint("volumes/a.json", touched=True)
    was, moments = recorder._verifier.was, [True]

    def then_another_commits(edits: list[Any]) -> Any:
        known = was(edits)
        if moments and moments.pop():
            other.apply([Edit(A, data(n=3))])
            if gone:
                ground.path(A).unlink()
            else:
                ground.edit(A, n=4)
        return known

    monkeypatch.setattr(recorder._verifier, "was", then_another_commits)
    recorder.round(patient=False)
    assert ground.ops() == [("volumes/a", {"n": 3}, None if gone else {"n": 4})]
    other.close()


def test_an_edit_in_place_of_the_same_size_and_times_is_found(ground: Ground) -> None:
    ground.put(A, n=1)
    status = ground.path(A).stat()
    with ground.path(A).open("r+") as file:
        file.write(ground.path(A).read_text().replace("1", "2"))
    os.utime(ground.path(A), ns=(status.st_atime_ns, status.st_mtime_ns))
    ground.backend.rescan()
    assert ground.ops() == [("volumes/a", {"n": 1}, {"n": 2})]


@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "noise", "folder"])
def test_a_catalog_that_is_no_good_is_made_anew(ground: Ground, damage: str) -> None:
    ground.put(A, n=1)
    ground.put(B, n=1)
    ground.backend.rescan()
    ground.backend.close()
    saved = ground.root / ".filestore/index/files"
    raw = saved.read_bytes()
    if damage == "gone":
        shutil.rmtree(saved.parent)
    elif damage == "folder":
        saved.unlink()
        saved.mkdir()
    else:
        saved.write_bytes({"cut": raw[:-8], "empty": b"", "noise": os.urandom(len(raw))}[damage])
    ground.edit(A, n=2)  # the journal still knows what it was
    ground.reopen().rescan()
    assert ground.ops() == [("volumes/a", {"n": 1}, {"n": 2})]


def test_a_catalog_of_another_history_is_not_believed(ground: Ground) -> None:
    ground.put(A, n=1)
    ground.put(B, n=1)
    ground.backend.rescan()
    ground.backend.close()
    index = ground.root / ".filestore/index"
    index.rename(ground.root / "kept")
    shutil.rmtree(ground.root / ".filestore")
    ground.reopen()
    for number in range(5):
        ground.put(A, n=10 + number)
    ground.backend.close()
    shutil.rmtree(index, ignore_errors=True)
    (ground.root / "kept").rename(index)
    assert ground.reopen().rescan() == 5
    assert ground.external() == []


def test_the_documents_of_a_tree_without_history_are_taken_as_they_are(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "state")
    for number in range(5):
        ground.put(Key("volumes", str(number)), n=number)
    ground.backend.close()
    shutil.rmtree(ground.root / ".filestore")  # as after a git clone
    assert ground.reopen().rescan() == 0
    ground.edit(Key("volumes", "3"), n=30)
    ground.backend.rescan()
    (commit,) = ground.external()
    (op,) = commit.ops
    assert op.before == stand_in(etag_of(data(n=3)))  # nobody has kept it
    assert op.after == data(n=30)
    ground.backend.close()
    ground.reopen()
    assert ground.external() == [commit]
    ground.backend.close()


def test_a_document_that_does_not_parse_is_no_change_until_it_is_mended(ground: Ground) -> None:
    ground.put(A, n=1)
    ground.put(B, n=1)
    ground.backend.rescan()
    ground.path(A).write_text('{"n": ')
    ground.edit(B, n=2)
    ground.backend.rescan()
    assert ground.ops() == [("volumes/b", {"n": 1}, {"n": 2})]
    with pytest.raises(Corrupt):
        ground.backend.get(A)
    assert [problem.key for problem in ground.backend.check()] == [A]
    ground.edit(A, n=3)
    found = ground.backend.get(A)
    assert found is not None
    assert found.data == data(n=3)
    ground.backend.rescan()
    assert ground.ops()[1:] == [("volumes/a", {"n": 1}, {"n": 3})]


def test_observers_are_told_of_a_recorded_edit(ground: Ground) -> None:
    ground.put(A, n=1)
    told: list[Any] = []
    ground.backend.subscribe(told.append)
    ground.edit(A, n=2)
    ground.backend.rescan()
    assert [commit.origin for commits in told for commit in commits] == [Origin.EXTERNAL]


def test_another_handle_hears_of_it_and_records_nothing(ground: Ground) -> None:
    ground.put(A, n=1)
    other = ground.open()
    ground.backend.rescan()
    ground.edit(A, n=2)
    ground.backend.rescan()
    other.rescan()
    assert other.revision == 2
    assert [commit.revision for commit in other.changes(1)] == [2]
    other.close()


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
def test_an_edit_is_recorded_at_any_durability(tmp_path: Path, durability: str) -> None:
    ground = Ground(tmp_path / "state")
    ground.backend.close()
    ground.backend = ground.open(durability=durability)
    ground.put(A, n=1)
    ground.backend.rescan()
    ground.edit(B, n=1)
    ground.backend.rescan()
    ground.edit(B, n=2)
    ground.backend.rescan()
    assert ground.ops() == [("volumes/b", None, {"n": 1}), ("volumes/b", {"n": 1}, {"n": 2})]
    ground.backend.close()


def test_a_commit_that_is_not_published_is_no_edit(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "state")
    ground.backend.close()
    ground.backend = ground.open(durability="normal")
    ground.put(A, n=1)
    ground.put(A, n=2)
    assert ground.backend.rescan() == 2
    assert ground.external() == []
    ground.backend.close()


def test_a_blind_put_over_a_recorded_edit_that_its_handle_has_not_read_conflicts_once(
    ground: Ground,
) -> None:
    ground.put(A, n=1)
    assert ground.backend.get(A) is not None
    ground.edit(A, n=2)
    ground.backend.rescan()
    with pytest.raises(Conflict):
        ground.put(A, n=3)
    ground.put(A, n=3)
    (last,) = ground.backend.changes(2)
    assert last.ops[0].before == data(n=2)


def test_a_commit_while_the_tree_is_gone_through_is_no_edit(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.put(A, n=0)
    told = iter(range(1, 100))

    def compared(*arguments: Any) -> Iterator[Any]:
        for differing in walk(*arguments):
            ground.put(A, n=next(told))  # after the comparison, before the reading
            yield differing

    monkeypatch.setattr("filestore.engine.recorder.walk", compared)
    for _ in range(3):
        ground.backend.rescan()
    assert ground.external() == []


def _between_reading_and_recording(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> None:
    """Act once, when an edit was read and the write lock is not held yet."""
    acts = iter([act])
    was = Verifier.was

    def interrupted(self: Verifier, edits: Any) -> Any:
        next(acts, lambda: None)()
        return was(self, edits)

    monkeypatch.setattr(Verifier, "was", interrupted)


def test_an_edit_that_a_commit_replaced_before_it_was_recorded_is_none(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.put(A, n=1)
    ground.backend.rescan()
    ground.edit(A, n=2)
    other = ground.open()
    edit = Edit(A, data(n=3))
    _between_reading_and_recording(monkeypatch, lambda: other.apply([edit]))
    for _ in range(2):
        assert ground.backend.rescan() == 2
    assert ground.external() == []
    (commit,) = ground.backend.changes(1)
    assert commit.ops[0] == (A, data(n=2), data(n=3))
    other.close()


def test_what_is_edited_again_before_it_was_recorded_is_recorded_in_the_end(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.put(A, n=1)
    ground.put(B, n=1)
    ground.backend.rescan()
    ground.edit(A, n=2)
    ground.edit(B, n=2)

    def again() -> None:
        ground.edit(A, n=3)
        ground.path(B).unlink()

    _between_reading_and_recording(monkeypatch, again)
    for _ in range(3):
        ground.backend.rescan()
    last = {op.key: op.after for commit in ground.external() for op in commit.ops}
    assert last == {A: data(n=3), B: None}
    told = [(op.key, op.after) for commit in ground.external() for op in commit.ops]
    assert len(told) == len(set(told))  # each once


def test_many_edits_are_few_commits(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filestore.engine.grouping.MOST_DOCUMENTS", 10)
    ground.backend.rescan()
    for number in range(25):
        ground.edit(Key("volumes", str(number)), n=number)
    ground.backend.rescan()
    assert [len(commit.ops) for commit in ground.external()] == [10, 10, 5]


@pytest.mark.parametrize("fanout", [0, 1, 2])
def test_a_reshard_is_no_edit(tmp_path: Path, fanout: int) -> None:
    backend = FileBackend(tmp_path / "state", background=False, fanout=1)
    for number in range(20):
        backend.apply([Edit(Key("volumes", str(number)), data(n=number))])
    backend.rescan()
    backend.reshard(fanout)
    assert backend.rescan() == 20
    path = Path(backend._ground.layout.path(Key("volumes", "3")))
    path.write_text('{"n": 33}')
    backend.rescan()
    (commit,) = backend.changes(20)
    assert (commit.origin, commit.ops[0].after) == (Origin.EXTERNAL, data(n=33))
    backend.close()


def test_a_view_keeps_what_a_recorded_edit_replaced(ground: Ground) -> None:
    from filestore.store import Store

    store = Store(ground.backend)
    store["volumes"]["a"] = {"n": 1}
    ground.backend.rescan()
    with store.snapshot() as view:
        ground.edit(A, n=2)
        ground.backend.rescan()
        assert view["volumes"]["a"] == {"n": 1}
        assert store["volumes"]["a"] == {"n": 2}


def test_a_link_in_the_place_of_a_document_is_no_delete(ground: Ground, tmp_path: Path) -> None:
    ground.put(A, n=1)
    ground.backend.rescan()
    elsewhere = tmp_path / "elsewhere.json"
    ground.path(A).rename(elsewhere)
    ground.path(A).symlink_to(elsewhere)
    assert ground.backend.rescan() == 1
    ground.path(A).unlink()
    elsewhere.rename(ground.path(A))
    assert ground.backend.rescan() == 1


def test_a_folder_that_cannot_be_entered_is_not_empty(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.put(A, n=1)
    ground.backend.rescan()
    survey: Callable[..., Any] = ground.backend._ground.fs.survey

    def refused(path: str, suffix: str) -> Any:
        if path.endswith("/volumes"):
            raise PermissionError(13, "no", path)
        return survey(path, suffix)

    monkeypatch.setattr(ground.backend._ground.fs, "survey", refused)
    assert ground.backend.rescan() == 1


def test_a_handle_that_may_not_record_waits_before_it_asks_again(ground: Ground) -> None:
    ground.put(A, value=1)
    assert ground.backend._works.recorder.elect()
    other = ground.open()
    watcher = Watcher(other._ground, other._reads, other._works.recorder, events=False)
    waits = [watcher._record() for _ in range(4)]
    assert not other._works.recorder.elected
    for wait in waits:
        assert isinstance(wait, partial)
        (seconds,) = wait.args
        assert seconds > 0
    other.close()


def test_a_round_that_fails_late_is_not_repeated_at_once(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = ground.backend
    watcher = Watcher(backend._ground, backend._reads, backend._works.recorder, events=False)
    now, took = [1000.0], [0.001, 3.0]
    monkeypatch.setattr("filestore.engine.watcher.time", SimpleNamespace(monotonic=lambda: now[0]))

    def fail(**_: bool) -> None:
        now[0] += took.pop(0)
        raise StorageError("the disk is full", errno=28)

    monkeypatch.setattr(backend._works.recorder, "round", fail)
    waits = [watcher._record(), watcher._record()]
    assert [wait.args for wait in waits if isinstance(wait, partial)] == [(1.0,), (60.0,)]
    assert "the disk is full" in str(backend.stats()["trouble"])
    backend._ground.trouble = None


def test_a_catalog_is_saved_before_the_journal_forgets_its_commit(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_CHEAP_ROWS", 0)
    ledger = ground.backend._works.recorder.ledger
    ground.backend.apply([Edit(Key("volumes", f"{n}"), data(n=n)) for n in range(3000)])
    ground.backend._works.recorder.round(patient=False)
    ledger.save()
    for n in range(3):
        ground.put(A, n=n)
    ledger.take_in()
    assert not ledger.worth_saving(closing=True)
    monkeypatch.setattr(type(ground.backend._reads.feed), "horizon", 1)
    assert ledger.worth_saving(closing=True)
    assert ledger.worth_saving(closing=False)
    ledger.save()
    assert not ledger.worth_saving(closing=True)
    ground.put(A, n=7)
    ledger.take_in()
    assert not ledger.worth_saving(closing=True)


@pytest.fixture
def green_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileBackend]:
    """A handle that is about to find that threads became green since it was opened."""
    monkeypatch.setattr("filestore.engine.lookout.START_SECONDS", 60)
    with contextlib.closing(FileBackend(tmp_path / "state")) as backend:
        monkeypatch.setattr("filestore.engine.watcher.green", lambda: True)
        yield backend


def start_threads(backend: FileBackend) -> None:
    assert backend._works.watcher is not None
    backend._works.watcher.start()
    assert backend._works.watcher._heard.wait(60)


def test_threads_that_became_green_since_are_not_started(
    tmp_path: Path, green_since: FileBackend
) -> None:
    green_since.apply([Edit(A, data(n=1))])
    start_threads(green_since)
    assert green_since.stats()["watching_why_not"] == "green threads"
    (tmp_path / "state/volumes/a.json").write_text('{"n": 2}')
    entry = green_since.get(A)
    assert entry is not None
    assert decode(entry.data) == {"n": 2}


def test_what_could_not_be_recorded_is_recorded_by_the_next_round(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = ground.backend._works.recorder
    ground.put(A, n=1)
    ground.put(B, n=1)
    recorder.round(patient=False)
    ground.edit(A, n=2)
    ground.path(B).unlink()
    for name in ("volumes/a.json", "volumes/b.json"):
        recorder.hint(name, touched=True)
    append, failures = ground.backend._ground.journal.append, [OSError(28, "full")]

    def failing_once(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return append(*arguments, **options)

    monkeypatch.setattr(ground.backend._ground.journal, "append", failing_once)
    with pytest.raises(StorageError):
        recorder.round(patient=False)
    recorder.round(patient=False)
    assert ground.ops() == [("volumes/a", {"n": 1}, {"n": 2}), ("volumes/b", {"n": 1}, None)]


def test_a_folder_that_is_named_as_one_of_a_fan_out_may_go(ground: Ground) -> None:
    ground.put(A, n=1)
    recorder = ground.backend._works.recorder
    recorder.round(patient=False)
    for name in ("@ab/", "volumes/@ab/", "volumes/@ab/@cd/long%/"):
        recorder.suspect(name, gone=True)
    recorder.round(patient=False)
    assert ground.external() == []


def moved_to(ground: Ground, key: Key, **fields: Any) -> None:
    """Save a document as most editors do, and have the recorder hear of it."""
    saved = ground.root / "saved"
    saved.write_text(json.dumps(fields))
    saved.rename(ground.path(key))
    name = f"{key.collection}/{key.id}.json"
    ground.backend._works.recorder.hint(name, touched=False, moves=(1, 0))


def test_commits_that_were_never_published_do_not_hide_an_edit(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "state")
    ground.backend.close()
    ground.backend = ground.open(durability="normal")
    recorder = ground.backend._works.recorder
    recorder.round(patient=False)
    for key in (A, B):
        ground.put(key, n=1)
        ground.backend.apply([Edit(key, None)])
    ground.put(A, n=2)
    ground.backend.checkpoint()  # one move for three commits, and none for two
    recorder.hint("volumes/a.json", touched=False, moves=(1, 0))
    recorder.round(idle=True)
    assert recorder.ledger.published == {}
    moved_to(ground, A, n=3)
    recorder.round(patient=False)
    assert ground.ops() == [("volumes/a", {"n": 2}, {"n": 3})]
    ground.backend.close()


def test_a_handle_without_threads_does_not_stay_the_recorder(green_since: FileBackend) -> None:
    green_since.rescan()
    assert green_since.stats()["recorder"]  # for the thread that is about to come
    start_threads(green_since)
    until(lambda: not green_since.stats()["recorder"])
    green_since.rescan()
    assert not green_since.stats()["recorder"]


def test_a_catalog_that_cannot_be_saved_is_kept_and_not_tried_again_at_once(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, tries = ground.backend._works.recorder, []
    ground.put(A, n=1)
    recorder.round(idle=True)
    monkeypatch.setattr(ground.backend._shelf, "save", lambda name, _: tries.append(name))
    for n in range(3):
        ground.put(Key("volumes", f"n{n}"), n=1)
        recorder.round(idle=True)
    assert tries == ["files"]
    assert recorder.passes == 1
    ground.edit(A, n=2)
    ground.backend.rescan()
    assert ground.ops() == [("volumes/a", {"n": 1}, {"n": 2})]


def test_edits_wait_for_an_operation_of_git_that_begins_while_they_are_looked_at(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.put(A, n=1)
    ground.put(B, n=1)
    recorder = ground.backend._works.recorder
    recorder.round(patient=False)
    repository = ground.root / ".git"
    repository.mkdir()
    (repository / "HEAD").touch()
    lock = repository / "index.lock"
    real = Verifier.look

    def look(*words: Any) -> Any:
        lock.touch()
        return real(*words)

    monkeypatch.setattr(Verifier, "look", look)
    ground.edit(A, n=2)
    recorder.hint("volumes/a.json", touched=True)
    assert recorder.round()
    assert ground.external() == []
    ground.edit(B, n=2)
    recorder.hint("volumes/b.json", touched=True)
    monkeypatch.undo()
    assert recorder.round()
    lock.unlink()
    recorder.round()
    (commit,) = ground.external()
    assert [op.key for op in commit.ops] == [A, B]
