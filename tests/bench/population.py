"""What the stores are filled with at scale: a pure function of an index.

Of 20 resources 14 are volumes, 4 are the snapshots of the first of them and 2 are notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.bench.documents import volume, volume_id

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK: Final = 20
VOLUMES: Final = 14
SNAPSHOTS: Final = 4
HOSTS: Final = 7  # so that each has a tenth of all resources

INDEXED: Final = ("display_name", "host", "volume_id")
FRESH: Final = "fresh"
"""The collection of what is written while measuring: nothing that is searched grows."""


class Resource(NamedTuple):
    """A document and where it goes."""

    collection: str
    id: str
    document: dict[str, Any]


def resource(index: int) -> Resource:
    place = index % BLOCK
    first = index - place
    id = volume_id(index)
    if place < VOLUMES:
        return Resource("volumes", id, scaled_volume(index))
    if place < VOLUMES + SNAPSHOTS:
        return Resource("snapshots", id, _snapshot(index, volume_id(first)))
    return Resource("notes", id, {"id": id, "value": f"note {index}", "written": index})


def resources(count: int) -> Iterator[Resource]:
    return map(resource, range(count))


def scaled_volume(index: int, generation: int = 0) -> dict[str, Any]:
    document = volume(index, generation)
    block, place = divmod(index, BLOCK)
    document["host"] = host(block * VOLUMES + place)
    return document


def fresh(number: int) -> Resource:
    """One that is in no store yet, the numbers being new."""
    document = volume(number)
    document["display_name"] = f"fresh-{number}"
    document["host"] = "fresh"
    return Resource(FRESH, volume_id(number), document)


def host(number: int) -> str:
    return f"storage-{number % HOSTS:02d}@lvm#pool"


def volumes(count: int) -> list[int]:
    """The indexes of the volumes among so many resources."""
    return [index for index in range(count) if index % BLOCK < VOLUMES]


def _snapshot(index: int, parent: str) -> dict[str, Any]:
    return {
        "created_at": f"2024-06-{1 + index % 28:02d}T01:{index % 60:02d}:00.000000",
        "deleted": False,
        "display_description": None,
        "display_name": f"nightly-{index}",
        "id": volume_id(index),
        "metadata": {},
        "progress": "100%",
        "provider_location": None,
        "status": "available",
        "volume_id": parent,
        "volume_size": 1 + index % 100,
    }
