"""What a line of the journal says.  Pure.

Grammar::

    segment  = header *line *NUL
    header   = line of {"journal": 1, "segment": N, "first": R, "checkpoint": R, "store": ID}
    line     = checksum SP object LF
    checksum = 8 hex digits: CRC-32 of the object, seeded by the header's own
               checksum (the header: by 0), so that a line counts only in its segment
    object   = JSON on one line: a header, a commit, or {"checkpoint": R}

    commit   = {"revision": R, "synced": R, "time": seconds, "actor": text or null,
                "message": text or null, "origin": "local" | "external" | "recovery",
                "ops": [op, ...]}
    op       = {"collection": C, "id": I, "before": etag or null, "after": etag or null,
                "was": document, "document": document}

``was`` is absent for a create, ``document`` for a delete.  ``was`` is absent too where
``before`` tells all that is known of what an external edit replaced.  ``first`` is the
revision of the segment's first commit and ends the segment before it: commits
with that revision or a later one, in an earlier segment, are void.  ``synced``
is the newest revision that was on the disk when the line was written: a bad
line before it is damage, one after it only the torn end of unsynced writes.

Example::

    5a1c7e02 {"revision":7,"synced":6,"time":1700000000.25,"actor":"ana","message":null,
    "origin":"local","ops":[{"collection":"volumes","id":"v1","before":null,
    "after":"0f…","document":{"size":1}}]}                              (one line)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from zlib import crc32

import orjson

from filestore.codec import canonical_again
from filestore.codec.etag import etag_of
from filestore.engine.names import encode_collection, encode_id, is_ordinary, is_ordinary_folder
from filestore.errors import Corrupt
from filestore.model import Commit, Key, Op, Origin, stand_in, stands_in

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from filestore.model import Etag

FORMAT: Final = 1
_MOST: Final = 1 << 63  # what the words of the shared state can tell
_MOST_SEGMENTS: Final = 1 << 24
_MOST_KEPT: Final = 4 << 20  # bytes of a line that is made once
_LONG: Final = 256  # documents from which on a commit's object is made piece by piece
_LINE: Final = re.compile(rb"[0-9a-f]{8} \{")
FRAME: Final = 9  # bytes before a line's object, and another after it
_BEGIN: Final = 4096
_REVISION: Final = re.compile(rb'\{"revision":(\d{1,19}),')
_BEGUN: Final = re.compile(
    rb'[^\n]*\n(?:[0-9a-f]{8} \{"checkpoint":[^\n]*\n)*'
    rb'[0-9a-f]{8} \{"revision":\d+,"synced":\d+,"time":([0-9.eE+-]+),'
)
# Canonical documents have their keys sorted, and so can't hold this; texts have quotes escaped.
_HEAD: Final = re.compile(rb'\{"collection":("(?:[^"\\]|\\.)*","id":"(?:[^"\\]|\\.)*"),"before":')
_OP: Final = b'{"collection":'
_OPS: Final = b',"ops":['
_DOCUMENT: Final = b',"document":'
_PLACES: Final = 4
_TEXT: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_PLAIN: Final = re.compile(
    rb'\{"revision":(\d{1,18}),"synced":\d{1,18},"time":(\d+(?:\.\d+)?),"actor":(?:null|%b),'
    rb'"message":(?:null|%b),"origin":"(local|external|recovery)","ops":\[' % (_TEXT, _TEXT)
)
_PLAIN_OP: Final = re.compile(
    rb'\{"collection":(%b,"id":%b),"before":(?:(null)|"[0-9a-f]{32}"),'
    rb'"after":(?:null|"([0-9a-f]{32})")[,}]' % (_TEXT, _TEXT)
)
_ORIGINS: Final = {origin.encode(): origin for origin in Origin}
_is_etag: Final = re.compile(r"[0-9a-f]{32}").fullmatch
_dumps = orjson.dumps
_as_it_is: Final = orjson.Fragment


Etags: TypeAlias = "tuple[Etag | None, Etag | None]"
"""Of a document before and after an op; None where there is none."""


class Header(NamedTuple):
    """The first line of a segment; ``seed`` is its checksum."""

    segment: int
    first: int
    checkpoint: int
    store: str
    seed: int


class Long(NamedTuple):
    """The object of a line that is too long to be in memory as a whole.

    ``head``: its first bytes.  ``pieces``: reads all of it, in pieces, each time it is called.
    """

    head: bytes
    pieces: Callable[[], Iterator[bytes]]


Object: TypeAlias = bytes | Long
"""The object in a line."""


class Line(NamedTuple):
    """A good line, or with ``payload`` None a run of bytes that is none."""

    start: int
    end: int
    payload: Object | None


class Outline(NamedTuple):
    """A commit without its documents.

    ``ops``: each document's key, whether there was one before, and the etag that it has now or
    the document itself, None for a delete.  To be gone through once.
    """

    revision: int
    time: float
    origin: Origin
    ops: Iterable[tuple[Key, bool, Etag | bytes | None]]


def line(payload: bytes, seed: int) -> bytes:
    """Frame an object as a line of a segment."""
    return b"%08x %b\n" % (crc32(payload, seed), payload)


class LongPayload:
    """The object of a commit to many documents, made piece by piece each time it is wanted.

    As one text it would be there three times while it is put together and written.
    """

    __slots__ = ("_commit", "_etags", "_synced")

    def __init__(self, commit: Commit, etags: Sequence[Etags], synced: int) -> None:
        self._commit = commit
        self._etags = etags
        self._synced = synced

    def pieces(self) -> Iterator[bytes]:
        """What the object is put together from, in order."""
        yield b'%b,"ops":[' % _head(self._commit, self._synced)
        separator = b""
        for op, etags in zip(self._commit.ops, self._etags, strict=True):
            yield separator + _op(op, etags)
            separator = b","
        yield b"]}"


Payload: TypeAlias = bytes | LongPayload


class LongLine:
    """A line made piece by piece; ``size`` is that of all pieces together.

    The checksum stands in front, so all pieces are made before the first is written.  They are
    kept until then, unless they are large, and made again.
    """

    __slots__ = ("_checksum", "_kept", "_payload", "size")

    def __init__(self, payload: Payload, seed: int) -> None:
        self._payload = payload
        self._kept: list[bytes] | None = None
        kept: list[bytes] | None = []
        checksum, size = seed, 10  # of the checksum, the space and the end
        for piece in self._of_object():
            checksum = crc32(piece, checksum)
            size += len(piece)
            if kept is not None:
                kept.append(piece)
                if size > _MOST_KEPT:
                    kept = None
        self._checksum, self.size, self._kept = checksum, size, kept

    def _of_object(self) -> Iterable[bytes]:
        if self._kept is not None:
            return self._kept
        payload = self._payload
        return (payload,) if isinstance(payload, bytes) else payload.pieces()

    def chunks(self, size: int) -> Iterator[bytes]:
        """The line in pieces of ``size`` bytes, or a little more."""
        chunk = bytearray(b"%08x " % self._checksum)
        for piece in self._of_object():
            chunk += piece
            if len(chunk) >= size:
                yield bytes(chunk)
                chunk.clear()
        chunk += b"\n"
        yield bytes(chunk)


def header_line(segment: int, first: int, checkpoint: int, store: str) -> tuple[bytes, int]:
    """A segment's first line, and the seed that it gives to the others."""
    payload = _dumps(
        {
            "journal": FORMAT,
            "segment": segment,
            "first": first,
            "checkpoint": checkpoint,
            "store": store,
        }
    )
    return line(payload, 0), crc32(payload)


