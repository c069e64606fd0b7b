"""What a handle takes in of the commits of others, and when it parses their documents."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from filestore.codec import canonical
from filestore.engine import news as news_module
from filestore.engine import record
from filestore.engine.files import FileBackend
from filestore.engine.news import News, told_by
from filestore.errors import Corrupt
from filestore.model import Commit, Edit, Key, Op, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

A, B, C = (Key("volumes", id) for id in "abc")
MANY = [Key("volumes", f"{number}") for number in range(2 * news_module._FEW)]


def document(number: int) -> bytes:
    return canonical({"n": number})


def commit(ops: tuple[Op, ...], revision: int = 7, origin: Origin = Origin.LOCAL) -> Commit:
    return Commit(revision, 1700000000.25, "ana", 'said "so"', origin, ops)


OPS = (
    Op(A, None, document(1)),
    Op(B, document(1), document(2)),
    Op(C, document(3), None),
    Op(Key("a/b", 'x"\\\n☃'), None, canonical({"text": '{"collection":"c","id":"i","before":'})),
)


def payload_of(made: Commit) -> bytes:
    payload = record.commit_payload(made, record.etags(made), made.revision - 1)
    assert isinstance(payload, bytes)
    return payload


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize("spelled", ["by us", "with spaces", "in another order"])
def test_a_commit_is_told_of_however_it_is_spelled(origin: Origin, spelled: str) -> None:
    made = commit(OPS, origin=origin)
    payload = payload_of(made)
    if spelled == "with spaces":
        payload = json.dumps(json.loads(payload)).encode()
    elif spelled == "in another order":
        fields = {"ops": [], **json.loads(payload)}
        payload = json.dumps(fields, separators=(",", ":")).encode()
    told = told_by(payload, "journal", 0)
    assert told.outline == record.outline_of(made)._replace(ops=told.ops)
    assert [(key, before) for key, before, _ in told.ops] == [
        (op.key, op.before is not None) for op in OPS
    ]
    assert [after for _, _, after in told.ops] == [after for _, after in record.etags(made)]
    assert told.commit == made
    assert told.commit is told.commit


def test_a_long_line_is_parsed_while_its_pieces_are_there() -> None:
    made = commit(OPS)
    pieces = [payload_of(made)]
    told = told_by(record.Long(pieces[0][:100], lambda: iter(pieces)), "journal", 0)
    pieces.clear()
    assert told.commit == made
    assert [key for key, _, _ in told.ops] == [op.key for op in OPS]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"revision":7}',
        payload_of(commit(OPS))[:-2],
        payload_of(commit(OPS)).replace(b"volumes", b""),
        payload_of(commit(OPS)).replace(b'"origin":"local"', b'"origin":"moon"'),
    ],
)
def test_what_is_no_commit_is_told_as_damage(payload: bytes) -> None:
    with pytest.raises(Corrupt, match="damaged at byte 12"):
        _ = told_by(payload, "journal", 12).commit


def test_news_are_a_sequence_of_commits() -> None:
    made = [commit(OPS[:many], revision=many) for many in (1, 2, 3)]
    news = News([told_by(payload_of(one), "journal", 0) for one in made])
    assert list(news) == made
    assert news[-1] == made[-1]
    assert list(news[1:]) == made[1:]
    assert len(news) == 3
    assert made[1] in news


class Two:
    """A handle that reads and one that writes, whose commits reach no file by themselves."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, durability: str) -> None:
        self.writer = FileBackend(root, background=False, durability=durability)
        self.writer.apply([Edit(key, document(0)) for key in (A, B)])
        self.writer.checkpoint()
        self.reader = FileBackend(root, background=False)
        self.parsed: list[int] = []
        parse = record.parse_commit

        def noted(payload: record.Object, key: Key | None = None) -> tuple[Commit, int]:
            found = parse(payload, key)
            self.parsed.append(found[0].revision)
            return found

        monkeypatch.setattr(record, "parse_commit", noted)

    def get(self, key: Key) -> bytes | None:
        entry = self.reader.get(key)
        return None if entry is None else entry.data


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Two]]:
    with ExitStack() as stack:

        def make(durability: str) -> Two:
            made = Two(tmp_path / "state", monkeypatch, durability)
            stack.callback(made.writer.close)
            stack.callback(made.reader.close)
            return made

        yield make


