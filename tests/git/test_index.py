"""Git's index, changed in place: it says what git would have written, or is left to git."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore.integrations.git import staging
from filestore.integrations.git.index import Folder, Staged, _Index, _Node, _node, changed
from filestore.integrations.git.run import GitError
from tests.git.work import Work, make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filestore import Store


@contextmanager
def opened(work: Work) -> Iterator[Store]:
    with filestore.open(work.path, watch=False, durability="off") as store:
        yield store


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to git."""

    def refuse(_: staging.Staging) -> None:
        raise AssertionError

    monkeypatch.setattr(staging.Staging, "there", refuse)


def index_of(work: Work) -> Path:
    return work.path / work.git("rev-parse", "--git-path", "index").out.strip()


def clean(work: Work) -> None:
    """The index is HEAD and the files, and what it knows of folders is so."""
    assert_known_folders(work)
    assert work.git("diff-index", "--cached", "HEAD").out == ""
    assert work.git("diff-files").out == ""
    assert work.git("status", "--porcelain").out == ""
    assert work.git("write-tree").out == work.git("rev-parse", "HEAD^{tree}").out
    work.git("fsck", "--strict", "--no-dangling")


def assert_known_folders(work: Work) -> int:
    """How many folders the index knows the trees of; each is as git says."""
    index = _Index(
        index_of(work).read_bytes(), work.git("rev-parse", "--show-object-format").out.strip()
    )
    trees = [content for name, content in index._extensions if name == b"TREE"]
    if not trees:
        return 0
    listed = work.git("ls-files", "--full-name", ":/").out.splitlines()
    pending: list[tuple[str, _Node]] = [("", _node(trees[0], 0, index._size)[0])]
    known = 0
    while pending:
        path, node = pending.pop()
        pending += [(f"{path}{child.name.decode()}/", child) for child in node.below]
        if node.count >= 0:
            assert node.count == sum(name.startswith(path) for name in listed), path
            assert node.id.hex() == work.git("rev-parse", f"HEAD:{path}").out.strip(), path
            known += 1
    return known


def filled(work: Work, count: int = 30) -> None:
    with opened(work) as store:
        for number in range(count):
            store["volumes"][f"v{number}"] = {"n": number}
            store["deep/er"][f"d{number}"] = {"n": number}
    work.git("add", "-A")
    work.git("commit", "-q", "-m", "filled")


@pytest.mark.usefixtures("in_place")
@pytest.mark.parametrize("folder", ["", "a/b"])
def test_changes_additions_and_deletions_are_as_git_has_them(tmp_path: Path, folder: str) -> None:
    work = make(tmp_path / "work", folder=folder)
    filled(work)
    chance = random.Random(5)
    with opened(work) as store:
        for turn in range(12):
            for _ in range(chance.randint(1, 5)):
                name = chance.choice(["volumes", "deep/er", "deep", "new/one", "vol"])
                id = f"{chance.choice('vdxa')}{chance.randrange(35)}"
                if chance.random() < 0.3:
                    store[name].pop(id, None)
                else:
                    store[name][id] = {"n": turn, "x": chance.random()}
            store.git.commit(f"turn {turn}")
            clean(work)


@pytest.mark.usefixtures("in_place")
def test_what_is_known_of_folders_stays_known(work: Work) -> None:
    filled(work)
    before = assert_known_folders(work)
    assert before == 4
    with opened(work) as store:
        store["volumes"]["v3"] = {"n": -1}
        store["deep/er"]["another"] = {"n": -1}
        del store["deep/er"]["d1"]
        store.git.commit()
    assert assert_known_folders(work) == before
    clean(work)


@pytest.mark.usefixtures("in_place")
def test_what_somebody_staged_stays_staged(work: Work) -> None:
    filled(work)
    (work.path / "volumes" / "README").write_text("mine")
    work.git("add", "volumes/README")
    work.git("write-tree")
    with opened(work) as store:
        store["volumes"]["v3"] = {"n": -1}
        store.git.commit()
    assert work.git("status", "--porcelain").out == "A  volumes/README\n"
    work.git("commit", "-q", "-m", "mine")
    assert work.git("show", "--format=", "--name-status").out == "A\tvolumes/README\n"
    clean(work)


