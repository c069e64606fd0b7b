"""A named set of documents, seen as a mapping from ids to dictionaries.

A collection holds no documents: it asks its *ground* (a store, a transaction or
a snapshot view), so it is as fresh as that and costs nothing to keep.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import ItemsView, Mapping, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from filestore.backend import Entry, Unreadable
from filestore.codec import canonical, decode
from filestore.collector import BULK, WORTH_PAUSING, paused
from filestore.errors import Corrupt, InvalidDocument, InvalidKey, NotFound
from filestore.model import ANY, Edit, Key, Record
from filestore.patch import merge_patch
from filestore.query import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.model import Commit, Document, Expected, Revision
    from filestore.query import Fields

T = TypeVar("T")

_FIRST: Final = 16  # documents that an iteration reads at first


class _Absent:
    """The type of the default that was not given."""


_ABSENT: Final = _Absent()


class Collections(ABC):
    """Collections by their names."""

    @abstractmethod
    def __getitem__(self, collection: str) -> ReadCollection:
        """The collection of that name."""

    @abstractmethod
    def collections(self) -> list[str]:
        """The names of the collections that have documents, sorted."""

    def __contains__(self, collection: object) -> bool:
        return collection in self.collections()

    def __iter__(self) -> Iterator[str]:
        return iter(self.collections())


class Ground(Protocol):
    """What a collection reads from; see :class:`~filestore.backend.Backend`."""

    @property
    def location(self) -> str: ...

    @property
    def revision(self) -> Revision: ...

    @property
    def moment(self) -> object:
        """Another whenever a commit or a write of one's own may have changed what reads give."""

    def get(self, key: tuple[str, str]) -> Entry | None: ...

    def get_many(
        self, collection: str, ids: Sequence[str]
    ) -> list[tuple[str, Entry | Unreadable]]: ...

    def ids(self, collection: str) -> list[str]: ...

    def computed(self, collection: str) -> Fields: ...

    def candidates(self, collection: str, query: Query) -> list[str] | None:
        """All ids that may be in the answer, ascending; None when nobody knows."""


class WritableGround(Ground, Protocol):
    """What a collection writes to."""

    @property
    def readonly(self) -> bool: ...

    def apply(self, edits: Sequence[Edit]) -> Commit | None:
        """Carry out the edits together; None when there is no revision (yet) for them."""


