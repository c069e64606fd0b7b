"""What every backend promises; a backend's tests subclass :class:`BackendContract`.

A ground that several handles (processes) can share, and that outlives its handles, subclasses
:class:`SharedBackendContract` instead.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from filestore.codec import canonical, decode
from filestore.codec.etag import etag_of
from filestore.errors import Closed, Conflict, InvalidKey, LockTimeout, ReadOnly
from filestore.model import ANY, Commit, Edit, Key, Op, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from filestore.backend import Backend
    from filestore.model import Expected

A = Key("volumes", "a")
B = Key("volumes", "b")
ONE = canonical({"size": 1})
TWO = canonical({"size": 2})
GRACE = 60.0  # seconds after which a thread that should have ended hangs

HOSTILE_IDS = [
    "../../etc/passwd",
    "..",
    ".",
    "a/b",
    "/",
    "nul\0byte",
    "CON",
    "con",
    "é",
    "e\u0301",
    "name.json",
    "name.yaml",
    ".hidden",
    "#x.json#",
    "a b",
    "x" * 600,
    "日本",
    "%2e",
    "a~1",
]

INVALID_KEYS: list[tuple[Any, Any]] = [
    ("volumes", ""),
    ("volumes", "x" * 5000),
    ("volumes", "\ud800"),
    ("volumes", 5),
    ("volumes", None),
    ("", "a"),
    ("/volumes", "a"),
    ("volumes/", "a"),
    ("driver//lvm", "a"),
]


def put(backend: Backend, key: Key, value: int, expected: Expected = ANY) -> Commit | None:
    return backend.apply([Edit(key, canonical({"size": value}), expected)])


def content(backend: Backend) -> dict[Key, bytes]:
    found = {}
    for collection in backend.collections():
        for id in backend.ids(collection):
            entry = backend.get((collection, id))
            assert entry is not None
            found[Key(collection, id)] = entry.data
    return found


def value(backend: Backend, key: Key) -> Any:
    entry = backend.get(key)
    return None if entry is None else decode(entry.data)["size"]


class Worker(threading.Thread):
    """A thread whose exception is raised where it is joined."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001  # raised again in done()
            self.error = error

    def done(self) -> None:
        self.join(GRACE)
        assert not self.is_alive(), "the thread hangs"
        if self.error is not None:
            raise self.error


def in_thread(*works: Callable[[], object]) -> None:
    """Run the functions at the same time, each in a thread of its own, to their end."""
    workers = [Worker(work) for work in works]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.done()


