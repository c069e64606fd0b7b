"""Bringing a store to order, under the write lock, by whoever finds it in disorder.

* The state is not of this run of the machine: rebuild it from the journal, and
  publish whatever the files lack since the last checkpoint.
* A writer died in the middle: cut off what it had not made visible, and publish
  what it had.
* A reshard was cut short: take it back or finish it, as the settings say.
* A sync failed: what is in memory may never have reached the disk, and syncing
  again would not tell.  Go on in a new segment, and write anew every commit and
  every file that is not known to be safe.

Every step can be repeated: killed anywhere, the next one begins again, and a
second run finds nothing to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filestore.engine import fanout, record, recovery
from filestore.engine.fs import SyncFailed
from filestore.engine.ground import poison, save
from filestore.engine.journal import Journal
from filestore.engine.recovery import Content, Step
from filestore.engine.state import Flag, Mark, unpack
from filestore.engine.tree import FileEntry, Swap, storage_error
from filestore.errors import Corrupt, RecoveryNeeded
from filestore.model import stands_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from filestore.engine.ground import Ground
    from filestore.engine.recovery import Wanted
    from filestore.engine.state import State
    from filestore.model import Commit, Key


def bring_to_order(ground: Ground) -> None:
    """Under the write lock.  Raises RecoveryNeeded for a damaged journal, StorageError."""
    state = ground.state
    if state is None:
        return
    try:
        ground.follow()
        fanout.settle(ground, state)
        if not state.valid:
            _rebuild(ground, state)
        elif state.flags & Flag.POISONED:
            _write_anew(ground, state)
        elif state.held or state.flags:
            _finish(ground, state)
    except OSError as error:
        raise storage_error(error, ground.layout.root, None) from error


def _rebuild(ground: Ground, state: State) -> None:
    """The machine stopped, or the runtime files are gone or copied."""
    found = recovery.scan(ground.journal, ground.config.id)
    if found.lost:
        ground.damage = found.lost
        first = found.lost[0]
        raise RecoveryNeeded(
            f"{first.path}: the journal is damaged ({first.reason})", path=first.path
        )
    ground.damage = []
    number, _ = unpack(found.end.position)
    for stale in ground.journal.numbers():
        if stale > number > 0:
            ground.journal.close_tail()
            ground.fs.unlink(ground.journal.path(stale))  # nothing in it ever counted
    if found.loose:
        ground.journal.erase(found.end, sync=True)
    if number:
        ground.journal.sync_segment(number)
    publish(ground, recovery.wanted(found.commits), rebooted=True)
    sweep(ground)
    state.rebuild(found.end, found.checkpoint)


def _finish(ground: Ground, state: State) -> None:
    """A process died, or gave up, in the middle of a commit."""
    committed = state.committed
    if committed.revision or committed.position:
        ground.journal.erase(committed, sync=True)
    _drop_unused(ground, unpack(committed.position)[0])
    publish_pending(ground, state)
    sweep(ground)
    state.set_flags(Flag(0))
    state.clear_holder()


def _drop_unused(ground: Ground, last: int) -> None:
    """Drop a segment that was begun and never used: one that goes on before it would be void."""
    for number in ground.journal.numbers():
        if number > last:
            ground.journal.close_tail()
            ground.fs.unlink(ground.journal.path(number))


def publish_pending(ground: Ground, state: State) -> None:
    """Publish what is committed and not in the files yet.  Under the write lock.

    The journal is synced first, whatever this handle's durability: a file must
    not outlive its record (J1), and another's commits may be among them.
    """
    committed, published = state.committed, state.published
    if published.revision >= committed.revision:
        return
    if state.synced < committed.revision:
        try:
            ground.journal.sync_segment(unpack(committed.position)[0])
        except SyncFailed as error:
            raise poison(ground, state, error) from error
        state.set_synced(committed.revision)
    commits = _commits(ground, published, committed)
    publish(ground, recovery.wanted(commits), rebooted=False)
    state.set_published(committed)


def _write_anew(ground: Ground, state: State) -> None:
    """A sync failed: trust the disk with nothing that it was given since it was last known."""
    committed, checkpoint = state.committed, state.checkpoint
    journal = ground.journal
    since = _commits(ground, checkpoint, committed)
    unsafe = [commit for commit in since if commit.revision > state.synced]
    first = Mark(min(state.synced, committed.revision), committed.position)
    tail, offset = journal.rotate(first, checkpoint=checkpoint.revision)
    at = Mark(first.revision, tail.number << 40 | offset)
    for commit in unsafe:
        payload = record.commit_payload(commit, record.etags(commit), at.revision)
        positions = journal.append([payload], at, checkpoint=checkpoint.revision)
        at = Mark(commit.revision, positions[0])
    journal.sync()
    _rewrite(ground, recovery.wanted(since))
    sweep(ground)
    state.set_committed(Mark(committed.revision, at.position))
    state.set_published(Mark(committed.revision, at.position))
    state.set_synced(committed.revision)
    state.set_flags(Flag(0))
    state.clear_holder()


def _commits(ground: Ground, start: Mark, end: Mark) -> list[Commit]:
    """Read with a descriptor of its own: the handle's may be in use by a thread that reads."""
    journal = Journal(ground.fs, ground.layout, ground.config.id)
    try:
        return [commit for commit, _ in journal.read(start, end)]
    finally:
        journal.close_reader()