class ReadCollection(Mapping[str, "Document"]):
    """The reading half of a collection, which is all that a snapshot view has.

    What a read returns is the caller's own: changing it changes nothing in the store.
    Ids come in no particular order; ``len``, ``in`` and iteration over ids see
    the ids of the moment, those of unreadable documents included.

    **Unreadable documents.** A document whose file cannot be parsed raises
    :class:`~filestore.errors.Corrupt` when it is read by its id, one whose file gives no
    permission StorageError.  :meth:`find` leaves it out (``store.check()`` lists it), or
    reports it to ``on_corrupt``.  Iterating :meth:`values` and :meth:`items` gives every
    readable document first and then raises that error: nothing is hidden, and no copy is
    short without an error.  Trouble that is not of one document alone (no descriptor left, a
    failing disk) is raised at once.
    """

    __slots__ = ("_ground", "_name")

    def __init__(self, ground: Ground, name: str) -> None:
        _require_name(name)
        self._ground = ground
        self._name = name

    @property
    def name(self) -> str:
        """The collection's name; components are joined by ``/``."""
        return self._name

    def __getitem__(self, id: str) -> Document:
        """The document with this id.

        Raises NotFound (also a KeyError), Corrupt, InvalidKey, Closed.
        """
        get = self._ground.get  # called as a name: quicker than as an attribute of an attribute
        entry = get((self._name, id))
        if entry is None:
            raise self._missing(id)
        return decode(entry.data)

    @overload
    def get(self, id: str, /) -> Document | None: ...
    @overload
    def get(self, id: str, /, default: Document | T) -> Document | T: ...
    def get(self, id: str, /, default: Any = None) -> Any:
        """The document with this id, or ``default`` when there is none.

        Raises as indexing does, but for NotFound.
        """
        get_entry = self._ground.get  # as above
        entry = get_entry((self._name, id))
        return default if entry is None else decode(entry.data)

    def read(self, id: str) -> Record:
        """The document with its etag and the revision at which it was read.

        Pass the etag as ``expected`` to a later write to say what it is based on; pass
        the revision to ``changes(since=...)`` to hear of all that came later.
        Raises as indexing does.
        """
        # The revision first: a change that comes between is then heard of twice, not never.
        revision = self._ground.revision
        entry = self._ground.get((self._name, id))
        if entry is None:
            raise self._missing(id)
        return Record(self._name, id, decode(entry.data), entry, revision)

    def entries(self, ids: Sequence[str]) -> list[tuple[str, Entry | Unreadable]]:
        """These documents as they are held, read together; the error of one that cannot be read.

        What is not there is left out.
        """
        return self._ground.get_many(self._name, ids)

    def find(
        self, on_corrupt: Callable[[Unreadable], object] | None = None, /, **fields: Any
    ) -> list[Record]:
        """The documents in which every given top-level field has the given value, by id.

        No fields: all documents.  Values are equal when their JSON is: ``1``,
        ``1.0`` and ``True`` are three values, and None finds only a field that is there
        and null.  The records are in the order of their ids.  Every commit that returned
        before is seen; commits made meanwhile may show in some of the records;
        ``store.snapshot()`` gives one moment.

        Answered by an index of the fields, made when first asked for; see the documentation.
        Where there is none, every document is looked at.

        Documents that cannot be read are left out, since nobody can tell whether they
        match; the error of each (see the class) is passed to ``on_corrupt``, which may raise it.
        Raises InvalidDocument for a value that no document can hold, StorageError.
        """
        ground, name = self._ground, self._name
        query = Query(fields, ground.computed(name))
        revision = ground.revision
        ids = ground.candidates(name, query)
        # Canonical bytes let most documents be passed over without decoding them.
        passes = query.may_match if ids is None or len(fields) > 1 else None
        if ids is None:
            ids = ground.ids(name)
            ids.sort()
        if not ids:
            return []
        if len(ids) < WORTH_PAUSING:
            return self._matching(ids, query, passes, on_corrupt, revision)
        found: list[Record] = []
        with paused(len(ids)):
            for begin in range(0, len(ids), BULK):
                chunk = ids[begin : begin + BULK]
                found += self._matching(chunk, query, passes, on_corrupt, revision)
        return found

    def _matching(
        self,
        ids: Sequence[str],
        query: Query,
        passes: Callable[[bytes], bool] | None,
        on_corrupt: Callable[[Unreadable], object] | None,
        revision: Revision,
    ) -> list[Record]:
        """Those of these documents that a find is for; see there."""
        found: list[Record] = []
        name, met = self._name, query.met_by if query.wanted else None
        field, text = query.text
        for id, entry in self._ground.get_many(name, ids):
            if not isinstance(entry, Entry):
                if on_corrupt is not None:
                    on_corrupt(entry)
            elif passes is None or passes(entry.data):
                document = decode(entry.data)
                if field is not None:
                    if document.get(field) != text:
                        continue
                elif met is not None and not met(document):
                    continue
                found.append(Record(name, id, document, entry, revision))
        return found

    def __contains__(self, id: object) -> bool:
        if not isinstance(id, str):
            return False
        try:
            return self._ground.get((self._name, id)) is not None
        except Corrupt:
            return True
        except InvalidKey:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._ground.ids(self._name))

    def __len__(self) -> int:
        return len(self._ground.ids(self._name))

    def values(self) -> ValuesView[Document]:
        """The documents; see the class on unreadable ones."""
        return _Values(self, self._decoded)

    def items(self) -> ItemsView[str, Document]:
        """Ids with their documents; see the class on unreadable ones."""
        return _Items(self, self._decoded)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r} of {self._ground.location}>"

    def _missing(self, id: object) -> NotFound:
        key = Key(self._name, str(id))
        return NotFound(f"there is no document {key} in {self._ground.location}", key=key)

    def _decoded(self) -> Iterator[tuple[str, Document]]:
        """Every document that is there when its turn comes; see the class on unreadable ones."""
        ground, name = self._ground, self._name
        unreadable: dict[str, Unreadable] = {}
        ids = ground.ids(name)
        # The first comes soon, for those who want no more.
        begin, count = 0, _FIRST
        while begin < len(ids):
            chunk = ids[begin : begin + count]
            moment = ground.moment
            # Two lists, not one of pairs: each of those would be an object for the collector.
            there, documents = [], []
            with paused(len(chunk)):
                for id, entry in ground.get_many(name, chunk):
                    if isinstance(entry, Entry):
                        there.append(id)
                        documents.append(decode(entry.data))
                    else:
                        unreadable[id] = entry
            for id, document in zip(there, documents, strict=True):
                yield id, document
                if ground.moment != moment:
                    # What the others hold now is to be read anew, each in its turn.
                    begin += chunk.index(id) + 1
                    break
            else:
                begin, count = begin + count, min(count * 4, BULK)
        if unreadable:
            first, *others = unreadable.values()
            for other in others:
                first.add_note(f"also unreadable: {other}")
            raise first


