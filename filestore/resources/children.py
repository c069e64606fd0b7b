"""The snapshots and connections of many volumes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from filestore.resources.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.persistence.base import PersistenceDriverBase

_FEW: Final = 3
"""Of so many volumes the children are asked for one by one, instead of reading all."""


def load_children(volumes: Sequence[Volume], plugin: PersistenceDriverBase) -> None:
    """Load the snapshots and connections of volumes that have not loaded them, all at once."""
    for attribute, get, take in (
        ("_snapshots", plugin.get_snapshots, Volume._take_snapshots),
        ("_connections", plugin.get_connections, Volume._take_connections),
    ):
        wanting = {each.id: each for each in volumes if getattr(each, attribute) is None}
        if not wanting:
            continue
        found: dict[str, list[Any]] = {id: [] for id in wanting}
        if len(wanting) < _FEW:
            for id in wanting:
                found[id] = get(volume_id=id)
        else:
            for each in get():
                if each.volume_id in found:
                    found[each.volume_id].append(each)
        for id, volume in wanting.items():
            take(volume, found[id])
