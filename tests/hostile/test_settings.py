"""Settings, runtime files and paths that are not as a store left them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import Corrupt, FilestoreError, NotFound, StorageError, UnsupportedFormat
from tests.hostile.conftest import assert_usable, tree

if TYPE_CHECKING:
    from pathlib import Path

DAMAGED = {
    "empty": b"",
    "blank": b"\n\n",
    "truncated": b"codec: json\nfanout: 0\n",
    "cut in a word": b"codec: js",
    "binary": bytes(range(256)),
    "zeros": bytes(200),
    "text": b"hello\n",
    "list": b"- codec: json\n",
    "10 MB": b"x" * (10 << 20),
    "duplicate keys": b"codec: json\ncodec: yaml\nfanout: 0\nformat: 1\nid: x\n",
    "unknown codec": b"codec: xml\nfanout: 0\nformat: 1\nid: x\n",
    "codec a list": b"codec: [json]\nfanout: 0\nformat: 1\nid: x\n",
    "codec null": b"codec: null\nfanout: 0\nformat: 1\nid: x\n",
    "fanout a text": b"codec: json\nfanout: many\nformat: 1\nid: x\n",
    "fanout negative": b"codec: json\nfanout: -1\nformat: 1\nid: x\n",
    "fanout too large": b"codec: json\nfanout: 3\nformat: 1\nid: x\n",
    "fanout true": b"codec: json\nfanout: true\nformat: 1\nid: x\n",
    "format missing": b"codec: json\nfanout: 0\nid: x\n",
    "format a text": b"codec: json\nfanout: 0\nformat: '1'\nid: x\n",
    "format true": b"{codec: json, fanout: 0, format: true, id: x}\n",
    "format 0": b"codec: json\nfanout: 0\nformat: 0\nid: x\n",
    "format negative": b"codec: json\nfanout: 0\nformat: -1\nid: x\n",
    "format a float": b"codec: json\nfanout: 0\nformat: 1.5\nid: x\n",
    "endless digits": b"codec: json\nfanout: 0\nformat: " + b"9" * 5000 + b"\nid: x\n",
    "endless fanout": b"codec: json\nfanout: " + b"1" * 5000 + b"\nformat: 1\nid: x\n",
    "id missing": b"codec: json\nfanout: 0\nformat: 1\n",
    "id null": b"codec: json\nfanout: 0\nformat: 1\nid: null\n",
    "id empty": b"codec: json\nfanout: 0\nformat: 1\nid: ''\n",
    "id a mapping": b"codec: json\nfanout: 0\nformat: 1\nid: {a: 1}\n",
    "conflict": b"<<<<<<< HEAD\ncodec: json\n=======\ncodec: yaml\n>>>>>>> x\nformat: 1\nid: x\n",
    "tab": b"codec:\tjson\n\tfanout: 0\nformat: 1\nid: x\n",
    "python object": b"codec: !!python/object/apply:os.getcwd []\nformat: 1\nid: x\n",
    "byte order mark": b"\xef\xbb\xbfcodec: json\nfanout: 0\nformat: 1\nid: x\n",
    "invalid UTF-8": b"codec: json\nfanout: 0\nformat: 1\nid: \xff\n",
    "deep": b"[" * 50_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("readonly", [False, True])
def test_damaged_settings_are_told_and_kept(path: Path, content: bytes, readonly: bool) -> None:
    at = path / "filestore.yaml"
    good = at.read_bytes()
    at.write_bytes(content)
    before = tree(path)
    with pytest.raises(Corrupt if content != DAMAGED["endless digits"] else FilestoreError) as told:
        filestore.open(path, readonly=readonly)
    assert told.value.path == str(at)
    assert str(at) in str(told.value)
    assert len(str(told.value)) < len(str(at)) + 300
    assert tree(path) == before
    at.write_bytes(good)
    assert_usable(path)


def test_settings_written_by_hand_are_read(path: Path) -> None:
    at = path / "filestore.yaml"
    id = at.read_text().split("id: ")[1].strip()
    at.write_text(f'# ours\n"id": "{id}"\nformat: 1\ncodec: "json"  # readable\n')
    assert_usable(path)


@pytest.mark.parametrize("form", ["2", "99"])
def test_a_store_of_a_newer_format_is_refused(path: Path, form: str) -> None:
    at = path / "filestore.yaml"
    at.write_text(at.read_text().replace("format: 1", f"format: {form}") + "extra: [1, 2]\n")
    before = tree(path)
    for readonly in (False, True):
        with pytest.raises(UnsupportedFormat, match=f"format {form}.*newer filestore") as caught:
            filestore.open(path, readonly=readonly)
        assert caught.value.path == str(at)
    assert tree(path) == before


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "dangling"])
def test_settings_that_are_no_file_are_refused(path: Path, kind: str) -> None:
    at = path / "filestore.yaml"
    at.rename(path.parent / "away")
    if kind == "link":
        at.symlink_to(path.parent / "away")
    elif kind == "dangling":
        at.symlink_to("nowhere")
    elif kind == "folder":
        at.mkdir()
    else:
        os.mkfifo(at)
    before = tree(path)
    with pytest.raises(FilestoreError) as caught:
        filestore.open(path)
    assert str(at) in str(caught.value)
    assert tree(path) == before


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    for readonly in (False, True):
        with pytest.raises(FilestoreError, match=str(path)):
            filestore.open(path, readonly=readonly)
        with pytest.raises(FilestoreError, match=str(path)):
            filestore.open(path / "below", readonly=readonly)
    assert path.read_text() == "precious"


def test_a_path_whose_parents_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "a/b/state"
    for options in ({"create": False}, {"readonly": True}):
        with pytest.raises(NotFound, match=str(path)):
            filestore.open(path, **options)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []
    with filestore.open(path) as store:
        store["c"]["x"] = {}
    with filestore.open(path) as store:
        assert list(store["c"]) == ["x"]


@pytest.mark.parametrize("path", ["/proc/state", "/dev/null", "/dev/null/state", "/sys/state"])
def test_a_path_where_no_store_can_be(path: str) -> None:
    with pytest.raises(FilestoreError, match=path):
        filestore.open(path)


@pytest.mark.parametrize("target", ["nowhere", "loop"])
def test_a_path_that_is_a_broken_link(tmp_path: Path, target: str) -> None:
    path = tmp_path / "loop"
    path.symlink_to(target)
    with pytest.raises(FilestoreError, match=str(path)):
        filestore.open(path)
    assert os.listdir(tmp_path) == ["loop"]


def test_a_store_behind_a_link_is_that_store(path: Path) -> None:
    link = path.parent / "link"
    link.symlink_to(path)
    with filestore.open(link) as through, filestore.open(path) as direct:
        through["c"]["a"] = {"value": 1}
        assert direct["c"]["a"] == {"value": 1}
        direct["c"]["a"] = {"value": 2}
        assert through["c"]["a"] == {"value": 2}
    assert_usable(path)


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        filestore.open(f"{tmp_path}/a\0b")
    assert os.listdir(tmp_path) == []


def test_a_path_too_long_for_the_system(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 300), tmp_path / "/".join(["y" * 100] * 50)):
        with pytest.raises(StorageError):
            filestore.open(path)


def with_changes(path: Path) -> dict[str, object]:
    """The store with a history, closed."""
    with filestore.open(path) as store:
        for n in range(10):
            store["c"][f"x{n % 3}"] = {"value": n}
        return dict(store["c"])


SPOILT = {
    "empty": b"",
    "truncated": None,
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "text": b"garbage " * 512,
    "too long": b"garbage " * 5000,
}


@pytest.mark.parametrize("content", SPOILT.values(), ids=SPOILT)
def test_a_spoilt_state_file_is_made_anew_from_the_journal(
    path: Path, content: bytes | None
) -> None:
    documents = with_changes(path)
    at = path / ".filestore/state"
    at.write_bytes(at.read_bytes()[:100] if content is None else content)
    with filestore.open(path, readonly=True) as store:
        assert dict(store["c"]) == documents
        assert store.revision == 11
    with filestore.open(path) as store:
        assert store.revision == 11
        assert dict(store["c"]) == documents
        assert len(list(store.changes())) == 11
        assert store.check() == []
    assert_usable(path)


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_the_state_file_of_another_store_is_not_believed(path: Path, how: str) -> None:
    documents = with_changes(path)
    other = path.parent / "other"
    with filestore.open(other) as store:
        for n in range(30):
            store["d"][f"y{n}"] = {"value": "long " * n}
    at = path / ".filestore/state"
    at.unlink()
    (shutil.copy if how == "copied" else shutil.move)(other / ".filestore/state", at)
    with filestore.open(path) as store:
        assert store.revision == 11
        assert dict(store["c"]) == documents
        store["c"]["more"] = {}
        assert store.check() == []
        assert len(list(store.changes())) == 12
    assert_usable(path)
    with filestore.open(other) as store:
        assert store.revision == 30
        assert store.check() == []


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_the_runtime_files_of_another_store_are_refused_until_repaired(
    path: Path, how: str
) -> None:
    documents = with_changes(path)
    other = path.parent / "other"
    with filestore.open(other) as store:
        for n in range(30):
            store["d"][f"y{n}"] = {"value": "long " * n}
    shutil.rmtree(path / ".filestore")
    (shutil.copytree if how == "copied" else shutil.move)(other / ".filestore", path / ".filestore")
    before = tree(path)
    with filestore.open(path) as store:
        assert dict(store["c"]) == documents
        with pytest.raises(filestore.RecoveryNeeded, match="another store"):
            store["c"]["x"] = {}
        assert tree(path) == before
        assert any(problem.kind == "journal" for problem in store.check())
        assert store.repair() == []
        store["c"]["x"] = {}
        assert dict(store["c"]) == documents | {"x": {}}
    assert "d" not in os.listdir(path)
    assert_usable(path)
