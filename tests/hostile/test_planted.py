"""Things planted in the tree where a document, a folder or a runtime file should be."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import Corrupt, FilestoreError
from tests.hostile.conftest import assert_usable, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def link_to_passwd(at: Path) -> None:
    at.symlink_to("/etc/passwd")


def link_to_outside(at: Path) -> None:
    outside = at.parents[2] / "outside.json"
    outside.write_text('{"outside": true}')
    at.symlink_to(outside)


def link_to_document(at: Path) -> None:
    at.symlink_to("good.json")


def dangling_link(at: Path) -> None:
    at.symlink_to("nowhere")


def link_loop(at: Path) -> None:
    at.symlink_to(at.name)


def fifo(at: Path) -> None:
    os.mkfifo(at)


def socket_file(at: Path) -> None:
    here = os.getcwd()
    os.chdir(at.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(at.name)
    finally:
        os.chdir(here)


def folder(at: Path) -> None:
    at.mkdir()


def full_folder(at: Path) -> None:
    at.mkdir()
    (at / "x").write_text("{}")


def hundred_megabytes(at: Path) -> None:
    with at.open("wb") as file:
        file.truncate(100 << 20)


def empty_file(at: Path) -> None:
    at.touch()


def zeros(at: Path) -> None:
    at.write_bytes(bytes(4096))


def device(at: Path) -> None:
    os.mknod(at, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero


PLANTS = [
    link_to_passwd, link_to_outside, link_to_document, dangling_link, link_loop, fifo,
    socket_file, folder, full_folder, hundred_megabytes, empty_file, zeros,
]  # fmt: skip
if os.getuid() == 0:  # nobody else may make one
    PLANTS.append(device)


def change_both(store: filestore.Store) -> None:
    with store.transaction() as tx:
        tx["c"]["good"] = {"value": 9}
        tx["c"]["bad"] = {"value": 9}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_no_document_is_corrupt_and_never_touched(
    path: Path, plant: Callable[[Path], None]
) -> None:
    at = path / "c/bad.json"
    plant(at)
    before = tree(path)
    with filestore.open(path) as store:
        revision = store.revision
        for attempt in (
            lambda: store["c"].get("bad"),
            lambda: store["c"]["bad"],
            lambda: store["c"].read("bad"),
            lambda: store["c"].put("bad", {"value": 2}),
            lambda: store["c"].put("bad", {"value": 2}, expected=None),
            lambda: store["c"].patch("bad", {"value": 2}),
            lambda: store["c"].__delitem__("bad"),
        ):
            with pytest.raises(Corrupt) as caught:
                attempt()
            assert str(at) in str(caught.value)
            assert caught.value.path == str(at)
            assert caught.value.key == ("c", "bad")
        with pytest.raises(Corrupt):
            change_both(store)
        assert store.revision == revision
        assert store["c"]["good"] == {"value": 1}
        assert any(problem.path == str(at) for problem in store.check())
        assert any(problem.path == str(at) for problem in store.repair())
    assert tree(path) == before
    assert_usable(path)


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_over_a_document_that_was_read_is_never_touched(
    path: Path, plant: Callable[[Path], None]
) -> None:
    at = path / "c/bad.json"
    with filestore.open(path) as store:
        store["c"]["bad"] = {"value": 1}
        assert store["c"]["bad"] == {"value": 1}
        at.unlink()
        plant(at)
        before = tree(path)
        for attempt in (
            lambda: store["c"]["bad"],
            lambda: store["c"].put("bad", {"value": 2}),
            lambda: store["c"].__delitem__("bad"),
        ):
            with pytest.raises(Corrupt, match=r"bad\.json"):
                attempt()
        assert tree(path) == before
    assert_usable(path)


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_while_a_crash_is_to_be_recovered_is_kept(
    path: Path, plant: Callable[[Path], None]
) -> None:
    from tests.processes.actors import crash

    crash(path, ("c", "bad", {"value": 2}), ("c", "whole", {"value": 2}))
    at = path / "c/bad.json"
    plant(at)
    planted = tree(path)["c/bad.json"]
    with filestore.open(path, readonly=True) as store:
        assert store["c"]["good"] == {"value": 1}
        assert store["c"]["whole"] == {"value": 2}
    with filestore.open(path) as store:
        assert store["c"]["whole"] == {"value": 2}
        with pytest.raises(Corrupt):
            store["c"]["bad"]
    assert tree(path)["c/bad.json"] == planted
    assert_usable(path)


@pytest.mark.parametrize("plant", [folder, link_to_passwd, fifo, socket_file, hundred_megabytes])
def test_what_is_planted_while_the_machine_was_down_is_kept(
    path: Path, plant: Callable[[Path], None]
) -> None:
    from tests.processes.actors import crash

    crash(path, ("c", "bad", {"value": 2}), ("c", "whole", {"value": 2}))
    at = path / "c/bad.json"
    plant(at)
    (path / ".filestore/state").unlink()
    with filestore.open(path, readonly=True) as store:
        assert store["c"]["good"] == {"value": 1}
        assert store["c"]["whole"] == {"value": 2}
    with filestore.open(path) as store:
        assert store["c"]["whole"] == {"value": 2}
    assert_usable(path)


@pytest.mark.parametrize("target", ["/etc", "outside", "nowhere", "linked", "c"])
def test_a_link_in_the_place_of_a_collections_folder_is_not_followed(
    path: Path, target: str
) -> None:
    outside = path.parent / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text('{"secret": true}')
    at = path / "linked"
    at.symlink_to(outside if target == "outside" else target)
    before, secret = tree(path), tree(outside)
    with filestore.open(path) as store:
        revision = store.revision
        for attempt in (
            lambda: store["linked"].put("x", {}),
            lambda: store["linked"].read("secret"),
            lambda: store["linked"].put("secret", {}),
            lambda: store["linked"].__delitem__("secret"),
            lambda: store["linked/deeper"].put("x", {}),
        ):
            with pytest.raises(FilestoreError) as caught:
                attempt()
            if target != "nowhere":
                assert isinstance(caught.value, Corrupt | filestore.NotFound)
        with pytest.raises(Corrupt, match=str(at)):
            store["linked"].put("x", {})
        assert "linked" not in store.collections()
        with pytest.raises(Corrupt):
            list(store["linked"])
        assert store.revision == revision
        assert any(problem.path == str(at) for problem in store.check())
    assert tree(path) == before
    assert tree(outside) == secret
    assert_usable(path)


def test_a_linked_folders_documents_are_not_listed(path: Path) -> None:
    outside = path.parent / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text('{"secret": true}')
    (path / "linked").symlink_to(outside)
    with filestore.open(path) as store:
        try:
            assert list(store["linked"]) == []
        except Corrupt as error:
            assert str(path / "linked") in str(error)  # either will do  # noqa: PT017  # it may be refused or not
    assert_usable(path)


def test_a_file_in_the_place_of_a_collections_folder(path: Path) -> None:
    at = path / "file"
    at.write_text("not a folder")
    before = tree(path)
    with filestore.open(path) as store:
        with pytest.raises(Corrupt, match=str(at)):
            store["file"]["x"] = {}
        assert store["file"].get("x") is None
        assert list(store["file"]) == []
    assert tree(path) == before
    assert_usable(path)


RUNTIME = ["lock", "state", "journal", "tmp", "journal/00000001.log"]


def put_aside(at: Path) -> None:
    if at.is_dir():
        shutil.rmtree(at)
    else:
        at.unlink()


def link_to_a_file(at: Path) -> None:
    other = at.parents[2] / "other-file"
    other.write_bytes(b"precious")
    at.symlink_to(other)


def link_to_a_folder(at: Path) -> None:
    other = at.parents[2] / "other-folder"
    other.mkdir()
    (other / "precious").write_bytes(b"precious")
    at.symlink_to(other)


RUNTIME_PLANTS = [link_to_a_file, link_to_a_folder, dangling_link, link_loop, fifo, socket_file]


@pytest.mark.parametrize("name", RUNTIME)
@pytest.mark.parametrize("plant", [*RUNTIME_PLANTS, folder, empty_file])
def test_a_runtime_file_that_is_something_else_gives_one_clear_error_or_none(
    path: Path, name: str, plant: Callable[[Path], None]
) -> None:
    """Whether it is made anew or refused: nothing outside is touched, no document is lost."""
    at = path / ".filestore" / name
    put_aside(at)
    plant(at)
    before = tree(path)
    outside = [tree(path.parent / other) for other in ("other-folder",)]
    content = path.parent / "other-file"
    try:
        with filestore.open(path, lock_timeout=1.0) as store:
            assert store["c"]["good"] == {"value": 1}
            store["c"]["more"] = {"value": 2}
            assert store["c"]["more"] == {"value": 2}
        del before["c"]
        assert plant in (folder, empty_file, fifo, socket_file) or not at.is_symlink()
    except FilestoreError as error:
        assert str(path / ".filestore") in str(error)  # noqa: PT017  # it may be refused or not
        assert not (path / "c/more.json").exists()
    after = tree(path)
    assert {name: after[name] for name in before} == before
    assert [tree(path.parent / other) for other in ("other-folder",)] == outside
    assert not content.exists() or content.read_bytes() == b"precious"
    # Reading goes on all the same, and without the obstacle everything does.
    with filestore.open(path, readonly=True) as store:
        assert store["c"]["good"] == {"value": 1}
    shutil.rmtree(path / ".filestore")
    assert_usable(path)


def test_a_linked_runtime_folder_is_refused(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    (path / ".filestore").rename(elsewhere)
    (path / ".filestore").symlink_to(elsewhere)
    before = sorted(os.listdir(elsewhere))
    with pytest.raises(Corrupt, match=r"\.filestore"):
        filestore.open(path)
    with filestore.open(path, readonly=True) as store:
        assert store["c"]["good"] == {"value": 1}
    assert sorted(os.listdir(elsewhere)) == before
    (path / ".filestore").unlink()
    assert_usable(path)


def test_a_missing_folder_of_temporary_files_is_made_anew(path: Path) -> None:
    (path / ".filestore/tmp").rmdir()
    assert_usable(path)
    with filestore.open(path) as store:
        (path / ".filestore/tmp").rmdir()
        store["c"]["a"] = {"value": 1}
        store["c"]["a"] = {"value": 2}
        (path / ".filestore/tmp").rmdir()
        del store["c"]["a"]
        assert store.check() == []
    assert_usable(path)


def test_what_programs_leave_beside_documents_is_let_alone(path: Path) -> None:
    names = ["good.json~", ".good.json.swp", "#good.json#", "README.md", ".hidden.json", "x.yaml"]
    for name in names:
        (path / "c" / name).write_text("whatever")
    (path / "README.md").write_text("whatever")
    before = tree(path)
    with filestore.open(path) as store:
        assert list(store["c"]) == ["good"]
        assert store.collections() == ["c"]
        assert store.check() == []
        assert store.repair() == []
    assert tree(path) == before
    assert_usable(path)
