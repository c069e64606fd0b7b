"""A store in the tables of a database: SQLite or PostgreSQL, through SQLAlchemy.

====================  ==================================================================
``address``           which database a URL means; passwords stay out of sight
``schema``            the tables and the statements, compiled once for a database
``naming``            ids and texts as columns can hold them
``session``           one connection; a handle's connections; the driver's errors
``sqlite``            what SQLite does in its own way: files, locks, durability
``postgresql``        what PostgreSQL does in its own way
``reads``             the cache, and how it stays current (C1)
``turn``              the transaction that is a writer's turn, and its connection
``writes``            the write lock, and commits as one transaction (C2)
``inspection``        ``check`` and ``repair``
``backend``           the :class:`filestore.backend.Backend` made of these
====================  ==================================================================
"""

from filestore.errors import StorageError

try:
    import sqlalchemy  # noqa: F401  # here, for whichever module comes first
except ImportError as error:
    raise StorageError(
        "a store in a database needs SQLAlchemy: pip install 'filestore[sql]', or for"
        " PostgreSQL 'filestore[postgresql]'"
    ) from error
