"""``filestore.yaml``: what is fixed when a store is made.  Tracked by git.

Example::

    codec: json
    fanout: 0
    format: 1
    id: 5d1f0a3c-9b7e-4c52-a1d0-e8f6b3c2a190
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from filestore.errors import Corrupt, UnsupportedFormat

FORMAT: Final = 1
_PLAIN: Final = re.compile(
    r"([a-z_]+): (json|yaml|0|[1-9][0-9]{0,3}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)
_CODECS: Final = ("json", "yaml")


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a store.

    ``id`` tells this store's journal from another's; clones share it.
    """

    codec: str
    fanout: int
    id: str

    def encode(self) -> bytes:
        return (
            f"codec: {self.codec}\nfanout: {self.fanout}\nformat: {FORMAT}\nid: {self.id}\n"
        ).encode()


_FANOUT_LINE: Final = re.compile(rb"^fanout[ \t]*:.*$", re.MULTILINE)


def with_fanout(raw: bytes, fanout: int, path: str) -> bytes:
    """The same file with another fan-out, whatever else stands there.

    Raises Corrupt where the line cannot be found.
    """
    line = b"fanout: %d" % fanout
    new, count = _FANOUT_LINE.subn(line, raw)
    if not count:
        new = raw if raw.endswith(b"\n") else raw + b"\n"
        new += line + b"\n"
    try:
        if parse(new, path) == replace(parse(raw, path), fanout=fanout):
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
    if codec not in _CODECS:
        raise Corrupt(f"{path}: codec must be json or yaml, not {codec!r:.60}", path=path)
    if not isinstance(fanout, int) or isinstance(fanout, bool) or not 0 <= fanout <= 2:
        raise Corrupt(f"{path}: fanout must be 0, 1 or 2, not {fanout!r:.60}", path=path)
    if id is None or isinstance(id, (dict, list)) or id == "":
        raise Corrupt(f"{path}: id is missing: give the store any unique text", path=path)
    return Config(str(codec), fanout, str(id))


def _fields(raw: bytes, path: str) -> dict[str, object]:
    """The settings; yaml, which takes 20 ms to import, is for hand-edited files only."""
    fields: dict[str, object] = {}
    try:
        lines = raw.decode("ascii").splitlines()
    except UnicodeDecodeError:
        lines = [""]
    for line in lines:
        match = _PLAIN.fullmatch(line)
        if match is None or match[1] in fields:
            break
        fields[match[1]] = int(match[2]) if match[2].isdecimal() else match[2]
    else:
        if fields:
            return fields
    from filestore.codec import codec_named, decode

    try:
        return decode(codec_named("yaml").parse(raw))
    except Corrupt as error:
        raise Corrupt(f"{path}: {error.message}", path=path, line=error.line) from error
