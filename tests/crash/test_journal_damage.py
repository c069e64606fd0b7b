"""A damaged journal is never a surprise: documents stay, and a loss is said.

Two stores are damaged: a *clean* one, whose documents are all durable, so that
its journal is only history; and an *owing* one, which lost its power when the
last three commits were in the journal alone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import pytest

from filestore.engine import journal as journal_module
from filestore.engine import record
from filestore.errors import FilestoreError
from filestore.model import Edit
from filestore.problem import Severity
from tests.crash.disk import Disk
from tests.crash.sim import RecordingFileSystem
from tests.crash.workload import (
    CHECKPOINT,
    CLOSE,
    OPEN,
    A,
    B,
    C,
    D,
    Ground,
    Run,
    commit,
    document,
    documents_on,
    numbers,
    opened,
    store_path,
    tree_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash.disk import Image
    from tests.crash.workload import Step, Tree

DURABLE = (
    OPEN,
    commit("one", (A, document(1)), (B, document(2))),
    commit("two", (A, document(3)), (C, document(4))),
    CHECKPOINT,
)
OWED = (
    commit("three", (A, document(5)), (C, None)),
    commit("four", (B, document(6)), (D, document(7))),
    commit("five", (A, document(8)), (D, None)),
)
JOURNAL = "store/.filestore/journal/"


@dataclass(frozen=True)
class Specimen:
    """A tree to damage; ``trees``: the states from its checkpoint on."""

    image: Image
    trees: list[Tree]

    @property
    def segments(self) -> dict[str, bytes]:
        return {
            path: item.content
            for path, item in self.image.items.items()
            if path.startswith(JOURNAL) and isinstance(item.content, bytes)
        }

    def with_segments(self, segments: dict[str, bytes]) -> Image:
        items = {p: i for p, i in self.image.items.items() if p not in self.segments}
        mode = self.image.items[next(iter(self.segments))]
        items |= {path: mode._replace(content=data) for path, data in segments.items()}
        return type(self.image)("damaged", dict(sorted(items.items())), b"")


def specimen(ground: Ground, steps: Sequence[Step]) -> Specimen:
    disk = ground.disk()
    run = Run(disk, RecordingFileSystem(disk))
    run.do(steps)
    image = next(iter(disk.images(samples=0)))
    assert image.label == "lost"
    trees = run.promise.trees[run.promise.durable :]
    ground.clear()
    return Specimen(image, trees)


@pytest.fixture
def clean(ground: Ground) -> Specimen:
    return specimen(ground, (*DURABLE, *OWED, CLOSE))


@pytest.fixture
def owing(ground: Ground) -> Specimen:
    found = specimen(ground, (*DURABLE, *OWED))
    assert len(found.trees) == 4
    return found


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1200)


@dataclass(frozen=True)
class Outcome:
    """What became of a store whose journal was damaged."""

    tree: Tree | None  # None: it does not open
    reports: tuple[str, ...]
    repaired: Tree | None = None  # after the repair, with what was put before it


def outcome(ground: Ground, image: Image, boot_id: str = "boot-2") -> Outcome:
    """Open, read, check, write, repair: nothing may raise but a FilestoreError."""
    disk = ground.disk(image, boot_id=boot_id)
    reports: list[str] = []
    tree: Tree | None = None
    fs = RecordingFileSystem(disk)
    backend = None
    repaired: Tree | None = None
    try:
        backend = opened(disk, fs)
        tree = tree_of(backend)
    except FilestoreError as error:
        reports.append(repr(error))
    if backend is not None:
        try:
            reports += [p.message for p in backend.check() if p.severity is Severity.ERROR]
        except FilestoreError as error:
            reports.append(repr(error))
        for act in (
            lambda: backend.apply([Edit(B, document(77))]),
            lambda: list(backend.changes(0)),
            backend.checkpoint,
            backend.stats,
            backend.repair,
        ):
            with contextlib.suppress(FilestoreError):
                act()
        with contextlib.suppress(FilestoreError):
            repaired = tree_of(backend)
        backend.close()
    assert not fs.opened
    disk.release()
    ground.clear()
    return Outcome(tree, tuple(reports), repaired)


def cut(data: bytes, size: int) -> bytes:
    return data[:size]


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def line_ends(data: bytes) -> list[int]:
    used = len(data.rstrip(b"\0"))
    return [at + 1 for at, byte in enumerate(data[:used]) if byte == 0x0A]


def places(data: bytes, *, every: bool) -> list[int]:
    """Bytes to damage: those around each line's ends, and a sample of the others."""
    used = len(data.rstrip(b"\0"))
    if every:
        return list(range(used))
    near = {end + delta for end in [0, *line_ends(data)] for delta in range(-2, 11)}
    return sorted(n for n in near | set(range(0, used, 97)) if 0 <= n < used)


