"""Taking back one commit while keeping what came after it.  Pure.

The commit is reversed by a merge of three: what it made of a document is the base, the document
of now is one side, and what was there before the commit the other.  So a field that
the commit left alone stays as it is now, one that it changed goes back, and one that it
changed and that is something else again now is a conflict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from filestore.codec import canonical, decode
from filestore.diff import diff
from filestore.errors import Conflict, Dispute
from filestore.merge import merge
from filestore.model import stands_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from filestore.fieldpath import FieldPath
    from filestore.model import Commit, Key, Op, Revision


class Reversed(NamedTuple):
    """What one document becomes, or the fields that stand in the way."""

    after: bytes | None
    conflicts: tuple[tuple[FieldPath, str], ...] = ()


def reverse(op: Op, current: bytes | None) -> Reversed:
    """What a document becomes when that op is taken back; None is no document."""
    if stands_in(op.before):
        return Reversed(current, (((), ""),))  # nobody knows what an edit from outside replaced
    if current == op.after:
        return Reversed(op.before)
    if current == op.before:
        return Reversed(current)
    if op.after is None or current is None:
        # It was deleted then and made anew since, or is gone since: no field of it is the same.
        return Reversed(current, (((), ""),))
    merged = merge(decode(op.after), decode(current), _decoded(op.before))
    conflicts = tuple((conflict.path, conflict.field) for conflict in merged.conflicts)
    document = merged.document
    return Reversed(None if document is None else canonical(document), conflicts)


def undo(
    commit: Commit,
    get: Callable[[Key], bytes | None],
    later: Callable[[Key], Iterable[Commit]],
) -> Iterator[tuple[Op, bytes | None]]:
    """Each document's op with what the document becomes.

    ``get`` tells what is there now, ``later`` the commits of a document after this one.
    Raises Conflict, which names every document and field in the way, before anything is given.
    """
    found = [(op, reverse(op, get(op.key))) for op in commit.ops]
    disputes = [
        Dispute(op.key, field, tuple(_touching(path, later(op.key))))
        for op, reversed_ in found
        for path, field in reversed_.conflicts
    ]
    if disputes:
        raise Conflict(
            f"revision {commit.revision} can't be undone, for what it changed was changed again:"
            f" {'; '.join(map(_sentence, disputes))}",
            keys=tuple(dict.fromkeys(dispute.key for dispute in disputes)),
            revision=commit.revision,
            disputes=disputes,
        )
    return ((op, reversed_.after) for op, reversed_ in found)


def _touching(path: FieldPath, commits: Iterable[Commit]) -> Iterator[Revision]:
    """The revisions that changed what ``path`` leads to, or part of it.

    Places in lists move, so any change of the same list counts.
    """
    steps = _outside_lists(path)
    for commit in commits:
        for op in commit.ops:
            for difference in diff(_decoded(op.before), _decoded(op.after)):
                other = _outside_lists(difference.path)
                length = min(len(steps), len(other))
                if steps[:length] == other[:length]:
                    yield commit.revision
                    break


def _outside_lists(path: FieldPath) -> FieldPath:
    for at, step in enumerate(path):
        if isinstance(step, int):
            return path[:at]
    return path


def _sentence(dispute: Dispute) -> str:
    where = f"{dispute.field} of {dispute.key}" if dispute.field else str(dispute.key)
    if not dispute.revisions:
        return f"{where} by an edit that is not recorded"
    several = "s" if len(dispute.revisions) > 1 else ""
    return f"{where} in revision{several} {', '.join(map(str, dispute.revisions))}"


def _decoded(data: bytes | None) -> dict[str, object] | None:
    return None if data is None or stands_in(data) else decode(data)
