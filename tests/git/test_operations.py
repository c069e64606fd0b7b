"""What git does to the tree while programs have the store open: one external commit each."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import Origin
from filestore.engine import grouping
from tests.git.work import Work, make
from tests.processes.actors import stage, state_of, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from filestore import Store
    from tests.processes.actors import Actor

MANY = 150


def _settle(store: Store) -> None:
    """Wait until the store hears of edits, and all that were made before are recorded."""
    until(lambda: store.stats()["watching"])
    store.rescan()


def _follow(pipe: Connection, path: Path) -> None:
    """Keep the store open; answer with its documents."""
    with filestore.open(path) as store:
        _settle(store)
        pipe.send("ready")
        while pipe.recv():
            pipe.send(state_of(store))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few edits are one commit where nothing says that they are one operation's."""
    monkeypatch.setattr(grouping, "MOST_DOCUMENTS", 40)


@pytest.fixture
def start() -> Iterator[Callable[..., Actor]]:
    with stage() as begin:
        yield begin


@dataclass
class Followed:
    """A store that is open and settled, and what it held then."""

    work: Work
    store: Store
    since: int
    held: dict[tuple[str, str], Any]
    upto: int = 0

    def fed(self) -> dict[tuple[str, str], Any]:
        """What the feed makes of what the store held."""
        for change in self.store.changes(max(self.since, self.upto)):
            self.upto = change.revision
            self.held[change.key.collection, change.key.id] = change.after
        return {key: document for key, document in self.held.items() if document is not None}

    def does(self, *words: str, **options: Any) -> list[tuple[str | None, str | None, int]]:
        """What is recorded of an operation of git."""
        before = self.store.revision
        self.work.git(*words, **options)
        return self.recorded(before)

    def recorded(self, before: int) -> list[tuple[str | None, str | None, int]]:
        """What is recorded since, once the feed tells what the tree is."""
        expected = tree(self.work)
        until(lambda: self.fed() == expected)
        assert state_of(self.store) == expected
        return commits(self.store, before)


@contextmanager
def followed(work: Work) -> Iterator[Followed]:
    with filestore.open(work.path) as store:
        _settle(store)
        yield Followed(work, store, store.revision, state_of(store))


def tree(work: Work) -> dict[tuple[str, str], Any]:
    return {
        ("volumes", file.stem): work.read(f"volumes/{file.stem}")
        for file in (work.path / "volumes").glob("*.json")
    }


def commits(store: Store, since: int) -> list[tuple[str | None, str | None, int]]:
    """Actor, message and how many documents, of each external commit."""
    found: dict[int, list[Any]] = {}
    for change in store.changes(since):
        assert change.origin is Origin.EXTERNAL
        one = found.setdefault(change.revision, [change.actor, change.message, 0])
        one[2] += 1
    return [tuple(one) for one in found.values()]  # type: ignore[misc]


def diverged(work: Work, count: int = MANY) -> None:
    """Branches main (checked out) and topic: each changed every document, one field each."""
    base = {f"v{n}": {"a": 0, "b": 0, "n": n} for n in range(count)}
    topic = {id: document | {"a": 1} for id, document in base.items()}
    work.commit("base", **base)
    work.git("checkout", "-q", "-b", "topic")
    work.commit("topic", **topic, new={"x": 1})


def test_each_operation_is_one_commit_that_says_what_it_was(
    work: Work, start: Callable[..., Actor]
) -> None:
    diverged(work)
    other = start(_follow, work.path)
    assert other.hear() == "ready"
    with followed(work) as here:
        assert here.does("checkout", "-q", "main") == [
            ("Tester", "checkout: moving from topic to main", MANY + 1)
        ]
        assert other.ask(True) == tree(work)
        assert here.does("merge", "-q", "topic") == [
            ("Tester", "merge topic: Fast-forward", MANY + 1)
        ]
        assert here.does("reset", "-q", "--hard", "HEAD~1") == [
            ("Tester", "reset: moving to HEAD~1", MANY + 1)
        ]
        assert other.ask(True) == tree(work)
    other.say(False)
    other.end()


def test_a_merge_that_commits_a_rebase_and_a_cherry_pick_are_one_each(work: Work) -> None:
    diverged(work, 3)
    work.git("checkout", "-q", "main")
    work.commit("ours", w={"x": 2})
    with followed(work) as here:
        ((_, message, count),) = here.does("merge", "-q", "--no-edit", "topic")
        assert message is not None
        assert message.startswith("merge topic: Merge made by")
        assert count == 4
        here.does("reset", "-q", "--hard", "HEAD~1")
        assert here.does("cherry-pick", "topic") == [("Tester", "cherry-pick: topic", 4)]
        here.does("checkout", "-q", "topic")
        work.commit("more", more={"x": 1})
        here.recorded(0)
        ((_, message, _),) = here.does("rebase", "-q", "main~1")
        assert message is not None
        assert message.startswith("rebase (finish): returning to refs/heads/topic")


def begun_long_ago() -> dict[str, str]:
    """Git's log tells when git was started: here a merge that has taken half a minute."""
    return {**os.environ, "GIT_COMMITTER_DATE": f"{int(time.time()) - 30} +0000"}


