"""What the table of mounts says of a path, whatever is mounted elsewhere."""

from __future__ import annotations

import pytest

from filestore.engine.mounts import kind_of

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 8:2 / /data rw shared:1 - xfs /dev/sdb1 rw
31 30 0:45 / /data/with\\040space rw - nfs4 host:/x rw
32 22 0:46 / /da rw - btrfs /dev/sdc1 rw
33 22 0:47 / /mnt/\udcffold rw - vfat /dev/sdd1 rw
34 22 0:48 / /mnt/größe rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/store", "ext4"),
        ("/data", "xfs"),
        ("/data/store", "xfs"),
        ("/dataset", "ext4"),
        ("/data/with space/store", "nfs4"),
        ("/mnt/\udcffold/store", "vfat"),
        ("/mnt/größe/store", "tmpfs"),
    ],
)
def test_a_path_is_on_the_innermost_mount_above_it(path: str, kind: str) -> None:
    assert kind_of(MOUNTS, path) == kind


def test_what_is_no_table_of_mounts_tells_nothing() -> None:
    assert kind_of("", "/data") == ""
    assert kind_of("no table\n1 2 - \n", "/data") == ""
