"""Merges and commits: how many text merges are right, what the drivers and a commit cost."""

from __future__ import annotations

import copy
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filestore.codec import canonical, codec_named, decode
from filestore.diff import same
from filestore.engine.files import FileBackend
from filestore.errors import Corrupt
from filestore.integrations.git.repository import find
from filestore.integrations.git.setup import set_up
from filestore.merge import merge
from filestore.store import Store
from tests.bench.documents import volume
from tests.bench.runner import Row, no_collection, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PAIRS = 600
CHANGED = 10


FIELDS = ("attach_status", "availability_zone", "bootable", "display_description", "display_name",
          "host", "multiattach", "size", "status")  # fmt: skip
NEW = ("encryption_key_id", "launched_at", "replication_status", "scheduled_at", "snapshot_id")


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that are null: the plugin does not write them."""
    return {name: value for name, value in document.items() if value is not None}


def edited(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """One to three changes: of a field, of a piece of metadata, a field more or less."""
    result = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        draw = chance.random()
        if draw < 0.6:
            result[chance.choice(FIELDS)] = f"value {chance.randrange(10**6)}"
        elif draw < 0.75:
            result["metadata"][chance.choice("abcxyz")] = str(chance.randrange(10**6))
        elif draw < 0.85:
            result["metadata"].pop(chance.choice(("readonly", "tier", "owner")), None)
        else:
            result[chance.choice(NEW)] = f"value {chance.randrange(10**6)}"
    return result


def merging(data: Path) -> list[Row]:
    """Of pairs of edits that merge field by field, those that git's lines merge as well."""
    rows = []
    for form in ("json", "yaml"):
        codec = codec_named(form)
        chance = random.Random(7)
        right = wrong = refused = both = 0
        folder = data / f"merge-{form}"
        folder.mkdir()
        for pair in range(PAIRS):
            base = _kept(volume(pair))
            ours, theirs = edited(base, chance), edited(base, chance)
            merged = merge(base, ours, theirs)
            if merged.conflicts:
                both += 1
                continue
            for name, document in (("base", base), ("ours", ours), ("theirs", theirs)):
                (folder / name).write_bytes(codec.encode(canonical(document)))
            done = subprocess.run(
                ["git", "merge-file", "-p", "-q", "ours", "base", "theirs"],
                cwd=folder,
                capture_output=True,
                check=False,
            )
            if done.returncode:
                refused += 1
                continue
            try:
                found = decode(codec.parse(done.stdout))
            except Corrupt:
                wrong += 1
            else:
                right += same(found, merged.document)
                wrong += not same(found, merged.document)
        possible = PAIRS - both
        rows.append(
            Row(
                f"{form}: text merges that are clean and right, without the driver",
                f"{right / possible:.1%} ({right} of {possible})",
                f"{refused / possible:.1%} in conflict, {wrong / possible:.1%} clean and wrong",
                note=f"{both} of {PAIRS} pairs changed one field differently, and are left out",
            )
        )
    return rows


def driver(data: Path, rounds: int) -> list[Row]:
    """One file through the merge driver, beside Python's own start."""
    folder = data / "driver"
    folder.mkdir()
    base = volume(0)
    codec = codec_named("json")
    sides = {"O": base, "A": base | {"size": 1, "status": "x"}, "B": base | {"size": 2}}
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(data / "bytecode"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-P", "-m", "filestore", "git", "merge-driver"]
    bare, merged = [], []
    for _ in range(3 * rounds + 1):
        for name, document in sides.items():
            (folder / name).write_bytes(codec.encode(canonical(document)))
        bare.append(_timed([sys.executable, "-c", "pass"], folder, environment))
        merged.append(
            _timed([*command, *("O", "A", "B", "7", "volumes/a.json")], folder, environment)
        )
    del bare[0], merged[0]
    middle = statistics.median(merged)
    return [
        Row(
            "merge driver, one file",
            spread(merged),
            f"{spread(bare)} python -c pass",
            "",
            "< 100 ms",
            middle < 0.100,
        )
    ]


def _timed(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True)
    return time.perf_counter() - begin


def committing(data: Path, rounds: int, count: int) -> list[Row]:
    """Ten changed documents, beside `git add -A && git commit` of ten others."""
    rows = []
    for fanout in (0, 1):
        folder = data / f"commit-{fanout}"
        with _filled(folder, count, fanout) as store:
            ids = list(store["volumes"])
            store.git.commit("begin")
            ours, theirs = [], []
            chance = random.Random(2)
            for _ in range(rounds):
                _change(store, ids, chance)
                with no_collection():
                    ours.append(_spent(partial(store.git.commit, "ours")))
                _change(store, ids, chance)
                theirs.append(_spent(partial(_add_and_commit, folder)))
        for number, kind in enumerate(("", ", processor time")):
            one = [spent[number] for spent in ours]
            other = [spent[number] for spent in theirs]
            each = [own / gits for own, gits in zip(one, other, strict=True)]
            middle = statistics.median(each)
            rows.append(
                Row(
                    f"store.git.commit, {CHANGED} of {count:,} documents, fan-out {fanout}{kind}",
                    spread(one),
                    f"{spread(other)} git add -A && git commit",
                    f"{middle:.3f} ({min(each):.3f}-{max(each):.3f})",
                    "<= 0.1",
                    middle <= 0.1,
                )
            )
    return rows


def _spent(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and those that processors worked in this process and in those it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin, own = time.perf_counter(), time.process_time()
    work()
    seconds, own = time.perf_counter() - begin, time.process_time() - own
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, own + children


def _add_and_commit(folder: Path) -> None:
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "theirs")


@contextmanager
def _filled(folder: Path, count: int, fanout: int) -> Iterator[Store]:
    folder.mkdir()
    _git(folder, "init", "-q")
    store = Store(FileBackend(folder, durability="off", fanout=fanout))
    try:
        for first in range(0, count, 5000):
            with store.transaction():
                for index in range(first, min(first + 5000, count)):
                    document = _kept(volume(index))
                    store["volumes"][document["id"]] = document
        set_up(find(str(folder)))
        _git(folder, "add", "-A")
        _git(folder, "commit", "-q", "-m", "all")
        yield store
    finally:
        store.close()


def _change(store: Store, ids: list[str], chance: random.Random) -> None:
    with store.transaction():
        for id in chance.sample(ids, CHANGED):
            store["volumes"].patch(id, {"size": chance.randrange(10**9)})


def _git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
    subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True)


def run(data: Path, rounds: int, count: int) -> list[Row]:
    # The commits that the library makes need a name too.
    os.environ.setdefault("GIT_AUTHOR_NAME", "bench")
    os.environ.setdefault("GIT_AUTHOR_EMAIL", "bench@example.org")
    os.environ.setdefault("GIT_COMMITTER_NAME", "bench")
    os.environ.setdefault("GIT_COMMITTER_EMAIL", "bench@example.org")
    return [*driver(data, rounds), *merging(data), *committing(data, rounds, count)]