def test_a_clean_store_keeps_its_documents_whatever_befalls_the_journal(
    ground: Ground, clean: Specimen, exhaustive: bool
) -> None:
    (path, data), *none = clean.segments.items()
    assert not none
    damages = [cut(data, at) for at in places(data, every=exhaustive)]
    damages += [flipped(data, at, at % 8) for at in places(data, every=exhaustive)]
    tree = clean.trees[-1]
    for number, damage in enumerate(damages):
        found = outcome(ground, clean.with_segments({path: damage}))
        assert found.tree == tree or found.reports, number
        # A repair may bring a deleted document back, never take one away.
        assert found.repaired is not None, number
        assert {**tree, B: found.repaired[B]}.items() <= found.repaired.items(), number
        assert found.repaired[B] in (tree[B], document(77)), number


def test_a_truncated_journal_gives_what_is_left_of_it(
    ground: Ground, owing: Specimen, exhaustive: bool
) -> None:
    (path, data), *_ = owing.segments.items()
    ends = line_ends(data)
    for at in places(data, every=exhaustive):
        found = outcome(ground, owing.with_segments({path: cut(data, at)}))
        whole = [end for end in ends if end <= at]
        lost = max(0, len(ends) - len(whole))
        left = owing.trees[max(0, len(owing.trees) - 1 - lost)]
        assert found.reports or found.tree == left, (at, ends, found)


def test_a_flipped_bit_is_reported_but_in_the_last_record(
    ground: Ground, owing: Specimen, exhaustive: bool
) -> None:
    (path, data), *_ = owing.segments.items()
    ends = line_ends(data)
    for at in places(data, every=exhaustive):
        found = outcome(ground, owing.with_segments({path: flipped(data, at, at % 8)}))
        if at >= ends[-2]:  # no different from the torn end of a commit that did not return
            assert found.reports or found.tree in owing.trees[-2:], at
        elif found.tree is not None and not found.reports:
            assert found.tree == owing.trees[-1], (at, ends, numbers(found.tree))
        known = set(itertools.chain.from_iterable(tree.items() for tree in owing.trees))
        assert found.tree is None or set(found.tree.items()) <= known, at


@pytest.mark.parametrize("index", range(4))
def test_a_missing_segment_is_reported(ground: Ground, small_segments: None, index: int) -> None:
    owing = specimen(ground, (*DURABLE, *OWED))
    segments = owing.segments
    assert len(segments) >= 4
    if index >= len(segments):
        return
    missing = sorted(segments)[index]
    found = outcome(
        ground, owing.with_segments({p: d for p, d in segments.items() if p != missing})
    )
    if missing == max(segments):
        assert found.reports or found.tree in owing.trees
    else:
        assert found.reports or found.tree == owing.trees[-1], missing


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_duplicated_segment_changes_nothing(
    ground: Ground, small_segments: None, shift: int
) -> None:
    owing = specimen(ground, (*DURABLE, *OWED))
    segments = owing.segments
    for source in sorted(segments):
        number = int(source.removeprefix(JOURNAL).removesuffix(".log")) + shift
        copy = f"{JOURNAL}{number:08d}.log"
        found = outcome(ground, owing.with_segments({**segments, copy: segments[source]}))
        assert found.reports or found.tree == owing.trees[-1], (source, copy)


def test_a_journal_older_than_the_documents_takes_nothing_back(ground: Ground) -> None:
    disk = ground.disk()
    run = Run(disk, RecordingFileSystem(disk))
    run.do(DURABLE)
    run.do(OWED[:1])
    old = Specimen(disk.now(), [])
    run.do(OWED[1:])
    run.one(CLOSE)
    new = Specimen(disk.now(), run.promise.trees[-1:])
    ground.clear()
    found = outcome(ground, new.with_segments(old.segments))
    assert found.tree == new.trees[-1] or found.reports


