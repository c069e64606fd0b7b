"""Listings that are remembered: of the moment in every way in which documents come and go."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import Conflict
from filestore.engine import listing as listings
from filestore.engine.files import FileBackend
from filestore.engine.listing import Listings
from filestore.engine.reads import QUIET_SECONDS
from filestore.model import Edit, Key
from tests.processes.actors import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore import Store
    from filestore.engine.fs import Item
    from filestore.model import Document

ERA = (1, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


class Watched:
    """A store that hears of edits, with a listing that it remembers."""

    def __init__(self, store: Store, path: Path) -> None:
        self.store = store
        self.volumes = store["volumes"]
        self.path = path
        self.scans = 0
        fs = store._backend._reads._fs  # type: ignore[attr-defined]
        scan = fs.scan

        def counted(folder: str) -> object:
            self.scans += folder.endswith("/volumes")
            return scan(folder)

        fs.scan = counted

    def listed(self) -> list[str]:
        return sorted(self.volumes)

    def remember(self) -> None:
        """Have a listing that is remembered: one that costs no look at the folder."""

        def remembered() -> bool:
            before = self.scans
            list(self.volumes)
            return self.scans == before

        until(remembered)

    def file(self, id: str) -> Path:
        return self.path / "volumes" / f"{id}.json"


@pytest.fixture
def watched(path: Path) -> Iterator[Watched]:
    with filestore.open(path) as store:
        for id in ("a", "b", "c"):
            store["volumes"][id] = {"n": 0}
        until(lambda: bool(store.stats()["watching"]))
        watched = Watched(store, path)
        watched.remember()
        yield watched


def test_a_listing_is_the_callers_own(watched: Watched) -> None:
    watched.store._backend.ids("volumes").clear()
    assert watched.listed() == ["a", "b", "c"]


def test_a_listing_has_what_was_put_and_deleted_since(watched: Watched) -> None:
    watched.volumes["d"] = {}
    del watched.volumes["a"]
    assert watched.listed() == ["b", "c", "d"]
    watched.volumes["a"] = {}
    del watched.volumes["d"]
    assert watched.listed() == ["a", "b", "c"]


def test_puts_do_not_have_the_folder_gone_through(watched: Watched) -> None:
    for turn in range(3):
        watched.volumes[f"n{turn}"] = {}
        watched.remember()
        before = watched.scans
        assert f"n{turn}" in watched.listed()
        assert watched.scans == before


def test_a_listing_has_what_another_handle_committed(watched: Watched) -> None:
    with filestore.open(watched.path) as other:
        other["volumes"]["d"] = {}
        assert watched.listed() == ["a", "b", "c", "d"]
        del other["volumes"]["b"]
        assert watched.listed() == ["a", "c", "d"]


def create(watched: Watched) -> None:
    watched.file("d").write_text("{}")


def move_in(watched: Watched) -> None:
    outside = watched.path.parent / "outside.json"
    outside.write_text("{}")
    outside.rename(watched.file("d"))


def rename(watched: Watched) -> None:
    watched.file("a").rename(watched.file("d"))


def delete(watched: Watched) -> None:
    watched.file("a").unlink()


def move_out(watched: Watched) -> None:
    watched.file("a").rename(watched.path.parent / "outside.json")


def link(watched: Watched) -> None:
    watched.file("a").unlink()
    watched.file("a").symlink_to(watched.file("b"))


def remove_all(watched: Watched) -> None:
    shutil.rmtree(watched.path / "volumes")


def move_all(watched: Watched) -> None:
    (watched.path / "volumes").rename(watched.path.parent / "outside")


def replace_all(watched: Watched) -> None:
    other = watched.path.parent / "other"
    other.mkdir()
    (other / "e.json").write_text("{}")
    move_all(watched)
    other.rename(watched.path / "volumes")


@pytest.mark.parametrize(
    ("act", "listed"),
    [
        (create, "abcd"),
        (move_in, "abcd"),
        (rename, "bcd"),
        (delete, "bc"),
        (move_out, "bc"),
        (link, "bc"),
        (remove_all, ""),
        (move_all, ""),
        (replace_all, "e"),
    ],
)
def test_an_edit_from_outside_shows_in_the_next_listing(
    watched: Watched, act: Callable[[Watched], None], listed: str
) -> None:
    list(watched.volumes)
    act(watched)
    time.sleep(QUIET_SECONDS)  # in which nobody asks again whether there are events
    assert watched.listed() == list(listed)
    watched.remember()
    assert watched.listed() == list(listed)


def test_a_document_that_is_deleted_and_edited_again_is_listed(watched: Watched) -> None:
    del watched.volumes["a"]
    watched.file("a").write_text("{}")
    until(lambda: watched.listed() == ["a", "b", "c"])


def test_a_transaction_lists_its_own_writes_alone(watched: Watched) -> None:
    with watched.store.transaction():
        watched.volumes["d"] = {}
        assert watched.listed() == ["a", "b", "c", "d"]
        assert sorted(watched.store._backend.ids("volumes")) == ["a", "b", "c"]
    assert watched.listed() == ["a", "b", "c", "d"]


def test_a_resharded_collection_is_listed_whole(watched: Watched) -> None:
    watched.store._backend.reshard(1)  # type: ignore[attr-defined]
    assert watched.listed() == ["a", "b", "c"]
    watched.volumes["d"] = {}
    until(lambda: watched.listed() == ["a", "b", "c", "d"])


def test_without_events_nothing_is_remembered(path: Path) -> None:
    with filestore.open(path, watch=False) as store:
        store["volumes"]["a"] = {}
        assert list(store["volumes"]) == ["a"]
        (path / "volumes" / "b.json").write_text("{}")
        assert sorted(store["volumes"]) == ["a", "b"]


def test_changes_are_taken_in_in_their_order() -> None:
    remembered = Listings()
    remembered.keep("v", ["c", "a"], ERA)
    remembered.committed("v", "b", there=True)
    remembered.committed("v", "a", there=False)
    remembered.committed("v", "x", there=True)
    remembered.committed("v", "x", there=False)
    remembered.committed("v", "c", there=True)
    assert remembered.get("v", ERA) == ["b", "c"]
    assert remembered.get("v", ERA) == ["b", "c"]


def test_a_listing_is_of_its_moment() -> None:
    remembered = Listings()
    remembered.keep("v", ["a"], ERA)
    assert remembered.get("v", (2, 0)) is None
    assert remembered.get("v", ERA) is None


def test_what_is_told_is_compared_with_the_newest_commit() -> None:
    remembered = Listings()
    assert remembered.agrees("v", "a", there=True)
    assert remembered.agrees("v", "a", there=False)
    remembered.keep("v", ["a"], ERA)
    assert remembered.agrees("v", "a", there=True)
    assert remembered.agrees("v", "b", there=False)
    assert not remembered.agrees("v", "b", there=True)
    remembered.committed("v", "a", there=False)
    assert not remembered.agrees("v", "a", there=True)


def test_a_listing_that_nobody_asks_for_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "_MOST_CHANGES", 3)
    remembered = Listings()
    remembered.keep("v", [], ERA)
    for id in "abc":
        remembered.committed("v", id, there=True)
    assert remembered.knows("v")
    remembered.committed("v", "d", there=True)
    assert not remembered.knows("v")
    assert remembered.get("v", ERA) is None


class Slow(Listings):
    """Whoever asks whether a collection is known, waits a while with the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def knows(self, collection: str) -> bool:
        known = super().knows(collection)
        self.asked.set()
        assert self.go_on.wait(30)
        return known


