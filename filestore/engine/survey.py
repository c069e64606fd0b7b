"""Going through the tree, and finding what is not as the catalog says.  Reads no document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filestore.engine.mounts import kind_of
from filestore.engine.tree import signature_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.engine.catalog import Comparison, Differing
    from filestore.engine.fs import FileSystem
    from filestore.engine.layout import Layout
    from filestore.engine.tree import Signature

BATCH: Final = 250
"""So many files are compared at a time: between two batches a pass can give way, or be ended."""

_NO_FOLDERS: Final = 2

_LOCAL: Final = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)


def walk(
    fs: FileSystem, layout: Layout, comparison: Comparison, below: str
) -> Iterator[list[Differing]]:
    """The files that differ from the catalog, in batches, some of them empty.

    ``below``: a folder's path below the root with a slash behind, or empty for all.
    """
    lstat = fs.lstat
    waiting = [f"{layout.root}/{below}".removesuffix("/")]
    files: dict[str, str] = {}  # where each is

    def ask(names: list[str]) -> Iterator[Signature | None]:
        for name in names:
            try:
                yield signature_of(lstat(files[name]))
            except OSError:
                yield None  # gone meanwhile

    while waiting:
        folder = waiting.pop()
        inside = layout.name(f"{folder}/") if folder != layout.root else ""
        try:
            for name, is_folder in fs.survey(folder, layout.suffix):
                if name[0] == "." or not name.isascii():
                    continue  # no document has such a name
                if is_folder:
                    waiting.append(f"{folder}/{name}")
                elif inside:
                    files[f"{inside}{name}"] = f"{folder}/{name}"
                    if len(files) >= BATCH:
                        yield comparison.look(list(files), ask)
                        files.clear()
        except OSError:
            continue  # gone, or not to be read: what is missing there is looked at one by one
    yield comparison.look(list(files), ask)


def folders(fs: FileSystem, top: str) -> Iterator[str]:
    """A folder and those in it that may hold documents, each before it is looked into."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        yield folder
        try:
            # A folder's links are its name, its own ".", and the ".." of each folder in it (1 where
            # they are not counted): one with many files and no folder need not be gone through.
            if fs.lstat(folder).st_nlink == _NO_FOLDERS:
                continue
            inside = fs.folders(folder)
        except OSError:
            continue  # gone meanwhile, or not to be read
        waiting += [f"{folder}/{name}" for name in inside if name[0] != "." and name.isascii()]


def without_events(mounts: str, root: str) -> str | None:
    """The type of the file system if it is not known to tell of every change, else None.

    ``mounts`` and ``root`` as in :func:`~filestore.engine.mounts.kind_of`.  Over a network, and
    through FUSE, others change files without this kernel's knowledge.
    """
    kind = kind_of(mounts, root)
    return None if not kind or kind in _LOCAL else kind
