"""`python -m tests.bench fanout`: where levels of hashed folders begin to pay.

One store a size, moved from fan-out to fan-out by `reshard` and measured at each; git sees a
repository of its own each time.  Ratios are to the flat store of the same size.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import filestore
from filestore.engine.files import FileBackend
from tests.bench.documents import volume, volume_id
from tests.bench.reads import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).parents[2]
FANOUTS: Final = (0, 1, 2)
SOME: Final = 200
ROWS: Final = {
    "put": "put of a new document (no sync)",
    "get": "first get",
    "ids": "listing the ids",
    "open": "open",
    "add": "git add, everything",
    "status": "git status, one change",
    "commit": "git commit, one change",
    "objects": "what that commit stores",
}
Figures = dict[str, float]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench fanout", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    data = options.data / f"fanout-{os.getpid()}"
    data.mkdir(parents=True)
    try:
        for size in options.sizes:
            print("\n".join(table(size, measure(data, size))), flush=True)
    finally:
        shutil.rmtree(data)
    return 0


def measure(data: Path, size: int) -> dict[int, Figures]:
    """The figures of each fan-out."""
    root = build(data / f"size-{size}", size)
    os.sync()
    measured: dict[int, Figures] = {}
    for fanout in FANOUTS:
        moved = took(lambda fanout=fanout: _reshard(root, fanout)) if fanout else 0.0  # type: ignore[misc]
        print(f"{size:,} at fan-out {fanout}, moved in {moved:.1f} s", file=sys.stderr, flush=True)
        measured[fanout] = {"moved": moved, **_store(root, size, fanout), **_git(root, data)}
    return measured


def _reshard(root: Path, fanout: int) -> None:
    backend = FileBackend(root)
    backend.reshard(fanout)
    backend.close()


def _store(root: Path, size: int, fanout: int) -> Figures:
    figures = {"open": median(lambda _: filestore.open(root).close(), range(5))}
    with filestore.open(root, durability="off") as store:
        volumes = store["volumes"]
        step = max(1, size // SOME)
        figures["get"] = median(lambda index: volumes[volume_id(index)], range(0, size, step))
        figures["ids"] = median(lambda _: list(volumes), range(3))
        first = (fanout + 1) << 30
        new = [(volume_id(index), volume(index)) for index in range(first, first + SOME)]
        figures["put"] = median(lambda one: volumes.put(*one), new)
    return figures


def _git(root: Path, data: Path) -> Figures:
    repository = data / f"git-{time.monotonic_ns()}"
    subprocess.run(["git", "init", "-q", "--bare", str(repository)], check=True)

    def git(*words: str) -> str:
        command = ["git", f"--git-dir={repository}", f"--work-tree={root}", *_NOBODY, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout

    figures = {"add": took(lambda: git("add", "."))}
    git("commit", "-q", "-m", "everything")
    with filestore.open(root) as store:
        store["volumes"].patch(volume_id(1), {"size": time.monotonic_ns()})
    git("status", "--porcelain")  # the first refreshes what it knows of the files
    figures["status"] = median(lambda _: git("status", "--porcelain"), range(3))
    before = _stored(git)
    figures["commit"] = took(lambda: git("commit", "-q", "-a", "-m", "one"))
    figures["objects"] = _stored(git) - before
    return figures


_NOBODY: Final = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org",
                  "-c", "gc.auto=0", "-c", "core.bare=false"]  # fmt: skip


def _stored(git: Callable[..., str]) -> float:
    """How many bytes the loose objects have, in whole blocks."""
    told = dict(line.split(": ") for line in git("count-objects", "-v").splitlines())
    return int(told["size"]) * 1024


def took(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def median(act: Callable[..., object], arguments: Sequence[object]) -> float:
    return statistics.median(
        took(lambda argument=argument: act(argument))  # type: ignore[misc]
        for argument in arguments
    )


def table(size: int, measured: dict[int, Figures]) -> Iterator[str]:
    """The figures, in Markdown."""
    yield f"\n| {size:,} documents | flat | 1 level | ratio | 2 levels | ratio |"
    yield "|---|---|---|---|---|---|"
    for row, what in ROWS.items():
        flat, one, two = (measured[fanout][row] for fanout in FANOUTS)
        cells = [_shown(row, flat)]
        for value in (one, two):
            cells += [_shown(row, value), f"{value / flat:.2f}"]
        yield f"| {what} | {' | '.join(cells)} |"
    one, two = (measured[fanout]["moved"] for fanout in FANOUTS[1:])
    yield f"| moving there with `reshard` | | {one:.2g} s | | {two:.2g} s | |"


def _shown(row: str, value: float) -> str:
    if row == "objects":
        return f"{value / 1024:,.0f} kB"
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


if __name__ == "__main__":
    sys.exit(main())
