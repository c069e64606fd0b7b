"""An interrupt may come between any two lines, not at calls of the system alone."""

from __future__ import annotations

import linecache
import shutil
import sys
from typing import TYPE_CHECKING, Any

import filestore
from tests.processes.actors import assert_sound, quiet, state_of

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = filestore.__path__[0]


class Interrupt:
    """Raises KeyboardInterrupt ahead of the nth line of the package."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __enter__(self) -> None:
        self._before = sys.gettrace()  # what measures the tests' coverage goes on after it
        sys.settrace(self._enter)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: Any, event: str, argument: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: Any, event: str, argument: object) -> Any:
        if event == "line" and self.left > 0 and not _only_a_mark(frame):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self._line


def _only_a_mark(frame: Any) -> bool:
    """A ``try:`` runs nothing, and Python looks for signals at calls and jumps back only."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() == "try:"


def test_a_commit_interrupted_at_any_line_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state"
    store = quiet(path)
    witness = quiet(path, lock_timeout=1.0)
    number = 0
    outcomes = set()
    while True:
        number += 1
        with store.transaction() as tx:
            tx["c"]["a"] = tx["c"]["b"] = {"value": -1}
            tx["c"].pop("n", None)
        interrupt = Interrupt(number)
        raised = False
        try:
            with interrupt, store.transaction() as tx:
                tx["c"]["a"] = {"value": number}
                tx["c"]["b"] = {"value": number}
                tx["c"]["n"] = {"value": number}
        except KeyboardInterrupt:
            raised = True
        seen = {id: document["value"] for (_, id), document in state_of(witness).items()}
        assert seen in (
            {"a": -1, "b": -1},
            {"a": number, "b": number, "n": number},
        ), number
        outcomes.add(len(seen))
        assert raised or len(seen) == 3, number
        assert state_of(store) == state_of(witness), number
        witness["w"]["w"] = {"value": number}  # nobody is kept waiting
        del witness["w"]["w"]
        assert state_of(store) == state_of(witness), number
        if not raised:
            break
    assert outcomes == {2, 3}
    assert store.check() == []
    store.close()
    witness.close()
    assert set(assert_sound(path)) == {("c", "a"), ("c", "b"), ("c", "n")}


def test_a_put_interrupted_at_any_line_is_the_same_for_who_finds_the_journal_alone(
    tmp_path: Path,
) -> None:
    number = 0
    raised = True
    while raised:
        number += 1
        path, copy = tmp_path / f"state-{number}", tmp_path / f"copy-{number}"
        store = quiet(path, durability="off")  # the sync is no line of ours
        store["c"]["a"] = {"value": -1}
        try:
            with Interrupt(number):
                store["c"]["a"] = {"value": number}
            raised = False
        except KeyboardInterrupt:
            pass
        with quiet(path, readonly=True) as witness:
            told = state_of(witness)
        shutil.copytree(path, copy)  # whose state is another file, and not believed
        assert assert_sound(copy) == told, number
        store["c"]["a"] = {"value": 0}
        store.close()
        shutil.rmtree(path)
        shutil.rmtree(copy)
    assert told == {("c", "a"): {"value": number}}
