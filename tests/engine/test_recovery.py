"""What recovery decides about one file: the whole table, with no disk."""

from __future__ import annotations

import itertools

import pytest

from filestore.codec import canonical
from filestore.engine.recovery import Content, Step, Wanted, decide, wanted
from filestore.model import Commit, Key, Op, Origin

KEY = Key("volumes", "v1")
OLD, NEW, OTHER = (canonical({"n": n}) for n in range(3))


def file(data: bytes) -> Content:
    return Content(data, data)


UPDATE = Wanted(KEY, NEW, frozenset({OLD}))
CREATE = Wanted(KEY, NEW, frozenset({None}))
DELETE = Wanted(KEY, None, frozenset({OLD}))
PUBLISH = Step(KEY, NEW, save=False)
REMOVE = Step(KEY, None, save=False)


@pytest.mark.parametrize("rebooted", [True, False])
@pytest.mark.parametrize(
    ("want", "found", "step"),
    [
        (UPDATE, file(OLD), PUBLISH),  # the value before: not published yet
        (UPDATE, file(NEW), None),  # done
        (UPDATE, file(OTHER), None),  # J4: an edit from outside wins
        (UPDATE, None, PUBLISH),
        (CREATE, None, PUBLISH),
        (CREATE, file(NEW), None),
        (CREATE, file(OTHER), None),
        (DELETE, file(OLD), REMOVE),
        (DELETE, None, None),
        (DELETE, file(OTHER), None),
    ],
)
def test_a_whole_file_is_told_by_its_value(
    want: Wanted, found: Content | None, step: Step | None, rebooted: bool
) -> None:
    assert decide(want, found, rebooted=rebooted) == step


@pytest.mark.parametrize("raw", [b"", b"\0\0\0", b'{"n": 1', b"\xff"])
def test_after_a_reboot_a_torn_file_is_published_again(raw: bytes) -> None:
    step = decide(UPDATE, Content(None, raw), rebooted=True)
    assert step == Step(KEY, NEW, save=bool(raw.strip(b"\0")))


@pytest.mark.parametrize("raw", [b"", b'{"n": 1', b"\xff"])
def test_without_a_reboot_no_file_is_torn_so_an_unreadable_one_is_an_edit(raw: bytes) -> None:
    assert decide(UPDATE, Content(None, raw), rebooted=False) is None


def test_a_file_in_conflict_is_never_taken_for_a_torn_one() -> None:
    raw = b'{\n<<<<<<< HEAD\n  "n": 1\n'
    assert decide(UPDATE, Content(None, raw), rebooted=True) is None


def commit(revision: int, *ops: Op) -> Commit:
    return Commit(revision, 0.0, None, None, Origin.LOCAL, ops)


def test_a_key_wants_its_last_value_and_knows_those_before() -> None:
    commits = [
        commit(1, Op(KEY, None, OLD)),
        commit(2, Op(KEY, OLD, OTHER), Op(Key("volumes", "v2"), OLD, None)),
        commit(3, Op(KEY, OTHER, NEW)),
    ]
    assert wanted(commits) == [
        Wanted(KEY, NEW, frozenset({None, OLD, OTHER})),
        Wanted(Key("volumes", "v2"), None, frozenset({OLD})),
    ]


def test_replaying_any_suffix_from_any_state_of_it_gives_the_same() -> None:
    """J3: wherever the files stood when the crash came, the outcome is the last value."""
    values = [None, OLD, NEW, None, OTHER, OLD]
    commits = [
        commit(n, Op(KEY, before, after))
        for n, (before, after) in enumerate(itertools.pairwise(values), 1)
    ]
    for start in range(len(commits)):
        (want,) = wanted(commits[start:])
        for reached in values[start:]:
            found = None if reached is None else file(reached)
            step = decide(want, found, rebooted=True)
            result = reached if step is None else step.after
            assert result == OLD
            again = decide(want, file(OLD), rebooted=True)
            assert again is None
