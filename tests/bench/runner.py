"""Measures things side by side: interleaved rounds, medians, spreads, ratios.

Absolute figures say little: what a sync costs differs by orders of magnitude
between machines and drifts within a run.  So everything that is compared is
measured in turn in each round, forwards and backwards by turns, in a fresh
folder, and the ratio is taken within the round.

Nothing is deleted before the end: on some file systems deleting slows down
what follows.
"""

from __future__ import annotations

import gc
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    Operation = Callable[[int], object]
    Setup = Callable[[Path], AbstractContextManager[Operation]]


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    ``setup`` prepares a fresh folder and yields the operation, which is called
    with 0, 1, 2 …; only those calls are timed, one by one.  ``clock``: for what never waits,
    ``time.thread_time`` leaves out what other processes take of the processor.
    """

    name: str
    setup: Setup
    count: int = 100
    warmup: int = 5
    clock: Callable[[], float] = time.perf_counter


@dataclass
class Sample:
    """The medians of a case, in seconds, one a round."""

    name: str
    medians: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.medians)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    ``ok`` is None where nothing was promised; ``note`` goes under the table.
    """

    what: str
    measured: str
    against: str = ""
    ratio: str = ""
    target: str = ""
    ok: bool | None = None
    note: str = ""


def measure(cases: Sequence[Case], rounds: int, data: Path) -> dict[str, Sample]:
    """Measure the cases side by side; ``data`` is the folder for their folders."""
    samples = {case.name: Sample(case.name) for case in cases}
    for turn in range(rounds):
        for case in cases if turn % 2 == 0 else reversed(cases):
            samples[case.name].medians.append(_round(case, fresh(data)))
    return samples


def _round(case: Case, folder: Path) -> float:
    clock = case.clock
    with case.setup(folder) as operation:
        for index in range(case.warmup):
            operation(index)
        times = []
        with no_collection():
            for index in range(case.warmup, case.warmup + case.count):
                begin = clock()
                operation(index)
                times.append(clock() - begin)
    return statistics.median(times)


def ratios(sample: Sample, against: Sample) -> list[float]:
    """The ratio of two cases in each round."""
    return [one / other for one, other in zip(sample.medians, against.medians, strict=True)]


def versus(
    what: str, sample: Sample, against: Sample, limit: float | None = None, note: str = ""
) -> Row:
    """A row that sets a case beside another; ``limit`` is the promised ratio."""
    each = ratios(sample, against)
    middle = statistics.median(each)
    return Row(
        what,
        spread(sample.medians),
        f"{spread(against.medians)} {note or against.name}",
        f"{middle:.2f} ({min(each):.2f}-{max(each):.2f})",
        "" if limit is None else f"<= {limit:g}",
        None if limit is None else middle <= limit,
    )


_counter = iter(range(1_000_000_000))


def fresh(data: Path) -> Path:
    """A new folder."""
    while True:
        folder = data / f"{next(_counter):06d}"
        if not folder.exists():
            folder.mkdir(parents=True)
            return folder


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector out of what is timed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def spread(seconds: Sequence[float]) -> str:
    """The median with the least and the greatest, in a unit that suits."""
    middle = statistics.median(seconds)
    factor, unit = next(
        ((factor, unit) for factor, unit in ((1, "s"), (1e3, "ms")) if middle * factor >= 1),
        (1e6, "us"),
    )
    low, high = min(seconds) * factor, max(seconds) * factor
    return f"{middle * factor:.4g} ({low:.3g}-{high:.3g}) {unit}"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as lines of text in columns."""
    cells = [("", "measured", "against", "ratio", "promised", "")]
    cells += [
        (row.what, row.measured, row.against, row.ratio, row.target, _verdict(row.ok))
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
    for row in rows:
        if row.note:
            yield f"\n{row.what}: {row.note}"


def _verdict(ok: bool | None) -> str:
    return {None: "", True: "kept", False: "MISSED"}[ok]
