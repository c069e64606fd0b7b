"""Looking at everything (``check``), and mending what can be mended (``repair``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filestore.engine import recover, recovery
from filestore.engine.fanout import FANOUTS
from filestore.engine.ground import save
from filestore.engine.journal import Journal
from filestore.engine.layout import CONFIG
from filestore.engine.state import Mark, position, unpack
from filestore.engine.tree import storage_error
from filestore.errors import Corrupt, FilestoreError
from filestore.problem import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.engine.checkpoint import Checkpointer
    from filestore.engine.fs import Item
    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.writer import Writer


def check(ground: Ground, reads: Reads) -> list[Problem]:
    """Every document, name and journal line; changes nothing."""
    problems = [*_journal(ground), *_tree(ground, reads)]
    if _resharding(ground):
        problems = [problem for problem in problems if problem.kind != "stray"]
        problems.append(
            Problem(
                "unfinished",
                "the store is moving to another fan-out, or whoever moved it died; the next write "
                "or repair brings that to an end; no document is missing",
                path=ground.layout.reshard,
                severity=Severity.WARNING,
                repairable=True,
            )
        )
    if ground.trouble is not None:
        problems.append(
            Problem("background", ground.trouble, severity=Severity.WARNING, repairable=True)
        )
    return problems


def _resharding(ground: Ground) -> bool:
    try:
        ground.fs.lstat(ground.layout.reshard)
    except OSError:
        return False
    return True


def _journal(ground: Ground) -> Iterator[Problem]:
    state = ground.state
    limit = state.committed if state is not None and state.valid else None
    journal = Journal(ground.fs, ground.layout, ground.config.id)
    try:
        found = recovery.scan(journal, ground.config.id, limit=limit, whole=True)
    except OSError as error:
        yield Problem("unreadable", str(storage_error(error, ground.layout.journal, None)))
        return
    finally:
        journal.close()
    for damage in found.damage:
        lost = f" (commits {damage.first} to {damage.last})" if damage.last else ""
        cost = (
            "a document may have lost a change; what its file says counts"
            if damage.past
            else "only history is lost, the documents are safe"
        )
        yield Problem(
            "journal",
            f"{damage.path}: damaged at byte {damage.offset}: {damage.reason}{lost}; {cost}; "
            "repair moves the journal away and begins a new one",
            path=damage.path,
            severity=Severity.ERROR if damage.past else Severity.WARNING,
            repairable=True,
        )
    # With normal durability files lag behind for a moment; a flag says that somebody gave up.
    if state is not None and state.valid and state.flags:
        lag = state.committed.revision - state.published_revision
        late = f", and {lag} commits are not in the files yet (they are read all the same)"
        yield Problem(
            "unfinished",
            f"a writer gave up in the middle{late if lag else ''}; the next write or repair "
            "brings it to order",
            path=ground.layout.root,
            severity=Severity.WARNING,
            repairable=True,
        )


def _tree(ground: Ground, reads: Reads) -> Iterator[Problem]:
    yield from _folder(ground, reads, ground.layout.root, ())


def _folder(ground: Ground, reads: Reads, folder: str, parts: tuple[str, ...]) -> Iterator[Problem]:
    try:
        items = ground.fs.scan(folder)
    except OSError as error:
        yield Problem("unreadable", str(storage_error(error, folder, None)), path=folder)
        return
    for item in sorted(items):
        path = f"{folder}/{item.name}"
        if item.name[0] == "." or (not parts and item.name == CONFIG):
            continue
        if item.is_folder:
            if item.name.endswith(ground.layout.suffix):
                yield Problem(
                    "misplaced", f"{path}: a folder where a document should be", path=path
                )
            yield from _folder(ground, reads, path, (*parts, item.name))
        elif item.name.endswith(ground.layout.suffix) or not item.is_file:
            yield from _file(ground, reads, path, item)


def _file(ground: Ground, reads: Reads, path: str, item: Item) -> Iterator[Problem]:
    if not item.is_file:
        yield Problem(
            "link",
            f"{path}: is a link or no regular file; the store does not follow it: remove it",
            path=path,
            severity=Severity.ERROR
            if item.name.endswith(ground.layout.suffix)
            else Severity.WARNING,
        )
        return
    key = ground.layout.key(path)
    if key is None:
        for fanout in FANOUTS:
            stray = ground.layout.key(path, fanout)
            if stray is not None:
                yield Problem(
                    "stray",
                    f"{path}: {stray} does not belong here at fan-out {ground.layout.fanout}, so "
                    f"it is not read; gather it with filestore reshard {ground.layout.fanout}",
                    path=path,
                    key=stray,
                    severity=Severity.WARNING,
                )
                return
        yield Problem(
            "misnamed",
            f"{path}: no document has this name or this folder, so it is not read; rename it "
            "or put its content with filestore put",
            path=path,
            severity=Severity.WARNING,
        )
        return
    try:
        reads.get(key)
    except Corrupt as error:
        yield Problem("corrupt", str(error), path=path, key=key)
    except FilestoreError as error:
        yield Problem("unreadable", str(error), path=path, key=key)


def repair(
    ground: Ground, reads: Reads, writer: Writer, checkpointer: Checkpointer
) -> list[Problem]:
    """Bring the store to order; a damaged journal is moved to ``lost/``, never deleted.

    Returns the problems that are left.
    """
    if ground.readonly:
        ground.check_writable()
    if _replace_journal(ground, reads, checkpointer):
        reads.begin()
    ground.refusal = None
    ground.trouble = None
    with writer.exclusive():
        state = ground.check_writable()
        try:
            recover.publish_pending(ground, state)
        except OSError as error:
            raise storage_error(error, ground.layout.root, None) from error
    return check(ground, reads)


def _replace_journal(ground: Ground, reads: Reads, checkpointer: Checkpointer) -> bool:
    """Publish what can still be read of a damaged journal, and go on in a new segment.

    Whether that was needed.  The old segments are moved away last, so that whoever dies
    in between leaves a journal that knows how far it was.
    """
    layout, lock, journal = ground.layout, ground.lock, ground.journal
    outermost = not lock.owned
    try:
        if outermost:
            lock.acquire_threads(ground.lock_timeout, ground.state)
            lock.acquire(ground.lock_timeout, ground.state)
        state = ground.state
        if state is None:
            raise ground.refusal or Corrupt(f"{layout.root}: cannot be repaired here")
        limit = state.committed if state.valid else None
        found = recovery.scan(journal, ground.config.id, limit=limit, whole=True)
        if not found.damage:
            ground.damage = []
            return False
        recover.publish(ground, recovery.wanted(found.commits), rebooted=not state.valid)
        last = max([found.end.revision, *(damage.last for damage in found.damage)])
        checkpointer.sync({key for commit in found.commits for key, _, _ in commit.ops})
        state.disown()  # the old end counts no more
        ended, _ = unpack(found.end.position)
        numbers = journal.numbers()
        for number in numbers:
            if number > ended:
                save(ground, journal.path(number))  # nothing in it counts
        tail, offset = journal.rotate(Mark(last, found.end.position), checkpoint=last)
        mark = Mark(last, position(tail.number, offset))
        state.rebuild(mark, mark)
        for number in numbers:
            if number <= ended:
                save(ground, journal.path(number))
        with reads.mutex:
            journal.close_reader()
        ground.damage = []
        return True
    except OSError as error:
        raise storage_error(error, layout.root, None) from error
    finally:
        if outermost:
            lock.release(ground.state)
