"""Moving a whole store to another fan-out, for whoever has it open to follow.

    refuse      what cannot go well: a damaged store, two files of one document
    checkpoint  so that the journal names nothing that is not in its file
    intend      ``.filestore/reshard``
    link        each document to its new place; the folders are synced
    change      ``filestore.yaml``, durably: THE POINT OF NO RETURN
    unlink      each document from its old place; empty folders go; all is synced
    forget      ``.filestore/reshard``

All of it happens under the write lock.  Before the change a failure takes the new
names away again; after it nobody misses the old ones, and the next writer
finishes what is left.  Readers need no lock: where the settings say a
document is, there it is, and who does not find one looks at the settings again.
The files stay the same files, so that their bytes do, and git sees renames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from filestore.engine import fanout as names
from filestore.engine.config import with_fanout
from filestore.engine.fs import sync_folder
from filestore.engine.ground import poison
from filestore.engine.state import Flag
from filestore.engine.tree import storage_error
from filestore.errors import Conflict, RecoveryNeeded
from filestore.model import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore.engine.checkpoint import Checkpointer
    from filestore.engine.ground import Ground
    from filestore.engine.state import State
    from filestore.engine.writer import Writer

_SHOWN = 5  # paths in an error's message


class Resharded(NamedTuple):
    """What a reshard did: the fan-outs before and after, and how many files moved."""

    before: int
    after: int
    moved: int


def reshard(
    ground: Ground,
    writer: Writer,
    checkpointer: Checkpointer,
    fanout: int,
    progress: Callable[[int, int], object] | None = None,
) -> Resharded:
    """Give every document its place at a fan-out of 0, 1 or 2; durable on return.

    Documents that stand where another fan-out wants them, as a merge of an older
    branch leaves them, are brought to their places too.  ``progress`` is called
    with the steps that are done and all there are.  Other writers wait, or time out.

    Raises Conflict when two files claim to be one document, ReadOnly,
    RecoveryNeeded, StorageError, LockTimeout, InvalidKey for a path that would
    grow too long; nothing has changed then, unless the error says so.
    """
    if fanout not in names.FANOUTS:
        raise ValueError(f"fanout must be 0, 1 or 2, not {fanout!r}")
    with writer.exclusive():
        checkpointer.run()
        state = ground.check_writable()
        if state.lagging or state.flags:
            raise RecoveryNeeded(
                f"{ground.layout.root}: a commit is not in the files yet: repair the store first",
                path=ground.layout.root,
            )
        try:
            return _Reshard(ground, state, fanout, progress).run()
        except OSError as error:
            raise storage_error(error, error.filename or ground.layout.root, None) from error


class _Reshard:
    """One reshard, under the write lock."""

    def __init__(
        self,
        ground: Ground,
        state: State,
        fanout: int,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self._ground = ground
        self._state = state
        self._fanout = fanout
        self._progress = progress
        self._done = 0
        self._total = 0

    def run(self) -> Resharded:
        ground, state = self._ground, self._state
        before, fanout = ground.layout.fanout, self._fanout
        count = self._plan()
        done = Resharded(before, fanout, count)
        if before == fanout and not count:
            return done
        state.set_flags(state.flags | Flag.DIRTY)  # whoever comes next sees to what is left
        try:
            names.begin(ground, fanout)
            if before != fanout:
                self._link()
                names.sync_folders(ground)
                self._change()
        except BaseException:
            ground.follow()
            if ground.layout.fanout == before:
                self._take_back()
            raise
        names.finish(ground, state, adopt=True, advance=self._advance)
        state.set_flags(state.flags & ~Flag.DIRTY)
        return done

    def _plan(self) -> int:
        """Count the files to move.  Raises Conflict where two files are one document."""
        layout, fs = self._ground.layout, self._ground.fs
        clashes: list[str] = []
        first: Key | None = None
        count = strays = 0
        for collection, _ in layout.places(fs):
            seen = {id for id, _ in layout.documents(fs, collection)}
            count += len(seen)
            for other in names.FANOUTS:
                if other == layout.fanout:
                    continue
                for id, path in layout.documents(fs, collection, other):
                    strays += 1
                    if id in seen:
                        first = first or Key(collection, id)
                        clashes.append(path)
                    seen.add(id)
        if clashes:
            more = f" and {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
            raise Conflict(
                f"{', '.join(clashes[:_SHOWN])}{more}: the document has another file at its place "
                "already; compare the two, remove one, and try again",
                key=first,
                path=clashes[0],
            )
        if layout.fanout == self._fanout:
            self._total = strays
            return strays
        self._total = 2 * count + strays
        return count + strays

    def _link(self) -> None:
        """Give every document its new name, those too that somebody makes meanwhile."""
        ground, fanout = self._ground, self._fanout
        layout, fs = ground.layout, ground.fs
        made: set[str] = set()
        for collection, _ in layout.places(fs):
            linked: set[str] = set()
            while True:
                fresh = [(i, p) for i, p in layout.documents(fs, collection) if i not in linked]
                if not fresh:
                    break
                for id, path in fresh:
                    linked.add(id)
                    target = layout.path((collection, id), fanout)
                    names.make_way(ground, target, made)
                    try:
                        fs.link(path, target)
                    except FileNotFoundError:
                        pass  # removed by hand this moment
                    except FileExistsError:
                        raise Conflict(f"{target}: is in the way: remove it", path=target) from None
                    self._advance()

    def _change(self) -> None:
        """Have the new names be those that count."""
        ground, state = self._ground, self._state
        raw = with_fanout(ground.settings.raw, self._fanout, ground.layout.config)
        names.put_settings(ground, raw)
        try:
            sync_folder(ground.fs, ground.layout.root)
        except OSError as error:
            raise poison(ground, state, error) from error
        ground.follow()
        if ground.layout.fanout != self._fanout:
            raise Conflict(f"{ground.layout.config}: somebody changed it this moment; try again")

    def _take_back(self) -> None:
        """Have all as it was; what fails here, the next writer does."""
        try:
            names.finish(self._ground, self._state, adopt=False)
            self._state.set_flags(self._state.flags & ~Flag.DIRTY)
        except Exception as error:  # noqa: BLE001 - the first failure is the one to raise
            self._ground.trouble = f"taking back a reshard: {error}"

    def _advance(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, max(self._done, self._total))
