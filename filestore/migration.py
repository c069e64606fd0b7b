"""Copying every document of one store into another, of whatever kind the two are.

The source is read as of one moment and never written.  What the target has already is
decided by a policy; nothing of it is ever deleted.  Documents are written in transactions
of some hundreds, so a migration that is killed has done a part of them, each whole;
repeated, it finds these unchanged and goes on with the rest.  It ends with a
second look at both sides, after which nothing may be left to do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from filestore.codec import canonical
from filestore.errors import Conflict, NotFound
from filestore.model import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from filestore.model import Document, Etag
    from filestore.store import Store

BATCH: Final = 500
"""How many documents are compared and written together."""

_SHOWN: Final = 5  # keys that an error names


class Policy(StrEnum):
    """What becomes of a document that the target has already, with another value."""

    FAIL = "fail"  # nothing is written at all
    SKIP = "skip"  # it stays as it is
    OVERWRITE = "overwrite"  # the source's replaces it
    MERGE = "merge"  # fields that only one side has are kept; of others the source's counts


class Source(Protocol):
    """Where documents come from."""

    @property
    def location(self) -> str:
        """Where it is, for people."""

    def collections(self) -> Sequence[str]:
        """The names of the collections that have documents."""

    def __getitem__(self, collection: str, /) -> Mapping[str, Document]:
        """The documents of a collection; those of one moment.  Raises Corrupt for one that
        cannot be read.
        """


class Write(NamedTuple):
    """A document to be written, if the target still has what was seen there: its etag."""

    key: Key
    document: Document
    seen: Etag | None


class Target(Protocol):
    """Where documents go."""

    @property
    def location(self) -> str:
        """Where it is, for people."""

    def refusal(self, collection: str, policy: Policy) -> str | None:
        """Why it does not take documents of a collection; None where it does."""

    def rank(self, collection: str) -> int:
        """Which collections go first: those of lower rank."""

    def current(self, key: Key) -> tuple[Document, Etag | None] | None:
        """What is there now, and what tells whether it is still the same, where that is known."""

    def agrees(self, there: Document, document: Document) -> bool:
        """Whether what is there is the document, as far as the target can keep it."""

    def write(self, writes: Sequence[Write], message: str) -> None:
        """Write all, or where the target knows transactions, none.  Raises Conflict."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration did, or with ``dry_run`` would do; numbers of documents.

    ``kept``: the target's, with another value than the source's, under :attr:`Policy.SKIP`.
    """

    created: int
    updated: int
    unchanged: int
    kept: int

    @property
    def documents(self) -> int:
        """All of the source's."""
        return self.created + self.updated + self.unchanged + self.kept