class BackendContract:
    """Subclass, and say how to make one."""

    def make(self, where: Path, *, readonly: bool = False, lock_timeout: float = 10.0) -> Backend:
        """Open the ground at ``where``, a folder that the ground may use or ignore."""
        raise NotImplementedError

    @pytest.fixture
    def opened(self) -> Iterator[ExitStack]:
        with ExitStack() as stack:
            yield stack

    @pytest.fixture
    def backend(self, tmp_path: Path, opened: ExitStack) -> Iterator[Backend]:
        backend = self.make(tmp_path)
        opened.callback(backend.close)
        yield backend
        try:
            problems = backend.check()
        except Closed:
            return
        assert problems == []

    # --- reading

    def test_a_new_ground_is_empty(self, backend: Backend) -> None:
        assert backend.revision == 0
        assert backend.collections() == []
        assert backend.ids("volumes") == []
        assert backend.get(A) is None
        assert list(backend.changes(0)) == []

    def test_get_gives_the_bytes_that_were_applied_with_their_etag(self, backend: Backend) -> None:
        backend.apply([Edit(A, ONE)])
        entry = backend.get(("volumes", "a"))
        assert entry is not None
        assert entry.data == ONE
        assert entry.etag == etag_of(ONE)

    def test_an_entry_never_changes(self, backend: Backend) -> None:
        put(backend, A, 1)
        before = backend.get(A)
        put(backend, A, 2)
        assert before is not None
        assert (before.data, before.etag) == (ONE, etag_of(ONE))

    def test_ids_are_those_of_the_collection_alone(self, backend: Backend) -> None:
        for key in (A, B, Key("snapshots", "c"), Key("volumes/nested", "d")):
            put(backend, key, 1)
        assert sorted(backend.ids("volumes")) == ["a", "b"]
        assert backend.ids("volumes/nested") == ["d"]
        assert backend.ids("nothing") == []

    def test_collections_are_those_with_documents_sorted(self, backend: Backend) -> None:
        for key in (Key("volumes", "a"), Key("driver/lvm/x", "a"), Key("backups", "a")):
            put(backend, key, 1)
        assert backend.collections() == ["backups", "driver/lvm/x", "volumes"]
        backend.apply([Edit(Key("backups", "a"), None)])
        assert backend.collections() == ["driver/lvm/x", "volumes"]

    @pytest.mark.parametrize("id", HOSTILE_IDS)
    def test_any_id_names_a_document_of_its_own(self, backend: Backend, id: str) -> None:
        others = {Key("volumes", other): n for n, other in enumerate(HOSTILE_IDS) if other != id}
        backend.apply([Edit(key, canonical({"size": n})) for key, n in others.items()])
        key = Key("volumes", id)
        assert backend.get(key) is None
        backend.apply([Edit(key, canonical({"size": -1}))])
        assert value(backend, key) == -1
        assert sorted(backend.ids("volumes")) == sorted(HOSTILE_IDS)
        assert {each: value(backend, each) for each in others} == others
        backend.apply([Edit(key, None)])
        assert backend.get(key) is None
        assert {each: value(backend, each) for each in others} == others

    @pytest.mark.parametrize("key", INVALID_KEYS, ids=lambda key: ascii(key)[:40])
    def test_what_cannot_name_a_document_is_refused(
        self, backend: Backend, key: tuple[Any, Any]
    ) -> None:
        with pytest.raises(InvalidKey):
            backend.get(key)
        with pytest.raises(InvalidKey):
            backend.apply([Edit(A, ONE), Edit(Key(*key), ONE)])
        assert content(backend) == {}
        assert backend.revision == 0

    # --- apply

    def test_apply_returns_the_commit_as_changes_keeps_it(self, backend: Backend) -> None:
        put(backend, A, 1)
        commit = backend.apply([Edit(A, TWO), Edit(B, ONE)], actor="the operator", message="grow a")
        assert commit is not None
        assert commit.revision == backend.revision
        assert (commit.actor, commit.message) == ("the operator", "grow a")
        assert commit.origin is Origin.LOCAL
        assert sorted(commit.ops) == [Op(A, ONE, TWO), Op(B, None, ONE)]
        assert list(backend.changes(commit.revision - 1)) == [commit]

    def test_keys_of_ops_are_keys(self, backend: Backend) -> None:
        backend.apply([Edit(("volumes", "a"), ONE)])  # type: ignore[arg-type]
        (commit,) = backend.changes(0)
        assert str(commit.ops[0].key) == "volumes/a"

    def test_every_commit_has_a_greater_revision(self, backend: Backend) -> None:
        revisions = [backend.revision]
        for n in range(5):
            commit = put(backend, A, n)
            assert commit is not None
            assert commit.revision == backend.revision
            revisions.append(commit.revision)
        assert revisions == sorted(set(revisions))

    def test_the_time_of_a_commit_is_in_seconds_since_the_epoch(self, backend: Backend) -> None:
        commit = put(backend, A, 1)
        assert commit is not None
        assert abs(commit.time - time.time()) < 3600

    @pytest.mark.parametrize("before", [None, ONE])
    @pytest.mark.parametrize("lazily", [False, True])
    def test_what_changes_nothing_makes_no_commit(
        self, backend: Backend, before: bytes | None, lazily: bool
    ) -> None:
        backend.apply([Edit(A, before)])
        revision, commits = backend.revision, list(backend.changes(0))
        heard: list[object] = []
        end = backend.subscribe(heard.append)
        assert backend.apply([Edit(A, (lambda _: before) if lazily else before)]) is None
        assert backend.apply([]) is None
        end()
        assert heard == []
        assert backend.revision == revision
        assert list(backend.changes(0)) == commits

    def test_edits_that_change_nothing_are_left_out_of_a_commit(self, backend: Backend) -> None:
        put(backend, A, 1)
        commit = backend.apply([Edit(A, ONE), Edit(B, TWO), Edit(Key("none", "c"), None)])
        assert commit is not None
        assert commit.ops == (Op(B, None, TWO),)

    def test_a_delete_leaves_nothing(self, backend: Backend) -> None:
        put(backend, A, 1)
        commit = backend.apply([Edit(A, None)])
        assert commit is not None
        assert commit.ops == (Op(A, ONE, None),)
        assert backend.get(A) is None
        assert backend.ids("volumes") == []
        assert backend.collections() == []

    def test_a_function_decides_on_what_is_there(self, backend: Backend) -> None:
        seen: list[bytes | None] = []

        def decide(current: bytes | None) -> bytes:
            seen.append(current)
            return ONE if current is None else TWO

        backend.apply([Edit(A, decide)])
        backend.apply([Edit(A, decide)])
        assert seen == [None, ONE]
        assert content(backend) == {A: TWO}

    def test_a_function_may_delete(self, backend: Backend) -> None:
        put(backend, A, 1)
        backend.apply([Edit(A, lambda _: None)])
        assert content(backend) == {}

    def test_a_function_is_called_under_the_write_lock(self, backend: Backend) -> None:
        refused: list[LockTimeout] = []

        def intrude() -> None:
            try:
                with backend.exclusive(0):
                    pass
            except LockTimeout as error:
                refused.append(error)

        def decide(_: bytes | None) -> bytes:
            in_thread(intrude)
            return ONE

        backend.apply([Edit(A, decide)])
        assert len(refused) == 1

    def test_functions_of_many_threads_lose_no_update(self, backend: Backend) -> None:
        def grow(current: bytes | None) -> bytes:
            return canonical({"size": 1 if current is None else decode(current)["size"] + 1})

        def work() -> None:
            for _ in range(20):
                backend.apply([Edit(A, grow)])

        in_thread(*[work] * 4)
        assert value(backend, A) == 80
        assert [decode(commit.ops[0].after or b"")["size"] for commit in backend.changes(0)] == [
            *range(1, 81)
        ]

    @pytest.mark.parametrize("first", [True, False])
    def test_when_an_edit_raises_nothing_has_changed(self, backend: Backend, first: bool) -> None:
        class Refused(Exception):
            pass

        def refuse(_: bytes | None) -> bytes:
            raise Refused

        put(backend, A, 1)
        revision = backend.revision
        heard: list[object] = []
        end = backend.subscribe(heard.append)
        edits = [Edit(A, TWO), Edit(B, TWO), Edit(Key("volumes", "c"), refuse)]
        with pytest.raises(Refused):
            backend.apply(edits[::-1] if first else edits)
        end()
        assert heard == []
        assert content(backend) == {A: ONE}
        assert backend.revision == revision
        assert len(list(backend.changes(0))) == 1
        in_thread(lambda: put(backend, B, 1))  # the lock is free again

    # --- expected

    @pytest.mark.parametrize(
        ("before", "expected"),
        [
            (None, None),
            (None, ANY),
            (ONE, ANY),
            (ONE, etag_of(ONE)),
        ],
    )
    @pytest.mark.parametrize("after", [None, ONE, TWO])
    def test_an_expectation_that_holds_lets_the_edit_pass(
        self, backend: Backend, before: bytes | None, expected: Expected, after: bytes | None
    ) -> None:
        backend.apply([Edit(A, before)])
        backend.apply([Edit(A, after, expected)])
        assert content(backend) == ({} if after is None else {A: after})

    @pytest.mark.parametrize(
        ("before", "expected"),
        [
            (None, etag_of(ONE)),
            (ONE, None),
            (ONE, etag_of(TWO)),
        ],
    )
    @pytest.mark.parametrize("after", [None, ONE, TWO, lambda _: TWO])
    def test_an_expectation_that_fails_is_a_conflict_and_changes_nothing(
        self, backend: Backend, before: bytes | None, expected: Expected, after: Any
    ) -> None:
        backend.apply([Edit(A, before)])
        was, revision = content(backend), backend.revision
        with pytest.raises(Conflict) as caught:
            backend.apply([Edit(B, ONE), Edit(A, after, expected)])
        assert caught.value.key == A
        assert caught.value.keys == (A,)
        assert content(backend) == was
        assert backend.revision == revision

    def test_a_conflict_names_every_document_in_conflict(self, backend: Backend) -> None:
        put(backend, A, 1)
        with pytest.raises(Conflict) as caught:
            backend.apply(
                [Edit(A, TWO, None), Edit(B, TWO, etag_of(ONE)), Edit(Key("c", "c"), ONE)]
            )
        assert set(caught.value.keys) == {A, B}

    def test_of_threads_that_expect_the_same_one_wins(self, backend: Backend) -> None:
        put(backend, A, 0)
        expected = etag_of(canonical({"size": 0}))
        outcomes: list[int] = []
        start = threading.Barrier(4)

        def work(n: int) -> None:
            start.wait(GRACE)
            try:
                put(backend, A, n, expected)
            except Conflict:
                return
            outcomes.append(n)

        in_thread(*[lambda n=n: work(n) for n in range(1, 5)])  # type: ignore[misc]
        assert [value(backend, A)] == outcomes

    # --- the write lock

    def test_exclusive_keeps_other_threads_from_writing(self, backend: Backend) -> None:
        def intrude() -> None:
            with pytest.raises(LockTimeout), backend.exclusive(0.01):
                raise AssertionError("two threads hold the write lock")

        with backend.exclusive():
            in_thread(intrude)
        in_thread(lambda: put(backend, A, 1))
        assert content(backend) == {A: ONE}

    def test_a_timeout_tells_who_holds_the_lock(self, backend: Backend) -> None:
        caught: list[LockTimeout] = []

        def intrude() -> None:
            with pytest.raises(TimeoutError) as raised, backend.exclusive(0):
                raise AssertionError("two threads hold the write lock")
            assert isinstance(raised.value, LockTimeout)
            caught.append(raised.value)

        with backend.exclusive():
            in_thread(intrude)
        assert caught[0].pid == os.getpid()
        assert caught[0].host
        assert caught[0].since is not None
        assert abs(caught[0].since - time.time()) < 3600

    def test_apply_waits_no_longer_than_the_lock_timeout(
        self, tmp_path: Path, opened: ExitStack
    ) -> None:
        backend = self.make(tmp_path, lock_timeout=0.01)
        opened.callback(backend.close)

        def intrude() -> None:
            with pytest.raises(LockTimeout):
                put(backend, A, 1)

        with backend.exclusive():
            in_thread(intrude)
        assert content(backend) == {}

    def test_a_writer_goes_on_when_the_lock_is_free(self, backend: Backend) -> None:
        writer = Worker(lambda: put(backend, A, 1))
        with backend.exclusive():
            writer.start()
            assert backend.get(A) is None
            put(backend, B, 1)
        writer.done()
        assert [commit.ops[0].key for commit in backend.changes(0)] == [B, A]

    def test_exclusive_is_reentrant_in_its_thread(self, backend: Backend) -> None:
        def intrude() -> None:
            with pytest.raises(LockTimeout), backend.exclusive(0):
                raise AssertionError("two threads hold the write lock")

        with backend.exclusive():
            with backend.exclusive(0):
                put(backend, A, 1)
            in_thread(intrude)
            put(backend, A, 2)
            assert value(backend, A) == 2
        in_thread(lambda: put(backend, B, 1))

    def test_exclusive_ends_with_an_exception_too(self, backend: Backend) -> None:
        with pytest.raises(ZeroDivisionError), backend.exclusive():
            raise ZeroDivisionError
        in_thread(lambda: put(backend, A, 1))

    def test_readers_go_on_while_the_lock_is_held(self, backend: Backend) -> None:
        put(backend, A, 1)

        def read() -> None:
            assert content(backend) == {A: ONE}
            assert backend.revision == 1
            assert len(list(backend.changes(0))) == 1

        with backend.exclusive():
            in_thread(read)

    # --- C1, C2

    def test_readers_see_a_commit_whole_or_not_at_all(self, backend: Backend) -> None:
        keys = [A, B, Key("snapshots", "c")]
        writing = threading.Event()

        def apply(n: int) -> None:
            backend.apply([Edit(key, canonical({"size": n})) for key in keys])

        apply(0)

        def write() -> None:
            try:
                for n in range(1, 61):
                    apply(n)
            finally:
                writing.set()

        def read() -> None:
            while not writing.is_set():
                # What is read later is never older: had a commit shown in part, it would be.
                for order in (keys, keys[::-1]):
                    seen = [value(backend, key) for key in order]
                    assert seen == sorted(seen)

        in_thread(write, read, read)

    def test_a_commit_that_returned_shows_in_every_thread(self, backend: Backend) -> None:
        for n in range(20):
            commit = put(backend, A, n)
            assert commit is not None

            def read(n: int = n, revision: int = commit.revision) -> None:
                assert value(backend, A) == n
                assert backend.revision >= revision

            in_thread(read)

    # --- changes

    def test_changes_replayed_give_the_documents(self, backend: Backend) -> None:
        put(backend, A, 1)
        put(backend, B, 1)
        put(backend, A, 2)
        backend.apply([Edit(B, None), Edit(Key("snapshots", "c"), ONE)])
        replayed: dict[Key, bytes] = {}
        for commit in backend.changes(0):
            for op in commit.ops:
                assert replayed.get(op.key) == op.before
                if op.after is None:
                    del replayed[op.key]
                else:
                    replayed[op.key] = op.after
        assert replayed == content(backend) == {A: TWO, Key("snapshots", "c"): ONE}

    def test_changes_begin_after_the_revision_given(self, backend: Backend) -> None:
        commits = [put(backend, A, n) for n in range(4)]
        for done, commit in enumerate(commits, start=1):
            assert commit is not None
            assert list(backend.changes(commit.revision)) == commits[done:]
        assert list(backend.changes(backend.revision + 5)) == []

    def test_changes_of_one_document_are_its_own_ops_alone(self, backend: Backend) -> None:
        first = put(backend, A, 1)
        put(backend, B, 1)
        both = backend.apply([Edit(A, TWO), Edit(B, TWO)], actor="ana", message="both")
        assert first is not None
        assert both is not None
        gone = backend.apply([Edit(A, None)])
        assert gone is not None
        found = list(backend.changes(0, A))
        assert found == [first, both._replace(ops=(Op(A, ONE, TWO),)), gone]
        assert list(backend.changes(first.revision, A)) == found[1:]
        assert list(backend.changes(gone.revision, A)) == []

    def test_changes_of_one_document_go_on_with_the_store(self, backend: Backend) -> None:
        assert list(backend.changes(0, A)) == []
        for number in range(5):
            commit = put(backend, A, number)
            put(backend, B, number)
            assert list(backend.changes(0, A))[-1] == commit
        assert [commit.revision for commit in backend.changes(0, A)] == [1, 3, 5, 7, 9]

    @pytest.mark.parametrize("id", HOSTILE_IDS)
    def test_changes_tell_like_documents_apart(self, backend: Backend, id: str) -> None:
        named, nested = Key("volumes", id), {"collection": "volumes", "id": id, "before": None}
        backend.apply([Edit(Key("volumes", f"{id}."), canonical({"ops": [nested]}))])
        backend.apply([Edit(named, ONE)], message=f'{{"collection":"volumes","id":"{id}","before":')
        assert [commit.revision for commit in backend.changes(0, named)] == [2]

    @pytest.mark.parametrize(("collection", "id"), INVALID_KEYS[:3])
    def test_what_cannot_name_a_document_has_no_changes(
        self, backend: Backend, collection: Any, id: Any
    ) -> None:
        put(backend, A, 1)
        with pytest.raises(InvalidKey):
            list(backend.changes(0, Key(collection, id)))

    def test_a_new_ground_goes_back_to_its_beginning(self, backend: Backend) -> None:
        assert backend.horizon == 0
        put(backend, A, 1)
        put(backend, A, 2)
        backend.checkpoint()
        assert backend.horizon == 0

    def test_changes_may_be_left_unread_and_written_meanwhile(self, backend: Backend) -> None:
        for n in range(3):
            put(backend, A, n)
        changes = backend.changes(0)
        first = next(iter(changes))
        put(backend, B, 1)
        assert first.ops == (Op(A, None, canonical({"size": 0})),)

    # --- subscribe

    def test_observers_hear_of_commits_in_order_each_once(self, backend: Backend) -> None:
        put(backend, A, 0)
        heard: list[Commit] = []

        def observe(commits: Sequence[Commit] | None) -> None:
            assert commits is not None
            heard.extend(commits)

        end = backend.subscribe(observe)

        def work(name: str) -> None:
            for n in range(10):
                put(backend, Key("volumes", name), n)

        in_thread(*[lambda name=name: work(name) for name in "abc"])  # type: ignore[misc]
        backend.get(A)
        assert heard == list(backend.changes(1))
        end()
        put(backend, A, 100)
        assert len(heard) == len(list(backend.changes(1))) - 1

    def test_observers_hear_before_any_read_shows_it(self, backend: Backend) -> None:
        put(backend, A, 0)
        heard: list[int] = [0]

        def observe(commits: Sequence[Commit] | None) -> None:
            assert commits is not None
            heard.extend(decode(commit.ops[0].after or b"")["size"] for commit in commits)

        end = backend.subscribe(observe)
        writing = threading.Event()

        def write() -> None:
            try:
                for n in range(1, 61):
                    put(backend, A, n)
            finally:
                writing.set()

        def read() -> None:
            while not writing.is_set():
                assert value(backend, A) <= heard[-1]

        in_thread(write, read, read)
        end()
        assert heard == [*range(61)]

    def test_each_subscription_ends_by_itself(self, backend: Backend) -> None:
        heard: list[object] = []
        first, second = backend.subscribe(heard.append), backend.subscribe(heard.append)
        put(backend, A, 1)
        assert len(heard) == 2
        first()
        put(backend, A, 2)
        assert len(heard) == 3
        first()
        second()
        put(backend, A, 3)
        assert len(heard) == 3

    # --- housekeeping

    def test_a_checkpoint_changes_nothing_that_can_be_read(self, backend: Backend) -> None:
        put(backend, A, 1)
        backend.apply([Edit(A, None), Edit(B, TWO)])
        revision = backend.revision
        backend.checkpoint()
        backend.checkpoint()
        assert content(backend) == {B: TWO}
        assert backend.revision == revision
        put(backend, A, 1)
        assert content(backend) == {A: ONE, B: TWO}

    def test_a_sound_store_has_no_problems(self, backend: Backend) -> None:
        put(backend, A, 1)
        assert backend.check() == []
        assert backend.repair() == []
        assert content(backend) == {A: ONE}

    def test_stats_tell_the_location_and_the_revision(self, backend: Backend) -> None:
        put(backend, A, 1)
        stats = backend.stats()
        assert stats["revision"] == 1
        assert stats["location"] == backend.location

    # --- read-only

    def test_a_read_only_handle_refuses_every_write(
        self, tmp_path: Path, opened: ExitStack
    ) -> None:
        self.make(tmp_path).close()
        backend = self.make(tmp_path, readonly=True)
        opened.callback(backend.close)
        assert backend.readonly
        for write in (
            lambda: backend.apply([Edit(A, ONE)]),
            lambda: backend.apply([Edit(A, None)]),
            lambda: backend.apply([]),
            lambda: backend.exclusive().__enter__(),
        ):
            with pytest.raises(ReadOnly):
                write()
        assert content(backend) == {}

    def test_a_handle_that_writes_is_not_read_only(self, backend: Backend) -> None:
        assert not backend.readonly

    # --- closing

    @pytest.mark.parametrize(
        "call",
        [
            lambda backend: backend.revision,
            lambda backend: backend.get(A),
            lambda backend: backend.get(B),
            lambda backend: backend.ids("volumes"),
            lambda backend: backend.collections(),
            lambda backend: backend.exclusive().__enter__(),
            lambda backend: backend.apply([Edit(A, TWO)]),
            lambda backend: backend.apply([Edit(A, ONE)]),
            lambda backend: backend.apply([]),
            lambda backend: backend.horizon,
            lambda backend: list(backend.changes(0)),
            lambda backend: list(backend.changes(0, A)),
            lambda backend: backend.subscribe(lambda commits: None),
            lambda backend: backend.check(),
            lambda backend: backend.repair(),
            lambda backend: backend.checkpoint(),
            lambda backend: backend.stats(),
        ],
        ids=[
            "revision",
            "get a document",
            "get no document",
            "ids",
            "collections",
            "exclusive",
            "apply",
            "apply what changes nothing",
            "apply no edits",
            "horizon",
            "changes",
            "changes of a document",
            "subscribe",
            "check",
            "repair",
            "checkpoint",
            "stats",
        ],
    )
    def test_after_closing_everything_raises_closed(
        self, backend: Backend, call: Callable[[Backend], object]
    ) -> None:
        put(backend, A, 1)
        backend.get(A)
        backend.close()
        with pytest.raises(Closed):
            call(backend)

    def test_closing_twice_is_closing_once(self, backend: Backend) -> None:
        end = backend.subscribe(lambda commits: None)
        backend.close()
        backend.close()
        end()
        assert backend.location

    def test_a_handle_can_be_closed_while_another_thread_reads(self, backend: Backend) -> None:
        put(backend, A, 1)
        reading = threading.Event()

        def read() -> None:
            with pytest.raises(Closed):  # noqa: PT012  # whichever read comes after the close
                while True:
                    assert value(backend, A) == 1
                    assert backend.ids("volumes") == ["a"]
                    assert backend.revision == 1
                    reading.set()

        def close() -> None:
            assert reading.wait(GRACE)
            backend.close()

        in_thread(read, close)


