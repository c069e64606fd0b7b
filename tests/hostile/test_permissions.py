"""Modes of what is made, and what a user without rights is told."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import FilestoreError, ReadOnly, StorageError
from tests.hostile.conftest import assert_usable, tree
from tests.processes.actors import Actor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

NOBODY = 65534
ROOT = os.getuid() == 0

as_somebody_else = pytest.mark.skipif(not ROOT, reason="only root can become another user")


def modes(path: Path) -> dict[str, int]:
    found = {".": stat.S_IMODE(path.lstat().st_mode)}
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            at = Path(folder, name)
            found[str(at.relative_to(path))] = stat.S_IMODE(at.lstat().st_mode)
    return found


@pytest.fixture(params=[0o000, 0o022, 0o027, 0o077], ids=lambda mask: f"umask {mask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def fill(path: Path, **options: object) -> None:
    with filestore.open(path, **options) as store:  # type: ignore[arg-type]
        store["c"]["x"] = {"value": 1}
        store["c"]["x"] = {"value": 2}
        store["a/b/c"]["y"] = {"value": 1}
        store["c"]["long" * 200] = {"value": 1}
        with store.transaction() as tx:
            for n in range(40):
                tx["many"][str(n)] = {}


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_files_are_0600_and_folders_0700_whatever_the_umask(
    tmp_path: Path, umask: int, durability: str
) -> None:
    path = tmp_path / "state"
    fill(path, durability=durability)
    for name, mode in modes(path).items():
        assert mode == (0o700 if (path / name).is_dir() else 0o600), name


@pytest.mark.parametrize(
    ("file_mode", "folder_mode"),
    [(0o640, 0o750), (0o660, 0o770), (0o644, 0o755), (0o664, 0o775), (0o600, 0o700)],
)
def test_the_mode_asked_for_is_what_documents_get_and_folders_fit(
    tmp_path: Path, umask: int, file_mode: int, folder_mode: int
) -> None:
    path = tmp_path / "state"
    fill(path, file_mode=file_mode)
    for name, mode in modes(path).items():
        if name.startswith((".", "filestore.yaml")):
            continue
        assert mode == (folder_mode if (path / name).is_dir() else file_mode), name


@pytest.mark.parametrize("mode", [0o200, 0o400, 0o077, 0o1600, -1, 0o100600])
def test_a_mode_that_would_lock_out_the_owner_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ValueError, match="file_mode"):
        filestore.open(tmp_path / "state", file_mode=mode)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Path]:
    """A store of somebody without rights, in a place that they can reach."""
    import shutil
    import tempfile

    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o755)
    path = place / "state"
    with filestore.open(path, file_mode=0o644) as store:
        store["c"]["good"] = {"value": 1}
        store["c"]["x"] = {"value": 1}
        store["d"]["y"] = {"value": 1}
    for folder, folders, files in os.walk(place):
        for name in [*folders, *files]:
            os.chown(Path(folder, name), NOBODY, NOBODY, follow_symlinks=False)
    yield path
    shutil.rmtree(place)


def as_nobody(function: Callable[[Path], None], path: Path) -> None:
    actor = Actor(_as_nobody, function, path)
    try:
        actor.end()
    finally:
        actor.release()


def _as_nobody(pipe: Connection, function: Callable[[Path], None], path: Path) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    function(path)


def refused(
    path: Path, error: type[FilestoreError], number: int | None = None
) -> Callable[..., None]:
    def check(attempt: Callable[[], object]) -> None:
        with pytest.raises(error) as caught:
            attempt()
        assert caught.value.path == str(path)
        assert str(path) in str(caught.value)
        assert number is None or getattr(caught.value, "errno", None) == number

    return check


@as_somebody_else
def test_a_document_without_permission_is_told_and_kept(theirs: Path) -> None:
    at = theirs / "c/x.json"
    os.chown(at, 0, 0)
    at.chmod(0o600)
    before = tree(theirs)

    def use(path: Path) -> None:
        with filestore.open(path) as store:
            denied = refused(at, StorageError, errno.EACCES)
            denied(lambda: store["c"]["x"])
            denied(lambda: store["c"].put("x", {"value": 2}))
            denied(lambda: store["c"].patch("x", {"value": 2}))
            denied(lambda: store["c"].__delitem__("x"))
            assert [problem.path for problem in store.check()] == [str(at)]
            assert store["c"]["good"] == {"value": 1}
            assert sorted(store["c"].keys()) == ["good", "x"]
            assert store.revision == 3
        assert_usable(path)

    as_nobody(use, theirs)
    after = tree(theirs)
    assert {name: after[name] for name in before} == before


@as_somebody_else
def test_a_folder_without_permission_is_told_and_the_others_go_on(theirs: Path) -> None:
    at = theirs / "d"
    os.chown(at, 0, 0)
    at.chmod(0o700)
    before = tree(theirs)

    def use(path: Path) -> None:
        with filestore.open(path) as store:
            for attempt in (
                lambda: store["d"]["y"],
                lambda: store["d"].put("y", {"value": 2}),
                lambda: store["d"].put("new", {"value": 2}),
                lambda: store["d"].__delitem__("y"),
                lambda: list(store["d"]),
            ):
                with pytest.raises(StorageError, match=str(at)) as caught:
                    attempt()
                assert caught.value.errno == errno.EACCES
            assert any(problem.path == str(at) for problem in store.check())
            assert store["c"]["good"] == {"value": 1}
            store["c"]["new"] = {}
            del store["c"]["new"]

    as_nobody(use, theirs)
    assert tree(theirs) == before


@as_somebody_else
def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_committed(theirs: Path) -> None:
    at = theirs / "d"
    os.chown(at, 0, 0)
    at.chmod(0o755)
    before = tree(theirs)

    def use(path: Path) -> None:
        with filestore.open(path) as store:
            assert store["d"]["y"] == {"value": 1}
            for attempt in (
                lambda: store["d"].put("y", {"value": 2}),
                lambda: store["d"].put("new", {"value": 2}),
                lambda: store["d"].__delitem__("y"),
            ):
                with pytest.raises(FilestoreError, match=str(at)):
                    attempt()
            assert store["d"]["y"] == {"value": 1}
            assert list(store["d"]) == ["y"]
            assert store.revision == 3
            store["c"]["new"] = {}
            del store["c"]["new"]

    as_nobody(use, theirs)
    assert tree(theirs) == before


@as_somebody_else
@pytest.mark.parametrize("crashed", [False, True])
def test_a_tree_of_mode_0555_is_read_and_refuses_writes(theirs: Path, crashed: bool) -> None:
    if crashed:
        from tests.processes.actors import crash

        crash(theirs, ("c", "good", {"value": 1}), ("c", "late", {"value": 2}))
    for folder, folders, files in os.walk(theirs.parent):
        for name in [*folders, *files]:
            at = Path(folder, name)
            os.chown(at, 0, 0, follow_symlinks=False)
            at.chmod(0o555 if at.is_dir() else 0o444)
    before = tree(theirs)

    def use(path: Path) -> None:
        for readonly in (False, True):
            with filestore.open(path, readonly=readonly) as store:
                assert store.readonly
                assert store["c"]["good"] == {"value": 1}
                assert store["c"].get("late") == ({"value": 2} if crashed else None)
                assert ("late" in list(store["c"])) == crashed
                for attempt in (
                    lambda: store["c"].put("good", {"value": 2}),
                    lambda: store["new"].put("x", {}),
                    lambda: store["c"].__delitem__("good"),
                    lambda: store.transaction().__enter__(),
                ):
                    with pytest.raises(ReadOnly, match=str(path)):
                        attempt()

    as_nobody(use, theirs)
    assert tree(theirs) == before


@as_somebody_else
@pytest.mark.parametrize("mode", [0o000, 0o555])
def test_a_parent_that_cannot_be_written_is_named(tmp_path: Path, mode: int) -> None:
    import shutil
    import tempfile

    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(mode)

    def use(path: Path) -> None:
        with pytest.raises(FilestoreError, match=str(path)) as caught:
            filestore.open(path / "state")
        assert isinstance(caught.value, OSError | ReadOnly)

    try:
        as_nobody(use, place)
        assert os.listdir(place) == []
    finally:
        shutil.rmtree(place)
