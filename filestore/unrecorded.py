"""What the documents say now and no commit has told: edits that are not recorded yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from filestore.errors import Corrupt, StorageError
from filestore.model import Key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.backend import Backend, Unreadable


class Unrecorded(NamedTuple):
    """A document that is not as its last commit left it; canonical bytes, None for absent.

    ``error`` is why it cannot be read now.
    """

    key: Key
    before: bytes | None
    after: bytes | None
    error: Unreadable | None = None


def unrecorded(backend: Backend) -> Iterator[Unrecorded]:
    """Compare the documents with their last commits; by key.

    Of documents with no commit that is kept nobody can tell what they were: they count as
    edits only where all commits are kept.  Costs as the history is long.
    """
    last: dict[Key, bytes | None] = {}
    complete = backend.horizon == 0
    for commit in backend.changes(backend.horizon):
        for op in commit.ops:
            last[op.key] = op.after
    keys = set(last)
    if complete:
        for collection in backend.collections():
            keys.update(Key(collection, id) for id in backend.ids(collection))
    for key in sorted(keys):
        before = last.get(key)
        try:
            entry = backend.get(key)
        except (Corrupt, StorageError) as error:
            yield Unrecorded(key, before, None, error)
            continue
        after = None if entry is None else entry.data
        if after != before:
            yield Unrecorded(key, before, after)
