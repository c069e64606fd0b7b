"""What documents must say of each other, in the collections that cinderlib's plugin keeps.

No store enforces it, and each side of a merge may be right by itself: one deletes a volume while
the other takes a snapshot of it.  So these are looked for afterwards, and told as warnings.  What a
volume was made of may be gone: Cinder lets one delete it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from filestore.codec import decode
from filestore.errors import Corrupt, StorageError
from filestore.model import Key
from filestore.problem import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filestore.backend import Entry, Unreadable
    from filestore.model import Document

VOLUMES, SNAPSHOTS, CONNECTIONS = "volumes", "snapshots", "connections"


class Reading(Protocol):
    """What is asked of a store: the reading half of a Backend."""

    def ids(self, collection: str) -> list[str]: ...

    def get_many(
        self, collection: str, ids: Sequence[str]
    ) -> list[tuple[str, Entry | Unreadable]]: ...


def broken_rules(store: Reading) -> Iterator[Problem]:
    """What does not fit together, by collection and id.  Costs a read of all three collections.

    Documents that can't be read break no rule: that is told by others.
    """
    volumes = dict(_documents(store, VOLUMES))
    known = set(store.ids(VOLUMES))
    snapshots = dict(_documents(store, SNAPSHOTS))
    yield from _names(volumes)
    yield from _of_volumes(SNAPSHOTS, snapshots, known)
    yield from _of_volumes(CONNECTIONS, dict(_documents(store, CONNECTIONS)), known)


def _documents(store: Reading, collection: str) -> Iterator[tuple[str, Document]]:
    for id, found in store.get_many(collection, sorted(store.ids(collection))):
        if not isinstance(found, Corrupt | StorageError):
            document = decode(found.data)
            if document.get("deleted") is not True:
                yield id, document


def _names(volumes: dict[str, Document]) -> Iterator[Problem]:
    """Two volumes that took one name."""
    first: dict[str, str] = {}
    for id, volume in volumes.items():
        name = volume.get("display_name")
        if not isinstance(name, str) or not name:
            continue
        other = first.setdefault(name, id)
        if other != id:
            yield _problem(
                "same-name",
                Key(VOLUMES, id),
                f"has the name {name!r}, which volumes/{other} has too: rename one of them",
            )


def _of_volumes(
    collection: str, documents: dict[str, Document], known: set[str]
) -> Iterator[Problem]:
    """A snapshot or connection whose volume is gone."""
    for id, document in documents.items():
        volume = document.get("volume_id")
        if isinstance(volume, str) and volume not in known:
            yield _problem(
                "volume-gone",
                Key(collection, id),
                f"is of volume {volume!a}, which is not there: bring that back"
                " (filestore restore), or delete this",
            )


def _problem(kind: str, key: Key, message: str) -> Problem:
    return Problem(kind, f"{key} {message}", key=key, severity=Severity.WARNING)
