"""The folders of a tree: all are found, and those without folders are not gone through."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filestore.engine.fs import FileSystem
from filestore.engine.survey import folders


class Linked(FileSystem):
    """A file system that counts a folder's links, or not."""

    def __init__(self, *, counts: bool) -> None:
        super().__init__()
        self.counts = counts
        self.looked_into: list[str] = []

    def lstat(self, path: str) -> os.stat_result:
        status = list(super().lstat(path))
        inside = sum(1 for item in os.scandir(path) if item.is_dir())
        status[3] = 2 + inside if self.counts else 1
        return os.stat_result(status)

    def folders(self, path: str) -> list[str]:
        self.looked_into.append(Path(path).name)
        return super().folders(path)


@pytest.mark.parametrize("counts", [True, False])
def test_folders_below_are_found_with_as_few_looks_as_the_system_allows(
    tmp_path: Path, counts: bool
) -> None:
    for name in ("a/b/c", "a/d", "e"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.json").write_text("{}")
    fs = Linked(counts=counts)
    found = {os.path.relpath(folder, tmp_path) for folder in folders(fs, str(tmp_path))}
    assert found == {".", "a", "a/b", "a/b/c", "a/d", "e"}
    looked = {tmp_path.name, "a", "b"} if counts else {tmp_path.name, *"abcde"}
    assert set(fs.looked_into) == looked
