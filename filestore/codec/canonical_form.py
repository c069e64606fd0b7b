"""Canonical bytes: what a document is inside the program, and which documents there are.

Compact JSON in UTF-8: keys sorted by code point, nothing escaped that need not be,
floats as :mod:`filestore.codec.floats` tells.  They are a function of the value alone,
so that equality of bytes is equality of values and an etag means the same everywhere.

F1: reading what was written gives the value that was written, for every document that
:func:`canonical` accepts, and it refuses the rest.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any, Final

import orjson

from filestore.codec import floats
from filestore.codec.limits import MAX_BYTES, MAX_DEPTH
from filestore.errors import InvalidDocument
from filestore.importing import importing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filestore.model import Document

_PLAIN: Final = (
    orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_SORT_KEYS
)
_PRETTY: Final = _PLAIN | orjson.OPT_INDENT_2
# In the pretty form a value inside n containers stands on a line indented by 2n, and a
# raw newline is never part of a string.
_TOO_DEEP: Final = b"\n" + b"  " * (MAX_DEPTH + 1)
_SIMPLE: Final = frozenset({str, int, bool, type(None)})
_SIMPLE_DEPTH: Final = 4
_MARSHAL_VERSION: Final = 4
# Tuples, short ones and those that are met again; the last byte of NaN and infinities.
_SUSPICIOUS: Final = b"()\xa8\xa9\x7f\xff"

decode: Final[Callable[[bytes], Document]] = orjson.loads
"""The document of canonical bytes: a fresh one each time, the caller's own."""


def canonical(document: object) -> bytes:
    """The canonical bytes of a document.

    A document is a dict of JSON's types, exactly: str, int of 64 bits (from -2**63 to
    2**64-1), finite float, bool, None, list, dict with str keys.  Raises InvalidDocument
    for anything else (naming the field), for a value inside more than :data:`MAX_DEPTH`
    containers, and for more than :data:`MAX_BYTES` bytes.
    """
    if type(document) is dict:
        try:
            data = orjson.dumps(document, option=_PLAIN)
            if (
                _is_simple(tuple(document.values()), _SIMPLE_DEPTH) or _is_plain(document, data)
            ) and len(data) <= MAX_BYTES:
                return _kept(data)
        except (TypeError, ValueError, RecursionError):
            pass  # the slow look says what it was
    return _slowly(document)


def canonical_again(document: object) -> bytes:
    """The canonical bytes of a document that orjson has just read from them.

    As :func:`canonical`, without asking for what no JSON can be read as.
    """
    if type(document) is dict:
        data = orjson.dumps(document, option=_PLAIN)
        if len(data) <= MAX_BYTES and (
            data.count(b"{") + data.count(b"[") <= MAX_DEPTH or not _is_deep(document)
        ):
            return _kept(data)
    return _slowly(document)


def pretty(data: bytes) -> bytes:
    """Canonical bytes with one field a line and a newline at the end."""
    return _laid_out(orjson.loads(data))


def as_canonical(raw: bytes) -> bytes | None:
    """The canonical bytes of JSON that is laid out as :func:`pretty` lays it out; else None.

    Whatever orjson passes over in silence, such as duplicate keys, it writes differently.
    """
    try:
        document = orjson.loads(raw)
    except ValueError:
        return None
    if type(document) is not dict or _laid_out(document) != raw or raw.find(_TOO_DEEP) >= 0:
        return None
    return _kept(orjson.dumps(document, option=_PLAIN))


def _kept(data: bytes) -> bytes:
    """What orjson wrote, in our form of floats, and to be kept in memory.

    orjson's results occupy several times their length until they are copied.
    """
    return bytes(memoryview(data if floats.CONFORMS else floats.conform(data)))


def _laid_out(document: Document) -> bytes:
    text = orjson.dumps(document, option=_PRETTY | orjson.OPT_APPEND_NEWLINE)
    return text if floats.CONFORMS else floats.conform(text)


def _is_simple(values: Iterable[object], depth: int) -> bool:
    """Whether these are nothing but texts, integers, truths, nulls and shallow containers of such.

    The usual case, in which nothing that orjson has taken can be anything else.  Values of
    dicts are copied, for another thread may change them meanwhile.
    """
    for value in values:
        kind = type(value)
        if kind not in _SIMPLE:
            if not depth:
                return False
            if kind is dict:
                inner: Any = tuple(value.values())  # type: ignore[attr-defined]  # it is a dict
            elif kind is list:
                inner = value
            else:
                return False
            if not _is_simple(inner, depth - 1):
                return False
    return True


def _is_plain(document: Document, data: bytes) -> bool:
    """Whether orjson wrote the document as it is, and it is not too deep.

    orjson writes tuples, NaN, infinities, UUIDs and enumerations as something else.  marshal
    tells types exactly, and refuses (ValueError) the last two.  The bytes that it marks a tuple
    with, and those a float that is not finite ends in, mean other things too: where one is found,
    what is read back must be equal, which takes longer.
    """
    types = marshal.dumps(document, _MARSHAL_VERSION)
    suspicious = len(types.translate(None, _SUSPICIOUS)) != len(types)
    if suspicious and orjson.loads(data) != document:
        return False
    return data.count(b"{") + data.count(b"[") <= MAX_DEPTH or not _is_deep(document)


def _is_deep(document: Document) -> bool:
    return orjson.dumps(document, option=_PRETTY).find(_TOO_DEEP) >= 0


def _slowly(document: object) -> bytes:
    """Say what is wrong with the document; its bytes if it is only close to a limit of Python."""
    with importing(ours=True):  # a process that meets no such value has no use for it
        from filestore.codec.refusal import refuse

    refuse(document)
    data = orjson.dumps(document, option=_PLAIN)
    if len(data) > MAX_BYTES:
        raise InvalidDocument(
            f"the document has {len(data):,} bytes: at most {MAX_BYTES:,} can be stored;"
            " keep large data in files of their own and their paths in the document"
        )
    return _kept(data)
