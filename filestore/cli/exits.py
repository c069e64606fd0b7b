"""What the exit codes mean, and which error gives which."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import click

from filestore.errors import (
    Conflict,
    Corrupt,
    FilestoreError,
    InvalidDocument,
    InvalidKey,
    LockTimeout,
    NotFound,
    RecoveryNeeded,
    UnsupportedFormat,
)


class Exit(IntEnum):
    """The exit codes of every command; a promise to scripts."""

    OK = 0
    NOT_FOUND = 1
    USAGE = 2
    CONFLICT = 3
    CORRUPT = 4
    LOCKED = 5
    STORAGE = 6
    UNUSABLE = 7
    BUG = 70
    INTERRUPTED = 130  # 128 + SIGINT
    PIPE = 141  # 128 + SIGPIPE


MEANING: Final = {
    Exit.OK: "done",
    Exit.NOT_FOUND: "not there; or check, git doctor or diff --exit-code found something",
    Exit.USAGE: "the command line, an id or the input is not right",
    Exit.CONFLICT: "somebody else changed it, something is there, or is in conflict",
    Exit.CORRUPT: "a file cannot be read as a document",
    Exit.LOCKED: "another writer held the store for too long",
    Exit.STORAGE: "read-only, no permission, disk full or another refusal of the system",
    Exit.UNUSABLE: "the store must be repaired first, or this version cannot open it",
    Exit.BUG: "a fault in filestore itself",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
    Exit.PIPE: "whoever read the output went away",
}

_BY_ERROR: Final[tuple[tuple[type[FilestoreError], Exit], ...]] = (
    (NotFound, Exit.NOT_FOUND),
    (InvalidDocument, Exit.USAGE),
    (InvalidKey, Exit.USAGE),
    (Conflict, Exit.CONFLICT),
    (Corrupt, Exit.CORRUPT),
    (LockTimeout, Exit.LOCKED),
    (RecoveryNeeded, Exit.UNUSABLE),
    (UnsupportedFormat, Exit.UNUSABLE),
)


class Refused(click.ClickException):
    """What was asked for cannot be done, though the command line is well formed."""

    exit_code = Exit.USAGE


def exit_of(error: FilestoreError) -> Exit:
    """The exit code for an error; those without one of their own are the storage's."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return Exit.STORAGE


def table() -> str:
    """The codes as the help shows them."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANING.items())