@pytest.mark.usefixtures("in_place")
def test_an_entry_that_proves_nothing_goes_on_proving_nothing(work: Work) -> None:
    filled(work)
    index = index_of(work)
    with opened(work) as store:
        store.git.commit()  # looks at all
        os.utime(index, ns=(10**18, 10**18))  # all files are younger
        store["volumes"]["v3"] = {"n": 4}
        store.git.commit()
    assert index.stat().st_mtime_ns == 10**18
    clean(work)


def test_a_sha256_repository_has_its_own_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    work = make(tmp_path / "work")
    filled(work)
    with opened(work) as store:
        for number in range(3):
            store["volumes"][f"w{number}"] = {"n": 7}
            store["volumes"].pop(f"v{number}")
            store.git.commit()
            clean(work)


@pytest.mark.parametrize(
    "words",
    [
        ("update-index", "--index-version", "4"),
        ("update-index", "--split-index"),
        ("update-index", "--force-untracked-cache"),
        ("update-index", "--chmod=+x", "volumes/v3.json"),
        ("config", "index.threads", "2"),
        ("config", "core.sharedRepository", "group"),
        ("config", "core.fsync", "all"),
        ("config", "index.skipHash", "true"),
        ("rm", "-q", "--cached", "-r", "deep"),
    ],
)
def test_an_index_of_any_kind_ends_right(work: Work, words: tuple[str, ...]) -> None:
    filled(work)
    with opened(work) as store:
        store.git.commit()  # looks at all
        work.git(*words)
        staged = work.git("diff", "--cached", "--name-only", "--", ".", ":!volumes/v3.json").out
        for number in range(4):
            store["volumes"][f"v{number}"] = {"n": -1}
        store["volumes"]["new"] = {"n": 1}
        del store["volumes"]["v9"]
        store.git.commit("changed")
        assert store.git.commit() is None
    assert work.git("diff", "--cached", "--name-only").out == staged
    told = work.git("show", "--format=", "--name-status", "--no-renames").out.splitlines()
    assert len(told) == 6
    assert work.git("diff", "--name-only", "--", ":!volumes/v3.json").out == ""
    work.git("fsck", "--strict", "--no-dangling")


@pytest.mark.parametrize("fsync", ["none", "loose-object"])
@pytest.mark.parametrize("folder", ["", "a/b"])
@pytest.mark.parametrize(
    "marks",
    [("--assume-unchanged",), ("--skip-worktree",), ("--assume-unchanged", "--skip-worktree")],
)
def test_an_entry_that_git_is_not_to_compare_takes_nothing_back(
    tmp_path: Path, marks: tuple[str, ...], folder: str, fsync: str
) -> None:
    work = make(tmp_path / "work", folder=folder)
    filled(work)
    work.git("config", "core.fsync", fsync)
    work.git("update-index", "--chmod=+x", "volumes/v1.json")
    work.git("commit", "-q", "-m", "a mode")
    for mark in marks:
        work.git("update-index", mark, *(f"volumes/v{number}.json" for number in range(4)))

    def marked() -> list[str]:
        listed = work.git("ls-files", "-v").out.splitlines()
        return [line for line in listed if not line.startswith("H ")]

    before = marked()
    assert len(before) == 4
    with opened(work) as store:
        store.git.commit()  # looks at all
        for number in range(7):
            store["volumes"][f"v{number}"] = {"n": -1}
        del store["volumes"]["v3"]
        store["volumes"]["new"] = {"n": 1}
        store.git.commit("changed")
    assert work.git("diff", "--cached", "--name-only").out == ""
    assert marked() == [line for line in before if "v3" not in line]
    told = work.git("show", "--format=", "--name-status", "--no-renames").out
    assert len(told.splitlines()) == 8
    work.git("commit", "-q", "--allow-empty", "-m", "by somebody")
    assert work.git("show", "--format=", "--name-only").out == "", "it takes nothing back"


