"""What all resources of a process share: the persistence and the backends.

As in cinderlib there is one of it in a process; it stands on the classes, where
programs look for it (``Backend.persistence``, ``Backend.backends``).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from filestore.exception import BackendNotFound, NotSetUp

if TYPE_CHECKING:
    from filestore.model import Document
    from filestore.persistence.base import PersistenceDriverBase
    from filestore.resources.backend import Backend
    from filestore.resources.volume import Volume

DEFAULT_PROJECT_ID: Final = "cinderlib"
DEFAULT_USER_ID: Final = "cinderlib"


@dataclass
class Context:
    """On whose behalf a driver is called, as much of Cinder's RequestContext as cinderlib sets."""

    user_id: str = DEFAULT_USER_ID
    project_id: str = DEFAULT_PROJECT_ID
    is_admin: bool = True


class Scope:
    """What all resources of a process share; only ``Backend.global_setup`` and its like set it."""

    backends: ClassVar[dict[str, Backend]] = {}
    """The backends that were made, by name."""
    persistence: ClassVar[PersistenceDriverBase]
    """Where resources are kept; there is none before the set-up."""
    backend_class: ClassVar[type[Backend]]
    fail_on_missing_backend: ClassVar[bool] = True
    output_all_backend_info: ClassVar[bool] = False
    node: ClassVar[str] = socket.gethostname()
    """The first part of new volumes' ``host``."""
    context: ClassVar[Context] = Context()
    _volumes_inflight: ClassVar[dict[str, Volume]] = {}
    """Volumes that a driver is creating and that are stored nowhere yet, by id."""

    @staticmethod
    def _plugin() -> PersistenceDriverBase:
        """Where resources are kept.  Raises NotSetUp."""
        try:
            return Scope.persistence
        except AttributeError:
            raise NotSetUp from None

    @staticmethod
    def load_backend(backend_data: Document) -> Backend | str:
        """The backend that a dump names, made of the dump when it describes it.

        The name itself when it is neither there nor described, and that is no failure.
        Raises BackendNotFound.
        """
        name: str = backend_data["volume_backend_name"]
        backend = Scope.backends.get(name)
        if backend is not None:
            return backend
        if len(backend_data) > 1:
            return Scope.backend_class._described(backend_data)
        if Scope.fail_on_missing_backend:
            raise BackendNotFound(name)
        return name


def name_of(backend: Backend | str) -> str:
    """The name of a backend, loaded or not."""
    return backend if isinstance(backend, str) else backend.id
