"""Moving a store to another fan-out, with others at work in it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore.codec import canonical
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem
from filestore.errors import Conflict, LockTimeout, ReadOnly, RecoveryNeeded
from filestore.model import Edit, Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore.engine.fs import Item

IDS = [f"v{number}" for number in range(20)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    with filestore.open(path) as store, store.transaction():
        for id in IDS:
            store["volumes"][id] = {"id": id}
        store["driver_data/lvm"]["Ünï" * 90] = {}
    return path


@pytest.fixture
def backend(root: Path) -> Iterator[FileBackend]:
    backend = FileBackend(root)
    yield backend
    backend.close()


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.glob("[!.]*/**/*.json")}


def everything(root: Path) -> set[str]:
    """All there is, the journal apart."""
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if "/journal/" not in str(path) and path.name != "state"
    }


def test_every_document_goes_to_its_place_and_back(root: Path, backend: FileBackend) -> None:
    flat = everything(root)
    for fanout in (1, 2, 1, 0, 2, 0):
        before = backend.stats()["fanout"]
        done = backend.reshard(fanout)
        assert (done.before, done.after, done.moved) == (before, fanout, len(IDS) + 1)
        assert all(path.count("/@") == fanout for path in files(root))
        assert sorted(backend.ids("volumes")) == sorted(IDS)
        assert backend.check() == []
        assert f"fanout: {fanout}\n" in (root / "filestore.yaml").read_text()
    assert everything(root) == flat


def test_the_files_stay_the_same_files(root: Path, backend: FileBackend) -> None:
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in root.glob("*/*.json")}
    backend.reshard(1)
    after = {path.name: (path.stat().st_ino, path.read_bytes()) for path in root.glob("*/*/*.json")}
    assert after == before


def test_git_sees_renames_only(root: Path, backend: FileBackend) -> None:
    def git(*words: str) -> str:
        settings = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        done = subprocess.run(
            ["git", *settings, *words], cwd=root, capture_output=True, text=True, check=True
        )
        return done.stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "flat")
    backend.reshard(1)
    git("add", ".")
    status = git("diff", "--cached", "--name-status", "-M100%").splitlines()
    assert sorted(line.split()[0] for line in status) == ["M", *["R100"] * (len(IDS) + 1)]


def test_what_is_no_document_stays(root: Path, backend: FileBackend) -> None:
    (root / "volumes/README.md").write_text("note")
    (root / "volumes/v1.json~").write_text("left over")
    (root / "volumes/v1.yaml").write_text("a: 1\n")
    (root / "volumes/@zz").mkdir()
    (root / "volumes/@zz/mine.txt").write_text("mine")
    backend.reshard(1)
    backend.reshard(0)
    assert (root / "volumes/README.md").read_text() == "note"
    assert (root / "volumes/v1.json~").read_text() == "left over"
    assert (root / "volumes/v1.yaml").read_text() == "a: 1\n"
    assert (root / "volumes/@zz/mine.txt").read_text() == "mine"


def test_an_unreadable_document_moves_as_it_is(root: Path, backend: FileBackend) -> None:
    (root / "volumes/v1.json").write_text("{ not json")
    backend.reshard(1)
    with pytest.raises(filestore.Corrupt, match=r"/@[0-9a-f]{2}/v1\.json"):
        backend.get(("volumes", "v1"))
    assert sorted(backend.ids("volumes")) == sorted(IDS)


def test_settings_keep_what_somebody_wrote_into_them(root: Path) -> None:
    told = (root / "filestore.yaml").read_text()
    (root / "filestore.yaml").write_text(
        "# ours\n" + told.replace("fanout: 0", "fanout:  0 # flat")
    )
    (root / "filestore.yaml").chmod(0o640)
    with FileBackendOpened(root) as backend:
        backend.reshard(1)
    assert (root / "filestore.yaml").read_text() == "# ours\n" + told.replace(
        "fanout: 0", "fanout: 1"
    )
    assert (root / "filestore.yaml").stat().st_mode & 0o777 == 0o640


class FileBackendOpened:
    def __init__(self, root: Path) -> None:
        self.backend = FileBackend(root)

    def __enter__(self) -> FileBackend:
        return self.backend

    def __exit__(self, *_: object) -> None:
        self.backend.close()


def test_new_folders_have_the_mode_of_the_collection(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "s", file_mode=0o640) as store:
        store["volumes"]["a"] = {}
    with FileBackendOpened(tmp_path / "s") as backend:
        backend.reshard(1)
    (shard,) = (tmp_path / "s/volumes").iterdir()
    assert shard.stat().st_mode & 0o777 == 0o750


def test_handles_that_were_open_before_follow(root: Path, backend: FileBackend) -> None:
    writer, reader = filestore.open(root), filestore.open(root, readonly=True)
    assert reader["volumes"]["v1"] == {"id": "v1"}
    backend.reshard(1)
    assert reader["volumes"]["v1"] == {"id": "v1"}
    assert reader["volumes"]["v2"] == {"id": "v2"}
    assert "nope" not in reader["volumes"]
    writer["volumes"]["new"] = {"id": "new"}
    writer["volumes"]["v1"] = {"id": "changed"}
    del writer["volumes"]["v2"]
    assert all(path.count("/@") == 1 for path in files(root))
    assert sorted(reader["volumes"]) == sorted({*IDS, "new"} - {"v2"})
    assert reader["volumes"]["v1"] == {"id": "changed"}
    assert writer.stats()["fanout"] == reader.stats()["fanout"] == 1
    assert writer.check() == []
    writer.close()
    reader.close()


class Interrupted(FileSystem):
    """Does something in the middle of a read, once."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.then: Callable[[], object] | None = None

    def _pause(self, name: str) -> None:
        if name == self.name and self.then is not None:
            then, self.then = self.then, None
            then()

    def scan(self, path: str) -> list[Item]:
        if path.endswith("/volumes"):
            self._pause("scan")
        return super().scan(path)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:  # type: ignore[override]
        if "/volumes/" in path:
            self._pause("open")
        return FileSystem.open(path, flags, mode)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (2, 1)])
