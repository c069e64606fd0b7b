"""Reading dumps: JSON of cinderlib's form, from wherever, and so not to be trusted.

A load is all or nothing: what is stored is one transaction, and backends that were made on the way
are forgotten when it fails.  A plugin that knows no transactions is given nothing before everything
was read and checked.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from filestore.exception import (
    BackendNotFound,
    IncompatibleObjectVersion,
    InvalidDump,
    UnsupportedObjectError,
)
from filestore.masking import masked
from filestore.resources.documents import VOLUMES
from filestore.resources.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from filestore.model import Document
    from filestore.persistence.base import PersistenceDriverBase
    from filestore.resources.backend import Backend
    from filestore.resources.objects import Fielded
    from filestore.resources.resource import Resource
    from filestore.resources.volume import Volume

T = TypeVar("T")


def part(source: Any, name: str, kind: type[T]) -> T:
    """A part of a dump that must be there.  Raises InvalidDump."""
    if not isinstance(source, dict):
        raise InvalidDump(f"an object is required in the dump, not {type(source).__name__}")
    value = source.get(name)
    if not isinstance(value, kind):
        what = "nothing" if value is None else type(value).__name__
        raise InvalidDump(f"{name!r} in the dump must be a {kind.__name__}, not {what}")
    return value


def backend_of(source: Any) -> Backend | str:
    """The backend that a dumped resource names.  Raises InvalidDump, BackendNotFound."""
    data = part(source, "backend", dict)
    part(data, "volume_backend_name", str)
    return Scope.load_backend(data)


def missing(name: str) -> BackendNotFound:
    """The error about a backend that must be there."""
    return BackendNotFound(name)


def misplaced(inner: Document, outer: Document) -> InvalidDump:
    """The error about a volume that stands in a backend that is not its own."""
    return InvalidDump(
        f"a volume of backend {inner.get('volume_backend_name')!r} stands in backend"
        f" {outer['volume_backend_name']!r} in the dump"
    )


def shown(name: str, value: Any) -> str:
    """A value as a message may show it."""
    text = repr(masked(value, name))
    return text if len(text) <= 80 else f"{text[:77]}..."


def data_of(primitive: Any, name: str, version: str) -> Document:
    """The data of a versioned object of this name, in a version that is known.

    Raises InvalidDump.
    """
    found = part(primitive, "versioned_object.name", str)
    if found != name:
        raise UnsupportedObjectError(f"a {name} is required in the dump, not a {found}")
    given = part(primitive, "versioned_object.version", str)
    try:
        major, minor = map(int, given.split("."))
    except ValueError:
        raise InvalidDump(f"{given!r} in the dump is no version of a {name}") from None
    known_major, known_minor = map(int, version.split("."))
    if major != known_major or minor > known_minor:
        raise IncompatibleObjectVersion(
            f"the dump has a {name} of version {given}, but versions up to {version} are known:"
            " load it with the version of the program that wrote it"
        )
    return dict(part(primitive, "versioned_object.data", dict))


def only(data: Document, owner: type[Fielded], others: Iterable[str] = ()) -> None:
    """Raise InvalidDump when there is more than the owner's fields, and ``others``, or no id."""
    unknown = data.keys() - {*owner.fields, *owner.absent, *others}
    name = owner.__name__
    if unknown:
        raise InvalidDump(
            f"a {name} in the dump has unknown fields: {', '.join(map(repr, sorted(unknown)))};"
            " a newer version may know them"
        )
    if not isinstance(data.get("id"), str) or not data["id"]:
        raise InvalidDump(f"a {name} in the dump has no id")
    held = [each for each in owner.absent if data.get(each) is not None]
    if held:
        raise InvalidDump(
            f"{name} {data['id']} in the dump has a {held[0]}, which can't be kept here"
        )


def listed(primitive: Any, name: str, version: str) -> list[Any]:
    """The elements of a list of versioned objects.  Raises InvalidDump."""
    return part(data_of(primitive, name, version), "objects", list)


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Forget the backends made inside when it raises."""
    before = dict(Scope.backends)
    try:
        yield
    except BaseException:
        for name in Scope.backends.keys() - before.keys():
            del Scope.backends[name]
        raise


@contextmanager
def storing(save: bool) -> Iterator[PersistenceDriverBase | None]:
    """Where to put each backend's volumes while they are read; None to have them at the end.

    At the end of the block everything is stored; nothing is when it raises.
    """
    with all_or_nothing():
        plugin = Scope._plugin() if save else None
        if plugin is None or not plugin.atomic:
            yield None
        else:
            with plugin.exclusive():
                yield plugin


def put(volume: Volume) -> None:
    """Store a volume that was loaded with what is in it, which then can be forgotten."""
    for each in volume._resources():
        each.save()
    volume._forget_children()  # each has the other, and the collector is kept out meanwhile


def save(loaded: Iterable[Resource]) -> None:
    """Store what was loaded, all of it or nothing.

    A volume that only came along with its snapshot or connection is stored when there is none.
    Raises InvalidDump for a snapshot or connection whose volume is neither loaded nor stored,
    and what the persistence raises.
    """
    everything: dict[tuple[str, str], Resource] = {}
    for resource in loaded:
        for each in resource._resources():
            everything[each.collection, each.id] = each
    plugin = Scope._plugin()
    with plugin.exclusive():
        for each in _missing_volumes(everything, plugin) + list(everything.values()):
            each.obj_reset_changes()
            each.save()


def _missing_volumes(
    everything: Mapping[tuple[str, str], Any], plugin: PersistenceDriverBase
) -> list[Resource]:
    """The volumes of snapshots and connections that are to be stored because there are none."""
    found: dict[str, Resource] = {}
    stored: set[str] = set()
    for (collection, id), each in everything.items():
        if collection == VOLUMES or (VOLUMES, each.volume_id) in everything:
            continue
        volume_id = each.volume_id
        if volume_id in found or volume_id in stored:
            continue
        if plugin.get_volumes(volume_id=volume_id):
            stored.add(volume_id)
        elif each._volume is not None:
            found[volume_id] = each._volume
        else:
            raise InvalidDump(
                f"{each.ovo_name} {id} in the dump is of volume {volume_id}, which is neither"
                " in the dump nor stored: load the volume too"
            )
    return list(found.values())
