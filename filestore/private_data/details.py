"""What details, keys and the ids of entities may be, and where an entity's details are.

Pure.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from filestore.engine.names import encode_collection
from filestore.errors import InvalidDocument, InvalidKey

if TYPE_CHECKING:
    from filestore.model import Key

COLLECTION: Final = "driver_data"

MAX_KEY: Final = 255
"""Characters of a key, as in Manila's tables."""

MAX_VALUE: Final = 1023
"""Characters of a value, as in Manila's tables."""

_is_hex_uuid: Final = re.compile(r"[0-9a-f]{32}", re.IGNORECASE | re.ASCII).fullmatch


def is_uuid_like(value: object) -> bool:
    """Whether it is a UUID's text: with or without hyphens, braces and ``urn:uuid:``, any case.

    As oslo.utils decides it, which Manila asks.
    """
    if not isinstance(value, str):
        return False
    bare = value.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")
    return _is_hex_uuid(bare) is not None


def collection_of(backend_host: str, namespace: str | None = None) -> str:
    """The name of the collection that holds the details of a backend, in a namespace or in none."""
    home = f"{COLLECTION}/{_folder_of(backend_host)}"
    return home if namespace is None else f"{home}/{_folder_of(namespace)}"


def _folder_of(name: object) -> str:
    """The component of a collection's name that stands for a host or a namespace; injective."""
    if not isinstance(name, str):
        raise InvalidKey(f"a backend's host and a namespace are text, not {type(name).__name__}")
    component = name.replace("=", "=3d").replace("/", "=2f") or "="
    try:
        encode_collection(component)
    except InvalidKey:
        # Too long for a folder; or no valid Unicode, which encode() says as the store would.
        _require_unicode(name)
        return f"=={hashlib.sha256(name.encode()).hexdigest()}"
    return component


def _require_unicode(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey(f"{name!r} has a lone surrogate: it must be valid Unicode") from error


def require_dict(details: object) -> None:
    """Raise ValueError, as Manila does, for details that are no dictionary."""
    if not isinstance(details, dict):
        # Without the details themselves: they may be secret.
        raise ValueError(f"the details are of {type(details)}: pass a dict of keys and values")  # noqa: TRY004


def keys_of(key: object) -> list[str]:
    """The keys that ``key``, which is not None, stands for."""
    keys: list[str] = []
    for each in key if isinstance(key, list) else [key]:
        if not isinstance(each, str):
            raise ValueError(  # noqa: TRY004  # all that is wrong with arguments is one error
                f"{key!r} is no key: pass a string, a list of strings, or None for all"
            )
        keys.append(each)
    return keys


def texts_of(where: Key, details: object) -> dict[str, str]:
    """The details as they are kept."""
    require_dict(details)
    assert isinstance(details, dict)
    texts: dict[str, str] = {}
    for key, value in details.items():
        if not isinstance(key, str):
            raise InvalidDocument(f"the key {key!r} of {where} is no text", key=where)
        if len(key) > MAX_KEY:
            raise InvalidDocument(
                f"the key {key[:40]!r}… of {where} has {len(key)} characters:"
                f" at most {MAX_KEY} are possible",
                key=where,
            )
        text = str.__str__(str(value))  # of exactly this type, as a document must have it
        if len(text) > MAX_VALUE:
            # The value itself stays out of the message: private data may be secret.
            raise InvalidDocument(
                f"the value of {key!r} of {where} has {len(text)} characters:"
                f" at most {MAX_VALUE} are possible",
                key=where,
            )
        texts[str.__str__(key)] = text
    return texts