def test_a_reshard_in_the_middle_of_a_read_goes_unnoticed(
    root: Path, backend: FileBackend, before: int, after: int
) -> None:
    backend.reshard(before)
    fs = Interrupted("scan")
    reader = FileBackend(root, fs=fs, readonly=True)
    fs.then = lambda: backend.reshard(after)
    assert sorted(reader.ids("volumes")) == sorted(IDS)
    fs.then = lambda: backend.reshard(before)
    assert "volumes" in reader.collections()
    assert fs.then is None
    fs.name = "open"
    fs.then = lambda: backend.reshard(after)
    assert reader.get(("volumes", "v1")) is not None
    fs.then = lambda: (backend.reshard(before), backend.reshard(after), backend.reshard(before))
    assert reader.get(("volumes", "v2")) is not None
    assert fs.then is None
    reader.close()


def test_a_checkout_of_another_fan_out_is_followed(root: Path, backend: FileBackend) -> None:
    other = filestore.open(root)
    assert other["volumes"]["v1"]
    for path in [*root.glob("*/*.json")]:
        id = path.name.removesuffix(".json")
        target = backend._ground.layout.path((path.parent.name, id), 1)
        (root / target).parent.mkdir(exist_ok=True)
        path.rename(target)
    told = (root / "filestore.yaml").read_text()
    (root / "filestore.yaml").write_text(told.replace("fanout: 0", "fanout: 1"))
    assert other["volumes"]["v1"] == {"id": "v1"}
    assert sorted(other["volumes"]) == sorted(IDS)
    other["volumes"]["new"] = {}
    assert len(list(root.glob("volumes/@*/new.json"))) == 1
    other.close()


def test_settings_of_another_store_end_the_writing(root: Path) -> None:
    with filestore.open(root) as store:
        told = (root / "filestore.yaml").read_text()
        (root / "filestore.yaml").write_text(told.replace("codec: json", "codec: yaml"))
        with pytest.raises(RecoveryNeeded, match="open it again"):
            store["volumes"]["v1"] = {"id": 2}
        assert store["volumes"]["v1"] == {"id": "v1"}
        (root / "filestore.yaml").write_text(told)


def test_settings_in_conflict_change_nothing(root: Path) -> None:
    with filestore.open(root) as store:
        (root / "filestore.yaml").write_text("<<<<<<< ours\nfanout: 1\n=======\n>>>>>>> theirs\n")
        assert "nope" not in store["volumes"]
        store["volumes"]["new"] = {}
        assert (root / "volumes/new.json").exists()


def test_what_stands_at_another_fan_out_is_gathered(root: Path, backend: FileBackend) -> None:
    backend.reshard(1)
    (root / "volumes/merged.json").write_text('{"from": "an older branch"}\n')
    assert backend.get(("volumes", "merged")) is None
    assert backend.reshard(1) == (1, 1, 1)
    entry = backend.get(("volumes", "merged"))
    assert entry is not None
    assert entry.data == b'{"from":"an older branch"}'
    assert backend.reshard(1) == (1, 1, 0)


