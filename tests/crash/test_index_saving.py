"""A crash while an index is saved: whatever is left of it changes no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filestore import Store
from filestore.index import layered as layered_module
from tests.crash.sim import RecordingFileSystem, When
from tests.crash.workload import Ground, crashing, store_path
from tests.quiet import QuietBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.crash.disk import Disk

NAMES = [f"n{n}" for n in range(8)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a handful of documents go through every part of an index."""
    monkeypatch.setattr(layered_module, "_MIN_UPPER", 2)


def opened(disk: Disk, fs: RecordingFileSystem) -> Store:
    return Store(QuietBackend(store_path(disk), fs=fs, background=False))


def work(disk: Disk, fs: RecordingFileSystem) -> None:
    """Save an index whole, then what changed, then whole again."""
    store = opened(disk, fs)
    volumes = store["volumes"]
    volumes.update({f"id{n}": {"name": NAMES[n]} for n in range(6)})
    assert len(volumes.find(name="n1")) == 1
    store.close()
    store = opened(disk, fs)
    volumes = store["volumes"]
    volumes["id1"] = {"name": "n2"}
    assert len(volumes.find(name="n2")) == 2
    store.checkpoint()
    for n in range(2, 6):
        volumes[f"id{n}"] = {"name": "n7"}
    del volumes["id0"]
    assert len(volumes.find(name="n7")) == 4
    store.close()


def judge(disk: Disk, where: str) -> None:
    fs = RecordingFileSystem(disk)
    for _ in range(2):
        with opened(disk, fs) as store:
            volumes = store["volumes"]
            documents = dict(volumes)
            for name in NAMES:
                found = [record.key.id for record in volumes.find(name=name)]
                expected = sorted(id for id, each in documents.items() if each["name"] == name)
                assert found == expected, f"{where}: {name}"
            volumes["extra"] = {"name": "n0"}
            assert "extra" in [record.key.id for record in volumes.find(name="n0")], where
    assert not fs.opened


def saving(run: Callable[[RecordingFileSystem], None], disk: Disk) -> list[int]:
    """Which effects are those of saving an index."""
    found: list[int] = []

    def observe(fs: RecordingFileSystem) -> None:
        if any("index" in str(arg) for call in fs.calls[-6:] for arg in call.args):
            found.append(fs.effects)

    run(RecordingFileSystem(disk, observer=observe))
    return sorted(set(found))


def test_death_at_any_call_of_saving_changes_no_answer(ground: Ground) -> None:
    disk = ground.disk()
    points = saving(lambda fs: work(disk, fs), disk)
    assert len(points) > 12
    ground.clear()
    for at in points:
        for when in (When.BEFORE, When.PARTWAY):
            disk = ground.disk()
            fs = RecordingFileSystem(disk, crash_at=at, when=when)
            assert crashing(lambda disk=disk, fs=fs: work(disk, fs))  # type: ignore[misc]
            judge(disk, f"died {when.value} effect {at}")
            ground.clear()


def test_a_power_cut_at_any_call_of_saving_changes_no_answer(
    tmp_path: Path, exhaustive: bool
) -> None:
    ground, cuts = Ground(str(tmp_path / "live")), Ground(str(tmp_path / "cut"))
    disk = ground.disk()
    points = saving(lambda fs: work(disk, fs), disk)
    ground.clear()
    disk = ground.disk()
    judged: set[bytes] = set()

    def cut(fs: RecordingFileSystem) -> None:
        if fs.effects not in points:
            return
        for image in disk.images(seed=fs.effects, samples=20 if exhaustive else 1):
            if image.digest not in judged:
                judged.add(image.digest)
                after = cuts.disk(image, boot_id="boot-2")
                judge(after, f"cut after {fs.calls[-1]}, {image.label}")
                cuts.clear()

    fs = RecordingFileSystem(disk, observer=cut)
    work(disk, fs)
    assert len(judged) > 12
    ground.clear()
