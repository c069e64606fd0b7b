"""filestore as cinderlib's metadata persistence.

::

    import cinderlib as cl
    cl.setup(persistence_config={"storage": "filestore", "path": "state", "codec": "yaml"})

Needs cinderlib and Cinder; nothing else in filestore imports this package.
"""

from filestore.integrations.cinderlib.persistence import FilestorePersistence

__all__ = ["FilestorePersistence"]