def test_two_files_of_one_document_are_for_people_to_decide(
    root: Path, backend: FileBackend
) -> None:
    backend.reshard(1)
    (root / "volumes/v1.json").write_text('{"id": "another"}\n')
    before = everything(root)
    for fanout in (0, 1, 2):
        with pytest.raises(Conflict, match=r"volumes/v1\.json"):
            backend.reshard(fanout)
    assert everything(root) == before
    entry = backend.get(("volumes", "v1"))
    assert entry is not None
    assert entry.data == b'{"id":"v1"}'


def test_a_failure_in_the_middle_takes_everything_back(root: Path, backend: FileBackend) -> None:
    before = everything(root)

    def stop(done: int, total: int) -> None:
        if done == total // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.reshard(2, stop)
    assert everything(root) == before
    assert backend.check() == []
    assert backend.apply([Edit(Key("volumes", "v1"), canonical({}))]) is not None


def test_an_interrupt_after_the_change_leaves_the_rest_to_the_next_writer(
    root: Path, backend: FileBackend
) -> None:
    def stop(done: int, total: int) -> None:
        if done == total - 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.reshard(1, stop)
    assert sorted(backend.ids("volumes")) == sorted(IDS)
    assert {problem.kind for problem in backend.check()} == {"unfinished"}
    with filestore.open(root) as store:
        store["volumes"]["new"] = {}
        assert store.check() == []
    assert all(path.count("/@") == 1 for path in files(root))
    assert not (root / ".filestore/reshard").exists()


def test_an_edit_in_the_middle_is_kept(root: Path, backend: FileBackend) -> None:
    """An editor saves the old name after it was linked, and before it goes."""

    def edit(done: int, total: int) -> None:
        if done == len(IDS) + 1:
            (root / "volumes/.v3.swp").write_text('{"id": "edited"}\n')
            (root / "volumes/.v3.swp").rename(root / "volumes/v3.json")

    backend.reshard(1, edit)
    entry = backend.get(("volumes", "v3"))
    assert entry is not None
    assert entry.data == b'{"id":"edited"}'
    kept = [path.read_text() for path in (root / ".filestore/lost").iterdir()]
    assert kept == ['{\n  "id": "v3"\n}\n']
    assert len(files(root)) == len(IDS) + 1


def test_progress_counts_to_the_end(backend: FileBackend) -> None:
    seen: list[tuple[int, int]] = []
    backend.reshard(1, lambda done, total: seen.append((done, total)))
    total = 2 * (len(IDS) + 1)
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_others_may_not_write_meanwhile_and_may_read(root: Path, backend: FileBackend) -> None:
    other = filestore.open(root, lock_timeout=0)
    told: list[Exception] = []

    def write(done: int, _: int) -> None:
        if done == 7:
            try:
                other["volumes"]["v1"] = {}
            except LockTimeout as error:
                told.append(error)
        assert other["volumes"]["v9"] == {"id": "v9"}

    backend.reshard(2, write)
    assert len(told) == 1
    other.close()


def test_a_store_that_cannot_be_written_is_refused(root: Path) -> None:
    before = everything(root)
    backend = FileBackend(root, readonly=True)
    with pytest.raises(ReadOnly):
        backend.reshard(1)
    backend.close()
    assert everything(root) == before


def test_a_damaged_store_is_refused(root: Path) -> None:
    with filestore.open(root) as store:
        for number in range(3):
            store["volumes"]["v1"] = {"number": number}
        journal = root / ".filestore/journal/00000001.log"
        raw = bytearray(journal.read_bytes())
        raw[raw.index(b'"number":1') + 9] ^= 1
        damaged = bytes(raw)
    journal.write_bytes(damaged.replace(b'{"checkpoint"', b'{"xheckpoint"'))
    (root / ".filestore/state").unlink()
    backend = FileBackend(root)
    with pytest.raises(RecoveryNeeded, match="damaged"):
        backend.reshard(1)
    backend.close()
    assert (root / "volumes/v1.json").exists()


def test_another_number_is_refused(backend: FileBackend) -> None:
    for fanout in (-1, 3):
        with pytest.raises(ValueError, match="0, 1 or 2"):
            backend.reshard(fanout)


def test_check_tells_what_stands_at_another_fan_out(root: Path, backend: FileBackend) -> None:
    backend.reshard(1)
    (root / "volumes/merged.json").write_text("{}\n")
    (problem,) = backend.check()
    assert (problem.kind, problem.key) == ("stray", Key("volumes", "merged"))
    assert "filestore reshard 1" in problem.message
    backend.reshard(1)
    assert backend.check() == []
