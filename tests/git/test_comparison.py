"""What differs between two moments, read from as little as tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore.codec import decode
from filestore.comparison import differing
from filestore.integrations.git.objects import Objects
from filestore.plan import make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.past import Past
    from tests.git.work import Work

LONG = "x" * 300  # an id whose file stands in a folder


@pytest.fixture
def commits(work: Work) -> list[str]:
    """Commits with documents at every kind of place, coming, going and changing."""
    work.commit("one", a={"n": 1}, b={"n": 1}, c={"n": 1})
    with filestore.open(work.path) as store:
        store["driver_data/lvm"]["x"] = {"n": 1}
        store["driver_data"]["x"] = {"n": 1}
        store["volumes"][LONG] = {"n": 1}
    work.commit("two", a={"n": 2})
    with filestore.open(work.path) as store:
        store["driver_data/lvm"]["x"] = {"n": 3}
        del store["driver_data"]["x"]
        store["volumes"][LONG] = {"n": 3}
    work.file("volumes/c").write_text('{"n":1}\n')  # the same, written otherwise
    (work.path / "notes.txt").write_text("no document")
    work.commit("three", b=None)
    (work.path / "driver_data" / "lvm" / "x.json").unlink()
    (work.path / "driver_data" / "lvm").rmdir()
    (work.path / "driver_data" / "lvm").write_text("a file where a collection was")
    work.commit("four", b={"n": 4})
    work.filestore("reshard", "1", "-q")
    work.commit("five, at another fan-out")
    with filestore.open(work.path) as store:
        store["volumes"]["a"] = {"n": 6}
    work.commit("six")
    return work.git("rev-list", "--reverse", "HEAD").out.split()


def told(before: Past, after: Past) -> dict[tuple[str, str], tuple[Any, Any]]:
    found = {}
    for each in differing(before, after):
        assert not isinstance(each, Exception)
        key, old, new = each
        assert (key.collection, key.id) not in found
        found[key.collection, key.id] = (old and decode(old), new and decode(new))
    return found


def all_of(moment: Past) -> dict[tuple[str, str], Any]:
    return {(name, id): moment[name][id] for name in moment for id in moment[name]}


def looked_at(before: Past, after: Past) -> dict[tuple[str, str], tuple[Any, Any]]:
    """The same, by looking at everything."""
    olds, news = all_of(before), all_of(after)
    return {
        key: (olds.get(key), news.get(key))
        for key in {*olds, *news}
        if olds.get(key) != news.get(key)
    }


def test_commits_of_git_differ_in_what_reading_all_of_them_shows(
    work: Work, commits: list[str]
) -> None:
    with filestore.open(work.path, readonly=True) as store:
        for one in commits:
            for other in commits:
                with store.at(git=one) as before, store.at(git=other) as after:
                    assert told(before, after) == looked_at(before, after), (one, other)


def test_revisions_differ_in_what_reading_all_of_them_shows(work: Work, commits: list[str]) -> None:
    with filestore.open(work.path) as store:
        store.rescan()
        for one in range(store.revision + 1):
            for other in range(store.revision + 1):
                with store.at(revision=one) as before, store.at(revision=other) as after:
                    assert told(before, after) == looked_at(before, after), (one, other)
        with store.at(git=commits[-1]) as before, store.at(revision=1) as after:
            assert told(before, after) == looked_at(before, after)


def test_what_is_the_same_in_both_commits_is_not_read(
    work: Work, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    read_many = Objects.read_many

    def reading(self: Objects, ids: list[str]) -> Iterator[bytes]:
        read.extend(ids)
        return read_many(self, ids)

    monkeypatch.setattr(Objects, "read_many", reading)
    with (
        filestore.open(work.path, readonly=True) as store,
        store.at(git=commits[1]) as before,
        store.at(git=commits[2]) as after,
    ):
        assert len(told(before, after)) == len(looked_at(before, after)) > 0
        assert read
        read.clear()
        assert sorted(id for _, id in told(before, after)) == sorted(["a", "x", "x", LONG])
        assert len(read) == 5, "two blobs of what was changed, one of what came or went"


def test_a_plan_leaves_alone_what_the_wanted_place_lost_while_it_was_read() -> None:
    class Losing(dict[str, Any]):
        def __contains__(self, id: object) -> bool:
            return id != "b" and super().__contains__(id)

    plan = make(0, {"volumes": {"a": {"n": 1}, "b": {"n": 1}}}, {"volumes": Losing(a={}, b={})})
    assert [(step.key.id, step.kind) for step in plan.steps] == [("a", "update")]