class SharedBackendContract(BackendContract):
    """For grounds that several handles share, in this process or others, and that last."""

    @pytest.fixture
    def other(self, backend: Backend, tmp_path: Path, opened: ExitStack) -> Backend:
        """A second handle on the ground of ``backend``."""
        other = self.make(tmp_path, lock_timeout=0.05)
        opened.callback(other.close)
        return other

    def test_what_one_handle_commits_the_other_reads_at_once(
        self, backend: Backend, other: Backend
    ) -> None:
        for n in range(5):
            put(backend, A, n)
            assert value(other, A) == n
            assert other.revision == backend.revision
            put(other, B, n)
            assert value(backend, B) == n
            assert sorted(backend.ids("volumes")) == sorted(other.ids("volumes")) == ["a", "b"]
        backend.apply([Edit(A, None)])
        assert other.get(A) is None
        assert other.ids("volumes") == ["b"]
        assert other.collections() == ["volumes"]

    def test_handles_have_one_feed(self, backend: Backend, other: Backend) -> None:
        for n in range(3):
            put(backend, A, n)
            put(other, B, n)
        assert list(backend.changes(0)) == list(other.changes(0))
        assert len(list(backend.changes(0))) == 6

    def test_an_etag_read_by_one_is_stale_when_the_other_wrote(
        self, backend: Backend, other: Backend
    ) -> None:
        put(backend, A, 1)
        entry = other.get(A)
        assert entry is not None
        put(backend, A, 2)
        with pytest.raises(Conflict):
            put(other, A, 3, entry.etag)
        put(other, A, 3, etag_of(TWO))
        assert value(backend, A) == 3

    def test_the_write_lock_is_the_stores_not_the_handles(
        self, backend: Backend, other: Backend
    ) -> None:
        with backend.exclusive():
            with pytest.raises(LockTimeout) as caught:
                put(other, A, 1)
            put(backend, B, 1)
        assert caught.value.pid == os.getpid()
        put(other, A, 1)
        assert content(backend) == {A: ONE, B: ONE}

    def test_functions_of_both_handles_lose_no_update(
        self, backend: Backend, tmp_path: Path, opened: ExitStack
    ) -> None:
        other = self.make(tmp_path)
        opened.callback(other.close)

        def grow(current: bytes | None) -> bytes:
            return canonical({"size": 1 if current is None else decode(current)["size"] + 1})

        def work(handle: Backend) -> None:
            for _ in range(20):
                handle.apply([Edit(A, grow)])

        in_thread(lambda: work(backend), lambda: work(other))
        assert value(backend, A) == value(other, A) == 40

    def test_an_observer_hears_of_the_other_handle_before_a_read_shows_it(
        self, backend: Backend, other: Backend
    ) -> None:
        put(backend, A, 0)
        assert value(other, A) == 0
        heard: list[Commit] = []

        def observe(commits: Sequence[Commit] | None) -> None:
            assert commits is not None
            heard.extend(commits)

        end = other.subscribe(observe)
        put(backend, A, 1)
        put(backend, B, 1)
        assert value(other, B) == 1
        assert heard == list(backend.changes(1))
        put(other, A, 2)
        put(backend, A, 3)
        assert other.ids("volumes")
        assert heard == list(backend.changes(1))
        end()

    def test_what_was_committed_is_there_when_opened_again(
        self, backend: Backend, tmp_path: Path, opened: ExitStack
    ) -> None:
        put(backend, A, 1)
        backend.apply([Edit(A, None), Edit(B, TWO)], actor="me", message="move")
        revision, commits = backend.revision, list(backend.changes(0))
        backend.close()
        again = self.make(tmp_path)
        opened.callback(again.close)
        assert content(again) == {B: TWO}
        assert again.revision == revision
        assert list(again.changes(0)) == commits
        assert again.check() == []

    def test_closing_one_handle_leaves_the_other(self, backend: Backend, other: Backend) -> None:
        put(other, A, 1)
        other.close()
        assert value(backend, A) == 1
        put(backend, A, 2)
        assert value(backend, A) == 2

    def test_a_read_only_handle_follows_the_writer(
        self, backend: Backend, tmp_path: Path, opened: ExitStack
    ) -> None:
        reader = self.make(tmp_path, readonly=True)
        opened.callback(reader.close)
        for n in range(3):
            put(backend, A, n)
            assert value(reader, A) == n
            assert reader.revision == backend.revision
