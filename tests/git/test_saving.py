"""Putting a file of a work tree in the place of another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from filestore.errors import StorageError
from filestore.integrations.git import saving
from filestore.integrations.git.saving import write_file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_keeps_its_permissions_and_a_new_one_gets_those_that_are_asked(
    tmp_path: Path,
) -> None:
    file = tmp_path / "deep" / "file"
    old = os.umask(0o022)
    try:
        write_file(str(file), b"one", mode=0o666)
        assert file.stat().st_mode & 0o777 == 0o644
        file.chmod(0o666)
        write_file(str(file), b"two")
    finally:
        os.umask(old)
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o666
    assert [one.name for one in file.parent.iterdir()] == ["file"]


def test_it_is_on_the_disk_before_it_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def noted(*args: Any, name: str = name, real: Any = real) -> None:
            calls.append(name)
            real(*args)

        monkeypatch.setattr(saving.os, name, noted)
    write_file(str(tmp_path / "a"), b"x")
    assert calls == ["fsync", "replace", "fsync"]
    calls.clear()
    write_file(str(tmp_path / "a"), b"x", sync=False)
    assert calls == ["replace"]


def test_what_a_crash_left_is_in_nobody_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(saving.os, "replace", _die)
        patch.setattr(saving.os, "unlink", _die)
        with pytest.raises(KeyboardInterrupt):
            write_file(str(file), b"new")
    assert file.read_bytes() == b"old"
    write_file(str(file), b"new")
    assert file.read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "folder" / "a"
    file.parent.mkdir()
    file.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saving.os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            write_file(str(file), b"new")
    assert file.read_bytes() == b"old"
    assert [one.name for one in file.parent.iterdir()] == ["a"]


def _die(*_: Any) -> None:
    raise KeyboardInterrupt