def parse_header(raw: bytes) -> Header | None:
    """The header that a segment begins with, None where there is no good one."""
    end = raw.find(b"\n")
    payload = _checked(raw, 0, end, 0)
    if payload is None:
        return None
    try:
        fields = orjson.loads(payload)
        if fields["journal"] != FORMAT:
            return None
        return Header(
            _number(fields["segment"], _MOST_SEGMENTS),
            _number(fields["first"]),
            _number(fields["checkpoint"]),
            str(fields["store"]),
            crc32(payload),
        )
    except (ValueError, KeyError, TypeError):
        return None


def commit_payload(commit: Commit, etags: Sequence[Etags], synced: int) -> Payload:
    """The object of a commit.  Documents go in as the canonical bytes that they are."""
    if len(commit.ops) > _LONG:
        return LongPayload(commit, etags, synced)
    ops = [_fields_of(op, pair) for op, pair in zip(commit.ops, etags, strict=True)]
    return _dumps({**_head_of(commit, synced), "ops": ops})


def _fields_of(op: Op, etags: Etags) -> dict[str, object]:
    (collection, id), was, document = op
    before, after = etags
    fields: dict[str, object] = {
        "collection": collection,
        "id": id,
        "before": before,
        "after": after,
    }
    if was is not None and not stands_in(was):
        fields["was"] = _as_it_is(was)
    if document is not None:
        fields["document"] = _as_it_is(document)
    return fields


