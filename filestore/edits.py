"""What edits change, given what is there; pure but for the functions that edits hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filestore.errors import Conflict
from filestore.model import ANY, Key, Op

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filestore.backend import Entry
    from filestore.model import Edit, Etag, Revision


def require_distinct(edits: Sequence[Edit]) -> None:
    """Raise ValueError where two edits of one commit are of one document."""
    if len({edit.key for edit in edits}) < len(edits):
        raise ValueError("two edits of one commit name the same document")


def decide(
    edits: Sequence[Edit],
    current: Mapping[tuple[str, str], Entry | None],
    *,
    revision: Revision,
    path: str | None = None,
) -> tuple[Op, ...]:
    """What the edits change; those that change nothing are left out.

    ``revision`` and ``path``: of the store, for the error.  Raises Conflict for any document
    that is not as expected, and what the edits' functions raise.
    """
    conflicts = [
        edit.key
        for edit in edits
        if edit.expected is not ANY and edit.expected != etag_in(current[edit.key])
    ]
    if conflicts:
        raise stale(conflicts, revision=revision, path=path)
    ops = []
    for edit in edits:
        entry = current[edit.key]
        before = None if entry is None else entry.data
        after = edit.after(before) if callable(edit.after) else edit.after
        if after != before:
            ops.append(Op(Key(*edit.key), before, after))
    return tuple(ops)


def stale(
    keys: Sequence[tuple[str, str]], *, revision: Revision | None = None, path: str | None = None
) -> Conflict:
    """The error for documents that are not as the caller expected them."""
    named = [Key(*key) for key in keys]
    return Conflict(
        f"{', '.join(map(str, named))} changed since it was read: read it again and decide",
        keys=named,
        revision=revision,
        path=path,
    )


def etag_in(entry: Entry | None) -> Etag | None:
    """The etag of what is there; None for nothing."""
    return None if entry is None else entry.etag