def test_the_journal_of_another_store_is_not_replayed(ground: Ground, clean: Specimen) -> None:
    disk = ground.disk()
    run = Run(disk, RecordingFileSystem(disk))
    run.do((OPEN, commit("other", (A, document(50))), commit("other", (D, document(51)))))
    other = Specimen(disk.now(), [])
    ground.clear()
    found = outcome(ground, clean.with_segments(other.segments))
    assert found.tree in (None, clean.trees[-1])
    assert found.reports
    both = {path.replace("001.log", "002.log"): data for path, data in other.segments.items()}
    found = outcome(ground, clean.with_segments({**clean.segments, **both}))
    assert found.tree in (None, clean.trees[-1])
    assert found.reports


HOSTILE: tuple[tuple[object, object], ...] = (
    ("..", "x"),
    ("../..", "x"),
    ("volumes", "../../../x"),
    ("volumes/../..", "x"),
    ("/tmp", "x"),
    ("", "x"),
    ("volumes", ""),
    (".filestore", "x"),
    (".git/hooks", "x"),
    ("volumes", "x\0y"),
    ("volumes", "y" * 5000),
    ("volumes", 7),
    (None, "x"),
    (["volumes"], {}),
)


def _with_line(owing: Specimen, payload: bytes) -> Image:
    (path, data), *_ = owing.segments.items()
    header = record.parse_header(data)
    assert header is not None
    lines = data.rstrip(b"\0") + record.line(payload, header.seed)
    return owing.with_segments({path: lines.ljust(len(data), b"\0")})


@pytest.mark.parametrize(
    "payload",
    [
        b'{"checkpoint":"all"}',
        b'{"checkpoint":1e30}',
        b'{"revision":7}',
        b"{}",
        b'{"revision":7,"synced":6,"time":1,"origin":"local","ops":[{"collection":"v","id":""}]}',
    ],
)
def test_a_whole_line_that_means_nothing_is_reported_even_at_the_end(
    ground: Ground, owing: Specimen, payload: bytes
) -> None:
    found = outcome(ground, _with_line(owing, payload))
    assert found.tree == owing.trees[-1]
    assert found.reports
    assert found.repaired == owing.trees[-1]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_record_that_names_a_place_outside_writes_nothing_there(
    ground: Ground, owing: Specimen, name: tuple[object, object]
) -> None:
    (path, data), *_ = owing.segments.items()
    header = record.parse_header(data)
    assert header is not None
    used = data.rstrip(b"\0")
    last = orjson.loads(used.splitlines()[-1][9:])
    last["revision"] += 1
    last["synced"] += 1
    last["ops"] = [
        {
            "collection": name[0],
            "id": name[1],
            "before": None,
            "after": "0" * 32,
            "document": {"planted": True},
        }
    ]
    planted = used + record.line(orjson.dumps(last), header.seed)
    image = owing.with_segments({path: planted.ljust(len(data), b"\0")})
    disk = ground.disk(image, boot_id="boot-2")
    outside = set(os.listdir(os.path.dirname(disk.path)))
    fs = RecordingFileSystem(disk)
    try:
        backend = opened(disk, fs)
        tree = tree_of(backend)
        backend.check()
        backend.close()
    except FilestoreError:
        pass
    else:
        assert {k: v for k, v in tree.items() if b"planted" not in v} == owing.trees[-1]
    assert not fs.opened
    assert set(os.listdir(os.path.dirname(disk.path))) == outside
    assert set(os.listdir(disk.path)) == {"store"}
    planted_in = [
        path
        for path, item in disk.now().items.items()
        if isinstance(item.content, bytes)
        and b"planted" in item.content
        and not path.startswith(JOURNAL)
    ]
    for path in planted_in:
        assert path.startswith("store/"), path
        assert not path.startswith("store/."), path


def test_without_the_runtime_folder_a_clean_store_has_all_its_documents(
    ground: Ground, clean: Specimen
) -> None:
    disk = ground.disk(clean.image, boot_id="boot-2")
    shutil.rmtree(store_path(disk) + "/.filestore")
    disk = Disk(disk.path, "boot-2")
    fs = RecordingFileSystem(disk)
    before = documents_on(disk)
    backend = opened(disk, fs)
    assert tree_of(backend) == clean.trees[-1]
    assert not [p for p in backend.check() if p.severity is Severity.ERROR]
    backend.close()
    assert documents_on(disk) == before
    disk.release()