def test_an_operation_that_took_long_is_told_too(work: Work) -> None:
    diverged(work, 3)
    work.git("checkout", "-q", "main")
    work.commit("ours", w={"x": 2})
    with followed(work) as here:
        ((actor, message, count),) = here.does(
            "merge", "-q", "--no-edit", "topic", env=begun_long_ago()
        )
    assert (actor, count) == ("Tester", 4)
    assert message is not None
    assert message.startswith("merge topic")


def test_an_operation_that_nobody_saw_and_that_took_long_is_told_too(work: Work) -> None:
    diverged(work, 3)
    work.git("checkout", "-q", "main")
    work.commit("ours", w={"x": 2})
    with filestore.open(work.path, watch=False) as store:
        store.rescan()
        before = store.revision
    work.git("merge", "-q", "--no-edit", "topic", env=begun_long_ago())
    with filestore.open(work.path, watch=False) as store:
        store.rescan()
        ((actor, message, count),) = commits(store, before)
    assert (actor, count) == ("Tester", 4)
    assert message is not None
    assert message.startswith("merge topic")


def test_a_stash_is_one_commit_and_so_is_bringing_it_back(work: Work) -> None:
    work.commit("base", **{f"v{n}": {"n": n} for n in range(MANY)})
    for n in range(MANY):
        work.write(f"volumes/v{n}", {"n": n, "edited": True})
    with followed(work) as here:
        assert here.does("stash", "-q") == [("Tester", "reset: moving to HEAD", MANY)]
        assert [count for _, _, count in here.does("stash", "pop", "-q")] == [MANY]


def test_a_work_tree_of_many_has_its_own_log(work: Work, tmp_path: Path) -> None:
    diverged(work, 3)
    work.git("worktree", "add", "-q", tmp_path / "tree", "main")
    with followed(Work(tmp_path / "tree")) as here:
        assert here.does("checkout", "-q", "--detach", "topic") == [
            ("Tester", "checkout: moving from main to topic", 4)
        ]


def test_an_edit_by_hand_says_nothing_of_git(work: Work) -> None:
    diverged(work, 3)
    with followed(work) as here:
        before = here.store.revision
        work.git("commit", "-q", "--allow-empty", "-m", "nothing")
        work.git("branch", "-q", "another")
        work.write("volumes/v1", {"by": "hand"})
        assert here.recorded(before) == [(None, None, 1)]


def test_a_forgotten_lock_holds_up_no_edit_for_good(work: Work) -> None:
    diverged(work, 3)
    (work.path / ".git/index.lock").touch()
    with followed(work) as here:
        before = here.store.revision
        work.write("volumes/v1", {"by": "hand"})
        assert here.recorded(before) == [(None, None, 1)]


def test_edits_wait_while_git_holds_its_lock_and_rescan_does_not(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverged(work, 3)
    with followed(work) as here:
        monkeypatch.setattr(grouping, "STUCK_SECONDS", 600.0)
        before, store = here.store.revision, here.store
        lock = work.path / ".git/index.lock"
        lock.touch()
        work.write("volumes/v1", {"n": "one"})
        until(lambda: store["volumes"]["v1"] == {"n": "one"})
        assert store.revision == before, "read at once, recorded later"
        store.rescan()
        assert commits(store, before) == [(None, None, 1)]
        work.write("volumes/v2", {"n": "two"})
        lock.unlink()
        assert len(here.recorded(before)) == 2


def test_more_than_one_commit_may_hold_is_more_commits_that_say_the_same(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "OPERATION_DOCUMENTS", 40)
    diverged(work, 100)
    with followed(work) as here:
        found = here.does("checkout", "-q", "main")
        assert sum(count for _, _, count in found) == 101
        assert len(found) == 3
        assert {message for _, message, _ in found} == {"checkout: moving from topic to main"}


def _die_recording(pipe: Connection, path: Path) -> None:
    """Record what git does, and die when the commit is about to be made."""
    with filestore.open(path) as store:
        _settle(store)
        writer = store._backend._works.writer  # type: ignore[attr-defined]
        writer.record = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        pipe.send("ready")
        pipe.recv()


def test_after_a_death_in_the_middle_the_next_recorder_tells_of_the_operation(
    work: Work, start: Callable[..., Actor]
) -> None:
    diverged(work, 50)
    first = start(_die_recording, work.path)
    assert first.hear() == "ready"
    with followed(work) as here:
        assert not here.store.stats()["recorder"]
        ((actor, message, count),) = here.does("checkout", "-q", "main")
        assert (actor, count) == ("Tester", 51)
        # Who did not see it happen may take the one before it in the same second for it, too.
        assert message is not None
        assert message.endswith("checkout: moving from topic to main")
        assert here.store.stats()["recorder"]
    first.process.join(60)
    assert first.process.exitcode == -signal.SIGKILL


def test_a_store_below_the_top_of_the_repository_is_followed_too(tmp_path: Path) -> None:
    work = make(tmp_path / "deep", folder="one/two")
    diverged(work, 3)
    with followed(work) as here:
        assert here.does("checkout", "-q", "main") == [
            ("Tester", "checkout: moving from topic to main", 4)
        ]
