"""`python -m tests.bench`: measure, print a table, and fail when a promise was missed."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from pathlib import Path

from tests.bench import (
    calls,
    external,
    fanout,
    finds,
    git,
    history,
    imports,
    private_data,
    reads,
    scale,
    sql,
    writes,
)
from tests.bench.runner import Row, table

ROOT = Path(__file__).parents[2]
PARTS = [
    "writes",
    "reads",
    "open",
    "memory",
    "finds",
    "external",
    "history",
    "calls",
    "imports",
    "private_data",
    "sql",
    "git",
]
DATA = "a folder on the file system to measure (default: %(default)s)"


def main() -> int:
    if sys.argv[1:2] == ["scale"]:
        return scale.main(sys.argv[2:])
    if sys.argv[1:2] == ["fanout"]:
        return fanout.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench", help=DATA)
    parser.add_argument("--keep", action="store_true", help="leave the data where they are")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    data = options.data / str(os.getpid())
    data.mkdir(parents=True)
    try:
        rows = measure(options.parts or PARTS, data, options.rounds, tuple(options.sizes))
    finally:
        if not options.keep:
            shutil.rmtree(data)
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}, ", end="")
    print(f"{os.cpu_count()} cores; medians of {options.rounds} rounds (least-greatest)\n")
    print("\n".join(table(rows)))
    return 1 if any(row.ok is False for row in rows) else 0


def measure(parts: list[str], data: Path, rounds: int, sizes: tuple[int, ...]) -> list[Row]:
    rows: list[Row] = []
    for part in parts:
        print(f"measuring: {part}", file=sys.stderr)
        match part:
            case "writes":
                rows += writes.run(data, rounds)
            case "reads":
                rows += reads.run(data, rounds)
            case "open":
                rows += reads.opening(data, rounds, sizes)
            case "git":
                rows += git.run(data, rounds, max(sizes))
            case "memory":
                rows += reads.memory(data)
            case "finds":
                rows += finds.run(data, rounds, sizes)
            case "external":
                rows += external.run(data, rounds, max(sizes))
            case "history":
                rows += history.run(data, rounds)
            case "private_data":
                rows += private_data.run(data, rounds)
            case "sql":
                rows += sql.run(data, rounds)
            case "calls":
                rows += calls.run(data)
            case _:
                rows += imports.run(data)
    return rows


if __name__ == "__main__":
    sys.exit(main())
