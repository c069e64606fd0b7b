"""``filestore.yaml``: what is fixed when a store is made, and what people set.  Tracked by git.

Example::

    codec: json
    collections:
      volumes:
        index: [display_name, volume_id]
    fanout: 0
    format: 1
    id: 5d1f0a3c-9b7e-4c52-a1d0-e8f6b3c2a190

``collections`` may be absent, and so may what stands below it.  ``index``: fields to index
together, the first time that a find asks for one of them.
What people may add: how much history is kept, see :mod:`filestore.retention`.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.errors import Corrupt, UnsupportedFormat
from filestore.importing import importing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filestore.retention import Retention

FORMAT: Final = 1
_WORD: Final = frozenset("abcdefghijklmnopqrstuvwxyz_")
_HEX: Final = frozenset("0123456789abcdef-")
_UUID: Final = [8, 4, 4, 4, 12]  # digits between dashes
# Compiled for those who have such lines: a store is opened in less time than that takes.
_COLLECTION: Final = r"  ([a-z][a-z0-9_/]*):"
_INDEX: Final = r"    index: \[([a-z][a-z0-9_]*(?:, [a-z][a-z0-9_]*)*)\]"
_FANOUT_LINE: Final = rb"(?m)^fanout[ \t]*:.*$"
_NOT_TEXT: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
CODECS: Final = ("json", "yaml")


class Config(NamedTuple):
    """The settings of a store.

    ``id`` tells this store's journal from another's; clones share it.  ``retention`` is None for
    the default.
    """

    codec: str
    fanout: int
    id: str
    indexed: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    retention: Retention | None = None

    def encode(self) -> bytes:
        """The file of a new store, which has no settings of collections yet."""
        return (
            f"codec: {self.codec}\nfanout: {self.fanout}\nformat: {FORMAT}\nid: {self.id}\n"
        ).encode()


def with_fanout(raw: bytes, fanout: int, path: str) -> bytes:
    """The same file with another fan-out, whatever else stands there.

    Raises Corrupt where the line cannot be found.
    """
    line = b"fanout: %d" % fanout
    new, count = re.subn(_FANOUT_LINE, line, raw)
    if not count:
        new = raw if raw.endswith(b"\n") else raw + b"\n"
        new += line + b"\n"
    try:
        if parse(new, path) == parse(raw, path)._replace(fanout=fanout):
            return new
    except Corrupt:
        pass
    raise Corrupt(f"{path}: give fanout a line of its own, so that it can be changed", path=path)


def parse(raw: bytes, path: str) -> Config:
    """Raises Corrupt, and UnsupportedFormat for a store of a newer version."""
    fields = _fields(raw, path)
    form = fields.get("format")
    if isinstance(form, int) and form > FORMAT:
        raise UnsupportedFormat(
            f"{path}: the store has format {form}, this version of filestore knows format "
            f"{FORMAT}: install a newer filestore",
            path=path,
        )
    if type(form) is not int or form != FORMAT:
        raise Corrupt(f"{path}: format must be {FORMAT}, not {form!r:.60}", path=path)
    codec, fanout, id = fields.get("codec"), fields.get("fanout", 0), fields.get("id")
    if codec not in CODECS:
        raise Corrupt(f"{path}: codec must be json or yaml, not {codec!r:.60}", path=path)
    if not isinstance(fanout, int) or isinstance(fanout, bool) or not 0 <= fanout <= 2:
        raise Corrupt(f"{path}: fanout must be 0, 1 or 2, not {fanout!r:.60}", path=path)
    if id is None or isinstance(id, (dict, list)) or id == "":
        raise Corrupt(f"{path}: id is missing: give the store any unique text", path=path)
    kept = _retention(fields, path) if {"history", "retention"} & fields.keys() else None
    return Config(str(codec), fanout, str(id), _indexed(fields.get("collections"), path), kept)


def _retention(fields: dict[str, object], path: str) -> Retention:
    with importing(ours=True):  # for the few who set it
        from filestore import retention

    try:
        return retention.parse(fields)
    except ValueError as error:
        raise Corrupt(f"{path}: {error}", path=path) from error


def _indexed(collections: object, path: str) -> dict[str, tuple[str, ...]]:
    """The fields to index, by collection.  Other settings of collections are not for us."""
    if collections is None:
        return {}
    if not isinstance(collections, dict):
        raise Corrupt(f"{path}: collections must have names with settings below them", path=path)
    indexed = {}
    for name, settings in collections.items():
        names = settings.get("index") if isinstance(settings, dict) else settings
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise Corrupt(
                f"{path}: index of the collection {name} must be a list of fields, such as"
                " [display_name, host]",
                path=path,
            )
        indexed[str(name)] = tuple(dict.fromkeys(names))
    return indexed


def _fields(raw: bytes, path: str) -> dict[str, object]:
    """The settings; yaml, which takes 20 ms to import, is for hand-edited files only."""
    fields = _plain_fields(raw)
    if fields is not None:
        return fields
    from filestore.codec import codec_named, decode

    try:
        return decode(codec_named("yaml").parse(raw))
    except Corrupt as error:
        raise Corrupt(f"{path}: {error.message}", path=path, line=error.line) from error


def _plain_fields(raw: bytes) -> dict[str, object] | None:
    """The settings when they are laid out as in the example; None when YAML has to be asked."""
    fields: dict[str, object] = {}
    collections: dict[str, object] = {}
    settings: dict[str, object] | None = None
    try:
        lines = raw.decode("ascii").splitlines()
    except UnicodeDecodeError:
        return None
    for line in lines:
        name, _, text = line.partition(": ")
        if (value := _plain_value(text)) is not None and name and _WORD.issuperset(name):
            if name in fields:
                return None
            fields[name] = value
            settings = None
        elif line == "collections:" and line[:-1] not in fields:
            fields["collections"] = collections
            settings = {}
        elif settings is not None and (match := re.fullmatch(_COLLECTION, line)):
            if match[1] in collections or match[1] in _NOT_TEXT:
                return None
            settings = collections[match[1]] = {}
        elif settings is not None and collections and (match := re.fullmatch(_INDEX, line)):
            names = match[1].split(", ")
            if settings or not _NOT_TEXT.isdisjoint(names):
                return None
            settings["index"] = names
        else:
            return None
    if "collections" in fields and not (collections and all(collections.values())):
        return None
    return fields or None


def _plain_value(text: str) -> str | int | None:
    """A codec's name, a number below 10,000 or a UUID; None for what YAML may read otherwise."""
    if text in CODECS:
        return text
    if text.isdecimal():
        return int(text) if len(text) <= 4 and (text[0] != "0" or text == "0") else None
    if _HEX.issuperset(text) and [len(part) for part in text.split("-")] == _UUID:
        return text
    return None
