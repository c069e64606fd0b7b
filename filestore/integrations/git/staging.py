"""Having git's index say of some files what a commit says."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filestore.integrations.git.index import Folder, Staged, changed, exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filestore.integrations.git.objects import TreeEntry
    from filestore.integrations.git.plan import Ids
    from filestore.integrations.git.repository import Repository
    from filestore.integrations.git.run import Running


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
            with self.there() as staging:
                staging.wait()

    def there(self) -> Running:
        """Have git do it."""
        prefix = self.repository.prefix
        return self.repository.git.start(
            *("update-index", "--add", "--remove", "-z", "--stdin"),
            feed=b"\0".join(os.fsencode(path[len(prefix) :]) for path in self.files),
        )

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
