"""Everything as JSON, and back: cinderlib's form, so that its dumps load here and ours there.

A resource is ``{"class": …, "backend": {"volume_backend_name": …}, "ovo": …}``, where ``ovo``
is Cinder's versioned object: ``versioned_object.name``, ``.namespace``, ``.version`` and
``.data``, its fields.  A backend is ``{"class": "Backend", "backend": …, "volumes": […]}``.
``json`` gives what is loaded, ``dump`` loads all there is before.

A snapshot's ``progress`` is its backend's name there, because cinderlib finds it so; what
a driver had written to it stands under ``cinderlib.data``.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from filestore.collector import BULK, paused
from filestore.exception import UnsupportedObjectError
from filestore.resources import loading
from filestore.resources.backend import Backend
from filestore.resources.connection import Connection
from filestore.resources.elements import elements as open_dump
from filestore.resources.scope import Scope
from filestore.resources.snapshot import Snapshot
from filestore.resources.texts import COMPACT, joined, of_list
from filestore.resources.volume import Volume

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from filestore.model import Document
    from filestore.resources.resource import Resource

_CLASSES: Final[dict[str, type[Resource]]] = {
    "Volume": Volume,
    "Snapshot": Snapshot,
    "Connection": Connection,
}


def json() -> list[Document]:
    """Every backend that was made, with its volumes and what of them is loaded."""
    return _documents(whole=False)


def jsons() -> str:
    """:func:`json` as text."""
    return _text(whole=False)


def dump() -> list[Document]:
    """Every backend that was made, with its volumes, their snapshots and connections.

    As in cinderlib, key-values are not in it, nor what is of backends that were not made.
    In a store it is of one moment; inside a transaction, what that sees.
    """
    return _documents(whole=True)


def dumps() -> str:
    """:func:`dump` as text; the objects are never there all at once."""
    return _text(whole=True)


def _documents(*, whole: bool) -> list[Document]:
    with paused(BULK), _dumping() as source:
        return [each._document(source, whole=whole) for each in Scope.backends.values()]


def _text(*, whole: bool) -> str:
    with paused(BULK), _dumping() as source:
        return joined(
            of_list(each._text(source, COMPACT, whole=whole) for each in Scope.backends.values())
        )


def _dumping() -> AbstractContextManager[Any]:
    """What there is to dump; without a backend there need not even be a persistence."""
    return Scope._plugin().dumping() if Scope.backends else nullcontext()


def load(json_src: str | bytes | Document | list[Document], save: bool = False) -> Any:
    """Make what was dumped: a backend, a resource, or a list of such.

    ``save``: store it, as one transaction, replacing what is there.  Backends that the dump
    describes are made.  When it raises, nothing was made and nothing stored.  A backend whose
    volumes are stored reads them from there when they are asked for.

    Raises InvalidDump for what is no whole and consistent dump of a version that is known,
    BackendNotFound, and with ``save`` what the persistence raises.
    """
    with paused(BULK):
        return _load(json_src, save)


def _load(json_src: Any, save: bool) -> Any:
    several, elements = open_dump(json_src)
    result: list[Any] = []
    to_save: list[Resource] = []
    of_backends: list[tuple[Backend, list[Volume] | None]] = []
    with loading.storing(save) as plugin:
        for each in elements:
            name = loading.part(each, "class", str)
            if name == "Backend":
                backend, volumes = Backend._load(each, plugin)
                if isinstance(backend, Backend):
                    of_backends.append((backend, volumes))
                result.append(backend)
                to_save.extend(volumes or ())
            else:
                resource = _resource(name, each)
                result.append(resource)
                to_save.append(resource)
        if save:
            loading.save(to_save)
    for backend, volumes in of_backends:
        backend._loaded(volumes)
    return result if several else result[0]


def _resource(name: str, source: Document) -> Resource:
    of_class = _CLASSES.get(name)
    if of_class is None:
        raise UnsupportedObjectError(
            f"a {name} in the dump is nothing that can be loaded:"
            f" there are {', '.join(sorted([*_CLASSES, 'Backend']))}"
        )
    primitive = loading.part(source, "ovo", dict)
    return of_class._load(loading.backend_of(source), primitive)
