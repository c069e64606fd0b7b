"""Processes that write random transactions are killed at random, again and again.

``FILESTORE_KILL_ROUNDS=500 pytest tests/processes/test_random_deaths.py`` goes on for longer,
``FILESTORE_KILL_SEED`` begins with another round.
"""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from tests.processes.actors import FORK, assert_sound, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.processes.actors import Actor

ROUNDS = int(os.environ.get("FILESTORE_KILL_ROUNDS", "40"))
SEED = int(os.environ.get("FILESTORE_KILL_SEED", "0"))
PROCESSES = 4
ACCOUNTS = 12
TOTAL = 1200


def balances(state: dict[tuple[str, str], Any]) -> list[int]:
    return [doc["balance"] for (name, _), doc in state.items() if name.startswith("accounts")]


def transfer_for_ever(
    pipe: Connection, path: Path, number: int, acknowledged: Any, seed: int
) -> None:
    """Move money between accounts that come and go; the serial says how often it was done."""
    rng = random.Random(seed)
    durability = rng.choice(["full", "full", "normal"])
    store = filestore.open(path, durability=durability)
    serials = store["serials"]
    serial = acknowledged[number]
    while True:
        serial += 1
        with store.transaction(message=f"{number}/{serial}") as tx:
            assert serials.get(str(number), {"serial": 0})["serial"] in (serial - 1, serial)
            picked = rng.sample(range(ACCOUNTS), rng.randint(2, 4))
            moved = 0
            for one in picked[1:]:
                amount = rng.randint(-20, 20)
                moved += change(tx, one, amount)
            change(tx, picked[0], -moved)
            tx["serials"][str(number)] = {"serial": serial, "pad": "x" * rng.randint(0, 2000)}
        acknowledged[number] = serial
        if rng.random() < 0.02:
            store.checkpoint()
        if rng.random() < 0.02:
            store.close()
            store = filestore.open(path, durability=durability)
            serials = store["serials"]


def change(tx: Any, one: int, amount: int) -> int:
    """An account of nothing has no document."""
    accounts = tx[f"accounts/{one % 3}"]
    balance = accounts.get(str(one), {"balance": 0})["balance"] + amount
    if balance:
        accounts[str(one)] = {"balance": balance}
    else:
        with contextlib.suppress(KeyError):
            del accounts[str(one)]
    return amount


@pytest.mark.timeout(60 + 10 * ROUNDS)
@pytest.mark.parametrize("codec", ["json", "yaml"])
def test_whatever_was_acknowledged_survives_and_no_transaction_is_half_there(
    path: Path, start: Callable[..., Actor], codec: str
) -> None:
    with filestore.open(path, codec=codec) as store, store.transaction():
        for one in range(ACCOUNTS):
            store[f"accounts/{one % 3}"][str(one)] = {"balance": TOTAL // ACCOUNTS}
    acknowledged = FORK.RawArray("Q", PROCESSES)
    for turn in range(SEED, SEED + (ROUNDS + 1) // 2):
        rng = random.Random(f"{codec} {turn}")
        before = list(acknowledged)
        actors = [
            start(transfer_for_ever, path, number, acknowledged, rng.getrandbits(32))
            for number in range(PROCESSES)
        ]
        until(lambda a=actors, b=before: _moved(a, b, acknowledged, every=True))
        for actor in rng.sample(actors, PROCESSES):
            target = sum(acknowledged) + rng.randint(0, 12)
            until(lambda a=actors, t=target: _moved(a, [], acknowledged, every=False) >= t)
            assert not actor.said_anything() or actor.hear()
            actor.kill()
        state = assert_sound(path)
        assert sum(balances(state)) == TOTAL, f"round {turn}"
        for number in range(PROCESSES):
            serial = state["serials", str(number)]["serial"]
            known = acknowledged[number]
            assert known <= serial <= known + 1, f"round {turn}, process {number}"
            acknowledged[number] = serial


def _moved(actors: list[Actor], before: list[int], acknowledged: Any, *, every: bool) -> int:
    """How far they are; 0 while not everybody has begun, if ``every`` is asked for."""
    for actor in actors:
        if actor.process.exitcode is None and actor.said_anything():
            actor.hear()  # raises what it raised
    if every:
        return int(all(now > then for now, then in zip(acknowledged, before, strict=True)))
    return sum(acknowledged)
