"""The folder that a backup is kept in.

::

    backup.json     the header, on one line
    chunks          a line for each piece of data, in order: offset, length, SHA-256
    data            the pieces one after the other, without what lies between them
    metadata.json   the volume's metadata, if they were saved

    header = { "checksum": SHA-256 of the rest of the header as JSON with sorted keys,
               "chunk_size": bytes, "chunks": SHA-256 of that file, "created_at": time,
               "format": 1, "id": text, "metadata": SHA-256 of that file or null,
               "pieces": number of lines, "size": bytes, "stored": bytes of data,
               "volume_id": text }

For example, ``chunks`` of a volume of 4 MiB that has data in its second MiB only::

    1048576 1048576 30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58

Every byte is covered by a checksum, and all is read and written piece by piece.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from filestore.backup.volume_file import Chunk
from filestore.errors import InvalidBackup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMAT: Final = 1
HEADER: Final = "backup.json"
INDEX: Final = "chunks"
DATA: Final = "data"
METADATA: Final = "metadata.json"

MAX_CHUNK: Final = 64 << 20
"""Bytes of a piece; a damaged index must not make a reader ask for more."""

MAX_METADATA: Final = 64 << 20
"""Bytes of a volume's metadata: of a document, which has at most 16 MiB, several times as text."""

_MAX_HEADER: Final = 1 << 16
_MAX_LINE: Final = 128


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a backup as a whole; see the module for its fields."""

    id: str
    volume_id: str
    created_at: str
    size: int
    chunk_size: int
    pieces: int
    stored: int
    chunks: str
    metadata: str | None

    def encode(self) -> bytes:
        """The file's content."""
        fields = {**asdict(self), "format": FORMAT}
        return _line({**fields, "checksum": _digest(_line(fields))})


def parse_header(raw: bytes) -> Header:
    """What :meth:`Header.encode` encoded.  Raises InvalidBackup."""
    try:
        fields = json.loads(raw)
        version = fields.pop("format")
        if version == FORMAT:
            del fields["checksum"]
            header = Header(**fields)
            if header.encode() == raw:
                return header
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        version = None
    if isinstance(version, int) and version > FORMAT:
        raise InvalidBackup(f"it has the format {version}: a newer version made it")
    raise InvalidBackup(f"its {HEADER} is damaged")


def write(
    folder: str,
    chunks: Iterable[Chunk],
    *,
    id: str,
    volume_id: str,
    created_at: str,
    size: int,
    chunk_size: int,
    metadata: str | None,
) -> Header:
    """Write a backup to an empty folder; on the disk on return, but for the folder's own name.

    Raises InvalidBackup for more than :data:`MAX_METADATA` bytes of metadata.
    """
    text = None if metadata is None else metadata.encode()
    if text is not None and len(text) > MAX_METADATA:
        raise InvalidBackup(f"the volume's metadata have more than {MAX_METADATA:,} bytes")
    index_digest = hashlib.sha256()
    pieces = stored = 0
    with _new(folder, DATA) as data, _new(folder, INDEX) as index:
        for chunk in chunks:
            line = f"{chunk.offset} {len(chunk.data)} {_digest(chunk.data)}\n".encode()
            index_digest.update(line)
            index.write(line)
            data.write(chunk.data)
            pieces += 1
            stored += len(chunk.data)
        _settle(data)
        _settle(index)
    if text is not None:
        _write_file(folder, METADATA, text)
    header = Header(
        id=id,
        volume_id=volume_id,
        created_at=created_at,
        size=size,
        chunk_size=chunk_size,
        pieces=pieces,
        stored=stored,
        chunks=index_digest.hexdigest(),
        metadata=None if text is None else _digest(text),
    )
    _write_file(folder, HEADER, header.encode())
    sync_folder(folder)
    return header


def read_header(folder: str) -> Header:
    """The header of a backup.  Raises InvalidBackup, and OSError."""
    return parse_header(_read_file(folder, HEADER, _MAX_HEADER))


def read_metadata(folder: str, header: Header) -> str | None:
    """The metadata of a backup, None if they were not saved.  Raises InvalidBackup, OSError."""
    if header.metadata is None:
        return None
    text = _read_file(folder, METADATA, MAX_METADATA + 1)
    if len(text) > MAX_METADATA:
        raise InvalidBackup(f"its {METADATA} has more than {MAX_METADATA:,} bytes")
    if _digest(text) != header.metadata:
        raise InvalidBackup(f"its {METADATA} is damaged")
    return text.decode()


def read_chunks(folder: str, header: Header) -> Iterator[Chunk]:
    """The data of a backup, each piece looked at before it is handed out.

    Raises InvalidBackup: for a damaged piece when it comes, and for an index that is not what
    it was at the end.  So read it through once before believing any of it.  Raises OSError.
    """
    digest = hashlib.sha256()
    pieces = stored = at = 0
    with _open(folder, DATA) as data, _open(folder, INDEX) as index:
        while line := index.readline(_MAX_LINE):
            digest.update(line)
            offset, length, told = _entry(line)
            if offset < at or offset + length > header.size:
                raise InvalidBackup(f"its {INDEX} is damaged at line {pieces + 1}")
            piece = data.read(length)
            if _digest(piece) != told:
                raise InvalidBackup(
                    f"its {DATA} is damaged in the {length} bytes at {stored}, which are those"
                    f" of the volume at {offset}"
                )
            yield Chunk(offset, piece)
            at = offset + length
            pieces += 1
            stored += length
        if data.read(1):
            raise InvalidBackup(f"its {DATA} is longer than it should be")
    if (digest.hexdigest(), pieces, stored) != (header.chunks, header.pieces, header.stored):
        raise InvalidBackup(f"its {INDEX} is damaged")


def _entry(line: bytes) -> tuple[int, int, str]:
    try:
        offset, length, digest = line.decode("ascii").rstrip("\n").split(" ")
        entry = int(offset), int(length), digest
    except ValueError:
        entry = -1, 0, ""
    if entry[0] < 0 or not 0 < entry[1] <= MAX_CHUNK:
        raise InvalidBackup(f"its {INDEX} is damaged: {line[:40]!r} is no line of it")
    return entry


def sync_folder(path: str) -> None:
    """Put the names in a folder on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_file(folder: str, name: str, content: bytes) -> None:
    with _new(folder, name) as file:
        file.write(content)
        _settle(file)


def _new(folder: str, name: str) -> BinaryIO:
    fd = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return open(fd, "wb", buffering=1 << 16)


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _open(folder: str, name: str) -> BinaryIO:
    # A pipe without a writer would be waited for.
    fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidBackup(f"its {name} is no file")
    return open(fd, "rb")


def _read_file(folder: str, name: str, limit: int) -> bytes:
    with _open(folder, name) as file:
        return file.read(limit)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _line(fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True).encode() + b"\n"