def _rewrite(ground: Ground, wants: Iterable[Wanted]) -> None:
    """Give every file that holds a value of the journal a new inode, to be synced afresh."""
    for want in wants:
        found, entry = examine(ground, want.key)
        if found is None and want.after is None:
            continue
        if found is not None and found.data != want.after and not want.named(found.data):
            continue  # J4
        carry_out(ground, Step(want.key, want.after, save=False), entry)


def publish(ground: Ground, wants: Iterable[Wanted], *, rebooted: bool) -> None:
    """Give every file what the journal says it should hold, external edits apart (J2, J4)."""
    for want in wants:
        step, entry = lacking(ground, want, rebooted=rebooted)
        if step is not None:
            carry_out(ground, step, entry)


def lacking(
    ground: Ground, want: Wanted, *, rebooted: bool
) -> tuple[Step | None, FileEntry | None]:
    """What one file still needs, and what it holds."""
    found, entry = examine(ground, want.key)
    if rebooted and found is not None and _torn(ground, want, found):
        found, entry = Content(None, found.raw), None
    return recovery.decide(want, found, rebooted=rebooted), entry


def _torn(ground: Ground, want: Wanted, found: Content) -> bool:
    """Whether a document is but the beginning of one that the journal names.

    YAML cut off between two pages is YAML still; taking it for an edit would
    lose the commit.
    """
    values = {want.after, *want.earlier}
    if found.data is None or found.data in values:
        return False
    encoded = (
        ground.tree.codec.encode(data)
        for data in values
        if data is not None and not stands_in(data)
    )
    return any(len(found.raw) < len(whole) and whole.startswith(found.raw) for whole in encoded)


def examine(ground: Ground, key: Key) -> tuple[Content | None, FileEntry | None]:
    """What a document's file holds; an unreadable thing in its place counts as an edit."""
    tree, path = ground.tree, ground.layout.path(key)
    try:
        raw = tree.read(path, key)
    except Corrupt:
        return Content(None, b"<<<<<<< not a file"), None
    if raw is None:
        return None, None
    try:
        data = tree.parse(raw.data, path, key)
    except Corrupt:
        return Content(None, raw.data), None
    entry = FileEntry(data, path, raw.signature, racy=raw.racy)
    return Content(data, raw.data), entry


def carry_out(ground: Ground, step: Step, entry: FileEntry | None) -> None:
    """Publish one content.  Raises OSError, StorageError."""
    tree = ground.tree
    if entry is None:
        path = ground.layout.path(step.key)
        if step.save:
            save(ground, path)
        elif tree.signature(path) is not None:
            ground.fs.unlink(path)  # torn, and nothing in it
    if step.after is None and entry is None:
        return
    path = ground.layout.path(step.key)
    swap = Swap(step.key, path, entry, None if step.after is None else FileEntry(step.after, path))
    tree.stage(swap, {})
    try:
        left, ours = tree.swap_in(swap)
    except BaseException:
        tree.abandon(swap, remove=True)
        raise
    tree.settle(swap, ours=False)
    if left is not None:
        clear(ground, left, ours=ours)


def sweep(ground: Ground) -> None:
    """Clear ``tmp/`` of what dead writers left; an edit that one displaced is kept (J4)."""
    for tmp in ground.tree.leftovers():
        _clear(ground, tmp, torn=True)


def clear(ground: Ground, left: str, *, ours: bool) -> None:
    """Remove what :meth:`Tree.swap_in` left, or keep it if it is an edit (J4)."""
    if ours:
        ground.tree.discard(left)
    else:
        _clear(ground, left, torn=False)


def _clear(ground: Ground, tmp: str, *, torn: bool) -> None:
    if ground.tree.is_edit(tmp, torn=torn):
        save(ground, tmp)
    else:
        ground.tree.discard(tmp)
