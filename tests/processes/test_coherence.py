"""What one process wrote, the next read of any other sees: whole, and at once (C1, C2)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import Conflict
from tests.processes.actors import FORK, HookedFileSystem, assert_sound, quiet, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.processes.actors import Actor

ROUNDS = 150


def write_in_step(pipe: Connection, path: Path, durability: str) -> None:
    """Write, tell the revision, and go on when the reader has looked."""
    with filestore.open(path, durability=durability) as store:
        for n in range(ROUNDS):
            with store.transaction() as tx:
                tx["c"]["one"] = {"value": n}
                tx["c"]["two"] = {"value": n}
                if n % 2:
                    tx["c"]["odd"] = {"value": n}
                    tx["odd/only"]["x"] = {"value": n}
                elif n:
                    del tx["c"]["odd"]
                    del tx["odd/only"]["x"]
            pipe.send(store.revision)
            pipe.recv()


def looks_after(store: filestore.Store, n: int, revision: int) -> list[Callable[[], bool]]:
    """What must be true after the nth write, each to be the first read after one in turn."""
    odd = bool(n % 2)
    return [
        lambda: store["c"]["one"] == {"value": n},
        lambda: sorted(store["c"].keys()) == (["odd", "one", "two"] if odd else ["one", "two"]),
        lambda: store.collections() == (["c", "odd/only"] if odd else ["c"]),
        lambda: ("odd" in store["c"]) == odd,
        lambda: store.revision == revision,
        lambda: store["c"].read("two").revision == revision,
        lambda: list(store["odd/only"]) == (["x"] if odd else []),
    ]


@pytest.mark.parametrize("readonly", [False, True], ids=["writable", "readonly"])
@pytest.mark.parametrize("durability", ["full", "normal"])
def test_every_write_that_returned_is_seen_by_the_very_next_read(
    path: Path, start: Callable[..., Actor], durability: str, readonly: bool
) -> None:
    filestore.open(path).close()
    writer = start(write_in_step, path, durability)
    with filestore.open(path, readonly=readonly) as store:
        before = None
        for n in range(ROUNDS):
            revision = writer.hear()
            looks = looks_after(store, n, revision)
            assert looks[n % len(looks)](), n
            with store.snapshot() as view:
                assert view.revision == revision
                assert view["c"]["one"] == view["c"]["two"] == {"value": n}
                if before is not None:
                    assert before["c"]["one"] == {"value": n - 1}
                    assert ("odd" in before["c"].keys()) == bool((n - 1) % 2)  # noqa: SIM118  # the names, without reading
                    before.close()
                before = store.snapshot()
            assert all(look() for look in looks), n
            changes = list(store.changes(since=revision - 1))
            assert {change.revision for change in changes} == {revision}
            writer.say("next")
    writer.end()
    assert_sound(path)


def transfer(pipe: Connection, path: Path, stop: Any, durability: str, number: int) -> None:
    store = filestore.open(path, durability=durability, lock_timeout=60.0)
    n = 0
    while not stop.value:
        n += 1
        with store.transaction() as tx:
            one, two = tx["a"]["x"]["value"], tx["b"]["y"]["value"]
            tx["a"]["x"] = {"value": one - number}
            tx["b"]["y"] = {"value": two + number}
            if "z" in tx["d"]:
                del tx["d"]["z"]
                tx["e"]["z"] = {}
            else:
                tx["d"]["z"] = {}
                del tx["e"]["z"]
    store.close()
    pipe.send(n)


@pytest.mark.parametrize("readonly", [False, True], ids=["writable", "readonly"])
def test_no_snapshot_shows_half_a_transaction_of_handles_of_both_durabilities(
    path: Path, start: Callable[..., Actor], readonly: bool
) -> None:
    with filestore.open(path) as store, store.transaction() as tx:
        tx["a"]["x"] = {"value": 0}
        tx["b"]["y"] = {"value": 0}
        tx["e"]["z"] = {}
    stop = FORK.RawValue("i", 0)
    writers = [
        start(transfer, path, stop, durability, n + 1)
        for n, durability in enumerate(["full", "normal"])
    ]
    raised: list[BaseException] = []

    def look(store: filestore.Store, times: int) -> None:
        try:
            seen = 0
            for _ in range(times):
                with store.snapshot() as view:
                    assert view.revision >= seen
                    seen = view.revision
                    assert view["a"]["x"]["value"] + view["b"]["y"]["value"] == 0
                    assert len(list(view["d"])) + len(list(view["e"])) == 1
                    assert ("z" in view["d"]) != ("z" in view["e"])
                    assert [n for n in view.collections() if n in "de"] == (
                        ["d"] if "z" in view["d"] else ["e"]
                    )
        except BaseException as error:  # noqa: BLE001  # told to the test, whatever it is
            raised.append(error)

    with filestore.open(path, readonly=readonly) as store:
        threads = [threading.Thread(target=look, args=(store, 300)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not readonly:
            assert store.check() == []
    stop.value = 1
    for writer in writers:
        assert writer.hear() > 0
        writer.end()
    assert raised == []
    assert_sound(path)


def add_with_threads(pipe: Connection, path: Path, durability: str, threads: int) -> None:
    """Threads that share a handle each count up, in a document of theirs and in a common one."""
    store = filestore.open(path, durability=durability, lock_timeout=60.0)
    raised: list[BaseException] = []

    def add(document: dict[str, Any] | None) -> dict[str, Any]:
        return {"value": (document or {"value": 0})["value"] + 1}

    def run(mine: str) -> None:
        try:
            for n in range(1, 41):
                with store.transaction() as tx:
                    tx["c"]["common"] = add(tx["c"].get("common"))
                store["c"][mine] = {"value": n}
                assert store["c"][mine] == {"value": n}
        except BaseException as error:  # noqa: BLE001  # told to the test, whatever it is
            raised.append(error)

    pipe.send("ready")
    pipe.recv()
    running = [threading.Thread(target=run, args=(f"{durability}-{n}",)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    store.close()
    if raised:
        raise raised[0]


def test_threads_that_share_a_handle_and_processes_of_other_durability_lose_no_update(
    path: Path, start: Callable[..., Actor]
) -> None:
    filestore.open(path).close()
    actors = [
        start(add_with_threads, path, durability, 3) for durability in ("full", "normal", "off")
    ]
    for actor in actors:
        assert actor.hear() == "ready"
    for actor in actors:
        actor.say("go")
    for actor in actors:
        actor.end()
    state = assert_sound(path)
    assert state["c", "common"] == {"value": 3 * 3 * 40}
    assert len(state) == 10


def test_check_finds_nothing_wrong_beside_a_writer(path: Path, start: Callable[..., Actor]) -> None:
    with filestore.open(path) as store, store.transaction() as tx:
        tx["a"]["x"] = {"value": 0}
        tx["b"]["y"] = {"value": 0}
        tx["e"]["z"] = {}
    stop = FORK.RawValue("i", 0)
    writer = start(transfer, path, stop, "full", 1)
    with filestore.open(path, readonly=True) as store:
        first = store.revision
        for _ in range(60):
            assert store.check() == []
        until(lambda: store.revision > first)
    stop.value = 1
    assert writer.hear() > 0
    writer.end()


@pytest.mark.parametrize("call", ["exchange", "rename", "fdatasync", "pwrite", "open"])
@pytest.mark.parametrize("how", ["written", "replaced", "deleted", "same size"])
@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_file_edited_between_a_writers_read_and_its_rename_is_kept(
    path: Path, call: str, how: str, durability: str
) -> None:
    at = path / "c/x.json"
    edited = b'{\n  "hand": 1\n}\n' if how != "same size" else b'{\n  "value": 7\n}\n'
    armed: list[bool] = []

    def edit(name: str, args: tuple[Any, ...]) -> None:
        if armed and name == call:
            armed.clear()
            if how in ("written", "same size"):
                at.write_bytes(edited)
            elif how == "replaced":
                (path / "c/x.json~").write_bytes(edited)
                (path / "c/x.json~").rename(at)
            else:
                at.unlink()

    store = quiet(path, HookedFileSystem(edit), durability=durability)
    store["c"]["x"] = {"value": 1}
    store.checkpoint()
    assert store["c"]["x"] == {"value": 1}
    armed.append(True)
    try:
        if call == "rename":
            del store["c"]["x"]
        else:
            store["c"]["x"] = {"value": 2}
        store.checkpoint()
    except Conflict:
        pass
    if armed:  # the commit made no such call
        store.close()
        return
    if how != "deleted":
        assert at.read_bytes() == edited
        assert store["c"]["x"] == ({"value": 7} if how == "same size" else {"hand": 1})
    store.close()
    with filestore.open(path) as store:
        assert store.check() == []
        if how != "deleted":
            assert at.read_bytes() == edited
