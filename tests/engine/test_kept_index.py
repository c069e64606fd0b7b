"""Indexes that are kept between runs: what is believed of them, and what never is."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore import Store
from filestore.engine.fs import FileSystem
from filestore.index import indexes as indexes_module
from filestore.index import layered as layered_module
from filestore.index.image import build
from filestore.index.saved import Damaged, Header, decode, encode
from tests.quiet import QuietBackend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from filestore.backend import Entry, Unreadable
    from filestore.index.image import Hashes

COUNT = 300


class Counting(QuietBackend):
    """Counts the documents that are read."""

    read = 0

    def get_many(
        self, collection: str, ids: Sequence[str], *, keep: bool = True
    ) -> list[tuple[str, Entry | Unreadable]]:
        self.read += len(ids)
        return super().get_many(collection, ids, keep=keep)


class Opened:
    """A store and how many documents it has read."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.backend = Counting(path, background=False, **options)
        self.store = Store(self.backend)

    def ids(self, **fields: Any) -> list[str]:
        return [record.key.id for record in self.store["volumes"].find(**fields)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of some documents that has kept an index of their names."""
    path = tmp_path / "store"
    with Opened(path, durability="off") as opened:
        opened.store["volumes"].update(
            {f"id{n:03}": {"name": f"v{n}", "size": n % 3} for n in range(COUNT)}
        )
        assert opened.ids(name="v5") == ["id005"]
    assert kept(path)
    return path


def kept(path: Path) -> list[Path]:
    return sorted((path / ".filestore" / "index").glob("*er"))


def test_a_find_after_opening_reads_what_it_gives(path: Path) -> None:
    with Opened(path) as opened:
        assert opened.ids(name="v7") == ["id007"]
        assert opened.ids(name="nope") == []
        assert opened.backend.read == 1
        assert len(opened.ids(size=1)) == COUNT // 3  # another field: all is looked at
    with Opened(path, readonly=True) as opened:
        assert len(opened.ids(size=1)) == COUNT // 3
        assert opened.ids(name="v7") == ["id007"]
        assert opened.backend.read == COUNT // 3 + 1


def test_what_was_committed_since_is_read(path: Path) -> None:
    with Opened(path) as opened:  # it finds nothing, so it keeps nothing
        opened.store["volumes"]["id007"] = {"name": "other"}
        opened.store["volumes"]["new"] = {"name": "v7"}
        opened.store["snapshots"]["s"] = {"name": "v7"}
        del opened.store["volumes"]["id008"]
    with Opened(path) as opened:
        assert opened.ids(name="v7") == ["new"]
        assert opened.ids(name="v8") == []
        assert opened.ids(name="other") == ["id007"]
        assert opened.backend.read < 10


def test_nothing_is_written_when_nothing_changed(path: Path) -> None:
    before = [(file.name, file.stat().st_mtime_ns, file.stat().st_ino) for file in kept(path)]
    with Opened(path) as opened:
        assert opened.ids(name="v7") == ["id007"]
    assert [(file.name, file.stat().st_mtime_ns, file.stat().st_ino) for file in kept(path)] == (
        before
    )


def test_a_small_change_writes_a_small_file(path: Path) -> None:
    (lower,) = kept(path)
    inode, size = lower.stat().st_ino, lower.stat().st_size
    for turn in range(3):
        with Opened(path) as opened:
            opened.store["volumes"].patch("id007", {"name": f"new{turn}"})
            assert opened.ids(name=f"new{turn}") == ["id007"]
        same, upper = kept(path)
        assert (same, same.stat().st_ino) == (lower, inode)
        assert upper.stat().st_size < size / 10
    with Opened(path) as opened:
        assert opened.ids(name="new2") == ["id007"]
        assert opened.ids(name="new1") == opened.ids(name="v7") == []
        assert opened.backend.read < 5


def test_many_changes_make_it_whole_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layered_module, "_MIN_UPPER", 4)
    (lower,) = kept(path)
    inode = lower.stat().st_ino
    with Opened(path) as opened:
        for n in range(60):
            opened.store["volumes"].patch(f"id{n:03}", {"name": f"new{n}"})
        del opened.store["volumes"]["id100"]
        assert opened.ids(name="new7") == ["id007"]
    (lower,) = kept(path)
    assert lower.stat().st_ino != inode
    with Opened(path) as opened:
        assert opened.ids(name="new9") == ["id009"]
        assert opened.ids(name="v9") == opened.ids(name="v100") == []
        assert opened.ids(name="v101") == ["id101"]
        assert opened.backend.read == 2


def damages(file: Path) -> Iterator[tuple[str, bytes]]:
    raw = file.read_bytes()
    yield "empty", b""
    yield "cut short by a word", raw[:-8]
    yield "cut short by a byte", raw[:-1]
    yield "longer", raw + bytes(8)
    yield "zeros", bytes(len(raw))
    yield "another version", raw[:7] + b"\x02" + raw[8:]
    for at in range(0, len(raw), max(1, len(raw) // 12)):
        yield f"byte {at}", raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]


@pytest.mark.parametrize("which", ["lower", "upper"])
def test_damage_changes_no_answer(path: Path, which: str) -> None:
    with Opened(path) as opened:
        opened.store["volumes"].update({f"id{n:03}": {"name": f"new{n}"} for n in range(20)})
        assert opened.ids(name="new7") == ["id007"]
    (file,) = (file for file in kept(path) if file.suffix == f".{which}")
    expected = {
        name: ids
        for n in range(25)
        for name, ids in (
            (f"new{n}", [f"id{n:03}"] if n < 20 else []),
            (f"v{n}", [] if n < 20 else [f"id{n:03}"]),
        )
    }
    for what, raw in list(damages(file)):
        copy = path.with_name("copy")
        shutil.copytree(path, copy)
        (copy / file.relative_to(path)).write_bytes(raw)
        with Opened(copy) as opened:
            assert {name: opened.ids(name=name) for name in expected} == expected, what
        with Opened(copy) as opened:  # and it was mended, or is still not believed
            assert {name: opened.ids(name=name) for name in expected} == expected, what
        shutil.rmtree(copy)


def test_what_is_no_file_is_no_index(path: Path) -> None:
    for file in kept(path):
        file.unlink()
        file.mkdir()
    with Opened(path) as opened:
        assert opened.ids(name="v7") == ["id007"]
    shutil.rmtree(path / ".filestore" / "index")
    (path / ".filestore" / "index").write_text("no folder")
    with Opened(path) as opened:
        assert opened.ids(name="v7") == ["id007"]


def test_the_index_of_another_history_is_not_believed(path: Path) -> None:
    runtime = path / ".filestore"
    shutil.copytree(runtime / "index", path.with_name("index"))
    shutil.rmtree(runtime)  # history is lost, and revisions begin anew
    with Opened(path, durability="off") as opened:
        opened.store["volumes"]["id007"] = {"name": "other"}
        assert opened.store.revision == 1
    shutil.rmtree(runtime / "index", ignore_errors=True)
    shutil.move(path.with_name("index"), runtime / "index")
    with Opened(path) as opened:
        assert opened.ids(name="v7") == []
        assert opened.ids(name="other") == ["id007"]


def test_the_index_of_a_journal_that_was_put_back_is_not_believed(path: Path) -> None:
    """As after a power cut that took the last commits: their revisions are made again."""
    backup = path.with_name("backup")
    shutil.copytree(path, backup)
    for at, name in ((path, "one"), (backup, "two")):
        with Opened(at) as opened:
            opened.store["volumes"]["id007"] = {"name": name}
            assert opened.ids(name=name) == ["id007"]
            revision = opened.store.revision
    for file in kept(path):
        shutil.copy(file, backup / file.relative_to(path))
    with Opened(backup) as opened:
        assert opened.store.revision == revision
        assert opened.ids(name="two") == ["id007"]
        assert opened.ids(name="one") == []


def test_an_index_without_the_commits_since_is_made_anew(path: Path) -> None:
    saved = path.with_name("index")
    shutil.copytree(path / ".filestore" / "index", saved)
    with Opened(path, durability="off") as opened:
        opened.store["volumes"]["id007"] = {"name": "other"}
    # As if the journal had been trimmed: what is told begins later.
    with Opened(path) as opened:
        revision = opened.store.revision
        changes = opened.backend.changes
        opened.backend.changes = (  # type: ignore[method-assign]
            lambda since: (each for each in changes(since) if each.revision > revision)
        )
        assert opened.ids(name="other") == ["id007"]
        assert opened.ids(name="v7") == []
        assert opened.backend.read >= COUNT


def test_unreadable_documents_are_remembered(path: Path) -> None:
    with Opened(path) as opened:
        (path / "volumes" / "id007.json").write_text("{")
        opened.ids(size=1)
    (path / "volumes" / "id007.json").write_text('{"name": "mended"}')
    with Opened(path) as opened:
        assert opened.ids(name="mended") == ["id007"]
        assert opened.backend.read < COUNT


def test_computed_fields_are_kept_by_name_and_version(path: Path) -> None:
    def parity(document: dict[str, Any]) -> int:
        return int(document["size"]) % 2

    for version, whole in (("1", True), ("1", False), ("2", True)):
        with Opened(path) as opened:
            opened.store.define("volumes", "parity", parity, version=version)
            assert len(opened.ids(parity=1, name="v4")) == 1
            assert len(opened.ids(parity=1)) == COUNT // 3
            assert (opened.backend.read > COUNT) == whole
    with Opened(path) as opened:  # who does not define it finds by the other field
        assert opened.ids(name="v7") == ["id007"]
        assert opened.ids(parity=1) == []


def test_a_large_index_is_kept_as_soon_as_it_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes_module, "_WORTH_KEEPING", COUNT)
    for file in kept(path):
        file.unlink()
    opened = Opened(path)
    assert opened.ids(name="v7") == ["id007"]
    assert kept(path)
    opened.backend.close()  # not by the store


def test_a_full_disk_keeps_nothing_and_raises_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lower,) = kept(path)
    raw = lower.read_bytes()
    with Opened(path) as opened:
        opened.store["volumes"]["id007"] = {"name": "other"}
        assert opened.ids(name="other") == ["id007"]

        def refuse(*_: object) -> int:
            raise OSError(28, os.strerror(28))

        with monkeypatch.context() as patch:
            patch.setattr(opened.backend._ground, "fs", FileSystem())
            patch.setattr(opened.backend._ground.fs, "pwrite", refuse, raising=False)
            opened.store._indexes.save()
        assert lower.read_bytes() == raw
        assert kept(path) == [lower]
        assert not list((path / ".filestore" / "tmp").glob("index-*"))
    with Opened(path) as opened:
        assert opened.ids(name="other") == ["id007"]
        assert opened.backend.read == 1


def test_a_process_that_commits_meanwhile_is_seen(path: Path) -> None:
    with Opened(path) as one, Opened(path) as other:
        assert one.ids(name="v7") == other.ids(name="v7") == ["id007"]
        one.store["volumes"]["id007"] = {"name": "x"}
        assert other.ids(name="x") == ["id007"]
        assert other.ids(name="v7") == []
        other.store["volumes"]["id008"] = {"name": "x"}
        assert one.ids(name="x") == ["id007", "id008"]
    with Opened(path) as opened:
        assert opened.ids(name="x") == ["id007", "id008"]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
documents = st.dictionaries(texts, st.tuples(*[st.none() | st.integers(0, 9)] * 2), max_size=50)


@given(documents, st.integers(0, 2000))
def test_what_is_encoded_is_decoded(documents: dict[str, Hashes], more: int) -> None:
    documents |= {f"many{n}": (7, n) for n in range(more)}
    image = build(sorted(documents.items()), 2)
    header = Header("v", 3, "token", "id", None, bytes(16), (("a", None), ("b", "1")), ("é",))
    raw = b"".join(encode(image, header))
    assert len(raw) % 8 == 0
    read, found = decode(memoryview(raw))
    assert read == header
    for column in range(2):
        for digest in range(10):
            assert found.found(column, digest) == image.found(column, digest)
    assert found.only([1]).found(0, 7) == image.found(1, 7)
    assert found.all_ids() == image.all_ids()
    found.check()


@given(st.data())
def test_no_damaged_byte_is_believed(data: st.DataObject) -> None:
    image = build([(f"id{n:05}", (n % 50,)) for n in range(3000)], 1)
    header = Header("v", 3, "token", "id", None, bytes(16), (("a", None),), ())
    raw = bytearray(b"".join(encode(image, header)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        read, found = decode(memoryview(raw))
        hits = [found.found(0, digest) for digest in range(50)]
    except Damaged:
        return
    assert read == header
    assert hits == [image.found(0, digest) for digest in range(50)]


def test_a_small_index_that_is_cut_short_while_it_is_used_harms_nobody(path: Path) -> None:
    with Opened(path) as opened:
        assert opened.ids(name="v7") == ["id007"]
        for file in kept(path):
            os.truncate(file, 0)
        for n in range(COUNT):
            assert opened.ids(name=f"v{n}") == [f"id{n:03}"]
    with Opened(path) as opened:
        assert opened.ids(name="v7") == ["id007"]