def test_a_marked_entry_goes_with_its_document_from_a_sha256_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    work = make(tmp_path / "work")
    filled(work)
    work.git("update-index", "--assume-unchanged", "volumes/v1.json", "volumes/v2.json")
    with opened(work) as store:
        store.git.commit()  # looks at all
        store["volumes"]["v1"] = {"n": -1}
        del store["volumes"]["v2"]
        store.git.commit()
    assert work.git("diff", "--cached", "--name-only").out == ""
    assert work.git("ls-files", "volumes/v2.json").out == ""


def test_what_a_sparse_checkout_left_out_stays_in_git(work: Work) -> None:
    filled(work)
    with opened(work) as store:
        store.git.commit()
        work.git("sparse-checkout", "set", "deep")
        if (work.path / "volumes").exists():
            pytest.fail("git left nothing out")
        store.rescan()
        assert "v1" not in store["volumes"]
        del store["deep/er"]["d1"]
        store["deep/er"]["d2"] = {"n": -1}
        store.git.commit()
        told = work.git("show", "--format=", "--name-status").out.splitlines()
        assert told == ["D\tdeep/er/d1.json", "M\tdeep/er/d2.json"]
        work.git("sparse-checkout", "disable")
        store.rescan()
        assert store["volumes"]["v1"] == {"n": 1}
        assert store.git.commit() is None
    clean(work)


def test_a_lock_of_git_s_is_told_and_nothing_is_done(work: Work) -> None:
    filled(work)
    head = work.git("rev-parse", "HEAD").out
    (work.path / ".git/index.lock").touch()
    with opened(work) as store:
        store["volumes"]["v3"] = {"n": -1}
        with pytest.raises(GitError, match=r"index\.lock"):
            store.git.commit()
        assert work.git("rev-parse", "HEAD").out == head
        (work.path / ".git/index.lock").unlink()
        assert store.git.commit() is not None
    clean(work)


def test_no_lock_is_left_behind(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(work)

    def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    with opened(work) as store:
        store["volumes"]["v3"] = {"n": -1}
        with monkeypatch.context() as patch:
            patch.setattr(staging, "changed", fail)
            with pytest.raises(RuntimeError):
                store.git.commit()
        store.git.commit()
    clean(work)


def test_bytes_that_are_no_index_are_left_to_git(work: Work) -> None:
    filled(work)
    raw = index_of(work).read_bytes()
    status = (work.path / "filestore.yaml").stat()
    one = Staged(b"x" * 20, status, 0o100644)
    files = {b"volumes/v3.json": one, b"volumes/zz.json": one, b"volumes/v5.json": None}
    folders = {b"": Folder(None, b"y" * 20), b"volumes/": Folder(None, b"z" * 20)}
    assert changed(raw, "sha1", files, lambda: folders) is not None
    chance = random.Random(1)
    for _ in range(300):
        broken = bytearray(raw)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        changed(
            bytes(broken[: chance.choice([len(raw), chance.randrange(len(raw))])]),
            "sha1",
            files,
            lambda: folders,
        )
    for short in (b"", b"DIRC", raw[:12], b"DIRC" + bytes(8)):
        assert changed(short, "sha1", files, lambda: folders) is None


@pytest.mark.parametrize("path", [b"volumes", b"volumes/v3.json/x", b"v" * 5000])
def test_what_does_not_go_together_is_left_to_git(work: Work, path: bytes) -> None:
    filled(work)
    raw = index_of(work).read_bytes()
    one = Staged(b"x" * 20, (work.path / "filestore.yaml").stat(), 0o100644)
    assert changed(raw, "sha1", {path: one}, lambda: {b"": Folder(None, None)}) is None