def _op(op: Op, etags: Etags) -> bytes:
    """What :func:`_fields_of` tells, as text: in half the time of making a dict first."""
    key, was, document = op
    before, after = etags
    text = b'{"collection":%b,"before":%b,"after":%b' % (
        name_of(key),
        b"null" if before is None else b'"%b"' % before.encode(),
        b"null" if after is None else b'"%b"' % after.encode(),
    )
    if was is not None and not stands_in(was):
        text = b'%b,"was":%b' % (text, was)
    return b"%b}" % text if document is None else b'%b,"document":%b}' % (text, document)


def _head_of(commit: Commit, synced: int) -> dict[str, object]:
    revision, time, actor, message, origin, _ = commit
    return {
        "revision": revision,
        "synced": synced,
        "time": time,
        "actor": actor,
        "message": message,
        "origin": origin,
    }


def _head(commit: Commit, synced: int) -> bytes:
    """The fields of a commit but for its ops, with no end yet."""
    return _dumps(_head_of(commit, synced))[:-1]


def etags(commit: Commit) -> list[Etags]:
    """The etags before and after of a commit's ops, worked out."""
    return [
        (
            _etag_before(op.before),
            None if op.after is None else etag_of(op.after),
        )
        for op in commit.ops
    ]


def _etag_before(before: bytes | None) -> Etag | None:
    if before is None:
        return None
    return before[1:].decode() if stands_in(before) else etag_of(before)


def _before(op: dict[str, Any]) -> bytes | None:
    if "was" in op:
        return canonical_again(op["was"])
    etag = op["before"]
    if etag is None:
        return None
    if not _is_etag(etag):
        raise ValueError(f"{etag!r:.40} is no etag")
    return stand_in(etag)


def checkpoint_payload(revision: int) -> bytes:
    return b'{"checkpoint":%d}' % revision


def is_checkpoint(payload: Object) -> bool:
    return _start(payload).startswith(b'{"checkpoint":')


def checkpoint_revision(payload: Object) -> int:
    """Raises ValueError for what is no checkpoint."""
    return _number(orjson.loads(_start(payload))["checkpoint"])


def revision_of(payload: Object) -> int:
    """The revision of a commit, without looking at the rest.

    Raises ValueError, KeyError or TypeError for what is no commit.
    """
    start = _start(payload)
    match = _REVISION.match(start)
    return _number(int(match[1]) if match else orjson.loads(start)["revision"])


def _start(payload: Object) -> bytes:
    return payload.head if isinstance(payload, Long) else payload


def _pieces(payload: Object) -> Iterator[bytes]:
    return payload.pieces() if isinstance(payload, Long) else iter((payload,))


def begun(raw: bytes) -> float | None:
    """The time of the first commit in a segment that begins so; None where there is none."""
    match = _BEGUN.match(raw)
    return float(match[1]) if match else None


def parts_of(payload: Object) -> Iterator[bytes]:
    """A commit in parts: the object without its ops, then each op.

    No more than an op and a piece of the line are in memory.  Raises ValueError.
    """
    pieces = _pieces(payload)
    rest = next(pieces, b"")
    while (at := rest.find(_OPS)) < 0:
        piece = next(pieces, None)
        if piece is None:
            raise ValueError("there are no ops")
        rest += piece
    at += len(_OPS)
    yield rest[:at] + b"]}"
    begun = False  # whether an op stands at the beginning of the rest
    looked = 0  # up to where there is no head of another one in it
    rest = rest[at:]
    while True:
        done = 0
        for match in _HEAD.finditer(rest, looked):
            if begun:
                yield rest[done : match.start() - 1]
            elif match.start():
                raise ValueError("the first op is none of ours")
            done, begun = match.start(), True
        # Only the last of what may be a head can be one that goes on in the next piece.
        last = rest.rfind(_OP, done + begun)
        looked = (last if last >= 0 else max(done + begun, len(rest) - len(_OP))) - done
        rest = rest[done:]
        piece = next(pieces, None)
        if piece is None:
            break
        rest += piece
    if not rest.endswith(b"]}"):
        raise ValueError("the ops do not end")
    if begun:
        yield rest[:-2]
    elif rest != b"]}":
        raise ValueError("the ops are none of ours")


