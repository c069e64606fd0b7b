"""Looking at everything (``check``), and mending what can be mended (``repair``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from filestore.backends.sql import naming
from filestore.backends.sql.schema import PAGE
from filestore.codec import canonical, decode
from filestore.codec.etag import etag_of
from filestore.errors import FilestoreError
from filestore.model import Key, Op
from filestore.problem import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.backends.sql.reads import Reads
    from filestore.backends.sql.schema import Statements
    from filestore.backends.sql.session import Session
    from filestore.model import Etag, Revision


class Row(NamedTuple):
    """A document as its table has it."""

    key: Key
    data: bytes
    etag: Etag


def rows_of(session: Session, statements: Statements) -> Iterator[Row]:
    """Every document, a page at a time, in the order of the index."""
    at = ("", "")
    more = True
    while more:
        page = session.rows(statements.everything, *at)
        more = len(page) == PAGE
        for collection, id, whole, data, etag in page:
            at = (collection, id)
            key = Key(naming.text(collection), naming.text(id if whole is None else whole))
            yield Row(key, data.encode(), etag)


def check(session: Session, statements: Statements, reads: Reads, shown: str) -> list[Problem]:
    """Every document, and the commits that led to it; changes nothing."""
    revision: Revision = session.row(statements.revision)[0]
    problems, history = _history(session, statements, reads, revision, shown)
    whole = history is not None
    expected = history or {}
    for row in rows_of(session, statements):
        told = expected.pop(row.key, None)
        after = as_document(row.data)
        if after is None:
            problems.append(
                Problem(
                    "corrupt",
                    f"{shown}: {row.key} is no document of filestore: restore or delete it",
                    path=shown,
                    key=row.key,
                )
            )
        elif (
            after != row.data
            or row.etag != etag_of(row.data)
            or ((told is not None or whole) and told != row.etag)
        ):
            problems.append(_edited(row.key, "was changed", shown))
    problems += [_edited(key, "was deleted", shown) for key in expected]
    return problems


def damaged(shown: str, fault: str) -> Problem:
    """What the database itself says is wrong with its file."""
    return Problem(
        "damaged",
        f"{shown}: the database is damaged: {fault}; restore it from a copy",
        path=shown,
    )


def _edited(key: Key, what: str, shown: str) -> Problem:
    return Problem(
        "edited",
        f"{shown}: {key} {what} by something else than filestore, past its history; repair"
        " takes it in as a change",
        path=shown,
        key=key,
        repairable=True,
    )


def _history(
    session: Session, statements: Statements, reads: Reads, revision: Revision, shown: str
) -> tuple[list[Problem], dict[Key, Etag] | None]:
    """What the commits say should be there; None when they do not begin at the beginning."""
    problems = []
    expected: dict[Key, Etag] = {}
    count, first, last = session.row(statements.history)
    if count != (last or 0) - (first or 1) + 1 or (count and last != revision):
        problems.append(
            Problem(
                "history",
                f"{shown}: {count} commits are there, from revision {first} to {last}, and the"
                f" store is at {revision}: some are missing; the documents count",
                path=shown,
                severity=Severity.WARNING,
            )
        )
    for commit in reads.commits(session, 0, revision):
        for key, before, after in commit.ops:
            if (first == 1 or key in expected) and expected.get(key) != (
                None if before is None else etag_of(before)
            ):
                problems.append(
                    Problem(
                        "history",
                        f"{shown}: revision {commit.revision} does not follow what was told of"
                        f" {key} before; the documents count",
                        path=shown,
                        key=key,
                        severity=Severity.WARNING,
                    )
                )
            if after is None:
                expected.pop(key, None)
            else:
                expected[key] = etag_of(after)
    complete = first in {1, None} and not problems
    return problems, expected if complete else None


def as_document(data: bytes) -> bytes | None:
    """The canonical bytes of a column; None for what is no document."""
    try:
        return canonical(decode(data))
    except (ValueError, FilestoreError):
        return None


def taken_in(
    session: Session, statements: Statements, reads: Reads, revision: Revision
) -> list[Op]:
    """What was done past the history, as a commit tells it."""
    before: dict[Key, bytes] = {}
    for commit in reads.commits(session, 0, revision):
        for key, _, after in commit.ops:
            if after is None:
                before.pop(key, None)
            else:
                before[key] = after
    ops = []
    for row in rows_of(session, statements):
        was = before.pop(row.key, None)
        after = as_document(row.data)
        if after is not None and (was != after or row.data != after or row.etag != etag_of(after)):
            ops.append(Op(row.key, was, after))
    return ops + [Op(key, was, None) for key, was in before.items()]
