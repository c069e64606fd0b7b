"""Commits of others, as far as somebody asks.

Who follows the journal beside a writer wants to know which documents to forget, for each
commit, and mostly nothing else.  So of a line no more is read than that; its documents are
parsed for who asks for them, once for all who do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, overload

from filestore.backend import Entry
from filestore.engine import record
from filestore.engine.record import Outline, bad_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.model import Commit, Etag, Key

_FEW: Final = 8  # documents: what asks for one of more must not keep them all
_BAD: Final = (ValueError, KeyError, TypeError)


class Told:
    """A commit that the journal tells of; ``ops`` as of an :class:`~.record.Outline`."""

    __slots__ = ("_at", "_commit", "_path", "_payload", "ops", "origin", "revision", "time")

    def __init__(
        self,
        outline: Outline,
        payload: bytes | None,
        path: str,
        at: int,
        commit: Commit | None = None,
    ) -> None:
        """``payload``: None where the commit is parsed already."""
        self.revision, self.time, self.origin, ops = outline
        self.ops = tuple(ops)
        self._payload = payload
        self._path, self._at = path, at
        self._commit = commit

    @property
    def outline(self) -> Outline:
        """Without its documents."""
        return Outline(self.revision, self.time, self.origin, self.ops)

    @property
    def commit(self) -> Commit:
        """With its documents.  Raises Corrupt."""
        payload = self._payload  # first: another thread may be about to let go of it
        commit = self._commit
        if commit is None:
            assert payload is not None
            try:
                self._commit = commit = record.parse_commit(payload)[0]
            except _BAD as error:
                raise bad_line(self._path, self._at) from error
            self._payload = None
        return commit

    def only_document(self) -> tuple[bytes, Etag] | None:
        """What it made of the document that it changed, if that was one, and its etag.

        None where that is not quickly told.
        """
        payload, commit = self._payload, self._commit  # in this order, as above
        after = self.ops[0][2] if len(self.ops) == 1 else None
        if not isinstance(after, str):
            return None
        if commit is not None:
            data = commit.ops[0].after
        else:
            data = None if payload is None else record.only_document(payload, after)
        return None if data is None else (data, after)

    def values(self) -> Iterator[tuple[Key, Entry | Told | None]]:
        """What it made of each document, or who will tell; None for a delete."""
        if self._commit is None:
            for key, _, after in self.ops:
                yield key, None if after is None else self
        else:
            for key, _, data in self._commit.ops:
                yield key, None if data is None else Entry(data)

    def value(self, key: tuple[str, str]) -> Entry | None:
        """What it made of a document that it changed; None for a delete.  Raises Corrupt."""
        data = next((op.after for op in reversed(self.commit.ops) if op.key == key), None)
        return None if data is None else Entry(data)


def plainly_told(payload: bytes, outline: Outline, path: str, at: int) -> Told:
    """What a line tells whose outline is known.  Raises Corrupt."""
    told = Told(outline, payload, path, at)
    return told if len(told.ops) <= _FEW else told_by(payload, path, at)


def told_by(payload: record.Object, path: str, at: int) -> Told:
    """What a line tells.  Raises Corrupt."""
    try:
        if isinstance(payload, bytes):
            told = Told(record.outline(payload), payload, path, at)
            if len(told.ops) <= _FEW:
                return told
        # The pieces of a long line may be gone when they are asked for.
        commit = record.parse_commit(payload)[0]
        return Told(record.outline_of(commit), None, path, at, commit)
    except _BAD as error:
        raise bad_line(path, at) from error


class News(Sequence["Commit"]):
    """Commits in order, each parsed when it is first asked for."""

    __slots__ = ("told",)

    def __init__(self, told: Sequence[Told]) -> None:
        self.told = told

    def __len__(self) -> int:
        return len(self.told)

    @overload
    def __getitem__(self, index: int) -> Commit: ...
    @overload
    def __getitem__(self, index: slice) -> News: ...
    def __getitem__(self, index: int | slice) -> Commit | News:
        if isinstance(index, slice):
            return News(self.told[index])
        return self.told[index].commit


def outlines(commits: Sequence[Commit]) -> Iterator[Outline]:
    """Commits without their documents, which are not parsed for it."""
    if isinstance(commits, News):
        return (told.outline for told in commits.told)
    return map(record.outline_of, commits)
