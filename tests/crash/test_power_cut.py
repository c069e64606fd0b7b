"""The power fails at any call: what was promised for the durability is there, whole."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.crash.sim import RecordingFileSystem
from tests.crash.workload import OPEN, SHORT, WORKLOAD, B, Ground, Run, commit, document, judge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.crash.disk import Disk, Image
    from tests.crash.workload import Step, Tree


class Cuts:
    """Cuts the power after each call, and judges what is left."""

    def __init__(
        self, tmp_path: Path, run: Run, *, samples: int, nest: float = 0, split: bool = False
    ) -> None:
        self.ground = Ground(str(tmp_path))
        self.run = run
        self.samples = samples
        self.nest = nest
        self.split = split
        self.chance = random.Random(1)
        self.judged: set[tuple[bytes, int, int]] = set()

    def __call__(self, fs: RecordingFileSystem) -> None:
        promise = self.run.promise
        allowed = promise.allowed(self.run.durability, power=True)
        first = len(promise.trees) - len(allowed)
        where = f"cut after {fs.calls[-1]}, in {self.run.step.name!r}"
        images = self.run.disk.images(seed=fs.effects, samples=self.samples, split=self.split)
        for image in images:
            case = image.digest, first, len(promise.trees)
            if case not in self.judged:
                self.judged.add(case)
                self.judge(image, allowed, f"{where}, {image.label}")

    def judge(self, image: Image, allowed: Sequence[Tree], where: str) -> None:
        disk = self.ground.disk(image, boot_id="boot-2")
        observer = None
        if self.chance.random() < self.nest:
            observer = lambda fs: self.again(disk, fs, allowed, where)
        judge(disk, allowed, where, fs=RecordingFileSystem(disk, observer=observer))
        self.ground.clear()

    def again(
        self, disk: Disk, fs: RecordingFileSystem, allowed: Sequence[Tree], where: str
    ) -> None:
        """Cut the power once more, during the recovery."""
        for image in disk.images(seed=fs.effects, samples=1):
            case = image.digest, len(allowed), -1
            if case in self.judged:
                continue
            self.judged.add(case)
            ground = Ground(disk.path + "-again")
            inner = ground.disk(image, boot_id="boot-3")
            judge(inner, allowed, f"{where}; cut again after {fs.calls[-1]}, {image.label}")
            ground.clear()


def cut_everywhere(
    tmp_path: Path,
    steps: Sequence[Step],
    *,
    samples: int,
    nest: float = 0,
    codec: str = "json",
    durability: str = "full",
    split: bool = False,
) -> int:
    ground = Ground(str(tmp_path / "live"))
    disk = ground.disk()
    fs = RecordingFileSystem(disk)
    run = Run(disk, fs, codec=codec, durability=durability)
    cuts = Cuts(tmp_path / "cut", run, samples=samples, nest=nest, split=split)
    fs.observer = cuts
    run.do(steps)
    cuts(fs)
    ground.clear()
    return len(cuts.judged)


@pytest.mark.parametrize(
    ("codec", "durability", "steps"),
    [
        ("json", "full", WORKLOAD),
        ("json", "normal", WORKLOAD),
        ("yaml", "full", SHORT),
    ],
)
def test_a_power_cut_at_any_call_keeps_what_was_promised(
    tmp_path: Path, codec: str, durability: str, steps: Sequence[Step], exhaustive: bool
) -> None:
    samples = 40 if exhaustive else 1
    cut_everywhere(tmp_path, steps, samples=samples, codec=codec, durability=durability)


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_power_cut_during_recovery_still_recovers(
    tmp_path: Path, durability: str, exhaustive: bool
) -> None:
    nest = 1.0 if exhaustive else 0.01
    cut_everywhere(
        tmp_path, SHORT, samples=1 if exhaustive else 0, nest=nest, durability=durability
    )


def test_a_power_cut_may_split_renames(tmp_path: Path, exhaustive: bool) -> None:
    cut_everywhere(tmp_path, SHORT, samples=40 if exhaustive else 1, split=True)


def test_yaml_cut_off_where_it_still_is_yaml_is_no_edit(ground: Ground) -> None:
    disk = ground.disk()
    run = Run(disk, RecordingFileSystem(disk), codec="yaml")
    run.do((OPEN, commit("a document", (B, document(2, 9)))))
    image = disk.now()
    item = image.items["store/volumes/b.yaml"]
    assert isinstance(item.content, bytes)
    for size in (item.content.index(b"\n") + 1, 4096, len(item.content) - 2):
        cut = item._replace(content=item.content[:size])
        torn = replace(image, items={**image.items, "store/volumes/b.yaml": cut})
        after = ground.disk(torn, boot_id="boot-2")
        judge(after, run.promise.trees[-1:], f"cut after {size} bytes")
        kept = [i.content for p, i in after.now().items.items() if "/lost/" in p]
        assert cut.content in kept
