r"""The tables of a store, and the statements on them, compiled once for a database.

::

    filestore_meta       one row: format, store (a random id), revision (the newest)
    filestore_documents  collection, id, full_id, data, etag, revision    what is there now
    filestore_commits    revision, time, actor, message, origin, writer   one row a commit
    filestore_changes    revision, position, collection, id, full_id,     one a document
                         before, after

``data``, ``before`` and ``after`` are canonical JSON in UTF-8, NULL for absent: what JSON
functions of the database understand.  (NUL inside a string is ``\u0000`` there, so it never
stands in a column.)  ``id`` is short, see :mod:`~filestore.backends.sql.naming`;
``full_id`` is NULL unless it had to be shortened.  ``time`` is in seconds since the epoch,
by the writer's clock.  ``writer`` tells the handles apart, so that one whose connection was
lost while it committed can find out whether it did.

SQLAlchemy renders every statement once; they run on the driver's own cursors, for its
execution layer costs several times what SQLite takes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.engine import Dialect

T = TypeVar("T")

FORMAT: Final = 1
"""The format of the tables.  A greater one belongs to a newer version of filestore."""

CHUNKS: Final = (128, 32, 4, 1)
"""How many rows or ids one statement takes: any number is a few of these."""

PAGE: Final = 500
"""Rows of changes read at a time."""

_metadata = sa.MetaData()
# Compared byte by byte everywhere, whatever the database's language; SQLite does so by itself.
_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
# An INTEGER PRIMARY KEY is SQLite's own row number: one tree, not two.
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

meta = sa.Table(
    "filestore_meta",
    _metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("store", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
documents = sa.Table(
    "filestore_documents",
    _metadata,
    sa.Column("collection", _text, primary_key=True),
    sa.Column("id", _text, primary_key=True),
    sa.Column("full_id", sa.Text),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("etag", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
commits = sa.Table(
    "filestore_commits",
    _metadata,
    sa.Column("revision", _number, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Float(53), nullable=False),
    sa.Column("actor", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("writer", sa.Text, nullable=False),
)
changes = sa.Table(
    "filestore_changes",
    _metadata,
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("collection", _text, nullable=False),
    sa.Column("id", _text, nullable=False),
    sa.Column("full_id", sa.Text),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Index("filestore_history", "collection", "id", "revision"),
)
TABLES: Final = (meta, documents, commits, changes)


def _parameter(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name)


class Statement:
    """SQL as the driver takes it; called with the values in the order of ``names``."""

    __slots__ = ("_constants", "_names", "_order", "text")

    def __init__(self, clause: Any, dialect: Dialect, names: Sequence[str] = ()) -> None:
        compiled = clause.compile(dialect=dialect)
        self.text: str = str(compiled)
        known = set(names)
        constants = {name: value for name, value in compiled.params.items() if name not in known}
        self._constants = tuple(constants.values())
        self._names = (*names, *constants)
        self._order: list[int] | None = None
        if compiled.positional:
            places = {name: place for place, name in enumerate(self._names)}
            self._order = [places[name] for name in compiled.positiontup]
            if self._order == list(range(len(self._names))):
                self._order = []

    def bound(self, values: tuple[Any, ...]) -> Any:
        """The values as the driver takes them."""
        if self._constants:
            values += self._constants
        if self._order is None:
            return dict(zip(self._names, values, strict=True))
        return [values[place] for place in self._order] if self._order else values


class Sized:
    """A statement for many rows, rendered for each of :data:`CHUNKS` when first of use."""

    def __init__(self, make: Callable[[int], Statement]) -> None:
        self._make = make
        self._made: dict[int, Statement] = {}

    def deal(self, rows: Sequence[T]) -> Iterator[tuple[Statement, Sequence[T]]]:
        """Deal the rows out to as few statements as there are for them."""
        at = 0
        for size in CHUNKS:
            while len(rows) - at >= size:
                statement = self._made.get(size)
                if statement is None:
                    statement = self._made[size] = self._make(size)
                yield statement, rows[at : at + size]
                at += size


def statements_for(dialect: Dialect) -> Statements:
    """The statements of a dialect, rendered once in a process."""
    kind = (dialect.name, dialect.driver, dialect.paramstyle)
    found = _rendered.get(kind)
    if found is None:
        found = _rendered[kind] = Statements(dialect)
    return found


_rendered: dict[tuple[str, str, str], Statements] = {}


class Statements:
    """Every statement, for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        doc, revision = documents.c, meta.c.revision
        name, id, the_row = _parameter("collection"), _parameter("id"), sa.text("one = 1")
        made: list[Any] = [
            *(sa.schema.CreateTable(table) for table in TABLES),
            *(sa.schema.CreateIndex(index) for index in changes.indexes),
        ]
        self.create = [str(one.compile(dialect=dialect)).strip() for one in made]
        self.begin_meta = self._of(meta.insert(), "one", "format", "store", "revision")
        self.meta = self._of(sa.select(meta.c.format, meta.c.store, revision).where(the_row))
        self.revision = self._of(sa.select(revision).where(the_row))
        self.lock = self._of(sa.select(revision).where(the_row).with_for_update())
        self.get = self._of(
            sa.select(revision, doc.data, doc.etag).select_from(
                meta.outerjoin(documents, sa.and_(doc.collection == name, doc.id == id))
            ),
            "collection", "id",
        )  # fmt: skip
        self.get_many = Sized(partial(self._of_ids, sa.select(doc.id, doc.data, doc.etag)))
        self.ids = self._of(
            sa.select(doc.id, doc.full_id).where(doc.collection == name), "collection"
        )
        self.collections = self._of(_each_collection())
        self.count = self._of(sa.select(sa.func.count()).select_from(documents))
        self.set_revision = self._of(
            meta.update().where(the_row).values(revision=_parameter("to")), "to"
        )
        self.add_commit = self._of(
            commits.insert(), "revision", "time", "actor", "message", "origin", "writer"
        )
        self.add_changes = Sized(partial(self._rows, changes.insert(), changes))
        self.put = Sized(partial(self._rows, self._upsert(), documents))
        self.delete = Sized(partial(self._of_ids, documents.delete()))
        self.writer = self._of(
            sa.select(commits.c.writer).where(commits.c.revision == _parameter("revision")),
            "revision",
        )
        self.keys_since = self._of(
            sa.select(changes.c.revision, changes.c.collection, changes.c.id, changes.c.full_id)
            .where(changes.c.revision > _parameter("since"))
            .order_by(changes.c.revision)
            .limit(PAGE + 1),
            "since",
        )
        self.changes = self._of(_page_of_changes(), "from", "at", "to")
        self.changes_of = self._of(_page_of_changes_of_one(), "collection", "id", "after", "to")
        self.everything = self._of(_page_of_documents(), "collection", "id")
        self.history = self._of(
            sa.select(
                sa.func.count(), sa.func.min(commits.c.revision), sa.func.max(commits.c.revision)
            )
        )

    def _of(self, clause: Any, *names: str) -> Statement:
        return Statement(clause, self._dialect, names)

    def _of_ids(self, clause: Any, size: int) -> Statement:
        names = [f"id{n}" for n in range(size)]
        narrowed = clause.where(
            documents.c.collection == _parameter("collection"),
            documents.c.id.in_([_parameter(name) for name in names]),
        )
        return self._of(narrowed, "collection", *names)

    def _rows(self, insert: Any, table: sa.Table, size: int) -> Statement:
        names = [[f"{column.name}_{n}" for column in table.columns] for n in range(size)]
        rows: list[dict[str, Any]] = [
            {column.name: _parameter(name) for column, name in zip(table.columns, row, strict=True)}
            for row in names
        ]
        return Statement(
            insert.values(rows), self._dialect, [name for row in names for name in row]
        )

    def _upsert(self) -> Any:
        module = postgresql if self._dialect.name == "postgresql" else sqlite
        return _Upsert(module)


