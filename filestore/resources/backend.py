"""Backends: the storages that volumes are on, by name, and what drives them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from filestore import persistence
from filestore.exception import InvalidDump, SetupError
from filestore.resources import loading
from filestore.resources import volume as of_volumes
from filestore.resources.children import load_children
from filestore.resources.elements import elements as open_dump
from filestore.resources.scope import Context, Scope
from filestore.resources.shapes import shaped
from filestore.resources.texts import SPACED, joined, of_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filestore.model import Document
    from filestore.persistence.base import PersistenceDriverBase
    from filestore.persistence.dumping import Dumping

_LEGACY = frozenset(
    # What drivers that know no pools tell of the whole storage.
    {
        "driver_version",
        "shared_targets",
        "sparse_copy_volume",
        "storage_protocol",
        "vendor_name",
        "volume_backend_name",
    }
)


class Backend(Scope):
    """A storage: its configuration, its volumes and, perhaps, a driver.

    ``volume_backend_name`` names it; asking for a backend that there is, with the same
    configuration, gives that one.  ``driver_cfg`` is its configuration: any
    names, kept as they are and only shown when the set-up says ``output_all_backend_info``.
    ``volume_driver`` is a part of it; nothing is imported for it.

    ``driver``: an object with methods named and called as those of Cinder's drivers, all of them
    optional: see docs/resources.md.  What they return is stored.  Without it resources are
    recorded and nothing else is done.

    The first backend sets everything up as :meth:`global_setup` does by default, unless that
    was done.  Raises ValueError when there is a backend of the name with another configuration.
    """

    Volume: ClassVar[type[of_volumes.Volume]] = of_volumes.Volume
    """For programs that say ``backend.Volume.get_by_id``."""
    global_initialization: ClassVar[bool] = False
    project_id: ClassVar[str | None] = None
    user_id: ClassVar[str | None] = None
    non_uuid_ids: ClassVar[bool] = False

    _driver_cfg: dict[str, Any]

    def __new__(  # noqa: PYI034  # the one there is may be of another class
        cls, volume_backend_name: str, *, driver: Any = None, **driver_cfg: Any
    ) -> Backend:
        """The backend of this name, if there is one."""
        return cls._made(volume_backend_name, driver_cfg, driver)

    @classmethod
    def _described(cls, configuration: Mapping[str, Any]) -> Backend:
        """The backend that a dump describes."""
        options = {**configuration}
        if options.get("volume_driver") is None:
            options.pop("volume_driver", None)
        return cls._made(options.pop("volume_backend_name"), options, None)

    @classmethod
    def _made(cls, name: str, options: dict[str, Any], driver: Any) -> Backend:
        found = cls.backends.get(name)
        if found is not None:
            same_driver = driver is None or driver is found.driver
            if same_driver and options == found._original_driver_cfg:
                return found
            raise ValueError(f"Backend named {name} already exists with a different configuration")
        if not Backend.global_initialization:
            cls.global_setup()
        backend = super().__new__(cls)
        backend._begin(name, options, driver)
        cls.backends[name] = backend
        return backend

    def _begin(self, name: str, options: dict[str, Any], driver: Any) -> None:
        self._original_driver_cfg = options
        self._driver_cfg = {**options, "volume_backend_name": name}
        self.driver = driver
        self._volumes: list[of_volumes.Volume] | None = None
        self._whole = False  # whether they come with their snapshots and connections
        self._give_database()
        if not self._call_if_there("setup", self.context):
            self._call("do_setup", self.context)
            self._call("check_for_setup_error")
        self._stats = self._read_stats(refresh=False)
        self._pool_names = tuple(pool["pool_name"] for pool in self._stats["pools"])

    def _give_database(self) -> None:
        """Drivers that have an attribute ``db`` get the persistence's database there."""
        if hasattr(self.driver, "db"):
            self.driver.db = self._plugin().db

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the driver; None when there is none."""
        function = getattr(self.driver, method, None)
        return None if function is None else function(*args, **kwargs)

    def _call_if_there(self, method: str, *args: Any) -> bool:
        function = getattr(self.driver, method, None)
        if function is not None:
            function(*args)
        return function is not None

    @property
    def id(self) -> str:
        """Its name."""
        name: str = self._driver_cfg["volume_backend_name"]
        return name

    @property
    def initialized(self) -> bool:
        """True: a backend whose driver's set-up fails is not made."""
        return True

    @property
    def pool_names(self) -> tuple[str, ...]:
        """The names of its pools; of a storage that knows none, the backend's name."""
        return self._pool_names

    @property
    def config(self) -> Document:
        """Its name; all of its configuration when the set-up says ``output_all_backend_info``."""
        if self.output_all_backend_info:
            # More than the name in any case, by which loading knows that the backend is described.
            return {"volume_driver": None, **self._driver_cfg}
        return {"volume_backend_name": self.id}

    def stats(self, refresh: bool = False) -> Document:
        """What the driver tells about capacity and pools; ``refresh``: ask again."""
        if refresh:
            self._stats = self._read_stats(refresh=True)
        return self._stats

    def _read_stats(self, *, refresh: bool) -> Document:
        told = self._call("get_volume_stats", refresh=refresh)
        stats: Document = dict(told) if told else {"volume_backend_name": self.id}
        if "pools" not in stats:
            pool = {name: value for name, value in stats.items() if name not in _LEGACY}
            stats["pools"] = [{**pool, "pool_name": self.id}]
        return stats

    @property
    def volumes(self) -> list[of_volumes.Volume]:
        """Its volumes, loaded when they are first asked for."""
        if self._volumes is None:
            volumes = self._plugin().get_volumes(backend_name=self.id)
            if self._whole:
                load_children(volumes, self._plugin())
            self._volumes = volumes
        return self._volumes

    def volumes_filtered(
        self, volume_id: str | None = None, volume_name: str | None = None
    ) -> list[of_volumes.Volume]:
        """Its volumes that match every filter given."""
        return self._plugin().get_volumes(
            backend_name=self.id, volume_id=volume_id, volume_name=volume_name
        )

    def refresh(self) -> None:
        """Read its volumes again, if they were loaded."""
        self._whole = False
        if self._volumes is not None:
            self._volumes = self._plugin().get_volumes(backend_name=self.id)

    def create_volume(
        self,
        size: int,
        name: str = "",
        description: str = "",
        bootable: bool = False,
        **kwargs: Any,
    ) -> of_volumes.Volume:
        """Have the driver make a volume, and store it; ``size`` in GB.

        ``kwargs``: ``pool_name``, ``extra_specs``, ``qos_specs``, and values of fields, such as
        ``metadata`` or ``id``.
        """
        volume = of_volumes.Volume(
            self, size=size, name=name, description=description, bootable=bootable, **kwargs
        )
        volume.create()
        return volume

    def validate_connector(self, connector_dict: Mapping[str, Any]) -> None:
        """Have the driver raise an error when the connector lacks what connecting needs."""
        self._call("validate_connector", connector_dict)

    def _volume_created(self, volume: of_volumes.Volume) -> None:
        if self._volumes is not None:
            self._volumes.append(volume)

    def _volume_removed(self, volume: of_volumes.Volume) -> None:
        if self._volumes is not None:
            self._volumes[:] = [each for each in self._volumes if each.id != volume.id]

    @property
    def json(self) -> Document:
        """Its configuration, as :attr:`config` has it, and its volumes with all that is loaded."""
        with self._plugin().dumping() as source:
            return self._document(source, whole=False)

    @property
    def dump(self) -> Document:
        """:attr:`json` after its volumes' snapshots and connections were loaded."""
        with self._plugin().dumping() as source:
            return self._document(source, whole=True)

    @property
    def jsons(self) -> str:
        """:attr:`json` as text."""
        with self._plugin().dumping() as source:
            return joined(self._text(source, SPACED, whole=False))

    @property
    def dumps(self) -> str:
        """:attr:`dump` as text."""
        with self._plugin().dumping() as source:
            return joined(self._text(source, SPACED, whole=True))

    def _document(self, source: Dumping, *, whole: bool) -> Document:
        return {**self._head(), "volumes": list(self._dumped(source, whole=whole))}

    def _text(self, source: Dumping, separators: tuple[str, str], *, whole: bool) -> Iterator[str]:
        """The text of :meth:`_document`, in parts."""
        return of_object(self._head(), "volumes", self._dumped(source, whole=whole), separators)

    def _head(self) -> Document:
        return {"class": "Backend", "backend": self.config}

    def _dumped(self, source: Dumping, *, whole: bool) -> Iterator[Document]:
        """Its volumes as a dump has them; ``whole``: with all of their snapshots and connections.

        Those that nobody has asked for yet are let go one by one, and read again when somebody
        does.
        """
        name = self.id
        if self._volumes is None and (whole or self._whole):
            for each in source.volumes(name):
                yield _of_backend(name, each)
                each._forget_children()  # each has the other, and the collector is kept out
            self._whole = True
            return
        volumes = self.volumes
        if whole:
            load_children(volumes, self._plugin())
        for each in volumes:
            yield _of_backend(name, each)

    @classmethod
    def load(cls, json_src: str | bytes | Document, save: bool = False) -> Backend | str:
        """Make the backend that was dumped, and its volumes; ``save`` stores them, all or none.

        Returns its name when there is no such backend and that is no failure.
        Raises InvalidDump, BackendNotFound.
        """
        several, elements = open_dump(json_src)
        if several:
            raise InvalidDump("the dump is a list: use filestore.load")
        with loading.storing(save) as plugin:
            backend, volumes = cls._load(next(elements), plugin)
            for _ in elements:
                pass  # to its end, that it has one
            if save and volumes:
                loading.save(volumes)
        if isinstance(backend, Backend):
            backend._loaded(volumes)
        return backend

    @classmethod
    def _load(
        cls, source: Any, plugin: PersistenceDriverBase | None
    ) -> tuple[Backend | str, list[of_volumes.Volume] | None]:
        """The backend and the volumes of a dump; the backend does not have them yet.

        With a ``plugin`` the volumes are stored as they are read, and are None.
        """
        backend = loading.backend_of(source)
        of_dump = source.get("volumes")
        if of_dump is None:
            return backend, []
        if not isinstance(of_dump, Iterator):
            of_dump = loading.part(source, "volumes", list)
        volumes = cls._load_volumes(backend, source["backend"], of_dump)
        if plugin is None:
            return backend, list(volumes)
        for each in volumes:
            loading.put(each)
        return backend, None

    @staticmethod
    def _load_volumes(
        backend: Backend | str, data: Document, of_dump: Iterable[Any]
    ) -> Iterator[of_volumes.Volume]:
        for each in of_dump:
            of_volume = loading.part(each, "backend", dict)
            if of_volume.get("volume_backend_name") != data["volume_backend_name"]:
                raise loading.misplaced(of_volume, data)
            yield of_volumes.Volume._load(backend, loading.part(each, "ovo", dict))

    def _loaded(self, volumes: list[of_volumes.Volume] | None) -> None:
        """Have the volumes of a dump; None for those that are stored, which are read again."""
        self._whole = volumes is None
        if volumes != []:
            self._volumes = volumes

    @classmethod
    def set_persistence(cls, persistence_config: Mapping[str, Any] | None) -> None:
        """Keep resources elsewhere from now on; what is there stays where it is.

        The persistence there was stays open, for whoever holds it; programs that are done with
        it call its ``close``.  Raises InvalidPersistence, SetupError before the set-up.
        """
        if not Backend.global_initialization:
            raise SetupError("set_persistence can only be called after filestore.setup")
        cls._set_persistence(persistence_config)

    @staticmethod
    def _set_persistence(persistence_config: Mapping[str, Any] | None) -> None:
        Scope.persistence = persistence.setup(persistence_config)
        for backend in Scope.backends.values():
            backend._give_database()

    @classmethod
    def global_setup(  # noqa: PLR0917  # the signature is upstream's
        cls,
        file_locks_path: str | None = None,  # noqa: ARG003  # as below
        root_helper: str = "sudo",  # noqa: ARG003
        suppress_requests_ssl_warnings: bool = True,  # noqa: ARG003
        disable_logs: bool = True,  # noqa: ARG003
        non_uuid_ids: bool = False,
        output_all_backend_info: bool = False,
        project_id: str | None = None,
        user_id: str | None = None,
        persistence_config: Mapping[str, Any] | None = None,
        fail_on_missing_backend: bool = True,
        host: str | None = None,
        **cinder_config_params: Any,  # noqa: ARG003
    ) -> None:
        """Say where resources are kept, and whose they are; once in a process.

        ``persistence_config``: ``storage``, the plugin, and its options; see
        :func:`filestore.persistence.setup`.  ``output_all_backend_info``: whether dumps have the
        configuration of backends, passwords and all.  ``project_id``, ``user_id``: of new
        resources; by default ``cinderlib``.  ``fail_on_missing_backend``: whether loading a
        resource of an unknown backend raises BackendNotFound; else its backend is the name.
        ``host``: the first part of new volumes' ``host``; by default this host's name.

        The others are accepted, so that programs written for cinderlib run, and have no meaning
        without Cinder: ``file_locks_path``, ``root_helper``, ``suppress_requests_ssl_warnings``,
        ``disable_logs`` (no logger is touched), ``non_uuid_ids`` (any text is an id)
        and ``cinder_config_params``.

        Raises SetupError when it was done already, InvalidPersistence.
        """
        if Backend.global_initialization:
            raise SetupError("Already setup: call filestore.Backend.global_teardown first")
        cls._set_persistence(persistence_config)
        Scope.fail_on_missing_backend = fail_on_missing_backend
        Scope.output_all_backend_info = output_all_backend_info
        Scope.node = host or socket.gethostname()
        Scope.context = Context()
        Scope.context.user_id = user_id or Scope.context.user_id
        Scope.context.project_id = project_id or Scope.context.project_id
        Backend.project_id = project_id
        Backend.user_id = user_id
        Backend.non_uuid_ids = non_uuid_ids
        Backend.global_initialization = True

    @classmethod
    def global_teardown(cls) -> None:
        """Close the persistence and forget all backends, as if nothing had been set up.

        For tests, above all: each can begin anew.  Idempotent.
        """
        if not Backend.global_initialization:
            return
        Backend.global_initialization = False
        Scope.backends.clear()
        Scope._volumes_inflight.clear()
        plugin = Scope.persistence
        del Scope.persistence
        plugin.close()

    @staticmethod
    def list_supported_drivers(output_version: int = 1) -> dict[str, Any]:
        """The drivers that come with the library: none do without Cinder.

        Raises ValueError for a version that cinderlib does not have.
        """
        if output_version not in {1, 2}:
            raise ValueError("Acceptable versions are 1 and 2")
        return {}

    def __repr__(self) -> str:
        return f"<filestore.Backend {self.id}>"


Scope.backend_class = Backend  # resources find their backends there, and backends know them

setup = Backend.global_setup
list_supported_drivers = Backend.list_supported_drivers


def _of_backend(name: str, volume: of_volumes.Volume) -> Document:
    """A volume as the dump of its backend has it, which tells the configuration only once."""
    backend = shaped("backend", {"volume_backend_name": name})
    return shaped("resource", {**volume.json, "backend": backend})
