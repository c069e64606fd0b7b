"""The documents that a merge left in conflict, and settling them field by field.

Such a document's file is one of these, and each means something else:

* a text with marks and the base in it, as the driver writes: what it holds counts, since some
  of it may have been settled by hand;
* a text with git's marks and no base, or ours as it was: then no driver was there, and the three
  files in git's index are merged now;
* one side's file, or none, where one side deleted the document and the other changed it;
* a document with no marks that is neither: it was settled by hand, and only `git add` is missing.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from filestore import conflict_text
from filestore.codec import MAX_BYTES, canonical
from filestore.errors import Corrupt, FilestoreError, StorageError
from filestore.integrations.git.merging import combine, optional
from filestore.integrations.git.saving import write_file
from filestore.merge import Choice, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filestore.integrations.git.repository import Repository
    from filestore.integrations.git.run import Git
    from filestore.merge import FieldConflict, Merged
    from filestore.model import Key

MAX_FILE: Final = 4 * MAX_BYTES
"""What a file has at most: three sides of a document, and the marks between them."""

_STAGES: Final = {1: Side.BASE, 2: Side.OURS, 3: Side.THEIRS}


@dataclass(frozen=True, slots=True)
class Conflicted:
    """A document that is in conflict.

    ``path`` is below the store's folder.  ``merged`` is what is known of the three sides;
    without conflicts of its own when merging the fields settles all, None when a side
    can't be read (``problem`` says why) or when the file is ``settled`` and waits to be added.
    ``from_index`` tells that the file itself does not show the conflict.
    """

    key: Key
    path: str
    merged: Merged | None = None
    settled: bool = False
    from_index: bool = False
    unmerged: bool = False
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "collection": self.key.collection,
            "id": self.key.id,
            "path": self.path,
            "settled": self.settled,
            "problem": self.problem,
            "fields": [found.to_json() for found in self.merged.conflicts] if self.merged else [],
        }


def find_conflicts(repository: Repository) -> list[Conflicted]:
    """Every document in conflict, sorted by path.  Raises GitError, StorageError."""
    return list(_found(repository))


def _found(repository: Repository) -> Iterator[Conflicted]:
    stages = unmerged(repository.git)
    marked = repository.git.lines(
        *("grep", "--untracked", "--no-exclude-standard", "-l", "-z", "-E", "-e", "^<{7,}( |$)"),
        *("--", f"*{repository.codec.suffix}"),
        codes=(0, 1),
    )
    ids = [id for sides in stages.values() for id in sides.values()]
    contents = blobs(repository.git, ids)
    for path in sorted({*stages, *marked}):
        key = repository.key_of(path)
        if key is not None:
            sides = {side: contents[id] for side, id in stages.get(path, {}).items()}
            yield _look(repository, key, path, sides)


def _look(repository: Repository, key: Key, path: str, stages: dict[Side, bytes]) -> Conflicted:
    codec = repository.codec
    if _leads_out(repository.root, path):
        problem = "a folder that leads to it is a link, which is not followed: remove the link"
        return Conflicted(key, path, problem=problem, unmerged=bool(stages))
    try:
        file = read_file(os.path.join(repository.root, path))
    except StorageError as error:
        if error.errno != errno.EFBIG:
            raise
        return Conflicted(key, path, problem=error.message, unmerged=bool(stages))
    held = None if file is None else conflict_text.read(file)
    texts: list[bytes | None]
    if held is not None and (held.base is not None or not stages):
        texts = [held.base, held.ours, held.theirs]
    elif not stages:
        return Conflicted(key, path, problem="the marks of the conflict are damaged: mend the file")
    elif held is None and _is_settled(repository, file, stages):
        return Conflicted(key, path, settled=True, unmerged=True)
    else:
        texts = [stages.get(side) for side in Side]
    from_index = held is None or held.base is None
    try:
        merged = combine(*(None if text is None else optional(codec, text) for text in texts))
    except Corrupt as error:
        return Conflicted(key, path, unmerged=bool(stages), problem=error.message)
    return Conflicted(key, path, merged, from_index=from_index, unmerged=bool(stages))


def _leads_out(root: str, path: str) -> bool:
    """Whether a folder on the way to a path below the root is a link."""
    parts = path.split("/")[:-1]
    return any(
        os.path.islink(os.path.join(root, *parts[: depth + 1])) for depth in range(len(parts))
    )


def _is_settled(repository: Repository, file: bytes | None, stages: dict[Side, bytes]) -> bool:
    if file is None:
        return Side.OURS not in stages or Side.THEIRS not in stages
    if file == stages.get(Side.OURS, stages.get(Side.THEIRS)):
        return False  # what git leaves where it does not merge; or somebody chose just that
    try:
        repository.codec.parse(file)
    except FilestoreError:
        return False
    return True


def settle(
    repository: Repository, conflict: Conflicted, choose: Callable[[FieldConflict], Any]
) -> Merged:
    """Write the document with its conflicts settled as ``choose`` says; what is left of them.

    ``choose`` returns a side, a value in a :class:`Choice`'s place, or that choice to leave it.
    Where something is left, the file has a text with marks around that.  Nothing is told to
    git: see :func:`add`.  Raises InvalidDocument, StorageError.
    """
    assert conflict.merged is not None

    def chosen(found: FieldConflict) -> Any:
        value = choose(found)
        return found.choice.of(value) if isinstance(value, Side) else value

    merged = conflict.merged.settle(chosen)
    path = os.path.join(repository.root, conflict.path)
    if merged.conflicts:
        write_file(path, conflict_text.write(merged, repository.codec))
        return merged
    document = merged.document
    if document is None:
        _remove(path)
    else:
        write_file(path, repository.codec.encode(canonical(document)))
    return merged


def leave(found: FieldConflict) -> Choice:
    """A ``choose`` for :func:`settle` that leaves every conflict."""
    return found.choice


def add(repository: Repository, paths: list[str]) -> None:
    """`git add` of these paths, also of those whose files are gone."""
    if paths:
        feed = b"\0".join(os.fsencode(path) for path in paths)
        repository.git.run("update-index", "--add", "--remove", "-z", "--stdin", feed=feed)


def unmerged(git: Git) -> dict[str, dict[Side, str]]:
    """The object names in the index of each path that is not merged."""
    found: dict[str, dict[Side, str]] = {}
    for line in git.lines("ls-files", "--unmerged", "-z"):
        about, _, path = line.partition("\t")
        _, id, stage = about.split(" ")
        found.setdefault(path, {})[_STAGES[int(stage)]] = id
    return found


def blobs(git: Git, ids: list[str]) -> dict[str, bytes]:
    """The contents of blobs, all by one process.  Raises GitError for one that is missing."""
    if not ids:
        return {}
    told = git.run("cat-file", "--batch", "--buffer", feed="\n".join([*ids, ""]).encode())
    found: dict[str, bytes] = {}
    at = 0
    for id in ids:
        end = told.index(b"\n", at)
        head = told[at:end].split(b" ")
        if len(head) != 3:
            raise FilestoreError(f"git has no object {id}: fetch it")
        size = int(head[2])
        found[id] = told[end + 1 : end + 1 + size]
        at = end + 2 + size
    return found


def read_file(path: str) -> bytes | None:
    """A file's content; None where there is none.  Follows no link.

    Raises StorageError, with EFBIG for more than :data:`MAX_FILE` bytes.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", errno=error.errno, path=path) from error
    with open(fd, "rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise StorageError(
            f"{path}: has more than {MAX_FILE:,} bytes, which no document in conflict has:"
            " remove or replace the file",
            errno=errno.EFBIG,
            path=path,
        )
    return content


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", errno=error.errno, path=path) from error
