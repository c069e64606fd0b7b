"""Ids and names of collections that would rather be something else (N1)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import InvalidKey
from tests.hostile.conftest import assert_usable, tree

if TYPE_CHECKING:
    from pathlib import Path

IDS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "a/b",
    "a\\b",
    "nul\0byte",
    "new\nline",
    "CON",
    "con",
    "Aux.txt",
    "é",
    "e\u0301",
    "case",
    "Case",
    "CASE",
    "-rf",
    ".hidden",
    "x.json",
    "trailing.",
    "trailing ",
    "%2e",
    "~1",
    "a~1",
    "\u202eright to left",
    "💾",
    "k" * 1024,
    "É" * 512,
    "/" * 300,
]


def test_any_id_names_a_document_inside_its_collections_folder(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with filestore.open(path) as store:
        for n, id in enumerate(IDS):
            store["c"][id] = {"n": n}
        assert sorted(store["c"]) == sorted(IDS)
    assert sorted(os.listdir(tmp_path)) == ["state"]
    assert sorted(os.listdir(path)) == [
        ".filestore", ".gitattributes", ".gitignore", "c", "filestore.yaml",
    ]  # fmt: skip
    with filestore.open(path) as store:
        assert store.check() == []
        assert {id: store["c"][id]["n"] for id in store["c"]} == {id: n for n, id in enumerate(IDS)}
        for id in IDS:
            del store["c"][id]
        assert list(store["c"]) == []
        assert store.collections() == []


def test_no_two_names_differ_by_case_or_normal_form_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with filestore.open(path) as store:
        for name in ("case", "Case", "CASE", "é", "e\u0301", "É"):
            store["c"][name] = {}
            store[name]["x"] = {}
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    for listing in (os.listdir(path / "c"), names):
        assert len({name.casefold() for name in listing}) == len(listing)
        assert all(name.isascii() for name in listing)


@pytest.mark.parametrize(
    "name",
    ["../up", "..", ".filestore", ".git", "nul\0", "CON", "a/../b", "x.json", "@00", "c%", "É"],
)
def test_any_name_of_a_collection_stays_inside_the_store(tmp_path: Path, name: str) -> None:
    path = tmp_path / "state"
    with filestore.open(path) as store:
        before = set(os.listdir(path / ".filestore"))
        store[name]["x"] = {"value": 1}
        assert store.collections() == [name]
        assert store[name]["x"] == {"value": 1}
        assert set(os.listdir(path / ".filestore")) == before
    assert sorted(os.listdir(tmp_path)) == ["state"]
    with filestore.open(path) as store:
        assert store.check() == []
        assert list(store[name]) == ["x"]


@pytest.mark.parametrize(
    "id", ["", "x" * 1025, "x" * 4096, "é" * 513, "\ud800", 7, None, b"bytes", ("a", "b")],
    ids=["empty", "1025", "4096", "1026 bytes", "surrogate", "int", "None", "bytes", "tuple"],
)  # fmt: skip
def test_what_is_no_id_is_refused_and_nothing_is_written(path: Path, id: object) -> None:
    before = tree(path)
    with filestore.open(path) as store:
        for attempt in (
            lambda: store["c"].put(id, {}),  # type: ignore[arg-type]
            lambda: store["c"].read(id),  # type: ignore[arg-type]
            lambda: store["c"].patch(id, {"a": 1}),  # type: ignore[arg-type]
            lambda: store["c"].__delitem__(id),  # type: ignore[arg-type]
        ):
            with pytest.raises(InvalidKey) as caught:
                attempt()
            assert isinstance(caught.value, ValueError)
        assert store.revision == 1
    assert tree(path) == before
    assert_usable(path)


@pytest.mark.parametrize(
    "name", ["", "/", "a//b", "/a", "a/", "x" * 300, "a/" * 8 + "a", "\ud800"],
    ids=["empty", "slash", "double", "leading", "trailing", "long", "deep", "surrogate"],
)  # fmt: skip
def test_what_is_no_name_of_a_collection_is_refused(path: Path, name: str) -> None:
    before = tree(path)
    with filestore.open(path) as store:
        with pytest.raises(InvalidKey):
            store[name]["x"] = {}
        with pytest.raises(InvalidKey):
            store[name].read("x")
        assert store.revision == 1
    assert tree(path) == before


def test_a_path_too_long_for_the_system_is_refused_by_name(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 3600:
        deep /= "d" * 200
    with filestore.open(deep / "state") as store:
        store["c"]["x"] = {}
        with pytest.raises(filestore.FilestoreError, match="shorter id"):
            store["c"]["y" * 1000] = {}
        assert list(store["c"]) == ["x"]
        assert store.check() == []
