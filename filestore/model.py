"""The values that flow through the store: keys, edits, commits, records."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Document: TypeAlias = dict[str, Any]
Revision: TypeAlias = int
Etag: TypeAlias = str


class Key(NamedTuple):
    """Names a document: its collection (components joined by ``/``) and its id."""

    collection: str
    id: str

    def __str__(self) -> str:
        return f"{self.collection}/{self.id}"


class Origin(StrEnum):
    """Who made a commit."""

    LOCAL = "local"  # a call of this library
    EXTERNAL = "external"  # an editor, git, rsync: seen after the fact
    RECOVERY = "recovery"  # a repair


class Any_(Enum):
    """The type of :data:`ANY`."""

    ANY = "any"


ANY: Final = Any_.ANY
"""As ``expected``: whatever is there."""

Expected: TypeAlias = "Etag | None | Any_"
"""The etag that must be there; None: nothing may be there; :data:`ANY`: do not check."""


def stand_in(etag: Etag) -> bytes:
    """What stands for a document of which only the etag is known; no document's bytes."""
    return b"?" + etag.encode()


def stands_in(data: bytes | None) -> bool:
    """Whether these bytes only stand for a document."""
    return data is not None and data[:1] == b"?"


class Edit(NamedTuple):
    """What a caller asks of one document.

    ``after``: canonical bytes to store, None to delete, or a function from the
    current canonical bytes (None: absent) to those, called under the write lock.
    """

    key: Key
    after: bytes | None | Callable[[bytes | None], bytes | None]
    expected: Expected = ANY


class Op(NamedTuple):
    """What a commit did to one document; canonical bytes, None for absent.

    ``before`` of an external edit may be a *stand-in*: what was there was never seen by the
    store, or is kept no more, and only its etag is known.
    """

    key: Key
    before: bytes | None
    after: bytes | None


class Commit(NamedTuple):
    """An atomic set of puts and deletes, as the journal keeps it.

    ``time`` is in seconds since the epoch, by the writer's clock.
    """

    revision: Revision
    time: float
    actor: str | None
    message: str | None
    origin: Origin
    ops: tuple[Op, ...]


class Hashed(Protocol):
    """Something with an etag, computed when it is first asked for."""

    @property
    def etag(self) -> Etag: ...


def only(commit: Commit, key: Key) -> Commit:
    """The commit with what it did to that document alone."""
    return commit._replace(ops=tuple(op for op in commit.ops if op.key == key))


class Record:
    """A document with what a later write needs to say what it has seen.

    ``revision`` is the store's revision that the reading saw.  ``document``
    is the caller's own.  Written by hand, for a find makes a hundred thousand: a frozen
    dataclass takes four times as long to make, and an etag to compute as long as the document
    to decode.
    """

    __slots__ = ("_collection", "_hashed", "_id", "document", "revision")

    document: Final[Document]
    revision: Final[Revision]

    def __init__(
        self, collection: str, id: str, document: Document, hashed: Hashed, revision: Revision
    ) -> None:
        self._collection = collection
        self._id = id
        self.document = document
        self.revision = revision
        self._hashed = hashed

    @property
    def key(self) -> Key:
        """The document's key."""
        return Key(self._collection, self._id)

    @property
    def etag(self) -> Etag:
        """The etag of the document as it was read, whatever became of ``document``."""
        return self._hashed.etag

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return (
            self.key == other.key
            and self.revision == other.revision
            and self.etag == other.etag
            and self.document == other.document
        )

    __hash__ = None  # type: ignore[assignment]  # its document can change

    def __repr__(self) -> str:
        return (
            f"Record(key={self.key!r}, document={self.document!r}, etag={self.etag!r},"
            f" revision={self.revision!r})"
        )
