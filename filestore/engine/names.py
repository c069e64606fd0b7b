"""File names for ids and collections: N1, injective, readable, never outside their folder.

The name of an id, without the codec's suffix::

    name     = body [ "~" mask ]
    body     = 1*( literal | escape )
    literal  = a-z / A-Z / 0-9 / "_" / "-" / "." / "@" / "+" / "="
    escape   = "%" 2hex                       ; one byte of the id's UTF-8, lower-case hex
    mask     = hex                            ; bit i: the i-th literal letter is upper case

An escape stands for every byte that is no literal, for a ``.`` or ``-`` in front
(hidden files, options of commands) and for the first character of a name that
Windows keeps for devices (``con``, ``com1.x``).  The mask is there only when a
literal letter is upper case.  So two ids whose names differ by case alone have
different masks, and everything is ASCII, which no file system normalises.

A name longer than :data:`MAX_COMPONENT` is cut into folders; each part but the last
ends in a lone ``%``, which no escape and no collection does.  Every part begins as a
name begins.  For example::

    4fcf2247-7812-48cf-a1e2-ab09e0045d9d   itself
    a/b      a%2fb          ..      %2e.
    Lab      Lab~1          CON     %43ON~3
    é        %c3%a9

A collection's name is split at ``/`` into nested folders, each named in the same way; an
``@`` in front (the mark of shard folders), a dot at the end (dropped by Windows) and the
dot of a document's suffix at the end (a folder ``x.json`` would stand where the document
``x`` of the enclosing collection goes) are escaped too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from filestore.errors import InvalidKey

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ID: Final = 1024
"""Bytes of UTF-8 an id may have."""

MAX_COMPONENT: Final = 200
"""Bytes of one component of an id's name, a continuation mark included; leaves room for
suffixes of temporary files."""

MAX_COLLECTION_COMPONENT: Final = 255
MAX_COLLECTION_DEPTH: Final = 8

_RESERVED: Final = r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|\Z)"
is_ordinary: Final = re.compile(
    rf"(?!{_RESERVED})[a-z0-9_@+=][a-z0-9_.@+=-]{{0,{MAX_COMPONENT - 2}}}", re.ASCII
).fullmatch
is_ordinary_folder: Final = re.compile(
    rf"(?!{_RESERVED})[a-z0-9_+=][a-z0-9_@+=-]{{0,{MAX_COMPONENT - 1}}}", re.ASCII
).fullmatch
# Compiled when a name is met that is not ordinary: many a process never meets one.
_RESERVED_NAME: Final = rf"(?ia){_RESERVED}"
_DOCUMENT_END: Final = r"(?ia)\.(?:json|yaml|yml)?\Z"
_TOKENS: Final = r"(?a)%([0-9a-f]{2})|([a-zA-Z0-9_.@+=-])"
_MASK: Final = r"(?a)[1-9a-f][0-9a-f]*"

_LETTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LITERAL: Final = _LETTERS | frozenset(b"0123456789_-.@+=")
_FRONT: Final = frozenset(b".-")  # escaped at the front of a component
_TOKEN: Final = [chr(byte) if byte in _LITERAL else f"%{byte:02x}" for byte in range(256)]


def encode_id(id: str) -> tuple[str, ...]:
    """The path components that name the document; several only for a very long id.

    Raises InvalidKey for an id that is empty, longer than :data:`MAX_ID`, or no text.
    """
    if type(id) is str and is_ordinary(id):
        return (id,)
    data = _utf8(id, "an id")
    if len(data) > MAX_ID:
        raise InvalidKey(
            f"the id {_shown(id)} is {len(data)} bytes long: an id may have {MAX_ID} bytes of UTF-8"
        )
    return _encode(data, _FRONT, MAX_COMPONENT)


def decode_id(components: Sequence[str]) -> str | None:
    """The id that :func:`encode_id` names so; None when it names none so."""
    if len(components) == 1 and is_ordinary(components[0]):
        return components[0]
    parts = []
    for part in components[:-1]:
        if part[-1:] != "%":
            return None
        parts.append(part[:-1])
    parts.extend(components[-1:])
    id = _decode("".join(parts))
    if not id or len(id.encode()) > MAX_ID or encode_id(id) != tuple(components):
        return None
    return id


def encode_collection(name: str) -> tuple[str, ...]:
    """The nested folders that hold the collection.

    Raises InvalidKey when a component is empty or too long, or there are too many.
    """
    if type(name) is str and is_ordinary_folder(name):
        return (name,)
    _utf8(name, "a collection's name")
    components = name.split("/")
    if len(components) > MAX_COLLECTION_DEPTH:
        raise InvalidKey(
            f"the collection {_shown(name)} has {len(components)} components:"
            f" at most {MAX_COLLECTION_DEPTH} are possible"
        )
    return tuple(_encode_folder(component, name) for component in components)


def decode_collection(components: Sequence[str]) -> str | None:
    """The collection that :func:`encode_collection` keeps there; None when it keeps none there."""
    if not 1 <= len(components) <= MAX_COLLECTION_DEPTH:
        return None
    names = []
    for component in components:
        name = component if is_ordinary_folder(component) else _decode_folder(component)
        if name is None:
            return None
        names.append(name)
    return "/".join(names)


def _encode_folder(component: str, collection: str) -> str:
    if not component:
        raise InvalidKey(
            f"the collection {_shown(collection)} has an empty component:"
            " write names joined by single slashes, with none in front or at the end"
        )
    data = component.encode()
    tail = re.search(_DOCUMENT_END, component)
    escaped = frozenset({len(data) - len(tail.group())}) if tail else frozenset()
    # A limit that no name reaches, so that nothing is cut.
    (folder,) = _encode(data, _FRONT | {ord("@")}, 4 * len(data) + 8, escaped)
    if len(folder) > MAX_COLLECTION_COMPONENT:
        raise InvalidKey(
            f"the component {_shown(component)} of the collection {_shown(collection)} makes a"
            f" folder's name of {len(folder)} bytes: at most {MAX_COLLECTION_COMPONENT} fit"
        )
    return folder


def _decode_folder(component: str) -> str | None:
    name = _decode(component)
    if not name or "/" in name:
        return None
    try:
        return name if _encode_folder(name, name) == component else None
    except InvalidKey:
        return None


def _encode(
    data: bytes, front: frozenset[int], limit: int, escaped: frozenset[int] = frozenset()
) -> tuple[str, ...]:
    """Encode ``data`` in components of at most ``limit`` characters.

    ``front``: the bytes that are escaped where a component begins; ``escaped``: the
    offsets that are escaped wherever they are.
    """
    pieces: list[list[str]] = [[]]
    room = limit - 1  # for the continuation mark
    mask = 0
    letters = 0
    for offset, byte in enumerate(data):
        token = _TOKEN[byte]
        if len(token) > room:
            pieces.append([])
            room = limit - 1
        begins = not pieces[-1]
        if (
            offset in escaped
            or (begins and byte in front)
            or (begins and re.match(_RESERVED_NAME, data[offset : offset + 5].decode("latin-1")))
        ):
            token = f"%{byte:02x}"
        elif byte in _LETTERS:
            if byte < 0x60:
                mask |= 1 << letters
            letters += 1
        pieces[-1].append(token)
        room -= len(token)
    if mask:
        for token in f"~{mask:x}":
            if not room:
                pieces.append([])
                room = limit - 1
            pieces[-1].append(token)
            room -= 1
    parts = ["".join(piece) for piece in pieces]
    return (*(part + "%" for part in parts[:-1]), parts[-1])


def _decode(name: str) -> str | None:
    """What the name stands for, whether or not it is the way to write it."""
    body, tilde, digits = name.partition("~")
    if tilde and not re.fullmatch(_MASK, digits):
        return None
    mask = int(digits, 16) if tilde else 0
    data = bytearray()
    letters = 0
    at = 0
    token_at = re.compile(_TOKENS).match
    while at < len(body):
        token = token_at(body, at)
        if token is None:
            return None
        at = token.end()
        if token[1]:
            data.append(int(token[1], 16))
            continue
        letter = ord(token[2].lower())
        if letter in _LETTERS:
            if mask >> letters & 1:
                letter -= 0x20
            letters += 1
        data.append(letter)
    if mask >> letters:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _utf8(name: str, what: str) -> bytes:
    if not isinstance(name, str):
        raise InvalidKey(f"{what} is text, not {type(name).__name__}")
    try:
        data = name.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey(
            f"{_shown(name)} has a lone surrogate at character {error.start}:"
            f" {what} must be valid Unicode"
        ) from error
    if not data:
        raise InvalidKey(f"{what} can't be empty")
    return data


def _shown(name: str) -> str:
    """The name for a message: printable, and not longer than a line."""
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}..."
