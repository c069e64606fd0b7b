"""The merge driver and the text conversion: what git runs, once a file.

Most of their time is Python's start, so this module imports little and parses its own arguments.

A driver that fails leaves ours in the file, which looks merged.  So whatever goes wrong here, git's
own text merge is made instead, and the file is told to be in conflict.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore import conflict_text
from filestore.codec import codec_named, decode
from filestore.errors import Corrupt, FilestoreError
from filestore.integrations.git.lines import lines
from filestore.integrations.git.merging import are_strangers, base_of, combine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.codec import Codec
    from filestore.model import Document

MERGED: Final = 0
CONFLICT: Final = 1
USAGE: Final = 2
"""The driver's exit codes; the registered command makes a text merge of any from 2 on."""


class Request(NamedTuple):
    """What git asks for: %O, %A, %B, %L, %P, and where git tells them %S, %X, %Y."""

    base: str
    ours: str
    theirs: str
    mark: int
    path: str
    labels: tuple[str, str, str]


def merge_driver(arguments: Sequence[str]) -> int:
    """Merge ``base`` and ``theirs`` into the file ``ours``; the exit code that git is to get."""
    request = _request(arguments)
    if request is None:
        _tell("merge-driver takes what git gives: %O %A %B %L %P [%S %X %Y]")
        return USAGE
    try:
        return _merge(request)
    except (FilestoreError, OSError, MemoryError, RecursionError) as error:
        return _merge_as_text(request, str(error))


def _request(arguments: Sequence[str]) -> Request | None:
    if len(arguments) not in (5, 8):
        return None
    base, ours, theirs, mark, path = arguments[:5]
    if not mark.isdecimal():
        return None
    labels = ["base", "ours", "theirs"]
    for index, label in enumerate(arguments[5:]):
        # Older versions of git leave alone what they do not know.
        if label and label not in ("%S", "%X", "%Y"):
            labels[index] = label
    size = int(mark) or conflict_text.MARK
    return Request(base, ours, theirs, size, path, (labels[0], labels[1], labels[2]))


def _merge(request: Request) -> int:
    codec = codec_for(request.path)
    if codec is None:
        return _merge_as_text(request, "its name is not a document's")
    raw = [_read(path) for path in (request.base, request.ours, request.theirs)]
    found: list[Document | None] = []
    for data, whose in zip(raw, request.labels, strict=True):
        try:
            found.append(base_of(codec, data) if not found else decode(codec.parse(data)))
        except Corrupt as error:
            where = "" if error.line is None else f", line {error.line}"
            return _merge_as_text(request, f"{whose}{where}: {error.message}")
    merged = combine(*found)
    if are_strangers(*found):
        _tell(
            f"{request.path}: git took another document, which was deleted, for this one before it"
            " was renamed; nothing is merged: keep one side whole, and look for what was meant"
            " for the other"
        )
    text = conflict_text.write(merged, codec, labels=request.labels, mark=request.mark)
    with open(request.ours, "wb") as file:
        file.write(text)
    return CONFLICT if merged.conflicts else MERGED


def codec_for(path: str) -> Codec | None:
    """The codec of a file, by its name."""
    suffix = os.path.splitext(path)[1]
    return codec_named(suffix[1:]) if suffix in (".json", ".yaml") else None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _merge_as_text(request: Request, reason: str) -> int:
    """Leave git's own merge; a conflict even where its lines fit, since nobody could read them."""
    import subprocess  # takes as long as merging a document, and is hardly ever needed

    _tell(f"{request.path}: {reason}; merged line by line: look at the file")
    labels = (request.labels[1], request.labels[0], request.labels[2])
    command = ["git", "merge-file", "-q", f"--marker-size={request.mark}"]
    for label in labels:
        command += ["-L", label]
    command += [request.ours, request.base, request.theirs]
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        _tell(f"{request.path}: git merge-file: {error.strerror}")
        return USAGE
    return CONFLICT if done.returncode <= 127 else USAGE


def textconv(arguments: Sequence[str]) -> int:
    """Write a document with its whole path before each field; any other file as it is."""
    if len(arguments) != 1:
        _tell("textconv takes the file that git gives")
        return USAGE
    (path,) = arguments
    try:
        raw = _read(path)
    except OSError as error:
        _tell(f"{path}: {error.strerror}")
        return USAGE
    codec = codec_for(path)
    try:
        text = raw if codec is None else lines(decode(codec.parse(raw)))
    except FilestoreError:
        text = raw
    sys.stdout.buffer.write(text)
    sys.stdout.flush()
    return MERGED


def _tell(message: str) -> None:
    # A terminal must not obey what stands in a document or a path.
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    sys.stderr.write(f"filestore: {shown}\n")


COMMANDS: Final = {"merge-driver": merge_driver, "textconv": textconv}