class StoreTarget:
    """A store to write to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def location(self) -> str:
        return self._store.location

    def refusal(self, collection: str, policy: Policy) -> None:  # noqa: ARG002  (the protocol's)
        return None

    def rank(self, collection: str) -> int:  # noqa: ARG002  (the protocol's)
        return 0

    def current(self, key: Key) -> tuple[Document, Etag] | None:
        try:
            record = self._store[key.collection].read(key.id)
        except NotFound:
            return None
        return record.document, record.etag

    def agrees(self, there: Document, document: Document) -> bool:
        return canonical(there) == canonical(document)

    def write(self, writes: Sequence[Write], message: str) -> None:
        with self._store.transaction(message=message) as tx:
            for key, document, seen in writes:
                tx[key.collection].put(key.id, document, expected=seen)


def migrate(
    source: Store,
    target: Store,
    *,
    policy: str = Policy.FAIL,
    dry_run: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Migration:
    """Copy every document of ``source`` into ``target``, and compare both afterwards.

    ``policy``: what becomes of a document that the target has with another value: ``fail``
    (nothing is written at all), ``skip``, ``overwrite``, or ``merge`` (fields that only one
    side has are kept, of others the source's value counts; objects are merged alike).
    ``dry_run``: only look, and say what would be done.  ``progress`` is called with the
    documents done and all, of the looking, the writing and the comparing together.

    Raises Conflict (see ``policy``; or somebody wrote to the target meanwhile: migrate again),
    Corrupt for a document of either that cannot be read, and what writing raises.
    """
    if source.location == target.location and source.location != "memory:":
        raise Conflict(f"{source.location}: a store cannot be migrated into itself")
    with source.snapshot(keep=False) as view:
        moment = Moment(source.location, view)
        return copy(moment, StoreTarget(target), policy=policy, dry_run=dry_run, progress=progress)


def copy(
    source: Source,
    target: Target,
    *,
    policy: str = Policy.FAIL,
    dry_run: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Migration:
    """As :func:`migrate`, between whatever can be read and whatever can be written."""
    rule = Policy(policy)
    names = source.collections()
    for name in names:
        refusal = target.refusal(name, rule)
        if refusal is not None:
            raise Conflict(f"{target.location}: {refusal}")
    looks = rule is Policy.FAIL or dry_run
    passes = 1 if dry_run else 2 + looks
    count = sum(len(source[name]) for name in names)
    steps = _Steps(passes * count, progress)
    outcome = Migration(0, 0, 0, 0)
    if looks:
        clashes: list[Key] = []
        outcome = _look(source, target, rule, steps, clashes)
        if clashes and rule is Policy.FAIL:
            raise _clash(clashes, target.location, "nothing was written")
    if dry_run:
        return outcome
    outcome = _write(source, target, rule, steps)
    _verify(source, target, rule, steps)
    return outcome


class Moment:
    """A store's documents as one of its views has them."""

    def __init__(self, location: str, view: Any) -> None:
        self.location = location
        self._view = view

    def collections(self) -> Sequence[str]:
        names: list[str] = self._view.collections()
        return names

    def __getitem__(self, collection: str) -> Mapping[str, Document]:
        found: Mapping[str, Document] = self._view[collection]
        return found


class _Steps:
    """How far it is."""

    def __init__(self, total: int, progress: Callable[[int, int], object] | None) -> None:
        self._done = 0
        self._total = total
        self._progress = progress

    def take(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)


class _Decision(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    KEPT = "kept"


def _look(
    source: Source, target: Target, rule: Policy, steps: _Steps, clashes: list[Key]
) -> Migration:
    counts: Counter[_Decision] = Counter()
    for batch in _batches(source, target):
        for key, document in batch:
            decision, _ = _decide(key, document, target, rule)
            counts[decision] += 1
            if decision is _Decision.UPDATED:
                clashes.append(key)
        steps.take(len(batch))
    return _outcome(counts)


def _write(source: Source, target: Target, rule: Policy, steps: _Steps) -> Migration:
    counts: Counter[_Decision] = Counter()
    message = f"migrated from {source.location}"
    for batch in _batches(source, target):
        writes = []
        for key, document in batch:
            decision, write = _decide(key, document, target, rule)
            counts[decision] += 1
            if decision is _Decision.UPDATED and rule is Policy.FAIL:
                # It came after the first look.
                raise _clash([key], target.location, "documents before it were written")
            if write is not None:
                writes.append(write)
        if writes:
            target.write(writes, message)
        steps.take(len(batch))
    return _outcome(counts)


def _verify(source: Source, target: Target, rule: Policy, steps: _Steps) -> None:
    """Both sides once more: nothing may be left to do."""
    left: list[Key] = []
    for batch in _batches(source, target):
        left += [key for key, document in batch if _decide(key, document, target, rule)[1]]
        steps.take(len(batch))
    if left:
        raise Conflict(
            f"{target.location}: {_named(left)} did not arrive as in {source.location},"
            " or changed meanwhile: migrate again",
            keys=left,
        )


def _decide(
    key: Key, document: Document, target: Target, rule: Policy
) -> tuple[_Decision, Write | None]:
    found = target.current(key)
    if found is None:
        return _Decision.CREATED, Write(key, document, None)
    there, seen = found
    if target.agrees(there, document):
        return _Decision.UNCHANGED, None
    if rule is Policy.SKIP:
        return _Decision.KEPT, None
    if rule is Policy.MERGE:
        both = united(there, document)
        if target.agrees(there, both):
            return _Decision.UNCHANGED, None
        return _Decision.UPDATED, Write(key, both, seen)
    return _Decision.UPDATED, Write(key, document, seen)


def united(there: Document, document: Document) -> Document:
    """All fields of both; where both have one, objects are united and else the second's counts."""
    result = dict(there)
    for name, value in document.items():
        old = result.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[name] = united(old, value) if both else value  # type: ignore[arg-type]
    return result


def _batches(source: Source, target: Target) -> Iterator[list[tuple[Key, Document]]]:
    for name in sorted(source.collections(), key=target.rank):
        documents = iter(source[name].items())
        while batch := [(Key(name, id), each) for id, each in islice(documents, BATCH)]:
            yield batch


def _outcome(counts: Counter[_Decision]) -> Migration:
    return Migration(**{decision.value: counts[decision] for decision in _Decision})


def _clash(keys: Sequence[Key], where: str, so_far: str) -> Conflict:
    return Conflict(
        f"{where} has {_named(keys)} with other values already; {so_far}: say what is to become"
        " of such documents: skip, overwrite or merge (--on-conflict)",
        keys=keys,
    )


def _named(keys: Iterable[Key]) -> str:
    names = [str(key) for key in keys]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