def names_in(payload: Object) -> Iterator[bytes]:
    """What :func:`name_of` gives for each document that a commit changed; maybe others too."""
    if isinstance(payload, bytes):
        return (match[1] for match in _HEAD.finditer(payload))
    return (match[1] for part in parts_of(payload) if (match := _HEAD.match(part)))


def plain_line(raw: bytes, seed: int) -> tuple[bytes, Outline] | None:
    """The object of a commit's line, and the commit without its documents.

    None for what is no such line, is more than one, or is not spelled as we spell it.
    """
    payload = _checked(raw, 0, len(raw) - 1, seed) if raw[-1:] == b"\n" else None
    if payload is None:
        return None
    try:
        outline = _plain_outline(payload)
    except ValueError:
        return None
    return None if outline is None else (payload, outline)


def keys_in(payload: Object) -> Iterator[Key]:
    """The documents that a commit changed, without looking at what is in them; maybe others too."""
    return map(_key_of, names_in(payload))


def _key_of(name: bytes) -> Key:
    """The key that :func:`name_of` has spelled.  Raises ValueError."""
    if b"\\" not in name:
        collection, id = name[1:-1].decode().split('","id":"')
        if is_ordinary(id) and is_ordinary_folder(collection):
            return Key(collection, id)
    fields = orjson.loads(b'{"collection":%b}' % name)
    return _key(fields["collection"], fields["id"])


def name_of(key: tuple[str, str]) -> bytes:
    """How a commit's record spells a key, other keys otherwise."""
    collection, id = key
    return b'%b,"id":%b' % (_dumps(collection), _dumps(id))


def _fields_in(payload: Object) -> tuple[dict[str, Any], Iterable[dict[str, Any]]]:
    """A commit's fields, and its ops one by one."""
    if isinstance(payload, bytes):
        fields: dict[str, Any] = orjson.loads(payload)
        return fields, fields["ops"]
    parts = parts_of(payload)
    return orjson.loads(next(parts)), map(orjson.loads, parts)


def parse_commit(payload: Object, key: Key | None = None) -> tuple[Commit, int]:
    """The commit in a line, and the revision that was synced before it.

    With a ``key``, only what it did to that document.
    Raises ValueError, KeyError or TypeError for what is no commit.
    """
    fields, found = _fields_in(payload)
    ops = [
        Op(
            _key(op["collection"], op["id"]),
            _before(op),
            canonical_again(op["document"]) if "document" in op else None,
        )
        for op in found
        if key is None or (op["collection"], op["id"]) == key
    ]
    commit = Commit(
        _number(fields["revision"]),
        float(fields["time"]),
        fields["actor"],
        fields["message"],
        Origin(fields["origin"]),
        tuple(ops),
    )
    return commit, _number(fields["synced"])


def outline_of(commit: Commit) -> Outline:
    """A commit without its documents; of those that it made the bytes stand for the etags."""
    ops = ((op.key, op.before is not None, op.after) for op in commit.ops)
    return Outline(commit.revision, commit.time, commit.origin, ops)


def outline(payload: Object) -> Outline:
    """A commit without its documents.

    Raises ValueError, KeyError or TypeError for what is no commit, also while its ops are gone
    through.
    """
    if isinstance(payload, bytes) and (quickly := _plain_outline(payload)) is not None:
        return quickly
    fields, found = _fields_in(payload)
    return Outline(
        _number(fields["revision"]),
        float(fields["time"]),
        Origin(fields["origin"]),
        map(_outlined, found),
    )


def _plain_outline(payload: bytes) -> Outline | None:
    """The same of a commit that is spelled as we spell it, without looking at its documents.

    None for any other.  Raises ValueError.
    """
    head = _PLAIN.match(payload)
    if head is None:
        return None
    ops: list[tuple[Key, bool, Etag | bytes | None]] = []
    at = head.end()
    while at >= 0:
        op = _PLAIN_OP.match(payload, at)
        if op is None:
            return None
        name, absent, after = op.groups()
        ops.append((_key_of(name), absent is None, None if after is None else after.decode()))
        at = payload.find(_OP, op.end())  # see _HEAD
    revision, time, origin = head.groups()
    return Outline(int(revision), float(time), _ORIGINS[origin], ops)


