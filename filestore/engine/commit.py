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
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.engine import record, recover
from filestore.engine.fs import SyncFailed
from filestore.engine.ground import Durability, poison
from filestore.engine.state import NO_FILE, Flag, Mark
from filestore.engine.tree import FileEntry, Swap, storage_error
from filestore.errors import Conflict, FilestoreError
from filestore.model import ANY, Commit, Op, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.backend import Entry
    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.state import State
    from filestore.model import Edit, Key

_BULK: Final = 256
"""Documents of a larger commit are not kept in memory: it would take more than all else."""


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


class Step(NamedTuple):
    """What a commit does to one document, before and after it, and the file it is about."""

    swap: Swap
    before: Entry | None
    after: FileEntry | None


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
        if ground.durability is not Durability.NORMAL and state.lagging:
            recover.publish_pending(ground, state)  # J2: what another handle put off goes first
        # The last content of each document, in the order in which they are first touched.
        swaps: dict[Key, Swap] = {}
        decided: list[tuple[Ticket, list[Step]]] = []
        for ticket in batch:
            try:
                steps = self._decide(ticket, swaps)
            except Exception as error:  # noqa: BLE001 - an edit's function may raise anything
                ticket.fail(error)
                continue
            if not steps:
                ticket.finish(None)
                continue
            for swap, _, after in steps:
                swap.after = after
                swaps[swap.key] = swap
            decided.append((ticket, steps))
        if not decided:
            return
        try:
            self._write(state, decided, swaps, litter)
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

    def _decide(self, ticket: Ticket, ahead: dict[Key, Swap]) -> list[Step]:
        """What to do for one ticket, given those ahead of it.  Raises what apply raises."""
        steps = []
        conflicts: list[Conflict] = []
        path_of = self._ground.layout.path
        for edit in ticket.edits:
            key, wish, expected = edit
            before: Entry | None
            swap = ahead.get(key)
            if swap is not None:
                before = swap.after
            else:
                path = path_of(key)
                try:
                    base, before = self._current(edit, path)
                except Conflict as error:
                    conflicts.append(error)
                    continue
                swap = Swap(key, path, base)
            if expected is not ANY and expected != (None if before is None else before.etag):
                conflicts.append(_unexpected(key, before, self._reads.revision))
                continue
            data = None if before is None else before.data
            content = wish(data) if callable(wish) else wish
            if content != data:
                after = None if content is None else FileEntry(content, swap.path)
                steps.append(Step(swap, before, after))
        if conflicts:
            raise _all_of(conflicts)
        return steps

    def _current(self, edit: Edit, path: str) -> tuple[FileEntry | None, Entry | None]:
        """The file as it is, and the document that an edit starts from."""
        reads, tree = self._reads, self._ground.tree
        key, wish, expected = edit
        blind = expected is ANY and not callable(wish)
        pending = reads.pending(key)
        if pending is not None:
            return None, pending[1]
        known = reads.known(key)
        if known is None:
            # A put need not be told why it sees nothing: staging looks at the folders.
            put = blind and wish is not None
            if not tree.exists(path) if put else tree.signature(path) is None:
                return None, None
        elif not known.racy and tree.signature(path) == known.signature:
            return known, known
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
        decided: list[tuple[Ticket, list[Step]]],
        swaps: dict[Key, Swap],
        litter: list[str],
    ) -> None:
        ground, reads = self._ground, self._reads
        level, journal = ground.durability, ground.journal
        end = state.committed
        commits, payloads = _records(decided, end.revision, state.synced)
        revision = end.revision + len(commits)
        mark = end
        try:
            if level is not Durability.NORMAL:
                stage = ground.tree.stage
                looked: dict[str, bool] = {}
                for swap in swaps.values():
                    stage(swap, looked)
            if level is not Durability.OFF and not state.names_safe:
                ground.make_names_safe(state)
            positions = journal.append(
                payloads,
                end,
                checkpoint=state.checkpoint_revision,
                may_use_reserve=_only_deletes(swaps),
            )
            payloads.clear()
            if level is Durability.FULL:
                journal.sync()
            with reads.mutex:
                for step, position in enumerate(positions, 1):
                    mark = Mark(end.revision + step, position)
                    state.set_committed(mark)
                reads.note(commits, swaps, mark)
            if level is Durability.FULL:
                # Not before: a revision that is taken back is given to another commit.
                state.set_synced(revision)
        except BaseException as error:
            shown = state.committed.revision - end.revision  # an interrupt may come in between
            for swap in swaps.values():
                ground.tree.abandon(swap, remove=not shown)
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
            self._publish(state, swaps, mark, litter)

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

    # -- edits from outside ---------------------------------------------------------

    def record(
        self,
        ops: Sequence[Op],
        etags: Sequence[record.Etags],
        actor: str | None,
        message: str | None,
    ) -> Commit:
        """Write down edits that are in the files already: there is nothing to publish.

        All that is committed must be published, so that what differs is known for an edit.
        """
        ground, reads = self._ground, self._reads
        state = ground.check_writable()
        level, end = ground.durability, state.committed
        revision = end.revision + 1
        commit = Commit(revision, time.time(), actor, message, Origin.EXTERNAL, tuple(ops))
        payload = record.commit_payload(commit, etags, state.synced)
        try:
            if level is not Durability.OFF and not state.names_safe:
                ground.make_names_safe(state)
            (position,) = ground.journal.append(
                [payload], end, checkpoint=state.checkpoint.revision
            )
            if level is Durability.FULL:
                ground.journal.sync()
            mark = Mark(revision, position)
            with reads.mutex:
                state.set_committed(mark)
                state.set_published(mark)
                reads.note_external(commit, mark)
            if level is Durability.FULL:
                state.set_synced(revision)
        except BaseException as error:
            if state.committed.revision < revision:
                self._take_back(state, end, error)
            if isinstance(error, OSError) and not isinstance(error, FilestoreError):
                raise storage_error(error, ground.layout.journal, None) from error
            raise
        return commit

    # -- publish --------------------------------------------------------------------

    def _publish(self, state: State, swaps: dict[Key, Swap], mark: Mark, litter: list[str]) -> None:
        """The commit is made: nothing that happens here is the caller's failure."""
        tree, reads = self._ground.tree, self._reads
        # Let go of one by one: events of thousands of files take memory meanwhile.
        waiting = list(reversed(swaps.values()))
        swaps.clear()
        many, alone = len(waiting) > _BULK, len(waiting) == 1
        try:
            reads.publishing_many = many
            while waiting:
                swap = waiting[-1]
                left, ours = tree.swap_in(swap)
                entry = tree.settle(swap, ours=ours)
                if alone:
                    file = NO_FILE if entry is None or entry.racy else entry.signature
                    state.set_file(mark.revision, file)
                reads.published(swap.key, mark.revision, entry, keep=not many)
                if left is not None:
                    if ours:
                        litter.append(left)
                    else:
                        recover.clear(self._ground, left, ours=False)
                waiting.pop()
        except OSError as error:
            where = error.filename or self._ground.layout.root
            self._ground.trouble = f"publishing: {storage_error(error, where, None)}"
        finally:
            reads.publishing_many = False
            if not waiting:
                state.set_published(mark)
            else:
                state.set_flags(state.flags | Flag.DIRTY)
                for swap in waiting:
                    tree.abandon(swap, remove=False)


def _records(
    decided: list[tuple[Ticket, list[Step]]], revision: int, synced: int
) -> tuple[list[Commit], list[record.Payload]]:
    """The commits after ``revision``, and what the journal is to say of each."""
    commits: list[Commit] = []
    payloads: list[record.Payload] = []
    for ticket, steps in decided:
        revision += 1
        ops, etags = [], []
        for swap, before, after in steps:
            was, old = (None, None) if before is None else (before.data, before.etag)
            now, new = (None, None) if after is None else (after.data, after.etag)
            ops.append(Op(swap.key, was, now))
            etags.append((old, new))
        steps.clear()  # a bulk load's are many
        commit = Commit(
            revision, time.time(), ticket.actor, ticket.message, ticket.origin, tuple(ops)
        )
        commits.append(commit)
        payloads.append(record.commit_payload(commit, etags, synced))
    return commits, payloads


def _only_deletes(swaps: dict[Key, Swap]) -> bool:
    for swap in swaps.values():  # noqa: SIM110 - all() would make a generator for each commit
        if swap.after is not None:
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
