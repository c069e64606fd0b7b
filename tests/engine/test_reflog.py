"""The traces of git around a folder, read as files, whatever they say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from filestore.engine.fs import FileSystem
from filestore.engine.reflog import Reflog

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "0" * 40, "1" * 40


def logged(text: str, *, who: str = "Ann <ann@x>", at: int = 1700000000) -> str:
    return f"{OLD} {NEW} {who} {at} +0100\t{text}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work/.git/logs").mkdir(parents=True)
    (tmp_path / "work/.git/HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "work/state").mkdir()
    return tmp_path / "work/state"


def log(root: Path) -> Path:
    return root.parent / ".git/logs/HEAD"


def reflog(root: Path) -> Reflog:
    found = Reflog(FileSystem(), str(root))
    assert found.look() is not None
    return found


def test_only_what_changes_files_is_an_operation(root: Path) -> None:
    log(root).write_text(
        logged("commit (initial): begin", at=1)
        + logged("checkout: moving from main to x", at=2)
        + logged("commit: checkout", at=3)
        + logged("Branch: renamed refs/heads/a to refs/heads/b", at=4)
        + logged("", at=5)
        + logged("merge x: Fast-forward", who="<bob@x>", at=6)
    )
    found = reflog(root).operations()
    assert [(one.ended, one.actor, one.text) for one in found] == [
        (2, "Ann", "checkout: moving from main to x"),
        (6, "bob@x", "merge x: Fast-forward"),
    ]
    assert found[0].position < found[1].position == log(root).stat().st_size


def test_the_last_line_is_of_when_the_log_was_written(root: Path) -> None:
    log(root).write_text(logged("checkout: moving", at=100) + logged("merge x: ort", at=100))
    os.utime(log(root), (130.9, 130.9))
    assert [one.ended for one in reflog(root).operations()] == [100, 130]
    log(root).write_text(logged("merge x: ort", at=100) + logged("commit: one", at=120))
    os.utime(log(root), (130, 130))
    assert [one.ended for one in reflog(root).operations()] == [100], "the last is no operation"
    for seconds in (99, 100 + 7200):  # another clock; a log that was rewritten
        log(root).write_text(logged("merge x: ort", at=100))
        os.utime(log(root), (seconds, seconds))
        assert [one.ended for one in reflog(root).operations()] == [100]


def test_a_line_that_is_being_written_does_not_count_yet(root: Path) -> None:
    whole = logged("reset: moving to HEAD~1")
    log(root).write_text(whole[:-1])
    assert reflog(root).operations() == []
    log(root).write_text(whole)
    assert len(reflog(root).operations()) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n\0\n",
        b"\xff" * 100_000 + b"\n",
        (OLD + " " + NEW + " A <a> 99999999999999999999 +0100\treset: x\n").encode(),
        b"x" * 40_000 + b"\n",
    ],
)
def test_a_log_of_nonsense_tells_nothing(root: Path, raw: bytes) -> None:
    log(root).write_bytes(raw)
    assert reflog(root).operations() == []


def test_a_text_of_any_bytes_and_length_becomes_one_line_of_text(root: Path) -> None:
    words = b"merge \xff\x1b[31m\r" + b"x" * 5000
    log(root).write_bytes(f"{OLD} {NEW} \udcff <a> 7 -0000\t".encode(errors="surrogateescape"))
    with log(root).open("ab") as file:
        file.write(words + b"\n")
    (one,) = reflog(root).operations()
    assert len(one.text) == 300
    one.text.encode()
    assert one.actor is not None
    one.actor.encode()


def test_only_the_end_of_a_long_log_is_read(root: Path) -> None:
    log(root).write_text("".join(logged("reset: moving to HEAD", at=n) for n in range(5000)))
    found = reflog(root).operations()
    assert 100 < len(found) < 1000
    assert found[-1].ended == 4999


def test_a_work_tree_s_own_folder_is_found_through_its_file(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "tree"
    inside = root.parent / ".git/worktrees/tree"
    (inside / "logs").mkdir(parents=True)
    (inside / "HEAD").write_text("ref: refs/heads/x\n")
    (inside / "logs/HEAD").write_text(logged("checkout: moving from a to b"))
    other.mkdir()
    for target in (str(inside), os.path.relpath(inside, other)):
        (other / ".git").write_text(f"gitdir: {target}\n")
        assert len(reflog(other).operations()) == 1


@pytest.mark.parametrize("raw", [b"", b"gitdir: \0", b"gitdir: nowhere\n", b"\xff", b"gitdir:"])
def test_a_file_that_leads_nowhere_is_no_repository(root: Path, raw: bytes) -> None:
    other = root / "deeper"
    other.mkdir()
    (other / ".git").write_bytes(raw)
    found = Reflog(FileSystem(), str(other))
    assert found.look() is None
    assert found.operations() == []


def test_pipes_and_folders_in_the_place_of_files_hold_up_nobody(root: Path) -> None:
    os.mkfifo(log(root))
    (root.parent / ".git/index").mkdir()
    assert reflog(root).operations() == []
    found = Reflog(FileSystem(), str(root))
    os.mkfifo(root / ".git")
    assert found.look() is None


def test_a_repository_that_comes_or_goes_is_noticed(root: Path) -> None:
    found = Reflog(FileSystem(), str(root))
    (root.parent / ".git/HEAD").rename(root.parent / "HEAD")
    look = found.look()
    assert look is None
    (root.parent / "HEAD").rename(root.parent / ".git/HEAD")
    assert found.look() is not None
    (root.parent / ".git/index.lock").touch()
    look = found.look()
    assert look is not None
    assert look.locked
    (root.parent / ".git/HEAD").unlink()
    look = found.look()
    assert look is None
