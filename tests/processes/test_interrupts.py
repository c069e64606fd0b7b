"""What an exception out of nowhere leaves behind: interrupts and lack of memory in a commit."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from tests.processes.actors import FORK, HookedFileSystem, assert_sound, quiet, state_of, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from filestore import Store
    from tests.processes.actors import Actor

BEFORE = {("c", "a"): {"value": 1}, ("c", "b"): {"value": 1}, ("c", "x"): {"value": 1}}
AFTER = {("c", "a"): {"value": 2}, ("c", "b"): {"value": 2}, ("d", "n"): {"value": 2}}


def prepare(store: Store) -> None:
    with store.transaction() as tx:
        for (collection, id), document in BEFORE.items():
            tx[collection][id] = document
    assert state_of(store) == BEFORE


def change(store: Store) -> None:
    """From BEFORE to AFTER."""
    with store.transaction() as tx:
        tx["c"]["a"] = {"value": 2}
        tx["c"]["b"] = {"value": 2}
        tx["d"]["n"] = {"value": 2}
        del tx["c"]["x"]


class Bomb:
    """Raises at the nth call, before it or after it."""

    def __init__(self, error: type[BaseException], number: int, *, after: bool) -> None:
        self.error = error
        self.left = number
        self.armed = False
        self.fs = HookedFileSystem(*((None, self.tick) if after else (self.tick, None)))

    def tick(self, name: str, args: tuple[Any, ...]) -> None:
        if self.armed and threading.current_thread() is threading.main_thread():
            self.left -= 1
            if self.left == 0:
                self.armed = False
                raise self.error(name)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("durability", ["full", "normal"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_commit_interrupted_at_any_call_is_whole_or_not_at_all(
    tmp_path: Path, error: type[BaseException], durability: str, after: bool
) -> None:
    number = outcomes = 0
    while True:
        number += 1
        path = tmp_path / f"state-{number}"
        bomb = Bomb(error, number, after=after)
        store = quiet(path, bomb.fs, durability=durability)
        witness = quiet(path, lock_timeout=5.0)
        prepare(store)
        bomb.armed = True
        try:
            change(store)
        except error:
            pass
        finished = bomb.armed
        bomb.armed = False
        seen = state_of(witness)
        assert seen in (BEFORE, AFTER), number
        outcomes |= 1 if seen == BEFORE else 2
        assert state_of(store) == seen, number
        # Nobody is kept waiting, and both go on.
        witness["c"]["later"] = {"value": number}
        store["c"]["latest"] = {"value": number}
        expected = seen | {
            ("c", "later"): {"value": number},
            ("c", "latest"): {"value": number},
        }
        assert state_of(store) == state_of(witness) == expected, number
        store.close()
        witness.close()
        assert assert_sound(path) == expected, number
        if finished:
            break
    assert outcomes == 3
    assert number > 5


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_interrupted_commit_is_whole_for_who_finds_the_journal_alone(
    tmp_path: Path, after: bool
) -> None:
    number = 0
    while True:
        number += 1
        path = tmp_path / f"state-{number}"
        bomb = Bomb(KeyboardInterrupt, number, after=after)
        store = quiet(path, bomb.fs)
        prepare(store)
        bomb.armed = True
        try:
            change(store)
            told = AFTER
        except KeyboardInterrupt:
            told = state_of(store)
        finished = bomb.armed
        bomb.armed = False
        (path / ".filestore/state").unlink()  # as after a crash of the machine
        assert assert_sound(path) == told, number
        store.close()
        assert assert_sound(path) == told, number
        if finished:
            break


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_checkpoint_interrupted_at_any_call_loses_nothing(
    tmp_path: Path, error: type[BaseException]
) -> None:
    number = 0
    while True:
        number += 1
        path = tmp_path / f"state-{number}"
        bomb = Bomb(error, number, after=False)
        store = quiet(path, bomb.fs, durability="normal")
        prepare(store)
        change(store)
        bomb.armed = True
        try:
            store.checkpoint()
        except error:
            pass
        finished = bomb.armed
        bomb.armed = False
        assert state_of(store) == AFTER
        store["c"]["later"] = {}
        store.checkpoint()
        store.close()
        assert assert_sound(path) == AFTER | {("c", "later"): {}}, number
        if finished:
            break


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_opening_interrupted_at_any_call_is_begun_anew(
    tmp_path: Path, error: type[BaseException]
) -> None:
    number = 0
    while True:
        number += 1
        path = tmp_path / f"state-{number}"
        with filestore.open(path) as store:
            prepare(store)
            change(store)
        (path / ".filestore/state").unlink()
        descriptors = len(os.listdir("/proc/self/fd"))
        bomb = Bomb(error, number, after=True)
        bomb.armed = True
        try:
            quiet(path, bomb.fs).close()
        except error:
            pass
        # ``after`` an open its number is lost with the interrupt: one at most.  Not asked above:
        # a mapping, which has a descriptor of its own, goes with what was raised.
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
        assert assert_sound(path) == AFTER, number
        if bomb.armed:
            break


def commit_until_told(pipe: Connection, path: Path, acknowledged: Any) -> None:
    """Go on through every interrupt; say how many came at the end."""
    sys.settrace(None)  # a commit that is traced takes longer than the pause between two
    store = filestore.open(path)
    interrupts = serial = 0
    told = inside = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal inside, interrupts
        if inside:
            inside = False
            interrupts += 1
            raise KeyboardInterrupt

    def stop(number: int, frame: object) -> None:
        nonlocal told
        told = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, interrupt)
    pipe.send("ready")
    while not told:
        try:
            inside = True
            serial = max(store["c"].get("one", {"serial": 0})["serial"], serial) + 1
            with store.transaction() as tx:
                tx["c"]["one"] = {"serial": serial}
                tx["c"]["two"] = {"serial": serial}
            acknowledged.value = serial
            store["d"]["three"] = {"serial": serial}
            inside = False
        except KeyboardInterrupt:
            pass
    inside = False
    acknowledged.value = store["c"]["one"]["serial"]
    # The others must not be kept waiting by one that is done.
    pipe.send(interrupts)
    pipe.recv()
    store.close()


def test_a_storm_of_interrupts_leaves_no_lock_and_no_half_transaction(
    path: Path, start: Callable[..., Actor]
) -> None:
    acknowledged = FORK.RawValue("Q", 0)
    actor = start(commit_until_told, path, acknowledged)
    assert actor.hear() == "ready"
    sent = 0
    store = filestore.open(path, lock_timeout=10.0)
    while sent < 1500:
        seen = acknowledged.value
        os.kill(actor.pid, signal.SIGINT)
        sent += 1
        if sent % 10 == 0:
            until(lambda s=seen: acknowledged.value != s or actor.said_anything())
            with store.snapshot() as view:
                one, two = view["c"].get("one"), view["c"].get("two")
            assert one == two
        if sent % 100 == 0:
            store["c"][f"witness-{sent}"] = {}
    os.kill(actor.pid, signal.SIGTERM)
    assert actor.hear() > 0
    store["c"]["witness"] = {}
    store.close()
    actor.say("done")
    actor.end()
    state = assert_sound(path)
    assert state["c", "one"] == state["c", "two"] == {"serial": acknowledged.value}