def test_no_document_is_parsed_of_a_commit_whose_files_are_there(
    two: Callable[[str], Two],
) -> None:
    both = two("full")
    assert both.get(A) == both.get(B) == document(0)
    both.writer.apply([Edit(A, document(1)), Edit(C, document(1))])
    both.writer.apply([Edit(C, None)])
    assert both.get(B) == document(0)
    assert both.get(A) == document(1)
    assert both.get(C) is None
    assert both.reader.ids("volumes") == ["a", "b"]
    assert both.parsed == []


def test_what_is_in_no_file_yet_is_parsed_when_it_is_asked_for(two: Callable[[str], Two]) -> None:
    both = two("normal")
    both.writer.apply([Edit(A, document(1)), Edit(B, None), Edit(C, document(1))])
    both.writer.apply([Edit(C, document(2))])
    assert both.get(B) is None
    assert both.reader.ids("volumes") == ["a", "c"]
    assert both.reader.collections() == ["volumes"]
    assert both.parsed == []
    for _ in range(2):
        assert both.get(C) == document(2)
    assert both.parsed == [3]
    assert both.get(A) == document(1)
    assert both.parsed == [3, 2]
    both.writer.checkpoint()
    assert both.get(A) == document(1)
    assert both.get(C) == document(2)


def test_many_documents_that_are_in_no_file_yet_are_read(two: Callable[[str], Two]) -> None:
    both = two("normal")
    both.writer.apply([Edit(key, document(number)) for number, key in enumerate(MANY)])
    assert [both.get(key) for key in MANY] == [document(number) for number in range(len(MANY))]
    both.writer.apply([Edit(key, None) for key in MANY])
    assert [both.get(key) for key in MANY] == [None] * len(MANY)


def test_threads_parse_a_commit_that_they_ask_for_at_once(two: Callable[[str], Two]) -> None:
    both = two("normal")
    found: list[bytes | None] = []
    together = threading.Barrier(4)

    def read() -> None:
        for _ in range(50):
            together.wait(30)
            found.append(both.get(A))
            together.wait(30)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    expected: list[bytes | None] = []
    for number in range(1, 51):
        both.writer.apply([Edit(A, document(number)), Edit(B, document(number))])
        together.wait(30)
        together.wait(30)
        expected += [document(number)] * 3
    for thread in threads:
        thread.join()
    assert found == expected


def test_observers_are_told_what_the_journal_keeps(two: Callable[[str], Two]) -> None:
    both = two("normal")
    heard: list[Commit] = []

    def observe(commits: object) -> None:
        assert isinstance(commits, News)
        heard.extend(commits)

    end = both.reader.subscribe(observe)
    both.writer.apply([Edit(A, document(1)), Edit(B, None)])
    both.writer.apply([Edit(key, document(number)) for number, key in enumerate(MANY)])
    both.get(A)
    end()
    assert heard == list(both.reader.changes(1))


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_who_follows_commit_by_commit_is_told_what_one_is_who_comes_late(
    tmp_path: Path, durability: str
) -> None:
    strange = Key("a b/Ünï", 'x"\\\n☃')
    steps = [
        [Edit(A, document(1))],
        [Edit(A, None), Edit(strange, document(2))],
        [Edit(strange, canonical({"document": {"collection": "c", "id": "i"}}))],
        [Edit(key, document(3)) for key in MANY],
        None,
        [Edit(B, document(4))],
        [Edit(key, None) for key in MANY],
        [Edit(strange, None)],
    ]
    with ExitStack() as stack:
        writer = FileBackend(tmp_path / "state", background=False, durability=durability)
        stack.callback(writer.close)
        writer.apply([Edit(C, document(0))])
        handles = [FileBackend(tmp_path / "state", background=False) for _ in range(2)]
        heard: list[list[Commit]] = [[], []]
        for handle, commits in zip(handles, heard, strict=True):
            stack.callback(handle.close)
            handle.subscribe(lambda news, commits=commits: commits.extend(news))  # type: ignore[misc]
        at_once, late = handles
        for number, step in enumerate(steps):
            if step is None:
                writer.checkpoint()
                continue
            writer.apply(step, actor='"ana"', message=f"step\n{number}")
            assert at_once.ids("volumes") == writer.ids("volumes")
        assert late.revision == at_once.revision == writer.revision
        assert heard[0] == heard[1] == list(writer.changes(1))
        assert late.ids("volumes") == at_once.ids("volumes")
        assert late.collections() == at_once.collections() == writer.collections()
