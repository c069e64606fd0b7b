"""The commit: from edits to a record, the disk, and the files.

    decide      each edit against what is there now; drop those that change nothing
    stage       new contents beside the tree: a full disk is found out here
    append      one write of the record to the journal
    sync        fdatasync: THE COMMIT POINT (J1)
    show        move the word in the shared state: every read shows the commit (C2)
    publish     an exchange or rename a file, in journal order (J2)

All of it happens under the write lock.  Before the commit point a failure takes
everything back.  After it nothing can fail: what cannot be published now is
read from the journal, and published by the next writer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from filestore.backend import Entry
from filestore.engine import record, recover
from filestore.engine.ground import Durability, poison
from filestore.engine.journal import SyncFailed
from filestore.engine.state import Flag, Mark
from filestore.engine.tree import storage_error
from filestore.errors import Conflict, FilestoreError
from filestore.model import ANY, Commit, Op, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.state import State
    from filestore.engine.tree import FileEntry, Staged
    from filestore.model import Edit, Key


class Ticket:
    """A commit that somebody waits for."""

    __slots__ = ("actor", "commit", "done", "edits", "error", "message", "origin")

    def __init__(
        self, edits: Sequence[Edit], actor: str | None, message: str | None, origin: Origin
    ) -> None:
        self.edits = edits
        self.actor = actor
        self.message = message
        self.origin = origin
        self.commit: Commit | None = None
        self.error: BaseException | None = None
        self.done = False

    def finish(self, commit: Commit | None) -> None:
        self.commit = commit
        self.done = True

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.done = True

    def result(self) -> Commit | None:
        if self.error is not None:
            raise self.error
        return self.commit


class Decided(NamedTuple):
    """An op with its etags, the file that it is about and what it holds."""

    text: record.OpText
    path: str
    base: FileEntry | None
    after: Entry | None


class Committer:
    """Carries out commits.  Under the write lock, the store being in order."""

    def __init__(self, ground: Ground, reads: Reads) -> None:
        self._ground = ground
        self._reads = reads

    def run(self, batch: Sequence[Ticket], litter: list[str]) -> None:
        """Finish every ticket: each is a commit of its own, all share one sync.

        ``litter`` gets the temporary files to remove when the lock is given back.
        """
        ground = self._ground
        state = ground.check_writable()
        if state.lagging and ground.durability is not Durability.NORMAL:
            recover.publish_pending(ground, state)  # J2: what another handle put off goes first
        after: dict[Key, Entry | None] = {}
        decided: list[tuple[Ticket, list[Decided]]] = []
        for ticket in batch:
            try:
                ops = self._decide(ticket, after)
            except Exception as error:  # noqa: BLE001 - an edit's function may raise anything
                ticket.fail(error)
                continue
            if not ops:
                ticket.finish(None)
                continue
            for one in ops:
                after[one.text.op.key] = one.after
            decided.append((ticket, ops))
        if not decided:
            return
        try:
            self._write(state, decided, after, litter)
        except FilestoreError as error:
            waiting = [ticket for ticket, _ in decided if not ticket.done]
            if len(waiting) > 1 and not state.flags:
                # One of them may be to blame: each for itself.
                for ticket in waiting:
                    self.run([ticket], litter)
                return
            for ticket in waiting:
                ticket.fail(error)

    # -- decide ---------------------------------------------------------------------

    def _decide(self, ticket: Ticket, ahead: dict[Key, Entry | None]) -> list[Decided]:
        """What to do for one ticket, given those ahead of it.  Raises what apply raises."""
        ops = []
        conflicts: list[Conflict] = []
        path_of = self._ground.layout.path
        for key, wish, expected in ticket.edits:
            path = path_of(key)
            computed = callable(wish)
            try:
                base, before = self._current(
                    key, path, ahead, blind=expected is ANY and not computed
                )
            except Conflict as error:
                conflicts.append(error)
                continue
            if expected is not ANY and expected != (None if before is None else before.etag):
                conflicts.append(_unexpected(key, before, self._reads.revision))
                continue
            data = None if before is None else before.data
            after = wish(data) if callable(wish) else wish
            if after == data:
                continue
            entry = None if after is None else Entry(after)
            text = record.OpText(
                Op(key, data, after),
                None if before is None else before.etag,
                None if entry is None else entry.etag,
            )
            ops.append(Decided(text, path, base, entry))
        if conflicts:
            raise _all_of(conflicts)
        return ops

    def _current(
        self, key: Key, path: str, ahead: dict[Key, Entry | None], *, blind: bool
    ) -> tuple[FileEntry | None, Entry | None]:
        """The file as it is, and the document that an edit starts from."""
        reads, tree = self._reads, self._ground.tree
        if ahead and key in ahead:
            return None, ahead[key]
        pending = reads.pending(key)
        if pending is not None:
            return None, pending[1]
        known = reads.known(key)
        if known is not None and not known.racy and tree.signature(path) == known.signature:
            return known, known
        if known is None and tree.signature(path) is None:
            return None, None  # as most new documents; staging looks at the folders
        loaded = tree.load(key, path)
        if known is not None and blind and (loaded is None or loaded.data != known.data):
            reads.remember(key, loaded)
            what = "edited" if loaded is not None else "removed"
            raise Conflict(
                f"{path}: the file was {what} from outside since this store last read it; "
                "read it again and repeat the change, or use patch",
                key=key,
                path=path,
                revision=reads.revision,
            )
        reads.remember(key, loaded)
        return loaded, loaded

    # -- stage, append, sync, show --------------------------------------------------

    def _write(
        self,
        state: State,
        decided: list[tuple[Ticket, list[Decided]]],
        after: dict[Key, Entry | None],
        litter: list[str],
    ) -> None:
        ground, reads = self._ground, self._reads
        level = ground.durability
        end, synced = state.committed, state.synced
        commits, payloads = [], []
        revision = end.revision
        for ticket, ops in decided:
            revision += 1
            texts = [one.text for one in ops]
            commit = Commit(
                revision,
                time.time(),
                ticket.actor,
                ticket.message,
                ticket.origin,
                tuple([text.op for text in texts]),
            )
            commits.append(commit)
            payloads.append(record.commit_payload(commit, texts, synced))
        staged: dict[Key, Staged] = {}
        mark = end
        try:
            if level is not Durability.NORMAL:
                self._stage(decided, after, staged)
            if level is not Durability.OFF and not state.names_safe:
                ground.make_names_safe(state)
            positions = ground.journal.append(
                payloads,
                end,
                checkpoint=state.checkpoint.revision,
                may_use_reserve=_only_deletes(commits),
            )
            if level is Durability.FULL:
                ground.journal.sync()
            with reads.mutex:
                for step, position in enumerate(positions, 1):
                    mark = Mark(end.revision + step, position)
                    state.set_committed(mark)
                reads.note(commits, mark)
            if level is Durability.FULL:
                # Not before: a revision that is taken back is given to another commit.
                state.set_synced(revision)
        except BaseException as error:
            shown = state.committed.revision - end.revision  # an interrupt may come in between
            for ready in staged.values():
                ground.tree.abandon(ready, remove=not shown)
            if shown:
                state.set_flags(state.flags | Flag.DIRTY)
                for (ticket, _), commit in zip(decided[:shown], commits, strict=False):
                    ticket.finish(commit)  # another thread's must not be carried out again
                raise
            self._take_back(state, end, error)
            if isinstance(error, OSError) and not isinstance(error, FilestoreError):
                raise storage_error(error, ground.layout.journal, None) from error
            raise
        for (ticket, _), commit in zip(decided, commits, strict=True):
            ticket.finish(commit)
        if level is not Durability.NORMAL:
            self._publish(state, staged, after, mark, litter)

    def _stage(
        self,
        decided: list[tuple[Ticket, list[Decided]]],
        after: dict[Key, Entry | None],
        staged: dict[Key, Staged],
    ) -> None:
        """Stage the last content of every document; ``staged`` has what succeeded."""
        stage = self._ground.tree.stage
        for _, ops in decided:
            for (op, _, _), path, base, _ in ops:
                key = op.key
                if key not in staged:  # the first to come knows the file
                    staged[key] = stage(key, path, after[key], base)

    def _take_back(self, state: State, end: Mark, error: BaseException) -> None:
        """The commit point was not reached: have the journal say nothing of the commits."""
        ground = self._ground
        # Flagged before anything else, for this may be cut short as well.
        state.set_flags(state.flags | Flag.DIRTY)
        if isinstance(error, SyncFailed):
            raise poison(ground, state, error) from error
        try:
            ground.journal.erase(end, sync=ground.durability is not Durability.OFF)
            state.set_flags(state.flags & ~Flag.DIRTY)
        except OSError:
            pass  # the next writer erases it

    # -- publish --------------------------------------------------------------------

    def _publish(
        self,
        state: State,
        staged: dict[Key, Staged],
        after: dict[Key, Entry | None],
        mark: Mark,
        litter: list[str],
    ) -> None:
        """The commit is made: nothing that happens here is the caller's failure."""
        tree, reads = self._ground.tree, self._reads
        waiting = dict(staged)
        try:
            for key, one in staged.items():
                left, ours = tree.swap_in(one)
                del waiting[key]
                reads.published(key, mark.revision, tree.settle(one, after[key], ours=ours))
                if left is not None and ours:
                    litter.append(left)
                elif left is not None:
                    recover.clear(self._ground, left, ours=False)
        except OSError as error:
            where = error.filename or self._ground.layout.root
            self._ground.trouble = f"publishing: {storage_error(error, where, None)}"
        finally:
            if waiting:
                state.set_flags(state.flags | Flag.DIRTY)
                for one in waiting.values():
                    tree.abandon(one, remove=False)
            else:
                state.set_published(mark)


def _only_deletes(commits: Sequence[Commit]) -> bool:
    for commit in commits:
        for op in commit.ops:
            if op.after is not None:
                return False
    return True


def _all_of(conflicts: list[Conflict]) -> Conflict:
    first = conflicts[0]
    if len(conflicts) == 1:
        return first
    return Conflict(
        "; ".join(str(conflict) for conflict in conflicts),
        keys=[key for conflict in conflicts for key in conflict.keys],
        path=first.path,
        revision=first.revision,
    )


def _unexpected(key: Key, before: Entry | None, revision: int) -> Conflict:
    what = "is not there any more" if before is None else f"has etag {before.etag} now"
    return Conflict(
        f"{key}: somebody else changed the document: it {what}; read it again and decide",
        key=key,
        revision=revision,
    )
