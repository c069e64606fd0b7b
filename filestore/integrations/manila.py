"""Driver private data of a real Manila in a store.

::

    [DEFAULT]
    enabled_share_backends = alpha
    filestore_path = /var/lib/manila/private

    [alpha]
    drivers_private_storage_class = filestore.integrations.manila.FileStorageDriver

Manila reads the class in the group of each backend.  Where the store is comes from the option
``filestore_path`` of that group, else of DEFAULT, else from the environment variable
``FILESTORE_PATH``.

Needs Manila; nothing else in filestore imports this module.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from manila.share import drivers_private_data
from oslo_config import cfg

from filestore.errors import NotConfigured
from filestore.integrations.shared import SharedStores
from filestore.private_data import StoreStorageDriver

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "FILESTORE_PATH"

OPTIONS: Final = [
    cfg.StrOpt(
        "filestore_path",
        help="Where filestore keeps the private data of share drivers: the absolute path of a"
        " folder, which is made if it is not there, or the URL of a database. In the group of a"
        " backend it is for that backend, in DEFAULT for all others. Unset: the environment"
        f" variable {VARIABLE}.",
    )
]

_stores = SharedStores()
close_stores = _stores.close
"""Close the stores of this process, which else happens at its end; drivers made before are
of no use then."""


class FileStorageDriver(StoreStorageDriver, drivers_private_data.StorageDriver):  # type: ignore[misc]  # Manila has no types
    """Manila's ``drivers_private_storage_class`` over the store that its configuration names.

    ``backend_host``: ``node@group``, as Manila calls its backends.  All drivers of a process
    with the same ``filestore_path`` share one handle, closed with the process.

    Raises NotConfigured when nothing says where the store is, and what opening it raises.
    """

    def __init__(self, context: Any, backend_host: str) -> None:
        super().__init__(_stores.open(location_for(backend_host)), backend_host)
        self.context = context


def location_for(
    backend_host: str, conf: Any = cfg.CONF, environment: Mapping[str, str] = os.environ
) -> str:
    """Where the store of a backend is, by the configuration and the environment.

    Registers the option.  Raises NotConfigured, and oslo.config's errors for a value that it
    cannot read.
    """
    group = backend_host.rpartition("@")[2].partition("#")[0] if "@" in backend_host else ""
    groups = ([group] if group else []) + ["DEFAULT"]
    for each in groups:
        conf.register_opts(OPTIONS, group=None if each == "DEFAULT" else each)
        location: str | None = (conf if each == "DEFAULT" else conf[each]).filestore_path
        if location:
            return location
    found = environment.get(VARIABLE)
    if not found:
        raise NotConfigured(
            f"nothing says where the private data of {backend_host} is: set filestore_path in"
            f" {' or '.join(f'[{each}]' for each in groups)} of Manila's configuration,"
            f" or the environment variable {VARIABLE}"
        )
    return found


def list_opts() -> list[tuple[str, list[Any]]]:
    """The options, for ``oslo-config-generator --namespace filestore.manila``."""
    return [("DEFAULT", OPTIONS)]
