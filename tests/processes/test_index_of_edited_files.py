"""Finds by an index while files are edited from outside: they agree with the tree."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore.index import indexes as indexes_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore import Store

SECONDS = 30.0


def eventually(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def ids(store: Store, **fields: Any) -> list[str]:
    return [record.key.id for record in store["volumes"].find(**fields)]


def answers(store: Store) -> bool:
    """Whether an index answers by now."""
    indexing = store._backend.indexing
    return indexing is not None and indexing.edited("volumes") is not None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with filestore.open(path, durability="off") as store:
        store["volumes"].update({f"id{n}": {"name": f"v{n}", "n": n} for n in range(50)})
    return path


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with filestore.open(path) as store:
        store["volumes"].get("id1")
        eventually(lambda: answers(store))
        assert ids(store, name="v7") == ["id7"]
        assert store.stats()["indexes"]
        yield store
        assert [problem for problem in store.check() if problem.kind != "unreadable"] == []


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def by_rename(file: Path, text: str) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, file)


@pytest.mark.parametrize("save", [in_place, by_rename])
def test_an_edit_is_found_by_its_new_value(
    path: Path, store: Store, save: Callable[[Path, str], None]
) -> None:
    file = path / "volumes" / "id7.json"
    before = file.read_text()
    for text, found in (('{"name": "new"}', ["id7"]), (before, []), ('{"name": "new"}', ["id7"])):
        save(file, text)
        eventually(lambda found=found: ids(store, name="new") == found)  # type: ignore[misc]
        eventually(lambda found=found: (ids(store, name="v7") == []) == bool(found))  # type: ignore[misc]
    save(path / "volumes" / "another.json", '{"name": "new"}')
    eventually(lambda: ids(store, name="new") == ["another", "id7"])
    file.unlink()
    eventually(lambda: ids(store, name="new") == ["another"])


def test_a_file_that_cannot_be_read_is_reported_to_every_find(path: Path, store: Store) -> None:
    file = path / "volumes" / "id7.json"

    def reported() -> int:
        errors: list[Any] = []
        store["volumes"].find(errors.append, name="v9")
        return len(errors)

    assert reported() == 0
    file.write_text('{"name": "half')
    eventually(lambda: reported() == 1)
    assert ids(store, name="v9") == ["id9"]
    file.write_text('{"name": "v9"}')
    eventually(lambda: reported() == 0)
    assert ids(store, name="v9") == ["id7", "id9"]


def test_an_edit_made_while_closed_is_found_after_opening(path: Path) -> None:
    with filestore.open(path) as store:
        store["volumes"].get("id1")
        eventually(lambda: answers(store))
        assert ids(store, name="v7") == ["id7"]
    (path / "volumes" / "id7.json").write_text('{"name": "new"}')
    with filestore.open(path) as store:
        assert ids(store, name="new") == ["id7"]  # few documents are looked at, until all is known
        eventually(lambda: answers(store))
        assert ids(store, name="new") == ["id7"]
        assert ids(store, name="v7") == []


@pytest.fixture
def kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that is large, as far as its indexes go, and what was kept of one."""
    shutil.rmtree(path / ".filestore")
    monkeypatch.setattr(indexes_module, "_WORTH_KEEPING", 50)
    with filestore.open(path) as store:
        store["notes"]["id1"] = {}
        eventually(lambda: answers(store))
        assert ids(store, name="v7") == ["id7"]
    (image,) = (path / ".filestore" / "index").glob("*.lower")
    return image


@contextlib.contextmanager
def nobody_records(path: Path) -> Iterator[None]:
    with open(path / ".filestore" / "state", "r+b") as state:
        fcntl.flock(state, fcntl.LOCK_EX)
        yield


def test_a_large_index_is_made_and_kept_before_old_edits_are_known(path: Path, kept: Path) -> None:
    kept.unlink()
    (path / "volumes" / "id7.json").write_text('{"name": "new"}')
    with nobody_records(path), filestore.open(path) as store:
        assert ids(store, name="new") == ["id7"]
        assert kept.exists()
        assert not answers(store)
        (path / "volumes" / "id8.json").write_text('{"name": "new"}')
        eventually(lambda: ids(store, name="new") == ["id7", "id8"])
        assert ids(store, name="v8") == []
    with filestore.open(path) as store:
        eventually(lambda: answers(store))
        assert ids(store, name="new") == ["id7", "id8"]


@pytest.mark.parametrize("early", [True, False])
def test_an_index_is_not_believed_without_the_catalog_that_it_goes_with(
    path: Path, kept: Path, early: bool
) -> None:
    """An edit that passes for what was there is never told."""
    (kept.parent / "files").unlink()
    (path / "volumes" / "id7.json").write_text('{"name": "new"}')
    with filestore.open(path) as store:
        if early:
            ids(store, name="new")
        store["volumes"].get("id1")
        eventually(lambda: answers(store))
        assert ids(store, name="new") == ["id7"]
        assert ids(store, name="v7") == []


def test_an_index_that_no_commit_will_correct_is_not_kept(path: Path, kept: Path) -> None:
    kept.unlink()
    (kept.parent / "files").unlink()
    (path / ".filestore" / "state").unlink()
    with filestore.open(path):
        pass  # makes the state
    (kept.parent / "files").unlink(missing_ok=True)
    with nobody_records(path), filestore.open(path) as store:
        assert ids(store, name="v7") == ["id7"]
        assert store.stats()["indexes"]
    assert not kept.exists()


def test_without_a_watcher_every_find_looks_at_the_files(path: Path) -> None:
    with filestore.open(path, watch=False) as store:
        assert ids(store, name="v7") == ["id7"]
        assert store.stats()["indexes"] == {}
        (path / "volumes" / "id8.json").write_text('{"name": "v7"}')
        assert ids(store, name="v7") == ["id7", "id8"]


def test_finds_and_the_tree_agree_in_the_end(path: Path, store: Store) -> None:
    """An editor, this handle and another one; then everybody finds what is there."""
    chance = random.Random(7)
    names = [f"name{n}" for n in range(8)]
    with filestore.open(path) as other:
        other["volumes"].get("id1")
        eventually(lambda: answers(other))
        for turn in range(300):
            id, document = f"id{chance.randrange(60)}", {"name": chance.choice(names), "n": turn}
            match chance.randrange(4):
                case 0:
                    by_rename(path / "volumes" / f"{id}.json", json.dumps(document))
                case 1:
                    in_place(path / "volumes" / f"{id}.json", json.dumps(document))
                case 2:
                    try:
                        (store if turn % 2 else other)["volumes"][id] = document
                    except filestore.Conflict:
                        pass  # it was edited unseen
                case _:
                    ids(store if turn % 2 else other, name=chance.choice(names))
        tree = {
            file.stem: json.loads(file.read_text()) for file in (path / "volumes").glob("*.json")
        }
        for each in (store, other):
            for name in names:
                expected = sorted(id for id, document in tree.items() if document["name"] == name)
                eventually(
                    lambda each=each, name=name, expected=expected: (  # type: ignore[misc]
                        ids(each, name=name) == expected
                    )
                )
