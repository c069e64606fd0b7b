"""Having git's index say of some files what a commit says."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.integrations.git.index import Folder, Staged, changed, exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from filestore.integrations.git.objects import TreeEntry
    from filestore.integrations.git.plan import Ids
    from filestore.integrations.git.repository import Repository


class _Mark(NamedTuple):
    """An entry that git is told not to compare: its tag as ``ls-files -v`` writes it."""

    tag: str
    mode: str


_MARKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "--assume-unchanged": str.islower,
    "--skip-worktree": lambda tag: tag in "Ss",
}


def left_out(repository: Repository) -> set[str]:
    """The files that a sparse checkout left out, from the repository's top.  Raises GitError."""
    return {path for path, mark in _marks(repository).items() if mark.tag in "Ss"}


def _marks(repository: Repository) -> dict[str, _Mark]:
    listed = repository.git.run("ls-files", "-v", "-s", "-z", "--full-name")
    found = {}
    for line in listed.split(b"\0"):
        if line[:1] not in {b"", b"H", b"M"}:  # as most are; or in conflict
            told, _, path = line.partition(b"\t")
            tag, mode, *_ = told.decode().split()
            found[os.fsdecode(path)] = _Mark(tag, mode)
    return found


@dataclass(frozen=True, slots=True)
class Staging:
    """The files as a commit has them, by their paths from the repository's top.

    ``statuses``: as each that is there was before it was read, by its path below the store.
    """

    repository: Repository
    files: Mapping[str, TreeEntry | None]
    statuses: Mapping[str, os.stat_result]

    def here_or_there(self, folders: Callable[[], Mapping[str, Ids]]) -> None:
        """Change the index in place, or have git do it where only git can.

        ``folders`` gives the trees of the folders above the files, see ``Trees.folders``;
        it is asked when all else is done.  Raises GitError, StorageError, what ``folders`` raises.
        """
        if not self._here(folders):
            self.there()

    def there(self) -> None:
        """Have git do it.  Raises GitError.

        Where somebody told git not to look at a file, ``update-index`` would leave its entry as
        it was, or drop it, and whoever commits next would take back what was committed.
        """
        marks = {path: mark for path, mark in _marks(self.repository).items() if path in self.files}
        self._update("--add", "--remove", paths=[path for path in self.files if path not in marks])
        if marks:
            kept = {path: mark for path, mark in marks.items() if self.files[path] is not None}
            self._update("--force-remove", paths=marks.keys() - kept.keys())
            self.repository.git.run(
                *("update-index", "-z", "--index-info"),
                feed=b"".join(self._told(path, mark) for path, mark in kept.items()),
            )
            for option, is_meant in _MARKS.items():
                self._update(option, paths=[path for path in kept if is_meant(kept[path].tag)])

    def _update(self, *options: str, paths: Iterable[str]) -> None:
        prefix = len(self.repository.prefix)
        if feed := b"\0".join(os.fsencode(path[prefix:]) for path in paths):
            self.repository.git.run("update-index", *options, "-z", "--stdin", feed=feed)

    def _told(self, path: str, mark: _Mark) -> bytes:
        entry = self.files[path]
        assert entry is not None
        return f"{mark.mode} {entry.id.hex()}\t".encode() + os.fsencode(path) + b"\0"

    def _here(self, folders: Callable[[], Mapping[str, Ids]]) -> bool:
        """Change the index in place; False where git has to."""
        staged: dict[bytes, Staged | None] = {}
        prefix = self.repository.prefix
        for path, entry in self.files.items():
            status = self.statuses.get(path[len(prefix) :])
            if entry is not None and (status is None or not stat.S_ISREG(status.st_mode)):
                return False
            mode = 0o100755 if status is not None and status.st_mode & 0o100 else 0o100644
            new = None if entry is None or status is None else Staged(entry.id, status, mode)
            staged[os.fsencode(path)] = new

        def known() -> dict[bytes, Folder]:
            return {
                os.fsencode(path): Folder(
                    *(None if id is None else bytes.fromhex(id) for id in ids)
                )
                for path, ids in folders().items()
            }

        place, form = self.repository.index, self.repository.object_format
        return exchange(place, lambda raw: changed(raw, form, staged, known))
