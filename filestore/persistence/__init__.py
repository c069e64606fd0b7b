"""Where resources are kept: the plugin interface of cinderlib, without Cinder."""

from filestore.persistence.base import DB, MyDict, PersistenceDriverBase
from filestore.persistence.plugins import (
    DBPersistence,
    FilePersistence,
    MemoryDBPersistence,
    MemoryPersistence,
)
from filestore.persistence.setting_up import setup
from filestore.persistence.stored import StorePersistence

__all__ = [
    "DB",
    "DBPersistence",
    "FilePersistence",
    "MemoryDBPersistence",
    "MemoryPersistence",
    "MyDict",
    "PersistenceDriverBase",
    "StorePersistence",
    "setup",
]
