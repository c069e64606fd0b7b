"""Events that readers follow themselves, because the listener has not come to it."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from filestore.codec import canonical
from filestore.engine import watcher as watcher_module
from filestore.engine.files import FileBackend
from filestore.errors import Closed
from filestore.model import Edit, Key, Origin
from tests.engine.reading import keys_read
from tests.processes.actors import until

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore.engine.notices import Notice, Notices

A = Key("volumes", "a")
B = Key("volumes", "b")
LOOKS = watcher_module._LOOKS + 2
"""Reads after which one has heard what waits."""


class Deaf:
    """A reader whose listener hears nothing until it is let, and a writer beside it."""

    def __init__(
        self, root: Path, may_hear: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.root = root
        self.may_hear = may_hear
        self.writer = FileBackend(root, background=False)
        self.put(A, n=1)
        self.put(B, n=1)
        self.reader = FileBackend(root)
        until(lambda: self.reader._reads.trusting)
        self.looked_at: list[str] = []
        self.read = keys_read(self.reader, monkeypatch)
        reads = self.reader._reads
        lstat = reads._lstat

        def look(path: str) -> os.stat_result:
            self.looked_at.append(path)
            return lstat(path)

        reads._lstat = look

    def put(self, key: Key, **fields: Any) -> None:
        self.writer.apply([Edit(key, canonical(fields))])

    def path(self, key: Key) -> Path:
        return self.root / key.collection / f"{key.id}.json"

    def get(self, key: Key) -> bytes | None:
        entry = self.reader.get(key)
        return None if entry is None else entry.data

    def get_often(self, key: Key) -> bytes | None:
        for _ in range(LOOKS):
            self.get(key)
        return self.get(key)

    def has_heard(self) -> bool:
        """Whether a document is read without a look at its file."""
        self.looked_at.clear()
        self.read.clear()
        self.get(B)
        return not self.looked_at and not self.read


@pytest.fixture
def deaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deaf]:
    may_hear = threading.Event()
    gather = watcher_module._gather

    def wait(notices: Notices, stop: threading.Event, seconds: float) -> None:
        while not may_hear.is_set():
            if stop.wait(0.005):
                return
        gather(notices, stop, seconds)

    monkeypatch.setattr(watcher_module, "_gather", wait)
    with ExitStack() as stack:
        deaf = Deaf(tmp_path / "state", may_hear, monkeypatch)
        stack.callback(deaf.writer.close)
        stack.callback(deaf.reader.close)
        yield deaf
        may_hear.set()
        assert deaf.reader.check() == []


def test_reads_beside_commits_of_others_need_no_look_at_their_files(deaf: Deaf) -> None:
    for number in range(10):
        deaf.put(A, n=number)
        deaf.get_often(B)
        assert deaf.has_heard()


def test_an_edit_is_read_that_only_the_reader_has_heard_of(deaf: Deaf) -> None:
    for number in range(10):
        deaf.put(A, n=number)
        deaf.get_often(B)
        deaf.path(B).write_text(f'{{"n": {number}}}')
        assert deaf.get(B) == b'{"n":%d}' % number
        assert deaf.get_often(B) == b'{"n":%d}' % number


def test_an_edit_is_recorded_that_only_a_reader_has_heard_of(deaf: Deaf) -> None:
    until(lambda: deaf.reader.stats()["recorder"] and deaf.reader._works.recorder.passes)
    deaf.get_often(A)
    deaf.path(B).write_text('{"n": 7}')
    deaf.get_often(A)
    until(lambda: deaf.writer.revision == 3)
    (commit,) = deaf.writer.changes(2)
    assert commit.origin is Origin.EXTERNAL
    assert [(op.key, op.before, op.after) for op in commit.ops] == [(B, b'{"n":1}', b'{"n":7}')]


def test_many_events_are_left_to_the_listener(deaf: Deaf) -> None:
    with deaf.writer.exclusive():
        deaf.writer.apply(
            [Edit(Key("volumes", f"{number:040}"), b'{"n":1}') for number in range(100)]
        )
    deaf.get_often(B)
    assert not deaf.has_heard()
    deaf.may_hear.set()
    until(deaf.has_heard)


def test_a_new_folder_is_left_to_the_listener(deaf: Deaf) -> None:
    new = Key("snapshots", "s")
    deaf.put(new, n=1)
    assert deaf.get(new) == b'{"n":1}'
    deaf.get_often(B)
    assert not deaf.has_heard()
    deaf.path(new).write_text('{"n": 2}')  # nobody watches there
    assert deaf.get_often(new) == b'{"n":2}'
    deaf.may_hear.set()
    until(deaf.has_heard)
    for number in range(3, 8):
        deaf.path(new).write_text(f'{{"n": {number}}}')
        assert deaf.get(new) == b'{"n":%d}' % number


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_reader_believes_nothing_that_it_did_not_hear(
    deaf: Deaf, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    watcher = deaf.reader._works.watcher
    assert watcher is not None
    take = watcher._take

    def interrupted(heard: list[Notice]) -> bool:
        monkeypatch.setattr(watcher, "_take", take)
        if moment == "after":
            take(heard)
        raise KeyboardInterrupt

    monkeypatch.setattr(watcher, "_take", interrupted)
    deaf.get(A)
    deaf.get(B)
    deaf.path(B).write_text('{"n": 7}')
    deaf.put(A, n=2)
    with pytest.raises(KeyboardInterrupt):
        deaf.get_often(A)
    assert deaf.get_often(B) == b'{"n":7}'
    assert not deaf.has_heard()
    deaf.path(B).write_text('{"n": 8}')
    assert deaf.get(B) == b'{"n":8}'
    deaf.may_hear.set()
    until(deaf.has_heard)
    assert deaf.get(B) == b'{"n":8}'
    deaf.path(B).write_text('{"n": 9}')
    assert deaf.get(B) == b'{"n":9}'


def test_readers_in_several_threads_hear_of_every_edit(deaf: Deaf) -> None:
    ended = threading.Event()
    wrong: list[tuple[int, bytes | None]] = []

    def read(act: Callable[[], object]) -> None:
        while not ended.is_set():
            act()

    threads = [
        threading.Thread(target=read, args=(lambda: deaf.get(A),)),
        threading.Thread(target=read, args=(lambda: deaf.reader.ids("volumes"),)),
        threading.Thread(target=read, args=(lambda: deaf.reader.get_many("volumes", ["a", "b"]),)),
    ]
    for thread in threads:
        thread.start()
    try:
        for number in range(200):
            if number % 3 == 0:
                deaf.put(A, n=number)
            deaf.path(B).write_text(f'{{"n": {number}}}')
            found = deaf.get(B)
            if found != b'{"n":%d}' % number:
                wrong.append((number, found))
            if number == 100:
                deaf.may_hear.set()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_closed_reader_hears_no_more(deaf: Deaf) -> None:
    watcher = deaf.reader._works.watcher
    assert watcher is not None
    notices = watcher._notices
    assert notices is not None
    deaf.put(A, n=2)
    deaf.reader.close()
    for _ in range(LOOKS):
        assert not watcher.overhear(notices)
    with pytest.raises(Closed):
        deaf.get(A)
    deaf.reader = FileBackend(deaf.root)
