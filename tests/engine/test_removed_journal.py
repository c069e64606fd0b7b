"""Somebody removes the journal's folder while the store is open."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from filestore.engine.files import FileBackend
from filestore.errors import Corrupt
from filestore.model import Edit, Key
from tests.engine.test_trimmed_history import keep_little
from tests.processes.actors import until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def put(backend: FileBackend, id: str) -> None:
    backend.apply([Edit(Key("volumes", id), b'{"n":1}')])


def remove(path: Path) -> None:
    shutil.rmtree(path / ".filestore/journal")


def told(backend: FileBackend) -> str:
    return "".join(op.key.id for commit in backend.changes(0) for op in commit.ops)


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
def test_a_checkpoint_puts_back_what_is_still_open(path: Path, durability: str) -> None:
    with closing(FileBackend(path, background=False, durability=durability)) as backend:
        with closing(FileBackend(path, background=False, durability=durability)) as other:
            put(other, "a")
            put(backend, "b")
            remove(path)
            put(backend, "c")
            backend.checkpoint()
            put(other, "d")
            put(backend, "e")
            assert told(backend) == told(other) == "abcde"
            assert backend.check() == []
        backend.checkpoint()
    (path / ".filestore/state").unlink()  # as after a crash of the machine
    with closing(FileBackend(path, background=False)) as backend:
        assert told(backend) == "abcde"
        assert backend.check() == []
        assert sorted(file.stem for file in (path / "volumes").iterdir()) == list("abcde")


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_it_is_put_back_behind_the_commits(path: Path, durability: str) -> None:
    with closing(FileBackend(path, durability=durability, watch=False)) as backend:
        put(backend, "a")
        remove(path)
        put(backend, "b")
        until((path / ".filestore/journal/00000002.log").exists)
        put(backend, "c")
        assert told(backend) == "abc"


def test_until_then_the_feed_does_not_pass_for_an_empty_one(path: Path) -> None:
    with closing(FileBackend(path, background=False)) as backend:
        put(backend, "a")
        remove(path)
        with pytest.raises(Corrupt):
            told(backend)
        with pytest.raises(Corrupt):
            backend.rescan()
        backend.checkpoint()
        assert told(backend) == "a"
        assert backend.rescan() == 1


def test_what_another_handle_dropped_is_not_put_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_little(monkeypatch)
    with closing(FileBackend(path, background=False)) as backend:
        put(backend, "a")
        with closing(FileBackend(path, background=False)) as other:
            for number in range(100):
                put(other, str(number))
            other.checkpoint()
        first = path / ".filestore/journal/00000001.log"
        assert not first.exists()
        backend.checkpoint()
        assert not first.exists()
