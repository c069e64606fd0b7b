"""What a run at scale says: every figure of every peer, and each target, kept or missed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Rows = dict[str, list[float]]
    Peers = dict[str, Rows]

OURS: Final = "filestore"


class Target(NamedTuple):
    """A promise of a row as a ratio to another's, or with ``against`` empty as a figure.

    ``least``: the ratio is to be at least that, else at most.
    """

    row: str
    against: str
    limit: float
    least: bool = False
    their_row: str = ""


ROWS: Final = {
    "put_new": "durable put, new",
    "update": "durable update of one field",
    "unchanged": "put, unchanged",
    "batch": "transaction of 1,000 new",
    "together4": "durable puts a second, 4 processes",
    "together4_p99": "the same, 99th percentile",
    "together8": "durable puts a second, 8 processes",
    "together8_p99": "the same, 99th percentile",
    "get": "warm get",
    "find_one": "find one",
    "find_four": "find 4",
    "find_tenth": "find a tenth",
    "list_all": "list all volumes (0.7 N)",
    "cold_get": "open and first get",
    "cold_find": "open and find one",
    "process": "whole process: start, open, get",
    "visibility": "visibility to another process",
    "beside": "gets a second beside a writer",
    "memory_open": "memory after opening",
    "memory_used": "memory after all queries",
    "yaml_warm": "YAML: warm get",
    "yaml_cold": "YAML: first get",
    "yaml_loader": "YAML: pyyaml's C loader on the file",
    "load": "filling, not durable",
}
RATES: Final = {"together4", "together8", "beside"}
BYTES: Final = {"memory_open", "memory_used"}

TARGETS: Final = (
    Target("put_new", "sqlite", 1.2),
    Target("put_new", "files", 1 / 3),
    Target("update", "sqlite", 1.3),
    Target("together4", "sqlite", 1.5, least=True),
    Target("together8", "sqlite", 1.5, least=True),
    Target("together4_p99", "", 0.020),
    Target("together8_p99", "", 0.020),
    Target("batch", "sqlite", 3),
    Target("batch", "files", 0.1),
    Target("unchanged", "", 5e-6),
    Target("get", "raw", 1.3),
    Target("get", "lmdb", 1),
    Target("find_one", "sqlite", 1),
    Target("find_four", "sqlite", 1),
    Target("find_tenth", "sqlite", 1.1),
    Target("list_all", "sqlite", 1.1),
    Target("cold_get", "sqlite", 1),
    Target("cold_find", "sqlite", 2),
    Target("process", "sqlite", 1.3),
    Target("visibility", "sqlite", 1),
    Target("beside", "sqlite", 2, least=True),
    Target("memory_open", "", 5 << 20),
    Target("memory_used", "sqlite", 2),
    Target("yaml_warm", OURS, 1.3, their_row="get"),
    Target("yaml_cold", OURS, 1.2, their_row="yaml_loader"),
)


class Verdict(NamedTuple):
    """A target and how it went; ``ratios`` has the median, the least and the greatest."""

    target: Target
    ours: float
    theirs: float
    ratios: tuple[float, float, float]
    kept: bool


def verdicts(peers: Peers) -> Iterator[Verdict]:
    """The targets that were measured."""
    for target in TARGETS:
        ours = peers.get(OURS, {}).get(target.row, [])
        theirs = peers.get(target.against, {}).get(target.their_row or target.row, [])
        if not ours or (target.against and not theirs):
            continue
        against = theirs if target.against else [1.0] * len(ours)
        each = [one / (other or 1) for one, other in zip(ours, against, strict=False)]
        middle = statistics.median(each)
        kept = middle >= target.limit if target.least else middle <= target.limit
        other = statistics.median(theirs) if theirs else 0.0
        spread = (middle, min(each), max(each))
        yield Verdict(target, statistics.median(ours), other, spread, kept)


def missed(told: dict[str, Any]) -> bool:
    return any(not one.kept for peers in told["results"].values() for one in verdicts(peers))


def report(told: dict[str, Any]) -> Iterator[str]:
    """Two tables a size, in Markdown."""
    yield ", ".join(f"{what}: {value}" for what, value in told["machine"].items())
    for count, peers in told["results"].items():
        yield f"\n## {int(count):,} documents\n"
        yield from _targets(peers)
        yield ""
        yield from _figures(peers)


def _targets(peers: Peers) -> Iterator[str]:
    yield "| | filestore | against | ratio (least-greatest) | target | |"
    yield "|---|---|---|---|---|---|"
    for target, ours, theirs, (middle, low, high), kept in verdicts(peers):
        row = target.row
        sign = "at least" if target.least else "at most"
        if target.against:
            other = ROWS[target.their_row] if target.their_row else target.against
            against = f"{shown(target.their_row or row, theirs)} {other}"
            ratio = f"{middle:.2f} ({low:.2f}-{high:.2f})"
            limit = f"{sign} {target.limit:.2g}"
        else:
            against, ratio, limit = "", "", f"{sign} {shown(row, target.limit)}"
        cells = [ROWS[row], shown(row, ours), against, ratio, limit, "kept" if kept else "MISSED"]
        yield f"| {' | '.join(cells)} |"


def _figures(peers: Peers) -> Iterator[str]:
    names = list(peers)
    yield f"| | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for row, what in ROWS.items():
        cells = [_cell(row, peers[name].get(row, [])) for name in names]
        if any(cells):
            yield f"| {what} | {' | '.join(cells)} |"


def _cell(row: str, values: Sequence[float]) -> str:
    return shown(row, statistics.median(values)) if values else ""


def shown(row: str, value: float) -> str:
    """A figure in a unit that suits."""
    if row in RATES:
        return f"{value:,.0f}"
    if row in BYTES:
        return f"{value / (1 << 20):.1f} MB"
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} us"
