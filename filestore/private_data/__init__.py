"""What storage drivers keep to themselves: small texts by entity and key, each backend's apart.

The interface is that of Manila's private data for share drivers, over any
:class:`~filestore.Store` and without Manila, in both of its forms:

* a :class:`StorageDriver` is made for one backend host, has ``details_get``, ``details_update``
  and ``details_delete`` and keeps namespaces apart; :class:`PrivateDriverData` is what a
  share driver sees of it;
* today's has ``get``, ``update`` and ``delete`` without namespaces, and
  :class:`DriverPrivateData` in front of it.

:class:`StoreStorageDriver` is both.  What today's form writes is in no namespace.

Layout: a document an entity, whose fields are the details::

    driver_data/<host>/<entity_id>               = { key: text… }
    driver_data/<host>/<namespace>/<entity_id>   = { key: text… }

    host, namespace = the name itself, where "/" is written "=2f" and "=" is written "=3d";
                      "=" for the empty one; "==" and its SHA-256 for one too long for a folder

* ``key`` None stands for all keys, a list for those in it: the answer is a dictionary, empty
  when nothing is there.  A string stands for one key, ``""`` too: the answer is its value or
  the default.
* Values are kept as ``str(value)``.  An entity whose last key goes has no document.
* Ids are compared as they are written: another spelling of a UUID is another entity.
"""

from filestore.private_data.details import COLLECTION, MAX_KEY, MAX_VALUE, is_uuid_like
from filestore.private_data.front import DriverPrivateData, EntityStorage, PrivateDriverData
from filestore.private_data.storage import SqlStorageDriver, StorageDriver, StoreStorageDriver

__all__ = [
    "COLLECTION",
    "MAX_KEY",
    "MAX_VALUE",
    "DriverPrivateData",
    "EntityStorage",
    "PrivateDriverData",
    "SqlStorageDriver",
    "StorageDriver",
    "StoreStorageDriver",
    "is_uuid_like",
]
