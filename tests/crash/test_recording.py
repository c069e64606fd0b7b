"""A crash at any call while edits are recorded and the catalog is saved: each is recorded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filestore.codec import canonical
from filestore.model import Edit, Origin
from tests.crash.sim import RecordingFileSystem, When
from tests.crash.test_hand_edit import MARK, PLACES, edit
from tests.crash.workload import A, B, C, D, Ground, crashing, document, opened, store_path

if TYPE_CHECKING:
    from filestore.engine.files import FileBackend
    from filestore.model import Key
    from tests.crash.disk import Disk

EDITED = canonical({"note": MARK})


def prepare(disk: Disk) -> None:
    """A store with a saved catalog, and then edits by hand: a change, a delete and a create."""
    backend = opened(disk, RecordingFileSystem(disk))
    backend.apply([Edit(key, document(n)) for n, key in enumerate((A, B, C))])
    backend.rescan()
    backend.close()
    edit(disk, A)
    edit(disk, D)
    editor = RecordingFileSystem(disk)
    editor.unlink(f"{store_path(disk)}/{PLACES[B]}")


def record(disk: Disk, fs: RecordingFileSystem, durability: str) -> None:
    backend = opened(disk, fs, durability=durability)
    backend.rescan()
    backend.close()


def recorded(backend: FileBackend) -> list[tuple[Key, bytes | None, bytes | None]]:
    return sorted(
        (
            (op.key, op.before, op.after)
            for commit in backend.changes(0)
            if commit.origin is Origin.EXTERNAL
            for op in commit.ops
        ),
        key=lambda op: op[0],
    )


EXPECTED = [(D, None, EDITED), (A, document(0), EDITED), (B, document(1), None)]


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_death_while_edits_are_recorded_leaves_each_to_be_recorded_once(
    ground: Ground, durability: str
) -> None:
    disk = ground.disk()
    prepare(disk)
    fs = RecordingFileSystem(disk)
    record(disk, fs, durability)
    effects = fs.effects
    assert effects
    ground.clear()
    for at in range(1, effects + 1):
        for when in (When.BEFORE, When.PARTWAY):
            disk = ground.disk()
            prepare(disk)
            fs = RecordingFileSystem(disk, crash_at=at, when=when)
            died = crashing(lambda disk=disk, fs=fs: record(disk, fs, durability))
            assert died or when is When.PARTWAY, at  # what fails anyway has no middle
            for _ in range(2):
                backend = opened(disk, RecordingFileSystem(disk), durability=durability)
                backend.rescan()
                assert recorded(backend) == EXPECTED, f"died at effect {at}, {when.value}"
                assert [backend.get(key) is not None for key in (A, B, C, D)] == [
                    True,
                    False,
                    True,
                    True,
                ]
                assert backend.check() == []
                backend.close()
            ground.clear()


def test_a_recorded_edit_is_there_after_a_power_cut_though_nobody_synced_the_file(
    ground: Ground,
) -> None:
    disk = ground.disk()
    prepare(disk)
    backend = opened(disk, RecordingFileSystem(disk))
    backend.rescan()
    assert recorded(backend) == EXPECTED
    judged = 0
    for image in disk.images(seed=1, samples=20):
        again = Ground(f"{disk.path}-cut")
        after = again.disk(image, boot_id="boot-2")
        cut = opened(after, RecordingFileSystem(after))
        cut.rescan()
        assert recorded(cut) == EXPECTED, image.label
        for key in (A, D):
            found = cut.get(key)
            assert found is not None, image.label
            assert found.data == EDITED, image.label
        assert cut.get(B) is None, image.label
        cut.close()
        again.clear()
        judged += 1
    assert judged > 3