class Collection(ReadCollection, MutableMapping[str, "Document"]):
    """A named set of documents that can be written.

    Every call is atomic, and durable on return as the store's ``durability`` says;
    inside a transaction it takes part in that and is durable when that has committed.
    Safe for threads and, where the backend allows it, processes.

    Writes raise InvalidDocument for a value that could not be read back as it was,
    Corrupt for a document that cannot be read (the store never overwrites what it does
    not understand), Conflict, InvalidKey, LockTimeout, ReadOnly, StorageError, Closed.
    A write that raises has changed nothing.
    """

    __slots__ = ("_target",)

    def __init__(self, ground: WritableGround, name: str) -> None:
        super().__init__(ground, name)
        self._target = ground

    def __setitem__(self, id: str, document: Document) -> None:
        self.put(id, document)

    def put(self, id: str, document: Document, *, expected: Expected = ANY) -> Revision | None:
        """Store a document, whatever was there; returns the revision that it made.

        Returns None when the same value is there already (then nothing is written), and
        inside a transaction, which has no revision before it commits.

        ``expected``: the etag that must be there, None when nothing may be there.
        Otherwise Conflict is raised.
        """
        data = self._encode(id, document)
        commit = self._target.apply([Edit(Key(self._name, id), data, expected)])
        return None if commit is None else commit.revision

    def patch(self, id: str, changes: Document, *, expected: Expected = ANY) -> Document:
        """Change some fields of a document; returns the new document.

        ``changes`` is a JSON merge patch (RFC 7386): fields replace or add, None removes,
        nested objects merge.  Read, merge and write happen under the write lock:
        no other writer's change is lost.  Raises NotFound when there is no document.
        """
        self._encode(id, changes)  # refuses what no document could hold before the lock is taken
        merged: Document = {}

        def merge(current: bytes | None) -> bytes:
            nonlocal merged
            if current is None:
                raise self._missing(id)
            merged = merge_patch(decode(current), changes)
            return self._encode(id, merged)

        self._apply(id, merge, expected)
        return merged

    def __delitem__(self, id: str) -> None:
        self._take(id)

    @overload
    def pop(self, id: str, /) -> Document: ...
    @overload
    def pop(self, id: str, /, default: Document | T) -> Document | T: ...
    def pop(self, id: str, /, default: Any = _ABSENT) -> Any:
        """Delete a document and return it; ``default`` when there is none.

        Raises NotFound when there is none and no default.
        """
        try:
            return decode(self._take(id))
        except NotFound:
            if default is _ABSENT:
                raise
            return default

    def popitem(self) -> tuple[str, Document]:
        """Delete some document; returns its id and itself.  Raises NotFound when empty."""
        for id in self:
            document = self.pop(id, None)
            if document is not None:
                return id, document
        raise NotFound(f"the collection {self._name} of {self._ground.location} is empty")

    def setdefault(self, id: str, default: Document | None = None) -> Document:
        """The document; if there is none, ``default`` is stored and returned.

        Of several callers at once, one stores its default and all get that.
        """
        present = self.get(id)
        if present is not None:
            return present
        data = self._encode(id, default)  # refuses None, as a put would
        stored = data

        def keep(current: bytes | None) -> bytes:
            nonlocal stored
            stored = data if current is None else current
            return stored

        self._apply(id, keep)
        return decode(stored)

    def update(self, other: Any = (), /, **documents: Document) -> None:
        """Store several documents at once: all of them or, when it raises, none."""
        edits = [
            Edit(Key(self._name, id), self._encode(id, document))
            for id, document in dict(other, **documents).items()
        ]
        self._require_writable()
        if edits:
            self._target.apply(edits)

    def clear(self) -> None:
        """Delete every document at once: all of them or, when it raises, none."""
        self._require_writable()
        edits = [Edit(Key(self._name, id), None) for id in self]
        if edits:
            self._target.apply(edits)

    def _take(self, id: str) -> bytes:
        """Delete a document; returns its canonical bytes."""
        taken = b""

        def take(current: bytes | None) -> None:
            nonlocal taken
            if current is None:
                raise self._missing(id)
            taken = current

        self._apply(id, take)
        return taken

    def _apply(
        self,
        id: str,
        after: Callable[[bytes | None], bytes | None],
        expected: Expected = ANY,
    ) -> None:
        self._require_writable()
        self._target.apply([Edit(Key(self._name, id), after, expected)])

    def _encode(self, id: str, document: object) -> bytes:
        try:
            return canonical(document)
        except InvalidDocument as error:
            key = Key(self._name, id)
            raise InvalidDocument(f"{key} cannot be stored: {error}", key=key) from error

    def _require_writable(self) -> None:
        # Asked before looking for changes: whether a write is refused must not depend
        # on what happens to be stored.
        if self._target.readonly:
            self._target.apply(())  # raises, and says why


class _Values(ValuesView["Document"]):
    """Skips what vanishes meanwhile; raises what is unreadable at the end, not on the way."""

    def __init__(
        self, collection: ReadCollection, decoded: Callable[[], Iterator[tuple[str, Document]]]
    ) -> None:
        super().__init__(collection)
        self._decoded = decoded

    def __iter__(self) -> Iterator[Document]:
        return (document for _, document in self._decoded())

    def __contains__(self, document: object) -> bool:
        return any(each == document for each in self)


class _Items(ItemsView[str, "Document"]):
    """Skips what vanishes meanwhile; raises what is unreadable at the end, not on the way."""

    def __init__(
        self, collection: ReadCollection, decoded: Callable[[], Iterator[tuple[str, Document]]]
    ) -> None:
        super().__init__(collection)
        self._decoded = decoded

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        return self._decoded()


def _require_name(name: object) -> None:
    if not isinstance(name, str) or not all(name.split("/")):
        raise InvalidKey(f"{name!r} is no name of a collection: use words joined by single slashes")
