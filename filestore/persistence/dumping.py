"""Reading the volumes of backends with all that is theirs, one after another, for dumps.

As objects, everything takes several times the memory of its text.  So whoever dumps asks for one
volume, uses it and lets go of it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from filestore.codec import canonical, decode
from filestore.model import Key
from filestore.resources.children import load_children
from filestore.resources.connection import Connection
from filestore.resources.documents import CONNECTIONS, SNAPSHOTS, VOLUMES, backend_name_of
from filestore.resources.snapshot import Snapshot
from filestore.resources.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from filestore.collection import Collections
    from filestore.model import Document
    from filestore.persistence.base import PersistenceDriverBase

_WORD: Final = 64
_MOST_WORDS: Final = 4096
_OWN: Final = frozenset({"id", "volume_id", "created_at", "display_name", "provider_location"})
"""Fields that hardly ever have the text of another document."""


class Dumping(Protocol):
    """What is stored, to be gone through once."""

    def volumes(self, backend_name: str) -> Iterator[Volume]:
        """The volumes of a backend, with their snapshots and connections; not for a second time."""


class AtOnce:
    """Of any plugin: everything of a backend is read before its first volume is given."""

    def __init__(self, plugin: PersistenceDriverBase) -> None:
        self._plugin = plugin

    def volumes(self, backend_name: str) -> Iterator[Volume]:
        found = self._plugin.get_volumes(backend_name=backend_name)
        load_children(found, self._plugin)
        found.reverse()
        while found:
            yield found.pop()


class BitByBit:
    """Of a store, by id: every document is read once and kept as bytes until its turn comes.

    Bytes take a fraction of what objects do; and looking for the children of each volume would
    take a find each, which looks at everything where there is no index.  ``moment``: gives what
    to read, once; not before there is need, for what a program has loaded is dumped without.
    """

    def __init__(self, moment: Callable[[], Collections]) -> None:
        self._moment = moment
        self._words = Words()
        self._volumes: dict[str | None, dict[str, bytes]] | None = None
        self._children: dict[str, dict[str, list[bytes]]] = {}

    def volumes(self, backend_name: str) -> Iterator[Volume]:
        if self._volumes is None:
            stored = self._moment()
            self._volumes = _read_volumes(stored[VOLUMES])
            self._children = {
                name: _read_children(stored[name]) for name in (SNAPSHOTS, CONNECTIONS)
            }
        found = self._volumes.pop(backend_name, {})
        for id in sorted(found):
            volume = Volume._stored(Key(VOLUMES, id), self._words.shared(decode(found.pop(id))))
            volume._take_snapshots(
                [Snapshot._stored(*each) for each in self._children_of(id, SNAPSHOTS)]
            )
            volume._take_connections(
                [Connection._stored(*each) for each in self._children_of(id, CONNECTIONS)]
            )
            yield volume

    def _children_of(self, volume_id: str, collection: str) -> list[tuple[Key, Document]]:
        found = []
        for data in self._children[collection].pop(volume_id, ()):
            document = self._words.shared(decode(data))
            document["volume_id"] = volume_id
            found.append((Key(collection, document["id"]), document))
        return sorted(found, key=lambda each: each[0])


def _read_volumes(documents: Mapping[str, Document]) -> dict[str | None, dict[str, bytes]]:
    """The volumes of each backend."""
    found: defaultdict[str | None, dict[str, bytes]] = defaultdict(dict)
    for id, document in _present(documents):
        found[backend_name_of(document)][id] = canonical(document)
    return found


def _read_children(documents: Mapping[str, Document]) -> dict[str, list[bytes]]:
    """What is of each volume."""
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    for id, document in _present(documents):
        volume_id = document.get("volume_id")
        if isinstance(volume_id, str):
            document["id"] = id
            found[volume_id].append(canonical(document))
    return found


def _present(documents: Mapping[str, Document]) -> Iterator[tuple[str, Document]]:
    for id, document in documents.items():
        if not document.get("deleted"):
            yield id, document


class Words:
    """Texts that stand in many documents, each once in memory."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def shared(self, document: Document) -> Document:
        """The document, with those texts for its own."""
        for name, value in document.items():
            if type(value) is str:
                if len(value) < _WORD and name not in _OWN:
                    document[name] = self._one(value)
            elif value and type(value) is dict:
                self.shared(value)
        return document

    def _one(self, text: str) -> str:
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _MOST_WORDS:
                self._known.clear()  # what stands everywhere is soon back
            self._known[text] = found = text
        return found