def _outlined(op: dict[str, Any]) -> tuple[Key, bool, Etag | None]:
    after = op["after"] if "document" in op else None
    if after is not None and not _is_etag(after):
        raise ValueError(f"{after!r:.40} is no etag")
    return _key(op["collection"], op["id"]), op["before"] is not None, after


def documents_after(payload: Object, keys: Container[tuple[str, str]]) -> dict[Key, bytes | None]:
    """What a commit made of some documents, where it changed them; None for a delete.

    Raises ValueError, KeyError or TypeError for what is no commit.
    """
    return {
        Key(op["collection"], op["id"]): (
            canonical_again(op["document"]) if "document" in op else None
        )
        for op in _fields_in(payload)[1]
        if (op["collection"], op["id"]) in keys
    }


def only_document(payload: bytes, etag: Etag) -> bytes | None:
    """What a commit of one document made of it, without parsing it; None where it is not found.

    The etag proves it.
    """
    end = len(payload) - len(b"}]}")
    at = end
    for _ in range(_PLACES):  # a document may have such a field itself
        at = payload.rfind(_DOCUMENT, 0, at)
        if at < 0:
            break
        data = payload[at + len(_DOCUMENT) : end]
        if etag_of(data) == etag:
            return data
    return None


def _key(collection: str, id: str) -> Key:
    """A key in a record, which may be none of ours and name anything.  Raises ValueError."""
    encode_collection(collection)
    encode_id(id)
    return Key(collection, id)


def _number(value: object, most: int = _MOST) -> int:
    if type(value) is not int or not 0 <= value < most:
        raise ValueError(f"{value!r:.40} is no revision and no segment")
    return value


def long_line(pieces: Callable[[], Iterator[bytes]], seed: int) -> tuple[int, bytes] | None:
    """How many bytes a line has that is told in pieces, and its object's first bytes.

    None where no good line begins.
    """
    begin = b""
    size, checksum = 0, seed
    for piece in pieces():
        at = 0
        if not size:
            if not _LINE.match(piece):
                return None
            begin, at = piece[:_BEGIN], FRAME
        end = piece.find(b"\n", at)
        if end >= 0:
            checksum = crc32(piece[at:end], checksum)
            good = checksum == int(begin[: FRAME - 1], 16)
            return (size + end + 1, begin[FRAME : end if not size else None]) if good else None
        checksum = crc32(piece[at:], checksum)
        size += len(piece)
    return None


def lines(raw: bytes, seed: int, start: int) -> Iterator[Line]:
    """The lines from ``start`` on, good and bad; trailing NULs are no line."""
    at, size = start, len(raw)
    while at < size:
        end = raw.find(b"\n", at)
        payload = _checked(raw, at, end, seed)
        if payload is not None:
            yield Line(at, end + 1, payload)
            at = end + 1
            continue
        if end < 0:
            # No line ends here: what a segment has left, mostly, which is long and all NUL.
            if raw[at:] != bytes(size - at):
                yield Line(at, size, None)
            return
        following = _next_good(raw, seed, at)
        stop = size if following is None else following
        if following is not None or raw[at:stop].strip(b"\0"):
            yield Line(at, stop, None)
        at = stop


def _next_good(raw: bytes, seed: int, at: int) -> int | None:
    for match in _LINE.finditer(raw, at + 1):
        if _checked(raw, match.start(), raw.find(b"\n", match.start()), seed) is not None:
            return match.start()
    return None


def _checked(raw: bytes, start: int, end: int, seed: int) -> bytes | None:
    """The object between, if its checksum holds."""
    if end < start + 10 or raw[start + 8] != 0x20:
        return None
    payload = raw[start + 9 : end]
    try:
        checksum = int(raw[start : start + 8], 16)
    except ValueError:
        return None
    return payload if crc32(payload, seed) == checksum else None


def bad_line(path: str, at: int) -> Corrupt:
    """The error of a journal that cannot be read on."""
    return Corrupt(f"{path}: the journal is damaged at byte {at}", path=path)