class _Upsert:
    """An insert of documents that replaces what is there."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def values(self, rows: Any) -> Any:
        insert = self._module.insert(documents).values(rows)
        new = insert.excluded
        return insert.on_conflict_do_update(
            index_elements=[documents.c.collection, documents.c.id],
            set_={"data": new.data, "etag": new.etag, "revision": new.revision},
        )


def _each_collection() -> Any:
    """One step of an index for each collection, however many documents it has."""
    doc = documents.c
    first = sa.select(sa.func.min(doc.collection).label("name")).cte("each", recursive=True)
    after = sa.select(sa.func.min(doc.collection)).where(doc.collection > first.c.name)
    following = after.scalar_subquery()
    each = first.union_all(sa.select(following).where(first.c.name.isnot(None)))
    return sa.select(each.c.name).where(each.c.name.isnot(None))


def _page_of_changes() -> Any:
    """Changes with their commits after a position, up to a revision, in order."""
    begin, at = _parameter("from"), _parameter("at")
    change, commit = changes.c, commits.c
    return (
        sa.select(
            change.revision, change.position, change.collection, change.id, change.full_id,
            change.before, change.after, commit.time, commit.actor, commit.message, commit.origin,
        )
        .join_from(changes, commits, change.revision == commit.revision)
        .where(
            change.revision >= begin,
            sa.or_(change.revision > begin, change.position > at),
            change.revision <= _parameter("to"),
        )
        .order_by(change.revision, change.position)
        .limit(PAGE)
    )  # fmt: skip


def _page_of_changes_of_one() -> Any:
    """What commits after a revision, up to another, did to one document, in order."""
    change, commit = changes.c, commits.c
    return (
        sa.select(
            change.revision, change.before, change.after, commit.time, commit.actor,
            commit.message, commit.origin,
        )
        .join_from(changes, commits, change.revision == commit.revision)
        .where(
            change.collection == _parameter("collection"),
            change.id == _parameter("id"),
            change.revision > _parameter("after"),
            change.revision <= _parameter("to"),
        )
        .order_by(change.revision)
        .limit(PAGE)
    )  # fmt: skip


def _page_of_documents() -> Any:
    """Documents after a key, in the order of the index."""
    name, id, doc = _parameter("collection"), _parameter("id"), documents.c
    return (
        sa.select(doc.collection, doc.id, doc.full_id, doc.data, doc.etag)
        .where(
            doc.collection >= name,
            sa.or_(doc.collection > name, doc.id > id),
        )
        .order_by(doc.collection, doc.id)
        .limit(PAGE)
    )
