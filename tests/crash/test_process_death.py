"""A process dies at any call: what had returned is there, and nothing is half there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.sim import Crash, RecordingFileSystem, When
from tests.crash.workload import SHORT, WORKLOAD, Ground, Run, crashing, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash.disk import Disk
    from tests.crash.workload import Step


def crashed(
    disk: Disk, steps: Sequence[Step], at: int, when: When, *, codec: str, durability: str
) -> Run:
    fs = RecordingFileSystem(disk, crash_at=at, when=when)
    run = Run(disk, fs, codec=codec, durability=durability)
    assert crashing(lambda: run.do(steps))
    return run


def points(
    ground: Ground, steps: Sequence[Step], *, every: bool, codec: str, durability: str
) -> list[tuple[int, When]]:
    """Where to die; a death after a call is one before the next, mostly."""
    disk = ground.disk()
    writes: list[int] = []
    fs = RecordingFileSystem(disk, observer=lambda fs: writes.append(fs.effects))
    Run(disk, fs, codec=codec, durability=durability).do(steps)
    assert not fs.opened
    ground.clear()
    twice = sorted({n for n in writes if writes.count(n) > 1})  # partway, and after
    found = [(n, When.BEFORE) for n in range(1, fs.effects + 1)]
    found += [(n, When.PARTWAY) for n in twice]
    if every:
        found += [(n, When.AFTER) for n in range(1, fs.effects + 1)]
    return [*found, (fs.effects, When.AFTER)]


@pytest.mark.parametrize(
    ("codec", "durability", "steps"),
    [
        ("json", "full", WORKLOAD),
        ("json", "normal", WORKLOAD),
        ("json", "off", SHORT),
        ("yaml", "full", SHORT),
    ],
)
def test_death_at_any_call_keeps_what_returned(
    ground: Ground, codec: str, durability: str, steps: Sequence[Step], exhaustive: bool
) -> None:
    for at, when in points(ground, steps, every=exhaustive, codec=codec, durability=durability):
        disk = ground.disk()
        run = crashed(disk, steps, at, when, codec=codec, durability=durability)
        judge(
            disk,
            run.promise.allowed(durability, power=False),
            f"died {when.value} effect {at}, in {run.step.name!r}",
        )
        ground.clear()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_death_at_any_call_of_recovery_still_recovers(
    ground: Ground, durability: str, exhaustive: bool
) -> None:
    seen: set[bytes] = set()
    for at, when in points(ground, SHORT, every=False, codec="json", durability=durability):
        if at % 6 and not exhaustive:
            continue
        inner = 1
        while True:
            disk = ground.disk()
            run = crashed(disk, SHORT, at, when, codec="json", durability=durability)
            digest = disk.now().digest
            if inner == 1 and digest in seen:
                break
            seen.add(digest)
            allowed = run.promise.allowed(durability, power=False)
            where = f"died {when.value} effect {at}, in {run.step.name!r}, then before {inner}"
            fs = RecordingFileSystem(disk, crash_at=inner)
            try:
                judge(disk, allowed, where, fs=fs)
            except Crash:
                judge(disk, allowed, where)
            else:
                break
            ground.clear()
            inner += 1
        ground.clear()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_work_goes_on_after_a_death_at_any_call(
    ground: Ground, durability: str, exhaustive: bool
) -> None:
    for at, when in points(ground, WORKLOAD, every=exhaustive, codec="json", durability=durability):
        if at % 3 and not exhaustive:
            continue
        disk = ground.disk()
        run = crashed(disk, WORKLOAD, at, when, codec="json", durability=durability)
        run.resume(RecordingFileSystem(disk), WORKLOAD)
        assert run.backend is not None
        run.backend.close()
        judge(disk, run.promise.trees[-1:], f"died {when.value} effect {at}, then went on")
        ground.clear()