def test_a_listing_that_is_made_while_an_event_is_told_lacks_nothing(path: Path) -> None:
    backend = FileBackend(path, background=False)
    backend.apply([Edit(Key("volumes", "a"), b'{"n":1}')])
    reads, file = backend._reads, path / "volumes/b.json"
    reads.trust(lambda: False, anew=True)
    reads._listings = listings = Slow()
    listener = threading.Thread(
        target=reads.suspect, args=(Key("volumes", "b"),), kwargs={"touched": True}
    )
    scan = reads._fs.scan

    def edited_afterwards(folder: str) -> list[Item]:
        found = scan(folder)
        if folder.endswith("/volumes") and not file.exists():
            file.write_text('{"n": 2}')
            listener.start()
            assert listings.asked.wait(30)
        return found

    reads._fs.scan = edited_afterwards  # type: ignore[method-assign]
    assert backend.ids("volumes") == ["a"]
    listings.go_on.set()
    listener.join()
    assert sorted(backend.ids("volumes")) == ["a", "b"]
    backend.close()


@pytest.mark.parametrize("seed", range(2))
def test_two_handles_and_an_editor_agree_after_every_step(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with filestore.open(path) as one, filestore.open(path) as other:
        model: dict[str, Document] = {f"k{n}": {"n": n} for n in range(10)}
        one["volumes"].update(model)
        until(lambda: one.stats()["watching"] and other.stats()["watching"])
        folder = path / "volumes"
        for step in range(200):
            volumes = chance.choice((one, other))["volumes"]
            id, document = f"k{chance.randrange(20)}", {"step": step}
            file = folder / f"{id}.json"
            try:
                match chance.randrange(6):
                    case 0:
                        volumes[id] = document
                        model[id] = document
                    case 1:
                        volumes.pop(id, None)
                        model.pop(id, None)
                    case 2:
                        file.write_text(json.dumps(document))
                        model[id] = document
                    case 3:
                        file.unlink(missing_ok=True)
                        model.pop(id, None)
                    case 4 if file.exists():
                        to = f"k{chance.randrange(20)}"
                        file.rename(folder / f"{to}.json")
                        model[to] = model.pop(id)
                    case _:
                        time.sleep(chance.random() / 100)  # lets the listeners come between
            except Conflict:  # the handle had not seen the edit that it wrote over
                model = {each.stem: json.loads(each.read_text()) for each in folder.iterdir()}
            time.sleep(QUIET_SECONDS)
            for store in (one, other):
                assert sorted(store["volumes"]) == sorted(model)
                assert {r.key.id: r.document for r in store["volumes"].find()} == model
