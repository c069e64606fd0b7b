"""Where documents are: paths, folders, shards, and what in a tree is no document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore.engine.fs import FileSystem
from filestore.engine.layout import Layout
from filestore.errors import InvalidKey

if TYPE_CHECKING:
    from pathlib import Path


def test_an_ordinary_id_is_its_own_name() -> None:
    layout = Layout("/store", ".json", 0)
    id = "f1b2c3d4-0000-4000-a000-000000000000"
    assert layout.path(("volumes", id)) == f"/store/volumes/{id}.json"
    assert layout.path(("driver_data/lvm", "x")) == "/store/driver_data/lvm/x.json"


def test_the_folders_lead_from_the_root_down() -> None:
    layout = Layout("/store", ".json", 0)
    assert layout.folders("/store/a/b") == ("/store/a", "/store/a/b")


@given(st.text(min_size=1, max_size=60), st.sampled_from([0, 1, 2]))
def test_no_id_leaves_its_collection(id: str, fanout: int) -> None:
    layout = Layout("/store", ".json", fanout)
    try:
        path = layout.path(("volumes", id))
    except InvalidKey:
        return
    parts = path.removeprefix("/store/volumes/").split("/")
    assert path.startswith("/store/volumes/")
    assert not {"", ".", ".."} & set(parts)
    assert all(len(part.encode()) <= 255 and "\0" not in part for part in parts)


@pytest.mark.parametrize("fanout", [0, 1, 2])
def test_ids_are_found_again(tmp_path: Path, fanout: int) -> None:
    layout = Layout(str(tmp_path), ".json", fanout)
    ids = ["plain", "Ünï", "a/b", "CON", "x" * 900, "..", "Case", "case"]
    for id in ids:
        path = layout.path(("volumes", id))
        for folder in layout.folders(path.rpartition("/")[0]):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / path).write_text("{}")
    assert sorted(layout.ids(FileSystem(), "volumes")) == sorted(ids)
    assert layout.collections(FileSystem()) == ["volumes"]


def test_what_is_no_document_is_left_alone(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path), ".json", 0)
    folder = tmp_path / "volumes"
    folder.mkdir()
    for name in (
        "x.json~",
        ".x.json.swp",
        "#x.json#",
        "README.md",
        ".hidden.json",
        "x.yaml",
        "Upper.json",
        "bad%zz.json",
    ):
        (folder / name).write_text("{}")
    (folder / "link.json").symlink_to("/etc/passwd")
    (folder / "folder.json").mkdir()
    assert layout.ids(FileSystem(), "volumes") == []
    (folder / "x.json").write_text("{}")
    assert layout.ids(FileSystem(), "volumes") == ["x"]


def test_a_document_in_a_wrong_shard_is_not_listed(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path), ".json", 1)
    right = layout.path(("volumes", "x"))
    wrong = tmp_path / "volumes" / ("@00" if "/@00/" not in right else "@01")
    wrong.mkdir(parents=True)
    (wrong / "x.json").write_text("{}")
    assert layout.ids(FileSystem(), "volumes") == []


def test_collections_nest_and_hidden_folders_are_none(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path), ".json", 0)
    for folder in ("a", "a/b", "empty", ".git/x", ".filestore/tmp", "docs"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for file in ("a/1.json", "a/b/2.json", ".git/x/3.json", ".filestore/tmp/4.json", "docs/r.md"):
        (tmp_path / file).write_text("{}")
    assert layout.collections(FileSystem()) == ["a", "a/b"]


def test_a_path_that_no_system_takes_is_an_invalid_key() -> None:
    layout = Layout("/" + "r" * 3900, ".json", 0)
    with pytest.raises(InvalidKey, match="shorter id"):
        layout.path(("volumes", "x" * 200))


@pytest.mark.parametrize("fanout", [0, 1, 2])
@pytest.mark.parametrize("id", ["a", "a/b", "..", "@3f", "@" + "x" * 300, "é" * 200, "%" * 150])
@pytest.mark.parametrize("collection", ["v", "v/w", "@x"])
def test_a_file_in_its_place_tells_its_document(collection: str, id: str, fanout: int) -> None:
    layout = Layout("/root", ".json", fanout)
    path = layout.path((collection, id))
    assert layout.key(path) == (collection, id)
    assert layout.key(path.removesuffix(".json") + ".yaml") is None
    assert layout.key(f"{path}~") is None
