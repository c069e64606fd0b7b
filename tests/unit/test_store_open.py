"""Opening a store, and what the package offers at its edge."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import filestore
from filestore import errors


def test_memory_gives_a_store_of_its_own_each_time() -> None:
    with filestore.open("memory:") as first, filestore.open("memory:") as second:
        first["volumes"]["a"] = {}
        assert second.collections() == []
        assert first.location == "memory:"


def test_memory_takes_the_options_that_mean_something_there() -> None:
    with filestore.open("memory:", readonly=True) as store, pytest.raises(filestore.ReadOnly):
        store["volumes"]["a"] = {}
    with filestore.open("memory:", actor="me", codec="yaml", durability="off") as store:
        store["volumes"]["a"] = {}
        assert next(store.changes()).actor == "me"


@pytest.mark.parametrize("path", ["str", "pathlike"])
def test_a_path_gives_a_store_in_that_folder(tmp_path: Path, path: str) -> None:
    where = tmp_path / "state"
    with filestore.open(str(where) if path == "str" else where) as store:
        store["volumes"]["a"] = {"size": 1}
        assert Path(store.location) == where
    assert (where / "volumes" / "a.json").is_file()


def test_options_reach_the_folder(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "s", codec="yaml", durability="off", file_mode=0o640) as store:
        store["volumes"]["a"] = {"size": 1}
    assert (tmp_path / "s" / "volumes" / "a.yaml").stat().st_mode & 0o777 == 0o640
    with filestore.open(tmp_path / "s", readonly=True) as store:
        assert store.readonly
    with pytest.raises(filestore.NotFound):
        filestore.open(tmp_path / "nowhere", create=False)


@pytest.mark.parametrize("url", ["etcd://host", "s3://bucket", "oracle+oracledb://host/db"])
def test_a_url_that_no_backend_serves_makes_no_folder(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(filestore.UnsupportedFormat, match="memory:"):
        filestore.open(url)
    assert list(tmp_path.iterdir()) == []


def test_the_parameters_of_open_are_settled() -> None:
    parameters = inspect.signature(filestore.open).parameters.values()
    found: list[tuple[str, Any]] = [(each.name, each.default) for each in parameters]
    assert found == [
        ("path", inspect.Parameter.empty),
        ("codec", None),
        ("durability", "full"),
        ("readonly", False),
        ("create", True),
        ("lock_timeout", 10.0),
        ("watch", True),
        ("actor", None),
        ("file_mode", 0o600),
        ("cache_bytes", 256 << 20),
    ]


def test_every_error_is_offered() -> None:
    for name, each in vars(errors).items():
        if isinstance(each, type) and issubclass(each, errors.FilestoreError):
            assert getattr(filestore, name) is each
            assert name in filestore.__all__


def test_everything_offered_is_there() -> None:
    assert sorted(set(filestore.__all__)) == sorted(filestore.__all__)
    for name in filestore.__all__:
        assert getattr(filestore, name)
