"""Merging all documents in conflict at once, from git's index.

For merges that were made without the driver, and for large ones: a driver is a process a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from filestore.integrations.git.conflicts import add, find_conflicts, leave, settle

if TYPE_CHECKING:
    from filestore.integrations.git.conflicts import Conflicted
    from filestore.integrations.git.repository import Repository


@dataclass(frozen=True, slots=True)
class Remerged:
    """What was merged and added, and what is still in conflict."""

    merged: list[Conflicted]
    left: list[Conflicted]


def remerge(repository: Repository) -> Remerged:
    """Merge field by field what git left in conflict; add to git what is merged whole.

    What was settled by hand, in part or in full, stays so.  Raises GitError, StorageError.
    """
    merged, left = [], []
    for conflict in find_conflicts(repository):
        if conflict.settled:
            continue
        if conflict.merged is None:
            left.append(conflict)
        elif not conflict.merged.conflicts:
            settle(repository, conflict, leave)
            merged.append(conflict)
        else:
            if conflict.from_index and not _is_whole(conflict):
                settle(repository, conflict, leave)  # writes it with marks
            left.append(conflict)
    add(repository, [conflict.path for conflict in merged if conflict.unmerged])
    return Remerged(merged, left)


def _is_whole(conflict: Conflicted) -> bool:
    """Whether a side deleted the document: git leaves the other's file, and so do we."""
    assert conflict.merged is not None
    return conflict.merged.conflicts[0].path == ()
