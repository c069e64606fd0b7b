"""From a ``persistence_config`` to the plugin that it asks for."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from filestore.exception import InvalidPersistence, NoMatches
from filestore.persistence.base import PersistenceDriverBase
from filestore.persistence.plugins import (
    DBPersistence,
    FilePersistence,
    MemoryDBPersistence,
    MemoryPersistence,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GROUP: Final = "filestore.persistence"
"""The group of entry points that plugins are found in."""
DEFAULT_STORAGE: Final = "memory"

BUILT_IN: Final[Mapping[str, Callable[..., PersistenceDriverBase]]] = {
    "db": DBPersistence,
    "file": FilePersistence,
    "filestore": FilePersistence,  # what the plugin in real cinderlib is called
    "memory": MemoryPersistence,
    "memory_db": MemoryDBPersistence,
}


def setup(config: Mapping[str, Any] | None) -> PersistenceDriverBase:
    """The plugin that ``config`` asks for; the config is not changed.

    ``storage``: a plugin's name, a class that inherits from :class:`PersistenceDriverBase`, or
    an instance of one, which is returned as it is; by default ``memory``.  The
    rest are the options with which the class is called.

    Names are those of :data:`BUILT_IN` and of entry points in the group ``filestore.persistence``.

    Raises InvalidPersistence: NoMatches for an unknown name; and for something else than a
    plugin, or options that the plugin does not have.  What the plugin raises goes through.
    """
    options = dict(config or {})
    storage = options.pop("storage", None) or DEFAULT_STORAGE
    if isinstance(storage, PersistenceDriverBase):
        return storage
    if isinstance(storage, str):
        plugin = _named(storage)
    elif inspect.isclass(storage) and issubclass(storage, PersistenceDriverBase):
        plugin = storage
    else:
        raise InvalidPersistence(
            storage,
            "Give a plugin's name, or a class that inherits from"
            " filestore.persistence.PersistenceDriverBase, or an instance of one.",
        )
    _check_options(storage, plugin, options)
    made = plugin(**options)
    if not isinstance(made, PersistenceDriverBase):
        raise InvalidPersistence(storage, "It made something that is no plugin.")
    return made


def _named(name: str) -> Callable[..., PersistenceDriverBase]:
    found = BUILT_IN.get(name)
    if found is not None:
        return found
    points = entry_points(group=GROUP)
    for point in points:
        if point.name == name:
            try:
                loaded = point.load()
            except Exception as error:
                raise InvalidPersistence(
                    name, f"Its entry point {point.value} cannot be loaded: {error}"
                ) from error
            if inspect.isclass(loaded) and not issubclass(loaded, PersistenceDriverBase):
                raise InvalidPersistence(
                    name, f"{point.value} does not inherit from PersistenceDriverBase."
                )
            made: Callable[..., PersistenceDriverBase] = loaded
            return made
    known = ", ".join(sorted({*BUILT_IN, *points.names}))
    raise NoMatches(name, f"No plugin has this name; there are: {known}.")


def _check_options(storage: object, plugin: Callable[..., Any], options: dict[str, Any]) -> None:
    try:
        inspect.signature(plugin).bind(**options)
    except TypeError as error:
        raise InvalidPersistence(
            storage, f"Its options are other ones: {error}. It is called {_told(plugin)}."
        ) from error


def _told(plugin: Callable[..., Any]) -> str:
    return f"{getattr(plugin, '__name__', plugin)}{inspect.signature(plugin)}"
